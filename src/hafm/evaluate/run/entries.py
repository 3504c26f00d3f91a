"""Which sound represents which row of the tables, clip by clip.

In: a run whose sounds are there, and its systems. Out: an `Entry` for each row, arm and clip.

    row                  sound
    truth                the clip's own instrumental
    codec, retrieval     take 0
    model                take 0
    model-best-of-N      the take that `hafm.evaluate.ranking` puts first among the first N
    random               takes 0, 1, 2: measures are averaged over them, distances use take 0

The best of N is what a singer gets from `hafm generate --takes N --pick best`: the choice hears what the
model heard (the arm's vocal, isolated or separated) and knows neither score nor true instrumental. The first
N takes are ranked, so the best of 4 and of 8 nest. Choices are kept in RUN/choices.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256

from hafm.evaluate.ranking import CRITERIA, rank_takes
from hafm.evaluate.run.clips import TRUTH
from hafm.evaluate.run.folder import BOTH_ARMS, Made, RunFolder
from hafm.evaluate.run.results import SystemRow
from hafm.evaluate.systems.base import System
from hafm.evaluate.testset.clip import Arm, Clip
from hafm.progress import OnProgress, Progress
from hafm.version import __version__

__all__ = ["Entry", "entries_of", "rows_of"]

_CHOSEN = "chosen among {count} takes by measures that need no truth (hafm.evaluate.ranking) and so favour it"


@dataclass(frozen=True, kw_only=True)
class Entry:
    """A row's sounds for a clip.

    Args:
        row: the row's name.
        arm: of which table.
        clip: which.
        made: the sound; several where measures are averaged, the first one counting for distances.
        why: how it was chosen, where it was.
    """

    row: str
    arm: Arm
    clip: Clip
    made: tuple[Made, ...]
    why: str = ""


def rows_of(systems: Sequence[System], *, best_of: Sequence[int]) -> list[SystemRow]:
    """The rows of the tables, in order.

    Args:
        systems: in the order wanted; the truth is added in front.
        best_of: for systems of the kind `model`: rows for the best of that many takes.
    """
    rows = [
        SystemRow(
            name=TRUTH,
            title="true instrumental",
            kind="ceiling",
            note="the reference itself: its distance is 0 by construction",
            identity={},
        )
    ]
    for system in systems:
        note = ""
        if system.takes > 1 and system.kind != "model":
            note = f"measures are means over {system.takes} pairings, distances are of the first"
        rows.append(
            SystemRow(
                name=system.name, title=system.title, kind=system.kind, note=note, identity=system.identity()
            )
        )
        rows += [
            SystemRow(
                name=f"{system.name}-best-of-{count}",
                title=f"{system.title}, best of {count}",
                kind=system.kind,
                note=_CHOSEN.format(count=count),
                identity=system.identity(),
            )
            for count in _counts(system, best_of)
        ]
    return rows


def entries_of(
    run: RunFolder,
    systems: Sequence[System],
    *,
    best_of: Sequence[int],
    on_progress: OnProgress | None = None,
) -> list[Entry]:
    """Every row's sound of every clip in every arm: row by row, arm by arm, in the clips' order.

    Args:
        run: with the sounds of all systems.
        systems, best_of: as for `rows_of`.
        on_progress: called after every clip for which takes were chosen.
    """
    manifest = run.manifest
    found: list[Entry] = []
    choices = [(system, arm) for system in systems if _counts(system, best_of) for arm in manifest.arms]
    done, total = 0, len(choices) * len(manifest.clips)
    for arm in manifest.arms:
        for clip in manifest.clips:
            made = Made(system=TRUTH, heard=BOTH_ARMS, take=0, clip=clip.id)
            found.append(Entry(row=TRUTH, arm=arm, clip=clip, made=(made,)))
        for system in systems:
            heard = arm if system.hears_vocal else BOTH_ARMS
            takes = 1 if system.kind == "model" else system.takes
            for clip in manifest.clips:
                made_here = tuple(
                    Made(system=system.name, heard=heard, take=take, clip=clip.id) for take in range(takes)
                )
                found.append(Entry(row=system.name, arm=arm, clip=clip, made=made_here))
            counts = _counts(system, best_of)
            for clip in manifest.clips if counts else ():
                for count, choice in _choose(run, system.name, arm, clip, of=counts).items():
                    best = Made(system=system.name, heard=heard, take=choice.take, clip=clip.id)
                    row = f"{system.name}-best-of-{count}"
                    found.append(Entry(row=row, arm=arm, clip=clip, made=(best,), why=choice.why))
                done += 1
                if on_progress is not None:
                    on_progress(Progress(step="choosing takes", done=done, total=total))
    return found


def _counts(system: System, best_of: Sequence[int]) -> list[int]:
    """The numbers of takes among which the best is chosen."""
    return sorted({count for count in best_of if 1 < count <= system.takes}) if system.kind == "model" else []


# ---- the best of several takes


@dataclass(frozen=True, kw_only=True)
class _Choice:
    """A take and why it was chosen."""

    take: int
    why: str


def _choose(
    run: RunFolder,
    system: str,
    arm: Arm,
    clip: Clip,
    *,
    of: Sequence[int],
) -> dict[int, _Choice]:
    """The best of the first N takes of a clip, for each N.

    Args:
        run: with the takes.
        system: whose takes.
        arm: whose vocal.
        clip: which.
        of: each N, 1 or more.
    """
    made = [Made(system=system, heard=arm, take=take, clip=clip.id) for take in range(max(of))]
    paths = [run.sound_path(each) for each in made]
    digests = [sha256(path.read_bytes()).hexdigest() for path in (run.vocal_path(arm, clip.id), *paths)]
    key = f"choices/{system}/{arm}/{clip.id}.json"
    state = sha256(json.dumps([__version__, repr(CRITERIA), *digests]).encode()).hexdigest()
    kept = _kept(run, key, state)
    if kept is None or not set(of) <= set(kept):
        vocal, sounds = run.vocal(arm, clip), [run.sound(each) for each in made]
        rate = run.manifest.protocol.sample_rate
        kept = {}
        for count in sorted(set(of)):
            best = rank_takes(vocal, sounds[:count], rate).best
            kept[count] = _Choice(take=best.index, why=best.why if count > 1 else "the only take")
        chosen = {str(count): [choice.take, choice.why] for count, choice in kept.items()}
        run.write(key, json.dumps({"state": state, "chosen": chosen}))
    return {count: kept[count] for count in of}


def _kept(run: RunFolder, key: str, state: str) -> dict[int, _Choice] | None:
    path = run.path / key
    if not path.is_file():
        return None
    values = json.loads(path.read_text(encoding="utf-8"))
    if values["state"] != state:
        return None
    return {int(count): _Choice(take=take, why=why) for count, (take, why) in values["chosen"].items()}

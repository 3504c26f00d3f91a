"""Which sound represents which row of the tables, clip by clip.

In: a run whose sounds are there, and its systems. Out: an `Entry` for each row, arm and clip.

    row                  sound
    truth                the clip's own instrumental
    codec, retrieval     take 0
    model                take 0
    model-best-of-N      the take that `hafm.evaluate.ranking` puts first among the first N
    random               takes 0, 1, 2: measures are averaged over them, distances use take 0

The best of N is what a singer gets from `hafm generate --takes N --pick best`: the choice is given what the
model was given (the arm's vocal, isolated or separated) and knows neither score nor true instrumental. The
first N takes are ranked, so the best of 4 and of 8 nest. Choices are kept in RUN/choices.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from hashlib import sha256

from hafm.evaluate.ranking import CRITERIA, rank_takes
from hafm.evaluate.run.folder import BOTH_ARMS, RunFolder, SoundKey, takes_of, true_sound
from hafm.evaluate.run.results import SystemRow
from hafm.evaluate.systems.base import System
from hafm.evaluate.systems.references import RandomPairing
from hafm.evaluate.testset import TRUTH, Arm, Clip
from hafm.progress import OnProgress, Progress
from hafm.version import __version__

__all__ = ["Entry", "entries_of", "rows_of"]

_CHOSEN = "chosen among {count} takes by measures that need no truth (hafm.evaluate.ranking) and so favour it"


@dataclass(frozen=True, kw_only=True)
class Entry:
    """A row's sounds for a clip.

    Args:
        made: the sound; several where measures are averaged, the first one counting for distances.
        why: how it was chosen, where it was.
    """

    row: str
    arm: Arm
    clip: Clip
    made: tuple[SoundKey, ...]
    why: str = ""


def rows_of(systems: Sequence[System], *, best_of: Sequence[int]) -> list[SystemRow]:
    """The rows of the tables: the truth, the systems, and for models those of the best of several takes."""
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
        notes = []
        if system.takes > 1 and system.kind != "model":
            notes.append(f"measures are means over {system.takes} pairings, distances are of the first")
        if system.name == RandomPairing.name:
            notes.append("alone, these are the truth's own sounds, at a distance of 0 by construction")
        own = SystemRow(
            name=system.name,
            title=system.title,
            kind=system.kind,
            note="; ".join(notes),
            identity=system.identity(),
        )
        best = [
            replace(
                own,
                name=f"{system.name}-best-of-{count}",
                title=f"{system.title}, best of {count}",
                note=_CHOSEN.format(count=count),
            )
            for count in _counts(system, best_of)
        ]
        rows += [own, *best]
    return rows


def entries_of(
    run: RunFolder,
    systems: Sequence[System],
    *,
    best_of: Sequence[int],
    on_progress: OnProgress | None = None,
) -> list[Entry]:
    """Every row's sound of every clip in every arm: row by row, arm by arm, in the clips' order."""
    manifest = run.manifest
    found: list[Entry] = []
    choices = [(system, arm) for system in systems if _counts(system, best_of) for arm in manifest.arms]
    done, total = 0, len(choices) * len(manifest.clips)
    for arm in manifest.arms:
        found += [
            Entry(row=TRUTH, arm=arm, clip=clip, made=(true_sound(clip.id),)) for clip in manifest.clips
        ]
        for system in systems:
            heard = arm if system.uses_vocal else BOTH_ARMS
            takes = 1 if system.kind == "model" else system.takes
            for clip in manifest.clips:
                made = takes_of(system.name, heard, clip.id, takes)
                found.append(Entry(row=system.name, arm=arm, clip=clip, made=made))
            counts = _counts(system, best_of)
            for clip in manifest.clips if counts else ():
                made = takes_of(system.name, heard, clip.id, max(counts))
                for count, (take, why) in _choose(run, system.name, arm, clip, made, of=counts).items():
                    row = f"{system.name}-best-of-{count}"
                    found.append(Entry(row=row, arm=arm, clip=clip, made=(made[take],), why=why))
                done += 1
                if on_progress is not None:
                    on_progress(Progress(step="choosing takes", done=done, total=total))
    return found


def _counts(system: System, best_of: Sequence[int]) -> list[int]:
    """The numbers of takes among which the best is chosen."""
    return sorted({count for count in best_of if 1 < count <= system.takes}) if system.kind == "model" else []


# ---- the best of several takes


def _choose(
    run: RunFolder, system: str, arm: Arm, clip: Clip, made: Sequence[SoundKey], *, of: Sequence[int]
) -> dict[int, tuple[int, str]]:
    """The best of the first N takes of a clip, and why, for each N in `of`; kept in the run."""
    paths = (run.vocal_path(arm, clip.id), *map(run.sound_path, made))
    digests = [sha256(path.read_bytes()).hexdigest() for path in paths]
    state = sha256(json.dumps([__version__, repr(CRITERIA), *digests]).encode()).hexdigest()
    key = f"choices/{system}/{arm}/{clip.id}.json"
    kept = run.kept(key)
    chosen = kept["chosen"] if kept.get("state") == state else {}
    if not {str(count) for count in of} <= set(chosen):
        vocal, sounds = run.vocal(arm, clip), [run.sound(each) for each in made]
        for count in sorted(set(of)):
            best = rank_takes(vocal, sounds[:count], run.manifest.protocol.sample_rate).best
            chosen[str(count)] = [best.index, best.why if count > 1 else "the only take"]
        run.write(key, json.dumps({"state": state, "chosen": chosen}))
    found = {int(count): (take, why) for count, (take, why) in chosen.items()}
    return {count: found[count] for count in of}

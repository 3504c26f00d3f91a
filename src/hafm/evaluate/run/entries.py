"""Which sound stands for which row of the tables, clip by clip.

In: a run whose sounds are there, and its systems. Out: an `Entry` for each row, arm and clip.

    row                  sound
    truth                the clip's own instrumental
    codec, retrieval     take 0
    model                take 0
    model-best-of-N      the take that `hafm.evaluate.run.best` chooses among the first N
    random               takes 0, 1, 2: measures are averaged over them, distances use take 0
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from hafm.evaluate.run.best import choose
from hafm.evaluate.run.clips import TRUTH
from hafm.evaluate.run.folder import BOTH_ARMS, Made, RunFolder
from hafm.evaluate.run.results import SystemRow
from hafm.evaluate.systems.base import System
from hafm.evaluate.testset.clip import Arm, Clip

__all__ = ["Entry", "entries_of", "rows_of"]

_CHOSEN = (
    "chosen among {count} takes by measures that need no truth (hafm.evaluate.ranking), which those favour"
)


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
    on_progress: Callable[[int, int], None] | None = None,
) -> list[Entry]:
    """Every row's sound of every clip in every arm: row by row, arm by arm, in the clips' order.

    Args:
        run: with the sounds of all systems.
        systems, best_of: as for `rows_of`.
        on_progress: told of the clips for which takes were chosen.
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
                for count, choice in choose(run, system.name, arm, clip, of=counts).items():
                    best = Made(system=system.name, heard=heard, take=choice.take, clip=clip.id)
                    row = f"{system.name}-best-of-{count}"
                    found.append(Entry(row=row, arm=arm, clip=clip, made=(best,), why=choice.why))
                done += 1
                if on_progress is not None:
                    on_progress(done, total)
    return found


def _counts(system: System, best_of: Sequence[int]) -> list[int]:
    """The numbers of takes among which the best is chosen."""
    return sorted({count for count in best_of if 1 < count <= system.takes}) if system.kind == "model" else []

"""The sounds of an evaluation: every system plays to every clip, and what is there already is not made again.

In: a run with its clips, and systems. Out: RUN/sounds/SYSTEM.

Clips of one length go together, as many as a system takes at a time. Each sound is written as soon as its
batch is done; a stopped run loses one batch.
"""

from collections.abc import Iterator, Sequence

from hafm.evaluate.run.clips import TRUTH
from hafm.evaluate.run.folder import BOTH_ARMS, Made, RunFolder
from hafm.evaluate.systems.base import ClipSound, Guided, System
from hafm.evaluate.testset.clip import Arm, Clip
from hafm.progress import OnProgress, Progress

__all__ = ["heard_by", "make_sounds"]


def make_sounds(run: RunFolder, system: System, *, on_progress: OnProgress | None = None) -> None:
    """Makes all sounds of a system that are missing.

    Args:
        run: with its clips.
        system: what plays.
        on_progress: called as clips are done, parts of them too.

    Raises:
        UsageError: the sounds in the folder were made by something else under that name.
        HafmError: as the system raises.
    """
    run.claim(system.name, {"kind": system.kind, **system.identity()})
    manifest = run.manifest
    jobs = [(heard, clip) for heard in heard_by(system, manifest.arms) for clip in manifest.clips]
    missing = [job for job in jobs if not all(run.has(made) for made in _takes(system, *job))]
    done = len(jobs) - len(missing)
    for batch in _batches(missing, system.batch_clips):
        heard = batch[0][0]
        arm: Arm = "separated" if heard == "separated" else "isolated"
        clips = [
            ClipSound(
                clip=clip,
                vocal=run.vocal(arm, clip),
                instrumental=run.sound(_true(clip)),
                sheet=run.sheet(_true(clip)),
            )
            for _, clip in batch
        ]
        if isinstance(system, Guided):
            for each in clips:
                if (sheet := system.sheet_of(each)) is not None:
                    run.put_sheet(Made(system=system.name, heard=heard, take=0, clip=each.clip.id), sheet)

        def on_share(share: float, done: int = done, size: int = len(batch)) -> None:
            if on_progress is not None:
                on_progress(Progress(step=system.title, done=done + share * size, total=len(jobs)))

        rate = manifest.protocol.sample_rate
        for job, takes in zip(batch, system.play(clips, sample_rate=rate, on_share=on_share), strict=True):
            for made, waveform in zip(_takes(system, *job), takes, strict=True):
                run.put(run.sound_path(made), waveform, rate)
        done += len(batch)


def heard_by(system: System, arms: Sequence[Arm]) -> tuple[str, ...]:
    """The arms that a system plays to: all, or none in particular."""
    return tuple(arms) if system.hears_vocal else (BOTH_ARMS,)


def _true(clip: Clip) -> Made:
    return Made(system=TRUTH, heard=BOTH_ARMS, take=0, clip=clip.id)


def _takes(system: System, heard: str, clip: Clip) -> list[Made]:
    return [Made(system=system.name, heard=heard, take=take, clip=clip.id) for take in range(system.takes)]


def _batches(jobs: Sequence[tuple[str, Clip]], size: int) -> Iterator[list[tuple[str, Clip]]]:
    """Jobs of one arm and one length, `size` at most."""
    groups: dict[tuple[str, int], list[tuple[str, Clip]]] = {}
    for heard, clip in jobs:
        groups.setdefault((heard, clip.num_samples), []).append((heard, clip))
    for group in groups.values():
        for start in range(0, len(group), size):
            yield group[start : start + size]

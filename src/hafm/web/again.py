"""Bars of a take made again: a new take, which is the old one everywhere else.

In: a task that names a take and from when to when. Out: its folder. Its `generation.json` holds the record of
the take before, too, and can be replayed.
"""

import time
from typing import TYPE_CHECKING, Any

from hafm.audio.io import read_audio
from hafm.estimate import Estimator
from hafm.files import staged_folder
from hafm.generate.accompaniment import RECORD_FILE
from hafm.generate.phases import phases
from hafm.guide.sheet_json import lead_sheet_from_json
from hafm.web.take import write_take
from hafm.web.tasks import Play, Report

if TYPE_CHECKING:
    from hafm.generate.accompany import Accompanist
    from hafm.progress import Progress

__all__ = ["play_again"]

_AROUND_SECONDS = 5.0
"""Beside a region, that the stages see (`hafm.generate.region`)."""


def play_again(accompanist: "Accompanist", task: Play, report: Report) -> dict[str, Any]:
    """Makes the new take.

    Returns:
        Its number, as for whole takes.

    Raises:
        HafmError: it cannot be made.
    """
    assert task.again is not None, "something is made again"
    of_take, _, (start, end) = task.again
    report("opening", 0.0, None)
    before = task.folder / "takes" / f"{of_take:03d}"
    vocal = task.folder / "vocal.wav"
    seconds = read_audio(vocal).seconds
    bundle = accompanist.bundle
    names = ["semantic", "coarse"] if task.skip_fine else ["semantic", "coarse", "fine"]
    parts = phases([bundle.spec(name) for name in names], end - start + _AROUND_SECONDS)
    frames = {part.name: part.frames for part in parts}
    estimator = Estimator(parts)
    estimator.start(now=time.monotonic())

    def on_progress(progress: "Progress") -> None:
        done = round(frames[progress.step] * progress.done / progress.total)
        found = estimator.update(progress.step, done=done, now=time.monotonic())
        report(progress.step, 0.95 * found.share, found.seconds_left)

    made = accompanist.regenerate(
        before / RECORD_FILE,
        start_seconds=start,
        end_seconds=min(end, seconds),
        vocal=vocal,
        seed=task.seed,
        temperature=task.temperature,
        guidance=task.guidance,
        guide_guidance=task.guide_guidance,
        guide=lead_sheet_from_json(task.sheet, where="the lead sheet"),
        skip_fine=task.skip_fine,
        on_progress=on_progress,
    )
    report("joining", 0.96, None)
    with staged_folder(task.folder / "takes" / f"{task.first_number:03d}", last=["take.json"]) as folder:
        _, output = made.write(folder.staging, balance_db=task.balance_db)
        write_take(folder.staging, task, task.first_number, levels=output.levels, about={})
    return {"takes": [task.first_number]}

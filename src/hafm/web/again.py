"""Bars of a take made again: a new take, which is the old one everywhere else.

In: a task that names a take and from when to when. Out: its folder, with a `generation.json` that holds the
record of the take before and what was changed, and so is no record that can be replayed.
"""

import json
import time
from typing import TYPE_CHECKING, Any

from hafm.audio.io import read_audio
from hafm.estimate import Estimator
from hafm.files import staged_folder
from hafm.generate.accompaniment import RECORD_FILE, write_mixed
from hafm.generate.phases import phases
from hafm.generate.record import FORMAT, Settings
from hafm.generate.region import Region, make_again
from hafm.guide.sheet_json import lead_sheet_from_json
from hafm.web.take import write_take
from hafm.web.tasks import Play, Report

if TYPE_CHECKING:
    from hafm.generate.accompany import Accompanist
    from hafm.progress import Progress

__all__ = ["play_again"]

_AROUND_SECONDS = 5.0


def play_again(accompanist: "Accompanist", task: Play, report: Report) -> dict[str, Any]:
    """Makes the new take.

    Returns:
        Its number, as for whole takes.

    Raises:
        HafmError: it cannot be made.
    """
    assert task.again is not None, "something is made again"
    of_take, bars, (start, end) = task.again
    report("opening", 0.0, None)
    before = task.folder / "takes" / f"{of_take:03d}"
    vocal = read_audio(task.folder / "vocal.wav")
    old = read_audio(before / "accompaniment.wav", allow_silence=True)
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

    default = bundle.config.generation
    settings = Settings(
        seed=task.seed,
        take=0,
        temperature=default.temperature if task.temperature is None else task.temperature,
        top_k=default.top_k,
        guidance=default.guidance if task.guidance is None else task.guidance,
        guide_guidance=default.guide_guidance if task.guide_guidance is None else task.guide_guidance,
        coarse_guidance=default.coarse_guidance,
        skip_fine=task.skip_fine,
        level_lufs=default.level_lufs,
    )
    waveform = make_again(
        accompanist,
        vocal=vocal,
        accompaniment=old.waveform[:1],
        region=Region(start_seconds=start, end_seconds=min(end, vocal.seconds)),
        guide=lead_sheet_from_json(task.sheet, where="the lead sheet"),
        settings=settings,
        on_progress=on_progress,
    )
    report("joining", 0.96, None)
    changed = {"start_seconds": start, "end_seconds": end, "bars": list(bars), "seed": task.seed}
    record = {"format": FORMAT, "made_again": changed, "of": json.loads((before / RECORD_FILE).read_bytes())}
    with staged_folder(task.folder / "takes" / f"{task.first_number:03d}", last=["take.json"]) as folder:
        _, output = write_mixed(
            folder.staging, vocal=vocal, accompaniment=waveform, balance_db=task.balance_db
        )
        (folder.staging / RECORD_FILE).write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")
        write_take(folder.staging, task, task.first_number, levels=output.levels, about={})
    return {"takes": [task.first_number]}

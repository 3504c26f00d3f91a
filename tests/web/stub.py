"""A studio without a model: recordings are read by the gateway, sheets and takes cost nothing.

Other processes can import it. What a task's seed says, happens: `SLOW` works for a minute and reports, `DEAF`
does not report, `DIE` kills its process, `WRONG` is a mistake of ours.
"""

import os
import signal
import time
from dataclasses import replace
from typing import Any

import torch

from hafm.audio.io import read_audio
from hafm.audio.sound import Audio
from hafm.errors import UsageError
from hafm.files import staged_folder
from hafm.generate.accompaniment import write_mixed
from hafm.guide.lead_sheet import Beat, ChordSpan, KeyChange, LeadSheet, MeterChange, Origin
from hafm.web.takes import write_take
from hafm.web.tasks import Play, Report
from hafm.web.work import Studio

SLOW, DEAF, DIE, WRONG, REFUSED = 900_001, 900_002, 900_003, 900_004, 900_005


def sheet_of(seconds: float) -> LeadSheet:
    """Four in a bar at 120 beats per minute from 0.5 s on, a chord per bar."""
    times = [0.5 * number for number in range(1, int(seconds / 0.5) + 1) if 0.5 * number < seconds]
    beats = tuple(Beat(time, number % 4 + 1) for number, time in enumerate(times))
    edges = [0.5 + 2.0 * number for number in range(int(seconds / 2) + 1) if 0.5 + 2.0 * number < seconds]
    spans = zip(edges, [*edges[1:], seconds], strict=True)
    guessed = Origin(source="estimated", confidence=0.5)
    return LeadSheet(
        duration_seconds=seconds,
        beats=beats,
        meters=(MeterChange(0.0, 4, 4),) if beats else (),
        keys=(KeyChange(0.0, "C", "maj"),),
        chords=tuple(
            ChordSpan(start, end, ("C:maj", "F:maj", "G:7")[number % 3])
            for number, (start, end) in enumerate(spans)
        ),
        origins={"beats": guessed, "chords": guessed},
    )


class StubStudio(Studio):
    """See the top of this file."""

    def __init__(self) -> None:
        pass

    def _heard(self, audio: Audio, given: LeadSheet | None, tempo_bpm: float | None) -> LeadSheet:
        sheet = sheet_of(audio.seconds)
        if given is not None and given.beats:
            sheet = replace(
                sheet, beats=given.beats, meters=given.meters, chords=given.chords or sheet.chords
            )
        return sheet

    def _play(self, task: Play, report: Report) -> dict[str, Any]:
        if task.seed == DIE:
            os.kill(os.getpid(), signal.SIGKILL)
        if task.seed == WRONG:
            raise ZeroDivisionError("a mistake")
        if task.seed == REFUSED:
            raise UsageError("this cannot be done; do something else")
        for step in range(600 if task.seed in (SLOW, DEAF) else 0):
            if task.seed == SLOW:
                report("semantic", step / 600, 60 - step / 10)
            time.sleep(0.1)
        vocal = read_audio(task.folder / "vocal.wav")
        for number in range(task.first_number, task.first_number + task.takes):
            report("coarse", 0.5, 1.0)
            time_axis = torch.arange(vocal.num_samples) / vocal.sample_rate
            band = 0.1 * torch.sin(2 * torch.pi * 110 * (number + 1) * time_axis)[None]
            with staged_folder(task.folder / "takes" / f"{number:03d}", last=["take.json"]) as folder:
                _, output = write_mixed(folder.staging, vocal=vocal, accompaniment=band)
                (folder.staging / "generation.json").write_text("{}")
                place = number - task.first_number + 1
                score = {"place": place, "of": task.takes, "score": 1.0, "terms": {"key_vocal": 1.0}}
                write_take(folder.staging, task, number, levels=output.levels, about=score)
        return {"takes": list(range(task.first_number, task.first_number + task.takes))}

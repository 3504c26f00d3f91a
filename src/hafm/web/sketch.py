"""A take by a band of samples, which needs no model: a sound seconds after the chart is there.

In: a task with a lead sheet. Out: a take's folder like any other's, and what `hafm arrange --stems` writes:

    takes/004/  accompaniment.wav  mix.wav           stereo, as long as the vocal and at its rate
                stems/drums.wav ...                  their sum is the accompaniment
                arrangement.mid  arrangement.json    `hafm arrange --replay` plays it again
                lead-sheet.json  take.json

It is of its own since it alone needs the arranger.
"""

import hashlib
from typing import Any

from hafm.arrange.arranger import Rendering, arrange_sheet
from hafm.arrange.files import hashes, rate_for, write_arrangement
from hafm.arrange.record import RECORD_FILE, ArrangementRecord, Inputs, Settings, here
from hafm.arrange.soundfont import SHIPPED
from hafm.audio.io import read_audio
from hafm.audio.mixdown import LOUDNESS_LUFS
from hafm.audio.resample import resample
from hafm.device import one_thread
from hafm.files import atomic_file, staged_folder
from hafm.guide.sheet_json import lead_sheet_from_json
from hafm.web.take import write_take
from hafm.web.tasks import Report, Sketch

__all__ = ["sketch"]


def sketch(task: Sketch, report: Report) -> dict[str, Any]:
    """Makes the take.

    Returns:
        Its number, as for other takes.

    Raises:
        LeadSheetError: the sheet has neither beats nor chords.
        AudioError, OutputError: a file cannot be read or written.
    """
    report("arranging", 0.0, None)
    vocal = read_audio(task.folder / "vocal.wav")
    sheet = lead_sheet_from_json(task.sheet, where="the lead sheet")
    rate = rate_for(vocal.sample_rate)
    with one_thread():
        arrangement = arrange_sheet(sheet, seed=task.seed, voice=vocal)
        parts = max(1, len(arrangement.parts))
        rendering = arrangement.render(
            sample_rate=rate,
            num_samples=round(vocal.num_samples * rate / vocal.sample_rate),
            on_part=lambda done: report("arranging", 0.9 * done / parts, None),
        )
        report("writing", 0.9, None)
        if rate != vocal.sample_rate:
            stems = {
                player: resample(stem, rate, vocal.sample_rate, vocal.num_samples)
                for player, stem in rendering.stems.items()
            }
            rendering = Rendering(stems=stems, sample_rate=vocal.sample_rate)
    record = ArrangementRecord(
        environment=here(),
        input=Inputs(kind="vocal", path=str(task.folder / "vocal.wav"), sha256=vocal.sha256),
        settings=Settings(
            style=arrangement.style,
            seed=task.seed,
            excerpt=False,
            sample_rate=rate,
            stems=True,
            format="wav",
            balance_db=task.balance_db,
            loudness_lufs=LOUDNESS_LUFS,
        ),
        soundfont={"name": SHIPPED.name, "sha256": hashlib.sha256(SHIPPED.read_bytes()).hexdigest()},
        lead_sheet=sheet,
    )
    with staged_folder(task.folder / "takes" / f"{task.first_number:03d}", last=["take.json"]) as folder:
        paths, levels = write_arrangement(
            folder.staging, arrangement, rendering, vocal=vocal, stems=True, balance_db=task.balance_db
        )
        record = record.written(levels=levels, files=hashes(folder.staging, paths))
        with atomic_file(folder.staging / RECORD_FILE) as file:
            file.write(record.to_json().encode())
        about = {"players": "samples", "style": arrangement.style}
        write_take(folder.staging, task, task.first_number, levels=levels, about=about)
    return {"takes": [task.first_number]}

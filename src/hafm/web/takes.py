"""The studio's takes: by the model, by the model for some bars of another take, by a band of samples.

In: a task with a lead sheet, in a project's folder. Out: folders of takes.

    takes/004/  accompaniment.wav  mix.wav           as long as the vocal and at its rate
                take.json  lead-sheet.json           what it is, and what it was made from
                generation.json                      of the model: `hafm generate --replay` makes it again
                arrangement.mid  arrangement.json    of samples: `hafm arrange --replay` plays it again
                stems/drums.wav ...                  their sum is the accompaniment

A take of which some bars were made again is the old one everywhere else; its record holds that one's.
"""

import contextlib
import hashlib
import json
import math
import time
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hafm.estimate import Estimator
from hafm.files import hashes, staged_folder, write_whole
from hafm.guide.sheet_json import lead_sheet_from_json
from hafm.web.tasks import Play, Report, Sketch

if TYPE_CHECKING:
    from hafm.generate.accompany import Accompaniment, Accompanist
    from hafm.progress import OnProgress, Progress
    from hafm.stages.bundle import Bundle

__all__ = ["play", "sketch", "write_take"]

_AROUND_SECONDS = 5.0  # beside a region, that the stages see: hafm.generate.region


def play(accompanist: "Accompanist", task: Play, report: Report) -> dict[str, Any]:
    """Takes by the model.

    Returns:
        Their numbers.

    Raises:
        HafmError: they cannot be made.
    """
    from hafm.audio.io import read_audio
    from hafm.generate.accompaniment import RECORD_FILE
    from hafm.generate.guidance import asked_in
    from hafm.generate.sampling import Sampling
    from hafm.generate.steps import follows_sheets

    report("opening", 0.0, None)
    vocal, bundle = task.folder / "vocal.wav", accompanist.bundle
    seconds = read_audio(vocal).seconds
    sheet = lead_sheet_from_json(task.sheet, where="the lead sheet")
    sampling: Sampling = {
        "temperature": task.temperature,
        "guidance": task.guidance,
        "guide_guidance": task.guide_guidance,
        **asked_in(sheet),
    }
    if task.again is not None:
        of_take, _, (start, end) = task.again
        made = accompanist.regenerate(
            _folder(task, of_take) / RECORD_FILE,
            start_seconds=start,
            end_seconds=min(end, seconds),
            vocal=vocal,
            seed=task.seed,
            guide=sheet,
            skip_fine=task.skip_fine,
            on_progress=_progress(bundle, task, end - start + _AROUND_SECONDS, report),
            **sampling,
        )
        report("joining", 0.96, None)
        _save(made, task, task.first_number, {})
        return {"takes": [task.first_number]}
    takes = accompanist.generate_takes(
        vocal,
        takes=task.takes,
        seed=task.seed,
        guide=sheet if follows_sheets(bundle) else None,
        skip_fine=task.skip_fine,
        on_progress=_progress(bundle, task, seconds, report),
        **sampling,
    )
    report("comparing", 0.95, None)
    scores = _scores(takes)
    report("writing", 0.97, None)
    numbers = range(task.first_number, task.first_number + len(takes))
    for number, take, score in zip(numbers, takes, scores, strict=True):
        _save(take, task, number, score)
        report("writing", 0.97 + 0.03 * (number - task.first_number + 1) / len(takes), None)
    return {"takes": list(numbers)}


def _progress(bundle: "Bundle", task: Play, seconds: float, report: Report) -> "OnProgress":
    """Reports how far the stages are, as a share of all the work of making that much sound."""
    from hafm.generate.phases import phases

    names = ["semantic", "coarse"] if task.skip_fine else ["semantic", "coarse", "fine"]
    parts = phases([bundle.spec(name) for name in names], seconds)
    frames = {part.name: part.frames for part in parts}
    estimator = Estimator(parts)
    estimator.start(now=time.monotonic())

    def on_progress(progress: "Progress") -> None:
        done = round(frames[progress.step] * progress.done / progress.total)
        found = estimator.update(progress.step, done=done, now=time.monotonic())
        report(progress.step, 0.95 * found.share, found.seconds_left)

    return on_progress


def _scores(takes: "list[Accompaniment]") -> list[dict[str, Any]]:
    from hafm.evaluate.ranking import pick_best

    if len(takes) == 1:
        return [{}]
    found = {}
    for place, take in enumerate(pick_best(takes).takes, 1):
        terms = {name: value if math.isfinite(value) else None for name, value in take.terms.items()}
        found[take.index] = {"place": place, "of": len(takes), "score": take.score, "terms": terms}
    return [found[index] for index in range(len(takes))]


def sketch(task: Sketch, report: Report) -> dict[str, Any]:
    """A take by a band of samples, which needs no model: a sound seconds after the chart is there.

    Returns:
        Its number, as for other takes.

    Raises:
        LeadSheetError: the sheet has neither beats nor chords.
        AudioError, OutputError: a file cannot be read or written.
    """
    from hafm.arrange.arranger import Rendering, arrange_sheet
    from hafm.arrange.files import rate_for, write_arrangement
    from hafm.arrange.record import RECORD_FILE, ArrangementRecord, Inputs, Settings, here
    from hafm.arrange.soundfont import SHIPPED
    from hafm.audio.io import read_audio
    from hafm.audio.mixdown import LOUDNESS_LUFS
    from hafm.audio.resample import resample
    from hafm.device import one_thread

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
    with _new_take(task, task.first_number) as folder:
        paths, levels = write_arrangement(
            folder, arrangement, rendering, vocal=vocal, stems=True, balance_db=task.balance_db
        )
        record = replace(record, levels=levels, files=hashes(folder, paths.values()))
        write_whole(folder / RECORD_FILE, record.to_json())
        about = {"players": "samples", "style": arrangement.style}
        write_take(folder, task, task.first_number, levels=levels, about=about)
    return {"takes": [task.first_number]}


def _folder(task: Play | Sketch, number: int) -> Path:
    return task.folder / "takes" / f"{number:03d}"


@contextlib.contextmanager
def _new_take(task: Play | Sketch, number: int) -> Iterator[Path]:
    """The folder of a take, there with all its files or not at all."""
    with staged_folder(_folder(task, number), last=["take.json"]) as folder:
        yield folder.staging


def _save(take: "Accompaniment", task: Play, number: int, about: Mapping[str, Any]) -> None:
    with _new_take(task, number) as folder:
        _, output = take.write(folder, balance_db=task.balance_db)
        write_take(folder, task, number, levels=output.levels, about=about)


def write_take(
    folder: Path,
    task: Play | Sketch,
    number: int,
    *,
    levels: Mapping[str, float | None],
    about: Mapping[str, Any],
) -> None:
    """Writes what a take says of itself, and the lead sheet that it was made from.

    Args:
        folder: of the take; nobody reads it yet.
        task: that it was made by.
        number: of the take.
        levels: of its mix, as `hafm.audio.mixdown.Levels` has them.
        about: its place among the takes that were made with it, and why; or that samples play.
    """
    again = task.again if isinstance(task, Play) else None
    values = {
        "number": number,
        "made": time.time(),
        "seed": task.seed,
        "players": "model",
        "skip_fine": isinstance(task, Play) and task.skip_fine,
        "balance_db": task.balance_db,
        "levels": dict(levels),
        "of_take": None if again is None else again[0],
        "bars": None if again is None else list(again[1]),
        **about,
    }
    write_whole(folder / "take.json", json.dumps(values, allow_nan=False))
    write_whole(folder / "lead-sheet.json", task.sheet)

"""`hafm generate`: from a checked request to files in a folder.

In: a `Request`. Out: an `Outcome`: where everything is, how long it took, what a user should know.

    output folder ok? -> vocal ok? -> disk large enough? -> bundle ok? -> generate -> save, plot -> put in
    place `------------------- refused here, before the model runs ---------'

The accompaniment itself is made by `hafm.generate.accompany`; start to read there.
"""

import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hafm.app.delivery import Delivery, delivery
from hafm.app.estimate import Estimator, Phase
from hafm.app.interrupt import Interrupts
from hafm.app.outcome import Outcome, Take
from hafm.app.progress import Display
from hafm.app.request import Request
from hafm.errors import OutputError, UsageError

if TYPE_CHECKING:
    from hafm.audio.sound import Audio
    from hafm.generate.accompany import Accompaniment, Accompanist
    from hafm.generate.progress import Progress
    from hafm.generate.record import GenerationRecord
    from hafm.stages.spec import StageSpec

__all__ = ["phases", "run_request"]

_BYTES_A_SAMPLE = 3
_BYTES_BESIDE = 2 << 20  # the record and the picture of a take, generously


def run_request(request: Request, *, shown: Display, interrupts: Interrupts) -> Outcome:
    """Do what was asked for.

    Args:
        request: what to do.
        shown: told what is going on.
        interrupts: cleans up when the process must end.

    Raises:
        HafmError: it cannot be done; nothing was written.
    """
    began = time.monotonic()
    shown.step("getting ready")
    from hafm.audio.io import read_audio
    from hafm.audio.output import check_output_folder
    from hafm.generate.device import find_device
    from hafm.generate.record import GenerationRecord

    if request.plot:
        from hafm.app.plot import check_matplotlib

        check_matplotlib()
    record = None if request.replay is None else GenerationRecord.read(request.replay)
    source = _source(request, record)
    device = (
        request.device
        if request.device is not None
        else "cpu"
        if record is None
        else record.environment.device
    )
    find_device(device)
    _check_folders(request, source, record)
    part = request if record is None else record.input
    vocal = read_audio(source, start_seconds=part.start_seconds, seconds=part.seconds)
    check_output_folder(request.output, overwrite=True, needed_bytes=_needed_bytes(request, vocal))

    shown.step("opening the bundle")
    accompanist = _open(request, record, device)
    ready = time.monotonic()

    shown.step("listening")
    on_progress = _reporter(accompanist, vocal, request, record, shown)
    accompaniments = _generate(accompanist, source, request, record, on_progress)
    generated = time.monotonic()

    shown.step("writing")
    with delivery(request.output, interrupts) as parcel:
        takes = [
            _save(accompaniment, number, len(accompaniments), parcel, request, record)
            for number, accompaniment in enumerate(accompaniments, start=1)
        ]
    written = time.monotonic()
    first = accompaniments[0]
    return Outcome(
        takes=takes,
        vocal=vocal,
        record=first.record,
        notes=tuple(dict.fromkeys((*vocal.notes, *(note for each in accompaniments for note in each.notes)))),
        timings={
            "prepare_seconds": ready - began,
            "generate_seconds": generated - ready,
            "write_seconds": written - generated,
            "total_seconds": written - began,
        },
    )


def phases(specs: "Sequence[StageSpec]", seconds: float) -> list[Phase]:
    """What a job consists of, for its estimate: a frame costs its codebooks times the work of one step.

    Args:
        specs: the stages that will run, in order.
        seconds: of vocal.

    >>> from hafm.stages.spec import COARSE, SEMANTIC
    >>> [(phase.name, phase.frames, phase.cost) for phase in phases([SEMANTIC, COARSE], 10.0)]
    [('semantic', 500, 24.0), ('coarse', 750, 96.0)]
    """
    return [
        Phase(
            name=spec.name,
            frames=max(1, round(seconds * spec.target.frame_rate)),
            # A small layer takes the time of its calls, whatever its width; at 512 that has doubled.
            cost=spec.target.num_codebooks * spec.num_layers * (1 + (spec.width / 512) ** 2),
        )
        for spec in specs
    ]


def _source(request: Request, record: "GenerationRecord | None") -> Path:
    """Where the vocal is."""
    if request.vocal is not None:
        return request.vocal
    if record is None or record.input.path is None:
        raise UsageError(
            f"'{request.replay}' does not say where its vocal was; name it: hafm generate VOCAL --replay ..."
        )
    return Path(record.input.path)


def _check_folders(request: Request, source: Path, record: "GenerationRecord | None") -> None:
    """Refuses an output folder that cannot take results, or in which one could replace vocal or record."""
    from hafm.audio.output import check_output_folder

    check_output_folder(request.output, overwrite=request.overwrite)
    folders = [request.output]
    if request.num_takes > 1:
        folders += [request.output / f"take-{number}" for number in range(1, request.num_takes + 1)]
    for folder in folders:
        for name, path in (("vocal", source), ("record", request.replay)):
            if path is not None and path.resolve().parent == folder.resolve():
                raise OutputError(
                    f"output folder '{request.output}' holds the {name} itself ('{path}'), which must not be "
                    "replaced; give another folder with -o"
                )


def _needed_bytes(request: Request, vocal: "Audio") -> int:
    channels = 1 + vocal.num_channels  # the accompaniment is mono, the mix has the vocal's channels
    return request.num_takes * (channels * vocal.num_samples * _BYTES_A_SAMPLE + _BYTES_BESIDE)


def _open(request: Request, record: "GenerationRecord | None", device: str) -> "Accompanist":
    from hafm.generate.accompany import Accompanist

    if request.bundle is not None:
        return Accompanist.from_pretrained(request.bundle, device=device)
    if record is not None:
        return Accompanist.from_pretrained(
            record.bundle.source, device=device, revision=record.bundle.revision
        )
    return Accompanist.from_pretrained("builtin", device=device)


def _reporter(
    accompanist: "Accompanist",
    vocal: "Audio",
    request: Request,
    record: "GenerationRecord | None",
    shown: Display,
) -> "Callable[[Progress], None]":
    skip_fine = request.skip_fine if record is None else record.settings.skip_fine
    names = ["semantic", "coarse"] if skip_fine else ["semantic", "coarse", "fine"]
    parts = phases([accompanist.bundle.spec(name) for name in names], vocal.seconds)
    report = shown.generation(Estimator(parts))
    frames = {part.name: part.frames for part in parts}

    def on_progress(progress: "Progress") -> None:
        report(progress.stage, round(frames[progress.stage] * progress.done / progress.total))
        if progress.stage == names[-1] and progress.done == progress.total:
            shown.step("rendering")

    return on_progress


def _generate(
    accompanist: "Accompanist",
    source: Path,
    request: Request,
    record: "GenerationRecord | None",
    on_progress: "Callable[[Progress], None]",
) -> "list[Accompaniment]":
    if record is not None:
        return [accompanist.replay(record, vocal=source, on_progress=on_progress)]
    return accompanist.generate_takes(
        source,
        takes=request.num_takes,
        seed=0 if request.seed is None else request.seed,
        temperature=request.temperature,
        top_k=request.top_k,
        guidance=request.guidance,
        start_seconds=request.start_seconds,
        seconds=request.seconds,
        skip_fine=request.skip_fine,
        on_progress=on_progress,
    )


def _save(
    accompaniment: "Accompaniment",
    number: int,
    of: int,
    parcel: Delivery,
    request: Request,
    record: "GenerationRecord | None",
) -> Take:
    from hafm.generate.record import GenerationRecord

    folder = parcel.staging / f"take-{number}" if of > 1 else parcel.staging
    options: dict[str, Any] = {
        "format": request.format,
        "balance_db": request.balance_db,
        "loudness_lufs": request.loudness_lufs,
    }
    given = {name: value for name, value in options.items() if value is not None}
    paths = accompaniment.save(folder, **(given if record is None else record.save_options()))
    levels = GenerationRecord.read(paths["record"]).output
    if request.plot:
        paths = {**paths, "plot": _plot(accompaniment, folder, f"take {number} of {of}")}
    return Take(
        number=number,
        paths={name: parcel.final(path) for name, path in paths.items()},
        levels={} if levels is None else levels.levels,
    )


def _plot(accompaniment: "Accompaniment", folder: Path, take: str) -> Path:
    from hafm.app.plot import draw
    from hafm.audio.output import atomic_file

    record = accompaniment.record
    name = Path(record.input.path).name if record.input.path is not None else "vocal"
    png = draw(
        vocal=accompaniment.vocal.waveform,
        accompaniment=accompaniment.waveform,
        sample_rate=accompaniment.sample_rate,
        title=name,
        subtitle=f"{take}, seed {record.settings.seed}, bundle {record.bundle.name} {record.bundle.version}",
        start_seconds=accompaniment.vocal.start_seconds,
    )
    path = folder / "plot.png"
    with atomic_file(path) as file:
        file.write(png)
    return path

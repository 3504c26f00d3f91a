"""`hafm generate`: from a checked request to files in a folder.

In: a `Request`. Out: an `Outcome`: where everything is, how long it took, what a user should know.

    device? folder? vocal? room on the disk? bundle?  ->  generate  ->  rank, save, draw  ->  put in place
    `-- separator? refused before the model runs --'                     `-- delivery.py: all or nothing --'

The accompaniment itself is made by `hafm.generate.accompany`; start to read there.
"""

import math
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from hafm.app.delivery import Delivery, delivery
from hafm.app.estimate import Estimator, Phase
from hafm.app.interrupt import Interrupts
from hafm.app.outcome import Outcome, Take
from hafm.app.pick import put_best
from hafm.app.plan import Plan, make_plan
from hafm.app.progress import Display
from hafm.app.request import Request
from hafm.app.separate_model import separator_threads
from hafm.errors import OutputError

if TYPE_CHECKING:
    from hafm.audio.sound import Audio
    from hafm.evaluate.ranking import Ranking
    from hafm.generate.accompany import Accompaniment, Accompanist
    from hafm.progress import OnProgress, Progress
    from hafm.separate.separator import Separator
    from hafm.stages.spec import StageSpec

__all__ = ["phases", "run_request"]

_BYTES_A_SAMPLE = 3
_BYTES_BESIDE = 2 << 20  # the record and the picture of a take, generously
_SEPARATION_COST = 500.0  # of a second, in units of `phases`; a net of a usual size: benchmarks/separate.py


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
    from hafm.device import find_device
    from hafm.files import check_output_folder
    from hafm.generate.accompany import Accompanist

    if request.plot:
        from hafm.app.plot import check_matplotlib

        check_matplotlib()
    plan = make_plan(request)
    find_device(plan.device)
    _check_folders(plan)
    vocal = read_audio(plan.vocal, start_seconds=plan.start_seconds, seconds=plan.seconds)
    check_output_folder(request.output, overwrite=True, needed_bytes=_needed_bytes(plan, vocal))

    separator = None if plan.separator is None else _open_separator(plan.separator)
    shown.step("opening the bundle")
    accompanist = Accompanist.from_pretrained(plan.bundle, device=plan.device, revision=plan.revision)
    ready = time.monotonic()

    shown.step("listening")
    reporter = _reporter(accompanist, plan, vocal.seconds, shown)
    accompaniments = plan.generate(accompanist, separator, reporter)
    generated = time.monotonic()

    ranking = _rank(accompaniments, shown) if request.pick == "best" else None
    ranked = time.monotonic()

    shown.step("writing")
    with delivery(request.output, interrupts) as parcel:
        takes = [
            _save(accompaniment, number, len(accompaniments), parcel, plan)
            for number, accompaniment in enumerate(accompaniments, start=1)
        ]
        picked = None if ranking is None else put_best(ranking, takes, parcel)
    written = time.monotonic()
    return Outcome(
        takes=takes,
        vocal=vocal,
        record=accompaniments[0].record,
        notes=tuple(dict.fromkeys(note for each in accompaniments for note in each.notes)),
        timings={
            "prepare_seconds": ready - began,
            "generate_seconds": generated - ready,
            **({} if ranking is None else {"rank_seconds": ranked - generated}),
            "write_seconds": written - ranked,
            "total_seconds": written - began,
        },
        picked=picked,
    )


def phases(specs: "Sequence[StageSpec]", seconds: float) -> list[Phase]:
    """What a job consists of, for its estimate: a frame costs its steps times the work of one.

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
            cost=_cost_of_a_frame(spec),
        )
        for spec in specs
    ]


def _cost_of_a_frame(spec: "StageSpec") -> float:
    """A small layer takes the time of its calls, whatever its width; at 512 that has doubled."""
    products = (spec.width / 512) ** 2
    if spec.pattern == "parallel":  # a pass is one call for many frames, whose products run twice as fast
        return spec.target.num_codebooks * spec.num_layers * products / 2
    steps = spec.target.num_codebooks if spec.pattern == "flat" else 1
    return steps * spec.num_layers * (1 + products)


def _open_separator(path: Path) -> "Separator":
    from hafm.separate.separator import Separator

    return Separator.open(path, threads=separator_threads())


def _check_folders(plan: Plan) -> None:
    """Refuses an output folder that cannot take results, or in which one could replace vocal or record."""
    from hafm.files import check_output_folder

    output, num_takes = plan.request.output, plan.request.num_takes
    check_output_folder(output, overwrite=plan.request.overwrite)
    folders = [output]
    if num_takes > 1:
        folders += [output / f"take-{number}" for number in range(1, num_takes + 1)]
    for folder in folders:
        for name, path in (("vocal", plan.vocal), ("record", plan.request.replay)):
            if path is not None and path.resolve().parent == folder.resolve():
                raise OutputError(
                    f"'{output}' holds the {name} itself ('{path}'), which must not be replaced; "
                    "give another folder with -o"
                )


def _needed_bytes(plan: Plan, vocal: "Audio") -> int:
    channels = 1 + vocal.num_channels  # the accompaniment is mono, the mix has the vocal's channels
    if plan.separator is not None:
        channels += 2 * vocal.num_channels  # the vocal, which may need floats
    copies = plan.request.num_takes + (plan.request.pick == "best")
    return copies * (channels * vocal.num_samples * _BYTES_A_SAMPLE + _BYTES_BESIDE)


def _reporter(accompanist: "Accompanist", plan: Plan, seconds: float, shown: Display) -> "OnProgress":
    """Turns the progress of stages into that of the job, and tells when the last stage is done."""
    from hafm.generate.vocal import SEPARATION

    names = ["semantic", "coarse"] if plan.skip_fine else ["semantic", "coarse", "fine"]
    parts = phases([accompanist.bundle.spec(name) for name in names], seconds)
    if plan.separator is not None:
        parts.insert(0, Phase(name=SEPARATION, frames=math.ceil(seconds), cost=_SEPARATION_COST))
    frames = {part.name: part.frames for part in parts}
    report = shown.generation(Estimator(parts))

    def on_progress(progress: "Progress") -> None:
        report(progress.step, round(frames[progress.step] * progress.done / progress.total))
        if progress.step == names[-1] and progress.done == progress.total:
            shown.step("rendering")

    return on_progress


def _rank(accompaniments: "Sequence[Accompaniment]", shown: Display) -> "Ranking":
    shown.step("comparing the takes")
    from hafm.evaluate.ranking import pick_best

    return pick_best(accompaniments)


def _save(accompaniment: "Accompaniment", number: int, of: int, parcel: Delivery, plan: Plan) -> Take:
    from hafm.generate.record import GenerationRecord

    folder = parcel.staging / f"take-{number}" if of > 1 else parcel.staging
    paths = accompaniment.save(folder, **plan.save_options)
    output = GenerationRecord.read(paths["record"]).output
    assert output is not None, "a record that was saved says how"
    if plan.request.plot:
        paths = {**paths, "plot": _plot(accompaniment, folder, f"take {number} of {of}")}
    return Take(
        number=number,
        paths={name: parcel.final(path) for name, path in paths.items()},
        levels=output.levels,
    )


def _plot(accompaniment: "Accompaniment", folder: Path, take: str) -> Path:
    from hafm.app.plot import draw
    from hafm.files import atomic_file

    record = accompaniment.record
    png = draw(
        vocal=accompaniment.vocal.waveform,
        accompaniment=accompaniment.waveform,
        sample_rate=accompaniment.sample_rate,
        title=Path(accompaniment.vocal.path or "vocal").name,
        subtitle=f"{take}, seed {record.settings.seed}, bundle {record.bundle.name} {record.bundle.version}",
        start_seconds=accompaniment.vocal.start_seconds,
    )
    path = folder / "plot.png"
    with atomic_file(path) as file:
        file.write(png)
    return path

"""`hafm evaluate`: from the words of the command line to a run of `hafm.evaluate.run.evaluate`.

In: a checked request. Out: an `EvaluateOutcome`, and the files of the run.
"""

import time
from pathlib import Path
from typing import TYPE_CHECKING

from hafm.app.estimate import Estimator, Phase
from hafm.app.evaluate_outcome import EvaluateOutcome
from hafm.app.evaluate_request import EvaluateRequest
from hafm.app.interrupt import Interrupts
from hafm.app.progress import Display
from hafm.errors import OutputError, UsageError
from hafm.progress import OnProgress, Progress

if TYPE_CHECKING:
    from hafm.evaluate.run.against import Comparison
    from hafm.evaluate.run.folder import RunFolder
    from hafm.evaluate.run.results import Results
    from hafm.evaluate.testset.clip import Protocol
    from hafm.generate.accompany import Accompanist

__all__ = ["run_evaluation"]

_PARTS_PER_STEP = 1000


def run_evaluation(request: EvaluateRequest, *, shown: Display, interrupts: Interrupts) -> EvaluateOutcome:
    """Evaluates.

    Args:
        request: what was asked for.
        shown: told how far it is.
        interrupts: told what a signal leaves behind.

    Raises:
        HafmError: it cannot be done; what is done is kept.
    """
    began = time.monotonic()
    shown.step("looking at the collection")
    older = None if request.against is None else _older(request.against)
    from hafm.data.collection.sources import guess_kind, open_source
    from hafm.device import find_device, one_thread
    from hafm.evaluate.embeddings import open_embedding
    from hafm.evaluate.run.clips import build_test_set
    from hafm.evaluate.run.evaluate import Settings, evaluate
    from hafm.evaluate.run.folder import RunFolder
    from hafm.evaluate.systems import open_systems

    _check_packages(request)
    find_device(request.device)
    root = request.collection.resolve()
    kind = request.kind if request.kind is not None else guess_kind(root)
    source = open_source(kind, root, subset=None, song_from=request.song_from)
    run = RunFolder(_folder(request.output))
    embeddings = [open_embedding(name, device=request.device) for name in request.embeddings]
    separator = None
    if request.separator is not None:
        from hafm.app.separate_model import separator_threads
        from hafm.separate.separator import Separator

        separator = Separator.open(request.separator, threads=separator_threads())
    shown.step("opening the bundle")
    accompanist = _accompanist(request)

    interrupts.left = "what is done is kept; run the same command to go on"
    build_test_set(run, source, _protocol(request), separator=separator, on_progress=_reporter(shown))
    with one_thread():
        results = evaluate(
            run,
            open_systems(
                request.chosen_systems,
                run,
                accompanist=accompanist,
                index=request.index,
                seed=request.seed,
                takes=request.takes,
                batch_rows=request.batch_size,
                temperature=request.temperature,
                top_k=request.top_k,
                guidance=request.guidance,
                skip_fine=request.skip_fine,
            ),
            embeddings=embeddings,
            settings=Settings(seed=request.seed, device=request.device),
            bundle=accompanist.bundle if accompanist is not None and request.worth else None,
            on_progress=_reporter(shown),
        )
    comparison = None if older is None else _compare(run, older, results)
    return EvaluateOutcome(
        run=run.path,
        results=results,
        report=_report(request, run, results, shown),
        comparison=comparison,
        seconds=time.monotonic() - began,
    )


def _check_packages(request: EvaluateRequest) -> None:
    """Refuses at once what would fail after hours of generation."""
    from hafm.evaluate.fit.beats import check_mir_eval

    check_mir_eval()
    if "retrieval" in request.chosen_systems:
        from hafm.evaluate.retrieval.transform import check_stretcher

        check_stretcher()


def _protocol(request: EvaluateRequest) -> "Protocol":
    from hafm.evaluate.testset.clip import Protocol

    least = request.clip_seconds if request.min_clip_seconds is None else request.min_clip_seconds
    return Protocol(
        split=request.split,
        clip_seconds=request.clip_seconds,
        min_clip_seconds=least,
        min_activity=request.min_activity,
        songs=request.songs,
        clips_per_song=request.clips_a_song,
    )


def _accompanist(request: EvaluateRequest) -> "Accompanist | None":
    """The bundle, if the model or its codec is evaluated."""
    if not {"codec", "model"} & set(request.chosen_systems):
        return None
    from hafm.generate.accompany import Accompanist

    return Accompanist.from_pretrained(request.bundle, device=request.device)


def _folder(output: Path) -> Path:
    """The folder of a run, made if need be.

    Raises:
        OutputError: it holds something else, or cannot be made.
    """
    from hafm.files import check_output_folder

    if output.is_dir() and any(output.iterdir()) and not (output / "sounds").is_dir():
        raise OutputError(
            f"'{output}' is in use by something else than an evaluation; give another folder with -o"
        )
    check_output_folder(output, overwrite=True)
    output.mkdir(parents=True, exist_ok=True)
    return output


def _older(path: Path) -> "Results":
    from hafm.evaluate.run.results import Results

    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(
            f"--against '{path}' cannot be read ({error}); give the results.json of a run"
        ) from error
    return Results.from_json(text, where=f"'{path}'")


def _compare(run: "RunFolder", older: "Results", results: "Results") -> "Comparison":
    from hafm.evaluate.run.against import compare

    comparison = compare(older, results)
    run.write("comparison.json", comparison.to_json())
    run.write("comparison.md", comparison.to_markdown())
    return comparison


def _report(request: EvaluateRequest, run: "RunFolder", results: "Results", shown: Display) -> Path:
    from hafm.evaluate.report.page import table_markdown, write_report
    from hafm.evaluate.run.folder import TABLE_FILE

    run.write(TABLE_FILE, table_markdown(results))
    return write_report(run, results, clips=request.report_clips, on_progress=_reporter(shown))


def _reporter(shown: Display) -> OnProgress:
    """Shows one step after the other, each with its own estimate of the time left."""
    jobs: dict[str, Estimator] = {}

    def on_progress(progress: Progress) -> None:
        now, step = time.monotonic(), progress.step
        if step not in jobs:
            jobs[step] = Estimator([Phase(name=step, frames=_PARTS_PER_STEP, cost=1.0)])
            jobs[step].start(now=now)
        done = round(_PARTS_PER_STEP * progress.done / progress.total)
        estimate = jobs[step].update(step, done=done, now=now)
        shown.show_items(estimate, f"{progress.done:,.0f} of {progress.total:,.0f}")

    return on_progress

"""`hafm prepare`: from the words of the command line to a run of `hafm.data.preparing.prepare`.

In: a checked request. Out: a `PrepareOutcome` or a `RehearsalOutcome`, and the files.
"""

import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from hafm.app.interrupt import Interrupts
from hafm.app.prepare_outcome import PrepareOutcome, RehearsalOutcome
from hafm.app.prepare_request import PrepareRequest
from hafm.app.progress import Display
from hafm.app.separate_model import separator_path
from hafm.errors import UsageError

if TYPE_CHECKING:
    from hafm.data.collection.track import Source
    from hafm.data.preparing.engine import Engine
    from hafm.data.preparing.prepare import PrepareConfig, PrepareProgress
    from hafm.data.preparing.workbench import OpenWorkbench

__all__ = ["run_preparation"]

_MIXES = ("mixes", "fma")
_STEPS = {"scan": "reading", "tokens": "preparing", "trial": "trying"}


def run_preparation(
    request: PrepareRequest, *, shown: Display, interrupts: Interrupts
) -> PrepareOutcome | RehearsalOutcome:
    """Prepares a collection, or rehearses that.

    Args:
        request: what was asked for.
        shown: told how far it is.
        interrupts: told what a signal leaves behind.

    Raises:
        HafmError: it cannot be done, or must stop; what is done is kept.
    """
    began = time.monotonic()
    shown.step("looking at the collection")
    source, kind = _source(request)
    opener = _opener(request, kind)
    shown.step("loading the parts")
    from hafm.data.preparing.prepare import prepare
    from hafm.data.preparing.rehearsal import rehearse
    from hafm.device import find_device

    find_device(request.device)
    config = _config(request)
    if request.dry_run:
        rehearsal = rehearse(config, source, opener, on_progress=_reporter(shown))
        return RehearsalOutcome(rehearsal=rehearsal, kind=kind, workers=max(1, request.num_workers))

    interrupts.left = "what is done is kept; run the same command to go on"
    report = _reporter(shown)

    def on_progress(progress: "PrepareProgress") -> None:
        if progress.step == "tokens":
            interrupts.left = (
                f"{progress.done:,} of {progress.total:,} tracks are done; run the same command to go on"
            )
        report(progress)

    result = prepare(config, source, opener, engine=_engine(request), on_progress=on_progress)
    interrupts.left = "all tracks are done"
    return PrepareOutcome(result=result, kind=kind, output=request.output, seconds=time.monotonic() - began)


def _source(request: PrepareRequest) -> "tuple[Source, str]":
    from hafm.data.collection.sources import guess_kind, open_source

    # Resolved, so that the same collection is the same one from another folder too.
    root = request.source.resolve()
    kind = request.kind if request.kind is not None else guess_kind(root)
    return open_source(kind, root, subset=request.subset, song_from=request.song_from), kind


def _opener(request: PrepareRequest, kind: str) -> "OpenWorkbench":
    from hafm.data.preparing.workbench import OpenWorkbench
    from hafm.data.tokenising.tokenise import TokeniseSettings

    separator = None
    if kind in _MIXES:
        separator = separator_path(request.separator, option="--separator")
    elif request.separator is not None:
        raise UsageError(f"--separator is for mixes, and a collection of kind {kind} has stems; leave it out")
    return OpenWorkbench(
        parts=request.parts,
        kmeans=request.kmeans,
        separator=separator,
        settings=TokeniseSettings(
            seed=request.seed,
            views=request.views,
            augment=request.augment,
            clip_seconds=request.clip_seconds,
        ),
        device=request.device,
    )


def _config(request: PrepareRequest) -> "PrepareConfig":
    from hafm.data.preparing.prepare import PrepareConfig
    from hafm.data.preparing.scan import SplitRule
    from hafm.data.tokenising.clip_filter import ClipFilter

    return PrepareConfig(
        out=request.output,
        clip_filter=ClipFilter(
            min_instrumental_dbfs=request.min_instrumental_dbfs,
            max_vocal_over_db=request.max_vocal_over_db,
        ),
        split_rule=SplitRule(
            seed=request.seed, valid_share=request.valid_share, test_share=request.test_share
        ),
        batch_size=request.batch_size,
        limit=request.limit,
        quarantine_limit=request.quarantine_limit,
        retry=request.retry,
    )


def _engine(request: PrepareRequest) -> "Engine":
    from hafm.data.preparing.engine import SameProcess
    from hafm.data.preparing.pool import Pool

    if request.engine == "ray":
        from hafm.data.preparing.ray_engine import RayEngine

        gpus = 1.0 if request.device.startswith("cuda") else 0.0
        return RayEngine(workers=request.num_workers, address=request.address, gpus=gpus)
    return Pool(workers=request.num_workers) if request.num_workers else SameProcess()


def _reporter(shown: Display) -> "Callable[[PrepareProgress], None]":
    reports: dict[str, Callable[[int, int], None]] = {}

    def on_progress(progress: "PrepareProgress") -> None:
        if progress.step not in reports:
            reports[progress.step] = shown.items(_STEPS[progress.step])
        reports[progress.step](progress.done, progress.total)

    return on_progress

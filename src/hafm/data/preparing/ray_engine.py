"""The cluster engine: the same preparers, in actors of Ray Data.

In: batches of tracks. Out: their results. See `hafm.workers` for the contract.

    batches --from_items--> blocks of one batch --map_batches(actors)--> rows --> results

An actor holds its models as a worker process does, and runs the same code; what a track becomes does not
depend on where it was made. Paths must mean the same on all machines (a shared disk); the ledger and the
shards lie with the process that calls.

| | `Pool` | here |
|---|---|---|
| a crash of the caller loses | one batch per worker | a few batches per worker: Ray works ahead |
| a worker dies on a batch | its tracks go alone, at once | its tracks and those queued go alone, later |
| a worker dies again on a track | it is quarantined | it goes in a round of its own, then it is quarantined |

Source: Ray Data, https://docs.ray.io/en/latest/data/data.html (extra `cluster`).
"""

import contextlib
import importlib
import json
import logging
import os
import signal
import threading
import warnings
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from dataclasses import asdict
from typing import Any, TypeAlias

from hafm.data.collection.track import Track
from hafm.data.result import ClipLevel, Prepared, Quarantined, TrackResult, TrackTokens
from hafm.errors import HafmError, UsageError
from hafm.worker_process import Failed, Preparer

__all__ = ["RayEngine"]

Opener: TypeAlias = Callable[[], Preparer[Track, TrackResult]]
Results: TypeAlias = Generator[Sequence[TrackResult], None, None]

_LOCAL = {"include_dashboard": False, "object_store_memory": 256 << 20}  # tokens are small
_ENVIRONMENT = {
    "RAY_USAGE_STATS_ENABLED": "0",  # it would tell Ray's makers about this run
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",  # as it will be; asked for by a warning
    "RAY_BACKEND_LOG_LEVEL": "fatal",
    "OMP_NUM_THREADS": "1",
}
# Otherwise a cluster of one machine looks for the way to the internet, and listens on that address.
_LOOPBACK = {"RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0"}


class RayEngine:
    """Actors on a Ray cluster.

    Args:
        workers: actors, 1 or more, with one core each.
        address: of a running cluster, or `auto`; None starts one on this machine, which ends with the run.
        gpus: share of a GPU that each actor needs, 0 or more.

    Raises:
        UsageError: a number is out of range.
    """

    def __init__(self, *, workers: int, address: str | None = None, gpus: float = 0.0) -> None:
        if workers < 1 or gpus < 0:
            raise UsageError(f"{workers} actors with {gpus} GPUs each do nothing; give 1 or more")
        self.workers = workers
        self.address = address
        self.gpus = gpus

    def run(self, batches: Iterable[Sequence[Track]], opener: Opener) -> Results:
        """See `Engine.run`; also a `HafmError` where Ray is not installed or cannot be reached."""
        groups = [list(batch) for batch in batches]
        if not groups:
            return
        waiting = {track.id: track for group in groups for track in group}
        with _connected(self.address, self.workers) as ray_data:
            # An actor that dies takes along what Ray had queued for it. So what is left goes once more, each
            # track alone; and what is left then has a round of its own, where nothing else can be to blame.
            yield from self._round(ray_data, groups, waiting, opener)
            yield from self._round(ray_data, [[track] for track in waiting.values()], waiting, opener)
            for track in list(waiting.values()):
                yield from self._round(ray_data, [[track]], waiting, opener)
        reason = "the worker process died twice on it"
        yield [Quarantined(track_id=track_id, reason=reason) for track_id in waiting]

    def _round(
        self, ray_data: Any, groups: list[list[Track]], waiting: dict[str, Track], opener: Opener
    ) -> Results:
        """What comes back, and so leaves `waiting`; nothing of a batch on which its actor died."""
        if not groups:
            return
        items = [{"tracks": json.dumps([track.to_dict() for track in group])} for group in groups]
        with warnings.catch_warnings():
            # Without `max_task_retries=0` Ray sends a batch that kills its actor to the next one, for ever.
            warnings.filterwarnings("ignore", message="`ray_remote_args` is deprecated")
            rows = ray_data.from_items(items, override_num_blocks=len(items)).map_batches(
                _Actor,
                fn_constructor_args=(opener,),
                concurrency=min(self.workers, len(items)),
                batch_size=1,
                num_cpus=1,
                num_gpus=self.gpus or None,
                max_task_retries=0,
            )
        for block in rows.iter_batches(batch_size=None, batch_format="pyarrow", prefetch_batches=0):
            results = [_unpacked(row) for row in block.to_pylist()]
            for result in results:
                del waiting[result.track_id]
            yield results


class _Actor:
    """A preparer, as Ray Data calls it."""

    def __init__(self, opener: Opener) -> None:
        import torch

        torch.set_num_threads(1)
        self._preparer = opener()

    def __call__(self, block: dict[str, Any]) -> dict[str, list[Any]]:
        rows: list[dict[str, Any]] = []
        for text in block["tracks"]:
            tracks = [Track.from_dict(values) for values in json.loads(str(text))]
            try:
                rows += [_packed(result) for result in self._preparer.prepare(tracks)]
            except Exception as error:  # else Ray would count it as a death
                failed = Failed.of(error)
                ours = None if failed.error is None else str(failed.error)
                rows.append(_row("failed", [ours, failed.what, failed.trace]))
        return {name: [row[name] for row in rows] for name in ("kind", "facts", "tokens")}


def _row(kind: str, facts: Any, tokens: bytes = b"") -> dict[str, Any]:
    return {"kind": kind, "facts": json.dumps(facts), "tokens": tokens}


def _packed(result: TrackResult) -> dict[str, Any]:
    facts = dict(vars(result))
    if isinstance(result, Quarantined):
        return _row("quarantined", facts)
    del facts["tokens"]
    facts.update(levels=[asdict(level) for level in result.levels], spent=dict(result.spent))
    return _row("prepared", facts, result.tokens.to_bytes())


def _unpacked(row: dict[str, Any]) -> TrackResult:
    facts = json.loads(row["facts"])
    if row["kind"] == "failed":
        ours, what, trace = facts
        raise Failed(error=None if ours is None else HafmError(ours), what=what, trace=trace).to_error()
    if row["kind"] == "quarantined":
        return Quarantined(**facts)
    facts.update(levels=tuple(ClipLevel(**level) for level in facts["levels"]), notes=tuple(facts["notes"]))
    return Prepared(tokens=TrackTokens.from_bytes(row["tokens"]), **facts)


@contextlib.contextmanager
def _connected(address: str | None, workers: int) -> Iterator[Any]:
    """`ray.data`, on a cluster that this call connects to or starts, unless the process is on one already."""
    os.environ.update({**_ENVIRONMENT, **(_LOOPBACK if address is None else {})})
    try:
        ray = importlib.import_module("ray")
        ray_data = importlib.import_module("ray.data")
    except ImportError as error:
        raise UsageError(
            "--engine ray needs Ray, which is not installed; pip install 'hafm[cluster]'"
        ) from error
    with contextlib.ExitStack() as stack:
        if not ray.is_initialized():
            local: dict[str, Any] = {} if address is not None else _LOCAL | {"num_cpus": workers}
            sigterm = signal.getsignal(signal.SIGTERM)  # Ray puts its own handler in the place of ours
            try:
                ray.init(
                    address="local" if address is None else address,
                    log_to_driver=False,
                    logging_level=logging.ERROR,
                    **local,
                )
            except (ConnectionError, RuntimeError, ValueError) as error:
                raise HafmError(
                    f"Ray cannot be reached at {address or 'this machine'} "
                    f"({' '.join(str(error).split())[:200]}); check --address"
                ) from error
            finally:
                if threading.current_thread() is threading.main_thread():
                    signal.signal(signal.SIGTERM, sigterm)
            stack.callback(ray.shutdown)
        context = ray_data.DataContext.get_current()
        context.enable_progress_bars = False
        context.print_on_execution_start = False
        context.max_errored_blocks = -1  # a batch on which an actor died is missing, and not the end
        logging.getLogger("ray.data").setLevel(logging.CRITICAL)
        yield ray_data

"""A request with every blank filled in: by a default, or by the record that is replayed.

In: a `Request`. Out: a `Plan`, from which the rest of the command works without asking whether it replays.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hafm.app.request import Request
from hafm.app.separate_model import separator_path
from hafm.errors import UsageError

if TYPE_CHECKING:
    from hafm.generate.accompany import Accompaniment, Accompanist
    from hafm.generate.record import GenerationRecord
    from hafm.progress import OnProgress
    from hafm.separate.separator import Separator

__all__ = ["Plan", "make_plan"]


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What is to be done.

    Args:
        request: as it came.
        record: what is replayed, if anything is.
        vocal: the recording.
        start_seconds, seconds: the part of it.
        bundle, revision: the model.
        device: where to compute.
        skip_fine: leave out the last stage.
        separator: the `.onnx` that takes the vocal out of the recording; None if that is the vocal.
        save_options: for `Accompaniment.save`.
    """

    request: Request
    record: "GenerationRecord | None"
    vocal: Path
    start_seconds: float | None
    seconds: float | None
    bundle: str
    revision: str | None
    device: str
    skip_fine: bool
    separator: Path | None
    save_options: Mapping[str, Any]

    def generate(
        self, accompanist: "Accompanist", separator: "Separator | None", on_progress: "OnProgress"
    ) -> "list[Accompaniment]":
        """The takes.

        Args:
            accompanist: the model.
            separator: what `self.separator` names, open.
            on_progress: told of every frame.

        Raises:
            HafmError: as `Accompanist.generate_takes` and `Accompanist.replay` do.
        """
        if self.record is not None:
            replayed = accompanist.replay(
                self.record, vocal=self.vocal, separator=separator, on_progress=on_progress
            )
            return [replayed]
        request = self.request
        return accompanist.generate_takes(
            self.vocal,
            takes=request.num_takes,
            seed=0 if request.seed is None else request.seed,
            temperature=request.temperature,
            top_k=request.top_k,
            guidance=request.guidance,
            start_seconds=self.start_seconds,
            seconds=self.seconds,
            skip_fine=self.skip_fine,
            separator=separator,
            on_progress=on_progress,
        )


def make_plan(request: Request) -> Plan:
    """Fill in the blanks of a request.

    Raises:
        UsageError: the record to be replayed cannot be read, or does not say where its vocal was.
    """
    if request.replay is not None:
        return _plan_of_replay(request, request.replay)
    assert request.vocal is not None, "a request has a vocal or a record"
    options = {
        "format": request.format,
        "balance_db": request.balance_db,
        "loudness_lufs": request.loudness_lufs,
    }
    return Plan(
        request=request,
        record=None,
        vocal=request.vocal,
        start_seconds=request.start_seconds,
        seconds=request.seconds,
        bundle="builtin" if request.bundle is None else request.bundle,
        revision=None,
        device="cpu" if request.device is None else request.device,
        skip_fine=request.skip_fine,
        separator=separator_path(request.separator, option="--separator") if request.separate else None,
        save_options={name: value for name, value in options.items() if value is not None},
    )


def _plan_of_replay(request: Request, replay: Path) -> Plan:
    from hafm.generate.record import GenerationRecord

    record = GenerationRecord.read(replay)
    vocal = request.vocal
    if vocal is None:
        if record.input.path is None:
            raise UsageError(
                f"'{replay}' was not made from a file; name the vocal: hafm generate VOCAL --replay"
            )
        vocal = Path(record.input.path)
    return Plan(
        request=request,
        record=record,
        vocal=vocal,
        start_seconds=record.input.start_seconds,
        seconds=record.input.seconds,
        bundle=record.bundle.source if request.bundle is None else request.bundle,
        revision=record.bundle.revision if request.bundle is None else None,
        device=record.environment.device if request.device is None else request.device,
        skip_fine=record.settings.skip_fine,
        separator=_separator_of_replay(request, record),
        save_options=record.save_options(),
    )


def _separator_of_replay(request: Request, record: "GenerationRecord") -> Path | None:
    """The record's separator: the one of the option, where it was then, or the one of HAFM_SEPARATOR."""
    if record.separation is None:
        if request.separator is not None:
            raise UsageError(
                f"'{request.replay}' was made from the vocal itself, without a separator; leave out "
                "--separator"
            )
        return None
    then = Path(record.separation.model)
    if request.separator is None and then.exists():
        return then
    try:
        return separator_path(request.separator, option="--separator")
    except UsageError as error:
        raise UsageError(
            f"the separator of '{request.replay}', '{then}', is not there any more; say where it is with "
            f"--separator MODEL.onnx (its fingerprint is {record.separation.fingerprint})"
        ) from error

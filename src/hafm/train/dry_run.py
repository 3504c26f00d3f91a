"""A run in miniature, before the first hour is spent: does everything work, and what will it cost?

In: a run that is ready to begin. Out: `DryRun`, for people and programs; and nothing on the disk.

    one step on real data             timed; on fewer clips where a whole batch would take long
    a checkpoint                      written beside the run's folder, read back, compared bit for bit
    a step from what was read back

The memory is that of weights, gradients and optimiser, which is known, and of everything else, which is
measured in the step and taken as proportional to the clips.
"""

import sys
import time
from dataclasses import dataclass

import torch

from hafm.errors import HafmError
from hafm.train.pieces import Piece
from hafm.train.trainer import Trainer

__all__ = ["DryRun", "dry_run"]

_MOST_SECONDS = 30.0  # for the timed step


@dataclass(frozen=True, kw_only=True)
class DryRun:
    """What a dry run found.

    Args:
        attention: how the position bias joins the scores, see `hafm.model.training_attention`.
        target_tokens_per_step, positions_per_step: of a whole batch; positions count a prefix too.
        clips_per_epoch: in the shards.
        timed_clips: of the batch, this rank's, in the timed step.
        loss: of that step.
        seconds_per_step: of a whole batch, reckoned from it.
        hours: of all steps, without evaluations and saving.
        state_bytes: weights, gradients, optimiser and moving average.
        memory_bytes: those and everything else, a rank; None where the system does not say.
        checkpoint_bytes: of one checkpoint; up to three stand at a time, and a fourth while it is written.
    """

    parameters: int
    precision: str
    attention: str
    target_tokens_per_step: int
    positions_per_step: int
    clips_per_epoch: int
    epochs: float
    timed_clips: int
    loss: float
    seconds_per_step: float
    hours: float
    state_bytes: int
    memory_bytes: int | None
    checkpoint_bytes: int
    save_seconds: float

    def lines(self) -> list[str]:
        """For people."""
        return [
            f"parameters     {self.parameters:,}, products in {self.precision}, attention: {self.attention}",
            f"tokens         {self.target_tokens_per_step:,} per step in {self.positions_per_step:,} "
            "positions",
            f"data           {self.clips_per_epoch:,} clips per epoch, {self.epochs:.1f} epochs in all",
            f"memory         {self._memory()}",
            f"time           about {self.seconds_per_step:.3g} s per step, {self.hours:,.2f} h in all (timed "
            f"on {self.timed_clips} clips)",
            f"checkpoint     {self.checkpoint_bytes / 1e6:.1f} MB in {self.save_seconds:.2f} s, read back "
            "and compared; make room for four",
            f"first loss     {self.loss:.4f}",
        ]

    def _memory(self) -> str:
        state = f"{self.state_bytes / 1e9:.2f} GB"
        if self.memory_bytes is None:
            return f"{state} per rank for weights, gradients and optimiser, and more for the products"
        whole = self.memory_bytes / 1e9
        return f"about {whole:.2f} GB a rank, {state} of it for weights, gradients and optimiser"


def dry_run(trainer: Trainer) -> DryRun:
    """Goes through a run in miniature, in an empty folder, which the caller deletes. All ranks call this."""
    recipe, ranks = trainer.recipe, trainer.ranks
    began = time.perf_counter()
    trainer.begin()
    save_seconds = time.perf_counter() - began
    before = _peak_bytes(ranks.device)

    pieces = trainer.pieces(0)
    _timed(trainer, (pieces[0].first(1),))  # the first step of all makes and compiles things
    one = _timed(trainer, (pieces[0].first(1),))[1]
    clips = sum(len(piece.target) for piece in pieces)
    if ranks.max(int(one * clips > _MOST_SECONDS)):
        pieces = (pieces[0].first(max(1, min(len(pieces[0].target), int(_MOST_SECONDS / one)))),)
    loss, seconds = _timed(trainer, pieces)
    timed = sum(len(piece.target) for piece in pieces)
    largest = max(len(piece.target) for piece in trainer.pieces(0))
    after = _peak_bytes(ranks.device)
    _reload(trainer, pieces)

    state = _state_bytes(trainer)
    memory = None
    if before is not None and after is not None:
        optimizer_bytes = state - 4 * trainer.state.model.num_parameters()
        activations = (
            max(0, after - before - optimizer_bytes) * largest / max(len(each.target) for each in pieces)
        )
        memory = int(state + activations)
    path = trainer.checkpoints.path(trainer.checkpoints.steps()[-1])
    seconds_per_step = seconds * clips / timed
    return DryRun(
        parameters=trainer.state.model.num_parameters(),
        precision=trainer.identity.software["precision"],
        attention=trainer.attention,
        target_tokens_per_step=recipe.batch * recipe.spec.target_slots,
        positions_per_step=recipe.batch * recipe.spec.sequence_length,
        clips_per_epoch=len(trainer.crops),
        epochs=recipe.steps * recipe.batch / len(trainer.crops),
        timed_clips=timed,
        loss=loss,
        seconds_per_step=seconds_per_step,
        hours=seconds_per_step * recipe.steps / 3600,
        state_bytes=state,
        memory_bytes=memory,
        checkpoint_bytes=ranks.max(sum(file.stat().st_size for file in path.iterdir())),
        save_seconds=save_seconds,
    )


def _timed(trainer: Trainer, pieces: tuple[Piece, ...]) -> tuple[float, float]:
    """Loss per clip and seconds of one step."""
    _synchronise(trainer.ranks.device)
    began = time.perf_counter()
    update = trainer.step(pieces, trainer.recipe.rate_share(0))
    _synchronise(trainer.ranks.device)
    seconds = time.perf_counter() - began
    share = trainer.ranks.sum(torch.tensor([sum(piece.share for piece in pieces)])).item()
    return update.loss / share, seconds


def _reload(trainer: Trainer, pieces: tuple[Piece, ...]) -> None:
    """Saves, reads back, compares, and takes a step from what was read."""
    trainer.save()
    before = trainer.state.capture(trainer.identity, trainer.ranks)
    found = trainer.checkpoints.load_newest()
    if found is None:
        raise HafmError(f"no checkpoint came to stand in '{trainer.run}', and none was refused: report this")
    trainer.state.restore(found, trainer.ranks)
    after = trainer.state.capture(trainer.identity, trainer.ranks)
    same = before.tensors.keys() == after.tensors.keys() and all(
        torch.equal(tensor, after.tensors[name])
        for name, tensor in before.tensors.items()
        if not name.startswith("rng.")  # which anything in between may have drawn from
    )
    if not same or before.facts != after.facts:
        raise HafmError(
            "a checkpoint that was read back is not what was written: report this, with your disk's kind"
        )
    trainer.step(pieces, trainer.recipe.rate_share(0))


def _state_bytes(trainer: Trainer) -> int:
    states = [state for optimizer in trainer.state.optimizers for state in optimizer.state.values()]
    moments = sum(tensor.nbytes for state in states for tensor in state.values())
    weights = 4 * trainer.state.model.num_parameters()
    return int(2 * weights + moments + (0 if trainer.state.ema is None else weights))


def _peak_bytes(device: torch.device) -> int | None:
    """The most memory that this process has had so far; None on Windows, which does not say."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    try:
        import resource
    except ImportError:
        return None
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else 1024 * peak


def _synchronise(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)

"""The one training loop, for all stages, on one device or many.

In: a stage, its recipe, training and held-out pairs. Out: a run folder (`hafm.train.run_folder`).

    newest valid checkpoint, or a new one at step 0
    until `recipe.steps` steps are applied:
        take the step's pieces        made ahead of time in a thread
        rate                          a function of the applied steps
        forward, backward, apply      or skip, or stop (hafm.train.update)
        report, evaluate, save        every few steps; the best evaluation is saved too
        a signal came?                save and stop

A run killed at any moment and started again goes on with the same losses, to the last bit, on the same number
of ranks of the same machine: batches and dropouts depend on (seed, step) alone, and the rest is in the
checkpoint.

Source: paper 3.5; reliability: the rules at the top of `checkpoint`, `update`, `state` and `stop`.
"""

import contextlib
import math
import signal
import time
from collections.abc import Callable, Collection
from contextlib import AbstractContextManager
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch

from hafm.data.crops import Crops, Pairs
from hafm.errors import HafmError, NonFinite, Stopped
from hafm.files import write_json
from hafm.model.training_attention import choose_attention
from hafm.stages.stage_model import StageModel
from hafm.train.checkpoint import Checkpoints
from hafm.train.distributed import Ranks
from hafm.train.feed import Feed
from hafm.train.heldout import HeldOut, held_out_loss
from hafm.train.metrics import Listener, Metrics, StepReport
from hafm.train.optim import Ema, build_optimizers, set_rate_share
from hafm.train.pieces import Piece, pieces_of_step, require_enough_clips
from hafm.train.recipe import Recipe
from hafm.train.run_folder import BATCH_FOLDER, OUTCOME_FILE, RECIPE_FILE
from hafm.train.state import Identity, Position, TrainState, require_same_run, seed_rng
from hafm.train.stop import StopFlag
from hafm.train.update import (
    PATIENCE,
    Update,
    accumulate,
    apply_update,
    make_scaler,
    resolve_precision,
    save_batch,
    shared_by,
)

__all__ = ["Trainer"]

_HELD_OUT_SEED = 1


class Trainer:
    """One run.

    Args:
        model: the stage, as a new run starts it; the same on all ranks.
        held_out: pairs of songs that are not trained on; None evaluates nothing.
        data: fingerprint of the pairs.
        run: folder for everything that is written.
        allow: in what a run that goes on may differ: names of `state.ALLOWABLE`.
        compile: compile the stage's blocks (`torch.compile`), which pays on a GPU.
        sampler: makes something to listen to, on rank 0; gets the model with the weights that are exported.
        sample_every: steps between two of its calls.

    Raises:
        UsageError: the pairs are too short, or the batch is too small for the ranks.
    """

    def __init__(
        self,
        *,
        model: StageModel,
        recipe: Recipe,
        training: Pairs,
        held_out: Pairs | None,
        data: str,
        run: Path,
        ranks: Ranks | None = None,
        allow: Collection[str] = (),
        tensorboard: bool = False,
        compile: bool = False,
        sampler: Callable[[StageModel, Position], None] | None = None,
        sample_every: int = 1000,
        listener: Listener | None = None,
    ) -> None:
        self.ranks = Ranks() if ranks is None else ranks
        self.sampler, self.sample_every = sampler, sample_every
        self.recipe, self.run, self.allow, self.tensorboard = recipe, run, allow, tensorboard
        self.listener = Listener() if listener is None or not self.ranks.is_first else listener
        require_enough_clips(recipe, self.ranks)
        self.crops = Crops(pairs=training, spec=recipe.spec, seed=recipe.seed)
        self.held_out: Crops | None = None
        if held_out is not None:
            self.held_out = Crops(pairs=held_out, spec=recipe.spec, seed=_HELD_OUT_SEED, views=False)
        self.dtype = resolve_precision(recipe.precision, self.ranks.device)
        self.attention = choose_attention(
            recipe.attention,
            device=self.ranks.device,
            head_width=recipe.spec.width // recipe.spec.num_heads,
            biased=recipe.spec.positions == "t5",
        )
        model.to(self.ranks.device).train()
        self.state = TrainState(
            model=model,
            optimizers=build_optimizers(
                model,
                kind=recipe.optimizer,
                peak_rate=recipe.peak_rate,
                embedding_rate=recipe.embedding_rate,
                weight_decay=recipe.weight_decay,
                betas=(recipe.beta1, recipe.beta2),
            ),
            scaler=make_scaler(self.dtype, self.ranks.device),
            ema=None if recipe.ema_decay is None else Ema(model, decay=recipe.ema_decay),
            position=Position(),
        )
        self.identity = Identity.of(recipe, data=data, ranks=self.ranks, dtype=self.dtype)
        self.checkpoints = Checkpoints(run)
        if compile:
            model.compile_blocks()
        self._shared = shared_by(model, self.ranks)
        self._saved_step: int | None = None

    def fit(self) -> None:
        """Trains until `recipe.steps` steps are applied, going on from the newest valid checkpoint.

        Raises:
            UsageError: the folder holds another run.
            CheckpointDamaged: all checkpoints are damaged.
            OutputError: a checkpoint cannot be written; those before are intact.
            NonFinite: a loss or gradient was not finite, and going on is no use.
            Stopped: a signal came; everything is saved.
        """
        self.begin()
        position, began = self.state.position, time.perf_counter()
        first = position.step
        self.listener.begins(self.recipe, position)
        with contextlib.ExitStack() as stack:
            metrics = None
            if self.ranks.is_first:
                metrics = stack.enter_context(Metrics(self.run, step=first, tensorboard=self.tensorboard))
            feed = stack.enter_context(Feed(self.pieces, first=first))
            stop = stack.enter_context(StopFlag())
            while position.updates < self.recipe.steps:
                pieces = feed.take()
                rate = self.recipe.rate_share(position.updates)
                update = self.step(pieces, rate, stop=stop.number)
                seconds = time.perf_counter() - began
                tokens = (position.step - first) * self.recipe.batch * self.recipe.spec.target_slots
                report = StepReport(
                    position=position,
                    update=update,
                    rate=rate * self.recipe.peak_rate,
                    seconds=seconds,
                    tokens_per_second=tokens / seconds,
                    waiting_share=feed.waited_seconds / seconds,
                )
                self.listener.step(report)
                self._report(metrics, report)
                self._evaluate_and_save(metrics, update)
                if update.stop:
                    self._stop(update.stop)
        self._conclude({"outcome": "finished", "exit_code": 0})

    def begin(self) -> None:
        """Goes on from the newest valid checkpoint, or writes the first; raises as `fit` does."""
        found = self.checkpoints.load_newest(
            lambda error: self.listener.note(f"{error}; trying the one before")
        )
        # One that this rank cannot read and another can would divide them.
        step = -1 if found is None else found.step
        if self.ranks.max(step) != step or -self.ranks.max(-step) != step:
            raise HafmError(
                f"the ranks see different checkpoints in '{self.run}'; it must be a shared folder"
            )
        seed_rng(self.recipe.seed, self.ranks.rank)
        if found is not None:
            saved = found.facts["run"]
            for line in require_same_run(saved, self.identity, allow=self.allow, where=str(self.run)):
                self.listener.note(f"going on with another {line}")
            self.state.restore(found, self.ranks)
            self._saved_step = found.step
        with self.ranks.first_alone(f"write to '{self.run}'"):
            if self.ranks.is_first:
                self.run.mkdir(parents=True, exist_ok=True)
                (self.run / OUTCOME_FILE).unlink(missing_ok=True)
                write_json(self.run / RECIPE_FILE, asdict(self.identity))
        if found is None:
            self.save()  # so that a full disk or a wrong folder is noticed now, and not in an hour

    def pieces(self, step: int) -> tuple[Piece, ...]:
        pieces = pieces_of_step(self.crops, self.recipe, step=step, ranks=self.ranks)
        return tuple(piece.pin() for piece in pieces) if self.ranks.device.type == "cuda" else pieces

    def step(self, pieces: tuple[Piece, ...], rate_share: float, *, stop: int = 0) -> Update:
        """Takes one step; `stop` is the signal that this rank was sent, 0 if none was."""
        state, position = self.state, self.state.position
        set_rate_share(state.optimizers, rate_share)
        loss = accumulate(
            self._shared,
            pieces,
            dtype=self.dtype,
            scaler=state.scaler,
            ranks=self.ranks,
            attention=self.attention,
        )
        update = apply_update(
            state.model,
            state.optimizers,
            loss=loss,
            clip_norm=self.recipe.clip_norm,
            scaler=state.scaler,
            ranks=self.ranks,
            stop=stop,
        )
        position.step += 1
        position.skips.count(update.finite)
        if not update.finite:
            if position.skips.is_hopeless(self.dtype):
                self._give_up(pieces, update)
            self.listener.note(
                f"step {position.step} was skipped: loss {update.loss}, gradient norm {update.norm}"
            )
            return update
        position.updates += 1
        position.unreported_sum += update.loss
        position.unreported += 1
        if state.ema is not None:
            state.ema.update(state.model)
        return update

    def _give_up(self, pieces: tuple[Piece, ...], update: Update) -> None:
        step = self.state.position.step
        path = save_batch(self.run / BATCH_FOLDER, pieces, step=step, rank=self.ranks.rank)
        row = f"{PATIENCE} steps in a row were" if self.dtype == torch.float16 else f"step {step} was"
        raise NonFinite(
            f"{row} not finite (loss {update.loss}, gradient norm {update.norm}); the last checkpoint in "
            f"'{self.run}' is intact and the batch lies in '{path}': look at it, or lower peak_rate or "
            "clip_norm and go on with --allow recipe"
        )

    def _report(self, metrics: Metrics | None, report: StepReport) -> None:
        position = self.state.position
        line: dict[str, Any] | None = None
        if not report.update.finite:
            line = {"step": position.step, "skipped": position.skips.total}
        elif position.updates % self.recipe.report_every == 0 or position.updates == self.recipe.steps:
            loss = position.unreported_sum / position.unreported
            position.unreported_sum, position.unreported = 0.0, 0
            line = report.metrics(loss=loss, epoch=position.step * self.recipe.batch / len(self.crops))
        if metrics is not None and line is not None:
            metrics.write(line)

    def _evaluate_and_save(self, metrics: Metrics | None, update: Update) -> None:
        position, recipe = self.state.position, self.recipe
        last = position.updates == recipe.steps
        best = False
        evaluates = last or position.updates % recipe.evaluate_every == 0
        if update.finite and self.held_out is not None and evaluates:
            scores = self.evaluate()
            best = scores.mean_right < (math.inf if position.best_loss is None else position.best_loss)
            if best:
                position.best_loss, position.best_step = scores.mean_right, position.step
            if metrics is not None:
                metrics.write({"step": position.step, "held_out": asdict(scores)})
            self.listener.evaluated(position, scores)
        due = update.finite and (last or position.updates % recipe.save_every == 0)
        if due or best or update.stop:
            self.save()
        samples = last or position.updates % self.sample_every == 0
        if update.finite and samples and self.sampler is not None and self.ranks.is_first:
            with self._exported_weights():
                self.sampler(self.state.model, position)

    def evaluate(self) -> HeldOut:
        """Scores on held-out pairs, of the weights that are exported. All ranks call this."""
        assert self.held_out is not None, "there are no held-out pairs"
        with self._exported_weights():
            return held_out_loss(
                self.state.model,
                self.held_out,
                clips=self.recipe.evaluate_clips,
                dtype=self.dtype,
                ranks=self.ranks,
            )

    def _exported_weights(self) -> AbstractContextManager[None]:
        ema = self.state.ema
        return contextlib.nullcontext() if ema is None else ema.in_place_of(self.state.model)

    def save(self) -> None:
        """Writes a checkpoint, unless this step has one. All ranks call this."""
        position = self.state.position
        if self._saved_step == position.step:
            return
        checkpoint = self.state.capture(self.identity, self.ranks)
        with self.ranks.first_alone("save a checkpoint"):
            if self.ranks.is_first:
                self.listener.saved(self.checkpoints.save(checkpoint, best=position.best_step))
        self._saved_step = position.step

    def _stop(self, number: int) -> None:
        stopped = Stopped(
            number,
            f"stopped by {signal.Signals(number).name} after step {self.state.position.step}, which is saved "
            f"in '{self.run}'; the same command goes on from there",
        )
        self._conclude({"outcome": "stopped", "exit_code": stopped.exit_code})
        raise stopped

    def _conclude(self, outcome: dict[str, object]) -> None:
        with self.ranks.first_alone(f"write to '{self.run}'"):
            if self.ranks.is_first:
                position = asdict(self.state.position)
                reached = {name: position[name] for name in ("step", "updates", "best_loss")}
                write_json(self.run / OUTCOME_FILE, {**outcome, **reached})

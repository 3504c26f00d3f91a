"""What the recipe's small trainings share: a step, a rate that rises and falls, checkpoints, the loop.

In:  the losses of a step, which a subclass draws. Out: `RUN/metrics.jsonl`, a row per step, and
`RUN/checkpoints/`.

Conventions: a step is a pure function of (seed, step) and of the weights before it. So a run that was stopped
goes on from its newest checkpoint, and ends bit for bit where an unbroken one would. One thread, AdamW.
"""

import json
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from recipes.builtin.codec.checkpoint import (
    latest_checkpoint,
    load_checkpoint,
    optimiser_tensors,
    restore_optimiser,
    save_checkpoint,
)

__all__ = ["SmallTraining"]

COOL_DOWN = 0.5
"""Share of all steps in which the rate falls."""
_NETWORK, _OPTIMISER = "network", "optimiser"


class SmallTraining:
    """A network, its optimiser, and how far they are.

    Args:
        network: that learns.
        weights: how much each loss counts.
        steps: in all.
        rate: highest learning rate.
        seed: of everything that is drawn.
        warm_up: steps in which the rate rises.
        weight_decay: of AdamW.
        shared: what else a run that goes on must share, as JSON values.
    """

    def __init__(
        self,
        network: nn.Module,
        *,
        weights: Mapping[str, float],
        steps: int,
        rate: float,
        seed: int,
        warm_up: int,
        weight_decay: float,
        shared: Mapping[str, object],
    ) -> None:
        self._network, self._weights = network, weights
        self.steps, self.rate, self.seed = steps, rate, seed
        self._warm_up = warm_up
        self.options = {"seed": seed, "steps": steps, "rate": rate, **shared}
        self.step = 0
        self._optimiser = torch.optim.AdamW(
            network.parameters(), lr=rate, betas=(0.9, 0.99), weight_decay=weight_decay
        )

    def draw_losses(self, rng: np.random.Generator) -> dict[str, Tensor]:
        """The losses of a batch, by the names of the weights; `rng` draws it."""
        raise NotImplementedError

    def take_step(self) -> dict[str, float]:
        """One step; its losses."""
        torch.manual_seed(1_000_003 * self.seed + self.step)  # of the dropout
        rising = min(1.0, (self.step + 1) / self._warm_up)
        falling = min(1.0, (1 - self.step / self.steps) / COOL_DOWN + 0.01)
        for group in self._optimiser.param_groups:
            group["lr"] = self.rate * rising * falling
        self._network.train()
        each = self.draw_losses(np.random.default_rng((self.seed, self.step)))
        self._optimiser.zero_grad()
        torch.stack([self._weights[name] * loss for name, loss in each.items()]).sum().backward()
        nn.utils.clip_grad_norm_(self._network.parameters(), 1.0)
        self._optimiser.step()
        self.step += 1
        return {name: float(loss.detach()) for name, loss in each.items()}

    def train(self, run: Path, *, save_every: int, saved: Callable[[], dict[str, float]]) -> None:
        """Goes on to the last step; prints a line at each checkpoint.

        Args:
            run: the folder.
            save_every: steps between checkpoints.
            saved: what is to be done at each of them; gives the held-out losses.
        """
        with (run / "metrics.jsonl").open("a", encoding="utf-8") as metrics:
            while self.step < self.steps:
                row: dict[str, object] = {"step": self.step, **self.take_step()}
                if self.step % save_every == 0 or self.step == self.steps:
                    self.save(run)
                    row["held_out"] = saved()
                    print(json.dumps(row), flush=True)
                metrics.write(json.dumps(row) + "\n")

    def save(self, run: Path) -> None:
        """Writes a checkpoint."""
        tensors = {f"{_NETWORK}.{name}": value for name, value in self._network.state_dict().items()}
        tensors |= optimiser_tensors(self._optimiser, _OPTIMISER)
        save_checkpoint(run / "checkpoints", step=self.step, tensors=tensors, state=self.options)

    def resume(self, run: Path) -> None:
        """Goes on from the newest checkpoint, if there is one.

        Raises:
            ValueError: it is of a run with other options.
        """
        place = latest_checkpoint(run / "checkpoints")
        if place is None:
            return
        tensors, state = load_checkpoint(place)
        others = [
            f"{name} {state.get(name)} and not {value}"
            for name, value in self.options.items()
            if state.get(name) != value
        ]
        if others:
            raise ValueError(f"'{run}' is of a run with {', '.join(others)}; give that, or another folder")
        prefix = f"{_NETWORK}."
        of_network = {name.removeprefix(prefix): v for name, v in tensors.items() if name.startswith(prefix)}
        self._network.load_state_dict(of_network)
        restore_optimiser(self._optimiser, tensors, _OPTIMISER)
        self.step = int(state["step"])

"""Trains an analyser on rendered pairs: what hears the lead sheet of a vocal, or of a band.

    python -m recipes.builtin.train_analyser vocal --pairs work/pairs --pop909 POP909 --run work/analysers
    python -m recipes.builtin.train_analyser band --pairs work/pairs --pop909 POP909 --run work/analysers

In:  `PAIRS/train` and `PAIRS/valid` (`recipes.builtin.render`), and the scores that they were rendered from:
chords of the training songs are counted for what usually follows what.
Out: `RUN/vocal.safetensors` or `RUN/band.safetensors`, for `recipes.builtin.bundle --analysers RUN`; and in
`RUN/vocal/` or `RUN/band/`, `metrics.jsonl`, `checkpoints/`, `features/`.

Conventions: given again, the command goes on where it stopped, and ends bit for bit where an uninterrupted
run would: step n draws from (seed, n). The pairs are those that were there at first. One thread.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits, cross_entropy

from hafm.guide.analyser import Analyser
from hafm.guide.network import SAMPLES_PER_TICK, AnalyserNetwork
from hafm.stages.analysers import ANALYSERS, AnalyserName, read_analyser, write_analyser
from hafm.train.update import autocast, resolve_precision
from recipes.builtin.analyser.examples import (
    CONFIGS,
    Batch,
    Example,
    Scale,
    draw_batch,
    read_examples,
)
from recipes.builtin.analyser.progressions import count_transitions
from recipes.builtin.rendering.scores import PackedPop909
from recipes.builtin.rendering.scores_folder import Pop909Folder
from recipes.builtin.training import SmallTraining

LOSS_WEIGHTS = {
    "beat": 1.0,
    "bar_of_four": 1.0,
    "bar_of_three": 1.0,
    "meter": 0.3,
    "tempo": 1.0,
    "root": 0.7,
    "pitch_classes": 2.0,
    "key": 0.3,
}

WARM_UP = 50
"""Steps in which the rate rises."""
HELD_OUT_BATCHES = 6

CPU = torch.device("cpu")
PRECISION = resolve_precision("half", CPU)
"""Of the matrix products: a processor that only imitates bfloat16 is ten times as fast in float32."""


def losses(network: AnalyserNetwork, batch: Batch) -> dict[str, Tensor]:
    """The loss of each head, by the names of `LOSS_WEIGHTS`.

    Beats, bars, meter, chords and key are learnt where the tempo is right; the tempo is learnt everywhere.
    """
    with autocast(PRECISION, CPU):
        found = network(batch.features, batch.inside, batch.bpm)
    inside = batch.inside[:, ::SAMPLES_PER_TICK].float()
    counted = inside * batch.is_right[:, None]
    per_row = inside / inside.sum(dim=1, keepdim=True).clamp_min(1)
    right = batch.is_right
    is_four = batch.beats_per_bar == 4
    root = cross_entropy(found.root.mT, batch.root, reduction="none")
    tones = binary_cross_entropy_with_logits(found.pitch_classes, batch.pitch_classes, reduction="none")

    def mean(each: Tensor, weight: Tensor = counted) -> Tensor:
        return (each * weight).sum() / counted.sum().clamp_min(1)

    def of_rows(logits: Tensor, wanted: Tensor) -> Tensor:
        """The loss of the mean over each crop whose tempo is right."""
        chosen = (logits * per_row[..., None]).sum(dim=1)[right]
        return cross_entropy(chosen, wanted[right]) if len(chosen) else logits.sum() * 0

    four, three = (counted * each[:, None] for each in (is_four, ~is_four))
    return {
        "beat": mean(_phase_loss(found.beat, batch.beats)),
        "bar_of_four": mean(_phase_loss(found.bar_of_four, batch.beats / 4), four),
        "bar_of_three": mean(_phase_loss(found.bar_of_three, batch.beats / 3), three),
        "meter": of_rows(found.meter, (~is_four).long()),
        "tempo": binary_cross_entropy_with_logits((found.tempo * per_row).sum(dim=1), right.float()),
        "root": mean(root),
        "pitch_classes": mean(tones.mean(dim=2)),
        "key": of_rows(found.key, batch.key),
    }


def _phase_loss(logits: Tensor, turns: Tensor) -> Tensor:
    """Cross-entropy of a phase between two classes, shared among both. Shape: [B, N, P], [B, N] -> [B, N]."""
    period = logits.shape[2]
    place = turns % 1 * period
    before = place.floor()
    part = place - before
    first = before.long() % period
    both = torch.stack([first, (first + 1) % period], dim=2)
    found = logits.log_softmax(dim=2).gather(2, both)
    return -(found[..., 0] * (1 - part) + found[..., 1] * part)


class Training(SmallTraining):
    """The training of a network that hears vocals, or bands.

    Args:
        name: who listens.
        examples: to learn from.
        transitions: of chords, `[2, 25, 25]`; they travel with the weights.
        steps: in all.
        rate: highest learning rate.
        seed: of everything that is drawn.
        init: an analyser to go on from, with its scale of the features and its chord transitions.
        init_share: how much of the result are the weights it started from; 0 for what was learnt alone. A
            mean of both keeps what real voices need and renders do not teach (Wortsman et al., "Robust
            fine-tuning of zero-shot models", 2022).
    """

    def __init__(
        self,
        *,
        name: AnalyserName,
        examples: Sequence[Example],
        transitions: Tensor,
        steps: int,
        rate: float,
        seed: int,
        init: Analyser | None = None,
        init_share: float = 0.0,
    ) -> None:
        if not 0 <= init_share <= 1 or (init_share and init is None):
            raise ValueError(f"init_share {init_share}: give 0 to 1, and an analyser to start from")
        self.name, self.examples = name, examples
        self.scale = Scale.of(examples)
        torch.manual_seed(seed)
        self.network = AnalyserNetwork(CONFIGS[name].network)
        self.network.mean.copy_(torch.from_numpy(self.scale.mean))
        self.network.deviation.copy_(torch.from_numpy(self.scale.deviation))
        self.network.chord_transitions.copy_(transitions)
        self._started = {} if init is None else init.weights
        self._init_share = init_share
        if init is not None:
            self.network.load_state_dict(init.weights)
            self.scale = Scale(init.weights["mean"].numpy(), init.weights["deviation"].numpy())
        super().__init__(
            self.network,
            weights=LOSS_WEIGHTS,
            steps=steps,
            rate=rate,
            seed=seed,
            warm_up=WARM_UP,
            weight_decay=0.02,
            shared={
                "init": None if init is None else init.fingerprint(),
                "precision": str(PRECISION),
            },
        )

    def draw_losses(self, rng: np.random.Generator) -> dict[str, Tensor]:
        """The losses of a batch that `rng` draws."""
        return losses(self.network, draw_batch(self.examples, name=self.name, scale=self.scale, rng=rng))

    @torch.no_grad()
    def held_out(self, batches: Sequence[Batch]) -> dict[str, float]:
        """The losses on some batches, without dropout."""
        self.network.eval()
        rows = [losses(self.network, batch) for batch in batches]
        return {head: float(torch.stack([row[head] for row in rows]).mean()) for head in LOSS_WEIGHTS}

    def analyser(self) -> Analyser:
        """What has been learnt so far, with the share of what it started from."""
        weights = self.network.state_dict()
        if self._init_share:
            weights = {
                key: torch.lerp(value, self._started[key], self._init_share) for key, value in weights.items()
            }
        return Analyser(config=CONFIGS[self.name], weights=weights)


def main(arguments: list[str] | None = None) -> int:
    """The command; returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("name", choices=ANALYSERS)
    parser.add_argument("--pairs", type=Path, required=True)
    parser.add_argument("--pop909", type=Path, required=True, help="the scores: a folder, or the pack")
    parser.add_argument("--run", type=Path, required=True)
    parser.add_argument("--init", type=Path, help="start from this file, an analyser's .safetensors")
    parser.add_argument(
        "--init-share", type=float, default=0.0, help="share of its weights in the result, 0 to 1 (default 0)"
    )
    parser.add_argument("--steps", type=int, default=3000)
    parser.add_argument("--rate", type=float, default=2e-3)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--save-every", type=int, default=200)
    options = parser.parse_args(arguments)

    torch.set_num_threads(1)
    folder: Path = options.run / options.name
    pack = PackedPop909 if options.pop909.is_file() else Pop909Folder
    training, held_out = (
        read_examples(
            options.pairs / split,
            name=options.name,
            cache=folder / "features" / f"{split}.npz",
            recorded=split == "train",
            seed=options.seed,
        )
        for split in ("train", "valid")
    )
    run = Training(
        name=options.name,
        examples=training,
        transitions=count_transitions(pack(options.pop909)),
        steps=options.steps,
        rate=options.rate,
        seed=options.seed,
        init=None if options.init is None else read_analyser(options.init),
        init_share=options.init_share,
    )
    run.resume(folder)
    valid = [
        draw_batch(held_out, name=options.name, scale=run.scale, rng=np.random.default_rng((9, number)))
        for number in range(HELD_OUT_BATCHES)
    ]

    def saved() -> dict[str, float]:
        write_analyser(options.run / f"{options.name}.safetensors", run.analyser(), storage="fp32")
        return run.held_out(valid)

    run.train(folder, save_every=options.save_every, saved=saved)
    return 0


if __name__ == "__main__":
    sys.exit(main())

"""One step of codec training, and all the state that a step depends on.

In:  crops of sound and the progress of the run (0 to 1). Out: losses; the codec, moved.

Three phases:

    steps 0 ..                encoder and decoder alone, nothing is quantised: latents take shape
    bypass_steps ..           codebooks are started from those latents, then everything trains together
    adversarial_from .. end   optional: critics join (`discriminators`)

Conventions: every random choice is a function of (seed, step), so a resumed run repeats an uninterrupted
one bit by bit (same machine, same number of threads). Half of the rows of a batch decode from all
codebooks, a quarter from the coarse four, a quarter from 1 to K at random, so that every prefix decodes.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

import torch
from jaxtyping import Float, Int
from torch import Tensor

from hafm.tokens.codec.config import CodecConfig
from hafm.tokens.codec.model import SpectralCodec
from hafm.tokens.codec.spectra import Prediction, Views, level_of
from recipes.builtin.codec.augment import augmented_batch
from recipes.builtin.codec.checkpoint import optimiser_tensors, restore_optimiser
from recipes.builtin.codec.codebooks import CodebookAverages, initialise_codebooks
from recipes.builtin.codec.data import SoundFile
from recipes.builtin.codec.discriminators import SpectrogramCritics, critic_loss, generator_loss
from recipes.builtin.codec.losses import BandLoss, LossWeights, NoteLoss, codec_losses

__all__ = ["CodecTrainer", "TrainingConfig", "learning_rate_factor"]

COARSE_CODEBOOKS = 4
START_BATCHES = 16
START_SEED_OFFSET = 1_000_000_000
"""Batches for measuring and for starting codebooks come from steps that no run reaches."""

Module = TypeVar("Module", bound=torch.nn.Module)


@dataclass(frozen=True, kw_only=True)
class TrainingConfig:
    """What decides a run, beside the codec's sizes, the files and the length of the run."""

    seed: int = 0
    batch_size: int = 8
    crop_frames: int = 100
    learning_rate: float = 1e-3
    warm_up_steps: int = 50
    bypass_steps: int = 60
    max_gradient_norm: float = 3.0
    bf16: bool = False
    adversarial_from: int | None = None
    adversarial_weight: float = 0.1
    weights: LossWeights = field(default_factory=LossWeights)

    def __post_init__(self) -> None:
        for name in ("batch_size", "crop_frames", "warm_up_steps"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name}={getattr(self, name)}: must be 1 or more")
        if self.bypass_steps < 0 or self.learning_rate <= 0 or self.max_gradient_norm <= 0:
            raise ValueError("bypass_steps must be 0 or more, learning_rate and max_gradient_norm above 0")


def learning_rate_factor(step: int, progress: float, *, warm_up_steps: int) -> float:
    """Linear warm-up, then half a cosine over the run, down to 2 %.

    >>> for step, progress in ((0, 0.0), (9, 0.0), (50, 0.5), (99, 1.0)):
    ...     print(round(learning_rate_factor(step, progress, warm_up_steps=10), 3))
    0.1
    1.0
    0.5
    0.02
    """
    warm = min(1.0, (step + 1) / warm_up_steps)
    return warm * max(0.02, 0.5 * (1 + math.cos(math.pi * min(1.0, progress))))


class CodecTrainer:
    """Codec, codebook averages, critics, optimisers and the step count.

    Args:
        codec: is trained in place.
        sounds: the files to train on.
        config: of the run.
        device: "cpu" or "cuda".
    """

    def __init__(
        self,
        *,
        codec: SpectralCodec,
        sounds: Sequence[SoundFile],
        config: TrainingConfig,
        device: str = "cpu",
    ) -> None:
        self.codec, self.sounds, self.config, self.device = (
            codec.to(device),
            sounds,
            config,
            torch.device(device),
        )
        self.averages = CodebookAverages(codec.quantizer).to(device)
        self.band_loss = BandLoss(codec.config).to(device)
        self.note_loss = None if codec.config.lows is None else NoteLoss(codec.config).to(device)
        self.optimiser = _adamw(codec, config.learning_rate)
        self.critics: SpectrogramCritics | None = None
        if config.adversarial_from is not None:
            self.critics = _seeded(SpectrogramCritics, config.seed).to(device)
            self.critic_optimiser = _adamw(self.critics, config.learning_rate)
        self.step = 0

    def take_step(self, progress: float) -> dict[str, float]:
        """Train on the next batch.

        Args:
            progress: how much of the run is done, 0 to 1; decides the learning rate.

        Returns:
            Every loss, the gradient norm, and how many entries were restarted.

        Raises:
            FloatingPointError: the loss is not finite.
        """
        config, step = self.config, self.step
        if step == 0:
            self._measure_levels()
        if step == config.bypass_steps:
            self._start_codebooks()
        random = torch.Generator().manual_seed(config.seed * 1_000_003 + step)
        factor = learning_rate_factor(step, progress, warm_up_steps=config.warm_up_steps)
        _set_learning_rate(self.optimiser, factor * config.learning_rate)

        quantise = step >= config.bypass_steps
        with torch.autocast(self.device.type, torch.bfloat16, enabled=config.bf16):
            views = self.codec.views_padded(self._batch(step))
            latent = self.codec.latent(views)
            quantised = self.codec.quantizer(latent if quantise else latent.detach(), self._active(random))
            prediction = self.codec.predict(quantised.latent if quantise else latent)
        losses = codec_losses(views, prediction, quantised, self.band_loss, self.note_loss, self.codec.config)
        weights = config.weights
        total = torch.stack([getattr(weights, name) * value for name, value in losses.items()]).sum()
        if (
            self.critics is not None
            and config.adversarial_from is not None
            and step >= config.adversarial_from
        ):
            losses |= self._criticise(prediction, level_of(views.spectrum.abs()), factor)
            total = total + config.adversarial_weight * losses["generator"]
        if not bool(torch.isfinite(total)):
            raise FloatingPointError(
                f"step {step}: the loss is {float(total)}; lower --learning-rate and resume"
            )
        self.optimiser.zero_grad()
        total.backward()
        norm = torch.nn.utils.clip_grad_norm_(self.codec.parameters(), config.max_gradient_norm)
        self.optimiser.step()
        restarted = self.averages.update(self.codec.quantizer, quantised, random) if quantise else 0
        self.step += 1
        return {name: float(value.detach()) for name, value in losses.items()} | {
            "total": float(total.detach()),
            "gradient_norm": float(norm),
            "restarted": restarted,
            "learning_rate": factor * config.learning_rate,
        }

    def tensors(self) -> dict[str, Tensor]:
        """All state that is tensors, by name; `step` is the rest of it."""
        found = {f"codec.{name}": tensor for name, tensor in self.codec.state_dict().items()}
        found |= {f"averages.{name}": tensor for name, tensor in self.averages.state_dict().items()}
        found |= optimiser_tensors(self.optimiser, "optimiser")
        if self.critics is not None:
            found |= {f"critics.{name}": tensor for name, tensor in self.critics.state_dict().items()}
            found |= optimiser_tensors(self.critic_optimiser, "critic_optimiser")
        return found

    def restore(self, tensors: dict[str, Tensor], step: int) -> None:
        """Put back what `tensors` gave at `step`; anything missing or left over is an error."""
        parts: list[tuple[str, Any]] = [("codec", self.codec), ("averages", self.averages)]
        if self.critics is not None:
            parts.append(("critics", self.critics))
            restore_optimiser(self.critic_optimiser, tensors, "critic_optimiser")
        for prefix, module in parts:
            own = {n.removeprefix(f"{prefix}."): t for n, t in tensors.items() if n.startswith(f"{prefix}.")}
            module.load_state_dict(own, strict=True)
        restore_optimiser(self.optimiser, tensors, "optimiser")
        self.step = step

    def _batch(self, step: int) -> Float[Tensor, "B T"]:
        config, sizes = self.config, self.codec.config
        samples = config.crop_frames * sizes.hop_samples + sum(self.codec.margins_samples)
        batch = augmented_batch(
            self.sounds, seed=config.seed, step=step, batch_size=config.batch_size, crop_samples=samples
        )
        return batch.to(self.device)

    def _active(self, random: torch.Generator) -> Int[Tensor, " B"]:
        """How many codebooks each row's decoder gets."""
        num_codebooks = self.codec.num_codebooks
        active = torch.randint(1, num_codebooks + 1, (self.config.batch_size,), generator=random)
        active[0::2] = num_codebooks
        active[1::4] = min(COARSE_CODEBOOKS, num_codebooks)
        return active.to(self.device)

    @torch.no_grad()
    def _start_views(self) -> list[Views]:
        return [
            self.codec.views_padded(self._batch(START_SEED_OFFSET + number))
            for number in range(START_BATCHES)
        ]

    @torch.no_grad()
    def _measure_levels(self) -> None:
        views = self._start_views()
        self.codec.level_mean.copy_(_mean_level([view.spectrum for view in views]))
        if self.codec.config.lows is not None:
            low_spectra = [view.low_spectrum for view in views if view.low_spectrum is not None]
            self.codec.low_level_mean.copy_(_mean_level(low_spectra))

    @torch.no_grad()
    def _start_codebooks(self) -> None:
        latents = torch.cat([self.codec.latent(views).flatten(0, 1) for views in self._start_views()])
        random = torch.Generator().manual_seed(self.config.seed)
        initialise_codebooks(self.codec.quantizer, latents, generator=random)
        self.averages.load_state_dict(CodebookAverages(self.codec.quantizer).state_dict())

    def _criticise(
        self, prediction: Prediction, true_level: Float[Tensor, "B F bins"], factor: float
    ) -> dict[str, Float[Tensor, ""]]:
        """One step of the critics, then what they say to the codec."""
        assert self.critics is not None
        made_scores, _ = self.critics(prediction.level.detach())
        true_scores, _ = self.critics(true_level)
        loss = critic_loss(true_scores, made_scores)
        _set_learning_rate(self.critic_optimiser, factor * self.config.learning_rate)
        self.critic_optimiser.zero_grad()
        loss.backward()
        self.critic_optimiser.step()
        made_scores, made_features = self.critics(prediction.level)
        with torch.no_grad():
            _, true_features = self.critics(true_level)
        return {"critic": loss, "generator": generator_loss(made_scores, made_features, true_features)}


def _mean_level(spectra: Sequence[Tensor]) -> Tensor:
    return torch.cat([level_of(spectrum.abs()).flatten(0, 1) for spectrum in spectra]).mean(0)


def _adamw(module: torch.nn.Module, learning_rate: float) -> torch.optim.AdamW:
    return torch.optim.AdamW(
        module.parameters(), lr=learning_rate, betas=(0.9, 0.98), weight_decay=0.01, fused=True
    )


def _set_learning_rate(optimiser: torch.optim.Optimizer, value: float) -> None:
    for group in optimiser.param_groups:
        group["lr"] = value


def codec_of(config: CodecConfig, seed: int) -> SpectralCodec:
    """An untrained codec whose weights are a function of the seed."""
    return _seeded(lambda: SpectralCodec(config=config), seed)


def _seeded(make: Callable[[], Module], seed: int) -> Module:
    """What `make` makes while torch's global generator is seeded; the generator is put back after."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return make()

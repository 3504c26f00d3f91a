"""How a stage is trained: one frozen, validated `Recipe` a stage.

In: the name of a stage. Out: its recipe.

    paper(stage)      Table 1 and section 3.5, to the letter
    builtin(stage)    the model in the package: small, aligned, for a laptop's processor
    tiny(stage)       seconds on one core, for tests and for trying things out

                  semantic      coarse        fine           Table 1
    clip          10 s          5 s           3 s
    batch         210           42            140            clips an optimiser step, over all GPUs
    accumulation  1             2             1              pieces in which a GPU takes its share
    steps         100,000       200,000       150,000

Conventions: `batch` counts the clips of one optimiser step, whatever the number of GPUs and pieces: a step is
the same on one GPU and on seven (to rounding), and `accumulation` only saves memory. So the paper's coarse
stage takes 42 clips per step, on its seven GPUs 3 at a time. The table can also be read as 42 clips per
piece, 84 per step, which would fill its GPUs as evenly as the other two stages do (30, 6 and 20 clips of
1000, 2000 and 1125 positions): `--set batch=84`. Rates are a function of the optimiser steps that were
applied; a step that float16 skips moves nothing.

Source: paper 3.5, Table 1. Evaluation, saving and reporting are ours; the paper says nothing about them.
"""

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from fractions import Fraction
from typing import Any, Literal, TypeAlias

from hafm.errors import UsageError
from hafm.model.training_attention import AttentionKind
from hafm.stages.guide import GuideSpec
from hafm.stages.spec import COARSE, FINE, SEMANTIC, StageSpec
from hafm.tokens.pattern import Pattern
from hafm.train.optim import OptimizerKind, cosine, trapezoid

__all__ = ["FREE_FIELDS", "RECIPES", "STAGES", "Precision", "Recipe", "builtin", "paper", "recipe_of", "tiny"]

Precision: TypeAlias = Literal["float32", "bfloat16", "float16", "half"]
Schedule: TypeAlias = Literal["cosine", "trapezoid"]

STAGES: dict[str, StageSpec] = {spec.name: spec for spec in (SEMANTIC, COARSE, FINE)}

FREE_FIELDS = frozenset({"evaluate_every", "evaluate_clips", "save_every", "report_every"})
"""What may differ when a run is resumed: no loss depends on it."""


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """How one stage is trained.

    Args:
        steps: optimiser steps in all, 1 or more.
        batch: clips per step, over all ranks and pieces.
        accumulation: pieces in which each rank takes its share of a batch, one after the other.
        optimizer: `adamw` for everything, or `muon` for the matrices inside the blocks and AdamW for the
            rest.
        final_rate: where the schedule ends, at most `peak_rate`.
        embedding_rate: with `muon`, the highest rate of what is no matrix inside a block; None is
            `peak_rate`.
        beta1, beta2: of AdamW, in [0, 1).
        weight_decay: decoupled; of every parameter with `adamw`, of the matrices with `muon`.
        schedule: `cosine`, or `trapezoid` (flat, then down over `cooldown_steps`).
        clip_norm: a gradient of a larger norm is scaled down to it.
        precision: of the matrix products: `float32`, `bfloat16`, `float16` (with gradient scaling), or
            `half`: bfloat16 where the device has it, else float16 on a GPU and float32 on a processor.
        attention: how the position bias joins the scores (`hafm.model.training_attention`): `auto` takes the
            fastest way of the device, `tiles`, `flex` or `sdpa`; they differ in the last bits.
        history_dropout: share of the clips in which tokens so far are hidden: all of them in half of these
            clips, a random share in the other half. Most tokens follow from the one before; a stage that is
            never without it learns to listen to itself and not to its condition (docs/experiments.md).
        warm_start: embeddings start from what the ids mean (`hafm.train.start`).
        ema_decay: also keep a moving average of the weights, and evaluate and export that; None keeps none.
        seed: of the weights, the order of the data, the crops and the dropouts.
        evaluate_every: steps between two evaluations on held-out pairs.
        evaluate_clips: clips of an evaluation, 2 or more.
        save_every: steps between two checkpoints.
        report_every: steps between two lines of metrics.

    Raises:
        UsageError: a field is out of range; it is named.

    >>> recipe = paper("coarse")
    >>> recipe.batch, recipe.accumulation, recipe.steps, recipe.spec.sequence_length
    (42, 2, 200000, 2000)
    >>> replace(recipe, batch=0)
    Traceback (most recent call last):
    ...
    hafm.errors.UsageError: the recipe of the coarse stage cannot work: batch must be 1 or more, not 0
    """

    spec: StageSpec
    steps: int
    batch: int
    accumulation: int = 1
    optimizer: OptimizerKind = "adamw"
    peak_rate: float = 3e-4
    final_rate: float = 1e-6
    embedding_rate: float | None = None
    beta1: float = 0.9
    beta2: float = 0.98
    weight_decay: float = 0.01
    warmup_steps: int = 4000
    schedule: Schedule = "cosine"
    cooldown_steps: int = 0
    clip_norm: float = 1.0
    precision: Precision = "half"
    attention: AttentionKind = "auto"
    history_dropout: float = 0.0
    warm_start: bool = False
    ema_decay: float | None = None
    seed: int = 0
    evaluate_every: int = 1000
    evaluate_clips: int = 128
    save_every: int = 1000
    report_every: int = 10

    def __post_init__(self) -> None:
        for name, (least, below) in _RANGES.items():
            value = getattr(self, name)
            if value is not None and not (least <= value < below):
                upper = "" if below == _INFINITE else f" and less than {below:g}"
                self._refuse(f"{name} must be {least:g} or more{upper}, not {value}")
        for name in ("peak_rate", "embedding_rate", "clip_norm"):
            value = getattr(self, name)
            if value is not None and not 0 < value < _INFINITE:
                self._refuse(f"{name} must be positive, not {value}")
        if self.final_rate > self.peak_rate:
            self._refuse(f"final_rate must be at most peak_rate ({self.peak_rate}), not {self.final_rate}")
        if self.batch < self.accumulation:
            self._refuse(f"batch ({self.batch}) must be at least accumulation ({self.accumulation})")
        if self.spec.pattern == "parallel" and self.history_dropout > 0:
            self._refuse(
                f"history_dropout must be 0 with pattern 'parallel', which has no tokens so far to hide, not "
                f"{self.history_dropout}"
            )

        lengths = {self.spec.clip_seconds * s.frame_rate for s in (*self.spec.sources, self.spec.target)}
        if any(length.denominator != 1 for length in lengths):
            self._refuse(
                f"spec.clip_seconds must be whole frames of every stream, not {self.spec.clip_seconds}"
            )

    def _refuse(self, why: str) -> None:
        raise UsageError(f"the recipe of the {self.spec.name} stage cannot work: {why}")

    def rate_share(self, updates: int) -> float:
        """The share of the peak rate that the step after `updates` applied ones has.

        >>> recipe = paper("semantic")
        >>> [f"{recipe.peak_rate * recipe.rate_share(n):.2e}" for n in (0, 3999, 52_000, 100_000)]
        ['7.50e-08', '3.00e-04', '1.50e-04', '1.00e-06']
        """
        floor = self.final_rate / self.peak_rate
        if self.schedule == "cosine":
            return cosine(updates, warmup=self.warmup_steps, total=self.steps, floor=floor)
        cooldown = self.cooldown_steps
        return trapezoid(updates, warmup=self.warmup_steps, total=self.steps, cooldown=cooldown, floor=floor)

    def to_dict(self) -> dict[str, Any]:
        """JSON values, which `from_dict` reads."""
        return {**asdict(self), "spec": self.spec.to_dict()}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> "Recipe":
        """A recipe from what `to_dict` gave, also after JSON.

        >>> Recipe.from_dict(builtin("fine").to_dict()) == builtin("fine")
        True
        """
        try:
            return cls(**{**values, "spec": StageSpec.from_dict(values["spec"])})
        except (KeyError, TypeError) as error:
            raise UsageError(
                f"this is no recipe ({error}); it was made by another version of hafm"
            ) from error


_INFINITE = float("inf")
_RANGES: dict[str, tuple[float, float]] = {
    "steps": (1, _INFINITE),
    "batch": (1, _INFINITE),
    "accumulation": (1, _INFINITE),
    "final_rate": (0, _INFINITE),
    "beta1": (0, 1),
    "beta2": (0, 1),
    "weight_decay": (0, _INFINITE),
    "warmup_steps": (0, _INFINITE),
    "cooldown_steps": (0, _INFINITE),
    "history_dropout": (0, 1 + 1e-9),
    "ema_decay": (0, 1),
    "seed": (0, 2**31),
    "evaluate_every": (1, _INFINITE),
    "evaluate_clips": (2, _INFINITE),
    "save_every": (1, _INFINITE),
    "report_every": (1, _INFINITE),
}
"""The least value, and the first that is too large."""


def paper(stage: str) -> Recipe:
    """Table 1 and section 3.5."""
    steps, batch, accumulation = {
        "semantic": (100_000, 210, 1),
        "coarse": (200_000, 42, 2),
        "fine": (150_000, 140, 1),
    }[_known(stage)]
    return Recipe(spec=STAGES[stage], steps=steps, batch=batch, accumulation=accumulation)


def builtin(stage: str) -> Recipe:
    """The model in the package; docs/experiments.md says what each choice is worth.

    The shapes differ from the paper's in size, in the layout of the condition, and in the patterns of coarse
    and fine: one frame per step with the codebooks side by side, and all frames of a codebook in one pass.
    The semantic stage carries what must hold over ten seconds; it and the coarse stage have a guide.
    """
    encoder_layers, num_layers, width, num_heads, clip_seconds, batch, history_dropout = {
        "semantic": (2, 6, 256, 4, 10, 8, 0.6),
        "coarse": (2, 6, 256, 4, 5, 8, 0.0),
        "fine": (0, 6, 192, 3, 3, 16, 0.0),
    }[_known(stage)]
    patterns: dict[str, Pattern] = {"semantic": "flat", "coarse": "delay", "fine": "parallel"}
    spec = replace(
        STAGES[stage],
        conditioning="aligned",
        encoder_layers=encoder_layers,
        num_layers=num_layers,
        width=width,
        num_heads=num_heads,
        clip_seconds=Fraction(clip_seconds),
        embedding_std=0.2,
        positions="rotary",
        pattern=patterns[stage],
        guidance_dropout=0.0 if stage == "fine" else 0.1,  # its likeliest codes are taken without guidance
    )
    if stage == SEMANTIC.name:
        spec = replace(spec, guide=GuideSpec(style=0.3))
    elif stage == COARSE.name:  # which is never without the semantic tokens
        spec = replace(spec, guide=GuideSpec(style=0.3, sources=0.0))
    return Recipe(
        spec=spec,
        steps=3000,
        batch=batch,
        optimizer="muon",
        peak_rate=2e-3,
        final_rate=1.2e-4,
        embedding_rate=2e-2,
        weight_decay=0.05,
        warmup_steps=30,
        schedule="trapezoid",
        cooldown_steps=1000,
        history_dropout=history_dropout,
        warm_start=True,
        evaluate_every=400,
        evaluate_clips=64,
        save_every=100,
        report_every=20,
    )


def tiny(stage: str) -> Recipe:
    """The shape of everything and the size of nothing: it learns eight clips by heart."""
    spec = replace(
        STAGES[_known(stage)],
        conditioning="aligned",
        encoder_layers=1,
        num_layers=2,
        width=64,
        num_heads=2,
        clip_seconds=Fraction(1),
        embedding_std=0.2,
    )
    return Recipe(
        spec=spec,
        steps=200,
        batch=8,
        peak_rate=1e-2,
        final_rate=1e-4,
        warmup_steps=10,
        precision="float32",
        evaluate_every=50,
        evaluate_clips=8,
        save_every=50,
    )


RECIPES: dict[str, Callable[[str], Recipe]] = {"paper": paper, "builtin": builtin, "tiny": tiny}


def recipe_of(name: str, stage: str) -> Recipe:
    """The recipe of that name; a `UsageError` if there is no such recipe or stage."""
    if name not in RECIPES:
        raise UsageError(f"there is no recipe {name!r}; there are {', '.join(RECIPES)}, and YAML files")
    return RECIPES[name](stage)


def _known(stage: str) -> str:
    if stage not in STAGES:
        raise UsageError(f"there is no stage {stage!r}; there are {', '.join(STAGES)}")
    return stage

"""Pairs that can be learned only by who hears the vocal, tiny recipes, and runs of them.

    from tests.train.echo_pairs import EchoPairs, RECIPE, train

The instrumental repeats the vocal one frame later, plus one. Every pair is as long as one clip, so that an
epoch takes each pair once.
"""

from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import torch

from hafm.guide.frames import GUIDE_CHANNELS
from hafm.stages.guide import GuideSpec
from hafm.stages.spec import COARSE, FINE, SEMANTIC, StageSpec, TokenStream
from hafm.stages.stage_model import StageModel
from hafm.train.distributed import Ranks
from hafm.train.heldout import HeldOut
from hafm.train.metrics import Listener, StepReport, read_metrics
from hafm.train.recipe import Recipe
from hafm.train.state import Position
from hafm.train.trainer import Trainer

CARDINALITY = 8
CLIP_SECONDS = Fraction(12, 25)


def small(spec: StageSpec, *, conditioning: str = "aligned") -> StageSpec:
    """A stage of the paper with its streams cut to `CARDINALITY` classes, and next to no width."""

    def cut(stream: TokenStream) -> TokenStream:
        return replace(stream, cardinality=CARDINALITY, num_codebooks=min(2, stream.num_codebooks))

    return replace(
        spec,
        sources=tuple(cut(source) for source in spec.sources),
        target=cut(spec.target),
        clip_seconds=CLIP_SECONDS,
        width=32,
        num_heads=2,
        num_layers=1,
        conditioning=conditioning,
        encoder_layers=1 if conditioning == "aligned" else 0,
    )


SPEC = small(SEMANTIC)
SPECS = {spec.name: small(spec) for spec in (SEMANTIC, COARSE, FINE)}
GUIDED = replace(SPEC, positions="rotary", guide=GuideSpec())
SPECS["delayed coarse"] = replace(SPECS["coarse"], pattern="delay")
SPECS["parallel fine"] = replace(SPECS["fine"], pattern="parallel")
RECIPE = Recipe(
    spec=SPEC,
    steps=30,
    batch=8,
    peak_rate=1e-2,
    final_rate=0.0,
    warmup_steps=3,
    precision="float32",
    evaluate_every=15,
    evaluate_clips=16,
    save_every=10,
    report_every=1,
)


class EchoPairs:
    """`count` pairs, each `CLIP_SECONDS` long.

    Their guides are noise.

    Args:
        first_seed: other seeds, other songs.
        count: of pairs.
        seconds: of each.
    """

    def __init__(self, first_seed: int = 0, *, count: int = 16, seconds: Fraction = CLIP_SECONDS) -> None:
        self.first_seed, self.count, self.seconds = first_seed, count, seconds
        self.taken: list[int] = []
        """Whose instrumental was asked for, in order."""

    def __len__(self) -> int:
        return self.count

    def num_views(self) -> int:
        return 1

    def frames(self, name: str) -> np.ndarray:
        rate = 75 if name.endswith("codes") else 50
        return np.full(self.count, -(-self.seconds * rate // 1), dtype=np.int64)

    def stream(self, index: int, name: str, view: int) -> np.ndarray:
        if name == "instrumental_semantic":
            self.taken.append(index)
        frames = int(self.frames(name)[0])
        rng = np.random.default_rng(self.first_seed + index)
        if name.endswith("codes"):
            codes = rng.integers(CARDINALITY, size=(2, frames))
            return codes if name == "coarse_codes" else (np.roll(codes, 1, axis=1) + 1) % CARDINALITY
        vocal = rng.integers(CARDINALITY, size=(1, frames))
        return vocal if name == "vocal_semantic" else (np.roll(vocal, 1, axis=1) + 1) % CARDINALITY

    def guide(self, index: int, inside: slice = slice(None)) -> np.ndarray:
        frames = int(self.frames("vocal_semantic")[0])
        rng = np.random.default_rng(self.first_seed + index)
        return rng.standard_normal((frames, GUIDE_CHANNELS)).astype(np.float32)[inside]


class Recorder(Listener):
    """Keeps what it is called with."""

    def __init__(self) -> None:
        self.notes: list[str] = []
        self.steps: list[int] = []
        self.scores: list[HeldOut] = []

    def note(self, text: str) -> None:
        self.notes.append(text)

    def step(self, report: StepReport) -> None:
        self.steps.append(report.position.step)

    def evaluated(self, position: Position, scores: HeldOut) -> None:
        self.scores.append(scores)


def trainer(run: Path, recipe: Recipe = RECIPE, *, ranks: Ranks | None = None, **options: Any) -> Trainer:
    """A run on echo pairs; `options` replace arguments of `Trainer`."""
    torch.manual_seed(recipe.seed)
    arguments: dict[str, Any] = {
        "model": StageModel(recipe.spec),
        "training": EchoPairs(0),
        "held_out": EchoPairs(100),
        "data": "echo",
    }
    return Trainer(recipe=recipe, run=run, ranks=ranks, **{**arguments, **options})


def losses(run: Path) -> dict[int, str]:
    """Loss of every reported step, in hexadecimal."""
    return {line["step"]: line["loss_hex"] for line in read_metrics(run) if "loss_hex" in line}

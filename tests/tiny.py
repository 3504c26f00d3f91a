"""A tiny random bundle that works, made and run in a moment, and something sung for it to accompany.

    from tests.tiny import make_tiny_bundle, sung

Its weights are noise, so what it plays is noise; lengths, files, errors and replays are as with a real one.
"""

import math
from collections.abc import Mapping
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import torch

from hafm import Accompaniment
from hafm.guide.analyser import BAND as BAND_ANALYSER
from hafm.guide.analyser import VOCAL as VOCAL_ANALYSER
from hafm.guide.analyser import Analyser
from hafm.guide.network import AnalyserNetwork
from hafm.stages.bundle_config import GenerationDefaults
from hafm.stages.bundle_writer import Ingredients, write_bundle
from hafm.stages.guide import GuideSpec
from hafm.stages.spec import COARSE, FINE, SEMANTIC, StageSpec, TokenStream
from hafm.stages.stage_model import StageModel
from hafm.tokens.codec.config import CodecConfig
from hafm.tokens.codec.model import SpectralCodec
from hafm.tokens.kmeans import KMeans
from hafm.tokens.pattern import Pattern
from hafm.tokens.spectral import INSTRUMENTAL, VOCAL, SpectralFeatures

RATE = 24_000
"""Sample rate of what `sung` gives by default."""

CARDINALITY = 16
"""Entries of every codebook, k-means included."""

CODEBOOKS = 4
"""Of the codec by default: half of them coarse, half of them fine."""

PATTERNS: dict[str, Pattern] = {"semantic": "flat", "coarse": "delay", "fine": "parallel"}
"""Of the stages by default, as in the built-in bundle: a third of the steps of stages that are flat."""


def tiny_spec(spec: StageSpec, *, codebooks: int = CODEBOOKS) -> StageSpec:
    """A stage of the paper, shrunk: the streams keep their rates and little else."""
    return replace(
        spec,
        sources=tuple(_shrunk(source, codebooks) for source in spec.sources),
        target=_shrunk(spec.target, codebooks),
        clip_seconds=Fraction(2),
        num_layers=1,
        width=32,
        num_heads=2,
        conditioning="aligned",
        encoder_layers=1,
    )


def _shrunk(stream: TokenStream, codebooks: int) -> TokenStream:
    num_codebooks = min(stream.num_codebooks, codebooks // 2)
    return replace(stream, cardinality=CARDINALITY, num_codebooks=num_codebooks)


def tiny_kmeans(features: SpectralFeatures, *, seed: int) -> KMeans:
    """Centroids that frames of any sound spread over."""
    generator = torch.Generator().manual_seed(seed)
    frames = features.extract(torch.randn(1, 24_000 * CARDINALITY // 8, generator=generator).cumsum(1))[0]
    chosen = torch.randperm(len(frames), generator=generator)[:CARDINALITY]
    return KMeans(centroids=frames[chosen], feature_fingerprint=features.fingerprint())


def tiny_codec(*, seed: int, codebooks: int = CODEBOOKS) -> SpectralCodec:
    """A codec whose random weights give sound of an ordinary level."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return SpectralCodec(
            config=CodecConfig(
                width=16,
                hidden=16,
                encoder_blocks=1,
                decoder_blocks=1,
                num_codebooks=codebooks,
                cardinality=CARDINALITY,
                phase_iterations=1,
            )
        )


def tiny_stage(spec: StageSpec, *, seed: int, codebooks: int = CODEBOOKS) -> StageModel:
    """A random stage whose tokens are not all alike: its heads are ten times as strong as when new."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = StageModel(tiny_spec(spec, codebooks=codebooks))
    with torch.no_grad():
        model.heads.mul_(10)
    return model.eval()


def tiny_stages(patterns: Mapping[str, Pattern], *, seed: int) -> dict[str, StageModel]:
    """The three stages, each with its pattern."""
    return {
        spec.name: tiny_stage(replace(spec, conditioning="aligned", pattern=patterns[spec.name]), seed=seed)
        for spec in (SEMANTIC, COARSE, FINE)
    }


def tiny_ingredients(*, seed: int = 0, **changes: Any) -> Ingredients:
    """What a tiny bundle is made of; another seed gives other parts throughout."""
    features = {"vocal": SpectralFeatures(VOCAL), "instrumental": SpectralFeatures(INSTRUMENTAL)}
    ingredients = Ingredients(
        name="tiny",
        version="0",
        licence="Apache-2.0",
        data="Nothing: the weights are random.",
        features=features,
        kmeans={
            side: tiny_kmeans(each, seed=seed + number)
            for number, (side, each) in enumerate(features.items())
        },
        codec=tiny_codec(seed=seed),
        stages=tiny_stages(PATTERNS, seed=seed),
        generation=GenerationDefaults(temperature=1.0, top_k=8, guidance=1.5),
        measured={"held-out loss": {"semantic": 2.77}},
        card=lambda bundle: f"# {bundle.config.name}\n\nRandom weights, for tests.\n",
    )
    return replace(ingredients, **changes)


def make_tiny_bundle(folder: Path, *, seed: int = 0) -> Path:
    """Writes a tiny bundle to `folder`, which must not exist, and returns it."""
    write_bundle(folder, tiny_ingredients(seed=seed))
    return folder


def make_following_bundle(folder: Path) -> Path:
    """Writes a tiny bundle that hears lead sheets and follows them; as random as the other."""
    torch.manual_seed(0)
    ingredients = tiny_ingredients(
        analysers={
            name: Analyser(config=config, weights=AnalyserNetwork(config.network).state_dict())
            for name, config in (("vocal", VOCAL_ANALYSER), ("band", BAND_ANALYSER))
        }
    )
    spec = replace(ingredients.stages["semantic"].spec, positions="rotary", guide=GuideSpec())
    stages = {**ingredients.stages, "semantic": StageModel(spec).eval()}
    write_bundle(folder, replace(ingredients, stages=stages))
    return folder


def sung(
    seconds: float = 0.5, *, sample_rate: int = RATE, hz: float = 220.0, channels: int = 1
) -> torch.Tensor:
    """Something to accompany: a tone that swells."""
    time = torch.arange(round(seconds * sample_rate)) / sample_rate
    tone = 0.2 * torch.sin(2 * math.pi * hz * time) * torch.sin(math.pi * time / seconds)
    return tone.expand(channels, -1).clone()


def same(one: Accompaniment, other: Accompaniment) -> bool:
    return (
        one.waveform.equal(other.waveform)
        and one.tokens.vocal_semantic.equal(other.tokens.vocal_semantic)
        and one.tokens.instrumental_semantic.equal(other.tokens.instrumental_semantic)
        and one.tokens.codes.equal(other.tokens.codes)
    )

"""Starting from a bundle: the weights arrive, and what does not fit is named."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from hafm.errors import BundleMismatch, BundleNotFound, UsageError
from hafm.stages.bundle import Bundle
from hafm.stages.stage_model import StageModel
from hafm.train.start import differences, start_from_bundle


@pytest.fixture(scope="module")
def bundle(tiny_bundle: Path) -> Bundle:
    return Bundle.read(tiny_bundle)


@pytest.mark.parametrize("stage", ["semantic", "coarse", "fine"])
def test_the_weights_are_those_of_the_bundle(bundle: Bundle, stage: str) -> None:
    spec = replace(bundle.spec(stage), guidance_dropout=0.25, embedding_std=0.3)  # training's own business
    model = StageModel(spec)
    start_from_bundle(model, bundle.folder, bundle.config.fingerprints)
    expected = bundle.load_stage(stage).state_dict()
    assert all(torch.equal(weight, expected[name]) for name, weight in model.state_dict().items())
    assert model.training
    assert all(parameter.requires_grad for parameter in model.parameters())
    assert model.spec == spec


def test_every_differing_field_is_named(bundle: Bundle) -> None:
    spec = bundle.spec("coarse")
    other = replace(
        spec, width=64, clip_seconds=2 * spec.clip_seconds, target=replace(spec.target, cardinality=7)
    )
    model = StageModel(other)
    before = {name: weight.clone() for name, weight in model.state_dict().items()}
    with pytest.raises(UsageError) as refused:
        start_from_bundle(model, bundle.folder, bundle.config.fingerprints)
    for part in (
        "width is 64 and there 32",
        "clip_seconds is '4' and there '2'",
        "target.cardinality is 7 and",
    ):
        assert part in str(refused.value)
    assert "num_heads" not in str(refused.value)
    assert all(torch.equal(weight, before[name]) for name, weight in model.state_dict().items())


def test_a_difference_in_number_of_sources_is_named(bundle: Bundle) -> None:
    spec = bundle.spec("coarse")
    assert any(
        "sources.1.name" in line for line in differences(replace(spec, sources=spec.sources[:1]), spec)
    )
    assert differences(spec, spec) == []


@pytest.mark.parametrize("part", ["codec", "kmeans_vocal", "features_instrumental"])
def test_shards_of_other_parts_are_refused(bundle: Bundle, part: str) -> None:
    model = StageModel(bundle.spec("fine"))
    found = {**bundle.config.fingerprints, part: "f" * 64}
    with pytest.raises(BundleMismatch, match=part) as refused:
        start_from_bundle(model, bundle.folder, found)
    assert "f" * 16 in str(refused.value)
    assert bundle.config.fingerprints[part][:16] in str(refused.value)


def test_no_bundle(tmp_path: Path, bundle: Bundle) -> None:
    with pytest.raises(BundleNotFound):
        start_from_bundle(StageModel(bundle.spec("fine")), tmp_path, {})

"""Analysers in files and in bundles."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from hafm.errors import BundleDamaged, BundleMismatch, UsageError
from hafm.guide.analyser import BAND, VOCAL, Analyser
from hafm.guide.network import AnalyserNetwork
from hafm.stages.analysers import as_stored, read_analyser, write_analyser
from hafm.stages.bundle import Bundle
from hafm.stages.bundle_config import BundleConfig
from hafm.stages.bundle_writer import copy_bundle, write_bundle
from hafm.stages.weights import write_weights
from tests.tiny import tiny_ingredients


def analyser(*, seed: int = 0) -> Analyser:
    torch.manual_seed(seed)
    return Analyser(config=VOCAL, weights=AnalyserNetwork(VOCAL.network).state_dict())


def test_an_analyser_comes_back_from_its_file(tmp_path: Path) -> None:
    path = tmp_path / "vocal.safetensors"
    write_analyser(path, analyser(), storage="int8")
    found = read_analyser(path)
    assert found.config == VOCAL
    assert found.fingerprint() == as_stored(analyser(), "int8").fingerprint()
    assert found.fingerprint() != analyser().fingerprint()


def test_both_analysers_stay_under_a_megabyte_and_a_half(tmp_path: Path) -> None:
    for name, config in (("vocal", VOCAL), ("band", BAND)):
        made = Analyser(config=config, weights=AnalyserNetwork(config.network).state_dict())
        write_analyser(tmp_path / name, made, storage="int8")
    assert sum(path.stat().st_size for path in tmp_path.iterdir()) < 1.5e6


def test_a_file_of_other_weights_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "vocal.safetensors"
    metadata = {"analyser": VOCAL.to_dict(), "fingerprint": analyser().fingerprint()}
    write_weights(path, analyser(seed=1).weights, storage="fp32", metadata=metadata)
    with pytest.raises(BundleDamaged, match="not hold the weights"):
        read_analyser(path)
    write_weights(path, analyser().weights, storage="fp32", metadata={**metadata, "analyser": BAND.to_dict()})
    with pytest.raises(BundleDamaged, match="does not hold an analyser"):
        read_analyser(path)
    write_weights(path, analyser().weights, storage="fp32", metadata={"stage": "coarse"})
    with pytest.raises(BundleDamaged, match="does not hold an analyser"):
        read_analyser(path)


def test_a_bundle_may_have_analysers(tmp_path: Path) -> None:
    bundle = write_bundle(tmp_path / "b", tiny_ingredients(analysers={"vocal": analyser()}))
    assert bundle.config.analysers == ("vocal",)
    assert "analyser/vocal.safetensors" in bundle.config.files
    assert bundle.load_analyser("vocal").fingerprint() == as_stored(analyser(), "int8").fingerprint()
    with pytest.raises(UsageError, match="the bundle 'tiny' has no band analyser"):
        bundle.load_analyser("band")
    copied = copy_bundle(bundle, tmp_path / "copy")
    assert copied.fingerprint == bundle.fingerprint
    assert BundleConfig.from_json(bundle.config.to_json()) == bundle.config


def test_a_bundle_without_analysers_is_as_it_always_was(tmp_path: Path) -> None:
    bundle = write_bundle(tmp_path / "b", tiny_ingredients())
    assert bundle.config.analysers == ()
    assert "analysers" not in bundle.config.to_dict()
    assert BundleConfig.from_json(bundle.config.to_json()) == bundle.config


@pytest.mark.long
def test_an_analyser_of_another_bundle_is_refused(tmp_path: Path) -> None:
    first = write_bundle(tmp_path / "1", tiny_ingredients(analysers={"vocal": analyser()}))
    second = write_bundle(tmp_path / "2", tiny_ingredients(analysers={"vocal": analyser(seed=1)}))
    path = Path("analyser") / "vocal.safetensors"
    (first.folder / path).write_bytes((second.folder / path).read_bytes())
    with pytest.raises(BundleMismatch, match="analyser_vocal"):
        first.load_analyser("vocal")
    with pytest.raises(BundleDamaged, match="was changed"):
        Bundle.read(first.folder)


def test_analysers_in_another_order_are_refused(tmp_path: Path) -> None:
    config = write_bundle(tmp_path / "b", tiny_ingredients()).config
    with pytest.raises(BundleDamaged, match="analysers are some of vocal, band; found band, vocal"):
        replace(config, analysers=("band", "vocal"))

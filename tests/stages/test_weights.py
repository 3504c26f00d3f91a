"""Storage of weights: what comes back, what it costs, and what is refused."""

import math
from pathlib import Path

import pytest
import safetensors.torch
import torch

from hafm.errors import BundleDamaged
from hafm.stages.spec import COARSE
from hafm.stages.stage_model import StageModel
from hafm.stages.weights import Storage, read_metadata, read_weights, stored, write_weights
from tests.tiny import CARDINALITY, tiny_spec, tiny_stage

STORAGES: tuple[Storage, ...] = ("fp32", "fp16", "int8")


def weights() -> dict[str, torch.Tensor]:
    return {
        "matrix": torch.randn(64, 96),
        "stack": 0.02 * torch.randn(4, 40, 32),
        "small": torch.randn(8, 4),
        "vector": torch.randn(512),
    }


@pytest.mark.parametrize("storage", STORAGES)
def test_a_file_gives_back_what_stored_says(tmp_path: Path, storage: Storage) -> None:
    path = tmp_path / "w.safetensors"
    write_weights(path, weights(), storage=storage, metadata={"stage": "fine"})
    torch.manual_seed(0)
    write_weights(path, given := weights(), storage=storage, metadata={"stage": "fine"})
    back = read_weights(path)
    assert back.keys() == given.keys()
    for name, tensor in stored(given, storage).items():
        assert back[name].dtype == torch.float32
        assert back[name].equal(tensor), name
    assert read_metadata(path) == {"stage": "fine", "storage": storage}


def test_fp32_is_exact() -> None:
    for name, tensor in stored(given := weights(), "fp32").items():
        assert tensor.equal(given[name])


def test_int8_is_the_nearest_of_255_levels_of_its_row() -> None:
    """Slow oracle: every weight by itself, in Python's own arithmetic."""
    given = {"matrix": torch.randn(5, 1000)}
    given["matrix"][2] = 0
    back = stored(given, "int8")["matrix"]
    for row, restored in zip(given["matrix"].tolist(), back.tolist(), strict=True):
        scale = max(map(abs, row)) / 127
        for weight, found in zip(row, restored, strict=True):
            nearest = 0.0 if scale == 0 else round(weight / scale) * scale
            assert (
                math.isclose(found, nearest, rel_tol=1e-5, abs_tol=1e-7)
                or abs(found - weight) <= scale / 2 * 1.0001
            )


def test_int8_leaves_vectors_and_small_matrices_alone() -> None:
    back = stored(given := weights(), "int8")
    assert back["vector"].equal(given["vector"])
    assert back["small"].equal(given["small"])
    assert not back["matrix"].equal(given["matrix"])


def test_sizes_on_disk(tmp_path: Path) -> None:
    given = {"matrix": torch.randn(256, 1024)}
    sizes = {}
    for storage in STORAGES:
        write_weights(tmp_path / storage, given, storage=storage, metadata={})
        sizes[storage] = (tmp_path / storage).stat().st_size / given["matrix"].numel()
    assert sizes["fp32"] == pytest.approx(4, abs=0.01)
    assert sizes["fp16"] == pytest.approx(2, abs=0.01)
    assert sizes["int8"] == pytest.approx(1, abs=0.01)


@pytest.mark.parametrize(("storage", "most"), [("fp16", 1e-3), ("int8", 0.02)])
def test_what_a_storage_does_to_the_logits(storage: Storage, most: float) -> None:
    """Root mean square error of a stage's logits against their spread."""
    spec = tiny_spec(COARSE)
    model = tiny_stage(COARSE, seed=3)
    rounded = StageModel(spec).eval()
    rounded.load_state_dict(stored(model.state_dict(), storage))
    frames = 60
    target = torch.randint(0, CARDINALITY, (2, spec.target.num_codebooks, frames))
    sources = tuple(torch.randint(0, CARDINALITY, (2, 1, n)) for n in spec.source_frames(frames))
    with torch.no_grad():
        exact, found = model(target, sources), rounded(target, sources)
    error = float((found - exact).square().mean().sqrt() / exact.std())
    assert 0 < error < most, f"{storage}: relative error of the logits {error:.4f}"


@pytest.mark.parametrize(
    ("storage", "value"),
    [("fp32", math.nan), ("int8", math.inf), ("fp16", 1e6)],
    ids=["nan", "inf", "overflow"],
)
def test_what_cannot_be_stored_is_refused(tmp_path: Path, storage: Storage, value: float) -> None:
    given = weights()
    given["matrix"][0, 0] = value
    with pytest.raises(ValueError, match="matrix holds values that cannot be stored"):
        write_weights(tmp_path / "w", given, storage=storage, metadata={})
    assert list(tmp_path.iterdir()) == []


def test_a_file_of_another_kind_is_damaged(tmp_path: Path) -> None:
    path = tmp_path / "w.safetensors"
    with pytest.raises(BundleDamaged, match=r"w\.safetensors"):
        read_weights(path)
    path.write_bytes(b"PK\x03\x04 not safetensors")
    with pytest.raises(BundleDamaged, match=r"w\.safetensors"):
        read_weights(path)
    safetensors.torch.save_file({"a": torch.zeros(2)}, path)  # no metadata of ours
    with pytest.raises(BundleDamaged, match=r"w\.safetensors"):
        read_metadata(path)

"""Checkpoints: whole or not there, every changed bit found, the previous one used, a full disk survived."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

from hafm.errors import CheckpointDamaged, OutputError
from hafm.train.checkpoint import Checkpoint, Checkpoints


def made(step: int) -> Checkpoint:
    generator = torch.Generator().manual_seed(step)
    tensors = {
        "model.weight": torch.randn(7, 5, generator=generator),
        "optimizer.0.0.step": torch.tensor(float(step)),
        "rng.0": torch.arange(30, dtype=torch.uint8),
    }
    return Checkpoint(step=step, tensors=tensors, facts={"position": {"step": step, "loss": 0.1}, "ö": None})


@pytest.fixture
def saved(tmp_path: Path) -> Checkpoints:
    """Steps 10 and 20."""
    checkpoints = Checkpoints(tmp_path)
    for step in (10, 20):
        checkpoints.save(made(step))
    return checkpoints


def same(one: Checkpoint | None, other: Checkpoint) -> bool:
    assert one is not None
    tensors = one.tensors.keys() == other.tensors.keys() and all(
        torch.equal(value, other.tensors[name]) for name, value in one.tensors.items()
    )
    return tensors and (one.step, one.facts) == (other.step, other.facts)


def test_what_is_saved_comes_back(saved):
    assert same(saved.load_newest(), made(20))
    assert same(saved.load(10), made(10))
    assert Checkpoints(saved.folder / "nowhere").load_newest() is None


def test_the_newest_two_and_the_best_stay(tmp_path):
    checkpoints = Checkpoints(tmp_path)
    for step in range(1, 8):
        checkpoints.save(made(step), best=2 if step > 1 else None)
    assert checkpoints.steps() == [2, 6, 7]
    assert sorted(path.name for path in checkpoints.folder.iterdir()) == ["00000002", "00000006", "00000007"]


def test_the_same_step_can_be_saved_again(saved):
    saved.save(made(20))
    assert saved.steps() == [10, 20]
    assert same(saved.load_newest(), made(20))


def flip(path: Path, rng: np.random.Generator) -> None:
    data = bytearray(path.read_bytes())
    bit = int(rng.integers(8 * len(data)))
    data[bit // 8] ^= 1 << bit % 8
    path.write_bytes(data)


def truncate(path: Path, rng: np.random.Generator) -> None:
    data = path.read_bytes()
    path.write_bytes(data[: int(rng.integers(len(data)))])


@pytest.mark.parametrize(
    ("name", "damage"),
    [
        ("state.safetensors", flip),
        ("manifest.json", truncate),
        pytest.param("state.safetensors", truncate, marks=pytest.mark.slow),
        pytest.param("manifest.json", flip, marks=pytest.mark.slow),
    ],
)
def test_every_one_of_500_damages_is_found_and_named(saved, damage, name):
    """250 flips and 250 truncations in all; the checkpoint before is used every time."""
    rng, path = np.random.default_rng(0), saved.path(20) / name
    intact = path.read_bytes()
    for _ in range(125):
        damage(path, rng)
        damaged: list[CheckpointDamaged] = []
        found = saved.load_newest(damaged.append)
        assert found is not None
        assert found.step == 10, "a damage went unnoticed"
        assert "00000020" in str(damaged[0])
        path.write_bytes(intact)
    assert same(saved.load_newest(), made(20))


def test_flips_in_the_payload_would_pass_without_the_hash(saved):
    """The control: safetensors itself notices none of them."""
    from safetensors.torch import load

    data = bytearray((saved.path(20) / "state.safetensors").read_bytes())
    data[-1] ^= 1
    assert load(bytes(data)).keys() == made(20).tensors.keys()


@pytest.mark.parametrize("name", ["state.safetensors", "manifest.json", "."])
def test_a_missing_file_is_a_damage(saved, name):
    path = saved.path(20) / name
    shutil.rmtree(path) if name == "." else path.unlink()
    found = saved.load_newest()
    assert found is not None
    assert found.step == 10


def test_an_exchanged_state_is_a_damage(saved):
    shutil.copy(saved.path(10) / "state.safetensors", saved.path(20) / "state.safetensors")
    with pytest.raises(CheckpointDamaged, match="bytes of state"):
        saved.load(20)
    shutil.rmtree(saved.path(20))
    shutil.copytree(saved.path(10), saved.path(20))
    with pytest.raises(CheckpointDamaged, match="step 10"):
        saved.load(20)


def test_if_all_are_damaged_nothing_is_made_up(saved):
    for step in saved.steps():
        (saved.path(step) / "manifest.json").write_text("{}")
    with pytest.raises(CheckpointDamaged, match="all checkpoints"):
        saved.load_newest()


def test_a_damaged_one_does_not_push_a_good_one_out(saved):
    (saved.path(20) / "manifest.json").write_text("{}")
    saved.save(made(15))
    assert saved.steps() == [10, 15, 20]
    saved.save(made(20))
    assert same(saved.load_newest(), made(20))
    assert saved.steps() == [15, 20]


def test_other_formats_are_refused(saved):
    path = saved.path(20) / "manifest.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "format": 2}))
    with pytest.raises(CheckpointDamaged):
        saved.load(20)


def files(folder: Path) -> dict[str, bytes]:
    return {str(path): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_a_disk_without_room_is_reported_before_anything_is_written(saved, monkeypatch):
    before = files(saved.folder)
    usage = shutil.disk_usage(saved.folder)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage._replace(free=1000))
    with pytest.raises(
        OutputError, match=r"1\.0 MB are needed and 0\.0 MB are free.*intact checkpoints: 10, 20"
    ):
        saved.save(made(30))
    assert files(saved.folder) == before
    assert sorted(path.name for path in saved.folder.iterdir()) == ["00000010", "00000020"]


def test_a_disk_that_fills_up_while_writing_leaves_the_old_ones(saved):
    """A limit on the size of files makes the kernel refuse the write, as a full disk does."""
    resource = pytest.importorskip("resource")
    before = files(saved.folder)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (300, hard))
    try:
        with pytest.raises(OutputError, match=r"are needed.*intact checkpoints: 10, 20"):
            saved.save(made(30))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert files(saved.folder) == before


def test_what_reads_back_otherwise_is_not_believed(saved, monkeypatch):
    monkeypatch.setattr("hafm.train.checkpoint._sha256", lambda _: "0" * 64)
    with pytest.raises(OutputError, match="read back"):
        saved.save(made(30))
    assert saved.steps() == [10, 20]


def test_what_a_stop_left_half_written_is_cleared(saved):
    (saved.folder / ".00000030.partial").mkdir()
    (saved.folder / ".00000030.partial" / "state.safetensors").write_bytes(b"half")
    found = saved.load_newest()
    assert found is not None
    assert found.step == 20
    saved.save(made(30))
    assert sorted(path.name for path in saved.folder.iterdir()) == ["00000020", "00000030"]

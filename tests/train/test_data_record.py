"""What a run keeps of its shards: once, whole, and replaced only when that was asked for."""

from pathlib import Path

import pytest

from hafm.data.shards.reader import Shards
from hafm.errors import OutputError, ShardsDamaged, UsageError
from hafm.stages.parts import PartsFile
from hafm.train.run_folder import read_data, record_data
from tests.train.training_shards import make_training_shards


@pytest.fixture(scope="module")
def shards(tiny_shards: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Shards, Shards]:
    other = tmp_path_factory.mktemp("shards") / "other"
    make_training_shards(other, songs=1, held_out=0, seed=1)
    return Shards.open(tiny_shards), Shards.open(other)


def test_index_and_parts_are_kept(shards: tuple[Shards, Shards], tmp_path: Path) -> None:
    record_data(tmp_path / "run", shards[0])
    kept = read_data(tmp_path / "run")
    assert kept.index == shards[0].index
    assert kept.index.digest() == shards[0].fingerprint()
    assert PartsFile.read(kept.parts_folder).fingerprints == shards[0].index.fingerprints
    assert [path.name for path in (tmp_path / "run").iterdir()] == ["data"]


def test_others_take_its_place_only_on_demand(shards: tuple[Shards, Shards], tmp_path: Path) -> None:
    first, second = shards
    record_data(tmp_path, first)
    record_data(tmp_path, second)
    assert read_data(tmp_path).index == first.index
    record_data(tmp_path, second, replace=True)
    assert read_data(tmp_path).index == second.index
    assert [path.name for path in tmp_path.iterdir()] == ["data"]


def test_what_is_kept_already_is_not_written_again(shards: tuple[Shards, Shards], tmp_path: Path) -> None:
    record_data(tmp_path, shards[0])
    before = (tmp_path / "data").stat().st_ino
    record_data(tmp_path, shards[0], replace=True)
    assert (tmp_path / "data").stat().st_ino == before


def test_no_run_and_a_changed_index_are_named(shards: tuple[Shards, Shards], tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="does not say what it was trained on"):
        read_data(tmp_path)
    record_data(tmp_path, shards[0])
    path = tmp_path / "data" / "index.json"
    path.write_text(path.read_text().replace('"views": 1', '"views": 2'))
    with pytest.raises(ShardsDamaged, match="was changed"):
        read_data(tmp_path)


def test_a_folder_that_cannot_be_written_leaves_nothing(
    shards: tuple[Shards, Shards], tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match="cannot write"):
        record_data(tmp_path / "file", shards[0])

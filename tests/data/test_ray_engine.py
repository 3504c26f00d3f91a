"""The cluster engine against the local one: the same tracks, the same shards, byte for byte."""

import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from hafm.data.collection.sources import open_source
from hafm.data.preparing.before import PrepareConfig
from hafm.data.preparing.prepare import prepare
from hafm.data.preparing.ray_engine import RayEngine
from hafm.data.preparing.track_preparer import OpenTokenPreparer, quarantine
from hafm.data.result import Prepared
from hafm.data.tokenising.tokenise import TokeniseSettings
from hafm.errors import UsageError
from hafm.worker_process import WorkerError
from hafm.workers import Pool, SameProcess, in_batches
from tests.data.music_collections import make_items
from tests.data.stub_preparers import OpenNames, Trouble, track
from tests.data.test_prepare import products


@pytest.fixture
def ray(monkeypatch: pytest.MonkeyPatch) -> Iterator[RayEngine]:
    """Two actors on a cluster of their own, which can import the tests."""
    pytest.importorskip("ray")
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(path for path in sys.path if path))
    return RayEngine(workers=2)


@pytest.mark.slow
@pytest.mark.filterwarnings("default")  # of Ray itself
def test_both_engines_write_the_same_shards(ray: RayEngine, tmp_path: Path) -> None:
    items = make_items(tmp_path / "tree", good=34, bad=6)
    opener = OpenTokenPreparer(parts="builtin", settings=TokeniseSettings(views=2, augment=True))
    for name, engine in (("local", Pool(workers=2, give_up=quarantine)), ("ray", ray)):
        config = PrepareConfig(out=tmp_path / name, quarantine_limit=1.0, tracks_per_shard=16)
        summary = prepare(config, open_source("pairs", items.root), opener, engine=engine)
        assert summary.counts.items == 40
        assert summary.counts.done == 34
    local, cluster = products(tmp_path / "local"), products(tmp_path / "ray")
    assert sum(name.endswith(".safetensors") for name in local) >= 3
    assert cluster == local


@pytest.mark.slow
@pytest.mark.filterwarnings("default")
def test_an_actor_that_dies_loses_its_track_only(ray: RayEngine) -> None:
    names = [f"{number:02d}" for number in range(8)]
    opener = OpenNames(trouble=Trouble(dies_on=frozenset({"03"})))
    results = [each for batch in ray.run(in_batches(map(track, names), 2), opener) for each in batch]
    found = {each.track_id: each for each in results}
    assert len(results) == len(found) == 8
    assert found["03"].reason == "the worker process died twice on it"
    expected = SameProcess().run([[track(name) for name in names]], OpenNames())
    for each in next(expected):
        assert isinstance(each, Prepared)
        if each.track_id != "03":
            assert found[each.track_id].tokens.to_bytes() == each.tokens.to_bytes()
    with pytest.raises(WorkerError, match="ZeroDivisionError: a mistake on 05"):
        list(
            ray.run(in_batches(map(track, names), 2), OpenNames(trouble=Trouble(fails_on=frozenset({"05"}))))
        )


def test_without_ray_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(UsageError, match=r"pip install 'hafm\[cluster\]'"):
        next(RayEngine(workers=1).run([[track("a")]], OpenNames()))


def test_no_actors_are_refused() -> None:
    with pytest.raises(UsageError, match="give 1 or more"):
        RayEngine(workers=0)

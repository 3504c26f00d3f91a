"""What many tests need and none changes: one tiny bundle, an accompanist that has it, and shards to train on.

A test that damages or rewrites a folder takes a copy of it.
"""

from pathlib import Path

import pytest

from hafm import Accompanist
from tests.tiny import make_tiny_bundle
from tests.train.training_shards import make_training_shards


@pytest.fixture(scope="session")
def tiny_bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a bundle named "tiny"."""
    return make_tiny_bundle(tmp_path_factory.mktemp("bundles") / "tiny")


@pytest.fixture(scope="session")
def tiny_accompanist(tiny_bundle: Path) -> Accompanist:
    return Accompanist.from_pretrained(tiny_bundle)


@pytest.fixture(scope="session")
def tiny_shards(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of shards, with parts: four songs for training and two held out, 2 s each."""
    folder = tmp_path_factory.mktemp("shards") / "tiny"
    make_training_shards(folder, songs=4, held_out=2)
    return folder

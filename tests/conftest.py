"""What many tests need and none changes: tiny bundles, an accompanist that has one, and shards to train on.

A test that damages or rewrites a folder takes a copy of it. Imports are in the fixtures: the process that
hands tests to the workers reads this file too, and needs none of them.
"""

from collections.abc import Generator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from _pytest.doctest import DoctestModule

TESTS = Path(__file__).parent


@pytest.hookimpl(wrapper=True)
def pytest_collect_file(file_path: Path) -> Generator[None, list[pytest.Collector], list[pytest.Collector]]:
    """Examples are in the package and the recipes: none is looked for in the tests."""
    found = yield
    inside = TESTS in file_path.parents
    return [each for each in found if not (inside and isinstance(each, DoctestModule))]


if TYPE_CHECKING:
    from hafm import Accompanist


@pytest.fixture(scope="session")
def tiny_bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a bundle named "tiny"."""
    from tests.tiny import make_tiny_bundle

    return make_tiny_bundle(tmp_path_factory.mktemp("bundles") / "tiny")


@pytest.fixture(scope="session")
def following(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a bundle whose stages follow a lead sheet."""
    from tests.tiny import make_following_bundle

    return make_following_bundle(tmp_path_factory.mktemp("bundles") / "following")


@pytest.fixture(scope="session")
def tiny_accompanist(tiny_bundle: Path) -> "Accompanist":
    from hafm import Accompanist

    return Accompanist.from_pretrained(tiny_bundle)


@pytest.fixture(scope="session")
def tiny_shards(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of shards, with parts: four songs for training and two held out, 2 s each."""
    from tests.train.training_shards import make_training_shards

    folder = tmp_path_factory.mktemp("shards") / "tiny"
    make_training_shards(folder, songs=4, held_out=2)
    return folder

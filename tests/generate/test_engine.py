"""Which engine runs and why, and that takes in ONNX Runtime keep what takes in PyTorch promise."""

import hashlib
from importlib.metadata import PackageNotFoundError
from pathlib import Path

import pytest
import torch

pytest.importorskip("onnx", reason="the extra `fast` is not installed")
pytest.importorskip("onnxruntime", reason="the extra `fast` is not installed")

from hafm.errors import BundleDamaged, UsageError
from hafm.generate import engine as engines
from hafm.generate.accompany import Accompanist
from hafm.generate.calibration import make_graphs
from hafm.generate.engine import MOST_ERROR, foreseen_engine, open_engine
from hafm.stages.bundle import Bundle
from hafm.stages.bundle_writer import copy_bundle, write_bundle
from tests.tiny import make_tiny_bundle, same, sung, tiny_ingredients
from tests.unchecked import unchecked

CPU = torch.device("cpu")
VOCAL = sung(0.6)
RATE = 24_000


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_tiny_bundle(tmp_path_factory.mktemp("engine") / "tiny")


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(autouse=True)
def own_cache(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(cache))
    monkeypatch.delenv("HAFM_ENGINE")
    monkeypatch.setattr(engines, "MOST_ERROR", 0.05)  # random weights are noisier than trained ones


@pytest.mark.slow
@unchecked()
def test_the_builtin_bundle_passes_its_test() -> None:
    made = make_graphs(Bundle.open("builtin"))
    assert {stage: graph.logits_error <= MOST_ERROR for stage, graph in made.items()} == {
        "semantic": True,
        "coarse": True,
        "fine": True,
    }
    rounded = {stage: graph.logits_error > 1e-4 for stage, graph in made.items()}
    assert rounded == {"semantic": True, "coarse": True, "fine": False}, "fine keeps its weights as they are"
    assert made["fine"].logits_error > 0, "the test compares two"


@unchecked()
def test_takes_do_not_depend_on_each_other_and_are_not_those_of_torch(folder: Path) -> None:
    accompanist = Accompanist.from_pretrained(folder, engine="onnx")
    three = accompanist.generate_takes(VOCAL, sample_rate=RATE, takes=3, seed=4)
    alone = accompanist.generate(VOCAL, sample_rate=RATE, take=2, seed=4)
    assert same(three[2], alone)
    assert alone.record.settings.engine == "onnx"
    assert alone.record.environment.onnxruntime is not None


@unchecked()
def test_a_record_demands_its_engine(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = Accompanist.from_pretrained(folder, engine="onnx").generate(VOCAL, sample_rate=RATE, seed=4)
    by_torch = Accompanist.from_pretrained(folder, engine="torch")
    again = by_torch.replay(made.record, vocal=VOCAL, sample_rate=RATE)
    assert same(made, again)
    assert again.notes == made.notes
    monkeypatch.setattr(engines, "version", _not_installed)
    with pytest.raises(UsageError, match="engine onnx needs onnxruntime"):
        Accompanist.from_pretrained(folder).replay(made.record, vocal=VOCAL, sample_rate=RATE)


@pytest.mark.long
@unchecked()
def test_graphs_are_made_once_and_again_when_damaged(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    bundle = Bundle.open(folder)
    opened = open_engine("auto", bundle, CPU)
    assert opened.name == "onnx"
    calls: list[Bundle] = []

    def counted(bundle: Bundle) -> object:
        calls.append(bundle)
        return make_graphs(bundle)

    monkeypatch.setattr(engines, "make_graphs", counted)
    assert open_engine("onnx", bundle, CPU) == opened
    assert not calls
    graph = opened.graphs["coarse"]
    digest = hashlib.sha256(graph.read_bytes()).hexdigest()
    graph.write_bytes(graph.read_bytes()[:-1])
    assert open_engine("onnx", bundle, CPU).name == "onnx"
    assert len(calls) == 1
    assert hashlib.sha256(graph.read_bytes()).hexdigest() == digest


@unchecked()
def test_auto_falls_back_and_says_why_and_onnx_refuses(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    bundle = Bundle.open(folder)
    open_engine("onnx", bundle, CPU)
    cases = {
        "runs on the cpu": torch.device("cuda"),
        "failed its test": CPU,
        "needs onnxruntime": CPU,
    }
    for reason, device in cases.items():
        with monkeypatch.context() as patched:
            if reason == "failed its test":
                patched.setattr(engines, "MOST_ERROR", 0.0)
            if reason == "needs onnxruntime":
                patched.setattr(engines, "version", _not_installed)
            opened = open_engine("auto", bundle, device)
            assert opened.name == "torch"
            assert reason in opened.why
            assert foreseen_engine(bundle, device) == ("torch", opened.why)
            with pytest.raises(UsageError, match=reason):
                open_engine("onnx", bundle, device)


@unchecked()
def test_the_environment_chooses_where_no_option_does(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    bundle = Bundle.open(folder)
    assert foreseen_engine(bundle, CPU)[0] == "onnx"
    monkeypatch.setenv("HAFM_ENGINE", "torch")
    assert Accompanist.from_pretrained(folder).open_engine().name == "torch"
    assert foreseen_engine(bundle, CPU) == ("torch", "HAFM_ENGINE says so")
    monkeypatch.setenv("HAFM_ENGINE", "tensorrt")
    with pytest.raises(UsageError, match="HAFM_ENGINE is 'tensorrt'"):
        Accompanist.from_pretrained(folder)


@pytest.mark.slow
@unchecked()
def test_a_bundle_may_come_with_its_graphs(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = engines.graph_files(Bundle.open(folder))
    bundle = write_bundle(tmp_path / "with", tiny_ingredients(more=lambda _: made))
    assert set(made) < set(bundle.config.files)
    copied = copy_bundle(bundle, tmp_path / "copy")
    monkeypatch.setattr(engines, "find_spec", lambda _: None)  # onnx makes graphs, and is not needed
    assert foreseen_engine(copied, CPU)[0] == "onnx"
    opened = open_engine("onnx", copied, CPU)
    assert {graph.read_bytes() for graph in opened.graphs.values()} == set(made.values())
    assert 0 < max(opened.logits_error.values()) < 0.05
    with pytest.raises(UsageError, match="needs onnx to make the graphs"):
        engines.graph_files(copied)
    one = copied.folder / min(made)
    one.write_bytes(one.read_bytes()[:-1])
    with pytest.raises(BundleDamaged, match=one.name):
        Bundle.read(copied.folder)


@pytest.mark.slow
@pytest.mark.parametrize("bad", ["refused", "of another bundle"])
@unchecked()
def test_graphs_that_do_not_work_here_are_made_again(
    bad: str, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    good = engines.graph_files(Bundle.open(folder))
    shipped = {name: content[:-1] for name, content in good.items()}
    if bad == "of another bundle":
        other = write_bundle(tmp_path / "other", tiny_ingredients(seed=1))
        shipped = engines.graph_files(other)
    bundle = write_bundle(tmp_path / "with", tiny_ingredients(more=lambda _: shipped))
    opened = open_engine("onnx", bundle, CPU)
    assert {graph.read_bytes() for graph in opened.graphs.values()} == set(good.values())


def _not_installed(name: str) -> str:
    raise PackageNotFoundError(name)

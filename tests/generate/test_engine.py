"""Which engine runs and why, and that takes in ONNX Runtime keep what takes in PyTorch promise."""

import hashlib
from importlib.metadata import PackageNotFoundError
from pathlib import Path

import pytest
import torch

pytest.importorskip("onnx", reason="the extra `fast` is not installed")
pytest.importorskip("onnxruntime", reason="the extra `fast` is not installed")

from hafm.errors import UsageError
from hafm.generate import engine as engines
from hafm.generate.accompany import Accompanist
from hafm.generate.calibration import make_graphs
from hafm.generate.engine import MOST_ERROR, foreseen_engine, open_engine
from hafm.stages.bundle import Bundle
from tests.tiny import make_tiny_bundle, same, sung
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
    assert min(graph.logits_error for graph in made.values()) > 1e-4  # it is rounded: the test compares two


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


def _not_installed(name: str) -> str:
    raise PackageNotFoundError(name)

"""Which engine runs the stages: PyTorch, or ONNX Runtime where it is there and passes its test.

In: a choice (`auto`, `torch`, `onnx`), a bundle, a device. Out: an `Engine`, which says why it is that one.

    graphs of this bundle in the user's cache, hashes right?  --yes-->  error of the logits within limits?
      | no                                                       |        | yes     | no
      | `-> in the bundle (`hafm bundle --onnx`), run here and --|        onnx      torch, or an error
      |     tested by hafm.generate.calibration?  --yes----------|
      `-> made and tested by hafm.generate.calibration, once ----'

    BUNDLE/onnx/<stage>.<graph version>.onnx      if it came with them
    ~/.cache/hafm/engine/<bundle>-<graph version>-<onnxruntime>-<processor>/
        semantic.onnx  coarse.onnx  fine.onnx
        tested.json    written last: their hashes, and how far their logits are from PyTorch's

PyTorch is what stages were trained in, and what is right. ONNX Runtime works with weights of 8 bits, but for
parallel stages (`hafm.engine.graph`): another engine gives other tokens from the same seed, as good ones, so
a record holds the engine. One engine runs all stages of a generation.
"""

import hashlib
import os
import platform
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path
from typing import Literal, TypeAlias, get_args

import torch

from hafm.engine.graph import GRAPH_VERSION
from hafm.engine.session import StageSession
from hafm.errors import BundleError, HafmError, OutputError, UsageError
from hafm.files import cache_folder, write_json, write_whole
from hafm.generate.calibration import StageGraph, make_graphs, tested_graphs
from hafm.jsonfile import JsonFile
from hafm.stages.bundle import Bundle
from hafm.stages.bundle_config import STAGES
from hafm.stages.stage_model import StageModel

__all__ = [
    "VARIABLE",
    "Engine",
    "EngineChoice",
    "EngineName",
    "checked_choice",
    "default_choice",
    "foreseen_engine",
    "graph_files",
    "open_engine",
    "require_onnx",
]

EngineName: TypeAlias = Literal["torch", "onnx"]
EngineChoice: TypeAlias = Literal["auto", "torch", "onnx"]

VARIABLE = "HAFM_ENGINE"
"""Names an engine where no option does."""

MOST_ERROR = 0.015
"""Relative error of the logits above which a graph is not used."""

_CHOICES: tuple[EngineChoice, ...] = get_args(EngineChoice)
_INSTALL = "pip install 'hafm[fast]'"
_FILE = "tested.json"


@dataclass(frozen=True, kw_only=True)
class Tested:
    """What was found out about the graphs of a bundle, by stage; see `StageGraph`."""

    sha256: Mapping[str, str]
    logits_error: Mapping[str, float]


@dataclass(frozen=True, kw_only=True)
class Engine:
    """What runs the stages.

    Args:
        why: it is that one; a clause.
        graphs: the file of each stage, if they run in ONNX Runtime.
        logits_error: of each stage, as in `StageGraph`.
    """

    name: EngineName
    why: str
    graphs: Mapping[str, Path] = field(default_factory=dict)
    logits_error: Mapping[str, float] = field(default_factory=dict)

    def session(self, stage: str, model: StageModel) -> StageSession | None:
        """What runs a stage; None where PyTorch does."""
        return None if self.name == "torch" else StageSession(self.graphs[stage].read_bytes(), model)


def default_choice() -> EngineChoice:
    """What `HAFM_ENGINE` says, or `auto`.

    Raises:
        UsageError: it names something else.
    """
    named = os.environ.get(VARIABLE) or "auto"
    for choice in _CHOICES:
        if named == choice:
            return choice
    raise UsageError(f"{VARIABLE} is {named!r}; give auto, torch or onnx, or unset it")


def checked_choice(named: EngineChoice | None) -> EngineChoice:
    """The engine that is named, or else the default one.

    Raises:
        UsageError: there is no such engine.
    """
    if named is not None and named not in _CHOICES:
        raise UsageError(f"there is no engine {named!r}; give auto, torch or onnx")
    return default_choice() if named is None else named


def open_engine(choice: EngineChoice, bundle: Bundle, device: torch.device) -> Engine:
    """The engine for a bundle on a device.

    The first time that a bundle meets ONNX Runtime its graphs are made and tested, which takes as long as
    generating five seconds of sound; those that it came with are only tested, in half of a second.

    Args:
        choice: `auto` takes ONNX Runtime where it can.

    Raises:
        UsageError: there is no such engine; or `onnx` was asked for and cannot run here, or its logits are
            too far from PyTorch's.
        OutputError: `onnx` was asked for, and the cache cannot be written.
    """
    if checked_choice(choice) == "torch":
        return Engine(name="torch", why="it was asked for")
    try:
        folder = _graph_folder(bundle, device)
        tested = _read(folder) or _keep(_shipped(bundle) or _made(bundle), folder)
        return _engine_of(tested, folder)
    except (UsageError, OutputError) as error:
        if choice == "onnx":
            raise
        return Engine(name="torch", why=str(error))


def foreseen_engine(bundle: Bundle, device: torch.device) -> tuple[EngineName, str]:
    """The engine that a generation would run in without an option, and why; makes nothing.

    Raises:
        UsageError: HAFM_ENGINE names no engine.
    """
    if default_choice() == "torch":
        return "torch", f"{VARIABLE} says so"
    try:
        folder = _graph_folder(bundle, device)
        tested = _read(folder)
        if tested is None:
            if not _ships_graphs(bundle):
                require_onnx()
            return "onnx", "if it passes its test, which the first generation with this bundle makes"
        engine = _engine_of(tested, folder)
    except UsageError as error:
        return "torch", str(error)
    return engine.name, engine.why


def graph_files(bundle: Bundle) -> dict[str, bytes]:
    """The graphs of all stages, as a bundle that comes with them has them: by their path in it.

    Raises:
        UsageError: onnxruntime or onnx is not installed, or their logits are too far from PyTorch's.
    """
    made = _made(bundle)
    _require_near({stage: graph.logits_error for stage, graph in made.items()})
    return {_name_in_bundle(stage): made[stage].content for stage in STAGES}


def require_onnx() -> None:
    """Refuses to make graphs where what makes them is not installed.

    Raises:
        UsageError: it is not.
    """
    _runtime()
    if find_spec("onnx") is None:
        raise UsageError(
            f"engine onnx needs onnx to make the graphs of a bundle, which is not installed: {_INSTALL}"
        )


def _name_in_bundle(stage: str) -> str:
    return f"onnx/{stage}.{GRAPH_VERSION}.onnx"


def _ships_graphs(bundle: Bundle) -> bool:
    return all(_name_in_bundle(stage) in bundle.config.files for stage in STAGES)


def _shipped(bundle: Bundle) -> Mapping[str, StageGraph] | None:
    """The graphs that the bundle came with, if they do here what they should."""
    if not _ships_graphs(bundle):
        return None
    contents = {stage: (bundle.folder / _name_in_bundle(stage)).read_bytes() for stage in STAGES}
    try:
        tested = tested_graphs(bundle, contents)
    except (UsageError, BundleError):
        return None  # another onnxruntime than theirs may refuse them, and run those that are made here
    return tested if max(graph.logits_error for graph in tested.values()) <= MOST_ERROR else None


def _made(bundle: Bundle) -> Mapping[str, StageGraph]:
    require_onnx()
    return make_graphs(bundle)


def _graph_folder(bundle: Bundle, device: torch.device) -> Path:
    if device.type != "cpu":
        raise UsageError(f"engine onnx runs on the cpu, not on {device}; use engine torch there")
    name = f"{bundle.fingerprint[:32]}-{GRAPH_VERSION}-{_runtime()}-{platform.machine().lower()}"
    return cache_folder("engine") / name


def _runtime() -> str:
    try:
        return version("onnxruntime")
    except PackageNotFoundError as error:
        raise UsageError(f"engine onnx needs onnxruntime, which is not installed: {_INSTALL}") from error


def _require_near(logits_error: Mapping[str, float]) -> None:
    worst = max(logits_error, key=lambda stage: logits_error[stage])
    if not logits_error[worst] <= MOST_ERROR:
        raise UsageError(
            f"engine onnx failed its test with this bundle: the logits of the {worst} stage are "
            f"{logits_error[worst]:.1%} from PyTorch's, and {MOST_ERROR:.1%} is the limit; use engine torch"
        )


def _engine_of(tested: Tested, folder: Path) -> Engine:
    _require_near(tested.logits_error)
    return Engine(
        name="onnx",
        why=f"onnxruntime is installed, and its logits are within {MOST_ERROR:.1%} of PyTorch's",
        graphs={stage: folder / f"{stage}.onnx" for stage in STAGES},
        logits_error=tested.logits_error,
    )


def _read(folder: Path) -> Tested | None:
    """What was found out earlier, if all of it is still there."""
    try:
        text = (folder / _FILE).read_text(encoding="utf-8")
        tested = _JSON.read(Tested, text, where=f"'{folder / _FILE}'")
        whole = all(
            hashlib.sha256((folder / f"{stage}.onnx").read_bytes()).hexdigest() == tested.sha256[stage]
            for stage in STAGES
        )
    except (OSError, UnicodeDecodeError, KeyError, HafmError):
        return None  # it is a cache: what cannot be used is made again
    return tested if whole else None


def _keep(made: Mapping[str, StageGraph], folder: Path) -> Tested:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(
            f"engine onnx cannot keep its graphs in '{folder}' ({error.strerror or error}); make room there, "
            "or name another place in XDG_CACHE_HOME"
        ) from error
    for stage, graph in made.items():
        write_whole(folder / f"{stage}.onnx", graph.content)
    tested = Tested(
        sha256={stage: hashlib.sha256(graph.content).hexdigest() for stage, graph in made.items()},
        logits_error={stage: graph.logits_error for stage, graph in made.items()},
    )
    write_json(folder / _FILE, {"format": 1, **asdict(tested)})
    return tested


_JSON = JsonFile(what="a test of hafm", fix="remove it", error=UsageError, format=1)

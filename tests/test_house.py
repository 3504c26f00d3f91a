"""The rules of the house that no single layer can test: exports, light imports, packaging, the conftest."""

import ast
import doctest
import functools
import importlib
import math
import os
import re
import resource
import socket
import subprocess
import sys
import tomllib
import zipfile
from graphlib import CycleError, TopologicalSorter
from pathlib import Path
from shutil import copytree, ignore_patterns
from typing import Any

import jaxtyping
import pytest
from jaxtyping import Float, jaxtyped
from packaging.requirements import Requirement
from torch import Tensor, ones

import hafm
from conftest import check_types
from hafm.audio.true_peak import true_peak_dbtp
from tests import first_calls
from tests.unchecked import unchecked

ROOT = Path(__file__).parent.parent
PACKAGE = ROOT / "src" / "hafm"
MODULES = sorted(
    ".".join(path.relative_to(ROOT / "src").with_suffix("").parts).removesuffix(".__init__")
    for path in PACKAGE.rglob("*.py")
)
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())

HAFM = Path(sys.executable).with_name("hafm")
HEAVY = {
    "matplotlib",
    "numpy",
    "scipy",
    "sklearn",
    "soundfile",
    "soxr",
    "torch",
    "transformers",
}


# ---- exports


def test_every_exported_name_is_there() -> None:
    for name in hafm.__all__:
        assert getattr(hafm, name) is not None
        assert name in dir(hafm)


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="Acompanist"):
        _ = hafm.Acompanist


def test_type_checkers_see_the_same_exports() -> None:
    """What is fetched lazily and what is under `TYPE_CHECKING` are two lists that must agree."""
    tree = ast.parse((PACKAGE / "__init__.py").read_text())
    imports = [node for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)]
    seen = {
        f"{node.module}.{alias.name}"
        for node in imports
        if node.module is not None and node.module.startswith("hafm.") and node.module != "hafm.version"
        for alias in node.names
    }
    lazy = {name for name in hafm.__all__ if name != "__version__"}
    assert {name.rpartition(".")[2] for name in seen} == lazy
    assert {f"{getattr(hafm, name).__module__}.{name}" for name in lazy} == seen


# ---- light imports


def loaded_after(statement: str) -> set[str]:
    """Top-level packages in memory after `statement` in a fresh interpreter."""
    code = f"{statement}; import sys; print(*{{name.partition('.')[0] for name in sys.modules}})"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return set(done.stdout.split())


@pytest.mark.parametrize("statement", ["import hafm", "import hafm.app.cli"])
def test_nothing_heavy_is_imported_on_start(statement: str) -> None:
    assert loaded_after(statement) & HEAVY == set()


def test_the_check_for_heavy_imports_can_fail() -> None:
    assert "numpy" in loaded_after("import hafm, numpy")


def processor_seconds(*command: object) -> float:
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run(command, capture_output=True, check=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def test_help_answers_at_once() -> None:
    """Half a second is the promise. How long that is depends on the machine, so it is held against what the
    command line is made of: `hafm --help` takes about twice as long.

    The least of three runs at most: whatever else the machine does makes them more.
    """
    parts = whole = math.inf
    for _ in range(3):
        parts = min(parts, processor_seconds(sys.executable, "-c", "import typer.rich_utils, rich.console"))
        whole = min(whole, processor_seconds(HAFM, "--help"))
        if 0 < whole < 3 * parts:
            return
    pytest.fail(f"{whole} s, and its parts {parts} s")


# ---- other systems

WITHOUT_POSIX = """
import builtins, importlib, os, signal, sys
real = builtins.__import__
def without(name, *rest, **more):
    module = (rest[0] or {}).get("__name__", "") if rest else ""
    if name in ("fcntl", "resource", "termios", "pwd", "grp") and module.split(".")[0] in ("hafm", "control"):
        raise ImportError(f"{module} imports {name}")
    return real(name, *rest, **more)
import multiprocessing.util, torch  # other people's modules know what to do
builtins.__import__ = without
for name in ("fork", "killpg", "sched_getaffinity", "geteuid"):
    delattr(os, name)
for name in ("SIGKILL", "SIGUSR1", "pthread_sigmask"):
    delattr(signal, name)
for module in sys.argv[1:]:
    importlib.import_module(module)
"""


@pytest.mark.parametrize("module", ["fcntl", "resource", "termios", "pwd", "grp"])
def test_no_module_needs_posix_to_be_imported(module: str) -> None:
    """What the source says; below, what an import does."""
    needing = re.compile(rf"^(import|from) {module}\b", re.MULTILINE)
    assert needing.search("import torch\nimport " + module)
    sources = {path: path.read_text() for path in PACKAGE.rglob("*.py")}
    assert [path for path, source in sources.items() if needing.search(source)] == []


@pytest.mark.slow
def test_every_module_can_be_imported_where_there_is_no_posix(tmp_path: Path) -> None:
    """As on Windows. The control: a module that does import one of them is named."""
    (tmp_path / "control.py").write_text("import fcntl")
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(tmp_path), str(ROOT / "src")])}

    def imported(*modules: str) -> "subprocess.CompletedProcess[str]":
        command = [sys.executable, "-c", WITHOUT_POSIX, *modules]
        return subprocess.run(command, capture_output=True, text=True, env=environment)

    assert "ImportError: control imports fcntl" in imported("control").stderr
    done = imported(*(module for module in MODULES if module != "hafm.__main__"))
    assert done.returncode == 0, done.stderr


# ---- packaging


def test_the_version_is_written_once() -> None:
    assert "version" not in PROJECT["project"]
    assert PROJECT["tool"]["setuptools"]["dynamic"]["version"] == {"attr": "hafm.version.__version__"}
    newest = re.search(r"^## (\S+)", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)
    assert newest is not None
    assert newest.group(1) == hafm.__version__


def test_every_dependency_is_pinned_within_its_range() -> None:
    pins = {}
    for line in (ROOT / "constraints.txt").read_text().splitlines():
        if line and not line.startswith("#"):
            name, _, pinned = line.partition("==")
            pins[name.lower().replace("_", "-")] = pinned
    extras = PROJECT["project"]["optional-dependencies"].values()
    for text in [*PROJECT["project"]["dependencies"], *(line for extra in extras for line in extra)]:
        requirement = Requirement(text)
        if requirement.name != "hafm":
            assert requirement.specifier.contains(pins[requirement.name]), text


def test_package_data_covers_every_file_that_is_not_code() -> None:
    covered = {
        path
        for pattern in PROJECT["tool"]["setuptools"]["package-data"]["hafm"]
        for path in PACKAGE.glob(pattern)
    }
    beside = {path for path in PACKAGE.rglob("*") if path.is_file() and path.suffix not in {".py", ".pyc"}}
    assert PACKAGE / "py.typed" in beside
    assert beside - covered == set()


@pytest.mark.slow
def test_the_wheel_holds_the_package_and_nothing_else(tmp_path: Path) -> None:
    source = tmp_path
    copytree(PACKAGE, source / "src" / "hafm", ignore=ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "README.md", "LICENSE", "NOTICE"):
        (source / name).write_bytes((ROOT / name).read_bytes())
    # setuptools is at hand (torch needs it), so the build needs no network.
    command = [sys.executable, "-m", "pip", "wheel", "--no-deps", "--no-build-isolation", "-w", ".", "."]
    subprocess.run(command, cwd=source, check=True, capture_output=True)
    (wheel,) = source.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        inside = {name for name in archive.namelist() if ".dist-info/" not in name}
    assert inside == {
        str(path.relative_to(source / "src"))
        for path in (source / "src" / "hafm").rglob("*")
        if path.is_file()
    }


# ---- what the conftest promises


@pytest.mark.parametrize("host", ["192.0.2.1", "example.org"])
def test_there_is_no_network(host: str) -> None:
    with pytest.raises(RuntimeError, match="tests run without a network"):
        socket.create_connection((host, 80), timeout=0.1)


def test_the_loopback_is_there() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server, socket.create_connection(server.getsockname()):
        pass


def test_types_are_checked_while_testing() -> None:
    with pytest.raises(TypeError, match="Type-check error"):
        true_peak_dbtp([[0.0]])
    with unchecked(), pytest.raises(AttributeError, match="isfinite"):
        true_peak_dbtp([[0.0]])


def test_signatures_without_shapes_are_left_to_mypy_unless_slow_tests_run(
    request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert first_calls.shapes_alone is request.config.option.markexpr.startswith("not slow")
    for shapes_alone in (True, False):
        monkeypatch.setattr(first_calls, "shapes_alone", shapes_alone)

        @jaxtyping.jaxtyped(typechecker=check_types)
        def double(x: int) -> Any:
            return 2 * x

        @jaxtyping.jaxtyped(typechecker=check_types)
        def twice(x: list[Float[Tensor, " T"]] | None) -> Any:
            return 2 * x

        assert hasattr(double, "limited_to_first_calls") is not shapes_alone
        assert hasattr(twice, "limited_to_first_calls")


def test_types_are_checked_at_the_first_calls_in_each_test(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(first_calls, "shapes_alone", False)

    @jaxtyping.jaxtyped(typechecker=check_types)
    def double(x: int) -> Any:
        return 2 * x

    for _ in range(2):
        for _ in range(first_calls.CHECKED_CALLS):
            with pytest.raises(TypeError, match="Type-check error"):
                double("a")
        assert double("a") == "aa"
        first_calls.begin_test()


def test_sizes_of_arguments_and_of_the_result_are_compared() -> None:
    @jaxtyped(typechecker=check_types)
    def add(x: Float[Tensor, " T"], y: Float[Tensor, " U"]) -> Float[Tensor, " T"]:
        return y + x[:1]

    assert add(ones(3), ones(3)).shape == (3,)
    first_calls.begin_test()
    with pytest.raises(TypeError, match="return value"):
        add(ones(3), ones(4))
    first_calls.begin_test()
    with pytest.raises(TypeError, match="parameters"):
        add(ones(3, 1), ones(3))


def source_of(path: Path) -> str:
    return (path / "__init__.py" if path.is_dir() else path.with_suffix(".py")).read_text()


@functools.cache
def tree_of(module: str) -> ast.Module:
    return ast.parse(source_of(ROOT / "src" / Path(*module.split("."))))


def examples_written(module: str) -> set[str]:
    """Dotted names whose docstring holds an example, read from the source."""
    tree = tree_of(module)
    found: set[str] = set()

    def visit(node: ast.Module | ast.ClassDef | ast.FunctionDef, name: str) -> None:
        if ">>> " in (ast.get_docstring(node) or ""):
            found.add(name)
        for child in node.body:
            if isinstance(child, ast.ClassDef | ast.FunctionDef):
                visit(child, f"{name}.{child.name}")

    visit(tree, module)
    return found


def test_no_example_escapes_the_doctests() -> None:
    """A decorator that forgets `functools.wraps` hides a docstring, and its example never runs."""
    finder = doctest.DocTestFinder(exclude_empty=True)
    escaped = set()
    for module in MODULES:
        if written := examples_written(module):
            found = finder.find(importlib.import_module(module))
            escaped |= written - {test.name for test in found if test.examples}
    assert escaped == set()


# ---- layers


def imports_of(module: str) -> set[str]:
    """Modules of the package that a module names in an import, inside functions too."""
    found, known = set(), set(MODULES)
    for node in ast.walk(tree_of(module)):
        if isinstance(node, ast.ImportFrom) and node.module is not None:
            names = {f"{node.module}.{alias.name}" for alias in node.names}
            found |= names & known or {node.module} & known
    return found - {module}


def test_no_modules_import_each_other_in_a_circle() -> None:
    """import-linter holds the layers; this holds the modules within one."""
    TopologicalSorter({module: imports_of(module) for module in MODULES}).prepare()
    with pytest.raises(CycleError):  # the control
        TopologicalSorter({"a": {"b"}, "b": {"a"}}).prepare()

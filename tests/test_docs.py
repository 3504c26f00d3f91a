"""Prose that nothing executes rots: the docs' commands, examples, links, names and file tree are checked."""

import ast
import contextlib
import json
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import pydantic
import pytest
import soundfile
import typer

from hafm.app import cli as hafm_cli
from hafm.separate.stems import STEMS
from tests.tiny import make_following_bundle

ROOT = Path(__file__).parent.parent
README = ROOT / "README.md"
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/*.md"), *ROOT.glob("recipes/**/*.md")])
page = pytest.mark.parametrize("page", PAGES, ids=lambda path: str(path.relative_to(ROOT)))


class Block(NamedTuple):
    """A fenced block of a page."""

    language: str
    text: str


def blocks(path: Path) -> list[Block]:
    """Every fenced block of a page, in order."""
    return [Block(*found) for found in re.findall(r"^```(\w*)\n(.*?)^```$", path.read_text(), re.M | re.S)]


def commands(path: Path) -> list[list[str]]:
    """Every command line in the shell blocks of a page, without comments, split as a shell would."""
    lines = [
        line
        for block in blocks(path)
        if block.language in {"sh", "bash", "console"}
        for line in block.text.replace("\\\n", " ").splitlines()
    ]
    return [words for line in lines if (words := shlex.split(line, comments=True))]


# ---- commands


def make_targets() -> set[str]:
    return set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))


def parse_hafm(arguments: list[str]) -> None:
    """Parses a command line of `hafm` as the program would, without running it."""
    group = hafm_cli.program()
    with contextlib.suppress(typer.Exit, SystemExit):  # `--help` prints and leaves
        if not arguments or arguments[0].startswith("-"):
            group.make_context("hafm", arguments)
            return
        context = group.make_context("hafm", [], resilient_parsing=True)
        name, command, rest = group.resolve_command(context, arguments)
        command.make_context(name, rest)


def check_command(words: list[str]) -> None:
    """Raises if a documented command line could not work."""
    while words and (words[0] == "do" or re.fullmatch(r"[A-Z_]+=.*", words[0])):
        words = words[1:]
    program, *arguments = words or ["done"]
    if program in {"for", "done", "cd", "export"}:
        return
    if program == "make":
        named = [word for word in arguments if "=" not in word]
        unknown = set(named) - make_targets()
        assert not unknown, f"no such make target: {unknown}"
    elif program == "torchrun":
        launcher, _, started = " ".join(arguments).partition(" -- ")
        assert launcher.endswith(" -m"), (
            "torchrun starts a module, and takes its options for its own without --"
        )
        check_command(started.split())
    elif program == "hafm":
        parse_hafm(arguments)
    elif program == "curl":
        check_request(arguments)
    elif program == "python" and arguments[0] == "-m":
        module = (ROOT / Path(*arguments[1].split("."))).with_suffix(".py")
        assert module.is_file(), arguments[1]
        options = [word for word in arguments[2:] if word.startswith("--")]
        unknown = {option for option in options if f'"{option}"' not in module.read_text()}
        assert not unknown, f"{arguments[1]} has no {unknown}"
    elif program == "python":
        assert (ROOT / arguments[0]).is_file(), arguments[0]
    else:
        assert program in {"pip", "git", "apt"}, f"this test does not know how to check {program!r}"


def check_request(arguments: list[str]) -> None:
    """Raises if a documented request is of no route of the studio, or has a body that it would refuse."""
    from hafm.web import schema
    from hafm.web.edits import Edit

    (address,) = [word for word in arguments if word.startswith("http://127.0.0.1:8642/v1")]
    path = re.sub(r"/[0-9a-f]{16}(?=/|$)", "/ID", address.partition("8642")[2].partition("?")[0])
    path = re.sub(r"/\d+(?=/)", "/N", path)
    bodies = {
        "/v1/projects/ID/lead-sheet/edits": schema.EditRequest,
        "/v1/projects/ID/takes": schema.TakesRequest,
        "/v1/projects/ID/exports": schema.ExportRequest,
    }
    others = {"/v1/projects", "/v1/projects/ID/lead-sheet", "/v1/jobs/ID", "/v1/projects/ID/export.zip"}
    assert path in {*bodies, *others, "/v1/projects/ID/takes/N/mix"}, f"no route {path}"
    if "-d" in arguments:
        values = json.loads(arguments[arguments.index("-d") + 1])
        bodies[path].model_validate(values)
        if path.endswith("edits"):
            pydantic.TypeAdapter(Edit).validate_python(values["edit"])


@page
def test_documented_commands_would_run(page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for words in commands(page):
        check_command(words)


@pytest.mark.parametrize(
    "line",
    [
        "make nothing",
        "hafm generate vocal.wav --no-such-option",
        "hafm sing",
        "hafm --no-such-option",
        "python -m recipes.none",
        "curl x",
    ],
)
def test_a_wrong_command_is_noticed(line: str) -> None:
    with pytest.raises(Exception, match=r"."):
        check_command(shlex.split(line))


def test_the_readme_begins_with_the_installation() -> None:
    first = [words[:2] for words in commands(README)[:3]]
    assert first == [["pip", "install"], ["make", "demo"], ["make", "test"]]


def test_ci_runs_make_and_nothing_else() -> None:
    lines = (ROOT / ".ci" / "run").read_text().splitlines()
    code = [line for line in lines if line and not line.startswith("#")]
    assert code[0] == "set -euo pipefail"
    assert [line.split()[:2] for line in code if "make" in line] == [["exec", "make"]]


@pytest.fixture
def beside_a_vocal(tmp_path: Path) -> Path:
    """A folder to work in: `vocal.wav`, 12 s, and a tiny bundle to take the place of the built-in one."""
    (tmp_path / "assets").mkdir()
    make_following_bundle(tmp_path / "assets" / "builtin")
    sound, sample_rate_hz = soundfile.read(ROOT / "src/hafm/assets/demo_vocal.flac", stop=12 * 24_000)
    soundfile.write(tmp_path / "vocal.wav", sound, sample_rate_hz)
    return tmp_path


def run_python(code: str, *arguments: str, folder: Path) -> None:
    """Runs code as a user would, in a process of its own and without type checks, with the tiny bundle."""
    tiny = "import pathlib, hafm.stages.hub as hub; hub._ASSETS = pathlib.Path('assets').absolute()\n"
    subprocess.run([sys.executable, "-c", tiny + code, *arguments], cwd=folder, check=True)


@pytest.mark.slow
def test_the_python_example_of_the_readme_runs(beside_a_vocal: Path) -> None:
    (example,) = [block.text for block in blocks(README) if block.language == "python"]
    assert len(example.splitlines()) <= 10
    run_python(example, folder=beside_a_vocal)
    out = beside_a_vocal / "out"
    written = {path.name for path in out.iterdir()}
    assert written == {"accompaniment.wav", "mix.wav", "generation.json", "stems"}
    assert {path.name for path in (out / "stems").iterdir()} == {f"{stem}.wav" for stem in STEMS}


@pytest.mark.slow
def test_the_hafm_commands_of_the_readme_run(beside_a_vocal: Path) -> None:
    for program, *arguments in commands(README):
        if program == "hafm" and arguments[0] != "web":
            run_python("from hafm.app.cli import main; main()", *arguments, folder=beside_a_vocal)
    assert '"A:min"' in (beside_a_vocal / "mine" / "lead-sheet.json").read_text()
    for name in ("accompaniment.wav", "mix.wav"):
        assert (beside_a_vocal / "again" / name).read_bytes() == (beside_a_vocal / "out" / name).read_bytes()


# ---- names, links, trees


@page
def test_relative_links_lead_somewhere(page: Path) -> None:
    text = re.sub(r"^```.*?^```$", "", page.read_text(), flags=re.M | re.S)
    for target in re.findall(r"\]\(([^)]+)\)", text):
        if not re.match(r"https?://|mailto:", target):
            name, _, anchor = target.partition("#")
            goal = page.parent / name if name else page
            assert goal.exists(), target
            if anchor:
                titles = re.findall(r"^#+ (.*)$", goal.read_text(), re.MULTILINE)
                slugs = {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}
                assert anchor in slugs, target


def defined(path: Path) -> set[str]:
    """`name` and `Class.name` of all that a Python file defines or assigns at its top or in a class."""
    names: set[str] = set()

    def visit(body: list[ast.stmt], prefix: str) -> None:
        for node in body:
            if isinstance(node, ast.ClassDef | ast.FunctionDef):
                names.add(prefix + node.name)
            if isinstance(node, ast.ClassDef):
                visit(node.body, f"{prefix}{node.name}.")
            for target in getattr(node, "targets", [getattr(node, "target", None)]):
                if isinstance(target, ast.Name):
                    names.add(prefix + target.id)

    visit(ast.parse(path.read_text()).body, "")
    return names


def check_reference(reference: str, *, beside: Path = ROOT) -> None:
    """Raises if `path.py` or `path.py::symbol` is not in the package, under the root or beside the page."""
    name, _, symbol = reference.partition("::")
    bases = (ROOT / "src" / "hafm", ROOT, beside)
    found = [base / name for base in bases if (base / name).is_file()]
    assert found, f"no file {name}"
    assert not symbol or symbol in defined(found[0]), f"no {symbol} in {name}"


@page
def test_files_and_symbols_named_in_prose_exist(page: Path) -> None:
    for reference in re.findall(r"`([\w/]+\.py(?:::[\w.]+)?)`", page.read_text()):
        check_reference(reference, beside=page.parent)


@pytest.mark.parametrize("reference", ["none.py", "rates.py::frames_of", "errors.py::HafmError.nothing"])
def test_a_wrong_reference_is_noticed(reference: str) -> None:
    with pytest.raises(AssertionError):
        check_reference(reference)


def tree_of(text: str) -> list[str]:
    """The paths of an indented file tree: a path, two spaces or more, then words about it.

    >>> tree_of("src/        code\\n    a/      layer\\n        b.py  file\\ndocs/       pages")
    ['src', 'src/a', 'src/a/b.py', 'docs']
    """
    paths: list[str] = []
    above: list[tuple[int, str]] = []
    for line in text.splitlines():
        indent, name = len(line) - len(line.lstrip()), line.split()[0].rstrip("/")
        above = [(depth, path) for depth, path in above if depth < indent]
        paths.append(f"{above[-1][1]}/{name}" if above else name)
        above.append((indent, paths[-1]))
    return paths


def test_the_file_tree_of_the_architecture_is_the_real_one() -> None:
    (tree,) = [block.text for block in blocks(ROOT / "docs" / "architecture.md") if block.language == "text"]
    drawn = tree_of(tree)
    assert [path for path in drawn if not (ROOT / path).exists()] == []
    packages = {
        path.parent.relative_to(ROOT).as_posix() for path in (ROOT / "src/hafm").glob("*/__init__.py")
    }
    assert packages - set(drawn) == set()


def test_the_readme_is_short() -> None:
    assert len(README.read_text().splitlines()) <= 75


@page
def test_lines_of_prose_have_one_width(page: Path) -> None:
    """120 characters, but for tables, code, and what cannot be broken."""
    text = re.sub(r"^ *```.*?^ *```$", "", page.read_text(), flags=re.M | re.S)
    text = re.sub(r"`[^`\n]+`", lambda code: code[0].replace(" ", "_"), text)
    prose = [line for line in text.splitlines() if not line.startswith(("|", "    ", "!["))]
    assert [line for line in prose if len(line) > 120 and len(line.split()) > 1] == []


def test_the_readme_explains_where_a_demo_comes_from() -> None:
    """The demo of the Makefile uses a file that is in the package."""
    (vocal,) = re.findall(r"^VOCAL *:= *(\S+)$", (ROOT / "Makefile").read_text(), re.MULTILINE)
    assert (ROOT / vocal).is_file()
    assert shutil.which("make")

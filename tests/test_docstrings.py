"""Docstrings that were wrapped anew by a machine keep their traces: words left alone, lists run together."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
FILES = sorted(path for folder in ("src", "recipes", "benchmarks") for path in (ROOT / folder).rglob("*.py"))

Documented = ast.Module | ast.ClassDef | ast.FunctionDef


def names_of(node: Documented) -> set[str]:
    """The arguments of a function, the fields of a class."""
    if isinstance(node, ast.FunctionDef):
        return {each.arg for each in (*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs)}
    return {
        each.target.id
        for each in node.body
        if isinstance(each, ast.AnnAssign) and isinstance(each.target, ast.Name)
    }


def is_prose(line: str) -> bool:
    """Whether a line is text, and not a drawing, a table or an example."""
    return bool(re.match(r"[\w`'\"(*-]", line.strip())) and not re.search(r"\S {2,}\S", line)


def damage(text: str, names: set[str] = frozenset()) -> Iterator[str]:
    """Lines of a docstring that nobody writes by hand."""
    lines = text.splitlines()
    for before, line, after in zip(["", *lines], lines, [*lines[1:], ""], strict=False):
        indent = len(line) - len(line.lstrip())
        # One or two words alone, between a full line and one that goes on with the sentence.
        if (
            len(before) > 75
            and re.fullmatch(r" *[\w`'(]+( [\w`']+)?", line)
            and is_prose(before)
            and re.match(r" *[a-z`(]", after)
            and is_prose(after)
        ):
            yield line
        # A bullet that goes on without its indent.
        item = re.match(r"( *)[*-] \S", before)
        if item and indent == len(item[1]) and line.strip() and not re.match(r" *[*-] ", line):
            yield line
        # Two entries of a list of arguments on one line.
        yield from (line for name in re.findall(r"[.;] (\w+): ", line) if name in names)


def documented(node: ast.AST) -> Iterator[Documented]:
    """A node and those in the statements below it; `ast.walk` goes through all expressions."""
    if isinstance(node, Documented):
        yield node
    for field in ("body", "orelse", "finalbody", "handlers", "cases"):
        for child in getattr(node, field, ()):
            yield from documented(child)


def damaged(path: Path) -> list[str]:
    found = []
    for node in documented(ast.parse(path.read_text())):
        if text := ast.get_docstring(node, clean=False):
            found += [f"{path.relative_to(ROOT)}: {line.strip()}" for line in damage(text, names_of(node))]
    return found


def test_no_docstring_was_broken_by_wrapping() -> None:
    assert [each for path in FILES for each in damaged(path)] == []


LONG = "Every file appears whole or not at all, so whatever is there is done, and a stopped run goes on."


@pytest.mark.parametrize(
    "planted",
    [
        f"{LONG}\nA\nsound whose system has changed is refused.",
        f"    {LONG}\n    that\n    does not pass, is left out.",
        "* *Fit* is measured against the isolated vocal, and on the sound as it was\nmade.",
        "    Args:\n        seed: of noise. views: of each vocal, 1 or more.",
    ],
)
def test_the_check_for_broken_docstrings_can_fail(planted: str) -> None:
    assert list(damage(planted, {"seed", "views"}))

"""The error tree: what is exported, what is drawn, and what a message may look like."""

import inspect
import re
from pathlib import Path

import pytest

from hafm import errors

PACKAGE = Path(errors.__file__).parent


def classes() -> dict[str, type[errors.HafmError]]:
    return {name: value for name, value in vars(errors).items() if inspect.isclass(value)}


def test_all_names_every_class_and_nothing_else() -> None:
    assert sorted(errors.__all__) == sorted(classes())


def test_drawn_tree_is_the_tree_of_the_code() -> None:
    drawn: dict[str, str | None] = {}
    parents: list[tuple[int, str]] = []
    assert errors.__doc__ is not None
    for line in errors.__doc__.splitlines():
        match = re.match(r"    ([ │├└─]*)(\w+)\b", line)
        if match:
            depth = len(match[1])
            parents = [parent for parent in parents if parent[0] < depth]
            drawn[match[2]] = parents[-1][1] if parents else None
            parents.append((depth, match[2]))
    in_code = {
        name: value.__base__.__name__ if value.__base__ is not Exception else None
        for name, value in classes().items()
    }
    assert drawn == in_code


def test_no_error_for_users_is_defined_elsewhere() -> None:
    """`NotDecodable` alone never reaches a user: it says that another decoder is tried."""
    defined = {
        f"{path.name}:{name}"
        for path in PACKAGE.rglob("*.py")
        if path.name != "errors.py"
        for name, bases in re.findall(r"^class (\w+)\(([\w, ]+)\):", path.read_text(), re.MULTILINE)
        if set(bases.split(", ")) & set(errors.__all__)
    }
    assert defined == {"libsndfile.py:NotDecodable"}


@pytest.mark.parametrize("name", [name for name in errors.__all__ if name != "Stopped"])
def test_every_error_ends_the_program_with_2(name: str) -> None:
    error = classes()[name]("what, why, what to do")
    assert error.exit_code == 2
    assert isinstance(error, errors.HafmError)
    assert str(error) == "what, why, what to do"


@pytest.mark.parametrize("break_", ["\n", "\r", "\r\n", "\u2028", "\x85"])
def test_a_message_stays_one_line(break_: str) -> None:
    message = str(errors.AudioReadError(f"cannot open 'a{break_}b'"))
    assert len(message.splitlines()) == 1
    assert message == "cannot open 'a\\nb'"

"""A dataclass becomes a command: its order, its required options, its ranges, what was given."""

from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
import typer
from typer.testing import CliRunner

from hafm.app import cli
from hafm.app.command import Command, Range, argument, flag, option, register
from hafm.errors import UsageError

SEEN: list[Any] = []


@dataclass(frozen=True, kw_only=True)
class Loud(Command):
    level: float | None = option("How loud.", "X", "Sound", within=Range(-60, 0))


@dataclass(frozen=True, kw_only=True)
class Sing(Loud):
    """Sing a scale."""

    song: Path | None = argument("What to sing.", "[SONG]", default=None)
    output: Path = option("Where to.", "X", spelt=["-o", "--output"], required="no output")
    takes: int = option("How many.", "N", default=1, within=Range(1, 32))
    speed: float = option("How fast.", "X", default=1.0, within=Range(0, open=True))
    every: bool = flag("All notes.", spelt=["--all"])

    def check(self) -> None:
        if self.every and self.takes > 1:
            raise UsageError("--all and --takes do not go together")

    def check_given(self, names: Any) -> None:
        SEEN[:] = names


def app() -> typer.Typer:
    made = typer.Typer(pretty_exceptions_enable=False)
    register(made, Sing, "sing")
    register(made, Loud, "loud")
    return made


def call(*words: str) -> Any:
    job = app()(args=["sing", *words], prog_name="test", standalone_mode=False)
    return job.__self__


def test_fields_become_options_with_their_defaults() -> None:
    request = call("-o", "out")
    assert request == Sing(output=Path("out"))
    assert (request.takes, request.level, request.quiet) == (1, None, False)
    request = call("song.wav", "--output", "x", "--takes", "3", "--level", "-3", "-q")
    assert request == Sing(song=Path("song.wav"), output=Path("x"), takes=3, level=-3.0, quiet=True)


def test_only_what_was_given_counts_as_given_even_where_it_is_the_default() -> None:
    call("-o", "out", "--takes", "1", "--all")
    assert SEEN == ["--output", "--takes", "--all"]
    call("-o", "out")
    assert SEEN == ["--output"]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], "no output"),
        (["-o", "x", "--takes", "0"], "--takes is 0; give a number from 1 to 32"),
        (["-o", "x", "--takes", "33"], "--takes is 33; give a number from 1 to 32"),
        (["-o", "x", "--level", "nan"], "--level is nan; give a number from -60 to 0"),
        (["-o", "x", "--speed", "0"], "--speed is 0; give a number above 0"),
        (["-o", "x", "--speed", "inf"], "--speed is inf; give a number above 0"),
        (["-o", "x", "--takes", "2", "--all"], "--all and --takes do not go together"),
    ],
)
def test_what_cannot_be_is_refused(words: list[str], message: str) -> None:
    with pytest.raises(UsageError, match=f"^{message}$"):
        call(*words)


def test_ranges_hold_in_python_too() -> None:
    with pytest.raises(UsageError, match="--takes is 0"):
        Sing(output=Path("out"), takes=0)


def test_help_is_the_docstring_and_own_options_come_before_those_of_bases() -> None:
    text = CliRunner().invoke(app(), ["sing", "--help"], color=False).output
    assert "Sing a scale." in text
    places = [text.index(name) for name in ("--output", "--takes", "--all", "--level", "--json", "--debug")]
    assert places == sorted(places)


def commands() -> list[type[Command]]:
    groups = [commands for _, commands in cli._GROUPS.values()]
    places = [place.split(".") for each in (cli._COMMANDS, *groups) for place in each.values()]
    assert len(places) >= 15
    return [getattr(import_module(f"hafm.app.{module}"), name) for module, name in places]


@pytest.mark.parametrize("command", commands())
def test_every_command_says_what_it_does_and_does_it(command: type[Command]) -> None:
    assert "run" in vars(command) or "job" in vars(command)
    assert command.__doc__ is not None
    assert not command.__doc__.startswith(f"{command.__name__}(")  # a dataclass without one

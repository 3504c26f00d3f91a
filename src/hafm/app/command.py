"""A command is one frozen dataclass: its fields are the options, its docstring the help, `run` the work.

In: a subclass of `Command`. Out: a command of the program.

    @dataclass(frozen=True, kw_only=True)
    class Sing(Command):
        '''Sing a scale.'''

        output: Path = options.output()                                         required, with its own words
        takes: int = option("How many.", "N", default=1, within=Range(1, 32))

        def run(self, shown, interrupts): ...

typer reads a signature that is made of the fields, so a range, a default and a help text are written once.
Conventions: None means "not given", and a default that is not ours holds; 0 is a value. Ranges are checked
when the dataclass is built, before anything heavy is loaded; then `check` looks at what must fit together.
"""

import inspect
import json
import math
import sys
from collections.abc import Callable, Sequence
from dataclasses import MISSING, Field, dataclass, field, fields
from pathlib import Path
from typing import (
    TYPE_CHECKING,
    Annotated,
    Any,
    ClassVar,
    Protocol,
    TypeAlias,
    get_type_hints,
    runtime_checkable,
)

import typer

from hafm.app.failure import require_memory
from hafm.app.interrupt import Interrupts
from hafm.app.narrow import NarrowCommand
from hafm.app.streams import printing
from hafm.errors import UsageError

if TYPE_CHECKING:
    from hafm.app.display import Display

__all__ = ["Command", "Job", "Outcome", "Range", "argument", "flag", "option", "register"]

Job: TypeAlias = Callable[[Interrupts], None]
"""What is left to do when the words are parsed: typer only parses, `hafm.app.cli.run` does the work."""

_RUN = "How it runs"


@dataclass(frozen=True)
class Range:
    """What numbers an option takes.

    Args:
        low: the least.
        high: the greatest; None for any.
        open: whether `low` itself is left out.

    >>> str(Range(1, 32)), str(Range(0)), str(Range(0, open=True))
    ('from 1 to 32', 'of 0 or more', 'above 0')
    """

    low: float
    high: float | None = None
    open: bool = False

    def __str__(self) -> str:
        if self.open:
            return f"above {self.low}"
        return f"of {self.low} or more" if self.high is None else f"from {self.low} to {self.high}"

    def check(self, name: str, value: float) -> None:
        """Refuses a number out of the range.

        Raises:
            UsageError: it is; NaN is in no range, and infinity neither.
        """
        least = self.low < value if self.open else self.low <= value
        if not (math.isfinite(value) and least and (self.high is None or value <= self.high)):
            said = f"{value:g}" if self.open else value
            raise UsageError(f"{name} is {said}; give a number {self}")


def option(
    help: str,
    metavar: str = "",
    panel: str | None = None,
    *,
    default: Any = None,
    shown: str | bool = True,
    within: Range | None = None,
    required: str | None = None,
    spelt: Sequence[str] = (),
) -> Any:
    """A field that is an option.

    Args:
        help: a sentence.
        metavar: what its value is; empty for flags.
        panel: heading that it has in the help.
        default: its value where it is not given.
        shown: words for a default that is not the field's; False shows none.
        within: what numbers it takes.
        required: what is said where it is not given; then it has no default.
        spelt: how, where that is not the field's name.
    """
    words = {"help": help, "metavar": metavar, "show_default": shown, "rich_help_panel": panel}
    how = {"words": words, "within": within, "required": required, "spelt": spelt}
    return field(default=MISSING if required else default, metadata=how)


def flag(help: str, panel: str | None = None, *, spelt: Sequence[str] = ()) -> Any:
    """A field that is an option without a value."""
    return option(help, panel=panel, default=False, spelt=spelt)


def argument(help: str, metavar: str, *, default: Any = MISSING, shown: bool = False) -> Any:
    """A field that is a word without an option's name; required without a default."""
    words = {"help": help, "metavar": metavar, "show_default": shown}
    return field(default=default, metadata={"words": words, "is_argument": True})


@runtime_checkable
class Outcome(Protocol):
    """What a command made."""

    def summary(self) -> str:
        """For people."""

    def to_json(self) -> dict[str, Any]:
        """For programs."""


@dataclass(frozen=True, kw_only=True)
class Command:
    """Base of all commands: the options that each has, and the way from an outcome to the terminal."""

    as_json: bool = flag("Print the result, or the error, as JSON.", _RUN, spelt=["--json"])
    quiet: bool = flag("Print errors and nothing else.", _RUN, spelt=["--quiet", "-q"])
    debug: bool = flag("Show the traceback when something fails.", _RUN)

    examples: ClassVar[tuple[str, ...]] = ()
    """Command lines that stand below the help."""

    def __post_init__(self) -> None:
        for each in fields(self):
            limits, value = each.metadata.get("within"), getattr(self, each.name)
            if limits is not None and value is not None:
                limits.check(_spelling(each), value)
        self.check()

    @property
    def results(self) -> Path | None:
        """Where what it makes lies; None where it makes no files."""
        found: Path | None = getattr(self, "output", None)
        return found

    def check(self) -> None:
        """Refuses values that do not go together.

        Raises:
            UsageError: two do not; the message names the options.
        """

    def check_given(self, names: Sequence[str]) -> None:
        """Refuses options that cannot be given together, whatever their values.

        Args:
            names: of the options on the command line, as they are spelt.

        Raises:
            UsageError: two cannot.
        """

    def run(self, shown: "Display", interrupts: Interrupts) -> Outcome:
        """Does what was asked for.

        Raises:
            HafmError: it cannot be done.
        """
        raise NotImplementedError

    def job(self, interrupts: Interrupts) -> None:
        """Does the work, and prints what came of it."""
        from rich.console import Console

        from hafm.app.display import display

        with display(Console(stderr=True, markup=False, highlight=False), quiet=self.quiet) as shown:
            outcome = self.run(shown, interrupts)
        self.print(outcome)

    def print(self, outcome: Any) -> None:
        """Prints an outcome: as JSON, or as notes and a summary, or (`--quiet`) not at all."""
        with printing(self.results):
            if self.as_json:
                print(json.dumps(outcome.to_json()))
            elif not self.quiet:
                for note in getattr(outcome, "notes", ()):  # JSON holds them already
                    print(f"note: {note}", file=sys.stderr)
                print(outcome.summary())


def register(app: typer.Typer, command: type[Command], name: str) -> None:
    """Adds a command, whose fields are the options, to typer's program."""
    described = _described(command)

    def call(context: Any, **values: Any) -> Job:
        for each in described:
            if each.metadata.get("required") and values[each.name] is None:
                raise UsageError(each.metadata["required"])
        require_memory()
        request = command(**values)
        sources = {each.name: context.get_parameter_source(each.name) for each in described}
        given = [each for each in described if getattr(sources[each.name], "name", "") == "COMMANDLINE"]
        request.check_given([_spelling(each) for each in given])
        return request.job

    call.__doc__ = inspect.getdoc(command)
    hints = get_type_hints(command)
    context = inspect.Parameter("context", inspect.Parameter.KEYWORD_ONLY, annotation=typer.Context)
    parameters = [context, *(_parameter(each, hints[each.name]) for each in described)]
    call.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    call.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
    epilog = "\n\n".join(["[bold]Examples[/bold]", *command.examples]) if command.examples else None
    app.command(name=name, epilog=epilog, cls=NarrowCommand)(call)


def _described(command: type[Command]) -> list[Field[Any]]:
    """The fields in the order of the help: a class's own before its bases'."""
    order = [name for base in command.__mro__ for name in inspect.get_annotations(base)]
    return sorted(fields(command), key=lambda each: order.index(each.name))


def _parameter(each: Field[Any], hint: Any) -> inspect.Parameter:
    how, default = each.metadata, each.default
    if how.get("is_argument"):
        info = typer.Argument(**how["words"])
    else:
        info = typer.Option(*(how["spelt"] or [_spelling(each)]), **how["words"])
    if how.get("required"):
        default = None
    return inspect.Parameter(
        each.name,
        inspect.Parameter.KEYWORD_ONLY,
        default=inspect.Parameter.empty if default is MISSING else default,
        annotation=Annotated[hint, info],
    )


def _spelling(each: Field[Any]) -> str:
    """How an option is spelt on the command line; the long form, if there are two.

    >>> skip_fine, as_json = flag("Leave out a stage."), flag("As JSON.", spelt=["--json"])
    >>> skip_fine.name = "skip_fine"
    >>> _spelling(skip_fine), _spelling(as_json)
    ('--skip-fine', '--json')
    """
    names = [name for name in each.metadata.get("spelt", ()) if name.startswith("--")]
    return names[0] if names else "--" + each.name.replace("_", "-")

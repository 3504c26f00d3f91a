"""A command is one frozen dataclass: its fields are the options, its docstring the help, `run` the work.

In: a subclass of `Command`. Out: a command of the program.

    @dataclass(frozen=True, kw_only=True)
    class Sing(Command):
        '''Sing a scale.'''

        output: options.Output                                                  required, with its own words
        takes: Annotated[int, options.option("How many.", metavar="N"), Range(1, 32)] = 1

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
from dataclasses import MISSING, Field, dataclass, fields
from pathlib import Path
from typing import (
    TYPE_CHECKING,
    Annotated,
    Any,
    ClassVar,
    Protocol,
    TypeAlias,
    get_args,
    get_type_hints,
    runtime_checkable,
)

import typer
from typer.models import OptionInfo

from hafm.app.failure import require_memory
from hafm.app.interrupt import Interrupts
from hafm.app.narrow import NarrowCommand
from hafm.app.streams import printing
from hafm.errors import UsageError

if TYPE_CHECKING:
    from hafm.app.display import Display

__all__ = ["Command", "Job", "Outcome", "Range", "Required", "option", "register"]

Job: TypeAlias = Callable[[Interrupts], None]
"""What is left to do when the words are parsed: typer only parses, `hafm.app.cli.run` does the work."""

_RUN = "How it runs"


def option(
    help: str, *names: str, metavar: str = "", panel: str | None = None, default: str | bool = True
) -> Any:
    """An option, as a field's annotation holds it.

    Args:
        help: a sentence.
        names: how it is spelt; needed for flags (else they get a `--no-`), and where it is not the field's.
        metavar: what its value is; empty for flags.
        panel: heading that it has in the help.
        default: words for a default that is not the field's; False shows none.
    """
    return typer.Option(*names, metavar=metavar, help=help, show_default=default, rich_help_panel=panel)


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


@dataclass(frozen=True)
class Required:
    """An option that must be given.

    Args:
        message: what is said where it is not.
    """

    message: str


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

    as_json: Annotated[bool, option("Print the result, or the error, as JSON.", "--json", panel=_RUN)] = False
    quiet: Annotated[bool, option("Print errors and nothing else.", "--quiet", "-q", panel=_RUN)] = False
    debug: Annotated[bool, option("Show the traceback when something fails.", "--debug", panel=_RUN)] = False

    examples: ClassVar[tuple[str, ...]] = ()
    """Command lines that stand below the help."""

    def __post_init__(self) -> None:
        for field, metadata in _described(type(self)):
            value = getattr(self, field.name)
            for limit in metadata:
                if isinstance(limit, Range) and value is not None:
                    limit.check(_spelling(field.name, metadata), value)
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

        Args:
            shown: shows what goes on.
            interrupts: cleans up when the process must end.

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
    """Adds a command to the program.

    Args:
        app: typer's.
        command: whose fields are the options.
        name: how it is called.
    """
    described = _described(command)

    def call(context: Any, **values: Any) -> Job:
        for field, metadata in described:
            for rule in metadata:
                if isinstance(rule, Required) and values[field.name] is None:
                    raise UsageError(rule.message)
        require_memory()
        request = command(**values)
        sources = {field.name: context.get_parameter_source(field.name) for field, _ in described}
        given = [each for each in described if getattr(sources[each[0].name], "name", "") == "COMMANDLINE"]
        request.check_given([_spelling(field.name, metadata) for field, metadata in given])
        return request.job

    call.__doc__ = inspect.getdoc(command)
    context = inspect.Parameter("context", inspect.Parameter.KEYWORD_ONLY, annotation=typer.Context)
    parameters = [context, *(_parameter(field, metadata) for field, metadata in described)]
    call.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    call.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
    epilog = "\n\n".join(["[bold]Examples[/bold]", *command.examples]) if command.examples else None
    app.command(name=name, epilog=epilog, cls=NarrowCommand)(call)


def _described(command: type[Command]) -> list[tuple[Field[Any], tuple[Any, ...]]]:
    """Fields with what their annotations hold, in the order of the help: a class's own before its bases'."""
    hints = get_type_hints(command, include_extras=True)
    order = [name for base in command.__mro__ for name in inspect.get_annotations(base)]
    return [
        (field, get_args(hints[field.name]))
        for field in sorted(fields(command), key=lambda field: order.index(field.name))
    ]


def _parameter(field: Field[Any], metadata: tuple[Any, ...]) -> inspect.Parameter:
    default = field.default
    if any(isinstance(rule, Required) for rule in metadata):
        default = None
    return inspect.Parameter(
        field.name,
        inspect.Parameter.KEYWORD_ONLY,
        default=inspect.Parameter.empty if default is MISSING else default,
        annotation=Annotated[metadata],
    )


def _spelling(name: str, metadata: tuple[Any, ...]) -> str:
    """How an option is spelt on the command line.

    >>> _spelling("skip_fine", ()), _spelling("as_json", (option("As JSON.", "--json"),))
    ('--skip-fine', '--json')
    """
    for info in metadata:
        if isinstance(info, OptionInfo):
            declared = (info.default, *(info.param_decls or ()))
            for spelling in declared:
                if isinstance(spelling, str) and spelling.startswith("--"):
                    return spelling
    return "--" + name.replace("_", "-")

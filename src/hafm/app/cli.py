"""The program `hafm`: its commands, listed in order, and how their errors and Ctrl-C end.

In: the words after `hafm`. Out: text, files, and an exit code: 0, 1 (a mistake of ours), 2 (one line says
what, why and what to do), 75 (training was asked to stop, and goes on when started again), 130 and 143
(stopped by Ctrl-C, by SIGTERM; 129 and 131 by SIGHUP, SIGQUIT), 141 (nobody reads our output).

Conventions: the result goes to stdout; what happens on the way, and what goes wrong, to stderr. With `--json`
stdout holds one JSON object, and that is the error if there is one. Nothing heavy is imported here: a job
imports what it needs.
"""

import contextlib
import functools
import os
import signal
import sys
import traceback
from collections.abc import Mapping, Sequence
from importlib import import_module
from typing import Any

import typer

from hafm.app import options
from hafm.app.command import Command, Job, register
from hafm.app.failure import Failure, explain, interrupted, memory_limit
from hafm.app.interrupt import Interrupts
from hafm.app.narrow import NarrowGroup
from hafm.app.streams import discard_output, printing, repair_streams
from hafm.version import __version__

__all__ = ["main", "program", "run"]

_OUTPUT_CLOSED = 141  # as a shell tells of a program that SIGPIPE ended

_COMMANDS = {
    "generate": "generate.Generate",
    "analyse": "analyse.Analyse",
    "arrange": "arrange.Arrange",
    "web": "web.Web",
    "separate": "separate.Separate",
    "fit-kmeans": "fit_kmeans.FitKMeans",
    "prepare": "prepare.Prepare",
    "train": "train.Train",
    "bundle": "bundle.MakeBundle",
    "retrieve-index": "retrieve_index.RetrieveIndex",
    "retrieve": "retrieve.Retrieve",
    "evaluate": "evaluate.Evaluate",
    "info": "info.Info",
}
"""Module and class of each in `hafm.app`, in the order in which `hafm --help` lists them."""

_GROUPS = {
    "data": ("Look at token shards.", {"show": "data.DataShow", "verify": "data.DataVerify"}),
    "listen": (
        "Let people compare the systems of an evaluation, blind.",
        {"make": "listen.ListenMake", "score": "listen.ListenScore"},
    ),
}
"""The same of those with two words, with the help of the first, which come after the others."""


_flag = functools.partial(typer.Option, False, metavar="", rich_help_panel=options.RUN)


def _hafm(
    version: bool = _flag("--version", help="Print the version and leave."),
    debug: bool = _flag("--debug", help="Show the traceback when something fails."),
) -> Job | None:
    """Sing, and get the band.

    HAFM turns a recording of singing into an accompaniment of the same length, and a mix of both:

    [bold]hafm generate vocal.wav -o out/[/bold]
    """
    return _print_version if version else None


def _print_version(interrupts: Interrupts) -> None:
    with printing():
        print(f"hafm {__version__}")


def run(words: Sequence[str]) -> int:
    """Runs a command line.

    Args:
        words: what follows `hafm`.

    Returns:
        The exit code.

    >>> run(["--version"])  # doctest: +ELLIPSIS
    hafm ...
    0
    """
    # Looked for in the words themselves: they count when the rest cannot be parsed. After `--` come names.
    flags = list(words)[: words.index("--")] if "--" in words else list(words)
    as_json, debug = "--json" in flags, "--debug" in flags
    first = words[0] if words else ""
    with Interrupts() as interrupts:
        try:
            parser = program(first if first in _COMMANDS else None)
            job = parser(args=list(words) or ["--help"], prog_name="hafm", standalone_mode=False)
            if callable(job):  # else it was a request for help, which has been met
                job(interrupts)
            with printing():  # what is left to flush
                pass
        except (BrokenPipeError, SystemExit):
            # Who read our output has left (`hafm info | head -1`). typer and rich make a SystemExit of that.
            discard_output()
            return _OUTPUT_CLOSED
        except KeyboardInterrupt:
            pass
        except Exception as error:
            # An error after a signal is its echo: libraries wrap the exception in their own.
            if interrupts.exit_code is None:
                failure = explain(error, command=f"hafm {first}" if first in _COMMANDS else "hafm")
                _tell(failure, as_json=as_json, error=error if debug else None)
                return failure.exit_code
        if interrupts.exit_code is not None:
            _tell(interrupted(interrupts.exit_code, interrupts.left), as_json=as_json)
            return interrupts.exit_code
    return 0


@functools.cache
def program(name: str | None = None) -> Any:
    """What parses the words; made once for a process that runs several command lines.

    Args:
        name: of the one command that is in it; None for all. They take longer to load, and are needed to list
            them, or to find the name that was meant.
    """
    app = typer.Typer(
        cls=NarrowGroup,
        add_completion=False,
        pretty_exceptions_enable=False,
        rich_markup_mode="rich",
        context_settings={"help_option_names": ["-h", "--help"]},
    )
    epilog = "`hafm COMMAND --help` tells more about a command."
    app.callback(invoke_without_command=True, epilog=epilog)(_hafm)
    _register(app, _COMMANDS if name is None else {name: _COMMANDS[name]})
    if name is None:
        for group, (help, commands) in _GROUPS.items():
            of_group = typer.Typer(cls=NarrowGroup, rich_markup_mode="rich", help=help)
            _register(of_group, commands)
            app.add_typer(of_group, name=group)
    return typer.main.get_command(app)


def _register(app: typer.Typer, commands: Mapping[str, str]) -> None:
    for name, place in commands.items():
        module, _, its_class = place.partition(".")
        command: type[Command] = getattr(import_module(f"hafm.app.{module}"), its_class)
        register(app, command, name)


def main() -> None:
    """The program `hafm`."""
    words = sys.argv[1:]
    repair_streams(quiet=bool({"-q", "--quiet"} & set(words)))
    exit_code = run(words) if _has_working_folder() else 2
    try:
        sys.stdout.flush()
    except OSError:
        discard_output()
    if exit_code > 128 or (exit_code and memory_limit() is not None):
        # Stopped, or the memory is full: leave at once, without what libraries do at the end of a process.
        os._exit(exit_code)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the work is done, and what is left takes a moment
    sys.exit(exit_code)


def _has_working_folder() -> bool:
    """Whether there is one; libraries that are loaded where it was deleted end the process."""
    try:
        os.getcwd()
    except OSError:
        print("error: the working folder is not there any more; go to another one (cd)", file=sys.stderr)
        return False
    return True


def _tell(failure: Failure, *, as_json: bool, error: Exception | None = None) -> None:
    if error is not None:
        traceback.print_exception(error)
    print(failure.line, file=sys.stderr, flush=True)
    if as_json:
        with contextlib.suppress(OSError):  # that stdout cannot be written may be what failed
            print(failure.json, flush=True)

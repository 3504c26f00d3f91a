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
from collections.abc import Sequence
from typing import Annotated, Any

import typer

from hafm.app import options
from hafm.app.analyse import Analyse
from hafm.app.arrange import Arrange
from hafm.app.bundle import MakeBundle
from hafm.app.command import Job, option, register
from hafm.app.data import DataShow, DataVerify
from hafm.app.evaluate import Evaluate
from hafm.app.failure import Failure, explain, interrupted, memory_limit
from hafm.app.fit_kmeans import FitKMeans
from hafm.app.generate import Generate
from hafm.app.info import Info
from hafm.app.interrupt import Interrupts
from hafm.app.listen import ListenMake, ListenScore
from hafm.app.narrow import NarrowGroup
from hafm.app.prepare import Prepare
from hafm.app.retrieve import Retrieve
from hafm.app.retrieve_index import RetrieveIndex
from hafm.app.separate import Separate
from hafm.app.streams import discard_output, printing, repair_streams
from hafm.app.train import Train
from hafm.app.web import Web
from hafm.version import __version__

__all__ = ["app", "main", "program", "run"]

_OUTPUT_CLOSED = 141  # as a shell tells of a program that SIGPIPE ended

app = typer.Typer(
    cls=NarrowGroup,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    context_settings={"help_option_names": ["-h", "--help"]},
)


@app.callback(invoke_without_command=True, epilog="`hafm COMMAND --help` tells more about a command.")
def _hafm(
    version: Annotated[bool, option("Print the version and leave.", "--version", panel=options.RUN)] = False,
    debug: Annotated[
        bool, option("Show the traceback when something fails.", "--debug", panel=options.RUN)
    ] = False,
) -> Job | None:
    """Sing, and get the band.

    HAFM turns a recording of singing into an accompaniment of the same length, and a mix of both:

    [bold]hafm generate vocal.wav -o out/[/bold]
    """
    return _print_version if version else None


def _print_version(interrupts: Interrupts) -> None:
    with printing():
        print(f"hafm {__version__}")


# In the order in which `hafm --help` lists them.
register(app, Generate, "generate")
register(app, Analyse, "analyse")
register(app, Arrange, "arrange")
register(app, Web, "web")
register(app, Separate, "separate")
register(app, FitKMeans, "fit-kmeans")
register(app, Prepare, "prepare")
register(app, Train, "train")
register(app, MakeBundle, "bundle")
register(app, RetrieveIndex, "retrieve-index")
register(app, Retrieve, "retrieve")
register(app, Evaluate, "evaluate")
register(app, Info, "info")

_data = typer.Typer(cls=NarrowGroup, rich_markup_mode="rich", help="Look at token shards.")
register(_data, DataShow, "show")
register(_data, DataVerify, "verify")
app.add_typer(_data, name="data")

_listen = typer.Typer(
    cls=NarrowGroup, rich_markup_mode="rich", help="Let people compare the systems of an evaluation, blind."
)
register(_listen, ListenMake, "make")
register(_listen, ListenScore, "score")
app.add_typer(_listen, name="listen")


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
    with Interrupts() as interrupts:
        try:
            job = program()(args=list(words) or ["--help"], prog_name="hafm", standalone_mode=False)
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
                failure = explain(error)
                _tell(failure, as_json=as_json, error=error if debug else None)
                return failure.exit_code
        if interrupts.exit_code is not None:
            _tell(interrupted(interrupts.exit_code, interrupts.left), as_json=as_json)
            return interrupts.exit_code
    return 0


@functools.cache
def program() -> Any:
    """What parses the words; made once for a process that runs several command lines."""
    return typer.main.get_command(app)


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

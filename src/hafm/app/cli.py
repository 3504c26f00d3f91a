"""The command line: `hafm generate`, `hafm info`, `hafm --version`.

In: the words after `hafm`. Out: text, files, and an exit code: 0, 1 (a mistake of ours), 2 (one line says
what, why and what to do), 130 and 143 (stopped by Ctrl-C, by SIGTERM), 141 (nobody reads our output).

Conventions: the result goes to stdout; what happens on the way, and what goes wrong, to stderr. With `--json`
stdout holds one JSON object, and that is the error if there is one. Nothing heavy is imported here: a command
imports what it needs.
"""

import json
import os
import sys
import traceback
from collections.abc import Callable, Sequence
from typing import TypeAlias

import typer

from hafm import __version__
from hafm.app import options
from hafm.app.failure import Failure, explain, interrupted
from hafm.app.interrupt import Interrupts
from hafm.app.request import Request
from hafm.errors import UsageError

__all__ = ["app", "main", "run"]

_OUTPUT_CLOSED = 141  # as a shell tells of a program that SIGPIPE ended

Job: TypeAlias = Callable[[Interrupts], None]
"""What a command is to do, as its words were parsed: typer only parses, and `run` does the work."""

app = typer.Typer(
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    context_settings={"help_option_names": ["-h", "--help"]},
)


@app.callback(invoke_without_command=True, epilog="`hafm COMMAND --help` tells more about a command.")
def _hafm(version: options.Version = False, debug: options.Debug = False) -> Job | None:
    """Sing, and get the band.

    HAFM turns a recording of singing into an accompaniment of the same length, and a mix of both:

    [bold]hafm generate vocal.wav -o out/[/bold]
    """
    return (lambda _: print(f"hafm {__version__}")) if version else None


@app.command(
    epilog="[bold]Examples[/bold]\n\n"
    "hafm generate vocal.wav -o out/\n\n"
    "hafm generate vocal.m4a -o out/ --takes 4 --seed 7 --plot\n\n"
    "hafm generate song.wav -o out/ --start 30 --seconds 20 --skip-fine\n\n"
    "hafm generate --replay out/generation.json -o again/"
)
def generate(
    vocal: options.Vocal = None,
    start: options.Start = None,
    seconds: options.Seconds = None,
    replay: options.Replay = None,
    output: options.Output = None,
    overwrite: options.Overwrite = False,
    format: options.FormatOption = None,
    balance: options.Balance = None,
    loudness: options.Loudness = None,
    plot: options.Plot = False,
    bundle: options.Bundle = None,
    takes: options.Takes = None,
    seed: options.Seed = None,
    temperature: options.Temperature = None,
    top_k: options.TopK = None,
    guidance: options.Guidance = None,
    skip_fine: options.SkipFine = False,
    device: options.Device = None,
    as_json: options.AsJson = False,
    quiet: options.Quiet = False,
    debug: options.Debug = False,
) -> Job:
    """Make an accompaniment for a vocal, and a mix of both.

    Writes accompaniment.wav, mix.wav, and generation.json, which holds all that --replay needs.

    The same vocal, seed and settings give the same sound, on the same machine with the same versions.
    """
    if output is None:
        raise UsageError("no output folder was given; name one with -o, as in: -o out/")
    request = Request(
        output=output,
        vocal=vocal,
        replay=replay,
        takes=takes,
        seed=seed,
        temperature=temperature,
        top_k=top_k,
        guidance=guidance,
        start_seconds=start,
        seconds=seconds,
        skip_fine=skip_fine,
        bundle=bundle,
        device=device,
        balance_db=balance,
        loudness_lufs=loudness,
        format=format,
        plot=plot,
        overwrite=overwrite,
    )

    def job(interrupts: Interrupts) -> None:
        from rich.console import Console

        from hafm.app.generate import run_request
        from hafm.app.progress import display

        with display(Console(stderr=True, markup=False, highlight=False), quiet=quiet) as shown:
            outcome = run_request(request, shown=shown, interrupts=interrupts)
        if as_json:
            print(json.dumps(outcome.to_json()))
        elif not quiet:
            for note in outcome.notes:
                print(f"note: {note}", file=sys.stderr)
            print(outcome.summary())

    return job


@app.command()
def info(
    bundle: options.BundleArgument = "builtin",
    as_json: options.AsJson = False,
    debug: options.Debug = False,
) -> Job:
    """Show what a bundle is, what it is made of, and how good it was measured to be."""

    def job(interrupts: Interrupts) -> None:
        from rich.console import Console

        from hafm.app.info import describe, show

        description = describe(bundle)
        if as_json:
            print(json.dumps(description))
        else:
            show(description, Console(markup=False, highlight=False, emoji=False))

    return job


def run(words: Sequence[str]) -> int:
    """Runs a command line.

    Args:
        words: what stands after `hafm`.

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
            job = app(args=list(words) or ["--help"], prog_name="hafm", standalone_mode=False)
            if callable(job):  # else it was a request for help, which has been met
                job(interrupts)
            sys.stdout.flush()
        except (BrokenPipeError, SystemExit):
            # Who read our output has left (`hafm info | head -1`). typer and rich make a SystemExit of that.
            _discard_output()
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
            _tell(interrupted(interrupts.exit_code), as_json=as_json)
            return interrupts.exit_code
    return 0


def main() -> None:
    """The program `hafm`."""
    for stream in (sys.stdout, sys.stderr):
        # The name of a file need not be text in the terminal's encoding, nor in any.
        stream.reconfigure(errors="backslashreplace")  # type: ignore[union-attr]
    exit_code = run(sys.argv[1:])
    if exit_code > 128:
        # Stopped: leave at once, without what libraries do at the end of a process.
        os._exit(exit_code)
    sys.exit(exit_code)


def _tell(failure: Failure, *, as_json: bool, error: Exception | None = None) -> None:
    if error is not None:
        traceback.print_exception(error)
    print(failure.line, file=sys.stderr, flush=True)
    if as_json:
        print(failure.json, flush=True)


def _discard_output() -> None:
    """Point stdout and stderr at nothing, so that Python's last flush does not fail as well."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    for stream in (sys.stdout, sys.stderr):
        try:
            os.dup2(nowhere, stream.fileno())
        except (OSError, ValueError):  # captured by a test
            continue

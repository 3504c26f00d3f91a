"""`hafm listen make` and `hafm listen score`: blind listening tests of an evaluation."""

from typing import Any

from hafm.app.commands import listen_options, options
from hafm.app.commands.job import Job, tell
from hafm.app.interrupt import Interrupts
from hafm.app.listen_request import KitRequest, ScoreRequest, named_systems
from hafm.errors import UsageError
from hafm.evaluate.listening.design import Plan
from hafm.evaluate.listening.scores import MIN_CATCH

__all__ = ["MAKE_EPILOG", "SCORE_EPILOG", "make", "score"]

MAKE_EPILOG = (
    "[bold]Examples[/bold]\n\n"
    "hafm listen make run/ -o kit/\n\n"
    "hafm listen make run/ -o kit/ --systems model,retrieval --trials 20"
)
SCORE_EPILOG = (
    "[bold]Examples[/bold]\n\n"
    "hafm listen score kit/key.json answers-ann.json answers-bo.json\n\n"
    "hafm listen score kit/key.json answers-ann.json --json"
)


def make(
    run: listen_options.Run,
    output: listen_options.Output = None,
    overwrite: options.Overwrite = False,
    systems: listen_options.Systems = None,
    trials: listen_options.Trials = None,
    catch: listen_options.Catch = None,
    repeats: listen_options.Repeats = None,
    listen_seconds: listen_options.ListenSeconds = None,
    arm: listen_options.Arm = None,
    seed: listen_options.Seed = None,
    as_json: options.AsJson = False,
    quiet: options.Quiet = False,
    debug: options.Debug = False,
) -> Job:
    """Make a blind listening test from an evaluation.

    Writes listen.html for raters: they hear a vocal with two accompaniments and choose which fits better.

    Writes key.json, which says whose sounds these are. Keep it to yourself.
    """
    if output is None:
        raise UsageError("no output folder was given; name one with -o, as in: -o kit/")
    given: dict[str, Any] = {
        "trials": trials,
        "catch": catch,
        "repeats": repeats,
        "listen_seconds": listen_seconds,
        "seed": seed,
    }
    request = KitRequest(
        run=run,
        output=output,
        plan=Plan(**{name: value for name, value in given.items() if value is not None}),
        systems=named_systems(systems),
        arm=arm,
        overwrite=overwrite,
    )

    def job(interrupts: Interrupts) -> None:
        from rich.console import Console

        from hafm.app.listen import run_make
        from hafm.app.progress import display

        with display(Console(stderr=True, markup=False, highlight=False), quiet=quiet) as shown:
            outcome = run_make(request, shown=shown, interrupts=interrupts)
        tell(outcome, notes=outcome.notes, as_json=as_json, quiet=quiet)

    return job


def score(
    key: listen_options.Key,
    answers: listen_options.AnswerFiles,
    min_catch: listen_options.MinCatch = None,
    leave_out: listen_options.LeaveOut = False,
    as_json: options.AsJson = False,
    debug: options.Debug = False,
) -> Job:
    """Score the answers to a listening test: win rates with intervals, and how well raters listened."""
    request = ScoreRequest(
        key=key,
        answers=tuple(answers),
        min_catch=MIN_CATCH if min_catch is None else min_catch,
        leave_out=leave_out,
    )

    def job(interrupts: Interrupts) -> None:
        from hafm.app.listen import run_score

        outcome = run_score(request)
        tell(outcome, notes=outcome.scores.notes, as_json=as_json, quiet=False)

    return job

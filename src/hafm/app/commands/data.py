"""`hafm data show` and `hafm data verify`: a look at token shards."""

import json

from hafm.app.commands import data_options, options
from hafm.app.commands.job import Job
from hafm.app.interrupt import Interrupts

__all__ = ["SHOW_EPILOG", "show", "verify"]

SHOW_EPILOG = (
    "[bold]Examples[/bold]\n\n"
    "hafm data show shards/ --plot shards.png\n\n"
    "hafm data show s3://bucket/shards --json\n\n"
    "hafm data show shards/ --ledger"
)


def show(
    shards: data_options.Shards,
    plot: data_options.PlotFile = None,
    overwrite: options.Overwrite = False,
    ledger: data_options.Ledger = False,
    as_json: options.AsJson = False,
    debug: options.Debug = False,
) -> Job:
    """Show what is in token shards: hours, splits, what was dropped and why, and how tokens are used."""

    def job(interrupts: Interrupts) -> None:
        from rich.console import Console

        from hafm.app.data_show import run_show

        report = run_show(shards, plot=plot, overwrite=overwrite, ledger=ledger)
        if as_json:
            print(json.dumps(report.values))
        else:
            report.print(Console(markup=False, highlight=False, emoji=False))

    return job


def verify(shards: data_options.Shards, as_json: options.AsJson = False, debug: options.Debug = False) -> Job:
    """Read every file of token shards and compare its hash."""

    def job(interrupts: Interrupts) -> None:
        from hafm.app.data_show import run_verify

        num_files = run_verify(shards)
        print(json.dumps({"files": num_files}) if as_json else f"{shards}: {num_files} files, all as written")

    return job

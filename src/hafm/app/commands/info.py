"""`hafm info`: what a bundle is."""

import json

from hafm.app.commands import options
from hafm.app.commands.job import Job
from hafm.app.interrupt import Interrupts

__all__ = ["info"]


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

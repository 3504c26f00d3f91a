"""`hafm bundle`: three training runs made into a bundle."""

from hafm.app.bundle import BundleRequest
from hafm.app.commands import bundle_options, options
from hafm.app.commands.job import Job, tell
from hafm.app.interrupt import Interrupts
from hafm.errors import UsageError

__all__ = ["EPILOG", "bundle"]

EPILOG = (
    "[bold]Examples[/bold]\n\n"
    "hafm bundle runs/semantic runs/coarse runs/fine -o my-bundle/\n\n"
    "hafm bundle runs/* -o my-bundle/ --weights int8 --name 'My band' --licence CC-BY-4.0\n\n"
    "hafm generate vocal.wav --bundle my-bundle/ -o out/"
)


def bundle(
    runs: bundle_options.Runs,
    output: bundle_options.Output = None,
    overwrite: options.Overwrite = False,
    weights: bundle_options.Weights = "fp16",
    newest: bundle_options.Newest = False,
    name: bundle_options.Name = None,
    version: bundle_options.VersionText = "1",
    licence: bundle_options.Licence = "unknown",
    as_json: options.AsJson = False,
    quiet: options.Quiet = False,
    debug: options.Debug = False,
) -> Job:
    """Make a bundle of three training runs, with a model card; hafm generate --bundle plays it."""
    if output is None:
        raise UsageError("no folder was given for the bundle; name one with -o, as in: -o my-bundle/")
    request = BundleRequest(
        runs=tuple(runs),
        output=output,
        weights=weights,
        name=name,
        version=version,
        licence=licence,
        newest=newest,
        overwrite=overwrite,
    )

    def job(interrupts: Interrupts) -> None:
        from hafm.app.bundle import run_bundling

        outcome = run_bundling(request)
        tell(outcome, notes=outcome.notes, as_json=as_json, quiet=quiet)

    return job

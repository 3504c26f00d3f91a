"""`hafm fit-kmeans`: the k-means of both sides, fitted to a music collection."""

from hafm.app.commands import fit_kmeans_options, options, prepare_options
from hafm.app.commands.job import Job, tell
from hafm.app.interrupt import Interrupts
from hafm.errors import UsageError

__all__ = ["EPILOG", "fit_kmeans"]

EPILOG = (
    "[bold]Examples[/bold]\n\n"
    "hafm fit-kmeans music/ --parts paper --separator vocals.onnx --device cuda -o parts/\n\n"
    "hafm fit-kmeans work/pairs --parts builtin --augment -o work/parts"
)


def fit_kmeans(
    source: prepare_options.Source,
    output: fit_kmeans_options.Output = None,
    kind: prepare_options.Kind = None,
    subset: prepare_options.Subset = None,
    hours: fit_kmeans_options.Hours = 1.5,
    quarantine_limit: prepare_options.QuarantineLimit = 0.02,
    parts: fit_kmeans_options.Parts = "builtin",
    separator: prepare_options.Separator = None,
    augment: prepare_options.Augment = False,
    clusters: fit_kmeans_options.Clusters = 500,
    shared: fit_kmeans_options.Shared = False,
    starts: fit_kmeans_options.Starts = 3,
    passes: fit_kmeans_options.Passes = 12,
    seed: fit_kmeans_options.Seed = 0,
    device: options.Device = None,
    as_json: options.AsJson = False,
    quiet: options.Quiet = False,
    debug: options.Debug = False,
) -> Job:
    """Fit the k-means of both sides to a music collection.

    Writes a folder of parts: features, codec and k-means, all that turns sound into ids.

    The same files and settings give the same k-means, byte for byte, on the same machine.
    """
    if output is None:
        raise UsageError("no output folder was given; name one with -o, as in: -o parts/")
    folder = output

    def job(interrupts: Interrupts) -> None:
        from rich.console import Console

        from hafm.app.fit_kmeans import FitRequest, run_fit
        from hafm.app.progress import display
        from hafm.data.tokenising.kmeans_fit import KMeansSettings
        from hafm.data.tokenising.vocabulary import VocabularySettings

        settings = VocabularySettings(
            kmeans=KMeansSettings(clusters=clusters, starts=starts, passes=passes, seed=seed),
            hours=hours,
            shared=shared,
            augment=augment,
            unusable_limit=quarantine_limit,
        )
        request = FitRequest(
            source=source,
            kind=kind,
            subset=subset,
            parts=parts,
            output=folder,
            settings=settings,
            separator=separator,
            device="cpu" if device is None else device,
        )
        with display(Console(stderr=True, markup=False, highlight=False), quiet=quiet) as shown:
            outcome = run_fit(request, shown=shown, interrupts=interrupts)
        tell(outcome, notes=outcome.notes, as_json=as_json, quiet=quiet)

    return job

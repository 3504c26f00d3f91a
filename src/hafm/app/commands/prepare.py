"""`hafm prepare`: a music collection turned into token shards."""

from hafm.app.commands import options, prepare_options
from hafm.app.commands.job import Job, tell
from hafm.app.interrupt import Interrupts
from hafm.app.prepare_request import PrepareRequest, parse_clip_seconds
from hafm.errors import UsageError

__all__ = ["EPILOG", "prepare"]

EPILOG = (
    "[bold]Examples[/bold]\n\n"
    "hafm prepare work/pairs -o shards/ --views 2 --augment\n\n"
    "hafm prepare musdb18hq/ -o shards/ --parts parts/\n\n"
    "hafm prepare fma/ --subset large --separator vocals.onnx --parts parts/ --device cuda -o shards/"
)


def prepare(
    source: prepare_options.Source,
    output: prepare_options.Output = None,
    kind: prepare_options.Kind = None,
    subset: prepare_options.Subset = None,
    song_from: prepare_options.SongFrom = None,
    limit: prepare_options.Limit = None,
    valid_share: prepare_options.ValidShare = 0.02,
    test_share: prepare_options.TestShare = 0.02,
    quarantine_limit: prepare_options.QuarantineLimit = 0.02,
    retry: prepare_options.Retry = False,
    parts: prepare_options.Parts = "builtin",
    kmeans: prepare_options.KMeans = None,
    separator: prepare_options.Separator = None,
    views: prepare_options.Views = 1,
    augment: prepare_options.Augment = False,
    seed: prepare_options.Seed = 0,
    clip_seconds: prepare_options.ClipSeconds = "10",
    min_instrumental: prepare_options.MinInstrumental = -25.0,
    max_vocal_over: prepare_options.MaxVocalOver = 5.0,
    workers: prepare_options.Workers = None,
    batch_size: prepare_options.BatchSize = 1,
    device: options.Device = None,
    engine: prepare_options.Engine = "local",
    address: prepare_options.Address = None,
    dry_run: prepare_options.DryRun = False,
    as_json: options.AsJson = False,
    quiet: options.Quiet = False,
    debug: options.Debug = False,
) -> Job:
    """Turn a music collection into token shards, which training reads.

    Separates mixes, drops clips that teach nothing, makes tokens, and keeps a ledger of every track. Stopped
    anywhere, the same command goes on where it was, and the shards come out the same.
    """
    if output is None:
        raise UsageError("no output folder was given; name one with -o, as in: -o shards/")
    request = PrepareRequest(
        source=source,
        output=output,
        kind=kind,
        subset=subset,
        song_from=song_from,
        limit=limit,
        valid_share=valid_share,
        test_share=test_share,
        quarantine_limit=quarantine_limit,
        retry=retry,
        parts=parts,
        kmeans=kmeans,
        separator=separator,
        views=views,
        augment=augment,
        seed=seed,
        clip_seconds=parse_clip_seconds(clip_seconds),
        min_instrumental_dbfs=min_instrumental,
        max_vocal_over_db=max_vocal_over,
        workers=workers,
        batch_size=batch_size,
        device="cpu" if device is None else device,
        engine=engine,
        address=address,
        dry_run=dry_run,
    )

    def job(interrupts: Interrupts) -> None:
        from rich.console import Console

        from hafm.app.prepare import run_preparation
        from hafm.app.progress import display

        with display(Console(stderr=True, markup=False, highlight=False), quiet=quiet) as shown:
            outcome = run_preparation(request, shown=shown, interrupts=interrupts)
        tell(outcome, as_json=as_json, quiet=quiet)

    return job

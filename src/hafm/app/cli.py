"""The command line: `hafm generate`, `hafm separate`, `hafm info`, `hafm --version`.

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
from hafm.app import (
    bundle_options,
    data_options,
    fit_kmeans_options,
    options,
    prepare_options,
    separate_options,
    train_options,
)
from hafm.app.bundle import BundleRequest
from hafm.app.failure import Failure, explain, interrupted
from hafm.app.interrupt import Interrupts
from hafm.app.prepare_request import PrepareRequest, parse_clip_seconds
from hafm.app.request import Request
from hafm.app.separate_request import SeparationRequest
from hafm.app.train import TrainRequest
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


data_app = typer.Typer(rich_markup_mode="rich", help="Look at token shards.")
app.add_typer(data_app, name="data")


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
    "hafm generate song.mp3 -o out/ --separate --separator vocals.onnx\n\n"
    "hafm generate --replay out/generation.json -o again/"
)
def generate(
    vocal: options.Vocal = None,
    start: options.Start = None,
    seconds: options.Seconds = None,
    separate: separate_options.Separate = False,
    separator: separate_options.Separator = None,
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
        separate=separate,
        separator=separator,
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


@app.command(
    epilog="[bold]Examples[/bold]\n\n"
    "hafm separate song.mp3 --model vocals.onnx -o out/\n\n"
    "hafm separate album/*.flac --model vocals.onnx -o out/ --workers 2"
)
def separate(
    songs: separate_options.Songs,
    model: separate_options.Model = None,
    output: separate_options.Output = None,
    overwrite: options.Overwrite = False,
    format: options.FormatOption = None,
    workers: separate_options.Workers = None,
    as_json: options.AsJson = False,
    quiet: options.Quiet = False,
    debug: options.Debug = False,
) -> Job:
    """Take songs apart: the vocal, and the instrumental.

    Writes vocal.wav and instrumental.wav, as long as the song and at its sample rate. Their sum is the song.

    The separator is an MDX-Net that you bring: MODEL.onnx, and MODEL.json beside it.
    """
    if output is None:
        raise UsageError("no output folder was given; name one with -o, as in: -o out/")
    request = SeparationRequest(
        songs=tuple(songs),
        output=output,
        model=model,
        format="wav" if format is None else format,
        workers=1 if workers is None else workers,
        overwrite=overwrite,
    )

    def job(interrupts: Interrupts) -> None:
        from rich.console import Console

        from hafm.app.progress import display
        from hafm.app.separate import run_separation

        with display(Console(stderr=True, markup=False, highlight=False), quiet=quiet) as shown:
            outcome = run_separation(request, shown=shown, interrupts=interrupts)
        if as_json:
            print(json.dumps(outcome.to_json()))
        elif not quiet:
            for note in outcome.notes:
                print(f"note: {note}", file=sys.stderr)
            print(outcome.summary())

    return job


@app.command(
    name="fit-kmeans",
    epilog="[bold]Examples[/bold]\n\n"
    "hafm fit-kmeans music/ --parts paper --separator vocals.onnx --device cuda -o parts/\n\n"
    "hafm fit-kmeans work/pairs --parts builtin --augment -o work/parts",
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
        if as_json:
            print(json.dumps(outcome.to_json()))
        elif not quiet:
            for note in outcome.notes:
                print(f"note: {note}", file=sys.stderr)
            print(outcome.summary())

    return job


@app.command(
    epilog="[bold]Examples[/bold]\n\n"
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
        if as_json:
            print(json.dumps(outcome.to_json()))
        elif not quiet:
            print(outcome.summary())

    return job


@app.command(
    epilog="[bold]Examples[/bold]\n\n"
    "hafm train coarse --data shards/ --run runs/coarse --recipe builtin\n\n"
    "hafm train coarse --data shards/ --run runs/coarse --recipe builtin --dry-run\n\n"
    "hafm train fine --data shards/ --run runs/fine --set batch=70 --set spec.width=256\n\n"
    "torchrun --nproc-per-node 7 -m -- hafm train semantic --data shards/ --run runs/semantic"
)
def train(
    stage: train_options.Stage,
    recipe: train_options.Recipe = "paper",
    overrides: train_options.Set = None,
    data: train_options.Data = None,
    init: train_options.Init = None,
    run: train_options.Run = None,
    tensorboard: train_options.TensorBoard = False,
    sample_every: train_options.SampleEvery = None,
    sample_bundle: train_options.SampleBundle = None,
    dry_run: train_options.DryRun = False,
    allow: train_options.Allow = None,
    device: train_options.Device = None,
    threads: train_options.Threads = None,
    compile: train_options.Compile = False,
    as_json: options.AsJson = False,
    quiet: options.Quiet = False,
    debug: options.Debug = False,
) -> Job:
    """Train a stage on shards; the same command goes on after a stop.

    Ctrl-C, SIGTERM and SIGUSR1 finish the step and save; the last two exit with 75: start it again.
    """
    if data is None or run is None:
        missing = "--data, what hafm prepare made" if data is None else "--run, a folder for the run"
        raise UsageError(f"give {missing}")
    request = TrainRequest(
        stage=stage,
        data=data,
        run=run,
        recipe=recipe,
        overrides=tuple(overrides or ()),
        init=init,
        allow=tuple(allow or ()),
        device=device,
        threads=threads,
        compile=compile,
        tensorboard=tensorboard,
        sample_every=sample_every,
        sample_bundle=sample_bundle,
        dry_run=dry_run,
    )

    def job(interrupts: Interrupts) -> None:
        from rich.console import Console

        from hafm.app.train import run_training

        outcome = run_training(
            request, console=Console(stderr=True, markup=False, highlight=False), quiet=quiet
        )
        if outcome.silent:
            return
        if as_json:
            print(json.dumps(outcome.to_json()))
        elif not quiet:
            print(outcome.summary())

    return job


@app.command(
    epilog="[bold]Examples[/bold]\n\n"
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


@data_app.command(
    epilog="[bold]Examples[/bold]\n\n"
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


@data_app.command()
def verify(shards: data_options.Shards, as_json: options.AsJson = False, debug: options.Debug = False) -> Job:
    """Read every file of token shards and compare its hash."""

    def job(interrupts: Interrupts) -> None:
        from hafm.app.data_show import run_verify

        num_files = run_verify(shards)
        print(json.dumps({"files": num_files}) if as_json else f"{shards}: {num_files} files, all as written")

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
            _tell(interrupted(interrupts.exit_code, interrupts.left), as_json=as_json)
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

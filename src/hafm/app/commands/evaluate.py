"""`hafm evaluate`: how good a bundle is, beside what its figures mean."""

from hafm.app.commands import evaluate_options, options
from hafm.app.commands.job import Job, tell
from hafm.app.evaluate_request import EvaluateRequest, parse_systems
from hafm.app.interrupt import Interrupts
from hafm.errors import UsageError

__all__ = ["EPILOG", "evaluate"]

EPILOG = (
    "[bold]Examples[/bold]\n\n"
    "hafm evaluate work/pairs -o run/ --songs 40 --clips-a-song 1 --takes 8\n\n"
    "hafm evaluate musdb18hq/ -o run/ --bundle mine/ --separator vocals.onnx --embedding "
    "vggish:vggish.pth\n\nhafm evaluate musdb18hq/ -o run2/ --bundle better/ --against run/results.json"
)


def evaluate(
    collection: evaluate_options.Collection,
    output: evaluate_options.Output = None,
    kind: evaluate_options.Kind = None,
    song_from: evaluate_options.SongFrom = None,
    split: evaluate_options.Split = "test",
    clip_seconds: evaluate_options.ClipSeconds = 10.0,
    min_clip_seconds: evaluate_options.MinClipSeconds = None,
    min_activity: evaluate_options.MinActivity = 0.4,
    songs: evaluate_options.Songs = None,
    clips_a_song: evaluate_options.ClipsASong = None,
    separator: evaluate_options.Separator = None,
    bundle: options.Bundle = None,
    systems: evaluate_options.Systems = None,
    takes: evaluate_options.Takes = 1,
    seed: evaluate_options.Seed = 0,
    index: evaluate_options.Index = None,
    temperature: evaluate_options.Temperature = None,
    top_k: evaluate_options.TopK = None,
    guidance: evaluate_options.Guidance = None,
    skip_fine: evaluate_options.SkipFine = False,
    embedding: evaluate_options.Embedding = None,
    no_worth: evaluate_options.NoWorth = False,
    against: evaluate_options.Against = None,
    report_clips: evaluate_options.ReportClips = 8,
    batch_size: evaluate_options.BatchSize = 16,
    device: options.Device = None,
    as_json: options.AsJson = False,
    quiet: options.Quiet = False,
    debug: options.Debug = False,
) -> Job:
    """Measure a bundle on a test set, beside ceilings, baselines and controls.

    Distances (FAD), fit to the vocal (key, chords, beats), adherence, and what the vocal is worth; a report
    with players, report.html, and results.json. Stopped anywhere, the same command goes on where it was.
    """
    if output is None:
        raise UsageError("no output folder was given; name one with -o, as in: -o run/")
    request = EvaluateRequest(
        collection=collection,
        output=output,
        kind=kind,
        song_from=song_from,
        split=split,
        clip_seconds=clip_seconds,
        min_clip_seconds=min_clip_seconds,
        min_activity=min_activity,
        songs=songs,
        clips_a_song=clips_a_song,
        separator=separator,
        bundle="builtin" if bundle is None else bundle,
        systems=parse_systems(systems),
        takes=takes,
        seed=seed,
        index=index,
        temperature=temperature,
        top_k=top_k,
        guidance=guidance,
        skip_fine=skip_fine,
        embeddings=("builtin",) if embedding is None else tuple(embedding),
        worth=not no_worth,
        against=against,
        report_clips=report_clips,
        batch_size=batch_size,
        device="cpu" if device is None else device,
    )

    def job(interrupts: Interrupts) -> None:
        from rich.console import Console

        from hafm.app.evaluate import run_evaluation
        from hafm.app.progress import display

        with display(Console(stderr=True, markup=False, highlight=False), quiet=quiet) as shown:
            outcome = run_evaluation(request, shown=shown, interrupts=interrupts)
        tell(outcome, notes=outcome.notes, as_json=as_json, quiet=quiet)

    return job

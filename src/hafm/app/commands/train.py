"""`hafm train`: a stage trained on token shards."""

from hafm.app.commands import options, train_options
from hafm.app.commands.job import Job, tell
from hafm.app.interrupt import Interrupts
from hafm.app.train import TrainRequest
from hafm.errors import UsageError

__all__ = ["EPILOG", "train"]

EPILOG = (
    "[bold]Examples[/bold]\n\n"
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
        tell(outcome, as_json=as_json, quiet=quiet)

    return job

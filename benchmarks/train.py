"""How fast the stages train: tokens per second, time waited for data, and how much of the GPU is used.

    python benchmarks/train.py --device cuda --stage coarse        the paper's, at its batch and length
    python benchmarks/train.py --device cuda --attention flex tiles sdpa      which attention is fastest
    python benchmarks/train.py --recipe builtin --plain            against a plain loop, on a processor

In: recipes, a device, made-up tokens. Out: a table, and one JSON line with the same figures.

A step is the trainer's own (`hafm.train.trainer`), its batches made by its own feed: forward, backward,
clipping, optimiser. The cases take turns, step by step, so that a busy machine is busy for all of them alike;
figures are medians over the steps, in brackets the quickest and the slowest. `--warmup` steps of each come
first. `--plain` adds the loop that anybody would write first: float32, PyTorch's own attention on a bias of
[H, S, S], nothing compiled, batches made in between; and what each case is faster than that.

Model FLOPs utilisation, on CUDA: what the mathematics of a step needs, over what the GPU can do at best.

    FLOPs of a step = 3 x B x (forward of one clip)                 backward = twice the forward
    forward         = 2 x weights in products x positions           + attention
    attention       = 2 x 2 x D x (pairs of positions that see each other) a layer
                      causal: S (S + 1) / 2 pairs, two-way: S x S   products with keys and with values
    embeddings are look-ups and count nothing; the heads count at the target positions, one head each

What is computed twice counts once, and hidden pairs not at all. The peaks are those of dense products in the
precision that is used, from the maker's data sheets; another GPU needs `--peak-tflops`.

It needs torch, numpy, safetensors and jaxtyping only.
"""

import argparse
import itertools
import json
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

try:
    import hafm  # noqa: F401
except ImportError:  # a machine where nothing can be installed: the source beside this file will do
    sys.path.insert(0, str(Path(__file__).parent.parent / "src"))

from hafm.data.crops import Pairs
from hafm.model.training_attention import choose_attention
from hafm.model.transformer import Transformer
from hafm.stages.spec import StageSpec
from hafm.stages.stage_model import StageModel, stage_loss
from hafm.train.distributed import Ranks
from hafm.train.feed import Feed
from hafm.train.recipe import Recipe, recipe_of
from hafm.train.trainer import Trainer

PEAK_TFLOPS = {
    "H200": {"bfloat16": 989.4, "float16": 989.4, "float32": 66.9},
    "H100": {"bfloat16": 989.4, "float16": 989.4, "float32": 66.9},
    "A100": {"bfloat16": 312.0, "float16": 312.0, "float32": 19.5},
    "A40": {"bfloat16": 149.7, "float16": 149.7, "float32": 37.4},
}
"""Dense products in 10^12 operations per second, by GPU and precision: NVIDIA's data sheets, SXM boards where
there are several, float32 without TF32."""


class MadeUpPairs:
    """Random tokens in the form of shards: speed does not depend on what they say.

    Args:
        spec: the stage; every pair is twice as long as its clip.
        count: of pairs.
    """

    def __init__(self, spec: StageSpec, *, count: int = 64) -> None:
        rng = np.random.default_rng(0)
        self._streams = {
            stream.name: rng.integers(
                stream.cardinality,
                size=(count, stream.num_codebooks, int(2 * spec.clip_seconds * stream.frame_rate)),
                dtype=np.uint16,
            )
            for stream in (*spec.sources, spec.target)
        }
        self._count = count

    def __len__(self) -> int:
        return self._count

    def num_views(self) -> int:
        return 1

    def frames(self, name: str) -> np.ndarray:
        return np.full(self._count, self._streams[name].shape[2])

    def stream(self, index: int, name: str, view: int) -> np.ndarray:
        return self._streams[name][index]


@dataclass(frozen=True, kw_only=True)
class Case:
    """One row: what is measured.

    Args:
        recipe: with the batch as it is run here.
        compile: the stage's blocks.
        plain: the simple loop instead of the trainer.
    """

    recipe: Recipe
    compile: bool
    plain: bool = False


class Run:
    """A case in motion."""

    def __init__(self, case: Case, device: torch.device, folder: Path, stack: ExitStack) -> None:
        recipe, self.device = case.recipe, device
        pairs: Pairs = MadeUpPairs(recipe.spec)
        torch.manual_seed(0)
        self.trainer = Trainer(
            model=StageModel(recipe.spec),
            recipe=recipe,
            training=pairs,
            held_out=None,
            data="made up",
            run=folder,
            ranks=Ranks(device=device),
            compile=case.compile,
        )
        self.model = self.trainer.state.model
        self._losses: list[float] = []
        self._step: Callable[[], float]
        if case.plain:
            optimizer = torch.optim.AdamW(self.model.parameters(), lr=recipe.peak_rate)
            self._step = lambda: self._plain(optimizer)
        else:
            self._feed = stack.enter_context(Feed(self.trainer.pieces, first=0))
            self._step = self._trained
        self.attention = "sdpa" if case.plain else self.trainer.attention
        self.precision = "float32" if case.plain else str(self.trainer.dtype).removeprefix("torch.")

    @property
    def loss(self) -> float:
        """Of the last step."""
        return self._losses[-1]

    def step(self) -> tuple[float, float]:
        """Seconds of one step, and those of them that passed waiting for data."""
        began = time.perf_counter()
        waited = self._step()
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)
        return time.perf_counter() - began, waited

    def _trained(self) -> float:
        before = self._feed.waited_seconds
        pieces = self._feed.take()
        update = self.trainer.step(
            pieces, self.trainer.recipe.rate_share(self.trainer.state.position.updates)
        )
        self._losses.append(update.loss)
        return self._feed.waited_seconds - before

    def _plain(self, optimizer: torch.optim.Optimizer) -> float:
        began = time.perf_counter()
        pieces = self.trainer.pieces(len(self._losses))
        waited = time.perf_counter() - began
        rate = self.trainer.recipe.rate_share(len(self._losses))
        for group in optimizer.param_groups:
            group["lr"] = self.trainer.recipe.peak_rate * rate
        loss = 0.0
        for piece in pieces:
            piece = piece.to(self.device)
            logits = self.model(
                piece.target,
                piece.conditions,
                drop=piece.drop,
                hide=piece.hide,
                codebook=piece.codebook,
                attention="sdpa",
            )
            part = stage_loss(logits, piece.predicted) * piece.share
            part.backward()
            loss += part.item()
        torch.nn.utils.clip_grad_norm_(self.model.parameters(), self.trainer.recipe.clip_norm)
        optimizer.step()
        optimizer.zero_grad()
        self._losses.append(loss)
        return waited


def flops_per_step(model: StageModel, *, batch: int) -> float:
    """Operations of forward and backward of a batch, see the top of this file.

    >>> from hafm.stages.spec import COARSE
    >>> flops = flops_per_step(StageModel(COARSE), batch=1)
    >>> f"{flops / COARSE.sequence_length / 1e9:.2f} GFLOP a position"
    '0.30 GFLOP a position'
    """
    spec = model.spec
    forward = _forward(model.transformer, spec.sequence_length)
    # A parallel stage predicts one codebook of every clip.
    predicted = spec.target_frames if spec.pattern == "parallel" else spec.target_slots
    if model.encoder is not None:
        forward += _forward(model.encoder, spec.source_frames(spec.target_frames)[0])
    heads = 2 * predicted * spec.width * spec.target.cardinality
    return 3.0 * batch * (forward + heads)


def _forward(transformer: Transformer, positions: int) -> float:
    weights = sum(weight.numel() for weight in transformer.blocks.parameters() if weight.ndim == 2)
    seen = positions * (positions + 1) / 2 if transformer.causal else positions * positions
    attention = len(transformer.blocks) * 4 * transformer.width * seen
    return 2.0 * weights * positions + attention


def peak_of(device: torch.device, precision: str) -> float | None:
    """Operations a second of the GPU at its best; None where it is not known."""
    if device.type != "cuda":
        return None
    words = torch.cuda.get_device_name(device).replace("-", " ").split()
    return next((1e12 * peaks[precision] for known, peaks in PEAK_TFLOPS.items() if known in words), None)


def measure(
    cases: list[Case], device: torch.device, *, steps: int, warmup: int, peak: float | None
) -> list[dict[str, Any]]:
    """Runs the cases in turns.

    Returns:
        For every case: what it is, and its figures.
    """
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        runs = [Run(case, device, folder / str(number), stack) for number, case in enumerate(cases)]
        for run in runs:
            if device.type == "cuda":
                torch.cuda.reset_peak_memory_stats(device)
            for _ in range(warmup):
                run.step()
        took: list[list[tuple[float, float]]] = [[] for _ in runs]
        for _ in range(steps):
            for run, times in zip(runs, took, strict=True):
                times.append(run.step())
        plain = next((times for case, times in zip(cases, took, strict=True) if case.plain), None)
        return [
            figures(case, run, times, plain=plain, peak=peak or peak_of(device, run.precision))
            for case, run, times in zip(cases, runs, took, strict=True)
        ]


def figures(
    case: Case,
    run: Run,
    times: list[tuple[float, float]],
    *,
    plain: list[tuple[float, float]] | None,
    peak: float | None,
) -> dict[str, Any]:
    """What a row holds."""
    recipe = case.recipe
    seconds = [second for second, _ in times]
    middle = statistics.median(seconds)
    flops = flops_per_step(run.model, batch=recipe.batch)
    faster = None
    if plain is not None:
        faster = statistics.median(slow / quick for (slow, _), quick in zip(plain, seconds, strict=True))
    device = run.device
    return {
        "stage": recipe.spec.name,
        "loop": "plain" if case.plain else "trainer",
        "device": torch.cuda.get_device_name(device)
        if device.type == "cuda"
        else f"cpu, {torch.get_num_threads()} threads",
        "precision": run.precision,
        "attention": run.attention,
        "compiled": case.compile,
        "batch": recipe.batch,
        "pieces": recipe.accumulation,
        "positions": recipe.spec.sequence_length,
        "milliseconds_per_step": [1e3 * middle, 1e3 * min(seconds), 1e3 * max(seconds)],
        "positions_per_second": recipe.batch * recipe.spec.sequence_length / middle,
        "target_tokens_per_second": recipe.batch * recipe.spec.target_slots / middle,
        "waiting_share": sum(waited for _, waited in times) / sum(seconds),
        "tflop_per_step": flops / 1e12,
        "tflops": flops / middle / 1e12,
        "utilisation": None if peak is None else flops / middle / peak,
        "faster_than_plain": faster,
        "peak_megabytes": torch.cuda.max_memory_allocated(device) / 1e6 if device.type == "cuda" else None,
        "loss": run.loss,
    }


def table(results: list[dict[str, Any]]) -> str:
    """The results as Markdown."""
    header = (
        "stage",
        "loop",
        "precision",
        "attention",
        "batch x positions",
        "ms per step",
        "target tokens/s",
        "waiting",
        "TFLOP/s",
        "utilisation",
        "against plain",
    )
    lines = [f"| {' | '.join(header)} |", "|---" * len(header) + "|"]
    for row in results:
        middle, least, most = row["milliseconds_per_step"]
        cells = (
            row["stage"],
            row["loop"] + (", compiled" if row["compiled"] else ""),
            row["precision"],
            row["attention"],
            f"{row['batch']} x {row['positions']}" + (f" in {row['pieces']}" if row["pieces"] > 1 else ""),
            f"{middle:.1f} [{least:.1f}, {most:.1f}]",
            f"{row['target_tokens_per_second']:,.0f}",
            f"{row['waiting_share']:.1%}",
            f"{row['tflops']:.3g}",
            "-" if row["utilisation"] is None else f"{row['utilisation']:.1%}",
            "-" if row["faster_than_plain"] is None else f"{row['faster_than_plain']:.2f}x",
        )
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def cases_of(options: argparse.Namespace) -> Iterator[list[Case]]:
    """Cases that take turns: those of one stage."""
    for stage in options.stage:
        recipe = recipe_of(options.recipe, stage)
        spec = recipe.spec
        if options.clip_seconds is not None:
            spec = replace(spec, clip_seconds=options.clip_seconds)
        batch = recipe.batch if options.batch is None else options.batch
        accumulation = recipe.accumulation if options.accumulation is None else options.accumulation
        recipe = replace(
            recipe,
            spec=spec,
            batch=batch,
            accumulation=min(accumulation, batch),
            warm_start=False,
            steps=10**6,
        )
        cases = [
            Case(recipe=replace(recipe, attention=attention, precision=precision), compile=compiled == "yes")
            for attention, precision, compiled in itertools.product(
                options.attention, options.precision, options.compile
            )
        ]
        if options.plain:
            cases.insert(0, Case(recipe=recipe, compile=False, plain=True))
        yield cases


def main() -> None:
    """Measures what the command line asks for."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--recipe", choices=("paper", "builtin", "tiny"), default="paper")
    parser.add_argument("--stage", nargs="+", default=["semantic", "coarse", "fine"])
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--batch", type=int, help="clips per step on this device; the recipe's")
    parser.add_argument("--accumulation", type=int, help="pieces of a batch; the recipe's")
    parser.add_argument("--clip-seconds", type=float, help="shorter clips, for a try; the recipe's")
    parser.add_argument("--precision", nargs="+", default=["half"], help="as in recipes")
    parser.add_argument("--attention", nargs="+", default=["auto"], help="auto, tiles, flex, sdpa")
    parser.add_argument("--compile", nargs="+", choices=("yes", "no"), help="yes on CUDA, no elsewhere")
    parser.add_argument("--plain", action="store_true", help="compare with a plain loop in float32")
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--warmup", type=int, default=3)
    parser.add_argument("--peak-tflops", type=float, help="of a GPU that the table does not have")
    options = parser.parse_args()
    device = torch.device(options.device)
    torch.set_num_threads(options.threads)
    if options.compile is None:
        options.compile = ["yes" if device.type == "cuda" else "no"]
    if options.clip_seconds is not None:
        from fractions import Fraction

        options.clip_seconds = Fraction(options.clip_seconds)
    peak = None if options.peak_tflops is None else 1e12 * options.peak_tflops
    results = []
    for cases in cases_of(options):
        for case in cases:  # before anything is built: what cannot work is refused now
            spec = case.recipe.spec
            choose_attention(case.recipe.attention, device=device, head_width=spec.width // spec.num_heads)
        results += measure(cases, device, steps=options.steps, warmup=options.warmup, peak=peak)
        print(table(results), flush=True)
    print(json.dumps(results))


if __name__ == "__main__":
    main()

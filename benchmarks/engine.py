"""What a step of a stage costs in each engine, what a whole generation costs, and how soon it is heard.

    python benchmarks/engine.py steps                       # paper size and built-in size, turn by turn
    python benchmarks/engine.py steps --musicgen            # and Hugging Face's MusicGen of the same size
    python benchmarks/engine.py whole --takes 1 4 8         # from the vocal's file to the mix's
    python benchmarks/engine.py whole --seconds 10 60 600   # cost against length, and peak memory
    python benchmarks/engine.py first --seconds 10 180      # load, and then the first second of sound
    python benchmarks/engine.py start                       # hafm --help; hafm generate until its first frame
    python -m benchmarks.engine loss --pairs work/pairs/valid --songs 16     # held-out loss of both engines

In: nothing but hafm (and transformers, for its model; rendered pairs, for `loss`). Out: a table, and JSON
lines appended to benchmarks/results/engine.jsonl: the machine, the case, median and quartiles.

Conventions: one thread. Engines take turns in one process, so that their ratios hold on a busy machine too;
what is reported is the processor's time of this thread, since other work only stretches the clock's. A step
is the Transformer and its heads, from embeddings to logits, in memory that holds that many positions
already; rows are two per take (with its condition and without). Weights of the paper's size are random: they
cost what trained ones cost. `whole` and `first` run each case in a process of its own: its peak memory is its
own. In `whole`, libraries and bundle are loaded before the clock starts. `first` and `start` count from the
start of the process, and give the clock's time (of a quiet machine) beside the processor's.

`loss`: what each stage loses per token, in nats, on the true tokens of held-out songs, given the vocal's own
tokens, the true lead sheet and the true tokens before. One window per song, from its beginning; half of a
window is the prompt, and the second half is scored step by step, as in generation.
"""

import argparse
import json
import os
import platform
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

RESULTS = Path(__file__).parent / "results" / "engine.jsonl"
DEMO_VOCAL = Path(__file__).parent.parent / "src/hafm/assets/demo_vocal.flac"
SIZES = {"paper": (500, 1500, 3000), "builtin": (500, 1500)}
FIRST = ("load_seconds", "load_core_seconds", "first_seconds", "first_core_seconds", "peak_megabytes")
Step = Callable[[], object]


# ---- steps


def stage_of(size: str, positions: int) -> Any:
    """A random stage, coarse as in the paper or as built in, for that many positions."""
    from dataclasses import replace
    from fractions import Fraction

    import torch

    from hafm.stages.bundle import Bundle
    from hafm.stages.spec import COARSE
    from hafm.stages.stage_model import StageModel

    spec = COARSE if size == "paper" else Bundle.open("builtin").spec("coarse")
    per_second = spec.sequence_length / float(spec.clip_seconds)
    spec = replace(spec, clip_seconds=Fraction(int((positions + 64) / per_second) + 1))
    torch.manual_seed(0)
    return StageModel(spec).eval().requires_grad_(False)


def steps_of(model: Any, *, rows: int, position: int) -> dict[str, Step]:
    """One more step at a position, in both engines."""
    import torch

    from hafm.engine.graph import KeyValueRange, stage_graph
    from hafm.engine.session import StageSession
    from hafm.engine.torch_steps import TorchSteps

    transformer, codebooks = model.transformer, range(model.heads.shape[0])
    H, E = transformer.num_heads, transformer.width // transformer.num_heads
    x = torch.randn(rows, 1, transformer.width) * 0.3
    eager = TorchSteps(model, batch=rows, capacity=position + 1, together=min(rows, 2))
    eager.cache.keys.normal_()
    eager.cache.values.normal_()
    largest = torch.full((len(transformer.blocks), H, E), 8.0)
    graph = stage_graph(model, KeyValueRange(keys=largest, values=largest))
    fast = StageSession(graph, model).start(batch=rows, capacity=position + 1)
    for array in fast.memory.values():
        array[...] = torch.randint(-100, 100, array.shape, dtype=torch.int8).numpy()

    def torch_step() -> object:
        eager.cache.length = position
        with torch.inference_mode():
            return eager(x, codebooks)

    def onnx_step() -> object:
        fast.length = position
        return fast(x, codebooks)

    return {"torch": torch_step, "onnx": onnx_step}


def musicgen_step(model: Any, *, rows: int, position: int) -> Step:
    """The same of Hugging Face's MusicGen: as wide and deep, its usual feed-forward, no text to attend to."""
    import torch
    from transformers import DynamicCache, MusicgenDecoderConfig, MusicgenForCausalLM

    spec = model.spec
    config = MusicgenDecoderConfig(
        hidden_size=spec.width,
        num_hidden_layers=spec.num_layers,
        num_attention_heads=spec.num_heads,
        ffn_dim=4 * spec.width,
        vocab_size=spec.target.cardinality,
        num_codebooks=spec.target.num_codebooks,
        pad_token_id=0,
        bos_token_id=0,
    )
    peer = MusicgenForCausalLM(config).eval()
    ids = torch.zeros(rows * spec.target.num_codebooks, 1, dtype=torch.long)
    shape = (rows, spec.num_heads, position, spec.width // spec.num_heads)
    cache = DynamicCache()
    for layer in range(spec.num_layers):
        cache.update(torch.randn(shape), torch.randn(shape), layer)

    def step() -> object:
        if (more := cache.get_seq_length() - position) > 0:
            cache.crop(-more)
        with torch.inference_mode():
            return peer(input_ids=ids, past_key_values=cache, use_cache=True).logits

    return step


def measure_steps(options: argparse.Namespace) -> None:
    """Prints and keeps the cost of steps."""
    import torch

    torch.set_num_threads(1)
    print(
        "| size | rows | positions | "
        + "milliseconds per step: median (quartiles) | torch / onnx | musicgen / onnx |"
    )
    print("|---|---|---|---|---|---|")
    for size in options.sizes:
        for position in options.positions or SIZES[size]:
            model = stage_of(size, position)
            candidates = steps_of(model, rows=options.rows, position=position)
            if options.musicgen:
                candidates["musicgen"] = musicgen_step(model, rows=options.rows, position=position)
            found: dict[str, list[float]] = {name: [] for name in candidates}
            for step in candidates.values():
                step()
            for _ in range(options.rounds):
                for name, step in candidates.items():
                    began = time.thread_time()
                    for _ in range(options.steps):
                        step()
                    found[name].append((time.thread_time() - began) / options.steps)
            row = {name: spread(seconds) for name, seconds in found.items()}
            keep({"what": "step", "size": size, "rows": options.rows, "positions": position, "seconds": row})
            shown = ", ".join(
                f"{name} {1e3 * each['median']:.2f} ({1e3 * each['low']:.2f}-{1e3 * each['high']:.2f})"
                for name, each in row.items()
            )
            ratios = [
                f"{statistics.median(a / b for a, b in zip(found[name], found['onnx'], strict=True)):.1f}"
                if name in found
                else "-"
                for name in ("torch", "musicgen")
            ]
            print(f"| {size} | {options.rows} | {position} | {shown} | {' | '.join(ratios)} |", flush=True)


# ---- whole generations


def measure_whole(options: argparse.Namespace) -> None:
    """Prints and keeps the cost of generations, from file to files, and how it grows with their length."""
    print(
        "| engine | seconds | takes | core-seconds per second of sound | until the first progress | peak MB |"
    )
    print("|---|---|---|---|---|---|")
    medians: dict[tuple[str, int], dict[float, float]] = {}
    for seconds in options.seconds:
        for takes in options.takes:
            for engine, runs in in_turn(options, "whole", seconds=seconds, takes=takes).items():
                costs = spread([run["core_seconds"] / seconds for run in runs])
                first = spread([run["first_seconds"] for run in runs])
                peak = max(run["peak_megabytes"] for run in runs)
                medians.setdefault((engine, takes), {})[seconds] = costs["median"]
                case = {"what": "whole", "engine": engine, "seconds": seconds, "takes": takes}
                keep({**case, "core_seconds_per_second": costs, "first": first, "peak_megabytes": peak})
                print(
                    f"| {engine} | {seconds:g} | {takes} | {costs['median']:.3f} ({costs['low']:.3f}-"
                    f"{costs['high']:.3f}) | {first['median']:.2f} s | {peak:.0f} |",
                    flush=True,
                )
    for (engine, takes), cost in medians.items():
        if len(cost) > 1:
            ratios = {f"{seconds:g}": cost[seconds] / cost[min(cost)] for seconds in sorted(cost)}
            keep({"what": "length", "engine": engine, "takes": takes, "cost_over_that_of_shortest": ratios})
            shown = ", ".join(f"{seconds} s {ratio:.2f}" for seconds, ratio in ratios.items())
            print(f"\n{engine}, takes {takes}, cost per second over that of the shortest: {shown}")


def measure_first(options: argparse.Namespace) -> None:
    """Prints and keeps how long it takes to load, and then to the first part of the sound."""
    print("| engine | seconds | load, s (core-s) | first sound after it, s (core-s) | peak MB |")
    print("|---|---|---|---|---|")
    for seconds in options.seconds:
        for engine, runs in in_turn(options, "first", seconds=seconds).items():
            found = {name: spread([run[name] for run in runs]) for name in runs[0]}
            keep({"what": "first sound", "engine": engine, "seconds": seconds, **found})
            load, core, first, first_core, peak = (found[name]["median"] for name in FIRST)
            print(
                f"| {engine} | {seconds:g} | {load:.2f} ({core:.2f}) | {first:.2f} ({first_core:.2f}) | "
                f"{peak:.0f} |",
                flush=True,
            )


def measure_start(options: argparse.Namespace) -> None:
    """Prints and keeps how long commands take until they show something."""
    runs: dict[str, list[tuple[float, float]]] = {}
    for _ in range(options.rounds):
        runs.setdefault("hafm --help", []).append(until_said(["--help"], line=None))
        for engine in options.engines:
            with tempfile.TemporaryDirectory() as folder:
                words = ["generate", str(DEMO_VOCAL), "-o", f"{folder}/out", "--engine", engine]
                found = until_said(words, line="semantic tokens")
            runs.setdefault(f"hafm generate, {engine}", []).append(found)
    print("| command | s | core-s |")
    print("|---|---|---|")
    for command, pairs in runs.items():
        clock, core = (spread(list(values)) for values in zip(*pairs, strict=True))
        keep({"what": "start", "command": command, "clock_seconds": clock, "core_seconds": core})
        print(f"| {command} | {clock['median']:.2f} | {core['median']:.2f} |", flush=True)


def until_said(words: Sequence[str], *, line: str | None) -> tuple[float, float]:
    """Seconds and core-seconds until `hafm` says something, or, without a line, until it ends."""
    command = [sys.executable, "-m", "hafm", *words]
    before, began = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True) as running:
        assert running.stderr is not None
        heard = any(line is not None and line in each for each in running.stderr)
        took = time.perf_counter() - began
        running.terminate()
    if heard != (line is not None):
        sys.exit(f"{' '.join(command)} ended and never said {line!r}")
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return took, after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime


def in_turn(
    options: argparse.Namespace, kind: str, *, seconds: float, **case: Any
) -> dict[str, list[dict[str, float]]]:
    """What each engine was measured to take for a vocal of that length, in turn, each in a fresh process."""
    from hafm.audio.io import read_audio, write_audio

    found: dict[str, list[dict[str, float]]] = {engine: [] for engine in options.engines}
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "vocal.wav"
        recording = read_audio(DEMO_VOCAL)
        num_samples = round(seconds * recording.sample_rate)
        vocal = recording.waveform.repeat(1, -(-num_samples // recording.num_samples))[:, :num_samples]
        write_audio(path, vocal, recording.sample_rate, format="wav")
        for _ in range(options.rounds):
            for engine in options.engines:
                words = json.dumps({"kind": kind, "engine": engine, "vocal": str(path), **case})
                done = subprocess.run(
                    [sys.executable, __file__, "case", words, str(time.time())],
                    stdout=subprocess.PIPE,
                    text=True,
                    env={**os.environ, "OMP_NUM_THREADS": "1"},
                )
                if done.returncode:
                    sys.exit(f"the case {words} failed; what it said is above")
                found[engine].append(json.loads(done.stdout.splitlines()[-1]))
    return found


def run_case(began: float, *, kind: str, engine: str, vocal: str, takes: int = 1) -> dict[str, float]:
    """A generation in this process, which began at that time."""
    import torch

    from hafm.generate.accompany import Accompanist

    torch.set_num_threads(1)
    accompanist = Accompanist.from_pretrained("builtin", engine=engine)  # type: ignore[arg-type]
    accompanist.open_engine()
    load, load_core = time.time() - began, time.process_time()
    if kind == "first":
        clock = time.perf_counter()
        next(accompanist.stream(vocal, seed=1))
        first, core = time.perf_counter() - clock, time.process_time() - load_core
        return dict(zip(FIRST, (load, load_core, first, core, peak_megabytes()), strict=True))
    progress: list[float] = []
    with tempfile.TemporaryDirectory() as folder:
        clock = time.perf_counter()
        made = accompanist.generate_takes(
            vocal, takes=takes, seed=1, on_progress=lambda _: progress.append(time.perf_counter())
        )
        for number, take in enumerate(made):
            take.save(Path(folder) / str(number))
        core = time.process_time() - load_core
    return {
        "core_seconds": core,
        "first_seconds": progress[0] - clock,
        "peak_megabytes": peak_megabytes(),
    }


def peak_megabytes() -> float:
    """The most memory that this process had."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (1e6 if sys.platform == "darwin" else 1e3)


# ---- held-out loss


def measure_loss(options: argparse.Namespace) -> None:
    """Prints and keeps what every stage loses on true tokens, in both engines."""
    import torch

    from benchmarks.links import Chain, read_songs
    from hafm.generate.engine import open_engine
    from hafm.generate.plan import Window, conditions_of, guide_of
    from hafm.stages.bundle import Bundle

    torch.set_num_threads(1)
    bundle = Bundle.open(options.bundle)
    engine = open_engine("onnx", bundle, torch.device("cpu"))
    chain = Chain(bundle, read_songs(options.pairs, options.songs), estimated=False)
    semantic, codes = chain.true_semantic(), chain.true_codes()
    low, high = codes.split(bundle.spec("coarse").target.num_codebooks, dim=1)
    print("| stage | tokens | torch | onnx | onnx against torch | of a song, at most |")
    print("|---|---|---|---|---|---|")
    for name, sources, target in (
        ("semantic", (chain.heard,), semantic),
        ("coarse", (chain.heard, semantic), low),
        ("fine", (low,), high),
    ):
        model = bundle.load_stage(name)
        session, spec = engine.session(name, model), model.spec
        window = Window(start=0, stop=min(target.shape[2], spec.target_frames), prompt=0)
        found = []
        for row in range(len(target)):
            one = slice(row, row + 1)
            conditions = conditions_of(window, tuple(ids[one] for ids in sources), spec=spec)
            guide = None
            if spec.guide is not None and chain.guide is not None:
                guide = guide_of(window, chain.guide[one], spec=spec)
            found.append(losses_of(model, session, conditions, guide, target[one, :, : window.stop]))
        by_torch, by_onnx, tokens = torch.tensor(found, dtype=torch.float64).unbind(1)
        loss = {"torch": float(by_torch.sum() / tokens.sum()), "onnx": float(by_onnx.sum() / tokens.sum())}
        apart, worst = loss["onnx"] / loss["torch"] - 1, float((by_onnx / by_torch - 1).abs().max())
        case = {"what": "loss", "bundle": bundle.config.name, "stage": name, "songs": len(target)}
        figures = {"tokens": int(tokens.sum()), "loss": loss, "apart": apart, "of_a_song_at_most": worst}
        keep({**case, **figures})
        print(
            f"| {name} | {tokens.sum():.0f} | {loss['torch']:.4f} | {loss['onnx']:.4f} | {apart:+.2%} | "
            f"{worst:.2%} |",
            flush=True,
        )


def losses_of(
    model: Any, session: Any, conditions: tuple[Any, ...], guide: Any, target: Any
) -> tuple[float, float, int]:
    """Of one window, summed over tokens: in PyTorch, in ONNX Runtime; and how many tokens there are."""
    import torch
    from torch.nn.functional import cross_entropy

    K, F = target.shape[1:]
    with torch.inference_mode():
        conditioned = model.condition(conditions, target_frames=F, guide=guide)
        if model.spec.pattern == "parallel":
            sums = [0.0, 0.0]
            for k in range(K):
                for which, transformer in enumerate((None, session.hidden)):
                    codebook = target.new_full((1,), k)
                    scores = model.predict_codebook(
                        target, conditioned, codebook=codebook, transformer=transformer
                    )
                    sums[which] += float(cross_entropy(scores[0], target[0, k], reduction="sum"))
            return sums[0], sums[1], K * F
        grid = model.layout.spread(target, fill=model.target_embedding.bos)
        x = model.embed(model.target_embedding.shift(grid), conditioned)
        prefix = conditioned.num_prefix
        if conditioned.prefix is not None:
            x = torch.cat([conditioned.prefix, x], dim=1)
        hidden = model.transformer(x)[0, prefix:]
        steps, half = session.start(batch=1, capacity=x.shape[1]), grid.shape[2] // 2
        by_torch, by_onnx, places = [], [], []
        for position in range(half, grid.shape[2]):
            first = 0 if position == half else prefix + position
            scores = steps(x[:, first : prefix + position + 1], range(len(model.heads)))[0]
            for token in model.layout.tokens_of(position, num_frames=F):
                by_torch.append(hidden[position] @ model.heads[token.codebook])
                by_onnx.append(scores[token.codebook])
                places.append(target[0, token.codebook, token.frame])
        wanted = torch.stack(places)
        sums = [
            float(cross_entropy(torch.stack(each), wanted, reduction="sum")) for each in (by_torch, by_onnx)
        ]
        return sums[0], sums[1], len(places)


# ---- figures


def spread(values: list[float]) -> dict[str, float]:
    """Median and quartiles."""
    low, median, high = (
        statistics.quantiles(values, n=4, method="inclusive") if len(values) > 1 else [values[0]] * 3
    )
    return {"median": median, "low": low, "high": high, "runs": len(values)}


def keep(figures: dict[str, Any]) -> None:
    """Appends a line to the results."""
    from importlib.metadata import version

    import torch

    machine = {
        "machine": f"{platform.system()} {platform.machine()}",
        "avx512_vnni": "avx512_vnni" in _cpu_flags(),
        "torch": torch.__version__,
        "onnxruntime": version("onnxruntime"),
        "cores": os.cpu_count(),
        "load": round(os.getloadavg()[0], 1),
        "date": time.strftime("%Y-%m-%d", time.gmtime()),
    }
    RESULTS.parent.mkdir(exist_ok=True)
    with open(RESULTS, "a", encoding="utf-8") as file:
        file.write(json.dumps({**figures, **machine}) + "\n")


def _cpu_flags() -> str:
    path = Path("/proc/cpuinfo")
    return path.read_text() if path.exists() else ""


def main() -> None:
    """Measures what the command line asks for."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parts = parser.add_subparsers(dest="part", required=True)
    steps = parts.add_parser("steps", help="what a step costs")
    steps.add_argument("--sizes", nargs="+", choices=SIZES, default=list(SIZES))
    steps.add_argument("--positions", type=int, nargs="+", help="in memory already; default: 500 to 3000")
    steps.add_argument("--rows", type=int, default=2, help="of the batch; two per take")
    steps.add_argument("--rounds", type=int, default=9, help="turns of every engine")
    steps.add_argument("--steps", type=int, default=10, help="per turn")
    steps.add_argument("--musicgen", action="store_true", help="measure transformers' MusicGen, too")
    whole = parts.add_parser("whole", help="what generations cost")
    whole.add_argument("--takes", type=int, nargs="+", default=[1])
    first = parts.add_parser("first", help="how long it takes to load, and to the first sound")
    start = parts.add_parser("start", help="how long commands take until they show something")
    for part in (whole, first):
        part.add_argument("--seconds", type=float, nargs="+", default=[10.0])
    for part in (whole, first, start):
        part.add_argument("--engines", nargs="+", choices=("torch", "onnx"), default=["torch", "onnx"])
        part.add_argument("--rounds", type=int, default=3)
    loss = parts.add_parser("loss", help="held-out loss of both engines")
    loss.add_argument("--pairs", type=Path, required=True, help="rendered pairs, as for benchmarks/links.py")
    loss.add_argument("--bundle", default="builtin")
    loss.add_argument("--songs", type=int, default=16)
    case = parts.add_parser("case")
    case.add_argument("case")
    case.add_argument("began", type=float)
    options = parser.parse_args()
    if options.part == "case":
        print(json.dumps(run_case(options.began, **json.loads(options.case))))
    else:
        measure = {
            "steps": measure_steps,
            "whole": measure_whole,
            "first": measure_first,
            "start": measure_start,
            "loss": measure_loss,
        }
        measure[options.part](options)


if __name__ == "__main__":
    main()

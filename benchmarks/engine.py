"""What a step of a stage costs in each engine, and what a whole generation costs.

    python benchmarks/engine.py steps                       # paper size and built-in size, turn by turn
    python benchmarks/engine.py steps --musicgen            # and Hugging Face's MusicGen of the same size
    python benchmarks/engine.py whole --takes 1 4 8         # from the vocal's file to the mix's
    python benchmarks/engine.py whole --seconds 10 60 600   # cost against length, and peak memory

In: nothing but hafm (and transformers, for its model). Out: a table, and JSON lines appended to
benchmarks/results/engine.jsonl: the machine, the case, median and quartiles of seconds of compute.

Conventions: one thread. Engines take turns in one process, so that their ratios hold on a busy machine too;
what is reported is the processor's time of this thread, since other work only stretches the clock's. A step
is the Transformer and its heads, from embeddings to logits, in memory that holds that many positions
already; rows are two per take (with its condition and without). Weights of the paper's size are random: they
cost what trained ones cost. `whole` runs each case in a process of its own: its peak memory is its own, and
libraries and bundle are loaded before the clock starts.
"""

import argparse
import json
import os
import platform
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

RESULTS = Path(__file__).parent / "results" / "engine.jsonl"
DEMO_VOCAL = Path(__file__).parent.parent / "src/hafm/assets/demo_vocal.flac"
SIZES = {"paper": (500, 1500, 3000), "builtin": (500, 1500)}
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
    from hafm.generate.decode import _TorchSteps

    transformer, codebooks = model.transformer, range(model.heads.shape[0])
    H, E = transformer.num_heads, transformer.width // transformer.num_heads
    x = torch.randn(rows, 1, transformer.width) * 0.3
    eager = _TorchSteps(model, batch=rows, capacity=position + 1, together=min(rows, 2))
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
    """Prints and keeps the cost of generations, from file to files."""
    print(
        "| engine | seconds | takes | core-seconds per second of sound | until the first progress | peak MB |"
    )
    print("|---|---|---|---|---|---|")
    for seconds in options.seconds:
        for takes in options.takes:
            rows: dict[str, list[dict[str, float]]] = {engine: [] for engine in options.engines}
            for _ in range(options.rounds):
                for engine in options.engines:
                    rows[engine].append(in_a_process(engine, seconds, takes))
            for engine, runs in rows.items():
                costs = spread([run["core_seconds"] / seconds for run in runs])
                first = spread([run["first_seconds"] for run in runs])
                peak = max(run["peak_megabytes"] for run in runs)
                case = {"what": "whole", "engine": engine, "seconds": seconds, "takes": takes}
                keep({**case, "core_seconds_per_second": costs, "first": first, "peak_megabytes": peak})
                print(
                    f"| {engine} | {seconds:g} | {takes} | {costs['median']:.3f} ({costs['low']:.3f}-"
                    f"{costs['high']:.3f}) | {first['median']:.2f} s | {peak:.0f} |",
                    flush=True,
                )


def in_a_process(engine: str, seconds: float, takes: int) -> dict[str, float]:
    """One generation, in a fresh process."""
    case = json.dumps({"engine": engine, "seconds": seconds, "takes": takes})
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, __file__, "case", case], stdout=subprocess.PIPE, text=True, env=environment
    )
    if done.returncode:
        sys.exit(f"the case {case} failed; what it said is above")
    result: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return result


def run_case(engine: str, seconds: float, takes: int) -> dict[str, float]:
    """A generation in this process: the libraries and the bundle are there, and then the clock starts."""
    import tempfile

    import torch

    from hafm.audio.io import read_audio, write_audio
    from hafm.generate.accompany import Accompanist
    from hafm.progress import Progress

    torch.set_num_threads(1)
    recording = read_audio(DEMO_VOCAL)
    num_samples = round(seconds * recording.sample_rate)
    vocal = recording.waveform.repeat(1, -(-num_samples // recording.num_samples))[:, :num_samples]
    accompanist = Accompanist.from_pretrained("builtin", engine=engine)  # type: ignore[arg-type]
    accompanist.open_engine()
    first: list[float] = []

    def on_progress(progress: Progress) -> None:
        if not first:
            first.append(time.perf_counter())

    with tempfile.TemporaryDirectory() as folder:
        write_audio(Path(folder) / "vocal.wav", vocal, recording.sample_rate, format="wav")
        del vocal, recording
        began, core = time.perf_counter(), time.process_time()
        made = accompanist.generate_takes(
            Path(folder) / "vocal.wav", takes=takes, seed=1, on_progress=on_progress
        )
        for number, take in enumerate(made):
            take.save(Path(folder) / str(number))
        core = time.process_time() - core
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return {
        "core_seconds": core,
        "first_seconds": first[0] - began,
        "peak_megabytes": peak / (1e6 if sys.platform == "darwin" else 1e3),
    }


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
    whole.add_argument("--engines", nargs="+", choices=("torch", "onnx"), default=["torch", "onnx"])
    whole.add_argument("--seconds", type=float, nargs="+", default=[10.0])
    whole.add_argument("--takes", type=int, nargs="+", default=[1])
    whole.add_argument("--rounds", type=int, default=3)
    case = parts.add_parser("case")
    case.add_argument("case")
    options = parser.parse_args()
    if options.part == "case":
        print(json.dumps(run_case(**json.loads(options.case))))
    elif options.part == "steps":
        measure_steps(options)
    else:
        measure_whole(options)


if __name__ == "__main__":
    main()

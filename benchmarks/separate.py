"""What separation costs: seconds of audio per core-second, and how much of it is ours and not the net's.

    python benchmarks/separate.py --seconds 60 --rate 44100 48000
    python benchmarks/separate.py --model vocals.onnx

In: a separator, or none: then two are made. `identity` does nothing, so its row is our own cost. `stand-in`
has random weights and about the layers of a published MDX-Net (five levels of three 3 x 3 convolutions on
each way, 32 channels more at every level), so its row is about what such a net costs. Out: a table, and one
JSON line with the same figures.

Conventions: processor time of one thread, so that other work on the machine counts little. "net" is the time
in onnxruntime, "ours" all the rest (resampling, spectrograms, overlap-add), "overhead" ours over the net's. A
net hears some sound twice (margins and fades); "net alone" is what it would take to hear each second once.
"""

import argparse
import json
import resource
import sys
import tempfile
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
from onnx import TensorProto, helper, numpy_helper

from hafm.separate.config import SeparatorConfig
from hafm.separate.network import Network
from hafm.separate.separator import Separator

LEVELS, BLOCK, WIDTH = 5, 3, 32


def measure(path: Path, *, seconds: float, rate: int) -> dict[str, Any]:
    """Separates some seconds of noise on one thread.

    Returns:
        Seconds of audio, and of compute: `total_seconds`, `net_seconds`, `passes` of the net, and
        `peak_megabytes` of this process so far.
    """
    separator = Separator.open(path)
    in_net, passes = 0.0, 0
    run = Network.__call__

    def timed(network: Network, image: torch.Tensor) -> torch.Tensor:
        nonlocal in_net, passes
        began = time.process_time()
        output = run(network, image)
        in_net += time.process_time() - began
        passes += 1
        return output

    second = 0.1 * torch.randn(2, rate, generator=torch.Generator().manual_seed(0))
    blocks = [second] * round(seconds)
    Network.__call__ = timed  # type: ignore[method-assign]
    try:
        began = time.process_time()
        for _ in separator.separate_blocks(blocks, sample_rate=rate):
            pass
        total = time.process_time() - began
    finally:
        Network.__call__ = run  # type: ignore[method-assign]
    config = separator.config
    heard = passes * config.chunk_samples / config.sample_rate
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (1e6 if sys.platform == "darwin" else 1e3)
    return {
        "net": path.stem,
        "seconds": float(round(seconds)),
        "sample_rate_hz": rate,
        "n_fft": config.n_fft,
        "dim_f": config.dim_f,
        "dim_t": config.dim_t,
        "passes": passes,
        "total_seconds": total,
        "net_seconds": in_net,
        "net_alone_seconds": in_net * round(seconds) / heard,
        "peak_megabytes": peak,
    }


def table(results: list[dict[str, Any]]) -> str:
    """The results as Markdown."""
    lines = [
        "| net | dim_f | song | audio s per core-s | net s | net alone s | ours s | overhead | peak MB |",
        "|---" * 9 + "|",
    ]
    for row in results:
        ours = row["total_seconds"] - row["net_seconds"]
        lines.append(
            f"| {row['net']} | {row['dim_f']} | {row['seconds']:g} s at {row['sample_rate_hz']} Hz "
            f"| {row['seconds'] / row['total_seconds']:.2f} | {row['net_seconds']:.2f} "
            f"| {row['net_alone_seconds']:.2f} | {ours:.2f} | {100 * ours / row['net_seconds']:.1f} % "
            f"| {row['peak_megabytes']:.0f} |"
        )
    return "\n".join(lines)


def identity(config: SeparatorConfig) -> onnx.ModelProto:
    """Gives what it got."""
    return _model(config, [helper.make_node("Identity", ["image"], ["stem"])], {})


def stand_in(config: SeparatorConfig) -> onnx.ModelProto:
    """A U-Net of the published shape with random weights."""
    generator = np.random.default_rng(0)
    nodes: list[onnx.NodeProto] = []
    weights: dict[str, np.ndarray] = {}

    def convolve(
        source: str, shape: tuple[int, ...], *, kind: str = "Conv", relu: bool = True, **more: Any
    ) -> str:
        name = f"{kind}{len(weights)}"
        scale = np.sqrt(2 / np.prod(shape[1:] if kind == "Conv" else (shape[0], *shape[2:])))
        weights[name] = generator.normal(0, scale, shape).astype(np.float32)
        nodes.append(helper.make_node(kind, [source, name], [f"{name}_raw"], **more))
        if not relu:
            return f"{name}_raw"
        nodes.append(helper.make_node("Relu", [f"{name}_raw"], [f"{name}_out"]))
        return f"{name}_out"

    def block(source: str, width: int) -> str:
        for _ in range(BLOCK):
            source = convolve(source, (width, width, 3, 3), pads=[1, 1, 1, 1])
        return source

    width, here, skips = WIDTH, convolve("image", (WIDTH, 4, 1, 1)), []
    for _ in range(LEVELS):
        skips.append(block(here, width))
        here = convolve(skips[-1], (width + WIDTH, width, 2, 2), strides=[2, 2])
        width += WIDTH
    here = block(here, width)
    for skip in reversed(skips):
        here = convolve(here, (width, width - WIDTH, 2, 2), kind="ConvTranspose", strides=[2, 2])
        width -= WIDTH
        nodes.append(helper.make_node("Mul", [here, skip], [f"{here}_{skip}"]))
        here = block(f"{here}_{skip}", width)
    last = convolve(here, (4, WIDTH, 1, 1), relu=False)
    # Products of random features may be of any size; what a pass costs does not depend on it.
    nodes.append(helper.make_node("Tanh", [last], ["stem"]))
    return _model(config, nodes, weights)


def _model(
    config: SeparatorConfig, nodes: list[onnx.NodeProto], weights: dict[str, np.ndarray]
) -> onnx.ModelProto:
    shape = [1, 4, config.dim_f, config.dim_t]
    sides = [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name in ("image", "stem")]
    constants = [numpy_helper.from_array(value, name) for name, value in weights.items()]
    graph = helper.make_graph(nodes, "net", sides[:1], sides[1:], constants)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)


def main() -> None:
    """Measures what the command line asks for."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--model", type=Path, help="an .onnx with a .json beside it")
    parser.add_argument("--nets", nargs="+", default=["identity", "stand-in"], help="without --model")
    parser.add_argument("--dim-f", type=int, nargs="+", default=[2048], help="of the nets that are made")
    parser.add_argument("--seconds", type=float, default=60.0, help="of song")
    parser.add_argument("--rate", type=int, nargs="+", default=[44_100], help="of the song, in hertz")
    options = parser.parse_args()
    torch.set_num_threads(1)
    results = []
    with tempfile.TemporaryDirectory() as folder:
        paths = [options.model] if options.model else []
        for dim_f in [] if options.model else options.dim_f:
            config = SeparatorConfig(
                n_fft=6144,
                hop=1024,
                dim_f=dim_f,
                dim_t=256,
                compensate=1.0,
                primary_stem="vocals",
                sample_rate=44_100,
            )
            for name in options.nets:
                paths.append(Path(folder) / str(dim_f) / f"{name}.onnx")
                paths[-1].parent.mkdir(exist_ok=True)
                onnx.save({"identity": identity, "stand-in": stand_in}[name](config), paths[-1])
                paths[-1].with_suffix(".json").write_text(json.dumps(asdict(config)))
        for path in paths:
            results += [measure(path, seconds=options.seconds, rate=rate) for rate in options.rate]
    print(table(results))
    print(json.dumps(results))


if __name__ == "__main__":
    main()

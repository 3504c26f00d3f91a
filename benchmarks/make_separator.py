"""A separator for dry runs: a net of an MDX-Net's shape whose vocal is the band from 400 to 3,000 Hz.

    python benchmarks/make_separator.py OUT/vocals.onnx        and OUT/vocals.json beside it

It separates nothing well; it lets `hafm separate`, `hafm prepare` and `hafm generate --separate` be tried
where there is no model of anybody's. Needs the onnx package (extra `dev`).
"""

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

SETTINGS = {
    "n_fft": 2048,
    "hop": 512,
    "dim_f": 1024,
    "dim_t": 128,
    "compensate": 1.0,
    "primary_stem": "vocals",
    "sample_rate": 44_100,
}
VOICE_HZ = (400.0, 3_000.0)


def write_separator(path: Path) -> None:
    """Writes the net, and its JSON beside it."""
    dim_f, dim_t = SETTINGS["dim_f"], SETTINGS["dim_t"]
    shape = [1, 4, dim_f, dim_t]
    bins_hz = np.arange(dim_f) * SETTINGS["sample_rate"] / SETTINGS["n_fft"]
    mask = ((bins_hz >= VOICE_HZ[0]) & (bins_hz <= VOICE_HZ[1])).astype(np.float32)
    graph = helper.make_graph(
        [helper.make_node("Mul", ["image", "mask"], ["stem"])],
        "band",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info("stem", TensorProto.FLOAT, shape)],
        [numpy_helper.from_array(mask.reshape(1, 1, -1, 1), "mask")],
    )
    # An old opset and format, so that every onnxruntime in use reads it.
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    path.parent.mkdir(parents=True, exist_ok=True)
    onnx.save(model, path)
    path.with_suffix(".json").write_text(json.dumps(SETTINGS, indent=2) + "\n")


def main(arguments: Sequence[str] | None = None) -> int:
    """The command. Returns its exit status."""
    parser = argparse.ArgumentParser(description="Make a separator for dry runs.")
    parser.add_argument("out", type=Path, help="the .onnx file")
    out = parser.parse_args(arguments).out
    write_separator(out)
    print(f"a band from {VOICE_HZ[0]:g} to {VOICE_HZ[1]:g} Hz as the vocal: {out}")
    return 0


if __name__ == "__main__":
    sys.exit(main())

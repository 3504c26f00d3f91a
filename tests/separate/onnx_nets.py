"""Tiny nets with a known answer, and the numbers of theirs.

path = write_net(folder, gain(0.5))                 folder/net.onnx and folder/net.json
"""

import json
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from hafm.separate.config import SeparatorConfig

RATE = 8_000

Net = Callable[[SeparatorConfig], onnx.ModelProto]


def config(**changes: Any) -> SeparatorConfig:
    """Small: a chunk of 480 samples has margins of 64 and shares 64 with the next; 1 bin of 33 is dropped."""
    values: dict[str, Any] = {
        "n_fft": 64,
        "hop": 32,
        "dim_f": 32,
        "dim_t": 16,
        "compensate": 1.0,
        "primary_stem": "vocals",
        "sample_rate": RATE,
    }
    return SeparatorConfig(**{**values, **changes})


def write_net(
    folder: Path,
    net: Net,
    *,
    name: str = "net",
    described_as: SeparatorConfig | None = None,
    made_for: SeparatorConfig | None = None,
) -> Path:
    """Writes a net and its JSON; `made_for` where the two are not to fit."""
    folder.mkdir(parents=True, exist_ok=True)
    described = config() if described_as is None else described_as
    onnx.save(net(described if made_for is None else made_for), folder / f"{name}.onnx")
    (folder / f"{name}.json").write_text(json.dumps(asdict(described)))
    return folder / f"{name}.onnx"


def identity(settings: SeparatorConfig) -> onnx.ModelProto:
    """Gives what it got."""
    return _model(settings, [helper.make_node("Identity", ["image"], ["stem"])])


def gain(factor: float) -> Net:
    """Multiplies by a number."""
    return band(lambda bins: np.full(len(bins), factor))


def band(mask: Callable[[np.ndarray], np.ndarray]) -> Net:
    """Multiplies each bin by a function of its number."""

    def net(settings: SeparatorConfig) -> onnx.ModelProto:
        weights = mask(np.arange(settings.dim_f)).astype(np.float32).reshape(1, 1, -1, 1)
        return _model(settings, [helper.make_node("Mul", ["image", "weights"], ["stem"])], weights=weights)

    return net


def offset(value: float) -> Net:
    """Adds a number everywhere, as biases do: what it makes of silence is a hum."""

    def net(settings: SeparatorConfig) -> onnx.ModelProto:
        return _model(
            settings,
            [helper.make_node("Add", ["image", "value"], ["stem"])],
            value=np.array(value, dtype=np.float32),
        )

    return net


def inverse(settings: SeparatorConfig) -> onnx.ModelProto:
    """1 / x: infinite at the bins that are zeroed."""
    return _model(settings, [helper.make_node("Reciprocal", ["image"], ["stem"])])


def swap_sides(settings: SeparatorConfig) -> onnx.ModelProto:
    """Left becomes right, so that the order of the four rows shows."""
    order = np.array([2, 3, 0, 1], dtype=np.int64)
    return _model(settings, [helper.make_node("Gather", ["image", "order"], ["stem"], axis=1)], order=order)


def real_parts(settings: SeparatorConfig) -> onnx.ModelProto:
    """Keeps the real parts, so that their place shows."""
    weights = np.array([1, 0, 1, 0], dtype=np.float32).reshape(1, 4, 1, 1)
    return _model(settings, [helper.make_node("Mul", ["image", "weights"], ["stem"])], weights=weights)


def any_size(settings: SeparatorConfig) -> onnx.ModelProto:
    """The identity with names for sizes, as many exported nets have them."""
    return _model(
        settings,
        [helper.make_node("Identity", ["image"], ["stem"])],
        shape=["batch", 4, settings.dim_f, "frames"],
    )


def half_the_frames(settings: SeparatorConfig) -> onnx.ModelProto:
    """Declares no output size and gives half the frames: only a pass shows it."""
    steps = {"starts": [0], "ends": [settings.dim_t // 2], "axes": [3]}
    return _model(
        settings,
        [helper.make_node("Slice", ["image", *steps], ["stem"])],
        shape=["batch", 4, "bins", "frames"],
        **{name: np.array(value, dtype=np.int64) for name, value in steps.items()},
    )


def two_outputs(settings: SeparatorConfig) -> onnx.ModelProto:
    """Two stems in one net, which is another kind of separator."""
    model = identity(settings)
    model.graph.node.append(helper.make_node("Identity", ["image"], ["more"]))
    model.graph.output.append(helper.make_tensor_value_info("more", TensorProto.FLOAT, _shape(settings)))
    return model


def half_precision(settings: SeparatorConfig) -> onnx.ModelProto:
    """In float16."""
    return _model(settings, [helper.make_node("Identity", ["image"], ["stem"])], element=TensorProto.FLOAT16)


def _shape(settings: SeparatorConfig) -> list[int | str]:
    return [1, 4, settings.dim_f, settings.dim_t]


def _model(
    settings: SeparatorConfig,
    nodes: Sequence[onnx.NodeProto],
    *,
    shape: list[int | str] | None = None,
    element: int = TensorProto.FLOAT,
    **weights: np.ndarray,
) -> onnx.ModelProto:
    shape = _shape(settings) if shape is None else shape
    graph = helper.make_graph(
        list(nodes),
        "net",
        [helper.make_tensor_value_info("image", element, shape)],
        [helper.make_tensor_value_info("stem", element, shape)],
        [numpy_helper.from_array(value, name) for name, value in weights.items()],
    )
    # Old enough for any onnxruntime.
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)

"""A stage's Transformer and heads as a graph for ONNX Runtime.

In: a stage, and how large its keys and values become. Out: the bytes of an `.onnx`. What the graph computes
is `hafm.model.transformer` and the heads, embeddings in and logits out:

    x [B, S, D] -> [ norm -> q, k, v -> norms -> attention -> + -> norm -> gated feed-forward -> + ] x L
                -> norm -> logits of the last position [B, K * V]       stages that go step by step
                        -> all positions [B, S, D]                      stages of pattern parallel

    step by step
      MatMulNBits           weights in blocks of 32 with one scale each; numbers in between have 8 bits, too,
                            in blocks of their row
      GroupQueryAttention   keys and values of 8 bits in memory of the caller, written in place: `past_*` and
                            `present_*` are the same arrays [B, H, C, E], C being their capacity
    pattern parallel, where every position sees every other, without memory
      MatMul                weights as they are: 8 bits save reading them, which counts for a position or two,
                            and products of hundreds take half as long again
      MultiHeadAttention

No operation lets rows of the batch influence each other. The scales of keys and values are fixed, one per
channel, because the operator takes no others; values beyond them are cut off.

Source: the operators of domain `com.microsoft` in ONNX Runtime (docs/ContribOperators.md there).
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from jaxtyping import Float
from torch import Tensor

from hafm.model.rotary import rotation_of
from hafm.model.transformer import Block
from hafm.stages.stage_model import StageModel

__all__ = ["GRAPH_VERSION", "KeyValueRange", "stage_graph"]

GRAPH_VERSION = 2
"""Changes with every change to the graph, so that graphs of other versions are not used."""

_BLOCK = 32  # of weights that share a scale; the fastest of 16, 32 and 128 that keeps logits within 1.5 %
_ACCURACY = 4  # numbers between layers become 8 bits, too; without it a step takes ten times as long
_ZERO_POINT = 128
_LARGEST = 127
_MICROSOFT = "com.microsoft"
_OPSET, _IR = 20, 10


@dataclass(frozen=True, kw_only=True)
class KeyValueRange:
    """The largest absolute key and value of every layer and channel."""

    keys: Float[Tensor, "L H E"]
    values: Float[Tensor, "L H E"]


def stage_graph(model: StageModel, ranges: KeyValueRange | None) -> bytes:
    """The graph of a stage.

    Args:
        model: on the CPU, in evaluation mode.
        ranges: for a stage that goes step by step; None for one of pattern `parallel`.

    Returns:
        The bytes of an `.onnx`. Its inputs: `x`; step by step `past_lengths` (of each row, -1 + new length),
        `total` (positions, new ones included), with a relative bias `bias [1, H, S, total]`, and for every
        layer `past_key_0`, `past_value_0`, ... Its outputs: `logits` or `hidden`, and `present_key_0`, ...
    """
    assert (ranges is None) == (model.spec.pattern == "parallel"), "keys are kept step by step only"
    with torch.no_grad():
        return _Writer(model, ranges).write()


class _Writer:
    def __init__(self, model: StageModel, ranges: KeyValueRange | None) -> None:
        import onnx  # only what makes graphs needs it

        self.onnx: Any = onnx
        self.model, self.transformer, self.ranges = model, model.transformer, ranges
        self.width, self.num_heads = self.transformer.width, self.transformer.num_heads
        self.head_width = self.width // self.num_heads
        self.nodes: list[Any] = []
        self.initializers: list[Any] = []
        self.inputs: list[Any] = []
        self.outputs: list[Any] = []

    def write(self) -> bytes:
        helper, TensorProto = self.onnx.helper, self.onnx.TensorProto
        D, H, E = self.width, self.num_heads, self.head_width
        rotary = self.transformer.bias is None
        self._input("x", TensorProto.FLOAT, ["B", "S", D])
        if rotary:
            self._rotation()
        if self.ranges is not None:
            self._input("past_lengths", TensorProto.INT32, ["B"])
            self._input("total", TensorProto.INT32, [])
        if not rotary:
            self._input("bias", TensorProto.FLOAT, [1, H, "S", "T"])
        for name, values in {
            "heads_shape": [0, 0, 2 * H, E],
            "joint_shape": [0, 0, 2 * D],
            "split_values": [2 * D, D],
            "split_keys": [D, D],
        }.items():
            self._constant(name, np.array(values, dtype=np.int64))
        self._constant("ones", np.ones(E, dtype=np.float32))
        blocks: list[Block] = list(self.transformer.blocks)  # type: ignore[arg-type]
        norms = [*(block.attention_norm.weight for block in blocks), self.transformer.norm.weight]
        x, normed = "x", self._norm("x", norms[0], "normed_0")
        for layer, block in enumerate(blocks):
            attended = self._attention(normed, block, layer)
            normed, x = self._add_and_norm(x, attended, block.feedforward_norm.weight, f"middle_{layer}")
            gated = self._feedforward(normed, block, layer)
            normed, x = self._add_and_norm(x, gated, norms[layer + 1], f"after_{layer}")
        if self.ranges is None:
            self._node("Identity", [normed], ["hidden"])
            self._output("hidden", TensorProto.FLOAT, ["B", "S", D])
        else:
            self._constant("last", np.array(-1, dtype=np.int64))
            newest = self._node("Gather", [normed, "last"], ["newest"], axis=1)
            self._linear(newest, self.model.heads.permute(1, 0, 2).flatten(1), "logits")
            num_codebooks, _, cardinality = self.model.heads.shape
            self._output("logits", TensorProto.FLOAT, ["B", num_codebooks * cardinality])
        graph = helper.make_graph(self.nodes, "stage", self.inputs, self.outputs, self.initializers)
        made = helper.make_model(
            graph,
            opset_imports=[helper.make_opsetid("", _OPSET), helper.make_opsetid(_MICROSOFT, 1)],
            ir_version=_IR,
            producer_name="hafm",
        )
        return bytes(made.SerializeToString(deterministic=True))

    # ---- layers

    def _attention(self, x: str, block: Block, layer: int) -> str:
        attention = block.attention
        joint = self._linear(x, attention.qkv.weight, f"qkv_{layer}")
        self._node("Split", [joint, "split_values"], [f"qk_{layer}", f"v_{layer}"], axis=-1)
        heads = self._node("Reshape", [f"qk_{layer}", "heads_shape"], [f"qk_heads_{layer}"])
        normed = self._norm(heads, None, f"qk_normed_{layer}")
        weights = torch.stack([attention.query_norm.weight, attention.key_norm.weight])
        scale = weights.repeat_interleave(self.num_heads, dim=0)[None, None]
        self._constant(f"qk_weight_{layer}", scale.numpy())
        scaled = self._node("Mul", [normed, f"qk_weight_{layer}"], [f"qk_scaled_{layer}"])
        flat = self._node("Reshape", [scaled, "joint_shape"], [f"qk_flat_{layer}"])
        self._node("Split", [flat, "split_keys"], [f"q_{layer}", f"k_{layer}"], axis=-1)
        if self.ranges is None:
            attended = self._attend_to_all(layer)
        else:
            attended = self._attend_to_past(layer, self.ranges)
        return self._linear(attended, attention.out.weight, f"out_{layer}")

    def _attend_to_past(self, layer: int, ranges: KeyValueRange) -> str:
        shape = ["B", self.num_heads, "C", self.head_width]
        for what, largest in (("key", ranges.keys[layer]), ("value", ranges.values[layer])):
            self._input(f"past_{what}_{layer}", self.onnx.TensorProto.INT8, shape)
            self._output(f"present_{what}_{layer}", self.onnx.TensorProto.INT8, shape)
            scale = (largest / _LARGEST).clamp_min(1e-6)[None, :, None]
            self._constant(f"{what}_scale_{layer}", scale.float().numpy())
        rotary = self.transformer.bias is None
        inputs = [
            *(f"q_{layer}", f"k_{layer}", f"v_{layer}", f"past_key_{layer}", f"past_value_{layer}"),
            *("past_lengths", "total"),
            *(("cosine", "sine", "", "") if rotary else ("", "", "", "bias")),
            *("", f"key_scale_{layer}", f"value_scale_{layer}"),
        ]
        return self._node(
            "GroupQueryAttention",
            inputs,
            [f"attended_{layer}", f"present_key_{layer}", f"present_value_{layer}"],
            domain=_MICROSOFT,
            num_heads=self.num_heads,
            kv_num_heads=self.num_heads,
            do_rotary=int(rotary),
            k_quant_type="PER_CHANNEL",
            v_quant_type="PER_CHANNEL",
            kv_cache_bit_width=8,
        )

    def _attend_to_all(self, layer: int) -> str:
        q, k, bias = f"q_{layer}", f"k_{layer}", "bias"
        if self.transformer.bias is None:
            bias = ""
            q, k = (
                self._node(
                    "RotaryEmbedding",
                    [name, "first_position", "cosine", "sine"],
                    [f"{name}_turned"],
                    domain=_MICROSOFT,
                    num_heads=self.num_heads,
                    rotary_embedding_dim=0,
                )
                for name in (q, k)
            )
        return self._node(
            "MultiHeadAttention",
            [q, k, f"v_{layer}", "", "", bias],
            [f"attended_{layer}"],
            domain=_MICROSOFT,
            num_heads=self.num_heads,
        )

    def _feedforward(self, x: str, block: Block, layer: int) -> str:
        into, out = block.feedforward.into.weight, block.feedforward.out.weight
        inner = out.shape[0]
        more = 0 if self.ranges is None else -inner % _BLOCK  # a whole number of blocks: the rest is zeros
        gate, value = (torch.nn.functional.pad(half, (0, more)) for half in into.chunk(2, dim=1))
        self._constant("split_gate", np.array([inner + more, inner + more], dtype=np.int64))
        joint = self._linear(x, torch.cat([gate, value], dim=1), f"into_{layer}")
        self._node("Split", [joint, "split_gate"], [f"gate_{layer}", f"value_{layer}"], axis=-1)
        opened = self._node("Gelu", [f"gate_{layer}"], [f"opened_{layer}"], domain=_MICROSOFT)
        gated = self._node("Mul", [opened, f"value_{layer}"], [f"gated_{layer}"])
        padded = torch.nn.functional.pad(out, (0, 0, 0, more))
        return self._linear(gated, padded, f"fed_{layer}")

    def _norm(self, x: str, weight: Tensor | None, name: str) -> str:
        scale = "ones" if weight is None else self._constant(f"{name}_weight", weight.numpy())
        epsilon = self.transformer.norm.eps
        return self._node(
            "SimplifiedLayerNormalization", [x, scale], [name], axis=-1, epsilon=epsilon, stash_type=1
        )

    def _add_and_norm(self, x: str, more: str, weight: Tensor, name: str) -> tuple[str, str]:
        self._node(
            "SkipSimplifiedLayerNormalization",
            [x, more, self._constant(f"{name}_weight", weight.numpy())],
            [f"{name}_normed", "", "", f"{name}_sum"],
            domain=_MICROSOFT,
            epsilon=self.transformer.norm.eps,
        )
        return f"{name}_normed", f"{name}_sum"

    def _linear(self, x: str, weight: Float[Tensor, "I O"], name: str) -> str:
        if self.ranges is None:
            return self._node("MatMul", [x, self._constant(f"{name}_weight", weight.float().numpy())], [name])
        codes, scales = _blocks(weight.T.float().numpy())
        return self._node(
            "MatMulNBits",
            [x, self._constant(f"{name}_codes", codes), self._constant(f"{name}_scales", scales)],
            [name],
            domain=_MICROSOFT,
            K=weight.shape[0],
            N=weight.shape[1],
            bits=8,
            block_size=_BLOCK,
            accuracy_level=_ACCURACY,
        )

    def _rotation(self) -> None:
        longest = self.model.spec.sequence_length
        cosine, sine = rotation_of(0, num_positions=longest, head_width=self.head_width)
        self._constant("cosine", cosine.numpy())
        self._constant("sine", sine.numpy())
        self._constant("first_position", np.zeros(1, dtype=np.int64))

    # ---- parts of a graph

    def _node(
        self, kind: str, inputs: list[str], outputs: list[str], *, domain: str = "", **values: Any
    ) -> str:
        make_node = self.onnx.helper.make_node
        self.nodes.append(make_node(kind, inputs, outputs, name=outputs[0], domain=domain, **values))
        return outputs[0]

    def _constant(self, name: str, values: npt.NDArray[Any]) -> str:
        if name not in {each.name for each in self.initializers}:
            self.initializers.append(self.onnx.numpy_helper.from_array(np.asarray(values, order="C"), name))
        return name

    def _input(self, name: str, kind: int, shape: list[Any]) -> None:
        self.inputs.append(self.onnx.helper.make_tensor_value_info(name, kind, shape))

    def _output(self, name: str, kind: int, shape: list[Any]) -> None:
        self.outputs.append(self.onnx.helper.make_tensor_value_info(name, kind, shape))


def _blocks(weight: npt.NDArray[np.float32]) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.float32]]:
    """Weights `[O, I]` as 8-bit codes around 128 `[O, blocks, 32]`, and scales `[O, blocks]`.

    >>> codes, scales = _blocks(np.array([[0.0, 1.0, -2.0]], dtype=np.float32))
    >>> codes.shape, codes[0, 0, :4].tolist(), round(float(scales[0, 0]) * 127, 3)
    ((1, 1, 32), [128, 192, 1, 128], 2.0)
    """
    padded = np.pad(weight, ((0, 0), (0, -weight.shape[1] % _BLOCK))).reshape(len(weight), -1, _BLOCK)
    scales = np.abs(padded).max(-1) / _LARGEST
    scales[scales == 0] = 1
    codes = np.rint(padded / scales[..., None]) + _ZERO_POINT
    return codes.astype(np.uint8), scales.astype(np.float32)

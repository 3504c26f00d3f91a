"""Runs a stage's graph (`hafm.engine.graph`) in ONNX Runtime, in memory that is taken once.

In: the bytes of a graph; then embeddings. Out: logits, or hidden states.

    StageSession(content, ...)           once per stage: about 50 ms
      .start(batch, capacity)            once per window: keys and values, and what goes in and out
         (x [B, S, D]) -> [B, K, V]      the prompt first, then one position each
      .hidden(x)                         stages of pattern parallel: all positions at once

One thread: a step is too small to be shared out, and a result must not depend on the number of cores.
"""

import os
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from jaxtyping import Float
from torch import Tensor

from hafm.errors import UsageError
from hafm.stages.stage_model import StageModel

__all__ = ["StageSession", "Steps"]

_ERRORS_ONLY = 3


class StageSession:
    """A stage, ready to run.

    Args:
        content: of `stage_graph`.
        model: the stage that it is of, for its shapes and its bias.

    Raises:
        UsageError: this version of onnxruntime cannot run the graph.
    """

    def __init__(self, content: bytes, model: StageModel) -> None:
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        options.log_severity_level = _ERRORS_ONLY
        options.add_session_config_entry("session.model_external_initializers_file_folder_path", os.devnull)
        try:
            self.session = onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
        except Exception as error:  # onnxruntime's own classes, one for each of its status codes
            raise _refused(error) from error
        self.model = model

    def start(self, *, batch: int, capacity: int) -> "Steps":
        """A new window of up to `capacity` positions."""
        return Steps(self.session, self.model, batch=batch, capacity=capacity)

    def hidden(self, x: Float[Tensor, "B S D"]) -> Float[Tensor, "B S D"]:
        """The Transformer's output at all positions, for stages of pattern `parallel`."""
        inputs = {}
        if self.model.transformer.bias is not None:
            inputs["bias"] = self.model.transformer.bias(x.shape[1], x.shape[1])[None].numpy()
        try:  # row by row: what a row becomes does not depend on its companions
            rows = [
                self.session.run(["hidden"], {**inputs, "x": np.ascontiguousarray(row.numpy())})[0]
                for row in x.split(1)
            ]
        except Exception as error:
            raise _refused(error) from error
        return torch.from_numpy(rows[0] if len(rows) == 1 else np.concatenate(rows))


class Steps:
    """The logits after some positions, and the keys and values of those. Made by `StageSession.start`."""

    def __init__(self, session: Any, model: StageModel, *, batch: int, capacity: int) -> None:
        transformer = model.transformer
        H, E = transformer.num_heads, transformer.width // transformer.num_heads
        longest = model.spec.sequence_length
        assert transformer.bias is not None or capacity <= longest, (
            f"{capacity} positions, known are {longest}"
        )
        self.session, self.capacity, self.length = session, capacity, 0
        self.num_codebooks, self.cardinality = model.heads.shape[0], model.heads.shape[2]
        self.binding = session.io_binding()
        self.memory = {
            f"{what}_{layer}": np.zeros((batch, H, capacity, E), dtype=np.int8)
            for what in ("key", "value")
            for layer in range(len(transformer.blocks))
        }
        for name, array in self.memory.items():
            self._bind("past", array, name=f"past_{name}")
            self._bind("present", array, name=f"present_{name}")
        self.past_lengths = np.zeros(batch, dtype=np.int32)
        self.total = np.zeros((), dtype=np.int32)
        self.one = np.zeros((batch, 1, transformer.width), dtype=np.float32)
        self.logits = np.zeros((batch, self.num_codebooks * self.cardinality), dtype=np.float32)
        self.by_codebook = torch.from_numpy(self.logits).unflatten(1, (self.num_codebooks, self.cardinality))
        self._bind("past", self.past_lengths, name="past_lengths")
        self._bind("past", self.total, name="total")
        self._bind("past", self.one, name="x")
        self._bind("present", self.logits, name="logits")
        # As in `hafm.generate.decode`: the bias of one query is the end of a table that falls to distance 0.
        self.table: npt.NDArray[np.float32] | None = None
        if transformer.bias is not None:
            distance = torch.arange(capacity - 1, -1, -1)
            self.table = transformer.bias.by_distance(distance).float().numpy()
            self.bias = np.zeros(H * capacity, dtype=np.float32)

    def __call__(self, x: Float[Tensor, "B S D"], codebooks: Sequence[int]) -> Float[Tensor, "B N V"]:
        """Logits of neighbouring codebooks at the last of S new positions: the prompt, then one each."""
        S = x.shape[1]
        assert self.length == 0 or S == 1, "after the prompt come single positions"
        assert self.length + S <= self.capacity, f"memory for {self.capacity} positions"
        self.length += S
        self.past_lengths[:] = self.length - 1
        self.total[...] = self.length
        if S == 1:
            np.copyto(self.one, x.numpy())
        else:
            prompt = np.ascontiguousarray(x.numpy())
            self._bind("past", prompt, name="x")
        if self.table is not None:
            self._bind_bias(S)
        try:
            self.session.run_with_iobinding(self.binding)
        except Exception as error:
            raise _refused(error) from error
        if S > 1:
            self._bind("past", self.one, name="x")
        logits: Tensor = self.by_codebook[:, codebooks[0] : codebooks[-1] + 1]
        return logits.clone()  # the next step writes over it

    def _bind_bias(self, num_queries: int) -> None:
        assert self.table is not None, "called with a bias only"
        H, end = len(self.table), self.capacity
        if num_queries == 1:
            bias = self.bias[: H * self.length].reshape(1, H, 1, self.length)
            np.copyto(bias[0, :, 0], self.table[:, end - self.length :])
        else:
            # Later keys are hidden by the operator: whatever distance is looked up for them does not count.
            position = np.arange(num_queries)
            distance = np.maximum(position[:, None] - position[None, :], 0)
            bias = np.ascontiguousarray(self.table[:, end - 1 - distance])[None]
            self.prompt_bias = bias  # must live as long as it is bound
        self._bind("past", bias, name="bias")

    def _bind(self, side: str, array: npt.NDArray[Any], *, name: str) -> None:
        bind = self.binding.bind_input if side == "past" else self.binding.bind_output
        bind(name, "cpu", 0, array.dtype.type, array.shape, array.ctypes.data)


def _refused(error: Exception) -> UsageError:
    reason = next(iter(str(error).strip().splitlines()), type(error).__name__)
    return UsageError(
        f"this onnxruntime cannot run the stages ({reason}); use engine torch, or another version of it"
    )

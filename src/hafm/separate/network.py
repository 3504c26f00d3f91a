"""The net of a separator, run by onnxruntime.

In: the bytes of an `.onnx`, and an image [1, 4, dim_f, dim_t]. Out: an image of the same shape.

onnxruntime is imported here and nowhere else, when a net is opened. The net is given as bytes, so that what
runs is what was hashed, and a net that keeps its weights in further files is refused. One thread a call:
whoever wants more runs several chunks at a time, and then the results do not depend on how many.
"""

import os
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from hafm.errors import UsageError
from hafm.separate.config import SeparatorConfig

__all__ = ["Network", "onnxruntime_version"]

_INSTALL = "separation needs onnxruntime, which is not installed: pip install 'hafm[separate]'"
_ERRORS_ONLY = 3


class Network:
    """An MDX-Net, ready to run.

    Args:
        content: of the `.onnx` file.
        config: what its image should look like.
        name: what messages call the file.

    Raises:
        UsageError: onnxruntime is not installed, the bytes are no net that it can run, or the net's input or
            output has another shape than the configuration says.
    """

    def __init__(self, content: bytes, *, config: SeparatorConfig, name: str) -> None:
        self._config, self._name = config, name
        self._session = _session(content, name)
        [source] = _exactly_one(self._session.get_inputs(), "inputs", name)
        [target] = _exactly_one(self._session.get_outputs(), "outputs", name)
        self._input = source.name
        wanted = (1, 4, config.dim_f, config.dim_t)
        for side, node in (("input", source), ("output", target)):
            if node.type != "tensor(float)":
                raise UsageError(f"{name}: its {side} is {node.type}, not float32; export the net in float32")
            if not _fits(node.shape, wanted):
                raise self._misfit(side, node.shape)

    def __call__(self, image: Float[Tensor, "1 4 dim_f dim_t"]) -> Float[Tensor, "1 4 dim_f dim_t"]:
        """One pass.

        Raises:
            UsageError: the net failed, or gave another shape or numbers that are not finite.
        """
        try:
            [output] = self._session.run(None, {self._input: np.ascontiguousarray(image.numpy())})
        except Exception as error:  # onnxruntime's own classes, one for each of its status codes
            raise UsageError(
                f"{self._name}: the net failed ({_first_line(error)}); export it again"
            ) from error
        if output.shape != tuple(image.shape):
            raise self._misfit("output", output.shape)
        if not np.isfinite(output).all():
            raise UsageError(
                f"{self._name}: the net gave numbers that are not finite; it is damaged, or was exported in "
                "half precision: give another"
            )
        return torch.from_numpy(output)

    def _misfit(self, side: str, shape: Any) -> UsageError:
        config = self._config
        return UsageError(
            f"{self._name}: the {side} of the net is {_shown(shape)}, and its JSON makes it "
            f"[1, 4, {config.dim_f}, {config.dim_t}] (dim_f = {config.dim_f}, dim_t = {config.dim_t}); "
            "correct the JSON"
        )


def onnxruntime_version() -> str:
    """The version of onnxruntime here.

    Raises:
        UsageError: it is not installed.
    """
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version("onnxruntime")
    except PackageNotFoundError as error:
        raise UsageError(_INSTALL) from error


def _session(content: bytes, name: str) -> Any:
    try:
        import onnxruntime
    except ImportError as error:
        raise UsageError(_INSTALL) from error
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = _ERRORS_ONLY
    # Left alone, a net given as bytes takes further weights from the folder that the process works in.
    options.add_session_config_entry("session.model_external_initializers_file_folder_path", os.devnull)
    try:
        return onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
    except Exception as error:
        raise UsageError(
            f"{name} is no net that onnxruntime can run ({_first_line(error)}); give an MDX-Net as .onnx"
        ) from error


def _exactly_one(nodes: list[Any], what: str, name: str) -> list[Any]:
    if len(nodes) != 1:
        raise UsageError(f"{name} has {len(nodes)} {what}, and an MDX-Net has one; give an MDX-Net")
    return nodes


def _fits(shape: Any, wanted: tuple[int, ...]) -> bool:
    """Whether a declared shape permits the one wanted: a size that is a name, or none, permits any."""
    if not shape:  # not declared: the first pass shows it
        return True
    return len(shape) == len(wanted) and all(
        not isinstance(size, int) or size == want for size, want in zip(shape, wanted, strict=True)
    )


def _shown(shape: Any) -> str:
    return "[" + ", ".join("any" if not isinstance(size, int) else str(size) for size in shape) + "]"


def _first_line(error: Exception) -> str:
    return next(iter(str(error).strip().splitlines()), type(error).__name__)

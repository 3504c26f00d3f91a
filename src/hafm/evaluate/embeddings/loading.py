"""Published VGGish weights, from a local file into our network.

In:  a file: safetensors, or a torch state dict such as `vggish-10086976.pth`. Out: a `VGGishEmbedding`.

Two ways of naming are known, and a file follows one of them throughout:

    ours (the published graph's)   conv1  conv2  conv3_1  conv3_2  conv4_1  conv4_2  fc1_1  fc1_2  fc2
    torchvggish: features.         0      3      6        8        11       13
                 embeddings.                                                         0      2      4

each with `.weight` and `.bias`, convolutions as [out, in, frames, bands] and linear layers as [out, in]. A
file is taken whole or refused: all tensors that are missing, left over, of another shape or not finite are
named. torchvggish keeps the published order (the channel runs fastest into fc1_1), so nothing is turned.
Nothing is downloaded, and no pickled code is run: torch files are opened with `weights_only`.

Source: harritaylor/torchvggish, whose weights are those of the AudioSet release.
"""

import os
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor

from hafm.errors import UsageError
from hafm.evaluate.embeddings.vggish import VGGish, VGGishConfig, VGGishEmbedding

__all__ = ["load_vggish", "vggish_of_weights"]

_TORCHVGGISH = {
    "features.0": "conv1",
    "features.3": "conv2",
    "features.6": "conv3_1",
    "features.8": "conv3_2",
    "features.11": "conv4_1",
    "features.13": "conv4_2",
    "embeddings.0": "fc1_1",
    "embeddings.2": "fc1_2",
    "embeddings.4": "fc2",
}
_GET = "give vggish-10086976.pth of torchvggish, or a safetensors file of the same tensors"


def load_vggish(
    path: str | os.PathLike[str], *, relu: bool = False, device: torch.device | str = "cpu"
) -> VGGishEmbedding:
    """VGGish with the weights of a local file.

    Args:
        path: a `.safetensors` file, or a torch state dict under any other ending.
        relu: whether a ReLU follows the embedding, see `hafm.evaluate.embeddings.vggish`.
        device: where it runs.

    Raises:
        UsageError: there is no such file, it cannot be read, or it does not hold VGGish.
    """
    file = Path(path)
    network = vggish_of_weights(_read(file), config=VGGishConfig(), name=f"'{file}'")
    return VGGishEmbedding(network=network, relu=relu, device=device)


def vggish_of_weights(weights: Mapping[str, Tensor], *, config: VGGishConfig, name: str) -> VGGish:
    """A network with given weights.

    Args:
        weights: by torchvggish's names or by ours. The tensors are used as they are where they are float32.
        config: the widths that they should have.
        name: what messages call the weights.

    Raises:
        UsageError: a tensor is missing, left over, of another shape, no float, or not finite.

    >>> small = VGGishConfig(channels=(1, 1, 1, 1, 1, 1), hidden=2, dim=3)
    >>> weights = dict(VGGish(small).state_dict())
    >>> _ = weights.pop("fc2.bias")
    >>> vggish_of_weights(weights, config=small, name="w.pth")
    Traceback (most recent call last):
    hafm.errors.UsageError: w.pth is not VGGish: fc2.bias is missing; give vggish-10086976.pth ...
    """
    foreign = any(_layer(key) in _TORCHVGGISH for key in weights)
    names = {_ours(key) if foreign else key: key for key in weights}
    with torch.device("meta"):
        network = VGGish(config)
    wanted = {key: tensor.shape for key, tensor in network.state_dict().items()}
    faults = [f"{_theirs(key) if foreign else key} is missing" for key in wanted if key not in names]
    faults += [f"{names[key]} does not belong to it" for key in names if key not in wanted]
    for key in wanted:
        if key in names and (fault := _fault(weights[names[key]], wanted[key])):
            faults.append(f"{names[key]} {fault}")
    if faults:
        raise UsageError(f"{name} is not VGGish: {', '.join(faults)}; {_GET}")
    tensors = {key: weights[names[key]].detach().float() for key in wanted}
    network.load_state_dict(tensors, strict=True, assign=True)
    return network.requires_grad_(False)


def _read(path: Path) -> Mapping[str, Tensor]:
    if not path.is_file():
        raise UsageError(f"there is no file '{path}'; {_GET}")
    try:
        if path.suffix == ".safetensors":
            from safetensors.torch import load_file

            loaded: object = load_file(path)
        else:
            loaded = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # one class for each way in which a file can be broken, some of them pickle's
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise UsageError(f"'{path}' cannot be read as weights ({reason}); {_GET}") from error
    if not isinstance(loaded, Mapping) or not all(isinstance(tensor, Tensor) for tensor in loaded.values()):
        raise UsageError(f"'{path}' holds other things than tensors by name; {_GET}")
    return loaded


def _layer(key: str) -> str:
    return key.rpartition(".")[0]


def _ours(key: str) -> str:
    """Our name of a tensor of torchvggish; what is none of them keeps its name.

    >>> _ours("features.13.bias"), _ours("pproc.pca_means")
    ('conv4_2.bias', 'pproc.pca_means')
    """
    layer, dot, kind = key.rpartition(".")
    return _TORCHVGGISH.get(layer, layer) + dot + kind


def _theirs(key: str) -> str:
    """torchvggish's name of a tensor of ours.

    >>> _theirs("fc2.weight")
    'embeddings.4.weight'
    """
    layer, dot, kind = key.rpartition(".")
    [theirs] = [name for name, ours in _TORCHVGGISH.items() if ours == layer]
    return theirs + dot + kind


def _fault(tensor: Tensor, shape: torch.Size) -> str | None:
    if tensor.shape != shape:
        return f"is {list(tensor.shape)} and should be {list(shape)}"
    if not tensor.is_floating_point():
        return f"is {tensor.dtype} and should be float32"
    if not bool(tensor.isfinite().all()):
        return "holds NaN or infinity"
    return None

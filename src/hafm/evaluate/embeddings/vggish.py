"""VGGish: the network that the Fréchet audio distance of the literature listens with.

In:  log-mel patches `[B, 96, 64]` (`vggish_frontend`). Out: embeddings `[B, 128]`.

    conv1   3x3, 1 -> 64      96 x 64    pool 2x2
    conv2   3x3, 64 -> 128    48 x 32    pool
    conv3_1 3x3, 128 -> 256   24 x 16
    conv3_2 3x3, 256 -> 256              pool
    conv4_1 3x3, 256 -> 512   12 x 8
    conv4_2 3x3, 512 -> 512              pool -> 6 x 4
    fc1_1   12288 -> 4096
    fc1_2   4096 -> 4096
    fc2     4096 -> 128, the embedding           72 141 184 parameters in all

Every layer but the last is followed by a ReLU. The names are those of the published graph. Its images are
[frames, bands, channels], and so is what fc1_1 reads: the channel runs fastest.

Conventions, where published code differs:

* *ReLU after the embedding*: off here. The graph in tensorflow/models returns values before activation, and
  the packages frechet-audio-distance and fadtk take them so by default; torchvggish by itself applies a ReLU,
  as `relu=True` does.
* *Postprocessing*: none. AudioSet's PCA, whitening and 8-bit quantisation belong to its released features;
  Fréchet distances are computed on raw embeddings, and the two packages do so by default.
* *Overlap, level*: patches do not overlap and the sound keeps its level, as in both packages. The first FAD
  code (google-research) scales each file's peak to 1, by 20 dB at most, and can overlap its windows.

Distances under other choices are other numbers: name them beside the figure.

Weights come from a local file: safetensors, or a torch state dict such as `vggish-10086976.pth`. Its tensors
have the published graph's names or torchvggish's throughout, each with `.weight` and `.bias`, convolutions as
[out, in, frames, bands] and linear layers as [out, in]. torchvggish keeps the published order (the channel
runs fastest into fc1_1), so nothing is turned.

Source: Hershey et al., "CNN architectures for large-scale audio classification" (2017); Kilgour et al.,
"Fréchet Audio Distance" (2019); the AudioSet release; harritaylor/torchvggish, whose weights are those of
that release. Paper 4.1.
"""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float, Float32
from torch import Tensor, nn
from torch.nn.functional import max_pool2d, relu

from hafm.errors import UsageError
from hafm.evaluate.embeddings.published import read_tensors, take_whole
from hafm.evaluate.embeddings.vggish_frontend import (
    NUM_BANDS,
    PARAMETERS,
    PATCH_FRAMES,
    SAMPLE_RATE,
    log_mel_patches,
)
from hafm.tokens.fingerprint import fingerprint

__all__ = ["NUM_PARAMETERS", "VGGish", "VGGishConfig", "VGGishEmbedding", "load_vggish", "vggish_of_weights"]

NUM_PARAMETERS = 72_141_184
"""Of the published network."""

_POOLED = ("conv1", "conv2", "conv3_2", "conv4_2")
_CONVOLUTIONS = ("conv1", "conv2", "conv3_1", "conv3_2", "conv4_1", "conv4_2")
_BATCH_PATCHES = 16

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
_OURS_TO_THEIRS = {ours: theirs for theirs, ours in _TORCHVGGISH.items()}
_GET = "give vggish-10086976.pth of torchvggish, or a safetensors file of the same tensors"


@dataclass(frozen=True, kw_only=True)
class VGGishConfig:
    """Widths of the layers, by default the published ones; UsageError where one is missing, or below 1."""

    channels: tuple[int, ...] = (64, 128, 256, 256, 512, 512)
    hidden: int = 4096
    dim: int = 128

    def __post_init__(self) -> None:
        if len(self.channels) != len(_CONVOLUTIONS) or min(*self.channels, self.hidden, self.dim) < 1:
            raise UsageError(
                f"VGGish has six convolutions, and all widths are 1 or more, not {self}; "
                "leave the arguments out for the published network"
            )


class VGGish(nn.Module):
    """The network, from patches to values before activation.

    >>> with torch.device("meta"):
    ...     network = VGGish(VGGishConfig())
    >>> sum(weight.numel() for weight in network.parameters()) == NUM_PARAMETERS
    True
    """

    def __init__(self, config: VGGishConfig) -> None:
        super().__init__()
        self.config = config
        before = (1, *config.channels[:-1])
        for name, inputs, outputs in zip(_CONVOLUTIONS, before, config.channels, strict=True):
            self.add_module(name, nn.Conv2d(inputs, outputs, kernel_size=3, padding=1))
        shrink = 2 ** len(_POOLED)
        flat = (PATCH_FRAMES // shrink) * (NUM_BANDS // shrink) * config.channels[-1]
        self.fc1_1 = nn.Linear(flat, config.hidden)
        self.fc1_2 = nn.Linear(config.hidden, config.hidden)
        self.fc2 = nn.Linear(config.hidden, config.dim)

    def forward(self, patches: Float[Tensor, "B 96 64"]) -> Float[Tensor, "B D"]:
        """Embeddings of patches, before activation."""
        image = patches[:, None]
        for name in _CONVOLUTIONS:
            image = relu(self.get_submodule(name)(image))
            if name in _POOLED:
                image = max_pool2d(image, 2)
        # [B, C, frames, bands] -> [B, frames, bands, C], the order in which fc1_1 was trained.
        flat = image.permute(0, 2, 3, 1).flatten(1)
        embeddings: Tensor = self.fc2(relu(self.fc1_2(relu(self.fc1_1(flat)))))
        return embeddings


class VGGishEmbedding:
    """VGGish as an `Embedding`: 128 numbers for each 0.96 s of sound, behind a ReLU if asked for."""

    sample_rate = SAMPLE_RATE

    def __init__(self, *, network: VGGish, relu: bool = False, device: torch.device | str = "cpu") -> None:
        self._network = network.eval().to(device)
        self._relu = relu
        self._device = torch.device(device)
        self.name = "vggish-relu" if relu else "vggish"
        self.dim = network.config.dim
        config = {"embedding": "vggish", "relu": relu, "front_end": PARAMETERS}
        self._fingerprint = fingerprint(config, network.state_dict())

    @torch.inference_mode()
    def embed(self, waveform: Float[Tensor, " T"]) -> Float32[np.ndarray, "N D"]:
        """Points of a sound at 16 kHz, one per patch; AudioContentError under 0.975 s, or not finite."""
        patches = log_mel_patches(waveform.to(self._device))
        rows = torch.cat([self._network(batch) for batch in patches.split(_BATCH_PATCHES)])
        points: Float32[np.ndarray, "N D"] = (rows.clamp_min(0.0) if self._relu else rows).cpu().numpy()
        return points

    def fingerprint(self) -> str:
        """SHA-256 (hex) of front end, activation and weights."""
        return self._fingerprint


# ---- published weights


def load_vggish(
    path: str | os.PathLike[str], *, relu: bool = False, device: torch.device | str = "cpu"
) -> VGGishEmbedding:
    """VGGish with the weights of a local file, which `read_tensors` reads.

    Raises:
        UsageError: there is no such file, it cannot be read, or it does not hold VGGish.
    """
    file = Path(path)
    if not file.is_file():
        raise UsageError(f"there is no file '{file}'; {_GET}")
    weights = read_tensors(file, fix=_GET)
    network = vggish_of_weights(weights, config=VGGishConfig(), name=f"'{file}'")
    return VGGishEmbedding(network=network, relu=relu, device=device)


def vggish_of_weights(weights: Mapping[str, Tensor], *, config: VGGishConfig, name: str) -> VGGish:
    """A network with given weights.

    They have torchvggish's names or ours, and are used as they are where they are float32.

    Raises:
        UsageError: a tensor is missing, left over, of another shape, no float, or not finite.

    >>> small = VGGishConfig(channels=(1, 1, 1, 1, 1, 1), hidden=2, dim=3)
    >>> weights = dict(VGGish(small).state_dict())
    >>> _ = weights.pop("fc2.bias")
    >>> vggish_of_weights(weights, config=small, name="w.pth")
    Traceback (most recent call last):
    hafm.errors.UsageError: w.pth is not VGGish: fc2.bias is missing; give vggish-10086976.pth ...
    """
    foreign = any(key.rpartition(".")[0] in _TORCHVGGISH for key in weights)
    with torch.device("meta"):
        network = VGGish(config)
    take_whole(
        network,
        {_renamed(key, _TORCHVGGISH) if foreign else key: tensor.detach() for key, tensor in weights.items()},
        what=f"{name} is not VGGish",
        fix=_GET,
        named=(lambda key: _renamed(key, _OURS_TO_THEIRS)) if foreign else str,
    )
    return network


def _renamed(key: str, layers: Mapping[str, str]) -> str:
    """The other name of a tensor; one of any other layer stays as it is.

    >>> _renamed("features.13.bias", _TORCHVGGISH), _renamed("pproc.pca_means", _TORCHVGGISH)
    ('conv4_2.bias', 'pproc.pca_means')
    >>> _renamed("fc2.weight", _OURS_TO_THEIRS), _renamed("pproc.pca_means", _OURS_TO_THEIRS)
    ('embeddings.4.weight', 'pproc.pca_means')
    """
    layer, dot, kind = key.rpartition(".")
    return layers.get(layer, layer) + dot + kind

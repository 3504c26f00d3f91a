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

Source: Hershey et al., "CNN architectures for large-scale audio classification" (2017); Kilgour et al.,
"Fréchet Audio Distance" (2019); the AudioSet release. Paper 4.1.
"""

import functools
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Float32
from torch import Tensor, nn
from torch.nn.functional import max_pool2d, relu

from hafm.errors import UsageError
from hafm.evaluate.embeddings.vggish_frontend import (
    NUM_BANDS,
    PARAMETERS,
    PATCH_FRAMES,
    SAMPLE_RATE,
    log_mel_patches,
)
from hafm.tokens.fingerprint import fingerprint

__all__ = ["NUM_PARAMETERS", "VGGish", "VGGishConfig", "VGGishEmbedding"]

NUM_PARAMETERS = 72_141_184
"""Of the published network."""

_POOLED = ("conv1", "conv2", "conv3_2", "conv4_2")
_CONVOLUTIONS = ("conv1", "conv2", "conv3_1", "conv3_2", "conv4_1", "conv4_2")
_BATCH_PATCHES = 16


@dataclass(frozen=True, kw_only=True)
class VGGishConfig:
    """Widths of the layers; the defaults are the published ones, and tests use smaller ones.

    Args:
        channels: of the six convolutions.
        hidden: of fc1_1 and fc1_2.
        dim: of the embedding.

    Raises:
        UsageError: not six convolutions, or a width below 1.
    """

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

    Args:
        config: widths.

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
    """VGGish as an `Embedding`: 128 numbers for each 0.96 s of sound.

    Args:
        network: with its weights; it is put into evaluation mode.
        relu: whether a ReLU follows the embedding, see the top of this file.
        device: where the network runs.
    """

    sample_rate = SAMPLE_RATE

    def __init__(self, *, network: VGGish, relu: bool = False, device: torch.device | str = "cpu") -> None:
        self._network = network.eval().to(device)
        self._relu = relu
        self._device = torch.device(device)
        self.name = "vggish-relu" if relu else "vggish"
        self.dim = network.config.dim

    @torch.inference_mode()
    def embed(self, waveform: Float[Tensor, " T"]) -> Float32[np.ndarray, "N D"]:
        """Embeddings of a sound at 16 kHz, one for each whole 0.96 s.

        Shape:
            `[T] -> [N, 128]`, N = `vggish_frontend.num_patches(T)`

        Raises:
            AudioContentError: shorter than 0.975 s, or not finite.
        """
        patches = log_mel_patches(waveform.to(self._device))
        rows = torch.cat([self._network(batch) for batch in patches.split(_BATCH_PATCHES)])
        points: Float32[np.ndarray, "N D"] = (rows.clamp_min(0.0) if self._relu else rows).cpu().numpy()
        return points

    def fingerprint(self) -> str:
        """SHA-256 (hex) of front end, activation and weights."""
        return self._fingerprint

    @functools.cached_property
    def _fingerprint(self) -> str:
        config = {"embedding": "vggish", "relu": self._relu, "front_end": PARAMETERS}
        return fingerprint(config, self._network.state_dict())

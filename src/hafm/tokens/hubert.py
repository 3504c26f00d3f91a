"""HuBERT's features, as in the paper: what a hidden layer of a speech model says of each frame.

In:  waveforms `[B, T]` at 16 kHz, any level, T >= 1. Out: hidden states after layer 9, `[B, F, 1024]` at 50
Hz.

Three traps of the model, and what is done about them:

* *Frames.* Its convolutions have no padding (a window of 400 samples, a hop of 320), so by itself it makes
  499 frames of 10 s and none of less than 400 samples. The end is padded with zeros to `320 (F - 1) + 400`
  samples, `F = ceil(T / 320)`: 80 more than whole frames.
* *Layers.* `hidden_states[9]` is taken, the raw output of the ninth layer. `last_hidden_state` of a model cut
  after nine layers is another thing: the pre-norm variant (Large) normalises it once more. Layers above the
  ninth are dropped.
* *Level.* Samples are normalised to mean 0 and variance 1 over the whole sound, before the padding, as the
  model's own feature extractor does.

Attention is quadratic in time. Sounds above 30 s go through in windows that overlap by 4 s, of which the
outer 2 s are dropped; up to 30 s the result is that of the whole.

Source: section 3.2 of the paper; Hsu et al., "HuBERT" (2021); weights through the transformers package.
"""

import math
from collections.abc import Iterator
from fractions import Fraction
from typing import TYPE_CHECKING, Any, Self

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import pad

from hafm.errors import UsageError
from hafm.tokens.fingerprint import fingerprint
from hafm.tokens.pinned import load_pinned

if TYPE_CHECKING:
    from transformers import HubertModel

__all__ = ["HUBERT_REPO", "HUBERT_REVISION", "HubertFeatures"]

HUBERT_REPO = "facebook/hubert-large-ll60k"
HUBERT_REVISION = "ff022d095678a2995f3c49bab18a96a9e553f782"
"""The last commit of the repository (November 2021)."""

SAMPLE_RATE = 16_000
HOP_SAMPLES = 320
WINDOW_SAMPLES = 400
VARIANCE_FLOOR = 1e-7  # of the model's own feature extractor
SPAN_FRAMES = 1_500
CONTEXT_FRAMES = 100


class HubertFeatures:
    """Hidden states of one layer; implements `hafm.tokens.base.SemanticFeatures`.

    Args:
        model: a `HubertModel`; it is cut after `layer`, put into evaluation mode and frozen.
        layer: 1 to the number of layers the model has.

    Raises:
        UsageError: the model has no such layer, or other rates than 16 kHz and 50 Hz.
    """

    def __init__(self, *, model: "HubertModel", layer: int = 9) -> None:
        layers = model.encoder.layers
        if not 1 <= layer <= len(layers):
            raise UsageError(f"layer {layer} asked for, but this HuBERT has layers 1 to {len(layers)}")
        strides, kernels = model.config.conv_stride, model.config.conv_kernel
        window = 1 + sum((kernel - 1) * math.prod(strides[:depth]) for depth, kernel in enumerate(kernels))
        if (math.prod(strides), window) != (HOP_SAMPLES, WINDOW_SAMPLES):
            raise UsageError(
                f"this HuBERT has hop {math.prod(strides)} and window {window} samples, "
                f"expected {HOP_SAMPLES} and {WINDOW_SAMPLES}; take one for 16 kHz such as {HUBERT_REPO}"
            )
        model.encoder.layers = layers[:layer]
        self.layer = layer
        self.sample_rate, self.frame_rate = SAMPLE_RATE, Fraction(SAMPLE_RATE, HOP_SAMPLES)
        self.dim = int(model.config.hidden_size)
        # Any: the annotations in transformers do not fit the way its models are called.
        self._model: Any = model.requires_grad_(False)
        self._model.train(False)
        self._fingerprint: str | None = None

    @classmethod
    def from_hub(cls, repo: str = HUBERT_REPO, *, revision: str = HUBERT_REVISION, layer: int = 9) -> Self:
        """Loads pinned weights, from the local cache or from the hub.

        Args:
            repo: on the Hugging Face hub, or a local folder.
            revision: commit, 40 hex digits. A branch may change under a model that was trained on its
                features.
            layer: which hidden state; later layers are not loaded.

        Raises:
            UsageError: the revision is no commit hash.
            BundleNotFound: neither the cache nor the hub has it.
        """
        from transformers import HubertModel

        def load() -> HubertModel:
            return HubertModel.from_pretrained(repo, revision=revision, num_hidden_layers=layer)

        model = load_pinned(load, repo=repo, revision=revision)
        return cls(model=model, layer=layer)

    @torch.no_grad()
    def extract(self, waveform: Float[Tensor, "B T"]) -> Float[Tensor, "B F D"]:
        """Hidden states of `F = ceil(T / 320)` frames.

        Args:
            waveform: one sound per row at 16 kHz, T >= 1.

        Shape: `[B, T] -> [B, F, D]`

        Raises:
            ValueError: there is not a single sample.
        """
        num_samples = waveform.shape[1]
        if num_samples == 0:
            raise ValueError(f"waveform must have at least one sample, got shape {tuple(waveform.shape)}")
        num_frames = math.ceil(num_samples / HOP_SAMPLES)
        sound = waveform.float()
        variance, mean = torch.var_mean(sound, dim=1, keepdim=True, correction=0)
        sound = (sound - mean) / (variance + VARIANCE_FLOOR).sqrt()
        sound = pad(sound, (0, HOP_SAMPLES * (num_frames - 1) + WINDOW_SAMPLES - num_samples))
        parts = []
        for first, keep_from, keep_to, last in _spans(num_frames):
            piece = sound[:, HOP_SAMPLES * first : HOP_SAMPLES * (last - 1) + WINDOW_SAMPLES]
            states = self._model(piece, output_hidden_states=True).hidden_states[self.layer]
            parts.append(states[:, keep_from - first : keep_to - first])
        return torch.cat(parts, dim=1)

    def fingerprint(self) -> str:
        """SHA-256 of the layer number and of all weights up to it; taken once."""
        if self._fingerprint is None:
            config = {
                "kind": "hubert",
                "layer": self.layer,
                "stable": bool(self._model.config.do_stable_layer_norm),
            }
            self._fingerprint = fingerprint(config, self._model.state_dict())
        return self._fingerprint

    def to(self, device: torch.device | str) -> Self:
        """These features, with the model on `device`."""
        self._model.to(device)
        return self


def _spans(num_frames: int) -> Iterator[tuple[int, int, int, int]]:
    """(first, keep_from, keep_to, last): frames first..last are computed, keep_from..keep_to are kept.

        |first    keep_from                keep_to    last|
        |--context--|-----------keep----------|--context--|
                            |--context--|-----------keep----------|-- ...

    >>> list(_spans(1500))
    [(0, 0, 1500, 1500)]
    >>> list(_spans(2000))
    [(0, 0, 1400, 1500), (1300, 1400, 2000, 2000)]
    """
    keep_from = 0
    while keep_from < num_frames:
        first = max(0, keep_from - CONTEXT_FRAMES)
        last = min(first + SPAN_FRAMES, num_frames)
        keep_to = last if last == num_frames else last - CONTEXT_FRAMES
        yield first, keep_from, keep_to, last
        keep_from = keep_to

"""EnCodec as a codec of HAFM: 24 kHz sound as 75 frames per second of 8 codebooks with 1024 entries.

In:  waveforms `[B, 1, T]` at 24 kHz, T >= 1. Out: codes `[B, 8, F]`, `F = ceil(T / 320)`; and back, `[B, 1,
320 F]`.

The end is padded with zeros to whole frames. Of fewer codebooks the first k decode by themselves: the
quantiser adds up one residual per codebook.

The encoder's convolutions take about 40 MB per second of sound. They look back by less than two frames and
never ahead, so sounds above 30 s go through them in pieces, and the result is that of the whole (to
rounding). What follows them, an LSTM that remembers everything, runs over all frames at once, which take
little. Decoding takes the whole sound at once.

Source: section 3.2 of the paper (6.0 kbps = 8 codebooks x 10 bits x 75 Hz); Defossez et al., "High Fidelity
Neural Audio Compression" (2022); weights through the transformers package.
"""

import math
from fractions import Fraction
from typing import TYPE_CHECKING, Any, Self

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn.functional import pad

from hafm.errors import UsageError
from hafm.tokens.fingerprint import fingerprint
from hafm.tokens.pinned import load_pinned

if TYPE_CHECKING:
    from transformers import EncodecModel

__all__ = ["ENCODEC_REPO", "ENCODEC_REVISION", "EncodecCodec"]

ENCODEC_REPO = "facebook/encodec_24khz"
ENCODEC_REVISION = "c1dbe2ae3f1de713481a3b3e7c47f357092ee040"

PIECE_FRAMES = 2_250


class EncodecCodec:
    """EnCodec at one bandwidth; implements `hafm.tokens.base.Codec`.

    Args:
        model: a mono `EncodecModel` that neither normalises nor chunks, as `facebook/encodec_24khz`; it is
            put into evaluation mode and frozen.
        bandwidth_kbps: one of the model's; decides the number of codebooks.

    Raises:
        UsageError: another kind of EnCodec, or a bandwidth that it does not have.
    """

    def __init__(self, *, model: "EncodecModel", bandwidth_kbps: float = 6.0) -> None:
        config = model.config
        if config.audio_channels != 1 or config.normalize or config.chunk_length_s is not None:
            raise UsageError(
                "this EnCodec is stereo, normalises or works in chunks (the 48 kHz one does all three), "
                f"and its codes alone do not decode; take {ENCODEC_REPO}"
            )
        if not config.use_causal_conv or config.norm_type != "weight_norm":
            raise UsageError(f"this EnCodec looks ahead, so long sounds do not fit it; take {ENCODEC_REPO}")
        if config.sampling_rate % config.hop_length:
            raise UsageError(
                f"this EnCodec has frames of {config.hop_length} samples at {config.sampling_rate} Hz; "
                f"take one whose second holds whole frames, such as {ENCODEC_REPO}"
            )
        if bandwidth_kbps not in config.target_bandwidths:
            raise UsageError(
                f"this EnCodec has no bandwidth of {bandwidth_kbps} kbps, "
                f"choose from {list(config.target_bandwidths)}"
            )
        self.bandwidth_kbps = bandwidth_kbps
        # Any: the annotations in transformers do not fit the way its models are called.
        self._model: Any = model.requires_grad_(False)
        self._model.train(False)
        self._fingerprint: str | None = None
        self.sample_rate = int(config.sampling_rate)
        self.hop_samples = int(config.hop_length)
        self.frame_rate = Fraction(self.sample_rate, self.hop_samples)
        self.num_codebooks = int(self._model.quantizer.get_num_quantizers_for_bandwidth(bandwidth_kbps))
        self.cardinality = int(config.codebook_size)
        layers = list(self._model.encoder.layers)
        cut = next(number for number, layer in enumerate(layers) if hasattr(layer, "lstm"))
        self._convolutions, self._rest = layers[:cut], layers[cut:]
        self._context_frames = math.ceil(_look_back(self._convolutions) / self.hop_samples)

    @classmethod
    def from_hub(
        cls, repo: str = ENCODEC_REPO, *, revision: str = ENCODEC_REVISION, bandwidth_kbps: float = 6.0
    ) -> Self:
        """Loads pinned weights, from the local cache or from the hub.

        Args:
            repo: on the Hugging Face hub, or a local folder.
            revision: commit, 40 hex digits. Codes of another commit may mean something else.
            bandwidth_kbps: decides the number of codebooks.

        Raises:
            UsageError: the revision is no commit hash.
            BundleNotFound: neither the cache nor the hub has it.
        """
        from transformers import EncodecModel

        model = load_pinned(
            lambda: EncodecModel.from_pretrained(repo, revision=revision), repo=repo, revision=revision
        )
        return cls(model=model, bandwidth_kbps=bandwidth_kbps)

    @torch.no_grad()
    def encode(self, waveform: Float[Tensor, "B 1 T"]) -> Int[Tensor, "B K F"]:
        """Codes of `F = ceil(T / 320)` frames; the end is padded with zeros.

        Args:
            waveform: one sound per row, T >= 1.

        Shape: `[B, 1, T] -> [B, K, ceil(T / 320)]`

        Raises:
            ValueError: there is not a single sample.
        """
        num_samples = waveform.shape[-1]
        if num_samples == 0:
            raise ValueError(f"waveform must have at least one sample, got shape {tuple(waveform.shape)}")
        whole = pad(waveform, (0, -num_samples % self.hop_samples))
        codes: Tensor = self._model.quantizer.encode(self._latent(whole), self.bandwidth_kbps).transpose(0, 1)
        assert codes.shape[-1] == math.ceil(num_samples / self.hop_samples), codes.shape
        return codes

    def _latent(self, waveform: Float[Tensor, "B 1 T"]) -> Float[Tensor, "B D F"]:
        """What the quantiser gets, for whole frames of sound.

        |context|------piece------|
                          |context|------piece------| ...
        """
        hop, num_frames = self.hop_samples, waveform.shape[-1] // self.hop_samples
        pieces = []
        for first in range(0, num_frames, PIECE_FRAMES):
            last = min(first + PIECE_FRAMES, num_frames)
            low = max(first - self._context_frames, 0)
            hidden = waveform[..., low * hop : last * hop]
            for layer in self._convolutions:
                hidden = layer(hidden)
            pieces.append(hidden[..., first - low :])
        # One piece stays as it is laid out in memory, which decides how the LSTM rounds.
        latent = pieces[0] if len(pieces) == 1 else torch.cat(pieces, dim=-1)
        for layer in self._rest:
            latent = layer(latent)
        return latent

    @torch.no_grad()
    def decode(self, codes: Int[Tensor, "B k F"]) -> Float[Tensor, "B 1 samples"]:
        """The waveform of the first k codebooks.

        Args:
            codes: ids below `cardinality`, 1 <= k <= K.

        Shape: `[B, k, F] -> [B, 1, 320 F]`

        Raises:
            ValueError: no codebook or more than K, no frame, or ids out of range.
        """
        _, num_given, num_frames = codes.shape
        if not 1 <= num_given <= self.num_codebooks or num_frames == 0:
            raise ValueError(
                f"codes must be [B, 1..{self.num_codebooks}, F] with at least one frame, "
                f"got shape {tuple(codes.shape)}"
            )
        if codes.min() < 0 or codes.max() >= self.cardinality:
            raise ValueError(
                f"ids must lie in 0..{self.cardinality - 1}, got {int(codes.min())}..{int(codes.max())}"
            )
        sound: Tensor = self._model.decode(codes[None], [None], return_dict=True).audio_values
        return sound[..., : num_frames * self.hop_samples]

    def fingerprint(self) -> str:
        """SHA-256 of bandwidth and weights; taken once."""
        if self._fingerprint is None:
            config = {"kind": "encodec", "bandwidth_kbps": self.bandwidth_kbps}
            self._fingerprint = fingerprint(config, self._model.state_dict())
        return self._fingerprint

    def to(self, device: torch.device | str) -> Self:
        """The codec on `device`."""
        self._model.to(device)
        return self


def _look_back(layers: list[Any]) -> int:
    """Samples before a frame's first that its value depends on.

    Each causal convolution looks back by `padding_total` of its own samples, each of which is as long as the
    strides before it multiply to.
    """
    samples, stride = 0, 1
    for layer in layers:
        for module in layer.modules():
            if hasattr(module, "padding_total"):
                samples += int(module.padding_total) * stride
                stride *= int(module.stride)
    return samples

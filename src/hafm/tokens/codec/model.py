"""`SpectralCodec`: the built-in codec, whole.

In:  waveform [B, 1, T] at 24 kHz, full scale 1.0, best at about -20 dBFS RMS (what it was trained on).
Out: codes [B, 8, ceil(T / 320)] and, from codes, waveform [B, 1, F * 320].

    waveform -> |spectrum| -> level = log10(magnitude + floor) -> encoder -> latent -> quantiser -> codes
    codes -> latent -> decoder -> level, phase advance -> accumulate -> make consistent -> waveform

Conventions: long inputs are worked through in pieces of `piece_frames` frames. The pieces overlap by the
receptive fields of `CodecConfig`, and the running phase is handed on, so the result is that of one piece
(to rounding) and memory does not grow with the input beyond the input itself and the result.

Source: section 3.2 of the paper for what a codec has to deliver (75 Hz, 8 x 1024); the codec is our own.
Frame-rate networks around an inverse Fourier transform: Siuzdak, "Vocos", 2023, which, unlike us, predicts
phases themselves.
"""

from fractions import Fraction
from pathlib import Path
from typing import NamedTuple, Self

import torch
from jaxtyping import Complex, Float, Int
from torch import Tensor, nn

from hafm.errors import UsageError
from hafm.tokens.codec import storage
from hafm.tokens.codec.blocks import ConvBlock
from hafm.tokens.codec.config import CodecConfig
from hafm.tokens.codec.phase import accumulate, make_consistent
from hafm.tokens.codec.quantizer import ResidualQuantizer
from hafm.tokens.codec.stft import analyse, overlap_add
from hafm.tokens.fingerprint import fingerprint

__all__ = ["Prediction", "SpectralCodec", "level_of", "magnitude_of"]

FLOOR = 1e-6
"""Magnitude (-120 dB under a full-scale sine) below which levels no longer follow."""

HIGHEST_LEVEL = 1.0
"""A full-scale sine has level 0; more than +20 dB is never right, whatever codes came in."""


class Prediction(NamedTuple):
    """What the decoder says about every frame and bin."""

    level: Float[Tensor, "B F bins"]
    """log10 of the magnitude (see `level_of`)."""
    direction: Float[Tensor, "B F bins 2"]
    """(cos, sin) of the phase advance, up to a positive factor."""

    def advance(self) -> Float[Tensor, "B F bins"]:
        """Radians that the phase turns from the frame before, beyond the bin's centre frequency."""
        return torch.atan2(self.direction[..., 1], self.direction[..., 0])


class SpectralCodec(nn.Module):
    """The built-in codec. Untrained when built; `load` gives a trained one.

    Args:
        config: sizes.

    >>> codec = SpectralCodec(config=CodecConfig(width=16, hidden=16, phase_iterations=2))
    >>> codes = codec.encode(torch.zeros(1, 1, 24_001))
    >>> codes.shape, codec.decode(codes[:, :4]).shape
    (torch.Size([1, 8, 76]), torch.Size([1, 1, 24320]))
    """

    level_mean: Float[Tensor, " bins"]

    def __init__(self, *, config: CodecConfig) -> None:
        super().__init__()
        self.config = config
        block = {"width": config.width, "hidden": config.hidden, "kernel_frames": config.kernel_frames}
        # Where a bin's level usually lies, measured before training: the networks see and predict
        # departures from it.
        self.register_buffer("level_mean", torch.full((config.num_bins,), -3.5))
        self.encoder = nn.Sequential(
            nn.Linear(config.num_bins, config.width),
            *(ConvBlock(**block) for _ in range(config.encoder_blocks)),
            nn.LayerNorm(config.width),
        )
        self.quantizer = ResidualQuantizer(
            width=config.width,
            num_codebooks=config.num_codebooks,
            cardinality=config.cardinality,
            codebook_dim=config.codebook_dim,
        )
        self.decoder = nn.Sequential(
            *(ConvBlock(**block) for _ in range(config.decoder_blocks)),
            nn.LayerNorm(config.width),
            nn.Linear(config.width, 3 * config.num_bins),
        )

    @property
    def sample_rate(self) -> int:
        """Samples a second."""
        return self.config.sample_rate

    @property
    def frame_rate(self) -> Fraction:
        """Frames a second."""
        return self.config.frame_rate

    @property
    def num_codebooks(self) -> int:
        """K."""
        return self.config.num_codebooks

    @property
    def cardinality(self) -> int:
        """Entries a codebook."""
        return self.config.cardinality

    @torch.no_grad()
    def encode(self, waveform: Float[Tensor, "B 1 T"], *, piece_frames: int = 3_000) -> Int[Tensor, "B K F"]:
        """Codes of a waveform.

        Args:
            waveform: [B, 1, T], T >= 1, finite, on the codec's device; zeros are added up to whole frames.
            piece_frames: frames that are worked on at a time; changes memory, not the codes (but for
                entries that are equally near to rounding).

        Shape:
            [B, 1, T] -> [B, K, ceil(T / 320)]

        Raises:
            UsageError: the shape is another, or there are no samples.
        """
        if waveform.ndim != 3 or waveform.shape[1] != 1 or waveform.shape[2] == 0:
            raise UsageError(
                f"the codec got a waveform of shape {list(waveform.shape)}: "
                "it takes [batch, 1, samples], mono, 1 sample or more"
            )
        hop, context = self.config.hop_samples, self.config.encoder_context_frames
        num_frames = -(-waveform.shape[-1] // hop)
        pieces = []
        for first in range(0, num_frames, piece_frames):
            last = min(first + piece_frames, num_frames)
            low, high = max(first - context, 0), min(last + context, num_frames)
            spectrum = analyse(waveform[:, 0, low * hop : high * hop].float(), self.config)
            codes = self.quantizer(self.latent(spectrum)).codes
            pieces.append(codes[:, :, first - low : last - low])
        return torch.cat(pieces, dim=-1)

    @torch.no_grad()
    def decode(self, codes: Int[Tensor, "B k F"], *, piece_frames: int = 1_500) -> Float[Tensor, "B 1 T"]:
        """The waveform that codes stand for. It is the same every time: no randomness.

        Args:
            codes: [B, k, F], F >= 1: the first k codebooks, 1 <= k <= K. Fewer sound coarser.
            piece_frames: frames that are worked on at a time; changes memory, not the sound.

        Shape:
            [B, k, F] -> [B, 1, F * 320]

        Raises:
            UsageError: the shape is another, or an id is not in 0 .. cardinality - 1.
        """
        self._check(codes)
        hop, context = self.config.hop_samples, self.config.phase_context_frames
        batch, _, num_frames = codes.shape
        silent_start = torch.zeros(batch, self.config.num_bins, device=codes.device)
        phase_before, pieces = silent_start, []
        for first in range(0, num_frames, piece_frames):
            last = min(first + piece_frames, num_frames)
            low, high = max(first - context, 0), min(last + context, num_frames)
            predicted = self._predict_frames(codes, low, high)
            phase = accumulate(predicted.advance(), phase_before, self.config)
            spectrum = make_consistent(magnitude_of(predicted.level), phase, self.config)
            sound = overlap_add(spectrum, self.config)
            pieces.append(sound[:, (first - low) * hop : (last - low) * hop])
            # The next piece starts `context` frames before `last`; its running sum goes on from the frame
            # before that.
            next_low = max(last - context, 0)
            phase_before = phase[:, next_low - 1 - low] if next_low else silent_start
        return torch.cat(pieces, dim=-1).unsqueeze(1)

    def latent(self, spectrum: Complex[Tensor, "B F bins"]) -> Float[Tensor, "B F D"]:
        """What the quantiser gets, of the magnitudes of a spectrum (`stft.analyse`); for training."""
        latent: Tensor = self.encoder(level_of(spectrum.abs()) - self.level_mean)
        return latent.float()

    def predict(self, latent: Float[Tensor, "B F D"]) -> Prediction:
        """What the decoder makes of a latent, whether it was quantised or not; for training."""
        level, cosine, sine = self.decoder(latent).float().chunk(3, dim=-1)
        return Prediction(
            (level + self.level_mean).clamp_max(HIGHEST_LEVEL), torch.stack((cosine, sine), dim=-1)
        )

    def round_weights(self) -> Self:
        """Round every weight to what float16 holds, in place: memory is then what will be on disk."""
        with torch.no_grad():
            for tensor in self.state_dict().values():
                tensor.copy_(tensor.half())
        return self

    def fingerprint(self) -> str:
        """SHA-256 (hex) of configuration and weights.

        >>> codec = SpectralCodec(config=CodecConfig(width=8, hidden=8))
        >>> before = codec.fingerprint()
        >>> codec.quantizer.codebooks[0, 0, 0] += 1
        >>> codec.fingerprint() == before
        False
        """
        return fingerprint(self.config, self.state_dict())

    def save(self, folder: str | Path) -> None:
        """Write the codec to a folder; see `hafm.tokens.codec.storage.save`."""
        storage.save(self, Path(folder))

    @classmethod
    def load(cls, folder: str | Path) -> "SpectralCodec":
        """Read a codec from a folder; see `hafm.tokens.codec.storage.load`."""
        return storage.load(Path(folder))

    def _predict_frames(self, codes: Int[Tensor, "B k F"], low: int, high: int) -> Prediction:
        """The prediction for frames low .. high - 1, from their codes and the context that decides them."""
        context = self.config.decoder_context_frames
        start = max(low - context, 0)
        predicted = self.predict(self.quantizer.latent_of(codes[:, :, start : high + context]))
        kept = slice(low - start, high - start)
        return Prediction(predicted.level[:, kept], predicted.direction[:, kept])

    def _check(self, codes: Int[Tensor, "B k F"]) -> None:
        if codes.ndim != 3 or not 1 <= codes.shape[1] <= self.num_codebooks or codes.shape[2] == 0:
            raise UsageError(
                f"the codec got codes of shape {list(codes.shape)}: it takes [batch, codebooks, frames], "
                f"1 to {self.num_codebooks} codebooks, 1 frame or more"
            )
        low, high = int(codes.min()), int(codes.max())
        if low < 0 or high >= self.cardinality:
            raise UsageError(
                f"the codec got ids from {low} to {high}: they must be in 0 to {self.cardinality - 1}; "
                "are offsets or the BOS id still in them?"
            )


def level_of(magnitude: Float[Tensor, "..."]) -> Float[Tensor, "..."]:
    """log10 of magnitude, flat below -120 dB.

    >>> level_of(torch.tensor([0.1, 0.001, 0.0]))
    tensor([-1.0000, -2.9996, -6.0000])
    """
    return torch.log10(magnitude + FLOOR)


def magnitude_of(level: Float[Tensor, "..."]) -> Float[Tensor, "..."]:
    """The inverse of `level_of`, 0 for anything below its floor.

    >>> magnitude_of(level_of(torch.tensor([0.5, 0.0])))
    tensor([0.5000, 0.0000])
    """
    return (torch.pow(10.0, level) - FLOOR).clamp_min(0.0)

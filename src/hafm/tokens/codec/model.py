"""`SpectralCodec`: the built-in codec, whole.

In:  waveform [B, 1, T] at 24 kHz, full scale 1.0, best at about -20 dBFS RMS (what it was trained on).
Out: codes [B, 8, ceil(T / 320)] and, from codes, waveform [B, 1, F * 320].

    waveform -> views (levels of a short window; levels and advances of a long one) -> encoder -> latent
    latent -> quantiser -> codes
    codes -> latent -> decoder -> level and direction of each window -> running phases -> sound

Conventions: long inputs are worked through in pieces of `piece_frames` frames. The pieces overlap by the
receptive fields of `CodecConfig`, and the running phase is handed on, so the result is that of one piece
(to rounding) and memory does not grow with the input beyond the input itself and the result.

Source: section 3.2 of the paper for what a codec has to deliver (75 Hz, 8 x 1024); the codec is our own.
Frame-rate networks around an inverse Fourier transform: Siuzdak, "Vocos", 2023, which, unlike us, predicts
phases themselves.
"""

from fractions import Fraction
from pathlib import Path
from typing import Self

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from hafm.errors import UsageError
from hafm.tokens.codec import storage
from hafm.tokens.codec.blocks import ConvBlock
from hafm.tokens.codec.config import CodecConfig
from hafm.tokens.codec.lows import centred_start, join_lows, low_sound, textured
from hafm.tokens.codec.phase import accumulate, advances, make_consistent
from hafm.tokens.codec.quantizer import ResidualQuantizer
from hafm.tokens.codec.spectra import Prediction, Views, level_of, magnitude_of
from hafm.tokens.codec.stft import analyse_padded, overlap_add
from hafm.tokens.fingerprint import fingerprint

__all__ = ["SpectralCodec"]


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
    low_level_mean: Float[Tensor, " lows"]

    def __init__(self, *, config: CodecConfig) -> None:
        super().__init__()
        self.config = config
        block = {"width": config.width, "hidden": config.hidden, "kernel_frames": config.kernel_frames}
        # Where a bin's level usually lies, measured before training: the networks see and predict
        # departures from it.
        self.register_buffer("level_mean", torch.full((config.num_bins,), -3.5))
        inputs, outputs = config.num_bins, 3 * config.num_bins
        if config.lows is not None:
            self.register_buffer("low_level_mean", torch.full((config.lows.num_bins,), -3.0))
            inputs, outputs = inputs + 3 * config.lows.num_bins, outputs + 3 * config.lows.num_bins
        self.encoder = nn.Sequential(
            nn.Linear(inputs, config.width),
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
            nn.Linear(config.width, outputs),
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
            views = self.views(waveform[:, 0, low * hop : high * hop].float())
            codes = self.quantizer(self.latent(views)).codes
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
        num_frames = codes.shape[2]
        before, pieces = self._silent_start(codes), []
        for first in range(0, num_frames, piece_frames):
            last = min(first + piece_frames, num_frames)
            low, high = max(first - context, 0), min(last + context, num_frames)
            predicted = self._predict_frames(codes, low, high)
            phases = self._running_phases(predicted, before)
            sound = self._sound(predicted, phases, low)
            pieces.append(sound[:, (first - low) * hop : (last - low) * hop])
            # The next piece starts `context` frames before `last`; its running sums go on from the frame
            # before that.
            next_low = max(last - context, 0)
            if next_low:
                before = [phase[:, next_low - 1 - low] for phase in phases]
            else:
                before = self._silent_start(codes)
        return torch.cat(pieces, dim=-1).unsqueeze(1)

    @torch.no_grad()
    def resynthesise(self, waveform: Float[Tensor, "B 1 T"]) -> Float[Tensor, "B 1 T"]:
        """A waveform from its own levels and advances, past all networks: what the last steps cost.

        Shape:
            [B, 1, T] -> [B, 1, ceil(T / 320) * 320]
        """
        views = self.views(waveform[:, 0])
        turn = nn.functional.pad(advances(views.spectrum, self.config), (0, 0, 1, 0))
        truth = Prediction.of_truth(views.spectrum, turn)
        if views.low_spectrum is not None and views.low_advance is not None:
            truth = truth._replace(lows=Prediction.of_truth(views.low_spectrum, views.low_advance))
        phases = self._running_phases(truth, self._silent_start(waveform))
        return self._sound(truth, phases, 0).unsqueeze(1)

    def views(self, waveform: Float[Tensor, "B T"]) -> Views:
        """What the encoder sees of a waveform with silence around it."""
        missing = -waveform.shape[-1] % self.config.hop_samples
        before, after = self.margins_samples
        return self.views_padded(nn.functional.pad(waveform, (before, after + missing)))

    def views_padded(self, waveform: Float[Tensor, "B T"]) -> Views:
        """Like `views`, for a waveform with `margins_samples` of true sound (or zeros) on each side."""
        if self.config.lows is None:
            return Views(analyse_padded(waveform, self.config))
        grid = self.config.low_grid
        low_spectrum = analyse_padded(waveform, grid)[..., : self.config.lows.num_bins]
        skipped = grid.margin_samples - self.config.margin_samples
        inner = waveform[:, skipped + self.config.hop_samples : waveform.shape[-1] - skipped]
        return Views(analyse_padded(inner, self.config), low_spectrum[:, 1:], advances(low_spectrum, grid))

    @property
    def margins_samples(self) -> tuple[int, int]:
        """Samples before and after the frames that decide what the encoder sees of them."""
        if self.config.lows is None:
            return self.config.margin_samples, self.config.margin_samples
        # A phase advance needs the frame before.
        margin = self.config.low_grid.margin_samples
        return margin + self.config.hop_samples, margin

    def latent(self, views: Views) -> Float[Tensor, "B F D"]:
        """What the quantiser gets; for training."""
        seen = level_of(views.spectrum.abs()) - self.level_mean
        if views.low_spectrum is not None and views.low_advance is not None:
            low_level = level_of(views.low_spectrum.abs())
            # The advance of a bin without sound is noise: it fades out within 40 dB of the loudest bin.
            weight = (1 + (low_level - low_level.amax(-1, keepdim=True)) / 2).clamp(0, 1)
            turn = views.low_advance
            seen = torch.cat(
                (seen, low_level - self.low_level_mean, weight * turn.cos(), weight * turn.sin()), dim=-1
            )
        latent: Tensor = self.encoder(seen)
        return latent.float()

    def predict(self, latent: Float[Tensor, "B F D"]) -> Prediction:
        """What the decoder makes of a latent, whether it was quantised or not; for training."""
        values: Tensor = self.decoder(latent).float()
        bins = self.config.num_bins
        if self.config.lows is None:
            return Prediction.of_values(values, self.level_mean)
        lows = Prediction.of_values(values[..., 3 * bins :], self.low_level_mean)
        return Prediction.of_values(values[..., : 3 * bins], self.level_mean)._replace(lows=lows)

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
        return fingerprint(self.config.to_json(), self.state_dict())

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
        return predicted.frames(slice(low - start, high - start))

    def _silent_start(self, codes: Tensor) -> list[Tensor]:
        """Phases before the first frame, of each window."""
        batch, device = codes.shape[0], codes.device
        if self.config.lows is None:
            return [torch.zeros(batch, self.config.num_bins, device=device)]
        sizes = (self.config.num_bins, self.config.lows.num_bins)
        return [centred_start(num_bins, batch, device) for num_bins in sizes]

    def _running_phases(self, predicted: Prediction, before: list[Tensor]) -> list[Tensor]:
        """Phases of each window."""
        phases = [accumulate(predicted.advance(), before[0], self.config)]
        if predicted.lows is not None:
            phases.append(accumulate(predicted.lows.advance(), before[1], self.config.low_grid))
        return phases

    def _sound(self, predicted: Prediction, phases: list[Tensor], first_frame: int) -> Float[Tensor, "B T"]:
        magnitude = magnitude_of(predicted.level)
        if predicted.lows is None:
            return overlap_add(make_consistent(magnitude, phases[0], self.config), self.config)
        low = low_sound(magnitude_of(predicted.lows.level), phases[1], self.config)
        spectrum = textured(magnitude, phases[0], predicted.tonality(), first_frame, self.config)
        return join_lows(spectrum, low, self.config)

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

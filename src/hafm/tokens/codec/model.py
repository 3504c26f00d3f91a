"""`SpectralCodec`: the built-in codec, whole.

In:  waveform [B, 1, T] at 24 kHz, full scale 1.0, best at about -20 dBFS RMS (what it was trained on).
Out: codes [B, 8, ceil(T / 320)] and, from codes, waveform [B, 1, F * 320].

Conventions: long inputs are worked through in pieces of `piece_frames` frames. The pieces overlap by the
receptive fields of `CodecConfig`, and the running phase is handed on, so the result is that of one piece
(to rounding) and memory does not grow with the input beyond the input itself and the result.

Source: section 3.2 of the paper for what a codec has to deliver (75 Hz, 8 x 1024); the codec is our own.
Frame-rate networks around an inverse Fourier transform: Siuzdak, "Vocos", 2023, which, unlike us, predicts
phases themselves.
"""

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, Self

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from hafm.errors import BundleDamaged, UsageError
from hafm.tokens.codec.config import CodecConfig
from hafm.tokens.codec.lows import centred_start, join_lows, low_sound, textured
from hafm.tokens.codec.phase import accumulate, advances, make_consistent
from hafm.tokens.codec.quantizer import ResidualQuantizer
from hafm.tokens.codec.spectra import Prediction, Views, level_of, magnitude_of
from hafm.tokens.codec.stft import analyse_padded, overlap_add
from hafm.tokens.codec.storage import CONFIG_FILE, WEIGHTS_FILE, read_codec, write_codec
from hafm.tokens.fingerprint import fingerprint

__all__ = ["SpectralCodec"]

INITIAL_SCALE = 0.1
"""What a block adds at first: little, so that a deep stack starts near the identity."""


class _Undrawn(TorchFunctionMode):
    """Weights are not drawn inside, for a model that is loaded at once: that takes as long as the loading.

    (On the meta device PyTorch would load 800 modules of its compiler to draw nothing.)
    """

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        drawing = func in (nn.init.kaiming_uniform_, nn.init.uniform_)  # of Linear and Conv2d
        return None if drawing else func(*args, **(kwargs or {}))


class ConvBlock(nn.Module):
    """The residual block of encoder and decoder.

    Time is worked on by a depth-wise convolution, channels by a small network. Frames outside the input count
    as zeros.

    x --+-- depth-wise conv -- LayerNorm -- Linear D->hidden -- SiLU -- Linear hidden->D -- scale --(+)-- y
        |                                                                                            |
        +--------------------------------------------------------------------------------------------+

    Source: Liu et al., "A ConvNet for the 2020s", 2022, in one dimension; SiLU in the place of GELU because
    it is four times cheaper on a CPU (which of the two trains better here was not compared).

    Args:
        width: D, channels in and out.
        hidden: channels between the two linear layers.
        kernel_frames: odd length of the convolution; the block sees `kernel_frames // 2` frames on each side.

    Shape:
        [B, F, D] -> [B, F, D]

    >>> ConvBlock(width=8, hidden=16, kernel_frames=7)(torch.zeros(2, 5, 8)).shape
    torch.Size([2, 5, 8])
    """

    def __init__(self, *, width: int, hidden: int, kernel_frames: int) -> None:
        super().__init__()
        # Two-dimensional, of width 1: torch runs the [B, F, D] layout as "channels last", 5x faster than
        # Conv1d.
        self.depthwise = nn.Conv2d(
            width, width, (kernel_frames, 1), padding=(kernel_frames // 2, 0), groups=width
        )
        self.norm = nn.LayerNorm(width)
        self.expand = nn.Linear(width, hidden)
        self.contract = nn.Linear(hidden, width)
        self.scale = nn.Parameter(torch.full((width,), INITIAL_SCALE))

    def forward(self, x: Float[Tensor, "B F D"]) -> Float[Tensor, "B F D"]:
        y: Tensor = self.depthwise(x.transpose(1, 2).unsqueeze(-1)).squeeze(-1).transpose(1, 2)
        y = self.contract(nn.functional.silu(self.expand(self.norm(y))))
        return x + self.scale * y


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
        self.sample_rate, self.frame_rate = config.sample_rate, config.frame_rate
        self.num_codebooks, self.cardinality = config.num_codebooks, config.cardinality
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
        num_frames = codes.shape[2]
        ends = [*range(piece_frames, num_frames, piece_frames), num_frames]
        waveform = torch.empty(len(codes), 1, num_frames * self.config.hop_samples, device=codes.device)
        done = 0
        for piece in self.decode_pieces(codes, ends):
            waveform[:, :, done : done + piece.shape[2]] = piece
            done += piece.shape[2]
        return waveform

    @property
    def lookahead_frames(self) -> int:
        """Frames of codes behind the end of a piece that its sound depends on."""
        return self.config.phase_context_frames

    @torch.no_grad()
    def decode_pieces(
        self, codes: Int[Tensor, "B k F"], ends: Iterable[int]
    ) -> Iterator[Float[Tensor, "B 1 T"]]:
        """The waveform of codes that are still being made, piece by piece.

        Args:
            codes: as for `decode`. When an end has come, they must be there up to `lookahead_frames` behind
                it; what lies further on is not looked at.
            ends: the frame that each piece ends before, rising, the last one F.

        Raises:
            UsageError: as for `decode`.
        """
        hop, context = self.config.hop_samples, self.config.phase_context_frames
        num_frames, first = codes.shape[2], 0
        before = self._silent_start(codes)
        for last in ends:
            low, high = max(first - context, 0), min(last + context, num_frames)
            self._check(codes[:, :, low:high])
            predicted = self._predict_frames(codes, low, high)
            phases = self._running_phases(predicted, before)
            sound = self._sound(predicted, phases, low)
            yield sound[:, None, (first - low) * hop : (last - low) * hop]
            # The next piece starts `context` frames before `last`; its running sums go on from the frame
            # before that.
            next_low = max(last - context, 0)
            if next_low:
                before = [phase[:, next_low - 1 - low] for phase in phases]
            else:
                before = self._silent_start(codes)
            first = last

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
        """Rounds the weights to float16, in place, and writes them to a folder, replacing what was there.

        So the codec in memory, the file, and every codec loaded from it have the same codes and the same
        fingerprint.

        Raises:
            ValueError: a weight is not finite as float16.
            OutputError: a file cannot be written.
        """
        self.round_weights()
        write_codec(Path(folder), self.config, self.state_dict(), self.fingerprint())

    @classmethod
    def load(cls, folder: str | Path) -> "SpectralCodec":
        """The codec that `save` wrote, in float32 on the CPU.

        Raises:
            BundleNotFound: there is no codec in the folder.
            BundleDamaged: a file is unreadable, or the weights are not those of the fingerprint.
        """
        folder = Path(folder)
        config, weights, expected = read_codec(folder)
        with _Undrawn():
            codec = cls(config=config)
        try:
            codec.load_state_dict(weights, assign=True)
        except RuntimeError as error:
            raise BundleDamaged(
                f"'{folder / WEIGHTS_FILE}' cannot be used: {error}; get the bundle again"
            ) from error
        found = codec.fingerprint()
        if found != expected:
            raise BundleDamaged(
                f"the codec in '{folder}' has fingerprint {found[:12]}, its {CONFIG_FILE} says "
                f"{expected[:12]}: a file was changed; get the bundle again"
            )
        return codec.eval().requires_grad_(False)

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

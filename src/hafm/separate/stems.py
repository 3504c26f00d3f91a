"""A band into its players: drums, bass, harmony and melody.

In: an instrumental [C, T] at any rate. Out: one stem for each player, [C, T], which add up to it.

    sound --mono, 24 kHz--> spectrogram [N, F] -> net -> shares [4, N, F] -> back --to its rate--> stems
      |                                                                                             |
      +-- minus drums, bass and melody: harmony <---------------------------------------------------+

For each point of the spectrogram the net says how it is shared out among the four players: the shares are
positive and sum to 1. Harmony is what the others leave, so the stems sum to the sound, above 12 kHz too. What
the net sees is scaled by the sound's RMS, so that the level changes nothing.

Memory: pieces of 11 s go through the net and come out as blocks; beside them lies the sound at 24 kHz.

The net cuts the spectrum into bands, narrow ones below, and keeps one vector for each band and frame:

    log magnitudes; the same less their mean over time, and over frequency
      |  linear, another for each band
      |  6 blocks: along time (kernel 3, 1 to 16 frames apart), across bands, within the vector
      |  a small net for each band, which sees the magnitudes again
      `--> shares of each player

Source: ours. Bands after Luo and Yu, "Music source separation with band-split RNN" (2023), convolutions for
its recurrence; masks that sum to 1 so that nothing is lost or played twice.
"""

import itertools
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any

import torch
from jaxtyping import Complex, Float
from torch import Tensor, nn
from torch.nn.functional import avg_pool1d, pad, relu

from hafm.audio.resample import resample_blocks
from hafm.errors import UsageError

__all__ = ["STEMS", "StemConfig", "StemNetwork", "StemSeparator", "scaled", "spectrogram"]

STEMS = ("drums", "bass", "harmony", "melody")

RATE = 24_000
SIZE, HOP = 2048, 512
BINS = SIZE // 2 + 1

_LEFT_OVER = "harmony"
"""The stem that is what the others leave, so that nothing is lost."""

_DILATIONS = (1, 2, 4, 8, 16, 3)
_NEAR = 17
"""Frames, or bins, over which the mean is taken that a magnitude is compared with."""
_CONTEXT = sum(_DILATIONS) + _NEAR // 2
"""Frames to either side that a mask depends on."""
_PIECE_FRAMES = 512
_FLOOR = 1e-3
_SILENCE = 1e-6


def _band_edges() -> list[int]:
    """Bins at which bands begin, and the end: 47 Hz wide at first, 1.3 kHz at last."""
    widths = [4] * 11 + [8] * 5 + [16] * 5 + [32] * 5 + [64] * 5
    edges = [0]
    for width in widths:
        edges.append(edges[-1] + width)
    left = BINS - edges[-1]
    return [*edges, edges[-1] + left // 3, edges[-1] + 2 * left // 3, BINS]


_EDGES = _band_edges()
_BANDS = list(itertools.pairwise(_EDGES))


@dataclass(frozen=True, kw_only=True)
class StemConfig:
    """Sizes of the net.

    Args:
        channels: of the vector that a band has in each frame.
        hidden: of the small net that gives a band's masks.
    """

    channels: int = 64
    hidden: int = 96

    def __post_init__(self) -> None:
        for name in ("channels", "hidden"):
            if getattr(self, name) < 1:
                raise UsageError(f"StemConfig: {name} must be 1 or more, got {getattr(self, name)}")

    def to_dict(self) -> dict[str, Any]:
        """JSON values; `StemConfig(**config.to_dict()) == config`."""
        return asdict(self)


class StemNetwork(nn.Module):
    """Magnitudes of a sound whose RMS is 1 in, logits of the shares out. Shape: `[B, N, F] -> [B, 4, N, F]`.

    >>> StemNetwork(StemConfig())(torch.zeros(2, 5, 1025)).shape
    torch.Size([2, 4, 5, 1025])
    """

    def __init__(self, config: StemConfig) -> None:
        super().__init__()
        size, count = config.channels, len(_BANDS)
        self.inlets = nn.ModuleList(nn.Linear(3 * (end - start), size) for start, end in _BANDS)
        self.blocks = nn.Sequential(*(_Block(size, count, dilation) for dilation in _DILATIONS))
        self.hidden = nn.ModuleList(
            nn.Linear(size + 3 * (end - start), config.hidden) for start, end in _BANDS
        )
        self.outlets = nn.ModuleList(
            nn.Linear(config.hidden, len(STEMS) * (end - start)) for start, end in _BANDS
        )

    def forward(self, magnitudes: Float[Tensor, "B N F"]) -> Float[Tensor, "B 4 N F"]:
        """Logits of each player's share; a softmax over them gives the shares."""
        logs = torch.log(magnitudes + _FLOOR)
        over_time = avg_pool1d(logs.mT, _NEAR, 1, _NEAR // 2, count_include_pad=False).mT
        over_bins = avg_pool1d(logs, _NEAR, 1, _NEAR // 2, count_include_pad=False)
        seen = torch.stack([logs / 3, logs - over_time, logs - over_bins], dim=3)  # [B, N, F, 3]
        parts = [seen[:, :, start:end].flatten(2) for start, end in _BANDS]
        vectors = torch.stack([inlet(part) for inlet, part in zip(self.inlets, parts, strict=True)], dim=2)
        vectors = _of_one_size(self.blocks(vectors))  # [B, N, bands, C]
        found = []
        for band, (part, hidden, outlet) in enumerate(zip(parts, self.hidden, self.outlets, strict=True)):
            inner = relu(hidden(torch.cat([vectors[:, :, band], part], dim=2)))
            found.append(outlet(inner).unflatten(2, (len(STEMS), -1)))
        return torch.cat(found, dim=3).transpose(1, 2)


class _Block(nn.Module):
    """Along time, across bands, within each vector. Shape: `[B, N, bands, C] -> [B, N, bands, C]`."""

    def __init__(self, channels: int, bands: int, dilation: int) -> None:
        super().__init__()
        self.dilation = dilation
        self.time = nn.Linear(3 * channels, channels)
        self.across = nn.Linear(bands, 2 * bands)
        self.across_back = nn.Linear(2 * bands, bands)
        self.within = nn.Linear(channels, 2 * channels)
        self.within_back = nn.Linear(2 * channels, channels)

    def forward(self, vectors: Float[Tensor, "B N b C"]) -> Float[Tensor, "B N b C"]:
        size, apart = vectors.shape[1], self.dilation
        around = pad(_of_one_size(vectors), (0, 0, 0, 0, apart, apart))
        near = torch.cat([around[:, shift : shift + size] for shift in (0, apart, 2 * apart)], dim=3)
        vectors = vectors + relu(self.time(near))
        mixed = self.across_back(relu(self.across(_of_one_size(vectors).mT))).mT
        vectors = vectors + mixed
        found: Tensor = self.within_back(relu(self.within(_of_one_size(vectors))))
        return vectors + found


def _of_one_size(vectors: Tensor) -> Tensor:
    """Every vector scaled to a mean square of 1."""
    return vectors * (vectors.square().mean(dim=-1, keepdim=True) + 1e-5).rsqrt()


def spectrogram(sound: Float[Tensor, "B T"]) -> Complex[Tensor, "B N F"]:
    """Short-time spectra at 24 kHz, windows of 85 ms every 21 ms; `N = 1 + T // 512`."""
    return _spectra(pad(sound, (SIZE // 2, SIZE // 2)))


def scaled(sound: Float[Tensor, "B T"]) -> tuple[Tensor, Tensor]:
    """Sounds with an RMS of 1, and what they were divided by, `[B, 1]`; silence stays as it is."""
    level = sound.square().mean(dim=1, keepdim=True).sqrt()
    level = torch.where(level < _SILENCE, torch.ones_like(level), level)
    return sound / level, level


class StemSeparator:
    """A trained net. `hafm.stages.separators` reads and writes them.

    Args:
        config: of the net.
        weights: of the net, by name.

    Raises:
        UsageError: the weights do not fit.
    """

    def __init__(self, *, config: StemConfig, weights: Mapping[str, Tensor]) -> None:
        self.config = config
        with torch.device("meta"):
            network = StemNetwork(config)
        try:
            network.load_state_dict(dict(weights), strict=True, assign=True)
        except RuntimeError as error:
            raise UsageError(f"these weights do not fit a net of {config}: {error}") from error
        self._network = network.eval().requires_grad_(False)

    @property
    def weights(self) -> dict[str, Tensor]:
        """Of the net, by name."""
        return dict(self._network.state_dict())

    @torch.inference_mode()
    def shares(self, mono: Float[Tensor, "1 T"]) -> Float[Tensor, "4 N F"]:
        """How each point of the spectrogram is shared out among `STEMS`.

        Args:
            mono: at 24 kHz.
        """
        shares: Tensor = self._network(spectrogram(scaled(mono)[0]).abs())[0].softmax(dim=0)
        return shares

    def separate(self, sound: Float[Tensor, "C T"], sample_rate: int) -> dict[str, Float[Tensor, "C T"]]:
        """The stems of a band.

        Args:
            sound: instruments only; a voice would be shared out among them.
            sample_rate: in Hz.

        Returns:
            For each of `STEMS` a waveform like `sound`. Their sum is the sound up to rounding.
        """
        whole = torch.cat(list(self.separate_blocks(sound, sample_rate)), dim=2)
        return dict(zip(STEMS, whole, strict=True))

    @torch.inference_mode()
    def separate_blocks(
        self, sound: Float[Tensor, "C T"], sample_rate: int
    ) -> Iterator[Float[Tensor, "4 C _"]]:
        """The same, block by block.

        Args:
            sound, sample_rate: see `separate`.

        Yields:
            `STEMS` of consecutive pieces of the sound, some seconds each.
        """
        channels, num_samples = sound.shape
        pieces = (piece.mean(dim=0, keepdim=True) for piece in sound.split(_PIECE_FRAMES * HOP, dim=1))
        mono = torch.cat(list(resample_blocks(pieces, sample_rate, RATE, num_channels=1)), dim=1)
        others = [row for row, name in enumerate(STEMS) if name != _LEFT_OVER]
        taken = (stems[others] for stems in self._stems(mono))
        begin = 0
        for block in resample_blocks(taken, RATE, sample_rate, num_channels=len(others)):
            here = sound[:, begin : begin + block.shape[1]]
            stems = torch.zeros(len(STEMS), *here.shape)
            stems[others] = block[:, None, : here.shape[1]].expand(-1, channels, -1)
            stems[STEMS.index(_LEFT_OVER)] = here - stems.sum(dim=0)
            begin += here.shape[1]
            if here.shape[1]:
                yield stems
        assert begin == num_samples

    def _stems(self, mono: Float[Tensor, "1 T"]) -> Iterator[Float[Tensor, "4 _"]]:
        """Each player's share, at 24 kHz, in pieces. What it is does not depend on where they are cut."""
        size, overlap = 1 + mono.shape[1] // HOP, SIZE // HOP
        level, window = scaled(mono)[1], torch.hann_window(SIZE)
        unfinished = torch.zeros(len(STEMS) + 1, overlap - 1, HOP)
        made = -SIZE // 2  # what lies before the sound is not heard
        for start in range(0, size, _PIECE_FRAMES):
            end = min(start + _PIECE_FRAMES, size)
            first, last = max(0, start - _CONTEXT), min(size, end + _CONTEXT)
            spectra = _spectra(_stretch(mono, first * HOP - SIZE // 2, (last - 1) * HOP + SIZE // 2))
            shares = self._network(spectra.abs() / level)[0].softmax(dim=0)
            inside = slice(start - first, end - first)
            frames = torch.fft.irfft(shares[:, inside] * spectra[:, inside]) * window
            played = torch.zeros(len(STEMS) + 1, end - start + overlap - 1, HOP)
            played[:, : overlap - 1] = unfinished
            for part in range(overlap):
                samples = slice(part * HOP, (part + 1) * HOP)
                played[:-1, part : part + end - start] += frames[..., samples]
                played[-1, part : part + end - start] += window[samples].square()
            finished = played if end == size else played[:, : end - start]
            unfinished = played[:, end - start :]
            stems = (finished[:-1] / finished[-1].clamp_min(_SILENCE)).flatten(1)
            yield stems[:, max(0, -made) : mono.shape[1] - made]
            made += stems.shape[1]


def _stretch(mono: Float[Tensor, "1 T"], begin: int, end: int) -> Float[Tensor, "1 _"]:
    """From `begin` to `end`, silent where there is no sound."""
    total = mono.shape[1]
    inside = mono[:, max(0, begin) : max(0, min(end, total))]
    return pad(inside, (max(0, -begin), max(0, end - total)))


def _spectra(padded: Float[Tensor, "B t"]) -> Complex[Tensor, "B N F"]:
    window = torch.hann_window(SIZE)
    spectra: Tensor = torch.stft(padded, SIZE, HOP, window=window, center=False, return_complex=True)
    return spectra.mT

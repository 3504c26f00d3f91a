"""Sizes of the built-in codec, validated, and the receptive fields that follow from them.

In: numbers (or a JSON object). Out: a frozen `CodecConfig`.

Conventions: a *context* is a number of frames on each side. An output frame is decided by its own frame and
`context` frames before and after it, and by nothing else; that is what lets long inputs be cut into pieces
that overlap by the context and give the same result as the whole.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from fractions import Fraction
from typing import Any

from hafm.errors import BundleDamaged

__all__ = ["CodecConfig", "Grid", "LowsConfig"]


class _Windows:
    """Windows that are centred on their hops."""

    hop_samples: int
    window_samples: int

    @property
    def num_bins(self) -> int:
        """Frequencies of a frame's spectrum, 0 Hz and half the sample rate included."""
        return self.window_samples // 2 + 1

    @property
    def margin_samples(self) -> int:
        """Samples by which a window reaches over its frame, on each side."""
        return (self.window_samples - self.hop_samples) // 2


@dataclass(frozen=True, kw_only=True)
class Grid(_Windows):
    """Hop and window of a short-time Fourier transform."""

    hop_samples: int
    window_samples: int


@dataclass(frozen=True, kw_only=True)
class LowsConfig:
    """The long-window path for low frequencies, and the texture of what has no steady phase.

    Args:
        window_samples: length of the long window, a multiple of the hop.
        num_bins: frequencies of the long window that are coded, from 0 Hz.
        decimation: low sound is synthesised at `sample_rate / decimation`.
        crossover_low_bin: up to this bin of the *short* window, the sound is that of the low path.
        crossover_high_bin: from this bin on, it is that of the short window.
        envelope_share: how far the low path's loudness follows the short window's, 0 (not at all) to 1.
        noise_tonality: length of the predicted direction up to which a bin is noise.
        tone_tonality: length from which it is a steady tone; between the two it is a mixture.
    """

    window_samples: int = 3_840
    num_bins: int = 112
    decimation: int = 10
    phase_iterations: int = 8
    crossover_low_bin: int = 27
    crossover_high_bin: int = 32
    envelope_share: float = 0.5
    noise_tonality: float = 0.65
    tone_tonality: float = 0.99

    def __post_init__(self) -> None:
        for name in ("window_samples", "num_bins", "decimation", "crossover_low_bin", "phase_iterations"):
            value = getattr(self, name)
            if type(value) is not int or value < (0 if name == "phase_iterations" else 1):
                raise ValueError(f"lows.{name}={value!r}: must be a whole number, 1 or more")
        if not self.crossover_low_bin < self.crossover_high_bin:
            raise ValueError(
                f"lows.crossover_high_bin={self.crossover_high_bin}: "
                f"must be above crossover_low_bin={self.crossover_low_bin}"
            )
        if not 0.0 <= self.envelope_share <= 1.0:
            raise ValueError(f"lows.envelope_share={self.envelope_share}: must be from 0 to 1")
        if not 0.0 <= self.noise_tonality < self.tone_tonality <= 1.0:
            raise ValueError(
                f"lows.noise_tonality={self.noise_tonality}, tone_tonality={self.tone_tonality}: "
                "must be from 0 to 1, the second above the first"
            )


@dataclass(frozen=True, kw_only=True)
class CodecConfig(_Windows):
    """Everything that decides a codec except its weights.

    Args:
        sample_rate: hertz.
        hop_samples: samples per frame; `sample_rate / hop_samples` is the frame rate.
        window_samples: length of the analysis and synthesis window, a multiple (4 or more) of the hop.
        width: D, channels of the residual blocks.
        kernel_frames: odd length of a block's convolution in time.
        codebook_dim: dimensions in which an entry is a point of the unit sphere.
        phase_iterations: Griffin-Lim iterations of the decoder; part of the codec, since the sound depends
        on it.
        phase_momentum: their acceleration, 0 (plain) up to but not including 1.
        lows: the long-window path; None for codecs of the first version, which have only the one window.

    Raises:
        ValueError: a size is out of range; the message names it.

    >>> config = CodecConfig()
    >>> config.frame_rate, config.num_bins
    (Fraction(75, 1), 641)
    >>> CodecConfig(window_samples=1000)
    Traceback (most recent call last):
    ...
    ValueError: window_samples=1000: must be a multiple of hop_samples=320, 4 hops or more
    """

    sample_rate: int = 24_000
    hop_samples: int = 320
    window_samples: int = 1_280
    width: int = 256
    hidden: int = 512
    kernel_frames: int = 7
    encoder_blocks: int = 4
    decoder_blocks: int = 6
    num_codebooks: int = 8
    cardinality: int = 1_024
    codebook_dim: int = 8
    phase_iterations: int = 16
    phase_momentum: float = 0.99
    lows: LowsConfig | None = None

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            if field.name == "lows":
                self._check_lows()
                continue
            if field.name == "phase_momentum":
                if not 0.0 <= value < 1.0:
                    raise ValueError(f"phase_momentum={value}: must be at least 0 and below 1")
                continue
            smallest = 0 if field.name == "phase_iterations" else 1
            if type(value) is not int or value < smallest:
                raise ValueError(f"{field.name}={value!r}: must be a whole number, {smallest} or more")
        if self.window_samples % self.hop_samples or self.window_samples < 4 * self.hop_samples:
            raise ValueError(
                f"window_samples={self.window_samples}: "
                f"must be a multiple of hop_samples={self.hop_samples}, 4 hops or more"
            )
        if (self.window_samples - self.hop_samples) % 2:
            raise ValueError(
                f"window_samples={self.window_samples} and hop_samples={self.hop_samples}: "
                "their difference must be even, so that a window is centred on its frame"
            )
        if self.kernel_frames % 2 == 0:
            raise ValueError(
                f"kernel_frames={self.kernel_frames}: must be odd, so that a block keeps its frames"
            )
        if self.codebook_dim < 2:
            raise ValueError(f"codebook_dim={self.codebook_dim}: a unit sphere needs 2 dimensions or more")

    def _check_lows(self) -> None:
        if self.lows is None:
            return
        lows, hop, decimation = self.lows, self.hop_samples, self.lows.decimation
        if hop % decimation or lows.window_samples % hop or lows.window_samples <= self.window_samples:
            raise ValueError(
                f"lows.window_samples={lows.window_samples}, decimation={decimation}: the long window is "
                f"to be a multiple of hop_samples={hop}, longer than window_samples={self.window_samples}, "
                "and the decimation must divide the hop"
            )
        if lows.num_bins > lows.window_samples // decimation // 2:
            raise ValueError(
                f"lows.num_bins={lows.num_bins}: at 1/{decimation} of the sample rate there are "
                f"{lows.window_samples // decimation // 2} below half of it"
            )
        crossover_hz = lows.crossover_high_bin * self.sample_rate / self.window_samples
        highest_hz = (lows.num_bins - 1) * self.sample_rate / lows.window_samples
        if crossover_hz > highest_hz:
            raise ValueError(
                f"lows.crossover_high_bin={lows.crossover_high_bin}: at {crossover_hz:.0f} Hz, above the low "
                f"path's highest bin at {highest_hz:.0f} Hz"
            )

    @property
    def frame_rate(self) -> Fraction:
        """Frames a second, exact."""
        return Fraction(self.sample_rate, self.hop_samples)

    @property
    def encoder_context_frames(self) -> int:
        """Frames of sound on each side that decide a frame's codes, the reach of the window included."""
        blocks = self.encoder_blocks * (self.kernel_frames // 2)
        if self.lows is None:
            return blocks + -(-self.margin_samples // self.hop_samples)
        # One more: the long window's phase advance compares with the frame before.
        return blocks + -(-self.low_grid.margin_samples // self.hop_samples) + 1

    @property
    def phase_context_frames(self) -> int:
        """Frames of magnitude and phase on each side that decide a frame of sound.

        Windows of R hops overlap up to R - 1 frames away, so each iteration (and the last overlap-add)
        reaches R - 1 frames further. The low path comes first and reaches as far again, by its own measure.
        """
        reach = self.window_samples // self.hop_samples - 1
        short = (self.phase_iterations + 1) * reach
        if self.lows is None:
            return short
        low_reach = self.lows.window_samples // self.hop_samples - 1
        # The short window's look at the low sound reaches R - 1 frames further still.
        return short + reach + (self.lows.phase_iterations + 1) * low_reach

    @property
    def low_grid(self) -> Grid:
        """The long window at the full sample rate."""
        assert self.lows is not None
        return Grid(hop_samples=self.hop_samples, window_samples=self.lows.window_samples)

    @property
    def decimated_grid(self) -> Grid:
        """The long window at the rate of the low path's synthesis."""
        assert self.lows is not None
        return Grid(
            hop_samples=self.hop_samples // self.lows.decimation,
            window_samples=self.lows.window_samples // self.lows.decimation,
        )

    @property
    def decoder_context_frames(self) -> int:
        """Frames of codes on each side that decide a frame's magnitudes and phase advances."""
        return self.decoder_blocks * (self.kernel_frames // 2)

    def to_json(self) -> dict[str, Any]:
        """The fields as a JSON object; without `lows` where there are none, as the first version wrote it."""
        values = asdict(self)
        if self.lows is None:
            del values["lows"]
        return values

    @classmethod
    def from_json(cls, values: Mapping[str, object]) -> "CodecConfig":
        """The config that `to_json` wrote.

        Raises:
            BundleDamaged: a field is unknown, missing, or out of range.

        >>> CodecConfig.from_json(CodecConfig(width=32).to_json()).width
        32
        >>> CodecConfig.from_json({"widht": 32})
        Traceback (most recent call last):
        ...
        hafm.errors.BundleDamaged: codec config: unknown ['widht'], missing ['cardinality', ...
        """
        given = dict(values)
        lows = given.pop("lows", None)
        _require_fields(given, {field.name for field in fields(cls)} - {"lows"})
        if lows is not None:
            if not isinstance(lows, Mapping):
                raise BundleDamaged(f"codec config: lows is {lows!r}, not an object")
            _require_fields(lows, {field.name for field in fields(LowsConfig)})
        try:
            return cls(**given, lows=None if lows is None else LowsConfig(**lows))  # type: ignore[arg-type]
        except (TypeError, ValueError) as error:
            raise BundleDamaged(f"codec config: {error}") from error


def _require_fields(values: Mapping[str, object], known: set[str]) -> None:
    unknown, missing = sorted(set(values) - known), sorted(known - set(values))
    if unknown or missing:
        raise BundleDamaged(
            f"codec config: unknown {unknown}, missing {missing}; was it written by another version of hafm?"
        )

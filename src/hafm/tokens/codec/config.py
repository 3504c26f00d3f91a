"""Sizes of the built-in codec, validated, and the receptive fields that follow from them.

In: numbers (or a JSON object). Out: a frozen `CodecConfig`.

Conventions: a *context* is a number of frames on each side. An output frame is decided by its own frame and
`context` frames before and after it, and by nothing else; that is what lets long inputs be cut into pieces
that overlap by the context and give the same result as the whole.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from fractions import Fraction

from hafm.errors import BundleDamaged

__all__ = ["CodecConfig"]


@dataclass(frozen=True, kw_only=True)
class CodecConfig:
    """Everything that decides a codec except its weights.

    Args:
        sample_rate: hertz.
        hop_samples: samples a frame; `sample_rate / hop_samples` is the frame rate.
        window_samples: length of the analysis and synthesis window, a multiple (4 or more) of the hop.
        width: D, channels of the residual blocks.
        hidden: channels inside a residual block.
        kernel_frames: odd length of a block's convolution in time.
        encoder_blocks: residual blocks before the quantiser.
        decoder_blocks: residual blocks after it.
        num_codebooks: K, residual stages.
        cardinality: entries a codebook.
        codebook_dim: dimensions in which an entry is a point of the unit sphere.
        phase_iterations: Griffin-Lim iterations of the decoder; part of the codec, since the sound depends
        on it.
        phase_momentum: their acceleration, 0 (plain) up to but not including 1.

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

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
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

    @property
    def frame_rate(self) -> Fraction:
        """Frames a second, exact."""
        return Fraction(self.sample_rate, self.hop_samples)

    @property
    def num_bins(self) -> int:
        """Frequencies of a frame's spectrum, 0 Hz and half the sample rate included."""
        return self.window_samples // 2 + 1

    @property
    def margin_samples(self) -> int:
        """Samples by which a window reaches over its frame, on each side."""
        return (self.window_samples - self.hop_samples) // 2

    @property
    def encoder_context_frames(self) -> int:
        """Frames of sound on each side that decide a frame's codes, the reach of the window included."""
        window = -(-self.margin_samples // self.hop_samples)
        return self.encoder_blocks * (self.kernel_frames // 2) + window

    @property
    def phase_context_frames(self) -> int:
        """Frames of magnitude and phase on each side that decide a frame of sound.

        Windows of R hops overlap up to R - 1 frames away, so each iteration (and the last overlap-add)
        reaches R - 1 frames further.
        """
        return (self.phase_iterations + 1) * (self.window_samples // self.hop_samples - 1)

    @property
    def decoder_context_frames(self) -> int:
        """Frames of codes on each side that decide a frame's magnitudes and phase advances."""
        return self.decoder_blocks * (self.kernel_frames // 2)

    def to_json(self) -> dict[str, int | float]:
        """The fields as a JSON object."""
        return asdict(self)

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
        known = {field.name for field in fields(cls)}
        unknown, missing = sorted(set(values) - known), sorted(known - set(values))
        if unknown or missing:
            raise BundleDamaged(
                f"codec config: unknown {unknown}, missing {missing}; "
                "was it written by another version of hafm?"
            )
        try:
            return cls(**values)  # type: ignore[arg-type]
        except (TypeError, ValueError) as error:
            raise BundleDamaged(f"codec config: {error}") from error

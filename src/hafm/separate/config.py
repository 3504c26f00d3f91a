"""The JSON beside a separator's `.onnx`, and the lengths that follow from it.

In: text such as

    {"n_fft": 6144, "hop": 1024, "dim_f": 2048, "dim_t": 256, "compensate": 1.035,
     "primary_stem": "vocals", "sample_rate": 44100}

Out: a `SeparatorConfig`, checked. An `.onnx` knows the shape of its input and nothing of what the numbers in
it mean; a wrong `n_fft` or `hop` separates, and separates badly. So no value has a default, and every unknown
or missing key is an error.

One pass of the net takes one chunk of `hop * (dim_t - 1)` samples: of a centred transform, that makes `dim_t`
frames. What is used of it:

    |<- margin ->|<- fade ->|              |<- fade ->|<- margin ->|          all in whole hops
    |   unused   |  shared with the last   |  shared with the next |  unused
    |            |<------- step ---------->|                       |

Half a window is mirrored at each end of a chunk, so frames near an end see what is not there, and they sound
up to one window into the chunk: that is the margin. Behind it, and because a step is whole hops, two chunks
see the same frames. A net that treats each frame by itself therefore gives the same in both, and overlap-add
is exactly one transform over the whole sound. What other nets know of the time around differs, so they fade.
"""

import math
from dataclasses import dataclass, fields
from typing import Literal, Self, TypeAlias

from hafm.audio.sound import MAX_SAMPLE_RATE_HZ, MIN_SAMPLE_RATE_HZ
from hafm.errors import UsageError
from hafm.jsonfile import JsonFile

__all__ = ["ZEROED_BINS", "PrimaryStem", "SeparatorConfig"]

PrimaryStem: TypeAlias = Literal["vocals", "instrumental"]

ZEROED_BINS = 3
"""Bins from 0 Hz on that MDX-Nets are not shown: they were trained without them."""

_MAX_FFT = 1 << 16
_MAX_CHUNK_SAMPLES = 1 << 24


@dataclass(frozen=True, kw_only=True)
class SeparatorConfig:
    """What the numbers in a net's input and output mean.

    Args:
        n_fft: samples of a window, even.
        hop: samples from one frame to the next, at most half a window.
        dim_f: the lowest bins, which the net sees; at most `n_fft / 2 + 1`.
        dim_t: frames of one pass.
        compensate: what the net's output is multiplied by; above 0.
        primary_stem: what the net gives: `"vocals"` or `"instrumental"`.
        sample_rate: of the sound that the net was trained on, in hertz.

    Raises:
        UsageError: a value is of the wrong type, out of range, or does not fit another.

    >>> config = SeparatorConfig(n_fft=6144, hop=1024, dim_f=2048, dim_t=256, compensate=1.035,
    ...                          primary_stem="vocals", sample_rate=44_100)
    >>> config.chunk_samples, config.margin_samples, config.fade_samples, config.step_samples
    (261120, 6144, 61440, 187392)
    """

    n_fft: int
    hop: int
    dim_f: int
    dim_t: int
    compensate: float
    primary_stem: PrimaryStem
    sample_rate: int

    def __post_init__(self) -> None:
        _whole("n_fft", self.n_fft, 8, _MAX_FFT)
        if self.n_fft % 2:
            raise UsageError(f"n_fft is {self.n_fft}; give an even number")
        _whole("hop", self.hop, 1, self.n_fft // 2)
        _whole("dim_f", self.dim_f, ZEROED_BINS + 1, self.num_bins)
        _whole("dim_t", self.dim_t, 2, _MAX_CHUNK_SAMPLES // self.hop)
        _whole("sample_rate", self.sample_rate, MIN_SAMPLE_RATE_HZ, MAX_SAMPLE_RATE_HZ)
        if self._used_hops < 2:
            least = 2 * self._margin_hops + 3
            raise UsageError(
                f"dim_t is {self.dim_t}: with n_fft {self.n_fft} and hop {self.hop} it must be {least} or "
                "more; give the values that the net was trained with"
            )
        if not (math.isfinite(self.compensate) and self.compensate > 0):
            raise UsageError(f"compensate is {self.compensate}; give a number above 0, such as 1.035")

    @property
    def num_bins(self) -> int:
        """Bins of a window, of which the net sees the lowest `dim_f`."""
        return self.n_fft // 2 + 1

    @property
    def chunk_samples(self) -> int:
        """Samples that one pass of the net takes."""
        return self.hop * (self.dim_t - 1)

    @property
    def margin_samples(self) -> int:
        """Samples at each end of a chunk that are not used."""
        return self.hop * self._margin_hops

    @property
    def fade_samples(self) -> int:
        """Samples over which a chunk fades into the next: a quarter of what is used."""
        return self.hop * max(1, self._used_hops // 4)

    @property
    def step_samples(self) -> int:
        """Samples from one chunk to the next."""
        return self.hop * self._used_hops - self.fade_samples

    @property
    def _margin_hops(self) -> int:
        return -(-self.n_fft // self.hop)

    @property
    def _used_hops(self) -> int:
        return self.dim_t - 1 - 2 * self._margin_hops

    @classmethod
    def from_json(cls, text: str, *, where: str) -> Self:
        """Reads the file.

        Args:
            text: its content.
            where: what messages call it.

        Raises:
            UsageError: it is no JSON object, a key is unknown or missing, or a value is not allowed.

        >>> SeparatorConfig.from_json('{"n_fft": 6144, "hop_length": 1024}', where="net.json")
        Traceback (most recent call last):
        ...
        hafm.errors.UsageError: net.json is not the description of an MDX-Net: it has the unknown field ...
        """
        return _FILE.read(cls, text, where=where)


_FILE = JsonFile(
    what="the description of an MDX-Net",
    fix=f"it must hold {', '.join(sorted(field.name for field in fields(SeparatorConfig)))}",
    error=UsageError,
)


def _whole(name: str, value: int, low: int, high: int) -> None:
    if not low <= value <= high:
        raise UsageError(f"{name} is {value}; give a whole number from {low} to {high}")

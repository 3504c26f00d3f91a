"""`Audio`: a sound that passed the gateway, and the checks it had to pass.

In: a decoded waveform. Out: an `Audio` that everything behind the gateway may trust: float32 `[C, T]` with
one or two channels, finite, audible, long enough, at a rate that can be worked with.

What is done to the sound, and what is not:

| found | done |
|---|---|
| NaN or infinity | refused |
| nothing above -80 dBFS, apart from a constant offset | refused as silent |
| under half a second, over ten minutes | refused |
| a sample rate outside 8 to 192 kHz | refused |
| three to eight channels | averaged to mono, with a note (their layout differs between formats) |
| more than eight channels | refused |
| peak above 4.0 (+12 dBFS) | scaled to peak 1.0, with a note: such a file was written on another scale |
| peak between 1.0 and 4.0 | kept: floating point holds it, and the mix sets its own level |
| a constant offset over a fiftieth of the level | removed, with a note: a mix would amplify it |
| hardly any sound | kept, with a note |
"""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from hafm.errors import AudioContentError
from hafm.words import clock

__all__ = [
    "MAX_CHANNELS",
    "MAX_SAMPLE_RATE_HZ",
    "MAX_SECONDS",
    "MIN_SAMPLE_RATE_HZ",
    "MIN_SECONDS",
    "SCALED_ABOVE",
    "SILENCE_DBFS",
    "Audio",
    "admit",
    "check_format",
    "fold_channels",
    "fold_note",
    "refuse_silence",
    "scale_of",
    "to_mono",
    "too_long",
]

MIN_SECONDS = 0.5
MAX_SECONDS = 600.0
MIN_SAMPLE_RATE_HZ = 8_000
MAX_SAMPLE_RATE_HZ = 192_000
MAX_CHANNELS = 8
SILENCE_DBFS = -80.0

SCALED_ABOVE = 4.0
_LEAST_OFFSET = 1e-4
_OFFSET_SHARE = 0.02
_ACTIVE_DBFS = -60.0
_ACTIVE_FRAME_SECONDS = 0.01
_NOTED_ACTIVE_SECONDS = 0.25
_CANCELS_BELOW = 0.1  # the mean of two channels has -20 dB of the louder one: they are out of phase


@dataclass(frozen=True, kw_only=True, eq=False)
class Audio:
    """A sound that passed the gateway. Made by `read_audio` and `audio_from_array`.

    Args:
        waveform: float32 `[C, T]`, one or two channels, finite.
        sample_rate: samples a second.
        path: where it came from; None for an array.
        sha256: hex digest of the file's bytes; for an array, of its samples as little-endian float32.
        start_seconds: where in the file it begins.
        is_whole: False if the file is damaged, or its end is missing.
        file_channels: channels before more than two were averaged.
        scale: what the samples were multiplied with; 1.0 unless they reached far beyond full scale.
        notes: what a user should know, one line each: what was repaired, or looks odd.
    """

    waveform: Float[Tensor, "C T"]
    sample_rate: int
    path: str | None = None
    sha256: str
    start_seconds: float = 0.0
    is_whole: bool = True
    file_channels: int
    scale: float = 1.0
    notes: tuple[str, ...] = ()

    @property
    def num_channels(self) -> int:
        """Channels: 1 or 2."""
        return self.waveform.shape[0]

    @property
    def num_samples(self) -> int:
        """Samples a channel."""
        return self.waveform.shape[1]

    @property
    def seconds(self) -> float:
        """Duration."""
        return self.num_samples / self.sample_rate

    def mono(self) -> Float[Tensor, " T"]:
        """The sound as analysis hears it: see `to_mono`."""
        return to_mono(self.waveform)


def to_mono(waveform: Float[Tensor, "C T"]) -> Float[Tensor, " T"]:
    """One channel for analysis: the mean of the channels, its offset removed.

    Channels that are out of phase cancel in the mean. Where the mean keeps less than a tenth (-20 dB) of the
    loudest channel, that channel is taken instead.

    Args:
        waveform: any number of channels.

    Shape:
        `[C, T] -> [T]`

    >>> side = torch.tensor([[0.5, -0.5, 0.5, -0.5]])
    >>> to_mono(torch.cat([side, -side]))
    tensor([ 0.5000, -0.5000,  0.5000, -0.5000])
    """
    centred = waveform - waveform.mean(dim=-1, keepdim=True)
    if len(centred) == 1:
        return centred[0]
    mean = centred.mean(dim=0)
    energy = centred.square().sum(dim=-1)
    loudest = int(energy.argmax())
    if mean.square().sum() < _CANCELS_BELOW**2 * energy[loudest]:
        return centred[loudest]
    return mean


def fold_channels(waveform: Float[Tensor, "C T"]) -> Float[Tensor, "C2 T"]:
    """Mono and stereo as they are; more channels averaged to mono.

    Shape:
        `[C, T] -> [C, T]` for C of 1 and 2, `[1, T]` above.

    >>> fold_channels(torch.ones(6, 100)).shape
    torch.Size([1, 100])
    """
    return waveform if waveform.shape[0] <= 2 else waveform.mean(dim=0, keepdim=True)


def fold_note(num_channels: int) -> tuple[str, ...]:
    """What `fold_channels` did, as notes."""
    return () if num_channels <= 2 else (f"{num_channels} channels were averaged to mono",)


def check_format(*, sample_rate: int, num_channels: int, name: str) -> None:
    """Refuse a sample rate or a number of channels before anything is decoded.

    Raises:
        AudioContentError: the rate or the number of channels is outside the limits of this module.
    """
    if not MIN_SAMPLE_RATE_HZ <= sample_rate <= MAX_SAMPLE_RATE_HZ:
        raise AudioContentError(
            f"{name} has a sample rate of {sample_rate} Hz, outside {MIN_SAMPLE_RATE_HZ} to "
            f"{MAX_SAMPLE_RATE_HZ} Hz; export it at 44100 or 48000 Hz"
        )
    if not 1 <= num_channels <= MAX_CHANNELS:
        raise AudioContentError(
            f"{name} has {num_channels} channels, more than {MAX_CHANNELS}; export the vocal alone, mono or "
            f"stereo"
            if num_channels
            else f"{name} has no channels; export it as mono or stereo"
        )


def admit(
    waveform: Float[Tensor, "C T"],
    *,
    sample_rate: int,
    name: str,
    sha256: str,
    path: str | None = None,
    start_seconds: float = 0.0,
    is_whole: bool = True,
    file_channels: int | None = None,
    notes: tuple[str, ...] = (),
    min_seconds: float = MIN_SECONDS,
    max_seconds: float = MAX_SECONDS,
    allow_silence: bool = False,
) -> Audio:
    """Check a decoded sound and make an `Audio` of it.

    Args:
        waveform: float32, one or two channels: see `fold_channels`.
        sample_rate: samples a second, within the limits: see `check_format`.
        name: what messages call it.
        sha256, path, start_seconds, is_whole: kept in the result.
        file_channels: channels before they were folded; None for those of `waveform`.
        notes: what decoding had to say; the notes of these checks are added.
        min_seconds, max_seconds: limits of duration.
        allow_silence: take a silent sound too, with a note.

    Raises:
        AudioContentError: see the table at the top of this module.
    """
    channels, samples = waveform.shape
    assert channels in (1, 2), "more channels are folded before"
    if samples == 0:
        why = "".join(f" ({note})" for note in notes)
        raise AudioContentError(f"{name} holds no sound that can be decoded{why}; record or export it again")
    if samples < min_seconds * sample_rate:
        raise AudioContentError(
            f"{name} lasts {samples / sample_rate:.3f} s, too short to accompany; give {min_seconds:g} s or "
            f"more"
        )
    if samples > max_seconds * sample_rate:
        raise too_long(name, samples / sample_rate, max_seconds)
    _check_finite(waveform, sample_rate, name)

    peak = float(torch.maximum(waveform.amax(), -waveform.amin()))
    scale, scaled = scale_of(peak)
    notes += scaled
    if scale != 1.0:
        waveform = waveform / peak
    offset = waveform.mean(dim=-1)
    loudest = float(torch.maximum(waveform.amax(dim=-1) - offset, offset - waveform.amin(dim=-1)).max())
    if not allow_silence:
        refuse_silence(loudest, name)
    power = float(waveform.square().mean()) - float(offset.square().mean())
    if (largest := float(offset.abs().max())) > max(_LEAST_OFFSET, _OFFSET_SHARE * max(power, 0.0) ** 0.5):
        waveform = waveform - offset[:, None]
        notes += (f"a constant offset of {largest:.3f} of full scale was removed",)
    if (active := _active_seconds(waveform, sample_rate)) < _NOTED_ACTIVE_SECONDS:
        notes += (f"there is hardly any sound: {active:.2f} s above {_ACTIVE_DBFS:g} dBFS",)
    return Audio(
        waveform=waveform.contiguous(),
        sample_rate=sample_rate,
        path=path,
        sha256=sha256,
        start_seconds=start_seconds,
        is_whole=is_whole,
        file_channels=channels if file_channels is None else file_channels,
        scale=scale,
        notes=notes,
    )


def scale_of(peak: float) -> tuple[float, tuple[str, ...]]:
    """What samples of that peak are multiplied by, and notes on it."""
    if peak <= SCALED_ABOVE:
        return 1.0, ()
    return 1 / peak, (f"samples reach {peak:.4g} times full scale; scaled down to full scale",)


def refuse_silence(loudest: float, name: str) -> None:
    """Refuses a sound whose largest sample, apart from a constant offset, is hardly one."""
    if loudest <= 10 ** (SILENCE_DBFS / 20):
        raise AudioContentError(
            f"{name} is silent (nothing above {SILENCE_DBFS:g} dBFS); check that the right track was exported"
        )


def too_long(name: str, seconds: float, max_seconds: float) -> AudioContentError:
    """The error for a sound over the limit, the same whether its header or its samples gave it away."""
    return AudioContentError(
        f"{name} lasts {clock(seconds)} or more, over the limit of {clock(max_seconds)}; choose a part with "
        "--start and --seconds (start_seconds= and seconds= in Python)"
    )


def _check_finite(waveform: Tensor, sample_rate: int, name: str) -> None:
    # Both extremes hand NaN on, and allocate nothing.
    if not (waveform.amax().isfinite() and waveform.amin().isfinite()):
        finite = waveform.isfinite().all(dim=0)
        bad = int((~finite).sum())
        first = int((~finite).nonzero()[0]) / sample_rate
        raise AudioContentError(
            f"{name} holds {bad} samples that are not numbers (NaN or infinity), the first at {first:.3f} s; "
            "export it again as 24-bit PCM"
        )


def _active_seconds(waveform: Tensor, sample_rate: int) -> float:
    frame = round(_ACTIVE_FRAME_SECONDS * sample_rate)
    frames = waveform[:, : waveform.shape[1] // frame * frame].reshape(waveform.shape[0], -1, frame)
    # The variance in two steps: torch's own takes thirty times as long.
    power = (frames - frames.mean(dim=2, keepdim=True)).square().mean(dim=2).amax(dim=0)
    return float((power > 10 ** (_ACTIVE_DBFS / 10)).sum()) * frame / sample_rate

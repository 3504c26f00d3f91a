"""What may be wrong with a sound that decodes: one line each, with a remedy.

In: the waveform of what is meant to be one voice. Out: notes.

| found | how |
|---|---|
| a silent channel | one of two lies under -80 dBFS |
| channels that cancel | their correlation is below -0.9 |
| clipping | three or more samples at the largest value in a row, a crest cut off; over one in 2,000 of them |
| rumble | over half of the energy lies below 30 Hz |
| no pitch | hardly a frame has a period: noise, whisper, drums |
| more than a voice | fewer than a fifth of the frames have one clear period: there is music, too |

A frame's *clarity* is the height of the best peak of its normalised autocorrelation, 1 for a periodic sound.

What the last two notes are worth (`python -m benchmarks.signal_checks`, clips by the note that they get):

    51 real voices                                  none 51
    42 of them with their true accompaniment        more than a voice 29, none 11, no pitch 2 (wrongly)
    51 whispers of them; 51 white, 51 pink noises   no pitch, all

The thresholds were chosen on these very clips, so other recordings may fare worse. No note does not mean that
the voice is alone: a quarter of the mixes have none. Two dense mixes are said to have no pitch.

Source: McLeod and Wyvill, "A smarter way to find pitch" (ICMC 2005), for the normalisation.
"""

from collections.abc import Iterator

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from hafm.audio.pitch import level_of, normalised_autocorrelation, pitch_frames
from hafm.audio.sound import to_mono

__all__ = ["NO_PITCH", "clarity", "vocal_notes"]

NO_PITCH = (
    "no pitch was found (noise, a whisper, drums?): the accompaniment has no melody to fit, and a ranking by "
    "harmony means nothing"
)


_SILENT_DBFS = -80.0
_CANCELS_BELOW = -0.9
_CLIPPED_RUN = 3  # samples
_CLIPPED_SHARE = 1 / 2000
_LEAST_OVERSHOOT = 0.02
"""What must be missing above a run, against the largest value: the crest of a steady tone is flat, too."""
_RUMBLE_BELOW_HZ = 30.0
_RUMBLE_SHARE = 0.5
_SPECTRUM_SAMPLES = 1 << 15

_ACTIVE_BELOW_LOUD_DB = 30.0
_CLEAR = 0.8
_CLEAR_SHARE_OF_VOICES = 0.2
_CLEAR_SHARE_OF_NOISE = 0.05
_CLARITY_OF_NOISE = 0.3
_LEAST_FRAMES = 30
_FRAMES_AT_ONCE = 4096


def vocal_notes(waveform: Float[Tensor, "C T"], sample_rate: int) -> tuple[str, ...]:
    """What is odd about a recording that is meant to be one voice.

    Args:
        waveform: one or two channels, their offset removed, not silent.
        sample_rate: samples per second.

    >>> noise = torch.randn(1, 48_000, generator=torch.Generator().manual_seed(0))
    >>> vocal_notes(0.1 * noise, 24_000)[0][:28]
    'no pitch was found (noise, a'
    """
    mono = to_mono(waveform)
    notes = [*_channel_notes(waveform)]
    share = _clipped_share(waveform)
    if share > _CLIPPED_SHARE:
        notes.append(
            f"it is clipped ({100 * share:.1f} % of the samples lie at the largest value); record it again "
            "at a lower level"
        )
    if _rumble_share(mono, sample_rate) > _RUMBLE_SHARE:
        notes.append(
            f"over half of its energy lies below {_RUMBLE_BELOW_HZ:g} Hz (rumble, wind, handling); cut that "
            "with a low-cut filter"
        )
    values, level = clarity(mono, sample_rate)
    active = values[level > level.max() - _ACTIVE_BELOW_LOUD_DB] if len(level) else values
    if len(active) < _LEAST_FRAMES:
        return tuple(notes)
    clear = float((active > _CLEAR).float().mean())
    if clear < _CLEAR_SHARE_OF_NOISE and float(active.median()) < _CLARITY_OF_NOISE:
        notes.append(NO_PITCH)
    elif clear < _CLEAR_SHARE_OF_VOICES:
        notes.append(
            "there seems to be more than one voice in it, perhaps music; --separate takes the vocal out of a "
            "song"
        )
    return tuple(notes)


def _channel_notes(waveform: Float[Tensor, "C T"]) -> Iterator[str]:
    if len(waveform) < 2:
        return
    power = waveform.square().mean(dim=1).clamp_min(1e-20)
    silent = power < 10 ** (_SILENT_DBFS / 10)
    if silent.any():
        dead, alive = ("left", "right") if silent[0] else ("right", "left")
        yield f"the {dead} channel is silent; the mix keeps it so, and analysis takes the {alive} one"
    elif float((waveform[0] * waveform[1]).mean() / (power[0] * power[1]).sqrt()) < _CANCELS_BELOW:
        yield "left and right are inverted and cancel each other; invert one of them in an editor"


def clarity(mono: Float[Tensor, " T"], sample_rate: int) -> tuple[Float[Tensor, " F"], Float[Tensor, " F"]]:
    """How periodic a sound is, every 32 ms.

    Returns:
        The clarity of each frame, at most 1, and its level in dBFS.
    """
    frames = pitch_frames(mono, sample_rate)
    found = [normalised_autocorrelation(part).amax(dim=1) for part in frames.split(_FRAMES_AT_ONCE)]
    return torch.cat(found), level_of(frames)


def _clipped_share(waveform: Float[Tensor, "C T"]) -> float:
    """Share of the samples that lie in runs at the largest value of their channel, cut off there."""
    clipped = 0
    for channel in waveform.numpy():
        limit = float(np.abs(channel).max()) * (1 - 1e-4)
        if limit == 0:
            continue
        flat = np.sign(channel) * (np.abs(channel) >= limit)
        borders = np.flatnonzero(np.diff(flat, prepend=0, append=0))
        borders = np.union1d(borders, [0, len(channel)])
        begins, ends = borders[:-1], borders[1:]
        sizes, sign = ends - begins, flat[begins]
        before, after = (
            sign * channel[places.clip(0, len(channel) - 1)] for places in (begins - sizes, ends - 1 + sizes)
        )
        # As far outside of a run as it is long, a wave lies 8 times as far below its crest as the crest above
        # the run, if both are one parabola.
        overshoot = (limit - (before + after) / 2) / 8
        is_cut = (sign != 0) & (sizes >= _CLIPPED_RUN) & (overshoot > _LEAST_OVERSHOOT * limit)
        clipped += int((sizes[is_cut] - _CLIPPED_RUN + 1).sum())
    return clipped / waveform.numel()


def _rumble_share(mono: Float[Tensor, " T"], sample_rate: int) -> float:
    samples = (
        mono[: len(mono) // _SPECTRUM_SAMPLES * _SPECTRUM_SAMPLES] if len(mono) > _SPECTRUM_SAMPLES else mono
    )
    low = total = 0.0
    for part in samples.split(_SPECTRUM_SAMPLES):
        power = torch.fft.rfft(part * torch.hann_window(len(part))).abs().square()
        edge = int(_RUMBLE_BELOW_HZ * len(part) / sample_rate) + 1
        low += float(power[:edge].sum())
        total += float(power.sum())
    return low / total if total else 0.0

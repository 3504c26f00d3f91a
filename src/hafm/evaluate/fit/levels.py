"""Where somebody sings, how loud the accompaniment is beneath it, and how much of it has none beneath it.

In: waveforms `[T]` on one clock, of one sample or more, and their rate in hertz. Out: for each frame of 100
ms whether the voice sings; LU, or a share from 0 to 1, None where it is not known.

*Singing*, the filter of the test set: a frame within 30 dB of the track's own active level, and above -60
dBFS. What a stem holds between phrases (breath, room, bleed) is lower. The whole track decides about the
level, so that a quiet verse does not count as silence, nor the noise of a pause as a voice.

*Dead air.* The vocal sings in a frame within 30 dB of its own active level. The accompaniment is dead in a
frame more than 40 dB below *its* active level, so that the measure does not know how loud the accompaniment
is as a whole; but an accompaniment below -70 dBFS everywhere is dead throughout. A rest of the band counts as
dead air too, so a share is too large only where it is above that of true pairs.

*Balance* has no best value: what is right for a style is what true pairs of that style have.

Source: ITU-R BS.1770-4, through `hafm.audio.loudness`; singing and dead air are ours (SingSong filters clips
by vocal activity and does not say how).
"""

from jaxtyping import Bool, Float
from torch import Tensor
from torch.nn.functional import pad

from hafm.audio.loudness import integrated_lufs
from hafm.tokens.level import active_rms

__all__ = ["activity_share", "dead_air_share", "loudness_balance_lu", "sings"]

_FRAMES_PER_SECOND = 10
_SINGING_BELOW_DB = 30.0
_DEAD_BELOW_DB = 40.0
_SILENCE_DBFS = -70.0
_SINGING_DBFS = -60.0


def sings(vocal: Float[Tensor, " T"], sample_rate: int) -> Bool[Tensor, " F"]:
    """Whether the voice of a whole track is heard, ten times per second.

    >>> import torch
    >>> tone = torch.sin(torch.arange(24_000.0))
    >>> sings(torch.cat([tone, torch.zeros(24_000)]), 24_000).sum()
    tensor(10)
    """
    rms, level = _frame_rms(vocal, sample_rate)
    return (rms >= level * 10 ** (-_SINGING_BELOW_DB / 20)) & (rms >= 10 ** (_SINGING_DBFS / 20))


def activity_share(active: Bool[Tensor, " F"], *, start_seconds: float, seconds: float) -> float:
    """Share of a stretch in which the voice is heard; the frames that begin in the stretch count.

    >>> import torch
    >>> activity_share(torch.tensor([True, True, False, False]), start_seconds=0.1, seconds=0.2)
    0.5
    """
    first = round(start_seconds * _FRAMES_PER_SECOND)
    stretch = active[first : max(first + 1, round((start_seconds + seconds) * _FRAMES_PER_SECOND))]
    return float(stretch.float().mean())


def loudness_balance_lu(
    vocal: Float[Tensor, " T"], accompaniment: Float[Tensor, " T"], sample_rate: int
) -> float | None:
    """Integrated loudness of the accompaniment less that of the vocal; None where either counts as silent.

    >>> import torch
    >>> tone = torch.sin(2 * torch.pi * 440 * torch.arange(24_000) / 24_000)
    >>> round(loudness_balance_lu(tone, 0.5 * tone, 24_000), 2)
    -6.02
    """
    loudness = integrated_lufs(accompaniment[None], sample_rate)
    reference = integrated_lufs(vocal[None], sample_rate)
    return None if loudness is None or reference is None else loudness - reference


def dead_air_share(
    vocal: Float[Tensor, " T"], accompaniment: Float[Tensor, " T"], sample_rate: int
) -> float | None:
    """Share of the frames with singing in which the accompaniment is dead; None where nobody sings.

    >>> import torch
    >>> tone = torch.sin(torch.arange(24_000.0))
    >>> dead_air_share(tone, torch.cat([tone[:18_000], torch.zeros(6_000)]), 24_000)
    0.2
    >>> dead_air_share(tone, torch.zeros(24_000), 24_000)
    1.0
    """
    singing = _is_heard(vocal, sample_rate, below_db=_SINGING_BELOW_DB)
    playing = _is_heard(accompaniment, sample_rate, below_db=_DEAD_BELOW_DB)
    if not singing.any():
        return None
    return float((singing & ~playing).sum()) / float(singing.sum())


def _is_heard(waveform: Tensor, sample_rate: int, *, below_db: float) -> Tensor:
    """Which frames are within `below_db` of the active level `[F]`."""
    rms, level = _frame_rms(waveform, sample_rate)
    return (rms >= level * 10 ** (-below_db / 20)) & (level >= 10 ** (_SILENCE_DBFS / 20))


def _frame_rms(waveform: Tensor, sample_rate: int) -> tuple[Tensor, float]:
    """The level of each frame `[F]`, and the active one of the whole sound."""
    frame = max(1, sample_rate // _FRAMES_PER_SECOND)
    rms = pad(waveform, (0, -len(waveform) % frame)).view(-1, frame).square().mean(dim=1).sqrt()
    return rms, float(active_rms(waveform[None], sample_rate=sample_rate)[0])

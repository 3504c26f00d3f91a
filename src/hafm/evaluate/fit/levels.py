"""How loud the accompaniment is under the singing, and how much of the singing has none beneath it.

In: two waveforms `[T]` on one clock. Out: LU, or a share from 0 to 1; None where it is not known.

*Dead air.* Both sounds are cut into frames of 100 ms. The vocal sings in a frame within 30 dB of its own
active level. The accompaniment is dead in a frame more than 40 dB below *its* active level, so that the
measure does not know how loud the accompaniment is as a whole; but an accompaniment below -70 dBFS everywhere
is dead throughout. A rest of the band counts as dead air too, so a share is too large only where it is above
that of true pairs.

*Balance* has no best value: what is right for a style is what true pairs of that style have.

Source: ITU-R BS.1770-4, through `hafm.audio.loudness`; dead air is ours.
"""

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import pad

from hafm.audio.loudness import integrated_lufs
from hafm.tokens.level import active_rms

__all__ = ["dead_air_share", "loudness_balance_lu"]

_FRAMES_PER_SECOND = 10
_SINGING_BELOW_DB = 30.0
_DEAD_BELOW_DB = 40.0
_SILENCE_DBFS = -70.0


def loudness_balance_lu(
    vocal: Float[Tensor, " T"], accompaniment: Float[Tensor, " T"], sample_rate: int
) -> float | None:
    """Integrated loudness of the accompaniment less that of the vocal; None where either counts as silent.

    Args:
        vocal: finite samples.
        accompaniment: finite samples, as many.
        sample_rate: in hertz.

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

    Args:
        vocal: one sample or more.
        accompaniment: as many.
        sample_rate: in hertz.

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
    level = float(active_rms(waveform[None], sample_rate=sample_rate)[0])
    frame = max(1, sample_rate // _FRAMES_PER_SECOND)
    rms = pad(waveform, (0, -len(waveform) % frame)).view(-1, frame).square().mean(dim=1).sqrt()
    if level < 10 ** (_SILENCE_DBFS / 20):
        return torch.zeros_like(rms, dtype=torch.bool)
    return rms >= level * 10 ** (-below_db / 20)

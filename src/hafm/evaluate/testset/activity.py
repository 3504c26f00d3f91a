"""Where the voice is heard: the filter of the protocol.

In: a vocal `[T]`. Out: for each tenth of a second whether it sings; and the share of that in a stretch.

A tenth of a second sings if it is within 30 dB of the track's own active level, and above -60 dBFS: what a
stem holds between phrases (breath, room, bleed) is lower. The whole track decides about the level, so that a
quiet verse does not count as silence, nor the noise of a pause as a voice.

Source: ours; SingSong filters clips by vocal activity and does not say how.
"""

from jaxtyping import Bool, Float
from torch import Tensor
from torch.nn.functional import pad

from hafm.tokens.level import active_rms

__all__ = ["ACTIVITY_FRAMES_PER_SECOND", "activity_share", "sings"]

ACTIVITY_FRAMES_PER_SECOND = 10
_BELOW_DB = 30.0
_FLOOR_DBFS = -60.0


def sings(vocal: Float[Tensor, " T"], sample_rate: int) -> Bool[Tensor, " F"]:
    """Whether the voice is heard, ten times per second.

    Args:
        vocal: a whole track, one sample or more.
        sample_rate: in hertz.

    >>> import torch
    >>> tone = torch.sin(torch.arange(24_000.0))
    >>> sings(torch.cat([tone, torch.zeros(24_000)]), 24_000).sum()
    tensor(10)
    """
    frame = sample_rate // ACTIVITY_FRAMES_PER_SECOND
    rms = pad(vocal, (0, -len(vocal) % frame)).view(-1, frame).square().mean(dim=1).sqrt()
    level = float(active_rms(vocal[None], sample_rate=sample_rate)[0])
    return (rms >= level * 10 ** (-_BELOW_DB / 20)) & (rms >= 10 ** (_FLOOR_DBFS / 20))


def activity_share(active: Bool[Tensor, " F"], *, start_seconds: float, seconds: float) -> float:
    """Share of a stretch in which the voice is heard.

    Args:
        active: of the whole track.
        start_seconds, seconds: the stretch; the frames that begin in it count.

    >>> import torch
    >>> activity_share(torch.tensor([True, True, False, False]), start_seconds=0.1, seconds=0.2)
    0.5
    """
    first = round(start_seconds * ACTIVITY_FRAMES_PER_SECOND)
    stretch = active[first : max(first + 1, round((start_seconds + seconds) * ACTIVITY_FRAMES_PER_SECOND))]
    return float(stretch.float().mean())

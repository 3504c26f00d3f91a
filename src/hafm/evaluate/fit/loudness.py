"""How much louder the accompaniment is than the vocal, in loudness units.

In: two waveforms `[T]` of one length. Out: LU, above 0 where the accompaniment is the louder one; None where
one of them counts as silent.

There is no best value: what is right for a style is what true pairs of that style have.

Source: ITU-R BS.1770-4, through `hafm.audio.loudness`.
"""

from jaxtyping import Float
from torch import Tensor

from hafm.audio.loudness import integrated_lufs

__all__ = ["loudness_balance_lu"]


def loudness_balance_lu(
    vocal: Float[Tensor, " T"], accompaniment: Float[Tensor, " T"], sample_rate: int
) -> float | None:
    """Integrated loudness of the accompaniment less that of the vocal.

    Args:
        vocal: finite samples.
        accompaniment: finite samples, as many.
        sample_rate: in hertz.

    >>> import torch
    >>> tone = torch.sin(2 * torch.pi * 440 * torch.arange(24_000) / 24_000)
    >>> round(loudness_balance_lu(tone, 0.5 * tone, 24_000), 2)
    -6.02
    """
    loudness = integrated_lufs(accompaniment[None], sample_rate)
    reference = integrated_lufs(vocal[None], sample_rate)
    return None if loudness is None or reference is None else loudness - reference

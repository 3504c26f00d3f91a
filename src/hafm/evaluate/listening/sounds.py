"""The two sounds of a trial, as bytes of MP3 that tell nothing but what is heard.

In: the vocal and the accompaniments of both sides, `[T]`. Out: two MP3s of one size and one loudness.

What could give a system away, and is shut off here:

    loudness     both mixes come from `mixdown` with the same balance; where one stays under `LOUDNESS_LUFS`
                 for the sake of its peaks, the other is turned down to it
    size         the bit rate is constant, so a size tells the duration, which both sides share
    clicks       both begin and end with a fade, wherever the song was cut
    same bytes   a sound that comes twice is encoded anew, with other noise at -100 dB, so the bytes differ

A mono MP3 of 128 kb/s at 24 kHz; what it does to a sound, it does to both sides. The vocal is the isolated
one in either arm: a separated vocal carries traces of the true instrumental, which would speak for the truth.
"""

import io

import torch
from jaxtyping import Float
from torch import Tensor

from hafm.audio.mixdown import mixdown
from hafm.errors import UsageError

__all__ = ["LOUDNESS_LUFS", "MP3_RATES_HZ", "encode_mp3", "two_mixes", "vocal_alone"]

LOUDNESS_LUFS = -20.0
"""Of all mixes: quiet enough that peaks seldom ask for less."""

MP3_RATES_HZ = (16_000, 22_050, 24_000, 32_000, 44_100, 48_000)

_FADE_SECONDS = 0.02
_NOISE = 1e-5
# libsndfile maps 0 to 1 onto the bit rates of MP3, best first; at 24 kHz this is 128 kb/s.
_COMPRESSION = 0.2


def two_mixes(
    vocal: Float[Tensor, " T"],
    a: Float[Tensor, " T"],
    b: Float[Tensor, " T"],
    sample_rate: int,
) -> tuple[Float[Tensor, " T"], Float[Tensor, " T"]]:
    """A vocal with either of two accompaniments, equally loud.

    Args:
        vocal: finite.
        a, b: finite, as long as the vocal.
        sample_rate: samples a second.
    """
    mixes, loudness = [], []
    for accompaniment in (a, b):
        mix, levels = mixdown(vocal[None], accompaniment[None], sample_rate, loudness_lufs=LOUDNESS_LUFS)
        mixes.append(mix[0])
        loudness.append(LOUDNESS_LUFS if levels.mix_lufs is None else levels.mix_lufs)
    first, second = (
        mix * 10 ** ((min(loudness) - lufs) / 20) for mix, lufs in zip(mixes, loudness, strict=True)
    )
    return first, second


def vocal_alone(vocal: Float[Tensor, " T"], sample_rate: int) -> Float[Tensor, " T"]:
    """The vocal at the loudness of the mixes, to set the volume by."""
    mix, _ = mixdown(vocal[None], torch.zeros_like(vocal)[None], sample_rate, loudness_lufs=LOUDNESS_LUFS)
    return mix[0]


def encode_mp3(sound: Float[Tensor, " T"], sample_rate: int, *, seed: int) -> bytes:
    """A sound as MP3.

    Args:
        sound: finite, within full scale.
        sample_rate: one of `MP3_RATES_HZ`.
        seed: of the noise that makes each encoding its own.

    Raises:
        UsageError: MP3 has no such sample rate.

    >>> sizes = [len(encode_mp3(scale * torch.ones(24_000), 24_000, seed=0)) for scale in (0.0, 0.5)]
    >>> sizes[0] == sizes[1]
    True
    """
    import soundfile

    if sample_rate not in MP3_RATES_HZ:
        raise UsageError(
            f"the run's sounds have {sample_rate} Hz, and MP3 knows {', '.join(map(str, MP3_RATES_HZ))} Hz; "
            "evaluate at one of these"
        )
    fade = min(int(_FADE_SECONDS * sample_rate), len(sound) // 2)
    rise = torch.linspace(0, 1, fade)
    shape = torch.cat([rise, torch.ones(len(sound) - 2 * fade), rise.flip(0)])
    noise = torch.randn(len(sound), generator=torch.Generator().manual_seed(seed))
    samples = (sound * shape + _NOISE * noise).clamp(-1, 1)
    encoded = io.BytesIO()
    soundfile.write(
        encoded,
        samples.numpy(),
        sample_rate,
        format="MP3",
        subtype="MPEG_LAYER_III",
        compression_level=_COMPRESSION,
        bitrate_mode="CONSTANT",
    )
    return encoded.getvalue()

"""Sounds that a page carries in itself: levels as in the mix, MP3, base64.

In: a vocal and an accompaniment `[T]`. Out: what is heard of them (`Heard`), and `data:` addresses of bytes.

Conventions: mono, at the run's own rate, about 30 kbit/s: 10 s take 50 kB of a page. The encoder writes how
many samples there are, so that the players stop where the clip does. An accompaniment alone has the level
that it has in the mix, and is turned down if that would clip; silence stays silence.
"""

import base64
import io
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from hafm.audio.mixdown import mixdown
from hafm.errors import OutputError

__all__ = ["Heard", "data_address", "heard", "mp3", "vocal_alone"]

_LEVEL = 0.85  # libsndfile's, from 0 (best) to 1 (smallest)
_MOST = 0.98


@dataclass(frozen=True, kw_only=True, eq=False)
class Heard:
    """One accompaniment as it is heard.

    Args:
        alone: at its level in the mix.
        mix: with the vocal.
    """

    alone: Float[Tensor, " T"]
    mix: Float[Tensor, " T"]


def heard(vocal: Float[Tensor, " T"], accompaniment: Float[Tensor, " T"], sample_rate: int) -> Heard:
    """The mix as `hafm generate` makes it, and the accompaniment alone at the level that it has there."""
    mix, levels = mixdown(vocal[None], accompaniment[None], sample_rate)
    alone = accompaniment * 10 ** (levels.accompaniment_gain_db / 20)
    return Heard(alone=_within(alone), mix=mix[0])


def vocal_alone(vocal: Float[Tensor, " T"], sample_rate: int) -> Float[Tensor, " T"]:
    """The vocal at the loudness of a mix."""
    return mixdown(vocal[None], torch.zeros_like(vocal)[None], sample_rate)[0][0]


def _within(sound: Tensor) -> Tensor:
    peak = float(sound.abs().max())
    return sound if peak <= _MOST else sound * (_MOST / peak)


def mp3(waveform: Float[Tensor, " T"], sample_rate: int) -> bytes:
    """The sound as MP3. The same sound gives the same bytes with the same libsndfile.

    Raises:
        OutputError: this libsndfile has no MP3 encoder.

    >>> len(mp3(torch.zeros(24_000), 24_000)) < 6000
    True
    """
    import soundfile

    if "MP3" not in soundfile.available_formats():
        raise OutputError(
            f"libsndfile {soundfile.__libsndfile_version__} writes no MP3, which the report's players need; "
            "update the package soundfile (0.13 or newer brings one that does)"
        )
    encoded = io.BytesIO()
    soundfile.write(
        encoded,
        waveform.numpy(),
        sample_rate,
        format="MP3",
        bitrate_mode="AVERAGE",
        compression_level=_LEVEL,
    )
    return encoded.getvalue()


def data_address(content: bytes, kind: str) -> str:
    """An address that holds what it points to.

    >>> data_address(b"abc", "audio/mpeg")
    'data:audio/mpeg;base64,YWJj'
    """
    return f"data:{kind};base64,{base64.b64encode(content).decode()}"

"""What the report and the listening page share: a template in which text cannot become markup, and sounds.

In: the folder of a page's files, and values. Out: HTML that holds everything it shows.

    NAME.html.j2    the template; whatever enters it is escaped (Jinja's autoescape)
    NAME.css        its style sheet, in the page as it is
    NAME.js         its script, the same
"""

import base64
import functools
import io
from pathlib import Path
from typing import Any

import jinja2
import torch
from jaxtyping import Float
from torch import Tensor

from hafm.audio.mixdown import mixdown
from hafm.errors import OutputError, UsageError

__all__ = ["data_address", "mp3", "render", "vocal_alone"]

_MP3_RATES_HZ = (16_000, 22_050, 24_000, 32_000, 44_100, 48_000)


def render(folder: Path, name: str, **values: Any) -> str:
    """The page `name` of a folder, from the template, style sheet and script of that name.

    The template also gets `style` and `script`, its only texts that are `safe`. A name that it asks for and
    that is not among the values is an error.
    """
    style, script = ((folder / f"{name}{ending}").read_text(encoding="utf-8") for ending in (".css", ".js"))
    return _templates(folder).get_template(f"{name}.html.j2").render(style=style, script=script, **values)


@functools.cache
def _templates(folder: Path) -> jinja2.Environment:
    """The templates of a folder, compiled once per process."""
    return jinja2.Environment(
        loader=jinja2.FileSystemLoader(folder),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )


def data_address(content: bytes, kind: str) -> str:
    """An address that holds what it points to.

    >>> data_address(b"abc", "audio/mpeg")
    'data:audio/mpeg;base64,YWJj'
    """
    return f"data:{kind};base64,{base64.b64encode(content).decode()}"


def mp3(
    waveform: Float[Tensor, " T"], sample_rate: int, *, compression: float, constant_rate: bool = False
) -> bytes:
    """A sound as MP3, whose header says how many samples there are, so that players stop where it does.

    The same sound gives the same bytes with the same libsndfile.

    Args:
        compression: libsndfile's, from 0 (best) to 1 (smallest).
        constant_rate: whether every second takes the same number of bytes.

    Raises:
        UsageError: MP3 has no such sample rate.
        OutputError: this libsndfile has no MP3 encoder.

    >>> len(mp3(torch.zeros(24_000), 24_000, compression=0.85)) < 6000
    True
    """
    import soundfile

    if "MP3" not in soundfile.available_formats():
        raise OutputError(
            f"libsndfile {soundfile.__libsndfile_version__} writes no MP3, which the page's players need; "
            "update the package soundfile (0.13 or newer brings one that does)"
        )
    if sample_rate not in _MP3_RATES_HZ:
        raise UsageError(
            f"the run's sounds have {sample_rate} Hz, and MP3 has "
            f"{', '.join(map(str, _MP3_RATES_HZ))} Hz; evaluate at one of these"
        )
    encoded = io.BytesIO()
    soundfile.write(
        encoded,
        waveform.numpy(),
        sample_rate,
        format="MP3",
        bitrate_mode="CONSTANT" if constant_rate else "AVERAGE",
        compression_level=compression,
    )
    return encoded.getvalue()


def vocal_alone(vocal: Float[Tensor, " T"], sample_rate: int, *, loudness_lufs: float) -> Float[Tensor, " T"]:
    """The vocal at the loudness of a mix."""
    mix, _ = mixdown(vocal[None], torch.zeros_like(vocal)[None], sample_rate, loudness_lufs=loudness_lufs)
    return mix[0]

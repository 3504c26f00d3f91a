"""Parts as sound, through a SoundFont.

In: `Part`s in window time. Out: one mono waveform per stem, float32, 24 kHz.

Presets differ in loudness by 20 dB and more, so each part is rendered alone and scaled to its `level_db`; a
stem is the plain sum of its parts, and the band the plain sum of its stems. Notes that began before the
window are heard from where they then are.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Protocol

import numpy as np
import numpy.typing as npt

from hafm.arrange.mixing import gain_to
from hafm.arrange.parts import Part
from hafm.arrange.sampler import Sampler
from hafm.arrange.soundfont import DRUM_BANK, open_soundfont
from recipes.builtin.rendering.arrange import STEMS

SAMPLE_RATE = 24_000

Waveform = npt.NDArray[np.float32]


class PartRenderer(Protocol):
    """What plays parts; the tests put a stub here."""

    def render(self, parts: Sequence[Part], *, seconds: float) -> Waveform:
        """Mono waveform of exactly round(seconds * 24000) samples."""
        ...


class SoundFontRenderer:
    """Plays parts with the presets of a SoundFont.

    Args:
        path: an ``.sf2`` or ``.sf3`` file with General MIDI presets.

    Raises:
        SoundfontError: it cannot be read, or is no SoundFont.
    """

    def __init__(self, path: Path) -> None:
        self._sampler = Sampler(open_soundfont(path), SAMPLE_RATE)

    def render(self, parts: Sequence[Part], *, seconds: float) -> Waveform:
        """Play the window [0, seconds). Shape [round(seconds * 24000)]."""
        num_samples = round(seconds * SAMPLE_RATE)
        sound = np.zeros(num_samples, np.float32)
        for part in parts:
            bank = DRUM_BANK if part.is_drums else 0
            sound += self._sampler.play(
                part.events, bank=bank, program=part.program, num_samples=num_samples
            ).mean(axis=0)
        return sound


def render_stems(renderer: PartRenderer, parts: Iterable[Part], *, seconds: float) -> dict[str, Waveform]:
    """Play each part by itself, bring it to its level, and sum the parts of each stem.

    Returns:
        One waveform for each of `STEMS`, silent where nobody plays. Shape [round(seconds * 24000)] each.
    """
    stems: dict[str, Waveform] = {stem: np.zeros(round(seconds * SAMPLE_RATE), np.float32) for stem in STEMS}
    for part in parts:
        waveform = renderer.render([part], seconds=seconds)
        stems[part.stem] += waveform * gain_to(part.level_db, waveform, SAMPLE_RATE)
    return stems

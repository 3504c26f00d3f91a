"""Parts as sound, through a SoundFont.

In: `Part`s in window time. Out: one mono waveform a stem, float32, 24 kHz.

Presets differ in loudness by 20 dB and more, so each part is rendered alone and scaled to its `level_db`; a
stem is the plain sum of its parts, and the band the plain sum of its stems. Events are quantised to
`BLOCK_SAMPLES` (2.7 ms), far below what the ear or a 13 ms codec frame resolves.

Source: TinySoundFont, through the `tinysoundfont` package (install it with ``--no-deps``).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Protocol

import numpy as np
import numpy.typing as npt

from recipes.builtin.rendering.arrange import Part
from recipes.builtin.rendering.styles import STEMS

SAMPLE_RATE = 24_000
BLOCK_SAMPLES = 64
PRE_ROLL_SECONDS = 1.0
"""Notes that began before the window start here, so that it opens on their sustain and not on a false
attack."""

Waveform = npt.NDArray[np.float32]

_VOLUME, _PAN = 7, 10
_DRUM_BANK = 128


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
        FileNotFoundError: nothing at `path`.
        ImportError: tinysoundfont is not installed.
    """

    def __init__(self, path: Path) -> None:
        if not path.is_file():
            raise FileNotFoundError(
                f"no SoundFont at {path}; pass a General MIDI .sf2 or .sf3 with --soundfont"
            )
        try:
            from tinysoundfont import Synth
        except ImportError as error:
            raise ImportError(
                "rendering needs tinysoundfont; install it with: pip install --no-deps tinysoundfont"
            ) from error
        self._synth = Synth(samplerate=SAMPLE_RATE)
        self._font = self._synth.sfload(str(path))

    def render(self, parts: Sequence[Part], *, seconds: float) -> Waveform:
        """Play the window [0, seconds).

        Args:
            parts: at most 16.
            seconds: length of the window.

        Returns:
            Mono waveform. Shape [round(seconds * 24000)].
        """
        num_samples = round(seconds * SAMPLE_RATE)
        lead_samples = round(PRE_ROLL_SECONDS * SAMPLE_RATE)
        for channel, part in enumerate(parts):
            self._prepare(channel, part)
        blocks, position, total = [], 0, lead_samples + num_samples
        for sample, is_on, channel, pitch, velocity in _schedule(parts, lead_samples, total):
            if sample > position:
                blocks.append(self._play(sample - position))
                position = sample
            if is_on:
                self._synth.noteon(channel, pitch, velocity)
            else:
                self._synth.noteoff(channel, pitch)
        if position < total:
            blocks.append(self._play(total - position))
        for channel in range(len(parts)):
            self._synth.sounds_off(channel)
        self._play(4 * BLOCK_SAMPLES)  # lets the cut voices end here and not in the next render
        stereo = np.concatenate(blocks)
        return np.float32(0.5) * (stereo[0::2] + stereo[1::2])[lead_samples:]

    def _prepare(self, channel: int, part: Part) -> None:
        bank = _DRUM_BANK if part.is_drums else 0
        self._synth.program_select(channel, self._font, bank, part.program, part.is_drums)
        self._synth.control_change(channel, _VOLUME, 127)
        self._synth.control_change(channel, _PAN, 64)

    def _play(self, num_samples: int) -> Waveform:
        """The next samples, left and right in turn. Shape [2 * num_samples]."""
        return np.frombuffer(bytes(self._synth.generate(num_samples)), np.float32)


def _schedule(
    parts: Sequence[Part], lead_samples: int, total_samples: int
) -> list[tuple[int, bool, int, int, int]]:
    """Note messages in order of time, releases before attacks within a block.

    Drum strokes from before the pre-roll are over and left out; sustained notes are struck again at its
    start.
    """
    messages = []
    for channel, part in enumerate(parts):
        for start_seconds, end_seconds, pitch, velocity in part.events:
            start = round(start_seconds * SAMPLE_RATE) + lead_samples
            end = round(end_seconds * SAMPLE_RATE) + lead_samples
            if start >= total_samples or end <= 0 or (part.is_drums and start < 0):
                continue
            pitch = min(max(pitch, 0), 127)
            start = max(start, 0) // BLOCK_SAMPLES * BLOCK_SAMPLES
            end = max(end // BLOCK_SAMPLES * BLOCK_SAMPLES, start + BLOCK_SAMPLES)
            messages.append((start, True, channel, pitch, velocity))
            if end < total_samples:
                messages.append((end, False, channel, pitch, 0))
    return sorted(messages)


def render_stems(renderer: PartRenderer, parts: Iterable[Part], *, seconds: float) -> dict[str, Waveform]:
    """Play each part by itself, bring it to its level, and sum the parts of each stem.

    Returns:
        One waveform for each of `styles.STEMS`, silent where nobody plays. Shape [round(seconds * 24000)]
        each.
    """
    stems = {stem: np.zeros(round(seconds * SAMPLE_RATE), np.float32) for stem in STEMS}
    for part in parts:
        waveform = renderer.render([part], seconds=seconds)
        stems[part.stem] += waveform * _gain_to(part.level_db, waveform)
    return stems


def _gain_to(level_db: float, waveform: Waveform) -> np.float32:
    """Gain that brings the sounding part of a waveform to a level: stretches of 50 ms within 40 dB of the
    loudest."""
    stretch = SAMPLE_RATE // 20
    whole = waveform[: len(waveform) // stretch * stretch].reshape(-1, stretch)
    power = np.mean(whole.astype(np.float64) ** 2, axis=1)
    loudest = power.max(initial=0.0)
    if loudest < 1e-12:
        return np.float32(0.0)
    return np.float32(10 ** (level_db / 20) / np.sqrt(power[power > 1e-4 * loudest].mean()))

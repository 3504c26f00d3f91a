"""Manufactured scores, voices and a sine-wave band, so that rendering is tested without data sets.

Import as `from tests.recipes.rendering import ...`: worker processes must find it by the same name.
"""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from functools import cache

import numpy as np

from hafm.arrange.parts import Part
from recipes.builtin.render import RenderConfig
from recipes.builtin.rendering.chords import Chord, Key
from recipes.builtin.rendering.formant import formant_voice
from recipes.builtin.rendering.pair import Sources
from recipes.builtin.rendering.scores import Score, Span
from recipes.builtin.rendering.stems import SAMPLE_RATE, Waveform
from recipes.builtin.rendering.voices import Voice

BEAT_SECONDS = 0.6
BEATS = 64
PROGRESSION = (("C", 0, "maj"), ("G", 7, "maj"), ("Am", 9, "min"), ("F", 5, "maj"))


def tiny_score(song_id: int = 0, *, beats_per_bar: int = 4, intro_beats: int = 0) -> Score:
    """A song in C major, 100 beats a minute, one chord a bar; the melody walks over chord tones."""
    beats = BEAT_SECONDS * np.arange(BEATS)
    chords, piano, melody = [], [], []
    for bar in range(BEATS // beats_per_bar):
        _, root, quality = PROGRESSION[bar % 4]
        chord = Chord(root=root, quality=quality, bass=root)
        start, end = (BEAT_SECONDS * beats_per_bar * edge for edge in (bar, bar + 1))
        chords.append(Span(start_seconds=start, end_seconds=end, value=chord))
        piano += [(start, end - 0.05, 60 + pitch_class, 80) for pitch_class in chord.pitch_classes]
        for beat in range(beats_per_bar):
            onset = start + beat * BEAT_SECONDS
            if bar * beats_per_bar + beat >= intro_beats:
                pitch = 60 + chord.pitch_classes[(beat + song_id) % 3]
                melody.append((onset, onset + 0.9 * BEAT_SECONDS, pitch, 70 + 10 * (beat % 3)))
    return Score(
        song_id=song_id,
        melody=np.array(melody, dtype=np.float64),
        bridge=np.array([(0.0, 1.2, 76, 80), (24.0, 26.0, 79, 80)]),
        piano=np.array(piano, dtype=np.float64),
        beat_seconds=beats,
        downbeats=np.arange(0, BEATS, beats_per_bar),
        beats_per_bar=beats_per_bar,
        chords=tuple(chords),
        keys=(Span(start_seconds=0.0, end_seconds=BEATS * BEAT_SECONDS, value=Key(tonic=0, mode="maj")),),
    )


class TinyScores:
    """Twenty songs: 9 and 19 test, 8 valid, the rest train."""

    song_ids = tuple(range(20))

    def score(self, song_id: int) -> Score:
        return tiny_score(song_id)

    def beats_per_bar(self, song_id: int) -> int:
        return 4


class FormantChoir:
    """A parametric voice under the name of each recorded one."""

    def voice(self, name: str) -> Voice:
        return _choir(name)


@cache
def _choir(name: str) -> Voice:
    return formant_voice(np.random.default_rng(zlib.crc32(name.encode())), high="high" in name, name=name)


class SineBand:
    """Plays notes as decaying sines, and drum strokes as clicks of 5 ms."""

    def render(self, parts: Sequence[Part], *, seconds: float) -> Waveform:
        output = np.zeros(round(seconds * SAMPLE_RATE), np.float32)
        for part in parts:
            for start, end, pitch, velocity in part.events:
                first, last = max(0, round(start * SAMPLE_RATE)), min(len(output), round(end * SAMPLE_RATE))
                if last <= first or (part.is_drums and start < 0):
                    continue
                time = np.arange(last - first) / SAMPLE_RATE
                hz, decay = (2000.0, 200.0) if part.is_drums else (440.0 * 2 ** ((pitch - 69) / 12), 1.0)
                output[first:last] += velocity / 1270 * np.sin(2 * np.pi * hz * time) * np.exp(-decay * time)
        return output


def tiny_sources() -> Sources:
    return Sources(scores=TinyScores(), voices=FormantChoir(), renderer=SineBand())


def open_tiny(config: RenderConfig) -> Sources:
    """An opener for `render`: takes no notice of the paths."""
    return tiny_sources()


def open_failing(config: RenderConfig) -> Sources:
    """An opener whose scores have no song of any split."""

    class Nothing(TinyScores):
        song_ids = ()

    return Sources(scores=Nothing(), voices=FormantChoir(), renderer=SineBand())

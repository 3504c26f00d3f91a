"""Sung notes as the controls of the vocoder.

In: `SungNote`s, a `Voice` and a `SingingStyle`. Out: `Controls`.

A syllable of the bank is stretched to the length of its note: the consonant comes before the vowel's onset,
the middle of the vowel carries the length. A long vowel wanders to and fro within its middle instead of
freezing, for a frozen envelope buzzes.

    consonant | head | hold ........................ | tail
              ^ start_seconds                              ^ end_seconds
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from recipes.builtin.rendering.controls import FRAME_RATE, LEAD_SECONDS, Controls, frame_at, smooth_noise
from recipes.builtin.rendering.intonation import pitch_curve
from recipes.builtin.rendering.phrasing import SungNote
from recipes.builtin.rendering.singer import SingingStyle
from recipes.builtin.rendering.voices import BAND_HZ, DIPHTHONGS, NUM_BANDS, Segment, Voice

_SILENCE_DB = -60.0
_SILENT_BAND = -20.0
_FRAMES_PER_BANK_FRAME = 2  # the bank has a frame every 10 ms
_HELD_SHARE = {"vowel": (0.25, 0.6), "diphthong": (0.15, 0.4)}
_SHORTEST_BREATH_REST = 0.16
_RIPPLE_FRAMES, _RIPPLE_BANDS = 14, 14
_NEPERS_PER_DB = np.float32(np.log(10.0) / 10.0)  # of power


def sing(
    notes: Sequence[SungNote], *, seconds: float, voice: Voice, style: SingingStyle, rng: np.random.Generator
) -> Controls:
    """Controls for the window, preceded by `LEAD_SECONDS`.

    Args:
        notes: in window time; at least one.
        seconds: length of the window.
        voice: whose syllables to use.
        style: how to sing them.
        rng: source of the singer's small variations.

    Raises:
        ValueError: `notes` is empty.
    """
    if not notes:
        raise ValueError("nothing to sing: the window holds no note")
    sheet = _Sheet(round((seconds + LEAD_SECONDS) * FRAME_RATE) + 1)
    for index, note in enumerate(notes):
        following = notes[index + 1].start_seconds if index + 1 < len(notes) else np.inf
        _write_note(sheet, note, following, voice=voice, style=style, rng=rng)
        breathes = rng.random() < style.breath_chance
        if breathes and np.isfinite(following) and following - note.end_seconds > _SHORTEST_BREATH_REST:
            _write_breath(sheet, note.end_seconds, following, style, rng)
    pitch = pitch_curve(notes, len(sheet.level_db), style, rng)
    wander = smooth_noise(len(pitch), 41, rng)
    return Controls(
        pitch=pitch,
        bands=sheet.bands + style.ripple_db * _NEPERS_PER_DB * _ripple(len(pitch), rng),
        aperiodicity=sheet.aperiodicity,
        voiced=sheet.voiced,
        level_db=(sheet.level_db + 0.7 * wander).astype(np.float32),
    )


def _ripple(num_frames: int, rng: np.random.Generator) -> npt.NDArray[np.float32]:
    """What a mouth in motion does to the envelope: smooth noise of unit deviation over time and frequency.

    Drawn every `_RIPPLE_FRAMES` frames and for every few bands, linear between. Shape [num_frames, 64].
    """
    coarse = rng.standard_normal((num_frames // _RIPPLE_FRAMES + 2, _RIPPLE_BANDS)).astype(np.float32)
    bands = np.linspace(0.0, _RIPPLE_BANDS - 1.0, NUM_BANDS)
    low = np.minimum(bands.astype(int), _RIPPLE_BANDS - 2)
    share = (bands - low).astype(np.float32)
    coarse = coarse[:, low] * (1 - share) + coarse[:, low + 1] * share
    row, step = np.divmod(np.arange(num_frames), _RIPPLE_FRAMES)
    weight = (step / np.float32(_RIPPLE_FRAMES))[:, None]
    return np.asarray(coarse[row] * (1 - weight) + coarse[row + 1] * weight, np.float32)


class _Sheet:
    """Controls under construction; times outside it are ignored."""

    def __init__(self, num_frames: int) -> None:
        self.bands = np.full((num_frames, NUM_BANDS), _SILENT_BAND, np.float32)
        self.aperiodicity = np.ones((num_frames, 5), np.float32)
        self.voiced = np.zeros(num_frames, bool)
        self.level_db = np.full(num_frames, _SILENCE_DB, np.float32)

    def write(
        self,
        first: int,
        bands: np.ndarray,
        aperiodicity: np.ndarray,
        voiced: np.ndarray,
        level_db: np.ndarray,
        *,
        blend_frames: int = 4,
    ) -> None:
        """Write frames from `first` on; where something sounds already, fade over to the new."""
        begin, end = max(first, 0), min(first + len(level_db), len(self.level_db))
        if end <= begin:
            return
        source, target = slice(begin - first, end - first), slice(begin, end)
        weight = np.ones(end - begin, np.float32)
        if self.level_db[begin] > _SILENCE_DB + 10:
            blend = min(blend_frames, end - begin)
            weight[:blend] = np.linspace(0.2, 1.0, blend)
        for old, new in ((self.bands, bands), (self.aperiodicity, aperiodicity)):
            old[target] += (new[source] - old[target]) * weight[:, None]
        silent = self.level_db[target] < _SILENCE_DB + 10
        blended = self.level_db[target] + (level_db[source] - self.level_db[target]) * weight
        self.level_db[target] = np.where(silent, level_db[source], blended)
        self.voiced[target] = voiced[source]


def _write_note(
    sheet: _Sheet,
    note: SungNote,
    following_seconds: float,
    *,
    voice: Voice,
    style: SingingStyle,
    rng: np.random.Generator,
) -> None:
    start, num_frames = (
        frame_at(note.start_seconds),
        frame_at(note.end_seconds) - frame_at(note.start_seconds),
    )
    segment = voice.segments[note.syllable]
    stretch = style.consonant_stretch * rng.uniform(0.8, 1.2)
    bank_consonant = (segment.vowel - segment.begin) * _FRAMES_PER_BANK_FRAME * stretch
    consonant = int(min(bank_consonant, max(8, 0.45 * num_frames)))
    position = _positions(
        segment,
        consonant,
        num_frames,
        is_melisma=note.is_melisma,
        is_diphthong=note.syllable[1] in DIPHTHONGS,
        rng=rng,
    )
    lower = np.clip(position.astype(int), segment.begin, segment.end - 1)
    upper = np.minimum(lower + 1, segment.end - 1)
    share = (position - lower)[:, None].astype(np.float32)
    voiced = voice.voiced[lower].copy()
    voiced[consonant:] = True
    sheet.write(
        start - consonant,
        voice.bands[lower] * (1 - share) + voice.bands[upper] * share,
        np.clip(
            voice.aperiodicity[lower] * (1 - share) + voice.aperiodicity[upper] * share + style.breathiness,
            0.0,
            1.0,
        ),
        voiced,
        _envelope_db(note, consonant, num_frames, following_seconds, style, rng),
    )


def _positions(
    segment: Segment,
    consonant: int,
    num_frames: int,
    *,
    is_melisma: bool,
    is_diphthong: bool,
    rng: np.random.Generator,
) -> npt.NDArray[np.float64]:
    """Where in the bank each frame of a note is read. Shape [consonant + num_frames]."""
    vowel_frames = segment.end - segment.vowel
    head = min(int(0.5 * vowel_frames), num_frames // 3)
    tail = min(int(0.4 * vowel_frames), num_frames // 4)
    hold = num_frames - head - tail
    # A diphthong is held on its first half and glides at the end of the note, as singers do.
    first, last = _HELD_SHARE["diphthong" if is_diphthong else "vowel"]
    middle, span = segment.vowel + first * vowel_frames, (last - first) * vowel_frames
    period_frames = FRAME_RATE * rng.uniform(0.8, 1.8)
    held = middle + 0.5 * span * (1 - np.cos(2 * np.pi * np.arange(hold) / period_frames))
    onset = np.linspace(middle if is_melisma else segment.vowel, middle, head, endpoint=False)
    lead = segment.begin + np.linspace(0, max(segment.vowel - segment.begin - 1, 0), consonant)
    return np.concatenate([lead, onset, held, np.linspace(held[-1], segment.end - 1, tail)])


def _envelope_db(
    note: SungNote,
    consonant: int,
    num_frames: int,
    following_seconds: float,
    style: SingingStyle,
    rng: np.random.Generator,
) -> npt.NDArray[np.float32]:
    """Loudness of a note: attack, swell or decay, and a release where a rest follows."""
    seconds = np.arange(num_frames) / FRAME_RATE
    duration = num_frames / FRAME_RATE
    place = np.clip(seconds / max(duration, 0.1), 0.0, 1.0)
    swell, decay, attack = rng.uniform(0.0, 3.5), rng.uniform(-2.0, 6.0), rng.uniform(0.02, 0.07)
    level = swell * np.sin(np.pi * place) - decay * place * min(duration, 1.0)
    if not note.is_legato and consonant == 0:
        level -= 10.0 * np.exp(-seconds / attack)
    elif not note.is_melisma:
        level -= 3.0 * np.exp(-seconds / 0.02)
    if following_seconds - note.end_seconds > 0.06:
        release = min(rng.uniform(0.06, 0.22), 0.5 * duration)
        level -= 26.0 * np.clip((seconds - (duration - release)) / release, 0.0, 1.0) ** 1.5
    dynamics = (note.velocity - 80) / 127 * style.dynamics_db
    return (np.concatenate([np.zeros(consonant), level]) + dynamics).astype(np.float32)


def _write_breath(
    sheet: _Sheet,
    rest_seconds: float,
    following_seconds: float,
    style: SingingStyle,
    rng: np.random.Generator,
) -> None:
    """A breath just before the next phrase, in what the rest leaves of 0.15 to 0.6 s."""
    wanted = rng.uniform(0.15, 0.6)
    centre_hz, width_hz = rng.uniform(1500.0, 3500.0), rng.uniform(2500.0, 5000.0)
    end = frame_at(following_seconds) - 10
    num_frames = min(round(wanted * FRAME_RATE), end - frame_at(rest_seconds) - 4)
    if num_frames < 12:
        return
    noise = -1.5 - ((BAND_HZ - centre_hz) / width_hz) ** 2
    swell = np.sin(np.pi * np.linspace(0.0, 1.0, num_frames) ** rng.uniform(0.8, 1.8))
    sheet.write(
        end - num_frames,
        np.tile(np.maximum(noise, _SILENT_BAND), (num_frames, 1)),
        np.ones((num_frames, 5)),
        np.zeros(num_frames, bool),
        (style.breath_db - 14.0 + 20.0 * swell).astype(np.float32),
    )

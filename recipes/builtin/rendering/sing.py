"""Sung notes as the controls of the vocoder: pitch, envelope, noise and loudness, 200 times a second.

In: `SungNote`s, a `Voice` and a `SingingStyle`. Out: `Controls`, which begin `LEAD_SECONDS` before the window
so that notes under way at its start are sounding.

A syllable of the bank is stretched to the length of its note: the consonant comes before the beat, the middle
of the vowel carries the length. A long vowel wanders to and fro within its middle instead of freezing, for a
frozen envelope buzzes.

    consonant | head | hold ........................ | tail
              ^ start_seconds                              ^ end_seconds
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass

import numpy as np
import numpy.typing as npt

from recipes.builtin.rendering.phrasing import SungNote
from recipes.builtin.rendering.voices import BAND_HZ, DIPHTHONGS, NUM_BANDS, Segment, Voice

FRAME_RATE = 200
LEAD_SECONDS = 1.0

_SILENCE_DB = -60.0
_SILENT_BAND = -20.0
_FRAMES_PER_BANK_FRAME = 2  # the bank has a frame every 10 ms
_HELD_SHARE = {"vowel": (0.25, 0.6), "diphthong": (0.15, 0.4)}


@dataclass(frozen=True, kw_only=True)
class SingingStyle:
    """Habits of a singer; one is drawn for each pair.

    Attributes:
        timing_seconds: standard deviation of note onsets.
        melisma_chance: chance that a tied note keeps its vowel.
        dynamics_db: level range that the velocities span.
        tuning_semitones: standard deviation of a note's pitch.
        glide_seconds: longest transition between tied notes.
        scoop_semitones: largest depth from which a phrase is approached.
        vibrato_semitones: least and greatest depth.
        vibrato_hz: slowest and fastest rate.
        breath_chance: chance of a breath in a rest.
        drift_semitones: slow wander of the pitch.
        jitter_semitones: wander from frame to frame.
        warp: factor on the formants.
        tilt_db: spectral tilt per octave around 1 kHz.
        breathiness: noise added to the vowels, 0..1.
    """

    timing_seconds: float
    melisma_chance: float
    dynamics_db: float
    tuning_semitones: float
    glide_seconds: float
    scoop_semitones: float
    vibrato_semitones: tuple[float, float]
    vibrato_hz: tuple[float, float]
    breath_chance: float
    drift_semitones: float
    jitter_semitones: float
    warp: float
    tilt_db: float
    breathiness: float

    def to_dict(self) -> dict[str, object]:
        """For JSON, which knows lists and no tuples."""
        return {
            name: list(value) if isinstance(value, tuple) else value for name, value in asdict(self).items()
        }


def draw_style(voice: Voice, rng: np.random.Generator) -> SingingStyle:
    """Draw a singer's habits; the formants stay within what the voice bears."""
    depth = float(rng.uniform(0.05, 0.4))
    rate_hz = float(rng.uniform(4.8, 6.2))
    return SingingStyle(
        timing_seconds=float(rng.uniform(0.008, 0.03)),
        melisma_chance=float(rng.uniform(0.1, 0.4)),
        dynamics_db=float(rng.uniform(8, 18)),
        tuning_semitones=float(rng.uniform(0.03, 0.15)),
        glide_seconds=float(rng.uniform(0.06, 0.12)),
        scoop_semitones=float(rng.uniform(0.3, 1.8)),
        vibrato_semitones=(0.3 * depth, 1.4 * depth),
        vibrato_hz=(rate_hz - 0.3, rate_hz + 0.3),
        breath_chance=float(rng.uniform(0.2, 0.8)),
        drift_semitones=float(rng.uniform(0.03, 0.12)),
        jitter_semitones=float(rng.uniform(0.01, 0.025)),
        warp=float(rng.uniform(*voice.warp_range)),
        tilt_db=float(rng.uniform(-4.0, 0.5)),
        breathiness=float(rng.uniform(0.0, 0.1)),
    )


@dataclass(frozen=True, kw_only=True)
class Controls:
    """What the vocoder needs, a frame every 5 ms.

    Attributes:
        pitch: MIDI pitch, fractional; defined in every frame. Shape [T].
        bands: natural log of the power spectrum at `voices.BAND_HZ`. Shape [T, 64].
        aperiodicity: share of noise at `voices.APERIODICITY_HZ`. Shape [T, 5].
        voiced: Shape [T].
        level_db: Shape [T]; -60 is silence.
    """

    pitch: npt.NDArray[np.float64]
    bands: npt.NDArray[np.float32]
    aperiodicity: npt.NDArray[np.float32]
    voiced: npt.NDArray[np.bool_]
    level_db: npt.NDArray[np.float32]


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
        if following - note.end_seconds > 0.5 and rng.random() < style.breath_chance:
            _write_breath(sheet, note.end_seconds, following, rng)
    pitch = _pitch_curve(notes, len(sheet.level_db), style, rng)
    wander = _smooth_noise(len(pitch), 41, rng)
    return Controls(
        pitch=pitch,
        bands=sheet.bands,
        aperiodicity=sheet.aperiodicity,
        voiced=sheet.voiced,
        level_db=(sheet.level_db + 0.7 * wander).astype(np.float32),
    )


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


def _frame(seconds: float) -> int:
    return round((seconds + LEAD_SECONDS) * FRAME_RATE)


def _write_note(
    sheet: _Sheet,
    note: SungNote,
    following_seconds: float,
    *,
    voice: Voice,
    style: SingingStyle,
    rng: np.random.Generator,
) -> None:
    start, num_frames = _frame(note.start_seconds), _frame(note.end_seconds) - _frame(note.start_seconds)
    segment = voice.segments[note.syllable]
    bank_consonant = (segment.vowel - segment.begin) * _FRAMES_PER_BANK_FRAME
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
        _envelope_db(note, consonant, num_frames, following_seconds, style),
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
    note: SungNote, consonant: int, num_frames: int, following_seconds: float, style: SingingStyle
) -> npt.NDArray[np.float32]:
    """Loudness of a note: attack, swell, and a release where a rest follows."""
    seconds = np.arange(num_frames) / FRAME_RATE
    duration = num_frames / FRAME_RATE
    level = 1.5 * np.sin(np.pi * np.clip(seconds / max(duration, 0.1), 0.0, 1.0))
    if not note.is_legato and consonant == 0:
        level -= 10.0 * np.exp(-seconds / 0.05)
    elif not note.is_melisma:
        level -= 3.0 * np.exp(-seconds / 0.02)
    if following_seconds - note.end_seconds > 0.06:
        release = min(0.12, 0.5 * duration)
        level -= 26.0 * np.clip((seconds - (duration - release)) / release, 0.0, 1.0) ** 1.5
    dynamics = (note.velocity - 80) / 127 * style.dynamics_db
    return (np.concatenate([np.zeros(consonant), level]) + dynamics).astype(np.float32)


def _write_breath(
    sheet: _Sheet, rest_seconds: float, following_seconds: float, rng: np.random.Generator
) -> None:
    """A breath just before the next phrase."""
    num_frames = round(rng.uniform(0.15, 0.35) * FRAME_RATE)
    end = _frame(following_seconds) - 14 if np.isfinite(following_seconds) else 0
    if end - num_frames <= _frame(rest_seconds):
        return
    noise = -1.5 - ((BAND_HZ - 2500.0) / 3500.0) ** 2
    sheet.write(
        end - num_frames,
        np.tile(np.maximum(noise, _SILENT_BAND), (num_frames, 1)),
        np.ones((num_frames, 5)),
        np.zeros(num_frames, bool),
        (-27.0 + 6.0 * np.sin(np.linspace(0.0, np.pi, num_frames))).astype(np.float32),
    )


def _pitch_curve(
    notes: Sequence[SungNote], num_frames: int, style: SingingStyle, rng: np.random.Generator
) -> npt.NDArray[np.float64]:
    """Pitch in every frame: notes joined by glides or approached by scoops, vibrato, drift and jitter."""
    frames = np.arange(num_frames)
    curve = np.full(num_frames, np.nan)
    offset = np.zeros(num_frames)
    previous = 0.0
    for note in notes:
        start, end = _frame(note.start_seconds), _frame(note.end_seconds)
        pitch = note.pitch + rng.normal(0.0, style.tuning_semitones)
        if note.is_legato:
            origin, duration = previous, rng.uniform(0.03, style.glide_seconds)
        else:
            origin, duration = pitch - rng.uniform(0.0, style.scoop_semitones), rng.uniform(0.05, 0.12)
        curve[max(start, 0) : max(end, 0)] = pitch
        begun, settled = start - duration * FRAME_RATE, start + 2 * duration * FRAME_RATE
        reach = frames[(frames >= begun) & (frames < settled)]
        step = np.where(reach < start, origin, pitch)
        slope = 1.0 / (1.0 + np.exp(-6.0 * (reach - start) / (FRAME_RATE * duration)))
        offset[reach] += origin + (pitch - origin) * slope - step
        offset[max(start, 0) : max(end, 0)] += _vibrato(start, end, num_frames, style, rng)
        previous = pitch
    sung = np.flatnonzero(~np.isnan(curve))
    if not len(sung):
        curve[:], sung = previous, frames
    curve = np.interp(frames, sung, curve[sung]) + offset
    drift = _smooth_noise(num_frames, 31, rng, integrated=True) * style.drift_semitones
    return curve + drift + rng.normal(0.0, style.jitter_semitones, num_frames)


def _vibrato(
    start: int, end: int, num_frames: int, style: SingingStyle, rng: np.random.Generator
) -> npt.NDArray[np.float64]:
    """Vibrato of one note, from a moment after its start; none on short notes. Length: its frames inside the
    sheet."""
    delay, depth = rng.uniform(0.15, 0.35), rng.uniform(*style.vibrato_semitones)
    rate_hz, phase = rng.uniform(*style.vibrato_hz), rng.uniform(0.0, 2 * np.pi)
    seconds = (np.arange(max(start, 0), min(max(end, 0), num_frames)) - start) / FRAME_RATE
    if (end - start) / FRAME_RATE < 0.35:
        return np.zeros(len(seconds))
    return depth * np.clip((seconds - delay) / 0.3, 0.0, 1.0) * np.sin(2 * np.pi * rate_hz * seconds + phase)


def _smooth_noise(
    num_frames: int, width: int, rng: np.random.Generator, *, integrated: bool = False
) -> npt.NDArray[np.float64]:
    """Slow noise of unit deviation; `integrated` makes it a random walk held near 0."""
    noise = rng.normal(0.0, 1.0, num_frames)
    if integrated:
        walk = np.cumsum(noise)
        noise = walk - np.convolve(walk, np.ones(201) / 201, "same")
    smooth = np.convolve(noise, np.hanning(width), "same")[:num_frames]
    return smooth / (smooth.std() + 1e-9)

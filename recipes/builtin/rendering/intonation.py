"""The pitch of sung notes, frame by frame.

In: `SungNote`s and a `SingingStyle`. Out: MIDI pitch in every frame of the controls: notes joined by glides
or approached by scoops, vibrato that sets in late, falls where a phrase ends, drift and jitter.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from recipes.builtin.rendering.controls import FRAME_RATE, frame_at, smooth_noise
from recipes.builtin.rendering.phrasing import PHRASE_GAP_SECONDS, SungNote
from recipes.builtin.rendering.singer import SingingStyle

_SHORTEST_VIBRATO_SECONDS = 0.35
_FALL_SECONDS = 0.15
_WANDER_SECONDS = 6.0
_SCOOP_LEAD_FRAMES = 40
"""A scoop is under way in the consonant already, up to 0.2 s before the vowel."""


def pitch_curve(
    notes: Sequence[SungNote], num_frames: int, style: SingingStyle, rng: np.random.Generator
) -> npt.NDArray[np.float64]:
    """MIDI pitch in every frame, also where nothing is sung. Shape [num_frames]."""
    frames = np.arange(num_frames)
    curve = np.full(num_frames, np.nan)
    offset = np.zeros(num_frames)
    previous, previous_end = 0.0, 0
    for index, note in enumerate(notes):
        start, end = frame_at(note.start_seconds), frame_at(note.end_seconds)
        pitch = note.pitch + style.flat_semitones + rng.normal(0.0, style.tuning_semitones)
        scoops, depth = rng.random() < style.scoop_chance, rng.uniform(0.0, style.scoop_semitones)
        curve[max(start, 0) : max(end, 0)] = pitch
        if note.is_legato:
            duration = rng.uniform(0.03, style.glide_seconds) * FRAME_RATE
            reach = frames[max(round(start - duration), 0) : max(round(start + 2 * duration), 0)]
            base = np.where(reach < start, previous, pitch)
            offset[reach] += previous + (pitch - previous) * _rise(reach - start, duration) - base
        elif scoops:
            duration = rng.uniform(0.04, 0.18) * FRAME_RATE
            first = max(start - _SCOOP_LEAD_FRAMES, previous_end, 0)
            reach = frames[first : max(round(start + 2.5 * duration), first)]
            offset[reach] -= depth * (1.0 - _rise(reach - start - 0.5 * duration, duration))
        offset[max(start, 0) : max(end, 0)] += _vibrato(start, end, num_frames, style, rng)
        following = notes[index + 1].start_seconds if index + 1 < len(notes) else np.inf
        falls, fall = rng.random() < style.fall_chance, rng.uniform(0.5, 3.0)
        if falls and following - note.end_seconds > PHRASE_GAP_SECONDS:
            tail = frames[max(end - round(_FALL_SECONDS * FRAME_RATE), start, 0) : max(end, 0)]
            offset[tail] -= (
                fall * ((tail - (end - _FALL_SECONDS * FRAME_RATE)) / (_FALL_SECONDS * FRAME_RATE)) ** 2
            )
        previous, previous_end = pitch, end
    sung = np.flatnonzero(~np.isnan(curve))
    if not len(sung):
        curve[:], sung = previous, frames
    curve = np.interp(frames, sung, curve[sung]) + offset
    drift = smooth_noise(num_frames, 31, rng, integrated=True) * style.drift_semitones
    flutter = smooth_noise(num_frames, 15, rng) * style.flutter_semitones
    turns = np.arange(0, num_frames + _WANDER_SECONDS * FRAME_RATE, _WANDER_SECONDS * FRAME_RATE)
    wander = style.wander_semitones * np.interp(frames, turns, rng.uniform(-1.0, 1.0, len(turns)))
    return np.asarray(curve + drift + flutter + wander + rng.normal(0.0, style.jitter_semitones, num_frames))


def _rise(frames: npt.NDArray[np.int64], duration: float) -> npt.NDArray[np.float64]:
    """From 0 to 1 within some `duration` frames of 0."""
    return np.asarray(1.0 / (1.0 + np.exp(-6.0 * frames / duration)))


def _vibrato(
    start: int, end: int, num_frames: int, style: SingingStyle, rng: np.random.Generator
) -> npt.NDArray[np.float64]:
    """Vibrato of one note, from a moment after its start, its rate and depth on the move; none on short
    notes. Length: its frames inside the sheet."""
    delay, depth = rng.uniform(0.1, style.vibrato_delay_seconds), rng.uniform(*style.vibrato_semitones)
    rate_hz, phase = rng.uniform(*style.vibrato_hz), rng.uniform(0.0, 2 * np.pi)
    faster, rise, growth = rng.uniform(-0.6, 0.6), rng.uniform(0.15, 0.5), rng.uniform(-0.3, 0.3)
    seconds = (np.arange(max(start, 0), min(max(end, 0), num_frames)) - start) / FRAME_RATE
    duration = (end - start) / FRAME_RATE
    if duration < _SHORTEST_VIBRATO_SECONDS:
        return np.zeros(len(seconds))
    cycles = rate_hz * seconds + 0.5 * faster * seconds**2 / max(duration, 1.0)
    envelope = depth * np.clip((seconds - delay) / rise, 0.0, 1.0) * (1.0 + growth * seconds / duration)
    return np.asarray(envelope * np.sin(2 * np.pi * cycles + phase))

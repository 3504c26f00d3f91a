"""Notes as sound: a part, played with the samples of a SoundFont.

In: notes in seconds, and a preset. Out: a stereo waveform of exactly the number of samples that is asked for.

    sample, looped -> at its pitch -> lowpass -> level: delay, attack, hold, decay, sustain -> release -> pan
    `------------- once for each zone and key, as long as its longest note -----------'

    level        /----\\            attack in a straight line, decay and release in straight lines of dB,
                /      `-----.      100 dB in the decay's and the release's time
    --delay----/              `.
                        note off

Conventions: a note begins on the sample nearest to its start; one from before the beginning is heard from
where it then is. The loudness of a note is proportional to its velocity. Notes do not take each other's
voices, except where an exclusive class says so (an open hat ends when it is closed).

Source: SoundFont Technical Specification 2.04, 8.1.2 and 9; the lowpass is a biquad of R. Bristow-Johnson's
"Cookbook formulae".
"""

import math
from bisect import bisect_right
from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray
from scipy.signal import butter, lfilter, sosfilt

from hafm.arrange.soundfont import Soundfont, Zone

__all__ = ["Event", "Sampler"]

Floats: TypeAlias = NDArray[np.float32]

Event: TypeAlias = tuple[float, float, int, int]
"""start_seconds, end_seconds, MIDI pitch, velocity 1 to 127."""

_FALL_DB = 100.0
_INAUDIBLE_DB = 80.0
_SHORTEST_NOTE_SECONDS = 0.005
_SHORTEST_RELEASE_SECONDS = 0.06  # of 100 dB: less would click
_CUT_SECONDS = 0.005
_ALIASES = 1.05  # as many samples per sample, and more


class Sampler:
    """Plays the presets of a SoundFont."""

    def __init__(self, soundfont: Soundfont, sample_rate: int) -> None:
        self.soundfont, self.sample_rate = soundfont, sample_rate

    def play(self, events: Iterable[Event], *, bank: int, program: int, num_samples: int) -> Floats:
        """The sound of notes.

        Args:
            events: in any order; what lies outside of the sound is cut off.
            bank, program: the preset; see `Soundfont.zones`.

        Returns:
            Shape [2, T], left and right.
        """
        zones = self.soundfont.zones(bank=bank, program=program)
        notes: dict[tuple[int, int], list[tuple[int, int, float]]] = defaultdict(list)
        onsets: dict[int, set[int]] = defaultdict(set)
        for start, end, pitch, velocity in events:
            begin = round(start * self.sample_rate)
            if begin >= num_samples:
                continue
            held = max(end - start, _SHORTEST_NOTE_SECONDS)
            for number, zone in enumerate(zones):
                if (
                    zone.keys[0] <= pitch <= zone.keys[1]
                    and zone.velocities[0] <= velocity <= zone.velocities[1]
                ):
                    notes[number, pitch].append((begin, round(held * self.sample_rate), velocity / 127))
                    onsets[zone.exclusive].add(begin)
        ordered = {group: sorted(begins) for group, begins in onsets.items() if group}
        sound = np.zeros((2, num_samples), np.float32)
        for (number, pitch), struck in notes.items():
            zone = zones[number]
            self._add(sound, zone, pitch, struck, ordered.get(zone.exclusive, []))
        return sound

    def _add(
        self, sound: Floats, zone: Zone, pitch: int, struck: Sequence[tuple[int, int, float]], ends: list[int]
    ) -> None:
        """Adds the notes of one zone and key to a sound."""
        rate = self.sample_rate
        release = max(zone.release_seconds, _SHORTEST_RELEASE_SECONDS)
        tail = round(release * _INAUDIBLE_DB / _FALL_DB * rate)
        longest = max(min(held + tail, sound.shape[1] - begin) for begin, held, _ in struck)
        tone = self._tone(zone, pitch, longest)
        fall = (10 ** (-_FALL_DB / 20 / release * np.arange(min(tail, longest)) / rate)).astype(np.float32)
        level, angle = 10 ** (-zone.attenuation_db / 20), (zone.pan + 1) * math.pi / 4
        sides = (level * math.sqrt(2) * math.cos(angle), level * math.sqrt(2) * math.sin(angle))
        for begin, held, loudness in struck:
            after = min(len(tone), held + tail, sound.shape[1] - begin)
            skipped = max(0, -begin)
            cut = ends[place] if (place := bisect_right(ends, begin)) < len(ends) else None
            if cut is not None:
                after = min(after, cut - begin + round(_CUT_SECONDS * rate))
            if after <= skipped:
                continue
            note = tone[skipped:after] * np.float32(loudness)
            released = max(held - skipped, 0)
            if released < len(note):
                first = max(skipped - held, 0)
                note[released:] *= fall[first : first + len(note) - released]
            if cut is not None and cut - begin < after:
                fade = min(after - max(cut - begin, skipped), len(note))
                note[len(note) - fade :] *= np.linspace(1, 0, fade, dtype=np.float32)
            for channel, gain in zip(sound, sides, strict=True):
                channel[begin + skipped : begin + after] += np.float32(gain) * note

    def _tone(self, zone: Zone, pitch: int, length: int) -> Floats:
        """What a zone gives while a key is held, of full velocity. Shape [length], or less if it is over."""
        cents = zone.cents_per_key * (pitch - zone.root) + zone.tune_cents
        step = 2 ** (cents / 1200) * self.soundfont.rate(zone.sample) / self.sample_rate
        waveform = self.soundfont.waveform(zone.sample)
        waveform = waveform[: len(waveform) + zone.end] if zone.end else waveform
        delay = round(zone.delay_seconds * self.sample_rate) if zone.delay_seconds > 0.002 else 0
        tone = _pitched(_unrolled(waveform, zone, math.ceil(length * step) + 4), step, length - delay)
        if zone.cutoff_hz < 0.45 * self.sample_rate:
            tone = _lowpassed(tone, zone.cutoff_hz / self.sample_rate, zone.resonance_db)
        tone = tone * self._level(zone, len(tone))
        return np.concatenate([np.zeros(delay, np.float32), tone]) if delay else tone

    def _level(self, zone: Zone, length: int) -> Floats:
        """The level until the key is let go. Shape [length]."""
        seconds = np.arange(length, dtype=np.float32) / np.float32(self.sample_rate)
        attack = max(zone.attack_seconds, 1e-3)
        decayed = (seconds - np.float32(attack + zone.hold_seconds)) * np.float32(
            _FALL_DB / zone.decay_seconds
        )
        level = np.exp(np.clip(decayed, 0.0, zone.sustain_db) * np.float32(-math.log(10) / 20))
        return np.asarray(level * np.minimum(seconds / np.float32(attack), 1.0), np.float32)


def _unrolled(waveform: Floats, zone: Zone, length: int) -> Floats:
    """A sample from its start, its loop repeated until it is long enough."""
    start = zone.start
    if zone.loop is None or length + start <= zone.loop[1]:
        return waveform[start : start + length]
    first, after = zone.loop[0], min(zone.loop[1], len(waveform))
    if first >= after:
        return waveform[start:]
    times = -(-(length + start - after) // (after - first))
    return np.concatenate([waveform[start:after], np.tile(waveform[first:after], times)])


def _pitched(waveform: Floats, step: float, length: int) -> Floats:
    """Every `step`-th of its samples, by cubic interpolation (Catmull-Rom). Shape [length], or less."""
    if step > _ALIASES:
        waveform = np.asarray(sosfilt(butter(6, 0.9 / step, output="sos"), waveform), np.float32)
    length = max(0, min(length, math.ceil(len(waveform) / step)))
    places = np.arange(length) * step
    whole = places.astype(np.int64)
    part = (places - whole).astype(np.float32)
    padded = np.pad(waveform, (1, 3))
    a, b, c, d = (padded[whole + offset] for offset in range(4))
    curve = (3 * (b - c) + d - a) * part + 2 * a - 5 * b + 4 * c - d
    return np.asarray(b + 0.5 * part * (c - a + part * curve), np.float32)


def _lowpassed(tone: Floats, cutoff: float, resonance_db: float) -> Floats:
    """A second-order lowpass; the cutoff is in cycles per sample, the resonance above the passband."""
    turn = 2 * math.pi * cutoff
    alpha = math.sin(turn) / (2 * 10 ** (resonance_db / 20) / math.sqrt(2))
    rise = (1 - math.cos(turn)) / 2
    b = np.array([rise, 2 * rise, rise]) / (1 + alpha)
    a = np.array([1.0, -2 * math.cos(turn) / (1 + alpha), (1 - alpha) / (1 + alpha)])
    return np.asarray(lfilter(b, a, tone), np.float32)

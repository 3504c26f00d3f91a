"""The habits of a singer's voice: pitch, vibrato, loudness, colour.

Habits of time are in `phrasing.Habits`.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass

import numpy as np

from recipes.builtin.rendering.voices import Voice

STRAIGHT_SHARE = 0.25
SLIDING_SHARE = 0.3


@dataclass(frozen=True, kw_only=True)
class SingingStyle:
    """Habits of a voice; one is drawn for each pair.

    Attributes:
        dynamics_db: level range that the velocities span.
        tuning_semitones: standard deviation of a note's pitch.
        flat_semitones: mean error of the pitch.
        wander_semitones: depth of a drift of the pitch over many seconds.
        glide_seconds: longest transition between tied notes.
        scoop_chance: chance that an untied note is approached from below.
        scoop_semitones: largest depth from which it is.
        fall_chance: chance that the pitch falls off where a phrase ends.
        vibrato_semitones: least and greatest depth.
        vibrato_hz: slowest and fastest rate.
        vibrato_delay_seconds: longest time from the start of a note to its vibrato.
        breath_chance: chance of a breath in a rest.
        breath_db: level of the breaths.
        consonant_stretch: length of the consonants relative to spoken ones.
        drift_semitones: slow wander of the pitch.
        flutter_semitones: wander within a tenth of a second.
        jitter_semitones: wander from frame to frame.
        ripple_db: standard deviation of the quick changes of the envelope.
        warp: factor on the formants.
        tilt_db: spectral tilt per octave around 1 kHz.
        breathiness: noise added to the vowels, 0..1.
    """

    dynamics_db: float
    tuning_semitones: float
    flat_semitones: float
    wander_semitones: float
    glide_seconds: float
    scoop_chance: float
    scoop_semitones: float
    fall_chance: float
    vibrato_semitones: tuple[float, float]
    vibrato_hz: tuple[float, float]
    vibrato_delay_seconds: float
    breath_chance: float
    breath_db: float
    consonant_stretch: float
    drift_semitones: float
    flutter_semitones: float
    jitter_semitones: float
    ripple_db: float
    warp: float
    tilt_db: float
    breathiness: float

    def to_dict(self) -> dict[str, object]:
        """For JSON, which knows lists and no tuples."""
        return {
            name: list(value) if isinstance(value, tuple) else value for name, value in asdict(self).items()
        }


def draw_style(voice: Voice, rng: np.random.Generator) -> SingingStyle:
    """Draw the habits of a voice; the formants stay within what it bears."""
    straight, slides = rng.random() < STRAIGHT_SHARE, rng.random() < SLIDING_SHARE
    depth = float(rng.uniform(0.0, 0.08) if straight else rng.uniform(0.08, 0.6))
    rate_hz = float(rng.uniform(4.4, 6.6))
    return SingingStyle(
        dynamics_db=float(rng.uniform(10, 24)),
        tuning_semitones=float(rng.uniform(0.04, 0.22)),
        flat_semitones=float(np.clip(rng.normal(-0.03, 0.07), -0.2, 0.15)),
        wander_semitones=float(rng.uniform(0.0, 0.2)),
        glide_seconds=float(rng.uniform(0.14, 0.26) if slides else rng.uniform(0.06, 0.14)),
        scoop_chance=float(rng.uniform(0.15, 0.9)),
        scoop_semitones=float(rng.uniform(0.4, 3.0)),
        fall_chance=float(rng.uniform(0.0, 0.4)),
        vibrato_semitones=(0.2 * depth, 1.4 * depth),
        vibrato_hz=(rate_hz - 0.4, rate_hz + 0.4),
        vibrato_delay_seconds=float(rng.uniform(0.25, 0.7)),
        breath_chance=float(rng.uniform(0.2, 0.95)),
        breath_db=float(rng.uniform(-34.0, -20.0)),
        consonant_stretch=float(rng.uniform(0.8, 1.5)),
        drift_semitones=float(rng.uniform(0.08, 0.4)),
        flutter_semitones=float(rng.uniform(0.03, 0.2)),
        jitter_semitones=float(rng.uniform(0.01, 0.03)),
        ripple_db=float(rng.uniform(0.8, 3.5)),
        warp=float(rng.uniform(*voice.warp_range)),
        tilt_db=float(rng.uniform(-4.0, 0.5)),
        breathiness=float(rng.uniform(0.0, 0.16)),
    )

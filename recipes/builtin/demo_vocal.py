r"""The vocal that comes with the package: 13 s of the Londonderry Air, sung by the voice bank.

    python -m recipes.builtin.demo_vocal --voices NPZ

In: the voice bank. Out: `demo_vocal.flac` (24 kHz, mono, 16 bit) and `demo_vocal.json`, its notes, in
`src/hafm/assets/`. Deterministic.

The melody is traditional (Petrie, *The Ancient Music of Ireland*, 1855) and in the public domain; here in F
major, 4/4, 76 beats per minute, with syllables of our own. The voice is flite's `slt` (BSD-style licence, see
NOTICE).
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import numpy as np

from hafm.data.tokenising.augment import reverberate, room_response
from recipes.builtin.rendering.phrasing import LEGATO_GAP_SECONDS, SungNote
from recipes.builtin.rendering.sing import sing
from recipes.builtin.rendering.singer import SingingStyle
from recipes.builtin.rendering.vocoder import SAMPLE_RATE, Waveform, synthesise
from recipes.builtin.rendering.voices import VoiceBank

ASSETS = Path(__file__).parents[2] / "src" / "hafm" / "assets"
SINGER = "slt"
SEED = 5
BEATS_PER_MINUTE = 76.0
START_SECONDS = 0.3
TAIL_SECONDS = 0.7
PEAK = 0.7

# (pitch, quavers, onset, vowel, velocity); pitch None is a rest. Three quavers of upbeat, then bars of eight.
MELODY: tuple[tuple[str | None, float, str, str, int], ...] = (
    ("E4", 1, "l", "uw", 70),
    ("F4", 1, "l", "aa", 76),
    ("G4", 1, "n", "ow", 82),
    # bar 1
    ("A4", 3, "l", "aa", 98),
    ("G4", 1, "", "aa", 80),
    ("A4", 1, "d", "eh", 84),
    ("D5", 1, "r", "iy", 96),
    ("C5", 1, "m", "ao", 92),
    ("A4", 1, "n", "iy", 80),
    # bar 2
    ("G4", 1, "l", "ow", 78),
    ("F4", 1, "", "ow", 72),
    ("D4", 2.5, "n", "ah", 70),
    (None, 0.5, "", "", 0),
    ("F4", 1, "m", "ay", 74),
    ("A4", 1, "l", "ow", 82),
    ("Bb4", 1, "n", "iy", 90),
    # bar 3
    ("C5", 3, "l", "aa", 104),
    ("D5", 1, "", "aa", 96),
    ("C5", 1, "w", "eh", 92),
    ("A4", 1, "r", "iy", 84),
    ("F4", 1, "d", "aa", 78),
    ("A4", 1, "l", "ow", 82),
    # bar 4
    ("G4", 5, "n", "ow", 84),
)

STYLE = SingingStyle(
    dynamics_db=14.0,
    tuning_semitones=0.04,
    flat_semitones=0.0,
    wander_semitones=0.0,
    glide_seconds=0.09,
    scoop_chance=0.7,
    scoop_semitones=0.8,
    fall_chance=0.0,
    vibrato_semitones=(0.2, 0.35),
    vibrato_hz=(5.2, 5.7),
    vibrato_delay_seconds=0.35,
    breath_chance=1.0,
    breath_db=-27.0,
    consonant_stretch=1.0,
    drift_semitones=0.05,
    flutter_semitones=0.0,
    jitter_semitones=0.012,
    ripple_db=0.0,
    warp=1.02,
    tilt_db=1.0,
    breathiness=0.03,
)

_LETTERS = {"C": 0, "D": 2, "E": 4, "F": 5, "G": 7, "A": 9, "B": 11}


def demo_notes() -> tuple[SungNote, ...]:
    """The melody as sung notes; notes of one phrase are tied."""
    quaver_seconds = 30.0 / BEATS_PER_MINUTE
    clock = START_SECONDS
    notes: list[SungNote] = []
    for name, quavers, onset, vowel, velocity in MELODY:
        end = clock + quavers * quaver_seconds
        if name is not None:
            letter, flat, octave = name[0], name[1:-1] == "b", int(name[-1])
            is_legato = bool(notes) and clock - notes[-1].end_seconds < LEGATO_GAP_SECONDS
            notes.append(
                SungNote(
                    score_seconds=clock,
                    start_seconds=clock,
                    end_seconds=end,
                    pitch=12 * (octave + 1) + _LETTERS[letter] - flat,
                    velocity=velocity,
                    syllable=(onset, vowel),
                    is_legato=is_legato,
                    is_melisma=is_legato and onset == "",
                )
            )
        clock = end
    return tuple(notes)


def render_demo(voices: Path) -> Waveform:
    """Sing the demo.

    Args:
        voices: the voice bank.

    Returns:
        Peak 0.7. Shape [T], at 24 kHz.
    """
    notes = demo_notes()
    seconds = round(notes[-1].end_seconds + TAIL_SECONDS, 1)
    voice = VoiceBank(voices).voice(SINGER)
    controls = sing(notes, seconds=seconds, voice=voice, style=STYLE, rng=np.random.default_rng(SEED))
    vocal = synthesise(controls, seconds=seconds, style=STYLE, rng=np.random.default_rng(SEED))
    room = room_response(0.5, SEED)
    vocal = vocal + np.float32(0.12) * reverberate(vocal, room)
    return (PEAK / np.abs(vocal).max() * vocal).astype(np.float32)


def main(arguments: Sequence[str] | None = None) -> int:
    """The command."""
    import soundfile  # here alone in the rendering steps, for FLAC

    parser = argparse.ArgumentParser(prog="python -m recipes.builtin.demo_vocal", description=__doc__)
    parser.add_argument("--voices", type=Path, required=True, help="voice bank, voicebank_flite.npz")
    parser.add_argument("--out", type=Path, default=ASSETS, help="folder (default: the package's assets)")
    values = parser.parse_args(arguments)
    vocal = render_demo(values.voices)
    values.out.mkdir(parents=True, exist_ok=True)
    soundfile.write(values.out / "demo_vocal.flac", vocal, SAMPLE_RATE, format="FLAC", subtype="PCM_16")
    truth = {
        "title": "Londonderry Air (traditional), first phrase",
        "key": "F:maj",
        "tempo_bpm": BEATS_PER_MINUTE,
        "first_downbeat_seconds": START_SECONDS + 3 * 30.0 / BEATS_PER_MINUTE,
        "voice": SINGER,
        "notes": [asdict(note) for note in demo_notes()],
    }
    (values.out / "demo_vocal.json").write_text(json.dumps(truth, indent=1) + "\n")
    print(f"{len(vocal) / SAMPLE_RATE:.1f} s written to {values.out / 'demo_vocal.flac'}")
    return 0


if __name__ == "__main__":
    sys.exit(main())

"""A small rendered test set: the band of tests/evaluate/fit/band.py, each song in a key and at a time of its
own."""

import json
from pathlib import Path

import torch
from torch import Tensor
from torch.nn.functional import pad

from hafm.audio.io import write_audio
from hafm.guide.chord import NOTE_NAMES
from tests.evaluate.fit.band import (
    BEAT_SECONDS,
    BEATS,
    LEAD_SECONDS,
    MELODY,
    RATE,
    accompaniment,
    tone,
    truth,
)


def sung_melody(transposed: int) -> Tensor:
    """The band's melody in another key."""
    notes = [tone(60 + transposed + MELODY[beat % len(MELODY)], BEAT_SECONDS) for beat in range(BEATS)]
    return 0.2 * torch.cat([torch.zeros(round(LEAD_SECONDS * RATE)), *notes])


def make_songs(folder: Path, *, songs: int = 4, seconds: float = 6.0, split: str = "test") -> Path:
    """Rendered pairs, `folder/test/000000.vocal.wav` and so on: song k is k fourths up and 0.1 k s late."""
    (folder / split).mkdir(parents=True)
    length = round(seconds * RATE)
    for number in range(songs):
        up, late = 5 * number % 12, 0.1 * number
        for stem, sound in (("vocal", sung_melody(up)), ("instrumental", accompaniment(up))):
            samples = pad(sound, (round(late * RATE), 0))[:length]
            write_audio(folder / split / f"{number:06d}.{stem}.wav", samples[None], RATE)
        score = truth()
        beats = [beat for beat in score.beats_seconds if beat + late < seconds]
        fields = {
            "song_id": 100 + number,
            "seconds": length / RATE,
            "key": {"label": f"{NOTE_NAMES[up]}:maj", "tonic": up, "mode": "maj"},
            "tempo_bpm": 120.0,
            "beats_per_bar": 4,
            "downbeats_seconds": [beat + late for beat in beats[::4]],
            "band": {"style": "rock"},
            "voice": "test",
            "chords": [
                {
                    "start_seconds": chord.start_seconds + late,
                    "end_seconds": chord.end_seconds + late,
                    "pitch_classes": [(pitch_class + up) % 12 for pitch_class in chord.pitch_classes],
                    "label": f"{NOTE_NAMES[(chord.pitch_classes[0] + up) % 12]}:maj",
                }
                for chord in score.chords
                if chord.end_seconds + late <= seconds
            ],
            "beats_seconds": [beat + late for beat in beats],
        }
        (folder / split / f"{number:06d}.json").write_text(json.dumps(fields))
    return folder

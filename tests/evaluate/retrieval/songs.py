"""Songs whose key, tempo and chords are known: their bands and voices, and a collection of them on disk."""

from pathlib import Path

import soundfile
import torch
from torch import Tensor

from hafm.evaluate.fit.chroma import Chord
from hafm.evaluate.fit.truth import Truth
from hafm.evaluate.key import Key
from tests.evaluate.fit.band import CHORDS, LEAD_SECONDS, MELODY, RATE, tone

BEATS = 28
CLUSTERS = ((0, 1, 2), (4, 5, 6), (8, 9, 10), (2, 3, 4))


def band(*, tonic: int = 0, beat_seconds: float = 0.5, chords=CHORDS, beats: int = BEATS) -> Tensor:
    """A chord on every beat with a click, two beats a chord."""
    noise = 0.5 * torch.randn(480, generator=torch.Generator().manual_seed(0))
    parts = [_lead()]
    for beat in range(beats):
        chord = chords[beat // 2 % len(chords)]
        notes = [48 + tonic + chord[0], *(60 + tonic + pitch_class for pitch_class in chord)]
        sound = sum(tone(note, beat_seconds) for note in notes)
        sound[:480] += noise
        parts.append(sound)
    return 0.08 * torch.cat(parts)


def voice(*, tonic: int = 0, beat_seconds: float = 0.5, beats: int = BEATS) -> Tensor:
    """The melody over `CHORDS`: one note a beat."""
    notes = [tone(60 + tonic + MELODY[beat % len(MELODY)], beat_seconds) for beat in range(beats)]
    return 0.2 * torch.cat([_lead(), *notes])


def truth(*, tonic: int = 0, beat_seconds: float = 0.5, beats: int = BEATS) -> Truth:
    """What the score of `voice` says."""
    return Truth(
        key=Key(tonic % 12, "maj"),
        chords=tuple(
            Chord(
                start_seconds=LEAD_SECONDS + beat * beat_seconds,
                end_seconds=LEAD_SECONDS + (beat + 2) * beat_seconds,
                pitch_classes=tuple((tonic + tone) % 12 for tone in CHORDS[beat // 2 % len(CHORDS)]),
            )
            for beat in range(0, beats, 2)
        ),
        beats_seconds=tuple(LEAD_SECONDS + beat * beat_seconds for beat in range(beats)),
    )


def _lead() -> Tensor:
    return torch.zeros(round(LEAD_SECONDS * RATE))


BANDS = {
    "clusters": band(chords=CLUSTERS),
    "quick": band(chords=CLUSTERS[::-1], beat_seconds=0.42, beats=36),
    "right": band(),
    "slow": band(chords=CLUSTERS, beat_seconds=0.68, beats=20),
}
"""Bands by song; `right` is that of `voice`."""


def write_collection(root: Path, bands: dict[str, Tensor] | None = None) -> Path:
    """Pairs on disk, of songs of their names, each with another vocal."""
    for number, (song, sound) in enumerate((BANDS if bands is None else bands).items()):
        folder = root / song
        folder.mkdir(parents=True)
        soundfile.write(folder / "instrumental.wav", sound.numpy(), RATE, subtype="PCM_24")
        vocal = 0.1 * torch.sin((0.03 + 0.01 * number) * torch.arange(len(sound)))
        soundfile.write(folder / "vocals.wav", vocal.numpy(), RATE, subtype="PCM_24")
    return root

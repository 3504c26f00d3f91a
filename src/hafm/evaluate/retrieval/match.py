"""Which instrumental fits a vocal, and how it has to be changed.

In: a `VocalProfile`, and the `Descriptors` of candidates. Out: `Match`es, one per candidate, the best first.

1. *All candidates* are ranked by key and tempo, for each transposition and each pulse that the vocal may
   have. A pulse of the vocal and one of the candidate belong together if their periods differ by a factor of
   2^k and by no more than the limits of the speed; that settles the speed.
2. *The best of them* are laid under the vocal, with each of their strokes in turn on the vocal's first one,
   and half a beat beside it, since a vocal seldom says which is the beat; in each transposition. What counts
   then is a sum of terms:

| term | weight | what it is |
|---|---|---|
| `key` | 0.3 | expected credit (`hafm.evaluate.key`) of the transposed key against the vocal's |
| `chroma` | 1.0 | mean correlation of chroma over the frames in which both sound |
| `tempo` | 0.2 | strength of the vocal's pulse that is followed, against its strongest |
| `beat` | 0.1 | how much of that pulse's strength falls on the strokes, -1 to 1 |
| `transposition` | -0.1 | size, 1 at the limit |
| `speed` | -0.1 | size of its logarithm, 1 at a factor of 1.25 |
| `seams` | -0.02 | how often the material has to begin again |

The weights were set on 40 rendered vocals of training songs. There a `key` of 1 or 2, a `tempo` of 0.5 or 1
and a `beat` of 0.3 gave much the same; without `chroma` the chords fit less, without `key` the key, and
without `tempo` or `beat` the beats.

Conventions: everything is a function of its arguments; between equals the first candidate wins, then the
smaller transposition, then the earlier place. `speed` above 1 plays the candidate faster. `offset_seconds` is
the place in the candidate, in its own time, on which the vocal's first sample falls.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from hafm.errors import UsageError
from hafm.evaluate.key import KEYS, Key, key_score
from hafm.evaluate.retrieval.descriptors import (
    CHROMA_FRAMES_PER_SECOND,
    Descriptors,
    VocalProfile,
    key_probabilities,
    likeliest_keys,
)
from hafm.evaluate.retrieval.loop import Loop
from hafm.evaluate.retrieval.pulse import pulse_at, pulse_fall
from hafm.words import plural

__all__ = ["WEIGHTS", "Match", "MatchSettings", "explain", "rank_candidates"]

Floats = NDArray[np.float64]

WEIGHTS: Mapping[str, float] = {
    "key": 0.3,
    "chroma": 1.0,
    "tempo": 0.2,
    "beat": 0.1,
    "transposition": -0.1,
    "speed": -0.1,
    "seams": -0.02,
}
"""What each term of a score counts."""

_SOUNDS = 0.3  # length of a chroma that counts as holding notes, as in `hafm.evaluate.fit.chroma`
_STEP_SECONDS = 0.5  # between places that are tried where there is no pulse
_UNIT_SPEED = math.log2(1.25)


@dataclass(frozen=True, kw_only=True)
class MatchSettings:
    """What may be done to a candidate, and how many are examined; UsageError where a value is out of range.

    Limits of the speed that are a factor of 2 apart would let one pulse be followed in two ways.
    """

    most_semitones: int = 6
    slowest: float = 0.8
    fastest: float = 1.25
    shortlist: int = 64

    def __post_init__(self) -> None:
        if not 0 <= self.most_semitones <= 12:
            raise UsageError(f"most_semitones is {self.most_semitones}; give 0 to 12")
        if not (0.5 < self.slowest <= 1 <= self.fastest < 2 and self.fastest < 2 * self.slowest):
            raise UsageError(
                f"speeds from {self.slowest} to {self.fastest} cannot be; give a range around 1 that is less "
                "than a factor of 2 wide"
            )
        if self.shortlist < 1:
            raise UsageError(f"shortlist is {self.shortlist}; give 1 or more")

    @property
    def semitones(self) -> tuple[int, ...]:
        """All transpositions, the smallest first, up before down."""
        steps = range(1, self.most_semitones + 1)
        return (0, *(sign * step for step in steps for sign in (1, -1)))


@dataclass(frozen=True, kw_only=True)
class Match:
    """A candidate, and how it is made to fit.

    Args:
        number: of the candidate, in the order in which they were given.
        semitones: to transpose it by, above 0 upwards.
        offset_seconds: where in the candidate the vocal begins, 0 or more; see `Loop.begin`.
        terms: of the score, before they are weighted; those of `WEIGHTS`.
    """

    number: int
    semitones: int
    speed: float
    offset_seconds: float
    terms: Mapping[str, float]

    @property
    def score(self) -> float:
        """The sum of the terms, each times its weight."""
        return sum(WEIGHTS[name] * value for name, value in self.terms.items())


def rank_candidates(
    vocal: VocalProfile, candidates: Sequence[Descriptors], settings: MatchSettings | None = None
) -> list[Match]:
    """The candidates of the shortlist, the best first, each as it fits best."""
    settings = MatchSettings() if settings is None else settings
    if not candidates:
        return []
    credits = _key_credits(vocal, candidates, settings.semitones)
    cost = WEIGHTS["transposition"] * np.abs(settings.semitones) / 6
    ways = [_ways(vocal, known, settings) for known in candidates]
    coarse = (WEIGHTS["key"] * credits + cost).max(axis=1) + [
        max(_tempo_score(tempo, speed) for tempo, speed in each) for each in ways
    ]
    shortlist = np.argsort(-coarse, kind="stable")[: settings.shortlist]
    matches = [
        max(
            (
                _laid_under(vocal, candidates[number], tempo, speed, credits[number], settings, number)
                for tempo, speed in ways[number]
            ),
            key=lambda match: match.score,
        )
        for number in sorted(shortlist.tolist())
    ]
    # Stable: the first of equals stays first. Sums that are equal on paper may differ in their last bits;
    # rounding makes them equal again.
    return sorted(matches, key=lambda match: -round(match.score, 9))


def explain(vocal: VocalProfile, candidate: Descriptors, match: Match) -> str:
    """Why it is this one, in a line for people."""
    (sung, _), *_ = likeliest_keys(vocal.profile)
    (written, _), *_ = likeliest_keys(candidate.profile)
    heard = Key((written.tonic + match.semitones) % 12, written.mode)
    steps = plural(abs(match.semitones), "semitone")
    moved = f" ({written}, {steps} {'up' if match.semitones > 0 else 'down'})" if match.semitones else ""
    key = f"{heard}{moved} under {sung}"
    if candidate.pulse is None or not vocal.pulses:
        tempo = "no steady tempo, so played at its own"
    else:
        bpm = 60 / candidate.pulse.beat_seconds
        tempo = f"{bpm:.1f} beats per minute played at {bpm * match.speed:.1f}"
    return f"{key}; {tempo}; chroma agree by {match.terms['chroma']:.2f}"


def _ways(vocal: VocalProfile, candidate: Descriptors, settings: MatchSettings) -> list[tuple[float, float]]:
    """Pulses of the vocal that the candidate may follow: the strength of each against the strongest, and the
    speed. Where there is none, (0, 1): it is played as it is.
    """
    ways = []
    strongest = max((pulse.strength for pulse in vocal.pulses), default=0.0)
    if candidate.pulse is not None:
        for pulse in vocal.pulses:
            octaves = math.log2(candidate.pulse.period_seconds / pulse.period_seconds)
            speed = 2.0 ** (octaves - round(octaves))
            if settings.slowest <= speed <= settings.fastest:
                ways.append((pulse.strength / strongest, speed))
    return ways or [(0.0, 1.0)]


def _tempo_score(tempo: float, speed: float) -> float:
    return WEIGHTS["tempo"] * tempo + WEIGHTS["speed"] * abs(math.log2(speed)) / _UNIT_SPEED


def _key_credits(vocal: VocalProfile, candidates: Sequence[Descriptors], semitones: Sequence[int]) -> Floats:
    """Expected credit of each candidate's key after each transposition `[candidates, transpositions]`."""
    credit = np.array([[key_score(played, sung) for played in KEYS] for sung in KEYS])
    worth = key_probabilities(vocal.profile) @ credit
    played = np.stack([key_probabilities(known.profile) for known in candidates]).reshape(-1, 2, 12)
    return np.stack([np.roll(played, step, axis=2).reshape(-1, 24) @ worth for step in semitones], axis=1)


def _laid_under(
    vocal: VocalProfile,
    candidate: Descriptors,
    tempo: float,
    speed: float,
    credits: Floats,
    settings: MatchSettings,
    number: int,
) -> Match:
    """The candidate at a speed, at its best place and transposition."""
    loop = Loop.of(candidate.pulse, candidate.seconds)
    begins, falls = _places(vocal, loop, speed, follows=tempo > 0)
    length = vocal.seconds * speed
    chroma = _chroma_at(vocal, candidate, loop, begins, speed, settings.semitones)
    seams = np.array([loop.seams(begin, length) for begin in begins])
    sizes = np.abs(settings.semitones) / 6
    scores = (
        WEIGHTS["chroma"] * chroma
        + WEIGHTS["key"] * credits
        + WEIGHTS["transposition"] * sizes
        + (WEIGHTS["beat"] * falls + WEIGHTS["seams"] * seams)[:, None]
    )
    # Transpositions first: of equals the smaller one wins, and then the earlier place.
    step, place = np.unravel_index(int(scores.T.argmax()), scores.T.shape)
    return Match(
        number=number,
        semitones=settings.semitones[step],
        speed=speed,
        offset_seconds=float(begins[place]),
        terms={
            "key": float(credits[step]),
            "chroma": float(chroma[place, step]),
            "beat": float(falls[place]),
            "transposition": float(sizes[step]),
            "seams": float(seams[place]),
            "tempo": tempo,
            "speed": abs(math.log2(speed)) / _UNIT_SPEED,
        },
    )


def _places(vocal: VocalProfile, loop: Loop, speed: float, *, follows: bool) -> tuple[Floats, Floats]:
    """Where in the candidate the vocal may begin, and how well its pulse falls on the strokes then."""
    if not follows or loop.beat_seconds is None:
        count = max(1, round(loop.seconds / _STEP_SECONDS))
        begins: Floats = loop.start_seconds + np.arange(count, dtype=np.float64) * (loop.seconds / count)
        return begins, np.zeros(count)
    sung = pulse_at(vocal.onsets, loop.beat_seconds / speed)
    assert sung is not None, "a vocal with a pulse has onsets"
    strokes = loop.start_seconds + np.arange(round(loop.seconds / loop.beat_seconds)) * loop.beat_seconds
    all_begins: list[float] = []
    all_falls: list[float] = []
    for turn in (0.0, 0.5):
        on = replace(sung, phase_seconds=sung.phase_seconds + turn * sung.period_seconds)
        fall = pulse_fall(vocal.onsets, on)
        all_begins += [loop.begin(float(stroke - on.phase_seconds * speed)) for stroke in strokes]
        all_falls += [fall] * len(strokes)
    return np.array(all_begins), np.array(all_falls)


def _chroma_at(
    vocal: VocalProfile,
    candidate: Descriptors,
    loop: Loop,
    begins: Floats,
    speed: float,
    semitones: Sequence[int],
) -> Floats:
    """Mean correlation of chroma `[places, transpositions]`, over the frames in which both sound."""
    sung, sings = _centred(vocal.chroma)
    played, plays = _centred(candidate.chroma)
    seconds = (np.arange(len(sung)) + 0.5) / CHROMA_FRAMES_PER_SECOND
    unrolled = begins[:, None] + speed * seconds
    last = (begins + speed * vocal.seconds)[:, None]
    frames = (loop.places(unrolled, last_seconds=last) * CHROMA_FRAMES_PER_SECOND).astype(np.int64)
    frames = np.clip(frames, 0, len(played) - 1)
    both = plays[frames] & sings
    count = np.maximum(1, both.sum(axis=1))
    # products[place, i, j] = sum over frames of sung[i] * played[j]; transposed by n, j sounds as j + n
    products = sung.T @ played[frames]
    classes = np.arange(12)
    sums = np.stack([products[:, classes, (classes - step) % 12].sum(axis=1) for step in semitones], axis=1)
    correlations: Floats = sums / count[:, None]
    return correlations


def _centred(chroma: Tensor) -> tuple[Floats, NDArray[np.bool_]]:
    """Chroma of mean 0 and length 1, 0 where nothing sounds; and where something does."""
    sounds = chroma.norm(dim=1) > _SOUNDS
    centred = chroma - chroma.mean(dim=1, keepdim=True)
    unit = torch.nn.functional.normalize(centred, dim=1) * sounds[:, None]
    return unit.double().numpy(), sounds.numpy()

"""Key and chords from what the network says of every frame: two Viterbi paths, the second given the first.

In:  logits of key `[S, 24]`, root `[S, 13]` and pitch classes `[S, 12]` at 12.5 Hz; the borders between which
one chord holds. Out: keys and chord labels, each with a confidence.

1. *Key*, a block of 8 s at a time; to change costs `KEY_CHANGE`.
2. *Root and mode*, a segment (half a bar, as a rule) at a time, among 25 states: twelve major, twelve minor,
   no chord. A segment speaks for a state by the log-probability of its root and of its third, and by how much
   of the melody in it lies on the chord's notes; one state follows another as often, relative to the key, as
   in the songs that the analyser was trained on. A melody alone allows several chords: this is where the
   likely one among them comes from. To stay costs `STAY_COST`.
3. *Quality*. Equal neighbours are one chord; of the qualities of its mode it gets the one whose notes fit
   best.

Source: transitions by key after Simon, Morris and Basu, "MySong: automatic accompaniment generation for vocal
melodies" (2008).
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int
from numpy.typing import NDArray

from hafm.guide.beat_time import log_softmax
from hafm.guide.chord import NO_CHORD, NOTE_NAMES, parse_chord, parse_note
from hafm.guide.lead_sheet import ChordSpan, KeyChange
from hafm.guide.network import CHORD_STATES

__all__ = [
    "HARMONY_RATE",
    "STAY_COST",
    "Harmony",
    "find_harmony",
    "key_number",
    "mean_of_segments",
    "segment_states",
    "state_of",
]

Floats = NDArray[np.floating]

HARMONY_RATE = 12.5
"""Frames per second."""
SEGMENT_WEIGHT = 1.5
"""What a segment says, against what usually follows."""
STAY_COST = 0.5
"""What it costs to stay on a chord, beside how often songs do: where little is heard, the likeliest path
stays longer than songs do (docs/experiments.md)."""
KEY_CHANGE = 6.0
_KEY_SECONDS = 8.0

_NONE = 24
_QUALITIES = (
    {"maj": 0.0, "7": -1.0, "maj7": -1.0, "sus4": -1.0, "aug": -4.0},
    {"min": 0.0, "min7": -1.0, "dim": -2.0, "hdim7": -2.0},
)
"""By mode, with the log of how likely each is before it is heard."""


def _triads() -> Floats:
    """1 where a pitch class is one of a state's; of each, no chord has a little more than chance gives."""
    triads = np.zeros((12, CHORD_STATES))
    for state in range(_NONE):
        triads[[(state + interval) % 12 for interval in (0, 3 if state >= 12 else 4, 7)], state] = 1
    triads[:, _NONE] = 0.3
    return triads


_TRIADS = _triads()


@dataclass(frozen=True, kw_only=True)
class Harmony:
    """Keys and chords that were found.

    Args:
        keys: the first from 0; at least one.
        key_confidence, chord_confidence: 0 to 1, mean probability over time.
        chords: without gaps.
    """

    keys: tuple[KeyChange, ...]
    key_confidence: float
    chords: tuple[ChordSpan, ...]
    chord_confidence: float


def find_harmony(
    key: Float[np.ndarray, "S 24"],
    states: Float[np.ndarray, "G 25"],
    pitch_classes: Float[np.ndarray, "S 12"],
    *,
    transitions: Float[np.ndarray, "2 25 25"],
    stay_cost: float,
    borders_seconds: Sequence[float],
    known_keys: Sequence[KeyChange] = (),
) -> Harmony:
    """The keys and chords of a sound.

    Args:
        key, pitch_classes: logits at 12.5 Hz.
        states: what each of the G segments says for each state; see `segment_states`.
        transitions: log-probability of the next state given the state before, both relative to the tonic, in
            major and in minor keys.
        stay_cost: of a segment with the state of the one before, beside its transition.
        borders_seconds: of the segments, rising, from 0 to the end of the sound; a chord may change at each.
        known_keys: that hold, where somebody said so; then none are looked for, and the confidence is 1.
    """
    keys, key_confidence = (tuple(known_keys), 1.0) if known_keys else _find_keys(key)
    starts, ends = np.asarray(borders_seconds[:-1]), np.asarray(borders_seconds[1:])
    spans = _segments(borders_seconds, len(key))
    stay = stay_cost * np.eye(CHORD_STATES)
    relative = [_relative_to(transitions, _key_at(keys, start)) - stay for start in starts]
    path = _viterbi(states, relative[1:])
    posterior = np.exp(log_softmax(states))
    confidence = float(np.average(posterior[np.arange(len(path)), path], weights=ends - starts))
    chords: list[ChordSpan] = []
    first = 0
    for last in range(len(path)):
        if last + 1 < len(path) and path[last + 1] == path[first]:
            continue
        span = slice(spans[first].start, spans[last].stop)
        label = _label(int(path[first]), pitch_classes[span].mean(axis=0))
        chords.append(ChordSpan(float(starts[first]), float(ends[last]), label))
        first = last + 1
    return Harmony(
        keys=keys, key_confidence=key_confidence, chords=tuple(chords), chord_confidence=confidence
    )


def segment_states(
    root: Float[np.ndarray, "S 13"],
    pitch_classes: Float[np.ndarray, "S 12"],
    *,
    melody: Float[np.ndarray, "S 12"],
    borders_seconds: Sequence[float],
) -> Float[np.ndarray, "G 25"]:
    """What each segment says for each state, from what is heard of roots and pitch classes.

    Args:
        root, pitch_classes: logits at 12.5 Hz.
        melody: what of each pitch class is sung, times how much it counts; zeros where chords are heard, not
            guessed.
        borders_seconds: see `find_harmony`.
    """
    log_root, sung = log_softmax(root), melody @ _TRIADS
    return SEGMENT_WEIGHT * np.stack(
        [
            _state_scores(log_root[span], pitch_classes[span]) + sung[span].mean(axis=0)
            for span in _segments(borders_seconds, len(root))
        ]
    )


def state_of(label: str) -> int:
    """The state of a chord's label: its root, and whether its third is minor.

    >>> state_of("D:min7/b3"), state_of("G:7"), state_of("N")
    (14, 7, 24)
    """
    chord = parse_chord(label)
    if chord.root is None:
        return _NONE
    minor, major = ((chord.root + third) % 12 in chord.pitch_classes for third in (3, 4))
    return chord.root + 12 * (minor and not major)


def _find_keys(logits: Floats) -> tuple[tuple[KeyChange, ...], float]:
    size = round(_KEY_SECONDS * HARMONY_RATE)
    starts = range(0, max(1, len(logits) - size // 2), size)
    blocks = np.stack([log_softmax(logits[start : start + size].mean(axis=0)) for start in starts])
    change = np.full((24, 24), -KEY_CHANGE)
    np.fill_diagonal(change, 0.0)
    path = _viterbi(blocks, [change] * (len(blocks) - 1))
    confidence = float(np.exp(blocks[np.arange(len(path)), path]).mean())
    changes = [i for i in range(len(path)) if i == 0 or path[i] != path[i - 1]]
    keys = tuple(
        KeyChange(starts[i] / HARMONY_RATE, NOTE_NAMES[path[i] % 12], "min" if path[i] >= 12 else "maj")
        for i in changes
    )
    return keys, confidence


def key_number(key: KeyChange) -> int:
    """Pitch class of the tonic, 12 more in minor."""
    return parse_note(key.tonic) + 12 * (key.mode == "min")


def _key_at(keys: Sequence[KeyChange], seconds: float) -> int:
    return key_number([key for key in keys if key.start_seconds <= seconds][-1])


def _state_scores(log_root: Floats, pitch_classes: Floats) -> Floats:
    """What a segment says for each state: log-probability of the root, and of its third among the two."""
    roots, thirds = log_root.mean(axis=0), pitch_classes.mean(axis=0)
    minor_less_major = np.roll(thirds, -3) - np.roll(thirds, -4)  # at the root: third 3 or 4 above
    is_major, is_minor = -np.logaddexp(0, minor_less_major), -np.logaddexp(0, -minor_less_major)
    return np.concatenate([roots[:12] + is_major, roots[:12] + is_minor, roots[12:]])


def _relative_to(transitions: Floats, key: int) -> Floats:
    """The transitions of a key, states by their pitch class."""
    tonic, is_minor = key % 12, key // 12
    states = np.arange(_NONE)
    moved = np.append((states - tonic) % 12 + 12 * (states // 12), _NONE)
    return np.asarray(transitions[is_minor][np.ix_(moved, moved)])


def _label(state: int, pitch_classes: Floats) -> str:
    if state == _NONE:
        return NO_CHORD
    root, mode = state % 12, state // 12
    fits = {}
    for quality, prior in _QUALITIES[mode].items():
        notes = np.isin(np.arange(12), list(parse_chord(f"{NOTE_NAMES[root]}:{quality}").pitch_classes))
        fits[quality] = prior - np.logaddexp(0, np.where(notes, -pitch_classes, pitch_classes)).sum()
    return f"{NOTE_NAMES[root]}:{max(fits, key=lambda quality: fits[quality])}"


def mean_of_segments(
    frames: Float[np.ndarray, "S D"], borders_seconds: Sequence[float]
) -> Float[np.ndarray, "G D"]:
    """The mean over each segment of what is said at 12.5 Hz."""
    return np.stack([frames[span].mean(axis=0) for span in _segments(borders_seconds, len(frames))])


def _segments(borders_seconds: Sequence[float], num_frames: int) -> list[slice]:
    """The slow frames of each segment, at least one."""
    borders = [min(round(border * HARMONY_RATE), num_frames) for border in borders_seconds]
    starts = [min(border, num_frames - 1) for border in borders]
    return [slice(start, max(start + 1, end)) for start, end in zip(starts, borders[1:], strict=False)]


def _viterbi(scores: Float[np.ndarray, "N S"], transitions: Sequence[Floats]) -> Int[np.ndarray, " N"]:
    """The path of the largest sum of scores and transitions (`[before, after]`)."""
    best = scores[0]
    links = []
    for score, transition in zip(scores[1:], transitions, strict=True):
        sums = best[:, None] + transition
        links.append(sums.argmax(axis=0))
        best = sums.max(axis=0) + score
    path = [int(best.argmax())]
    for link in reversed(links):
        path.append(int(link[path[-1]]))
    return np.array(path[::-1])

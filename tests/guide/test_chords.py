"""Keys and chords from activations that are made."""

import numpy as np

from hafm.guide.chord import parse_chord
from hafm.guide.chords import STAY_COST, Harmony, find_harmony, mean_of_segments, segment_states, state_of
from hafm.guide.lead_sheet import ChordSpan, KeyChange
from hafm.guide.network import CHORD_STATES

EVEN = np.full((2, CHORD_STATES, CHORD_STATES), -np.log(CHORD_STATES))
BAR = 25  # slow frames: 2 s


def activations(
    labels: list[str], *, key: int = 0, sure: float = 4.0
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Logits of key, root and pitch classes of a bar of each chord."""
    size = BAR * len(labels)
    keys, roots, classes = np.zeros((size, 24)), np.zeros((size, 13)), np.full((size, 12), -sure)
    keys[:, key] = sure
    for number, label in enumerate(labels):
        chord = parse_chord(label)
        bar = slice(number * BAR, (number + 1) * BAR)
        roots[bar, 12 if chord.root is None else chord.root] = sure
        classes[bar, list(chord.pitch_classes)] = sure
    return keys, roots, classes


def harmonise(
    key: np.ndarray,
    root: np.ndarray,
    classes: np.ndarray,
    *,
    melody: np.ndarray | None = None,
    transitions: np.ndarray = EVEN,
    stay_cost: float = STAY_COST,
) -> Harmony:
    """The harmony of bars of 2 s, without a melody unless there is one."""
    borders_seconds = [2.0 * bar for bar in range(len(root) // BAR + 1)]
    sung = np.zeros((len(root), 12)) if melody is None else melody
    return find_harmony(
        key,
        segment_states(root, classes, melody=sung, borders_seconds=borders_seconds),
        classes,
        transitions=transitions,
        stay_cost=stay_cost,
        borders_seconds=borders_seconds,
    )


def test_what_is_heard_plainly_is_found() -> None:
    labels = ["C:maj", "A:min7", "F:maj7", "G:sus4", "B:hdim7", "E:7", "N", "Ab:aug"]
    found = harmonise(*activations(labels, key=9 + 12))
    assert [span.label for span in found.chords] == labels
    assert found.chords[1] == ChordSpan(2.0, 4.0, "A:min7")
    assert found.keys == (KeyChange(0.0, "A", "min"),)
    assert min(found.key_confidence, found.chord_confidence) > 0.6


def test_equal_neighbours_are_one_chord() -> None:
    found = harmonise(*activations(["C:maj", "C:maj", "G:maj"]))
    assert found.chords == (ChordSpan(0.0, 4.0, "C:maj"), ChordSpan(4.0, 6.0, "G:maj"))


def test_what_usually_follows_decides_between_chords_that_sound_alike() -> None:
    key, root, classes = activations(["D:maj", "G:maj", "D:maj"], key=2)
    root[BAR : 2 * BAR] = 0.0
    root[BAR : 2 * BAR, [7, 9]] = 2.0  # G or A: the notes fit both
    classes[BAR : 2 * BAR] = 0.0
    transitions = EVEN.copy()
    transitions[0, 0, 7] = transitions[0, 7, 0] = -0.5  # in major, the fifth follows the tonic, and back
    found = harmonise(key, root, classes, transitions=transitions)
    assert [span.chord.root for span in found.chords] == [2, 9, 2]


def test_a_melody_is_harmonised() -> None:
    """Where the network has no opinion, the chord is one that holds what is sung."""
    key, root, classes = (np.zeros_like(each) for each in activations(["N"] * 3))
    melody = np.zeros((3 * BAR, 12))
    for bar, notes in enumerate([(0, 4, 7), (5, 9, 0), (2, 7, 11)]):
        melody[bar * BAR : (bar + 1) * BAR, list(notes)] = 3.0
    found = harmonise(key, root, classes, melody=melody)
    assert [span.chord.root for span in found.chords] == [0, 5, 7]


def test_a_key_that_changes_is_followed() -> None:
    before, after = activations(["C:maj"] * 8, key=0), activations(["D:maj"] * 8, key=2)
    both = [np.concatenate(pair) for pair in zip(before, after, strict=True)]
    found = harmonise(*both)
    assert [key.label for key in found.keys] == ["C:maj", "D:maj"]
    assert abs(found.keys[1].start_seconds - 16.0) < 0.1


def test_states_of_inversions_and_suspensions() -> None:
    assert [state_of(label) for label in ("C:sus4", "Eb:min/b3", "F#:dim7", "B:maj9/5")] == [0, 15, 18, 11]


def test_chords_that_are_not_heard_plainly_change_as_songs_do() -> None:
    """Songs stay half of the time; the likeliest path stays nearly always, unless that has its cost."""
    key, root, classes = activations(["C:maj", "F:maj", "G:maj", "C:maj"], sure=2.25)
    transitions = np.full((2, CHORD_STATES, CHORD_STATES), np.log(0.5 / (CHORD_STATES - 1)))
    for mode in transitions:
        np.fill_diagonal(mode, np.log(0.5))
    found = harmonise(key, root, classes, transitions=transitions)
    assert [span.chord.root for span in found.chords] == [0, 5, 7, 0]
    assert len(harmonise(key, root, classes, transitions=transitions, stay_cost=0.0).chords) == 1


def test_a_segment_says_the_mean_of_its_frames() -> None:
    frames = np.arange(100.0)[:, None] * [1, -1]
    found = mean_of_segments(frames, [0.0, 2.0, 8.0])
    np.testing.assert_allclose(found, [[12, -12], [62, -62]])

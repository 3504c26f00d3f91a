"""Chord labels, against mir_eval."""

import re

import mir_eval
import numpy as np
import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st

from hafm.errors import ChordError
from hafm.guide.chord import NOTE_NAMES, QUALITIES, parse_chord, parse_note
from tests.guide.sheets import labels

NOT_IN_MIR_EVAL = {"aug7", "maj11"}  # allowed by its syntax, without pitch classes


@given(labels())
@example("B#:min7/b3")
@example("Cb:13(*5,#11)")
@example("G:(3,5,b7)/2")
def test_pitch_classes_are_those_of_mir_eval(label: str) -> None:
    quality = re.sub(r"\(.*|/.*", "", label.partition(":")[2])
    degrees = [degree.removeprefix("*") for degree in re.findall(r"[*b#]*\d+", label.partition("(")[2])]
    assume(quality not in NOT_IN_MIR_EVAL)
    # Its bitmaps are sums, in which a degree that is added and left out stays.
    classes = [mir_eval.chord.scale_degree_to_semitone(degree) % 12 for degree in degrees]
    assume(len(set(classes)) == len(classes))
    assume("*" not in label or not {0} & set(classes))
    root, bitmap, bass = mir_eval.chord.encode(label, reduce_extended_chords=True)
    chord = parse_chord(label)
    if label == "N":
        assert (chord.root, chord.bass, chord.pitch_classes) == (None, None, frozenset())
        return
    absolute = mir_eval.chord.rotate_bitmap_to_root(bitmap, root)
    assert chord.root == root
    assert chord.bass == (root + bass) % 12
    assert chord.pitch_classes == set(np.flatnonzero(absolute).tolist())


@pytest.mark.parametrize("quality", sorted(NOT_IN_MIR_EVAL))
def test_qualities_that_mir_eval_lacks(quality: str) -> None:
    expected = {"aug7": {0, 4, 8, 10}, "maj11": {0, 2, 4, 5, 7, 11}}[quality]
    assert parse_chord(f"C:{quality}").pitch_classes == expected


@given(labels(), st.integers(-30, 30))
def test_transposition_moves_every_pitch_class(label: str, semitones: int) -> None:
    chord = parse_chord(label)
    moved = chord.transposed(semitones)
    assert moved.pitch_classes == {(pitch + semitones) % 12 for pitch in chord.pitch_classes}
    if chord.root is not None and chord.bass is not None:
        assert moved.root == (chord.root + semitones) % 12
        assert moved.bass == (chord.bass + semitones) % 12
    assert parse_chord(moved.label) == moved


def test_note_names_are_the_pitch_classes_in_order() -> None:
    assert [parse_note(name) for name in NOTE_NAMES] == list(range(12))


@pytest.mark.parametrize(
    "label", ["", "H:min", "C:", "C:maj/", "c", "C:(14)", "C#b", "C:maj(", "N/3", "C:maj/14", "C maj", "C:()"]
)
def test_what_is_no_label_is_refused(label: str) -> None:
    with pytest.raises(ChordError):
        parse_chord(label)


def test_an_unknown_quality_names_the_nearest() -> None:
    with pytest.raises(ChordError, match="no quality 'minn7'; did you mean 'min7'"):
        parse_chord("A:minn7/b3")
    assert "minn7" not in QUALITIES

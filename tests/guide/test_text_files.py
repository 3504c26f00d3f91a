"""Chords and beats as text: nothing is lost, and a wrong line is named."""

import pytest
from hypothesis import given

from hafm.errors import LeadSheetError
from hafm.guide.lead_sheet import Beat, ChordSpan, LeadSheet
from hafm.guide.text_files import beats_from_text, beats_to_text, chords_from_lab, chords_to_lab
from tests.guide.sheets import WALTZ, sheets


@given(sheets())
def test_chords_and_beats_come_back_to_their_last_bit(sheet: LeadSheet) -> None:
    if sheet.chords:
        back = chords_from_lab(chords_to_lab(sheet), duration_seconds=sheet.duration_seconds, where="it")
        assert back.chords == sheet.chords
    if sheet.beats:
        back = beats_from_text(beats_to_text(sheet), duration_seconds=sheet.duration_seconds, where="it")
        assert back.beats == sheet.beats


def test_a_lab_covers_the_sound() -> None:
    assert chords_to_lab(WALTZ).splitlines() == [
        "0.0\t0.75\tA:min/b3",
        "0.75\t2.25\tN",
        "2.25\t2.5\tX",
        "2.5\t4.0\tF#:sus4(b7)",
    ]


def test_a_lab_of_another_program_is_read() -> None:
    """Symbols, blanks, a comment, ends that were rounded, and a last chord a little too long."""
    text = "# made by hand\n0  1.2504 Am7/G\n\n1.250\t2.0\t N.C.\n2.0 3.04 X\n"
    sheet = chords_from_lab(text, duration_seconds=3.0, where="it")
    assert sheet.chords == (ChordSpan(0.0, 1.2504, "A:min7/b7"), ChordSpan(1.2504, 2.0, "N"))


def test_the_meters_follow_from_the_positions() -> None:
    positions = [4, 1, 2, 3, 4, 1, 2, 3, 1, 2, 3, 4, 1]
    text = "".join(f"{number} {position}\n" for number, position in enumerate(positions))
    sheet = beats_from_text(text, duration_seconds=13.0, where="it")
    assert [(meter.start_seconds, meter.label) for meter in sheet.meters] == [
        (0.0, "4/4"),
        (5.0, "3/4"),
        (8.0, "4/4"),
    ]
    assert sheet.beats[0] == Beat(0.0, 4)


def test_a_beat_at_the_very_end_is_passed_over() -> None:
    text = "0 1\n1 2\n2.01 3\n"
    assert len(beats_from_text(text, duration_seconds=2.0, where="it").beats) == 2


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "c.lab has no chord"),
        ("0 1 X\n", "c.lab has no chord"),
        ("0 1\n", "c.lab, line 1: '0 1' is not start end chord; write it as in 0.0 1.5 A:min"),
        ("0 1 C\n1 x C\n", "c.lab, line 2: 'x' is not a number"),
        ("nan 1 C\n", "c.lab, line 1: 'nan' is not a number"),
        ("-1 1 C\n", "c.lab, line 1: '-1' is not a number of 0 or more"),
        ("0 1 C\n# so\n0.5 2 G\n", "c.lab, line 3: 0.5 to 2 s, where the line before ends at 1 s"),
        ("1 1 C\n", "c.lab, line 1: 1 to 1 s"),
        ("0 9 C\n", "c.lab, line 1: 9 s is after the end of the sound, 4 s"),
        ("0 1 Hm\n", "c.lab, line 1: chord 'Hm': does H mean"),
        ("0 1 Cmjr7\n", "c.lab, line 1: chord 'Cmjr7' is not known; did you mean Cmaj7?"),
        (
            "".join(f"{n / 5000} {(n + 1) / 5000} C\n" for n in range(10_000)),
            "c.lab: a lead sheet has 10000 chords",
        ),
    ],
)
def test_a_wrong_lab_is_named_by_its_line(text: str, message: str) -> None:
    with pytest.raises(LeadSheetError) as caught:
        chords_from_lab(text, duration_seconds=4.0, where="c.lab")
    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "b.txt has no beat"),
        ("0.5\n", "b.txt, line 1: '0.5' is not time position; write it as in 1.37 1"),
        ("0.5 0\n", "b.txt, line 1: the position in the bar is 0; write 1 for its first beat"),
        ("0.5 1.5\n", "b.txt, line 1: the position in the bar is 1.5"),
        ("0.5 1\n0.4 2\n", "b.txt, line 2: 0.4 s is not after 0.5 s; put the beats in order"),
        ("0.5 1\n0.9 3\n", "b.txt: beat 2 at 0.900 s has position 3 after 1"),
        ("0.5 1\n5 2\n", "b.txt, line 2: 5 s is after the end of the sound, 4 s"),
    ],
)
def test_wrong_beats_are_named_by_their_line(text: str, message: str) -> None:
    with pytest.raises(LeadSheetError) as caught:
        beats_from_text(text, duration_seconds=4.0, where="b.txt")
    assert message in str(caught.value)

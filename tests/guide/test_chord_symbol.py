"""Chord symbols: everything that musicians type, and what is asked about."""

import pytest
from hypothesis import example, given

from hafm.errors import ChordError
from hafm.guide.chord import QUALITIES, parse_chord
from hafm.guide.chord_symbol import parse_symbol, symbol_of
from tests.guide.sheets import labels

TYPED = {
    "maj": "C CM Cmaj CMajor C(maj)",
    "min": "Cm C- Cmin CMI Cminor",
    "dim": "Cdim C° Co Cm(b5)",
    "aug": "Caug C+ C+5 Caug5 C(#5)",
    "7": "C7 Cdom7",
    "maj7": "Cmaj7 CM7 CMaj7 Cma7 CΔ CΔ7 C△ C^ C^7 C7M",
    "min7": "Cm7 Cmin7 Cmi7 C-7",
    "minmaj7": "CmMaj7 Cm(maj7) CmM7 C-Δ7 Cminmaj7 Cm7M C-^7",
    "hdim7": "Cm7b5 Cm7♭5 C-7b5 C-7(b5) Cm7(-5) Cø Cø7 Chdim7",
    "dim7": "Cdim7 C°7 Co7",
    "aug7": "C+7 Caug7 C7#5 C7+ C7(#5) C7+5",
    "maj6": "C6 CM6 Cmaj6",
    "min6": "Cm6 Cmin6 C-6",
    "maj6(9)": "C6/9 C69 C6(9) C6add9",
    "sus4": "Csus Csus4 C4",
    "sus2": "Csus2",
    "sus4(b7)": "C7sus C7sus4 C7(sus4) C7/4 C4/7 Csus4/7",
    "sus4(b7,9)": "C9sus4 C9sus C7/4/9",
    "sus4(9)": "Csus24 Csus2sus4 Csus4sus2 Csus2/4",
    "5": "C5",
    "9": "C9 C7/9 C7(9) C7add9",
    "min9": "Cm9 C-9 Cm7/9",
    "maj9": "Cmaj9 CΔ9 CM9 C^9 Cmaj7/9 C7M(9)",
    "13": "C13",
    "maj(9)": "Cadd9 C(add9) C2 Cadd2",
    "min(9)": "Cmadd9 Cm(add9)",
    "maj(11)": "Cadd11 C(add11)",
    "maj(#11)": "Cadd#11 C(#11)",
    "7(b9)": "C7b9 C7(b9) C7-9 C7/b9",
    "7(b9,#11)": "C7b9#11 C7(b9,#11) C7(b9)(#11)",
    "7(b5,*5)": "C7b5",
    "min7(11)": "Cm7(11) Cm7add11",
    "maj7(#11)": "Cmaj7#11 CΔ#11 Cmaj7+11",
    "maj(*3)": "Cno3 C(no3) Comit3",
}


@pytest.mark.parametrize(
    ("symbol", "quality"), [(symbol, quality) for quality, typed in TYPED.items() for symbol in typed.split()]
)
def test_a_quality_is_understood_however_it_is_typed(symbol: str, quality: str) -> None:
    assert parse_symbol(symbol) == f"C:{quality}"


@pytest.mark.parametrize(
    ("symbol", "label"),
    [
        ("G/B", "G:maj/3"),
        ("F#7/C#", "F#:7/5"),
        ("Bb/Ab", "Bb:maj/b7"),
        ("C/D", "C:maj/2"),
        ("C/Eb", "C:maj/b3"),
        ("C/D#", "C:maj/#2"),
        ("C6/9/E", "C:maj6(9)/3"),
        ("D/f#", "D:maj/3"),
        ("C7/bb", "C:7/b7"),
        ("A♭m7/G♭", "Ab:min7/b7"),
        ("C/C", "C:maj"),
        ("F##m", "F##:min"),
        ("N.C.", "N"),
        ("NC", "N"),
        ("N", "N"),
        ("A:min7/b3", "A:min7/b3"),
    ],
)
def test_roots_basses_and_no_chord(symbol: str, label: str) -> None:
    assert parse_symbol(symbol) == label


@pytest.mark.parametrize(
    ("symbol", "message"),
    [
        ("Hm7", "chord 'Hm7': does H mean the note below C? write Bm7, and Bb for a German B"),
        ("am", "chord 'am' is not known; did you mean Am?"),
        ("Cmjr7", "did you mean Cmaj7?"),
        ("Csuss4", "did you mean Csus4?"),
        ("Cxyzzy", "write it as in Cm7, Csus4 or C7b9"),
        ("Q", "begin with a note, A to G"),
        ("", "begin with a note, A to G"),
        ("C/H", "is not known; write a note, A to G, after the /"),
        ("G/", "is not known; write a note, A to G, after the /"),
        ("am7/g", "did you mean Am7/g?"),
        ("emaj7#11", "did you mean Emaj7#11?"),
        ("Csuss4/E", "did you mean Csus4/E?"),
        ("a", "is it A or Am? write that"),
        ("a7", "is it A7 or Am7? write that"),
        ("C~7", "write it as in Cm7, Csus4 or C7b9"),
        ("C-5", "write it as in Cm7, Csus4 or C7b9"),
        ("Cmia7", "write it as in Cm7, Csus4 or C7b9"),
        ("Cdem7b6", "write it as in Cm7, Csus4 or C7b9"),
        ("Chorus", "write it as in Cm7, Csus4 or C7b9"),
        ("C:m7", "'C:m7' is not a chord label; did you mean C:min7?"),
        ("C:min7b5", "'C:min7b5' is not a chord label; did you mean C:hdim7?"),
        ("C:majj7", "there is no quality 'majj7'; did you mean 'maj7'?"),
    ],
)
def test_what_is_not_understood_is_asked_about(symbol: str, message: str) -> None:
    with pytest.raises(ChordError) as caught:
        parse_symbol(symbol)
    assert message in str(caught.value)


@given(labels())
@example("C:maj7/7")
@example("A/3")
@example("B#:min/b3")
def test_a_symbol_says_what_its_label_says(label: str) -> None:
    chord, back = parse_chord(label), parse_chord(parse_symbol(symbol_of(label)))
    assert (back.root, back.bass, back.pitch_classes) == (chord.root, chord.bass, chord.pitch_classes)


@pytest.mark.parametrize(
    ("typed", "written"),
    [
        ("Dm(b5)", "Ddim"),
        ("Cmaj7#5", "Cmaj7#5"),
        ("C(b5)", "C(b5)"),
        ("Cadd#11/e", "C(#11)/E"),
        ("Csus2sus4", "Csus24"),
        ("Cno3", "Cno3"),
    ],
)
def test_a_symbol_is_written_as_musicians_do(typed: str, written: str) -> None:
    assert symbol_of(parse_symbol(typed)) == written


@pytest.mark.parametrize("quality", sorted(QUALITIES.keys() - {"1"}))
def test_every_quality_has_a_symbol_of_its_own(quality: str) -> None:
    assert ":" not in symbol_of(f"Ab:{quality}/3")
    assert parse_symbol(symbol_of(f"Ab:{quality}/3")) == f"Ab:{quality}/3"

"""Chord charts: how they are read, laid over bars, and written."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hafm.errors import ChordError, LeadSheetError
from hafm.guide.chart import chart_of, parse_chart, put_on
from hafm.guide.corrections import Corrections, corrected
from hafm.guide.frames import GROUPS, guide_frames
from hafm.guide.lead_sheet import (
    PLAYERS,
    Beat,
    ChordSpan,
    LeadSheet,
    MeterChange,
    Origin,
    Player,
    PlayingSpan,
)
from hafm.guide.summary import printed_chart
from tests.guide.sheets import WALTZ
from tests.unchecked import unchecked


def steady(num_bars: int, beats_per_bar: int = 4) -> LeadSheet:
    """Bars of a second per beat; the first beat at 0."""
    beats = tuple(
        Beat(float(number), number % beats_per_bar + 1) for number in range(num_bars * beats_per_bar)
    )
    return LeadSheet(
        duration_seconds=float(len(beats)), beats=beats, meters=(MeterChange(0.0, beats_per_bar, 4),)
    )


@pytest.mark.parametrize(
    ("text", "bars"),
    [
        ("| C | G/B | Am  F | % |", "C:maj|G:maj/3|A:min F:maj|A:min F:maj"),
        ("C G Am", "C:maj|G:maj|A:min"),
        ("C\nG\n", "C:maj|G:maj"),
        ("C | G", "C:maj|G:maj"),
        ("|| C || G |]", "C:maj|G:maj"),
        ("C | G\nAm | F", "C:maj|G:maj|A:min|F:maj"),
        ("|: C | G :|", "C:maj|G:maj|C:maj|G:maj"),
        ("|: C :|x3 G |", "C:maj|C:maj|C:maj|G:maj"),
        ("|: C :| x 3 | G |", "C:maj|C:maj|C:maj|G:maj"),
        ("C | G :| F", "C:maj|G:maj|C:maj|G:maj|F:maj"),
        ("|: C :||: G :|", "C:maj|C:maj|G:maj|G:maj"),
        ("[Verse 1]\n| C |\n[Chorus] | G |", "C:maj|G:maj"),
        ("| C . / G | . F |", "C:maj None None G:maj|None F:maj"),
        ("| N.C. | ? |", "N|?"),
        ("| Am7b5 | F#7/C# |", "A:hdim7|F#:7/5"),
        ("Am - F - C - G/B", "A:min|F:maj|C:maj|G:maj/3"),
        ("Am – F — C → G", "A:min|F:maj|C:maj|G:maj"),
        ("Am->F --> C-G", "A:min|F:maj|C:maj|G:maj"),
        ("Am, F,C , G", "A:min|F:maj|C:maj|G:maj"),
        ("A- - C-7 -\nF - %, N.C. - ?", "A:min|C:min7|F:maj|F:maj|N|?"),
        ("C7(b9,#11) - C7b9,#11", "C:7(b9,#11)|C:7(b9,#11)"),
        ("[A - B] Am - F\n[B]\nC - G", "A:min|F:maj|C:maj|G:maj"),
        ("| Am - F . |", "A:min None F:maj None"),
        ("|: Am | F | :| |: C | G :| |]", "A:min|F:maj|A:min|F:maj|C:maj|G:maj|C:maj|G:maj"),
        ("|: C :|: G :|", "C:maj|C:maj|G:maj|G:maj"),
        ("‖: Am | F :‖ C ‖", "A:min|F:maj|A:min|F:maj|C:maj"),
        (" | C | \n\n  | G |  # softly\n   | [B] | F | ", "C:maj|G:maj|F:maj"),
    ],
)
def test_a_chart_is_its_bars(text: str, bars: str) -> None:
    expected = tuple(
        tuple(None if label == "None" else label for label in bar.split()) for bar in bars.split("|")
    )
    assert parse_chart(text).bars == expected


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "the chart has no chord"),
        ("| | |", "bar 1 of the chart is empty; write % for the bar before, N.C. where no chord sounds"),
        ("| Am |  | F | G |", "bar 2 of the chart is empty; write % for the bar before"),
        ("| C |\n| F | | G |", "bar 3 of the chart is empty"),
        ("|: | F :|", "bar 1 of the chart is empty"),
        ("Am . F .", "the chart has no bar lines, and . goes on with a chord within a bar; write them"),
        (
            "Am / F / C",
            "the chart has no bar lines, and / goes on with a chord within a bar; write them, as in",
        ),
        ("Am - - - F", "the chart has no bar lines, and - goes on with a chord within a bar"),
        ("- Am", "the chart has no bar lines, and - goes on with a chord within a bar"),
        ("Verse: Am | F", "'Verse:' is no chord; write a section as [Verse], and a repeat as |: Am | F :|"),
        ("| Am |\nVerse 1 : C G", "'Verse 1:' is no chord; write a section as [Verse 1]"),
        ("| Am : | F |", "'Am:' is no chord; write a section as [Am], and a repeat as |: Am | F :|"),
        ("[Intro]", "the chart has no chord"),
        ("| % |", "bar 1 of the chart is %, the bar before, and there is none"),
        ("| . C |", "bar 1 of the chart goes on with a chord before it (.)"),
        ("| C |: G |", "the chart's repeat at bar 2 has no end; write :| after it"),
        ("| C | Hm |", "bar 2 of the chart: chord 'Hm': does H mean the note below C?"),
        ("| C | Gmjr7 |", "bar 2 of the chart: chord 'Gmjr7' is not known; did you mean Gmaj7?"),
        ("| C " * 2001, "a chart has more than 2000 bars"),
        ("|: C :|x99999999", "a chart has more than 2000 bars"),
        ("|: C :|" + " :|" * 40, "a chart has more than 2000 bars"),
    ],
)
def test_what_is_no_chart_is_refused(text: str, message: str) -> None:
    with pytest.raises(LeadSheetError) as caught:
        parse_chart(text)
    assert message in str(caught.value)
    assert isinstance(caught.value, ChordError) == ("Hm" in text or "Gmjr7" in text)


@pytest.mark.parametrize(
    ("beats_per_bar", "bar", "starts"),
    [
        (4, "C", [0]),
        (4, "C G", [0, 2]),
        (4, "C G F", [0, 2, 3]),
        (4, "C G F Am", [0, 1, 2, 3]),
        (4, "C . . G", [0, 3]),
        (3, "C G", [0, 2]),
        (6, "C G", [0, 3]),
        (2, "C . . G . .", [0, 1]),
        (4, "C . . . G", [0, 3.2]),
    ],
)
def test_the_chords_of_a_bar_share_its_beats(beats_per_bar: int, bar: str, starts: list[float]) -> None:
    sheet = put_on(steady(2, beats_per_bar), parse_chart(f"| {bar} |"))
    again = [beats_per_bar + start for start in starts]
    assert [span.start_seconds for span in sheet.chords] == [*starts, *again]
    assert [span.end_seconds for span in sheet.chords] == [*starts[1:], *again, 2 * beats_per_bar]


@pytest.mark.parametrize(
    ("meter", "bar", "message"),
    [
        (
            (4, 4),
            "C D E F G",
            "bar 2 of the chart has 5 chords, and 4/4 has 4 beats; write a chord per beat at",
        ),
        ((3, 4), "C D E F", "bar 2 of the chart has 4 chords, and 3/4 has 3 beats"),
        ((6, 8), "C D E", "bar 2 of the chart has 3 chords, and 6/8 has 2 beats"),
        ((4, 4), "C D E F . . . .", "bar 2 of the chart has 4 chords in 8 parts, and 4/4 has 4 beats"),
    ],
)
def test_a_chord_that_has_no_beat_of_its_own_is_refused(
    meter: tuple[int, int], bar: str, message: str
) -> None:
    sheet = replace(steady(3, MeterChange(0.0, *meter).beats_per_bar), meters=(MeterChange(0.0, *meter),))
    with pytest.raises(LeadSheetError) as caught:
        put_on(sheet, parse_chart(f"| C | {bar} |"))
    assert message in str(caught.value)


def test_a_bar_that_is_heard_too_short_takes_the_chords_of_its_meter() -> None:
    beats = tuple(Beat(float(number), position) for number, position in enumerate((1, 2, 3, 4, 1, 2, 3, 1)))
    sheet = LeadSheet(duration_seconds=11.0, beats=beats, meters=(MeterChange(0.0, 4, 4),))
    starts = [span.start_seconds for span in put_on(sheet, parse_chart("| C D E F |")).chords]
    assert starts == [0, 1, 2, 3, 4, 4.75, 5.5, 6.25, 7, 8, 9, 10]


def test_a_chart_begins_at_the_first_downbeat_and_is_repeated_to_the_end() -> None:
    sheet = put_on(WALTZ, parse_chart("| C | G |"))
    assert sheet.chords == (
        ChordSpan(0.75, 2.25, "C:maj"),
        ChordSpan(2.25, 3.75, "G:maj"),
        ChordSpan(3.75, 4.0, "C:maj"),
    )
    assert sheet.origin("chords") == Origin(source="given", confidence=1.0)


def test_an_unknown_bar_is_a_gap() -> None:
    sheet = put_on(steady(3), parse_chart("| C | ? | G |"))
    assert sheet.chords == (ChordSpan(0.0, 4.0, "C:maj"), ChordSpan(8.0, 12.0, "G:maj"))
    assert chart_of(sheet) == "| C | ? | G |"


def test_a_chart_that_is_longer_than_the_sound_is_refused() -> None:
    with pytest.raises(LeadSheetError, match="the chart has 500 bars and the sound 3; give a shorter chart"):
        put_on(steady(3), parse_chart("| C " * 500))
    with pytest.raises(LeadSheetError, match="without beats has no bars; give its tempo"):
        put_on(LeadSheet(duration_seconds=3.0), parse_chart("C"))


def test_a_written_chart_has_rows_of_four_and_as_few_symbols_as_say_it() -> None:
    text = "| Am | F  C | G . E7 . | N.C. |\n| C . . Dm |"
    assert chart_of(put_on(steady(5), parse_chart(text))) == text.replace("G . E7 .", "G  E7")


def test_a_chord_that_comes_early_is_written_on_its_beat() -> None:
    spans = (ChordSpan(0.0, 1.9, "C"), ChordSpan(1.9, 8.0, "G"))
    assert chart_of(replace(steady(2), chords=spans)) == "| C  G | G |"


SYMBOLS = st.sampled_from(["C", "Am7", "F#m7b5/A", "Bb7sus4", "N.C.", "Ebmaj7"])


@given(st.lists(st.lists(SYMBOLS, min_size=1, max_size=4), min_size=1, max_size=9), st.integers(2, 6))
@unchecked()
def test_a_written_chart_reads_the_same(bars: list[list[str]], beats_per_bar: int) -> None:
    """Chords on beats come back; a bar of more chords than beats has some between them."""
    kept = [bar[:beats_per_bar] for bar in bars]
    sheet = put_on(steady(len(kept), beats_per_bar), parse_chart("|" + "|".join(map(" ".join, kept))))
    back = put_on(sheet, parse_chart(chart_of(sheet)))
    frames = [
        guide_frames(each, num_frames=int(50 * sheet.duration_seconds))[:, GROUPS["chords"]]
        for each in (sheet, back)
    ]
    np.testing.assert_array_equal(*frames)


PLAYING = st.lists(st.sampled_from([None, (), ("bass",), ("drums", "bass"), PLAYERS]), min_size=9, max_size=9)


@given(st.lists(SYMBOLS, min_size=1, max_size=9), PLAYING, st.dictionaries(st.integers(0, 8), st.just("B")))
@unchecked()
def test_a_printed_chart_reads_as_the_written_one(
    symbols: list[str], line_ups: list[tuple[Player, ...] | None], sections: dict[int, str]
) -> None:
    bars = [f"{f'[{sections[at]}] ' if at in sections else ''}{symbol}" for at, symbol in enumerate(symbols)]
    spans = [
        PlayingSpan.of(4.0 * bar, 4.0 * bar + 4.0, players)
        for bar, players in enumerate(line_ups[: len(symbols)])
        if players is not None
    ]
    sheet = replace(put_on(steady(len(bars)), parse_chart(" ".join(bars))), arrangement=tuple(spans))
    assert parse_chart(printed_chart(sheet)) == parse_chart(chart_of(sheet))


@pytest.mark.parametrize(
    ("text", "plain"),
    [
        (" 1  | C | G |\n 5  | F | C |", "| C | G |\n| F | C |"),
        ("12|: C | G :|", "|: C | G :|"),
        ("[A] 7 | C | G |", "[A] | C | G |"),
        ("# a song | in C\n| C | F# | # then | G |", "| C | F# |"),
        ("| C#m | Bb7#9 | # [not a section]", "| C#m | Bb7#9 |"),
        ("[Take # 2] C G # softly", "[Take # 2] C G"),
    ],
)
def test_numbers_of_rows_and_remarks_are_passed_over(text: str, plain: str) -> None:
    assert parse_chart(text) == parse_chart(plain)


@pytest.mark.parametrize("text", ["| C | 5 | G |", "| C | 5", "5 C G", "4 4 | C | G |"])
def test_a_number_elsewhere_is_no_chord(text: str) -> None:
    with pytest.raises(ChordError, match=r"bar . of the chart: chord '[45]' is not known"):
        parse_chart(text)


@pytest.mark.parametrize(
    ("text", "sections"),
    [
        ("[Verse]\n| Am | F |\n[Chorus]\n| C | G |", ((0, "Verse"), (2, "Chorus"))),
        ("[ Verse  2 ] Am F [Chorus] C", ((0, "Verse 2"), (2, "Chorus"))),
        ("| Am | [B] F | C |", ((1, "B"),)),
        ("| Am [B] | F |", ((1, "B"),)),
        ("|: [A] Am | F :|x3 [B] C", ((0, "A"), (6, "B"))),
        ("|: [A] Am | [B] F :|", ((0, "A"), (1, "B"), (2, "A"), (3, "B"))),
        ("| Am | F | [Coda]", ()),
        ("[] Am F", ()),
    ],
)
def test_a_section_begins_at_the_next_bar(text: str, sections: tuple[tuple[int, str], ...]) -> None:
    assert parse_chart(text).sections == sections


@pytest.mark.parametrize("name", ["x" * 41, "a[b", "a\tb\x07"])
def test_a_section_that_has_no_name_is_refused_before_anything_is_heard(name: str) -> None:
    with pytest.raises(LeadSheetError, match="a section is named"):
        Corrections(chords=f"[{name}] Am F")


def test_sections_come_back_with_every_repetition_of_the_chart_and_move_with_the_bars() -> None:
    sheet = put_on(steady(6), parse_chart("[A] C G [B] Am"))
    assert [(span.start_seconds, span.name) for span in sheet.sections] == [
        (0.0, "A"),
        (8.0, "B"),
        (12.0, "A"),
        (20.0, "B"),
    ]
    assert sheet.sections[-1].end_seconds == sheet.duration_seconds
    later = corrected(sheet, Corrections(first_beat=1.0))
    assert [span.start_seconds for span in later.sections[1:]] == [9.0, 13.0, 21.0]
    assert put_on(sheet, parse_chart("Dm")).sections == sheet.sections
    assert put_on(sheet, parse_chart(chart_of(sheet))) == sheet


def test_a_printed_chart_says_who_plays_where_that_changes() -> None:
    sheet = put_on(steady(6), parse_chart("C"))
    spans = (PlayingSpan.of(0.0, 20.0, ("bass", "harmony")), PlayingSpan.of(20.0, 24.0, PLAYERS))
    first, second = printed_chart(replace(sheet, arrangement=spans)).splitlines()
    assert first.endswith("|  # bass, harmony")
    assert second.endswith("|  # from bar 6 all")
    whole = (PlayingSpan.of(0.0, 24.0, PLAYERS),)
    assert "#" not in printed_chart(sheet) + printed_chart(replace(sheet, arrangement=whole))


def test_a_section_begins_a_row() -> None:
    text = printed_chart(put_on(steady(11), parse_chart("[Verse] C G C G Am [Chorus] F C F C F C")))
    assert [line.split("  |")[0].strip() for line in text.splitlines()] == [
        "[Verse]",
        "1",
        "5",
        "[Chorus]",
        "6",
        "10",
    ]
    assert printed_chart(put_on(steady(3), parse_chart("C G [B] F")), most_rows=1).splitlines()[1:] == [
        "    and 1 more rows"
    ]

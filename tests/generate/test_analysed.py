"""Accompaniments whose lead sheet the bundle's analyser hears."""

from dataclasses import replace
from pathlib import Path

import pytest

from hafm import Accompanist, Corrections
from hafm.errors import LeadSheetError, UsageError
from hafm.guide.lead_sheet import Beat, KeyChange, LeadSheet, MeterChange, PlayingSpan
from hafm.guide.sheet_files import read_lead_sheet
from tests.tiny import RATE, make_following_bundle, same, sung

SECONDS = 0.6


@pytest.fixture(scope="module")
def accompanist(tmp_path_factory: pytest.TempPathFactory) -> Accompanist:
    return Accompanist.from_pretrained(
        make_following_bundle(tmp_path_factory.mktemp("bundles") / "following")
    )


@pytest.mark.long
def test_a_vocal_is_analysed(accompanist: Accompanist) -> None:
    sheet = accompanist.analyse(sung(3.0), sample_rate=RATE)
    assert sheet.duration_seconds == 3.0
    assert sheet.chords
    assert sheet.origin("chords").source == "estimated"
    part = accompanist.analyse(sung(3.0), sample_rate=RATE, start_seconds=1.0, seconds=1.5)
    assert part.duration_seconds == 1.5


@pytest.mark.long
def test_who_plays_is_said_where_there_are_bars_and_nobody_said_it(accompanist: Accompanist) -> None:
    vocal, corrections = sung(3.0), Corrections(bpm=120.0, first_beat=0.5)
    sheet = accompanist.analyse(vocal, sample_rate=RATE, corrections=corrections)
    assert (sheet.arrangement[0].start_seconds, sheet.arrangement[-1].end_seconds) == (0.0, 3.0)
    assert sheet.origin("arrangement").source == "estimated"
    given = replace(sheet, arrangement=(PlayingSpan.of(0.0, 1.0, ["drums"]),), origins={})
    kept = accompanist.analyse(vocal, sample_rate=RATE, given=given)
    assert kept.arrangement == given.arrangement
    assert kept.origin("arrangement").source == "given"


def test_what_is_known_is_kept(accompanist: Accompanist) -> None:
    given = LeadSheet(duration_seconds=3.0, keys=(KeyChange(0.0, "F#", "min"),))
    sheet = accompanist.analyse(sung(3.0), sample_rate=RATE, given=given)
    assert sheet.keys == given.keys
    assert sheet.chords


@pytest.mark.long
def test_without_a_lead_sheet_the_estimate_is_followed(accompanist: Accompanist) -> None:
    vocal = sung(SECONDS)
    made = accompanist.generate(vocal, sample_rate=RATE)
    estimate = accompanist.analyse(vocal, sample_rate=RATE)
    assert made.record.lead_sheet == estimate
    assert same(made, accompanist.generate(vocal, sample_rate=RATE, guide=estimate))
    assert same(made, accompanist.replay(made.record, vocal=vocal, sample_rate=RATE))


def test_a_sheet_that_knows_nothing_is_kept(accompanist: Accompanist) -> None:
    nothing = LeadSheet(duration_seconds=SECONDS)
    assert accompanist.generate(sung(SECONDS), sample_rate=RATE, guide=nothing).record.lead_sheet == nothing


def test_corrections_are_heard_followed_recorded_and_replayed(accompanist: Accompanist) -> None:
    vocal, corrections = sung(SECONDS), Corrections(bpm=200.0, first_beat=0.0, chords="Am")
    told: list[LeadSheet | None] = []
    made = accompanist.generate(
        vocal, sample_rate=RATE, corrections=corrections, on_sheet=told.append, skip_fine=True
    )
    sheet = accompanist.analyse(vocal, sample_rate=RATE, corrections=corrections)
    assert [(span.label, span.start_seconds) for span in sheet.chords] == [("A:min", 0.0)]
    assert told == [sheet] == [made.record.lead_sheet]
    assert same(made, accompanist.replay(made.record, vocal=vocal, sample_rate=RATE))


@pytest.mark.slow
def test_corrections_complete_a_guide(accompanist: Accompanist) -> None:
    guide = LeadSheet(duration_seconds=SECONDS, keys=(KeyChange(0.0, "F#", "min"),))
    made = accompanist.generate(
        sung(SECONDS), sample_rate=RATE, guide=guide, corrections=Corrections(), skip_fine=True
    )
    sheet = made.record.lead_sheet
    assert sheet is not None
    assert sheet.keys == guide.keys
    assert sheet.chords


def test_the_lead_sheet_is_saved_too(accompanist: Accompanist, tmp_path: Path) -> None:
    known = LeadSheet(
        duration_seconds=SECONDS, beats=(Beat(0.1, 1), Beat(0.35, 2)), meters=(MeterChange(0.0, 4, 4),)
    )
    for name, guide, files in (
        ("beats", known, {"lead_sheet": "lead-sheet.json", "midi": "lead-sheet.mid"}),
        (
            "key",
            replace(known, beats=(), meters=(), keys=(KeyChange(0.0, "A", "min"),)),
            {"lead_sheet": "lead-sheet.json"},
        ),
        ("nothing", LeadSheet(duration_seconds=SECONDS), {}),
    ):
        made = accompanist.generate(sung(SECONDS), sample_rate=RATE, guide=guide, skip_fine=True)
        assert made.lead_sheet == guide
        paths = made.save(tmp_path / name)
        sounds = {"accompaniment": "accompaniment.wav", "mix": "mix.wav", "record": "generation.json"}
        assert {what: path.name for what, path in paths.items()} == sounds | files
        assert {path.name for path in (tmp_path / name).iterdir()} == {path.name for path in paths.values()}
        if files:
            assert read_lead_sheet(paths["lead_sheet"], duration_seconds=SECONDS) == guide


def test_a_chart_that_is_longer_than_the_vocal_is_refused_at_once(accompanist: Accompanist) -> None:
    corrections = Corrections(chords="| Am | F " * 250)
    with pytest.raises(LeadSheetError, match=r"the chart has 500 bars, and 0.6 s of sound have 2 at most"):
        accompanist.generate(sung(SECONDS), sample_rate=RATE, corrections=corrections)


def test_a_bundle_that_follows_no_sheet_takes_no_corrections(tiny_accompanist: Accompanist) -> None:
    with pytest.raises(UsageError, match=r"were trained without lead sheets"):
        tiny_accompanist.generate(
            sung(SECONDS), sample_rate=RATE, corrections=Corrections(bpm=92.0, first_beat=0.0)
        )


def test_a_bundle_without_an_analyser_says_so(tiny_accompanist: Accompanist) -> None:
    with pytest.raises(UsageError, match="has no vocal analyser"):
        tiny_accompanist.analyse(sung(1.0), sample_rate=RATE)
    assert tiny_accompanist.generate(sung(SECONDS), sample_rate=RATE).record.lead_sheet is None

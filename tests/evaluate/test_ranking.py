"""Ranking takes: the right one comes first wherever it is, silence last, and every line says why."""

import itertools
import math
import re
import sys
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from hafm import Accompaniment, Accompanist
from hafm.errors import UsageError
from hafm.evaluate import ranking as ranking_module
from hafm.evaluate.fit.beats import beat_f_measure, track_beats
from hafm.evaluate.fit.measures import MEASURES, Example, measure
from hafm.evaluate.ranking import CRITERIA, Ranking, pick_best, rank_takes
from hafm.guide.lead_sheet import Beat, ChordSpan, LeadSheet, MeterChange
from tests.crossed import crossed
from tests.evaluate.fit import band
from tests.evaluate.fit.band import RATE, delayed
from tests.tiny import sung
from tests.unchecked import unchecked

SECONDS = 6  # of the band: as long as the two tellings of its chords, less a bit


def accompaniment(transposed: int = 0) -> Tensor:
    return band.accompaniment(transposed)[: SECONDS * RATE]


VOCAL = band.vocal()[: SECONDS * RATE]
OWN = accompaniment()
SILENT = torch.zeros(len(VOCAL))


def order(found: Ranking) -> list[int]:
    return [take.index for take in found.takes]


# ---- criteria


def test_criteria_are_measures_that_need_no_truth():
    names = [criterion.measure for criterion in CRITERIA]
    assert names == [name for name in MEASURES if name in names]
    for criterion in CRITERIA:
        entry = MEASURES[criterion.measure]
        assert not entry.needs
        assert entry.higher_is_better
        assert criterion.worst < criterion.mean < criterion.best
        assert min(criterion.deviation, criterion.weight) > 0


def test_points_are_standardised_weighted_and_held():
    for criterion in CRITERIA:
        middle = criterion.mean + criterion.deviation
        assert criterion.points(middle) == pytest.approx(criterion.weight)
        assert criterion.points(None) == criterion.points(criterion.worst) == criterion.points(-9.0) < 0
        assert criterion.points(criterion.best) == criterion.points(9.0) > criterion.weight


# ---- order


@pytest.mark.long
def test_the_right_take_is_first_wherever_it_stands_and_silence_last():
    takes = [OWN, accompaniment(1), delayed(accompaniment(6), 0.2), SILENT]
    scores = None
    for places in [(0, 1, 2, 3), (3, 2, 1, 0), (1, 3, 0, 2)]:
        found = rank_takes(VOCAL, [takes[place] for place in places], RATE)
        assert [places[index] for index in order(found)] == [0, 1, 2, 3]
        assert scores in (None, [take.score for take in found.takes])
        scores = [take.score for take in found.takes]


@pytest.mark.slow
@pytest.mark.parametrize(
    "semitones", [(1, 5, 6), pytest.param(tuple(range(1, 12)), marks=pytest.mark.slow)], ids=["some", "all"]
)
@unchecked()
def test_transposed_takes_come_later(semitones: tuple[int, ...]):
    """The control: without harmony and key, nothing tells them apart."""
    found = rank_takes(VOCAL, [*map(accompaniment, semitones), OWN], RATE)
    best, *others = found.takes
    assert best.index == len(semitones)
    notes = ["key_vocal", "chroma_vocal"]
    for other in others:
        gained = {name: best.terms[name] - other.terms[name] for name in best.terms}
        assert sum(gained[name] for name in notes) > 0.9
        assert all(abs(points) < 0.5 for name, points in gained.items() if name not in notes)


@pytest.mark.slow
@unchecked()
def test_delayed_takes_come_later():
    found = rank_takes(VOCAL, [*(delayed(OWN, seconds) for seconds in (0.1, 0.2, 0.3)), OWN], RATE)
    assert found.best.index == 3
    assert "better than the other takes in beats on the syllables" in found.best.why


@pytest.mark.long
def test_silence_is_last_even_where_its_score_is_not(monkeypatch):
    """The control: without the rule, a lenient worst would put it first."""
    lenient = [replace(criterion, worst=criterion.best) for criterion in CRITERIA]
    takes = [SILENT, accompaniment(6), OWN]
    for_silence = sum(criterion.points(None) for criterion in lenient)
    assert for_silence > max(take.score for take in rank_takes(VOCAL, takes, RATE).takes)
    monkeypatch.setattr(ranking_module, "CRITERIA", [*lenient])
    found = rank_takes(VOCAL, takes, RATE)
    assert found.takes[-1].index == 0
    assert [take.silent for take in found.takes] == [False, False, True]


@pytest.mark.slow
def test_falling_silent_half_way_costs_about_half_of_what_silence_does():
    half = torch.cat([OWN[: len(OWN) // 2], SILENT[len(OWN) // 2 :]])
    found = rank_takes(VOCAL, [half, OWN, SILENT], RATE)
    assert order(found) == [1, 0, 2]
    whole, halved, silent = (take.score for take in found.takes)
    assert 0.3 < (whole - halved) / (whole - silent) < 0.7
    assert found.takes[1].values["dead_air"] == pytest.approx(0.5, abs=0.05)


@pytest.mark.long
@unchecked()
def test_equal_takes_stand_in_their_order():
    found = rank_takes(VOCAL, [SILENT, OWN, SILENT, OWN.clone(), OWN], RATE)
    assert order(found) == [1, 3, 4, 0, 2]
    assert found.takes[0].score == found.takes[1].score
    assert rank_takes(VOCAL, [OWN, OWN], RATE).best.why.endswith("no better and no worse than the other take")


# ---- the score


def test_terms_are_those_of_the_measures_and_add_up():
    """The slow oracle: the formula on what `measure` says of one window."""
    takes = [delayed(accompaniment(3), 0.1), OWN]
    found = rank_takes(VOCAL, takes, RATE)
    for take in found.takes:
        example = Example(vocal=VOCAL, accompaniment=takes[take.index], sample_rate=RATE)
        values = measure(example, ["dead_air", *(criterion.measure for criterion in CRITERIA)])
        assert values == take.values
        dead = values["dead_air"]
        for criterion in CRITERIA:
            held = max(criterion.worst, min(criterion.best, values[criterion.measure]))
            mixed = (1 - dead) * held + dead * criterion.worst
            expected = criterion.weight * (mixed - criterion.mean) / criterion.deviation
            assert take.terms[criterion.measure] == pytest.approx(expected)
        assert take.score == pytest.approx(sum(take.terms.values()))


@pytest.mark.long
@unchecked()
def test_long_vocals_are_the_mean_of_their_windows_where_somebody_sings():
    window, pause = 10 * RATE, torch.zeros(10 * RATE)
    parts = [band.accompaniment()[:window], delayed(band.accompaniment(2), 0.1)[:window]]
    singing = band.vocal()[:window]
    each = [rank_takes(singing, [part], RATE).best.score for part in parts]
    sound = torch.cat([parts[0], parts[1], parts[1]])
    found = rank_takes(torch.cat([singing, 1e-3 * singing, singing]), [sound], RATE)
    assert found.num_windows == 2
    assert found.best.score == pytest.approx(sum(each) / 2)
    assert rank_takes(torch.cat([singing, pause, singing]), [sound], RATE).best.score == found.best.score
    assert each[0] > each[1] + 1  # so that the mean is neither


@pytest.mark.slow
@unchecked()
def test_another_sample_rate_gives_the_same_order_and_nearly_the_same_score():
    from hafm.audio.resample import resample

    takes = [accompaniment(1), OWN, delayed(OWN, 0.2)]
    sounds = [resample(sound[None], RATE, 44_100)[0] for sound in (VOCAL, *takes)]
    found, there = rank_takes(VOCAL, takes, RATE), rank_takes(sounds[0], sounds[1:], 44_100)
    assert order(found) == order(there)
    for one, other in zip(found.takes, there.takes, strict=True):
        assert one.score == pytest.approx(other.score, abs=0.3)


ODD = {
    "one sample": torch.ones(1),
    "a tenth of a second": 0.1 * torch.randn(2_400, generator=torch.Generator().manual_seed(0)),
    "an offset": torch.full((48_000,), 0.5),
    "a click": torch.zeros(96_000).index_fill(0, torch.tensor(48_000), 1.0),
    "hardly anything": 1e-30 * torch.ones(96_000),
    "noise": torch.randn(96_000, generator=torch.Generator().manual_seed(0)),
    "huge": 1e18 * torch.sin(torch.arange(96_000.0)),
}


@pytest.mark.long
@crossed(name=list(ODD))
def test_whatever_sounds_gets_a_finite_score(name):
    odd, tone = ODD[name], torch.sin(0.05 * torch.arange(len(ODD[name])))
    for singing, take in itertools.permutations([odd, tone, torch.zeros(len(odd))], 2):
        found = rank_takes(singing, [take, odd], RATE)
        for ranked in found.takes:
            numbers = [ranked.score, *ranked.terms.values()]
            numbers += [value for value in ranked.values.values() if value is not None]
            assert all(math.isfinite(number) for number in numbers)
            assert ranked.why


# ---- what is said


@pytest.mark.long
@unchecked()
def test_every_line_says_why():
    lines = [take.why for take in rank_takes(VOCAL, [SILENT, OWN, accompaniment(6)], RATE).takes]
    assert lines[0].startswith("take 2, ")
    assert " points: better than the other take in harmony with the melody (" in lines[0]
    assert re.search(r" points: .*worse .*in harmony with the melody \(\d+\.\d\d\)", lines[1])
    assert lines[2] == "take 1: silent beneath the singing"
    (alone,) = rank_takes(VOCAL, [OWN], RATE).takes
    assert alone.why.endswith(": the only take")
    best = rank_takes(VOCAL, [SILENT, OWN], RATE).best
    assert best.why.endswith(": the only take that plays beneath the singing")
    nobody = rank_takes(SILENT, [OWN, SILENT], RATE)
    assert (nobody.num_windows, order(nobody), nobody.best.score) == (0, [0, 1], 0.0)
    assert nobody.best.why.endswith("nobody sings, so the takes cannot be ranked")


def test_json_counts_takes_from_1_and_describes_the_measures():
    content = rank_takes(VOCAL, [SILENT, OWN], RATE).to_json()
    assert content["order"] == [take["take"] for take in content["takes"]] == [2, 1]
    assert content["takes"][1]["values"]["chroma_vocal"] is None
    assert list(content["measures"]) == [criterion.measure for criterion in CRITERIA]
    for name, described in content["measures"].items():
        assert described["what"] == MEASURES[name].what
        assert set(described) == {"what", "unit", "words", "worst", "best", "mean", "deviation", "weight"}


@pytest.mark.parametrize(
    ("takes", "message"),
    [
        ([], "no takes to rank"),
        ([OWN, OWN[:-1]], "take 2 cannot be ranked: .* as long as the vocal"),
        ([OWN.clone().index_fill(0, torch.tensor(7), math.nan)], "take 1 cannot be ranked: .* NaN"),
    ],
)
@unchecked()
def test_what_cannot_be_ranked_is_refused(takes: list[Tensor], message: str):
    with pytest.raises(UsageError, match=message):
        rank_takes(VOCAL, takes, RATE)


def test_mir_eval_is_not_needed(monkeypatch):
    for name in ("mir_eval", "mir_eval.beat"):
        monkeypatch.setitem(sys.modules, name, None)
    assert rank_takes(VOCAL, [OWN], RATE).best.score > 0
    with pytest.raises(UsageError, match="mir_eval"):  # the control: it is blocked
        beat_f_measure([0.5], [0.5])


# ---- accompaniments


@pytest.fixture(scope="module")
def made(tiny_accompanist: Accompanist) -> list[Accompaniment]:
    with unchecked():
        return tiny_accompanist.generate_takes(
            sung(channels=2), sample_rate=RATE, takes=3, guidance=1.0, skip_fine=True
        )


@pytest.mark.long
def test_accompaniments_are_ranked_by_their_sounds(made: list[Accompaniment]):
    found = pick_best(made)
    assert sorted(order(found)) == [0, 1, 2]
    assert found == rank_takes(made[0].vocal.mono(), [take.waveform[0] for take in made], RATE)
    turned = pick_best(made[::-1])
    assert [2 - index for index in order(turned)] == order(found)


def test_accompaniments_of_two_vocals_are_not_compared(made: list[Accompaniment]):
    other = replace(made[1], vocal=replace(made[1].vocal, sha256="0" * 64))
    with pytest.raises(UsageError, match="take 2 accompanies another vocal than take 1"):
        pick_best([made[0], other])
    with pytest.raises(UsageError, match="no takes"):
        pick_best([])


# ---- the lead sheet


def test_the_take_that_keeps_the_sheet_comes_first() -> None:
    """The same band, once with the sheet's beats and chords and once beside both; the vocal says nothing."""
    beats = track_beats(OWN, RATE)
    sheet = LeadSheet(
        duration_seconds=SECONDS,
        beats=tuple(Beat(beat, number % 4 + 1) for number, beat in enumerate(beats)),
        meters=(MeterChange(0.0, 4, 4),),
    )
    late = delayed(OWN, 0.21)
    found = rank_takes(VOCAL, [late, OWN], RATE, sheet=sheet)
    assert order(found) == [1, 0]
    terms = {take.index: take.terms for take in found.takes}
    assert terms[1]["sheet_pulse"] > terms[0]["sheet_pulse"] + 1
    assert terms[1]["sheet_chords"] == pytest.approx(terms[0]["sheet_chords"])  # unknown: nobody gains
    assert "the lead sheet's beats" in found.takes[0].why
    assert "sheet_pulse" in found.to_json()["measures"]
    assert "sheet_pulse" not in rank_takes(VOCAL, [late, OWN], RATE).to_json()["measures"]


def test_chords_of_the_sheet_count() -> None:
    chords = LeadSheet(duration_seconds=SECONDS, chords=(ChordSpan(0.0, SECONDS, "C:maj"),))
    time = torch.arange(SECONDS * RATE) / RATE
    major, minor = (
        sum(torch.sin(2 * math.pi * hz * time) for hz in pitches) * torch.exp(-3 * (time % 0.5)) / 4
        for pitches in ((261.6, 329.6, 392.0), (277.2, 349.2, 415.3))
    )
    found = rank_takes(VOCAL, [major, minor], RATE, sheet=chords)
    terms = [take.terms["sheet_chords"] for take in found.takes]
    assert max(terms) - min(terms) > 2

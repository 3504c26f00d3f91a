"""Matching: the right band is found among decoys, and moved by exactly as much as the vocal was."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from hafm.errors import UsageError
from hafm.evaluate.retrieval import match
from hafm.evaluate.retrieval.descriptors import describe, describe_vocal
from hafm.evaluate.retrieval.loop import Loop
from hafm.evaluate.retrieval.match import MatchSettings, explain, rank_candidates
from tests.evaluate.fit.band import RATE
from tests.evaluate.retrieval.songs import BANDS, voice

NAMES = list(BANDS)
KNOWN = [describe(sound, RATE) for sound in BANDS.values()]


def best(vocal, known=KNOWN, settings=None):
    return rank_candidates(describe_vocal(vocal, RATE), known, settings)[0]


@pytest.mark.parametrize(
    ("tonic", "beat_seconds"), [(0, 0.5), (-5, 0.5), (-2, 0.43), (3, 0.58), (6, 0.58), (6, 0.45)]
)
def test_the_right_band_is_found_and_moved_as_the_vocal_was(tonic, beat_seconds):
    found = best(voice(tonic=tonic, beat_seconds=beat_seconds))
    assert NAMES[found.number] == "right"
    assert found.semitones % 12 == tonic % 12
    assert found.speed == pytest.approx(0.5 / beat_seconds, rel=0.005)
    assert abs(found.semitones) <= 6


def test_a_tempo_out_of_reach_is_followed_in_half_or_double_time():
    found = best(voice(beat_seconds=0.9, beats=20))
    assert found.speed == pytest.approx(0.5 / 0.45, rel=0.005)


def test_it_begins_on_the_chord_that_is_sung():
    """A vocal that begins two beats later in the song wants the band two beats later."""
    vocal, known = voice(beats=24), [KNOWN[NAMES.index("right")]]
    cut = torch.cat([vocal[: RATE // 4], vocal[RATE // 4 + RATE :]])
    repeat_seconds = 4.0  # of the chords
    offsets = [best(sound, known).offset_seconds for sound in (vocal, cut)]
    assert (offsets[1] - offsets[0]) % repeat_seconds == pytest.approx(1.0, abs=0.03)


def test_chroma_in_another_order_score_lower():
    """The control: the same notes at other times, and the same band with its pitch classes shuffled."""
    right = KNOWN[NAMES.index("right")]
    generator = torch.Generator().manual_seed(0)
    in_time = replace(right, chroma=right.chroma[torch.randperm(len(right.chroma), generator=generator)])
    in_pitch = replace(right, chroma=right.chroma[:, torch.randperm(12, generator=generator)])
    score = best(voice(), [right]).score
    assert score > best(voice(), [in_time]).score + 0.2
    assert score > best(voice(), [in_pitch]).score + 0.2


def test_without_a_pulse_it_is_played_as_it_is():
    right = KNOWN[NAMES.index("right")]
    found = best(voice(beat_seconds=0.45), [replace(right, pulse=None)])
    assert (found.speed, found.terms["tempo"], found.terms["beat"]) == (1.0, 0.0, 0.0)
    humming = 0.1 * torch.sin(2 * torch.pi * 262 * torch.arange(5 * RATE) / RATE)
    assert best(humming).speed == 1.0
    vocal = describe_vocal(humming, RATE)
    assert "no steady tempo" in explain(vocal, right, rank_candidates(vocal, [right])[0])


def test_silence_and_very_little_find_something():
    for vocal in (torch.zeros(2 * RATE), torch.zeros(1), voice()[:1000]):
        assert len(rank_candidates(describe_vocal(vocal, RATE), KNOWN)) == len(KNOWN)
    assert rank_candidates(describe_vocal(voice(), RATE), []) == []


def test_limits_are_kept():
    settings = MatchSettings(most_semitones=2, slowest=0.95, fastest=1.05, shortlist=2)
    matches = rank_candidates(describe_vocal(voice(tonic=6, beat_seconds=0.43), RATE), KNOWN, settings)
    assert len(matches) == 2
    assert all(abs(each.semitones) <= 2 and 0.95 <= each.speed <= 1.05 for each in matches)
    for wrong in ({"most_semitones": 13}, {"slowest": 1.1}, {"fastest": 2.0}, {"shortlist": 0}):
        with pytest.raises(UsageError, match="give"):
            MatchSettings(**wrong)


def test_between_equals_the_first_one_wins():
    right = KNOWN[NAMES.index("right")]
    matches = rank_candidates(describe_vocal(voice(), RATE), [right, right, right])
    assert [each.number for each in matches] == [0, 1, 2]
    assert matches[2].score == pytest.approx(matches[0].score, abs=1e-12)


def test_the_score_is_the_sum_of_what_was_maximised():
    """The terms in the report are those that decided: no other transposition or place has a larger sum."""
    vocal = describe_vocal(voice(tonic=3, beat_seconds=0.45), RATE)
    found = rank_candidates(vocal, KNOWN[2:3])[0]
    assert set(found.terms) == set(match.WEIGHTS)
    for most in (2, 3):
        other = rank_candidates(vocal, KNOWN[2:3], MatchSettings(most_semitones=most))[0]
        assert other.score <= found.score + 1e-12
        assert (other.semitones == 3) is (most >= 3)


def test_the_chroma_term_is_the_mean_of_its_definition():
    """The slow way: frame by frame, where both sound, also over seams and rests."""
    right = KNOWN[NAMES.index("right")]
    chroma = right.chroma.clone()
    chroma[30:60] = 0
    rests = replace(right, chroma=chroma)
    vocal = describe_vocal(torch.cat([voice(tonic=3, beat_seconds=0.45), torch.zeros(2 * RATE)]), RATE)
    found = rank_candidates(vocal, [rests])[0]
    loop = Loop.of(rests.pulse, rests.seconds)
    last = np.array(found.offset_seconds + found.speed * vocal.seconds)
    values = []
    for frame, sung in enumerate(vocal.chroma):
        unrolled = np.array(found.offset_seconds + found.speed * (frame + 0.5) / 10)
        place = int(10 * loop.places(unrolled, last_seconds=last))
        played = rests.chroma[min(place, len(rests.chroma) - 1)].roll(found.semitones)
        if sung.norm() > 0.3 and played.norm() > 0.3:
            values.append(float(torch.corrcoef(torch.stack([sung, played]))[0, 1]))
    assert 50 < len(values) < 0.85 * len(vocal.chroma)
    assert found.terms["chroma"] == pytest.approx(np.mean(values), abs=1e-5)
    assert found.terms["transposition"] == abs(found.semitones) / 6
    assert found.terms["seams"] == loop.seams(found.offset_seconds, found.speed * vocal.seconds) > 0


def test_a_line_says_why():
    vocal = describe_vocal(voice(tonic=1, beat_seconds=0.48, beats=32), RATE)
    known = KNOWN[NAMES.index("right")]
    line = explain(vocal, known, rank_candidates(vocal, [known])[0])
    assert line.startswith("C# major (C major, 1 semitone up) under ")
    assert "; 120.0 beats per minute played at 125.0; " in line
    assert "\n" not in line

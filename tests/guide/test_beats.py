"""Beats from activations that are made, so that the answer is known."""

import numpy as np
import pytest

from hafm.errors import LeadSheetError
from hafm.guide.beats import (
    FASTEST_BPM,
    METERS,
    SLOWEST_BPM,
    confidences,
    find_beats,
    possible_tempi,
    track_bars,
)
from hafm.guide.lead_sheet import Beat


def click_track(
    bpm: float, beats_per_bar: int, *, seconds: float = 20.0
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Chances of beats and downbeats, somewhat noisy, and where the beats are."""
    times = np.arange(0.31, seconds - 0.1, 60 / bpm)
    noise = np.random.default_rng(0).normal(0.0, 0.5, (2, round(seconds * 50)))
    beat, downbeat = np.stack([peaks(times, noise.shape[1]), peaks(times[::beats_per_bar], noise.shape[1])])
    return chance(beat + noise[0]), chance(downbeat + noise[1] - 1.0), times


def chance(logits: np.ndarray) -> np.ndarray:
    return np.asarray(1 / (1 + np.exp(-logits)))


def peaks(times: np.ndarray, num_frames: int) -> np.ndarray:
    """What a network would say of these times if it were sure of them: a peak three frames wide."""
    logits = np.full(num_frames, -5.0)
    for frames, height in ((-1, 0.0), (1, 0.0), (0, 3.0)):
        logits[(times * 50).astype(int) + frames] = height
    return logits


@pytest.mark.parametrize("beats_per_bar", sorted(METERS))
@pytest.mark.parametrize("bpm", [52.0, 97.3, 140.0, 215.0])
def test_a_click_track_is_followed(bpm: float, beats_per_bar: int) -> None:
    beat, downbeat, times = click_track(bpm, beats_per_bar)
    found, positions = track_bars(beat, downbeat, slowest_bpm=bpm / 1.3, fastest_bpm=bpm * 1.3)
    assert len(found) <= len(times) + 2  # one more may fit in before the first, and after the last
    distances = np.abs(found[:, None] - times)
    assert distances.min(axis=0).max() < 0.03
    assert positions[distances.argmin(axis=0)].tolist() == [1 + i % beats_per_bar for i in range(len(times))]


@pytest.mark.parametrize("bpm", [60.0, 96.0, 200.0])
def test_the_tempo_of_a_pulse_is_worth_a_try_and_so_is_twice_that(bpm: float) -> None:
    onsets = chance(peaks(np.arange(0.31, 20.0, 60 / bpm), 1000))
    tempi = np.array(list(possible_tempi(onsets)))
    assert tempi.min() >= SLOWEST_BPM
    assert tempi.max() <= FASTEST_BPM
    for wanted in (bpm, bpm * 2, bpm / 2):
        if SLOWEST_BPM < wanted < FASTEST_BPM:
            assert np.abs(np.log2(tempi / wanted)).min() < 0.03
    assert possible_tempi(np.zeros(500)) == {}


def test_a_tempo_that_is_known_is_taken() -> None:
    beat, downbeat, times = click_track(200.0, 4)
    found = find_beats(beat, downbeat, bpm=200.0, is_known=True)
    assert found is not None
    assert abs(len(found.beats) - len(times)) <= 1


def test_known_beats_are_kept_and_continued() -> None:
    beat, downbeat, times = click_track(120.0, 4)
    offbeat = [Beat(time + 0.25, 1 + number % 3) for number, time in enumerate(times.tolist()[8:12])]
    found = find_beats(beat, downbeat, bpm=120.0, known=offbeat, meters={3: 1.0})
    assert found is not None
    assert set(offbeat) <= set(found.beats)
    assert len(found.beats) > 30
    assert {after.position for after in found.beats} == {1, 2, 3}
    assert found.confidence == found.bar_confidence == 1.0


def test_confidence_is_of_beats_of_bars_and_of_the_tempo() -> None:
    beat, downbeat, times = click_track(120.0, 4)
    found = [Beat(time, 1 + number % 4) for number, time in enumerate(times.tolist())]
    beats, bars = confidences(beat, downbeat, found)
    assert 0.5 < bars <= beats < 1
    doubtful, _ = confidences(beat, downbeat, found, tempo_chance=0.3)
    assert doubtful < beats
    second = [Beat(each.seconds, each.position % 4 + 1) for each in found]
    assert confidences(beat, downbeat, second)[0] == beats
    assert confidences(beat, downbeat, second)[1] < bars / 2
    late = [Beat(each.seconds + 0.25, each.position) for each in found]
    assert max(confidences(beat, downbeat, late)) < beats / 2
    assert min(confidences(beat, downbeat, [Beat(1.0, 2)], tempo_chance=0.0)) > 0


def test_known_beats_that_no_tempo_passes_are_refused() -> None:
    beat, downbeat, _ = click_track(120.0, 4)
    impossible = [Beat(1.0, 1), Beat(1.04, 2), Beat(4.0, 3)]
    with pytest.raises(LeadSheetError, match="fit no tempo from 50 to 220 per minute"):
        find_beats(beat, downbeat, bpm=120.0, known=impossible)


def test_free_time_and_a_moment_of_sound_have_no_beats() -> None:
    flat = np.full(1000, 1 / 12)
    assert find_beats(flat, flat / 4, bpm=100.0) is None
    assert find_beats(flat, flat / 4, bpm=100.0, is_known=True) is not None
    moment, bars, _ = click_track(120.0, 4, seconds=2.0)
    assert find_beats(moment, bars, bpm=120.0) is None


def test_a_tempo_that_drifts_is_followed() -> None:
    times = 0.3 + np.cumsum(np.append(0.0, np.linspace(0.5, 0.54, 50)))
    beat = chance(peaks(times, 1400))
    found = find_beats(beat, chance(peaks(times[::4], 1400)), bpm=115.0)
    assert found is not None
    assert np.abs(np.array([at.seconds for at in found.beats[: len(times)]]) - times).max() < 0.04

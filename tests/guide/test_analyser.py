"""The analyser around the network: windows, given parts, and how it fails."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from hafm.errors import LeadSheetError, UsageError
from hafm.guide.analyser import BAND, VOCAL, Analyser, AnalyserConfig
from hafm.guide.beat_time import sample_ticks, tick_seconds
from hafm.guide.corrections import Corrections
from hafm.guide.lead_sheet import Beat, ChordSpan, KeyChange, LeadSheet, MeterChange, Origin
from hafm.guide.network import Activations, AnalyserNetwork, NetworkConfig

RATE = 24_000
SMALL = replace(VOCAL, network=NetworkConfig(num_features=44, channels=8))


def analyser(config: AnalyserConfig = SMALL) -> Analyser:
    torch.manual_seed(0)
    return Analyser(config=config, weights=AnalyserNetwork(config.network).state_dict())


def sound(seconds: float) -> torch.Tensor:
    """A note that begins anew twice per second, louder on every fourth."""
    times = torch.arange(round(seconds * RATE)) / RATE
    loudness = torch.where((times * 2).floor() % 4 == 0, 0.5, 0.2) * torch.exp(-4 * (times % 0.5))
    return loudness * torch.sin(2 * torch.pi * 220 * times)


@pytest.mark.parametrize("config", [VOCAL, BAND])
def test_the_presets_fit_their_features(config: AnalyserConfig) -> None:
    assert AnalyserConfig.from_dict(config.to_dict()) == config
    with pytest.raises(UsageError, match="values per frame"):
        replace(config, network=NetworkConfig(num_features=3))


def windows(whole: Analyser, features: torch.Tensor, bpm: float, parts: list[slice]) -> list[torch.Tensor]:
    """The network's word on the root, window by window. Shape: [N, 13] each."""
    samples, inside = map(
        torch.from_numpy, sample_ticks(features.numpy(), tick_seconds(bpm, len(features) / 50))
    )
    found = []
    for part in parts:
        each = slice(2 * part.start, 2 * part.stop)
        found.append(whole._network(samples[None, each], inside[None, each], torch.tensor([bpm])).root[0])
    return found


def test_a_sound_of_one_window_is_the_networks_word() -> None:
    whole = analyser()
    features = whole.features(sound(6.1), RATE)
    found = whole.activations(features, 120.0)
    [wanted] = windows(whole, features, 120.0, [slice(0, 147)])  # the last tick begins at 6.083 s
    torch.testing.assert_close(found.root, wanted)


def test_windows_are_averaged_by_their_triangles() -> None:
    whole = analyser()
    features = whole.features(sound(15.0), RATE)  # 30 beats: two windows of 24, the second up to the end
    first, second = windows(whole, features, 120.0, [slice(0, 288), slice(72, 360)])
    found = whole.activations(features, 120.0).root
    # Tick 200 is the 88th from the end of the first window, and the 129th of the second.
    torch.testing.assert_close(found[200], (88 * first[200] + 129 * second[128]) / 217)
    torch.testing.assert_close(found[10], first[10])
    assert len(found) == 30 * 12


@pytest.mark.long
def test_of_a_long_sound_three_excerpts_decide_the_tempo() -> None:
    """What lies between them does not count."""
    whole = analyser()
    features = whole.features(sound(90.0), RATE)
    other = features.clone()
    other[: 4 * 50] = other[26 * 50 : 34 * 50 - 200] = 0
    assert whole.tempo_score(other, 100.0) == whole.tempo_score(features, 100.0)
    other[15 * 50] += 1
    assert whole.tempo_score(other, 100.0) != whole.tempo_score(features, 100.0)


@pytest.mark.parametrize("beats_per_bar", [3, 4])
def test_beats_and_bars_are_those_that_the_network_says(
    beats_per_bar: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A network that is sure: 90 beats per minute, the first bar at 1 s."""
    whole = analyser()

    def sure(features: torch.Tensor, bpm: float) -> Activations:
        seconds = torch.from_numpy(tick_seconds(bpm, len(features) / 50))
        beats = (seconds - 1.0) * 1.5

        def ago(period: int) -> torch.Tensor:
            ticks = (beats / (period / 12) % 1 * period).round().long() % period
            return 6.0 * torch.nn.functional.one_hot(ticks, period).float()

        right = 5.0 if abs(bpm / 90 - 1) < 0.03 else -5.0
        meter = torch.tensor([3.0, -3.0]) * (1 if beats_per_bar == 4 else -1)
        count = len(seconds)
        return Activations(
            beat=ago(12),
            bar_of_four=ago(48),
            bar_of_three=ago(36),
            meter=meter.expand(count, 2),
            tempo=torch.full((count,), right),
            root=torch.zeros(count, 13),
            pitch_classes=torch.zeros(count, 12),
            key=torch.zeros(count, 24),
        )

    monkeypatch.setattr(whole, "activations", sure)
    times = torch.arange(20 * RATE) / RATE
    sung = torch.exp(-8 * ((times - 1.0) % (60 / 90))) * torch.sin(2 * torch.pi * 220 * times)
    sheet = whole.analyse(sung, RATE)
    wanted = 1.0 + np.arange(-1, 28) * 60 / 90
    found = np.array([beat.seconds for beat in sheet.beats])
    assert np.abs(found[:, None] - wanted).min(axis=0).max() < 0.03
    assert sheet.meters[0].beats_per_bar == beats_per_bar
    assert np.abs(np.array(sheet.downbeats) - 1.0).min() < 0.03
    assert 0.6 < sheet.origin("bars").confidence <= sheet.origin("beats").confidence
    counted = whole.analyse(sung, RATE, corrections=Corrections(first_beat=1.0))
    assert counted.origin("bars").source == "given"
    assert counted.origin("beats").source == "estimated"


@pytest.mark.parametrize(
    "seconds", [1 / RATE, *(pytest.param(seconds, marks=pytest.mark.slow) for seconds in (0.05, 1.0)), 7.3]
)
def test_any_length_gives_a_sheet(seconds: float) -> None:
    sheet = analyser().analyse(sound(max(seconds, 2 / RATE)), RATE)
    assert sheet.duration_seconds == pytest.approx(max(seconds, 2 / RATE))
    assert sheet.chords[-1].end_seconds == sheet.duration_seconds
    assert sheet.origin("chords").source == "estimated"


def test_silence_is_a_sheet_without_beats() -> None:
    assert analyser().analyse(torch.zeros(5 * RATE), RATE).beats == ()


def test_other_rates_are_resampled() -> None:
    at_44 = torch.sin(2 * torch.pi * 220 * torch.arange(44_100 * 3) / 44_100)
    assert analyser().features(at_44, 44_100).shape == (150, 44)


def test_given_parts_are_kept() -> None:
    given = LeadSheet(
        duration_seconds=12.0,
        beats=(Beat(1.0, 1), Beat(1.6, 2), Beat(2.2, 3)),
        meters=(MeterChange(0.0, 3, 4),),
        keys=(KeyChange(0.0, "Eb", "min"),),
        chords=(ChordSpan(0.0, 12.0, "Eb:min7"),),
        style="waltz",
        origins={"style": Origin(source="estimated", confidence=0.5)},
    )
    sheet = analyser().analyse(sound(12.0), RATE, given=given)
    assert set(given.beats) < set(sheet.beats)
    assert np.diff([beat.seconds for beat in sheet.beats]).max() < 0.7
    assert replace(sheet, beats=given.beats) == given


def test_given_beats_may_drift_more_than_a_tempo_that_is_given() -> None:
    times = np.cumsum(np.linspace(0.5, 0.6, 20))
    beats = tuple(Beat(float(time), 1 + number % 4) for number, time in enumerate(times))
    given = LeadSheet(duration_seconds=12.0, beats=beats, meters=(MeterChange(0.0, 4, 4),))
    sheet = analyser().analyse(sound(12.0), RATE, given=given)
    assert set(given.beats) <= set(sheet.beats)
    assert sheet.chords


def test_no_beat_is_found_where_given_beats_leave_no_room() -> None:
    """The next one would be the end of the sound, which lies between two of the tracker's frames."""
    beats = tuple(Beat(number / 2, 1 + number % 2) for number in range(4))
    given = LeadSheet(duration_seconds=2.0, beats=beats, meters=(MeterChange(0.0, 2, 4),))
    assert analyser().analyse(sound(2.0), RATE, given=given).beats == beats


def test_the_sheet_of_another_sound_is_refused() -> None:
    with pytest.raises(LeadSheetError, match="lasts 12 s and the sound 3 s"):
        analyser().analyse(sound(3.0), RATE, given=LeadSheet(duration_seconds=12.0))


def test_weights_of_another_network_are_refused() -> None:
    with pytest.raises(UsageError, match="the weights do not fit"):
        Analyser(config=SMALL, weights=AnalyserNetwork(VOCAL.network).state_dict())


def test_the_fingerprint_is_of_weights_and_configuration() -> None:
    first = analyser()
    assert first.fingerprint() == analyser().fingerprint()
    with torch.no_grad():
        first._network.inlet.bias[0] += 1e-3
    assert first.fingerprint() != analyser().fingerprint()


def test_what_is_outside_does_not_matter() -> None:
    network = AnalyserNetwork(SMALL.network).eval()
    features, inside = torch.randn(1, 48, 44), torch.arange(48)[None] < 40
    bpm = torch.tensor([90.0])
    first = network(features, inside, bpm)
    features[:, 40:] = 7.0
    torch.testing.assert_close(network(features, inside, bpm).beat, first.beat)

"""The analyser around the network: windows, given parts, and how it fails."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from hafm.errors import LeadSheetError, UsageError
from hafm.guide.analyser import BAND, VOCAL, WINDOW_FRAMES, Analyser, AnalyserConfig
from hafm.guide.lead_sheet import Beat, ChordSpan, KeyChange, LeadSheet, MeterChange, Origin
from hafm.guide.network import Activations, AnalyserNetwork, NetworkConfig

RATE = 24_000
SMALL = replace(VOCAL, network=NetworkConfig(num_features=44, fast_channels=8, slow_channels=8))


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


def test_a_sound_of_one_window_is_the_networks_word() -> None:
    whole = analyser()
    waveform = sound(WINDOW_FRAMES / 50)
    expected = whole._network(whole._features.extract(waveform[None]))
    for found, wanted in zip(whole.activations(whole.features(waveform, RATE)), expected, strict=True):
        torch.testing.assert_close(found, wanted[0])


def test_windows_are_averaged_by_their_triangles() -> None:
    whole = analyser()
    waveform = sound(25.0)
    features = whole._features.extract(waveform[None])
    first, second = whole._network(features[:, :1000]), whole._network(features[:, 500:])
    found = whole.activations(whole.features(waveform, RATE))
    # Frame 700 is the 300th from the end of 1000, and the 201st of 750; slow frame 150 is the 100th of 250,
    # and the 26th.
    torch.testing.assert_close(found.beat[700], (300 * first.beat[0, 700] + 201 * second.beat[0, 200]) / 501)
    torch.testing.assert_close(found.root[150], (100 * first.root[0, 150] + 26 * second.root[0, 25]) / 126)
    torch.testing.assert_close(found.beat[1100], second.beat[0, 600])
    assert found.key.shape == (313, 24)


@pytest.mark.parametrize("seconds", [1 / RATE, 0.05, 1.0, 7.3])
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


def test_frames_past_the_end_do_not_matter() -> None:
    """The network's word on a sound does not depend on how its last slow frame is filled up."""
    network = AnalyserNetwork(SMALL.network).eval()
    features = torch.randn(1, 101, 44)
    activations: Activations = network(features)
    padded: Activations = network(torch.cat([features, network.mean.expand(1, 3, 44)], dim=1))
    torch.testing.assert_close(activations.beat, padded.beat[:, :101])

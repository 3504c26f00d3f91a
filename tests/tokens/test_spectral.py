"""The built-in features: frame counts, levels, what each group responds to, and slow oracles."""

import math
from dataclasses import replace
from fractions import Fraction

import pytest
import torch

from hafm.errors import UsageError
from hafm.rates import frames_for
from hafm.tokens import spectrum
from hafm.tokens.base import SemanticFeatures
from hafm.tokens.chroma import contrast, fold_octaves, harmonic_sum, semitone_filters
from hafm.tokens.level import active_rms, set_active_rms
from hafm.tokens.spectral import INSTRUMENTAL, VOCAL, SpectralConfig, SpectralFeatures
from hafm.tokens.spectrum import band_powers, mel_filters

RATE = 24_000
CONFIGS = pytest.mark.parametrize("config", [VOCAL, INSTRUMENTAL], ids=["vocal", "instrumental"])


def note(pitch: float, seconds: float = 1.0, partials: int = 6) -> torch.Tensor:
    """A tone with partials of falling strength, as a voice has. Shape [1, T]."""
    hz = 440 * 2 ** ((pitch - 69) / 12)
    time = torch.arange(round(seconds * RATE), dtype=torch.float64) / RATE
    tone = sum(torch.sin(2 * math.pi * h * hz * time) / h for h in range(1, partials + 1) if h * hz < 11_000)
    return (0.2 * torch.as_tensor(tone)).float()[None]


def group(features: SpectralFeatures, values: torch.Tensor, name: str) -> torch.Tensor:
    start = 0
    for other, size in features.config.group_sizes.items():
        if other == name:
            return values[..., start : start + size]
        start += size
    raise KeyError(name)


def test_it_is_a_semantic_feature_extractor() -> None:
    features = SpectralFeatures()
    assert isinstance(features, SemanticFeatures)
    assert (features.sample_rate, features.frame_rate) == (24_000, Fraction(50))
    assert features.to("cpu") is features


@CONFIGS
@pytest.mark.parametrize("length", [1, 2, 479, 480, 481, 4_095, 4_097, 23_999, 24_000, 24_001, 60_013])
def test_frames_are_the_ceiling_for_every_length(config: SpectralConfig, length: int) -> None:
    features = SpectralFeatures(config)
    found = features.extract(torch.randn(1, length))
    assert found.shape == (1, frames_for(length, sample_rate=RATE, frame_rate=Fraction(50)), features.dim)
    assert found.dtype == torch.float32
    assert torch.isfinite(found).all()


@CONFIGS
def test_rows_do_not_see_each_other(config: SpectralConfig) -> None:
    features = SpectralFeatures(config)
    sounds = torch.cat([note(60), 0.01 * note(67), torch.zeros(1, RATE)])
    together = features.extract(sounds)
    for row in range(3):
        torch.testing.assert_close(
            features.extract(sounds[row : row + 1])[0], together[row], atol=1e-5, rtol=0
        )


@CONFIGS
@pytest.mark.parametrize("gain", [0.003, 0.3, 30.0])
def test_the_recording_level_does_not_matter(config: SpectralConfig, gain: float) -> None:
    features = SpectralFeatures(config)
    sound = torch.cat([note(60, 0.5), torch.zeros(1, 4_000), 0.3 * note(64, 0.5)], dim=1)
    torch.testing.assert_close(features.extract(gain * sound), features.extract(sound), atol=2e-4, rtol=0)


@CONFIGS
def test_silence_has_no_pitch_and_no_onsets(config: SpectralConfig) -> None:
    features = SpectralFeatures(config)
    for sound in (torch.zeros(1, RATE), 1e-9 * torch.randn(1, RATE)):
        found = features.extract(sound)
        assert group(features, found, "chroma").abs().max() < 1e-3
        assert group(features, found, "onset").abs().max() == 0


@CONFIGS
def test_faint_sound_beside_loud_has_hardly_any_chroma(config: SpectralConfig) -> None:
    features = SpectralFeatures(config)
    found = features.extract(torch.cat([note(60), 1e-3 * note(67, 3.0)], dim=1))
    assert group(features, found, "chroma")[0, 100:].norm(dim=1).max() < 0.2


@CONFIGS
def test_chroma_names_the_note_and_ignores_the_octave(config: SpectralConfig) -> None:
    features = SpectralFeatures(config)
    pitches = range(48, 73)
    chroma = group(features, features.extract(torch.cat([note(pitch) for pitch in pitches])), "chroma")[:, 25]
    assert chroma.argmax(dim=1).tolist() == [pitch % 12 for pitch in pitches]


def test_register_tells_octaves_apart() -> None:
    features = SpectralFeatures(VOCAL)
    heights = [
        int(group(features, features.extract(note(pitch)), "register")[0, 25].argmax())
        for pitch in (45, 57, 69)
    ]
    assert heights == sorted(set(heights))


def test_bass_names_the_lowest_note_and_chroma_the_chord() -> None:
    features = SpectralFeatures(INSTRUMENTAL)
    found = features.extract(note(40, 2.0) + sum(note(pitch, 2.0) for pitch in (60, 64, 67)))
    assert int(group(features, found, "bass")[0, 50].argmax()) == 4
    chord = group(features, found, "chroma")[0, 50].topk(3).indices
    assert {4, 0, 7} == set(chord.tolist())


@pytest.mark.parametrize(("band", "low_hz", "high_hz"), [(0, 40, 150), (1, 600, 1500), (2, 5_000, 10_000)])
def test_an_attack_shows_in_its_band_at_its_time(band: int, low_hz: float, high_hz: float) -> None:
    features = SpectralFeatures(INSTRUMENTAL)
    spectrum_ = torch.fft.rfft(torch.randn(1, RATE, generator=torch.Generator().manual_seed(3)))
    hz = torch.arange(spectrum_.shape[1])
    burst = torch.fft.irfft(spectrum_ * ((hz > low_hz) & (hz < high_hz)), RATE)
    burst[:, : 30 * 480] = 0  # begins with frame 30
    onset = group(features, features.extract(burst), "onset")[0]
    assert int(onset[:, band].argmax()) in (29, 30, 31)
    assert int(onset.amax(dim=0).argmax()) == band


def test_vibrato_is_no_onset() -> None:
    time = torch.arange(2 * RATE, dtype=torch.float64) / RATE
    phase = 2 * math.pi * (440 * time + 12 / (2 * math.pi * 5.5) * torch.sin(2 * math.pi * 5.5 * time))
    sung = (0.2 * sum(torch.sin(h * phase) / h for h in range(1, 8))).float()
    sung[: RATE // 2] = 0
    features = SpectralFeatures(VOCAL)
    onset = group(features, features.extract(sung[None]), "onset")[0]
    assert onset[30:90, 1].max() < 0.1 * onset[20:30, 1].max()


def test_band_powers_against_one_window_at_a_time() -> None:
    sound = torch.randn(2, 3_000)
    filters = mel_filters(size=1024, sample_rate=RATE, num_bands=9, low_hz=60.0, high_hz=11_000.0)
    found = band_powers(sound, filters, hop=480)
    window = 0.5 - 0.5 * torch.cos(2 * math.pi * torch.arange(1024) / 1024)
    for row in range(2):
        for frame in range(7):
            piece = torch.zeros(1024)
            for offset in range(1024):
                sample = frame * 480 + 240 - 512 + offset
                if 0 <= sample < 3_000:
                    piece[offset] = sound[row, sample]
            power = (torch.fft.rfft(piece * window).abs() * 2 / window.sum()).square()
            torch.testing.assert_close(found[row, frame], power @ filters, rtol=1e-4, atol=1e-9)


def test_blocks_do_not_show(monkeypatch: pytest.MonkeyPatch) -> None:
    sound, features = torch.randn(1, 50_000), SpectralFeatures(VOCAL)
    whole = features.extract(sound)
    monkeypatch.setattr(spectrum, "BLOCK_FRAMES", 7)
    torch.testing.assert_close(features.extract(sound), whole, atol=1e-5, rtol=0)


def test_a_crop_has_the_frames_of_the_whole_away_from_its_ends() -> None:
    """At one loudness throughout; half a window is 4.3 frames, the onset looks back 2."""
    features = SpectralFeatures(VOCAL)
    sound = torch.cat([note(pitch, 0.5) for pitch in (60, 62, 64, 65, 67, 69)], dim=1)
    whole, crop = features.extract(sound), features.extract(sound[:, 50 * 480 : 100 * 480])
    torch.testing.assert_close(crop[:, 8:-8], whole[:, 58:92], atol=5e-3, rtol=0)


def test_mel_filters_have_no_empty_band() -> None:
    filters = mel_filters(size=256, sample_rate=RATE, num_bands=60, low_hz=40.0, high_hz=11_500.0)
    assert (filters.sum(dim=0) > 0).all()
    assert filters.max() <= 1


def test_folding_against_a_loop() -> None:
    salience = torch.rand(2, 3, 30)
    for by, combine in (("max", max), ("sum", lambda a, b: a + b)):
        expected = torch.zeros(2, 3, 12)
        for semitone in range(30):
            pitch_class = (41 + semitone) % 12
            for index in torch.cartesian_prod(torch.arange(2), torch.arange(3)):
                b, f = index.tolist()
                expected[b, f, pitch_class] = combine(expected[b, f, pitch_class], salience[b, f, semitone])
        torch.testing.assert_close(fold_octaves(salience, low_note=41, by=by), expected)
    with pytest.raises(ValueError, match="'mean'"):
        fold_octaves(salience, low_note=41, by="mean")


def test_harmonic_sum_finds_a_fundamental_weaker_than_its_partials() -> None:
    powers = band_powers(
        note(50, partials=1) * 0.3 + note(62, partials=1) + note(69, partials=1) * 0.5,
        semitone_filters(size=8192, sample_rate=RATE, low_note=36, high_note=112),
        hop=480,
    )
    assert int(harmonic_sum(powers)[0, 25].argmax()) + 36 == 50


def test_contrast_is_bounded_and_fades() -> None:
    values = torch.rand(1, 50, 12)
    assert contrast(values, floor=0.01).norm(dim=-1).max() < 1
    lone = torch.zeros(1, 1, 12)
    lone[..., 3] = 1.0
    above = lone - lone.mean()
    assert contrast(lone, floor=float(above.clamp_min(0).norm())).norm().item() == pytest.approx(0.5)


def test_active_rms_is_blind_to_silence_and_exact_in_gain() -> None:
    sound = note(57)
    padded = torch.cat([torch.zeros(1, 9_600), sound, torch.zeros(1, 96_000)], dim=1)
    level = active_rms(sound, sample_rate=RATE)
    torch.testing.assert_close(active_rms(padded, sample_rate=RATE), level, rtol=1e-3, atol=0)
    torch.testing.assert_close(active_rms(0.125 * sound, sample_rate=RATE), 0.125 * level)
    torch.testing.assert_close(level, sound.square().mean().sqrt()[None], rtol=1e-2, atol=0)
    assert active_rms(torch.zeros(1, 100), sample_rate=RATE) == 0
    assert set_active_rms(torch.zeros(1, 100), 0.1, sample_rate=RATE).abs().max() == 0
    with pytest.raises(ValueError, match="above 0"):
        set_active_rms(sound, 0.0, sample_rate=RATE)


def test_fingerprint_follows_the_configuration() -> None:
    configs = [VOCAL, INSTRUMENTAL, replace(VOCAL, timbre_weight=0.09), replace(VOCAL, hop=240)]
    assert len({SpectralFeatures(config).fingerprint() for config in configs}) == len(configs)
    assert (
        SpectralFeatures(SpectralConfig(**VOCAL.to_dict())).fingerprint()
        == SpectralFeatures(VOCAL).fingerprint()
    )


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"pitch_window": 4095}, "pitch_window must be even"),
        ({"short_window": 256}, "at least hop"),
        ({"fold": "mean"}, "'mean'"),
        ({"chroma_frames": 4}, "chroma_frames must be odd"),
        ({"low_note": 90}, "notes must rise"),
        ({"bass_high_note": 30}, "bass_high_note"),
        ({"floor": 0.0}, "floor"),
        ({"onset_weight": -1.0}, "weights must be 0 or more"),
        ({"num_mel_bands": 0}, "num_mel_bands"),
        ({"hop": 0}, "above 0"),
    ],
)
def test_configurations_that_cannot_be(change: dict[str, object], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        SpectralConfig(**{**VOCAL.to_dict(), **change})


def test_shapes_that_cannot_be() -> None:
    with pytest.raises(ValueError, match="at least one sample"):
        SpectralFeatures().extract(torch.zeros(1, 0))

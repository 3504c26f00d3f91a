"""The voice: performance, controls, vocoder, repair of spoken vowels, the demo's melody."""

import dataclasses
import os
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from recipes.builtin.demo_vocal import START_SECONDS, demo_notes
from recipes.builtin.rendering.controls import FRAME_RATE, LEAD_SECONDS, Controls, frame_at
from recipes.builtin.rendering.formant import formant_voice
from recipes.builtin.rendering.intonation import pitch_curve
from recipes.builtin.rendering.phrasing import (
    LARGEST_LAG_SECONDS,
    Habits,
    SungNote,
    draw_habits,
    monophonic,
    octave_shift,
    perform,
)
from recipes.builtin.rendering.sing import sing
from recipes.builtin.rendering.singer import SingingStyle, draw_style
from recipes.builtin.rendering.vocoder import (
    _FFT,
    LEVEL_RMS,
    SAMPLE_RATE,
    _interpolation,
    _minimum_phase,
    _noise,
    _pulses,
    synthesise,
)
from recipes.builtin.rendering.voice_repair import repair_syllables
from recipes.builtin.rendering.voices import (
    NUM_BANDS,
    ONSETS,
    RESERVED_VOICES,
    SINGERS,
    VOWELS,
    Voice,
    VoiceBank,
)
from tests.recipes.rendering import tiny_score

PLAIN = SingingStyle(
    dynamics_db=10.0,
    tuning_semitones=0.0,
    flat_semitones=0.0,
    wander_semitones=0.0,
    glide_seconds=0.06,
    scoop_chance=0.0,
    scoop_semitones=0.0,
    fall_chance=0.0,
    vibrato_semitones=(0.0, 0.0),
    vibrato_hz=(5.0, 6.0),
    vibrato_delay_seconds=0.2,
    breath_chance=0.0,
    breath_db=-25.0,
    consonant_stretch=1.0,
    drift_semitones=0.0,
    flutter_semitones=0.0,
    jitter_semitones=0.0,
    ripple_db=0.0,
    warp=1.0,
    tilt_db=0.0,
    breathiness=0.0,
)

EXACT = Habits(
    bias_seconds=0.0,
    jitter_seconds=0.0,
    slip_chance=0.0,
    vowel_on_beat=1.0,
    back_phrasing_chance=0.0,
    back_phrasing_seconds=0.0,
    rubato_seconds=0.0,
    melisma_chance=0.0,
    ornament_chance=0.0,
    early_end_chance=0.0,
    breath_every_seconds=1000.0,
    octave_slip_chance=0.0,
    accent=0.0,
)


@pytest.fixture(scope="module")
def voice() -> Voice:
    return formant_voice(np.random.default_rng(4), high=True)


def long_note(pitch: int, **changes: object) -> SungNote:
    note = SungNote(
        score_seconds=0.2,
        start_seconds=0.2,
        end_seconds=1.8,
        pitch=pitch,
        velocity=90,
        syllable=("l", "aa"),
        is_legato=False,
        is_melisma=False,
    )
    return dataclasses.replace(note, **changes)


def fundamental_hz(waveform: np.ndarray, low_hz: float = 70, high_hz: float = 1000) -> float:
    """By autocorrelation: the first peak within 10 % of the highest."""
    spectrum = np.abs(np.fft.rfft(waveform * np.hanning(len(waveform)), 4 * len(waveform))) ** 2
    similarity = np.fft.irfft(spectrum)[: int(SAMPLE_RATE / low_hz)]
    window = np.fft.irfft(np.abs(np.fft.rfft(np.hanning(len(waveform)), 4 * len(waveform))) ** 2)
    similarity = similarity / window[: len(similarity)]
    shortest = int(SAMPLE_RATE / high_hz)
    best = similarity[shortest:].max()
    for lag in range(shortest, len(similarity) - 1):
        left, here, right = similarity[lag - 1 : lag + 2]
        if here > 0.9 * best and left <= here >= right:
            return SAMPLE_RATE / (lag + 0.5 * (left - right) / (left - 2 * here + right))
    return float("nan")


# ---- performance


def test_a_polyphonic_melody_becomes_one_line() -> None:
    rng = np.random.default_rng(1)
    starts = np.sort(rng.uniform(0, 20, 80))
    notes = np.stack(
        [starts, starts + rng.uniform(0.03, 2, 80), rng.integers(50, 80, 80), 80 + 0 * starts], 1
    )
    line = monophonic(notes)
    assert np.all(line[1:, 0] >= line[:-1, 1])
    assert np.all(line[:, 1] - line[:, 0] >= 0.05 - 1e-12)
    assert monophonic(notes[:0]).shape == (0, 4)


def test_the_octave_fits_the_voice() -> None:
    for pitch in range(40, 100):
        moved = pitch + octave_shift(np.array([pitch, pitch + 5]), (55, 77))
        assert moved % 12 == pitch % 12
        assert moved >= 55
        assert moved + 5 <= 77 + 3


def sung(voice: Voice, seed: int = 0, **changes: object) -> tuple[SungNote, ...]:
    """Fifteen seconds of the tiny score, with the habits of nobody but for these."""
    habits = dataclasses.replace(EXACT, **changes)
    rng = np.random.default_rng(seed)
    return perform(tiny_score().melody, seconds=14.9, voice=voice, habits=habits, rng=rng)


def lags(notes: tuple[SungNote, ...]) -> np.ndarray:
    return np.array(
        [note.start_seconds - note.score_seconds for note in notes if note.score_seconds is not None]
    )


def test_without_habits_vowels_start_on_the_score(voice: Voice) -> None:
    notes = sung(voice)
    assert len(notes) == 26  # one more could come early
    assert np.abs(lags(notes)).max() == 0.0
    assert [note.score_seconds for note in notes] == tiny_score().melody[:26, 0].tolist()


def test_a_performance_is_monophonic_in_order_and_near_the_score(voice: Voice) -> None:
    drawn = set()
    for seed in range(40):
        habits = draw_habits(np.random.default_rng(seed))
        notes = sung(voice, seed, **dataclasses.asdict(habits))
        for before, after in pairwise(notes):
            assert before.end_seconds <= after.start_seconds
            assert after.is_melisma <= after.is_legato
        for note in notes:
            assert note.end_seconds - note.start_seconds > 0.04
            assert note.syllable in voice.segments
            drawn.add(note.score_seconds is None)
        assert np.abs(lags(notes)).max() <= LARGEST_LAG_SECONDS + 1e-9
    assert drawn == {True, False}  # ornaments have no place in the score


def test_each_habit_of_time_does_what_it_says(voice: Voice) -> None:
    assert np.mean(lags(sung(voice, bias_seconds=0.03))) == pytest.approx(0.03)
    assert 0.01 < np.std(lags(sung(voice, jitter_seconds=0.02))) < 0.03
    late = lags(sung(voice, vowel_on_beat=0.5))  # half of each consonant delays its vowel
    assert 0.01 < late.max() < 0.15
    assert late.min() == 0.0
    slips = lags(sung(voice, slip_chance=0.3))
    assert 3 <= np.sum(np.abs(slips) > 0.045) <= 15
    back = lags(sung(voice, 3, back_phrasing_chance=1.0, back_phrasing_seconds=0.12))
    assert np.abs(back).max() <= 0.12
    assert np.all(np.diff(np.abs(back)) >= -1e-9)  # one phrase: it lags more and more
    rubato = lags(sung(voice, rubato_seconds=0.08))
    assert np.std(rubato) > 0.03
    assert np.corrcoef(rubato[1:], rubato[:-1])[0, 1] > 0.5  # slow, not note by note


def test_singers_cut_notes_to_breathe(voice: Voice) -> None:
    steady, breathing = sung(voice), sung(voice, breath_every_seconds=3.0)
    rests = [
        [after.start_seconds - before.end_seconds for before, after in pairwise(notes)]
        for notes in (steady, breathing)
    ]
    assert max(rests[0]) < 0.15
    assert 3 <= np.sum(np.array(rests[1]) > 0.15) <= 6


def test_an_octave_slip_moves_whole_phrases(voice: Voice) -> None:
    straight = [note.pitch for note in sung(voice)]
    moved = [note.pitch for note in sung(voice, octave_slip_chance=1.0)]
    assert {after - before for before, after in zip(straight, moved, strict=True)} <= {-12, 0, 12}


def test_scoops_falls_and_vibrato_shape_the_pitch() -> None:
    note = long_note(64)
    num_frames = frame_at(3.0)

    def curve(**changes: object) -> np.ndarray:
        style = dataclasses.replace(PLAIN, **changes)
        return pitch_curve([note], num_frames, style, np.random.default_rng(1))

    middle = slice(frame_at(0.8), frame_at(1.5))
    np.testing.assert_allclose(curve()[middle], 64.0, atol=1e-3)
    scooped = curve(scoop_chance=1.0, scoop_semitones=3.0)
    assert scooped[frame_at(0.18)] < 63.9
    np.testing.assert_allclose(scooped[middle], 64.0, atol=1e-3)
    fallen = curve(fall_chance=1.0)
    assert fallen[frame_at(1.8) - 1] < 63.6
    shaken = curve(vibrato_semitones=(0.4, 0.4), vibrato_delay_seconds=0.4)
    assert 0.5 < np.ptp(shaken[middle]) < 1.1
    assert np.ptp(shaken[frame_at(0.21) : frame_at(0.3)]) < 0.05  # not yet


def test_a_breath_fills_a_rest(voice: Voice) -> None:
    notes = [
        long_note(64, start_seconds=0.1, end_seconds=0.8),
        long_note(64, start_seconds=1.4, end_seconds=1.9),
    ]
    loudness = []
    for chance in (0.0, 1.0):
        style = dataclasses.replace(PLAIN, breath_chance=chance)
        controls = sing(notes, seconds=2.0, voice=voice, style=style, rng=np.random.default_rng(0))
        waveform = synthesise(controls, seconds=2.0, style=style, rng=np.random.default_rng(0))
        rest = waveform[round(0.85 * SAMPLE_RATE) : round(1.3 * SAMPLE_RATE)]
        loudness.append(np.sqrt(np.mean(rest**2)))
    assert loudness[1] > 10 * loudness[0]
    assert loudness[1] < 0.3 * LEVEL_RMS


# ---- sound


def test_the_vocoder_sings_the_pitch_it_is_given(voice: Voice) -> None:
    for pitch in (57, 64, 71, 76):
        controls = sing(
            [long_note(pitch)], seconds=2.0, voice=voice, style=PLAIN, rng=np.random.default_rng(0)
        )
        assert len(controls.pitch) == (2.0 + LEAD_SECONDS) * FRAME_RATE + 1
        waveform = synthesise(controls, seconds=2.0, style=PLAIN, rng=np.random.default_rng(0))
        assert waveform.shape == (2 * SAMPLE_RATE,)
        assert waveform.dtype == np.float32
        hz = fundamental_hz(waveform[SAMPLE_RATE - 2048 : SAMPLE_RATE + 2048])
        assert 12 * np.log2(hz / 440) + 69 == pytest.approx(pitch, abs=0.1)
        assert np.abs(waveform[int(1.95 * SAMPLE_RATE) :]).max() < 1e-6  # silence after the note


def test_the_note_sounds_when_it_should(voice: Voice) -> None:
    note = long_note(64, start_seconds=0.5, end_seconds=1.2, syllable=("", "aa"))
    controls = sing([note], seconds=2.0, voice=voice, style=PLAIN, rng=np.random.default_rng(0))
    waveform = synthesise(controls, seconds=2.0, style=PLAIN, rng=np.random.default_rng(0))
    envelope = np.sqrt(np.mean(waveform.reshape(-1, 240) ** 2, axis=1))  # 10 ms
    loud = np.flatnonzero(envelope > 0.2 * envelope.max()) / 100
    assert loud[0] == pytest.approx(0.5, abs=0.06)
    assert loud[-1] == pytest.approx(1.2, abs=0.12)


@pytest.mark.parametrize("hz", [80.0, 200.0, 700.0])
def test_a_flat_envelope_of_power_1_has_power_1_at_any_pitch_voiced_or_not(hz: float) -> None:
    """What makes the two halves of the vocoder fit: pulses and noise of one envelope are equally loud."""
    frames = 400
    pitch = np.full(frames, hz)
    for is_voiced, part in ((True, _pulses), (False, _noise)):
        controls = Controls(
            pitch=69 + 12 * np.log2(pitch / 440),
            bands=np.zeros((frames, NUM_BANDS), np.float32),
            aperiodicity=np.full((frames, 5), not is_voiced, np.float32),
            voiced=np.full(frames, is_voiced),
            level_db=np.zeros(frames, np.float32),
        )
        rng = np.random.default_rng(0)
        arguments = (pitch, controls.bands) if is_voiced else (controls.bands,)
        waveform = part(*arguments, controls, 1.0, rng)  # type: ignore[operator]
        inner = waveform[2400:-2400].astype(np.float64)
        assert np.mean(inner**2) == pytest.approx(1.0, rel=0.06), part


def test_a_note_under_way_at_the_start_is_sounding(voice: Voice) -> None:
    note = long_note(64, start_seconds=-0.8)
    controls = sing([note], seconds=2.0, voice=voice, style=PLAIN, rng=np.random.default_rng(0))
    waveform = synthesise(controls, seconds=2.0, style=PLAIN, rng=np.random.default_rng(0))
    assert np.sqrt(np.mean(waveform[:480] ** 2)) > 0.3 * LEVEL_RMS


def test_all_syllables_of_all_kinds_are_finite(voice: Voice) -> None:
    rng = np.random.default_rng(2)
    notes = [
        long_note(
            60 + index % 12, start_seconds=0.1 * index, end_seconds=0.1 * index + 0.09, syllable=syllable
        )
        for index, syllable in enumerate((onset, VOWELS[k % 12]) for k, onset in enumerate(ONSETS))
    ]
    style = draw_style(voice, rng)
    controls = sing(notes, seconds=2.0, voice=voice, style=style, rng=rng)
    waveform = synthesise(controls, seconds=2.0, style=style, rng=rng)
    assert np.isfinite(waveform).all()
    assert np.abs(waveform).max() <= 1 / 1.2


def test_nothing_to_sing_is_refused(voice: Voice) -> None:
    with pytest.raises(ValueError, match="no note"):
        sing([], seconds=2.0, voice=voice, style=PLAIN, rng=np.random.default_rng(0))


def test_minimum_phase_keeps_the_magnitude_and_is_causal() -> None:
    hz = np.arange(_FFT // 2 + 1) / _FFT
    log_magnitude = (np.cos(2 * np.pi * 3 * hz) + 0.5 * np.cos(2 * np.pi * 9 * hz))[None]
    spectrum = np.exp(_minimum_phase(log_magnitude))
    np.testing.assert_allclose(np.log(np.abs(spectrum)), log_magnitude, atol=1e-6)
    response = np.fft.irfft(spectrum)[0]
    assert np.sum(response[: _FFT // 8] ** 2) > 0.999 * np.sum(response**2)


def test_interpolation_agrees_with_numpy() -> None:
    knots, at = np.array([1.0, 2.0, 5.0]), np.linspace(0, 6, 50)
    values = np.array([3.0, -1.0, 4.0])
    np.testing.assert_allclose(values @ _interpolation(at, knots), np.interp(at, knots, values), atol=1e-6)


# ---- bank


def test_an_untracked_vowel_borrows_a_tracked_one() -> None:
    rng = np.random.default_rng(0)
    bands = rng.normal(-3, 1, (40, 64)).astype(np.float32)
    voiced = np.ones(40, bool)
    voiced[24:30] = False  # most of the second vowel
    aperiodicity = np.where(voiced[:, None], 0.1, 1.0).astype(np.float32) * np.ones((1, 5), np.float32)
    syllables = {("m", "aa"): (0, 5, 20), ("t", "aa"): (20, 24, 32), ("n", "iy"): (32, 34, 40)}
    new_bands, new_aperiodicity, new_voiced, repaired = repair_syllables(
        bands, aperiodicity, voiced, syllables
    )
    begin, middle, end = repaired["t", "aa"]
    np.testing.assert_array_equal(new_bands[begin:middle], bands[20:24])  # its own consonant
    assert end - middle == 15
    donor = slice(*repaired["m", "aa"][1:])
    np.testing.assert_array_equal(new_bands[middle:end], new_bands[donor])
    assert new_voiced[middle:end].all()
    assert np.ptp(new_aperiodicity[middle:end], axis=0).max() == 0
    loudness = np.log(np.exp(new_bands[donor]).sum(axis=1))
    assert np.ptp(loudness[4:-1]) < np.ptp(np.log(np.exp(bands[5:20]).sum(axis=1)))


def test_a_bank_that_lacks_a_speaker_is_refused(tmp_path: Path) -> None:
    np.savez(tmp_path / "bank.npz", **{"slt/b": np.zeros((3, 64))})
    with pytest.raises(ValueError, match="rms/s"):
        VoiceBank(tmp_path / "bank.npz")
    with pytest.raises(FileNotFoundError, match="--voices"):
        VoiceBank(tmp_path / "none.npz")


def test_reserved_voices_share_no_speaker_with_the_others() -> None:
    reserved = {SINGERS[name].speaker for name in RESERVED_VOICES}
    assert not reserved & {singer.speaker for name, singer in SINGERS.items() if name not in RESERVED_VOICES}


@pytest.mark.skipif("HAFM_VOICES" not in os.environ, reason="set HAFM_VOICES to the voice bank to run it")
@pytest.mark.parametrize("name", SINGERS)
def test_every_singer_of_the_real_bank_sings(name: str) -> None:
    voice = VoiceBank(Path(os.environ["HAFM_VOICES"])).voice(name)
    assert len(voice.segments) > 200
    assert all(("", vowel) in voice.segments for vowel in VOWELS)
    pitch = voice.range_pitches[0] + 9
    controls = sing([long_note(pitch)], seconds=2.0, voice=voice, style=PLAIN, rng=np.random.default_rng(0))
    waveform = synthesise(controls, seconds=2.0, style=PLAIN, rng=np.random.default_rng(0))
    hz = fundamental_hz(waveform[SAMPLE_RATE - 2048 : SAMPLE_RATE + 2048])
    assert 12 * np.log2(hz / 440) + 69 == pytest.approx(pitch, abs=0.2)


# ---- demo


def test_the_demo_is_one_line_in_f_major() -> None:
    notes = demo_notes()
    assert notes[0].start_seconds == START_SECONDS
    assert 10 < notes[-1].end_seconds < 15
    assert {note.pitch % 12 for note in notes} <= {5, 7, 9, 10, 0, 2, 4}
    assert all(a.end_seconds <= b.start_seconds for a, b in pairwise(notes))
    assert [note.pitch for note in notes[:5]] == [64, 65, 67, 69, 67]

"""Controls as sound: a pulse for every glottal closure and noise between them.

In: `Controls`. Out: a mono waveform, float32, 24 kHz. The periodic part adds one minimum-phase response
a pulse, placed with sub-sample precision; the noise part filters one white noise by overlap-add. Aperiodicity
a at a frequency splits the power p of the envelope:

    periodic power = p (1 - a^2)        noise power = p a^2

Source: the synthesis of WORLD (Morise et al., 2016), with cepstral minimum phase (Oppenheim & Schafer, 13.7).
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from scipy.signal import butter, sosfilt

from recipes.builtin.rendering.controls import FRAME_RATE, LEAD_SECONDS, Controls
from recipes.builtin.rendering.singer import SingingStyle
from recipes.builtin.rendering.voices import APERIODICITY_HZ, BAND_HZ

SAMPLE_RATE = 24_000
HOP_SAMPLES = SAMPLE_RATE // FRAME_RATE
LEVEL_RMS = 0.08

_FFT = 1024
_BIN_HZ = np.arange(_FFT // 2 + 1) * SAMPLE_RATE / _FFT
_NOISE_FFT = 512
_PULSES_PER_BATCH = 256
_FRAMES_PER_BATCH = 512
_NEPERS_PER_DB = np.log(10.0) / 10.0  # of power

Waveform = npt.NDArray[np.float32]


def synthesise(
    controls: Controls, *, seconds: float, style: SingingStyle, rng: np.random.Generator
) -> Waveform:
    """Sing.

    Args:
        controls: frames from `LEAD_SECONDS` before the window to its end.
        seconds: length of the window.
        style: its `warp` and `tilt_db` shape the spectrum.
        rng: source of the noise and of the small differences between pulses.

    Returns:
        The window, at an RMS of `LEVEL_RMS` while voiced, softly clipped. Shape [round(seconds * 24000)].
    """
    tilt = style.tilt_db * np.log2(np.maximum(BAND_HZ, 200.0) / 1000.0) * _NEPERS_PER_DB
    log_power = (controls.bands + tilt + controls.level_db[:, None] * _NEPERS_PER_DB).astype(np.float32)
    hz = 440.0 * 2.0 ** ((controls.pitch - 69.0) / 12.0)
    waveform = _pulses(hz, log_power, controls, style.warp, rng) + _noise(
        log_power, controls, style.warp, rng
    )
    rumble_hz = 0.62 * np.quantile(hz, 0.05)
    waveform = sosfilt(butter(3, rumble_hz, "highpass", fs=SAMPLE_RATE, output="sos"), waveform)
    lead = round(LEAD_SECONDS * SAMPLE_RATE)
    waveform = waveform[lead : lead + round(seconds * SAMPLE_RATE)]
    singing = np.repeat(controls.voiced, HOP_SAMPLES)[lead : lead + len(waveform)]
    rms = np.sqrt(np.mean(waveform[singing] ** 2)) if singing.any() else 0.0
    return (np.tanh(1.2 * LEVEL_RMS / (rms + 1e-9) * waveform) / 1.2).astype(np.float32)


def _pulses(
    hz: np.ndarray, log_power: np.ndarray, controls: Controls, warp: float, rng: np.random.Generator
) -> Waveform:
    """The periodic part."""
    num_frames = len(hz)
    phase = np.cumsum(np.repeat(hz * controls.voiced, HOP_SAMPLES) / SAMPLE_RATE)
    at = np.flatnonzero(np.diff(np.floor(phase)) > 0)
    # The phase crosses a whole number between samples at and at + 1, this far after the first.
    delay = (np.floor(phase[at + 1]) - phase[at]) / np.maximum(phase[at + 1] - phase[at], 1e-9)
    delay = delay.astype(np.float32)
    frame = at / HOP_SAMPLES
    lower = np.minimum(frame.astype(int), num_frames - 1)
    upper = np.minimum(lower + 1, num_frames - 1)
    share = (frame - lower)[:, None].astype(np.float32)
    shimmer = 1.0 + 0.03 * np.clip(rng.standard_normal(len(at)), -3.0, 3.0)
    to_bins = _interpolation(_BIN_HZ / warp, BAND_HZ)
    noise_to_bins = _interpolation(np.log(_BIN_HZ + 50.0), np.log(APERIODICITY_HZ))
    radians_per_sample = (-2.0 * np.pi * np.arange(_FFT // 2 + 1) / _FFT).astype(np.float32)

    output = np.zeros(num_frames * HOP_SAMPLES + 2 * _FFT, np.float32)
    for begin in range(0, len(at), _PULSES_PER_BATCH):
        batch = slice(begin, begin + _PULSES_PER_BATCH)
        low, high, w = lower[batch], upper[batch], share[batch]
        power = (log_power[low] * (1 - w) + log_power[high] * w) @ to_bins
        noise = (controls.aperiodicity[low] * (1 - w) + controls.aperiodicity[high] * w) @ noise_to_bins
        power += np.log(1.0 - np.clip(noise, 0.0, 0.999) ** 2)
        # A pulse train of period P has 1/P of a pulse's energy a sample: sqrt(P) keeps pitch off the level.
        scale = (shimmer[batch] * np.sqrt(SAMPLE_RATE / hz[low])).astype(np.float32)
        log_spectrum = _minimum_phase(0.5 * power)
        magnitude = np.exp(log_spectrum.real) * scale[:, None]
        magnitude[:, 0] = 0.0
        radians = log_spectrum.imag + delay[batch, None] * radians_per_sample
        spectrum = np.empty_like(log_spectrum)
        np.multiply(magnitude, np.cos(radians), out=spectrum.real)
        np.multiply(magnitude, np.sin(radians), out=spectrum.imag)
        for start, response in zip(at[batch], np.fft.irfft(spectrum), strict=True):
            output[start : start + _FFT] += response
    return output[: num_frames * HOP_SAMPLES]


def _minimum_phase(log_magnitude: np.ndarray) -> np.ndarray:
    """Complex logarithms of the minimum-phase spectra of these log magnitudes. Shape [N, bins] -> [N, bins].

    Folding the cepstrum onto positive quefrencies makes its exponential causal with all zeros inside the
    circle.
    """
    cepstrum = np.fft.irfft(log_magnitude)
    cepstrum[:, 1 : _FFT // 2] *= 2.0
    cepstrum[:, _FFT // 2 + 1 :] = 0.0
    return np.fft.rfft(cepstrum)


def _noise(log_power: np.ndarray, controls: Controls, warp: float, rng: np.random.Generator) -> Waveform:
    """The aperiodic part: unvoiced frames entirely, voiced ones by their aperiodicity."""
    num_frames = len(log_power)
    bins_hz = np.arange(_NOISE_FFT // 2 + 1) * SAMPLE_RATE / _NOISE_FFT
    share = controls.aperiodicity @ _interpolation(np.log(bins_hz + 50.0), np.log(APERIODICITY_HZ))
    share[~controls.voiced] = 1.0
    magnitude = np.exp(0.5 * (log_power @ _interpolation(bins_hz / warp, BAND_HZ))) * np.clip(share, 0.0, 1.0)
    magnitude[~controls.voiced & (controls.level_db < -50.0)] = 0.0

    # Slices of one and the same noise add up coherently: the window must sum to 1 over its hops.
    window = np.hanning(_NOISE_FFT + 1)[:-1]
    window = (window * HOP_SAMPLES / window.sum()).astype(np.float32)
    noise = rng.standard_normal(num_frames * HOP_SAMPLES + _NOISE_FFT).astype(np.float32)
    slices = np.lib.stride_tricks.sliding_window_view(noise, _NOISE_FFT)[::HOP_SAMPLES][:num_frames]
    output = np.zeros(num_frames * HOP_SAMPLES + 2 * _NOISE_FFT, np.float32)
    for begin in range(0, num_frames, _FRAMES_PER_BATCH):
        batch = slice(begin, begin + _FRAMES_PER_BATCH)
        filtered = np.fft.irfft(np.fft.rfft(slices[batch] * window) * magnitude[batch])
        for frame, piece in enumerate(filtered, start=begin):
            output[frame * HOP_SAMPLES : frame * HOP_SAMPLES + _NOISE_FFT] += piece
    return output[_NOISE_FFT // 2 : _NOISE_FFT // 2 + num_frames * HOP_SAMPLES]


def _interpolation(at: np.ndarray, knots: np.ndarray) -> npt.NDArray[np.float32]:
    """Matrix that interpolates linearly from values at `knots` to values `at`. Shape [len(knots),
    len(at)]."""
    upper = np.clip(np.searchsorted(knots, at), 1, len(knots) - 1)
    share = np.clip((at - knots[upper - 1]) / (knots[upper] - knots[upper - 1]), 0.0, 1.0)
    matrix = np.zeros((len(knots), len(at)), np.float32)
    matrix[upper - 1, np.arange(len(at))] = 1.0 - share
    matrix[upper, np.arange(len(at))] += share
    return matrix

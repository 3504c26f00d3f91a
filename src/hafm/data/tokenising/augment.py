"""Make a rendered vocal sound like a recording: noisy, roomy, coloured, uneven, with the band bleeding in.

In: a clean vocal, the instrumental that belongs to it, a random generator. Out: the vocal as somebody might
have recorded it, or as a separator might have left it; same length, same clock. A pure function of its
arguments.

The chain follows the way of the sound; each link is skipped by chance:

    throat    drift               pitch wanders by up to 30 cents (and time by some 15 ms)
    room      room                0.1..0.6 s of reverberation
    device    pops, tilt, band,   thumps of breath, +-6 dB of slope, 4..12 kHz of band or a telephone's,
              squash, hum         compression or clipping, the mains 25..50 dB below the voice
    separator bleed, dropouts     the instrumental at -40..-20 dB, gaps of 10..60 ms
    level     level               -35..-10 dBFS
    noise     noise               10..40 dB below the voice, or the fixed sigma 0.01 of the paper
    transport lossy               what a codec of few bits leaves: holes in the spectrum, no treble

Why: a model trained on clean rendered vocals hears every breath of a real one as something it never met.
Noise of sigma 0.01 on the vocal is the paper's (section 3.2, after SingSong); a room is noise that decays
exponentially, by 60 dB in its reverberation time (Moorer, 1979); the rest is ours.
"""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from scipy.signal import butter, lfilter, oaconvolve, sosfilt

__all__ = ["AUGMENT_VERSION", "SAMPLE_RATE", "active_rms", "augment", "reverberate", "room_response"]

SAMPLE_RATE = 24_000

_DECAY_60_DB = np.log(1000.0)


def room_response(reverb_seconds: float, seed: int) -> NDArray[np.float32]:
    """Impulse response of a room: exponentially decaying noise of unit energy.

    Args:
        reverb_seconds: in which the room decays by 60 dB, above 0.

    Returns:
        Shape [reverb_seconds * 24000], at least one sample.

    >>> response = room_response(0.5, seed=1)
    >>> response.shape, round(float((response**2).sum()), 4)
    ((12000,), 1.0)
    """
    num_samples = max(1, round(reverb_seconds * SAMPLE_RATE))
    noise = np.random.default_rng(seed).standard_normal(num_samples)
    response = noise * np.exp(-_DECAY_60_DB * np.arange(num_samples) / num_samples)
    return np.asarray(response / np.sqrt(np.sum(response**2)), dtype=np.float32)


def reverberate(waveform: NDArray[np.float32], response: NDArray[np.float32]) -> NDArray[np.float32]:
    """Convolve, keeping the length.

    Shape: `[T], [R] -> [T]`

    >>> reverberate(np.ones(4, np.float32), np.array([1.0, 0.5], np.float32)).round(3)
    array([1. , 1.5, 1.5, 1.5], dtype=float32)
    """
    return np.asarray(oaconvolve(waveform, response)[: len(waveform)], dtype=np.float32)


AUGMENT_VERSION = 2
"""Of this file: raise it with every change of what comes out, for views of two versions must not mix."""

Waveform = NDArray[np.float32]
Link = Callable[[Waveform, np.random.Generator], Waveform]

PAPER_NOISE_SIGMA = 0.01

_FRAME = SAMPLE_RATE // 50


def augment(vocal: Waveform, accompaniment: Waveform | None, rng: np.random.Generator) -> Waveform:
    """Draw a recording of a vocal.

    Args:
        vocal: mono, 24 kHz. Shape [T], T >= 1.
        accompaniment: what may bleed in, or None for nothing. Shape [T].
        rng: source of every draw.

    Returns:
        Within [-1, 1]. Shape [T].

    Raises:
        ValueError: the two have different lengths.

    >>> tone = np.sin(np.arange(24_000) * 0.05).astype(np.float32)
    >>> augment(tone, None, np.random.default_rng(0)).shape
    (24000,)
    """
    if accompaniment is not None and accompaniment.shape != vocal.shape:
        raise ValueError(
            f"vocal {vocal.shape} and accompaniment {accompaniment.shape} differ; cut both at one place"
        )

    def bleed(waveform: Waveform, rng: np.random.Generator) -> Waveform:
        gain_db = rng.uniform(-40.0, -20.0)
        return waveform if accompaniment is None else _bleed(waveform, accompaniment, gain_db)

    chain: tuple[tuple[float, Link], ...] = (
        (0.25, _drift),
        (0.45, _room),
        (0.10, _pops),
        (0.50, _tilt),
        (0.35, _band),
        (0.30, _squash),
        (0.15, _hum),
        (0.40, bleed),
        (0.15, _dropouts),
        (1.00, _level),
        (0.85, _noise),
        (0.25, _lossy),
    )
    waveform = vocal.astype(np.float32)
    for chance, link in chain:
        # Each link gets a generator of its own, so that none shifts the draws of those after it.
        (own,) = rng.spawn(1)
        if own.random() < chance:
            waveform = link(waveform, own)
    return np.clip(waveform, -1.0, 1.0)


def active_rms(waveform: Waveform) -> float:
    """Level of the voice, rests aside: RMS of the frames (20 ms) within 30 dB of the loudest; 0 for silence.

    >>> pulse = np.concatenate([np.ones(4800), np.zeros(4800)]).astype(np.float32)
    >>> active_rms(pulse)
    1.0
    """
    padded = np.pad(waveform.astype(np.float64), (0, -len(waveform) % _FRAME))
    power = np.mean(padded.reshape(-1, _FRAME) ** 2, axis=1)
    loudest = power.max(initial=0.0)
    return float(np.sqrt(power[power > 1e-3 * loudest].mean())) if loudest > 0.0 else 0.0


def _drift(waveform: Waveform, rng: np.random.Generator) -> Waveform:
    """Read the waveform at a speed that sways: `depth` cents at `rate` Hz displace time by
    (2^(depth/1200) - 1) / (2 pi rate), 14 ms for 30 cents at 0.2 Hz."""
    depth_cents, rate_hz, phase = rng.uniform(5, 30), rng.uniform(0.2, 0.6), rng.uniform(0, 2 * np.pi)
    seconds = np.arange(len(waveform)) / SAMPLE_RATE
    displacement = (2 ** (depth_cents / 1200) - 1) / (2 * np.pi * rate_hz)
    sway = displacement * np.sin(2 * np.pi * rate_hz * seconds + phase)
    return np.interp(seconds + sway, seconds, waveform).astype(np.float32)


def _room(waveform: Waveform, rng: np.random.Generator) -> Waveform:
    response = room_response(float(rng.uniform(0.1, 0.6)), int(rng.integers(2**31)))
    return waveform + np.float32(rng.uniform(0.05, 0.5)) * reverberate(waveform, response)


def _pops(waveform: Waveform, rng: np.random.Generator) -> Waveform:
    """One to six thumps, as of breath on a microphone: 50..120 Hz, dying within 60 ms, up to the voice's
    level."""
    output, rms = waveform.copy(), active_rms(waveform)
    for _ in range(rng.integers(1, 7)):
        start, hz = int(rng.integers(len(waveform))), rng.uniform(50.0, 120.0)
        gain = rms * 10 ** (rng.uniform(-20.0, 0.0) / 20)
        seconds = np.arange(min(round(0.1 * SAMPLE_RATE), len(waveform) - start)) / SAMPLE_RATE
        thump = np.sin(2 * np.pi * hz * seconds) * np.exp(-seconds / 0.015)
        output[start : start + len(seconds)] += (gain * thump).astype(np.float32)
    return output


def _tilt(waveform: Waveform, rng: np.random.Generator) -> Waveform:
    """Raise one end of the spectrum and lower the other: +-6 dB between 125 Hz and 8 kHz, pivot at 1 kHz."""
    half_db = rng.uniform(-6.0, 6.0) / 2
    hz = np.fft.rfftfreq(len(waveform), 1 / SAMPLE_RATE)
    octaves = np.clip(np.log2(np.maximum(hz, 1.0) / 1000.0), -3.0, 3.0)
    gain = 10 ** (half_db * octaves / 3 / 20)
    return np.asarray(np.fft.irfft(np.fft.rfft(waveform) * gain, len(waveform)), dtype=np.float32)


def _band(waveform: Waveform, rng: np.random.Generator) -> Waveform:
    """What a cheap microphone leaves, above 60..250 Hz and below 4..11.5 kHz; or one time in four a
    telephone, above 250..400 Hz and below 3..3.8 kHz."""
    low_hz, high_hz = rng.uniform(60.0, 250.0), np.exp(rng.uniform(np.log(4000.0), np.log(11_500.0)))
    if rng.random() < 1 / 4:
        low_hz, high_hz = rng.uniform(250.0, 400.0), rng.uniform(3000.0, 3800.0)
    sections = butter(4, (low_hz, high_hz), "bandpass", fs=SAMPLE_RATE, output="sos")
    return np.asarray(sosfilt(sections, waveform), dtype=np.float32)


def _squash(waveform: Waveform, rng: np.random.Generator) -> Waveform:
    """A compressor, or in one case of three a clipped input."""
    rms = active_rms(waveform)
    if rms == 0.0:
        return waveform
    if rng.random() < 1 / 3:
        limit = rms * rng.uniform(1.2, 3.0)
        return np.clip(waveform, -limit, limit)
    ratio, smoothing = rng.uniform(2.0, 6.0), np.exp(-1 / (0.02 * SAMPLE_RATE))
    power = lfilter([1 - smoothing], [1, -smoothing], waveform.astype(np.float64) ** 2)
    over = np.maximum(np.sqrt(power) / (0.5 * rms), 1.0)
    return np.asarray(waveform * over ** (1 / ratio - 1), dtype=np.float32)


def _hum(waveform: Waveform, rng: np.random.Generator) -> Waveform:
    """The mains, 50 or 60 Hz with four overtones, 25..50 dB below the voice."""
    seconds = np.arange(len(waveform)) / SAMPLE_RATE
    mains_hz, level_db = rng.choice((50.0, 60.0)), rng.uniform(-50.0, -25.0)
    strengths, phases = rng.uniform(0.2, 1.0, 5), rng.uniform(0.0, 2 * np.pi, 5)
    hum = np.zeros(len(waveform))
    for number, (strength, phase) in enumerate(zip(strengths, phases, strict=True), start=1):
        hum += strength * np.sin(2 * np.pi * number * mains_hz * seconds + phase)
    gain = active_rms(waveform) * 10 ** (level_db / 20) / np.sqrt(np.sum(strengths**2) / 2)
    return np.asarray(waveform + gain * hum, dtype=np.float32)


def _bleed(waveform: Waveform, accompaniment: Waveform, gain_db: float) -> Waveform:
    """The accompaniment at a level relative to the voice."""
    voice, band = active_rms(waveform), active_rms(accompaniment)
    if voice == 0.0 or band == 0.0:
        return waveform
    return waveform + np.float32(10 ** (gain_db / 20) * voice / band) * accompaniment


def _dropouts(waveform: Waveform, rng: np.random.Generator) -> Waveform:
    """One to four gaps with edges of 3 ms."""
    gain = np.ones(len(waveform), np.float32)
    for _ in range(rng.integers(1, 5)):
        length = round(rng.uniform(0.01, 0.06) * SAMPLE_RATE)
        start = int(rng.integers(max(1, len(waveform) - length)))
        gain[start : start + length] = 0.0
    edge = round(0.003 * SAMPLE_RATE)
    faded = np.convolve(gain, np.ones(edge) / edge, "same")[: len(waveform)]
    return (waveform * faded).astype(np.float32)


def _level(waveform: Waveform, rng: np.random.Generator) -> Waveform:
    rms = active_rms(waveform)
    target = 10 ** (rng.uniform(-35.0, -10.0) / 20)
    return waveform if rms == 0.0 else waveform * np.float32(target / rms)


def _noise(waveform: Waveform, rng: np.random.Generator) -> Waveform:
    """White to brownish noise, 10..40 dB below the voice; one time in three white with the paper's sigma."""
    white = rng.standard_normal(len(waveform))
    if rng.random() < 1 / 3:
        return (waveform + PAPER_NOISE_SIGMA * white).astype(np.float32)
    colour = lfilter([1.0], [1.0, -rng.uniform(0.0, 0.97)], white)
    sigma = 10 ** (-rng.uniform(10.0, 40.0) / 20) * active_rms(waveform)
    return np.asarray(waveform + sigma / np.sqrt(np.mean(colour**2)) * colour, dtype=np.float32)


_LOSSY_FRAME = 1024
_LOSSY_BANDS = 20


def _lossy(waveform: Waveform, rng: np.random.Generator) -> Waveform:
    """What a codec of few bits leaves: each band of each frame rounded to a few steps, treble cut.

    In a frame of 1024 samples (sine windows, half overlapped) a band's coefficients are rounded to multiples
    of 0.3..1.5 times their root mean square, so that weak ones vanish; nothing is left above 5..11 kHz.
    """
    hop = _LOSSY_FRAME // 2
    step, cutoff_hz = rng.uniform(0.3, 1.5), rng.uniform(5000.0, 11_000.0)
    window = np.sin(np.pi * (np.arange(_LOSSY_FRAME) + 0.5) / _LOSSY_FRAME)
    padded = np.pad(waveform.astype(np.float64), (hop, hop + -len(waveform) % hop))
    spectra = np.fft.rfft(np.lib.stride_tricks.sliding_window_view(padded, _LOSSY_FRAME)[::hop] * window)
    edges = np.unique(np.geomspace(4, spectra.shape[1], _LOSSY_BANDS + 1).astype(int))
    for first, after in zip((0, *edges[:-1]), edges, strict=True):
        band = spectra[:, first:after]
        size = step * np.sqrt(np.mean(np.abs(band) ** 2, axis=1, keepdims=True) / 2) + 1e-12
        band[:] = size * (np.round(band.real / size) + 1j * np.round(band.imag / size))
    spectra[:, int(cutoff_hz / SAMPLE_RATE * _LOSSY_FRAME) :] = 0.0
    frames = np.fft.irfft(spectra, _LOSSY_FRAME) * window
    output = np.zeros(len(padded))
    for parity in (0, 1):  # every other frame: these do not overlap
        piece = frames[parity::2].reshape(-1)
        output[parity * hop : parity * hop + len(piece)] += piece
    return output[hop : hop + len(waveform)].astype(np.float32)

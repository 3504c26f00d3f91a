"""Training crops that sound less like our renderer and more like recordings.

In:  the renders, seed and step. Out: batches [B, samples], float32, RMS about -20 dBFS.

Renders are clean, in tune with one soundfont, and mixed by one hand; recordings are not. What is changed,
each at random and in this order: speed (and with it pitch), a second render beside the first, distortion,
bursts of noise (cymbals that the soundfont lacks), equalisation, reverberation, a bed of noise, level. The
codec is trained to reproduce what comes out, so nothing has to sound good.

Conventions: every choice is a function of (seed, step). Filters are circular over the crop: at its borders
the end runs into the beginning, which is one more sound to code.
"""

from collections.abc import Sequence

import numpy as np
import torch
from jaxtyping import Float
from numpy.typing import NDArray
from torch import Tensor

from recipes.builtin.codec.data import SoundFile, read_part

__all__ = ["augmented_batch"]

SAMPLE_RATE = 24_000
TARGET_RMS = 0.1
JITTER_DB = 4.0
BLOCK_SAMPLES = 320
QUIET_RMS = 1e-4
"""Crops below this (pauses) are left alone."""
PLAIN_SHARE = 0.3
"""Crops that stay as they are but for the level."""

Array = NDArray[np.float32]


def augmented_batch(
    sounds: Sequence[SoundFile], *, seed: int, step: int, batch_size: int, crop_samples: int
) -> Float[Tensor, "B T"]:
    """The batch of one step."""
    random = np.random.default_rng((seed, step))
    rows = [_crop(sounds, random, crop_samples) for _ in range(batch_size)]
    return torch.from_numpy(np.stack(rows))


def _crop(sounds: Sequence[SoundFile], random: np.random.Generator, samples: int) -> Array:
    plain = random.random() < PLAIN_SHARE
    crop = _render(sounds, random, samples, speed=not plain)
    if not plain and _rms(crop) > QUIET_RMS:
        if random.random() < 0.3:
            crop = crop + _db(random.uniform(-14, 0)) * _render(sounds, random, samples, speed=True)
        if random.random() < 0.3:
            crop = _distorted(crop, random)
        if random.random() < 0.3:
            crop = crop + _bursts(random, samples)
        crop = _filtered(crop, random)
        crop = crop * (TARGET_RMS / max(_rms(crop), QUIET_RMS))
    # Plain crops keep their place in the dynamics of their song.
    return (crop * _db(random.uniform(-JITTER_DB, JITTER_DB))).astype(np.float32)


def _render(sounds: Sequence[SoundFile], random: np.random.Generator, samples: int, *, speed: bool) -> Array:
    """A part of a random render at -20 dBFS, played at a random speed half of the time."""
    sound = sounds[random.integers(len(sounds))]
    ratio = 2 ** random.uniform(-0.3, 0.3) if speed and random.random() < 0.5 else 1.0
    # Lengths of small factors keep the transform fast.
    read = round(samples * ratio / BLOCK_SAMPLES) * BLOCK_SAMPLES if ratio != 1.0 else samples
    start = int(random.integers(max(sound.samples - read, 0) + 1))
    part = read_part(sound, start, read)
    if read == samples:
        return part
    spectrum = np.fft.rfft(part)
    return (np.fft.irfft(spectrum, n=samples) * (samples / read)).astype(np.float32)


def _distorted(crop: Array, random: np.random.Generator) -> Array:
    """Soft clipping, from a warm tape to a fuzz box, beside the clean sound or instead of it."""
    drive = _db(random.uniform(0, 24)) / max(float(np.abs(crop).max()), 1e-6)
    bent = np.tanh(drive * crop) * (crop.std() / max(float(np.tanh(drive * crop).std()), 1e-6))
    share = random.uniform(0.2, 1.0)
    return (share * bent + (1 - share) * crop).astype(np.float32)


def _bursts(random: np.random.Generator, samples: int) -> Array:
    """Noise that dies away, again and again, bright or dull."""
    period = int(random.uniform(0.1, 0.6) * SAMPLE_RATE)
    age = (np.arange(samples) + random.integers(period)) % period
    envelope = np.exp(-age / (random.uniform(0.01, 0.25) * SAMPLE_RATE))
    noise = random.standard_normal(samples).astype(np.float32)
    for _ in range(random.integers(0, 3)):
        noise = np.diff(noise, prepend=noise[:1])
    noise *= TARGET_RMS / noise.std()
    return (noise * envelope * _db(random.uniform(-26, -4))).astype(np.float32)


def _filtered(crop: Array, random: np.random.Generator) -> Array:
    """Equalisation, reverberation and a bed of noise, all in one pass over the spectrum."""
    samples = len(crop)
    spectrum = np.fft.rfft(crop)
    hertz = np.fft.rfftfreq(samples, 1 / SAMPLE_RATE).astype(np.float32)
    octaves = np.log2(np.maximum(hertz, 20) / 1000)
    gain_db = np.zeros_like(octaves)
    if random.random() < 0.7:
        gain_db += random.uniform(-1.5, 2.5) * octaves
        for _ in range(random.integers(0, 4)):
            centre, width = random.uniform(-4.5, 3.5), random.uniform(0.3, 1.5)
            gain_db += random.uniform(-8, 8) * np.exp(-0.5 * ((octaves - centre) / width) ** 2)
    if random.random() < 0.15:
        gain_db -= 24 * np.maximum(octaves - random.uniform(1, 3.3), 0)
    if random.random() < 0.1:
        gain_db -= 24 * np.maximum(random.uniform(-4, -2) - octaves, 0)
    spectrum = spectrum * 10 ** (gain_db / 20)
    if random.random() < 0.35:
        decay = random.uniform(0.05, 0.5) * SAMPLE_RATE
        tail = random.standard_normal(samples) * np.exp(-np.arange(samples) / decay)
        tail *= _db(random.uniform(-20, -3)) / np.sqrt(np.sum(np.square(tail)))
        tail[0] += 1
        spectrum = spectrum * np.fft.rfft(tail)
    if random.random() < 0.35:
        phases = np.exp(2j * np.pi * random.random(len(hertz)))
        slope = np.maximum(hertz, 50) ** random.uniform(-1.0, 0.2)
        bed = slope * phases
        share = _db(random.uniform(-45, -15)) * np.linalg.norm(spectrum) / np.linalg.norm(bed)
        spectrum = spectrum + share * bed
    return np.fft.irfft(spectrum, n=samples).astype(np.float32)


def _rms(crop: Array) -> float:
    return float(np.sqrt(np.mean(np.square(crop))))


def _db(decibels: float) -> float:
    return float(10 ** (decibels / 20))

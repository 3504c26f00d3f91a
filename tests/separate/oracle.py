"""What a separator does with a net whose answer is known, in loops and float64: two slow oracles.

Nothing of `hafm.separate` is used but the seven numbers of a configuration. Each frame's spectrum is a
product with an explicit Fourier matrix. `chunked` goes as the separator does; `seamless` knows no chunks.
"""

import math
from collections.abc import Callable

import numpy as np

from hafm.separate.config import SeparatorConfig

Array = np.ndarray
Net = Callable[[Array], Array]


def chunked(mix: Array, config: SeparatorConfig, net: Net) -> Array:
    """The stem that the net gives, of a mix `[2, T]` at the net's rate, sample by sample."""
    chunk, margin, shared, step = layout(config)
    samples = mix.shape[1]
    stem = np.zeros((2, samples))
    weights = np.zeros(samples)
    start = -shared - margin
    while start + margin < samples:
        piece = np.array(
            [[side[t] if 0 <= t < samples else 0.0 for t in range(start, start + chunk)] for side in mix]
        )
        out = transform(piece, config, net)
        for place in range(chunk):
            t = start + place
            if 0 <= t < samples:
                weight = _weight(place - margin, chunk - 2 * margin, shared)
                stem[:, t] += weight * out[:, place]
                weights[t] += weight
        start += step
    assert np.allclose(weights, 1, atol=1e-12), "weights sum to 1 everywhere, at both ends too"
    return stem * config.compensate


def seamless(mix: Array, config: SeparatorConfig, net: Net) -> Array:
    """The same in one piece, for a net that treats each frame by itself."""
    hop, samples = config.hop, mix.shape[1]
    around = 2 * math.ceil(config.n_fft / hop) * hop
    behind = around + -samples % hop
    padded = np.pad(mix, ((0, 0), (around, behind)))
    return transform(padded, config, net)[:, around : around + samples] * config.compensate


def layout(config: SeparatorConfig) -> tuple[int, int, int, int]:
    """Samples of a chunk, of its margins, of its fades, and from one to the next."""
    margin = math.ceil(config.n_fft / config.hop)
    used = config.dim_t - 1 - 2 * margin
    shared = max(1, used // 4)
    return tuple(hops * config.hop for hops in (config.dim_t - 1, margin, shared, used - shared))


def transform(chunk: Array, config: SeparatorConfig, net: Net) -> Array:
    """Frames by hand, spectra by a matrix, the net, and weighted least squares back."""
    size, hop, bins = config.n_fft, config.hop, config.n_fft // 2 + 1
    num_frames = chunk.shape[1] // hop + 1
    window = 0.5 - 0.5 * np.cos(2 * math.pi * np.arange(size) / size)
    matrix = np.exp(-2j * math.pi * np.outer(np.arange(bins), np.arange(size)) / size)
    padded = np.pad(chunk, ((0, 0), (size // 2, size // 2)), mode="reflect")
    image = np.zeros((4, config.dim_f, num_frames))
    for frame in range(num_frames):
        for side in (0, 1):
            spectrum = matrix @ (padded[side, frame * hop : frame * hop + size] * window)
            image[2 * side, :, frame] = spectrum.real[: config.dim_f]
            image[2 * side + 1, :, frame] = spectrum.imag[: config.dim_f]
    image[:, :3] = 0
    image = net(image)
    total, weight = np.zeros_like(padded), np.zeros(padded.shape[1])
    for frame in range(num_frames):
        place = slice(frame * hop, frame * hop + size)
        for side in (0, 1):
            spectrum = np.zeros(bins, dtype=complex)
            spectrum[: config.dim_f] = image[2 * side, :, frame] + 1j * image[2 * side + 1, :, frame]
            # Every bin but the first and the last stands for its mirror image, too. No real sound has an
            # imaginary part in those two.
            spectrum[1:-1] *= 2
            real = (matrix.real.T @ spectrum.real + matrix.imag.T @ spectrum.imag) / size
            total[side, place] += real * window
        weight[place] += window**2
    middle = slice(size // 2, size // 2 + chunk.shape[1])
    return total[:, middle] / weight[middle]


def _weight(place: int, used: int, shared: int) -> float:
    if not 0 <= place < used:
        return 0.0
    if place < shared:
        return math.sin(math.pi * (place + 0.5) / (2 * shared)) ** 2
    if place >= used - shared:
        return math.cos(math.pi * (place - (used - shared) + 0.5) / (2 * shared)) ** 2
    return 1.0

"""A phase for magnitudes that came without one.

In:  magnitude [B, F, bins] and phase advance [B, F, bins] (radians from the frame before, beyond what the
     bin's own centre frequency turns). Out: a consistent spectrum, complex [B, F, bins].

Two steps:

1. *Accumulate.* A sine between bins turns its bin's phase by a constant angle a frame. Adding the predicted
   angles up gives every partial a steady phase, whatever happened before:

       phase_t = phase_{t-1} + 2 pi hop/window bin + advance_t

   This is a running sum from the first frame on, so a long piece hands the last frame's phase to the next
   piece.

2. *Make consistent.* Windows overlap, so neighbouring frames must agree on the samples they share.
   Griffin-Lim iterations (overlap-add, analyse again, keep the phase, put the magnitude back) move the phase
   towards agreement, across bins too, which the sum does not do. One iteration reaches `window/hop - 1`
   frames: see `CodecConfig.phase_context_frames`.

Source: phase accumulation: Flanagan & Golden, "Phase vocoder", 1966. Griffin & Lim, 1984, with the momentum
of Perraudin, Balazs & Sondergaard, "A fast Griffin-Lim algorithm", 2013.
"""

import math
from collections.abc import Callable

import torch
from jaxtyping import Complex, Float
from torch import Tensor

from hafm.tokens.codec.config import CodecConfig, Grid
from hafm.tokens.codec.stft import analyse, overlap_add

__all__ = ["TINY", "accumulate", "advances", "iterate", "make_consistent", "with_magnitude"]

TINY = 1e-12
"""Below this magnitude (-240 dB) a bin has no phase worth keeping."""


def accumulate(
    advance: Float[Tensor, "B F bins"], start: Float[Tensor, "B bins"], config: CodecConfig | Grid
) -> Float[Tensor, "B F bins"]:
    """Phases, in radians from 0 to 2 pi, that turn by the given advances.

    Args:
        advance: radians from the frame before, relative to the bin's centre frequency.
        start: the phase of the frame before the first one (zeros at the beginning of a sound).
        config: gives hop and window.

    Shape:
        [B, F, bins], [B, bins] -> [B, F, bins]

    >>> turn = torch.full((1, 3, 641), 0.5)
    >>> accumulate(turn, torch.zeros(1, 641), CodecConfig())[0, :, 4]
    tensor([0.5000, 1.0000, 1.5000], dtype=torch.float64)
    """
    # In float64: after ten minutes (45 000 frames) a float32 sum would be off by a whole bin's turn.
    steps = advance.double() + _centre_turn(config, advance.shape[-1], advance.device)
    return (start.double().unsqueeze(1) + steps.cumsum(1)).remainder(2 * math.pi)


def advances(
    spectrum: Complex[Tensor, "B F bins"], config: CodecConfig | Grid
) -> Float[Tensor, "B F-1 bins"]:
    """The advances that a spectrum has, from -pi to pi: what a decoder learns to predict.

    >>> seconds = torch.arange(3200) / 24000
    >>> tone = torch.sin(2 * torch.pi * 1000 * seconds)[None]    # bin 53.33: 1/3 bin above bin 53
    >>> float(advances(analyse(tone, CodecConfig()), CodecConfig())[0, 4, 53]) / (torch.pi / 2)
    0.333...
    """
    turn = _centre_turn(config, spectrum.shape[-1], spectrum.device).to(spectrum.real.dtype)
    step = spectrum[:, 1:] * spectrum[:, :-1].conj()
    return torch.angle(step * torch.polar(torch.ones_like(turn), -turn))


def make_consistent(
    magnitude: Float[Tensor, "B F bins"], phase: Float[Tensor, "B F bins"], config: CodecConfig
) -> Complex[Tensor, "B F bins"]:
    """The spectrum with this magnitude whose phase `phase_iterations` iterations made consistent.

    Shape:
        [B, F, bins], [B, F, bins] -> [B, F, bins]
    """

    return iterate(
        torch.polar(magnitude, phase.to(magnitude.dtype)),
        config,
        iterations=config.phase_iterations,
        momentum=config.phase_momentum,
        keep=lambda aimed: with_magnitude(aimed, magnitude),
    )


def with_magnitude(
    aimed: Complex[Tensor, "B F bins"], magnitude: Float[Tensor, "B F bins"]
) -> Complex[Tensor, "B F bins"]:
    """Brings a spectrum to a magnitude, in place.

    >>> with_magnitude(torch.tensor([[[3.0 + 4.0j]]]), torch.tensor([[[10.0]]]))
    tensor([[[6.+8.j]]])
    """
    found = aimed.abs().clamp_min_(TINY)
    torch.view_as_real(aimed).mul_(torch.div(magnitude, found, out=found).unsqueeze(-1))
    return aimed


def iterate(
    spectrum: Complex[Tensor, "B F bins"],
    grid: CodecConfig | Grid,
    *,
    iterations: int,
    momentum: float,
    keep: Callable[[Tensor], Tensor],
) -> Complex[Tensor, "B F bins"]:
    """Griffin-Lim iterations from a spectrum, which may lack its highest bins (they count as zeros).

    Args:
        spectrum: where to start.
        grid: hop and window.
        iterations: how many, 0 or more.
        momentum: how far each goes beyond the consistent spectrum that it found.
        keep: puts back, after each iteration, what is known of the spectrum, which it may write over.
    """
    bins, previous = spectrum.shape[-1], spectrum
    for iteration in range(iterations):
        projected = analyse(overlap_add(spectrum, grid), grid)[..., :bins]
        if iteration == 0:  # no direction yet to be accelerated in
            aimed = projected.clone()
        else:
            aimed = torch.sub(projected, previous, out=previous).mul_(momentum).add_(projected)
        spectrum = keep(aimed)
        previous = projected
    return spectrum


def _centre_turn(config: CodecConfig | Grid, num_bins: int, device: torch.device) -> Float[Tensor, " bins"]:
    """Radians that a sine on each bin's centre turns in one hop, modulo 2 pi."""
    bins = torch.arange(num_bins, dtype=torch.float64, device=device)
    return (2 * math.pi * config.hop_samples / config.window_samples * bins).remainder(2 * math.pi)

"""The noise that a vocal gets before it is tokenised.

In:  vocals `[B, T]` at any level. Out: the same vocals at one level, with white noise 40 dB below full scale.

A separator leaves traces of the band in a vocal, 40 to 60 dB down. A model trained on such vocals would learn
to read the accompaniment from its own traces, and would fail on a clean recording. Noise hides the traces, in
training and in use alike. Section 3.2 gives sigma = 0.01 and calls it "approximately -40 dB"; that says
something about the singing only once its level is known, so the vocal is first brought to an active RMS of
-20 dBFS: the noise is then 20 dB below the singing, whatever the recording's level.

Source: section 3.2 of the paper ("Noisy" strategy, after SingSong); the level is ours.
"""

import torch
from jaxtyping import Float
from torch import Tensor

from hafm.tokens.level import set_active_rms

__all__ = ["NOISE_SIGMA", "VOCAL_RMS", "add_noise", "prepare_vocal"]

NOISE_SIGMA = 0.01
VOCAL_RMS = 0.1


def add_noise(
    waveform: Float[Tensor, "*shape"], *, sigma: float, generator: torch.Generator
) -> Float[Tensor, "*shape"]:
    """The waveform plus white Gaussian noise.

    Args:
        waveform: any shape.
        sigma: standard deviation of the noise, full scale = 1, 0 or more.
        generator: on the CPU; the noise does not depend on the waveform's device.

    Raises:
        ValueError: sigma is negative.

    >>> noisy = add_noise(torch.zeros(50_000), sigma=0.01, generator=torch.Generator().manual_seed(1))
    >>> noisy.std().round(decimals=4)
    tensor(0.0100)
    """
    if sigma < 0:
        raise ValueError(f"sigma must be 0 or more, got {sigma}")
    noise = torch.randn(waveform.shape, generator=generator, dtype=waveform.dtype)
    return waveform + sigma * noise.to(waveform.device)


def prepare_vocal(
    waveform: Float[Tensor, "B T"],
    *,
    sample_rate: int,
    generator: torch.Generator,
    sigma: float = NOISE_SIGMA,
) -> Float[Tensor, "B T"]:
    """The vocal as the semantic features get to hear it: levelled, then noisy.

    Args:
        waveform: one vocal per row.
        sample_rate: in hertz.
        generator: on the CPU.
        sigma: of the noise; 0 leaves it out.

    Shape: `[B, T] -> [B, T]`

    >>> quiet = 1e-3 * torch.sin(torch.arange(24_000) / 10)[None]
    >>> prepared = prepare_vocal(quiet, sample_rate=24_000, generator=torch.Generator().manual_seed(1))
    >>> bool(torch.isclose(prepared.square().mean().sqrt(), torch.tensor(0.1005), atol=1e-4))  # of 0.1, 0.01
    True
    """
    levelled = set_active_rms(waveform, VOCAL_RMS, sample_rate=sample_rate)
    return add_noise(levelled, sigma=sigma, generator=generator)

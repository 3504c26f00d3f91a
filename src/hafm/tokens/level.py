"""The level of singing or playing, whatever the pauses around it, and the noise that a vocal gets.

In:  waveforms `[B, T]` at any level. Out: their active RMS; the same waveforms brought to one; and vocals at
one level, with white noise 40 dB below full scale, as they are tokenised.

Convention: a frame of 20 ms is *active* when its mean square is within 30 dB of the loudest frame's. The
level is the root of the mean square over active frames. So it does not move when silence is added or cut, it
scales exactly with the gain (`active_rms(g * x) = g * active_rms(x)`), and what is derived from the levelled
sound does not depend on the recording's level.

A separator leaves traces of the band in a vocal, 40 to 60 dB down. A model trained on such vocals would learn
to read the accompaniment from its own traces, and would fail on a clean recording. Noise hides the traces, in
training and in use alike. Section 3.2 gives sigma = 0.01 and calls it "approximately -40 dB"; that says
something about the singing only once its level is known, so the vocal is first brought to an active RMS of
-20 dBFS: the noise is then 20 dB below the singing, whatever the recording's level.

Source: the gating idea of ITU-R BS.1770-4, without its weighting filter: only consistency matters here, and
the measure has to work on half a second of sound and on any device. The noise is that of section 3.2 of the
paper ("Noisy" strategy, after SingSong); the level is ours.
"""

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import pad

__all__ = ["NOISE_SIGMA", "VOCAL_RMS", "active_rms", "add_noise", "prepare_vocal", "set_active_rms"]

FRAME_SECONDS_INVERSE = 50
GATE_POWER = 1e-3  # -30 dB
SILENCE_RMS = 1e-5  # -100 dBFS: dither, not music; it is not amplified any further.


def active_rms(waveform: Float[Tensor, "B T"], *, sample_rate: int) -> Float[Tensor, " B"]:
    """Root mean square over the frames that are within 30 dB of the loudest one.

    Args:
        waveform: one sound per row, at least one sample.
        sample_rate: in hertz.

    Shape: `[B, T] -> [B]`

    Returns:
        The level, full scale = 1; 0 for digital silence.

    >>> sound = torch.full((1, 24_000), 0.5)
    >>> active_rms(torch.cat([sound, torch.zeros(1, 48_000)], dim=1), sample_rate=24_000)
    tensor([0.5000])
    """
    num_rows, num_samples = waveform.shape
    frame = max(1, sample_rate // FRAME_SECONDS_INVERSE)
    whole = pad(waveform, (0, -num_samples % frame))
    power = whole.view(num_rows, -1, frame).square().mean(dim=2)
    active = power >= GATE_POWER * power.amax(dim=1, keepdim=True)
    return ((power * active).sum(dim=1) / active.sum(dim=1)).sqrt()


def set_active_rms(waveform: Float[Tensor, "B T"], rms: float, *, sample_rate: int) -> Float[Tensor, "B T"]:
    """The waveforms with their active RMS set to `rms`.

    Args:
        waveform: one sound per row.
        rms: the level wanted, full scale = 1, above 0.
        sample_rate: in hertz.

    Shape: `[B, T] -> [B, T]`

    Returns:
        A scaled copy; digital silence stays silence, and below -100 dBFS nothing is raised to `rms`.

    >>> set_active_rms(torch.full((1, 960), 0.5), 0.125, sample_rate=24_000)[0, :2]
    tensor([0.1250, 0.1250])
    """
    if rms <= 0:
        raise ValueError(f"rms must be above 0, got {rms}")
    level = active_rms(waveform, sample_rate=sample_rate).clamp_min(SILENCE_RMS)
    return waveform * (rms / level)[:, None]


# ---- noise


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
    """The vocal as the semantic features get it: levelled, then noisy.

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

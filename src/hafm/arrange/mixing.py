"""The parts of a band as stereo stems, and their sum.

In: parts, a SoundFont, a sample rate. Out: a stem for each of drums, bass, harmony and melody; together they
are the accompaniment, sample by sample, since every step is linear:

    part -> sampler -> its level -> its place ---+--------------------+-> stem --+
                                                 `-> send -> room ----'          +-> gain -> accompaniment
                                                              other stems -------+

The gain is one constant for all: a loudness of -16 LUFS, unless a true peak of -1 dBTP asks for less. The
room is noise that decays by 60 dB in 1.1 s, another on each side, darker than the sound in it; it is computed
at 24 kHz, above which rooms have little to say.

Source: noise that decays exponentially as a room, Moorer (1979).
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float
from numpy.typing import NDArray
from scipy.signal import lfilter, oaconvolve
from torch import Tensor

from hafm.arrange.parts import Part
from hafm.arrange.sampler import Sampler
from hafm.arrange.soundfont import DRUM_BANK, Soundfont
from hafm.audio.loudness import integrated_lufs
from hafm.audio.resample import resample
from hafm.audio.true_peak import true_peak_dbtp
from hafm.guide.lead_sheet import PLAYERS, Player

__all__ = ["LOUDNESS_LUFS", "gain_to", "mixed", "pan_of"]

LOUDNESS_LUFS, _CEILING_DBTP = -16.0, -1.0
_ROOM_RATE, _ROOM_SECONDS, _ROOM_SEED = 24_000, 1.1, 1979
_PRE_DELAY_SECONDS, _DAMPING = 0.012, 0.55
_FADE_SECONDS = 0.03


@dataclass(frozen=True)
class _Place:
    """Where a role plays: to the left (-1) or the right, and how much of it goes to the room."""

    pan: float
    send: float


_PLACES = {
    "drums": _Place(0.0, 0.10),
    "bass": _Place(0.0, 0.0),
    "keys": _Place(-0.22, 0.16),
    "comp": _Place(0.42, 0.14),
    "pad": _Place(0.0, 0.30),
    "bridge": _Place(-0.35, 0.26),
}


def pan_of(role: str) -> float:
    """Where a role plays, -1 left to 1 right."""
    return _PLACES[role].pan


def mixed(
    parts: Sequence[Part],
    soundfont: Soundfont,
    *,
    sample_rate: int,
    num_samples: int,
    on_part: Callable[[int], None] | None = None,
) -> dict[Player, Float[Tensor, "2 T"]]:
    """The stems of a band, silent where nobody plays; they add up to a finished accompaniment.

    Args:
        num_samples: T, 1 or more.
        on_part: gets how many parts are done; what it raises stops the work.
    """
    sampler = Sampler(soundfont, sample_rate)
    dry = {player: np.zeros((2, num_samples), np.float32) for player in PLAYERS}
    sends = {player: np.zeros(num_samples, np.float32) for player in PLAYERS}
    for number, part in enumerate(parts):
        sound = sampler.play(
            part.events,
            bank=DRUM_BANK if part.is_drums else 0,
            program=part.program,
            num_samples=num_samples,
        )
        place = _PLACES[part.role]
        sound *= gain_to(part.level_db, sound, sample_rate)
        sound *= _sides(place.pan)
        dry[part.stem] += sound
        sends[part.stem] += np.float32(place.send) * sound.mean(axis=0)
        if on_part is not None:
            on_part(number + 1)
    stems = {player: dry[player] + _room(sends[player], sample_rate) for player in PLAYERS}
    faded = {player: torch.from_numpy(_faded(stem, sample_rate)) for player, stem in stems.items()}
    return _finished(faded, sample_rate)


def _sides(pan: float) -> NDArray[np.float32]:
    """Gains of left and right, of one power together. Shape [2, 1].

    >>> bool(np.allclose((_sides(0.3) ** 2).sum(), 2.0)), _sides(0.0).round(3).tolist()
    (True, [[1.0], [1.0]])
    """
    angle = (pan + 1) * np.pi / 4
    return np.array([[np.cos(angle)], [np.sin(angle)]], np.float32) * np.float32(np.sqrt(2))


def _room(send: NDArray[np.float32], sample_rate: int) -> NDArray[np.float32]:
    """What the room answers on both sides. Shape: `[T] -> [2, T]`."""
    if not send.any():
        return np.zeros((2, len(send)), np.float32)
    slow = resample(torch.from_numpy(send)[None], sample_rate, _ROOM_RATE)[0].numpy()
    answers = np.stack([oaconvolve(slow, response)[: len(slow)] for response in _responses()])
    wide = torch.from_numpy(answers.astype(np.float32))
    return resample(wide, _ROOM_RATE, sample_rate, len(send)).numpy()


def _responses() -> NDArray[np.float64]:
    """Impulse responses of the room, left and right, of unit energy. Shape [2, R]."""
    length = round(_ROOM_SECONDS * _ROOM_RATE)
    noise = np.random.default_rng(_ROOM_SEED).standard_normal((2, length))
    decay = np.exp(-np.log(1000.0) * np.arange(length) / length)
    dark = lfilter([1 - _DAMPING], [1, -_DAMPING], noise)
    responses = np.pad(dark * decay, ((0, 0), (round(_PRE_DELAY_SECONDS * _ROOM_RATE), 0)))
    return np.asarray(responses / np.sqrt(np.sum(responses**2, axis=1, keepdims=True)))


def _faded(stem: NDArray[np.float32], sample_rate: int) -> NDArray[np.float32]:
    """Its last instant brought to silence, so that what is cut does not click."""
    fade = min(round(_FADE_SECONDS * sample_rate), stem.shape[1])
    stem[:, stem.shape[1] - fade :] *= np.linspace(1, 0, fade, dtype=np.float32)
    return stem


def _finished(stems: Mapping[Player, Tensor], sample_rate: int) -> dict[Player, Tensor]:
    """All stems with the one gain that gives their sum its loudness, or as much as peaks permit."""
    total = torch.stack(list(stems.values())).sum(dim=0)
    loudness = integrated_lufs(total, sample_rate)
    if loudness is None:
        return dict(stems)
    peak = true_peak_dbtp(total)
    assert peak is not None, "it has a loudness"
    gain = 10 ** (min(LOUDNESS_LUFS - loudness, _CEILING_DBTP - peak) / 20)
    highest = max(float(stem.abs().max()) for stem in stems.values())
    gain = min(gain, 1 / highest)  # a stem may be louder than the sum of all
    return {player: stem * gain for player, stem in stems.items()}


def gain_to(level_db: float, waveform: NDArray[np.float32], sample_rate: int) -> np.float32:
    """Gain that brings the sounding part of a waveform to a level: stretches of 50 ms within 40 dB of the
    loudest. Presets differ in loudness by 20 dB and more, so parts are levelled by what they sound like.

    Args:
        level_db: RMS, in dB full scale.
        waveform: Shape [T], or [C, T], whose power is the mean of its channels'.

    >>> tone = np.sin(np.arange(24_000) / 10).astype(np.float32)
    >>> both = np.concatenate([tone, np.zeros(48_000, np.float32)])
    >>> bool(np.isclose(gain_to(-20.0, tone, 24_000), gain_to(-20.0, both, 24_000), rtol=1e-2))
    True
    """
    stretch = sample_rate // 20
    whole = np.atleast_2d(waveform)[:, : waveform.shape[-1] // stretch * stretch]
    stretches = whole.reshape(len(whole), -1, stretch)
    power = np.einsum("cnt,cnt->n", stretches, stretches).astype(np.float64) / (len(whole) * stretch)
    loudest = power.max(initial=0.0)
    if loudest < 1e-12:
        return np.float32(0.0)
    return np.float32(10 ** (level_db / 20) / np.sqrt(power[power > 1e-4 * loudest].mean()))

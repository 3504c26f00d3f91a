"""Accompaniments that cannot fit: a random song's, noise, silence. A measure that does not notice says
nothing.

In: clips. Out: sounds of their length.

* `RandomPairing`: the true instrumental of a clip of another song. Songs exchange their instrumentals two and
  two (`hafm.evaluate.exchange`), each take in another way, so the set of sounds is that of the truth: a
  distance between sets of stems cannot tell them apart, a measure of fit must.
* `Noise`: pink noise (power falling by 3 dB per octave), at -18 LUFS.
* `Silence`: zeros.
"""

from collections.abc import Callable, Sequence
from hashlib import sha256
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from hafm.audio.loudness import normalise_loudness
from hafm.errors import UsageError
from hafm.evaluate.exchange import exchange_partners
from hafm.evaluate.systems.base import ClipSound, Kind, OnShare
from hafm.evaluate.testset.clip import Clip, of_song

__all__ = ["Noise", "RandomPairing", "Silence", "pairings"]

_NOISE_LUFS = -18.0
_NOISE_LOW_HZ = 20.0


class RandomPairing:
    """The instrumental of another song.

    Args:
        clips: the whole test set, of two songs or more.
        instrumental: the true instrumental of a clip.
        seed: decides the pairings.
        takes: pairings.

    Raises:
        UsageError: there is one song alone.
    """

    name = "random"
    title = "another song's instrumental"
    kind: Kind = "control"
    hears_vocal = False
    batch_clips = 8

    def __init__(
        self,
        *,
        clips: Sequence[Clip],
        instrumental: Callable[[Clip], Float[Tensor, " T"]],
        seed: int,
        takes: int = 3,
    ) -> None:
        self.takes = takes
        self._seed = seed
        self._instrumental = instrumental
        self._partners = pairings(clips, seed=seed, takes=takes)

    def identity(self) -> dict[str, Any]:
        """The seed; the clips are the manifest's."""
        return {"seed": self._seed, "takes": self.takes}

    def play(
        self, clips: Sequence[ClipSound], *, sample_rate: int, on_share: OnShare
    ) -> list[list[Float[Tensor, " T"]]]:
        """See `System`."""
        made = []
        for number, each in enumerate(clips):
            partners = [partner[each.clip.id] for partner in self._partners]
            made.append([_of_length(self._instrumental(clip), len(each.vocal)) for clip in partners])
            on_share((number + 1) / len(clips))
        return made


def pairings(clips: Sequence[Clip], *, seed: int, takes: int) -> list[dict[str, Clip]]:
    """For each take, the partner of every clip, by the clip's id: never of the same song.

    Clip j of a song meets clip j of its partner, cyclically where that has fewer.

    Raises:
        UsageError: there is one song alone.

    >>> from hafm.evaluate.testset.clip import Clip
    >>> known = {"start_seconds": 0.0, "num_samples": 1, "activity": 1.0, "sha256": {}}
    >>> a, b, c = (Clip(id=name, track=name, song=name, **known) for name in "abc")
    >>> [take] = pairings([a, b, c], seed=0, takes=1)
    >>> {id: clip.id for id, clip in sorted(take.items())}
    {'a': 'c', 'b': 'a', 'c': 'b'}
    """
    songs = list(of_song(clips).values())
    if len(songs) < 2:
        raise UsageError("a random pairing needs two songs or more; give a larger test set")
    found = []
    for take in range(takes):
        partner: dict[str, Clip] = {}
        for song, donor in zip(songs, exchange_partners(len(songs), seed=seed + take), strict=True):
            others = songs[donor]
            partner |= {clip.id: others[index % len(others)] for index, clip in enumerate(song)}
        found.append(partner)
    return found


class Noise:
    """Pink noise.

    Args:
        seed: of the noise; each clip has its own.
    """

    name = "noise"
    title = "pink noise"
    kind: Kind = "control"
    hears_vocal = False
    takes = 1
    batch_clips = 8

    def __init__(self, *, seed: int) -> None:
        self._seed = seed

    def identity(self) -> dict[str, Any]:
        """The seed and the level."""
        return {"seed": self._seed, "lufs": _NOISE_LUFS}

    def play(
        self, clips: Sequence[ClipSound], *, sample_rate: int, on_share: OnShare
    ) -> list[list[Float[Tensor, " T"]]]:
        """See `System`."""
        made = [[self._noise(each.clip.id, len(each.vocal), sample_rate)] for each in clips]
        on_share(1.0)
        return made

    def _noise(self, name: str, samples: int, sample_rate: int) -> Float[Tensor, " T"]:
        digest = sha256(f"{self._seed} {name}".encode()).digest()
        generator = torch.Generator().manual_seed(int.from_bytes(digest[:8], "little") >> 1)
        spectrum = torch.fft.rfft(torch.randn(samples, generator=generator))
        hz = torch.fft.rfftfreq(samples, 1 / sample_rate).clamp_min(_NOISE_LOW_HZ)
        pink = torch.fft.irfft(spectrum / hz.sqrt(), samples)
        return normalise_loudness((0.1 * pink / pink.std())[None], sample_rate, _NOISE_LUFS)[0][0]


class Silence:
    """Nothing."""

    name = "silence"
    title = "silence"
    kind: Kind = "control"
    hears_vocal = False
    takes = 1
    batch_clips = 8

    def identity(self) -> dict[str, Any]:
        """Nothing decides it."""
        return {}

    def play(
        self, clips: Sequence[ClipSound], *, sample_rate: int, on_share: OnShare
    ) -> list[list[Float[Tensor, " T"]]]:
        """See `System`."""
        on_share(1.0)
        return [[torch.zeros(len(each.vocal))] for each in clips]


def _of_length(sound: Float[Tensor, " T"], samples: int) -> Float[Tensor, " T2"]:
    """Cut, or repeated from its beginning, to a length.

    >>> _of_length(torch.tensor([1.0, 2.0]), 5)
    tensor([1., 2., 1., 2., 1.])
    """
    return sound.repeat(-(-samples // len(sound)))[:samples]

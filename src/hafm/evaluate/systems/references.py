"""What a model is measured against: a ceiling, baselines, and controls that cannot fit.

In: clips. Out: sounds of their length. The true instrumental itself needs no system: its sounds are written
with the clips (`hafm.evaluate.run.clips`).
"""

from collections.abc import Callable, Sequence
from hashlib import sha256

import torch
from jaxtyping import Float
from torch import Tensor

from hafm.arrange.arranger import arrange_sheet
from hafm.arrange.soundfont import SHIPPED, open_soundfont
from hafm.audio.io import audio_from_array
from hafm.audio.loudness import normalise_loudness
from hafm.audio.resample import resample
from hafm.evaluate.exchange import pairings
from hafm.evaluate.retrieval.retrieve import Retriever
from hafm.evaluate.systems.base import ClipByClip, ClipSound, Kind, repeated
from hafm.evaluate.testset import Clip
from hafm.guide.lead_sheet import LeadSheet
from hafm.tokens.base import Codec

__all__ = ["Arranged", "CodecCeiling", "Noise", "RandomPairing", "Retrieval", "Silence"]

_NOISE_LUFS = -18.0
_NOISE_LOW_HZ = 20.0
_RENDER_RATE = 48_000


class CodecCeiling(ClipByClip):
    """The true instrumental through a bundle's codec: what its best imaginable model would sound like."""

    name = "codec"
    title = "true instrumental through the codec"
    kind: Kind = "ceiling"

    def __init__(self, *, codec: Codec, device: torch.device | str = "cpu") -> None:
        self._codec, self._device = codec.to(device), device
        self._identity = {"codec": self._codec.fingerprint()}

    @torch.inference_mode()
    def _takes_of(self, clip: ClipSound, sample_rate: int) -> list[Float[Tensor, " T"]]:
        sound = resample(clip.instrumental[None], sample_rate, self._codec.sample_rate)
        decoded = self._codec.decode(self._codec.encode(sound[None].to(self._device)))[0].cpu()
        return [resample(decoded, self._codec.sample_rate, sample_rate, len(clip.vocal))[0]]


class Retrieval(ClipByClip):
    """The training song that fits best, transposed and stretched: what can be had without a model."""

    name = "retrieval"
    title = "retrieval from the training songs"
    kind: Kind = "baseline"
    uses_vocal = True
    batch_clips = 4

    def __init__(self, *, retriever: Retriever) -> None:
        self._retriever = retriever
        self._identity = retriever.identity()

    def _takes_of(self, clip: ClipSound, sample_rate: int) -> list[Float[Tensor, " T"]]:
        # A song of the clip's own name is passed over.
        found = self._retriever.retrieve(clip.vocal, sample_rate, exclude_songs=(clip.clip.song,))
        return [found.waveform]


class Arranged(ClipByClip):
    """A band of samples: what a lead sheet sounds like without a model.

    Clips are excerpts: the band plays from the first instant to the last, and follows the vocal's level and
    rests.
    """

    kind: Kind = "baseline"
    uses_vocal = True
    batch_clips = 4

    def __init__(
        self, *, name: str, title: str, sheets: Callable[[ClipSound], LeadSheet], guide: str, seed: int
    ) -> None:
        self.name, self.title = name, title
        self._sheets, self._seed = sheets, seed
        self._soundfont = open_soundfont(SHIPPED)
        self._identity = {"guide": guide, "seed": seed, "soundfont": SHIPPED.name}

    def sheet_of(self, clip: ClipSound) -> LeadSheet | None:
        """See `Guided`."""
        return self._sheets(clip)

    def _takes_of(self, clip: ClipSound, sample_rate: int) -> list[Float[Tensor, " T"]]:
        voice = audio_from_array(clip.vocal[None], sample_rate)
        arrangement = arrange_sheet(self._sheets(clip), seed=self._seed, voice=voice, excerpt=True)
        sound = arrangement.render(sample_rate=_RENDER_RATE, soundfont=self._soundfont).accompaniment
        mono = sound.mean(dim=0, keepdim=True)
        return [resample(mono, _RENDER_RATE, sample_rate, len(clip.vocal))[0]]


class RandomPairing(ClipByClip):
    """The true instrumental of a clip of another song; UsageError where all `clips` are of one song.

    Songs exchange theirs two and two (`hafm.evaluate.exchange`), each take in another way. So the sounds are
    those of the truth: a distance between sets of stems cannot tell them apart, a measure of fit must.
    """

    name = "random"
    title = "another song's instrumental"
    kind: Kind = "control"

    def __init__(
        self,
        *,
        clips: Sequence[Clip],
        instrumental: Callable[[Clip], Float[Tensor, " T"]],
        seed: int,
        takes: int = 3,
    ) -> None:
        self.takes = takes
        self._instrumental = instrumental
        self._partners = pairings(clips, seed=seed, takes=takes)
        self._identity = {"seed": seed, "takes": takes}

    def _takes_of(self, clip: ClipSound, sample_rate: int) -> list[Float[Tensor, " T"]]:
        partners = [partner[clip.clip.id] for partner in self._partners]
        return [repeated(self._instrumental(partner), len(clip.vocal)) for partner in partners]


class Noise(ClipByClip):
    """Pink noise (power falls by 3 dB per octave), of each clip its own."""

    name = "noise"
    title = "pink noise"
    kind: Kind = "control"

    def __init__(self, *, seed: int) -> None:
        self._seed = seed
        self._identity = {"seed": seed, "lufs": _NOISE_LUFS}

    def _takes_of(self, clip: ClipSound, sample_rate: int) -> list[Float[Tensor, " T"]]:
        samples = len(clip.vocal)
        digest = sha256(f"{self._seed} {clip.clip.id}".encode()).digest()
        generator = torch.Generator().manual_seed(int.from_bytes(digest[:8], "little") >> 1)
        spectrum = torch.fft.rfft(torch.randn(samples, generator=generator))
        hz = torch.fft.rfftfreq(samples, 1 / sample_rate).clamp_min(_NOISE_LOW_HZ)
        pink = torch.fft.irfft(spectrum / hz.sqrt(), samples)
        return [normalise_loudness((0.1 * pink / pink.std())[None], sample_rate, _NOISE_LUFS)[0][0]]


class Silence(ClipByClip):
    """Zeros."""

    name = "silence"
    title = "silence"
    kind: Kind = "control"

    def _takes_of(self, clip: ClipSound, sample_rate: int) -> list[Float[Tensor, " T"]]:
        return [torch.zeros(len(clip.vocal))]

"""From an evaluation to a listening test: what is compared in it, and the page with its sounds.

In: the folder of a run. Out: a `Design`, then the text of the page.

    listen.html    for raters: sounds (MP3, base64) and opaque ids, in one file that asks nothing of a network
    key.json       for whoever asks: what the ids mean; never given to raters

A test compares the systems asked for, or those of `DEFAULT_SYSTEMS` that the run has. Catch trials set the
truth against noise and silence in turn, or against a random instrumental if the run has neither. Clips that
lack one of the sounds are left out.

What could give a system away, and is shut off here:

    loudness     both mixes come from `mixdown` with the same balance; where one stays under `LOUDNESS_LUFS`
                 for the sake of its peaks, the other is turned down to it
    size         the bit rate is constant, so a size shows the duration alone, which both sides share
    clicks       both begin and end with a fade, wherever the song was cut
    same bytes   a sound that comes twice is encoded anew, with other noise at -100 dB, so the bytes differ

A mono MP3 of 128 kb/s at 24 kHz; what it does to a sound, it does to both sides. The vocal is the isolated
one in either arm: a separated vocal carries traces of the true instrumental, which would speak for the truth.
"""

import base64
import json
from collections.abc import Sequence
from hashlib import sha256
from pathlib import Path

import torch
from jaxtyping import Float
from torch import Tensor

from hafm.audio.mixdown import mixdown
from hafm.errors import UsageError
from hafm.evaluate.listening.design import Design, Plan, make_design
from hafm.evaluate.pages import mp3, render, vocal_alone
from hafm.evaluate.run.folder import RESULTS_FILE, RunFolder, SoundKey
from hafm.evaluate.testset import TRUTH, Arm, Clip, of_song
from hafm.progress import OnProgress, Progress

__all__ = ["KEY_FILE", "LOUDNESS_LUFS", "PAGE_FILE", "ListeningRun", "encode_mp3", "two_mixes"]

PAGE_FILE = "listen.html"
KEY_FILE = "key.json"

DEFAULT_SYSTEMS = ("model", "retrieval", "random", TRUTH)
"""What SingSong compared, by our names."""

CONTROLS = ("noise", "silence")
LAST_CONTROL = "random"

LOUDNESS_LUFS = -20.0
"""Of all mixes: quiet enough that peaks seldom ask for less."""

_FADE_SECONDS = 0.02
_NOISE = 1e-5
# libsndfile maps 0 to 1 onto the bit rates of MP3, best first; at 24 kHz this is 128 kb/s.
_COMPRESSION = 0.2


class ListeningRun:
    """The evaluation in a folder as the source of listening tests; UsageError where it holds no results."""

    def __init__(self, folder: Path) -> None:
        self.run = RunFolder(folder)
        self.results = self.run.results
        self.fingerprint = sha256(self.run.read(RESULTS_FILE).encode()).hexdigest()
        self._rows = {(row.arm, row.system, row.clip): row for row in self.results.clips}

    def design(self, plan: Plan, *, arm: str | None = None, systems: Sequence[str] = ()) -> Design:
        """Work out a test, of the run's first arm and of `DEFAULT_SYSTEMS` unless others are asked for.

        Raises:
            UsageError: the run has no such arm or system, or too few clips.
        """
        run_arm = self._arm(arm)
        present = [row.name for row in self.results.systems if self._clips(run_arm, [row.name])]
        for name in systems:
            if name not in present:
                raise UsageError(
                    f"the run has no system {name!r} in the {run_arm} arm; it has "
                    f"{', '.join(present) or 'none'}"
                )
        compared = list(systems) or [name for name in DEFAULT_SYSTEMS if name in present]
        controls = [name for name in CONTROLS if name in present]
        if not controls and LAST_CONTROL in present:
            controls = [LAST_CONTROL]
        if plan.catch == 0 or TRUTH not in present:
            controls = []
        heard = [*compared, *controls, *([TRUTH] if controls else [])]
        by_song = of_song(self._clips(run_arm, heard))
        songs = {song: [clip.id for clip in clips] for song, clips in by_song.items()}
        return make_design(
            systems=compared, controls=controls, songs=songs, run=self.fingerprint, arm=run_arm, plan=plan
        )

    def seconds(self, clip: str) -> float:
        """How long a clip is."""
        return self.run.manifest.clip(clip).num_samples / self.run.manifest.protocol.sample_rate

    def page(self, design: Design, *, on_progress: OnProgress | None = None) -> str:
        """The page of a test; UsageError or OutputError where a sound is missing or cannot be encoded."""
        rate = self.run.manifest.protocol.sample_rate
        trials = []
        for number, trial in enumerate(design.trials):
            vocal = self._vocal(trial.clip)
            a, b = (
                self.run.sound(SoundKey.of(self._rows[design.arm, system, trial.clip]))
                for system in (trial.a, trial.b)
            )
            first, second = (
                encode_mp3(mix, rate, seed=2 * number + side)
                for side, mix in enumerate(two_mixes(vocal, a, b, rate))
            )
            trials.append({"id": trial.id, "a": _base64(first), "b": _base64(second)})
            if on_progress is not None:
                on_progress(Progress(step="mixing trials", done=number + 1, total=len(design.trials)))
        check = vocal_alone(self._vocal(design.trials[0].clip), rate, loudness_lufs=LOUDNESS_LUFS)
        data = {
            "kit": design.kit,
            "listen_seconds": design.listen_seconds,
            "sound_check": _base64(encode_mp3(check, rate, seed=2 * len(trials))),
            "trials": trials,
        }
        return render(Path(__file__).parent, "listen", data=json.dumps(data))

    def _arm(self, arm: str | None) -> Arm:
        arms = self.run.manifest.arms
        if arm is None:
            return arms[0]
        for known in arms:
            if known == arm:
                return known
        raise UsageError(f"--arm is {arm!r}; the run has {', '.join(arms)}")

    def _clips(self, arm: Arm, systems: Sequence[str]) -> list[Clip]:
        """Clips for which every one of the systems has a sound."""
        return [
            clip
            for clip in self.run.manifest.clips
            if all((arm, system, clip.id) in self._rows for system in systems)
        ]

    def _vocal(self, clip: str) -> Float[Tensor, " T"]:
        return self.run.vocal("isolated", self.run.manifest.clip(clip))


def two_mixes(
    vocal: Float[Tensor, " T"], a: Float[Tensor, " T"], b: Float[Tensor, " T"], sample_rate: int
) -> tuple[Float[Tensor, " T"], Float[Tensor, " T"]]:
    """A vocal with either of two accompaniments, equally loud."""
    mixes, loudness = [], []
    for accompaniment in (a, b):
        mix, levels = mixdown(vocal[None], accompaniment[None], sample_rate, loudness_lufs=LOUDNESS_LUFS)
        mixes.append(mix[0])
        loudness.append(LOUDNESS_LUFS if levels.mix_lufs is None else levels.mix_lufs)
    first, second = (
        mix * 10 ** ((min(loudness) - lufs) / 20) for mix, lufs in zip(mixes, loudness, strict=True)
    )
    return first, second


def encode_mp3(sound: Float[Tensor, " T"], sample_rate: int, *, seed: int) -> bytes:
    """A sound as MP3; the seed is that of the noise that makes each encoding its own.

    >>> sizes = [len(encode_mp3(scale * torch.ones(24_000), 24_000, seed=0)) for scale in (0.0, 0.5)]
    >>> sizes[0] == sizes[1]
    True
    """
    fade = min(int(_FADE_SECONDS * sample_rate), len(sound) // 2)
    rise = torch.linspace(0, 1, fade)
    shape = torch.cat([rise, torch.ones(len(sound) - 2 * fade), rise.flip(0)])
    noise = torch.randn(len(sound), generator=torch.Generator().manual_seed(seed))
    samples = (sound * shape + _NOISE * noise).clamp(-1, 1)
    return mp3(samples, sample_rate, compression=_COMPRESSION, constant_rate=True)


def _base64(sound: bytes) -> str:
    return base64.b64encode(sound).decode()

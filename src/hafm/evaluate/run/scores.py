"""What every sound of a run scores: measures of fit, and embeddings of the stem and of the mix.

In: a run whose sounds are there. Out: RUN/measures and RUN/points, one file per sound.

Conventions, the same for every system and in both arms:

* *Fit* is measured against the isolated vocal, whatever vocal the system got, and on the sound as it
  was made; obedience against the lead sheet that it was made from, or else the true one.
* *Stems* are embedded at one loudness, -18 LUFS, and *mixes* are made with the isolated vocal by
  `hafm.audio.mixdown` at its defaults (accompaniment 3 dB under the vocal, -14 LUFS). So level is not part
  of a distance; `loudness_balance` measures it. Silence stays silence.

A score is a function of the sound; what was scored before is not scored again, unless the sound or what
scores it has changed.
"""

import json
from collections.abc import Callable, Sequence
from hashlib import sha256

import numpy as np
from jaxtyping import Float, Float32
from torch import Tensor

from hafm.audio.loudness import normalise_loudness
from hafm.audio.mixdown import mixdown
from hafm.evaluate.embeddings.base import Embedding, embed_sound
from hafm.evaluate.fit.measures import MEASURES, Example, measure
from hafm.evaluate.fit.truth import read_truth
from hafm.evaluate.run.clips import truth_path
from hafm.evaluate.run.folder import RunFolder, SoundKey, true_sound
from hafm.evaluate.run.results import On
from hafm.evaluate.testset import Clip
from hafm.progress import OnProgress, Progress
from hafm.version import __version__

__all__ = ["STEM_LUFS", "Scorer"]

STEM_LUFS = -18.0


class Scorer:
    """Scores sounds of a run, each once.

    Args:
        run: with its sounds.
        embeddings: what embeds them.
    """

    def __init__(self, run: RunFolder, embeddings: Sequence[Embedding]) -> None:
        self._run = run
        self.manifest = run.manifest
        self.embeddings = embeddings

    def score(self, made: Sequence[SoundKey], *, on_progress: OnProgress | None = None) -> None:
        """Scores what is not scored yet.

        Args:
            made: sounds; those that are embedded as well.
            on_progress: called after every sound.
        """
        for number, each in enumerate(made):
            self.measures(each)
            for embedding in self.embeddings:
                self.points(each, embedding, "stem")
                self.points(each, embedding, "mix")
            if on_progress is not None:
                on_progress(Progress(step="measuring", done=number + 1, total=len(made)))

    def measures(self, made: SoundKey) -> dict[str, float | None]:
        """The measures of fit of one sound."""
        run = self._run
        clip = run.manifest.clip(made.clip)
        true = true_sound(clip.id)
        sheet = run.sheet(made) or run.sheet(true)
        fingerprint = self._fingerprint(made, "fit", __version__, repr(sheet), *MEASURES)
        found = run.measures(_key(made), fingerprint)
        if found is None:
            example = Example(
                vocal=run.vocal("isolated", clip),
                accompaniment=run.sound(made),
                sample_rate=run.manifest.protocol.sample_rate,
                truth=read_truth(truth_path(run, clip.id)) if clip.truth else None,
                instrumental=run.sound(true),
                sheet=sheet,
            )
            found = measure(example)
            run.put_measures(_key(made), fingerprint, found)
        return found

    def points(self, made: SoundKey, embedding: Embedding, on: On) -> Float32[np.ndarray, "N D"]:
        """The embeddings of one sound, alone or mixed with the vocal."""

        def sound() -> Float[Tensor, " T"]:
            if on == "mix":
                return self._with_vocal(self.manifest.clip(made.clip), self._run.sound(made))
            rate = self.manifest.protocol.sample_rate
            return normalise_loudness(self._run.sound(made)[None], rate, STEM_LUFS)[0][0]

        state = self._fingerprint(made, on, embedding.fingerprint())
        return self._embedded(f"{embedding.name}/{on}/{_key(made)}.{state[:16]}", embedding, sound)

    def shuffled_points(self, vocal: Clip, donor: Clip, embedding: Embedding) -> Float32[np.ndarray, "N D"]:
        """Embeddings of a vocal mixed with the true instrumental of another clip."""

        def sound() -> Float[Tensor, " T"]:
            other = self._run.sound(true_sound(donor.id))
            return self._with_vocal(
                vocal, other.repeat(-(-vocal.num_samples // len(other)))[: vocal.num_samples]
            )

        made = SoundKey(system="shuffled", heard=donor.id, take=0, clip=vocal.id)
        key = f"{embedding.name}/mix/{_key(made)}.{embedding.fingerprint()[:16]}"
        return self._embedded(key, embedding, sound)

    def _embedded(
        self, key: str, embedding: Embedding, sound: Callable[[], Float[Tensor, " T"]]
    ) -> Float32[np.ndarray, "N D"]:
        """The embeddings that are kept under a key, or made now."""
        found = self._run.points(key)
        if found is None:
            found = embed_sound(embedding, sound(), sample_rate=self.manifest.protocol.sample_rate)
            self._run.put_points(key, found)
        return found

    def _with_vocal(self, clip: Clip, accompaniment: Float[Tensor, " T"]) -> Float[Tensor, " T"]:
        """Both together, as `hafm generate` mixes them by default."""
        vocal, rate = self._run.vocal("isolated", clip), self.manifest.protocol.sample_rate
        return mixdown(vocal[None], accompaniment[None], rate)[0][0]

    def _fingerprint(self, made: SoundKey, *what: str) -> str:
        digest = sha256(self._run.sound_path(made).read_bytes()).hexdigest()
        return sha256(json.dumps([digest, *what]).encode()).hexdigest()


def _key(made: SoundKey) -> str:
    return f"{made.system}/{made.heard}/{made.take}/{made.clip}"

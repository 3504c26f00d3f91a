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
from collections.abc import Sequence
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
from hafm.evaluate.systems.base import repeated
from hafm.evaluate.testset import Clip
from hafm.progress import OnProgress, Progress
from hafm.version import __version__

__all__ = ["STEM_LUFS", "Scorer"]

STEM_LUFS = -18.0


class Scorer:
    """Scores sounds of a run, each once."""

    def __init__(self, run: RunFolder, embeddings: Sequence[Embedding]) -> None:
        self._run = run
        self.manifest = run.manifest
        self.embeddings = embeddings

    def score(self, made: Sequence[SoundKey], *, on_progress: OnProgress | None = None) -> None:
        """Scores what is not scored yet."""
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
        name = f"measures/{_key(made)}.json"
        if (kept := run.kept(name)).get("fingerprint") != fingerprint:
            example = Example(
                vocal=run.vocal("isolated", clip),
                accompaniment=run.sound(made),
                sample_rate=run.manifest.protocol.sample_rate,
                truth=read_truth(truth_path(run, clip.id)) if clip.truth else None,
                instrumental=run.sound(true),
                sheet=sheet,
            )
            kept = {"fingerprint": fingerprint, "measures": measure(example)}
            run.write(name, json.dumps(kept))
        found: dict[str, float | None] = kept["measures"]
        return found

    def points(self, made: SoundKey, embedding: Embedding, on: On) -> Float32[np.ndarray, "N D"]:
        """The embeddings of one sound, alone or mixed with the vocal."""
        rate = self.manifest.protocol.sample_rate

        def make() -> Float32[np.ndarray, "N D"]:
            sound = self._run.sound(made)
            if on == "mix":
                return self._embedded_mix(self.manifest.clip(made.clip), sound, embedding)
            return embed_sound(
                embedding, normalise_loudness(sound[None], rate, STEM_LUFS)[0][0], sample_rate=rate
            )

        state = self._fingerprint(made, on, embedding.fingerprint())
        return self._run.points(f"{embedding.name}/{on}/{_key(made)}.{state[:16]}", make)

    def shuffled_points(self, vocal: Clip, donor: Clip, embedding: Embedding) -> Float32[np.ndarray, "N D"]:
        """Embeddings of a vocal mixed with the true instrumental of another clip."""

        def make() -> Float32[np.ndarray, "N D"]:
            other = repeated(self._run.sound(true_sound(donor.id)), vocal.num_samples)
            return self._embedded_mix(vocal, other, embedding)

        made = SoundKey(system="shuffled", heard=donor.id, take=0, clip=vocal.id)
        key = f"{embedding.name}/mix/{_key(made)}.{embedding.fingerprint()[:16]}"
        return self._run.points(key, make)

    def _embedded_mix(
        self, clip: Clip, accompaniment: Float[Tensor, " T"], embedding: Embedding
    ) -> Float32[np.ndarray, "N D"]:
        """Of both together, as `hafm generate` mixes them by default."""
        vocal, rate = self._run.vocal("isolated", clip), self.manifest.protocol.sample_rate
        return embed_sound(embedding, mixdown(vocal[None], accompaniment[None], rate)[0][0], sample_rate=rate)

    def _fingerprint(self, made: SoundKey, *what: str) -> str:
        digest = sha256(self._run.sound_path(made).read_bytes()).hexdigest()
        return sha256(json.dumps([digest, *what]).encode()).hexdigest()


def _key(made: SoundKey) -> str:
    return f"{made.system}/{made.heard}/{made.take}/{made.clip}"

"""What every sound of a run scores: measures of fit, and embeddings of the stem and of the mix.

In: a run whose sounds are there. Out: RUN/measures and RUN/points, one file per sound.

Conventions, the same for every system and in both arms:

* *Fit* is measured against the isolated vocal, whatever vocal the system heard, and on the sound as it
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
from hafm.evaluate.run.clips import TRUTH, truth_path
from hafm.evaluate.run.folder import BOTH_ARMS, Made, RunFolder
from hafm.evaluate.run.results import On
from hafm.evaluate.testset.clip import Clip
from hafm.progress import OnProgress, Progress
from hafm.version import __version__

__all__ = ["STEM_LUFS", "Scorer", "mixed"]

STEM_LUFS = -18.0


class Scorer:
    """Scores sounds of a run, each once.

    Args:
        run: with its sounds.
        embeddings: what hears them.
    """

    def __init__(self, run: RunFolder, embeddings: Sequence[Embedding]) -> None:
        self._run = run
        self.embeddings = embeddings

    def score(self, made: Sequence[Made], *, on_progress: OnProgress | None = None) -> None:
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

    def measures(self, made: Made) -> dict[str, float | None]:
        """The measures of fit of one sound."""
        run = self._run
        clip = run.manifest.clip(made.clip)
        true = Made(system=TRUTH, heard=BOTH_ARMS, take=0, clip=clip.id)
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

    def points(self, made: Made, embedding: Embedding, on: On) -> Float32[np.ndarray, "N D"]:
        """The embeddings of one sound, alone or mixed with the vocal."""
        run = self._run
        clip, rate = run.manifest.clip(made.clip), run.manifest.protocol.sample_rate
        print_of = self._fingerprint(made, on, embedding.fingerprint())[:16]
        key = f"{embedding.name}/{on}/{_key(made)}.{print_of}"
        found = run.points(key)
        if found is None:
            sound = run.sound(made)
            if on == "mix":
                sound = mixed(run.vocal("isolated", clip), sound, rate)
            else:
                sound = normalise_loudness(sound[None], rate, STEM_LUFS)[0][0]
            found = embed_sound(embedding, sound, sample_rate=rate)
            run.put_points(key, found)
        return found

    def shuffled_points(self, vocal: Clip, donor: Clip, embedding: Embedding) -> Float32[np.ndarray, "N D"]:
        """Embeddings of a vocal mixed with the true instrumental of another clip."""
        made = Made(system="shuffled", heard=donor.id, take=0, clip=vocal.id)
        run, rate = self._run, self._run.manifest.protocol.sample_rate
        key = f"{embedding.name}/mix/{_key(made)}.{embedding.fingerprint()[:16]}"
        found = run.points(key)
        if found is None:
            other = run.sound(Made(system=TRUTH, heard=BOTH_ARMS, take=0, clip=donor.id))
            other = other.repeat(-(-vocal.num_samples // len(other)))[: vocal.num_samples]
            sound = mixed(run.vocal("isolated", vocal), other, rate)
            found = embed_sound(embedding, sound, sample_rate=rate)
            run.put_points(key, found)
        return found

    def _fingerprint(self, made: Made, *what: str) -> str:
        digest = sha256(self._run.sound_path(made).read_bytes()).hexdigest()
        return sha256(json.dumps([digest, *what]).encode()).hexdigest()


def mixed(
    vocal: Float[Tensor, " T"], accompaniment: Float[Tensor, " T"], sample_rate: int
) -> Float[Tensor, " T"]:
    """Both together, as `hafm generate` mixes them by default."""
    return mixdown(vocal[None], accompaniment[None], sample_rate)[0][0]


def _key(made: Made) -> str:
    return f"{made.system}/{made.heard}/{made.take}/{made.clip}"

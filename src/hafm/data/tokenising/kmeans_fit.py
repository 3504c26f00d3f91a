"""Fitting a semantic vocabulary (paper 3.2: k-means, k = 500) to features that need not fit into memory.

In: a sample of the frames in memory, and, where it is not all of them, all frames once more, block by
block. Out: centroids, and how good they are on frames that were held out.

    sample --several starts, one pass each--> the best --passes--> centroids --every frame once--> centroids
                                                         before each: the dead are woken

A centroid that no frame chose is put onto a frame that lies far from its own (drawn with probability
proportional to squared distance, as in k-means++).

Memory: the sample, and `SHUFFLE_FRAMES` of what streams by, which are shuffled before they are used,
because frames of one track are alike. Everything random comes from the seed, and the arithmetic does not
depend on the number of threads.

Source: MiniBatchKMeans (Sculley, 2010) of scikit-learn, with init="random" and partial_fit: in 1024
dimensions (HuBERT) k-means++ initialisation alone takes 20 s.
"""

import importlib.util
import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

import numpy as np
import torch
from jaxtyping import Float32
from numpy.typing import NDArray

from hafm.errors import UsageError
from hafm.tokens.kmeans import KMeans

if TYPE_CHECKING:
    from sklearn.cluster import MiniBatchKMeans

__all__ = ["CentroidFit", "Frames", "KMeansSettings", "Quality", "check_scikit_learn", "measure"]

BATCH_FRAMES = 4096
SHUFFLE_FRAMES = 4 * BATCH_FRAMES

Frames: TypeAlias = NDArray[np.float32]
"""Shape [N, D]."""


@dataclass(frozen=True, kw_only=True)
class KMeansSettings:
    """How centroids are fitted. The seed decides the starts and every order.

    Args:
        clusters: V, number of centroids, 1 or more.
        starts: random starts that are tried for one pass, 1 or more.
        passes: over the sample, for the best start, 0 or more.

    Raises:
        UsageError: a number is out of range.

    >>> KMeansSettings(clusters=0)
    Traceback (most recent call last):
    ...
    hafm.errors.UsageError: clusters 0: give 1 or more
    """

    clusters: int = 500
    starts: int = 3
    passes: int = 12
    seed: int = 0

    def __post_init__(self) -> None:
        for name, least in (("clusters", 1), ("starts", 1), ("passes", 0), ("seed", 0)):
            value = getattr(self, name)
            if value < least:
                raise UsageError(f"{name} {value}: give {least} or more")


@dataclass(frozen=True, kw_only=True)
class Quality:
    """How well centroids describe frames.

    Args:
        inertia: mean squared distance of a frame to its centroid.
        variance: mean squared distance of a frame to the mean of all.
        dead: centroids that no frame chose.
        perplexity: exp of the entropy of the ids: how many are in even use, at most V.
    """

    frames: int
    inertia: float
    variance: float
    dead: int
    perplexity: float


class CentroidFit:
    """Centroids in the making; one start and all passes are done when it is built.

    Args:
        sample: N >= V frames, drawn evenly from all. Shape [N, D].

    Raises:
        UsageError: fewer frames than clusters.

    >>> frames = np.repeat(np.eye(3, dtype=np.float32), 20, axis=0)
    >>> centroids = CentroidFit(sample=frames, settings=KMeansSettings(clusters=3)).finish()
    >>> measure(centroids, frames).dead
    0
    """

    def __init__(self, *, sample: Float32[np.ndarray, "N D"], settings: KMeansSettings) -> None:
        if len(sample) < settings.clusters:
            raise UsageError(
                f"{len(sample)} frames cannot make {settings.clusters} clusters; give more tracks (--hours) "
                "or fewer clusters"
            )
        self._sample = sample
        self._rng = np.random.default_rng((settings.seed, settings.starts))
        self._waiting: list[Frames] = []
        self._fed = False
        self._model = _best_start(sample, settings)
        for _ in range(settings.passes):
            _wake_dead(self._model, sample, self._rng)
            _one_pass(self._model, sample, self._rng)

    def feed(self, frames: Float32[np.ndarray, "N D"]) -> None:
        """More of the frames that the sample was drawn from."""
        self._fed = True
        self._waiting.append(frames)
        if sum(map(len, self._waiting)) >= SHUFFLE_FRAMES:
            self._use_waiting()

    def finish(self) -> Float32[np.ndarray, "V D"]:
        if self._fed:
            self._use_waiting()
            if _wake_dead(self._model, self._sample, self._rng):
                _one_pass(self._model, self._sample, self._rng)
        return _centroids(self._model)

    def _use_waiting(self) -> None:
        if self._waiting:
            frames = np.concatenate(self._waiting)
            self._waiting = []
            for batch in _batches(frames, self._rng):
                self._model.partial_fit(batch)


def measure(centroids: Float32[np.ndarray, "V D"], frames: Float32[np.ndarray, "N D"]) -> Quality:
    """How well centroids describe frames.

    >>> corners = np.array([[0, 0], [0, 1], [9, 9]], dtype=np.float32)
    >>> measure(corners, corners[:2])
    Quality(frames=2, inertia=0.0, variance=0.25, dead=1, perplexity=2.0)
    """
    ids, squares = _assign(centroids, frames)
    counts = np.bincount(ids, minlength=len(centroids))
    share = counts[counts > 0] / counts.sum()
    return Quality(
        frames=len(frames),
        inertia=float(squares.mean()),
        variance=float(frames.var(axis=0, dtype=np.float64).sum()),
        dead=int((counts == 0).sum()),
        perplexity=math.exp(-float((share * np.log(share)).sum())),
    )


def check_scikit_learn() -> None:
    """Refuses to fit where scikit-learn is missing, without importing it: that takes 2.5 s."""
    if importlib.util.find_spec("sklearn") is None:
        raise UsageError("fitting a k-means needs scikit-learn; pip install 'hafm[train]'")


def _best_start(sample: Frames, settings: KMeansSettings) -> "MiniBatchKMeans":
    """One pass from each of several random starts; the one that lies nearest to the sample."""
    check_scikit_learn()
    from sklearn.cluster import MiniBatchKMeans

    def started(start: int) -> MiniBatchKMeans:
        random_state = settings.seed * 1000 + start
        model = MiniBatchKMeans(settings.clusters, init="random", n_init=1, random_state=random_state)
        _one_pass(model, sample, np.random.default_rng((settings.seed, start)))
        return model

    def inertia(model: MiniBatchKMeans) -> float:
        return float(_assign(_centroids(model), sample)[1].mean())

    return min(map(started, range(settings.starts)), key=inertia)


def _wake_dead(model: "MiniBatchKMeans", sample: Frames, rng: np.random.Generator) -> int:
    """Puts centroids that no frame of the sample chose onto frames far from theirs. Returns how many."""
    ids, squares = _assign(_centroids(model), sample)
    dead = np.flatnonzero(np.bincount(ids, minlength=model.n_clusters) == 0)
    dead = dead[: np.count_nonzero(squares)]  # no more frames than there are beside their centroids
    if len(dead):
        chosen = rng.choice(len(sample), size=len(dead), replace=False, p=squares / squares.sum())
        model.cluster_centers_[dead] = sample[chosen]
    return len(dead)


def _one_pass(model: "MiniBatchKMeans", sample: Frames, rng: np.random.Generator) -> None:
    """Every frame of the sample once. A new model takes its random centroids from the first batch."""
    for batch in _batches(sample, rng, least=model.n_clusters):
        model.partial_fit(batch)


def _batches(frames: Frames, rng: np.random.Generator, *, least: int = 1) -> Iterator[Frames]:
    """All frames in random order; each batch but the last has `least` or more."""
    order, size = rng.permutation(len(frames)), max(BATCH_FRAMES, least)
    for start in range(0, len(order), size):
        yield frames[order[start : start + size]]


def _centroids(model: "MiniBatchKMeans") -> Frames:
    return np.asarray(model.cluster_centers_, dtype=np.float32)


def _assign(centroids: Frames, frames: Frames) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Nearest centroid of every frame, by the code that will be used later, and the squared distance."""
    kmeans = KMeans(centroids=torch.from_numpy(centroids), feature_fingerprint="")
    ids = kmeans.predict(torch.from_numpy(frames)[None])[0].numpy()
    squares = np.zeros(len(frames))
    for start in range(0, len(frames), BATCH_FRAMES):
        part = slice(start, start + BATCH_FRAMES)
        squares[part] = ((frames[part] - centroids[ids[part]]).astype(np.float64) ** 2).sum(axis=1)
    return ids, squares

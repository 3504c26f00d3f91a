"""Fit the two semantic vocabularies.

    python -m recipes.builtin.fit_kmeans --pairs work/pairs --out work/tokens

In:  rendered pairs. Out: `kmeans_vocal.safetensors` and `kmeans_instrumental.safetensors`, 500 centroids
each.

    a seeded sample of the train pairs -> features (augmented vocals | instrumentals) -> mini-batch k-means

Several random starts run for one pass each; the best goes on. After every pass, centroids that no frame chose
are put onto frames that lie far from theirs (drawn with probability proportional to squared distance, as in
k-means++). Frames where the clip is silent are thinned out (`SILENT_SHARE`): they are all alike, and must not
take centroids. One thread and the same seed on the same pairs give the same file.

Source: section 3.2 of the paper (k = 500). MiniBatchKMeans with init="random" and partial_fit: in 1024
dimensions (HuBERT) k-means++ initialisation alone takes 20 s.
"""

from __future__ import annotations

import argparse
import math
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float
from numpy.typing import NDArray
from torch import Tensor

from hafm.tokens.kmeans import KMeans
from hafm.tokens.spectral import INSTRUMENTAL, VOCAL, SpectralFeatures
from recipes.builtin.tokens.pair_files import PairFiles, list_pairs
from recipes.builtin.tokens.vocal_views import vocal_view

__all__ = ["FitConfig", "fit", "fit_kmeans", "main", "perplexity"]

BATCH_FRAMES = 4096
SILENT_SHARE = 0.02


@dataclass(frozen=True, kw_only=True)
class FitConfig:
    """One run of the command.

    Attributes:
        pairs: parent of the split folders.
        out: where the two files go.
        hours: of audio to fit on, at most.
        clusters: number of centroids.
        starts: random starts that are tried for one pass.
        passes: over the sample, for the best start.
        seed: decides sample, augmentation and starts.
    """

    pairs: Path
    out: Path
    hours: float = 1.5
    clusters: int = 500
    starts: int = 3
    passes: int = 12
    seed: int = 0

    def __post_init__(self) -> None:
        if not self.hours > 0:
            raise ValueError(f"--hours {self.hours} must be positive")
        if min(self.clusters, self.starts, self.passes) < 1:
            raise ValueError("--clusters, --starts and --passes must be at least 1")


@dataclass(frozen=True, kw_only=True)
class Fit:
    """What `fit` found.

    Attributes:
        centroids: Shape [V, D].
        inertia: mean squared distance of a frame to its centroid.
        dead: centroids that no frame of the sample chose.
        perplexity: exp of the entropy of the ids, at most V.
    """

    centroids: Float[Tensor, "V D"]
    inertia: float
    dead: int
    perplexity: float


def perplexity(counts: NDArray[np.int64]) -> float:
    """exp of the entropy of a distribution given by counts.

    >>> round(perplexity(np.array([5, 5, 5, 5, 0])), 6)
    4.0
    """
    share = counts[counts > 0] / counts.sum()
    return math.exp(-float((share * np.log(share)).sum()))


def fit(features: NDArray[np.float32], *, clusters: int, starts: int, passes: int, seed: int) -> Fit:
    """K-means of a sample that fits into memory.

    Args:
        features: at least `clusters` frames. Shape [N, D].
        clusters: V.
        starts: random starts tried for one pass.
        passes: of the best one.
        seed: of everything random.

    Raises:
        ValueError: fewer frames than clusters.
    """
    from sklearn.cluster import MiniBatchKMeans  # 2.5 s to import

    if len(features) < clusters:
        raise ValueError(
            f"{len(features)} frames cannot make {clusters} clusters; give more pairs or fewer clusters"
        )
    best: tuple[float, MiniBatchKMeans] | None = None
    for start in range(starts):
        model = MiniBatchKMeans(
            clusters, init="random", n_init=1, batch_size=BATCH_FRAMES, random_state=seed * 1000 + start
        )
        _one_pass(model, features, np.random.default_rng((seed, start)))
        inertia = float(_assign(model.cluster_centers_, features)[1].mean())
        if best is None or inertia < best[0]:
            best = inertia, model
    assert best is not None
    model = best[1]
    rng = np.random.default_rng((seed, starts))
    for _ in range(passes):
        ids, squares = _assign(model.cluster_centers_, features)
        dead = np.flatnonzero(np.bincount(ids, minlength=clusters) == 0)
        if len(dead):
            chosen = rng.choice(len(features), size=len(dead), replace=False, p=squares / squares.sum())
            model.cluster_centers_[dead] = features[chosen]
        _one_pass(model, features, rng)
    ids, squares = _assign(model.cluster_centers_, features)
    counts = np.bincount(ids, minlength=clusters)
    return Fit(
        centroids=torch.from_numpy(np.asarray(model.cluster_centers_, dtype=np.float32).copy()),
        inertia=float(squares.mean()),
        dead=int((counts == 0).sum()),
        perplexity=perplexity(counts),
    )


def fit_kmeans(config: FitConfig) -> dict[str, KMeans]:
    """Fits and saves both vocabularies.

    Returns:
        `{"vocal": ..., "instrumental": ...}`, as saved.

    Raises:
        ValueError: there are no pairs, or too few frames.
    """
    pairs = list_pairs(config.pairs, "train")
    if not pairs:
        raise ValueError(f"no complete pairs in '{config.pairs / 'train'}'; render some first")
    rng = np.random.default_rng(config.seed)
    order = [pairs[number] for number in rng.permutation(len(pairs))]
    config.out.mkdir(parents=True, exist_ok=True)
    fitted = {}
    for name, features in (
        ("vocal", SpectralFeatures(VOCAL)),
        ("instrumental", SpectralFeatures(INSTRUMENTAL)),
    ):
        began = time.perf_counter()
        sample, seconds, used = _sample(order, name, features, config)
        spent = time.perf_counter() - began
        result = fit(
            sample, clusters=config.clusters, starts=config.starts, passes=config.passes, seed=config.seed
        )
        notes = {
            "data": f"{used} rendered train pairs, {seconds / 3600:.2f} h, {name}"
            + (", augmented" if name == "vocal" else ""),
            "frames": len(sample),
            "inertia": result.inertia,
            "variance": float(sample.var(axis=0).sum()),
            "dead_clusters": result.dead,
            "perplexity": result.perplexity,
            "seed": config.seed,
        }
        kmeans = KMeans(centroids=result.centroids, feature_fingerprint=features.fingerprint(), notes=notes)
        kmeans.save(config.out / f"kmeans_{name}.safetensors")
        fitted[name] = kmeans
        print(
            f"{name:12s} {notes['data']}: {len(sample)} frames, {seconds / spent:.0f} s of audio per s; "
            f"inertia {result.inertia:.4f} of variance {notes['variance']:.4f}, dead {result.dead}, "
            f"perplexity {result.perplexity:.0f} of {config.clusters}, "
            f"fingerprint {kmeans.fingerprint()[:12]}; "
            f"{time.perf_counter() - began:.0f} s in all",
            flush=True,
        )
    return fitted


def _sample(
    order: Sequence[PairFiles], name: str, features: SpectralFeatures, config: FitConfig
) -> tuple[NDArray[np.float32], float, int]:
    """Features of the first pairs of `order` that make up the hours wanted, silence thinned out."""
    parts: list[NDArray[np.float32]] = []
    seconds, used = 0.0, 0
    for pair in order:
        if seconds >= 3600 * config.hours:
            break
        waveform = pair.waveform("instrumental")
        heard = torch.from_numpy(waveform)[None]
        if name == "vocal":
            heard = vocal_view(
                pair.waveform("vocal"),
                waveform,
                sample_rate=features.sample_rate,
                pair_id=pair.id,
                view=0,
                seed=config.seed,
                augmented=True,
            )
        frames = features.extract(heard)[0].numpy()
        parts.append(_thin_silence(frames, features, np.random.default_rng((config.seed, used))))
        seconds, used = seconds + heard.shape[1] / features.sample_rate, used + 1
    return np.concatenate(parts), seconds, used


def _thin_silence(
    frames: NDArray[np.float32], features: SpectralFeatures, rng: np.random.Generator
) -> NDArray[np.float32]:
    """Drops frames without pitch whose level is near the clip's lowest, except for a small share."""
    sizes = features.config.group_sizes
    starts = dict(zip(sizes, np.cumsum([0, *sizes.values()]), strict=False))
    chroma = np.linalg.norm(frames[:, starts["chroma"] : starts["chroma"] + sizes["chroma"]], axis=1)
    level = frames[:, starts["level"]] / features.config.level_weight
    silent = (chroma < 0.1 * features.config.chroma_weight) & (level < level.min() + 0.3)
    keep = ~silent | (rng.random(len(frames)) < SILENT_SHARE)
    return frames[keep]


def _one_pass(model: object, features: NDArray[np.float32], rng: np.random.Generator) -> None:
    """One `partial_fit` over all frames in random order; the last batch is dropped when it is too small."""
    clusters = model.n_clusters  # type: ignore[attr-defined]
    order = rng.permutation(len(features))
    for start in range(0, len(order), BATCH_FRAMES):
        batch = order[start : start + BATCH_FRAMES]
        if len(batch) >= clusters or start == 0:
            model.partial_fit(features[batch])  # type: ignore[attr-defined]


def _assign(
    centroids: NDArray[np.float32], features: NDArray[np.float32]
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Nearest centroid of every frame, by the code that will be used later, and the squared distance."""
    kmeans = KMeans(
        centroids=torch.from_numpy(np.asarray(centroids, dtype=np.float32)), feature_fingerprint=""
    )
    ids = kmeans.predict(torch.from_numpy(features)[None])[0].numpy()
    squares = np.zeros(len(features))
    for start in range(0, len(features), BATCH_FRAMES):
        part = slice(start, start + BATCH_FRAMES)
        squares[part] = ((features[part] - centroids[ids[part]]).astype(np.float64) ** 2).sum(axis=1)
    return ids, squares


def main(arguments: Sequence[str] | None = None) -> int:
    """The command. Returns the exit status: 0, or 2 when it cannot be done."""
    parser = argparse.ArgumentParser(
        prog="python -m recipes.builtin.fit_kmeans", description="Fit the two semantic vocabularies."
    )
    parser.add_argument("--pairs", type=Path, required=True, help="parent of the split folders")
    parser.add_argument("--out", type=Path, required=True, help="where the two files go")
    parser.add_argument(
        "--hours", type=float, default=FitConfig.hours, help="of audio, at most (default 1.5)"
    )
    parser.add_argument("--clusters", type=int, default=FitConfig.clusters, help="default 500")
    parser.add_argument("--starts", type=int, default=FitConfig.starts, help="random starts (default 3)")
    parser.add_argument("--passes", type=int, default=FitConfig.passes, help="over the sample (default 12)")
    parser.add_argument("--seed", type=int, default=FitConfig.seed, help="default 0")
    parser.add_argument("--threads", type=int, default=1, help="default 1; more do not give the same file")
    values = vars(parser.parse_args(arguments))
    torch.set_num_threads(values.pop("threads"))
    try:
        fit_kmeans(FitConfig(**values))
    except ValueError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    raise SystemExit(main())

"""Fréchet audio distance of sets of songs: how big it is, how sure it is, and how much of it is sample size.

In:  two lists of embeddings, one array `[n, D]` for each song (or clip). Out: distances, see `frechet`.

A distance from N embeddings is too large, and the more so the smaller N is. For N independent embeddings of a
Gaussian N(0, I), against the true one, to the first order

    E d²_N = D / N + D (D + 1) / (4 (N - 1))        mean + covariance; D = 128, N = 500: 8.5

so distances compare at equal N only. `fad_infinity` fits d² = a + b / N over subsets and reports a, the
distance of an endless set. `bootstrap_fad` says how far another choice of songs would have moved the figure.

Conventions:

* *The reference is kept whole* when subsets are drawn, as in the published recipe; its own bias stays in.
* *Intervals resample songs, not embeddings*: those of one song are alike, and to resample them as if they
  were independent makes intervals too narrow.
* *Seeded*: all draws follow from `seed`.

Source: Kilgour et al., "Fréchet Audio Distance" (2019); Chong and Forsyth, "Effectively unbiased FID and
Inception Score" (2020); Gui et al., "Adapting Fréchet Audio Distance for generative music evaluation" (2024),
which brings FAD-infinity and per-song FAD. Saigo, Shao and Sitter, "A repeated half-sample bootstrap" (2001).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

from hafm.errors import UsageError
from hafm.evaluate.frechet import Gaussian, frechet_distance, gaussian_of

__all__ = [
    "FadInterval",
    "Songs",
    "bootstrap_fad",
    "fad",
    "fad_infinity",
    "half_of",
    "joined",
    "per_song_fad",
]

_SPREADLESS = 1e-26  # of the squared mean: the square of what float64 rounds, with room

Songs = Sequence[NDArray[np.floating]]
Resample = Literal["candidate", "both", "paired"]


@dataclass(frozen=True, kw_only=True)
class FadInfinity:
    """A distance extrapolated to an endless set.

    Args:
        value: the intercept. Noise can take it below 0 where the true distance is about 0.
        r_squared: share of the points' variance that the line explains; far below 1, do not trust `value`.
        points: (N, mean distance of the subsets of that size), from few to all.
    """

    value: float
    slope: float
    r_squared: float
    points: tuple[tuple[int, float], ...]


@dataclass(frozen=True, kw_only=True)
class FadInterval:
    """A distance with its interval.

    Args:
        low, high: where the distance of as many other songs would lie, `low` 0 or more.
        level: share of the draws between the two, before they are moved by `bias`.
        bias: how much larger the draws are on average: an estimate of how much of `value` comes from the
            number of songs that were resampled.
    """

    value: float
    low: float
    high: float
    level: float
    bias: float
    draws: int


def fad(reference: Songs, candidate: Songs) -> float:
    """The distance of two sets of songs, all embeddings of a set taken together, in whatever order.

    Raises:
        UsageError: a set is empty, its songs do not fit together, or it has fewer than two embeddings.

    >>> here = [np.array([[0.0], [2.0]])]
    >>> fad(here, [np.array([[3.0]]), np.array([[5.0]])])
    9.0
    """
    return frechet_distance(gaussian_of(joined(reference)), gaussian_of(joined(candidate)))


def fad_infinity(
    reference: Songs,
    candidate: Songs,
    *,
    seed: int,
    num_sizes: int = 15,
    draws: int = 4,
    smallest: int | None = None,
) -> FadInfinity:
    """The distance that the candidate would have if there were no end of it.

    Sizes run evenly from `smallest` to all embeddings. At each, `draws` subsets are drawn without
    replacement, of embeddings and not of songs (as published), and their distances are averaged. So what
    comes from few songs rather than from few embeddings stays in the value.

    Args:
        reference: an array for each song; kept whole.
        candidate: an array for each song; subsets are drawn from all of its embeddings.
        num_sizes: 2 or more; what coincides on small sets counts once.
        draws: subsets per size, 1 or more.
        smallest: embeddings of the smallest subset, from 2. By default a quarter of all, but no fewer than
            2 D, below which the line bends, and no more than half.

    Raises:
        UsageError: as for `fad`, or the sizes are impossible.
    """
    base, points = gaussian_of(joined(reference)), joined(candidate)
    total, dim = points.shape
    least = smallest if smallest is not None else min(max(total // 4, 2 * dim), total // 2)
    if num_sizes < 2 or draws < 1 or not 2 <= least < total:
        raise UsageError(
            f"FAD-infinity needs two sizes or more between 2 and {total} embeddings, and a draw of each; got "
            f"{num_sizes} sizes from {least}, {draws} draws: give more clips, or other sizes"
        )
    rng = np.random.default_rng(seed)
    sizes = np.unique(np.linspace(least, total, num_sizes).round().astype(int))
    means = []
    for size in sizes:
        # All subsets of full size are the same one.
        repeats = draws if size < total else 1
        subsets = [rng.choice(total, size=size, replace=False) for _ in range(repeats)]
        means.append(np.mean([frechet_distance(base, gaussian_of(points[subset])) for subset in subsets]))
    distances = np.array(means)
    slope, intercept = np.polyfit(1 / sizes, distances, 1)
    residual = np.square(distances - intercept - slope / sizes).sum()
    spread = np.square(distances - distances.mean()).sum()
    return FadInfinity(
        value=float(intercept),
        slope=float(slope),
        r_squared=float(1 - residual / spread) if spread > 0 else 1.0,
        points=tuple((int(size), float(mean)) for size, mean in zip(sizes, distances, strict=True)),
    )


def bootstrap_fad(
    reference: Songs,
    candidate: Songs,
    *,
    seed: int,
    resample: Resample = "both",
    draws: int = 200,
    level: float = 0.95,
) -> FadInterval:
    """A distance with its interval over songs, from half-samples.

    A draw takes half of the songs, each once. With M songs the variance of such a draw around the whole is
    s2 / (M / 2) - s2 / M = s2 / M, that of the figure itself, and its excess c / (M / 2) - c / M = c / M, the
    figure's own bias. So the percentiles need no scaling; they are moved down by the mean excess, `bias`. The
    interval says how far `value` would move at this number of songs. It does not hold the distance of
    endless sets; `value - bias` estimates that one. Of an odd number the larger half is taken.

    The usual bootstrap, with replacement, is not used: how many different songs a draw happens to hold
    moves its bias. With 50 songs of 10 embeddings in 128 dimensions that alone made its intervals three to
    eight times too wide where the distance is all bias. Half-samples are 1.5 to 2.5 times too wide there,
    and 1.0 to 1.6 times as wide as it should be where the distance is real.

    Args:
        reference, candidate: an array for each song, four songs or more where the set is resampled.
        resample: `both` sets, each by itself; `candidate` alone, where the reference is a fixed corpus; or
            `paired`, the same songs of both, where song i of one answers song i of the other.
        draws: 20 or more.

    Raises:
        UsageError: as for `fad`, or a set that is resampled has fewer than four songs, or pairs do not pair.
    """
    if resample not in get_args(Resample) or draws < 20 or not 0 < level < 1:
        raise UsageError(
            f"an interval resamples {', '.join(get_args(Resample))}, with 20 draws or more and a level "
            f"between 0 and 1; got {resample}, {draws} draws, level {level}"
        )
    value = fad(reference, candidate)
    if min(len(candidate), len(candidate) if resample == "candidate" else len(reference)) < 4:
        raise UsageError(
            "an interval over songs needs four songs or more in each set; give one array per song"
        )
    if resample == "paired" and len(reference) != len(candidate):
        raise UsageError(
            f"{len(reference)} and {len(candidate)} songs cannot be paired; give both sets in the same order"
        )
    ours, theirs = _Moments(reference), _Moments(candidate)
    rng = np.random.default_rng(seed)
    base = gaussian_of(joined(reference))
    distances = np.empty(draws)
    for draw in range(draws):
        picked = half_of(len(candidate), rng)
        if resample == "both":
            base = ours.gaussian(half_of(len(reference), rng))
        elif resample == "paired":
            base = ours.gaussian(picked)
        distances[draw] = frechet_distance(base, theirs.gaussian(picked))
    bias = float(distances.mean()) - value
    low, high = np.quantile(distances, [(1 - level) / 2, (1 + level) / 2]) - bias
    return FadInterval(
        value=value, low=max(float(low), 0.0), high=float(high), level=level, bias=bias, draws=draws
    )


def per_song_fad(reference: Songs, candidate: Songs) -> tuple[float, ...]:
    """Each song's own distance to the whole reference, in the order of the candidate.

    A song has few embeddings, so all of these are far larger than the distance of the set. They rank songs
    of about equal length, and find those that sound wrong.

    Raises:
        UsageError: as for `fad`, or a song has fewer than two embeddings.

    >>> here = [np.array([[0.0], [2.0]])]
    >>> per_song_fad(here, [np.array([[0.0], [2.0]]), np.array([[3.0], [5.0]])])
    (0.0, 9.0)
    """
    base = gaussian_of(joined(reference))
    joined(candidate)
    for index, song in enumerate(candidate):
        if len(song) < 2:
            raise UsageError(
                f"song {index} has {len(song)} embeddings, and a distance of its own needs two or more; "
                "leave it out, or give a longer clip"
            )
    return tuple(frechet_distance(base, gaussian_of(song)) for song in candidate)


class _Moments:
    """Sums over each song, from which the Gaussian of any choice of songs follows without its embeddings.

    They are taken around the mean of the whole set, so that squares stay of the size of the covariances. What
    is left of a set whose embeddings are all the same (silence) is rounding, and counts as no spread at all.
    """

    def __init__(self, songs: Songs) -> None:
        self._origin = joined(songs).mean(axis=0, dtype=np.float64)
        centred = [song.astype(np.float64) - self._origin for song in songs]
        self._counts = np.array([len(song) for song in songs])
        self._sums = np.stack([song.sum(axis=0) for song in centred])
        self._squares = np.stack([song.T @ song for song in centred])

    def gaussian(self, picked: NDArray[np.integer]) -> Gaussian:
        """Of the songs picked."""
        count = int(self._counts[picked].sum())
        mean = self._sums[picked].sum(axis=0) / count
        scatter = self._squares[picked].sum(axis=0) - count * np.outer(mean, mean)
        if np.trace(scatter) <= _SPREADLESS * count * (self._origin @ self._origin):
            scatter = np.zeros_like(scatter)
        return Gaussian(mean=self._origin + mean, covariance=scatter / (count - 1), count=count)


def half_of(count: int, rng: np.random.Generator) -> NDArray[np.integer]:
    """Which songs are in a half-sample: half of them, of an odd number the larger half, each once."""
    return rng.permutation(count)[: (count + 1) // 2]


def joined(songs: Songs) -> NDArray[np.floating]:
    """All embeddings of a set, `[N, D]`; UsageError where it is empty, or its songs do not fit together."""
    if not songs:
        raise UsageError(
            "a set without songs has no distance to another; give one array of embeddings per song"
        )
    shapes = {song.shape[1:] for song in songs}
    if len(shapes) > 1 or any(song.ndim != 2 for song in songs):
        raise UsageError(
            f"the embeddings of a set are [n, D] with one D, not {sorted(song.shape for song in songs)[:4]}; "
            "use one embedding for all songs"
        )
    return np.concatenate(songs)

"""Accompaniment prompt adherence (APA): does an accompaniment go with its vocal as the true one does?

In:  embeddings of mixes, one array `[n, D]` per song: R of true mixes, R' of vocals with other songs'
accompaniments, C of the candidate's mixes. Out: 1 where C is like R, 0 where it is like R'.

    APA = 1/2 + (FAD(C, R') - FAD(C, R)) / (2 FAD(R, R')), clipped to [0, 1]

FAD is a squared distance, and that makes the measure robust: where sets differ in their means r, r', c alone,
the value before clipping is

    1/2 + (|c - r'|^2 - |c - r|^2) / (2 |r - r'|^2) = (c - r') (r - r') / |r - r'|^2

the place of c on the line from r' to r. What moves C off that line, such as artefacts of a codec that have
nothing to do with adherence, counts in neither direction. Squares know no triangle inequality, so the value
can lie outside of [0, 1]; `raw` keeps it.

As published (the paper's equation, and its package audio-metrics 1.0.4):

* *Early fusion*: vocal and accompaniment are mixed, then embedded. Mixing is the caller's: the package brings
  both to one loudness (LUFS), and the mix to -20 LUFS. All three sets have to be mixed in one way.
* *Embedding*: LAION's CLAP for music on 5 s windows without overlap, `hafm.evaluate.embeddings.clap`. Any
  other works and gives another quantity.
* *Projection*: by `num_components`, on principal components without whitening. The package offers it, leaves
  it out by default, and takes 10 in its example on MUSDB18; an earlier paper (2404.00775) whitens 100.

Where we differ:

* *Whole songs* are mismatched, in exchange: a and b swap their accompaniments (`hafm.evaluate.exchange`). So
  R and R' hold the same vocals and the same accompaniments, differently matched, in groups that know nothing
  of each other. The package shuffles windows, most of which end up in another song.
* *Components* are those of R and R' together. The package takes those of R alone, on which R spreads more
  than any other set, so that all others look like R'. With 100 songs of 4 embeddings that are noise in 512
  dimensions, on 32 components of R, a C that is such noise as well had 0.02; on ours it has 0.49.
* *FAD(R, R') = 0* is an error; the package returns 0.

Sample size does not cancel: FAD(R, R') is too large by as much as any FAD is (`hafm.evaluate.fad`), which
draws values towards 1/2. Values compare at equal numbers of songs. Where all of FAD(R, R') may come from
sample size, the measure says nothing, and `bootstrap_apa` says so.

Source: Grachten and Nistal, "Accompaniment Prompt Adherence: a measure for evaluating music accompaniment
systems" (ICASSP 2025, arXiv 2503.06346); Grachten, arXiv 2404.00775 (2024).
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float64
from numpy.typing import NDArray

from hafm.errors import UsageError
from hafm.evaluate.exchange import exchange_groups
from hafm.evaluate.fad import Songs, fad, half_of, joined
from hafm.evaluate.frechet import frechet_distance, gaussian_of

__all__ = ["INFORMATIVE_P", "Apa", "ApaInterval", "apa", "bootstrap_apa"]

INFORMATIVE_P = 0.05
"""Up to which p of the swaps the measure is taken to say something."""

_EQUAL = 1e-6  # of the traces: below it, a distance is rounding
_ROUNDING = 1e-9


@dataclass(frozen=True, kw_only=True)
class Apa:
    """The measure, and the distances behind it: FAD(C, R), FAD(C, R') and FAD(R, R').

    Args:
        value: 0 (as another song's accompaniment) to 1 (as the true one).
        raw: the same before clipping.
    """

    value: float
    raw: float
    candidate_reference: float
    candidate_shuffled: float
    reference_shuffled: float


@dataclass(frozen=True, kw_only=True)
class ApaInterval:
    """The measure with its interval, and whether it says anything.

    Args:
        low, high: where the value of as many other songs would lie, clipped to [0, 1].
        draws: half-samples behind the interval, and swaps behind `p`.
        chance: mean of FAD(R, R') where each group's true and shuffled mixes are swapped at random: how much
            of it comes from sample size.
        p: of FAD(R, R') among those swaps.
        informative, reason: whether p is 0.05 or less: the embedding recognises who belongs to whom, in these
            songs; and that in words.
    """

    apa: Apa
    low: float
    high: float
    level: float
    draws: int
    chance: float
    p: float
    informative: bool
    reason: str


def apa(*, reference: Songs, shuffled: Songs, candidate: Songs, num_components: int | None = None) -> Apa:
    """The measure of three sets of mixes.

    Args:
        reference: R, true mixes; an array for each song. Neither order nor grouping matters.
        shuffled: R', vocals with other songs' accompaniments.
        candidate: C, vocals with the accompaniments that are to be measured.
        num_components: how many principal components of R and R' the sets are projected on; None for no
            projection.

    Raises:
        UsageError: as for `fad`; R and R' are the same; or more components than there are.

    >>> one, two = [np.array([[0.0], [2.0]])], [np.array([[4.0], [6.0]])]
    >>> apa(reference=one, shuffled=two, candidate=one).value
    1.0
    >>> apa(reference=one, shuffled=two, candidate=[np.array([[3.0], [5.0]])]).value
    0.25
    """
    true, mismatched, measured = (
        gaussian_of(joined(songs)) for songs in _projected(reference, shuffled, candidate, num_components)
    )
    to_reference = frechet_distance(measured, true)
    to_shuffled = frechet_distance(measured, mismatched)
    between = frechet_distance(true, mismatched)
    if between <= _EQUAL * float(np.trace(true.covariance) + np.trace(mismatched.covariance)):
        raise UsageError(
            "the true and the shuffled mixes are the same, so nothing lies between them; "
            "mix the vocals with other songs' accompaniments"
        )
    raw = 0.5 + (to_shuffled - to_reference) / (2 * between)
    return Apa(
        value=min(max(raw, 0.0), 1.0),
        raw=raw,
        candidate_reference=to_reference,
        candidate_shuffled=to_shuffled,
        reference_shuffled=between,
    )


def bootstrap_apa(
    *,
    reference: Songs,
    shuffled: Songs,
    candidate: Songs,
    donors: Sequence[int],
    seed: int,
    num_components: int | None = None,
    draws: int = 200,
    level: float = 0.95,
) -> ApaInterval:
    """The measure with its interval over songs, and a test of whether it says anything.

    *Interval*: from half-samples, for the reasons given at `hafm.evaluate.fad.bootstrap_fad`. Song i of all
    three sets is the same vocal, so one half is drawn for all of them; and songs that exchanged their
    accompaniments stay together. Each distance is moved down by its own mean excess over the draws, and the
    measure made of the three. Where nothing is left of FAD(R, R') then, the draw counts as 0 for `low` and as
    1 for `high`.

    *Test*: if the embedding did not hear what belongs together, then of each group of songs that exchanged
    their accompaniments, its true mixes might as well be the shuffled ones. So both are swapped, group by
    group at random, and FAD(R, R') is taken again:

        p = (1 + number of swaps with a distance of at least FAD(R, R')) / (1 + draws)

    Swaps keep all vocals and accompaniments in both sets, and the numbers of songs, so sample size does the
    same to both sides. Song by song it would not: with one song swapped and its donor not, an accompaniment
    would be in a set twice, and the chance level would lie far too high (1.8 for 1.0 with 30 songs of 4
    embeddings in 16 dimensions). Of fewer than six groups no swap is rare enough.

    With D dimensions a distance takes about D^3 steps, and a draw four of them: 200 draws one to two
    minutes at 512 on one core, seconds at 128.

    Args:
        reference, shuffled, candidate: an array for each song, in one order.
        donors: whose accompaniment each song of `shuffled` has, a permutation that keeps none; from
            `hafm.evaluate.exchange.exchange_partners`. Rings of songs are the groups: (1, 0, 3, 2) has two.
        num_components: as for `apa`; draws keep the components of the whole.
        draws: 20 or more.

    Raises:
        UsageError: as for `apa`; sets that do not pair; or fewer than four groups.
    """
    if draws < 20 or not 0 < level < 1:
        raise UsageError(
            f"an interval needs 20 draws or more and a level between 0 and 1; got {draws}, level {level}"
        )
    counts = (len(reference), len(shuffled), len(candidate), len(donors))
    if len(set(counts)) > 1:
        raise UsageError(
            f"{counts[0]} true mixes, {counts[1]} shuffled ones, {counts[2]} candidates and {counts[3]} "
            "donors do not pair; give the same songs in the same order"
        )
    groups = exchange_groups(donors)
    if len(groups) < 4:
        raise UsageError(
            f"{len(donors)} songs in {len(groups)} groups are too few for an interval: it needs four; "
            "give eight songs or more that exchange accompaniments in pairs, as exchange_partners has it"
        )
    sets = _projected(reference, shuffled, candidate, num_components)
    whole = apa(reference=sets[0], shuffled=sets[1], candidate=sets[2])
    rng = np.random.default_rng(seed)
    halves, swapped = np.empty((draws, 3)), np.empty(draws)
    for draw in range(draws):
        picked = np.concatenate([groups[n] for n in half_of(len(groups), rng)])
        true, mismatched, measured = ([songs[i] for i in picked] for songs in sets)
        halves[draw] = fad(measured, true), fad(measured, mismatched), fad(true, mismatched)
        swapped[draw] = fad(*_swapped(sets[0], sets[1], groups, rng))
    low, high = _bounds(whole, halves, level)
    as_far = int((swapped >= whole.reference_shuffled * (1 - _ROUNDING)).sum())
    p = (1 + as_far) / (1 + draws)
    chance = float(swapped.mean())
    return ApaInterval(
        apa=whole,
        low=low,
        high=high,
        level=level,
        draws=draws,
        chance=chance,
        p=p,
        informative=p <= INFORMATIVE_P,
        reason=_reason(whole.reference_shuffled, chance=chance, as_far=as_far, draws=draws, p=p),
    )


def _bounds(whole: Apa, halves: Float64[np.ndarray, "draws 3"], level: float) -> tuple[float, float]:
    """The interval's ends, from FAD(C, R), FAD(C, R') and FAD(R, R') of half-samples."""
    found = (whole.candidate_reference, whole.candidate_shuffled, whole.reference_shuffled)
    to_reference, to_shuffled, between = (halves - halves.mean(axis=0) + found).T
    left = between > 0
    values = 0.5 + (to_shuffled - to_reference) / (2 * np.where(left, between, 1.0))
    low = np.quantile(np.where(left, values.clip(0.0, 1.0), 0.0), (1 - level) / 2)
    high = np.quantile(np.where(left, values.clip(0.0, 1.0), 1.0), (1 + level) / 2)
    return float(low), float(high)


def _swapped(
    true: Songs, mismatched: Songs, groups: Sequence[NDArray[np.integer]], rng: np.random.Generator
) -> tuple[Songs, Songs]:
    """Two sets, each group's songs in the one or in the other by the toss of a coin."""
    stays = np.empty(len(true), dtype=bool)
    for group, stay in zip(groups, rng.random(len(groups)) < 0.5, strict=True):
        stays[group] = stay
    pairs = [(a, b) if stay else (b, a) for a, b, stay in zip(true, mismatched, stays, strict=True)]
    return [one for one, _ in pairs], [two for _, two in pairs]


def _projected(
    reference: Songs, shuffled: Songs, candidate: Songs, num_components: int | None
) -> tuple[Songs, Songs, Songs]:
    """The three sets on the principal components of the first two."""
    if num_components is None:
        return reference, shuffled, candidate
    joined([*reference, *shuffled, *candidate])  # refuses other dimensions
    whole = gaussian_of(joined([*reference, *shuffled]))
    most = min(len(whole.mean), whole.count - 1)
    if not 1 <= num_components <= most:
        raise UsageError(
            f"{num_components} principal components asked for, but {whole.count} embeddings of "
            f"{len(whole.mean)} dimensions have 1 to {most}"
        )
    _, vectors = np.linalg.eigh(whole.covariance)  # ascending
    axes = vectors[:, -num_components:]

    reference, shuffled, candidate = (
        [(song - whole.mean) @ axes for song in songs] for songs in (reference, shuffled, candidate)
    )
    return reference, shuffled, candidate


def _reason(distance: float, *, chance: float, as_far: int, draws: int, p: float) -> str:
    seen = (
        f"FAD(R, R') is {distance:.4g}, and {chance:.4g} by chance; {as_far} of {draws} swaps of true and "
        f"shuffled mixes are as far apart (p = {p:.3g})"
    )
    if p <= INFORMATIVE_P:
        return f"{seen}, so the embedding recognises which accompaniment belongs to which vocal"
    return (
        f"{seen}, so these songs do not show that the embedding recognises which accompaniment belongs to "
        "which vocal, and the value says nothing; give more songs, fewer components, or another embedding"
    )

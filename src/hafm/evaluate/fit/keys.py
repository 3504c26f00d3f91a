"""How near two keys are: the same, or one of those that are easily mistaken for each other.

In: two keys. Out: a score, 0 to 1.

    same                                1.0
    a fifth above the reference         0.5    (same mode)
    relative (C major, A minor)         0.3
    parallel (C major, C minor)         0.2
    any other                           0.0

Chance, over keys drawn evenly, is 2.0 / 24 = 0.083; songs agree more often than that, since some keys are
sung more than others: take chance from shuffled pairs.

Source: the weighted score of MIREX's audio key detection, as mir_eval.key has it.
"""

from jaxtyping import Float
from torch import Tensor

from hafm.evaluate.key import Key, estimate_key

__all__ = ["key_agreement", "key_score"]


def key_score(estimated: Key, reference: Key) -> float:
    """The credit of an estimated key.

    >>> c, a_minor, g = Key(0, "maj"), Key(9, "min"), Key(7, "maj")
    >>> key_score(c, c), key_score(g, c), key_score(c, g), key_score(a_minor, c)
    (1.0, 0.5, 0.0, 0.3)
    """
    if estimated == reference:
        return 1.0
    if estimated.mode == reference.mode:
        return 0.5 if (estimated.tonic - reference.tonic) % 12 == 7 else 0.0
    if estimated.same_notes(reference):
        return 0.3
    return 0.2 if estimated.tonic == reference.tonic else 0.0


def key_agreement(accompaniment: Float[Tensor, " T"], sample_rate: int, reference: Key) -> float | None:
    """The credit of the accompaniment's key (Krumhansl on its pitch classes); None in silence.

    Args:
        accompaniment: finite samples.
        sample_rate: in hertz.
        reference: of the score, or estimated from the vocal.
    """
    return key_score(estimate_key(accompaniment, sample_rate), reference) if accompaniment.any() else None

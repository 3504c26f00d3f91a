"""Key scores: mir_eval's for every pair of keys."""

from itertools import product

import pytest
import torch

from hafm.evaluate.key import Key, key_agreement, key_score
from tests.evaluate.fit.band import RATE, accompaniment

KEYS = [Key(tonic, mode) for tonic, mode in product(range(12), ("maj", "min"))]


def test_the_table_is_mir_evals():
    mir_key = pytest.importorskip("mir_eval.key")

    for estimated, reference in product(KEYS, KEYS):
        expected = mir_key.weighted_score(str(reference), str(estimated))
        assert key_score(estimated, reference) == expected, (estimated, reference)


def test_chance_is_what_the_docstring_says():
    scores = [key_score(estimated, Key(3, "min")) for estimated in KEYS]
    assert sum(scores) == pytest.approx(2.0)


def test_transposing_lowers_the_score():
    scores = [key_agreement(accompaniment(n), RATE, Key(0, "maj")) for n in range(12)]
    assert scores[0] == 1.0
    assert max(scores[1:]) == scores[7] == 0.5


def test_silence_has_no_key():
    assert key_agreement(torch.zeros(RATE), RATE, KEYS[0]) is None

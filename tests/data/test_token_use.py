"""Token statistics against a loop over tokens, and what they say about codebooks with known use."""

from collections import Counter
from dataclasses import replace

import numpy as np
import pytest

from hafm.data.shards.token_use import TokenUse, count_tokens
from hafm.stages.spec import COARSE_CODES, VOCAL_SEMANTIC


class RandomPairs:
    def __init__(self, count: int, views: int, seed: int) -> None:
        rng = np.random.default_rng(seed)
        self.vocal = [rng.integers(30, size=(views, int(rng.integers(1, 50)))) for _ in range(count)]
        self.codes = [rng.integers(20, size=(4, int(rng.integers(1, 50)))) for _ in range(count)]

    def __len__(self) -> int:
        return len(self.vocal)

    def num_views(self) -> int:
        return self.vocal[0].shape[0]

    def frames(self, name: str) -> np.ndarray:
        raise NotImplementedError

    def stream(self, index: int, name: str, view: int) -> np.ndarray:
        return self.vocal[index][view : view + 1] if name == "vocal_semantic" else self.codes[index]

    def guide(self, index: int, inside: slice = slice(None)) -> np.ndarray:
        raise NotImplementedError


def test_counts_are_those_of_a_loop_over_all_sets_pairs_and_views():
    sets = [RandomPairs(300, 2, 0), RandomPairs(5, 1, 1)]
    (vocal,) = count_tokens(sets, replace(VOCAL_SEMANTIC, cardinality=40))
    expected = Counter(int(each) for pairs in sets for ids in pairs.vocal for each in ids.reshape(-1))
    assert vocal.counts.tolist() == [expected[each] for each in range(40)]
    assert vocal.dead == 10
    codes = count_tokens(sets, replace(COARSE_CODES, cardinality=20))
    for number, use in enumerate(codes):
        expected = Counter(int(each) for pairs in sets for ids in pairs.codes for each in ids[number])
        assert use.counts.tolist() == [expected[each] for each in range(20)]


def test_ids_beyond_the_expected_ones_are_counted_too():
    (use,) = count_tokens([RandomPairs(50, 1, 0)], replace(VOCAL_SEMANTIC, cardinality=2))
    assert len(use.counts) == 30
    assert use.dead == 0


@pytest.mark.parametrize(
    ("counts", "used", "entropy_bits", "perplexity"),
    [
        ([4, 4, 4, 4], 4, 2.0, 4.0),
        ([9, 0, 0], 1, 0.0, 1.0),
        ([1, 1, 0, 2], 3, 1.5, 2**1.5),
        ([0, 0], 0, 0.0, 1.0),
    ],
)
def test_known_entropies(counts, used, entropy_bits, perplexity):
    use = TokenUse(counts=np.array(counts))
    assert (use.used, use.dead) == (used, len(counts) - used)
    assert use.entropy_bits == pytest.approx(entropy_bits)
    assert use.perplexity == pytest.approx(perplexity)


def test_the_most_frequent_ids_fall_and_dead_ones_are_not_among_them():
    use = TokenUse(counts=np.array([1, 5, 0, 1]))
    assert use.most_frequent(9) == [(1, 5 / 7), (0, 1 / 7), (3, 1 / 7)]
    ties = TokenUse(counts=np.arange(1000) % 3)
    assert [each for each, _ in ties.most_frequent(3)] == [2, 5, 8]

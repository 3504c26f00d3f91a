"""Who gets whose accompaniment: pairs, all of them, and nobody their own."""

import pytest

from hafm.errors import UsageError
from hafm.evaluate.exchange import exchange_groups, exchange_partners


@pytest.mark.parametrize("count", range(2, 12))
def test_every_accompaniment_goes_to_another_song(count: int) -> None:
    for seed in range(20):
        donors = exchange_partners(count, seed=seed)
        assert sorted(donors) == list(range(count))
        assert all(donor != song for song, donor in enumerate(donors))
        sizes = [len(group) for group in exchange_groups(donors)]
        assert sorted(sizes) == [2] * (count // 2 - count % 2) + [3] * (count % 2)


def test_draws_follow_from_the_seed() -> None:
    assert exchange_partners(30, seed=1) == exchange_partners(30, seed=1) != exchange_partners(30, seed=2)


def test_any_permutation_that_keeps_nobody_has_groups() -> None:
    groups = exchange_groups([3, 4, 0, 2, 1])
    assert [sorted(group.tolist()) for group in groups] == [[0, 2, 3], [1, 4]]
    assert len(exchange_groups([*range(1, 20), 0])) == 1


@pytest.mark.parametrize("donors", [[0, 1], [1, 1], [1, 2], [2, 0]])
def test_what_is_no_exchange_is_refused(donors: list[int]) -> None:
    with pytest.raises(UsageError, match="each once"):
        exchange_groups(donors)
    with pytest.raises(UsageError, match="1 songs cannot exchange"):
        exchange_partners(1, seed=0)

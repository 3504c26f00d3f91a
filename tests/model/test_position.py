"""The buckets against exact integer arithmetic, the bias against a loop."""

import math

import pytest
import torch

from hafm.model.position import RelativeBias, bucket_of


def slow_bucket(distance: int, *, num_buckets: int, max_distance: int, causal: bool) -> int:
    """Counts bucket borders: bucket ``e + i`` starts where ``d / e >= (max / e) ** (i / (n - e))``."""
    if not causal:
        num_buckets //= 2
        if distance < 0:
            before = slow_bucket(-distance, num_buckets=num_buckets, max_distance=max_distance, causal=True)
            return num_buckets + before
    distance = max(distance, 0)
    exact = num_buckets // 2
    if distance < exact:
        return distance
    m = num_buckets - exact
    # Both sides to the power of m: whole numbers, so that borders are exact.
    passed = [i for i in range(m) if distance**m * exact**i >= max_distance**i * exact**m]
    return exact + len(passed) - 1


@pytest.mark.parametrize("causal", [True, False])
@pytest.mark.parametrize(
    ("num_buckets", "max_distance"), [(32, 2000), (32, 900), (32, 128), (8, 64), (4, 5), (16, 256)]
)
def test_buckets_equal_exact_arithmetic(num_buckets: int, max_distance: int, causal: bool) -> None:
    distances = [*range(-300, 300), max_distance - 1, max_distance, 5 * max_distance]
    expected = [
        slow_bucket(d, num_buckets=num_buckets, max_distance=max_distance, causal=causal) for d in distances
    ]
    found = bucket_of(
        torch.tensor(distances), num_buckets=num_buckets, max_distance=max_distance, causal=causal
    )
    assert found.tolist() == expected


def test_the_paper_buckets_are_16_exact_and_16_logarithmic() -> None:
    found = bucket_of(torch.arange(1000), num_buckets=32, max_distance=1000, causal=True).tolist()
    assert found[:16] == list(range(16))
    assert sorted(set(found)) == list(range(32))
    # One bucket more multiplies the distance by the same factor.
    factor = (1000 / 16) ** (1 / 16)
    starts = [found.index(bucket) for bucket in range(16, 32)]
    assert starts == [math.ceil(16 * factor**i - 1e-9) for i in range(16)]


def test_sequences_shorter_than_the_exact_buckets() -> None:
    found = bucket_of(torch.arange(10), num_buckets=32, max_distance=10, causal=True)
    assert found.tolist() == list(range(10))


@pytest.mark.parametrize("causal", [True, False])
@pytest.mark.parametrize(("num_queries", "num_keys"), [(7, 7), (1, 9), (4, 9)])
def test_bias_equals_a_loop(num_queries: int, num_keys: int, causal: bool) -> None:
    module = RelativeBias(num_heads=3, num_buckets=8, max_distance=9, causal=causal)
    found = module(num_queries, num_keys)
    for i in range(num_queries):
        query = num_keys - num_queries + i
        for key in range(num_keys):
            bucket = slow_bucket(query - key, num_buckets=8, max_distance=9, causal=causal)
            hidden = causal and key > query
            expected = torch.full((3,), -math.inf) if hidden else module.weight[bucket]
            assert torch.equal(found[:, i, key], expected)


def test_bias_of_the_last_position_is_a_row_of_distances() -> None:
    module = RelativeBias(num_heads=2, num_buckets=8, max_distance=30, causal=True)
    assert torch.equal(module.by_distance(torch.arange(29, -1, -1)), module(30, 30)[:, -1])

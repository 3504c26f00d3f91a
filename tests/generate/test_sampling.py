"""The draw against frequencies and a loop; settings and what is refused."""

import math
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from hafm.errors import BundleError, UsageError
from hafm.generate.sampling import SamplingSettings, sample
from tests.unchecked import unchecked


def slow_sample(logits: list[float], *, settings: SamplingSettings, uniform: float) -> int:
    ranked = sorted(range(len(logits)), key=lambda i: -logits[i])[: settings.top_k]
    if settings.temperature == 0:
        return ranked[0]
    weights = [math.exp((logits[i] - logits[ranked[0]]) / settings.temperature) for i in ranked]
    passed = 0.0
    for i, weight in zip(ranked, weights, strict=True):
        passed += weight
        if passed > uniform * sum(weights):
            return i
    raise AssertionError("a number below 1 lies below the sum")


@given(
    seed=st.integers(0, 10_000),
    temperature=st.sampled_from([0.0, 1e-300, 0.1, 0.9, 1.0, 30.0]),
    top_k=st.sampled_from([1, 2, 5, 11, 250]),
    uniform=st.floats(0, 1, exclude_max=True),
)
def test_draw_equals_a_loop(seed: int, temperature: float, top_k: int, uniform: float) -> None:
    settings = SamplingSettings(temperature=temperature, top_k=top_k)
    logits = torch.randn(1, 11, generator=torch.Generator().manual_seed(seed)) * 5
    found = sample(logits, settings=settings, uniform=torch.tensor([uniform], dtype=torch.float64))
    assert found.tolist() == [slow_sample(logits[0].tolist(), settings=settings, uniform=uniform)]


def test_frequencies_are_those_of_the_softmax() -> None:
    settings = SamplingSettings(temperature=0.7, top_k=3)
    logits = torch.tensor([0.3, -1.0, 1.2, 0.9, -0.2])
    # Evenly spaced numbers hit a token in proportion to its probability, to within one step.
    uniform = (torch.arange(1000, dtype=torch.float64) + 0.5) / 1000
    ids = sample(logits.expand(1000, -1), settings=settings, uniform=uniform)
    expected = torch.full((5,), -math.inf)
    expected[[0, 2, 3]] = logits[[0, 2, 3]] / 0.7
    torch.testing.assert_close(ids.bincount(minlength=5) / 1000, expected.softmax(0), rtol=0, atol=0.0011)


@pytest.mark.parametrize("uniform", [0.0, math.nextafter(1.0, 0.0)])
def test_tokens_without_weight_are_never_drawn(uniform: float) -> None:
    """At 1e4 below the best, exp() underflows to nothing."""
    logits = torch.tensor([[-1e4, 0.0, -1e4, 0.0]])
    found = sample(
        logits, settings=SamplingSettings(top_k=4), uniform=torch.tensor([uniform], dtype=torch.float64)
    )
    assert found.item() in (1, 3)


@pytest.mark.parametrize(("uniform", "place"), [(0.0, 0), (0.2499, 0), (0.25, 1), (0.5, 2), (0.75, 3)])
def test_a_border_belongs_to_the_next_token(uniform: float, place: int) -> None:
    """Four equal quarters: [0, 1/4), [1/4, 1/2), ... The order among equals is torch's."""
    logits = torch.zeros(1, 4)
    order = logits.double().topk(4).indices[0]
    found = sample(
        logits,
        settings=SamplingSettings(temperature=1.0),
        uniform=torch.tensor([uniform], dtype=torch.float64),
    )
    assert found.item() == order[place]


def test_rows_do_not_influence_each_other() -> None:
    logits, uniform = torch.randn(7, 33), torch.rand(7, dtype=torch.float64)
    settings = SamplingSettings(top_k=13)
    together = sample(logits, settings=settings, uniform=uniform)
    alone = [sample(logits[b : b + 1], settings=settings, uniform=uniform[b : b + 1]) for b in range(7)]
    assert torch.equal(together, torch.cat(alone))


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("temperature", [0.0, 0.9])
def test_logits_that_are_not_finite_are_refused(bad: float, temperature: float) -> None:
    logits = torch.zeros(2, 5)
    logits[1, 3] = bad
    with pytest.raises(BundleError, match="not finite"):
        sample(
            logits,
            settings=SamplingSettings(temperature=temperature),
            uniform=torch.zeros(2, dtype=torch.float64),
        )


def test_the_paper_settings_are_the_default() -> None:
    settings = SamplingSettings()
    assert (settings.temperature, settings.top_k, settings.guidance) == (0.9, 250, 3.0)
    assert settings.guide_guidance is None


@pytest.mark.parametrize(
    ("change", "what"),
    [
        ({"temperature": -0.1}, "temperature is -0.1"),
        ({"temperature": math.nan}, "temperature is nan"),
        ({"temperature": math.inf}, "temperature is inf"),
        ({"guidance": -1.0}, "guidance is -1.0"),
        ({"guidance": math.nan}, "guidance is nan"),
        ({"temperature": "hot"}, "temperature is 'hot'; it must be a number of 0 or more"),
        ({"guide_guidance": True}, "guide guidance is True"),
        ({"top_k": 0}, "top_k is 0; give a whole number of 1 or more"),
        ({"top_k": -1}, "top_k is -1"),
        ({"top_k": 1.5}, r"top_k is 1\.5"),
    ],
)
def test_settings_out_of_range_are_refused(change: dict[str, Any], what: str) -> None:
    with unchecked(), pytest.raises(UsageError, match=what):
        SamplingSettings(**change)


def test_zero_is_a_value() -> None:
    settings = SamplingSettings(temperature=0.0, guidance=0.0)
    assert (settings.temperature, settings.guidance) == (0.0, 0.0)

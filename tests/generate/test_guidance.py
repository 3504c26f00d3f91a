"""Guidance: the rows that weights ask for, and the logits that they give, against the formula."""

from dataclasses import replace

import pytest
import torch

from hafm.generate.guidance import STYLE_GUIDANCE, Guidance, style_guidance
from hafm.generate.sampling import SamplingSettings
from hafm.guide.frames import GUIDE_CHANNELS, guide_frames
from hafm.guide.lead_sheet import ChordSpan, LeadSheet


@pytest.mark.parametrize("sources", [0.0, 1.0, 3.0])
@pytest.mark.parametrize("guide", [None, 0.0, 1.0, 2.5])
@pytest.mark.parametrize("style", [None, 0.0, 5.0])
def test_joined_logits_are_those_of_the_formula(
    sources: float, guide: float | None, style: float | None
) -> None:
    guidance = Guidance(sources=sources, guide=guide, style=style)
    full, plain, alone, nothing = torch.randn(4, 4, 5)
    unstyled = full if style is None else plain
    there = (True, style is not None, guide is not None, sources != 1)
    seen = [row for row, is_there in zip((full, plain, alone, nothing), there, strict=True) if is_there]
    assert guidance.num_rows == len(seen)
    found = guidance.join(torch.stack(seen, dim=1).flatten(0, 1))
    if guide is None:
        expected = nothing + sources * (unstyled - nothing)
    else:
        expected = nothing + sources * (alone - nothing) + guide * (unstyled - alone)
    torch.testing.assert_close(found, expected + (style or 0.0) * (full - unstyled))


def test_two_equal_weights_are_one() -> None:
    """Eq. 5, which needs no row in the middle: the sources' weight and the guide's fall together."""
    equal = SamplingSettings(guidance=2.0, guide_guidance=2.0)
    assert Guidance.of(equal, has_guide=True) == Guidance(sources=2.0)
    full, alone, nothing = torch.randn(3, 4, 5)
    rows = torch.stack([full, alone, nothing], dim=1).flatten(0, 1)
    both = Guidance(sources=2.0, guide=2.0).join(rows)
    one = Guidance(sources=2.0).join(torch.stack([full, nothing], dim=1).flatten(0, 1))
    torch.testing.assert_close(both, one)


def test_a_weight_of_the_guide_counts_where_there_is_one() -> None:
    settings = SamplingSettings(guidance=2.0, guide_guidance=1.5)
    assert Guidance.of(settings, has_guide=True) == Guidance(sources=2.0, guide=1.5)
    assert Guidance.of(settings, has_guide=False) == Guidance(sources=2.0)
    assert Guidance.of(SamplingSettings(guidance=2.0), has_guide=True) == Guidance(sources=2.0)
    styled = SamplingSettings(guidance=2.0, style_guidance=5.0)
    assert Guidance.of(styled, has_guide=True) == Guidance(sources=2.0, style=5.0)
    assert Guidance.of(styled, has_guide=False) == Guidance(sources=2.0)


@pytest.mark.parametrize(
    ("guidance", "lose_sources", "lose_guide"),
    [
        (Guidance(sources=1.0), [0], [0]),
        (Guidance(sources=3.0), [0, 1], [0, 1]),
        (Guidance(sources=1.0, guide=2.0), [0, 0], [0, 1]),
        (Guidance(sources=3.0, guide=2.0), [0, 0, 1], [0, 1, 1]),
    ],
)
def test_what_each_row_goes_without(
    guidance: Guidance, lose_sources: list[int], lose_guide: list[int]
) -> None:
    device = torch.device("cpu")
    assert guidance.without_sources(2, device=device).int().tolist() == lose_sources * 2
    guide = torch.randn(2, 3, GUIDE_CHANNELS)
    rows = guidance.guide_of_rows(guide)
    assert (rows == 0).all(-1).all(-1).int().tolist() == lose_guide * 2
    assert torch.equal(rows[:: guidance.num_rows], guide)


def test_a_row_goes_without_the_style_alone() -> None:
    sheet = LeadSheet(duration_seconds=1.0, chords=(ChordSpan(0.0, 1.0, "C:maj"),))
    plain, styled = (
        torch.from_numpy(guide_frames(replace(sheet, style=style), num_frames=50))[None]
        for style in (None, "funk")
    )
    guidance = Guidance(sources=2.0, style=5.0)
    rows = guidance.guide_of_rows(torch.cat([styled, plain]))
    assert rows.shape[0] == 2 * guidance.num_rows == 6
    assert torch.equal(rows[0], styled[0])
    for row in (1, 3, 4):
        assert torch.equal(rows[row], plain[0]), row
    assert not rows[[2, 5]].any()
    assert style_guidance(sheet) is None
    assert style_guidance(replace(sheet, style="funk")) == STYLE_GUIDANCE

"""Guidance: the rows that weights ask for, and the logits that they give, against the formula."""

from dataclasses import replace

import pytest
import torch

from hafm.generate.guidance import PLAYERS_GUIDANCE, STYLE_GUIDANCE, Guidance, asked_by, asked_in
from hafm.generate.sampling import SamplingSettings
from hafm.guide.corrections import Corrections
from hafm.guide.frames import GUIDE_CHANNELS, guide_frames
from hafm.guide.lead_sheet import ChordSpan, LeadSheet, Origin, PlayingSpan


@pytest.mark.parametrize("sources", [0.0, 1.0, 3.0])
@pytest.mark.parametrize("guide", [None, 0.0, 2.5])
@pytest.mark.parametrize("players", [None, 3.0])
@pytest.mark.parametrize("style", [None, 0.0, 5.0])
def test_joined_logits_are_those_of_the_formula(
    sources: float, guide: float | None, players: float | None, style: float | None
) -> None:
    guidance = Guidance(sources=sources, guide=guide, players=players, style=style)
    there = (True, style is not None, players is not None, guide is not None, sources != 1)
    rows = torch.randn(5, 4, 5)
    seen = [row for row, is_there in zip(rows, there, strict=True) if is_there]
    assert guidance.num_rows == len(seen)
    found = guidance.join(torch.stack(seen, dim=1).flatten(0, 1))
    # A row that is not there is as the one above it.
    full, unstyled, unplayered, alone, nothing = rows
    unstyled = unstyled if style is not None else full
    unplayered = unplayered if players is not None else unstyled
    expected = (players or 0.0) * (unstyled - unplayered) + (style or 0.0) * (full - unstyled)
    if guide is None:
        expected += nothing + sources * (unplayered - nothing) if sources != 1 else unplayered
    else:
        expected += (nothing + sources * (alone - nothing) if sources != 1 else alone) + guide * (
            unplayered - alone
        )
    torch.testing.assert_close(found, expected)


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
    asked = SamplingSettings(guidance=2.0, style_guidance=5.0, players_guidance=3.0)
    assert Guidance.of(asked, has_guide=True) == Guidance(sources=2.0, style=5.0, players=3.0)
    assert Guidance.of(asked, has_guide=False) == Guidance(sources=2.0)


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


def test_rows_lose_the_style_and_then_who_plays() -> None:
    sheet = LeadSheet(duration_seconds=1.0, chords=(ChordSpan(0.0, 1.0, "C:maj"),))
    playing = replace(sheet, arrangement=(PlayingSpan.of(0.0, 1.0, ["bass"]),))
    plain, unstyled, full = (
        torch.from_numpy(guide_frames(each, num_frames=50))
        for each in (sheet, playing, replace(playing, style="funk"))
    )
    guides = torch.stack([full, plain])
    rows = Guidance(sources=2.0, players=3.0, style=5.0).guide_of_rows(guides)
    for row, expected in enumerate([full, unstyled, plain, torch.zeros_like(plain)]):
        assert torch.equal(rows[row], expected), row
    assert torch.equal(rows[4:7], plain.expand(3, -1, -1))
    styled = torch.from_numpy(guide_frames(replace(sheet, style="funk"), num_frames=50))
    assert torch.equal(Guidance(sources=1.0, players=3.0).guide_of_rows(guides)[1], styled)


def test_what_somebody_asked_for_has_a_weight_of_its_own() -> None:
    sheet = LeadSheet(duration_seconds=1.0)
    spans = (PlayingSpan.of(0.0, 1.0, ["bass"]),)
    guessed = {"arrangement": Origin(source="estimated", confidence=0.2)}
    assert asked_in(None) == asked_in(sheet) == asked_by(None) == asked_by(Corrections(key="Am")) == {}
    assert asked_in(replace(sheet, arrangement=spans, origins=guessed)) == {}
    players = {"players_guidance": PLAYERS_GUIDANCE}
    assert asked_in(replace(sheet, arrangement=spans)) == asked_by(Corrections(players="bass")) == players
    assert asked_in(replace(sheet, arrangement=spans, style="funk")) == {
        **players,
        "style_guidance": STYLE_GUIDANCE,
    }

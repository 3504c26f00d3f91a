"""Specs: the paper's shapes, the way to JSON and back, and what is refused."""

import json
from dataclasses import replace
from fractions import Fraction
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hafm.errors import UsageError
from hafm.stages.guide import GuideSpec
from hafm.stages.spec import COARSE, FINE, SEMANTIC, StageSpec, TokenStream
from hafm.tokens.pattern import Pattern


@pytest.mark.parametrize(
    ("spec", "clip_seconds", "segments", "sources", "codebooks", "classes", "rate", "positions"),
    [
        (SEMANTIC, 10, 2, (500,), 1, 500, 50, 1000),
        (COARSE, 5, 3, (250, 250), 4, 1024, 75, 2000),
        (FINE, 3, 2, (225,), 4, 1024, 75, 1125),
    ],
)
def test_the_paper_shapes(
    spec: StageSpec,
    clip_seconds: int,
    segments: int,
    sources: tuple[int, ...],
    codebooks: int,
    classes: int,
    rate: int,
    positions: int,
) -> None:
    """Table 1 and sections 3.2 to 3.5."""
    assert (spec.clip_seconds, spec.num_segments) == (clip_seconds, segments)
    assert spec.source_frames(spec.target_frames) == sources
    assert spec.target_frames == clip_seconds * rate
    target = spec.target
    assert (target.num_codebooks, target.cardinality, target.frame_rate) == (codebooks, classes, rate)
    assert spec.sequence_length == positions
    assert (spec.num_layers, spec.width, spec.num_heads, spec.num_buckets) == (12, 512, 8, 32)
    assert (spec.conditioning, spec.encoder_layers, spec.dropped_condition) == ("prefix", 0, "mask")
    assert spec.guidance_dropout == 0.1


def test_aligned_sequences_have_target_slots_only() -> None:
    lengths = [replace(spec, conditioning="aligned").sequence_length for spec in (SEMANTIC, COARSE, FINE)]
    assert lengths == [500, 1500, 900]


@pytest.mark.parametrize(("pattern", "positions"), [("flat", 1500), ("delay", 378), ("parallel", 375)])
def test_positions_of_the_patterns(pattern: Pattern, positions: int) -> None:
    spec = replace(COARSE, conditioning="aligned", pattern=pattern)
    assert (spec.target_steps, spec.sequence_length) == (positions, positions)
    assert spec.target_slots == 1500  # tokens, whatever the steps
    if pattern != "parallel":
        assert replace(spec, conditioning="prefix").sequence_length == 500 + positions


@given(st.integers(min_value=0, max_value=100_000))
def test_sources_cover_the_target_and_no_frame_more(frames: int) -> None:
    for found in COARSE.source_frames(frames):
        seconds = Fraction(frames, 75)
        assert Fraction(found, 50) >= seconds > Fraction(found - 1, 50)


@pytest.mark.parametrize(
    "spec",
    [
        SEMANTIC,
        COARSE,
        replace(FINE, conditioning="aligned", encoder_layers=2, dropped_condition="zeros"),
        replace(SEMANTIC, clip_seconds=Fraction(1, 3)),
        replace(COARSE, conditioning="aligned", positions="rotary", guide=GuideSpec(chords=0.1)),
        replace(COARSE, pattern="delay"),
        replace(FINE, target=TokenStream(name="x", cardinality=9, frame_rate=Fraction(12_288, 1001))),
    ],
)
def test_there_and_back_through_json(spec: StageSpec) -> None:
    fields = json.loads(json.dumps(spec.to_dict()))
    assert StageSpec.from_dict(fields) == spec
    assert fields == spec.to_dict()  # reading leaves it alone


def test_a_stage_of_the_first_version_is_described_as_it_was() -> None:
    """Its description is part of its fingerprint: nothing may be added to it."""
    assert list(SEMANTIC.to_dict()) == [
        *("name", "sources", "target", "clip_seconds", "num_layers", "width", "num_heads"),
        *("feedforward_multiplier", "num_buckets", "conditioning", "encoder_layers", "dropped_condition"),
        *("guidance_dropout", "embedding_std"),
    ]


@pytest.mark.parametrize(
    ("change", "rule"),
    [
        ({"sources": ()}, "sources must not be empty"),
        ({"num_heads": 7}, "num_heads must divide width"),
        ({"num_heads": 0}, "num_heads must be 1 or more"),
        ({"width": 0}, "width must be 1 or more"),
        ({"num_layers": 0}, "num_layers must be 1 or more"),
        ({"feedforward_multiplier": 0.0}, "feedforward_multiplier"),
        ({"num_buckets": 5}, "num_buckets must be even"),
        ({"num_buckets": 2}, "num_buckets must be even"),
        ({"clip_seconds": Fraction(0)}, "clip_seconds must be positive"),
        ({"encoder_layers": 1}, "encoder_layers must be 0 with prefix"),
        ({"encoder_layers": -1, "conditioning": "aligned"}, "encoder_layers must be 0 or more"),
        ({"guidance_dropout": 1.0}, "guidance_dropout"),
        ({"positions": "rotary", "width": 24}, "rotary positions need heads of an even width"),
        ({"guide": GuideSpec()}, "a guide needs aligned sources at 50 Hz"),
        (
            {"guide": GuideSpec(), "conditioning": "aligned", "pattern": "parallel"},
            "a guide does not go with the pattern 'parallel'",
        ),
        (
            {"guide": GuideSpec(), "conditioning": "aligned", "sources": FINE.sources},
            "a guide needs aligned sources at 50 Hz",
        ),
        ({"guidance_dropout": -0.1}, "guidance_dropout"),
        ({"pattern": "parallel"}, "pattern 'parallel' needs aligned conditioning"),
        (
            {"conditioning": "aligned", "sources": (COARSE.sources[0], FINE.sources[0])},
            "aligned sources must share a frame rate",
        ),
    ],
)
def test_what_cannot_work_is_refused(change: dict[str, Any], rule: str) -> None:
    with pytest.raises(UsageError, match=f"The semantic stage is not valid: .*{rule}"):
        replace(SEMANTIC, **change)


@pytest.mark.parametrize(
    ("change", "words"), [({"style": 1.0}, "style must be in"), ({"channels": 31}, "has 31 channels")]
)
def test_a_guide_that_cannot_work_is_refused(change: dict[str, Any], words: str) -> None:
    with pytest.raises(UsageError, match=words):
        GuideSpec(**change)


@pytest.mark.parametrize(
    "change",
    [
        {"conditioning": "cross"},
        {"dropped_condition": "noise"},
        {"positions": "sine"},
        {"pattern": "zigzag"},
    ],
)
def test_unknown_choices_are_refused_when_read(change: dict[str, Any]) -> None:
    """Types keep them out of code; a file can hold them. (In tests, the check of types comes first.)"""
    with pytest.raises((UsageError, TypeError)):
        StageSpec.from_dict(SEMANTIC.to_dict() | change)


@pytest.mark.parametrize(
    "change",
    [
        {"colour": "blue"},
        {"clip_seconds": "soon"},
        {"clip_seconds": "1/0"},
        {"sources": None},
        {"target": {"name": "x"}},
        {"guide": {"rhythm": 0.1}},
        {"guide": 3},
    ],
)
def test_a_damaged_description_is_refused(change: dict[str, Any]) -> None:
    with pytest.raises(UsageError, match="Its fields are: name, sources, target"):
        StageSpec.from_dict(SEMANTIC.to_dict() | change)


def test_a_missing_field_is_refused() -> None:
    fields = SEMANTIC.to_dict()
    del fields["target"]
    with pytest.raises(UsageError, match="'target'"):
        StageSpec.from_dict(fields)


@pytest.mark.parametrize(
    "change",
    [{"cardinality": 1}, {"num_codebooks": 0}, {"frame_rate": Fraction(0)}, {"frame_rate": Fraction(-1)}],
)
def test_streams_that_cannot_be_are_refused(change: dict[str, Any]) -> None:
    with pytest.raises(UsageError, match="'vocal_semantic' needs"):
        replace(SEMANTIC.sources[0], **change)

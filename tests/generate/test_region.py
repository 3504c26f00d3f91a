"""A stretch of an accompaniment made again: the rest stays sample for sample, and no seam is heard."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from hafm import Accompanist
from hafm.audio.io import audio_from_array
from hafm.errors import UsageError
from hafm.generate.again import _changed_in
from hafm.generate.record import Settings
from hafm.generate.region import Region, make_again
from hafm.guide.lead_sheet import ChordSpan, LeadSheet, Origin
from tests.tiny import RATE, sung
from tests.unchecked import unchecked

SECONDS = 1.5
SETTINGS = Settings(seed=1, take=0, temperature=1.0, top_k=8, guidance=1.5, skip_fine=False, level_lufs=-18.0)


@pytest.fixture(scope="module")
def accompanist(tiny_accompanist: Accompanist) -> Accompanist:
    return tiny_accompanist


@pytest.fixture(scope="module")
def old(accompanist: Accompanist) -> torch.Tensor:
    return accompanist.generate(sung(SECONDS), sample_rate=RATE).waveform


def test_a_region_takes_numpys_numbers_and_nothing_else() -> None:
    region = Region(start_seconds=np.float64(0.5), end_seconds=1)
    assert (type(region.start_seconds), type(region.end_seconds)) == (float, int)
    with unchecked(), pytest.raises(UsageError, match="start_seconds is '3'; give a number of seconds"):
        Region(start_seconds="3", end_seconds=4)  # type: ignore[arg-type]


def test_what_a_stretch_changes_is_no_more_given_elsewhere_than_it_was() -> None:
    guessed = Origin(source="estimated", confidence=0.4)
    then = LeadSheet(
        duration_seconds=4.0, chords=(ChordSpan(0.0, 4.0, "A:min"),), origins={"chords": guessed}
    )
    now = replace(then, chords=(ChordSpan(0.0, 4.0, "F:maj"),), origins={"chords": Origin()})
    changed = _changed_in(Region(start_seconds=1.0, end_seconds=2.0), then, now)
    assert changed is not None
    assert changed.origin("chords") == guessed
    assert [span.label for span in changed.chords] == ["A:min", "F:maj", "A:min"]


def made(
    accompanist: Accompanist, old: torch.Tensor, start: float, end: float, seed: int = 1
) -> torch.Tensor:
    waveform, _ = make_again(
        accompanist.bundle,
        vocal=audio_from_array(sung(SECONDS), RATE),
        accompaniment=old,
        region=Region(start_seconds=start, end_seconds=end),
        guide=None,
        settings=replace(SETTINGS, seed=seed),
        device=accompanist.device,
        engine=accompanist.open_engine("torch"),
    )
    return waveform


@pytest.mark.long
@pytest.mark.parametrize(
    ("start", "end"),
    [
        (0.53, 1.0),
        pytest.param(0.0, 0.6, marks=pytest.mark.slow),
        pytest.param(1.0, 1.5, marks=pytest.mark.slow),
    ],
)
def test_what_is_outside_stays_sample_for_sample(
    accompanist: Accompanist, old: torch.Tensor, start: float, end: float
) -> None:
    new = made(accompanist, old, start, end)
    first, last = round(start * RATE), round(end * RATE)
    assert new.shape == old.shape
    assert torch.equal(new[:, :first], old[:, :first])
    assert torch.equal(new[:, last:], old[:, last:])
    inside = slice(first + RATE // 20, last - RATE // 20)
    assert not torch.equal(new[:, inside], old[:, inside])
    assert new.isfinite().all()
    assert float(new.abs().max()) <= 1.0


def test_there_is_no_jump_where_it_is_joined(accompanist: Accompanist, old: torch.Tensor) -> None:
    new = made(accompanist, old, 0.5, 1.0)
    steps = new.diff().abs()[0]
    usual = torch.cat([steps[: RATE // 2], steps[RATE:]]).max()
    for edge in (RATE // 2, RATE):
        assert float(steps[edge - 2 : edge + 2].max()) <= float(usual)


@pytest.mark.slow
def test_another_seed_gives_another_stretch_and_the_same_seed_the_same(
    accompanist: Accompanist, old: torch.Tensor
) -> None:
    once, again, other = (made(accompanist, old, 0.5, 1.0, seed) for seed in (1, 1, 2))
    assert torch.equal(once, again)
    assert not torch.equal(once, other)


def test_a_region_must_be_one_of_the_sound(accompanist: Accompanist, old: torch.Tensor) -> None:
    with pytest.raises(UsageError, match="too short"):
        Region(start_seconds=1.0, end_seconds=1.05)
    with pytest.raises(UsageError, match="not in a sound"):
        made(accompanist, old, 1.0, 9.0)
    with pytest.raises(UsageError, match="one take"):
        made(accompanist, old[:, 1:], 0.5, 1.0)

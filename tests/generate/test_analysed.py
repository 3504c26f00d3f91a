"""Accompaniments whose lead sheet the bundle's analyser hears."""

from dataclasses import replace

import pytest
import torch

from hafm import Accompanist
from hafm.errors import UsageError
from hafm.guide.analyser import VOCAL, Analyser
from hafm.guide.lead_sheet import KeyChange, LeadSheet
from hafm.guide.network import AnalyserNetwork
from hafm.stages.bundle_writer import write_bundle
from hafm.stages.guide import GuideSpec
from hafm.stages.stage_model import StageModel
from tests.tiny import RATE, same, sung, tiny_ingredients

SECONDS = 0.6


@pytest.fixture(scope="module")
def accompanist(tmp_path_factory: pytest.TempPathFactory) -> Accompanist:
    """Random weights: an analyser, and a semantic stage with a guide."""
    torch.manual_seed(0)
    ingredients = tiny_ingredients(
        analysers={"vocal": Analyser(config=VOCAL, weights=AnalyserNetwork(VOCAL.network).state_dict())}
    )
    spec = replace(ingredients.stages["semantic"].spec, positions="rotary", guide=GuideSpec())
    stages = {**ingredients.stages, "semantic": StageModel(spec).eval()}
    folder = tmp_path_factory.mktemp("bundles") / "analysing"
    return Accompanist(bundle=write_bundle(folder, replace(ingredients, stages=stages)))


def test_a_vocal_is_analysed(accompanist: Accompanist) -> None:
    sheet = accompanist.analyse(sung(3.0), sample_rate=RATE)
    assert sheet.duration_seconds == 3.0
    assert sheet.chords
    assert sheet.origin("chords").source == "estimated"
    part = accompanist.analyse(sung(3.0), sample_rate=RATE, start_seconds=1.0, seconds=1.5)
    assert part.duration_seconds == 1.5


def test_what_is_known_is_kept(accompanist: Accompanist) -> None:
    given = LeadSheet(duration_seconds=3.0, keys=(KeyChange(0.0, "F#", "min"),))
    sheet = accompanist.analyse(sung(3.0), sample_rate=RATE, given=given)
    assert sheet.keys == given.keys
    assert sheet.chords


def test_without_a_lead_sheet_the_estimate_is_followed(accompanist: Accompanist) -> None:
    vocal = sung(SECONDS)
    made = accompanist.generate(vocal, sample_rate=RATE)
    estimate = accompanist.analyse(vocal, sample_rate=RATE)
    assert made.record.lead_sheet == estimate
    assert same(made, accompanist.generate(vocal, sample_rate=RATE, guide=estimate))
    assert same(made, accompanist.replay(made.record, vocal=vocal, sample_rate=RATE))


def test_a_sheet_that_knows_nothing_is_kept(accompanist: Accompanist) -> None:
    nothing = LeadSheet(duration_seconds=SECONDS)
    assert accompanist.generate(sung(SECONDS), sample_rate=RATE, guide=nothing).record.lead_sheet == nothing


def test_a_bundle_without_an_analyser_says_so(tiny_accompanist: Accompanist) -> None:
    with pytest.raises(UsageError, match="has no vocal analyser"):
        tiny_accompanist.analyse(sung(1.0), sample_rate=RATE)
    assert tiny_accompanist.generate(sung(SECONDS), sample_rate=RATE).record.lead_sheet is None

"""Accompaniments that keep to a lead sheet: takes, batches, records, and what is refused."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from hafm import Accompaniment, Accompanist, Corrections
from hafm.errors import LeadSheetError, UsageError
from hafm.generate.guidance import PLAYERS_GUIDANCE, STYLE_GUIDANCE
from hafm.generate.record import GenerationRecord
from hafm.generate.steps import show
from hafm.guide.corrections import corrected
from hafm.guide.frames import guide_frames
from hafm.guide.lead_sheet import PLAYERS, Beat, ChordSpan, LeadSheet, MeterChange, PlayingSpan
from hafm.stages.bundle import Bundle
from hafm.stages.bundle_config import BundleConfig, GenerationDefaults
from hafm.stages.bundle_writer import write_bundle
from hafm.stages.guide import GuideSpec
from hafm.stages.stage_model import StageModel
from tests.tiny import RATE, same, sung, tiny_ingredients
from tests.unchecked import unchecked

SECONDS = 0.6


def sheet(seconds: float = SECONDS, *, chord: str = "C:maj", first: float = 0.1) -> LeadSheet:
    return LeadSheet(
        duration_seconds=seconds,
        beats=(Beat(first, 1), Beat(first + 0.25, 2)),
        meters=(MeterChange(0.0, 4, 4),),
        chords=(ChordSpan(0.0, seconds / 2, chord), ChordSpan(seconds / 2, seconds, "G:maj/3")),
    )


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """Random weights, a semantic and a coarse stage with a guide, which weighs as much as everything else."""
    ingredients = tiny_ingredients()
    stages = dict(ingredients.stages)
    for name in ("semantic", "coarse"):
        spec = replace(
            stages[name].spec,
            conditioning="aligned",
            encoder_layers=1,
            positions="rotary",
            guide=GuideSpec(),
            embedding_std=0.3,
        )
        torch.manual_seed(len(name))
        stages[name] = StageModel(spec).eval()
    return write_bundle(tmp_path_factory.mktemp("bundles") / "guided", replace(ingredients, stages=stages))


@pytest.fixture(scope="module")
def accompanist(bundle: Bundle) -> Accompanist:
    return Accompanist(bundle=bundle)


@pytest.fixture(scope="module")
def made(accompanist: Accompanist) -> Accompaniment:
    return accompanist.generate(
        sung(SECONDS), sample_rate=RATE, seed=2, take=1, guide=sheet(), skip_fine=True
    )


@pytest.mark.long
def test_the_sheet_changes_semantic_tokens_and_codes(accompanist: Accompanist, made: Accompaniment) -> None:
    for other in (None, sheet(chord="E:min"), sheet(first=0.2)):
        there = accompanist.generate(
            sung(SECONDS), sample_rate=RATE, seed=2, take=1, guide=other, skip_fine=True
        )
        assert torch.equal(there.tokens.vocal_semantic, made.tokens.vocal_semantic)
        assert not torch.equal(there.tokens.instrumental_semantic, made.tokens.instrumental_semantic)
        assert not torch.equal(there.tokens.codes, made.tokens.codes)


@pytest.mark.long
@unchecked()
def test_takes_share_the_sheet_and_one_alone_is_the_same(
    accompanist: Accompanist, made: Accompaniment
) -> None:
    takes = accompanist.generate_takes(
        sung(SECONDS), takes=2, sample_rate=RATE, seed=2, guide=sheet(), skip_fine=True
    )
    assert same(takes[1], made)
    assert not same(takes[0], made)
    assert [take.record.lead_sheet for take in takes] == [sheet(), sheet()]


@pytest.mark.slow
@pytest.mark.parametrize("guide_guidance", [None, pytest.param(2.0, marks=pytest.mark.slow)])
@unchecked()
def test_vocals_of_a_batch_have_sheets_of_their_own(
    accompanist: Accompanist, guide_guidance: float | None
) -> None:
    vocals, sheets = [sung(SECONDS), sung(SECONDS).flip(-1)], [sheet(), sheet(chord="E:min")]
    batch = accompanist.generate_batch(
        vocals, sample_rate=RATE, guides=sheets, guide_guidance=guide_guidance, skip_fine=True
    )
    for vocal, guide, [made] in zip(vocals, sheets, batch, strict=True):
        alone = accompanist.generate(
            vocal, sample_rate=RATE, guide=guide, guide_guidance=guide_guidance, skip_fine=True
        )
        assert same(made, alone)
        assert made.record == alone.record
        assert made.record.lead_sheet == guide


@pytest.mark.slow
@unchecked()
def test_long_vocals_keep_to_the_sheet_beyond_the_first_window(accompanist: Accompanist) -> None:
    """Sheets that agree for two seconds give the same band for that long, and another one later."""
    seconds = 3.0
    chords = [ChordSpan(0.0, 2.0, "C:maj"), ChordSpan(2.0, seconds, "F:maj")]
    one = LeadSheet(duration_seconds=seconds, chords=tuple(chords))
    other = replace(one, chords=(chords[0], replace(chords[1], label="B:dim")))
    a, b = (
        accompanist.generate(sung(seconds), sample_rate=RATE, guide=guide, skip_fine=True).tokens
        for guide in (one, other)
    )
    window = accompanist.bundle.spec("semantic").target_frames
    differs = (a.instrumental_semantic != b.instrumental_semantic).nonzero().flatten()
    assert len(differs) > 10
    # The two-way encoder of a window that reaches into the other chord hears it from its beginning on.
    assert differs.min() > 100 - window
    assert differs.max() > 140


# ---- records


def test_the_record_holds_the_sheet_and_replays_it(
    accompanist: Accompanist, made: Accompaniment, tmp_path: Path
) -> None:
    paths = made.save(tmp_path / "out")
    record = GenerationRecord.read(paths["record"])
    assert record.lead_sheet == sheet()
    assert replace(record, output=None) == made.record
    again = accompanist.replay(record, vocal=sung(SECONDS), sample_rate=RATE)
    assert same(again, made)
    assert again.record == made.record
    values = json.loads(paths["record"].read_text())
    assert values["lead_sheet"]["format"] == "hafm-lead-sheet"
    values["lead_sheet"]["chords"][0][2] = "H:maj"
    with pytest.raises(LeadSheetError, match=r"the lead sheet in 'x'.*H:maj"):
        GenerationRecord.from_json(json.dumps(values), where="'x'")


@pytest.mark.slow
@unchecked()
def test_a_weight_of_the_guide_is_recorded_and_replayed(accompanist: Accompanist) -> None:
    made = accompanist.generate(
        sung(SECONDS), sample_rate=RATE, guide=sheet(), guide_guidance=0.0, skip_fine=True
    )
    plain = accompanist.generate(sung(SECONDS), sample_rate=RATE, guidance=1.5, skip_fine=True)
    assert made.record.settings.guide_guidance == 0.0
    assert GenerationRecord.from_json(made.record.to_json()) == made.record
    assert same(accompanist.replay(made.record, vocal=sung(SECONDS), sample_rate=RATE), made)
    assert torch.equal(made.tokens.instrumental_semantic, plain.tokens.instrumental_semantic)


@pytest.mark.slow
@unchecked()
def test_the_coarse_stage_has_a_guidance_of_its_own_that_leaves_the_semantic_tokens(
    accompanist: Accompanist,
) -> None:
    both = accompanist.generate(sung(SECONDS), sample_rate=RATE, guidance=3.0, skip_fine=True)
    own = accompanist.generate(
        sung(SECONDS), sample_rate=RATE, guidance=3.0, coarse_guidance=0.0, skip_fine=True
    )
    equal = accompanist.generate(
        sung(SECONDS), sample_rate=RATE, guidance=3.0, coarse_guidance=3.0, skip_fine=True
    )
    assert torch.equal(own.tokens.instrumental_semantic, both.tokens.instrumental_semantic)
    assert not torch.equal(own.tokens.codes, both.tokens.codes)
    assert torch.equal(equal.tokens.codes, both.tokens.codes)
    assert GenerationRecord.from_json(own.record.to_json()) == own.record
    assert same(accompanist.replay(own.record, vocal=sung(SECONDS), sample_rate=RATE), own)


@pytest.mark.long
@pytest.mark.parametrize(
    ("asked_for", "name", "weight"),
    [("style", "style_guidance", STYLE_GUIDANCE), ("players", "players_guidance", PLAYERS_GUIDANCE)],
)
@unchecked()
def test_what_is_asked_for_has_a_weight_of_its_own(
    accompanist: Accompanist, asked_for: str, name: str, weight: float
) -> None:
    def made_with(guide: LeadSheet, **options: Any) -> Accompaniment:
        return accompanist.generate(sung(SECONDS), sample_rate=RATE, guide=guide, skip_fine=True, **options)

    corrections = Corrections(style="funk") if asked_for == "style" else Corrections(players="bass")
    asked = made_with(sheet(), corrections=corrections)
    assert getattr(asked.record.settings, name) == weight
    assert GenerationRecord.from_json(asked.record.to_json()) == asked.record
    assert same(accompanist.replay(asked.record, vocal=sung(SECONDS), sample_rate=RATE), asked)
    changed = corrected(sheet(), corrections)
    assert same(made_with(changed, **{name: weight}), asked)
    as_trained = made_with(changed)
    assert getattr(as_trained.record.settings, name) is None
    assert not torch.equal(as_trained.tokens.instrumental_semantic, asked.tokens.instrumental_semantic)
    assert not torch.equal(as_trained.tokens.codes, asked.tokens.codes)
    if asked_for == "style":  # who plays is always said; a style that is not has nothing to weigh
        without = made_with(sheet(), style_guidance=weight)
        assert torch.equal(without.tokens.codes, made_with(sheet()).tokens.codes)


def test_an_argument_that_there_is_not_is_refused(accompanist: Accompanist) -> None:
    with pytest.raises(TypeError, match=r"no argument 'temprature' \(did you mean temperature\?\)"):
        accompanist.generate(sung(SECONDS), sample_rate=RATE, temprature=1.0)  # type: ignore[call-arg]


def test_a_record_without_a_sheet_is_written_as_it_was(accompanist: Accompanist) -> None:
    record = accompanist.generate(sung(SECONDS), sample_rate=RATE, skip_fine=True).record
    values = json.loads(record.to_json())
    assert "lead_sheet" not in values
    assert list(values["settings"]) == [
        *("seed", "take", "temperature", "top_k", "guidance", "skip_fine", "level_lufs")
    ]
    assert GenerationRecord.from_json(record.to_json()) == record


def test_the_bundles_own_weights(bundle: Bundle, tmp_path: Path) -> None:
    plain = bundle.config
    assert not {"guide_guidance", "coarse_guidance"} & set(plain.to_dict()["generation"])
    own = replace(plain, generation=GenerationDefaults(guide_guidance=1.5, coarse_guidance=1.0))
    assert BundleConfig.from_json(own.to_json()) == own
    assert own.fingerprint() != replace(plain, generation=GenerationDefaults()).fingerprint()
    with pytest.raises(UsageError, match="guide_guidance=-1"):
        GenerationDefaults(guide_guidance=-1.0)


# ---- the guide of sheets


def test_the_guide_has_a_row_a_vocal(accompanist: Accompanist) -> None:
    vocal = accompanist.generate(sung(SECONDS), sample_rate=RATE, skip_fine=True).vocal
    sheets = [sheet(), sheet(chord="E:min")]
    guide = show(accompanist.bundle, sheets, vocal, device=torch.device("cpu"))
    assert guide is not None
    assert guide.shape == (2, 30, 63)
    whole_band = (PlayingSpan.of(0.0, SECONDS, PLAYERS),)
    for row, each in zip(guide, sheets, strict=True):
        played = replace(each, arrangement=whole_band)
        assert torch.equal(row, torch.from_numpy(guide_frames(played, num_frames=30)))
    drums = replace(sheet(), arrangement=(PlayingSpan.of(0.0, SECONDS, ["drums"]),))
    alone = show(accompanist.bundle, [drums], vocal, device=torch.device("cpu"))
    assert alone is not None
    assert torch.equal(alone[0], torch.from_numpy(guide_frames(drums, num_frames=30)))
    part = replace(sheet(), arrangement=(PlayingSpan.of(0.2, 0.4, ["drums"]),))
    around = [PlayingSpan.of(0.0, 0.2, PLAYERS), *part.arrangement, PlayingSpan.of(0.4, SECONDS, PLAYERS)]
    filled = show(accompanist.bundle, [part], vocal, device=torch.device("cpu"))
    assert filled is not None
    whole = guide_frames(replace(part, arrangement=tuple(around)), num_frames=30)
    assert torch.equal(filled[0], torch.from_numpy(whole))
    assert show(accompanist.bundle, [None, None], vocal, device=torch.device("cpu")) is None


# ---- what is refused


def test_a_sheet_of_another_length_is_refused(accompanist: Accompanist) -> None:
    with pytest.raises(LeadSheetError, match=r"lasts 2 s and what it is for 0\.6 s"):
        accompanist.generate(sung(SECONDS), sample_rate=RATE, guide=sheet(2.0))
    with pytest.raises(LeadSheetError, match="the sheet of this part"):
        accompanist.generate(sung(2.0), sample_rate=RATE, guide=sheet(2.0), seconds=0.6)


def test_a_bundle_that_takes_no_sheet_says_so(tiny_accompanist: Accompanist) -> None:
    with pytest.raises(UsageError, match="bundle 'tiny' were trained without lead sheets"):
        tiny_accompanist.generate(sung(SECONDS), sample_rate=RATE, guide=sheet())


def test_a_batch_has_a_sheet_for_each_vocal_or_for_none(accompanist: Accompanist) -> None:
    vocals = [sung(SECONDS), sung(SECONDS)]
    with pytest.raises(UsageError, match="1 guides and 2 vocals"):
        accompanist.generate_batch(vocals, sample_rate=RATE, guides=[sheet()])

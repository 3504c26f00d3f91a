"""What the vocal is worth: losses as by hand, wrong vocals of other songs only, and 0 for a deaf stage."""

import math
from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest
import torch

from hafm.data.tokenising.views import RatedStems
from hafm.errors import UsageError
from hafm.evaluate.vocal_worth import AlignedClip, stretches, vocal_worth, wrong_clips
from hafm.stages.bundle import Bundle
from hafm.stages.bundle_writer import write_bundle
from hafm.stages.spec import COARSE, FINE, SEMANTIC
from hafm.stages.stage_model import StageModel, stage_loss
from hafm.tokens.level import set_active_rms
from tests.tiny import RATE, tiny_ingredients, tiny_spec
from tests.unchecked import unchecked

SEMANTIC_FRAMES, CODEC_FRAMES = 50, 75  # a second


def stages(conditioning):
    made = {}
    for spec in (SEMANTIC, COARSE, FINE):
        torch.manual_seed(len(made))
        shrunk = replace(
            tiny_spec(spec), conditioning=conditioning, encoder_layers=1 if conditioning == "aligned" else 0
        )
        made[spec.name] = StageModel(shrunk).eval()
        with torch.no_grad():
            for parameter in made[spec.name].parameters():
                parameter.normal_(std=0.3)
    return made


def bundle_of(folder, conditioning="aligned", *, deaf=False):
    made = stages(conditioning)
    if deaf:
        with torch.no_grad():
            for name in ("semantic", "coarse"):
                made[name].condition_embedding.sources[0].weight.zero_()
    write_bundle(folder, tiny_ingredients(stages=made))
    return Bundle.open(folder)


def clip(name, song, seconds=2.0, *, rate=RATE):
    """Notes that go up and down, other ones in every clip."""
    generator = torch.Generator().manual_seed(sum(name.encode()))
    time = torch.arange(round(seconds * rate)) / rate
    vocal, instrumental = (
        0.1 * torch.sin(2 * math.pi * torch.cumsum(hz[(time / 0.25).long()] / rate, dim=0))
        for hz in (110 * 2 ** (torch.randint(36, (2, 40), generator=generator) / 12))
    )
    return AlignedClip(id=name, song=song, vocal=vocal, instrumental=instrumental)


def ids_of(bundle, clip):
    """Tokens part by part, as steps.py has them."""
    view = RatedStems(vocal=clip.vocal, instrumental=clip.instrumental, sample_rate=RATE).vocal_view(
        RATE, track_id=clip.id, view=0, seed=0, sigma=bundle.config.vocal_noise_sigma, augmented=False
    )
    backing = set_active_rms(clip.instrumental[None], 0.1, sample_rate=RATE)

    def semantic(side, sound):
        return bundle.load_kmeans(side).predict(bundle.load_features(side).extract(sound))

    codes = bundle.load_codec().encode(backing[:, None])[:, :2]
    return semantic("vocal", view[None])[:, None], semantic("instrumental", backing)[:, None], codes


def loss_by_hand(model, own, vocal, seconds):
    """Stretches of 2 s one by one, through the model and eq. 6."""
    losses = []
    _, instrumental, codes = own
    for start in range(0, int(seconds), 2):
        semantic = slice(start * SEMANTIC_FRAMES, (start + 2) * SEMANTIC_FRAMES)
        acoustic = slice(start * CODEC_FRAMES, (start + 2) * CODEC_FRAMES)
        heard, played, sound = vocal[:, :, semantic], instrumental[:, :, semantic], codes[:, :, acoustic]
        target, conditions = (played, (heard,)) if model.spec.name == "semantic" else (sound, (heard, played))
        with torch.no_grad():
            losses.append(float(stage_loss(model(target, conditions), target)))
    return float(np.mean(losses))


@pytest.mark.long
@pytest.mark.parametrize("conditioning", [pytest.param("prefix", marks=pytest.mark.slow), "aligned"])
def test_the_losses_are_those_of_the_stages_themselves(tmp_path, conditioning):
    bundle = bundle_of(tmp_path / "bundle", conditioning)
    clips = [clip("a1", "a", 5.0), clip("b", "b", 4.0), clip("a2", "a", 4.0), clip("c", "c", 5.0)]
    ids = [ids_of(bundle, each) for each in clips]
    found = vocal_worth(bundle, clips, sample_rate=RATE, wrong=2)
    assert [each.stage for each in found] == ["semantic", "coarse"]
    for worth in found:
        model = bundle.load_stage(worth.stage)
        for number, (loss, others) in enumerate(zip(worth.clips, [[3], [2, 3], [3, 1], [0]], strict=True)):
            assert (loss.clip, loss.song) == (clips[number].id, clips[number].song)
            assert loss.wrong_ids == tuple(clips[other].id for other in others)
            right = loss_by_hand(model, ids[number], ids[number][0], 4)
            wrong = [loss_by_hand(model, ids[number], ids[other][0], 4) for other in others]
            assert loss.right == pytest.approx(right, abs=1e-5)
            assert loss.wrong == pytest.approx(np.mean(wrong), abs=1e-5)
        per_song = [
            np.mean([[loss.right, loss.wrong] for loss in worth.clips if loss.song == song], axis=0)
            for song in "abc"
        ]
        assert (worth.right, worth.wrong) == pytest.approx(np.mean(per_song, axis=0))
        assert worth.songs == 3
        assert worth.difference.value == pytest.approx(worth.wrong - worth.right)
        assert worth.difference.low <= worth.difference.value <= worth.difference.high
        assert 0 < worth.p <= 1


@pytest.mark.slow
def test_a_deaf_stage_is_worth_exactly_nothing_and_a_hearing_one_something(tmp_path):
    clips = [clip(name, name) for name in "abc"]
    for worth in vocal_worth(bundle_of(tmp_path / "deaf", deaf=True), clips, sample_rate=RATE):
        assert [loss.wrong - loss.right for loss in worth.clips] == [0.0] * 3
        assert (worth.difference.low, worth.difference.high, worth.p) == (0.0, 0.0, 1.0)
    for worth in vocal_worth(bundle_of(tmp_path / "hearing"), clips, sample_rate=RATE):
        assert all(abs(loss.wrong - loss.right) > 1e-3 for loss in worth.clips)


@pytest.mark.long
def test_the_same_clips_give_the_same_whoever_is_beside_them(tmp_path):
    bundle, reported = bundle_of(tmp_path / "bundle"), []
    # Shorter than the stages' clip; 101 frames of codes reach into a 68th semantic frame, and there are 67.
    clips = [clip(name, name, 1.335) for name in "abc"]
    first = vocal_worth(
        bundle, clips, sample_rate=RATE, wrong=1, on_progress=lambda at: reported.append((at.done, at.total))
    )
    assert vocal_worth(bundle, clips, sample_rate=RATE, wrong=1) == first
    assert reported == [(done, 6) for done in range(1, 7)]
    alone = vocal_worth(bundle, clips[:2], sample_rate=RATE, wrong=1)
    assert [worth.clips[0] for worth in alone] == [worth.clips[0] for worth in first]


@pytest.mark.parametrize("count", [1, 2, 5, 100])
def test_a_wrong_vocal_is_of_another_song_and_long_enough(count):
    clips = [(f"{number}", "aabacbdd"[number % 8], 100 - number % 3) for number in range(24)]
    for number, others in enumerate(wrong_clips(clips, count=count)):
        _, song, samples = clips[number]
        assert len(set(others)) == len(others) > 0
        assert all(clips[other][1] != song and clips[other][2] >= samples for other in others)
    assert len(wrong_clips(clips, count=5)[0]) == 5


def test_wrong_vocals_are_shared_out():
    clips = [(f"{number}", f"{number}", 1) for number in range(12)]
    used = [other for others in wrong_clips(clips, count=3) for other in others]
    assert sorted(used) == sorted(list(range(12)) * 3)


def test_stretches_begin_on_frames_of_all_streams():
    odd = replace(COARSE, clip_seconds=Fraction(1, 2))  # 37.5 frames of codes
    starts, frames = stretches(odd, 750)
    assert frames == odd.target_frames == 38
    assert all((start * rate).denominator == 1 for start in starts for rate in (50, 75))
    assert starts[-1] * 75 + frames <= 750 < (starts[-1] + starts[1]) * 75 + frames


@pytest.mark.parametrize(
    ("clips", "says"),
    [
        ([("a", "a", 5), ("a", "b", 5)], "unique"),
        ([("a", "a", 5), ("b", "a", 5)], "two songs or more"),
        ([("a", "a", 5), ("b", "b", 4)], "'a' is longer"),
        ([], "two songs or more"),
    ],
)
def test_what_cannot_be_compared_is_said(clips, says):
    with pytest.raises(UsageError, match=says):
        wrong_clips(clips, count=1)


def test_a_clip_must_be_one():
    with pytest.raises(UsageError, match="1 or more, not 0"):
        wrong_clips([("a", "a", 5), ("b", "b", 5)], count=0)
    with unchecked(), pytest.raises(UsageError, match="5 samples and the instrumental 4"):
        AlignedClip(id="a", song="a", vocal=torch.zeros(5), instrumental=torch.zeros(4))
    with pytest.raises(UsageError, match="NaN"):
        AlignedClip(id="a", song="a", vocal=torch.full((5,), torch.nan), instrumental=torch.zeros(5))

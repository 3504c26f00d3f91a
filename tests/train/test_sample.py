"""Samples: each stage makes sound of what it plays, and of nothing else."""

from dataclasses import replace
from fractions import Fraction

import pytest
import soundfile
import torch

from hafm.data.shards.reader import Shards
from hafm.errors import UsageError
from hafm.stages.stage_model import StageModel
from hafm.stages.token_parts import fit_to_parts
from hafm.train.recipe import tiny
from hafm.train.sample import Sampler
from hafm.train.state import Position
from tests.train.training_shards import tiny_parts
from tests.unchecked import unchecked

CLIP_SECONDS = Fraction(6, 25)


class TinyStages:
    """As much of a bundle as a sampler uses."""

    def __init__(self, parts) -> None:
        self.parts, self.asked = parts, []

    def load_stage(self, name: str) -> StageModel:
        self.asked.append(name)
        return StageModel(self.spec(name)).eval()

    def spec(self, name: str):
        return replace(fit_to_parts(tiny(name).spec, self.parts), clip_seconds=CLIP_SECONDS)


@pytest.mark.long
@unchecked()
@pytest.mark.parametrize(
    "stage", ["semantic", *(pytest.param(stage, marks=pytest.mark.slow) for stage in ("coarse", "fine"))]
)
def test_a_sample_is_one_clip_of_sound_and_the_same_every_time(tmp_path, tiny_shards, stage):
    held_out, bundle = Shards.open(tiny_shards, "valid"), TinyStages(tiny_shards / "parts")
    model = StageModel(bundle.spec(stage)).train()
    before = torch.get_rng_state()
    for folder in ("one", "two"):
        torch.manual_seed(7)  # of the bundle's stages, which are made when they are asked for
        sampler = Sampler(
            spec=model.spec, held_out=held_out, parts=tiny_parts(), folder=tmp_path / folder, bundle=bundle
        )
        torch.manual_seed(7)
        sampler(model, Position(step=5))
    torch.set_rng_state(before)
    assert model.training
    names = sorted(path.name for path in (tmp_path / "one").iterdir())
    assert names == (["step-00000005.wav"] if stage == "semantic" else ["step-00000005.wav", "truth.wav"])
    sound, rate = soundfile.read(tmp_path / "one" / names[0])
    assert (rate, len(sound)) == (24_000, 24_000 * 6 // 25)
    one, two = ((tmp_path / folder / names[0]).read_bytes() for folder in ("one", "two"))
    assert one == two
    assert bundle.asked == (["coarse", "fine"] * 2 if stage == "semantic" else [])


def test_semantic_tokens_have_no_sound_of_their_own(tmp_path, tiny_shards):
    held_out = Shards.open(tiny_shards, "valid")
    spec = fit_to_parts(tiny("semantic").spec, tiny_shards / "parts")
    with pytest.raises(UsageError, match="--sample-bundle"):
        Sampler(spec=spec, held_out=held_out, parts=tiny_parts(), folder=tmp_path, bundle=None)

"""The arrangement as a system: it plays the clip's own sheet at the clip's length, without a model."""

from pathlib import Path

import pytest

from hafm.errors import UsageError
from hafm.evaluate.run.evaluate import make_sounds
from hafm.evaluate.run.folder import SoundKey, true_sound
from hafm.evaluate.systems import open_systems
from hafm.evaluate.systems.base import Guided, System
from tests.arrange.songs import song
from tests.evaluate.runs import make_run


@pytest.mark.long
def test_an_arrangement_plays_each_clips_own_sheet_at_its_length(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run", songs=2, systems=("truth",), seconds=2.0)
    charts = ("| Am |", "| F# |")
    for clip, chart in zip(run.manifest.clips, charts, strict=True):
        sheet = song(2.0, bpm=120, chart=chart)
        run.put_sheet(true_sound(clip.id), sheet)
    [system] = open_systems(["arrangement-given"], run, seed=4)
    assert isinstance(system, System)
    assert isinstance(system, Guided)
    assert system.identity() == {"guide": "given", "seed": 4, "soundfont": "fluidmono_pop.sf3"}
    make_sounds(run, system)
    played = []
    for clip, chart in zip(run.manifest.clips, charts, strict=True):
        made = SoundKey(system="arrangement-given", heard="isolated", take=0, clip=clip.id)
        sound = run.sound(made)
        assert len(sound) == clip.num_samples
        assert float(sound.abs().max()) > 0.05
        assert run.sheet(made) == song(2.0, bpm=120, chart=chart)
        played.append(sound)
    assert not played[0].equal(played[1])


def test_an_arrangement_needs_a_sheet_or_a_bundle_that_estimates_one(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run", songs=2, systems=("truth",), seconds=1.0)
    with pytest.raises(UsageError, match="'arrangement' needs a bundle"):
        open_systems(["arrangement"], run)
    [given] = open_systems(["arrangement-given"], run)
    with pytest.raises(UsageError, match="no lead sheet of clip"):
        make_sounds(run, given)

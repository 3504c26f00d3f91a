"""YAML recipes and `--set`: fields by name, of the right type, or an error that lists the right names."""

from fractions import Fraction
from pathlib import Path

import pytest

from hafm.errors import UsageError
from hafm.stages.guide import GuideSpec
from hafm.train.recipe import paper, tiny
from hafm.train.recipe_file import open_recipe, read_recipe


def written(folder: Path, text: str) -> Path:
    path = folder / "my.yaml"
    path.write_text(text)
    return path


def test_a_file_changes_what_it_names_and_nothing_else(tmp_path):
    path = written(
        tmp_path,
        "base: paper\nstage: coarse\nbatch: 84\npeak_rate: 3e-5\nema_decay: 0.999\nwarm_start: true\n"
        "spec:\n  conditioning: aligned\n  encoder_layers: 2\n  clip_seconds: 12/5\n",
    )
    recipe = read_recipe(path, "coarse")
    assert (recipe.batch, recipe.peak_rate, recipe.ema_decay, recipe.warm_start) == (84, 3e-5, 0.999, True)
    assert recipe.spec.clip_seconds == Fraction(12, 5)
    assert (recipe.spec.conditioning, recipe.spec.encoder_layers) == ("aligned", 2)
    assert (recipe.steps, recipe.accumulation) == (paper("coarse").steps, 2)
    assert open_recipe(str(path), "coarse", ["batch=7"]).batch == 7


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("base: paper\nbach: 3\n", ["bach", "did you mean batch", "steps", "spec.FIELD"]),
        ("base: paper\nspec:\n  widht: 3\n", ["spec.widht", "did you mean spec.width", "num_layers"]),
        ("base: paper\nspec:\n  target: 3\n", ["spec.target"]),
        ("base: paper\nspec: 3\n", ["spec must hold"]),
        ("base: paper\nbatch: 1.5\n", ["batch", "a whole number", "1.5"]),
        ("base: paper\nbatch: true\n", ["batch", "a whole number", "True"]),
        ("base: paper\nbatch: '3'\n", ["batch", "a whole number"]),
        ("base: paper\nbatch: null\n", ["batch", "a whole number"]),
        ("base: paper\npeak_rate: fast\n", ["peak_rate", "a number", "fast"]),
        ("base: paper\nwarm_start: 1\n", ["warm_start", "true or false"]),
        ("base: paper\nprecision: fp16\n", ["precision", "'float16'", "'half'"]),
        ("base: paper\nema_decay: yes\n", ["ema_decay", "a number or null"]),
        ("base: builtin\nspec: {guide: 0.2}\n", ["spec.guide", "an object or null", "0.2"]),
        ("base: builtin\nspec: {guide: {rhythm: 0.2}}\n", ["spec.guide", "unknown field 'rhythm'"]),
        ("base: builtin\nspec: {guide: {beats: high}}\n", ["spec.guide", "high"]),
        ("base: builtin\nspec: {guide: {beats: 1}}\n", ["beats must be in [0, 1)"]),
        ("base: paper\nspec: {clip_seconds: 1/0}\n", ["clip_seconds", "12/5"]),
        ("base: paper\nbatch: 3\nbatch: 4\n", ["batch", "is given twice"]),
        ("base: paper\nbatch: 0\n", ["batch must be 1 or more"]),
        ("base: papers\n", ["papers", "paper, builtin, tiny"]),
        ("base: paper\nstage: fine\n", ["for the fine stage"]),
        ("batch: 3\n", ["base: "]),
        ("- 3\n", ["base: "]),
        ("base: [", ["not valid YAML"]),
    ],
)
def test_a_mistake_is_named_in_one_line(tmp_path, text, words):
    with pytest.raises(UsageError) as caught:
        read_recipe(written(tmp_path, text), "coarse")
    message = str(caught.value)
    assert "\n" not in message
    for word in words:
        assert word in message


def test_missing_files_and_names_are_told_apart(tmp_path):
    with pytest.raises(UsageError, match="cannot be read"):
        open_recipe(str(tmp_path / "none.yaml"), "fine")
    with pytest.raises(UsageError, match="paper, builtin, tiny, and YAML files"):
        open_recipe("papre", "fine")


@pytest.mark.parametrize("text", ["batch", "=3", "batch=", "batch=[", "nothing=1"])
def test_a_bad_override_is_refused(text):
    with pytest.raises(UsageError, match="--set"):
        open_recipe("tiny", "fine", [text])


def test_an_override_given_twice_is_refused():
    with pytest.raises(UsageError, match="twice"):
        open_recipe("tiny", "fine", ["batch=3", "batch=4"])


def test_overrides_change_recipe_and_stage():
    recipe = open_recipe(
        "tiny", "fine", ["ema_decay=null", "spec.conditioning=prefix", "spec.encoder_layers=0"]
    )
    assert recipe.spec.conditioning == "prefix"
    assert recipe.batch == tiny("fine").batch


def test_the_guide_of_a_stage_is_changed_and_left_out():
    kept = open_recipe("builtin", "coarse", ["spec.guide={beats: 0.2, style: 0}"]).spec.guide
    assert kept == GuideSpec(beats=0.2, style=0.0)
    assert open_recipe("builtin", "coarse", ["spec.guide=null"]).spec.guide is None

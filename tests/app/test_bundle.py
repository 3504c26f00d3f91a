"""`hafm bundle`: three runs of `hafm train` to a bundle that plays; what does not fit together is refused."""

import json
import shutil
from pathlib import Path

import pytest
import soundfile
import torch

from hafm.app.cli import run as run_words
from hafm.data.shards.index import Index
from hafm.engine.graph import GRAPH_VERSION
from hafm.errors import BundleMismatch
from hafm.stages.bundle import Bundle
from hafm.stages.bundle_config import STAGES
from hafm.train.run_folder import load_trained, read_data
from tests.app.conftest import Hafm, tree
from tests.train.training_shards import make_training_shards


def train(stage: str, shards: Path, run: Path, *more: str) -> None:
    words = ["train", stage, "--recipe", "tiny", "--data", str(shards), "--run", str(run), "--quiet"]
    for field in ("steps=2", "batch=2", "evaluate_every=1", "evaluate_clips=2", "report_every=1"):
        words += ["--set", field]
    assert run_words([*words, *more]) == 0


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory, tiny_shards: Path) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("runs")
    for stage in STAGES:
        train(stage, tiny_shards, folder / stage)
    return {stage: folder / stage for stage in STAGES}


@pytest.mark.slow
def test_from_runs_to_sound(
    hafm: Hafm, runs: dict[str, Path], tiny_shards: Path, vocal: Path, tmp_path: Path
) -> None:
    """Train, bundle, generate. The order of the runs does not matter; the card is not where mistakes hide."""
    folder = tmp_path / "new" / "band"
    made = hafm("bundle", *reversed(runs.values()), "-o", folder, "--weights", "fp32", "--json")
    assert made.code == 0, made.err
    bundle = Bundle.read(folder)
    assert made.json["bundle"] == str(folder)
    assert made.json["fingerprint"] == bundle.fingerprint
    assert (bundle.config.name, bundle.config.licence) == ("band", "unknown")
    for stage in STAGES:
        trained = load_trained(runs[stage])
        stored = bundle.load_stage(stage).state_dict()
        assert all(torch.equal(stored[name], weight) for name, weight in trained.weights.items())
        measured = bundle.config.measured["stages"][stage]
        assert measured["held_out_loss"] == pytest.approx(trained.held_out_loss)
        assert len(measured["held_out_loss_by_codebook"]) == trained.recipe.spec.target.num_codebooks
        assert (measured["loss_with_wrong_vocal"] is None) == (stage == "fine")
    index = Index.from_json((tiny_shards / "index.json").read_bytes())
    assert bundle.config.measured["data"]["fingerprint"] == index.digest()
    assert index.fingerprints.items() <= bundle.config.fingerprints.items()

    played = hafm("generate", vocal, "--bundle", folder, "-o", tmp_path / "out", "--quiet")
    assert played.code == 0, played.err
    sound = soundfile.info(tmp_path / "out" / "accompaniment.wav")
    assert (sound.frames, sound.samplerate) == (
        soundfile.info(vocal).frames,
        soundfile.info(vocal).samplerate,
    )


@pytest.mark.long
def test_a_bundle_that_follows_sheets_gets_analysers_unless_told_not_to(
    hafm: Hafm, vocal: Path, tmp_path: Path
) -> None:
    make_training_shards(tmp_path / "shards", songs=4, held_out=2, with_sheet=4)
    for stage in STAGES:
        guide = ["--set", "spec.guide={beats: 0.2}"] if stage == "semantic" else []
        train(stage, tmp_path / "shards", tmp_path / stage, *guide)
    runs = [tmp_path / stage for stage in STAGES]
    made = hafm("bundle", *runs, "-o", tmp_path / "hears")
    assert (made.code, "analyser" in made.err) == (0, False)
    own, builtin = Bundle.read(tmp_path / "hears"), Bundle.open("builtin")
    assert own.config.analysers == builtin.config.analysers == ("vocal", "band")
    assert own.load_analyser("vocal").fingerprint() == builtin.load_analyser("vocal").fingerprint()
    ran = hafm("analyse", vocal, "--bundle", tmp_path / "hears", "-o", tmp_path / "sheet")
    assert ran.code == 0, ran.err
    deaf = hafm("bundle", *runs, "-o", tmp_path / "deaf", "--analysers", "none")
    assert deaf.code == 0
    assert "has no analyser of vocals" in deaf.err
    assert Bundle.read(tmp_path / "deaf").config.analysers == ()


@pytest.mark.slow
def test_it_may_hold_the_graphs_of_engine_onnx(
    hafm: Hafm, runs: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("onnx", reason="the extra `fast` is not installed")
    pytest.importorskip("onnxruntime", reason="the extra `fast` is not installed")
    monkeypatch.setattr("hafm.generate.engine.MOST_ERROR", 0.0)
    refused = hafm("bundle", *runs.values(), "-o", tmp_path / "b", "--onnx")
    assert refused.code == 2
    assert "failed its test with this bundle" in refused.err
    assert not (tmp_path / "b").exists()
    monkeypatch.setattr("hafm.generate.engine.MOST_ERROR", 0.05)  # random weights are noisier
    assert hafm("bundle", *runs.values(), "-o", tmp_path / "b", "--onnx").code == 0
    names = set(Bundle.read(tmp_path / "b").config.files)
    assert {f"onnx/{stage}.{GRAPH_VERSION}.onnx" for stage in STAGES} < names


@pytest.mark.long
def test_onnx_needs_its_extra(
    hafm: Hafm, runs: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("hafm.generate.engine.find_spec", lambda _: None)
    refused = hafm("bundle", *runs.values(), "-o", tmp_path / "b", "--onnx")
    assert refused.code == 2
    assert "pip install 'hafm[fast]'" in refused.err


@pytest.mark.long
def test_the_card_quotes_what_was_measured(hafm: Hafm, runs: dict[str, Path], tmp_path: Path) -> None:
    words = ("--name", "My band", "--version", "2.1", "--licence", "CC-BY-4.0", "--weights", "int8")
    assert hafm("bundle", *runs.values(), "-o", tmp_path / "b", *words).code == 0
    bundle = Bundle.read(tmp_path / "b")
    card = (tmp_path / "b" / "README.md").read_text(encoding="utf-8")
    assert card.startswith("---\nlicense: cc-by-4.0\n")
    assert "# My band, version 2.1" in card
    assert "stored as int8" in card
    assert "by what right it was used: **to fill in**" in card
    for stage, figures in bundle.config.measured["stages"].items():
        row = next(
            line
            for line in card.splitlines()
            if line.startswith(f"| {stage} | {figures['held_out_loss']:.3f}")
        )
        assert f"{figures['loss_with_wrong_conditions']:.3f}" in row
    assert all(digest[:16] in card for digest in bundle.config.fingerprints.values())
    assert "not measured" not in card


def test_a_licence_that_nobody_named_is_to_be_filled_in(
    hafm: Hafm, runs: dict[str, Path], tmp_path: Path
) -> None:
    assert hafm("bundle", *runs.values(), "-o", tmp_path / "b").code == 0
    card = (tmp_path / "b" / "README.md").read_text(encoding="utf-8")
    assert "license: unknown" in card
    assert "## Licence\n\n**To fill in**" in card


def test_the_runs_need_not_have_their_shards_any_more(
    hafm: Hafm, runs: dict[str, Path], tiny_shards: Path, tmp_path: Path
) -> None:
    away = tiny_shards.rename(tiny_shards.with_name("away"))
    try:
        assert hafm("bundle", *runs.values(), "-o", tmp_path / "b").code == 0
    finally:
        away.rename(tiny_shards)


@pytest.mark.long
def test_other_data_is_refused(hafm: Hafm, runs: dict[str, Path], tmp_path: Path) -> None:
    """Same parts, other songs."""
    make_training_shards(tmp_path / "shards", songs=3, held_out=2, seed=50)
    train("fine", tmp_path / "shards", tmp_path / "fine")
    refused = hafm("bundle", runs["semantic"], runs["coarse"], tmp_path / "fine", "-o", tmp_path / "b")
    assert refused.code == BundleMismatch.exit_code
    for part in (str(runs["semantic"]), str(tmp_path / "fine"), "trained on data"):
        assert part in refused.error
    assert load_trained(runs["semantic"]).data[:16] in refused.error
    assert load_trained(tmp_path / "fine").data[:16] in refused.error
    assert not (tmp_path / "b").exists()


def test_other_parts_are_refused(hafm: Hafm, runs: dict[str, Path], tmp_path: Path) -> None:
    folder = tmp_path / "coarse"
    shutil.copytree(runs["coarse"], folder)
    path = folder / "data" / "index.json"
    index = read_data(folder).index
    index.made_by["fingerprints"]["codec"] = "f" * 64  # type: ignore[index]
    path.write_text(index.to_json())
    refused = hafm("bundle", runs["semantic"], folder, runs["fine"], "-o", tmp_path / "b")
    assert refused.code == BundleMismatch.exit_code
    assert "trained on parts" in refused.error
    assert "codec ffffffff" in refused.error


def test_a_folder_put_together_from_several_runs_is_refused(
    hafm: Hafm, runs: dict[str, Path], tmp_path: Path
) -> None:
    make_training_shards(tmp_path / "shards", songs=2, held_out=2, seed=90)
    index = (tmp_path / "shards" / "index.json").read_bytes()
    copies = {stage: tmp_path / stage for stage in STAGES}
    for stage, folder in copies.items():
        shutil.copytree(runs[stage], folder)
        (folder / "data" / "index.json").write_bytes(index)
    refused = hafm("bundle", *copies.values(), "-o", tmp_path / "b")
    assert "put together from several runs" in refused.error


@pytest.mark.parametrize(
    ("stages", "expected"),
    [
        (("semantic", "coarse"), "2 runs were given; name three"),
        (("semantic", "coarse", "coarse"), "a bundle needs a run of each stage"),
    ],
)
def test_three_stages_are_wanted(
    hafm: Hafm, runs: dict[str, Path], tmp_path: Path, stages: tuple[str, ...], expected: str
) -> None:
    copies = [shutil.copytree(runs[stage], tmp_path / str(n)) for n, stage in enumerate(stages)]
    assert expected in hafm("bundle", *copies, "-o", tmp_path / "b").error


def test_what_is_no_run_is_refused(hafm: Hafm, runs: dict[str, Path], tmp_path: Path) -> None:
    refused = hafm("bundle", runs["semantic"], runs["coarse"], tmp_path, "-o", tmp_path / "b")
    assert refused.code == 2
    assert "holds no checkpoint" in refused.error
    assert "name one with -o" in hafm("bundle", *runs.values()).error


def test_a_run_without_its_data_is_refused(hafm: Hafm, runs: dict[str, Path], tmp_path: Path) -> None:
    folder = shutil.copytree(runs["fine"], tmp_path / "fine")
    shutil.rmtree(folder / "data")
    refused = hafm("bundle", runs["semantic"], runs["coarse"], folder, "-o", tmp_path / "b")
    assert "does not say what it was trained on" in refused.error


def test_what_is_missing_is_noted(hafm: Hafm, runs: dict[str, Path], tmp_path: Path) -> None:
    """A run that was killed and never evaluated."""
    folder = shutil.copytree(runs["coarse"], tmp_path / "coarse")
    (folder / "metrics.jsonl").unlink()
    (folder / "outcome.json").write_text(json.dumps({"outcome": "stopped"}))
    made = hafm("bundle", runs["semantic"], folder, runs["fine"], "-o", tmp_path / "b", "--json")
    assert any("the coarse run was not evaluated" in note for note in made.json["notes"])
    assert "| coarse | not measured |" in (tmp_path / "b" / "README.md").read_text(encoding="utf-8")


@pytest.mark.slow
def test_a_bundle_is_replaced_only_on_demand(hafm: Hafm, runs: dict[str, Path], tmp_path: Path) -> None:
    words = ("bundle", *runs.values(), "-o", tmp_path / "b")
    assert hafm(*words).code == 0
    before = tree(tmp_path / "b")
    assert "already holds files" in hafm(*words, "--name", "other").error
    assert tree(tmp_path / "b") == before
    assert hafm(*words, "--name", "other", "--overwrite").code == 0
    assert Bundle.read(tmp_path / "b").config.name == "other"
    assert tree(tmp_path).keys() == {f"b/{name}" for name in before}


@pytest.mark.slow
def test_fine_tuning_starts_from_the_bundle(
    hafm: Hafm, runs: dict[str, Path], tiny_shards: Path, tmp_path: Path
) -> None:
    assert hafm("bundle", *runs.values(), "-o", tmp_path / "b", "--weights", "fp32").code == 0
    train(
        "coarse",
        tiny_shards,
        tmp_path / "run",
        "--init",
        str(tmp_path / "b"),
        "--set",
        "peak_rate=1e-12",
        "--set",
        "final_rate=0",
    )
    tuned, bundle = load_trained(tmp_path / "run", newest=True), Bundle.read(tmp_path / "b")
    for name, weight in bundle.load_stage("coarse").state_dict().items():
        torch.testing.assert_close(tuned.weights[name], weight, rtol=0, atol=1e-9)

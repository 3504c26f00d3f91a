"""The last step of the recipe: what the others left becomes a bundle whose card quotes their figures."""

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.torch
import torch

from hafm.data.collection.track import SPLITS
from hafm.data.result import TrackTokens
from hafm.errors import BundleMismatch
from hafm.guide.analyser import BAND, Analyser
from hafm.guide.network import AnalyserNetwork
from hafm.stages.analysers import as_stored, write_analyser
from hafm.stages.bundle import Bundle
from hafm.stages.parts import PART_NAMES
from hafm.stages.spec import COARSE, FINE, SEMANTIC
from hafm.stages.token_parts import FeatureParts, TokenParts
from hafm.stages.weights import stored
from hafm.tokens.kmeans import KMeans
from hafm.tokens.spectral import INSTRUMENTAL, VOCAL, SpectralFeatures
from recipes.builtin import bundle as module
from recipes.builtin.bundle import BundleRecipe, main, make_bundle, with_analysers
from tests.crossed import crossed
from tests.recipes.shards import Tracks, make_shards
from tests.tiny import CARDINALITY, tiny_codec, tiny_kmeans, tiny_stage

CODEBOOKS = 8
FRAMES = 200


def made_up_tracks(split: str) -> Tracks:
    rng = np.random.default_rng(0)
    return [
        (
            f"{split}/{number:06d}",
            f"{number // 2}",
            TrackTokens(
                vocal=rng.integers(CARDINALITY, size=(1, FRAMES), dtype=np.uint16),
                instrumental=rng.integers(CARDINALITY, size=FRAMES, dtype=np.uint16),
                codes=rng.integers(CARDINALITY, size=(CODEBOOKS, FRAMES * 3 // 2), dtype=np.uint16),
            ),
        )
        for number in range(4)
    ]


def tiny_parts() -> TokenParts:
    features = FeatureParts(
        vocal_features=SpectralFeatures(VOCAL),
        instrumental_features=SpectralFeatures(INSTRUMENTAL),
        codec=tiny_codec(seed=0, codebooks=CODEBOOKS).round_weights(),
        instrumental_rms=0.1,
    )
    kmeans = {side: tiny_kmeans(each, seed=0) for side, each in features.features.items()}
    for each in kmeans.values():
        each.notes = KMEANS_NOTES
    return features.with_kmeans(**kmeans)


def metrics(name: str, codebooks: int) -> dict[str, Any]:
    right = [2.0 + 0.1 * k for k in range(codebooks)]
    return {
        "stage": name,
        "held_out": {
            "right": right,
            "wrong": [value + 0.5 for value in right],
            "wrong_vocal": None if name == "fine" else [value + 0.25 for value in right],
        },
        "unigram_entropy": [2.7] * codebooks,
        "parameters": 1,
        "settings": {"steps": 7, "batch": 2, "optimizer": "muon", "seed": 0},
        "training_pairs": 4,
        "held_out_pairs": 4,
        "target_tokens_seen": 7_000_000,
    }


KMEANS_NOTES = {
    "data": "4 train tracks",
    "fit": {"frames": 9, "inertia": 0.05, "variance": 0.5, "dead": 1, "perplexity": 14.0},
    "held_out": {"frames": 9, "inertia": 0.1, "variance": 0.5, "dead": 3, "perplexity": 12.0},
}

HEARING = {
    "songs": 40,
    "seconds_each": 10.0,
    "settings": {"guidance": 3.0, "temperature": None, "seed": 0},
    "bundle": "f00d" * 16,
    "agreement": {
        name: {"exact": [0.5, 0.4, 0.6], "same_notes": [0.7, 0.6, 0.8]}
        for name in ("model", "codec", "truth", "vocal")
    },
    "shuffled": {name: {"exact": 0.08, "same_notes": 0.15} for name in ("model", "codec", "truth", "vocal")},
}

REPORT = {
    "encoded_seconds": 60.0,
    "encoded_sounds": 3,
    "quality": {
        name: {"mel_distance": 1.234, "spectral_snr_db": 9.0, "snr_db": -1.0}
        for name in ("8 codebooks", "4 codebooks")
    },
    "codebooks": [{"used": 1024, "perplexity": 900.0, "repeats": 0.3}] * CODEBOOKS,
}


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the other steps leave, of tiny random parts."""
    work = tmp_path_factory.mktemp("work")
    (work / "report.json").write_text(json.dumps(REPORT))
    tracks = {split: made_up_tracks(split) for split in SPLITS[:2]}
    make_shards(work / "shards", tracks, parts=tiny_parts(), made_by={"noise_sigma": 0.02})
    for spec in (SEMANTIC, COARSE, FINE):
        model = tiny_stage(spec, seed=0, codebooks=CODEBOOKS)
        folder = work / "stages" / spec.name
        folder.mkdir(parents=True)
        safetensors.torch.save_file(model.state_dict(), folder / "model.safetensors")
        (folder / "spec.json").write_text(json.dumps(model.spec.to_dict()))
        (folder / "metrics.json").write_text(json.dumps(metrics(spec.name, spec.target.num_codebooks)))
    (work / "hearing.json").write_text(json.dumps(HEARING))
    return work


@pytest.fixture
def work(finished: Path, tmp_path: Path) -> Path:
    """A copy to be spoilt."""
    return Path(shutil.copytree(finished, tmp_path / "work"))


def recipe(work: Path, **changes: Any) -> BundleRecipe:
    made = BundleRecipe(
        shards=work / "shards",
        stages=work / "stages",
        out=work / "out" / "builtin",
        codec_report=work / "report.json",
        loss_batches=0,
    )
    return replace(made, **changes)


def test_the_bundle_holds_what_was_trained(work: Path) -> None:
    bundle = make_bundle(recipe(work))
    for name in ("semantic", "coarse", "fine"):
        trained = safetensors.torch.load_file(work / "stages" / name / "model.safetensors")
        loaded = bundle.load_stage(name).state_dict()
        for key, tensor in stored(trained, "int8").items():
            assert loaded[key].equal(tensor)
    assert bundle.config.vocal_noise_sigma == 0.02
    assert bundle.config.licence == "Apache-2.0"
    figures = bundle.config.measured["stages"]["coarse"]
    assert figures["held_out_loss"] == pytest.approx(2.15)
    assert figures["unigram_entropy"] == pytest.approx(2.7)
    assert figures["loss_with_wrong_vocal"] == pytest.approx(2.4)
    assert bundle.config.measured["stages"]["fine"]["loss_with_wrong_vocal"] is None
    assert bundle.config.measured["data"] == {"hours": 4 * FRAMES / 50 / 3600, "pairs": 4, "songs": 2}


def test_the_card_quotes_every_figure(work: Path) -> None:
    card = (make_bundle(recipe(work, hearing=work / "hearing.json")).folder / "README.md").read_text()
    assert card.startswith("---\nlicense: apache-2.0\n")
    for row in (
        "| coarse | 2.700 | 2.150 | not measured | 2.400 | 2.650 |",
        "| fine | 2.700 | 2.150 | not measured | does not see it | 2.650 |",
        "| fine 4 | 2.700 | 2.300 |",
        "| the accompaniment | 0.50 [0.40, 0.60] | 0.080 | 0.70 [0.60, 0.80] | 0.150 |",
        "| 4 codebooks | 1.234 | 9.00 | -1.00 |",
        "| 8 | 1024 | 900 | 0.300 |",
        "| vocal | 12 of 500 | 1 | 0.100 | 0.500 |",
        "| semantic | 7 | 2 | 2 s | 7.0 M | muon | 0 |",
        "POP909",
        "commercial",
    ):
        assert row in card, row
    assert "guidance 3.0, seed 0" in card
    assert "None" not in card


def test_without_hearing_and_codec_report_the_card_leaves_them_out(work: Path) -> None:
    card = (make_bundle(recipe(work, codec_report=None)).folder / "README.md").read_text()
    assert "## Does it hear" not in card
    assert "## The codec" not in card
    assert "## How well it predicts" in card


@pytest.mark.slow
def test_analysers_go_into_the_bundle(work: Path) -> None:
    folder = work / "analysers"
    folder.mkdir()
    with pytest.raises(ValueError, match="there is no analyser in"):
        make_bundle(recipe(work, analysers=folder))
    analyser = Analyser(config=BAND, weights=AnalyserNetwork(BAND.network).state_dict())
    write_analyser(folder / "band.safetensors", analyser, storage="fp32")
    bundle = make_bundle(recipe(work, analysers=folder))
    assert bundle.config.analysers == ("band",)
    assert bundle.load_analyser("band").fingerprint() == as_stored(analyser, "int8").fingerprint()


def test_a_bundle_gets_other_analysers_and_keeps_the_rest(work: Path) -> None:
    before = make_bundle(recipe(work))
    kept = {path: (before.folder / path).read_bytes() for path in before.config.files}
    folder = work / "analysers"
    folder.mkdir()
    analyser = Analyser(config=BAND, weights=AnalyserNetwork(BAND.network).state_dict())
    write_analyser(folder / "band.safetensors", analyser, storage="fp32")
    after = with_analysers(str(before.folder), folder, out=before.folder, version="7")
    assert (after.config.version, after.config.analysers) == ("7", ("band",))
    assert after.load_analyser("band").fingerprint() == as_stored(analyser, "int8").fingerprint()
    assert after.config.fingerprints["analyser_band"][:16] in (after.folder / "README.md").read_text()
    for path, content in kept.items():
        assert (after.folder / path).read_bytes() == content, path
    with pytest.raises(ValueError, match="--from needs --analysers"):
        with_analysers(str(before.folder), None, out=before.folder, version="7")


@pytest.mark.slow
def test_new_stages_on_the_parts_of_a_bundle_keep_its_analysers(
    work: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = work / "analysers"
    folder.mkdir()
    analyser = Analyser(config=BAND, weights=AnalyserNetwork(BAND.network).state_dict())
    write_analyser(folder / "band.safetensors", analyser, storage="fp32")
    before = make_bundle(recipe(work, analysers=folder, out=work / "before"))
    path = work / "stages" / "fine" / "metrics.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "init": before.fingerprint}))
    words = ["--shards", "shards", "--stages", "stages", "--from", "before", "--out", "after"]
    words = [word if word.startswith("--") else str(work / word) for word in words]
    assert main([*words, "--loss-batches", "0", "--version", "8"]) == 0
    after = Bundle.read(work / "after")
    assert after.config.version == "8"
    assert after.config.fingerprints["analyser_band"] == before.config.fingerprints["analyser_band"]
    assert after.config.measured["codec"] == before.config.measured["codec"]
    card = (after.folder / "README.md").read_text()
    assert f"| 0 | `{before.fingerprint[:12]}` |" in card
    assert card.count("| 0 | new |") == 2
    assert "The stages (fine) went on from those of an earlier version" in card

    shutil.rmtree(work / "stages" / "coarse")
    last = str(work / "last")
    assert main([*words[:-1], last, "--loss-batches", "0", "--version", "9"]) == 0
    kept = Bundle.read(Path(last))
    assert kept.config.fingerprints["coarse"] == after.config.fingerprints["coarse"]
    assert kept.config.measured["stages"]["coarse"] == after.config.measured["stages"]["coarse"]
    assert main(["--shards", words[1], "--stages", words[3], "--out", last]) == 2

    with pytest.raises(SystemExit):
        main([*words[:2], *words[4:]])
    assert "give --shards and --stages, or --from, or all three" in capsys.readouterr().err


@pytest.mark.long
def test_the_loss_of_stored_weights_is_measured(work: Path) -> None:
    exact, rounded = (
        make_bundle(recipe(work, loss_batches=1, weights=weights, out=work / weights)).config.measured[
            "stages"
        ]
        for weights in ("fp32", "int8")
    )
    for name in ("semantic", "coarse", "fine"):
        one, other = exact[name]["held_out_loss_as_stored"], rounded[name]["held_out_loss_as_stored"]
        assert 1.0 < one < 20.0
        assert one != other
        assert one == pytest.approx(other, rel=0.02)


@crossed(part=PART_NAMES)
def test_parts_that_the_stages_were_not_trained_on_are_refused(work: Path, part: str) -> None:
    shutil.rmtree(work / "shards")
    made_by = {"fingerprints": {**tiny_parts().fingerprints(), part: "dead" * 16}}
    make_shards(work / "shards", {"train": made_up_tracks("train")}, parts=tiny_parts(), made_by=made_by)
    with pytest.raises(BundleMismatch, match="dead"):
        make_bundle(recipe(work))
    assert not (work / "out" / "builtin").exists()


def test_a_bundle_that_is_too_large_never_stands(work: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = make_bundle(recipe(work)).fingerprint
    monkeypatch.setattr(module, "MAX_BYTES", 100_000)
    with pytest.raises(ValueError, match="over the limit"):
        make_bundle(recipe(work, weights="fp32"))
    assert Bundle.read(work / "out" / "builtin").fingerprint == before
    assert [path.name for path in (work / "out").iterdir()] == ["builtin"]


@pytest.mark.slow
def test_making_it_again_gives_the_same(work: Path) -> None:
    first = make_bundle(recipe(work))
    bytes_before = {path.name: path.read_bytes() for path in first.folder.rglob("*") if path.is_file()}
    again = make_bundle(recipe(work))
    assert {
        path.name: path.read_bytes() for path in again.folder.rglob("*") if path.is_file()
    } == bytes_before


@pytest.mark.parametrize(
    "missing",
    ["shards/parts/kmeans_vocal.safetensors", "shards/index.json", "shards/parts/codec/config.json"]
    + [f"stages/fine/{name}" for name in ("model.safetensors", "spec.json", "metrics.json")],
)
def test_the_command_says_what_is_missing(
    work: Path, missing: str, capsys: pytest.CaptureFixture[str]
) -> None:
    (work / missing).unlink()
    words = ["--shards", "shards", "--stages", "stages", "--out", "out/builtin"]
    words = [word if word.startswith("--") else str(work / word) for word in words]
    assert main([*words, "--loss-batches", "0"]) == 2
    error = capsys.readouterr().err
    assert error.startswith("error: ")
    assert Path(missing).parts[-2] in error


def test_the_command(work: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["--shards", "shards", "--stages", "stages", "--out", "out/builtin"]
    words = [word if word.startswith("--") else str(work / word) for word in words]
    assert main([*words, "--loss-batches", "0", "--guidance", "2", "--level-lufs", "-20"]) == 0
    assert "48 MiB" in capsys.readouterr().out
    generation = Bundle.read(work / "out" / "builtin").config.generation
    assert (generation.guidance, generation.level_lufs, generation.top_k) == (2.0, -20.0, 250)


def test_a_stage_in_the_wrong_folder(work: Path) -> None:
    shutil.rmtree(work / "stages" / "fine")
    shutil.copytree(work / "stages" / "coarse", work / "stages" / "fine")
    with pytest.raises(ValueError, match="coarse stage, not the fine"):
        make_bundle(recipe(work))


def test_weights_that_do_not_fit_their_spec(work: Path) -> None:
    safetensors.torch.save_file({"heads": torch.zeros(2)}, work / "stages" / "fine" / "model.safetensors")
    with pytest.raises(ValueError, match="has train_stages fine ended"):
        make_bundle(recipe(work))


def test_an_older_k_means_keeps_the_figures_of_its_time(work: Path) -> None:
    path = work / "shards" / "parts" / "kmeans_vocal.safetensors"
    kmeans = KMeans.load(path)
    kmeans.notes = {"perplexity": 440.0, "dead_clusters": 0}
    kmeans.save(path)
    assert make_bundle(recipe(work)).config.measured["kmeans"]["vocal"] == kmeans.notes

"""Fitting the vocabularies: finds clusters, wakes the dead, repeats exactly."""

from pathlib import Path

import numpy as np
import pytest

from hafm.tokens.kmeans import KMeans
from hafm.tokens.spectral import INSTRUMENTAL, VOCAL, SpectralFeatures
from recipes.builtin import fit_kmeans as module
from recipes.builtin.fit_kmeans import FitConfig, fit, fit_kmeans, main, perplexity
from tests.recipes.test_tokenise import write_pair


def blobs(count: int = 12, each: int = 300, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    centres = rng.uniform(-10, 10, (count, 4))
    return np.concatenate([centre + 0.05 * rng.standard_normal((each, 4)) for centre in centres]).astype(
        np.float32
    )


def test_it_finds_what_is_there() -> None:
    features = blobs(count=3)
    found = fit(features, clusters=12, starts=3, passes=15, seed=0)
    assert found.dead == 0
    assert found.centroids.shape == (12, 4)
    assert found.perplexity > 8
    assert found.inertia < 0.01 * features.var(axis=0).sum()


def test_the_dead_are_woken(monkeypatch: pytest.MonkeyPatch) -> None:
    """90 % of the frames are one point, so that random starts put most centroids there, in one place."""
    features = np.concatenate([np.zeros((10_000, 4), np.float32), blobs(each=90)])
    found = fit(features, clusters=12, starts=1, passes=15, seed=0)
    monkeypatch.setattr(module.np, "flatnonzero", lambda _: np.array([], dtype=np.int64))  # without reseeding
    control = fit(features, clusters=12, starts=1, passes=15, seed=0)
    assert found.dead == 0
    assert found.inertia < 0.5 * control.inertia


def test_the_same_seed_gives_the_same_centroids() -> None:
    first, again, other = (fit(blobs(), clusters=12, starts=2, passes=2, seed=seed) for seed in (0, 0, 1))
    assert np.array_equal(first.centroids, again.centroids)
    assert not np.array_equal(first.centroids, other.centroids)


def test_too_few_frames_are_refused() -> None:
    with pytest.raises(ValueError, match="10 frames cannot make 12 clusters"):
        fit(blobs()[:10], clusters=12, starts=1, passes=1, seed=0)


def test_perplexity_is_the_number_of_ids_in_even_use() -> None:
    assert perplexity(np.array([7, 7, 7, 0])) == pytest.approx(3)
    assert perplexity(np.array([100, 0, 0, 0])) == pytest.approx(1)


def test_pairs_to_files_and_the_same_files_again(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for index in range(4):
        write_pair(tmp_path / "pairs" / "train", index, num_samples=24_000)
    given = ["--pairs", str(tmp_path / "pairs"), "--clusters", "8", "--starts", "1", "--passes", "2"]
    assert main([*given, "--out", str(tmp_path / "a")]) == 0
    assert main([*given, "--out", str(tmp_path / "b")]) == 0
    for name, config in (("vocal", VOCAL), ("instrumental", INSTRUMENTAL)):
        file = f"kmeans_{name}.safetensors"
        assert (tmp_path / "a" / file).read_bytes() == (tmp_path / "b" / file).read_bytes()
        kmeans = KMeans.load(
            tmp_path / "a" / file, feature_fingerprint=SpectralFeatures(config).fingerprint()
        )
        assert kmeans.cardinality == 8
        assert {"data", "inertia", "dead_clusters", "perplexity"} <= set(kmeans.notes)
        assert "4 rendered train pairs" in kmeans.notes["data"]
    assert "perplexity" in capsys.readouterr().out


def test_the_hours_limit_the_sample(tmp_path: Path) -> None:
    for index in range(6):
        write_pair(tmp_path / "pairs" / "train", index, num_samples=24_000)
    config = FitConfig(
        pairs=tmp_path / "pairs", out=tmp_path, hours=2.5 / 3600, clusters=4, starts=1, passes=1
    )
    assert fit_kmeans(config)["instrumental"].notes["frames"] == 3 * 50


def test_what_cannot_be_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--pairs", str(tmp_path), "--out", str(tmp_path)]) == 2
    assert capsys.readouterr().err.startswith("error: no complete pairs")
    with pytest.raises(ValueError, match="--hours 0"):
        FitConfig(pairs=tmp_path, out=tmp_path, hours=0.0)
    with pytest.raises(ValueError, match="at least 1"):
        FitConfig(pairs=tmp_path, out=tmp_path, starts=0)

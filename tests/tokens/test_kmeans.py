"""K-means: nearest centroid, the same however it is batched, and safe on disk."""

from pathlib import Path

import pytest
import torch

from hafm.errors import BundleDamaged, BundleMismatch, BundleNotFound, OutputError
from hafm.tokens import kmeans as module
from hafm.tokens.kmeans import KMeans


def make(clusters: int = 7, dim: int = 5, seed: int = 0) -> KMeans:
    centroids = torch.randn(clusters, dim, generator=torch.Generator().manual_seed(seed))
    return KMeans(
        centroids=centroids, feature_fingerprint="f" * 64, notes={"data": "none", "dead_clusters": 0}
    )


def test_nearest_by_the_naive_distance() -> None:
    kmeans, features = make(), torch.randn(3, 11, 5)
    ids = kmeans.predict(features)
    assert ids.shape == (3, 11)
    assert ids.dtype == torch.int64
    for row in range(3):
        for frame in range(11):
            distances = (kmeans.centroids - features[row, frame]).square().sum(dim=1)
            assert ids[row, frame] == distances.argmin()


def test_chunks_do_not_show(monkeypatch: pytest.MonkeyPatch) -> None:
    kmeans, features = make(50), torch.randn(2, 200, 5)
    whole = kmeans.predict(features)
    monkeypatch.setattr(module, "CHUNK_FRAMES", 13)
    assert torch.equal(kmeans.predict(features), whole)
    assert torch.equal(
        torch.cat([kmeans.predict(features[:, :90]), kmeans.predict(features[:, 90:])], dim=1), whole
    )


def test_ties_go_to_the_lowest_id() -> None:
    twice = torch.tensor([[1.0, 0.0], [0.0, 1.0], [1.0, 0.0], [0.0, 1.0]])
    ids = KMeans(centroids=twice, feature_fingerprint="f").predict(
        torch.tensor([[[0.9, 0.0], [0.0, 0.9], [0.4, 0.4]]])
    )
    assert ids.tolist() == [[0, 1, 0]]


def test_far_from_the_origin_float32_would_round() -> None:
    """|x|^2 - 2xc + |c|^2 in float32 loses a difference of 0.01 beside 1e8; in float64 it does not."""
    centroids = torch.tensor([[10_000.0, 0.0], [10_000.0, 0.5]])
    kmeans = KMeans(centroids=centroids, feature_fingerprint="f")
    assert kmeans.predict(torch.tensor([[[10_000.0, 0.24], [10_000.0, 0.26]]])).tolist() == [[0, 1]]


def test_comes_back_from_disk(tmp_path: Path) -> None:
    kmeans = make()
    kmeans.save(tmp_path / "k.safetensors")
    again = KMeans.load(tmp_path / "k.safetensors", feature_fingerprint="f" * 64)
    assert torch.equal(again.centroids, kmeans.centroids)
    assert again.notes == kmeans.notes
    assert again.fingerprint() == kmeans.fingerprint()
    assert [path.name for path in tmp_path.iterdir()] == ["k.safetensors"]
    first = (tmp_path / "k.safetensors").read_bytes()
    kmeans.save(tmp_path / "k.safetensors")
    assert (tmp_path / "k.safetensors").read_bytes() == first


def test_other_features_are_refused_with_both_names(tmp_path: Path) -> None:
    make().save(tmp_path / "k.safetensors")
    with pytest.raises(BundleMismatch, match="f" * 64 + ".*" + "e" * 64):
        KMeans.load(tmp_path / "k.safetensors", feature_fingerprint="e" * 64)


def test_fingerprint_covers_centroids_and_features_but_not_notes() -> None:
    kmeans = make()
    other = KMeans(centroids=kmeans.centroids, feature_fingerprint="e" * 64)
    noted = KMeans(centroids=kmeans.centroids, feature_fingerprint="f" * 64, notes={"x": 1})
    assert kmeans.fingerprint() == noted.fingerprint()
    assert len({kmeans.fingerprint(), other.fingerprint(), make(seed=1).fingerprint()}) == 3


def test_damage_is_noticed(tmp_path: Path) -> None:
    path = tmp_path / "k.safetensors"
    with pytest.raises(BundleNotFound, match="no k-means file"):
        KMeans.load(path)
    make().save(path)
    whole = path.read_bytes()
    # The last byte belongs to a centroid; flipped there, it loads silently but for the recorded fingerprint.
    for damaged in (b"", b"not safetensors at all", whole[:-3], whole[:-1] + bytes([whole[-1] ^ 1])):
        path.write_bytes(damaged)
        with pytest.raises(BundleDamaged):
            KMeans.load(path)


def test_a_failed_save_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "k.safetensors"
    make().save(path)
    before = path.read_bytes()

    def fail(*_: object) -> None:
        raise OSError("disk full")

    monkeypatch.setattr(module.os, "fsync", fail)
    with pytest.raises(OutputError, match="disk full"):
        make(seed=1).save(path)
    assert path.read_bytes() == before
    assert [found.name for found in tmp_path.iterdir()] == ["k.safetensors"]


def test_bad_shapes_and_values_are_refused() -> None:
    with pytest.raises(ValueError, match="features have 4 dimensions, these centroids 5"):
        make().predict(torch.zeros(1, 2, 4))
    with pytest.raises(ValueError, match="finite"):
        make().predict(torch.full((1, 2, 5), torch.nan))
    with pytest.raises(ValueError, match="finite"):
        KMeans(centroids=torch.full((2, 2), torch.inf), feature_fingerprint="f")
    with pytest.raises(ValueError, match=r"\[V, D\]"):
        KMeans(centroids=torch.zeros(0, 2), feature_fingerprint="f")

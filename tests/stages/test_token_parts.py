"""Parts: what a name means, and the folder that holds them, whole or not at all."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from hafm.errors import BundleDamaged, BundleError, BundleMismatch, BundleNotFound, OutputError, UsageError
from hafm.stages import token_parts as module
from hafm.stages.bundle import Bundle
from hafm.stages.parts import PART_NAMES, PartsFile, require_same_parts
from hafm.stages.token_parts import FeatureParts, TokenParts, open_features, open_parts
from hafm.tokens.encodec import ENCODEC_REVISION, EncodecCodec
from hafm.tokens.hubert import HUBERT_REVISION, HubertFeatures
from hafm.tokens.kmeans import KMeans
from tests.tiny import make_tiny_bundle, sung, tiny_codec
from tests.tokens.test_encodec import tiny as tiny_encodec
from tests.tokens.test_hubert import tiny as tiny_hubert


@pytest.fixture
def on_hub(monkeypatch: pytest.MonkeyPatch) -> None:
    """The hub has the tiny models."""
    monkeypatch.setattr(
        HubertFeatures, "from_hub", lambda *_, layer=9, **__: HubertFeatures(model=tiny_hubert(), layer=3)
    )
    monkeypatch.setattr(EncodecCodec, "from_hub", lambda *_, **__: EncodecCodec(model=tiny_encodec()))


def paper_kmeans(features: HubertFeatures, folder: Path) -> dict[str, KMeans]:
    frames = features.extract(torch.randn(1, 16_000))[0]
    folder.mkdir(exist_ok=True)
    kmeans = {
        side: KMeans(centroids=frames[start::9], feature_fingerprint=features.fingerprint())
        for start, side in enumerate(("vocal", "instrumental"))
    }
    for side, each in kmeans.items():
        each.save(folder / f"kmeans_{side}.safetensors")
    return kmeans


def ids(parts: TokenParts) -> list[torch.Tensor]:
    sound = sung(0.7)
    heard = [
        parts.kmeans[side].predict(parts.features[side].extract(sound)) for side in ("vocal", "instrumental")
    ]
    return [*heard, parts.codec.encode(sound[None])]


def test_a_bundle_gives_its_parts(tiny_bundle: Path) -> None:
    parts = open_parts(str(tiny_bundle))
    recorded = Bundle.read(tiny_bundle).config.fingerprints
    assert parts.fingerprints() == {name: recorded[name] for name in PART_NAMES}
    assert parts.instrumental_rms == 0.1
    require_same_parts(expected=recorded, found=parts.fingerprints(), what="the shards")


def test_the_built_in_parts_are_those_of_the_package() -> None:
    parts = open_parts("builtin")
    assert (parts.vocal_kmeans.cardinality, parts.codec.num_codebooks, parts.instrumental_rms) == (
        500,
        8,
        0.1,
    )


def test_a_folder_gives_the_parts_that_were_saved(tiny_bundle: Path, tmp_path: Path) -> None:
    parts = open_parts(tiny_bundle)
    parts.save(tmp_path / "parts")
    again = open_parts(tmp_path / "parts")
    assert again.fingerprints() == parts.fingerprints() == PartsFile.read(tmp_path / "parts").fingerprints
    assert all(one.equal(other) for one, other in zip(ids(parts), ids(again), strict=True))
    assert again.instrumental_rms == parts.instrumental_rms
    assert sorted(path.name for path in tmp_path.iterdir()) == ["parts"]


def test_two_saves_give_the_same_bytes_and_a_second_leaves_the_first(
    tiny_bundle: Path, tmp_path: Path
) -> None:
    parts = open_parts(tiny_bundle)
    parts.save(tmp_path / "a")
    parts.save(tmp_path / "b")
    files = [path.relative_to(tmp_path / "a") for path in (tmp_path / "a").rglob("*") if path.is_file()]
    assert len(files) == 5
    for name in files:
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()
    before = (tmp_path / "a" / "parts.json").stat()
    parts.save(tmp_path / "a")
    assert (tmp_path / "a" / "parts.json").stat() == before


def test_features_alone_can_be_saved_and_wait_for_their_kmeans(tiny_bundle: Path, tmp_path: Path) -> None:
    whole = open_parts(tiny_bundle)
    open_features(tiny_bundle).save(tmp_path / "features")
    features = open_features(tmp_path / "features")
    assert not isinstance(features, TokenParts)
    assert features.fingerprints().items() < whole.fingerprints().items()
    with pytest.raises(BundleNotFound, match=r"no k-means .* hafm fit-kmeans"):
        open_parts(tmp_path / "features")
    found = open_parts(tmp_path / "features", kmeans=tiny_bundle)
    assert found.fingerprints() == whole.fingerprints()


def test_a_codec_that_was_trained_anew_comes_with_the_built_in_features(
    tiny_bundle: Path, tmp_path: Path
) -> None:
    codec = tiny_codec(seed=3)
    codec.save(tmp_path / "export")
    features = open_features(tmp_path / "export")
    known = open_parts(tiny_bundle)
    assert features.fingerprints() == {
        **{name: known.fingerprints()[name] for name in ("features_vocal", "features_instrumental")},
        "codec": codec.fingerprint(),
    }
    assert features.instrumental_rms == 0.1
    with pytest.raises(UsageError, match="a codec alone: fit k-means"):
        open_parts(tmp_path / "export")
    assert open_parts(tmp_path / "export", kmeans=tiny_bundle).vocal_kmeans.fingerprint() == (
        known.vocal_kmeans.fingerprint()
    )


def test_the_papers_parts_name_their_weights_and_need_a_kmeans(on_hub: None, tmp_path: Path) -> None:
    features = open_features("paper")
    assert features.vocal_features is features.instrumental_features
    assert features.instrumental_rms is None
    with pytest.raises(UsageError, match="hafm fit-kmeans"):
        open_parts("paper")
    paper_kmeans(features.vocal_features, tmp_path / "kmeans")  # type: ignore[arg-type]
    parts = open_parts("paper", kmeans=tmp_path / "kmeans")
    parts.save(tmp_path / "parts")
    values = json.loads((tmp_path / "parts" / "parts.json").read_text())
    assert values["features"]["vocal"]["revision"] == HUBERT_REVISION
    assert (
        json.loads((tmp_path / "parts" / "codec" / "config.json").read_text())["revision"] == ENCODEC_REVISION
    )


@pytest.mark.long
def test_the_papers_parts_come_back_from_their_folder(
    on_hub: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    paper_kmeans(open_features("paper").vocal_features, tmp_path / "kmeans")  # type: ignore[arg-type]
    parts = open_parts("paper", kmeans=tmp_path / "kmeans")
    parts.save(tmp_path / "parts")
    again = TokenParts.load(tmp_path / "parts")
    assert again.fingerprints() == parts.fingerprints()
    assert again.vocal_features is again.instrumental_features
    again.save(tmp_path / "copy")  # where it came from is still known
    assert (tmp_path / "copy" / "parts.json").read_bytes() == (tmp_path / "parts" / "parts.json").read_bytes()
    other = EncodecCodec(model=tiny_encodec(seed=1))
    monkeypatch.setattr(EncodecCodec, "from_hub", lambda *_, **__: other)
    with pytest.raises(BundleMismatch, match=parts.codec.fingerprint()):
        TokenParts.load(tmp_path / "parts")


def test_another_kmeans_in_the_folder_is_refused(tiny_bundle: Path, tmp_path: Path) -> None:
    open_parts(tiny_bundle).save(tmp_path / "parts")
    other = make_tiny_bundle(tmp_path / "other", seed=5)
    shutil.copy(other / "kmeans_vocal.safetensors", tmp_path / "parts")
    with pytest.raises(BundleMismatch) as caught:
        open_parts(tmp_path / "parts")
    assert open_parts(tiny_bundle).vocal_kmeans.fingerprint() in str(caught.value)
    assert open_parts(other).vocal_kmeans.fingerprint() in str(caught.value)


def test_a_kmeans_of_other_features_is_refused(tiny_bundle: Path) -> None:
    parts = open_parts(tiny_bundle)
    with pytest.raises(BundleMismatch, match="vocal k-means and the vocal features"):
        replace(parts, vocal_kmeans=parts.instrumental_kmeans)


def test_another_codec_in_the_folder_is_refused(tiny_bundle: Path, tmp_path: Path) -> None:
    open_parts(tiny_bundle).save(tmp_path / "parts")
    tiny_codec(seed=9).save(tmp_path / "parts" / "codec")
    with pytest.raises(BundleMismatch, match="the codec of"):
        open_features(tmp_path / "parts")


@pytest.mark.parametrize(
    "text", ["", "{}", '{"format": 2}', '{"format": 1, "features": {"vocal": {}}}', "[]"]
)
def test_a_damaged_description_is_refused(tiny_bundle: Path, tmp_path: Path, text: str) -> None:
    open_parts(tiny_bundle).save(tmp_path / "parts")
    (tmp_path / "parts" / "parts.json").write_text(text)
    with pytest.raises(BundleDamaged, match=r"parts\.json"):
        open_parts(tmp_path / "parts")


def test_a_folder_without_parts_is_no_bundle_either(tmp_path: Path) -> None:
    with pytest.raises(BundleError):
        open_parts(tmp_path)
    with pytest.raises(BundleNotFound, match="there are no parts"):
        FeatureParts.load(tmp_path)


def test_what_lies_in_a_folder_is_left_alone(tiny_bundle: Path, tmp_path: Path) -> None:
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "thesis.txt").write_text("mine")
    with pytest.raises(OutputError, match="already holds something else"):
        open_parts(tiny_bundle).save(tmp_path / "full")
    open_parts(tiny_bundle).save(tmp_path / "parts")
    other = make_tiny_bundle(tmp_path / "other", seed=5)
    with pytest.raises(OutputError, match="already holds something else"):
        open_parts(other).save(tmp_path / "parts")
    assert [path.name for path in (tmp_path / "full").iterdir()] == ["thesis.txt"]


def test_a_full_disk_leaves_nothing(
    tiny_bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(module, "save_codec", full)
    with pytest.raises(OutputError, match="the disk is full"):
        open_parts(tiny_bundle).save(tmp_path / "parts")
    assert list(tmp_path.iterdir()) == []


def test_ids_of_other_parts_are_refused_by_name(tiny_bundle: Path) -> None:
    prints = open_parts(tiny_bundle).fingerprints()
    for name in PART_NAMES:
        with pytest.raises(BundleMismatch, match=f"the shards: the {name}.*{prints[name]}.*0123"):
            require_same_parts(expected=prints, found={**prints, name: "0123"}, what="the shards")
    with pytest.raises(BundleMismatch, match="None"):
        require_same_parts(expected=prints, found={}, what="the shards")

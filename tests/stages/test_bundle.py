"""Bundles: what is written comes back, and what is damaged or does not belong together is refused."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from hafm import Accompanist
from hafm.errors import BundleDamaged, BundleError, BundleMismatch, BundleNotFound, OutputError, UsageError
from hafm.stages.bundle import Bundle, parts_of
from hafm.stages.bundle_config import BundleConfig, GenerationDefaults
from hafm.stages.bundle_writer import Ingredients, copy_bundle, write_bundle
from hafm.stages.parts import Pinned
from hafm.stages.spec import COARSE, FINE, SEMANTIC
from hafm.stages.weights import Storage, read_weights, stored, write_weights
from hafm.tokens.kmeans import KMeans
from tests.tiny import (
    CARDINALITY,
    CODEBOOKS,
    RATE,
    make_tiny_bundle,
    sung,
    tiny_codec,
    tiny_ingredients,
    tiny_kmeans,
)

FILES = (
    "semantic.safetensors",
    "coarse.safetensors",
    "fine.safetensors",
    "kmeans_vocal.safetensors",
    "kmeans_instrumental.safetensors",
    "codec/config.json",
    "codec/weights.safetensors",
    "config.json",
)


@pytest.fixture
def folder(tiny_bundle: Path, tmp_path: Path) -> Path:
    """A copy to be damaged."""
    return Path(shutil.copytree(tiny_bundle, tmp_path / "copy"))


def rewrite_config(folder: Path, **changes: object) -> None:
    """Changes `config.json` in a way that its digest covers."""
    config = BundleConfig.from_json((folder / "config.json").read_text())
    (folder / "config.json").write_text(replace(config, **changes).to_json())


# ---- what comes back


def test_a_bundle_is_these_files(tiny_bundle: Path) -> None:
    found = {path.relative_to(tiny_bundle).as_posix() for path in tiny_bundle.rglob("*") if path.is_file()}
    assert found == {*FILES, "README.md"}
    assert set(Bundle.read(tiny_bundle).config.files) == set(FILES) - {"config.json"}
    assert Bundle.read(tiny_bundle).num_bytes == sum((tiny_bundle / name).stat().st_size for name in found)


@pytest.mark.parametrize("storage", ["fp32", pytest.param("fp16", marks=pytest.mark.slow), "int8"])
def test_what_was_written_comes_back(tmp_path: Path, storage: Storage) -> None:
    ingredients = tiny_ingredients(storage=storage)
    bundle = write_bundle(tmp_path / "b", ingredients)
    for name, model in ingredients.stages.items():
        loaded = bundle.load_stage(name)
        assert not loaded.training
        assert loaded.spec == model.spec
        for key, tensor in stored(model.state_dict(), storage).items():
            assert loaded.state_dict()[key].equal(tensor), (name, key)
    for side in ("vocal", "instrumental"):
        assert bundle.load_kmeans(side).centroids.equal(ingredients.kmeans[side].centroids)
        assert bundle.load_features(side).fingerprint() == ingredients.features[side].fingerprint()
    codes = torch.randint(0, CARDINALITY, (1, CODEBOOKS, 10))
    assert bundle.load_codec().decode(codes).equal(ingredients.codec.decode(codes))


def test_the_same_ingredients_give_the_same_bytes(tiny_bundle: Path, tmp_path: Path) -> None:
    again = make_tiny_bundle(tmp_path / "again")
    for name in FILES:
        assert (again / name).read_bytes() == (tiny_bundle / name).read_bytes(), name


def test_loading_draws_no_random_numbers(tiny_bundle: Path) -> None:
    before = torch.get_rng_state()
    bundle = Bundle.read(tiny_bundle)
    bundle.load_stage("coarse")
    bundle.load_codec()
    assert torch.get_rng_state().equal(before)


@pytest.mark.long
def test_another_weight_or_another_default_is_another_fingerprint(tmp_path: Path) -> None:
    first = write_bundle(tmp_path / "1", tiny_ingredients()).fingerprint
    ingredients = tiny_ingredients()
    with torch.no_grad():
        ingredients.stages["fine"].heads[0, 0, 0] += 1
    assert write_bundle(tmp_path / "2", ingredients).fingerprint != first
    generation = GenerationDefaults(temperature=0.5)
    assert write_bundle(tmp_path / "3", tiny_ingredients(generation=generation)).fingerprint != first


def test_the_card_may_be_edited(folder: Path) -> None:
    before = Bundle.read(folder).fingerprint
    (folder / "README.md").write_text("better words")
    (folder / ".gitattributes").write_text("what the hub adds")
    assert Bundle.read(folder).fingerprint == before


def test_parts_of_the_stages() -> None:
    assert parts_of(SEMANTIC) == ("kmeans_instrumental", "kmeans_vocal")
    assert parts_of(COARSE) == ("codec", "kmeans_instrumental", "kmeans_vocal")
    assert parts_of(FINE) == ("codec",)


# ---- damage


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("place", [0.02, 0.5, 0.97])
def test_one_changed_byte_is_refused_and_its_file_named(folder: Path, name: str, place: float) -> None:
    data = bytearray((folder / name).read_bytes())
    at = int(place * len(data))
    while chr(data[at]).isspace():  # JSON does not care about these
        at += 1
    data[at] ^= 1
    (folder / name).write_bytes(data)
    with pytest.raises(BundleDamaged, match=name.replace(".", r"\.")):
        Bundle.read(folder)


@pytest.mark.parametrize("name", FILES)
def test_a_missing_file_is_refused_and_named(folder: Path, name: str) -> None:
    (folder / name).unlink()
    with pytest.raises(BundleError, match=Path(name).name):
        Bundle.read(folder)


def test_a_file_cut_short_is_refused(folder: Path) -> None:
    data = (folder / "coarse.safetensors").read_bytes()
    (folder / "coarse.safetensors").write_bytes(data[:-1])
    with pytest.raises(BundleDamaged, match=r"coarse\.safetensors"):
        Bundle.read(folder)


def test_weights_that_change_after_opening_are_refused(folder: Path) -> None:
    bundle = Bundle.read(folder)
    weights = read_weights(folder / "fine.safetensors")
    weights["heads"] += 1
    write_weights(folder / "fine.safetensors", weights, storage="fp32", metadata={})
    with pytest.raises(BundleDamaged, match=r"fine\.safetensors"):
        bundle.load_stage("fine")


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"format": 2}, "format 2"),
        ({"speed": 3}, "unknown field 'speed'"),
        ({"name": "other"}, "digest"),
    ],
)
def test_config_of_another_format_unknown_keys_and_edits_are_refused(
    folder: Path, change: dict[str, object], said: str
) -> None:
    values = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**values, **change}))
    with pytest.raises(BundleDamaged, match=said):
        Bundle.read(folder)


def test_a_missing_key_is_refused(folder: Path) -> None:
    values = json.loads((folder / "config.json").read_text())
    del values["licence"]
    (folder / "config.json").write_text(json.dumps(values))
    with pytest.raises(BundleDamaged, match="lacks 'licence'"):
        Bundle.read(folder)


@pytest.mark.parametrize("text", ["", "{", "[]", "null", '"format"'])
def test_a_config_that_is_no_object_is_refused(folder: Path, text: str) -> None:
    (folder / "config.json").write_text(text)
    with pytest.raises(BundleDamaged, match=r"config\.json"):
        Bundle.read(folder)


def test_a_file_outside_of_the_folder_is_refused(folder: Path) -> None:
    files = {**Bundle.read(folder).config.files, "../secret": "00"}
    with pytest.raises(BundleDamaged, match="outside"):
        rewrite_config(folder, files=files)


def test_unknown_kinds_of_features_and_codecs_are_refused(folder: Path) -> None:
    rewrite_config(folder, codec={"kind": "opus"})
    with pytest.raises(BundleDamaged, match="kind 'opus'"):
        Bundle.read(folder).load_codec()
    features = {"vocal": {"kind": "mfcc"}, "instrumental": {"kind": "mfcc"}}
    rewrite_config(folder, features=features)
    with pytest.raises(BundleDamaged, match="kind 'mfcc'"):
        Bundle.read(folder).load_features("vocal")


# ---- parts of other bundles


@pytest.mark.long
@pytest.mark.parametrize("part", ["kmeans_vocal", "kmeans_instrumental", "codec"])
def test_a_part_of_another_bundle_is_refused_and_both_are_named(
    folder: Path, tmp_path: Path, part: str
) -> None:
    other = make_tiny_bundle(tmp_path / "other", seed=7)
    mine, theirs = (Bundle.read(each).config.fingerprints[part] for each in (folder, other))
    assert mine != theirs
    if part == "codec":
        shutil.rmtree(folder / part)
        shutil.copytree(other / part, folder / part)
    else:
        shutil.copy(other / f"{part}.safetensors", folder)
    with pytest.raises(BundleMismatch) as caught:
        Bundle.read(folder)
    assert mine in str(caught.value)
    assert theirs in str(caught.value)


@pytest.mark.parametrize(("part", "stage"), [("kmeans_vocal", "semantic"), ("codec", "coarse")])
def test_a_config_that_covers_up_for_another_part_is_refused(
    folder: Path, tmp_path: Path, part: str, stage: str
) -> None:
    """With hashes and fingerprints put right by hand, the stages still know what they were trained on."""
    other = make_tiny_bundle(tmp_path / "other", seed=7)
    theirs = Bundle.read(other).config
    config = Bundle.read(folder).config
    for name in [name for name in FILES if name.startswith(part)]:
        shutil.copy(other / name, folder / name)
    taken = {name: digest for name, digest in theirs.files.items() if name.startswith(part)}
    rewrite_config(
        folder,
        files={**config.files, **taken},
        fingerprints={**config.fingerprints, part: theirs.fingerprints[part]},
    )
    with pytest.raises(BundleMismatch, match=f"the {stage} stage and the {part}") as caught:
        Bundle.read(folder)
    assert config.fingerprints[part] in str(caught.value)
    assert theirs.fingerprints[part] in str(caught.value)


def test_ingredients_that_do_not_belong_together_are_refused(tmp_path: Path) -> None:
    ingredients = tiny_ingredients()
    swapped = {"vocal": ingredients.kmeans["instrumental"], "instrumental": ingredients.kmeans["vocal"]}
    with pytest.raises(BundleMismatch, match="vocal k-means and the vocal features"):
        write_bundle(tmp_path / "b", replace(ingredients, kmeans=swapped))
    kmeans = tiny_kmeans(ingredients.features["vocal"], seed=0)
    kmeans.centroids = kmeans.centroids[:7]
    with pytest.raises(BundleMismatch, match=r"\(7, 1\)"):
        write_bundle(tmp_path / "b", replace(ingredients, kmeans={**ingredients.kmeans, "vocal": kmeans}))
    assert list(tmp_path.iterdir()) == []


# ---- writing: whole or not at all


def test_an_existing_folder_is_replaced_on_demand_only(tmp_path: Path) -> None:
    first = make_tiny_bundle(tmp_path / "b")
    before = Bundle.read(first).fingerprint
    with pytest.raises(OutputError, match="already holds files"):
        write_bundle(first, tiny_ingredients(seed=1))
    assert Bundle.read(first).fingerprint == before
    (first / "stale.txt").touch()
    write_bundle(first, tiny_ingredients(seed=1), overwrite=True)
    assert Bundle.read(first).fingerprint != before
    assert not (first / "stale.txt").exists()
    assert [path.name for path in tmp_path.iterdir()] == ["b"]


def test_a_folder_that_is_no_bundle_is_never_replaced(tmp_path: Path) -> None:
    (tmp_path / "thesis").mkdir()
    (tmp_path / "thesis" / "chapter-1.txt").write_text("years of work")
    with pytest.raises(OutputError, match="no bundle"):
        write_bundle(tmp_path / "thesis", tiny_ingredients(), overwrite=True)
    assert (tmp_path / "thesis" / "chapter-1.txt").read_text() == "years of work"


@pytest.mark.parametrize("overwrite", [False, True])
def test_a_failure_half_way_leaves_what_was_there(tmp_path: Path, overwrite: bool) -> None:
    if overwrite:
        make_tiny_bundle(tmp_path / "b", seed=1)
    before = sorted(path.name for path in tmp_path.iterdir())
    ingredients = tiny_ingredients()
    with torch.no_grad():
        ingredients.stages["fine"].heads[0, 0, 0] = float("nan")
    with pytest.raises(ValueError, match="diverged"):
        write_bundle(tmp_path / "b", ingredients, overwrite=overwrite)
    assert sorted(path.name for path in tmp_path.iterdir()) == before
    if overwrite:
        Bundle.read(tmp_path / "b")


def test_a_place_that_cannot_be_written_is_said_so(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(OutputError, match="is a file"):
        write_bundle(tmp_path / "file", tiny_ingredients())
    with pytest.raises(OutputError, match="cannot write the bundle"):
        write_bundle(tmp_path / "missing" / "b", tiny_ingredients())


def test_a_copy_is_the_same_bundle(tiny_bundle: Path, tmp_path: Path) -> None:
    copy = copy_bundle(Bundle.read(tiny_bundle), tmp_path / "copy")
    for name in (*FILES, "README.md"):
        assert (copy.folder / name).read_bytes() == (tiny_bundle / name).read_bytes()


def test_the_codec_is_rounded_before_its_fingerprint_is_taken(tmp_path: Path) -> None:
    """Its file holds float16; the fingerprint must be that of the codec as it comes back."""
    codec = tiny_codec(seed=5)
    with torch.no_grad():
        codec.decoder[-1].bias.add_(1e-6)
    bundle = write_bundle(tmp_path / "b", tiny_ingredients(codec=codec))
    assert bundle.load_codec().fingerprint() == bundle.config.fingerprints["codec"]


# ---- defaults


@pytest.mark.parametrize(
    "wrong", [{"temperature": -0.1}, {"top_k": 0}, {"guidance": float("nan")}, {"level_lufs": 3.0}]
)
def test_defaults_out_of_range_are_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(UsageError, match=next(iter(wrong))):
        GenerationDefaults(**wrong)


def test_no_bundle_in_a_folder(tmp_path: Path) -> None:
    with pytest.raises(BundleNotFound, match=r"config\.json"):
        Bundle.read(tmp_path)


# ---- parts that a bundle names and does not hold


@pytest.fixture
def from_the_hub(monkeypatch: pytest.MonkeyPatch) -> Ingredients:
    """Ingredients with tiny random models of the paper's classes, which a played hub gives out."""
    from hafm.tokens.encodec import EncodecCodec
    from hafm.tokens.hubert import HubertFeatures
    from tests.tokens.test_encodec import tiny as tiny_encodec
    from tests.tokens.test_hubert import tiny as tiny_hubert

    def hubert(repo: str, *, revision: str, layer: int) -> HubertFeatures:
        assert (repo, revision) == ("facebook/hubert", "a" * 40)
        return HubertFeatures(model=tiny_hubert(), layer=layer)

    def encodec(repo: str, *, revision: str, bandwidth_kbps: float) -> EncodecCodec:
        assert (repo, revision) == ("facebook/encodec", "b" * 40)
        return EncodecCodec(
            model=tiny_encodec(codebook_size=CARDINALITY, target_bandwidths=[1.2, 24.0]),
            bandwidth_kbps=bandwidth_kbps,
        )

    monkeypatch.setattr(HubertFeatures, "from_hub", hubert)
    monkeypatch.setattr(EncodecCodec, "from_hub", encodec)
    features = HubertFeatures(model=tiny_hubert(), layer=3)
    codec = EncodecCodec(
        model=tiny_encodec(codebook_size=CARDINALITY, target_bandwidths=[1.2, 24.0]), bandwidth_kbps=1.2
    )
    centroids = torch.randn(CARDINALITY, features.dim)
    kmeans = KMeans(centroids=centroids, feature_fingerprint=features.fingerprint())
    return tiny_ingredients(
        features={"vocal": features, "instrumental": features},
        kmeans={"vocal": kmeans, "instrumental": kmeans},
        codec=codec,
        pinned={
            "features": Pinned(repo="facebook/hubert", revision="a" * 40),
            "codec": Pinned(repo="facebook/encodec", revision="b" * 40),
        },
    )


@pytest.mark.long
def test_hubert_and_encodec_are_named_and_their_fingerprints_kept(
    from_the_hub: Ingredients, tmp_path: Path
) -> None:
    assert from_the_hub.codec.num_codebooks == CODEBOOKS
    bundle = write_bundle(tmp_path / "b", from_the_hub)
    assert bundle.config.features["vocal"] == {
        "kind": "hubert",
        "repo": "facebook/hubert",
        "revision": "a" * 40,
        "layer": 3,
    }
    assert [path.name for path in (tmp_path / "b" / "codec").iterdir()] == ["config.json"]
    assert bundle.load_features("vocal").fingerprint() == from_the_hub.features["vocal"].fingerprint()
    assert bundle.load_codec().fingerprint() == from_the_hub.codec.fingerprint()
    made = Accompanist(bundle=bundle).generate(sung(), sample_rate=RATE)
    assert made.tokens.codes.shape == (CODEBOOKS, 38)


@pytest.mark.long
def test_another_model_under_the_same_name_is_refused(
    from_the_hub: Ingredients, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from hafm.tokens.hubert import HubertFeatures
    from tests.tokens.test_hubert import tiny as tiny_hubert

    bundle = write_bundle(tmp_path / "b", from_the_hub)
    other = HubertFeatures(model=tiny_hubert(seed=1), layer=3)
    monkeypatch.setattr(HubertFeatures, "from_hub", lambda *_, **__: other)
    with pytest.raises(BundleMismatch, match=other.fingerprint()):
        bundle.load_features("vocal")


def test_a_model_from_nowhere_cannot_go_into_a_bundle(from_the_hub: Ingredients, tmp_path: Path) -> None:
    for without in ("features", "codec"):
        pinned = {name: where for name, where in from_the_hub.pinned.items() if name != without}
        with pytest.raises(TypeError, match="pinned to None"):
            write_bundle(tmp_path / "b", replace(from_the_hub, pinned=pinned))
    assert list(tmp_path.iterdir()) == []

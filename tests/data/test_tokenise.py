"""Tokens of tracks: what a slow oracle gives, whoever shares the batch; what is not finite is refused."""

import json
import math
from collections.abc import Callable
from dataclasses import replace
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
import torch

from hafm.audio.resample import resample
from hafm.data.collection.intake import Stems
from hafm.data.collection.track import SoundPart, Split, Track
from hafm.data.tokenising import tokenise as module
from hafm.data.tokenising.clip_filter import measure_levels
from hafm.data.tokenising.tokenise import Tokeniser, TokeniseSettings
from hafm.data.tokenising.views import RatedStems
from hafm.errors import AudioContentError, UsageError
from hafm.stages.token_parts import FeatureParts, TokenParts
from hafm.tokens.base import SemanticFeatures
from hafm.tokens.encodec import EncodecCodec
from hafm.tokens.hubert import HubertFeatures
from hafm.tokens.kmeans import KMeans
from hafm.tokens.level import prepare_vocal, set_active_rms
from hafm.tokens.spectral import INSTRUMENTAL, VOCAL, SpectralFeatures
from tests.crossed import crossed
from tests.tiny import sung, tiny_codec
from tests.tokens.test_encodec import tiny as tiny_encodec
from tests.tokens.test_hubert import tiny as tiny_hubert

LENGTHS = [24_000, 30_001, 24_000, 24_960, 30_001, 24_000, 33_333, 24_000]
"""Of eight tracks, in samples; mixed, and some alike."""


def kmeans_of(features: SemanticFeatures, *, seed: int) -> KMeans:
    """Centroids that frames of any sound spread over."""
    generator = torch.Generator().manual_seed(seed)
    frames = features.extract(torch.randn(1, 2 * features.sample_rate, generator=generator).cumsum(1))[0]
    chosen = torch.randperm(len(frames), generator=generator)[:32]
    return KMeans(centroids=frames[chosen], feature_fingerprint=features.fingerprint())


def with_kmeans(parts: FeatureParts) -> TokenParts:
    return parts.with_kmeans(
        vocal=kmeans_of(parts.vocal_features, seed=1),
        instrumental=kmeans_of(parts.instrumental_features, seed=2),
    )


def spectral_parts() -> TokenParts:
    return with_kmeans(
        FeatureParts(
            vocal_features=SpectralFeatures(VOCAL),
            instrumental_features=SpectralFeatures(INSTRUMENTAL),
            codec=tiny_codec(seed=0),
            instrumental_rms=0.1,
        )
    )


def paper_parts() -> TokenParts:
    hubert = HubertFeatures(model=tiny_hubert(), layer=3)
    codec = EncodecCodec(model=tiny_encodec())
    return with_kmeans(FeatureParts(vocal_features=hubert, instrumental_features=hubert, codec=codec))


@pytest.fixture(scope="module")
def spectral() -> TokenParts:
    return spectral_parts()


@pytest.fixture(scope="module")
def paper() -> TokenParts:
    return paper_parts()


def stems_of(num_samples: int, *, sample_rate: int = 24_000, seed: int = 0) -> Stems:
    generator = torch.Generator().manual_seed(seed)
    noise = torch.randn(2, num_samples, generator=generator)
    tone = sung(num_samples / sample_rate, sample_rate=sample_rate, hz=220.0 + 10 * seed)[0, :num_samples]
    return Stems(vocal=tone + 0.01 * noise[0], instrumental=0.1 * noise[1], sample_rate=sample_rate)


def track(number: int = 0, *, split: Split | None = "train") -> Track:
    return Track(id=f"song/{number}", song_id="song", split=split, mix=SoundPart(path=f"{number}.wav"))


def pairs(sample_rate: int = 24_000) -> list[tuple[Track, Stems]]:
    return [(track(n), stems_of(length, sample_rate=sample_rate, seed=n)) for n, length in enumerate(LENGTHS)]


def counting_rows(method: Callable[[torch.Tensor], torch.Tensor], rows: set[int]) -> Any:
    def counted(batch: torch.Tensor) -> torch.Tensor:
        rows.add(len(batch))
        return method(batch)

    return counted


def tokeniser(parts: TokenParts, **settings: Any) -> Tokeniser:
    return Tokeniser(parts=parts, settings=TokeniseSettings(**settings))


@pytest.mark.long
@pytest.mark.parametrize(
    ("name", "size"),
    [
        ("spectral", 3),
        *(
            pytest.param(*each, marks=pytest.mark.slow)
            for each in (("spectral", 8), ("paper", 3), ("paper", 8))
        ),
    ],
)
def test_ids_do_not_depend_on_the_batch(
    name: str, size: int, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Bit for bit, of batches of 1, 3 and 8 tracks of mixed lengths at a rate that no model has."""
    parts = request.getfixturevalue(name)
    rows: set[int] = set()
    for model, method in ((parts.vocal_features, "extract"), (parts.codec, "encode")):
        monkeypatch.setattr(model, method, counting_rows(getattr(model, method), rows))
    ready = tokeniser(parts, views=2)
    tracks = pairs(sample_rate=22_050)
    alone = [ready.tokenise([one])[0] for one in tracks]
    batched = [each for start in range(0, 8, size) for each in ready.tokenise(tracks[start : start + size])]
    assert [each.track_id for each in batched] == [one.id for one, _ in tracks]
    assert [each.tokens.to_bytes() for each in batched] == [each.tokens.to_bytes() for each in alone]
    assert rows == {1}  # of several, a last bit may differ, which ids show on some machine some day
    assert all(len(np.unique(each.tokens.codes[0])) > 2 for each in alone)
    assert len({each.tokens.to_bytes() for each in alone}) == len(alone)


@pytest.mark.long
def test_tokens_are_what_the_models_make_of_the_waveforms(paper: TokenParts) -> None:
    """The slow oracle: paper 3.2 written down once more, for one track."""
    stems, song = stems_of(44_100, sample_rate=44_100), track()
    (prepared,) = tokeniser(paper, seed=3).tokenise([(song, stems)])
    noise = module_noise(seed=3, track_id=song.id, view=0)
    vocal = resample(stems.vocal[None], 44_100, 16_000)
    vocal = prepare_vocal(vocal, sample_rate=16_000, generator=noise, sigma=0.01)
    ids = paper.vocal_kmeans.predict(paper.vocal_features.extract(vocal))
    assert np.array_equal(prepared.tokens.vocal, ids.numpy())
    instrumental = resample(stems.instrumental[None], 44_100, 16_000)
    ids = paper.instrumental_kmeans.predict(paper.instrumental_features.extract(instrumental))
    assert np.array_equal(prepared.tokens.instrumental, ids[0].numpy())
    codes = paper.codec.encode(resample(stems.instrumental[None], 44_100, 24_000)[None])
    assert np.array_equal(prepared.tokens.codes, codes[0].numpy())


def module_noise(*, seed: int, track_id: str, view: int) -> torch.Generator:
    import hashlib

    digest = hashlib.sha256(f"{seed} {track_id} {view}".encode()).digest()
    return torch.Generator().manual_seed(int.from_bytes(digest[16:23], "little"))


def test_the_built_in_codec_hears_one_level(spectral: TokenParts) -> None:
    stems = stems_of(24_000)
    louder = replace(stems, instrumental=4.0 * stems.instrumental)
    ready = tokeniser(spectral)
    (one,), (other,) = ready.tokenise([(track(), stems)]), ready.tokenise([(track(), louder)])
    assert np.array_equal(one.tokens.codes, other.tokens.codes)
    levelled = set_active_rms(stems.instrumental[None], 0.1, sample_rate=24_000)
    assert np.array_equal(one.tokens.codes, spectral.codec.encode(levelled[None])[0].numpy())
    untouched = tokeniser(replace(spectral, instrumental_rms=None)).tokenise([(track(), louder)])[0]
    assert not np.array_equal(one.tokens.codes, untouched.tokens.codes)


@crossed(sample_rate=[16_000, 22_050, 24_000, 44_100, 48_000], extra=[0, 1, 7, 400])
def test_frames_are_the_ceiling_at_any_rate(spectral: TokenParts, sample_rate: int, extra: int) -> None:
    num_samples = sample_rate + extra
    (found,) = tokeniser(spectral).tokenise([(track(), stems_of(num_samples, sample_rate=sample_rate))])
    seconds = Fraction(num_samples, sample_rate)
    assert found.tokens.vocal.shape == (1, math.ceil(50 * seconds))
    assert found.tokens.codes.shape == (4, math.ceil(75 * seconds))
    assert (
        found.tokens.vocal.dtype == found.tokens.instrumental.dtype == found.tokens.codes.dtype == np.uint16
    )
    assert found.seconds == pytest.approx(float(seconds))


def test_levels_are_those_of_the_stems_as_they_were_read(spectral: TokenParts) -> None:
    stems = stems_of(60_000)
    (found,) = tokeniser(spectral, clip_seconds=Fraction(1)).tokenise([(track(), stems)])
    assert found.levels == measure_levels(stems.vocal, stems.instrumental, 24_000, Fraction(1))
    assert len(found.levels) == 3


def test_views_differ_and_come_back(spectral: TokenParts) -> None:
    one, again, other = (
        tokeniser(spectral, views=3, seed=seed, noise_sigma=0.1)
        .tokenise([(track(), stems_of(36_000))])[0]
        .tokens
        for seed in (0, 0, 1)
    )
    assert one.to_bytes() == again.to_bytes()
    assert len({view.tobytes() for view in [*one.vocal, *other.vocal]}) == 6
    assert np.array_equal(one.codes, other.codes)
    alone = tokeniser(spectral, noise_sigma=0.1).tokenise([(track(), stems_of(36_000))])[0].tokens
    assert np.array_equal(alone.vocal[0], one.vocal[0])  # more views change none of the others


def test_the_noise_of_a_track_is_its_own() -> None:
    stems = RatedStems(vocal=sung()[0], instrumental=sung()[0], sample_rate=24_000)

    def view(track_id: str) -> torch.Tensor:
        return stems.vocal_view(24_000, track_id=track_id, view=0, seed=0, sigma=0.01, augmented=False)

    assert view("a").equal(view("a"))
    assert not view("a").equal(view("b"))
    view("caf\udce9")  # a name whose bytes are no text


def test_train_views_are_augmented_and_the_first_held_out_view_is_not(spectral: TokenParts) -> None:
    def views(split: Split, augment: bool) -> np.ndarray:
        ready = tokeniser(spectral, views=2, augment=augment)
        return ready.tokenise([(track(split=split), stems_of(48_000))])[0].tokens.vocal

    plain = views("train", False)
    assert np.array_equal(views("valid", False), plain)
    train, valid = views("train", True), views("valid", True)
    assert not np.array_equal(train[0], plain[0])
    assert not np.array_equal(train[1], plain[1])
    assert np.array_equal(valid[0], plain[0])
    assert np.array_equal(valid[1], train[1])
    with pytest.raises(UsageError, match="has no split"):
        tokeniser(spectral, augment=True).tokenise([(track(split=None), stems_of(24_000))])


def test_sound_that_is_not_finite_is_named(spectral: TokenParts, monkeypatch: pytest.MonkeyPatch) -> None:
    ready, good = tokeniser(spectral), stems_of(24_000)
    for side in ("vocal", "instrumental"):
        waveform = getattr(good, side).clone()
        waveform[100] = math.nan
        with pytest.raises(AudioContentError, match=f"'song/1': its {side} is not finite"):
            ready.tokenise([(track(0), good), (track(1), replace(good, **{side: waveform}))])
    extract = SpectralFeatures.extract
    monkeypatch.setattr(SpectralFeatures, "extract", lambda *given: extract(*given) * math.inf)
    with pytest.raises(
        AudioContentError, match=r"'song/0': what the features make of its vocal is not finite"
    ):
        ready.tokenise([(track(0), good)])


def test_every_setting_and_part_is_in_made_by(spectral: TokenParts, paper: TokenParts) -> None:
    base = tokeniser(spectral).made_by()
    assert json.loads(json.dumps(base)) == base
    assert base.items() >= spectral.fingerprints().items()
    changes: list[dict[str, Any]] = [
        {"seed": 1},
        {"views": 2},
        {"augment": True},
        {"clip_seconds": Fraction(5)},
        {"noise_sigma": 0.02},
    ]
    assert len({json.dumps(tokeniser(spectral, **change).made_by()) for change in [{}, *changes]}) == 6
    assert not set(tokeniser(paper).parts.fingerprints().values()) & set(spectral.fingerprints().values())


def test_a_new_version_of_the_augmentation_shows(
    spectral: TokenParts, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = tokeniser(spectral, augment=True).made_by()
    monkeypatch.setattr(module, "AUGMENT_VERSION", module.AUGMENT_VERSION + 1)
    assert tokeniser(spectral, augment=True).made_by() != before
    assert tokeniser(spectral).made_by()["augment"] is None


def test_time_is_reported_by_step(spectral: TokenParts) -> None:
    for found in tokeniser(spectral, views=2).tokenise(pairs()[:3]):
        assert set(found.spent) == {
            "levels",
            "resample",
            "views",
            "vocal features",
            "instrumental features",
            "k-means",
            "codec",
        }
        assert all(seconds > 0 for seconds in found.spent.values())


@pytest.mark.parametrize("change", [{"views": 0}, {"clip_seconds": Fraction(0)}, {"noise_sigma": -1.0}])
def test_settings_out_of_range_are_refused(change: dict[str, Any]) -> None:
    with pytest.raises(UsageError):
        TokeniseSettings(**change)


def test_parts_that_shards_cannot_hold_are_refused(spectral: TokenParts) -> None:
    features = spectral.vocal_features
    many = KMeans(centroids=torch.randn(2**16 + 1, features.dim), feature_fingerprint=features.fingerprint())
    with pytest.raises(UsageError, match="65537 ids do not fit"):
        tokeniser(replace(spectral, vocal_kmeans=many))
    slow = SpectralFeatures(replace(VOCAL, hop=960))
    other = replace(spectral, vocal_features=slow, vocal_kmeans=kmeans_of(slow, seed=0))
    with pytest.raises(UsageError, match="features at 25 and 50 Hz"):
        tokeniser(other)


def test_no_tracks_give_no_results(spectral: TokenParts) -> None:
    assert tokeniser(spectral).tokenise([]) == []

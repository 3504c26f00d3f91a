"""Pairs to tokens: what is stored, that it resumes, and that nothing foreign is mixed in."""

import json
import wave
from fractions import Fraction
from pathlib import Path
from typing import Self

import numpy as np
import pytest
import torch

from hafm.errors import BundleMismatch
from hafm.tokens.base import Codec
from hafm.tokens.kmeans import KMeans
from hafm.tokens.level import set_active_rms
from hafm.tokens.spectral import INSTRUMENTAL, VOCAL, SpectralFeatures
from hafm.tokens.vocal_noise import prepare_vocal
from recipes.builtin import tokenise
from recipes.builtin.tokenise import TokeniseConfig
from recipes.builtin.tokens import token_store
from recipes.builtin.tokens.pair_files import list_pairs, read_wav
from recipes.builtin.tokens.token_store import Index, PairTokens, TokenStore, append_shard, load_index
from recipes.builtin.tokens.tokeniser import INSTRUMENTAL_RMS, Tokeniser
from recipes.builtin.tokens.vocal_views import vocal_view

RATE = 24_000


class LoudnessCodec:
    """A codec that can be computed by hand: the loudness of the frame is its id in both codebooks."""

    sample_rate, frame_rate, num_codebooks, cardinality = RATE, Fraction(75), 2, 1024

    def __init__(self, name: str = "loudness") -> None:
        self.name, self.calls = name, 0

    def encode(self, waveform: torch.Tensor) -> torch.Tensor:
        self.calls += 1
        frames = torch.nn.functional.pad(waveform, (0, -waveform.shape[-1] % 320)).unflatten(-1, (-1, 320))
        return (frames.square().mean(dim=-1).sqrt() * 1000).long().clamp_max(1023).expand(-1, 2, -1)

    def decode(self, codes: torch.Tensor) -> torch.Tensor:
        raise NotImplementedError

    def fingerprint(self) -> str:
        return self.name

    def to(self, device: object) -> Self:
        return self


def make_tokeniser(codec: LoudnessCodec | None = None, seed: int = 0) -> Tokeniser:
    generator = torch.Generator().manual_seed(seed)

    def kmeans(features: SpectralFeatures) -> KMeans:
        centroids = torch.rand(20, features.dim, generator=generator)
        return KMeans(centroids=centroids, feature_fingerprint=features.fingerprint())

    vocal, instrumental = SpectralFeatures(VOCAL), SpectralFeatures(INSTRUMENTAL)
    return Tokeniser(
        vocal_features=vocal,
        vocal_kmeans=kmeans(vocal),
        instrumental_features=instrumental,
        instrumental_kmeans=kmeans(instrumental),
        codec=codec or LoudnessCodec(),
    )


def write_pair(folder: Path, index: int, num_samples: int = 12_000) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(index)
    time = np.arange(num_samples) / RATE
    for part, hz in (("vocal", 220 * 2 ** (index / 12)), ("instrumental", 330.0)):
        sound = 0.3 * np.sin(2 * np.pi * hz * time) * (rng.random() + 0.1) + 0.01 * rng.standard_normal(
            num_samples
        )
        with wave.open(str(folder / f"{index:06d}.{part}.wav"), "wb") as wav:
            wav.setnchannels(1)
            wav.setsampwidth(2)
            wav.setframerate(RATE)
            wav.writeframes((sound * 32767).astype("<i2").tobytes())
    (folder / f"{index:06d}.json").write_text(json.dumps({"song_id": 100 + index}))


@pytest.fixture
def pairs(tmp_path: Path) -> Path:
    for index in range(5):
        write_pair(tmp_path / "pairs" / "train", index)
    return tmp_path / "pairs"


def config(pairs: Path, **changes: object) -> TokeniseConfig:
    values = {"pairs": pairs, "codec": pairs, "out": pairs.parent / "tokens", "split": "train"}
    return TokeniseConfig(**{**values, **changes})


def test_the_stand_in_is_a_codec() -> None:
    assert isinstance(LoudnessCodec(), Codec)


def test_tokens_are_those_of_the_parts_one_by_one(pairs: Path) -> None:
    tokeniser = make_tokeniser()
    tokenise.tokenise(config(pairs), tokeniser)
    store = TokenStore(pairs.parent / "tokens", "train")
    assert [(pair.id, pair.song_id) for pair in store.pairs] == [
        (f"train/{i:06d}", 100 + i) for i in range(5)
    ]
    for number, pair in enumerate(list_pairs(pairs, "train")):
        vocal, instrumental = pair.waveform("vocal"), pair.waveform("instrumental")
        for view in range(2):
            heard = vocal_view(
                vocal, instrumental, sample_rate=RATE, pair_id=pair.id, view=view, seed=0, augmented=True
            )
            ids = tokeniser.vocal_kmeans.predict(tokeniser.vocal_features.extract(heard))[0]
            assert store.vocal[number][view].tolist() == ids.tolist()
        band = set_active_rms(torch.from_numpy(instrumental)[None], INSTRUMENTAL_RMS, sample_rate=RATE)
        ids = tokeniser.instrumental_kmeans.predict(tokeniser.instrumental_features.extract(band))[0]
        assert store.instrumental[number].tolist() == ids.tolist()
        assert store.codes[number].tolist() == LoudnessCodec().encode(band[:, None])[0].tolist()
        assert (store.vocal[number].shape, store.codes[number].shape) == ((2, 25), (2, 38))
        assert isinstance(store.codes[number], np.memmap)
        assert store.codes[number].dtype == np.uint16
    store.verify()


@pytest.mark.parametrize("batch", [2, 3, 9])
def test_batches_do_not_show(pairs: Path, batch: int) -> None:
    write_pair(pairs / "train", 5, num_samples=7_001)  # another length may not be stacked with the rest
    write_pair(pairs / "train", 6)
    tokenise.tokenise(config(pairs), make_tokeniser())
    tokenise.tokenise(config(pairs, batch=batch, out=pairs.parent / "batched"), make_tokeniser())
    alone, together = (
        TokenStore(pairs.parent / "tokens", "train"),
        TokenStore(pairs.parent / "batched", "train"),
    )
    assert alone.pairs == together.pairs
    for kind in token_store.KINDS:
        for one, other in zip(getattr(alone, kind), getattr(together, kind), strict=True):
            np.testing.assert_array_equal(one, other)
    assert alone.instrumental[5].shape == (15,)


def test_it_goes_on_where_it_stopped(pairs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tokenise, "PAIRS_PER_SHARD", 2)
    codec = LoudnessCodec()
    tokenise.tokenise(config(pairs, limit=3), make_tokeniser(codec))
    before = {path.name: path.read_bytes() for path in (pairs.parent / "tokens" / "train").glob("*.npy")}
    assert (codec.calls, len(before)) == (3, 6)
    early = TokenStore(pairs.parent / "tokens", "train")
    write_pair(pairs / "train", 5)  # rendered in the meantime
    index = tokenise.tokenise(config(pairs), make_tokeniser(codec))
    assert codec.calls == 6
    assert [pair.id[-1] for pair in index.pairs] == list("012345")
    assert [pair.shard for pair in index.pairs] == [0, 0, 1, 2, 2, 3]
    for name, data in before.items():
        assert (pairs.parent / "tokens" / "train" / name).read_bytes() == data
    assert len(early) == 3
    # The same tokens as in one go.
    monkeypatch.setattr(tokenise, "PAIRS_PER_SHARD", 200)
    tokenise.tokenise(config(pairs, out=pairs.parent / "once"), make_tokeniser())
    once, twice = TokenStore(pairs.parent / "once", "train"), TokenStore(pairs.parent / "tokens", "train")
    for number in range(6):
        np.testing.assert_array_equal(once.vocal[number], twice.vocal[number])
        np.testing.assert_array_equal(once.codes[number], twice.codes[number])


def test_killed_before_the_index_nothing_is_believed(pairs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def die(path: Path, data: bytes) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(token_store, "_replace", die)
        with pytest.raises(KeyboardInterrupt):
            tokenise.tokenise(config(pairs), make_tokeniser())
    assert list((pairs.parent / "tokens" / "train").glob("*.npy"))
    assert load_index(pairs.parent / "tokens" / "train") is None
    assert len(tokenise.tokenise(config(pairs), make_tokeniser()).pairs) == 5
    TokenStore(pairs.parent / "tokens", "train").verify()


@pytest.mark.parametrize(
    ("changes", "codec", "kmeans_seed", "named"),
    [
        ({"seed": 1}, "loudness", 0, "seed"),
        ({"views": 3}, "loudness", 0, "views"),
        ({}, "other", 0, "codec"),
        ({}, "loudness", 1, "kmeans"),
    ],
)
def test_foreign_tokens_are_not_mixed_in(
    pairs: Path, changes: dict[str, int], codec: str, kmeans_seed: int, named: str
) -> None:
    tokenise.tokenise(config(pairs, limit=1), make_tokeniser())
    with pytest.raises(BundleMismatch, match=named):
        tokenise.tokenise(config(pairs, **changes), make_tokeniser(LoudnessCodec(codec), kmeans_seed))


def test_semantic_tokens_of_an_older_codec_are_taken_over(
    pairs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tokenise.tokenise(config(pairs, limit=3), make_tokeniser())
    old = pairs.parent / "tokens"
    tokeniser = make_tokeniser(LoudnessCodec("better"))
    calls: list[int] = []
    semantic = tokeniser.semantic
    monkeypatch.setattr(
        tokeniser, "semantic", lambda *given: (calls.append(len(given[0])), semantic(*given))[1]
    )
    tokenise.tokenise(config(pairs, semantic_from=old, out=pairs.parent / "new"), tokeniser)
    assert sum(calls) == 2  # pairs 3 and 4, unknown to the older folder
    new = TokenStore(pairs.parent / "new", "train")
    assert new.made_by["codec"] == "better"
    tokenise.tokenise(config(pairs, out=pairs.parent / "whole"), make_tokeniser(LoudnessCodec("better")))
    whole = TokenStore(pairs.parent / "whole", "train")
    for number in range(5):
        np.testing.assert_array_equal(new.vocal[number], whole.vocal[number])
        np.testing.assert_array_equal(new.codes[number], whole.codes[number])
    with pytest.raises(BundleMismatch, match="_kmeans"):
        tokenise.tokenise(config(pairs, semantic_from=old, out=pairs.parent / "x"), make_tokeniser(seed=1))


def test_held_out_splits_start_with_the_clean_vocal(pairs: Path) -> None:
    (pairs / "train").rename(pairs / "valid")
    tokeniser = make_tokeniser()
    tokenise.tokenise(config(pairs, split="valid", limit=1), tokeniser)
    pair = list_pairs(pairs, "valid")[0]
    stored = TokenStore(pairs.parent / "tokens", "valid").vocal[0]
    vocal, instrumental = pair.waveform("vocal"), pair.waveform("instrumental")
    views = [
        vocal_view(
            vocal, instrumental, sample_rate=RATE, pair_id=pair.id, view=view, seed=0, augmented=view > 0
        )
        for view in range(2)
    ]
    ids = tokeniser.vocal_kmeans.predict(tokeniser.vocal_features.extract(torch.cat(views)))
    assert stored.tolist() == ids.tolist()
    clean = prepare_vocal(
        torch.from_numpy(vocal)[None], sample_rate=RATE, generator=torch.Generator().manual_seed(0), sigma=0.0
    )
    assert (views[0] - clean).std().item() == pytest.approx(0.01, rel=0.05)


def test_views_are_a_function_of_seed_pair_and_view() -> None:
    rng = np.random.default_rng(0)
    vocal, band = (rng.standard_normal(4_800).astype(np.float32) * 0.1 for _ in range(2))

    def view(pair_id: str = "train/1", view: int = 0, seed: int = 0) -> torch.Tensor:
        return vocal_view(
            vocal, band, sample_rate=RATE, pair_id=pair_id, view=view, seed=seed, augmented=True
        )

    assert torch.equal(view(), view())
    assert not torch.equal(view(), view(view=1))
    assert not torch.equal(view(), view(seed=1))
    assert not torch.equal(view(), view(pair_id="valid/1"))


def test_broken_pairs_are_named_not_dropped(pairs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (pairs / "train" / "000001.vocal.wav").write_bytes(b"RIFF")
    (pairs / "train" / "000002.json").write_text("{}")
    cut = (pairs / "train" / "000003.instrumental.wav").read_bytes()[:-400]
    (pairs / "train" / "000003.instrumental.wav").write_bytes(cut)
    index = tokenise.tokenise(config(pairs), make_tokeniser())
    assert [pair.id[-1] for pair in index.pairs] == ["0", "4"]
    assert list(index.quarantined) == ["train/000001", "train/000002", "train/000003"]
    assert "song_id" in index.quarantined["train/000002"]
    again = tokenise.tokenise(config(pairs), make_tokeniser())
    assert again == load_index(pairs.parent / "tokens" / "train")
    assert again.quarantined == index.quarantined
    write_pair(pairs / "train", 7)
    (pairs / "train" / "000007.vocal.wav").unlink()
    with pytest.raises(RuntimeError, match="4 pairs quarantined, more than 2%"):
        tokenise.tokenise(config(pairs), make_tokeniser())


def test_a_changed_byte_is_found(pairs: Path) -> None:
    tokenise.tokenise(config(pairs), make_tokeniser())
    path = pairs.parent / "tokens" / "train" / "00000.codes.npy"
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)
    with pytest.raises(ValueError, match=r"00000\.codes\.npy"):
        TokenStore(pairs.parent / "tokens", "train").verify()
    path.write_bytes(b"")
    with pytest.raises(ValueError, match="cannot be read"):
        TokenStore(pairs.parent / "tokens", "train")


def test_store_without_tokens_says_what_to_run(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"recipes\.builtin\.tokenise --split test"):
        TokenStore(tmp_path, "test")
    (tmp_path / "test").mkdir()
    (tmp_path / "test" / "index.json").write_text('{"format": 99}')
    with pytest.raises(ValueError, match="format"):
        TokenStore(tmp_path, "test")


def test_frames_of_vocal_and_instrumental_must_agree(tmp_path: Path) -> None:
    ids = np.zeros((2, 5), np.uint16)
    wrong = PairTokens(vocal=ids, instrumental=ids[0, :4], codes=ids)
    with pytest.raises(ValueError, match="5 vocal frames but"):
        append_shard(tmp_path, Index(split="train", made_by={}), [("train/0", 1, wrong)])


def test_wav_files_of_another_kind_are_refused(tmp_path: Path) -> None:
    write_pair(tmp_path, 0)
    with pytest.raises(ValueError, match=r"\(1, 2, 24000\), expected \(1, 2, 16000\)"):
        read_wav(tmp_path / "000000.vocal.wav", sample_rate=16_000)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"split": "dev"}, "'dev'"),
        ({"views": 0}, "--views"),
        ({"limit": 0}, "--limit 0"),
        ({"batch": 0}, "--batch"),
    ],
)
def test_settings_that_cannot_be(pairs: Path, changes: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        config(pairs, **changes)


def test_the_command_without_kmeans_says_so_in_one_line(
    pairs: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    given = ["--pairs", str(pairs), "--codec", str(pairs), "--out", str(pairs), "--split", "train"]
    assert tokenise.main(given) == 2
    assert capsys.readouterr().err.startswith("error: there is no k-means file")

"""Retrieval from end to end: what comes out fits, is exactly as long as the vocal, and is the same again."""

import shutil
from pathlib import Path

import pytest
import soundfile
import torch

from hafm.audio.resample import resample
from hafm.data.collection.sources import open_source
from hafm.errors import InstrumentalChanged, InstrumentalMissing, UsageError
from hafm.evaluate.fit.measures import Example, measure
from hafm.evaluate.retrieval.building import build_index
from hafm.evaluate.retrieval.index import RetrievalIndex
from hafm.evaluate.retrieval.retrieve import Retriever
from hafm.tokens.level import active_rms
from tests.evaluate.fit.band import RATE
from tests.evaluate.retrieval.songs import BANDS, band, truth, voice, write_collection

pytest.importorskip("python_stretch")


@pytest.fixture(scope="module")
def collection(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_collection(tmp_path_factory.mktemp("music") / "pairs")


@pytest.fixture(scope="module")
def retriever(collection: Path, tmp_path_factory: pytest.TempPathFactory) -> Retriever:
    folder = tmp_path_factory.mktemp("index")
    build_index(open_source("pairs", collection), folder)
    return Retriever.open(folder)


@pytest.mark.parametrize(
    ("tonic", "beat_seconds"), [(3, 0.45), pytest.param(-4, 0.56, marks=pytest.mark.slow)]
)
def test_what_is_found_fits(retriever, tonic, beat_seconds):
    pytest.importorskip("mir_eval")
    vocal = voice(tonic=tonic, beat_seconds=beat_seconds)
    found = retriever.retrieve(vocal, RATE)
    assert (found.entry.song_id, found.match.semitones % 12) == ("right", tonic % 12)
    assert found.waveform.shape == vocal.shape

    def values(accompaniment):
        length = len(vocal)
        fitting = torch.nn.functional.pad(accompaniment[:length], (0, max(0, length - len(accompaniment))))
        score = truth(tonic=tonic, beat_seconds=beat_seconds)
        example = Example(vocal=vocal, accompaniment=fitting, sample_rate=RATE, truth=score)
        return measure(example, ["key_truth", "chord_tones", "beat_truth"])

    fitted, plain = values(found.waveform), values(BANDS["right"])
    assert fitted["key_truth"] == 1.0 > plain["key_truth"]
    assert fitted["chord_tones"] > 0.8 > 0.6 > plain["chord_tones"]
    assert fitted["beat_truth"] > 0.9 > 0.6 > plain["beat_truth"]


@pytest.mark.parametrize(
    ("rate", "num_seconds"),
    [(44_100, 0.5), (44_100, 7.3), pytest.param(16_000, 30.0, marks=pytest.mark.slow)],
)
def test_the_length_is_exact_at_any_rate(retriever, rate, num_seconds):
    vocal = resample(voice().repeat(3)[None], RATE, rate)[0][: round(num_seconds * rate) + 1]
    found = retriever.retrieve(vocal, rate)
    assert found.waveform.shape == vocal.shape
    assert found.sample_rate == rate
    assert found.waveform.abs().max() <= 1.0
    assert active_rms(found.waveform[None, -rate // 4 :], sample_rate=rate) > 0.01  # up to its end


def test_the_level_is_that_of_the_instrumental(retriever):
    found = retriever.retrieve(voice(tonic=2, beat_seconds=0.47), RATE)
    levels = [
        float(active_rms(sound[None], sample_rate=RATE)[0]) for sound in (found.waveform, BANDS["right"])
    ]
    assert levels[0] == pytest.approx(levels[1], rel=0.1)


@pytest.mark.slow
def test_the_same_again_and_the_vocals_level_does_not_matter(retriever):
    vocal = voice(tonic=1, beat_seconds=0.47)
    first = retriever.retrieve(vocal, RATE)
    assert torch.equal(first.waveform, retriever.retrieve(vocal, RATE).waveform)
    quiet = retriever.retrieve(0.1 * vocal, RATE)
    assert (quiet.entry, quiet.match.semitones, quiet.match.offset_seconds) == (
        first.entry,
        first.match.semitones,
        pytest.approx(first.match.offset_seconds),
    )


@pytest.mark.long
def test_ranks_are_songs_and_excluded_songs_are_not_found(retriever):
    vocal = voice()
    songs = [retriever.index.entries[match.number].song_id for match in retriever.rank(vocal, RATE).matches]
    assert sorted(songs) == sorted(BANDS)
    assert songs[0] == "right"
    second = retriever.retrieve(vocal, RATE, rank=1)
    assert (second.entry.song_id, second.rank) == (songs[1], 1)
    assert retriever.retrieve(vocal, RATE, exclude_songs=["right", "unknown"]).entry.song_id == songs[1]
    assert retriever.retrieve(vocal, RATE, exclude_songs=["clusters"]).entry.song_id == "right"
    with pytest.raises(UsageError, match="match 5 was asked for, and 4 songs"):
        retriever.retrieve(vocal, RATE, rank=4)
    with pytest.raises(UsageError, match="no song but those that are excluded"):
        retriever.retrieve(vocal, RATE, exclude_songs=list(BANDS))


def test_tracks_of_one_song_are_one_rank(tmp_path):
    for number, (song, title) in enumerate((("a", "one"), ("a", "two"), ("b", "three"))):
        folder = tmp_path / "pairs" / song
        folder.mkdir(parents=True, exist_ok=True)
        sound = band(beats=8, tonic=number).numpy()
        soundfile.write(folder / f"{title}.instrumental.wav", sound, RATE)
        soundfile.write(folder / f"{title}.vocals.wav", sound, RATE)
    source = open_source("pairs", tmp_path / "pairs", song_from="folder")
    index = build_index(source, tmp_path / "index")
    ranking = Retriever(index).rank(voice(beats=8), RATE)
    assert [entry.song_id for entry in index.entries] == ["a", "a", "b"]
    assert sorted(index.entries[match.number].song_id for match in ranking.matches) == ["a", "b"]


@pytest.mark.long
def test_a_file_that_changed_or_went_is_refused(collection, tmp_path):
    root = tmp_path / "pairs"
    shutil.copytree(collection, root)
    index = build_index(open_source("pairs", root), tmp_path / "index")
    retriever = Retriever(index)
    ranking = retriever.rank(voice(), RATE)
    file = root / "right" / "instrumental.wav"
    whole = file.read_bytes()
    file.write_bytes(whole[:-3] + b"\0\0\1")
    with pytest.raises(InstrumentalChanged, match="'right' was changed since"):
        retriever.render(ranking)
    file.unlink()
    with pytest.raises(InstrumentalMissing, match="does not exist"):
        retriever.render(ranking)
    moved = Retriever.open(tmp_path / "index", root=collection)
    assert moved.render(moved.rank(voice(), RATE)).entry.song_id == "right"


@pytest.mark.slow
def test_the_vocals_of_the_collection_are_not_needed(collection, tmp_path):
    root = tmp_path / "pairs"
    shutil.copytree(collection, root)
    index = build_index(open_source("pairs", root), tmp_path / "index")
    for file in root.rglob("vocals.wav"):
        file.unlink()
    assert Retriever(index).retrieve(voice(), RATE).entry.song_id == "right"


def test_vocals_that_cannot_be_listened_to_are_refused(retriever):
    for vocal, rate in ((torch.zeros(0), RATE), (torch.full((10,), torch.nan), RATE), (voice(), 4000)):
        with pytest.raises(UsageError):
            retriever.retrieve(vocal, rate)
    assert retriever.retrieve(torch.zeros(RATE), RATE).waveform.shape == (RATE,)


def test_an_empty_index_is_an_error(retriever):
    empty = RetrievalIndex(source=retriever.index.source, split="train", entries=(), descriptors=())
    with pytest.raises(UsageError, match="no song"):
        Retriever(empty).retrieve(voice(), RATE)


def test_the_identity_has_no_path(retriever, collection):
    assert str(collection) not in str(retriever.identity())
    assert retriever.identity()["index"] == retriever.index.fingerprint

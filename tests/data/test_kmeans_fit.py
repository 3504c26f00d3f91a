"""Fitting vocabularies: clusters are found, the dead are woken, memory is bounded, files repeat exactly."""

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from hafm.data.collection.intake import Stems
from hafm.data.collection.track import SoundPart, Track
from hafm.data.tokenising import kmeans_fit as module
from hafm.data.tokenising.kmeans_fit import CentroidFit, KMeansSettings, measure
from hafm.data.tokenising.kmeans_sample import FrameReader, Reservoir, draw_sample, train_tracks
from hafm.data.tokenising.vocabulary import Vocabularies, VocabularySettings, fit_vocabularies
from hafm.errors import AudioReadError, HafmError, QuarantineLimit, UsageError
from hafm.stages.token_parts import FeatureParts
from hafm.tokens.hubert import HubertFeatures
from hafm.tokens.spectral import INSTRUMENTAL, VOCAL, SpectralFeatures
from tests.data.test_tokenise import stems_of
from tests.tiny import tiny_codec
from tests.tokens.test_hubert import tiny as tiny_hubert


def blobs(count: int = 12, each: int = 300, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    centres = rng.uniform(-10, 10, (count, 4))
    return np.concatenate([centre + 0.05 * rng.standard_normal((each, 4)) for centre in centres]).astype(
        np.float32
    )


def fit(frames: np.ndarray, **settings: Any) -> np.ndarray:
    return CentroidFit(sample=frames, settings=KMeansSettings(**{"clusters": 12, **settings})).finish()


# ---- centroids


def test_it_finds_what_is_there() -> None:
    frames = blobs(count=3)
    found = measure(fit(frames, passes=15), frames)
    assert found.dead == 0
    assert found.perplexity > 8
    assert found.inertia < 0.01 * found.variance


def test_the_dead_are_woken(monkeypatch: pytest.MonkeyPatch) -> None:
    """90 % of the frames are one point, so that random starts put most centroids there, in one place."""
    frames = np.concatenate([np.zeros((10_000, 4), np.float32), blobs(each=90)])
    found = measure(fit(frames, starts=1, passes=15), frames)
    monkeypatch.setattr(module, "_wake_dead", lambda *_: 0)
    control = measure(fit(frames, starts=1, passes=15), frames)
    assert found.dead == 0
    assert control.dead > 0
    assert found.inertia < 0.5 * control.inertia


def test_fewer_different_frames_than_clusters_leave_some_dead() -> None:
    frames = np.repeat(np.eye(4, dtype=np.float32), 10, axis=0)
    found = measure(fit(frames, clusters=6), frames)
    assert (found.dead, found.inertia, round(found.perplexity, 6)) == (2, 0.0, 4.0)


def test_the_same_seed_gives_the_same_centroids() -> None:
    first, again, other = (fit(blobs(), starts=2, passes=2, seed=seed) for seed in (0, 0, 1))
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)


def test_what_streams_by_counts() -> None:
    """A hundred frames are too few for 50 centroids; those that stream by, in any blocks, make up for it."""
    frames = np.random.default_rng(0).standard_normal((30_000, 8)).astype(np.float32)
    fresh, sample = frames[20_000:], np.ascontiguousarray(frames[:100])
    job = CentroidFit(sample=sample, settings=KMeansSettings(clusters=50, starts=1, passes=1))
    before = measure(job.finish(), fresh).inertia
    for block in np.array_split(frames[:20_000], [1, 5, 3000, 17_000]):
        job.feed(block)
    assert measure(job.finish(), fresh).inertia < 0.92 * before


def test_a_stream_is_held_in_bounded_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    job = CentroidFit(sample=blobs(), settings=KMeansSettings(clusters=12, starts=1, passes=0))
    held: list[int] = []
    use = CentroidFit._use_waiting
    monkeypatch.setattr(
        CentroidFit, "_use_waiting", lambda self: (held.append(sum(map(len, self._waiting))), use(self))
    )
    for _ in range(60):
        job.feed(blobs())
    job.finish()
    assert len(held) > 5
    assert max(held) < module.SHUFFLE_FRAMES + 3600


def test_too_few_frames_are_refused() -> None:
    with pytest.raises(UsageError, match="10 frames cannot make 12 clusters"):
        fit(blobs()[:10])


@pytest.mark.slow
def test_more_clusters_than_a_batch_has_frames(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "BATCH_FRAMES", 16)
    frames = blobs()
    assert measure(fit(frames, clusters=40, passes=3), frames).dead == 0


# ---- reservoir


@given(st.lists(st.integers(0, 40), max_size=12), st.integers(1, 30), st.integers(0, 5))
def test_a_reservoir_keeps_frames_of_the_stream_each_once(
    blocks: list[int], capacity: int, seed: int
) -> None:
    kept = Reservoir(dim=2, max_bytes=8 * capacity, seed=seed)
    stream = np.arange(2 * sum(blocks), dtype=np.float32).reshape(-1, 2)
    start = 0
    for length in blocks:
        kept.add(stream[start : start + length])
        start += length
    assert kept.seen == len(stream)
    assert len(kept.frames) == min(capacity, len(stream))
    assert kept.is_whole == (len(stream) <= capacity)
    numbers = (kept.frames[:, 0] / 2).astype(int)
    assert len(set(numbers)) == len(numbers)
    assert np.array_equal(kept.frames, stream[numbers])


def test_a_reservoir_does_not_depend_on_the_blocks_and_is_fair() -> None:
    stream = np.arange(1000, dtype=np.float32)[:, None]
    chosen = np.zeros(1000)
    for seed in range(200):
        whole, pieces = (Reservoir(dim=1, max_bytes=400, seed=seed) for _ in range(2))
        whole.add(stream)
        for piece in np.array_split(stream, 13):
            pieces.add(piece)
        assert len(whole.frames) == len(pieces.frames) == 100
        chosen[whole.frames[:, 0].astype(int)] += 1
    quarters = chosen.reshape(4, 250).sum(axis=1) / chosen.sum()
    assert np.abs(quarters - 0.25).max() < 0.02


# ---- sample and vocabularies, of made-up tracks


@pytest.fixture
def songs(tmp_path: Path) -> list[Track]:
    """Twelve tracks of about half a second, each with a file to hash."""
    tracks = []
    for number in range(12):
        path = tmp_path / f"{number}.wav"
        path.write_bytes(f"sound {number}".encode())
        part = (SoundPart(path=str(path)),)
        tracks.append(
            Track(id=f"{number}", song_id=f"{number}", split="train", vocal=part, instrumental=part)
        )
    return tracks


def read(track: Track) -> Stems:
    number = int(track.id)
    return stems_of(12_000 + 100 * number, seed=number)


def parts() -> FeatureParts:
    return FeatureParts(
        vocal_features=SpectralFeatures(VOCAL),
        instrumental_features=SpectralFeatures(INSTRUMENTAL),
        codec=tiny_codec(seed=0),
        instrumental_rms=0.1,
    )


def settings(**changes: Any) -> VocabularySettings:
    kmeans = KMeansSettings(clusters=8, starts=1, passes=2, seed=changes.pop("seed", 0))
    return VocabularySettings(kmeans=kmeans, **{"hours": 1.0, **changes})


def fitted(songs: list[Track], **changes: Any) -> Vocabularies:
    return fit_vocabularies(songs, parts=parts(), read=read, settings=settings(**changes))


def files(found: Vocabularies, folder: Path) -> list[bytes]:
    folder.mkdir(exist_ok=True)
    for side, kmeans in found.kmeans.items():
        kmeans.save(folder / side)
    return [(folder / side).read_bytes() for side in found.kmeans]


@pytest.mark.slow
def test_the_same_data_and_seed_give_the_same_files(songs: list[Track], tmp_path: Path) -> None:
    first, again, other = (files(fitted(songs[:6], seed=seed), tmp_path / "out") for seed in (0, 0, 1))
    assert first == again
    assert first != other


@pytest.mark.long
def test_notes_say_where_a_vocabulary_comes_from(songs: list[Track], tmp_path: Path) -> None:
    songs = songs[:5]
    found = fitted(songs, augment=True)
    notes = found.kmeans["vocal"].notes
    assert json.loads(json.dumps(notes)) == notes
    assert notes["data"] == "5 train tracks, 0.00 h, vocal, augmented"
    assert set(notes["held_out"]) == {"frames", "inertia", "variance", "dead", "perplexity"}
    assert found.quality["vocal"]["held_out"].frames < found.quality["vocal"]["fit"].frames
    prints = {notes["fit_fingerprint"]}
    Path(songs[3].vocal[0].path).write_bytes(b"another sound")  # other bytes, whatever they decode to
    for change in ({"augment": True}, {}, {"seed": 1}, {"hours": 0.0005}):
        prints.add(fitted(songs, **change).kmeans["vocal"].notes["fit_fingerprint"])
    assert len(prints) == 5


def test_every_tenth_track_is_held_out(songs: list[Track]) -> None:
    sample = fitted(songs).sample
    assert [each.held_out for each in sample.tracks] == [number in (1, 11) for number in range(12)]
    frames = {each.track.id: len(read(each.track).vocal) / 480 for each in sample.tracks}
    held = sum(frames[each.track.id] for each in sample.tracks if each.held_out)
    assert sample.held_out["instrumental"].seen == pytest.approx(held, abs=2)


def test_the_hours_bound_the_sample(songs: list[Track]) -> None:
    found = fitted(songs, hours=2.25 / 3600)
    assert len(found.sample.tracks) == 5
    with pytest.raises(UsageError, match="only 1 tracks were read"):
        fitted(songs, hours=0.25 / 3600)


@pytest.mark.long
def test_a_second_sweep_uses_what_memory_did_not_hold(
    songs: list[Track], monkeypatch: pytest.MonkeyPatch
) -> None:
    fed: list[int] = []
    feed = CentroidFit.feed
    monkeypatch.setattr(
        CentroidFit, "feed", lambda self, frames: (fed.append(len(frames)), feed(self, frames))
    )
    steps: list[str] = []
    reads: list[str] = []

    def counted(track: Track) -> Stems:
        reads.append(track.id)
        return read(track)

    def job(max_bytes: int) -> Vocabularies:
        reads.clear()
        return fit_vocabularies(
            songs,
            parts=parts(),
            read=counted,
            settings=settings(max_bytes=max_bytes),
            on_progress=lambda step, _: steps.append(step),
        )

    whole = job(1 << 20)
    assert len(reads) == 12
    assert "listening again" not in steps
    small = job(100 * 4 * 48)
    assert len(reads) == 12 + 10  # those held out are not heard again
    assert "listening again" in steps
    assert len(small.sample.fit["vocal"].frames) <= 109 < small.sample.fit["vocal"].seen
    assert sum(fed) == sum(reservoir.seen for reservoir in small.sample.fit.values())
    assert small.quality["vocal"]["held_out"].inertia < 1.5 * whole.quality["vocal"]["held_out"].inertia


@pytest.mark.long
def test_a_shared_vocabulary_is_one(songs: list[Track]) -> None:
    with pytest.raises(UsageError, match="--shared"):
        fitted(songs, shared=True)
    hubert = HubertFeatures(model=tiny_hubert(), layer=2)
    same = replace(parts(), vocal_features=hubert, instrumental_features=hubert, instrumental_rms=None)
    both, apart = (
        fit_vocabularies(songs[:4], parts=same, read=read, settings=settings(shared=shared, max_bytes=6400))
        for shared in (True, False)
    )
    assert both.kmeans["vocal"].fingerprint() == both.kmeans["instrumental"].fingerprint()
    assert both.kmeans["vocal"].notes == both.kmeans["instrumental"].notes
    assert both.sample.fit["vocal"].seen == sum(apart.sample.fit[side].seen for side in apart.sample.fit)
    assert apart.kmeans["vocal"].fingerprint() != apart.kmeans["instrumental"].fingerprint()


@pytest.mark.long
def test_silence_takes_no_centroids(songs: list[Track]) -> None:
    def with_pause(track: Track) -> Stems:
        stems = read(track)
        pause = torch.zeros(240_000)
        return replace(
            stems,
            vocal=torch.cat([stems.vocal, pause]),
            instrumental=torch.cat([stems.instrumental, stems.instrumental.repeat(21)[:240_000]]),
        )

    found = fit_vocabularies(songs[:6], parts=parts(), read=with_pause, settings=settings())
    seen = {side: reservoir.seen for side, reservoir in found.sample.fit.items()}
    assert seen["instrumental"] > 5 * 525
    assert 5 * 25 <= seen["vocal"] < 5 * 25 + 0.05 * 5 * 500


def failing(bad: set[str]) -> Any:
    def read_most(track: Track) -> Stems:
        if track.id in bad:
            raise AudioReadError(f"'{track.id}.wav' cannot be decoded")
        return read(track)

    return read_most


@pytest.mark.slow
def test_tracks_that_cannot_be_used_are_named_and_counted(songs: list[Track]) -> None:
    def job(limit: float, bad: set[str]) -> Vocabularies:
        return fit_vocabularies(
            songs, parts=parts(), read=failing(bad), settings=settings(unusable_limit=limit)
        )

    found = job(0.2, {"3", "7"})
    assert [(each.track_id, each.reason) for each in found.sample.unusable] == [
        ("3", "'3.wav' cannot be decoded"),
        ("7", "'7.wav' cannot be decoded"),
    ]
    assert len(found.sample.tracks) == 10
    with pytest.raises(QuarantineLimit, match=r"2 of 12 tracks \(16.7%\).*'3.wav' cannot be decoded"):
        job(0.02, {"3", "7"})
    Path(songs[5].vocal[0].path).unlink()
    assert "does not exist" in job(0.2, set()).sample.unusable[0].reason


@pytest.mark.long
def test_the_limit_stops_a_long_run_early(songs: list[Track]) -> None:
    heard: list[int] = []
    many = [replace(songs[0], id=f"{number}") for number in range(200)]

    def bad(track: Track) -> Stems:
        heard.append(int(track.id))
        if int(track.id) % 10 == 9:
            raise AudioReadError("no")
        return stems_of(2400)

    reader = FrameReader(parts=parts(), read=bad, seed=0, augment=False, noise_sigma=0.01)
    with pytest.raises(QuarantineLimit):
        draw_sample(
            many,
            reader,
            hours=1.0,
            shared=False,
            max_bytes=1 << 16,
            unusable_limit=0.02,
            on_progress=lambda _: None,
        )
    assert len(heard) == 50


def test_a_track_that_vanishes_between_the_sweeps_stops_the_fit(songs: list[Track]) -> None:
    seen: set[str] = set()

    def once(track: Track) -> Stems:
        if track.id in seen:
            raise OSError(f"{track.id} is gone")
        seen.add(track.id)
        return read(track)

    with pytest.raises(HafmError, match="was read and cannot be read again"):
        fit_vocabularies(songs, parts=parts(), read=once, settings=settings(max_bytes=6400))


def test_only_train_tracks_are_taken(songs: list[Track]) -> None:
    mixed = [replace(song, split=("train", "valid", "test")[number % 3]) for number, song in enumerate(songs)]

    def again() -> Iterator[Track]:
        yield from mixed

    order = [track.id for track in train_tracks(again(), seed=0)]
    assert sorted(order) == ["0", "3", "6", "9"]
    assert order == [track.id for track in train_tracks(again(), seed=0)]
    assert order != [track.id for track in train_tracks(again(), seed=1)]
    with pytest.raises(UsageError, match="1 train tracks of 2"):
        train_tracks(mixed[:2], seed=0)


@pytest.mark.parametrize(
    "change", [{"hours": 0.0}, {"hours": float("nan")}, {"noise_sigma": -1.0}, {"unusable_limit": 2.0}]
)
def test_settings_out_of_range_are_refused(change: dict[str, Any]) -> None:
    with pytest.raises(UsageError):
        VocabularySettings(**change)


@pytest.mark.parametrize("change", [{"clusters": 0}, {"starts": 0}, {"passes": -1}, {"seed": -1}])
def test_numbers_out_of_range_are_refused(change: dict[str, int]) -> None:
    with pytest.raises(UsageError):
        KMeansSettings(**change)


def test_a_missing_scikit_learn_is_said_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(UsageError, match=r"pip install 'hafm\[train\]'"):
        module.check_scikit_learn()

"""Duplicates and splits: songs stay whole, copies go, and nothing but the songs decides."""

import hashlib
import os
import random
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hafm.data.collection.duplicates import ScanFailure, hash_track
from hafm.data.collection.splits import Assignment, ScannedTrack, assign
from hafm.data.collection.track import SPLITS, SoundPart, Split, Track
from hafm.errors import UsageError


def row(id: str, song: str, sha256: str | None = None, split: Split | None = None) -> ScannedTrack:
    return ScannedTrack(id=id, song_id=song, split=split, sha256=sha256)


def splits_of_songs(rows: list[ScannedTrack], assigned: list[Assignment]) -> dict[str, set[str]]:
    found: dict[str, set[str]] = {}
    for scanned, assignment in zip(rows, assigned, strict=True):
        found.setdefault(scanned.song_id, set()).add(assignment.split)
    return found


# ---- splits


def test_the_shares_are_met_and_the_seed_decides() -> None:
    rows = [row(f"{k}", f"song {k}") for k in range(2000)]
    counts = Counter(assignment.split for assignment in assign(rows, valid_share=0.02, test_share=0.05))
    assert counts["valid"] == pytest.approx(40, abs=19)  # three standard deviations
    assert counts["test"] == pytest.approx(100, abs=30)
    assert assign(rows, seed=1) != assign(rows, seed=0) == assign(rows)
    assert {assignment.split for assignment in assign(rows, valid_share=0, test_share=0)} == {"train"}


def test_the_split_of_a_song_does_not_depend_on_the_rest_of_the_collection() -> None:
    rows = [row(f"{k}", f"song {k}", f"hash {k}") for k in range(1000)]
    whole = dict(zip([each.id for each in rows], assign(rows), strict=True))
    part = random.Random(0).sample(rows, 300)
    assert [whole[each.id] for each in part] == assign(part)


def test_the_draw_is_what_it_was() -> None:
    """A change here moves songs between the splits of every collection prepared so far."""
    rows = [row(f"{k}", f"song {k}") for k in range(10)]
    drawn = " ".join(each.split for each in assign(rows, valid_share=0.2, test_share=0.2))
    assert drawn == "test valid valid train test train train train train test"


def test_a_song_is_never_divided() -> None:
    rows = [row(f"{k}", f"song {k % 50}") for k in range(500)]
    found = splits_of_songs(rows, assign(rows, valid_share=0.3, test_share=0.3))
    assert all(len(splits) == 1 for splits in found.values())
    assert set().union(*found.values()) == set(SPLITS)


def test_the_source_decides_for_the_whole_song_and_held_out_wins() -> None:
    rows = [
        row("a1", "a", split="valid"),
        row("a2", "a"),
        row("b1", "b", split="train"),
        row("b2", "b", split="test"),
        row("b3", "b", split="valid"),
    ]
    assert [each.split for each in assign(rows, valid_share=0, test_share=0)] == ["valid"] * 2 + ["test"] * 3


@pytest.mark.parametrize(("valid", "test"), [(-0.1, 0.1), (0.5, 0.5), (float("nan"), 0.0)])
def test_impossible_shares(valid: float, test: float) -> None:
    with pytest.raises(UsageError, match="below 1 together"):
        assign([], valid_share=valid, test_share=test)


# ---- duplicates


def test_the_first_stays() -> None:
    rows = [
        row("a", "a", "1"),
        row("b", "b", "2"),
        row("c", "c", "1"),
        row("d", "d", "1"),
        row("e", "e", "2"),
    ]
    assert [each.duplicate_of for each in assign(rows)] == [None, None, "a", "a", "b"]


def test_failed_scans_are_no_copies_of_each_other() -> None:
    assert [each.duplicate_of for each in assign([row("a", "a"), row("b", "b")])] == [None, None]


def test_songs_that_share_a_copy_are_one_group() -> None:
    """c holds a track of a and one of b, so that the three go together."""
    rows = [
        row("a1", "a", "1"),
        row("a2", "a", "2"),
        row("b1", "b", "3", split="test"),
        row("c1", "c", "1"),
        row("c2", "c", "3"),
        row("c3", "c", "4"),
    ]
    assert {each.split for each in assign(rows)} == {"test"}
    without_the_link = [each for each in rows if each.id != "c2"]
    found = splits_of_songs(without_the_link, assign(without_the_link, valid_share=0, test_share=0))
    assert found == {"a": {"train"}, "b": {"test"}, "c": {"train"}}


@given(
    st.lists(
        st.tuples(st.integers(0, 8), st.integers(0, 12), st.sampled_from([None] * 9 + [*SPLITS])), max_size=14
    )
)
def test_against_a_slow_oracle(items: list[tuple[int, int, Split | None]]) -> None:
    rows = [row(f"t{k}", f"s{song}", f"h{content}", split) for k, (song, content, split) in enumerate(items)]
    group = {each.song_id: {each.song_id} for each in rows}
    for _ in rows:  # merge until nothing changes
        for one in rows:
            for other in rows:
                if one.song_id == other.song_id or one.sha256 == other.sha256:
                    both = group[one.song_id] | group[other.song_id]
                    for song in both:
                        group[song] = both
    expected = []
    for k, each in enumerate(rows):
        said = {other.split for other in rows if other.song_id in group[each.song_id]} - {None}
        first = next(other for other in rows if other.sha256 == each.sha256)
        smallest = min(group[each.song_id])
        drawn = assign([row("x", smallest)], valid_share=0.3, test_share=0.3)[0].split
        split = next((one for one in ("test", "valid", "train") if one in said), drawn)
        expected.append((split, None if first is rows[k] else first.id))
    answers = assign(rows, valid_share=0.3, test_share=0.3)
    assert [(each.split, each.duplicate_of) for each in answers] == expected


def test_a_later_intake_follows_the_first() -> None:
    old = [row("old 1", "song 4", "1"), row("old 2", "song 3", "2")]
    first = assign(old, valid_share=0.2, test_share=0.2)
    assert [each.split for each in first] == ["test", "train"]
    settled = [replace(each, split=answer.split) for each, answer in zip(old, first, strict=True)]
    # song 1, which would be valid by itself, shares a copy with song 4 now
    new = [row("new 1", "song 1", "1"), row("new 2", "song 1", "3"), row("new 3", "song 4", "4")]
    answers = assign([*settled, *new], valid_share=0.2, test_share=0.2)
    assert answers[:2] == first
    assert [each.duplicate_of for each in answers[2:]] == ["old 1", None, None]
    assert {each.split for each in answers[2:]} == {"test"}


# ---- hashes


def track(*paths: str, stream: int | None = None) -> Track:
    first, *rest = (SoundPart(path=path, stream=stream) for path in paths)
    if not rest:
        return Track(id="a", song_id="a", mix=first)
    return Track(id="a", song_id="a", vocal=(first,), instrumental=tuple(rest))


def test_the_hash_is_of_what_the_files_hold(tmp_path: Path) -> None:
    for name, content in {"a": b"one", "b": b"two", "c": b"one"}.items():
        (tmp_path / name).write_bytes(content)
    a, b, c = (str(tmp_path / name) for name in "abc")
    assert hash_track(track(a)) == hash_track(track(c)) == hashlib.sha256(b"one").hexdigest()
    assert hash_track(track(a, b)) == hash_track(track(c, b))
    different = [
        track(a),
        track(b),
        track(a, stream=0),
        track(a, stream=1),
        track(a, b),
        track(b, a),
        track(a, c),
        track(a, b, c),
    ]
    assert len({hash_track(each) for each in different}) == len(different)


def test_what_cannot_be_hashed_gives_a_reason(tmp_path: Path) -> None:
    (tmp_path / "empty").touch()
    (tmp_path / "link").symlink_to("nowhere")
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "there").write_bytes(b"one")
    for name, reason in {
        "empty": "is empty",
        "none": "does not exist",
        "link": "a link to a file that does not exist",
        "pipe": "not a regular file",
        ".": "is a folder",
    }.items():
        failure = hash_track(track(str(tmp_path / "there"), str(tmp_path / name)))
        assert isinstance(failure, ScanFailure)
        assert reason in failure.reason
        assert "\n" not in failure.reason

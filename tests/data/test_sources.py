"""Collections: each layout gives the tracks that stand in it, once each, in an order of its own."""

import csv
import io
import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from hafm.data.collection.sources import KINDS, guess_kind, open_source
from hafm.data.collection.sources.folder import AUDIO_SUFFIXES
from hafm.data.collection.sources.musdb import VALIDATION_SONGS
from hafm.data.collection.track import SheetPart, Source, Track
from hafm.errors import UsageError
from tests.data.music_collections import make_fma, make_items, make_musdb18hq

needs_ffmpeg = pytest.mark.skipif(
    shutil.which("ffmpeg") is None, reason="the ffmpeg program is not installed"
)


def touch(root: Path, *names: str) -> Path:
    for name in names:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    return root


def found(kind: str, root: Path, **options: str) -> dict[str, Track]:
    source = open_source(kind, root, **options)
    assert isinstance(source, Source)
    tracks = list(source.tracks())
    assert tracks == list(open_source(kind, root, **options).tracks()), "the same in every run"
    assert json.loads(json.dumps(source.describe())) == source.describe()
    for track in tracks:
        assert Track.from_dict(json.loads(json.dumps(track.to_dict()))) == track
    assert len({track.id for track in tracks}) == len(tracks)
    return {track.id: track for track in tracks}


def names(parts: tuple[Any, ...]) -> list[str]:
    return [Path(part.path).name for part in parts]


# ---- mixes


def test_mixes(tmp_path: Path) -> None:
    touch(tmp_path, "b.wav", "a/2.MP3", "a/1.flac", "a/b/c.opus", "a/cover.jpg", "a/._1.flac", ".trash/d.wav")
    tracks = found("mixes", tmp_path)
    assert list(tracks) == ["b.wav", "a/1.flac", "a/2.MP3", "a/b/c.opus"]
    assert [track.song_id for track in tracks.values()] == list(tracks)
    assert {track.song_id for track in found("mixes", tmp_path, song_from="folder").values()} == {
        ".",
        "a",
        "a/b",
    }
    assert all(track.needs_separation and track.split is None for track in tracks.values())


def test_mixes_follow_links_and_end(tmp_path: Path) -> None:
    touch(tmp_path / "disk", "b.wav")
    touch(tmp_path / "music", "a.wav")
    (tmp_path / "music" / "link").symlink_to(tmp_path / "disk")
    (tmp_path / "disk" / "loop").symlink_to(tmp_path / "music")
    assert list(found("mixes", tmp_path / "music")) == ["a.wav", "link/b.wav"]


def test_names_that_are_no_text(tmp_path: Path) -> None:
    for name in (b"\xff.wav", b"a\nb.wav", "ü.wav".encode()):
        Path(os.fsdecode(os.fsencode(tmp_path) + b"/" + name)).touch()
    tracks = found("mixes", tmp_path)
    assert list(tracks) == ["a\\nb.wav", "ü.wav", "\\xff.wav"]
    for track in tracks.values():
        assert track.id.isprintable()
        assert track.mix is not None
        assert os.path.exists(track.mix.path)


def test_two_tracks_of_one_name_are_refused(tmp_path: Path) -> None:
    touch(tmp_path, "a.vocals.wav", "a.instrumental.wav", "a/vocals.wav", "a/instrumental.wav")
    with pytest.raises(UsageError, match="two tracks are called 'a'"):
        list(open_source("pairs", tmp_path).tracks())


def test_a_folder_that_fails_while_it_is_read_is_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    touch(tmp_path, "a.wav", "locked/b.wav")
    scan = os.scandir

    def failing(path: Any) -> Any:
        if os.fspath(path).endswith("locked"):
            raise PermissionError(13, "Permission denied", os.fspath(path))
        return scan(path)

    monkeypatch.setattr(os, "scandir", failing)
    with pytest.raises(UsageError, match=r"locked' cannot be read \(Permission denied\)"):
        list(open_source("mixes", tmp_path).tracks())


# ---- pairs


@pytest.mark.parametrize(
    ("vocal", "instrumental", "name"),
    [
        ("a/vocals.wav", "a/instrumental.wav", "a"),
        ("a/Vocal.FLAC", "a/Instrumentals.mp3", "a"),
        ("a.vocal.wav", "a.instrumental.wav", "a"),
        ("a.vocals.wav", "a.instrumentals.wav", "a"),
        ("set/a - vocals.wav", "set/a - instrumental.wav", "set/a"),
        ("1_a_(Vocals).wav", "1_a_(Instrumental).wav", "1_a"),
        ("model/a/vocals.wav", "model/a/no_vocals.wav", "model/a"),
        ("a_acapella.mp3", "a_no_vocals.mp3", "a"),
    ],
)
def test_pairs(vocal: str, instrumental: str, name: str, tmp_path: Path) -> None:
    tracks = found("pairs", touch(tmp_path, vocal, instrumental, "a/drums.wav", "vocalsheet.wav"))
    assert list(tracks) == [name]
    track = tracks[name]
    assert (names(track.vocal), names(track.instrumental)) == ([Path(vocal).name], [Path(instrumental).name])
    assert track.song_id == name
    assert not track.needs_separation


def test_half_a_pair_is_a_track_whose_other_half_is_missing(tmp_path: Path) -> None:
    touch(tmp_path, "a/vocals.wav", "b_instrumental.flac")
    tracks = found("pairs", tmp_path)
    assert list(tracks) == ["b", "a"]
    assert tracks["a"].instrumental[0].path == str(tmp_path / "a" / "instrumental.wav")
    assert tracks["b"].vocal[0].path == str(tmp_path / "b_vocals.flac")


def test_of_two_encodings_the_lossless_one_is_taken(tmp_path: Path) -> None:
    touch(tmp_path, "a/vocals.mp3", "a/vocals.wav", "a/instrumental.ogg", "a/instrumental.flac")
    (track,) = found("pairs", tmp_path).values()
    assert names(track.vocal + track.instrumental) == ["vocals.wav", "instrumental.flac"]
    assert track.known == {"not_used": ["instrumental.ogg", "vocals.mp3"]}


def test_pairs_of_a_folder_as_one_song(tmp_path: Path) -> None:
    touch(tmp_path, *(f"s/{k}.{stem}.wav" for k in range(2) for stem in ("vocal", "instrumental")))
    assert {track.song_id for track in found("pairs", tmp_path, song_from="folder").values()} == {"s"}
    assert len({track.song_id for track in found("pairs", tmp_path).values()}) == 2


# ---- FMA


@pytest.fixture(scope="module")
def fma(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_fma(tmp_path_factory.mktemp("fma"), seconds=1.0)


@pytest.mark.long
def test_fma(fma: Path) -> None:
    tracks = found("fma", fma)
    assert list(tracks) == [f"{2 + 251 * song:06d}" for song in range(12)]
    assert [track.split for track in tracks.values()] == ["train"] * 8 + ["valid"] * 2 + ["test"] * 2
    track = tracks["001006"]
    assert track.mix is not None
    assert track.mix.path == str(fma / "fma_large" / "001" / "001006.mp3")
    assert track.song_id == "1006"
    assert track.seconds == 1.0
    assert track.known == {
        "title": "Song 4",
        "artist": "Artist 3",
        "album": "Album 3",
        "licence": "Attribution",
    }
    assert tracks["000253"].known["genre"] == "Pop"
    assert all(os.path.isfile(track.mix.path) for track in tracks.values() if track.mix)


@pytest.mark.long
@pytest.mark.parametrize(("subset", "tracks"), [("small", 3), ("medium", 6), ("large", 12)])
def test_subsets_are_nested(subset: str, tracks: int, fma: Path) -> None:
    assert len(found("fma", fma, subset=subset)) == tracks
    assert found("fma", fma / "fma_large", subset=subset) == found("fma", fma, subset=subset)


def test_songs_of_an_artist(fma: Path) -> None:
    assert len({track.song_id for track in found("fma", fma, song_from="artist").values()}) == 6
    assert len({track.song_id for track in found("fma", fma, song_from="album").values()}) == 6


def test_the_subset_that_was_found_is_part_of_the_description(fma: Path) -> None:
    assert open_source("fma", fma).describe() == open_source("fma", fma, subset="large").describe()
    assert open_source("fma", fma).describe() != open_source("fma", fma, subset="small").describe()


def test_clips_last_30_s_and_whole_recordings_what_the_table_says(fma: Path, tmp_path: Path) -> None:
    table = (fma / "fma_metadata" / "tracks.csv").read_text().replace(",128000,,,,,1,", ",128000,,,,,215,")
    touch(tmp_path, "fma_metadata/tracks.csv", "fma_full/000/none.mp3", "fma_small/000/none.mp3")
    (tmp_path / "fma_metadata" / "tracks.csv").write_text(table)
    assert {track.seconds for track in found("fma", tmp_path).values()} == {215.0}
    assert {track.seconds for track in found("fma", tmp_path, subset="small").values()} == {30.0}
    with pytest.raises(UsageError, match=r"there is no folder fma_medium in .*; unpack fma_medium\.zip"):
        list(open_source("fma", tmp_path, subset="medium").tracks())
    (tmp_path / "fma_full").rename(tmp_path / "fma_large")
    with pytest.raises(UsageError, match="there is no folder fma_full"):  # clips are no whole recordings
        list(open_source("fma", tmp_path, subset="full").tracks())


def test_a_row_without_a_file_is_a_track(fma: Path, tmp_path: Path) -> None:
    shutil.copytree(fma / "fma_metadata", tmp_path / "fma_metadata")
    touch(tmp_path, "fma_large/000/README.txt")
    assert len(found("fma", tmp_path)) == 12


def cut(table: str) -> str:
    return table[: len(table) // 2]


def without_licence(table: str) -> str:
    return table.replace("license", "licence")


@pytest.mark.parametrize(
    ("damage", "message"),
    [(cut, "damaged near line"), (without_licence, r"no column track\.license"), (lambda _: "", "no column")],
)
def test_a_damaged_table(damage: Callable[[str], str], message: str, fma: Path, tmp_path: Path) -> None:
    touch(tmp_path, "fma_large/000/none.mp3", "fma_metadata/tracks.csv")
    table = (fma / "fma_metadata" / "tracks.csv").read_text()
    (tmp_path / "fma_metadata" / "tracks.csv").write_text(damage(table))
    with pytest.raises(UsageError, match=message):
        list(open_source("fma", tmp_path).tracks())


def test_long_biographies(fma: Path, tmp_path: Path) -> None:
    """The csv module refuses fields over 131,072 letters by default."""
    touch(tmp_path, "fma_large/000/none.mp3", "fma_metadata/tracks.csv")
    with (fma / "fma_metadata" / "tracks.csv").open(newline="") as file:
        rows = list(csv.reader(file))
    rows[3][rows[1].index("bio")] = "life\n" * 40_000
    table = io.StringIO()
    csv.writer(table).writerows(rows)
    (tmp_path / "fma_metadata" / "tracks.csv").write_text(table.getvalue())
    assert len(found("fma", tmp_path)) == 12


# ---- MUSDB18


def test_musdb18hq(tmp_path: Path) -> None:
    tracks = found("musdb18hq", make_musdb18hq(tmp_path, songs=3, seconds=0.1))
    assert {id: track.split for id, track in tracks.items()} == {
        "train/Artist 1 - Title 1": "train",
        "train/Leaf - Summerghost": "valid",
        "test/Artist 2 - Title 2": "test",
    }
    track = tracks["train/Leaf - Summerghost"]
    assert names(track.vocal) == ["vocals.wav"]
    assert names(track.instrumental) == ["drums.wav", "bass.wav", "other.wav"]
    assert track.known == {"artist": "Leaf", "title": "Summerghost"}
    assert all(os.path.isfile(part.path) for part in track.parts)


@needs_ffmpeg
def test_musdb18(tmp_path: Path) -> None:
    tracks = found("musdb18", touch(tmp_path, "train/Leaf - Summerghost.stem.mp4", "train/notes.txt"))
    (track,) = tracks.values()
    assert (track.id, track.song_id, track.split) == (
        "train/Leaf - Summerghost",
        "Leaf - Summerghost",
        "valid",
    )
    assert track.mix is not None
    assert track.mix.stream == 0
    assert [part.stream for part in track.vocal] == [4]
    assert [part.stream for part in track.instrumental] == [1, 2, 3]
    assert {part.path for part in track.parts} == {str(tmp_path / "train" / "Leaf - Summerghost.stem.mp4")}


def test_musdb18_without_ffmpeg(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    touch(tmp_path, "train/a - b.stem.mp4")
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(UsageError, match="need the ffmpeg program; install it"):
        list(open_source("musdb18", tmp_path).tracks())


def test_the_validation_list_has_fourteen_songs() -> None:
    assert len(VALIDATION_SONGS) == 14


# ---- rendered


TRUTH = {
    "song_id": 773,
    "seconds": 20.0,
    "key": {"label": "A:maj"},
    "tempo_bpm": 64.02111,
    "band": {"style": "ballad"},
    "voice": "kal",
}


def test_rendered(tmp_path: Path) -> None:
    touch(tmp_path, "valid/000007.json", "train/000003.json", "train/000001.json", "train/000002.vocal.wav")
    for path in tmp_path.rglob("*.json"):
        path.write_text(json.dumps(TRUTH))
    touch(tmp_path, "train/failures.jsonl", "train/summary.json")
    tracks = found("rendered", tmp_path)
    assert list(tracks) == ["train/000001", "train/000003", "valid/000007"]
    track = tracks["valid/000007"]
    assert (track.song_id, track.split, track.seconds) == ("773", "valid", 20.0)
    assert track.vocal[0].path == str(tmp_path / "valid" / "000007.vocal.wav")
    assert track.instrumental[0].path == str(tmp_path / "valid" / "000007.instrumental.wav")
    assert track.lead_sheet == SheetPart(path=str(tmp_path / "valid" / "000007.json"), kind="truth")
    assert track.known == {
        "song": 773,
        "key": "A:maj",
        "tempo_bpm": 64.021,
        "style": "ballad",
        "voice": "kal",
    }
    (tmp_path / "train" / "000001.json").write_text('{"song_id": 1')
    with pytest.raises(UsageError, match=r"000001\.json' is no truth of a rendered pair"):
        list(open_source("rendered", tmp_path).tracks())


# ---- all of them


def test_the_kind_is_guessed(tmp_path: Path, fma: Path) -> None:
    assert guess_kind(fma) == guess_kind(fma / "fma_large") == "fma"
    assert guess_kind(make_musdb18hq(tmp_path / "hq", songs=2, seconds=0.1)) == "musdb18hq"
    assert guess_kind(touch(tmp_path / "18", "test/a - b.stem.mp4")) == "musdb18"
    assert guess_kind(touch(tmp_path / "r", "valid/000001.json", "valid/000001.vocal.wav")) == "rendered"
    assert guess_kind(make_items(tmp_path / "p", good=2, bad=0).root) == "pairs"
    assert guess_kind(touch(tmp_path / "m", "a.wav", "train.wav")) == "mixes"


@pytest.mark.parametrize("kind", KINDS)
def test_folders_that_are_no_such_collection(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shutil, "which", lambda _: "/usr/bin/ffmpeg")
    touch(tmp_path, "empty/notes.txt", "file.wav")
    for name, message in {
        "none": "does not exist",
        "file.wav": "is not a folder",
        "empty": "there is no",
    }.items():
        with pytest.raises(UsageError, match=message) as caught:
            list(open_source(kind, tmp_path / name).tracks())
        assert len(str(caught.value).splitlines()) == 1
        with pytest.raises(UsageError, match=message):
            guess_kind(tmp_path / name)


def test_unknown_kinds_and_values() -> None:
    with pytest.raises(UsageError, match="did you mean musdb18hq"):
        open_source("musdbhq", "music")
    with pytest.raises(UsageError, match="choose mixes, pairs"):
        open_source("?", "music")
    with pytest.raises(UsageError, match="choose track, artist or album"):
        open_source("fma", "music", song_from="genre")
    with pytest.raises(UsageError, match="has no option song_from; it has none"):
        open_source("rendered", "music", song_from="folder")
    assert open_source("mixes", "music", song_from=None) == open_source("mixes", "music")


def test_every_ending_is_one_that_the_gateway_names() -> None:
    assert len(set(AUDIO_SUFFIXES)) == len(AUDIO_SUFFIXES)
    assert all(suffix == suffix.casefold() and suffix.startswith(".") for suffix in AUDIO_SUFFIXES)

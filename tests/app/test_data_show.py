"""`hafm data`: it tells the truth about shards, in tables, JSON and a picture, and names what is wrong."""

import io
from pathlib import Path

import fsspec
import matplotlib.image
import numpy as np
import pytest

from hafm.app.data_plot import draw_data
from hafm.data.shards.token_use import TokenUse
from hafm.data.tokenising.clip_filter import ClipFilter
from tests.app.conftest import Hafm
from tests.data.numbered_shards import FINGERPRINTS, MADE_BY, MadeTrack, make_shards
from tests.train.training_shards import make_training_shards

TRACKS = [
    MadeTrack(30, "++q"),
    MadeTrack(30, "lql"),
    MadeTrack(12.345, "++"),
    MadeTrack(25, "+++", "valid"),
]
ROWS = [
    ("track-0", "song-0", "train", "done", ""),
    ("track-1", "song-1", "train", "dropped", "filter: loud vocal in 2, quiet instrumental in 1 of 3 clips"),
    ("track-2", "song-2", "train", "done", ""),
    ("copy", "song-2", "train", "dropped", "duplicate of track-2"),
    ("bad-1", "song-8", "train", "quarantined", "'bad-1.mp3' is empty"),
    ("bad-2", "song-9", "train", "quarantined", "'bad-2.mp3' is empty"),
    ("track-3", "song-3", "valid", "done", ""),
]


@pytest.fixture
def shards(tmp_path: Path) -> Path:
    folder = tmp_path / "shards"
    make_shards(folder, TRACKS, parts=False)
    table = [("id", "song", "split", "status", "reason"), *ROWS]
    (folder / "ledger.tsv").write_text("".join("\t".join(row) + "\n" for row in table))
    return folder


# ---- what is said


def test_json_tells_the_truth(shards: Path, hafm: Hafm) -> None:
    printed = hafm("data", "show", shards, "--json").json
    train, valid = printed["splits"]["train"], printed["splits"]["valid"]
    assert (train["tracks"], train["songs"], train["kept_tracks"], train["shards"]) == (3, 3, 2, 2)
    assert (train["clips"], train["kept_clips"]) == (8, 4)
    assert train["dropped_clips"] == {"quiet instrumental": 2, "loud vocal": 2}
    assert train["hours"] == pytest.approx(72.345 / 3600)
    assert valid["kept_hours"] == pytest.approx(25 / 3600)
    assert valid["bytes"] == (shards / "valid-00000.safetensors").stat().st_size
    assert printed["filter"] == {"min_instrumental_dbfs": -25.0, "max_vocal_over_db": 5.0}
    assert printed["made_by"] == MADE_BY
    assert printed["parts"] == FINGERPRINTS
    assert printed["levels"]["instrumental_dbfs"]["p50"] == -18.0
    assert printed["ledger"]["items"] == 7
    assert printed["ledger"]["quarantined"] == 2
    assert printed["ledger"]["reasons"]["quarantined"] == {"'…' is empty": 2}
    assert printed["ledger"]["reasons"]["dropped"]["duplicate"] == 1


def test_lead_sheets_are_counted_and_are_no_shards(tmp_path: Path, hafm: Hafm) -> None:
    make_training_shards(tmp_path / "shards", songs=4, held_out=2, with_sheet=3)
    splits = hafm("data", "show", tmp_path / "shards", "--json").json["splits"]
    assert [(split["tracks_with_sheet"], split["shards"]) for split in splits.values()] == [(3, 1), (2, 1)]


def test_token_statistics_are_those_of_the_kept_clips(shards: Path, hafm: Hafm) -> None:
    tokens = hafm("data", "show", shards, "--json").json["tokens"]
    assert list(tokens) == ["vocal_semantic", "instrumental_semantic", "coarse_codes", "fine_codes"]
    assert [len(codebooks) for codebooks in tokens.values()] == [1, 1, 4, 4]
    # Tokens are frame numbers; kept runs are 0-20, 0-12.345 and 0-25 s.
    (instrumental,) = tokens["instrumental_semantic"]
    assert (instrumental["tokens"], instrumental["used"]) == (1000 + 618 + 1250, 1250)
    assert instrumental["dead"] == 0  # more ids than the paper's 500, so these are all there are
    # The last codebook holds the track's number: 0, 2 and 3, of which 1500, 926 and 1875 frames are kept.
    last = tokens["fine_codes"][3]
    assert (last["ids"], last["used"], last["dead"]) == (1875, 3, 1872)
    assert [each["id"] for each in last["most_frequent"]] == [3, 0, 2]
    shares = np.array([1875, 1500, 926]) / 4301
    assert [each["share"] for each in last["most_frequent"]] == pytest.approx(shares.tolist(), abs=1e-6)
    assert last["entropy_bits"] == pytest.approx(-(shares * np.log2(shares)).sum(), abs=1e-4)


@pytest.mark.parametrize("columns", [70, 80, 200])
def test_tables_for_people(shards: Path, hafm: Hafm, monkeypatch: pytest.MonkeyPatch, columns: int) -> None:
    monkeypatch.setenv("COLUMNS", str(columns))
    ran = hafm("data", "show", shards)
    assert (ran.code, ran.err) == (0, "")
    assert max(map(len, ran.out.splitlines()[1:])) <= columns  # the first line is the folder's name
    for words in (
        "kept hours",
        "loud vocal",
        "18.2%",
        "below -25 dBFS",
        "1,250",
        "duplicate",
        "1" * 24,
    ):
        assert words in ran.out, words


def test_remote_shards_are_shown_too(
    shards: Path, hafm: Hafm, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    fsspec.filesystem("memory").put(f"{shards}/", "/shown/", recursive=True)
    local = hafm("data", "show", shards, "--json").json
    remote = hafm("data", "show", "memory://shown", "--json").json
    assert {**local, "place": None} == {**remote, "place": None}


def test_the_ledger_lists_what_is_not_done(shards: Path, hafm: Hafm) -> None:
    out = hafm("data", "show", shards, "--ledger").out
    assert "quarantined  bad-2: 'bad-2.mp3' is empty\n" in out
    assert "dropped      copy: duplicate of track-2\n" in out
    assert "track-3" not in out
    assert out.endswith("3 of 7 items are done\n")
    rows = hafm("data", "show", shards, "--ledger", "--json").json
    assert [row["id"] for row in rows][3:5] == ["copy", "bad-1"]
    assert rows[0] == {"id": "track-0", "song": "song-0", "split": "train", "status": "done", "reason": ""}


# ---- the picture


@pytest.mark.slow
def test_the_picture(shards: Path, hafm: Hafm, tmp_path: Path) -> None:
    picture = tmp_path / "a.png"
    picture.write_bytes(b"mine")
    ran = hafm("data", "show", shards, "--plot", picture)
    assert ran.code == 2
    assert "--overwrite" in ran.error
    assert picture.read_bytes() == b"mine"
    assert hafm("data", "show", shards, "--plot", picture, "--overwrite").code == 0
    assert matplotlib.image.imread(picture).shape[:2] == (1320, 1800)


@pytest.mark.slow
def test_dropped_clips_have_a_colour_of_their_own() -> None:
    """Bars at +20 dB and -10 dB: orange right of the line, blue left of it."""
    rng = np.random.default_rng(0)
    vocal = np.concatenate([rng.uniform(-29, -27, 500), rng.uniform(1, 3, 500)])
    png = draw_data(
        vocal_dbfs=vocal,
        instrumental_dbfs=np.full(1000, -18.0),
        clip_filter=ClipFilter(),
        use={name: [TokenUse(counts=np.arange(50))] for name in ("vocal_semantic", "coarse_codes")},
        title="$x$ [a]",
    )
    pixels = matplotlib.image.imread(io.BytesIO(png))[230:620, :890, :3]  # the first histogram

    def columns_of(colour: tuple[int, int, int]) -> np.ndarray:
        near = np.abs(pixels - np.array(colour) / 255).max(axis=2) < 0.02
        return np.flatnonzero(near.sum(axis=0) > 100)

    blue, orange = columns_of((0x1D, 0x4E, 0xD8)), columns_of((0xC2, 0x41, 0x0C))
    assert len(blue) > 10
    assert len(orange) > 10
    assert blue.max() < orange.min()


@pytest.mark.parametrize(
    ("name", "message"),
    [("a.pdf", "ends in .png"), ("nowhere/a.png", "there is no folder"), ("", "ends in .png")],
)
def test_a_picture_that_cannot_be_written_is_refused_first(
    shards: Path, hafm: Hafm, tmp_path: Path, name: str, message: str
) -> None:
    (shards / "train-00000.safetensors").unlink()  # would be noticed while counting tokens
    ran = hafm("data", "show", shards, "--plot", tmp_path / name)
    assert ran.code == 2
    assert message in ran.error


def test_plot_and_ledger_are_two_things(shards: Path, hafm: Hafm, tmp_path: Path) -> None:
    ran = hafm("data", "show", shards, "--ledger", "--plot", tmp_path / "a.png")
    assert ran.code == 2
    assert "give one of them" in ran.error


# ---- what is wrong


def test_verify(shards: Path, hafm: Hafm) -> None:
    assert "5 files, all as written" in hafm("data", "verify", shards).out
    assert hafm("data", "verify", shards, "--json").json == {"files": 5}
    for name in ("train-00001.safetensors", "valid-00000.safetensors"):
        data = bytearray((shards / name).read_bytes())
        data[-1] ^= 1
        (shards / name).write_bytes(data)
    ran = hafm("data", "verify", shards)
    assert (ran.code, ran.out) == (2, "")
    assert "2 of 4 files" in ran.error
    assert "train-00001.safetensors, valid-00000.safetensors" in ran.error


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (
            lambda folder: (folder / "index.json").unlink(),
            "are not finished (3 done, 2 dropped, 2 quarantined)",
        ),
        (lambda folder: (folder / "train-00000.safetensors").unlink(), "train-00000.safetensors' is missing"),
        (
            lambda folder: (folder / "train-00000.safetensors").write_bytes(b"x"),
            "has 1 bytes and should have",
        ),
        (lambda folder: (folder / "tracks.jsonl").write_bytes(b""), "tracks.jsonl' is not what was written"),
        (
            lambda folder: (folder / "index.json").write_bytes(b"{}"),
            "index.json' is not the index of token shards",
        ),
    ],
)
def test_damaged_shards_are_named_in_one_line(shards: Path, hafm: Hafm, damage, message: str) -> None:
    damage(shards)
    ran = hafm("data", "show", shards)
    assert (ran.code, ran.out) == (2, "")
    assert message in ran.error
    assert hafm("data", "show", shards, "--json").json["error"]["exit_code"] == 2


@pytest.mark.parametrize("words", [("show",), ("verify",), ("show", "--ledger")])
def test_where_there_are_no_shards(hafm: Hafm, tmp_path: Path, words: tuple[str, ...]) -> None:
    ran = hafm("data", *words, tmp_path / "nothing")
    assert (ran.code, ran.out) == (2, "")
    assert "there " in ran.error
    assert "hafm prepare writes" in ran.error

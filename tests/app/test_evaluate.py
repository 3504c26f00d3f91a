"""`hafm evaluate` as a user runs it: a run, its files, going on, comparing, and what is refused."""

import io
import json
import sys
from contextlib import redirect_stdout
from pathlib import Path
from shutil import copytree

import pytest

from benchmarks.make_separator import write_separator
from hafm.app.cli import run as run_words
from hafm.locks import locked_folder
from tests.app.conftest import Hafm, tree
from tests.evaluate.songs import make_songs
from tests.unchecked import unchecked

CLIPS = ("--clip-seconds", "2", "--clips-per-song", "1")


@pytest.fixture(scope="module")
def songs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_songs(tmp_path_factory.mktemp("songs"), songs=2, seconds=4.0)


@pytest.fixture(scope="module")
def run(songs: Path, bundle: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run, and what it printed in `printed.txt` beside it."""
    folder = tmp_path_factory.mktemp("evaluation") / "run"
    words = ["evaluate", songs, "-o", folder, "--bundle", bundle, *CLIPS, "--takes", 1,
             "--report-clips", 1, "--no-worth", "--systems", "model,silence"]  # fmt: skip
    with unchecked(), redirect_stdout(io.StringIO()) as printed:
        assert run_words([str(word) for word in words]) == 0
    folder.with_name("printed.txt").write_text(printed.getvalue())
    return folder


def test_the_old_spelling_of_an_option_names_the_new(hafm: Hafm, tmp_path: Path) -> None:
    ran = hafm("evaluate", tmp_path, "-o", tmp_path / "run", "--clips-a-song", "1")
    assert ran.code == 2
    assert ran.error == "error: --clips-a-song is now spelt --clips-per-song; write that"


def test_a_run_leaves_a_report_tables_and_results(run: Path) -> None:
    assert {"manifest.json", "results.json", "report.html", "table.md", "sounds"} <= {
        path.name for path in run.iterdir()
    }
    results = json.loads((run / "results.json").read_text())
    assert [row["name"] for row in results["systems"]] == ["truth", "model", "silence"]
    assert len(results["clips"]) == 2 * 3
    assert "<audio" in (run / "report.html").read_text()
    assert not (run / ".lock").exists()
    printed = run.with_name("printed.txt").read_text()
    assert "isolated vocals" in printed
    assert str(run / "report.html") in printed


def test_a_distance_of_two_songs_is_no_figure(run: Path) -> None:
    results = json.loads((run / "results.json").read_text())
    assert {row["fad"]["value"] for row in results["fad"]} == {None}
    assert "There are no Fréchet distances: 2 songs are too few" in results["notes"][0]
    assert "FAD" not in run.with_name("printed.txt").read_text()


def test_an_index_is_not_put_beside_a_folder_of_its_name(hafm: Hafm, songs: Path, tmp_path: Path) -> None:
    (tmp_path / "index" / "index.json").mkdir(parents=True)
    ran = hafm("retrieve-index", songs, "-o", tmp_path / "index")
    assert (ran.code, "index.json' is a folder, and a file of that name" in ran.error) == (2, True)


def test_the_same_command_again_changes_no_sound_and_json_says_where_all_is(
    run: Path, songs: Path, bundle: Path, hafm: Hafm, tmp_path: Path
) -> None:
    run = Path(copytree(run, tmp_path / "run"))
    before = tree(run / "sounds")
    again = hafm("evaluate", songs, "-o", run, "--bundle", bundle, *CLIPS, "--takes", 1, "--report-clips", 0,
                 "--no-worth", "--systems", "model,silence", "--json",
                 "--against", run / "results.json")  # fmt: skip
    assert again.code == 0, again.err
    assert tree(run / "sounds") == before
    assert "<audio" not in Path(again.json["report"]).read_text()
    assert Path(again.json["table"]).is_file()
    assert json.loads(Path(again.json["comparison"]).read_text())["same_clips"] is True
    assert again.json["systems"]["silence"]["isolated"]["chord_tones"] == [None, None, None]


@pytest.mark.slow
def test_the_separated_arm_and_the_vocals_worth(
    songs: Path, bundle: Path, hafm: Hafm, tmp_path: Path
) -> None:
    separator = tmp_path / "vocals.onnx"
    write_separator(separator)
    ran = hafm("evaluate", songs, "-o", tmp_path / "run", "--bundle", bundle, *CLIPS, "--songs", 2,
               "--report-clips", 0, "--systems", "model", "--separator", separator)  # fmt: skip
    assert ran.code == 0, ran.err
    results = json.loads((tmp_path / "run" / "results.json").read_text())
    assert results["arms"] == ["isolated", "separated"]
    assert {(row["arm"], row["system"]) for row in results["clips"]} == {
        (arm, system) for arm in results["arms"] for system in ("truth", "model")
    }
    isolated, separated = (
        sorted((tmp_path / "run" / "sounds" / "model" / arm).rglob("*.flac")) for arm in results["arms"]
    )
    assert [path.name for path in isolated] == [path.name for path in separated]
    assert any(a.read_bytes() != b.read_bytes() for a, b in zip(isolated, separated, strict=True))
    assert [row["stage"] for row in results["worth"]] == ["semantic", "coarse"]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ((), "no output folder"),
        (("-o", "RUN", "--takes", 0), "--takes is 0"),
        (("-o", "RUN", "--systems", "modle"), "--systems knows no modle"),
        (("-o", "RUN", "--systems", "retrieval"), "retrieval needs an index"),
        (("-o", "RUN", "--index", "nowhere", "--systems", "model"), "--index is for retrieval"),
        (("-o", "RUN", "--embedding", "vgish:x"), "vggish"),
        (("-o", "RUN", "--against", "nowhere.json"), "--against 'nowhere.json' cannot be read"),
        (("-o", "RUN", "--split", "valid"), "of the valid split"),
        (("-o", "RUN", "--clip-seconds", 60), "no clip of the 2 tracks passed"),
        (("-o", "RUN", "--bundle", "nowhere"), "nowhere"),
        (("-o", "SONGS"), "is the collection itself"),
        (("-o", "USED"), "in use by something else"),
        (("-o", "NAMED"), "results.json' is a folder, and a file of that name is to be written"),
        (("-o", "TAKEN"), "another hafm writes to"),
    ],
)
def test_what_is_refused(
    words: tuple[object, ...], said: str, songs: Path, hafm: Hafm, tmp_path: Path
) -> None:
    used = tmp_path / "used"
    used.mkdir()
    (used / "letter.txt").write_text("mine")
    taken, named = tmp_path / "taken", tmp_path / "named"
    for folder in (taken, named):
        (folder / "sounds").mkdir(parents=True)
    (named / "results.json").mkdir()
    places = {"RUN": tmp_path / "run", "SONGS": songs, "USED": used, "TAKEN": taken, "NAMED": named}
    with locked_folder(taken, name=".lock"):
        ran = hafm("evaluate", songs, *(places.get(str(word), word) for word in words))
    assert ran.code == 2
    assert "opening the bundle" not in ran.err or not {"NAMED", "TAKEN"} & {str(word) for word in words}
    assert said in ran.error
    assert not list((tmp_path / "run").rglob("*.json")) if (tmp_path / "run").exists() else True
    assert tree(used) == {"letter.txt": b"mine"}


@pytest.mark.parametrize("module", ["mir_eval.beat", "python_stretch.Signalsmith"])
def test_a_missing_package_is_reported_before_any_work(
    module: str, songs: Path, hafm: Hafm, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, module, None)
    ran = hafm("evaluate", songs, "-o", tmp_path / "run", "--index", tmp_path)
    assert ran.code == 2
    assert "hafm[eval]" in ran.error
    assert not (tmp_path / "run").exists()

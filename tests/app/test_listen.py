"""`hafm listen`: a kit is made whole or not at all, answers become a table, and refusals are one line."""

import json
from pathlib import Path
from typing import Any

import pytest

from hafm.evaluate.listening.design import Design
from tests.app.conftest import Hafm, tree
from tests.evaluate.listening.simulated import answers_json
from tests.evaluate.runs import make_run

MAKE = ("--trials", 6, "--catch", 2, "--repeats", 1)
SHORT = ("--trials", 2, "--catch", 1, "--repeats", 0)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("evaluated") / "run"
    make_run(folder, systems=("truth", "model", "retrieval", "random", "noise"), seconds=1.0)
    return folder


def design_in(kit: Path) -> Design:
    return Design.from_json((kit / "key.json").read_text(), where="key.json")


def answer(folder: Path, name: str, *, session: str = "", **changes: Any) -> Path:
    """A rater who always chooses the truth, else the model, and never the noise."""
    design = design_in(folder)
    worth = ["noise", "random", "retrieval", "model", "truth"]
    choices = {t.id: "a" if worth.index(t.a) > worth.index(t.b) else "b" for t in design.trials}
    values = json.loads(answers_json(design, choices, session=session or name, rater=name))
    path = folder / f"answers-{name}.json"
    path.write_text(json.dumps({**values, **changes}))
    return path


@pytest.mark.long
def test_make_then_score(run: Path, hafm: Hafm, tmp_path: Path) -> None:
    kit = tmp_path / "kit"
    made = hafm("listen", "make", run, "-o", kit, *MAKE, "--listen-seconds", 0.5, "--seed", 7, "--json").json
    assert set(tree(kit)) == {"listen.html", "key.json"}
    design = design_in(kit)
    assert made["kit"] == design.kit
    assert made["trials"] == {"main": 6, "catch": 2, "repeat": 1}
    assert made["systems"] == ["model", "retrieval", "random", "truth"]
    assert made["page_bytes"] == (kit / "listen.html").stat().st_size
    assert (design.seed, design.listen_seconds) == (7, 0.5)
    files = [answer(kit, "Ann"), answer(kit, "Bo")]
    ran = hafm("listen", "score", kit / "key.json", *files)
    assert ran.code == 0
    assert "2 raters, 12 answers to 6 pairs" in ran.out
    assert "note: 6 of 6 pairs have fewer than 6 answers" in ran.err
    scores = hafm("listen", "score", kit / "key.json", *files, "--json").json
    rates = {(pair["first"], pair["second"]): pair["rate"]["value"] for pair in scores["pairs"]}
    assert rates[("model", "random")] == 1.0
    assert rates[("model", "truth")] == 0.0
    assert [row["system"] for row in scores["strengths"]] == ["truth", "model", "retrieval", "random"]


@pytest.mark.slow
def test_the_summary_says_who_gets_what(run: Path, hafm: Hafm, tmp_path: Path) -> None:
    ran = hafm("listen", "make", run, "-o", tmp_path / "kit", *SHORT)
    assert ran.code == 0
    assert "give raters listen.html alone" in ran.out
    assert "2 trials of model, retrieval, random, truth" in ran.out


def test_the_summary_says_that_there_is_no_truth(hafm: Hafm, tmp_path: Path) -> None:
    make_run(tmp_path / "run", systems=("model", "random"), seconds=1.0)
    ran = hafm("listen", "make", tmp_path / "run", "-o", tmp_path / "kit", "--trials", 2, "--repeats", 0)
    assert "note: there are no catch trials" in ran.err


def test_a_kit_is_not_replaced_unasked(run: Path, hafm: Hafm, tmp_path: Path) -> None:
    kit = tmp_path / "kit"
    kit.mkdir()
    (kit / "key.json").write_text("mine")
    before = tree(tmp_path)
    ran = hafm("listen", "make", run, "-o", kit, *SHORT)
    assert ran.code == 2
    assert "--overwrite" in ran.error
    assert tree(tmp_path) == before
    assert hafm("listen", "make", run, "-o", kit, *SHORT, "--overwrite").code == 0
    assert design_in(kit).systems


def test_nothing_is_left_of_a_kit_that_fails(hafm: Hafm, tmp_path: Path) -> None:
    run = tmp_path / "run"
    make_run(run, systems=("model", "random"), seconds=1.0)
    for path in (run / "sounds" / "random").rglob("*.flac"):
        path.unlink()
    before = tree(tmp_path)
    ran = hafm("listen", "make", run, "-o", tmp_path / "kit", "--trials", 2, "--repeats", 0)
    assert ran.code == 2
    assert "cannot be read" in ran.error
    assert tree(tmp_path) == before
    assert not (tmp_path / "kit").exists()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ((), "name one with -o"),
        (("-o", "kit", "--trials", 0), "--trials is 0"),
        (("-o", "kit", "--repeats", 100), "--repeats is 100"),
        (("-o", "kit", "--systems", "model,singsong"), "no system 'singsong'"),
        (("-o", "kit", "--systems", "model,,random"), "names with commas"),
        (("-o", "kit", "--systems", "model"), "two systems or more"),
        (("-o", "kit", "--arm", "separated"), "--arm is 'separated'"),
    ],
)
def test_a_kit_that_cannot_be_made(
    run: Path, hafm: Hafm, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, words: tuple, message: str
) -> None:
    monkeypatch.chdir(tmp_path)
    ran = hafm("listen", "make", run, *words)
    assert (ran.code, ran.out) == (2, "")
    assert message in ran.error
    assert tree(tmp_path) == {}


def test_where_there_is_no_run(hafm: Hafm, tmp_path: Path) -> None:
    ran = hafm("listen", "make", tmp_path / "nothing", "-o", tmp_path / "kit")
    assert ran.code == 2
    assert "not a finished evaluation" in ran.error


@pytest.fixture(scope="module")
def kit(run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    from hafm.app.cli import run as call

    folder = tmp_path_factory.mktemp("made") / "kit"
    assert call(["listen", "make", str(run), "-o", str(folder), *map(str, MAKE), "--quiet"]) == 0
    return folder


@pytest.mark.long
@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"kit": "0123456789abcdef"}, "has answers of the kit 0123456789abcdef"),
        (
            {"answers": [{"trial": "ffff", "choice": "a"}]},
            "answers a trial 'ffff' that is not in the key",
        ),
        ({"answers": 5}, "is not the answers of a listening test: answers must be a list, not 5"),
        ({"answers": []}, "nobody answered a trial"),
    ],
)
def test_answers_that_cannot_be_scored(kit: Path, hafm: Hafm, changes: dict, message: str) -> None:
    ran = hafm("listen", "score", kit / "key.json", answer(kit, "odd", **changes))
    assert (ran.code, ran.out) == (2, "")
    assert message in ran.error


@pytest.mark.long
def test_answers_that_count_twice(kit: Path, hafm: Hafm) -> None:
    one = answer(kit, "Ann", session="s")
    ran = hafm("listen", "score", kit / "key.json", one, one)
    assert ran.code == 2
    assert "one and the same sitting" in ran.error


def test_files_that_are_not_there_or_not_text(kit: Path, hafm: Hafm, tmp_path: Path) -> None:
    ann, bytes_file = answer(kit, "Ann"), tmp_path / "a.json"
    bytes_file.write_bytes(b"\xff\xfe\x00")
    for words, message in (
        ((tmp_path / "none.json", ann), "cannot read"),
        ((kit / "key.json", tmp_path), "cannot read"),
        ((kit / "key.json", bytes_file), "not text in UTF-8"),
        ((ann, ann), "not the key of a listening test"),
        ((kit / "key.json", kit / "key.json"), "is not the answers"),
        ((kit / "key.json", ann, "--min-catch", "2"), "--min-catch is 2"),
    ):
        ran = hafm("listen", "score", *words)
        assert (ran.code, ran.out) == (2, "")
        assert message in ran.error


def test_the_inattentive_are_left_out(kit: Path, hafm: Hafm) -> None:
    ann, bo = answer(kit, "Ann"), answer(kit, "Bo")
    values = json.loads(bo.read_text())
    for each in values["answers"]:
        each["choice"] = "same"
    bo.write_text(json.dumps(values))
    ran = hafm("listen", "score", kit / "key.json", ann, bo, "--leave-out")
    assert "note: Bo chose the truth in 0 of 2 catch trials and is left out" in ran.err
    assert "1 rater, 6 answers" in ran.out

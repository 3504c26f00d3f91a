"""`hafm generate --pick best`: the best take in the folder itself, and how the takes were ranked."""

import json
import os
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import soundfile
import torch

from hafm.app.cli import run
from hafm.evaluate.ranking import rank_takes
from hafm.generate.accompany import Accompaniment, Accompanist
from tests.app.conftest import Hafm, Ran, tree
from tests.unchecked import unchecked

NAMES = {"accompaniment.wav", "mix.wav", "generation.json"}
TAKES = (1, 2, 3)
QUICK = ("--skip-fine", "--guidance", "1", "--takes", "3")


def generate(hafm: Hafm, vocal: Path, bundle: Path, folder: Path, *words: object) -> Ran:
    with unchecked():
        return hafm("generate", vocal, "-o", folder, "--bundle", bundle, *QUICK, *words)


@pytest.fixture(scope="module")
def made(bundle: Path, vocal: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`picked/`, and `all/` without --pick."""
    folder = tmp_path_factory.mktemp("made")
    words = ["generate", str(vocal), "--bundle", str(bundle), *QUICK, "--quiet"]
    with unchecked():
        assert run([*words, "-o", str(folder / "picked"), "--pick", "best"]) == 0
        assert run([*words, "-o", str(folder / "all"), "--pick", "all"]) == 0
    return folder


@pytest.fixture
def audible(monkeypatch: pytest.MonkeyPatch) -> Callable[[int], None]:
    """Makes all takes silent but one, after they were generated."""
    original = Accompanist.generate_takes

    def only(number: int) -> None:
        def silenced(self: Accompanist, *args: Any, **options: Any) -> list[Accompaniment]:
            takes = original(self, *args, **options)
            return [
                take if at == number else replace(take, waveform=torch.zeros_like(take.waveform))
                for at, take in enumerate(takes, start=1)
            ]

        monkeypatch.setattr(Accompanist, "generate_takes", silenced)

    return only


@pytest.mark.long
def test_the_takes_are_as_without_it_and_the_best_lies_beside_them(made: Path) -> None:
    picked, without = tree(made / "picked"), tree(made / "all")
    assert set(without) == {f"take-{number}/{name}" for number in TAKES for name in NAMES}
    assert set(picked) == {*without, *NAMES, "ranking.json"}
    sounds = [name for name in without if name.endswith(".wav")]
    assert {name: picked[name] for name in sounds} == {name: without[name] for name in sounds}
    best = json.loads(picked["ranking.json"])["order"][0]
    for name in NAMES:
        assert [number for number in TAKES if picked[f"take-{number}/{name}"] == picked[name]] == [best]


@pytest.mark.long
def test_the_ranking_is_that_of_the_sounds_in_the_folders(made: Path, vocal: Path) -> None:
    content = json.loads((made / "picked/ranking.json").read_text())
    assert (content["format"], content["num_windows"]) == (1, 1)
    assert set(content["measures"]) == set(content["takes"][0]["terms"])
    record = json.loads((made / "picked/generation.json").read_text())
    assert content["environment"] == record["environment"]
    sung, rate = soundfile.read(vocal, dtype="float32")
    sounds = [
        soundfile.read(made / f"picked/take-{number}/accompaniment.wav", dtype="float32")[0]
        for number in TAKES
    ]
    again = rank_takes(
        torch.from_numpy(sung.mean(axis=1)), [torch.from_numpy(sound) for sound in sounds], rate
    )
    assert content["order"] == [take.number for take in again.takes]
    for row, take in zip(content["takes"], again.takes, strict=True):
        assert row["take"] == take.number
        assert row["score"] == pytest.approx(take.score, abs=1e-3)
        there = json.loads((made / f"picked/take-{take.number}/generation.json").read_text())
        assert row["accompaniment_sha256"] == there["output"]["files"]["accompaniment.wav"]


@pytest.mark.slow
def test_the_best_can_be_replayed_from_the_folder_itself(made: Path, hafm: Hafm, tmp_path: Path) -> None:
    with unchecked():
        ran = hafm("generate", "--replay", made / "picked/generation.json", "-o", tmp_path / "again")
    assert ran.code == 0, ran.err
    picked = tree(made / "picked")
    assert tree(tmp_path / "again") == {name: picked[name] for name in NAMES}


@pytest.mark.slow
@pytest.mark.parametrize("number", [2, pytest.param(3, marks=pytest.mark.slow)])
def test_it_is_the_take_that_sounds(
    number: int, vocal: Path, bundle: Path, hafm: Hafm, tmp_path: Path, audible: Callable[[int], None]
) -> None:
    """The control is the other number: the pick follows the sound, not the folder."""
    audible(number)
    ran = generate(hafm, vocal, bundle, tmp_path / "out", "--pick", "best", "--json", "--format", "flac")
    result = ran.json
    assert list(result) == [
        *("takes", "best", "ranking", "vocal", "settings", "bundle", "environment", "timings", "notes")
    ]
    assert result["ranking"]["order"] == [number, *sorted({*TAKES} - {number})]
    best = result["best"]
    assert best == {
        "take": number,
        "why": result["ranking"]["takes"][0]["why"],
        "accompaniment": str(tmp_path / "out/accompaniment.flac"),
        "mix": str(tmp_path / "out/mix.flac"),
        "record": str(tmp_path / "out/generation.json"),
    }
    assert best["why"].endswith(": the only take that plays beneath the singing")
    on_disk = json.loads(Path(result["ranking"].pop("path")).read_text())
    assert on_disk == result["ranking"]
    assert soundfile.read(best["accompaniment"])[0].any()
    timings = result["timings"]
    parts = sum(timings[f"{part}_seconds"] for part in ("prepare", "generate", "rank", "write"))
    assert parts == pytest.approx(timings["total_seconds"], abs=0.01)


@pytest.mark.long
def test_the_summary_says_which_and_why_without_mir_eval(
    vocal: Path,
    bundle: Path,
    hafm: Hafm,
    tmp_path: Path,
    audible: Callable[[int], None],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "mir_eval", None)
    audible(2)
    ran = generate(hafm, vocal, bundle, tmp_path / "out", "--pick", "best")
    lines = [line.split(maxsplit=1) for line in ran.out.splitlines()]
    for name in (*NAMES, "ranking.json"):
        assert sum(words[-1] == str(tmp_path / "out" / name) for words in lines) == 1
    ranked = [tuple(words) for words in lines if words[0] in ("best", "then")]
    assert [name for name, _ in ranked] == ["best", "then", "then"]
    assert ranked[0][1].startswith("take 2, ")
    assert ranked[0][1].endswith(" points: the only take that plays beneath the singing")
    assert [why for _, why in ranked[1:]] == [f"take {n}: silent beneath the singing" for n in (1, 3)]
    assert "hafm: comparing the takes" in ran.err


@pytest.mark.slow
def test_plots_and_stems_are_copied_too(vocal: Path, bundle: Path, hafm: Hafm, tmp_path: Path) -> None:
    ran = generate(hafm, vocal, bundle, tmp_path / "out", "--pick", "best", "--plot", "--stems", "--json")
    best = ran.json["best"]
    for what, file in (("plot", "plot.png"), ("stems/bass", "stems/bass.wav")):
        assert Path(best[what]) == tmp_path / "out" / file
        there = tmp_path / f"out/take-{best['take']}" / file
        assert Path(best[what]).read_bytes() == there.read_bytes()


@pytest.mark.parametrize("takes", [[], ["--takes", "1"]])
def test_one_take_leaves_nothing_to_pick(
    takes: list[str], vocal: Path, bundle: Path, hafm: Hafm, tmp_path: Path
) -> None:
    ran = hafm("generate", vocal, "-o", tmp_path / "out", "--bundle", bundle, "--pick", "best", *takes)
    assert (ran.code, ran.out, tree(tmp_path)) == (2, "", {})
    assert "--pick best needs takes to choose from, and there is one; add --takes" in ran.error


def test_a_replay_and_other_words_are_refused(made: Path, vocal: Path, hafm: Hafm, tmp_path: Path) -> None:
    record = made / "picked/generation.json"
    for pick in ("best", "all"):
        ran = hafm("generate", "--replay", record, "-o", tmp_path / "out", "--pick", pick)
        assert ran.code == 2
        assert "--pick cannot stand beside --replay" in ran.error
    assert "'all', 'best'" in hafm("generate", vocal, "-o", tmp_path / "out", "--pick", "worst").error
    assert tree(tmp_path) == {}


@pytest.mark.slow
def test_the_takes_are_delivered_though_the_ranking_cannot_be_written(
    vocal: Path, bundle: Path, hafm: Hafm, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("hafm.app.generate_files.shutil.copyfileobj", full)
    ran = generate(hafm, vocal, bundle, tmp_path / "out", "--pick", "best")
    assert ran.code == 2
    assert set(tree(tmp_path / "out")) == {f"take-{number}/{name}" for number in TAKES for name in NAMES}
    assert "No space left" in ran.error or "full" in ran.error


@pytest.mark.slow
def test_the_record_of_the_folder_itself_comes_last_and_the_old_one_goes_first(
    vocal: Path, bundle: Path, hafm: Hafm, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The control: with nothing in the way, it is there again."""
    folder, moved = tmp_path / "out", []
    assert generate(hafm, vocal, bundle, folder, "--pick", "best").code == 0
    original = os.replace

    def move(source: Path, target: Path) -> None:
        if ".part" not in str(target):  # else the results are still being written
            if len(moved) == limit:
                raise OSError(5, "Input/output error")
            assert not (folder / "generation.json").exists()
            moved.append(target.relative_to(folder).as_posix())
        original(source, target)

    monkeypatch.setattr("hafm.files.os.replace", move)
    for limit in (12, 13):  # all but the last, and all
        moved.clear()
        ran = generate(hafm, vocal, bundle, folder, "--pick", "best", "--overwrite")
        assert (ran.code == 0) == (folder / "generation.json").exists() == (limit == 13)
    assert moved[-4:-1] == [f"take-{number}/generation.json" for number in TAKES]
    assert moved[-1] == "generation.json"
    assert set(moved[:-4]).isdisjoint(moved[-4:])


@pytest.mark.slow
def test_where_no_melody_is_heard_harmony_does_not_count(bundle: Path, hafm: Hafm, tmp_path: Path) -> None:
    noise = 0.1 * torch.randn(24_000, generator=torch.Generator().manual_seed(0))
    soundfile.write(tmp_path / "noise.wav", noise.numpy(), 16_000)
    ran = generate(hafm, tmp_path / "noise.wav", bundle, tmp_path / "out", "--pick", "best")
    assert ran.code == 0, ran.err
    assert "note: no pitch was found" in ran.err
    lines = [line for line in ran.out.splitlines() if line.startswith(("best", "then"))]
    assert len(lines) == 3
    for line in lines:
        assert line.endswith("(no melody was heard in the vocal, so key and harmony do not count)")
        assert "key (" not in line
        assert "harmony with" not in line
    ranking = json.loads((tmp_path / "out" / "ranking.json").read_text())
    assert set(ranking["measures"]) == {"beat_vocal", "onset_correlation"}
    assert all(set(take["terms"]) == set(ranking["measures"]) for take in ranking["takes"])

"""An evaluation whose outcome is known: the truth wins, what cannot fit loses, and a stop changes nothing."""

import json
import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from hafm.data.collection.sources import open_source
from hafm.errors import AudioContentError, OutputError, UsageError
from hafm.evaluate.embeddings.builtin import MelModulation
from hafm.evaluate.fit.measures import MEASURES
from hafm.evaluate.run.clips import build_test_set
from hafm.evaluate.run.entries import entries_of, rows_of
from hafm.evaluate.run.evaluate import Settings, evaluate, make_sounds
from hafm.evaluate.run.folder import RunFolder, true_sound
from hafm.evaluate.run.results import ClipRow, Figure, Results
from hafm.evaluate.run.summary import fit_rows, measure_rows
from hafm.evaluate.systems.base import ClipSound, Kind, OnShare
from hafm.evaluate.systems.references import Noise, RandomPairing, Silence
from hafm.evaluate.testset import Protocol
from hafm.progress import Progress
from tests.evaluate.songs import make_songs
from tests.unchecked import unchecked

SETTINGS = Settings(best_of=(2, 3), draws=20)
PROTOCOL = Protocol(clip_seconds=4.0, min_clip_seconds=4.0)


class Band:
    """A model whose take 0 is silence, take 1 the truth, take 2 noise."""

    name, title = "model", "a model"
    kind: Kind = "model"
    uses_vocal, takes, batch_clips = True, 3, 2

    def __init__(self, *, version: int = 1) -> None:
        self.version = version
        self.played: list[str] = []

    def identity(self) -> dict[str, Any]:
        return {"version": self.version}

    def accompany(
        self, clips: Sequence[ClipSound], *, sample_rate: int, on_share: OnShare
    ) -> list[list[Tensor]]:
        self.played += [each.clip.id for each in clips]
        on_share(1.0)
        noise = torch.randn(len(clips[0].vocal), generator=torch.Generator().manual_seed(1))
        return [[0 * each.vocal, each.instrumental, 0.1 * noise] for each in clips]


@pytest.fixture(scope="module")
def songs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_songs(tmp_path_factory.mktemp("songs"), songs=8)


def start(songs: Path, folder: Path) -> RunFolder:
    run = RunFolder(folder)
    build_test_set(run, open_source("rendered", songs, subset=None, song_from=None), PROTOCOL)
    return run


def controls(run: RunFolder) -> list[Any]:
    pairing = RandomPairing(
        clips=run.manifest.clips,
        instrumental=lambda clip: run.sound(true_sound(clip.id)),
        seed=0,
        takes=2,
    )
    return [pairing, Noise(seed=0), Silence()]


@pytest.fixture(scope="module")
def done(songs: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[RunFolder, Results]:
    run = start(songs, tmp_path_factory.mktemp("run"))
    systems = [Band(), *controls(run)]
    with unchecked():
        return run, evaluate(run, systems, embeddings=[MelModulation()], settings=SETTINGS)


def figure(results: Results, system: str, measure: str) -> Figure:
    [row] = [row for row in results.fit if (row.system, row.measure) == (system, measure)]
    return row.figure


def distance(results: Results, system: str, on: str) -> float:
    [row] = [row for row in results.fad if (row.system, row.on) == (system, on)]
    assert row.fad.value is not None
    return row.fad.value


@pytest.mark.slow
def test_the_truth_fits_and_a_random_song_does_not(done: tuple[RunFolder, Results]) -> None:
    _, results = done
    for measure in ("key_truth", "chord_tones", "beat_truth", "chroma_vocal"):
        true, other = figure(results, "truth", measure), figure(results, "random", measure)
        assert true.low is not None
        assert other.high is not None
        assert true.low > other.high, measure
        [row] = [row for row in results.measures if row.name == measure]
        assert row.informative
        assert row.p is not None
        assert row.p < 0.05


def rows(system: str, values: Sequence[float | None]) -> list[ClipRow]:
    return [
        ClipRow(
            arm="isolated",
            system=system,
            clip=f"{song}",
            song=f"{song}",
            take=0,
            heard="both",
            source=system,
            measures=dict.fromkeys(MEASURES)
            | {"key_vocal": value, "dead_air": value, "loudness_balance": value},
        )
        for song, value in enumerate(values)
    ]


def test_a_measure_that_does_not_separate_says_so() -> None:
    high, low = [1.0 + 0.01 * song for song in range(12)], [0.1 * (song % 3) for song in range(12)]
    for true, other, informative in ((high, low, True), (low, high, False), (low, low, False)):
        found = {row.name: row for row in measure_rows([*rows("truth", true), *rows("random", other)])}
        assert found["key_vocal"].informative is informative  # higher is better
        assert ("tells them apart" if informative else "says nothing here") in found["key_vocal"].why
        assert found["dead_air"].informative is (true is low and other is high)  # lower is better
        assert found["loudness_balance"].informative is None
        assert found["key_truth"].informative is None
    for songs, told in ((3, None), (5, None), (6, True)):  # five cannot have a p below 0.05
        few = measure_rows([*rows("truth", high[:songs]), *rows("random", low[:songs])])
        found = {row.name: row for row in few}["key_vocal"]
        assert found.informative is told
        assert ("too few songs" in found.why) is (told is None)


def test_a_mean_is_over_songs_and_leaves_out_what_has_no_value() -> None:
    twice = [replace(row, song="0") for row in rows("truth", [1.0, 3.0])]
    other = [replace(row, song="1", clip="9") for row in rows("truth", [6.0, None])]
    [row] = [row for row in fit_rows([*twice, *other]) if row.measure == "key_vocal"]
    assert row.figure.value == pytest.approx((2.0 + 6.0) / 2)
    assert (row.songs, row.clips) == (2, 3)
    [none] = [row for row in fit_rows(twice) if row.measure == "key_truth"]
    assert none.figure.value is None


@pytest.mark.slow
def test_distances(done: tuple[RunFolder, Results]) -> None:
    _, results = done
    assert distance(results, "truth", "stem") == pytest.approx(0, abs=1e-6)
    # The same sounds in another order: no distance between sets of stems, but one between mixes.
    assert distance(results, "random", "stem") == pytest.approx(0, abs=1e-6)
    assert distance(results, "random", "mix") > 1e-3
    assert distance(results, "noise", "stem") > 1
    assert distance(results, "silence", "stem") > distance(results, "noise", "stem")


@pytest.mark.slow
def test_adherence_is_1_for_true_and_lower_for_random_pairs(done: tuple[RunFolder, Results]) -> None:
    _, results = done
    values = {row.system: row.apa.value for row in results.apa}
    assert values["truth"] == 1.0
    assert values["random"] is not None
    assert values["random"] < 0.9


@pytest.mark.slow
def test_the_best_of_more_takes_is_the_one_that_fits(done: tuple[RunFolder, Results]) -> None:
    _, results = done
    takes = {(row.system, row.clip): row.take for row in results.clips if row.system.startswith("model")}
    assert {take for (system, _), take in takes.items() if system == "model"} == {0}
    assert {take for (system, _), take in takes.items() if system == "model-best-of-2"} == {1}
    assert {take for (system, _), take in takes.items() if system == "model-best-of-3"} == {1}
    assert figure(results, "model-best-of-3", "chord_tones") == figure(results, "truth", "chord_tones")
    assert figure(results, "model", "chord_tones").value is None  # silence


@pytest.mark.slow
def test_measures_of_a_random_pairing_are_means_over_its_takes(done: tuple[RunFolder, Results]) -> None:
    run, results = done
    differing = 0
    for row in [row for row in results.clips if row.system == "random"]:
        kept = []
        for take in range(2):
            path = run.path / "measures" / "random" / "both" / str(take) / f"{row.clip}.json"
            kept.append(json.loads(path.read_text())["measures"]["chord_tones"])
        assert row.measures["chord_tones"] == pytest.approx(sum(kept) / 2)
        differing += kept[0] != kept[1]
    assert differing > 2


@pytest.mark.slow
def test_results_survive_their_file(done: tuple[RunFolder, Results]) -> None:
    run, results = done
    path = run.path / "results.json"
    assert Results.from_json(path.read_text(), where="here").to_json() == results.to_json()
    with pytest.raises(UsageError, match="not the results"):
        Results.from_json("{}", where="here")
    with pytest.raises(UsageError, match="format 9"):
        Results.from_json('{"format": 9}', where="here")


@pytest.mark.slow
def test_the_example_of_the_docs_reads_a_run(done: tuple[RunFolder, Results], capsys: Any) -> None:
    page = (Path(__file__).parents[3] / "docs" / "evaluate.md").read_text()
    (example,) = re.findall(r"```python\n(.*?)```", page, re.S)
    exec(example.replace('Path("run")', f"Path({str(done[0].path)!r})"), {})
    assert f"isolated truth {figure(done[1], 'truth', 'chord_tones')}\n" in capsys.readouterr().out


@pytest.mark.slow
def test_a_stopped_run_goes_on_and_gives_the_same(
    songs: Path, tmp_path: Path, done: tuple[RunFolder, Results]
) -> None:
    run = start(songs, tmp_path)

    class Stop(Exception):
        pass

    def stop_after_two(progress: Progress) -> None:
        if progress.done >= 4:
            raise Stop

    first = Band()
    with pytest.raises(Stop):
        make_sounds(run, first, on_progress=stop_after_two)
    written = len(list((tmp_path / "sounds" / "model").rglob("*.flac")))
    assert 0 < written < 24
    second = Band()
    make_sounds(run, second)
    assert len(second.played) == 8 - written // 3  # whole batches stay
    assert sounds(run) == sounds(done[0])


def sounds(run: RunFolder) -> dict[str, bytes]:
    folder = run.path / "sounds" / "model"
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*.*")}


@pytest.mark.slow
def test_a_second_run_makes_and_scores_nothing(
    done: tuple[RunFolder, Results], monkeypatch: pytest.MonkeyPatch
) -> None:
    run, results = done
    monkeypatch.setattr("hafm.evaluate.run.scores.measure", pytest.fail)
    monkeypatch.setattr("hafm.evaluate.run.scores.embed_sound", pytest.fail)
    monkeypatch.setattr("hafm.evaluate.run.entries.rank_takes", pytest.fail)
    model = Band()
    again = evaluate(run, [model, *controls(run)], embeddings=[MelModulation()], settings=SETTINGS)
    assert not model.played
    assert again == results


@pytest.mark.slow
def test_another_model_under_the_same_name_is_refused(done: tuple[RunFolder, Results]) -> None:
    run, _ = done
    with pytest.raises(UsageError, match="made with other version"):
        make_sounds(run, Band(version=2))


@pytest.mark.long
def test_a_sound_that_was_cut_is_refused(songs: Path, tmp_path: Path) -> None:
    run = start(songs, tmp_path)
    clip = run.manifest.clips[0]
    made = true_sound(clip.id)
    run.put(run.sound_path(made), torch.zeros(100), PROTOCOL.sample_rate)
    with pytest.raises(OutputError, match="delete it"):
        run.sound(made)
    run.sound_path(made).write_bytes(b"no sound")
    with pytest.raises(OutputError, match="cannot be read"):
        run.sound(made)


@pytest.mark.parametrize(
    ("seconds", "error", "said"),
    [
        (1.0, AudioContentError, "too short for hafm-mel-modulation"),
        (2.0, UsageError, "two embeddings or more"),
    ],
)
def test_what_cannot_be_embedded_is_refused_before_anything_is_played(
    songs: Path, tmp_path: Path, seconds: float, error: type[Exception], said: str
) -> None:
    run = RunFolder(tmp_path)
    protocol = Protocol(clip_seconds=seconds, min_clip_seconds=seconds, songs=1, clips_per_song=1)
    build_test_set(run, open_source("rendered", songs, subset=None, song_from=None), protocol)
    model = Band()
    with pytest.raises(error, match=said):
        evaluate(run, [model], embeddings=[MelModulation()], settings=SETTINGS)
    assert not model.played


@pytest.mark.slow
def test_rows_are_in_order_and_say_how_takes_were_chosen(done: tuple[RunFolder, Results]) -> None:
    run, results = done
    names = [row.name for row in results.systems]
    assert names == ["truth", "model", "model-best-of-2", "model-best-of-3", "random", "noise", "silence"]
    assert "chosen among 2 takes" in results.systems[2].note
    assert rows_of([Band()], best_of=(8,))[-1].name == "model"  # there are fewer takes
    assert len(entries_of(run, controls(run), best_of=(2,))) == 4 * 8

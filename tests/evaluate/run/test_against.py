"""Two runs side by side: what changed beyond chance, and what cannot be compared."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from hafm.evaluate.run.against import Comparison, compare
from hafm.evaluate.run.results import Figure, Results
from tests.evaluate.runs import make_run


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Results:
    run = make_run(tmp_path_factory.mktemp("runs") / "run", songs=8)
    found = Results.from_json((run.path / "results.json").read_text(), where="run")
    return replace(
        found, made_with={**found.made_with, "embeddings": {row.embedding: "a" for row in found.fad}}
    )


def moved(results: Results, system: str, measure: str, by: float) -> Results:
    """The same, one measure of one system moved in every clip."""
    clips = tuple(
        replace(row, measures={**row.measures, measure: row.measures[measure] + by})  # type: ignore[operator]
        if row.system == system and row.measures[measure] is not None
        else row
        for row in results.clips
    )
    fit = tuple(
        replace(row, figure=Figure(value=row.figure.value + by))  # type: ignore[operator]
        if (row.system, row.measure) == (system, measure) and row.figure.value is not None
        else row
        for row in results.fit
    )
    return replace(results, clips=clips, fit=fit)


def changed(comparison: Comparison) -> dict[tuple[str, str], str]:
    return {
        (change.system, change.figure): change.verdict
        for change in comparison.changes
        if change.arm == "isolated" and change.verdict != "no difference seen"
    }


def test_a_run_against_itself_shows_no_difference(results: Results) -> None:
    comparison = compare(results, results)
    assert comparison.same_clips
    assert comparison.changes
    assert not changed(comparison)
    assert not comparison.notes


@pytest.mark.parametrize(
    ("measure", "by", "verdict"),
    [
        ("key_vocal", 0.05, "better"),
        ("key_vocal", -0.05, "worse"),
        ("dead_air", 0.05, "worse"),
        ("loudness_balance", 0.05, "different"),
    ],
)
def test_a_small_change_of_every_song_is_seen(
    results: Results, measure: str, by: float, verdict: str
) -> None:
    comparison = compare(results, moved(results, "model", measure, by))
    assert changed(comparison) == {("model", measure): verdict}
    [change] = [each for each in comparison.changes if (each.system, each.figure) == ("model", measure)][:1]
    assert change.difference.value == pytest.approx(by)
    assert change.p is not None
    assert change.p < 0.05


def test_on_other_clips_songs_are_not_paired(results: Results) -> None:
    other = replace(moved(results, "model", "key_vocal", 0.001), manifest_fingerprint="other")
    comparison = compare(results, other)
    assert not comparison.same_clips
    assert "songs are not paired" in comparison.notes[0]
    assert all(change.p is None for change in comparison.changes)
    assert not changed(comparison)


def test_distances_are_compared_by_their_intervals(results: Results) -> None:
    far = tuple(
        replace(row, fad=Figure(value=900.0, low=899.0, high=901.0)) if row.system == "model" else row
        for row in results.fad
    )
    verdicts = changed(compare(results, replace(results, fad=far)))
    assert verdicts
    assert set(verdicts.values()) == {"worse"}
    assert {system for system, _ in verdicts} == {"model"}


def test_what_only_one_run_has_is_named(results: Results) -> None:
    fewer = replace(results, systems=tuple(row for row in results.systems if row.name != "random"))
    foreign = {**results.made_with, "embeddings": {row.embedding: "b" for row in results.fad}}
    comparison = compare(replace(fewer, made_with=foreign), results)
    assert any("random: not in the older run" in note for note in comparison.notes)
    assert any("no distances of that embedding" in note for note in comparison.notes)
    assert not any(change.figure.startswith("FAD") for change in comparison.changes)


def test_for_people_and_for_programs(results: Results, tmp_path: Path) -> None:
    comparison = compare(results, moved(results, "model", "key_vocal", 0.05))
    assert "| model | key_vocal |" in comparison.to_markdown()
    assert json.loads(comparison.to_json())["same_clips"] is True

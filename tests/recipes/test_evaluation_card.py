"""The evaluation in the model card: its figures, its place, and that it is of this bundle."""

from dataclasses import replace
from pathlib import Path
from shutil import copytree

import pytest

from hafm.errors import UsageError
from hafm.evaluate.run.results import Results
from hafm.stages.bundle import Bundle
from recipes.builtin.evaluation_card import TITLE, evaluation_section, main, with_section
from tests.evaluate.runs import make_run

CARD = "# Card\n\n## Before\n\na\n\n## The codec\n\nb\n"


@pytest.fixture
def bundle(tiny_bundle: Path, tmp_path: Path) -> Bundle:
    """A copy, whose card is to be rewritten."""
    return Bundle.read(Path(copytree(tiny_bundle, tmp_path / "bundle")))


@pytest.fixture
def results(tmp_path: Path, bundle: Bundle) -> Results:
    run = make_run(tmp_path / "run")
    found = Results.from_json((run.path / "results.json").read_text(), where="run")
    made_with = {
        **found.made_with,
        "bundle": {"fingerprint": bundle.fingerprint},
        "clips": 3,
        "songs": 3,
        "seconds": 6.0,
    }
    return replace(found, made_with=made_with)


def test_the_section_quotes_what_says_something_and_names_what_does_not(
    bundle: Bundle, results: Results
) -> None:
    section = evaluation_section(bundle, [("Songs", "hafm evaluate x", results)])
    assert "3 clips of 3 songs" in section
    for measure in results.measures:
        assert (f"| {measure.name}" in section) is bool(measure.informative)
    for row in results.fad:
        if row.arm == "isolated":
            assert f"| {row.fad} |" in section
    silent = [row.name for row in results.measures if row.informative is False]
    assert silent
    assert f"random pairing): {', '.join(silent)}." in section


def test_results_of_another_bundle_are_refused(bundle: Bundle, results: Results) -> None:
    other = replace(results, made_with={**results.made_with, "bundle": {"fingerprint": "0" * 64}})
    with pytest.raises(UsageError, match="evaluate this one"):
        evaluation_section(bundle, [("Songs", "hafm evaluate x", other)])


def test_a_second_section_takes_the_place_of_the_first() -> None:
    once = with_section(CARD, f"## {TITLE}\n\nold")
    twice = with_section(once, f"## {TITLE}\n\nnew")
    assert once == "# Card\n\n## Before\n\na\n\n" + f"## {TITLE}\n\nold\n\n## The codec\n\nb\n"
    assert twice == once.replace("old", "new")
    with pytest.raises(UsageError, match="no section"):
        with_section("# Card\n", "x")


def test_the_command_rewrites_the_card_and_nothing_else(
    tmp_path: Path, bundle: Bundle, results: Results
) -> None:
    card = bundle.folder / "README.md"
    card.write_text(CARD)
    path = tmp_path / "results.json"
    path.write_text(results.to_json())
    assert main(["--bundle", str(bundle.folder), "--rendered", str(path), "--real", str(path)]) == 0
    assert card.read_text().count("3 clips of 3 songs") == 2
    assert Bundle.read(bundle.folder).fingerprint == bundle.fingerprint

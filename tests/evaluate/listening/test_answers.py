"""Answers are believed only if they are whole, of this kit, and counted once."""

import json
from typing import Any

import pytest

from hafm.errors import UsageError
from hafm.evaluate.listening.answers import Answers, check_distinct
from tests.evaluate.listening.simulated import answers_json, design_of
from tests.unchecked import unchecked

DESIGN = design_of()
FIRST, SECOND = (trial.id for trial in DESIGN.trials[:2])


def read(text: str) -> Answers:
    return Answers.from_json(text, design=DESIGN, where="'ann.json'")


def changed(**values: Any) -> str:
    return json.dumps({**json.loads(answers_json(DESIGN, {FIRST: "a"})), **values})


def test_what_the_page_saves_is_read() -> None:
    answers = read(answers_json(DESIGN, {FIRST: "a", SECOND: "same"}, session="5", rater=" Ann\n\x1b[2J "))
    assert (answers.session, answers.rater) == ("5", "Ann [2J")
    assert [(answer.trial, answer.choice, answer.seconds) for answer in answers.answers] == [
        (FIRST, "a", 30.5),
        (SECOND, "same", 30.5),
    ]


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "[]",
        "null",
        "[" * 100_000,
        DESIGN.to_json(),
        changed(kind="something else"),
        changed(format=2),
        changed(answers=None),
        changed(answers=[5]),
        changed(answers=[{"trial": FIRST}]),
        changed(answers=[{"trial": FIRST, "choice": "c"}]),
        changed(answers=[{"trial": FIRST, "choice": ["a"]}]),
        changed(answers=[{"trial": FIRST, "choice": "a", "seconds": "long"}]),
        changed(answers=[{"trial": FIRST, "choice": "a", "seconds": float("nan")}]),
        changed(answers=[{"trial": FIRST, "choice": "a", "comment": 1}]),
        changed(session=7),
        changed(rater=None),
    ],
)
def test_what_is_no_answers_is_refused(text: str) -> None:
    refused = r"^'ann.json' is (not the answers of a listening test|of format 2)"
    with unchecked(), pytest.raises(UsageError, match=refused):
        read(text)


def test_answers_of_another_kit_are_refused() -> None:
    other = design_of(seed=1)
    with pytest.raises(
        UsageError, match=f"answers of the kit {other.kit}, and the key is that of {DESIGN.kit}"
    ):
        read(answers_json(other, {other.trials[0].id: "a"}))


def test_an_unknown_trial_is_refused() -> None:
    with pytest.raises(UsageError, match="answers a trial 'ffff' that is not in the key"):
        read(answers_json(DESIGN, {FIRST: "a", "ffff": "b"}))


def test_a_trial_answered_twice_is_refused() -> None:
    twice = json.loads(answers_json(DESIGN, {FIRST: "a"}))["answers"] * 2
    with pytest.raises(UsageError, match=f"answers the trial {FIRST} twice"):
        read(changed(answers=twice))


def test_a_rater_counts_once() -> None:
    def of(session: str, rater: str) -> Answers:
        return read(answers_json(DESIGN, {FIRST: "a"}, session=session, rater=rater))

    check_distinct([of("1", ""), of("2", ""), of("3", "Ann"), of("4", "Bo")])
    with pytest.raises(UsageError, match="one and the same sitting"):
        check_distinct([of("1", ""), of("2", "Ann"), of("1", "Bo")])
    with pytest.raises(UsageError, match="both of the rater 'Ann'"):
        check_distinct([of("1", "Ann"), of("2", "Ann")])

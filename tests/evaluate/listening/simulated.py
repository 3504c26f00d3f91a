"""Raters with known preferences, who answer a design without hearing it.

from tests.evaluate.listening.simulated import design_of, simulated
"""

import json
from collections.abc import Callable, Sequence
from random import Random

from hafm.evaluate.listening.answers import Answers
from hafm.evaluate.listening.design import Design, Plan, Trial, make_design

RUN = "5e" * 32


def design_of(
    *, systems: Sequence[str] = ("model", "random"), songs: int = 24, run: str = RUN, **plan: int
) -> Design:
    """A design over `songs` clips called c0, c1, ...; catch trials set the truth against noise."""
    return make_design(
        systems=systems,
        controls=("noise",),
        songs={f"song {number}": [f"c{number}"] for number in range(songs)},
        run=run,
        arm="isolated",
        plan=Plan(**{"trials": 24, "catch": 4, "repeats": 4, **plan}),
    )


def answers_json(design: Design, choices: dict[str, str], *, session: str = "s", rater: str = "") -> str:
    """What the page would save."""
    return json.dumps(
        {
            "format": 1,
            "kind": "hafm listening answers",
            "kit": design.kit,
            "session": session,
            "rater": rater,
            "started": "2026-01-31T10:00:00.000Z",
            "finished": None,
            "answers": [
                {
                    "trial": trial,
                    "choice": choice,
                    "comment": "",
                    "seconds": 30.5,
                    "plays": {"a": 1, "b": 2},
                    "heard_seconds": {"a": 10, "b": 9.5},
                    "at": "2026-01-31T10:01:00.000Z",
                }
                for trial, choice in choices.items()
            ],
        }
    )


def simulated(
    design: Design,
    first_wins: Callable[[Trial], float],
    *,
    seed: int,
    rater: str = "",
    ties: float = 0.0,
    attentive: bool = True,
) -> Answers:
    """A rater.

    Args:
        design: what to answer.
        first_wins: for a trial, the probability that the system earlier in the design's list is chosen.
        seed: of the draws, and the session.
        rater: a name.
        ties: share of answers that are "no difference".
        attentive: whether the truth is chosen in catch trials, always; else never.
    """
    rng, choices = Random(seed), {}
    for trial in design.trials:
        if trial.kind == "catch":
            choices[trial.id] = "a" if (trial.a == "truth") == attentive else "b"
        elif rng.random() < ties:
            choices[trial.id] = "same"
        else:
            a_first = design.systems.index(trial.a) < design.systems.index(trial.b)
            choices[trial.id] = "a" if (rng.random() < first_wins(trial)) == a_first else "b"
    text = answers_json(design, choices, session=f"session {seed}", rater=rater)
    return Answers.from_json(text, design=design, where=f"file {seed}")

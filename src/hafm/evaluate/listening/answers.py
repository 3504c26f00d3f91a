"""What a rater answered, as the page saves it, checked before it is believed.

In: the JSON that listen.html saved, and the design it belongs to. Out: `Answers`.

A rater may have stopped early, so trials may be missing; none may come twice. `session` is random and drawn
when a rater begins, so a file that is given twice is noticed, whatever it is called.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, Self, TypeAlias

from hafm.errors import UsageError
from hafm.evaluate.listening.design import Design
from hafm.jsonfile import JsonFile

__all__ = ["Answer", "Answers", "Choice", "check_distinct"]

Choice: TypeAlias = Literal["a", "b", "same"]

_FILE = JsonFile(
    what="the answers of a listening test",
    fix="give the file that a rater saved at the end of listen.html",
    error=UsageError,
    format=1,
)


@dataclass(frozen=True, kw_only=True)
class Answer:
    """One trial, answered.

    Args:
        choice: the side that fits better, or `same`.
        seconds: that the trial was before the rater.
        plays, heard_seconds: how often and how long each side was played, by `a` and `b`.
    """

    trial: str
    choice: Choice
    comment: str = ""
    seconds: float = 0.0
    plays: Mapping[str, Any] = field(default_factory=dict)
    heard_seconds: Mapping[str, Any] = field(default_factory=dict)
    at: str | None = None

    def __post_init__(self) -> None:
        if not 0 <= self.seconds < math.inf:
            raise UsageError(f"seconds {self.seconds!r}")


@dataclass(frozen=True, kw_only=True)
class _AnswersFile:
    kind: Literal["hafm listening answers"]
    kit: str
    session: str
    rater: str
    started: str | None = None
    finished: str | None = None
    answers: tuple[Answer, ...]


@dataclass(frozen=True, kw_only=True)
class Answers:
    """All that a rater answered, in order. The session is random, drawn when the rater began."""

    where: str
    session: str
    rater: str
    answers: tuple[Answer, ...]

    @classmethod
    def from_json(cls, text: str, *, design: Design, where: str) -> Self:
        """Answers of a design's kit from what the page saved; UsageError where they are anything else."""
        file = _FILE.read(_AnswersFile, text, where=where)
        if file.kit != design.kit:
            raise UsageError(
                f"{where} has answers of the kit {file.kit}, and the key is that of {design.kit}; score them "
                "with the key.json that was made together with their page"
            )
        trials, seen = {trial.id for trial in design.trials}, set()
        for answer in file.answers:
            if answer.trial not in trials:
                raise UsageError(
                    f"{where} answers a trial {answer.trial!r} that is not in the key; the file was "
                    "changed: ask the rater for it once more"
                )
            if answer.trial in seen:
                raise UsageError(
                    f"{where} answers the trial {answer.trial} twice; the file was changed: ask the rater "
                    "for it once more"
                )
            seen.add(answer.trial)
        return cls(where=where, session=file.session, rater=_name(file.rater), answers=file.answers)


def check_distinct(files: Sequence[Answers]) -> None:
    """Refuses answers that are counted twice: two files of one session, or of one rater's name."""
    for number, later in enumerate(files):
        for earlier in files[:number]:
            if earlier.session == later.session:
                raise UsageError(
                    f"{earlier.where} and {later.where} are of one and the same sitting; give one of them"
                )
            if later.rater and earlier.rater == later.rater:
                raise UsageError(
                    f"{earlier.where} and {later.where} are both of the rater {later.rater!r}; give one of "
                    "them, or change the name in one if these are two people"
                )


def _name(text: str) -> str:
    """On one line, and nothing in it that a terminal would obey.

    >>> _name("  Ann\\n\\x1b[31mBee ")
    'Ann [31mBee'
    """
    return " ".join("".join(c if c.isprintable() else " " for c in text).split())[:60]

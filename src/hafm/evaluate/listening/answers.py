"""What a rater answered, as the page saves it, checked before it is believed.

In: the JSON that listen.html saved, and the design it belongs to. Out: `Answers`.

    {"format": 1, "kind": "hafm listening answers", "kit", "session", "rater", "started", "finished",
     "answers": [{"trial", "choice": "a" | "b" | "same", "comment", "seconds", "plays": {"a", "b"},
                  "heard_seconds": {"a", "b"}, "at"}]}

A rater may have stopped early, so trials may be missing; none may come twice. `session` is random and drawn
when a rater begins, so a file that is given twice is noticed, whatever it is called.
"""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Self, TypeAlias, get_args

from hafm.errors import UsageError
from hafm.evaluate.listening.design import Design

__all__ = ["Answer", "Answers", "Choice", "check_distinct"]

Choice: TypeAlias = Literal["a", "b", "same"]

FORMAT = 1
KIND = "hafm listening answers"


@dataclass(frozen=True, kw_only=True)
class Answer:
    """One trial, answered.

    Args:
        trial: its id.
        choice: the side that fits better, or `same`.
        comment: the rater's words, mostly none.
        seconds: that the trial was before them.
    """

    trial: str
    choice: Choice
    comment: str = ""
    seconds: float = 0.0


@dataclass(frozen=True, kw_only=True)
class Answers:
    """All that a rater answered.

    Args:
        where: the file, for messages.
        session: random, drawn when the rater began.
        rater: the name given; mostly empty.
        answers: in the order in which they were given.
    """

    where: str
    session: str
    rater: str
    answers: tuple[Answer, ...]

    @classmethod
    def from_json(cls, text: str, *, design: Design, where: str) -> Self:
        """Answers from their JSON.

        Args:
            text: what the page saved.
            design: of the kit that is scored.
            where: what messages call it.

        Raises:
            UsageError: they are not answers, or of another kit, to unknown trials, or to one trial twice.
        """
        try:
            values = json.loads(text)
            if (values["kind"], values["format"]) != (KIND, FORMAT):
                raise ValueError(f"kind {values['kind']!r}, format {values['format']!r}")
            kit = values["kit"]
            read = cls(
                where=where,
                session=_text(values["session"]),
                rater=_name(_text(values["rater"])),
                answers=tuple(_answer(each) for each in values["answers"]),
            )
        except (AttributeError, KeyError, RecursionError, TypeError, ValueError) as error:
            raise UsageError(
                f"{where} holds no answers of a listening test ({type(error).__name__}: {error}); give the "
                "file that a rater saved at the end of listen.html"
            ) from error
        if kit != design.kit:
            raise UsageError(
                f"{where} has answers of the kit {kit}, and the key is that of {design.kit}; score them "
                "with the key.json that was made together with their page"
            )
        trials, seen = {trial.id for trial in design.trials}, set()
        for answer in read.answers:
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
        return read


def check_distinct(files: Sequence[Answers]) -> None:
    """Refuses answers that are counted twice.

    Raises:
        UsageError: two files are of one session, or of one rater's name.
    """
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


def _answer(values: Mapping[str, Any]) -> Answer:
    choice, seconds = values["choice"], values.get("seconds", 0.0)
    if choice not in get_args(Choice):
        raise ValueError(f"choice {choice!r}")
    if isinstance(seconds, bool) or not isinstance(seconds, int | float) or not 0 <= seconds < math.inf:
        raise TypeError(f"seconds {seconds!r}")
    return Answer(
        trial=_text(values["trial"]),
        choice=choice,
        comment=_text(values.get("comment", "")),
        seconds=float(seconds),
    )


def _name(text: str) -> str:
    """On one line, and nothing in it that a terminal would obey.

    >>> _name("  Ann\\n\\x1b[31mBee ")
    'Ann [31mBee'
    """
    return " ".join("".join(c if c.isprintable() else " " for c in text).split())[:60]


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise TypeError(f"{value!r} where text was expected")
    return value

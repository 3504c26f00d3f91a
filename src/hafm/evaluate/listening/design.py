"""What raters of a listening test hear, trial by trial: the key that tells which sound is whose.

In: nothing. Out: `Trial` and `Design`, which are JSON.

    KIT/key.json    the design: systems, clips and sides of every trial, in the order in which they are heard

A trial is one vocal with two accompaniments, on side A and on side B. It is one of three kinds:

    main      two of the systems that are compared; these alone make win rates
    catch     the true instrumental against something that cannot fit: whoever listens chooses the truth
    repeat    a main trial once more, with the sides swapped: whoever knows their mind chooses the same system

Conventions: a trial's id is random and says nothing; the page knows ids and sounds, and nothing else of this.
`Design.kit` is a hash of the whole design, so answers find the key they belong to.

Source: the listener study of Donahue et al., "SingSong" (2023): two 10 s mixes with the same isolated vocal,
and the question in which the accompaniment is more musically compatible with it. Catch trials, repeats and
the answer "no difference" are ours.
"""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from hashlib import sha256
from typing import Any, Literal, Self, TypeAlias

from hafm.errors import UsageError
from hafm.evaluate.testset.clip import Arm

__all__ = ["Design", "Kind", "Trial"]

Kind: TypeAlias = Literal["main", "catch", "repeat"]

FORMAT = 1


@dataclass(frozen=True, kw_only=True)
class Trial:
    """One question.

    Args:
        id: opaque.
        kind: see above.
        clip: whose vocal both sides have.
        a, b: the systems on the two sides.
        repeats: id of the main trial that a repeat repeats, else None.
    """

    id: str
    kind: Kind
    clip: str
    a: str
    b: str
    repeats: str | None = None

    def chosen(self, choice: str) -> str | None:
        """The system behind the choice `a` or `b`; None for `same`.

        >>> trial = Trial(id="7f", kind="main", clip="x", a="model", b="random")
        >>> trial.chosen("b"), trial.chosen("same")
        ('random', None)
        """
        return {"a": self.a, "b": self.b}.get(choice)


@dataclass(frozen=True, kw_only=True)
class Design:
    """A listening test.

    Args:
        run: fingerprint of the evaluation whose sounds are heard.
        arm: whose sounds: made for isolated or for separated vocals.
        systems: those that are compared, two or more.
        trials: in the order in which they are heard.
        seed: of the draws.
        listen_seconds: how long either side must be heard, if it lasts so long, before an answer counts.
    """

    run: str
    arm: Arm
    systems: tuple[str, ...]
    trials: tuple[Trial, ...]
    seed: int
    listen_seconds: float

    @property
    def kit(self) -> str:
        """Fingerprint of the design, 16 hex digits."""
        return sha256(json.dumps(asdict(self), sort_keys=True).encode()).hexdigest()[:16]

    def of_kind(self, kind: Kind) -> tuple[Trial, ...]:
        """The trials of a kind, in order."""
        return tuple(trial for trial in self.trials if trial.kind == kind)

    def to_json(self) -> str:
        """What `from_json` reads."""
        values = asdict(self)
        return json.dumps(
            {
                "format": FORMAT,
                "kit": self.kit,
                **{name: value for name, value in values.items() if name != "trials"},
                "trials": {trial.pop("id"): trial for trial in values["trials"]},
            },
            indent=1,
        )

    @classmethod
    def from_json(cls, text: str, *, where: str) -> Self:
        """A design from its JSON.

        Args:
            text: what `to_json` gave.
            where: what messages call it.

        Raises:
            UsageError: it is no key of a listening test, of another format, or was changed.
        """
        try:
            values = json.loads(text)
            if values["format"] != FORMAT:
                raise UsageError(
                    f"{where} has format {values['format']}, and this version reads format {FORMAT}; score "
                    "with the version of hafm that made the kit"
                )
            design = cls(
                run=values["run"],
                arm=values["arm"],
                systems=tuple(values["systems"]),
                trials=tuple(_trial(id, each) for id, each in values["trials"].items()),
                seed=values["seed"],
                listen_seconds=values["listen_seconds"],
            )
            kit = values["kit"]
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            raise UsageError(
                f"{where} is no key of a listening test ({type(error).__name__}: {error}); give the key.json "
                "of a kit that hafm listen make wrote"
            ) from error
        if kit != design.kit:
            raise UsageError(f"{where} was changed by hand; use the key.json as hafm listen make wrote it")
        return design


def _trial(id: str, values: Mapping[str, Any]) -> Trial:
    return Trial(id=id, **values)

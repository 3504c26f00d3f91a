"""What `hafm listen` was asked for, checked before anything heavy is loaded.

In: the options of the command line. Out: a `KitRequest` or a `ScoreRequest` whose values are in range, or a
`UsageError`.
"""

from dataclasses import dataclass, field
from pathlib import Path

from hafm.errors import UsageError
from hafm.evaluate.listening.design import Plan
from hafm.evaluate.listening.scores import MIN_CATCH

__all__ = ["KitRequest", "ScoreRequest", "named_systems"]


@dataclass(frozen=True, kw_only=True)
class KitRequest:
    """One run of `hafm listen make`.

    Args:
        run: folder of an evaluation.
        output: folder of the kit.
        plan: how many trials there are.
        systems: what to compare; none for the default.
        arm: whose sounds; None for the run's first.
        overwrite: the kit may take the place of files.
    """

    run: Path
    output: Path
    plan: Plan = field(default_factory=Plan)
    systems: tuple[str, ...] = ()
    arm: str | None = None
    overwrite: bool = False


@dataclass(frozen=True, kw_only=True)
class ScoreRequest:
    """One run of `hafm listen score`.

    Args:
        key: the `key.json` of a kit.
        answers: files of raters, one or more.
        min_catch: share of catch trials, 0 to 1, below which a rater is named.
        leave_out: whether such raters count for nothing.

    Raises:
        UsageError: a value is missing or out of range.
    """

    key: Path
    answers: tuple[Path, ...]
    min_catch: float = MIN_CATCH
    leave_out: bool = False

    def __post_init__(self) -> None:
        if not self.answers:
            raise UsageError(
                "no answers were given; name the files that raters saved, as in: hafm listen score "
                "kit/key.json answers-*.json"
            )
        if not 0 <= self.min_catch <= 1:
            raise UsageError(f"--min-catch is {self.min_catch:g}; give a share from 0 to 1")


def named_systems(text: str | None) -> tuple[str, ...]:
    """The names in a list with commas.

    Raises:
        UsageError: a name is empty.

    >>> named_systems("model, random"), named_systems(None)
    (('model', 'random'), ())
    """
    if text is None:
        return ()
    names = tuple(name.strip() for name in text.split(","))
    if not all(names):
        raise UsageError(f"--systems is {text!r}; give names with commas between, as in: model,random")
    return names

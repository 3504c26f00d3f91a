"""`hafm listen`: an evaluation becomes a blind listening test, and answers become win rates.

In: options. Out: a `KitOutcome` or a `ScoreOutcome`.

    make     results? systems, clips? folder? room on the disk?   ->   mix and encode, trial by trial
             `------- refused before the first sound is read -'

    score    key? answers, each of them? no rater twice?   ->   tables

Page and key take their place together, or neither does. As JSON:

    make     {"page", "key", "kit", "arm", "systems", "trials": {"main", "catch", "repeat"}, "clips",
              "page_bytes", "timings": {"total_seconds"}, "notes": [...]}
    score    the fields of `hafm.evaluate.listening.score.Scores`
"""

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, get_args

from hafm.app import options
from hafm.app.command import Command, Range, argument, flag, option
from hafm.app.interrupt import Interrupts
from hafm.errors import UsageError
from hafm.evaluate.listening.design import MIN_CATCH, Plan
from hafm.words import columns, plural

if TYPE_CHECKING:
    from hafm.app.display import Display
    from hafm.evaluate.listening.design import Design
    from hafm.evaluate.listening.score import Scores
    from hafm.evaluate.run.results import Figure

__all__ = ["KitOutcome", "ListenMake", "ListenScore", "ScoreOutcome", "named_systems"]

_HEARD, _COUNTED = "What is heard", "Who counts"
_PLAN = Plan()

_BYTES_PER_SECOND = 50_000
"""Of base64 of MP3, more than enough."""

_NO_CATCH = (
    "there are no catch trials: they need the truth, and noise, silence or a random instrumental in the run"
)
_MAX_JSON_BYTES = 20_000_000

_STRENGTHS = ("strength", "log-odds", "95 %")
_INTERVALS = {
    "wilson": "95 % intervals: Wilson, for one rater",
    "raters-and-clips": "95 % intervals: draws of raters and clips, no narrower than Wilson",
}


@dataclass(frozen=True, kw_only=True)
class KitOutcome:
    """A kit that was made.

    Args:
        page: for raters.
        key: for whoever asks.
        design: what the key holds.
    """

    page: Path
    key: Path
    design: "Design"
    page_bytes: int
    seconds: float
    notes: Sequence[str]

    def summary(self) -> str:
        """For people: where the files are, and who gets which."""
        design, counts = self.design, self._counts()
        return "\n".join(
            [
                f"{'page':<14} {self.page}",
                f"{'key':<14} {self.key}",
                f"{'':<14} {counts['main']} trials of {', '.join(design.systems)}, {counts['catch']} catch "
                f"trials, {counts['repeat']} repeats; {self.page_bytes / 1e6:.1f} MB, made in "
                f"{self.seconds:.1f} s",
                f"{'':<14} give raters {self.page.name} alone: {self.key.name} says which sound is whose",
            ]
        )

    def to_json(self) -> dict[str, Any]:
        return {
            "page": str(self.page),
            "key": str(self.key),
            "kit": self.design.kit,
            "arm": self.design.arm,
            "systems": list(self.design.systems),
            "trials": self._counts(),
            "clips": len({trial.clip for trial in self.design.trials}),
            "page_bytes": self.page_bytes,
            "timings": {"total_seconds": self.seconds},
            "notes": list(self.notes),
        }

    def _counts(self) -> dict[str, int]:
        from hafm.evaluate.listening.design import Kind

        return {kind: len(self.design.of_kind(kind)) for kind in get_args(Kind)}


@dataclass(frozen=True, kw_only=True)
class ListenMake(Command):
    """Make a blind listening test from an evaluation.

    Writes listen.html for raters: they hear a vocal with two accompaniments and choose which fits better.

    Writes key.json, which says whose sounds these are. Keep it to yourself.
    """

    evaluation: Path = argument("Folder that hafm evaluate filled.", "RUN")
    output: Path = options.output(
        "Folder for listen.html (for raters) and key.json (for you).", example="kit/", metavar="KIT"
    )
    overwrite: bool = options.overwrite()
    systems: str | None = option(
        "What to compare, with commas between.",
        "NAMES",
        _HEARD,
        shown="model,retrieval,random,truth where the run has them",
    )
    trials: int = option(
        "Trials that compare systems; each pair of systems gets its share.", "N", _HEARD, default=_PLAN.trials
    )
    catch: int = option(
        "Catch trials: the truth against noise or silence, to show who listens.",
        "N",
        _HEARD,
        default=_PLAN.catch,
    )
    repeats: int = option(
        "Trials that come again with the sides swapped, to show who is consistent.",
        "N",
        _HEARD,
        default=_PLAN.repeats,
    )
    listen_seconds: float = option(
        "How long both sides must be heard (or to their end) before an answer counts.",
        "S",
        _HEARD,
        default=_PLAN.listen_seconds,
    )
    arm: str | None = option(
        "Accompaniments made for isolated or for separated vocals.", "ARM", _HEARD, shown="isolated"
    )
    seed: int = option("Another number gives another kit of the same run.", "N", _HEARD, default=_PLAN.seed)

    examples: ClassVar = (
        "hafm listen make run/ -o kit/",
        "hafm listen make run/ -o kit/ --systems model,retrieval --trials 20",
    )

    def check(self) -> None:
        named_systems(self.systems)
        _ = self.plan

    @property
    def plan(self) -> Plan:
        """How many trials there are; built anew, since it refuses what cannot be."""
        return Plan(
            trials=self.trials,
            catch=self.catch,
            repeats=self.repeats,
            listen_seconds=self.listen_seconds,
            seed=self.seed,
        )

    def run(self, shown: "Display", interrupts: Interrupts) -> KitOutcome:
        began = time.monotonic()
        shown.step("getting ready")
        from hafm.device import one_thread
        from hafm.evaluate.listening.kit import KEY_FILE, PAGE_FILE, ListeningRun
        from hafm.files import check_output_folder, write_whole

        run = ListeningRun(self.evaluation)
        design = run.design(self.plan, arm=self.arm, systems=named_systems(self.systems))
        seconds = sum(2 * run.seconds(trial.clip) for trial in design.trials)
        check_output_folder(
            self.output,
            overwrite=self.overwrite,
            needed_bytes=math.ceil(seconds * _BYTES_PER_SECOND),
            files=[KEY_FILE, PAGE_FILE],
        )
        with interrupts.staged_folder(self.output, overwrite=self.overwrite) as folder:
            with one_thread():  # many short sums: threads would wait for each other
                page = run.page(design, on_progress=shown.follow()).encode()
            for name, content in ((KEY_FILE, design.to_json().encode()), (PAGE_FILE, page)):
                write_whole(folder.staging / name, content)
        return KitOutcome(
            page=self.output / PAGE_FILE,
            key=self.output / KEY_FILE,
            design=design,
            page_bytes=len(page),
            seconds=time.monotonic() - began,
            notes=[_NO_CATCH] if self.catch and not design.of_kind("catch") else [],
        )


@dataclass(frozen=True, kw_only=True)
class ScoreOutcome:
    """A test that was scored."""

    scores: "Scores"

    @property
    def notes(self) -> Sequence[str]:
        """What a reader should know."""
        return self.scores.notes

    def summary(self) -> str:
        """For people: tables of at most 100 columns, without colour, fit for a terminal and for a mail."""
        scores = self.scores
        counted = sum(not rater.left_out for rater in scores.raters)
        pairs = [
            (
                *(pair.first, pair.second, _percent(pair.rate.value), _range(pair.rate)),
                *(str(count) for count in (pair.wins, pair.ties, pair.losses)),
                "" if pair.p is None else f"{pair.p:.3g}",
            )
            for pair in scores.pairs
        ]
        strengths = [
            (
                row.system,
                "" if row.strength.value is None else f"{row.strength.value:+.2f}",
                f"{row.strength.low:+.2f} to {row.strength.high:+.2f}",
            )
            for row in scores.strengths
        ]
        raters = [
            (
                rater.name + (" (left out)" if rater.left_out else ""),
                f"{rater.answered} of {scores.trials}",
                f"{rater.caught} of {rater.catch}",
                f"{rater.consistent} of {rater.repeats}",
                _percent(rater.side_a.value),
                "" if rater.seconds is None else f"{rater.seconds:.0f}",
            )
            for rater in scores.raters
        ]
        twice = scores.consistency
        return "\n".join(
            [
                f"kit {scores.kit}: {plural(counted, 'rater')}, {sum(pair.answers for pair in scores.pairs)} "
                f"answers to {len(scores.pairs)} pairs of systems",
                f"{_INTERVALS[scores.interval]}; ties are half a win",
                "",
                *columns(
                    [("how often chosen", "over", "rate", "95 %", "won", "tied", "lost", "p"), *pairs], left=2
                ),
                "",
                *columns([_STRENGTHS, *strengths], left=1),
                "",
                *columns(
                    [("rater", "answered", "caught", "same twice", "side A", "seconds"), *raters], left=1
                ),
                "",
                "same answer twice: no repeats were answered"
                if twice.value is None
                else f"same answer twice: {_percent(twice.value)} ({_range(twice)})",
            ]
        )

    def to_json(self) -> dict[str, Any]:
        return dict(self.scores.to_json())


@dataclass(frozen=True, kw_only=True)
class ListenScore(Command):
    """Score the answers to a listening test: win rates with intervals, and how well raters listened."""

    key: Path = argument("The key.json of the kit.", "KEY")
    answers: list[Path] = argument("Files that raters saved, one of each.", "ANSWERS...")
    min_catch: float = option(
        "Name raters who chose the truth in fewer of their catch trials.",
        "SHARE",
        _COUNTED,
        default=MIN_CATCH,
        within=Range(0, 1),
    )
    leave_out: bool = flag("Count nothing of such raters.", _COUNTED)

    examples: ClassVar = (
        "hafm listen score kit/key.json answers-ann.json answers-bo.json",
        "hafm listen score kit/key.json answers-ann.json --json",
    )

    def run(self, shown: "Display", interrupts: Interrupts) -> ScoreOutcome:
        from hafm.evaluate.listening.answers import Answers
        from hafm.evaluate.listening.design import Design
        from hafm.evaluate.listening.score import score

        key = Design.from_json(_read(self.key), where=f"'{self.key}'")
        answers = [Answers.from_json(_read(path), design=key, where=f"'{path}'") for path in self.answers]
        return ScoreOutcome(scores=score(key, answers, min_catch=self.min_catch, leave_out=self.leave_out))


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


def _percent(share: float | None) -> str:
    return "none" if share is None else f"{100 * share:.0f} %"


def _range(figure: "Figure") -> str:
    if figure.low is None or figure.high is None:
        return "none"
    return f"{100 * figure.low:.0f} to {100 * figure.high:.0f} %"


def _read(path: Path) -> str:
    fix = "give the key.json of a kit, and the files that raters saved"
    try:
        if (size := path.stat().st_size) > _MAX_JSON_BYTES:
            raise UsageError(f"'{path}' has {size / 1e6:.0f} MB, which no key or answers have; {fix}")
        return path.read_text(encoding="utf-8")
    except OSError as error:
        raise UsageError(f"cannot read '{path}': {error.strerror or error}; {fix}") from error
    except UnicodeDecodeError as error:
        raise UsageError(f"'{path}' is not text in UTF-8; {fix}") from error

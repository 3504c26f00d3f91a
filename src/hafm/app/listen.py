"""`hafm listen`: an evaluation becomes a blind listening test, and answers become win rates.

In: a `KitRequest` or a `ScoreRequest`. Out: a `KitOutcome` or a `ScoreOutcome`.

    make     results? systems, clips? folder? room on the disk?   ->   mix and encode, trial by trial
             `------- refused before the first sound is read -'

    score    key? answers, each of them? no rater twice?   ->   tables

Page and key take their place together, or neither does.
"""

import math
import time
from pathlib import Path
from typing import TYPE_CHECKING

from hafm.app.delivery import delivery
from hafm.app.interrupt import Interrupts
from hafm.app.listen_outcome import KitOutcome, ScoreOutcome
from hafm.app.listen_request import KitRequest, ScoreRequest
from hafm.app.progress import Display
from hafm.errors import UsageError

if TYPE_CHECKING:
    from hafm.evaluate.listening.design import Design

__all__ = ["run_make", "run_score"]

_BYTES_A_SECOND = 50_000
"""Of base64 of MP3, more than enough."""

_MAX_JSON_BYTES = 20_000_000


def run_make(request: KitRequest, *, shown: Display, interrupts: Interrupts) -> KitOutcome:
    """Make a kit.

    Args:
        request: what to do.
        shown: told what is going on.
        interrupts: cleans up when the process must end.

    Raises:
        HafmError: it cannot be done; nothing is left behind.
    """
    began = time.monotonic()
    shown.step("getting ready")
    from hafm.device import one_thread
    from hafm.evaluate.listening.kit import KEY_FILE, PAGE_FILE, ListeningRun
    from hafm.files import atomic_file, check_output_folder

    run = ListeningRun(request.run)
    design = run.design(request.plan, arm=request.arm, systems=request.systems)
    seconds = sum(2 * run.seconds(trial.clip) for trial in design.trials)
    check_output_folder(
        request.output, overwrite=request.overwrite, needed_bytes=math.ceil(seconds * _BYTES_A_SECOND)
    )
    items = shown.items("mixing trials")
    with one_thread():  # many short sums: threads would wait for each other
        page = run.page(design, on_progress=lambda at: items(int(at.done), int(at.total))).encode()
    with delivery(request.output, interrupts) as parcel:
        parcel.staging.mkdir(parents=True)
        for name, content in ((KEY_FILE, design.to_json().encode()), (PAGE_FILE, page)):
            with atomic_file(parcel.staging / name) as file:
                file.write(content)
    return KitOutcome(
        page=request.output / PAGE_FILE,
        key=request.output / KEY_FILE,
        design=design,
        page_bytes=len(page),
        seconds=time.monotonic() - began,
        notes=_notes(request, design),
    )


def run_score(request: ScoreRequest) -> ScoreOutcome:
    """Score a kit.

    Args:
        request: what to do.

    Raises:
        UsageError: key or answers cannot be used.
    """
    from hafm.evaluate.listening.answers import Answers
    from hafm.evaluate.listening.design import Design
    from hafm.evaluate.listening.score import score

    key = Design.from_json(_read(request.key), where=f"'{request.key}'")
    answers = [Answers.from_json(_read(path), design=key, where=f"'{path}'") for path in request.answers]
    return ScoreOutcome(scores=score(key, answers, min_catch=request.min_catch, leave_out=request.leave_out))


def _notes(request: KitRequest, design: "Design") -> tuple[str, ...]:
    if request.plan.catch and not design.of_kind("catch"):
        return (
            "there are no catch trials: they need the truth, and noise, silence or a random instrumental in "
            "the run",
        )
    return ()


def _read(path: Path) -> str:
    try:
        if path.stat().st_size > _MAX_JSON_BYTES:
            raise UsageError(
                f"'{path}' has {path.stat().st_size / 1e6:.0f} MB, which no key or answers have; give the "
                "key.json of a kit, and the files that raters saved"
            )
        return path.read_text(encoding="utf-8")
    except OSError as error:
        raise UsageError(
            f"cannot read '{path}': {error.strerror or error}; give the key.json of a kit, and the files "
            "that raters saved"
        ) from error
    except UnicodeDecodeError as error:
        raise UsageError(
            f"'{path}' is no text in UTF-8; give the key.json of a kit, and the files that raters saved"
        ) from error

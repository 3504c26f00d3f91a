"""What a user sees and hears while `hafm generate` works: how far it is, and the preview.

In: the progress of stages; the parts of a stream (`hafm.generate.stream`). Out: one progress, of the whole
job; `OUT.preview.wav` beside the output folder, a sound that grows. The folder takes its results at the very
end only; then the preview goes.
"""

import contextlib
import math
import struct
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import IO, TYPE_CHECKING

from hafm.app.interrupt import Interrupts
from hafm.errors import OutputError
from hafm.estimate import Estimator, Phase

if TYPE_CHECKING:
    from hafm.app.display import Display
    from hafm.generate.accompany import Accompaniment, Accompanist, Part
    from hafm.progress import OnProgress, Progress

__all__ = ["Preview", "growing_preview", "stage_progress"]

_STEPS_OF_TURNS = 1000
_SEPARATION_COST = 500.0  # of a second, in units of `phases`; a net of a usual size: benchmarks/separate.py


def stage_progress(
    accompanist: "Accompanist",
    seconds: float,
    shown: "Display",
    *,
    skip_fine: bool,
    separated: bool,
    preview: bool,
) -> "OnProgress":
    """Shows the progress of stages as that of the job, and says when the last stage is done.

    Args:
        seconds: of sound that the stages make.
        preview: whether the stages take turns, window by window.
    """
    from hafm.generate.phases import phases
    from hafm.generate.vocal import SEPARATION

    names = ["semantic", "coarse"] if skip_fine else ["semantic", "coarse", "fine"]
    parts = phases([accompanist.bundle.spec(name) for name in names], seconds)
    if separated:
        parts.insert(0, Phase(name=SEPARATION, frames=math.ceil(seconds), cost=_SEPARATION_COST))
    if preview:
        return _turns_progress(parts, shown)
    frames = {part.name: part.frames for part in parts}
    report = shown.generation(Estimator(parts))

    def on_progress(progress: "Progress") -> None:
        report(progress.step, round(frames[progress.step] * progress.done / progress.total))
        if progress.step == names[-1] and progress.done == progress.total:
            shown.step("rendering")

    return on_progress


def _turns_progress(parts: Sequence[Phase], shown: "Display") -> "OnProgress":
    """Shows the progress of stages that take turns as that of one thing."""
    cost = {part.name: part.frames * part.cost for part in parts}
    done = dict.fromkeys(cost, 0.0)
    whole = Phase(name="accompaniment", frames=_STEPS_OF_TURNS, cost=1.0)
    report = shown.generation(Estimator([whole]))

    def on_progress(progress: "Progress") -> None:
        done[progress.step] = cost[progress.step] * progress.done / progress.total
        report(whole.name, round(whole.frames * sum(done.values()) / sum(cost.values())))

    return on_progress


# ---- preview


class Preview:
    """A WAV file of 16 bits. Its header says how long it will be, so that a player can begin."""

    def __init__(self, path: Path, shown: "Display") -> None:
        self.path, self._shown = path, shown
        self._file: IO[bytes] | None = None

    def follow(self, parts: "Iterator[Part]", *, num_samples: int) -> "list[Accompaniment]":
        """Writes the parts as they come, and returns what the last one holds.

        Raises:
            OutputError: the file cannot be written.
        """
        accompaniments = []
        for part in parts:
            try:
                self._write(part, num_samples)
            except OSError as error:
                raise OutputError(
                    f"cannot write the preview '{self.path}' ({error.strerror or error}); make room there, "
                    "or leave --preview out"
                ) from error
            if part.accompaniment is not None:
                accompaniments.append(part.accompaniment)
        return accompaniments

    def _write(self, part: "Part", num_samples: int) -> None:
        if self._file is None:
            self._file = open(self.path, "wb")  # noqa: SIM115  it stays open while it grows
            self._file.write(_header(part.sample_rate, num_samples))
        samples = (part.waveform[0] * 32_767).round().clamp(-32_768, 32_767)
        self._file.write(samples.numpy().astype("<i2").tobytes())
        self._file.flush()
        if part.start == 0:
            seconds = part.waveform.shape[1] / part.sample_rate
            self._shown.say(f"preview: {self.path}, {seconds:.1f} s so far")

    def remove(self) -> None:
        """Takes it away; what cannot be taken away, since a player has it open, stays."""
        if self._file is not None:
            with contextlib.suppress(OSError):
                self._file.close()
            with contextlib.suppress(OSError):
                self.path.unlink()


@contextlib.contextmanager
def growing_preview(
    output: Path, shown: "Display", interrupts: Interrupts, *, overwrite: bool, vocal: Path
) -> Iterator[Preview]:
    """A preview beside an output folder; it goes when the block is left.

    Raises:
        OutputError: something of its name is there.
    """
    place = output.absolute()
    path = place.with_name(f"{place.name}.preview.wav")
    if path.is_dir() or (path.exists() and (not overwrite or path.samefile(vocal))):
        raise OutputError(
            f"'{path}' is there already, where the preview would be; move it away, or leave --preview out"
        )
    preview = Preview(path, shown)
    with interrupts.cleaning(preview.remove):
        yield preview


def _header(sample_rate: int, num_samples: int) -> bytes:
    """The first 44 bytes of a WAV file: one channel, 16 bits. The standard library's would say 0 samples."""
    size = 2 * num_samples
    form = struct.pack("<4sIHHIIHH", b"fmt ", 16, 1, 1, sample_rate, 2 * sample_rate, 2, 16)
    return struct.pack("<4sI4s", b"RIFF", 36 + size, b"WAVE") + form + struct.pack("<4sI", b"data", size)

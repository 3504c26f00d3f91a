"""`hafm generate --preview`: a sound file that grows while the accompaniment is made.

In: the parts of a stream (`hafm.generate.stream`). Out: `OUT.preview.wav` beside the output folder, which
takes its results at the very end only; gone when the command ends.

A file of its own, for the growing file is an idea of its own, and `generate.py` has enough of them.
"""

import contextlib
import struct
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import IO, TYPE_CHECKING

from hafm.app.interrupt import Interrupts
from hafm.errors import OutputError
from hafm.estimate import Estimator, Phase

if TYPE_CHECKING:
    from hafm.app.display import Display
    from hafm.generate.accompany import Accompaniment, Part
    from hafm.progress import OnProgress, Progress

__all__ = ["Preview", "follow_turns", "growing_preview"]

_STEPS_OF_TURNS = 1000


class Preview:
    """A WAV file of 16 bits. Its header says how long it will be, so that a player can begin.

    Args:
        path: of it; made with the first part.
        shown: is called when there is something to hear.
    """

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
    output: Path, shown: "Display", interrupts: Interrupts, *, overwrite: bool
) -> Iterator[Preview]:
    """A preview beside an output folder; it goes when the block is left.

    Raises:
        OutputError: something of its name is there.
    """
    place = output.absolute()
    path = place.with_name(f"{place.name}.preview.wav")
    if path.is_dir() or (path.exists() and not overwrite):
        raise OutputError(
            f"'{path}' is there already, where the preview would be; remove it, or leave --preview out"
        )
    preview = Preview(path, shown)
    with interrupts.cleaning(preview.remove):
        yield preview


def follow_turns(parts: Sequence[Phase], shown: "Display") -> "OnProgress":
    """Shows the progress of stages that take turns, window by window, as that of one thing."""
    cost = {part.name: part.frames * part.cost for part in parts}
    done = dict.fromkeys(cost, 0.0)
    whole = Phase(name="accompaniment", frames=_STEPS_OF_TURNS, cost=1.0)
    report = shown.generation(Estimator([whole]))

    def on_progress(progress: "Progress") -> None:
        done[progress.step] = cost[progress.step] * progress.done / progress.total
        report(whole.name, round(whole.frames * sum(done.values()) / sum(cost.values())))

    return on_progress


def _header(sample_rate: int, num_samples: int) -> bytes:
    """The first 44 bytes of a WAV file: one channel, 16 bits. The standard library's would say 0 samples."""
    size = 2 * num_samples
    form = struct.pack("<4sIHHIIHH", b"fmt ", 16, 1, 1, sample_rate, 2 * sample_rate, 2, 16)
    return struct.pack("<4sI4s", b"RIFF", 36 + size, b"WAVE") + form + struct.pack("<4sI", b"data", size)

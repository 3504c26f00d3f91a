"""Being asked to stop: a signal only sets a flag, and the loop looks at it when a step is done.

In: SIGTERM, SIGUSR1, SIGHUP, SIGQUIT or Ctrl-C. Out: `StopFlag.number`, and `Stopped`, by which the process
ends.

| signal | sent by | the run | exit code |
|---|---|---|---|
| SIGTERM, SIGUSR1 | Slurm, before the time is up | finishes the step, saves | 75: start it again |
| SIGHUP, SIGQUIT | a lost terminal, Ctrl-\\ | the same; ignored where they were (`nohup`) | 75 |
| SIGINT | Ctrl-C | finishes the step, saves | 130 |
| SIGINT again | Ctrl-C, impatient | ends at once; the last checkpoint stays | 130 |

75 is EX_TEMPFAIL of sysexits.h: "try again later". A file of its own: it holds the process's signals, of
which the loop knows a flag.
"""

import signal
import threading
import time
from types import FrameType
from typing import Any, Self

__all__ = ["StopFlag"]

_IMPATIENT_SECONDS = 1.0  # torchrun sends on what the terminal sent to its ranks already: that is no second
_SIGNALS = ("SIGINT", "SIGTERM", "SIGUSR1")
_IGNORABLE = ("SIGHUP", "SIGQUIT")


class StopFlag:
    """Takes over these signals while its block runs; outside the main thread it does nothing.

    >>> with StopFlag() as stop:
    ...     signal.raise_signal(signal.SIGTERM)
    ...     stop.number == signal.SIGTERM
    True
    """

    def __init__(self) -> None:
        self.number = 0
        """The signal that came; 0 before one has."""
        self._came = 0.0
        self._before: dict[int, Any] = {}
        self._wakeup_before = -1

    def __enter__(self) -> Self:
        if threading.current_thread() is threading.main_thread():
            # The command line watches signals through this descriptor, and would end the process.
            self._wakeup_before = signal.set_wakeup_fd(-1)
            self._before = {number: signal.signal(number, self._set) for number in _signals()}
        return self

    def __exit__(self, *_: object) -> None:
        if self._before:
            for number, handler in self._before.items():
                signal.signal(number, handler)
            signal.set_wakeup_fd(self._wakeup_before)

    def _set(self, number: int, frame: FrameType | None) -> None:
        if not self.number:
            self.number, self._came = number, time.monotonic()
        elif number == signal.SIGINT and time.monotonic() - self._came > _IMPATIENT_SECONDS:
            raise KeyboardInterrupt


def _signals() -> list[signal.Signals]:
    known = [getattr(signal, name) for name in (*_SIGNALS, *_IGNORABLE) if hasattr(signal, name)]
    return [each for each in known if each.name not in _IGNORABLE or signal.getsignal(each) != signal.SIG_IGN]

"""Ctrl-C and termination: the program ends within a second and leaves nothing half-written.

In: SIGINT (Ctrl-C), SIGTERM, SIGHUP (the terminal was lost) or SIGQUIT (Ctrl-\\). Out: `KeyboardInterrupt` in
the main thread at once, and the end of the process `GRACE_SECONDS` later if that was not enough. The exit
code is 128 + the number of the signal: 130, 143, 129 or 131. SIGHUP and SIGQUIT stay ignored where they were
(`nohup`).

Python runs a signal's handler between two steps of the interpreter. One long call into C (encoding ten
minutes of sound) holds it back for seconds, and a library may swallow the exception on its way. So a second
thread, woken by the signal itself through a file descriptor, looks after the end:

    signal --+--> handler ----> KeyboardInterrupt ----> unwinding, clean-up, exit code 130      the usual way
             +--> watcher ----> GRACE_SECONDS ----> registered clean-ups ----> os._exit(130)    if that hangs

The watcher needs Python's lock for a moment, so code that keeps the lock delays it: loading torch does, for
a third of a second, or longer while its files are not in memory.
"""

import contextlib
import os
import signal
import socket
import sys
import threading
from collections.abc import Callable, Collection, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from types import FrameType, TracebackType
from typing import TYPE_CHECKING, Any, Self

if TYPE_CHECKING:
    from hafm.files import StagedFolder

__all__ = ["GRACE_SECONDS", "Interrupts"]

GRACE_SECONDS = 0.5
"""How long the main thread may take to unwind before the watcher ends the process."""

_SIGNALS = (signal.SIGINT, signal.SIGTERM)
_IGNORABLE = tuple(getattr(signal, name) for name in ("SIGHUP", "SIGQUIT") if hasattr(signal, name))
_SHOW_CURSOR = "\x1b[?25h"


def ending_signals() -> tuple[signal.Signals, ...]:
    """The signals that ask a process for its end, without those that it was started to ignore."""
    asked = (number for number in _IGNORABLE if signal.getsignal(number) is not signal.SIG_IGN)
    return (*_SIGNALS, *asked)


class Interrupts:
    """Takes over the signals that ask for the end while its block runs.

    Outside the main thread, where Python takes no signals, it does nothing. A block within a block is not
    for this class.

    >>> with Interrupts() as interrupts:
    ...     print(interrupts.exit_code)
    None
    """

    def __init__(self) -> None:
        self._signal: int | None = None
        self._shielded = False
        self._forgotten = False
        # Held by the main thread while it must not be ended, and by the watcher while it ends the process.
        self._last_word = threading.Lock()
        self._done = threading.Event()
        self._clean_ups: list[Callable[[], None]] = []
        self._before: dict[int, Any] = {}
        self.left = "nothing was written"
        """What an interrupted command leaves behind; a command whose finished work stays says so here."""

    @property
    def exit_code(self) -> int | None:
        """What to exit with, once a signal came; None before."""
        return None if self._signal is None else 128 + self._signal

    def __enter__(self) -> Self:
        if threading.current_thread() is not threading.main_thread():
            return self
        self._receiver, self._sender = socket.socketpair()
        self._sender.setblocking(False)
        self._wakeup_before = signal.set_wakeup_fd(self._sender.fileno(), warn_on_full_buffer=False)
        self._before = {number: signal.signal(number, self._interrupt) for number in ending_signals()}
        threading.Thread(target=self._watch, name="hafm-interrupts", daemon=True).start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if not self._before:
            return
        self._done.set()
        for number, handler in self._before.items():
            signal.signal(number, handler)
        signal.set_wakeup_fd(self._wakeup_before)
        self._sender.close()

    @contextlib.contextmanager
    def cleaning(self, clean_up: Callable[[], None]) -> Iterator[None]:
        """`clean_up` runs when the block is left, in whatever way; by the watcher if the block hangs."""
        self._clean_ups.append(clean_up)
        try:
            yield
        finally:
            clean_up()
            self._clean_ups.remove(clean_up)

    @contextlib.contextmanager
    def shield(self) -> Iterator[None]:
        """The last, short step of the work: a signal that comes now comes too late, and is forgotten."""
        with self._last_word:
            self._shielded = True
            try:
                yield
            finally:
                self._shielded = False

    def staged_folder(
        self, target: Path, *, last: Collection[str] = (), overwrite: bool
    ) -> "AbstractContextManager[StagedFolder]":
        """`hafm.files.staged_folder`, whose end is a shielded step, and which the watcher cleans up too."""
        from hafm.files import staged_folder

        return staged_folder(
            target, last=last, overwrite=overwrite, cleaning=self.cleaning, commit=self.shield()
        )

    def _interrupt(self, number: int, frame: FrameType | None) -> None:
        if self._shielded:
            self._forgotten = True
        elif self._signal is None:
            # One exception is enough: a second, of an impatient user, would break the first one's clean-up.
            self._signal = number
            raise KeyboardInterrupt

    def _watch(self) -> None:
        with self._receiver:
            while received := self._receiver.recv(1):  # nothing: the sender was closed
                if self._done.wait(GRACE_SECONDS):
                    return
                with self._last_word:
                    if self._forgotten:
                        self._forgotten = False
                    else:
                        self._end_process(received[0])

    def _end_process(self, number: int) -> None:
        for clean_up in reversed(self._clean_ups):
            with contextlib.suppress(Exception):
                clean_up()
        with contextlib.suppress(Exception):
            if sys.stderr.isatty():
                os.write(sys.stderr.fileno(), f"{_SHOW_CURSOR}\n".encode())
            os.write(sys.stderr.fileno(), f"interrupted: {self.left}\n".encode())
        os._exit(128 + number)

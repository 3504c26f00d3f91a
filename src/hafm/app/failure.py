"""Errors as the command line tells them: one line and an exit code, or the same as JSON.

In: any exception. Out: a `Failure`.

| what happened | line | exit code |
|---|---|---|
| a `HafmError`, or a command line that cannot be parsed | `error: what, why, what to do` | 2 |
| Ctrl-C, SIGTERM | `interrupted: nothing was written`, or what stays | 130, 143 |
| training was asked to stop, and saved its state | `stopped by SIGTERM after step ...` | 75, 130 |
| the memory is full, or a limit of it (`ulimit -v`) is reached | `error: ...` | 2 |
| the system refuses something else: no room, too many open files | `error: ...` | 2 |
| a mistake of ours | `internal error: ...` and how to report it | 1 |

Convention: a traceback is shown with `--debug` and never without.
"""

import errno
import json
import os
import re
from dataclasses import dataclass

import typer

from hafm.errors import DeviceError, HafmError, Stopped
from hafm.words import size

__all__ = ["Failure", "explain", "interrupted", "memory_limit", "require_memory"]

# The base of all that typer raises about a command line; its home differs between versions of typer.
_CommandLineError: type[Exception] = typer.BadParameter.__mro__[2]

_RENAMED = {"--clips-a-song": "--clips-per-song"}
"""Options by their old spelling."""

_LEAST_BYTES = 1_100_000_000
"""Of address space: to load the libraries and make a second of sound (torch 2.13 for processors). With less,
what libraries do while they are loaded is anything: end the process, or try for ever (OpenBLAS)."""

_OUT_OF_MEMORY = "give a shorter part with --seconds, ask for fewer --takes, or close other programs"
_MEMORY_WORDS = (  # of torch, of the linker, of C++, of numpy, of Python
    "can't allocate memory",
    "cannot allocate memory",
    "failed to map segment",
    "bad_alloc",
    "unable to allocate",
    "can't start new thread",
)


@dataclass(frozen=True, kw_only=True)
class Failure:
    """What the user reads about an error.

    Args:
        kind: name of the exception's class.
        message: one line: what, why, what to do.
        prefix: what the line begins with; None where the message says itself what happened.

    >>> failure = explain(HafmError("--takes 0: ask for 1 or more"))
    >>> failure.line, failure.exit_code
    ('error: --takes 0: ask for 1 or more', 2)
    >>> failure.json
    '{"error": {"kind": "HafmError", "message": "--takes 0: ask for 1 or more", "exit_code": 2}}'
    """

    kind: str
    message: str
    exit_code: int
    prefix: str | None = "error"

    @property
    def line(self) -> str:
        """For people."""
        return self.message if self.prefix is None else f"{self.prefix}: {self.message}"

    @property
    def json(self) -> str:
        """For programs."""
        return json.dumps(
            {"error": {"kind": self.kind, "message": self.message, "exit_code": self.exit_code}},
            ensure_ascii=False,
        )


def explain(error: Exception, *, command: str = "hafm") -> Failure:
    """The failure that an exception is to the user.

    Args:
        error: what was raised.
        command: whose help says more, where the error does not know it.

    >>> explain(ZeroDivisionError("division by zero")).line  # doctest: +ELLIPSIS
    'internal error: ZeroDivisionError: division by zero; this is a mistake in hafm: please report it, ...'
    >>> explain(Stopped(15, "stopped by SIGTERM after step 3")).line
    'stopped by SIGTERM after step 3'
    """
    kind = type(error).__name__
    if isinstance(error, Stopped):  # as it was asked to: no error
        return Failure(kind=kind, message=str(error), exit_code=error.exit_code, prefix=None)
    if _is_out_of_memory(error) and not isinstance(error, DeviceError):  # which says so itself
        return Failure(kind="OutOfMemory", message=_about_memory(), exit_code=2)
    if isinstance(error, HafmError):
        return Failure(kind=kind, message=str(error), exit_code=error.exit_code)
    if isinstance(error, _CommandLineError):
        return Failure(kind="UsageError", message=_about_command_line(error, command), exit_code=2)
    if isinstance(error, OSError) and error.errno is not None:
        return Failure(kind="SystemError", message=_about_system(error), exit_code=2)
    what = _one_line(f"{kind}: {error}")
    return Failure(
        kind=kind,
        message=f"{what}; this is a mistake in hafm: please report it, with what --debug prints",
        exit_code=1,
        prefix="internal error",
    )


def interrupted(exit_code: int, left: str = "nothing was written") -> Failure:
    """The failure of a process that was asked to stop, and what it leaves behind.

    >>> interrupted(130).line
    'interrupted: nothing was written'
    """
    return Failure(kind="Interrupted", message=left, exit_code=exit_code, prefix="interrupted")


def memory_limit() -> int | None:
    """Bytes of address space that this process may use; None without a limit."""
    try:
        import resource
    except ImportError:  # Windows has no such limit
        return None
    limit, _ = resource.getrlimit(resource.RLIMIT_AS)
    return None if limit == resource.RLIM_INFINITY else limit


def require_memory() -> None:
    """Refuses to begin with less memory than libraries need to be loaded, before any of them is.

    Raises:
        MemoryError: the limit is lower.
    """
    limit = memory_limit()
    if limit is not None and limit < _LEAST_BYTES:
        raise MemoryError


def _about_command_line(error: Exception, command: str) -> str:
    old = getattr(error, "option_name", None)
    if old in _RENAMED:
        return f"{old} is now spelt {_RENAMED[old]}; write that"
    message = _one_line(error.format_message())  # type: ignore[attr-defined]
    message = message.replace("Value error, ", "")  # of pydantic, which newer versions of typer check with
    wrong = re.fullmatch(r"Invalid value for '(.+?)': Input should be a valid (number|integer)\b.*", message)
    if wrong is not None and isinstance(error.__cause__, ValueError):
        value = error.__cause__.errors()[0]["input"]  # type: ignore[attr-defined]
        kind = "number, as in 92.5" if wrong[2] == "number" else "whole number"
        message = f"{wrong[1]} is {value!r}; give a {kind}"
    context = getattr(error, "ctx", None)
    command = context.command_path if context is not None else command
    return f"{message.rstrip('.')}; `{command} --help` lists what there is"


def _is_out_of_memory(error: BaseException | None) -> bool:
    """Whether an exception, or one that it comes from, is about memory; libraries say so in words alone."""
    looked_at: set[int] = set()
    while error is not None and id(error) not in looked_at:  # two may come from each other
        looked_at.add(id(error))
        words = str(error).lower()
        if (
            isinstance(error, MemoryError)
            or type(error).__name__ == "OutOfMemoryError"
            or (isinstance(error, OSError) and error.errno == errno.ENOMEM)
            # What Python raises where an extension met the limit and set no exception.
            or (isinstance(error, SystemError) and memory_limit() is not None)
            or (
                isinstance(error, RuntimeError | ImportError | OSError)
                and any(sign in words for sign in _MEMORY_WORDS)
            )
        ):
            return True
        error = error.__cause__ or error.__context__
    return False


def _about_memory() -> str:
    limit = memory_limit()
    if limit is None:
        return f"the memory is full; {_OUT_OF_MEMORY}"
    least = f"hafm needs {size(_LEAST_BYTES)} or more" if limit < _LEAST_BYTES else "which is too little"
    return f"this process may use {size(limit)} of memory (ulimit -v), {least}; raise that limit"


def _about_system(error: OSError) -> str:
    place = "" if error.filename is None else f" '{os.fsdecode(error.filename)}'"
    return _one_line(
        f"the system refused{place}: {error.strerror or error}; put that right, and run it again"
    )


def _one_line(text: str) -> str:
    return " ".join(text.split())

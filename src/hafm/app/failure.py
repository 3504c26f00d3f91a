"""Errors as the command line tells them: one line and an exit code, or the same as JSON.

In: any exception. Out: a `Failure`.

| what happened | line | exit code |
|---|---|---|
| a `HafmError`, or a command line that cannot be parsed | `error: what, why, what to do` | 2 |
| Ctrl-C, SIGTERM | `interrupted: nothing was written`, or what stays | 130, 143 |
| training was asked to stop, and saved its state | `stopped by SIGTERM after step ...` | 75, 130 |
| the memory is full | `error: ...` | 2 |
| a mistake of ours | `internal error: ...` and how to report it | 1 |

Convention: a traceback is shown with `--debug` and never without.
"""

import json
from dataclasses import dataclass

import typer

from hafm.errors import HafmError, Stopped

__all__ = ["Failure", "explain", "interrupted"]

# The base of all that typer raises about a command line; its home differs between versions of typer.
_CommandLineError: type[Exception] = typer.BadParameter.__mro__[2]

_RENAMED = {"--clips-a-song": "--clips-per-song"}
"""Options by their old spelling."""

_OUT_OF_MEMORY = (
    "the memory is full; give a shorter part with --seconds, ask for fewer --takes, or close other programs"
)


@dataclass(frozen=True, kw_only=True)
class Failure:
    """What the user is told about an error.

    Args:
        kind: name of the exception's class.
        message: one line: what, why, what to do.
        exit_code: what the process exits with.
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


def explain(error: Exception) -> Failure:
    """The failure that an exception is to the user.

    >>> explain(ZeroDivisionError("division by zero")).line  # doctest: +ELLIPSIS
    'internal error: ZeroDivisionError: division by zero; this is a mistake in hafm: please report it, ...'
    >>> explain(Stopped(15, "stopped by SIGTERM after step 3")).line
    'stopped by SIGTERM after step 3'
    """
    kind = type(error).__name__
    if isinstance(error, Stopped):  # as it was asked to: no error
        return Failure(kind=kind, message=str(error), exit_code=error.exit_code, prefix=None)
    if isinstance(error, HafmError):
        return Failure(kind=kind, message=str(error), exit_code=error.exit_code)
    if isinstance(error, _CommandLineError):
        return Failure(kind="UsageError", message=_about_command_line(error), exit_code=2)
    if _is_out_of_memory(error):
        return Failure(kind="OutOfMemory", message=_OUT_OF_MEMORY, exit_code=2)
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


def _about_command_line(error: Exception) -> str:
    old = getattr(error, "option_name", None)
    if old in _RENAMED:
        return f"{old} is now spelt {_RENAMED[old]}; write that"
    message = _one_line(error.format_message())  # type: ignore[attr-defined]
    context = getattr(error, "ctx", None)
    command = context.command_path if context is not None else "hafm"
    return f"{message.rstrip('.')}; `{command} --help` lists what there is"


def _is_out_of_memory(error: Exception) -> bool:
    # Torch has a class for its GPUs, and tells of the CPU in words alone.
    return (
        isinstance(error, MemoryError)
        or type(error).__name__ == "OutOfMemoryError"
        or (isinstance(error, RuntimeError) and "can't allocate memory" in str(error))
    )


def _one_line(text: str) -> str:
    return " ".join(text.split())

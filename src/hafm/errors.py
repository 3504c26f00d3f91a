"""Every error that HAFM raises for something a user can put right.

In: nothing. Out: one tree of exceptions, so that callers catch as widely or as narrowly as they like:

    HafmError
    ├── UsageError              an argument, option or combination that cannot work
    ├── AudioError
    │   ├── AudioReadError      the file cannot be opened, recognised or decoded
    │   └── AudioContentError   it decodes, but what it holds cannot be used (silent, too short, NaN)
    ├── BundleError
    │   ├── BundleNotFound      no bundle of that name, folder or hub id
    │   ├── BundleDamaged       a file of it is missing, or its bytes changed
    │   └── BundleMismatch      its parts do not belong together (another k-means, another codec)
    ├── LeadSheetError          a lead sheet cannot be read, or contradicts itself
    │   └── ChordError          a chord in it is not understood
    ├── SoundfontError          a file of instruments cannot be read, or lacks what is needed
    ├── ShardsError
    │   ├── ShardsNotFound      no token shards at that place
    │   └── ShardsDamaged       a file of them is missing, or its bytes changed
    ├── RetrievalIndexError
    │   ├── IndexNotFound       no index of instrumentals at that place
    │   ├── IndexDamaged        a file of it is missing, or its bytes changed
    │   ├── InstrumentalMissing a file that it names cannot be read
    │   └── InstrumentalChanged a file that it names holds something else by now
    ├── CheckpointDamaged       a file of a checkpoint is missing, or its bytes changed
    ├── QuarantineLimit         more tracks than allowed could not be used
    ├── NonFinite               training met a loss or gradient that is not finite
    ├── Stopped                 training was asked to stop, and saved its state: no failure
    ├── DeviceError             the device asked for is not there
    └── OutputError             the result cannot be written (folder in use, disk full, no permission)

Conventions: a message is one line that says what happened, why, and what to do. The command line prints it
without a traceback and exits with `exit_code`. Errors of our own making (broken invariants) are assertions
and are not in this tree.
"""

import signal

__all__ = [
    "AudioContentError",
    "AudioError",
    "AudioReadError",
    "BundleDamaged",
    "BundleError",
    "BundleMismatch",
    "BundleNotFound",
    "CheckpointDamaged",
    "ChordError",
    "DeviceError",
    "HafmError",
    "IndexDamaged",
    "IndexNotFound",
    "InstrumentalChanged",
    "InstrumentalMissing",
    "LeadSheetError",
    "NonFinite",
    "OutputError",
    "QuarantineLimit",
    "RetrievalIndexError",
    "ShardsDamaged",
    "ShardsError",
    "ShardsNotFound",
    "SoundfontError",
    "Stopped",
    "UsageError",
]


class HafmError(Exception):
    """Base of all errors that a user can put right.

    Args:
        message: what happened, why, and what to do. Line breaks (a file name may hold some) are shown
            escaped, so that the message stays one line.

    >>> str(HafmError("cannot open 'a\\nb.wav'"))
    "cannot open 'a\\\\nb.wav'"
    >>> UsageError("--takes 0: ask for 1 or more").exit_code
    2
    """

    exit_code: int = 2
    """What the process exits with when nobody catches the error."""

    def __init__(self, message: str) -> None:
        super().__init__("\\n".join(message.splitlines()))


class UsageError(HafmError):
    """An argument, an option or a combination of them that cannot work."""


class AudioError(HafmError):
    """Something is wrong with the sound that came in."""


class AudioReadError(AudioError):
    """The file cannot be opened, is not a known kind of audio, or cannot be decoded."""


class AudioContentError(AudioError):
    """The sound decodes, but cannot be used: silent, too short, too long, not finite, too many channels."""


class BundleError(HafmError):
    """Something is wrong with a bundle (a folder of weights and their configuration)."""


class BundleNotFound(BundleError):
    """There is no bundle under that name, folder or hub id."""


class BundleDamaged(BundleError):
    """A file of the bundle is missing, unreadable, or differs from its recorded SHA-256."""


class BundleMismatch(BundleError):
    """The parts of the bundle do not belong together: another k-means or another codec."""


class LeadSheetError(HafmError):
    """A lead sheet, or a file of one, cannot be read, contradicts itself, or does not fit its sound."""


class ChordError(LeadSheetError):
    """A chord label or symbol is not understood."""


class SoundfontError(HafmError):
    """A SoundFont cannot be read, or has no instrument of a kind."""


class ShardsError(HafmError):
    """Something is wrong with a folder of shards."""


class ShardsNotFound(ShardsError):
    """There are no shards at that place."""


class ShardsDamaged(ShardsError):
    """A file of the shards is missing, unreadable, or differs from its recorded SHA-256."""


class RetrievalIndexError(HafmError):
    """Something is wrong with an index of instrumentals."""


class IndexNotFound(RetrievalIndexError):
    """There is no index at that place."""


class IndexDamaged(RetrievalIndexError):
    """A file of the index is missing, unreadable, or differs from its recorded hash."""


class InstrumentalMissing(RetrievalIndexError):
    """A file that the index names cannot be read."""


class InstrumentalChanged(RetrievalIndexError):
    """A file that the index names holds something else by now."""


class CheckpointDamaged(HafmError):
    """A file of a checkpoint is missing, unreadable, or not what was written."""


class QuarantineLimit(HafmError):
    """More tracks than allowed could not be used."""


class NonFinite(HafmError):
    """Training met a loss or a gradient that is not finite, and cannot go on; no weight was changed by it."""


class Stopped(HafmError):
    """Training was asked to stop, and saved its state; the same command goes on.

    Args:
        number: of the signal.
        message: as for every error.

    >>> Stopped(15, "stopped").exit_code, Stopped(2, "stopped").exit_code
    (75, 130)
    """

    def __init__(self, number: int, message: str) -> None:
        super().__init__(message)
        self.exit_code = 130 if number == signal.SIGINT else 75  # EX_TEMPFAIL: start it again


class DeviceError(HafmError):
    """The device asked for does not exist here, or ran out of memory."""


class OutputError(HafmError):
    """The result cannot be written: folder in use, disk full, no permission."""

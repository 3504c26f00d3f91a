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
    ├── DeviceError             the device asked for is not there
    └── OutputError             the result cannot be written (folder in use, disk full, no permission)

Conventions: a message is one line that says what happened, why, and what to do. The command line prints it
without a traceback and exits with `exit_code`. Errors of our own making (broken invariants) are assertions
and are not in this tree.
"""

__all__ = [
    "AudioContentError",
    "AudioError",
    "AudioReadError",
    "BundleDamaged",
    "BundleError",
    "BundleMismatch",
    "BundleNotFound",
    "ChordError",
    "DeviceError",
    "HafmError",
    "LeadSheetError",
    "OutputError",
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


class DeviceError(HafmError):
    """The device asked for does not exist here, or ran out of memory."""


class OutputError(HafmError):
    """The result cannot be written: folder in use, disk full, no permission."""

"""What a user names, as an open file.

In: a path, or a binary stream (an upload, `io.BytesIO`). Out: a real file with a descriptor and a path, which
both decoders need, and a name for messages. A stream is copied to a temporary file, which goes when the block
ends.

Only regular files are opened: a pipe would wait for ever, and a device never ends.
"""

import contextlib
import os
import re
import stat
import tempfile
from collections.abc import Generator
from pathlib import Path
from typing import IO, Protocol, runtime_checkable

from hafm.errors import AudioContentError, AudioReadError

__all__ = ["MAX_FILE_BYTES", "BinaryStream", "open_source"]

MAX_FILE_BYTES = 4 << 30

_COPY_BYTES = 1 << 20
_ADDRESS = re.compile(r"^(https?|ftps?|sftp|file|s3|gs|rtm?s?p|data|blob):/+", re.IGNORECASE)


@runtime_checkable
class BinaryStream(Protocol):
    """Anything that bytes can be read from: an open file, `io.BytesIO`, an upload."""

    def read(self, size: int = -1, /) -> bytes:
        """The next bytes, at most `size` of them; none at the end."""
        ...


@contextlib.contextmanager
def open_source(source: str | os.PathLike[str] | BinaryStream) -> Generator[tuple[IO[bytes], Path, str]]:
    """Open what a user named.

    Args:
        source: a path, or a binary stream, which is read from its position on.

    Yields:
        The file, open for reading; its path; what messages call it.

    Raises:
        AudioReadError: it is missing, a folder, a dangling link, a pipe or device, or may not be read.
        AudioContentError: it is larger than `MAX_FILE_BYTES`.
    """
    with _opened_path(source) if isinstance(source, str | os.PathLike) else _copied(source) as opened:
        yield opened


@contextlib.contextmanager
def _opened_path(source: str | os.PathLike[str]) -> Generator[tuple[IO[bytes], Path, str]]:
    path, name = Path(source), _quoted(_as_given(os.fspath(source)))
    with contextlib.ExitStack() as stack:
        try:
            status = path.stat()
            if not stat.S_ISREG(status.st_mode):
                what = "a folder" if path.is_dir() else "not a regular file"
                raise AudioReadError(f"{name} is {what}; give one audio file")
            if status.st_size > MAX_FILE_BYTES:
                raise _too_big(name)
            file = stack.enter_context(open(path, "rb"))
        except (OSError, ValueError) as error:
            raise _unopened(error, path, name) from error
        try:
            yield file, path, name
        except OSError as error:
            why = error.strerror or str(error)
            raise AudioReadError(f"{name} cannot be read ({why}); copy it to another disk") from error


@contextlib.contextmanager
def _copied(source: BinaryStream) -> Generator[tuple[IO[bytes], Path, str]]:
    label = getattr(source, "name", None)
    name = _quoted(Path(label).name) if isinstance(label, str) else "the audio stream"
    with tempfile.NamedTemporaryFile(prefix="hafm-") as copy:
        while block := source.read(_COPY_BYTES):
            if not isinstance(block, bytes):
                raise AudioReadError(f"{name} is open as text; open it in binary mode ('rb')")
            if copy.tell() + len(block) > MAX_FILE_BYTES:
                raise _too_big(name)
            copy.write(block)
        copy.seek(0)
        yield copy, Path(copy.name), name


def _unopened(error: OSError | ValueError, path: Path, name: str) -> AudioReadError:
    if isinstance(error, FileNotFoundError):
        if path.is_symlink():
            return AudioReadError(f"{name} is a link to a file that does not exist; give the file itself")
        hint = "check the name and the folder"
        if _ADDRESS.match(name.strip("'")):
            hint = "HAFM opens files, not addresses, so download it first"
        return AudioReadError(f"{name} does not exist; {hint}")
    if isinstance(error, PermissionError):
        return AudioReadError(f"no permission to read {name}; change it with chmod, or copy the file")
    why = (error.strerror if isinstance(error, OSError) else None) or str(error)
    return AudioReadError(f"{name} cannot be opened ({why}); check the name")


def _as_given(name: str) -> str:
    """An address with both of its slashes, of which a `Path` keeps one.

    >>> _as_given("https:/example.com/a.mp3"), _as_given("a:/b.wav")
    ('https://example.com/a.mp3', 'a:/b.wav')
    """
    return _ADDRESS.sub(r"\1://", name)


def _too_big(name: str) -> AudioContentError:
    limit = f"{MAX_FILE_BYTES >> 30} GiB"
    return AudioContentError(f"{name} is larger than {limit}; cut out the part that you want first")


def _quoted(name: str) -> str:
    # A file name may hold line breaks, terminal escapes, and bytes that are no text.
    return f"'{name}'" if name.isprintable() else ascii(name)

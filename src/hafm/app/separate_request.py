"""What `hafm separate` was asked for, checked before anything heavy is loaded.

In: the options of the command line. Out: a `SeparationRequest` whose values are in range and fit together, or
a `UsageError`.
"""

from dataclasses import dataclass
from pathlib import Path

from hafm.app.request import Format
from hafm.errors import UsageError

__all__ = ["MAX_WORKERS", "SeparationRequest"]

MAX_WORKERS = 64


@dataclass(frozen=True, kw_only=True)
class SeparationRequest:
    """One run of `hafm separate`.

    Args:
        songs: one or more; no two of one name, apart from folder and ending.
        output: the folder for the results.
        model: the separator's `.onnx`; None for that of HAFM_SEPARATOR.
        format: of the sound files.
        workers: processes, 1 to `MAX_WORKERS`.
        overwrite: results may take the place of files.

    Raises:
        UsageError: a value is missing or out of range, or two songs would go to one folder.

    >>> SeparationRequest(songs=(Path("a/song.wav"), Path("b/song.mp3")), output=Path("out"))
    Traceback (most recent call last):
    ...
    hafm.errors.UsageError: 'a/song.wav' and 'b/song.mp3' would both go to 'out/song'; separate ...
    """

    songs: tuple[Path, ...]
    output: Path
    model: Path | None = None
    format: Format = "wav"
    workers: int = 1
    overwrite: bool = False

    def __post_init__(self) -> None:
        if not self.songs:
            raise UsageError("no song was given; name one, as in: hafm separate song.wav -o out/")
        if not 1 <= self.workers <= MAX_WORKERS:
            raise UsageError(f"--workers is {self.workers}; give a number from 1 to {MAX_WORKERS}")
        seen: dict[Path, Path] = {}
        for song, folder in zip(self.songs, self.folders, strict=True):
            if len(self.songs) > 1 and song.stem in ("", ".", ".."):
                raise UsageError(f"'{song}' has no name to call a folder by; separate it by itself")
            if folder in seen:
                raise UsageError(
                    f"'{seen[folder]}' and '{song}' would both go to '{folder}'; separate them one by one"
                )
            seen[folder] = song

    @property
    def folders(self) -> tuple[Path, ...]:
        """Where each song's stems go."""
        if len(self.songs) == 1:
            return (self.output,)
        return tuple(self.output / song.stem for song in self.songs)

"""Results that arrive together or not at all.

In: a folder's name, and whoever fills it. Out: the folder in its place, complete, or an `OutputError` and
nothing new on the disk.

    OUT does not exist   .OUT.3f2a.part/results  is filled, and takes the name OUT in one step
    OUT exists           OUT/.3f2a.part/results  is filled, and each file takes its place in OUT in one step,
                         the record last, that of OUT itself after those of folders in it

Either way what is written lies on the disk where it will stay (OUT may be the root of one). Convention:
the record is what readers believe (`generation.json` or `retrieval.json`), so the old one goes before the
first file is replaced, and the new one comes when all others are there.
"""

import contextlib
import os
import secrets
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from hafm.app.interrupt import Interrupts
from hafm.errors import OutputError

__all__ = ["Delivery", "delivery"]

_RECORDS = ("generation.json", "retrieval.json")


@dataclass(frozen=True)
class Delivery:
    """A folder to be filled, and where its files will be in the end.

    Args:
        staging: the folder to write to; not there yet.
        target: the folder that the user asked for.
    """

    staging: Path
    target: Path

    def final(self, path: Path) -> Path:
        """Where a file that was written below `staging` will be.

        >>> parcel = Delivery(staging=Path("/a/.out.part/results"), target=Path("out"))
        >>> parcel.final(Path("/a/.out.part/results/take-1/mix.wav")).as_posix()
        'out/take-1/mix.wav'
        """
        return self.target / path.relative_to(self.staging)


@contextlib.contextmanager
def delivery(target: Path, interrupts: Interrupts) -> Iterator[Delivery]:
    """Fill a folder, then put it into its place.

    Args:
        target: the folder that results go to; `check_output_folder` has looked at it.
        interrupts: keeps signals from splitting the last step, and cleans up if the process must end.

    Yields:
        The `Delivery`. What lies in its `staging` when the block ends well is delivered.

    Raises:
        OutputError: the disk is full, or the place not writable. Nothing new is left behind.
    """
    place = target.resolve()
    mark = f"{secrets.token_hex(4)}.part"
    around = place / f".{mark}" if place.exists() else place.with_name(f".{place.name[:100]}.{mark}")
    staging = around / "results"
    made = _missing_folders(place.parent)

    def clean_up() -> None:
        shutil.rmtree(around, ignore_errors=True)
        for folder in made:
            with contextlib.suppress(OSError):  # it holds the result now, or was never made
                folder.rmdir()

    with interrupts.cleaning(clean_up):
        try:
            around.mkdir(parents=True)
            yield Delivery(staging=staging, target=target)
            with interrupts.shield():
                _deliver(staging, place)
        except OSError as error:
            raise OutputError(
                f"cannot write to '{target}': {error.strerror or error}; make room there, or give another "
                "folder with -o"
            ) from error


def _missing_folders(folder: Path) -> list[Path]:
    """Those of `folder` and its parents that do not exist, the deepest first."""
    missing = []
    for place in (folder, *folder.parents):
        if place.exists():
            break
        missing.append(place)
    return missing


def _deliver(staging: Path, place: Path) -> None:
    if not place.exists():
        os.rename(staging, place)
        return
    files = [path.relative_to(staging) for path in sorted(staging.rglob("*")) if path.is_file()]
    for name in files:
        if name.name in _RECORDS:
            (place / name).unlink(missing_ok=True)
    # OUT/generation.json vouches for OUT/take-N too, and comes after them.
    for name in sorted(files, key=lambda name: (name.name in _RECORDS, -len(name.parts))):
        (place / name).parent.mkdir(parents=True, exist_ok=True)
        os.replace(staging / name, place / name)

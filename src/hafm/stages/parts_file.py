"""`parts.json`: what lies in a folder of parts.

In: a JSON object. Out: a frozen `PartsFile`, or an error that names what is wrong with it.

    {"format": 1,
     "features": {"vocal": {...}, "instrumental": {...}}, "codec": {"kind": ...},    see `hafm.stages.parts`
     "instrumental_rms": 0.1,                                                        level, or null
     "fingerprints": {"codec": "<sha256>", "features_vocal": "<sha256>", ...}}       by `PART_NAMES`
"""

import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, Self

from hafm.errors import BundleDamaged, BundleNotFound
from hafm.files import atomic_file
from hafm.stages.bundle_config import SIDES
from hafm.tokens.fingerprint import require_same

__all__ = ["PARTS_FILE", "PART_NAMES", "PartsFile", "require_same_parts"]

PARTS_FILE = "parts.json"
FORMAT = 1

PART_NAMES = ("features_vocal", "kmeans_vocal", "features_instrumental", "kmeans_instrumental", "codec")
"""Parts that decide ids, by the names that fingerprints have everywhere."""


@dataclass(frozen=True, kw_only=True)
class PartsFile:
    """The contents of `parts.json`.

    Args:
        features: description of each side's features.
        codec: description of the codec.
        instrumental_rms: active RMS that instrumentals are brought to; None leaves them.
        fingerprints: of all parts in the folder, by `PART_NAMES`.
    """

    features: Mapping[str, Mapping[str, Any]]
    codec: Mapping[str, Any]
    instrumental_rms: float | None
    fingerprints: Mapping[str, str]

    def write(self, folder: Path) -> None:
        """Writes the file, whole or not at all.

        Raises:
            OutputError: it cannot be written.
        """
        with atomic_file(folder / PARTS_FILE) as file:
            file.write((json.dumps({"format": FORMAT, **asdict(self)}, indent=2) + "\n").encode())

    @classmethod
    def read(cls, folder: str | os.PathLike[str]) -> Self:
        """What `write` wrote. No part is loaded.

        Raises:
            BundleNotFound: there is none.
            BundleDamaged: it is unreadable, of another format, or has other keys.
        """
        path = Path(folder) / PARTS_FILE
        try:
            values = json.loads(path.read_text(encoding="utf-8"))
            if not isinstance(values, dict) or values.pop("format", None) != FORMAT:
                raise ValueError(f"its format is not {FORMAT}")
            known = {each.name for each in fields(cls)}
            if set(values) != known or set(values["features"]) != set(SIDES):
                raise ValueError(f"its keys are not {', '.join(sorted(known))}, or it lacks a side")
        except FileNotFoundError as error:
            raise BundleNotFound(f"there are no parts in '{folder}' (it has no {PARTS_FILE})") from error
        except (OSError, ValueError, TypeError) as error:
            raise BundleDamaged(
                f"'{path}' does not describe parts ({error}); get or make the folder again"
            ) from error
        return cls(**values)


def require_same_parts(*, expected: Mapping[str, str], found: Mapping[str, str], what: str) -> None:
    """Refuses ids of other parts than those expected.

    Args:
        expected: fingerprints by name, such as those of a bundle's configuration.
        found: such as those of shards.
        what: what is compared, for the message.

    Raises:
        BundleMismatch: a part of `PART_NAMES` differs, or is missing on one side; both are named.

    >>> prints = {name: "ab" for name in PART_NAMES}
    >>> require_same_parts(expected={**prints, "semantic": "cd"}, found=prints, what="the shards")
    """
    for name in PART_NAMES:
        require_same(expected=str(expected.get(name)), found=str(found.get(name)), what=f"{what}: the {name}")

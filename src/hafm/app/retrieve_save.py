"""An accompaniment that was found, as files.

In: what was found, and the vocal. Out: three files in a folder.

    accompaniment.wav   mono, as long as the vocal and at its sample rate, at the level of the instrumental
    mix.wav             with the vocal, in the vocal's channels
    retrieval.json      vocal (by hash), index (by fingerprint), match, settings, versions, hashes of both

`retrieval.json` is what makes them again: the same index, vocal and options give the same match, and the same
versions on the same machine the same bytes. It is written last.
"""

import hashlib
import json
import platform
from dataclasses import asdict
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from hafm.app.retrieve_request import RetrieveRequest
from hafm.audio.io import write_audio
from hafm.audio.mixdown import BALANCE_DB, LOUDNESS_LUFS, mixdown
from hafm.audio.sound import Audio
from hafm.evaluate.retrieval.retrieve import Retrieved
from hafm.files import atomic_file
from hafm.version import __version__

__all__ = ["RECORD_FILE", "save_retrieved"]

RECORD_FILE = "retrieval.json"
_FORMAT = 1


def save_retrieved(
    found: Retrieved, vocal: Audio, folder: Path, *, request: RetrieveRequest, identity: dict[str, Any]
) -> tuple[dict[str, Path], dict[str, float | None]]:
    """Writes accompaniment, mix and record.

    Args:
        found: the accompaniment.
        vocal: what it accompanies.
        folder: made if missing.
        request: levels and format.
        identity: of the retriever.

    Returns:
        The files by what they hold, and the levels of the mix.

    Raises:
        OutputError: the disk is full, or there is no permission.
    """
    balance_db = BALANCE_DB if request.balance_db is None else request.balance_db
    loudness_lufs = LOUDNESS_LUFS if request.loudness_lufs is None else request.loudness_lufs
    waveform = found.waveform[None]
    mixed, mixed_levels = mixdown(
        vocal.waveform, waveform, vocal.sample_rate, balance_db=balance_db, loudness_lufs=loudness_lufs
    )
    levels: dict[str, float | None] = asdict(mixed_levels)
    folder.mkdir(parents=True, exist_ok=True)
    paths = {what: folder / f"{what}.{request.format}" for what in ("accompaniment", "mix")}
    for path, sound in zip(paths.values(), (waveform, mixed), strict=True):
        write_audio(path, sound, vocal.sample_rate, format=request.format)
    record = {
        "format": _FORMAT,
        "environment": _environment(),
        "retriever": identity,
        "input": {
            "path": vocal.path,
            "sha256": vocal.sha256,
            "start_seconds": vocal.start_seconds,
            "sample_rate_hz": vocal.sample_rate,
            "num_samples": vocal.num_samples,
            "num_channels": vocal.num_channels,
        },
        "exclude_songs": sorted(request.exclude_songs),
        "match": found.to_dict(),
        "output": {
            "format": request.format,
            "balance_db": balance_db,
            "loudness_lufs": loudness_lufs,
            "levels": levels,
            "files": {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in paths.values()},
        },
    }
    paths["record"] = folder / RECORD_FILE
    with atomic_file(paths["record"]) as file:
        file.write((json.dumps(record, indent=2) + "\n").encode())
    return paths, levels


def _environment() -> dict[str, str | None]:
    return {
        "hafm": __version__,
        **{name: _version(name) for name in ("torch", "numpy", "soxr", "python-stretch")},
        "python": platform.python_version(),
        "platform": f"{platform.system()} {platform.machine()}",
    }


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:  # not needed where nothing was transposed or stretched
        return None

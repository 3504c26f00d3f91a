"""The folder of an evaluation: what lies where, and how a sound or a score gets in and out.

    RUN/manifest.json                          the clips (`hafm.evaluate.testset`)
    RUN/sounds/vocal/ARM/CLIP.flac             what was sung, in each arm
    RUN/sounds/SYSTEM/system.json              what made the sounds of a system
    RUN/sounds/SYSTEM/HEARD/TAKE/CLIP.flac     an accompaniment
    RUN/sounds/SYSTEM/HEARD/sheets/CLIP.json   the lead sheet that its takes were made from, if any; of
                                               `truth`, the true one
    RUN/measures/...CLIP.json                  what it measures
    RUN/points/EMBEDDING/...CLIP.npy           embeddings, of stems and of mixes
    RUN/results.json                           all tables (`hafm.evaluate.run.results`), written last
    RUN/report.html, RUN/table.md              the same for people

HEARD is the arm for systems that use the vocal, and `both` for those that do not (the true instrumental, a
random one). TAKE counts from 0; systems that make one thing have take 0 alone. Sounds are mono FLAC of 24 bit
at the protocol's rate, exactly as long as their clip.

Every file appears whole or not at all, so whatever is there is done, and a stopped run goes on where it was.
A sound whose system has changed is refused: `system.json` says what made it.
"""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Self

import numpy as np
from jaxtyping import Float, Float32
from torch import Tensor

from hafm.audio.io import write_audio
from hafm.errors import OutputError, UsageError
from hafm.evaluate.run.results import ClipRow, Results
from hafm.evaluate.testset import TRUTH, Arm, Clip, Manifest
from hafm.files import atomic_file, write_whole
from hafm.guide.lead_sheet import LeadSheet
from hafm.guide.sheet_json import lead_sheet_from_json, lead_sheet_to_json

__all__ = [
    "BOTH_ARMS",
    "MANIFEST_FILE",
    "REPORT_FILE",
    "RESULTS_FILE",
    "TABLE_FILE",
    "RunFolder",
    "SoundKey",
    "takes_of",
    "true_sound",
]

MANIFEST_FILE = "manifest.json"
RESULTS_FILE = "results.json"
REPORT_FILE = "report.html"
TABLE_FILE = "table.md"

VOCAL = "vocal"
"""The name under which vocals lie; no system may be called so."""

BOTH_ARMS = "both"


@dataclass(frozen=True, kw_only=True)
class SoundKey:
    """One accompaniment, made for the vocals of an arm or of `BOTH_ARMS`; takes are counted from 0."""

    system: str
    heard: str
    take: int
    clip: str

    @classmethod
    def of(cls, row: ClipRow) -> Self:
        """The sound behind a row of the results."""
        return cls(system=row.source, heard=row.heard, take=row.take, clip=row.clip)


def takes_of(system: str, heard: str, clip: str, count: int) -> tuple[SoundKey, ...]:
    """The first `count` takes that a system made of a clip."""
    return tuple(SoundKey(system=system, heard=heard, take=take, clip=clip) for take in range(count))


def true_sound(clip: str) -> SoundKey:
    """The true instrumental of a clip."""
    return SoundKey(system=TRUTH, heard=BOTH_ARMS, take=0, clip=clip)


class RunFolder:
    """An evaluation on disk."""

    def __init__(self, path: Path) -> None:
        self.path = path

    @cached_property
    def manifest(self) -> Manifest:
        """The clips; UsageError where there is no manifest, or it cannot be used."""
        return Manifest.from_json(self.read(MANIFEST_FILE), where=f"'{self.path / MANIFEST_FILE}'")

    @cached_property
    def results(self) -> Results:
        """What was measured; UsageError where there are no results, or they cannot be used."""
        return Results.from_json(self.read(RESULTS_FILE), where=f"'{self.path / RESULTS_FILE}'")

    def read(self, name: str) -> str:
        """The text of a file of the run; UsageError where it cannot be read."""
        try:
            return (self.path / name).read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            reason = getattr(error, "strerror", None) or "not text"
            raise UsageError(
                f"'{self.path}' is not a finished evaluation ({name}: {reason}); make one with hafm evaluate"
            ) from error

    def kept(self, name: str) -> dict[str, Any]:
        """The JSON object in a file of the run; empty where there is none yet."""
        return json.loads(self.read(name)) if (self.path / name).is_file() else {}

    def write(self, name: str, text: str) -> Path:
        """Writes a text file of the run."""
        path = self.path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        write_whole(path, text)
        return path

    # ---- sounds

    def vocal_path(self, arm: Arm, clip: str) -> Path:
        """Where the vocal of a clip lies."""
        return self.path / "sounds" / VOCAL / arm / f"{clip}.flac"

    def sound_path(self, made: SoundKey) -> Path:
        """Where an accompaniment lies."""
        return self.path / "sounds" / made.system / made.heard / str(made.take) / f"{made.clip}.flac"

    def put(self, path: Path, waveform: Float[Tensor, " T"], sample_rate: int) -> None:
        """Writes a sound; one that exceeds full scale is scaled to it."""
        path.parent.mkdir(parents=True, exist_ok=True)
        peak = float(waveform.abs().max())
        write_audio(path, (waveform / peak if peak > 1 else waveform)[None], sample_rate, format="flac")

    def vocal(self, arm: Arm, clip: Clip) -> Float[Tensor, " T"]:
        """The vocal of a clip, in an arm; OutputError where the file is not as it was written."""
        return self._read(self.vocal_path(arm, clip.id), clip)

    def sound(self, made: SoundKey) -> Float[Tensor, " T"]:
        """An accompaniment; OutputError where the file is not as it was written."""
        return self._read(self.sound_path(made), self.manifest.clip(made.clip))

    def _read(self, path: Path, clip: Clip) -> Float[Tensor, " T"]:
        # Not through the gateway: it refuses silence, which is a system here; and the files are our own.
        import soundfile
        import torch

        try:
            samples, rate = soundfile.read(path, dtype="float32")
        except (OSError, soundfile.LibsndfileError) as error:
            raise OutputError(
                f"'{path}' cannot be read ({error}); delete it and run the same command"
            ) from error
        if samples.shape != (clip.num_samples,) or rate != self.manifest.protocol.sample_rate:
            raise OutputError(
                f"'{path}' holds {samples.shape} samples at {rate} Hz, and the clip has {clip.num_samples} "
                f"at {self.manifest.protocol.sample_rate} Hz; delete it and run the same command"
            )
        return torch.from_numpy(samples)

    # ---- lead sheets

    def put_sheet(self, made: SoundKey, sheet: LeadSheet) -> None:
        """Keeps the lead sheet that an accompaniment was made from."""
        self.write(str(self._sheet_path(made).relative_to(self.path)), lead_sheet_to_json(sheet))

    def sheet(self, made: SoundKey) -> LeadSheet | None:
        """The lead sheet that an accompaniment was made from; None without one."""
        path = self._sheet_path(made)
        if not path.is_file():
            return None
        return lead_sheet_from_json(path.read_text(encoding="utf-8"), where=f"'{path}'")

    def _sheet_path(self, made: SoundKey) -> Path:
        return self.path / "sounds" / made.system / made.heard / "sheets" / f"{made.clip}.json"

    # ---- who made them

    def claim(self, system: str, identity: Mapping[str, Any]) -> None:
        """Notes what a system is; UsageError where the sounds in the folder were made by something else."""
        if system == VOCAL:
            raise UsageError(f"a system cannot be called {VOCAL!r}; give it another name")
        path = self.path / "sounds" / system / "system.json"
        now = json.loads(json.dumps(identity))
        if not path.is_file():
            self.write(str(path.relative_to(self.path)), json.dumps(now, indent=1))
            return
        then = json.loads(path.read_text(encoding="utf-8"))
        if then != now:
            differs = sorted(key for key in {*then, *now} if then.get(key) != now.get(key))
            raise UsageError(
                f"the sounds of {system!r} in '{self.path}' were made with other {', '.join(differs)} "
                f"({', '.join(f'{key} {then.get(key)!r}, now {now.get(key)!r}' for key in differs[:2])}); "
                f"evaluate into a new folder, or delete '{path.parent}'"
            )

    # ---- scores

    def points(self, key: str, make: Callable[[], Float32[np.ndarray, "N D"]]) -> Float32[np.ndarray, "N D"]:
        """The embeddings that are kept under a key; where there are none yet, those that `make` gives."""
        path = self.path / "points" / f"{key}.npy"
        if path.is_file():
            kept: Float32[np.ndarray, "N D"] = np.load(path, allow_pickle=False)
            return kept
        points = make()
        path.parent.mkdir(parents=True, exist_ok=True)
        with atomic_file(path) as file:
            np.save(file, points, allow_pickle=False)
        return points

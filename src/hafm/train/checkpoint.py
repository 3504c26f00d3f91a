"""Checkpoints that survive a stop at any moment, and know when they were damaged.

In: tensors and facts. Out: a folder, whole or not there at all; and the newest one that is undamaged.

    RUN/checkpoints/00000500/state.safetensors     tensors, flat names
                            /manifest.json         facts, and the size and SHA-256 of the state; written last

A checkpoint is built in a hidden folder beside its place. The state is flushed to the disk, read back and
compared with what was to be written; then comes the manifest; then the folder takes its name, and the folder
around it is flushed. Readers see a whole one or none. The newest two stay, and the best one; an older one
goes only when the new one is verified.

The manifest is the only form in which its content can be written (sorted keys, one layout) and holds its own
SHA-256, so that any changed bit of it is found as well. Nothing is pickled.
"""

import contextlib
import errno
import hashlib
import json
import os
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import safetensors.torch
from safetensors import SafetensorError
from torch import Tensor

from hafm.errors import CheckpointDamaged, OutputError

__all__ = ["CHECKPOINTS_FOLDER", "Checkpoint", "Checkpoints"]

CHECKPOINTS_FOLDER = "checkpoints"
"""In the folder of a run."""

_STATE, _MANIFEST = "state.safetensors", "manifest.json"
_FORMAT = 1
_KEEP = 2
_MANIFEST_BYTES = 1 << 20  # more than any manifest takes


@dataclass(frozen=True, kw_only=True)
class Checkpoint:
    """What a checkpoint holds: after `step` batches, tensors by name, and facts as JSON values."""

    step: int
    tensors: Mapping[str, Tensor]
    facts: Mapping[str, Any]

    def below(self, prefix: str) -> dict[str, Tensor]:
        """The tensors whose names begin with a prefix, without it."""
        below = (item for item in self.tensors.items() if item[0].startswith(prefix))
        return {name.removeprefix(prefix): value for name, value in below}


class Checkpoints:
    """The checkpoints of one run.

    Args:
        run: folder of the run; need not exist.

    >>> import tempfile, torch
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     checkpoints = Checkpoints(Path(folder))
    ...     for step in (10, 20, 30):
    ...         _ = checkpoints.save(Checkpoint(step=step, tensors={"w": torch.ones(2)}, facts={}))
    ...     checkpoints.steps(), checkpoints.load_newest().step
    ([20, 30], 30)
    """

    def __init__(self, run: Path) -> None:
        self.folder = run / CHECKPOINTS_FOLDER

    def steps(self) -> list[int]:
        """Those that stand, damaged ones included, in order."""
        if not self.folder.is_dir():
            return []
        return sorted(int(path.name) for path in self.folder.iterdir() if path.name.isdecimal())

    def path(self, step: int) -> Path:
        """Where the checkpoint after `step` batches is."""
        return self.folder / f"{step:08d}"

    def save(self, checkpoint: Checkpoint, *, best: int | None = None) -> Path:
        """Writes one, verifies it, and deletes all but the newest two and the best.

        Args:
            checkpoint: of a newer step than all others, or the same once more.
            best: step of the one that is to stay whatever its age.

        Raises:
            OutputError: it cannot be written. The others are as they were.
        """
        for left in self.folder.glob(".*") if self.folder.is_dir() else ():  # half-written or half-replaced
            shutil.rmtree(left, ignore_errors=True)
        target = self.path(checkpoint.step)
        building = target.with_name(f".{target.name}.partial")
        data = safetensors.torch.save({name: t.contiguous() for name, t in checkpoint.tensors.items()})
        needed = len(data) + _MANIFEST_BYTES
        try:
            building.mkdir(parents=True)
            if shutil.disk_usage(self.folder).free < needed:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            _write(building / _STATE, data)
            digest = hashlib.sha256(data).hexdigest()
            del data
            if _sha256(building / _STATE) != digest:
                raise OSError(errno.EIO, "what was read back is not what was written")
            state = {"bytes": (building / _STATE).stat().st_size, "sha256": digest}
            facts = {
                "format": _FORMAT,
                "step": checkpoint.step,
                "state": state,
                "facts": {**checkpoint.facts},
            }
            _write(building / _MANIFEST, _render(facts))
            _flush(building)
            if target.exists():  # the same step saved once more
                _discard(target)
            os.replace(building, target)
            _flush(self.folder)
        except OSError as error:
            with contextlib.suppress(OSError):
                shutil.rmtree(building)
            raise self._explained(error, needed) from error
        # What is there of later steps was found damaged, or training would go on from there.
        older = [step for step in self.steps() if step <= checkpoint.step]
        for step in older[:-_KEEP]:
            if step != best:
                _discard(self.path(step))
        return target

    def load(self, step: int) -> Checkpoint:
        """The checkpoint of a step, verified; raises `CheckpointDamaged` if it is not what was written."""
        path = self.path(step)
        try:
            raw = (path / _MANIFEST).read_bytes()
            manifest = json.loads(raw)
            facts = {key: manifest[key] for key in ("format", "step", "state", "facts")}
            if raw != _render(facts):
                raise ValueError("the manifest was changed")
            if facts["format"] != _FORMAT or facts["step"] != step:
                raise ValueError(f"it is of format {facts['format']}, step {facts['step']}")
            data = (path / _STATE).read_bytes()
            if len(data) != facts["state"]["bytes"]:
                raise ValueError(f"{_STATE} has {len(data)} bytes, not {facts['state']['bytes']}")
            if hashlib.sha256(data).hexdigest() != facts["state"]["sha256"]:
                raise ValueError(f"the bytes of {_STATE} were changed")
            tensors = safetensors.torch.load(data)
        except (OSError, KeyError, TypeError, ValueError, RecursionError, SafetensorError) as error:
            raise CheckpointDamaged(f"the checkpoint '{path}' is damaged ({_reason(error)})") from error
        return Checkpoint(step=step, tensors=tensors, facts=facts["facts"])

    def load_newest(self, on_damage: Callable[[CheckpointDamaged], None] | None = None) -> Checkpoint | None:
        """The newest undamaged one; None if there are no checkpoints. `on_damage` hears of damaged ones.

        Raises:
            CheckpointDamaged: there are some, and all are damaged.
        """
        damaged: list[CheckpointDamaged] = []
        for step in reversed(self.steps()):
            try:
                return self.load(step)
            except CheckpointDamaged as error:
                damaged.append(error)
                if on_damage is not None:
                    on_damage(error)
        if damaged:
            raise CheckpointDamaged(
                f"all checkpoints in '{self.folder}' are damaged (the newest: {damaged[0]}); bring one back "
                "from a copy, or delete the folder to begin anew"
            )
        return None

    def _explained(self, error: OSError, needed: int) -> OutputError:
        what = f"cannot write a checkpoint to '{self.folder}': {error.strerror or error}; put that right"
        if error.errno == errno.EFBIG:
            what = (
                f"cannot write a checkpoint to '{self.folder}': {needed / 1e6:.1f} MB are needed, more than "
                "this process may write to one file (ulimit -f); raise that limit"
            )
        elif error.errno in (errno.ENOSPC, errno.EDQUOT):
            with contextlib.suppress(OSError):
                free = shutil.disk_usage(self.folder).free
                what = (
                    f"no room for a checkpoint in '{self.folder}': {needed / 1e6:.1f} MB are needed and "
                    f"{free / 1e6:.1f} MB are free; make room"
                )
        kept = ", ".join(str(step) for step in self.steps()) or "none yet"
        return OutputError(f"{what} and run the same command again (intact checkpoints: {kept})")


def _render(facts: Mapping[str, Any]) -> bytes:
    """The one way to write a manifest; its own hash is put in."""
    render = json.JSONEncoder(sort_keys=True, indent=1, allow_nan=False).encode
    own = hashlib.sha256(render(facts).encode()).hexdigest()
    return f"{render({**facts, 'own_sha256': own})}\n".encode()


def _write(path: Path, data: bytes) -> None:
    with path.open("xb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


def _discard(path: Path) -> None:
    """Takes a folder away in one step, so that a stop in between leaves no half of it under its name."""
    aside = path.with_name(f".{path.name}.old")
    os.replace(path, aside)
    shutil.rmtree(aside)


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _flush(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _reason(error: Exception) -> str:
    if isinstance(error, OSError):
        return f"{Path(error.filename or '').name}: {error.strerror}"
    return str(error) if str(error) else type(error).__name__

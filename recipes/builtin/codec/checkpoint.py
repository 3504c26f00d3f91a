"""Checkpoints of a training run: whole, verified, and at least two of them.

In:  tensors by name and a JSON object. Out: folders `step-00001000/` with `tensors.safetensors`,
`state.json` and `manifest.json`.

Conventions: a checkpoint is written into a folder beside its place and renamed to it, manifest (SHA-256 of
each file) last; readers believe only a folder whose manifest verifies. The oldest goes after the newest has
been read back. Nothing is pickled.
"""

import hashlib
import json
import os
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from torch import Tensor

from hafm.errors import BundleDamaged

__all__ = [
    "latest_checkpoint",
    "load_checkpoint",
    "optimiser_tensors",
    "restore_optimiser",
    "save_checkpoint",
]

KEPT = 2
TENSORS, STATE, MANIFEST = "tensors.safetensors", "state.json", "manifest.json"


def save_checkpoint(
    folder: Path, *, step: int, tensors: Mapping[str, Tensor], state: Mapping[str, Any]
) -> Path:
    """Write the checkpoint of `step`, read it back, and delete all but the newest two."""
    place = folder / f"step-{step:08d}"
    beside = folder / f"step-{step:08d}.partial"
    shutil.rmtree(beside, ignore_errors=True)
    beside.mkdir(parents=True)
    plain = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    contents = {
        TENSORS: safetensors.torch.save(plain),
        STATE: json.dumps({"step": step, **state}, indent=1).encode(),
    }
    manifest = {name: hashlib.sha256(content).hexdigest() for name, content in contents.items()}
    for name, content in (*contents.items(), (MANIFEST, json.dumps(manifest, indent=1).encode())):
        with (beside / name).open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
    shutil.rmtree(place, ignore_errors=True)
    os.replace(beside, place)
    _sync(folder)
    if not _verified(place):
        raise BundleDamaged(f"the checkpoint '{place}' does not read back as it was written; check the disk")
    for old in list(_checkpoints(folder))[KEPT:]:
        shutil.rmtree(old)
    return place


def latest_checkpoint(folder: Path) -> Path | None:
    """The newest checkpoint that verifies, or None."""
    return next((place for place in _checkpoints(folder) if _verified(place)), None)


def load_checkpoint(place: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Tensors and state of a verified checkpoint."""
    state = json.loads((place / STATE).read_text(encoding="utf-8"))
    return safetensors.torch.load_file(place / TENSORS), state


def optimiser_tensors(optimiser: torch.optim.Optimizer, prefix: str) -> dict[str, Tensor]:
    """The state of an optimiser whose state is tensors only (AdamW), by name."""
    return {
        f"{prefix}.{index}.{name}": tensor
        for index, values in optimiser.state_dict()["state"].items()
        for name, tensor in values.items()
    }


def restore_optimiser(optimiser: torch.optim.Optimizer, tensors: Mapping[str, Tensor], prefix: str) -> None:
    """Put back what `optimiser_tensors` took; learning rates are the schedule's business."""
    state: dict[int, dict[str, Tensor]] = {}
    for name, tensor in tensors.items():
        if name.startswith(f"{prefix}."):
            index, key = name.removeprefix(f"{prefix}.").split(".")
            state.setdefault(int(index), {})[key] = tensor
    optimiser.load_state_dict({"state": state, "param_groups": optimiser.state_dict()["param_groups"]})


def _checkpoints(folder: Path) -> Iterator[Path]:
    """Newest first."""
    whole = (place for place in folder.glob("step-*") if place.name.removeprefix("step-").isdigit())
    yield from sorted(whole, reverse=True)


def _verified(place: Path) -> bool:
    try:
        manifest = json.loads((place / MANIFEST).read_text(encoding="utf-8"))
        return set(manifest) == {TENSORS, STATE} and all(
            hashlib.sha256((place / name).read_bytes()).hexdigest() == digest
            for name, digest in manifest.items()
        )
    except (OSError, ValueError):
        return False


def _sync(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)

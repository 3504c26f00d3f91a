"""Checkpoints that survive a stop at any moment.

    run/checkpoints/000500/state.safetensors     model and optimisers, flat names
                          /manifest.json         step, settings, SHA-256 of the state; written last

A checkpoint is built in a hidden folder beside its place, flushed to the disk, then renamed: readers
see a whole one or none. The newest two stay. Nothing is pickled. Batches and guidance dropout are
pure functions of (seed, step), so there is no random state to keep.
"""

import hashlib
import json
import os
import shutil
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from hafm.errors import UsageError

_KEEP = 2


def save_checkpoint(
    run: Path,
    *,
    step: int,
    model: nn.Module,
    optimizers: list[torch.optim.Optimizer],
    settings: dict[str, Any],
) -> Path:
    """Writes the state after ``step`` steps and deletes all but the newest two."""
    folder = run / "checkpoints" / f"{step:06d}"
    building = folder.with_name(f".{folder.name}.partial")
    shutil.rmtree(building, ignore_errors=True)
    building.mkdir(parents=True)
    save_file(_flatten(model, optimizers), building / "state.safetensors")
    manifest = {"step": step, "settings": settings, "sha256": _sha256(building / "state.safetensors")}
    (building / "manifest.json").write_text(json.dumps(manifest, indent=2))
    for path in (*building.iterdir(), building):
        _flush(path)
    shutil.rmtree(folder, ignore_errors=True)
    os.replace(building, folder)
    _flush(folder.parent)
    for old in _checkpoints(run)[:-_KEEP]:
        shutil.rmtree(old)
    return folder


def load_latest(
    run: Path, *, model: nn.Module, optimizers: list[torch.optim.Optimizer], settings: dict[str, Any]
) -> int:
    """Restores the newest valid checkpoint in place.

    Returns:
        The number of steps done; 0 when there is no checkpoint.

    Raises:
        UsageError: it was made with other settings.
    """
    for folder in reversed(_checkpoints(run)):
        manifest = json.loads((folder / "manifest.json").read_text())
        if manifest["sha256"] != _sha256(folder / "state.safetensors"):
            continue
        if manifest["settings"] != settings:
            differing = sorted(
                key
                for key in {*settings, *manifest["settings"]}
                if settings.get(key) != manifest["settings"].get(key)
            )
            raise UsageError(
                f"{run} was trained with other settings ({', '.join(differing)}); use the same or another "
                "run folder."
            )
        _unflatten(load_file(folder / "state.safetensors"), model, optimizers)
        return int(manifest["step"])
    return 0


def _checkpoints(run: Path) -> list[Path]:
    folder = run / "checkpoints"
    return sorted(folder.glob("[0-9]*")) if folder.is_dir() else []


def _flatten(model: nn.Module, optimizers: list[torch.optim.Optimizer]) -> dict[str, Tensor]:
    flat = {f"model.{name}": tensor.contiguous() for name, tensor in model.state_dict().items()}
    for number, optimizer in enumerate(optimizers):
        for index, state in optimizer.state_dict()["state"].items():
            for key, value in state.items():
                flat[f"optimizer.{number}.{index}.{key}"] = torch.as_tensor(value).contiguous()
    return flat


def _unflatten(flat: dict[str, Tensor], model: nn.Module, optimizers: list[torch.optim.Optimizer]) -> None:
    model.load_state_dict(
        {name.removeprefix("model."): tensor for name, tensor in flat.items() if name.startswith("model.")}
    )
    for number, optimizer in enumerate(optimizers):
        state: dict[int, dict[str, Tensor]] = {}
        prefix = f"optimizer.{number}."
        for name, tensor in flat.items():
            if name.startswith(prefix):
                index, key = name.removeprefix(prefix).split(".")
                state.setdefault(int(index), {})[key] = tensor
        groups = optimizer.state_dict()["param_groups"]
        optimizer.load_state_dict({"state": state, "param_groups": groups})


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _flush(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)

"""The complete state of a run, and what must be the same for it to go on.

In: the moving parts of training. Out: a `Checkpoint`'s tensors and facts; and back, or a refusal.

    tensors   model.*  ema.*  optimizer.N.I.*  rng.RANK
    facts     run: recipe, data, world, software, device, precision      (compared when the run goes on)
              position: step, updates, skips, scaler, best, unreported    (taken over)

The rates are a function of `updates`, and batches one of `step`, so these two numbers are all that schedule
and data need. A run on other data, with another recipe, another number of ranks or other software is refused,
because it would not be the same run; each can be allowed by name. What is missing is an error, never a
default.

Batches, crops and dropouts are pure functions of (seed, step) and need no random state. Python's, NumPy's and
torch's global generators, and the GPU's, are kept all the same, as bytes: whatever a model or a hook draws, a
resumed run goes on as an unbroken one.
"""

import json
import random
from collections.abc import Collection, Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import Any

import numpy as np
import torch
from jaxtyping import UInt8
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor

from hafm.errors import UsageError
from hafm.stages.stage_model import StageModel
from hafm.train.checkpoint import Checkpoint
from hafm.train.distributed import Ranks
from hafm.train.optim import Ema
from hafm.train.recipe import FREE_FIELDS, Recipe
from hafm.train.update import Skips
from hafm.version import __version__

__all__ = ["ALLOWABLE", "Identity", "Position", "TrainState", "require_same_run", "seed_rng"]

ALLOWABLE = ("data", "recipe", "world", "software")
"""What may differ where it is asked for (`--allow NAME`)."""

_OPTIMIZER_KEYS = {"AdamW": {"step", "exp_avg", "exp_avg_sq"}, "Muon": {"momentum_buffer"}}


@dataclass(frozen=True, kw_only=True)
class Identity:
    """What makes two runs the same run.

    Args:
        data: fingerprint of the shards.
        software: versions, and the kind of device.
    """

    recipe: Mapping[str, Any]
    data: str
    world: int
    software: Mapping[str, str]

    @classmethod
    def of(cls, recipe: Recipe, *, data: str, ranks: Ranks, dtype: torch.dtype) -> "Identity":
        software = {
            "hafm": __version__,
            "torch": str(torch.__version__),
            "device": ranks.device.type,
            "precision": str(dtype).removeprefix("torch."),
        }
        return cls(recipe=recipe.to_dict(), data=data, world=ranks.world, software=software)


@dataclass(kw_only=True)
class Position:
    """How far a run is.

    Args:
        step: batches taken.
        updates: steps that were applied.
        best_step, best_loss: of the best evaluation; None before the first.
        unreported: sum and number of the losses since the last line of metrics.
    """

    step: int = 0
    updates: int = 0
    skips: Skips = field(default_factory=Skips)
    best_step: int | None = None
    best_loss: float | None = None
    unreported_sum: float = 0.0
    unreported: int = 0


@dataclass(kw_only=True)
class TrainState:
    """Everything that training changes. The model is unwrapped; only float16 has a scaler."""

    model: StageModel
    optimizers: list[torch.optim.Optimizer]
    scaler: torch.amp.GradScaler | None
    ema: Ema | None
    position: Position

    def capture(self, identity: Identity, ranks: Ranks) -> Checkpoint:
        """The state as a checkpoint. All ranks call this; each has its random states in it."""
        tensors = {f"model.{name}": value for name, value in self.model.state_dict().items()}
        for number, optimizer in enumerate(self.optimizers):
            for index, state in optimizer.state_dict()["state"].items():
                for key, value in state.items():
                    tensors[f"optimizer.{number}.{index}.{key}"] = torch.as_tensor(value)
        if self.ema is not None:
            tensors.update({f"ema.{name}": value for name, value in self.ema.weights.items()})
        for rank, data in enumerate(ranks.gather(capture_rng(ranks.device))):
            tensors[f"rng.{rank}"] = data
        facts = {
            "run": asdict(identity),
            "position": asdict(self.position),
            "scaler": None if self.scaler is None else self.scaler.state_dict(),
            "ema_updates": None if self.ema is None else self.ema.updates,
        }
        cpu = {name: value.detach().cpu() for name, value in tensors.items()}
        return Checkpoint(step=self.position.step, tensors=cpu, facts=facts)

    def restore(self, checkpoint: Checkpoint, ranks: Ranks) -> None:
        """Takes a checkpoint over, in place; a `UsageError` if something is missing or too much.

        A rank that the checkpoint does not know (the world grew, which was allowed) keeps its own random
        states.
        """
        facts = checkpoint.facts
        try:
            # In place: whoever watches the run holds the same object.
            _fill(self.position.skips, facts["position"]["skips"])
            _fill(self.position, {**facts["position"], "skips": self.position.skips})
            scaler, ema_updates = facts["scaler"], facts["ema_updates"]
            self._require_complete(checkpoint.tensors)
            self.model.load_state_dict(checkpoint.below("model."))
            for number, optimizer in enumerate(self.optimizers):
                _load_optimizer(optimizer, checkpoint.below(f"optimizer.{number}."))
            if (scaler is None) != (self.scaler is None) or (ema_updates is None) != (self.ema is None):
                raise KeyError("the gradient scaling or the moving average")
            if self.scaler is not None:
                self.scaler.load_state_dict(scaler)
            if self.ema is not None:
                self.ema.load(checkpoint.below("ema."), updates=ema_updates)
            if (rng := checkpoint.tensors.get(f"rng.{ranks.rank}")) is not None:
                restore_rng(rng, ranks.device)
        except (KeyError, TypeError, ValueError, RuntimeError) as error:
            raise UsageError(
                f"the checkpoint after step {checkpoint.step} does not fit this run ({error}); it was made "
                "by another version of hafm or another recipe"
            ) from error

    def _require_complete(self, tensors: Mapping[str, Tensor]) -> None:
        expected = {f"model.{name}" for name in self.model.state_dict()}
        if self.ema is not None:
            expected |= {f"ema.{name}" for name in self.ema.weights}
        if self.position.updates:
            for number, optimizer in enumerate(self.optimizers):
                keys = _OPTIMIZER_KEYS[type(optimizer).__name__]
                count = sum(len(group["params"]) for group in optimizer.param_groups)
                expected |= {f"optimizer.{number}.{i}.{key}" for i in range(count) for key in keys}
        found = {name for name in tensors if not name.startswith("rng.")}
        if found != expected or "rng.0" not in tensors:
            differing = sorted(found ^ expected) or ["rng.0"]
            raise KeyError(f"{len(differing)} fields, such as {differing[0]}")


def require_same_run(
    saved: Mapping[str, Any], identity: Identity, *, allow: Collection[str], where: str
) -> list[str]:
    """Refuses to go on with a run that would not be the same.

    Args:
        saved: `facts["run"]` of the checkpoint.
        identity: of the run as it is to go on.
        allow: names of `ALLOWABLE` in which it may differ.

    Returns:
        What differs and was allowed, one line each.

    Raises:
        UsageError: something differs that was not allowed; it is named with both values.
    """
    now = asdict(identity)
    if set(saved) != set(now):
        raise UsageError(f"'{where}' was made by another version of hafm; use that, or another run folder")
    then, wanted = saved["recipe"]["spec"], now["recipe"]["spec"]
    if then["name"] != wanted["name"]:
        raise UsageError(
            f"'{where}' holds a run of the {then['name']} stage, and this is {wanted['name']}; use another "
            "run folder"
        )
    allowed = []
    for name, values in now.items():
        differing = _differences(saved[name], values, FREE_FIELDS if name == "recipe" else frozenset())
        if not differing:
            continue
        what = f"{name}: " + ", ".join(differing)
        if differing and all(line.startswith(("spec.sources", "spec.target.")) for line in differing):
            raise UsageError(
                f"'{where}' was begun on shards whose tokens have other ids than these; use those, or "
                "another run folder"
            )
        if any(line.startswith("spec.") for line in differing) and name == "recipe":
            raise UsageError(f"'{where}' holds another stage ({what}); use another run folder")
        if name not in allow:
            raise UsageError(
                f"'{where}' was begun otherwise ({what}); use another run folder, give what it was begun "
                f"with, or go on all the same with --allow {name}"
            )
        allowed.append(what)
    return allowed


def _differences(saved: Any, now: Any, free: frozenset[str], name: str = "") -> list[str]:
    """Fields that differ, as `name was A, is B`."""
    if isinstance(saved, Mapping) and isinstance(now, Mapping):
        out = []
        for key in sorted({*saved, *now} - free):
            inner = f"{name}.{key}" if name else key
            out += _differences(saved.get(key), now.get(key), frozenset(), inner)
        return out
    if saved == now or (isinstance(now, tuple | list) and list(saved or ()) == list(now)):
        return []
    return [f"{name} was {saved}, is {now}".lstrip()]


def _fill(target: Position | Skips, values: Mapping[str, Any]) -> None:
    names = {field.name for field in fields(target)}
    if names != set(values):
        raise KeyError(", ".join(sorted(names ^ set(values))))
    for name, value in values.items():
        setattr(target, name, value)


def _load_optimizer(optimizer: torch.optim.Optimizer, tensors: Mapping[str, Tensor]) -> None:
    state: dict[int, dict[str, Tensor]] = {}
    for name, value in tensors.items():
        index, key = name.split(".")
        # A copy of its own: vectorised arithmetic may differ in the last bit on memory that is aligned
        # otherwise.
        state.setdefault(int(index), {})[key] = value.clone()
    optimizer.load_state_dict({"state": state, "param_groups": optimizer.state_dict()["param_groups"]})


def capture_rng(device: torch.device) -> UInt8[Tensor, " N"]:
    """The states, as bytes.

    >>> cpu = torch.device("cpu")
    >>> before = capture_rng(cpu)
    >>> drawn = random.random(), np.random.random(), torch.rand(()).item()
    >>> restore_rng(before, cpu)
    >>> drawn == (random.random(), np.random.random(), torch.rand(()).item())
    True
    """
    name, keys, position, has_gauss, gauss = np.random.get_state()
    states = {
        "python": _text(random.getstate()),
        "numpy": _text([name, np.asarray(keys).tolist(), position, has_gauss, gauss]),
        "torch": torch.get_rng_state(),
    }
    if device.type == "cuda":
        states["cuda"] = torch.cuda.get_rng_state(device)
    return torch.frombuffer(bytearray(save(states)), dtype=torch.uint8)


def restore_rng(data: UInt8[Tensor, " N"], device: torch.device) -> None:
    """Sets all generators to what `capture_rng` saw; a `ValueError` for any other bytes."""
    try:
        states = load(data.numpy().tobytes())
        version, internal, gauss_next = json.loads(states["python"].numpy().tobytes())
        name, keys, position, has_gauss, gauss = json.loads(states["numpy"].numpy().tobytes())
        torch_state = states["torch"]
        cuda_state = states["cuda"] if device.type == "cuda" else None
    except (SafetensorError, KeyError, ValueError) as error:
        raise ValueError(f"these bytes hold no random states: {error}") from error
    random.setstate((version, tuple(internal), gauss_next))
    np.random.set_state((name, np.array(keys, dtype=np.uint32), position, has_gauss, gauss))
    torch.set_rng_state(torch_state)
    if cuda_state is not None:
        torch.cuda.set_rng_state(cuda_state, device)


def seed_rng(seed: int, rank: int) -> None:
    """Starts all generators of a rank; another rank starts elsewhere."""
    random.seed(f"{seed} {rank}")
    np.random.seed((seed + 7919 * rank) % 2**32)
    torch.manual_seed((seed << 16) + rank)  # of the GPUs as well


def _text(value: object) -> UInt8[Tensor, " N"]:
    return torch.frombuffer(bytearray(json.dumps(value).encode()), dtype=torch.uint8)

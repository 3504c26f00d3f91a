"""Published models: the folder that holds one, and its tensors, taken whole or refused.

In:  a folder on this machine, or a hub id with a commit. Out: paths, and a network with the file's weights.

Conventions:

* *Pinned*: a hub id needs a commit of 40 hex digits, since a branch may move. A folder has no revision; what
  lies in it is covered by the fingerprint. Only the files that are asked for are fetched.
* *Named*: `label` is part of an embedding's name: the folder's name, or the hub id with eight digits of the
  commit.
* *Whole*: tensors that are missing, left over, of another shape or not finite are all named in one error.
* *No code*: safetensors, or a torch state dict through `weights_only`.
"""

import json
import os
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from hafm.errors import UsageError
from hafm.tokens.pinned import load_pinned

__all__ = ["DESCRIPTIONS", "PublishedModel", "find_published", "read_json", "read_tensors", "take_whole"]

DESCRIPTIONS = ("config.json", "preprocessor_config.json")
"""What a folder holds beside the weights."""

_HUB_ID = re.compile(r"[\w][\w.-]*/[\w][\w.-]*", re.ASCII)


@dataclass(frozen=True, kw_only=True)
class PublishedModel:
    """Where a published model and the file of its tensors lie, and its label for tables."""

    folder: Path
    weights: Path
    label: str


def find_published(
    source: str | os.PathLike[str], *, revision: str | None, weights: Sequence[str]
) -> PublishedModel:
    """The folder of a model, fetched from the hub where a revision is given.

    Args:
        source: a folder without a revision, or owner/name with one.
        weights: names that the file of tensors may have; the first that is there is taken.

    Raises:
        UsageError: neither a folder nor a pinned hub id, or a file is missing.
        BundleNotFound: neither the cache nor the hub has it.

    >>> find_published("laion/larger_clap_music", revision=None, weights=("model.safetensors",))
    Traceback (most recent call last):
    hafm.errors.UsageError: there is no folder 'laion/larger_clap_music', and a hub id needs a commit: ...
    """
    name = os.fspath(source)
    folder, label = Path(name), Path(name).resolve().name
    if revision is None and not folder.is_dir():
        raise UsageError(
            f"there is no folder '{name}', and a hub id needs a commit: give a folder, or owner/name@COMMIT "
            "with 40 hex digits"
        )
    if revision is not None:
        folder, label = _fetched(name, revision, (*DESCRIPTIONS, *weights)), f"{name}@{revision[:8]}"
    present = [file for file in weights if (folder / file).is_file()]
    missing = [file for file in DESCRIPTIONS if not (folder / file).is_file()]
    if not present:
        missing.append(" or ".join(weights))
    if missing:
        raise UsageError(
            f"'{folder}' lacks {', '.join(missing)}; give a folder with them, as transformers' "
            "save_pretrained writes it"
        )
    return PublishedModel(folder=folder, weights=folder / present[0], label=label)


def read_json(path: Path) -> Mapping[str, Any]:
    """A JSON object; UsageError where the file holds none."""
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise UsageError(f"'{path}' cannot be read as JSON ({_reason(error)}); fetch it again") from error
    if not isinstance(values, dict):
        raise UsageError(f"'{path}' holds no JSON object; fetch it again")
    return values


def read_tensors(path: Path, *, fix: str = "fetch it again") -> Mapping[str, Tensor]:
    """Tensors by name, from a `.safetensors` file, or from a torch state dict under any other ending.

    Raises:
        UsageError: the file cannot be read, or holds anything else; the message ends with `fix`.
    """
    try:
        if path.suffix == ".safetensors":
            from safetensors.torch import load_file

            loaded: object = load_file(path)
        else:
            loaded = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # one class for each way in which a file can be broken, some of them pickle's
        raise UsageError(f"'{path}' cannot be read as weights ({_reason(error)}); {fix}") from error
    if not isinstance(loaded, Mapping) or not all(isinstance(tensor, Tensor) for tensor in loaded.values()):
        raise UsageError(f"'{path}' holds other things than tensors by name; {fix}")
    return loaded


def take_whole(
    network: nn.Module,
    tensors: Mapping[str, Tensor],
    *,
    what: str,
    fix: str = "fetch it again",
    named: Callable[[str], str] = str,
) -> None:
    """Gives a network its weights, in float32.

    Args:
        network: may be on the meta device; afterwards its tensors are those of the file.
        what: what messages call the file and the model, as in "'w.pth' is not a MERT".
        named: what the file calls a tensor of the network.

    Raises:
        UsageError: a tensor is missing, left over, of another shape or kind, or not finite.

    >>> take_whole(nn.Linear(2, 1), {"weight": torch.ones(1, 3)}, what="w.pth is not a line")
    Traceback (most recent call last):
    hafm.errors.UsageError: w.pth is not a line: bias is missing, weight is [1, 3] and should be [1, 2]; ...
    """
    wanted = network.state_dict()
    faults = [f"{named(key)} is missing" for key in wanted if key not in tensors]
    faults += [f"{named(key)} does not belong to it" for key in tensors if key not in wanted]
    faults += [
        f"{named(key)} {fault}"
        for key in wanted
        if key in tensors and (fault := _fault(tensors[key], wanted[key])) is not None
    ]
    if faults:
        more = f" and {len(faults) - 8} more" if len(faults) > 8 else ""
        raise UsageError(f"{what}: {', '.join(faults[:8])}{more}; {fix}")
    float32 = {key: value.float() if value.is_floating_point() else value for key, value in tensors.items()}
    network.load_state_dict(float32, strict=True, assign=True)
    rest = [
        name for name, tensor in (*network.named_parameters(), *network.named_buffers()) if tensor.is_meta
    ]
    assert not rest, rest  # a buffer outside the state dict would have to be computed
    network.requires_grad_(False)


def _fetched(repo: str, revision: str, patterns: Sequence[str]) -> Path:
    if Path(repo).exists():
        raise UsageError(
            f"'{repo}' is a folder here, and folders have no revisions; leave out @{revision}, or ask for "
            "the hub's from another working directory"
        )
    if not _HUB_ID.fullmatch(repo):
        raise UsageError(f"'{repo}' is not a hub id; write it as owner/name, such as laion/larger_clap_music")

    def load() -> Path:
        from huggingface_hub import snapshot_download

        return Path(snapshot_download(repo, revision=revision, allow_patterns=list(patterns)))

    return load_pinned(load, repo=repo, revision=revision)


def _fault(tensor: Tensor, wanted: Tensor) -> str | None:
    if tensor.shape != wanted.shape:
        return f"is {list(tensor.shape)} and should be {list(wanted.shape)}"
    if tensor.is_floating_point() != wanted.is_floating_point():
        return f"is {tensor.dtype} and should be {wanted.dtype}"
    if tensor.is_floating_point() and not bool(tensor.isfinite().all()):
        return "holds NaN or infinity"
    return None


def _reason(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]

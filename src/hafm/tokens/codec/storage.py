"""A codec on disk: a folder with `config.json` and `weights.safetensors`.

Conventions: weights are stored as float16 and used as float32. `save` first rounds the codec it is given,
so that the codec in memory, the file, and every codec loaded from it have the same codes and the same
fingerprint. `config.json` holds the fingerprint; a folder whose weights do not match it is refused (one
flipped bit in a safetensors file loads silently). Each file appears whole or not at all, the config last.
"""

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import safetensors.torch
import torch
from safetensors import SafetensorError

from hafm.errors import BundleDamaged, BundleNotFound
from hafm.tokens.codec.config import CodecConfig

if TYPE_CHECKING:
    from hafm.tokens.codec.model import SpectralCodec

__all__ = ["holds_codec", "load", "save"]

CONFIG_FILE, WEIGHTS_FILE = "config.json", "weights.safetensors"
KIND = "hafm.tokens.codec.SpectralCodec"


def save(codec: "SpectralCodec", folder: Path) -> None:
    """Round the codec's weights to float16, in place, and write it to `folder`, replacing what was there.

    Raises:
        ValueError: a weight is not finite as float16.
    """
    codec.round_weights()
    weights = {name: tensor.detach().cpu().half().contiguous() for name, tensor in codec.state_dict().items()}
    broken = sorted(name for name, tensor in weights.items() if not bool(torch.isfinite(tensor).all()))
    if broken:
        raise ValueError(
            f"cannot save the codec: {broken} hold values that float16 cannot; has training diverged?"
        )
    folder.mkdir(parents=True, exist_ok=True)
    described = {"kind": KIND, "fingerprint": codec.fingerprint(), **codec.config.to_json()}
    _replace(folder / WEIGHTS_FILE, safetensors.torch.save(weights))
    _replace(folder / CONFIG_FILE, (json.dumps(described, indent=2) + "\n").encode())


def holds_codec(folder: Path) -> bool:
    """Whether `save` wrote this folder, as far as its `config.json` tells."""
    try:
        return _read_config(folder / CONFIG_FILE)["fingerprint"] is not None
    except BundleDamaged:
        return False


def load(folder: Path) -> "SpectralCodec":
    """The codec that `save` wrote, in float32 on the CPU.

    Raises:
        BundleNotFound: there is no codec in the folder.
        BundleDamaged: a file is unreadable, or the weights are not those of the fingerprint.
    """
    from hafm.tokens.codec.model import SpectralCodec

    if not (folder / CONFIG_FILE).is_file():
        raise BundleNotFound(f"no codec in '{folder}': it has no {CONFIG_FILE}")
    described = _read_config(folder / CONFIG_FILE)
    codec = SpectralCodec(config=CodecConfig.from_json(described["config"]))
    try:
        weights = safetensors.torch.load_file(folder / WEIGHTS_FILE)
        codec.load_state_dict({name: tensor.float() for name, tensor in weights.items()}, strict=True)
    except (OSError, SafetensorError, RuntimeError) as error:
        raise BundleDamaged(
            f"'{folder / WEIGHTS_FILE}' cannot be used: {error}; get the bundle again"
        ) from error
    found = codec.fingerprint()
    if found != described["fingerprint"]:
        raise BundleDamaged(
            f"the codec in '{folder}' has fingerprint {found[:12]}, its {CONFIG_FILE} says "
            f"{str(described['fingerprint'])[:12]}: a file was changed; get the bundle again"
        )
    return codec.eval().requires_grad_(False)


def _read_config(path: Path) -> dict[str, Any]:
    """`{"fingerprint": ..., "config": {...}}` of a `config.json`."""
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
        kind, fingerprint = values.pop("kind"), values.pop("fingerprint")
    except (OSError, ValueError, KeyError, AttributeError, TypeError) as error:
        raise BundleDamaged(
            f"'{path}' is not a codec's configuration ({error!r}); get the bundle again"
        ) from error
    if kind != KIND:
        raise BundleDamaged(f"'{path}' describes a {kind!r}, not a {KIND}")
    return {"fingerprint": fingerprint, "config": values}


def _replace(path: Path, content: bytes) -> None:
    """Write beside the target, flush to disk, and rename over it."""
    beside = path.with_name(path.name + ".partial")
    with beside.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    os.replace(beside, path)

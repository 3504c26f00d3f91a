"""Codecs on disk: a folder with `config.json` and, where the codec is ours, `weights.safetensors`.

Conventions: weights are stored as float16 and used as float32. `config.json` holds the fingerprint; a folder
whose weights do not match it is refused (one flipped bit in a safetensors file loads silently). Each file
appears whole or not at all, the config last.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from safetensors import SafetensorError
from torch import Tensor

from hafm.errors import BundleDamaged, BundleNotFound
from hafm.files import write_json, write_whole
from hafm.jsonfile import JsonFile
from hafm.tokens.codec.config import CodecConfig

__all__ = ["CONFIG_FILE", "holds_codec", "read_codec", "read_config", "write_codec"]

CONFIG_FILE, WEIGHTS_FILE = "config.json", "weights.safetensors"
KIND = "hafm.tokens.codec.SpectralCodec"
_CONFIG = JsonFile(what="a codec's configuration", fix="get the bundle again", error=BundleDamaged)


def write_codec(folder: Path, config: CodecConfig, weights: Mapping[str, Tensor], fingerprint: str) -> None:
    """Writes a built-in codec to `folder`, replacing what was there.

    Args:
        folder: made if it is not there.
        config: of the codec.
        weights: of the codec, as float16 holds them.
        fingerprint: of both.

    Raises:
        ValueError: a weight is not finite as float16.
        OutputError: a file cannot be written.
    """
    halves = {name: tensor.detach().cpu().half().contiguous() for name, tensor in weights.items()}
    broken = sorted(name for name, tensor in halves.items() if not bool(torch.isfinite(tensor).all()))
    if broken:
        raise ValueError(
            f"cannot save the codec: {broken} hold values that float16 cannot; has training diverged?"
        )
    folder.mkdir(parents=True, exist_ok=True)
    write_whole(folder / WEIGHTS_FILE, safetensors.torch.save(halves))
    write_json(folder / CONFIG_FILE, {"kind": KIND, "fingerprint": fingerprint, **config.to_json()})


def read_codec(folder: Path) -> tuple[CodecConfig, dict[str, Tensor], str]:
    """What `write_codec` wrote: configuration, weights in float32 on the CPU, and fingerprint.

    Raises:
        BundleNotFound: there is no codec in the folder.
        BundleDamaged: a file is unreadable.
    """
    if not (folder / CONFIG_FILE).is_file():
        raise BundleNotFound(f"no codec in '{folder}': it has no {CONFIG_FILE}")
    values = read_config(folder)
    if (kind := values.pop("kind", None)) != KIND:
        raise BundleDamaged(f"'{folder / CONFIG_FILE}' describes a {kind!r}, not a {KIND}")
    fingerprint = str(values.pop("fingerprint"))
    try:
        halves = safetensors.torch.load_file(folder / WEIGHTS_FILE)
    except (OSError, SafetensorError) as error:
        raise BundleDamaged(
            f"'{folder / WEIGHTS_FILE}' cannot be used: {error}; get the bundle again"
        ) from error
    return CodecConfig.from_json(values), {name: half.float() for name, half in halves.items()}, fingerprint


def holds_codec(folder: Path) -> bool:
    """Whether `write_codec` wrote this folder, as far as its `config.json` says."""
    try:
        return read_config(folder).get("kind") == KIND
    except BundleDamaged:
        return False


def read_config(folder: Path) -> dict[str, Any]:
    """The `config.json` of a codec, of any kind; it has a `fingerprint`.

    Raises:
        BundleDamaged: missing or unreadable.
    """
    path = folder / CONFIG_FILE
    try:
        values = _CONFIG.values(path.read_bytes(), where=f"'{path}'")
    except OSError as error:
        raise _CONFIG.refused(f"'{path}'", error.strerror or str(error)) from error
    if "fingerprint" not in values:
        raise _CONFIG.refused(f"'{path}'", "it has no fingerprint")
    return values

"""An embedding by its name, as it is given on a command line.

In:  a name and a device. Out: an `Embedding`.

    builtin             needs no weights; `embeddings.builtin`
    vggish:FILE         the one that FAD was published with; `embeddings.vggish`
    vggish-relu:FILE    the same with a ReLU behind it
    clap:MODEL          LAION's CLAP; `embeddings.clap`
    mert:MODEL          the last layer of MERT; `embeddings.mert`

MODEL is a folder, or a hub id with a commit: `clap:laion/larger_clap_music@` and 40 hex digits. Distances of
different embeddings are different quantities, so the embedding's own `name`, which says which weights, is
given with each of them.
"""

import difflib
from collections.abc import Callable
from pathlib import Path
from types import MappingProxyType
from typing import TypeAlias

import torch

from hafm.device import find_device
from hafm.errors import UsageError
from hafm.evaluate.embeddings.base import Embedding
from hafm.evaluate.embeddings.builtin import MelModulation
from hafm.evaluate.embeddings.clap import load_clap
from hafm.evaluate.embeddings.mert import load_mert
from hafm.evaluate.embeddings.vggish import load_vggish

__all__ = ["KINDS", "open_embedding"]


Load: TypeAlias = Callable[[str, torch.device], Embedding]

_FOLDER = "FOLDER or owner/name@COMMIT"

KINDS: MappingProxyType[str, tuple[str, Load]] = MappingProxyType(
    {
        "vggish": ("FILE", lambda place, device: load_vggish(place, device=device)),
        "vggish-relu": ("FILE", lambda place, device: load_vggish(place, relu=True, device=device)),
        "clap": (_FOLDER, lambda place, device: _pinned(load_clap, place, device)),
        "mert": (_FOLDER, lambda place, device: _pinned(load_mert, place, device)),
    }
)
"""What follows the colon of each kind, and what opens it. Besides them there is `builtin`."""

_WAYS = "there are builtin, " + ", ".join(f"{kind}:{place}" for kind, (place, _) in KINDS.items())


def open_embedding(name: str, *, device: torch.device | str = "cpu") -> Embedding:
    """The embedding of that name, on a device; the built-in one is always on the CPU.

    Raises:
        UsageError: the name is unknown, lacks its weights, or they cannot be used.
        BundleNotFound: a pinned hub id that neither the cache nor the hub has.
        DeviceError: the device is not there.

    >>> open_embedding("builtin").name
    'hafm-mel-modulation'
    >>> open_embedding("vgish:weights.pth")
    Traceback (most recent call last):
    hafm.errors.UsageError: there is no embedding 'vgish'; did you mean 'vggish'? there are builtin, ...
    """
    where = find_device(device)
    kind, _, place = name.partition(":")
    if name == "builtin":
        return MelModulation()
    if kind == "builtin":
        raise UsageError(f"the built-in embedding has no weights; leave out ':{place}'")
    if kind not in KINDS:
        near = difflib.get_close_matches(kind, ["builtin", *KINDS], n=1)
        hint = f"did you mean {near[0]!r}? " if near else ""
        raise UsageError(f"there is no embedding {kind!r}; {hint}{_WAYS}")
    what, load = KINDS[kind]
    if not place:
        raise UsageError(f"the embedding {kind} needs weights: give {kind}:{what}")
    return load(place, where)


def _pinned(load: Callable[..., Embedding], place: str, device: torch.device) -> Embedding:
    source, revision = _source(place)
    return load(source, revision=revision, device=device)


def _source(place: str) -> tuple[str, str | None]:
    """A folder or hub id, and the revision where one is given.

    >>> _source("laion/larger_clap_music@0123abc"), _source("clap/music")
    (('laion/larger_clap_music', '0123abc'), ('clap/music', None))
    """
    source, at, revision = place.rpartition("@")
    return (source, revision) if at and not Path(place).is_dir() else (place, None)

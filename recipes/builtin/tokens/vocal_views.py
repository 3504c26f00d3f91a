"""The vocal of a pair as the built-in model hears it: augmented, levelled, noisy; another way each view.

In:  a clean rendered vocal and its instrumental. Out: what the semantic features are taken from.

A *view* is one random draw of everything that sets a real recording apart from a render (see `augment`), with
the noise of section 3.2 on top. Several views of a vocal share its instrumental, so the stages learn that the
accompaniment does not depend on the microphone. View v of a pair is a pure function of (seed, pair id, v).
"""

from __future__ import annotations

import hashlib

import numpy as np
import torch
from jaxtyping import Float
from numpy.typing import NDArray
from torch import Tensor

from hafm.tokens.vocal_noise import prepare_vocal
from recipes.builtin.rendering.augment import augment

__all__ = ["vocal_view"]


def vocal_view(
    vocal: NDArray[np.float32],
    instrumental: NDArray[np.float32],
    *,
    sample_rate: int,
    pair_id: str,
    view: int,
    seed: int,
    augmented: bool,
) -> Float[Tensor, "1 T"]:
    """One view of a vocal.

    Args:
        vocal: as rendered. Shape [T].
        instrumental: the same length; some views hear it bleed into the vocal.
        sample_rate: of both, in hertz.
        pair_id: of the pair.
        view: number of the view.
        seed: of the whole run.
        augmented: False gives the clean vocal with the noise of section 3.2 only.

    Returns:
        The view at a fixed level. Shape [1, T].
    """
    # hash() of a string differs from process to process; SHA-256 does not.
    digest = hashlib.sha256(f"{seed} {pair_id} {view}".encode()).digest()
    draws = np.random.default_rng(int.from_bytes(digest[:16], "little"))
    noise = torch.Generator().manual_seed(int.from_bytes(digest[16:23], "little"))
    if augmented:
        vocal = augment(vocal, instrumental, draws)
    return prepare_vocal(torch.from_numpy(vocal)[None], sample_rate=sample_rate, generator=noise)

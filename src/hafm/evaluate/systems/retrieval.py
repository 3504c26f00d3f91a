"""Retrieval as a system: what can be had from the training songs without a model.

In: clips. Out: for each the instrumental that fits best, transposed and stretched to it
(`hafm.evaluate.retrieval`). The index holds training songs; a song of the clip's own name is passed over
besides.
"""

from collections.abc import Sequence
from typing import Any

from jaxtyping import Float
from torch import Tensor

from hafm.evaluate.retrieval.retrieve import Retriever
from hafm.evaluate.systems.base import ClipSound, Kind, OnShare

__all__ = ["Retrieval"]


class Retrieval:
    """Finds, transposes and stretches.

    Args:
        retriever: over an index of training songs.
    """

    name = "retrieval"
    title = "retrieval from the training songs"
    kind: Kind = "baseline"
    hears_vocal = True
    takes = 1
    batch_clips = 4

    def __init__(self, *, retriever: Retriever) -> None:
        self._retriever = retriever

    def identity(self) -> dict[str, Any]:
        """The index and what may be done to what it finds."""
        return self._retriever.identity()

    def play(
        self, clips: Sequence[ClipSound], *, sample_rate: int, on_share: OnShare
    ) -> list[list[Float[Tensor, " T"]]]:
        """See `System`."""
        made = []
        for number, each in enumerate(clips):
            found = self._retriever.retrieve(each.vocal, sample_rate, exclude_songs=(each.clip.song,))
            made.append([found.waveform])
            on_share((number + 1) / len(clips))
        return made

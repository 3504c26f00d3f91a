"""Which chord usually follows which, relative to the key.

In: scores. Out: log-probabilities `[2, 25, 25]` (major and minor keys; chord before; chord after), as
`hafm.guide.chords` wants them. Counted over half bars (bars that are not of four beats or six: whole ones) of
the training songs; what never follows gets a share by how common it is.
"""

import numpy as np
import torch
from torch import Tensor

from hafm.guide.chords import state_of
from hafm.guide.network import CHORD_STATES
from recipes.builtin.rendering.pair import ScoreSource
from recipes.builtin.rendering.scores import Score, split_of

__all__ = ["count_transitions"]

PRIOR_COUNT = 8.0
_NONE = CHORD_STATES - 1


def count_transitions(scores: ScoreSource) -> Tensor:
    """The transitions of all training songs.

    Args:
        scores: of songs of all splits.
    """
    counts = np.zeros((2, CHORD_STATES, CHORD_STATES))
    for song in scores.song_ids:
        if split_of(song) == "train":
            _count(scores.score(song), counts)
    common = counts.sum(axis=1, keepdims=True) + 0.5
    common /= common.sum(axis=2, keepdims=True)
    smoothed = counts + PRIOR_COUNT * common
    return torch.from_numpy(np.log(smoothed / smoothed.sum(axis=2, keepdims=True))).float()


def _count(score: Score, counts: np.ndarray) -> None:
    half = {4: 2, 6: 3}.get(score.beats_per_bar, score.beats_per_bar)
    bars = np.searchsorted(score.downbeats, np.arange(len(score.beat_seconds)), side="right") - 1
    in_bar = np.arange(len(score.beat_seconds)) - score.downbeats[np.maximum(bars, 0)]
    borders = score.beat_seconds[(bars >= 0) & (in_bar % half == 0)]
    chord_starts = [span.start_seconds for span in score.chords]
    key_starts = [span.start_seconds for span in score.keys]
    before: tuple[int, object] | None = None
    for middle in (borders[:-1] + borders[1:]) / 2:
        chord = int(np.searchsorted(chord_starts, middle)) - 1
        if chord < 0:
            continue
        key = score.keys[max(0, int(np.searchsorted(key_starts, middle)) - 1)].value
        value = score.chords[chord].value
        state = _NONE if value is None else state_of(value.label)
        if state != _NONE:
            state = (state - key.tonic) % 12 + 12 * (state // 12)
        if before is not None and before[1] == key:
            counts[int(key.mode == "min"), before[0], state] += 1
        before = state, key

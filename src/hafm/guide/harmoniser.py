"""The harmoniser: what is sung in each beat of a song in, which chord may go with it out.

In:  the chroma of a vocal at 50 Hz, its beats and bars, its key where that is known. Out: `HarmonyLogits` of
the N beats.

    chroma [N, 4, 12], position in the bar [N, 8], key [N, 25]
      |  each pitch class r by itself: chroma and key as they look from r; linear
      |  along time, both ways (GRU)
      |  all pitch classes as they look from r; linear
      |  along time, both ways (GRU)
      |  linear
      `------> of r: a major chord on it, a minor one, in the chord, tonic of a major key, of a minor one

All pitch classes share one set of weights and see the others by their distance, so that a song a fourth
higher gets its chords a fourth higher, exactly, and nothing is learnt twelve times. A melody alone allows
several chords; what was sung before and comes after, and where in its bar a beat is, say which is likely.
It learns from scores alone (`recipes.builtin.train_harmoniser`).

Source: ours; recurrent networks from melody to chords after Lim, Rhyu and Lee, "Chord generation from
symbolic melody using BLSTM networks" (2017).
"""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float, Int
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.functional import dropout, relu

from hafm.errors import UsageError
from hafm.guide.bars import continued_beats
from hafm.guide.lead_sheet import LeadSheet
from hafm.rates import SEMANTIC_RATE

__all__ = [
    "TICKS_PER_BEAT",
    "BeatGrid",
    "HarmoniserConfig",
    "HarmoniserNetwork",
    "HarmonyLogits",
    "chroma_of_ticks",
    "key_rows",
    "position_rows",
]

Floats = NDArray[np.floating]

TICKS_PER_BEAT = 4
POSITIONS, KEYS = 8, 25
"""Places in bars of four beats, of three, and an unknown one; keys, major, minor and unknown."""

_UNKNOWN_POSITION, _UNKNOWN_KEY = POSITIONS - 1, KEYS - 1
_FREE_BEAT_SECONDS = 0.6
_CLASSES = 12


@dataclass(frozen=True, kw_only=True)
class HarmoniserConfig:
    """Shapes of the network.

    Args:
        channels: of what each pitch class knows in each beat.
        dropout: share of it that is zeroed in training, below 1.
    """

    channels: int = 64
    dropout: float = 0.1

    def __post_init__(self) -> None:
        if self.channels < 1:
            raise UsageError(f"HarmoniserConfig: channels must be 1 or more, got {self.channels}")
        if not 0 <= self.dropout < 1:
            raise UsageError(f"HarmoniserConfig: dropout must be from 0 to below 1, got {self.dropout}")


class HarmonyLogits(NamedTuple):
    """What is said of each beat."""

    states: Float[Tensor, "B N 25"]
    """The chord: major ones by root, minor ones, none; as `hafm.guide.network.CHORD_STATES`."""
    pitch_classes: Float[Tensor, "B N 12"]
    key: Float[Tensor, "B N 24"]
    """Tonic, major (0 to 11) and minor (12 to 23)."""


class HarmoniserNetwork(nn.Module):
    """Shape: `[B, N, 4, 12], [B, N, 8], [B, N, 25] -> HarmonyLogits`.

    >>> network = HarmoniserNetwork(HarmoniserConfig(channels=4))
    >>> network(torch.zeros(2, 5, 4, 12), torch.zeros(2, 5, 8), torch.zeros(2, 5, 25)).states.shape
    torch.Size([2, 5, 25])
    """

    seen_from: Tensor

    def __init__(self, config: HarmoniserConfig) -> None:
        super().__init__()
        size = config.channels
        self.dropout = config.dropout
        steps = torch.arange(_CLASSES)
        self.register_buffer("seen_from", (steps[:, None] + steps) % _CLASSES, persistent=False)
        self.inlet = nn.Linear(_CLASSES * TICKS_PER_BEAT + POSITIONS + KEYS, size)
        self.near = nn.GRU(size, size, batch_first=True, bidirectional=True)
        self.own = nn.Linear(2 * size, size)
        self.others = nn.Linear(_CLASSES * 2 * size, size)
        self.far = nn.GRU(size, size, batch_first=True, bidirectional=True)
        self.outlet = nn.Linear(2 * size, 5)
        self.no_chord = nn.Linear(2 * size, 1)

    def forward(
        self,
        chroma: Float[Tensor, "B N 4 12"],
        position: Float[Tensor, "B N 8"],
        key: Float[Tensor, "B N 25"],
    ) -> HarmonyLogits:
        """What may go with each beat.

        Args:
            chroma: of each quarter of it.
            position: in the bar (`position_rows`).
            key: that is known (`key_rows`).
        """
        modes = key[..., :_UNKNOWN_KEY].unflatten(2, (2, _CLASSES)).mT  # [B, N, 12, 2]
        same = torch.cat([position, key[..., _UNKNOWN_KEY:]], dim=2)[:, :, None].expand(-1, -1, _CLASSES, -1)
        seen = torch.cat([self._rotated(chroma.mT), self._rotated(modes), same], dim=3)
        inner = self._along(self.near, relu(self.inlet(seen)))
        inner = relu(self.own(inner) + self.others(self._rotated(inner)))
        found = self._dropped(self._along(self.far, inner))
        major, minor, pitch_class, major_key, minor_key = self.outlet(found).unbind(dim=3)
        none = self.no_chord(found.mean(dim=2))
        return HarmonyLogits(
            states=torch.cat([major, minor, none], dim=2),
            pitch_classes=pitch_class,
            key=torch.cat([major_key, minor_key], dim=2),
        )

    def _rotated(self, of_classes: Float[Tensor, "B N 12 D"]) -> Float[Tensor, "B N 12 E"]:
        """For each pitch class, what all of them have, beginning with it; `E = 12 D`."""
        rotated: Tensor = of_classes[:, :, self.seen_from].flatten(3)
        return rotated

    def _along(self, recurrent: nn.GRU, inner: Float[Tensor, "B N 12 C"]) -> Float[Tensor, "B N 12 E"]:
        rows = self._dropped(inner).transpose(1, 2)
        found = recurrent(rows.flatten(0, 1))[0].unflatten(0, rows.shape[:2])
        return torch.transpose(found, 1, 2)

    def _dropped(self, inner: Tensor) -> Tensor:
        return dropout(inner, self.dropout, self.training)


class BeatGrid(NamedTuple):
    """Beats that cover a sound, for what goes by beats."""

    borders_seconds: Float[np.ndarray, " M"]
    """Where the N beats begin, and where the last one ends."""
    position: Int[np.ndarray, " N"]
    """How many beats after the bar's first."""
    beats_per_bar: Int[np.ndarray, " N"]
    """0 where no bars are known."""

    @classmethod
    def of(cls, sheet: LeadSheet) -> "BeatGrid":
        """The beats of a sheet, and those before and after them; even ones, in no bar, where it has none."""
        duration = sheet.duration_seconds
        if len(sheet.beats) < 2:
            count = max(1, int(np.ceil(duration / _FREE_BEAT_SECONDS)))
            unknown = np.zeros(count, int)
            return cls(np.arange(count + 1) * _FREE_BEAT_SECONDS, unknown, unknown)
        beats = continued_beats(sheet)
        seconds = np.array([beat.seconds for beat in beats])
        period = float(np.median(np.diff(seconds)))
        position = np.array([beat.position - 1 for beat in beats])
        starts = [meter.start_seconds for meter in sheet.meters]
        sizes = np.array([meter.beats_per_bar for meter in sheet.meters])
        per_bar = sizes[(np.searchsorted(starts, seconds, side="right") - 1).clip(0)]
        before = np.arange(-int(np.ceil(seconds[0] / period - 1e-3)), 0)
        after = max(float(seconds[-1] + period), duration)
        return cls(
            np.concatenate([seconds[0] + before * period, seconds, [after]]),
            np.concatenate([(position[0] + before) % per_bar[0], position]),
            np.concatenate([np.full(len(before), per_bar[0]), per_bar]),
        )


def chroma_of_ticks(
    chroma: Float[np.ndarray, "F 12"], borders_seconds: Float[np.ndarray, " M"]
) -> Float[np.ndarray, "N 4 12"]:
    """The mean chroma of each quarter of each beat; what lies outside of the sound is silent.

    Args:
        chroma: at 50 Hz.
        borders_seconds: of the N beats, rising.
    """
    numbers = np.arange((len(borders_seconds) - 1) * TICKS_PER_BEAT + 1) / TICKS_PER_BEAT
    ticks = np.interp(numbers, np.arange(len(borders_seconds)), borders_seconds)
    sums = np.concatenate([np.zeros((1, _CLASSES)), np.cumsum(chroma, axis=0, dtype=np.float64)])
    frames = ticks * float(SEMANTIC_RATE)
    at = np.stack([np.interp(frames, np.arange(len(sums)), each) for each in sums.T], axis=1)
    means = np.diff(at, axis=0) / np.diff(frames)[:, None]
    return np.asarray(means.reshape(-1, TICKS_PER_BEAT, _CLASSES), np.float32)


def position_rows(
    position: Int[np.ndarray, " N"], beats_per_bar: Int[np.ndarray, " N"]
) -> Float[np.ndarray, "N 8"]:
    """Places in the bar as the network wants them; six beats are twice three.

    >>> position_rows(np.array([3, 5, 1]), np.array([4, 6, 5])).argmax(axis=1)
    array([3, 6, 7])
    """
    in_three = 4 + position % 3
    places = np.select(
        [beats_per_bar == 4, np.isin(beats_per_bar, (3, 6))], [position % 4, in_three], _UNKNOWN_POSITION
    )
    return np.asarray(np.eye(POSITIONS, dtype=np.float32)[places])


def key_rows(key: Int[np.ndarray, " N"]) -> Float[np.ndarray, "N 25"]:
    """Keys as the network wants them: tonic, 12 more in minor, -1 where it is not known."""
    return np.asarray(np.eye(KEYS, dtype=np.float32)[np.where(key < 0, _UNKNOWN_KEY, key)])

"""The result of a track: its tokens, or the reason why it has none.

In: arrays of ids. Out: `Prepared` or `Quarantined`, and the bytes in which tokens travel from a worker to the
ledger.
"""

import struct
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Self, TypeAlias

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load, save

__all__ = ["ClipLevel", "Ids", "Prepared", "Quarantined", "TrackResult", "TrackTokens"]

Ids: TypeAlias = NDArray[np.uint16]


@dataclass(frozen=True, kw_only=True, eq=False)
class TrackTokens:
    """Tokens of one track.

    Args:
        vocal: semantic tokens of each view. Shape [views, F50].
        instrumental: semantic tokens. Shape [F50].
        codes: acoustic codes. Shape [K, F75].
        lead_sheet: of the track, as compact JSON (`hafm.guide.sheet_json`); None where it has none.

    Raises:
        ValueError: the shapes do not fit each other.

    >>> ids = np.zeros((8, 3), np.uint16)
    >>> tokens = TrackTokens(vocal=ids[:1, :2], instrumental=ids[0, :2], codes=ids)
    >>> TrackTokens.from_bytes(tokens.to_bytes()).codes.shape
    (8, 3)
    """

    vocal: Ids
    instrumental: Ids
    codes: Ids
    lead_sheet: str | None = None

    def __post_init__(self) -> None:
        shapes = self.vocal.shape, self.instrumental.shape, self.codes.shape
        if self.vocal.ndim != 2 or self.codes.ndim != 2 or self.instrumental.shape != self.vocal.shape[1:]:
            raise ValueError(f"tokens must be [views, F50], [F50] and [K, F75], got {shapes}")

    def to_bytes(self) -> bytes:
        """One safetensors file, in memory; the same tokens give the same bytes."""
        arrays = {"vocal": self.vocal, "instrumental": self.instrumental, "codes": self.codes}
        if self.lead_sheet is None:
            return save(arrays)
        return save({**arrays, "lead_sheet": np.frombuffer(self.lead_sheet.encode(), np.uint8)})

    @classmethod
    def from_bytes(cls, data: bytes) -> Self:
        """What `to_bytes` wrote; a `ValueError` for anything else."""
        try:
            arrays = load(data)
            sheet = arrays.pop("lead_sheet", None)
            return cls(**arrays, lead_sheet=None if sheet is None else sheet.tobytes().decode())
        except (SafetensorError, TypeError, struct.error) as error:
            raise ValueError(f"these bytes hold no tokens: {error}") from error


@dataclass(frozen=True, kw_only=True)
class ClipLevel:
    """How loud the two stems are in one clip.

    Args:
        start_seconds: of the clip in its track.
        seconds: its length; the last clip of a track may be shorter.
        vocal_dbfs: RMS, 20 log10, full scale = 1; digital silence counts as -120.
        instrumental_dbfs: the same.
    """

    start_seconds: float
    seconds: float
    vocal_dbfs: float
    instrumental_dbfs: float


@dataclass(frozen=True, kw_only=True, eq=False)
class Prepared:
    """A track that went through.

    Args:
        levels: of its clips, in order.
        notes: what a reader of the ledger should know.
        spent: seconds of computing by step; differs from run to run, and goes into the ledger only.
    """

    track_id: str
    tokens: TrackTokens
    levels: tuple[ClipLevel, ...]
    seconds: float
    notes: tuple[str, ...] = ()
    spent: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Quarantined:
    """A track that could not be used; the reason is one line."""

    track_id: str
    reason: str


TrackResult: TypeAlias = Prepared | Quarantined

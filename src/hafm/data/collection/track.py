"""A track: one item of a music collection, before anything is read.

In: what a folder tree and its metadata say. Out: `Track`s, which name files and open none.

A track is a whole song or an excerpt of one. Its stems are sums of parts, and a part is a file or one audio
stream of a container:

    source        mix            vocal              instrumental
    mixes, FMA    file           -  (separated)     -  (separated)
    pairs         -              vocals.*           instrumental.*
    MUSDB18-HQ    mixture.wav    vocals.wav         drums.wav + bass.wav + other.wav
    MUSDB18       stream 0       stream 4           streams 1 + 2 + 3
"""

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Literal, Protocol, Self, TypeAlias, get_args, runtime_checkable

from hafm.errors import UsageError

__all__ = ["SPLITS", "SheetPart", "SoundPart", "Source", "Split", "Track"]

Split: TypeAlias = Literal["train", "valid", "test"]
SPLITS: tuple[Split, ...] = get_args(Split)


@dataclass(frozen=True, kw_only=True)
class SoundPart:
    """A file, or one audio stream of it.

    Args:
        stream: number of the audio stream in a container, 0 or more; None for a file that is one sound.
    """

    path: str
    stream: int | None = None


@dataclass(frozen=True, kw_only=True)
class SheetPart:
    """A file with the lead sheet of a track.

    Args:
        kind: `truth`: the JSON of a rendered pair; `file`: what `hafm.guide.sheet_files` reads.
    """

    path: str
    kind: Literal["truth", "file"]


@dataclass(frozen=True, kw_only=True)
class Track:
    """One item of a collection.

    Args:
        id: unique in its source and stable between runs: a path below the root, without the ending.
        song_id: tracks of one song share it, and a split never divides them.
        split: where the source says so; None lets the song's hash decide.
        mix: the whole; needed where there are no stems.
        vocal: parts that sum to the vocal; empty: it is to be separated from the mix.
        instrumental: parts that sum to the instrumental; empty exactly where `vocal` is.
        lead_sheet: file that says when its beats are, and its chords; None without one.
        seconds: duration that the source promises; None if it does not. Another one means a damaged file.
        known: what else the source says (title, artist, genre, licence); JSON values.

    Raises:
        UsageError: neither a mix nor both stems.

    >>> Track(id="a/b", song_id="a", mix=SoundPart(path="a/b.mp3")).needs_separation
    True
    """

    id: str
    song_id: str
    split: Split | None = None
    mix: SoundPart | None = None
    vocal: tuple[SoundPart, ...] = ()
    instrumental: tuple[SoundPart, ...] = ()
    lead_sheet: SheetPart | None = None
    seconds: float | None = None
    known: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if bool(self.vocal) != bool(self.instrumental) or not (self.vocal or self.mix):
            raise UsageError(f"track {self.id!r} has neither a mix nor a vocal with its instrumental")
        if self.split is not None and self.split not in SPLITS:
            raise UsageError(f"track {self.id!r} is of split {self.split!r}; known are {', '.join(SPLITS)}")

    @property
    def needs_separation(self) -> bool:
        return not self.vocal

    @property
    def parts(self) -> tuple[SoundPart, ...]:
        """The files that decide the tokens: the stems if there are any, the mix otherwise."""
        if self.needs_separation:
            assert self.mix is not None, "checked when built"
            return (self.mix,)
        return self.vocal + self.instrumental

    def to_dict(self) -> dict[str, Any]:
        """JSON values, which `from_dict` reads.

        >>> track = Track(id="a", song_id="a", mix=SoundPart(path="a.mp4", stream=0))
        >>> Track.from_dict(track.to_dict()) == track
        True
        """
        values = asdict(self)
        if self.lead_sheet is None:  # as in ledgers that are older than lead sheets
            del values["lead_sheet"]
        return values

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        """A track from what `to_dict` gave, also after JSON."""
        fields = dict(values)
        fields["mix"] = SoundPart(**fields["mix"]) if fields["mix"] else None
        if "lead_sheet" in fields:
            fields["lead_sheet"] = SheetPart(**fields["lead_sheet"])
        for stem in ("vocal", "instrumental"):
            fields[stem] = tuple(SoundPart(**part) for part in fields[stem])
        return cls(**fields)


@runtime_checkable
class Source(Protocol):
    """A collection: where tracks come from."""

    def describe(self) -> dict[str, Any]:
        """Kind, root and options; JSON values. Another description is another collection."""
        ...

    def tracks(self) -> Iterator[Track]:
        """All of them, each once, in the same order every time. Files are named, not opened.

        Raises:
            UsageError: the root is not such a collection; the message says what is missing.
        """
        ...

"""Chord and key labels of POP909 as pitch classes.

In: labels ``Root:quality``, ``Root:quality/degree`` (an inversion) or ``N`` (no chord), and key labels
``Root:maj`` or ``Root:min``. Out: pitch classes 0..11 with C = 0. Transposition by semitones moves every
pitch class and respells the root; the quality never changes.

Source: the label syntax is that of Harte et al., "Symbolic representation of musical chords", ISMIR 2005, in
the subset that POP909 (Wang et al., ISMIR 2020) uses.
"""

from __future__ import annotations

from dataclasses import dataclass

ROOT_NAMES = ("C", "Db", "D", "Eb", "E", "F", "Gb", "G", "Ab", "A", "Bb", "B")

_LETTERS = {"C": 0, "D": 2, "E": 4, "F": 5, "G": 7, "A": 9, "B": 11}
_ACCIDENTALS = {"": 0, "#": 1, "b": -1}

QUALITIES = {
    "maj": (0, 4, 7),
    "min": (0, 3, 7),
    "dim": (0, 3, 6),
    "aug": (0, 4, 8),
    "sus2": (0, 2, 7),
    "sus4": (0, 5, 7),
    "maj6": (0, 4, 7, 9),
    "min6": (0, 3, 7, 9),
    "7": (0, 4, 7, 10),
    "maj7": (0, 4, 7, 11),
    "min7": (0, 3, 7, 10),
    "minmaj7": (0, 3, 7, 11),
    "dim7": (0, 3, 6, 9),
    "hdim7": (0, 3, 6, 10),
    "sus4(b7)": (0, 5, 7, 10),
}

_DEGREES = {"2": 2, "b3": 3, "3": 4, "4": 5, "b5": 6, "5": 7, "6": 9, "b7": 10, "7": 11}


@dataclass(frozen=True, kw_only=True)
class Chord:
    """A chord as pitch classes.

    Attributes:
        root: pitch class of the root, 0..11.
        quality: a key of `QUALITIES`.
        bass: pitch class of the lowest note; the root unless the chord is inverted.
    """

    root: int
    quality: str
    bass: int

    @property
    def pitch_classes(self) -> tuple[int, ...]:
        """Pitch classes from the root upwards."""
        return tuple((self.root + interval) % 12 for interval in QUALITIES[self.quality])

    @property
    def label(self) -> str:
        """The label, spelt with flats; an inversion keeps its bass as a degree."""
        name = f"{ROOT_NAMES[self.root]}:{self.quality}"
        if self.bass == self.root:
            return name
        interval = (self.bass - self.root) % 12
        degree = next(degree for degree, size in _DEGREES.items() if size == interval)
        return f"{name}/{degree}"

    def transposed(self, semitones: int) -> Chord:
        """The same chord, `semitones` higher.

        >>> parse_chord("G:7/b7").transposed(2).label
        'A:7/b7'
        """
        return Chord(
            root=(self.root + semitones) % 12, quality=self.quality, bass=(self.bass + semitones) % 12
        )


def parse_pitch_class(name: str) -> int:
    """Pitch class of a note name.

    Raises:
        ValueError: `name` is not a letter A..G with at most one accidental.

    >>> parse_pitch_class("Bb"), parse_pitch_class("Cb")
    (10, 11)
    """
    letter, accidental = name[:1], name[1:]
    if letter not in _LETTERS or accidental not in _ACCIDENTALS:
        raise ValueError(f"note name {name!r} is not a letter A..G with an optional '#' or 'b'")
    return (_LETTERS[letter] + _ACCIDENTALS[accidental]) % 12


def parse_chord(label: str) -> Chord | None:
    """Read a chord label; `N` gives None.

    Raises:
        ValueError: unknown root, quality or degree.

    >>> parse_chord("Bb:min7/b7").pitch_classes
    (10, 1, 5, 8)
    >>> parse_chord("N") is None
    True
    """
    if label == "N":
        return None
    root_name, _, rest = label.partition(":")
    quality, _, degree = rest.partition("/")
    if quality not in QUALITIES:
        raise ValueError(f"chord {label!r}: unknown quality {quality!r}; known: {', '.join(QUALITIES)}")
    if degree and degree not in _DEGREES:
        raise ValueError(f"chord {label!r}: unknown degree {degree!r}; known: {', '.join(_DEGREES)}")
    root = parse_pitch_class(root_name)
    return Chord(root=root, quality=quality, bass=(root + _DEGREES.get(degree, 0)) % 12)


@dataclass(frozen=True, kw_only=True)
class Key:
    """A major or minor key: tonic pitch class 0..11 and mode ``maj`` or ``min``."""

    tonic: int
    mode: str

    @property
    def label(self) -> str:
        return f"{ROOT_NAMES[self.tonic]}:{self.mode}"

    def transposed(self, semitones: int) -> Key:
        return Key(tonic=(self.tonic + semitones) % 12, mode=self.mode)


def parse_key(label: str) -> Key:
    """Read a key label.

    Raises:
        ValueError: the mode is neither ``maj`` nor ``min``, or the tonic is no note name.

    >>> parse_key("Gb:min")
    Key(tonic=6, mode='min')
    """
    tonic, _, mode = label.partition(":")
    if mode not in ("maj", "min"):
        raise ValueError(f"key {label!r}: the mode must be 'maj' or 'min'")
    return Key(tonic=parse_pitch_class(tonic), mode=mode)

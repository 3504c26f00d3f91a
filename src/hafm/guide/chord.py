"""Chord labels as pitch classes.

In: a label in Harte's syntax, as `.lab` files and mir_eval have it. Out: a `Chord`: root, bass and pitch
classes.

    A : min7 (9,*5) / b3        root [: quality [(degrees)]] [/ bass]
    |   |     |  |    `-- bass, a degree above the root; it sounds, so it is one of the pitch classes
    |   |     |  `------- a degree that is left out
    |   |     `---------- a degree that is added
    |   `---------------- one of `QUALITIES`; none, and no degrees: maj
    `-------------------- A to G with any number of # or b

    N                     no chord sounds

Conventions: pitch classes are 0 to 11, C = 0. Degrees count in the major scale of the root: b7 is 10
semitones.

Source: Harte et al., "Symbolic representation of musical chords", ISMIR 2005.
"""

import difflib
import re
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache

from hafm.errors import ChordError

__all__ = [
    "MAJOR_SCALE",
    "NOTE_NAMES",
    "NO_CHORD",
    "QUALITIES",
    "Chord",
    "nearest_quality",
    "parse_chord",
    "parse_note",
    "transpose_note",
]

NOTE_NAMES = ("C", "Db", "D", "Eb", "E", "F", "F#", "G", "Ab", "A", "Bb", "B")
"""How a pitch class is spelt where nobody said how."""

NO_CHORD = "N"

QUALITIES = {
    "maj": "1 3 5",
    "min": "1 b3 5",
    "dim": "1 b3 b5",
    "aug": "1 3 #5",
    "sus2": "1 2 5",
    "sus4": "1 4 5",
    "1": "1",
    "5": "1 5",
    "maj6": "1 3 5 6",
    "min6": "1 b3 5 6",
    "7": "1 3 5 b7",
    "maj7": "1 3 5 7",
    "min7": "1 b3 5 b7",
    "minmaj7": "1 b3 5 7",
    "dim7": "1 b3 b5 bb7",
    "hdim7": "1 b3 b5 b7",
    "aug7": "1 3 #5 b7",
    "9": "1 3 5 b7 9",
    "maj9": "1 3 5 7 9",
    "min9": "1 b3 5 b7 9",
    "11": "1 3 5 b7 9 11",
    "maj11": "1 3 5 7 9 11",
    "min11": "1 b3 5 b7 9 11",
    "13": "1 3 5 b7 9 11 13",
    "maj13": "1 3 5 7 9 11 13",
    "min13": "1 b3 5 b7 9 11 13",
}
"""What each quality consists of."""

_LETTERS = {"C": 0, "D": 2, "E": 4, "F": 5, "G": 7, "A": 9, "B": 11}
MAJOR_SCALE = (0, 2, 4, 5, 7, 9, 11)
_NOTE = "[A-G](?:b*|#*)"
_DEGREE = "(?:b*|#*)(?:1[0-3]|[1-9])"
_NUMBER_OR_SIGN = re.compile(r"[#b+-]*\d+|[^a-z0-9]")
_LABEL = re.compile(
    rf"(?P<root>{_NOTE})(?::(?P<quality>[a-z0-9]+)?(?:\((?P<degrees>[^()]*)\))?)?(?:/(?P<bass>{_DEGREE}))?"
)


@dataclass(frozen=True, kw_only=True)
class Chord:
    """A chord, or that nothing sounds. `parse_chord` makes it.

    Args:
        label: as it was written.
        root: pitch class of the root; None where no chord sounds.
        bass: pitch class of the lowest note; None where no chord sounds.
        pitch_classes: that sound, the bass among them.
    """

    label: str
    root: int | None
    bass: int | None
    pitch_classes: frozenset[int]

    def transposed(self, semitones: int) -> "Chord":
        """The chord `semitones` higher, its root spelt as in `NOTE_NAMES`; by 0 it is the same.

        >>> parse_chord("F#:min7/b3").transposed(3).label
        'A:min7/b3'
        """
        if self.root is None or semitones == 0:
            return self
        matched = _LABEL.fullmatch(self.label)
        assert matched is not None, "it was parsed"
        return parse_chord(transpose_note(matched["root"], semitones) + self.label[matched.end("root") :])


def parse_note(name: str) -> int:
    """Pitch class of a note name.

    Raises:
        ChordError: it is not a letter A to G with any number of # or b.

    >>> parse_note("Bb"), parse_note("Cb"), parse_note("F##")
    (10, 11, 7)
    """
    if not re.fullmatch(_NOTE, name):
        raise ChordError(f"there is no note {name!r}; write a letter A to G, then # or b if it has one")
    return (_LETTERS[name[0]] + name.count("#") - name.count("b")) % 12


def transpose_note(name: str, semitones: int) -> str:
    """The name of the note `semitones` higher; by 0 it is the same name.

    >>> transpose_note("A#", 0), transpose_note("A#", 2)
    ('A#', 'C')
    """
    return name if semitones == 0 else NOTE_NAMES[(parse_note(name) + semitones) % 12]


@lru_cache(maxsize=4096)
def parse_chord(label: str) -> Chord:
    """A chord from its label.

    Raises:
        ChordError: the label is not of the syntax above; it says which part, and the nearest known quality.

    >>> sorted(parse_chord("C:sus4(b7)/5").pitch_classes)
    [0, 5, 7, 10]
    >>> parse_chord("N").root is None
    True
    >>> parse_chord("C:majj7")
    Traceback (most recent call last):
    ...
    hafm.errors.ChordError: chord 'C:majj7': there is no quality 'majj7'; did you mean 'maj7'?
    """
    if label == NO_CHORD:
        return Chord(label=label, root=None, bass=None, pitch_classes=frozenset())
    matched = _LABEL.fullmatch(label)
    if matched is None or label.endswith(":"):
        raise ChordError(
            f"{label!r} is not a chord label; write it as in 'C:maj', 'A:min7/b3' or 'G:sus4(b7)', and 'N' "
            "where no chord sounds"
        )
    quality, degrees = matched["quality"], matched["degrees"]
    if quality is None:
        quality = "maj" if degrees is None else "1"
    if quality not in QUALITIES:
        near = nearest_quality(quality, QUALITIES)
        hint = f"there are {', '.join(QUALITIES)}" if near is None else f"did you mean {near!r}?"
        raise ChordError(f"chord {label!r}: there is no quality {quality!r}; {hint}")
    intervals = _edited(map(_semitones, QUALITIES[quality].split()), degrees, label)
    root = parse_note(matched["root"])
    bass = 0 if matched["bass"] is None else _semitones(matched["bass"])
    return Chord(
        label=label,
        root=root,
        bass=(root + bass) % 12,
        pitch_classes=frozenset((root + interval) % 12 for interval in intervals | {bass}),
    )


def nearest_quality(typed: str, known: Iterable[str]) -> str | None:
    """The quality that is meant, where that is plain: number, sign, first letter, and j of maj agree.

    >>> [nearest_quality(typed, QUALITIES) for typed in ("mjr7", "mnr7", "+5")]
    ['maj7', 'min7', None]
    """
    alike = [name for name in known if _gist(name) == _gist(typed)]
    return next(iter(difflib.get_close_matches(typed.casefold(), alike, n=1)), None)


def _gist(quality: str) -> tuple[str, str, list[str]]:
    """What no typing error changes: where it differs, so do third, fifth or seventh."""
    text = quality.casefold()
    return text[:1], next((letter for letter in "ja" if letter in text), ""), _NUMBER_OR_SIGN.findall(text)


def _edited(intervals: Iterable[int], degrees: str | None, label: str) -> set[int]:
    """Intervals after what is in the parentheses is added and left out."""
    edited = set(intervals)
    for degree in () if degrees is None else degrees.split(","):
        name = degree.strip().removeprefix("*")
        if not re.fullmatch(_DEGREE, name):
            raise ChordError(
                f"chord {label!r}: there is no degree {degree.strip()!r}; write 1 to 13, as in (b9)"
            )
        if degree.strip().startswith("*"):
            edited.discard(_semitones(name))
        else:
            edited.add(_semitones(name))
    return edited


def _semitones(degree: str) -> int:
    """Semitones above the root, within an octave."""
    number = int(degree.lstrip("#b"))
    return (MAJOR_SCALE[(number - 1) % 7] + degree.count("#") - degree.count("b")) % 12

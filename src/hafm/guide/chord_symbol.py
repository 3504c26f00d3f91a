"""Chord symbols as musicians type them, and the labels of `hafm.guide.chord`.

In: `Bbm7b5`, `F#7/C#`, `Cmaj7`, `N.C.`. Out: `Bb:hdim7`, `F#:7/5`, `C:maj7`, `N`; and back.

    Bb m7b5 / Ab
    |  |      `-- bass note; its letter decides the degree: C/Eb is C:maj/b3, C/D# is C:maj/#2
    |  `--------- a quality of `_QUALITIES`, then any number of `_ALTERATIONS`; M, -, Δ, ^, °, ø, +, brackets
    |             and the / of 7/9 are understood
    `------------ A to G; H is German for B, and is asked about

A label that no symbol says exactly is its own symbol, so that nothing is lost on the way through a file.
"""

import re

from hafm.errors import ChordError
from hafm.guide.chord import (
    MAJOR_SCALE,
    NO_CHORD,
    NOTE_NAMES,
    QUALITIES,
    nearest_quality,
    parse_chord,
    parse_note,
)

__all__ = ["bass_degree", "parse_label", "parse_symbol", "symbol_of"]

_QUALITIES = {
    "": "maj",
    "m": "min",
    "6": "maj6",
    "m6": "min6",
    "m7": "min7",
    "mmaj7": "minmaj7",
    "m7b5": "hdim7",
    "m9": "min9",
    "m11": "min11",
    "m13": "min13",
    # The others are written as they are called; of a single note there is no symbol.
    **{name: name for name in QUALITIES if name != "1" and not name.startswith(("min", "hdim"))},
    "7sus4": "sus4(b7)",
    "7sus2": "sus2(b7)",
    "9sus4": "sus4(b7,9)",
    "13sus4": "sus4(b7,9,13)",
    "69": "maj6(9)",
    "m69": "min6(9)",
    "augmaj7": "aug(7)",
    "mmaj9": "minmaj7(9)",
    "7alt": "7(*5,b9,#9,b13)",
    "add9": "maj(9)",
    "madd9": "min(9)",
    "7b5": "7(b5,*5)",
    "sus24": "sus4(9)",
    # Further ways to write some of them.
    "2": "maj(9)",
    **dict.fromkeys(("sus", "4"), "sus4"),
    **dict.fromkeys(("sus42", "sus2sus4", "sus4sus2"), "sus4(9)"),
    **dict.fromkeys(("7sus", "74", "47", "sus47"), "sus4(b7)"),
    "9sus": "sus4(b7,9)",
    "13sus": "sus4(b7,9,13)",
    "7#5": "aug7",
    "alt": "7(*5,b9,#9,b13)",
}
"""The first symbol of a label is the one that it is written with."""

_ALTERATIONS = {
    "b5": "b5,*5",
    "#5": "#5,*5",
    "b9": "b9",
    "#9": "#9",
    "#11": "#11",
    "b13": "b13",
    "add9": "9",
    "add2": "9",
    "add11": "11",
    "add4": "11",
    "add13": "13",
    "add6": "13",
    "no3": "*3",
    "no5": "*5",
    "9": "9",
    "11": "11",
    "13": "13",
}
_SYMBOLS = {label: symbol for symbol, label in reversed(_QUALITIES.items())}
_ALTERATION = re.compile("|".join(sorted(map(re.escape, _ALTERATIONS), key=len, reverse=True)))
_NORMAL = tuple(
    (re.compile(pattern), becomes)
    for pattern, becomes in (
        (r"[()\[\], ]", ""),
        ("omit", "no"),
        ("(?i)major|maj|ma(?=[79]|1[13])", "maj"),
        ("(?i)minor|min|mi", "m"),
        ("^-", "m"),
        (r"M|[Δ△^](?=[79]|1[13])", "maj"),
        (r"[Δ△^]", "maj7"),
        ("7maj", "maj7"),
        (r"^dom(?=\d)", ""),
        ("^(?:°|o(?!m))", "dim"),
        ("^(?:ø7?|hdim7?|half-?dim7?)", "m7b5"),
        (r"^(?:\+|aug)5?", "aug"),
        (r"^7\+5?$", "7#5"),
        (r"-(?=5|9|13)", "b"),
        (r"\+(?=5|9|11)", "#"),
        (r"add(?=[#b](?:9|11|13))", ""),
        (r"(?<=\d)/(?=[#b]?\d)", ""),
    )
)
_DEGREES = re.compile(r"[#b]5,\*5|[^,]+")
_NO_CHORDS = {"N", "N.C.", "N.C", "NC", "n.c.", "nc", "NC."}
_NOTE = "[A-Ga-g](?:##|bb|[#b])?"
_SYMBOL = re.compile(rf"(?=[A-G])(?P<root>{_NOTE})(?P<quality>.*?)(?:/(?P<bass>{_NOTE}))?")
_LETTERS = "CDEFGAB"
_BASS_DEGREES = ("1", "b2", "2", "b3", "3", "4", "b5", "5", "b6", "6", "b7", "7")


def parse_symbol(symbol: str) -> str:
    """The label of a chord symbol; a label is one too.

    Raises:
        ChordError: it is not understood; the nearest that would be is named.

    >>> [parse_symbol(symbol) for symbol in ("Cmaj7", "Bbm7b5", "F#7/C#", "N.C.", "C7(b9)", "A:min7/b3")]
    ['C:maj7', 'Bb:hdim7', 'F#:7/5', 'N', 'C:7(b9)', 'A:min7/b3']
    >>> parse_symbol("Hm")
    Traceback (most recent call last):
    ...
    hafm.errors.ChordError: chord 'Hm': does H mean the note below C? write Bm, and Bb for a German B
    """
    if symbol in _NO_CHORDS:
        return NO_CHORD
    if ":" in symbol:
        return parse_label(symbol)
    text = symbol.replace("♯", "#").replace("♭", "b")
    if text.startswith("H"):
        raise ChordError(
            f"chord {symbol!r}: does H mean the note below C? write B{text[1:]}, and Bb for a German B"
        )
    matched = _SYMBOL.fullmatch(text)
    quality = None if matched is None else _quality(matched["quality"])
    if matched is None or quality is None:
        raise ChordError(f"chord {symbol!r} is not known; {_hint(text)}")
    label = f"{matched['root']}:{quality}"
    bass = (matched["bass"] or matched["root"]).capitalize()
    if (degree := _degree(matched["root"], bass)) != "1":
        label += f"/{degree}"
    return parse_chord(label).label


def parse_label(label: str) -> str:
    """A label as it is.

    Raises:
        ChordError: it is none; where it is a symbol, or nearly so, its label is named.

    >>> parse_label("C:sus")
    Traceback (most recent call last):
    ...
    hafm.errors.ChordError: 'C:sus' is not a chord label; did you mean C:sus4?
    """
    try:
        return parse_chord(label).label
    except ChordError as error:
        try:
            meant = parse_symbol(label.replace(":", "", 1))
        except ChordError:
            raise error from None
        raise ChordError(f"{label!r} is not a chord label; did you mean {meant}?") from error


def symbol_of(label: str) -> str:
    """The symbol of a label, or the label where no symbol says the same.

    >>> [symbol_of(label) for label in ("Bb:hdim7", "F#:7/5", "C:7(b9,*5)", "N", "C:min(*5)/b3", "C:(3,b13)")]
    ['Bbm7b5', 'F#7/C#', 'C7b9no5', 'N.C.', 'Cmno5/Eb', 'C:(3,b13)']
    >>> symbol_of("C:maj7(#5,*5)"), symbol_of("C:maj(#11)")
    ('Cmaj7#5', 'C(#11)')
    """
    if label == NO_CHORD:
        return "N.C."
    root, _, rest = label.partition(":")
    quality, _, degree = rest.partition("/") if rest else ("maj", "", "")
    root, _, bare_degree = root.partition("/")
    base, _, degrees = quality.rstrip(")").partition("(")
    written = _SYMBOLS.get(quality)
    if written is None and base in _SYMBOLS:
        written = _SYMBOLS[base] + "".join(map(_alteration, _DEGREES.findall(degrees)))
        written = f"({written})" if written[:1] in ("#", "b") else written  # not a sign of the root
    if written is None:
        return label
    degree = degree or bare_degree
    symbol = root + written.replace("mmaj", "mMaj") + (f"/{_bass_note(root, degree)}" if degree else "")
    try:
        same = parse_chord(parse_symbol(symbol))
    except ChordError:
        return label
    chord = parse_chord(label)
    is_same = (same.root, same.bass, same.pitch_classes) == (chord.root, chord.bass, chord.pitch_classes)
    return symbol if is_same else label


def bass_degree(root: int, bass: int) -> str:
    """The degree of a bass note above a root, both pitch classes.

    >>> bass_degree(9, 0)
    'b3'
    """
    return _BASS_DEGREES[(bass - root) % 12]


def _quality(text: str) -> str | None:
    """Quality and degrees of a label; None if they are not understood."""
    for pattern, becomes in _NORMAL:
        text = pattern.sub(becomes, text)
    for length in range(len(text), -1, -1):
        base, rest = text[:length], text[length:]
        if base not in _QUALITIES or _ALTERATION.sub("", rest):
            continue
        edits = ",".join(_ALTERATIONS[found] for found in _ALTERATION.findall(rest))
        quality = _QUALITIES[base]
        if not edits:
            return quality
        return _shortest(f"{quality[:-1]},{edits})" if quality.endswith(")") else f"{quality}({edits})")
    return None


def _shortest(quality: str) -> str:
    """The quality of the same degrees without brackets, if there is one, and more than left out.

    >>> _shortest("min(b5,*5)"), _shortest("7(9)"), _shortest("maj(*3)")
    ('dim', '9', 'maj(*3)')
    """
    base, _, edits = quality.rstrip(")").partition("(")
    written = set(QUALITIES[base].split())
    degrees = written.copy()
    for edit in edits.split(","):
        degrees = degrees - {edit[1:]} if edit.startswith("*") else degrees | {edit}
    same = (name for name, its in QUALITIES.items() if set(its.split()) == degrees)
    return quality if degrees < written else next(same, quality)


def _alteration(degree: str) -> str:
    """How a degree that is added or left out is written."""
    return next((name for name, edit in _ALTERATIONS.items() if edit == degree), f"add{degree}")


def _degree(root: str, bass: str) -> str:
    """The bass as a degree above the root, by their letters."""
    number = (_LETTERS.index(bass[0]) - _LETTERS.index(root[0])) % 7
    interval = (parse_note(bass) - parse_note(root)) % 12
    sign = _accidentals(interval - MAJOR_SCALE[number])
    return bass_degree(0, interval) if sign is None else f"{sign}{number + 1}"


def _bass_note(root: str, degree: str) -> str:
    """The note that a degree above the root is, by its letter."""
    number = (int(degree.lstrip("#b")) - 1) % 7
    letter = _LETTERS[(_LETTERS.index(root[0]) + number) % 7]
    pitch = (parse_note(root) + MAJOR_SCALE[number] + degree.count("#") - degree.count("b")) % 12
    sign = _accidentals(pitch - parse_note(letter))
    return NOTE_NAMES[pitch] if sign is None else letter + sign


def _accidentals(semitones: int) -> str | None:
    """The sharps or flats that move a note; None where that takes more than two."""
    sharps = (semitones + 6) % 12 - 6
    return None if abs(sharps) > 2 else "#" * sharps + "b" * -sharps


def _hint(text: str) -> str:
    """What may have been meant."""
    root = re.match(_NOTE, text)
    if root is None:
        return "begin with a note, A to G, as in Am7 or F#7/C#, or write N.C. where no chord sounds"
    note, rest = root[0].capitalize(), text[root.end() :]
    quality, slash, bass = rest.rpartition("/") if "/" in rest else (rest, "", "")
    if slash and not re.match(r"[A-Ga-g#\d]", bass):
        return "write a note, A to G, after the /"
    if root[0][0].islower() and not rest[:1].isalpha():
        return f"is it {note}{rest} or {note}m{rest}? write that"
    has_bass = not slash or re.fullmatch(_NOTE, bass)
    if has_bass and _quality(quality) is not None:
        return f"did you mean {note}{rest}?"
    near = nearest_quality(quality, _QUALITIES) if has_bass else None
    if near is None:
        return f"write it as in {note}m7, {note}sus4 or {note}7b9"
    return f"did you mean {note}{near}{slash}{bass}?"

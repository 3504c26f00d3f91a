"""POP909 as it is published: a folder per song.

In: the data set's `POP909` folder, of which this reads, for song 001,

    001/001.mid           tracks MELODY, BRIDGE and PIANO, with a tempo map
    001/beat_midi.txt     seconds, half-bar flag, downbeat flag
    001/chord_midi.txt    start, end, label
    001/key_audio.txt     start, end, label, on the clock of a recording that is not part of the data set

Out: `Score`s like those of the pack. The keys' clock is moved by the distance of the first chord in
`chord_audio.txt` and `chord_midi.txt`; most songs have one key only, for which this does not matter.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from recipes.builtin.rendering.chords import parse_chord, parse_key
from recipes.builtin.rendering.scores import Notes, Score, Span

if TYPE_CHECKING:
    import mido


class Pop909Folder:
    """The published data set.

    Args:
        path: the folder that holds `001`, `002` ...

    Raises:
        FileNotFoundError: no song folder in it.
        ImportError: mido is not installed.
    """

    def __init__(self, path: Path) -> None:
        self._folders = {
            int(folder.name): folder
            for folder in (path.iterdir() if path.is_dir() else ())
            if folder.name.isdigit() and (folder / f"{folder.name}.mid").is_file()
        }
        if not self._folders:
            raise FileNotFoundError(
                f"{path} holds no POP909 song; pass the folder that contains 001, 002 ..."
            )
        try:
            import mido  # noqa: F401  (fail now, not at the first song)
        except ImportError as error:
            raise ImportError("reading MIDI files needs mido; install it with: pip install mido") from error
        self._scores: dict[int, Score] = {}
        self._beats_per_bar: dict[int, int] = {}

    @property
    def song_ids(self) -> tuple[int, ...]:
        """Numbers of all songs, ascending."""
        return tuple(sorted(self._folders))

    def score(self, song_id: int) -> Score:
        """Read one song; once read it stays in memory.

        Raises:
            KeyError: no such song.
            ValueError: a file of the song is malformed.
        """
        if song_id not in self._scores:
            self._scores[song_id] = _read(song_id, self._folders[song_id])
        return self._scores[song_id]

    def beats_per_bar(self, song_id: int) -> int:
        """Of a song, without reading its notes; once read it stays in memory."""
        if song_id not in self._beats_per_bar:
            downbeats = _downbeats(_beats(self._folders[song_id]))
            self._beats_per_bar[song_id] = _beats_per_bar(downbeats)
        return self._beats_per_bar[song_id]


def _beats(folder: Path) -> list[tuple[float, bool]]:
    """Time of each beat, and whether a bar begins there."""
    beats = [(float(row[0]), float(row[2]) == 1.0) for row in _rows(folder / "beat_midi.txt", 3)]
    if len(beats) < 2:
        raise ValueError(f"{folder / 'beat_midi.txt'} has fewer than two beats")
    return beats


def _downbeats(beats: Sequence[tuple[float, bool]]) -> npt.NDArray[np.int64]:
    return np.array([index for index, (_, first) in enumerate(beats) if first], dtype=np.int64)


def _beats_per_bar(downbeats: npt.NDArray[np.int64]) -> int:
    return int(np.median(np.diff(downbeats))) if len(downbeats) > 1 else 4


def _read(song_id: int, folder: Path) -> Score:
    import mido

    tracks = _notes(mido.MidiFile(folder / f"{folder.name}.mid"))
    beats = _beats(folder)
    downbeats = _downbeats(beats)
    chords = _rows(folder / "chord_midi.txt", 3)
    offset_seconds = _first_chord(_rows(folder / "chord_audio.txt", 3)) - _first_chord(chords)
    return Score(
        song_id=song_id,
        melody=tracks["MELODY"],
        bridge=tracks["BRIDGE"],
        piano=tracks["PIANO"],
        beat_seconds=np.array([seconds for seconds, _ in beats]),
        downbeats=downbeats,
        beats_per_bar=_beats_per_bar(downbeats),
        chords=tuple(
            Span(start_seconds=float(start), end_seconds=float(end), value=parse_chord(label))
            for start, end, label in chords
        ),
        keys=tuple(
            Span(
                start_seconds=float(start) - offset_seconds,
                end_seconds=float(end) - offset_seconds,
                value=parse_key(label),
            )
            for start, end, label in _rows(folder / "key_audio.txt", 3)
        ),
    )


def _rows(path: Path, columns: int) -> list[list[str]]:
    rows = [line.split() for line in path.read_text().splitlines() if line.strip()]
    for number, row in enumerate(rows, start=1):
        if len(row) != columns:
            raise ValueError(f"{path}, line {number}: {len(row)} columns, expected {columns}")
    return rows


def _first_chord(rows: Sequence[Sequence[str]]) -> float:
    return next((float(start) for start, _, label in rows if label != "N"), 0.0)


def _notes(midi: mido.MidiFile) -> dict[str, Notes]:
    """Notes of the three tracks, in seconds by the tempo map of all tracks together."""
    tempi = [(0, 500_000)]  # MIDI's default, in microseconds per beat
    for track in midi.tracks:
        tick = 0
        for message in track:
            tick += message.time
            if message.type == "set_tempo":
                tempi.append((tick, message.tempo))
    tempi.sort(key=lambda change: change[0])  # stable: of two changes at one tick the later counts
    ticks = np.array([tick for tick, _ in tempi], dtype=np.float64)
    seconds_per_tick = np.array([tempo for _, tempo in tempi]) / 1e6 / midi.ticks_per_beat
    reached = np.concatenate([[0.0], np.cumsum(np.diff(ticks) * seconds_per_tick[:-1])])

    def seconds(tick: int) -> float:
        piece = int(np.searchsorted(ticks, tick, side="right")) - 1
        return float(reached[piece] + (tick - ticks[piece]) * seconds_per_tick[piece])

    tracks = {}
    for track in midi.tracks:
        if track.name not in ("MELODY", "BRIDGE", "PIANO"):
            continue
        sounding: dict[int, list[tuple[int, int]]] = defaultdict(list)
        notes = []
        tick = 0
        for message in track:
            tick += message.time
            if message.type == "note_on" and message.velocity > 0:
                sounding[message.note].append((tick, message.velocity))
            elif message.type in ("note_on", "note_off") and sounding[message.note]:
                start, velocity = sounding[message.note].pop(0)
                notes.append((seconds(start), seconds(tick), message.note, velocity))
        tracks[track.name] = np.array(sorted(notes), dtype=np.float64).reshape(-1, 4)
    missing = {"MELODY", "BRIDGE", "PIANO"} - set(tracks)
    if missing:
        raise ValueError(f"{midi.filename} lacks the tracks {', '.join(sorted(missing))}")
    return tracks

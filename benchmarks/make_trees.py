"""Small made-up collections in the layouts of published ones, for dry runs and tests.

    python benchmarks/make_trees.py fma OUT        OUT/fma_large/000/000002.mp3, OUT/fma_metadata/tracks.csv
    python benchmarks/make_trees.py musdb18 OUT    OUT/train/Artist - Title.stem.mp4 (needs ffmpeg)
    python benchmarks/make_trees.py musdb18hq OUT  OUT/train/Artist - Title/mixture.wav and four stems

In: a layout and a folder. Out: files with the names, columns and streams of the real collection, and a few
seconds of synthetic music in each: a voice-like lead, chords, a bass and drums. Song k is a function of k and
its length.
"""

import argparse
import csv
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import soundfile

SAMPLE_RATE = 44_100

FMA_COLUMNS: Mapping[str, str] = {
    "album": "comments date_created date_released engineer favorites id information listens producer tags "
    "title tracks type",
    "artist": "active_year_begin active_year_end associated_labels bio comments date_created favorites id "
    "latitude location longitude members name related_projects tags website wikipedia_page",
    "set": "split subset",
    "track": "bit_rate comments composer date_created date_recorded duration favorites genre_top genres "
    "genres_all information interest language_code license listens lyricist number publisher tags title",
}
"""The 52 columns of tracks.csv, in its order."""

MUSDB_STEMS = ("drums", "bass", "other", "vocals")
MUSDB_VALIDATION_SONG = "Leaf - Summerghost"

Waveform = npt.NDArray[np.float32]


def stems(song: int, seconds: float) -> dict[str, Waveform]:
    """Synthetic music.

    Args:
        song: decides key, tempo and melody.
        seconds: how long.

    Returns:
        Four stems `[T]` that sum to the mix, by their names in MUSDB18.
    """
    rng = np.random.default_rng(song)
    tonic_hz = 110 * 2 ** (rng.integers(12) / 12)
    beat = 60 / rng.uniform(80, 140)
    time = np.arange(round(seconds * SAMPLE_RATE)) / SAMPLE_RATE
    index = (time / beat).astype(int)
    since_beat = time - index * beat

    melody = np.array([0, 2, 4, 7, 9])[rng.integers(5, size=index[-1] + 1)][index]
    vibrato = 0.25 * np.sin(2 * np.pi * 5.5 * time) * np.minimum(1, since_beat / 0.2)
    phase = 2 * np.pi * np.cumsum(2 * tonic_hz * 2 ** ((melody + vibrato) / 12)) / SAMPLE_RATE
    # An "a": what lies near its formants, 700 and 1100 Hz, is louder.
    voice = sum(
        np.sin(k * phase) * (0.05 + sum(np.exp(-(((2 * k * tonic_hz - f) / 200) ** 2)) for f in (700, 1100)))
        for k in range(1, 12)
    )
    roots = np.array([0, 9, 5, 7])[index // 4 % 4]
    chord = sum(np.sin(2 * np.pi * tonic_hz * 2 ** ((roots + third) / 12) * time) for third in (12, 16, 19))
    bass = np.sin(2 * np.pi * tonic_hz / 2 * 2 ** (roots / 12) * time)
    hit = rng.standard_normal(len(time)) * np.exp(-since_beat / 0.03)
    levels = {"drums": 0.25 * hit, "bass": 0.2 * bass, "other": 0.1 * chord}
    levels["vocals"] = 0.15 * voice * np.minimum(1, since_beat / 0.03)
    return {name: stem.astype(np.float32) for name, stem in levels.items()}


def make_fma(out: Path, *, songs: int = 12, seconds: float = 6.0) -> Path:
    """FMA-Large, its clips as long as the recordings, which the table says to be shorter than 30 s.

    Args:
        out: where `fma_large` and `fma_metadata` go.
        songs: tracks; every fourth is in `small`, every second in `medium`.
        seconds: of each, a whole number.

    Returns:
        `out`.
    """
    columns = [(group, name) for group, names in FMA_COLUMNS.items() for name in names.split()]
    metadata = out / "fma_metadata"
    metadata.mkdir(parents=True, exist_ok=True)
    with (metadata / "tracks.csv").open("w", newline="", encoding="utf-8") as file:
        table = csv.writer(file)
        table.writerow(["", *(group for group, _ in columns)])
        table.writerow(["", *(name for _, name in columns)])
        table.writerow(["track_id", *("" for _ in columns)])
        for song in range(songs):
            number = 2 + 251 * song
            row = {
                ("album", "id"): song // 2 + 1,
                ("album", "information"): '<p>Recorded "live",\nin two lines</p>',
                ("album", "title"): f"Album {song // 2 + 1}",
                ("artist", "id"): song // 2 + 1,
                ("artist", "name"): f"Artist {song // 2 + 1}",
                ("set", "split"): ("training", "training", "training", "training", "validation", "test")[
                    song // 2 % 6
                ],
                ("set", "subset"): "small" if song % 4 == 0 else "medium" if song % 2 == 0 else "large",
                ("track", "bit_rate"): 128_000,
                ("track", "duration"): round(seconds),
                ("track", "genre_top"): "Pop" if song % 2 else "",
                ("track", "genres"): "[10]",
                ("track", "license"): "Attribution",
                ("track", "title"): f"Song {song}",
            }
            table.writerow([number, *(row.get(column, "") for column in columns)])
            path = out / "fma_large" / f"{number // 1000:03d}" / f"{number:06d}.mp3"
            path.parent.mkdir(parents=True, exist_ok=True)
            mix = sum(stems(song, seconds).values())
            soundfile.write(path, np.stack([mix, 0.9 * mix], axis=1), SAMPLE_RATE, format="MP3")
    return out


def make_musdb18hq(out: Path, *, songs: int = 6, seconds: float = 6.0) -> Path:
    """MUSDB18-HQ: a third of the songs are in `test`, one is of the validation list.

    Args:
        out: where `train` and `test` go.
        songs: how many.
        seconds: of each.

    Returns:
        `out`.
    """
    for song, (part, name) in enumerate(_musdb_songs(songs)):
        folder = out / part / name
        folder.mkdir(parents=True, exist_ok=True)
        for stem, waveform in _mix_and_stems(song, seconds).items():
            soundfile.write(folder / f"{stem}.wav", waveform, SAMPLE_RATE, subtype="PCM_16")
    return out


def make_musdb18(out: Path, *, songs: int = 6, seconds: float = 6.0) -> Path:
    """MUSDB18: one file of five AAC streams per song.

    Args:
        out: where `train` and `test` go.
        songs: how many; see `make_musdb18hq`.
        seconds: of each.

    Returns:
        `out`.

    Raises:
        FileNotFoundError: ffmpeg is not installed.
    """
    program = shutil.which("ffmpeg")
    if program is None:
        raise FileNotFoundError("making .stem.mp4 files needs the ffmpeg program")
    for song, (part, name) in enumerate(_musdb_songs(songs)):
        (out / part).mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory() as folder:
            inputs, maps = [], []
            for number, (stem, waveform) in enumerate(_mix_and_stems(song, seconds).items()):
                path = Path(folder) / f"{stem}.wav"
                soundfile.write(path, waveform, SAMPLE_RATE, subtype="PCM_16")
                inputs += ["-i", str(path)]
                maps += ["-map", f"{number}:a"]
            command = [
                program,
                "-nostdin",
                "-v",
                "error",
                "-y",
                *inputs,
                *maps,
                "-c:a",
                "aac",
                "-b:a",
                "256k",
            ]
            subprocess.run([*command, f"file:{out / part / name}.stem.mp4"], check=True)
    return out


def _mix_and_stems(song: int, seconds: float) -> dict[str, Waveform]:
    """Stereo, the mix first, as the streams of a stem file stand."""
    made = {name: np.stack([stem, stem], axis=1) for name, stem in stems(song, seconds).items()}
    return {"mixture": sum(made.values()), **{name: made[name] for name in MUSDB_STEMS}}


def _musdb_songs(songs: int) -> list[tuple[str, str]]:
    names = [MUSDB_VALIDATION_SONG, *(f"Artist {song} - Title {song}" for song in range(1, songs))]
    return [("test" if song % 3 == 2 else "train", name) for song, name in enumerate(names)]


MAKERS = {"fma": make_fma, "musdb18": make_musdb18, "musdb18hq": make_musdb18hq}


def main(arguments: Sequence[str] | None = None) -> int:
    """The command. Returns its exit status."""
    parser = argparse.ArgumentParser(description="Make a small collection in a published layout.")
    parser.add_argument("layout", choices=MAKERS)
    parser.add_argument("out", type=Path)
    parser.add_argument("--songs", type=int, default=12)
    parser.add_argument("--seconds", type=float, default=6.0)
    values = parser.parse_args(arguments)
    try:
        MAKERS[values.layout](values.out, songs=values.songs, seconds=values.seconds)
    except FileNotFoundError as error:
        parser.error(str(error))
    print(f"{values.songs} made-up songs in the layout of {values.layout}: {values.out}")
    return 0


if __name__ == "__main__":
    sys.exit(main())

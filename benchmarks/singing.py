"""How near do rendered voices come to real ones?

    python -m benchmarks.singing REAL work/pairs/test

In: folders of vocals with their accompaniments, `NAME.vocals.flac` and `NAME.accompaniment.flac` or
`000123.vocal.wav` and `000123.instrumental.wav`, mono. Out: a row of medians over clips for each folder, with
the 10th and the 90th percentile. It judges renderings; nothing is trained on real voices.

    voiced      share of frames (20 ms) within 30 dB of the loudest that have a pitch
    range       semitones between the 10th and the 90th percentile of the pitch
    flux        mean distance of the spectra of neighbouring frames, each of unit length
    movement    median change of the pitch from one voiced frame to the next, semitones
    pauses      stretches of 0.15 s and more that are 30 dB below the loudest, per minute
    floor       level of the quietest twentieth of the frames, dB below the loudest
    spread      standard deviation of the levels of voiced frames, dB
    on the grid share of sung onsets (300 to 3000 Hz) within 40 ms of a beat or half-beat of the
                accompaniment, as `track_beats` finds them, above the same with onsets moved at random
    late        median of their distance to it, ms
"""

import argparse
import sys
from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from hafm.audio.io import read_audio
from hafm.audio.resample import resample
from hafm.data.tokenising.augment import augment
from hafm.evaluate.fit.beats import track_beats

Floats = NDArray[np.float64]

SAMPLE_RATE = 24_000
HOP, FRAME = 480, 1920
_LOWEST_HZ, _HIGHEST_HZ = 70.0, 1000.0
_VOICED = 0.6
_AUDIBLE_DB = -30.0
_NEAR_SECONDS = 0.04
_LEAST_RISE = 0.9  # nepers of power within 40 ms
_ROTATIONS = 50


@dataclass(frozen=True, kw_only=True)
class Figures:
    """Of one clip; NaN where there is nothing to measure."""

    voiced: float
    range: float
    flux: float
    movement: float
    pauses: float
    floor: float
    spread: float
    on_the_grid: float
    late: float


def measure(vocal: Floats, accompaniment: Floats | None, rng: np.random.Generator) -> Figures:
    """All figures of a clip. Shape [T] each."""
    frames = np.lib.stride_tricks.sliding_window_view(vocal, FRAME)[::HOP] * np.hanning(FRAME)
    level_db = 10 * np.log10(np.mean(frames**2, axis=1) + 1e-12)
    level_db -= np.quantile(level_db, 0.99)
    audible = level_db > _AUDIBLE_DB
    magnitude = np.abs(np.fft.rfft(frames, 4096))
    pitch, clarity = _pitch(magnitude)
    voiced = audible & (clarity > _VOICED)
    unit = magnitude / (np.linalg.norm(magnitude, axis=1, keepdims=True) + 1e-9)
    both = audible[1:] & audible[:-1]
    flux = np.linalg.norm(np.diff(unit, axis=0), axis=1)[both]
    steps = np.abs(np.diff(pitch))[voiced[1:] & voiced[:-1]]
    edges = np.flatnonzero(np.diff(np.concatenate([[True], audible, [True]]).astype(int)))
    rests = (edges[1::2] - edges[0::2]) * HOP / SAMPLE_RATE
    grid, late = _grid(_onsets(magnitude, audible), accompaniment, rng)
    return Figures(
        voiced=float(np.mean(clarity[audible] > _VOICED)),
        range=float(np.ptp(np.quantile(pitch[voiced], (0.1, 0.9)))) if voiced.any() else np.nan,
        flux=float(np.mean(flux)) if len(flux) else np.nan,
        movement=float(np.median(steps)) if len(steps) else np.nan,
        pauses=float(np.sum(rests >= 0.15) / (len(vocal) / SAMPLE_RATE / 60)),
        floor=float(np.quantile(level_db, 0.05)),
        spread=float(np.std(level_db[voiced])),
        on_the_grid=grid,
        late=late,
    )


def _pitch(magnitude: Floats) -> tuple[Floats, Floats]:
    """MIDI pitch and clarity (0..1) of each frame, by the autocorrelation over that of the window."""
    shortest, longest = int(SAMPLE_RATE / _HIGHEST_HZ), int(SAMPLE_RATE / _LOWEST_HZ)
    window = np.abs(np.fft.rfft(np.hanning(FRAME), 4096)) ** 2
    similarity = np.fft.irfft(magnitude**2)[:, :longest] / np.fft.irfft(window)[:longest]
    similarity /= similarity[:, :1] + 1e-12
    inner = similarity[:, shortest:]
    best = inner.max(axis=1)
    peaks = (inner[:, 1:-1] >= inner[:, :-2]) & (inner[:, 1:-1] >= inner[:, 2:])
    lag = shortest + 1 + np.argmax(peaks & (inner[:, 1:-1] > 0.9 * best[:, None]), axis=1)
    left, here, right = (
        np.take_along_axis(similarity, (lag + step)[:, None], 1)[:, 0] for step in (-1, 0, 1)
    )
    curve = np.minimum(left - 2 * here + right, -1e-9)
    exact = lag + np.clip(0.5 * (left - right) / curve, -0.5, 0.5)
    return 69 + 12 * np.log2(SAMPLE_RATE / exact / 440), np.clip(best, 0.0, 1.0)


def _onsets(magnitude: Floats, audible: NDArray[np.bool_]) -> Floats:
    """Seconds at which the band of the first formants rises fastest."""
    bins = slice(int(300 * 4096 / SAMPLE_RATE), int(3000 * 4096 / SAMPLE_RATE))
    power = np.log(np.sum(magnitude[:, bins] ** 2, axis=1) + 1e-8)
    rise = np.zeros(len(power))
    rise[1:-1] = power[2:] - power[:-2]
    found = [
        frame
        for frame in range(2, len(rise) - 3)
        if rise[frame] > _LEAST_RISE
        and rise[frame] == rise[frame - 2 : frame + 3].max()
        and audible[frame : frame + 4].any()
    ]
    return (np.array(found, np.float64) * HOP + FRAME / 2) / SAMPLE_RATE


def _grid(onsets: Floats, accompaniment: Floats | None, rng: np.random.Generator) -> tuple[float, float]:
    """Share of onsets near the grid above chance; median lateness in ms."""
    if accompaniment is None or len(onsets) < 5:
        return np.nan, np.nan
    beats = np.array(track_beats(torch.as_tensor(accompaniment, dtype=torch.float32), SAMPLE_RATE))
    if len(beats) < 4:
        return np.nan, np.nan
    grid = np.sort(np.concatenate([beats, (beats[1:] + beats[:-1]) / 2]))

    def distance(times: Floats) -> Floats:
        after = np.clip(np.searchsorted(grid, times), 1, len(grid) - 1)
        before, behind = times - grid[after - 1], times - grid[after]
        return np.where(np.abs(before) < np.abs(behind), before, behind)

    inside = onsets[(onsets > grid[0]) & (onsets < grid[-1])]
    span = grid[-1] - grid[0]
    moved = [grid[0] + (inside - grid[0] + rng.uniform(0.0, span)) % span for _ in range(_ROTATIONS)]
    chance = np.mean([np.mean(np.abs(distance(times)) < _NEAR_SECONDS) for times in moved])
    here = distance(inside)
    return float(np.mean(np.abs(here) < _NEAR_SECONDS) - chance), float(1000 * np.median(here))


def clips(folder: Path) -> list[tuple[Path, Path | None]]:
    """Vocals of a folder with their accompaniments, by name."""
    pairs = []
    for path in sorted([*folder.glob("*.vocals.flac"), *folder.glob("*.vocal.wav")]):
        band = path.name.replace(".vocals.", ".accompaniment.").replace(".vocal.", ".instrumental.")
        pairs.append((path, path.with_name(band) if path.with_name(band).is_file() else None))
    return pairs


def _read(path: Path) -> Floats:
    audio = read_audio(path)
    return np.asarray(resample(audio.mono()[None], audio.sample_rate, SAMPLE_RATE)[0], np.float64)


def main(arguments: Sequence[str] | None = None) -> int:
    """The command."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.singing", description=__doc__)
    parser.add_argument("folders", nargs="+", type=Path)
    parser.add_argument("--augment", action="store_true", help="hear rendered vocals as training does")
    parser.add_argument("--clips", type=int, default=60, help="of each folder (default 60)")
    values = parser.parse_args(arguments)
    names = [field.name for field in fields(Figures)]
    print(f"| | clips | {' | '.join(name.replace('_', ' ') for name in names)} |")
    print("|---" * (len(names) + 2) + "|")
    for folder in values.folders:
        rng = np.random.default_rng(0)
        rows = []
        for path, band_path in clips(folder)[: values.clips]:
            vocal, band = _read(path), _read(band_path) if band_path else None
            if values.augment and path.suffix == ".wav":
                bleed = None if band is None else band.astype(np.float32)
                vocal = augment(vocal.astype(np.float32), bleed, rng).astype(np.float64)
            rows.append(measure(vocal, band, rng))
        cells = []
        for name in names:
            column = [value for row in rows if np.isfinite(value := getattr(row, name))]
            low, middle, high = np.quantile(column, (0.1, 0.5, 0.9))
            digits = 2 if max(abs(low), abs(high)) < 10 else 0
            cells.append(f"{middle:.{digits}f} [{low:.{digits}f}, {high:.{digits}f}]")
        print(f"| {folder} | {len(rows)} | {' | '.join(cells)} |")
    return 0


if __name__ == "__main__":
    sys.exit(main())

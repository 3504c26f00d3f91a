"""From scores to tables: distances, adherence, fit and what each of them can tell.

In: entries (which sound represents which row), and a scorer. Out: the rows of `hafm.evaluate.run.results`.

    distance      FAD of a row's sounds to the true instrumentals, on stems and on mixes; intervals by
                  half-samples of songs, the same songs on both sides; FAD-infinity where there are enough
                  embeddings
    adherence     APA of a row's mixes, between true and shuffled pairs
    fit           mean over songs of each measure, with its bootstrap interval
    informative   whether the true instrumental does better in a measure than a random one (paired permutation
                  test over songs, p below 0.05); what does not separate these two says nothing about anything
                  else

Clips of one song are averaged, or joined, before anything is drawn: songs are what a figure generalises over.
The reference is always made with isolated vocals, so both arms are measured against the same.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from hafm.errors import UsageError
from hafm.evaluate.apa import bootstrap_apa
from hafm.evaluate.embeddings.base import Embedding
from hafm.evaluate.exchange import exchange_partners, pairings
from hafm.evaluate.fad import FadInterval, bootstrap_fad, fad, fad_infinity, per_song_fad
from hafm.evaluate.fit.measures import MEASURES
from hafm.evaluate.run.entries import Entry
from hafm.evaluate.run.results import ApaRow, ClipRow, FadRow, Figure, FitRow, MeasureRow, On
from hafm.evaluate.run.scores import Scorer
from hafm.evaluate.statistics import Interval, bootstrap_interval, paired_d, paired_permutation_p
from hafm.evaluate.testset import TRUTH, of_song
from hafm.progress import OnProgress, Progress

__all__ = [
    "FEWEST_SONGS",
    "FEWEST_SONGS_OF_TEST",
    "Summary",
    "by_song",
    "figure_of",
    "fit_rows",
    "measure_rows",
    "paired",
]

_RANDOM = "random"
_P = 0.05
_FLOOR_DRAWS = 20

FEWEST_SONGS = 4
"""Of an interval over songs, and so of a distance."""
FEWEST_SONGS_OF_TEST = 6
"""Of a two-sided test by exchanging pairs, whose least p is 2 / 2^songs: five never have one below 0.05."""

T = TypeVar("T")
SongPoints = list[NDArray[np.floating]]


def fit_rows(clips: Iterable[ClipRow]) -> list[FitRow]:
    """Means over songs. A measure without a value for any clip of a row has a row without a figure."""
    grouped: dict[tuple[str, str], list[ClipRow]] = {}
    for row in clips:
        grouped.setdefault((row.arm, row.system), []).append(row)
    found = []
    for (arm, system), rows in grouped.items():
        for name in MEASURES:
            songs = list(by_song(rows, name).values())
            found.append(
                FitRow(
                    arm=arm,
                    system=system,
                    measure=name,
                    figure=figure_of(bootstrap_interval(songs)) if songs else Figure(value=None),
                    songs=len(songs),
                    clips=sum(row.measures[name] is not None for row in rows),
                )
            )
    return found


def measure_rows(clips: Sequence[ClipRow]) -> list[MeasureRow]:
    """Each measure, and whether it tells the true instrumental from a random one."""
    true = [row for row in clips if row.arm == "isolated" and row.system == TRUTH]
    other = [row for row in clips if row.arm == "isolated" and row.system == _RANDOM]
    found = []
    for name, entry in MEASURES.items():
        a, b = by_song(true, name), by_song(other, name)
        ours, theirs = paired(a, b)
        p = d = None
        if len(ours) >= FEWEST_SONGS_OF_TEST:
            p, d = paired_permutation_p(ours, theirs), paired_d(ours, theirs)
        informative, why = _verdict(entry.higher_is_better, p, ours, theirs, known=bool(a))
        found.append(
            MeasureRow(
                name=name,
                unit=entry.unit,
                higher_is_better=entry.higher_is_better,
                what=entry.what,
                informative=informative,
                p=p,
                effect=d,
                why=why,
            )
        )
    return found


@dataclass(frozen=True, kw_only=True)
class Summary:
    """Which sound represents which row, what it scores, and how intervals are drawn."""

    entries: Sequence[Entry]
    scorer: Scorer
    seed: int
    draws: int
    on_progress: OnProgress | None = None

    def clip_rows(self) -> list[ClipRow]:
        """Every clip under every row, with its measures."""
        return [
            ClipRow(
                arm=entry.arm,
                system=entry.row,
                clip=entry.clip.id,
                song=entry.clip.song,
                take=entry.made[0].take,
                heard=entry.made[0].heard,
                source=entry.made[0].system,
                measures=_averaged([self.scorer.measures(made) for made in entry.made]),
                why=entry.why,
            )
            for entry in self.entries
        ]

    def fad_rows(self) -> list[FadRow]:
        """Distances of every row in every arm, for every embedding, on stems and on mixes.

        Fewer than `FEWEST_SONGS` songs have no interval, and a distance without one is no figure.
        """
        ways: list[tuple[Embedding, On]] = [
            (embedding, on) for embedding in self.scorer.embeddings for on in ("stem", "mix")
        ]
        found = []
        for (embedding, on), arm, row in self._jobs("distances", ways):
            reference = self._song_points(embedding, on, arm, TRUTH)
            candidate = self._song_points(embedding, on, arm, row)
            known = len(candidate) >= FEWEST_SONGS
            found.append(
                FadRow(
                    arm=arm,
                    system=row,
                    embedding=embedding.name,
                    on=on,
                    fad=self._fad_figure(reference, candidate) if known else Figure(value=None),
                    infinity=self._infinity(reference, candidate) if known and row != TRUTH else None,
                    points=sum(map(len, candidate)),
                    per_song=_per_song(self.scorer.manifest.songs, reference, candidate) if known else {},
                )
            )
        return found

    def noise_floor(self, embedding: Embedding, on: On) -> float | None:
        """Mean distance between two halves of the true instrumentals: no difference, at half the songs."""
        songs = self._song_points(embedding, on, "isolated", TRUTH)
        if len(songs) < FEWEST_SONGS:
            return None
        rng = np.random.default_rng(self.seed)
        distances = []
        for _ in range(_FLOOR_DRAWS):
            order = rng.permutation(len(songs))
            half = len(songs) // 2
            distances.append(fad([songs[i] for i in order[:half]], [songs[i] for i in order[half:]]))
        return float(np.mean(distances))

    def apa_rows(self) -> list[ApaRow]:
        """Adherence of every row in every arm; no rows where songs are too few to tell (under eight)."""
        clips = self.scorer.manifest.clips
        songs = of_song(clips).values()
        if len(songs) < 2 * FEWEST_SONGS:
            return []
        [partner] = pairings(clips, seed=self.seed, takes=1)
        found = []
        for embedding, arm, row in self._jobs("adherence", self.scorer.embeddings):
            shuffled: SongPoints = [
                np.concatenate(
                    [self.scorer.shuffled_points(clip, partner[clip.id], embedding) for clip in song]
                )
                for song in songs
            ]
            interval = bootstrap_apa(
                reference=self._song_points(embedding, "mix", arm, TRUTH),
                shuffled=shuffled,
                candidate=self._song_points(embedding, "mix", arm, row),
                donors=exchange_partners(len(songs), seed=self.seed),
                seed=self.seed,
                draws=self.draws,
            )
            found.append(
                ApaRow(
                    arm=arm,
                    system=row,
                    embedding=embedding.name,
                    apa=Figure(value=interval.apa.value, low=interval.low, high=interval.high),
                    informative=interval.informative,
                    why=interval.reason,
                )
            )
        return found

    def _jobs(self, step: str, ways: Sequence[T]) -> Iterator[tuple[T, str, str]]:
        """Each way with every arm and row, in order."""
        tables = list(dict.fromkeys((entry.arm, entry.row) for entry in self.entries))
        jobs = [(way, arm, row) for way in ways for arm, row in tables]
        for number, job in enumerate(jobs, start=1):
            yield job
            if self.on_progress is not None:
                self.on_progress(Progress(step=step, done=number, total=len(jobs)))

    def _song_points(self, embedding: Embedding, on: On, arm: str, row: str) -> SongPoints:
        """The embeddings of each song, in the order of the manifest."""
        songs: dict[str, SongPoints] = {}
        for entry in self.entries:
            if entry.arm == arm and entry.row == row:
                points = self.scorer.points(entry.made[0], embedding, on)
                songs.setdefault(entry.clip.song, []).append(points)
        return [np.concatenate(parts) for parts in songs.values()]

    def _fad_figure(self, reference: SongPoints, candidate: SongPoints) -> Figure:
        seed, draws = self.seed, self.draws
        return figure_of(bootstrap_fad(reference, candidate, seed=seed, draws=draws, resample="paired"))

    def _infinity(self, reference: SongPoints, candidate: SongPoints) -> float | None:
        """None where there are not four times as many embeddings as dimensions: the line bends below."""
        points, dim = sum(map(len, candidate)), candidate[0].shape[1]
        return None if points < 4 * dim else fad_infinity(reference, candidate, seed=self.seed).value


def figure_of(interval: Interval | FadInterval) -> Figure:
    """A figure and its bounds."""
    return Figure(value=interval.value, low=interval.low, high=interval.high)


def by_song(rows: Iterable[ClipRow], measure: str) -> dict[str, float]:
    """A song's mean of a measure, over its clips that have a value."""
    values: dict[str, list[float]] = {}
    for row in rows:
        value = row.measures[measure]
        if value is not None:
            values.setdefault(row.song, []).append(value)
    return {song: float(np.mean(of)) for song, of in values.items()}


def paired(a: Mapping[str, float], b: Mapping[str, float]) -> tuple[list[float], list[float]]:
    """The values of the songs that both have, in the order of the first."""
    songs = [song for song in a if song in b]
    return [a[song] for song in songs], [b[song] for song in songs]


def _verdict(
    higher: bool | None, p: float | None, true: Sequence[float], random: Sequence[float], *, known: bool
) -> tuple[bool | None, str]:
    if not known:
        return None, "not known of these clips"
    if p is None:
        return None, f"too few songs with a random pairing to tell: fewer than {FEWEST_SONGS_OF_TEST}"
    ours, theirs = float(np.mean(true)), float(np.mean(random))
    said = f"truth {ours:.2f}, another song's instrumental {theirs:.2f}, p = {p:.4f} over {len(true)} songs"
    if higher is None:
        return None, f"no direction is better; {said}"
    better = ours > theirs if higher else ours < theirs
    if better and p < _P:
        return True, f"tells them apart: {said}"
    return False, f"says nothing here: {said}"


def _averaged(measures: Sequence[Mapping[str, float | None]]) -> dict[str, float | None]:
    """Means of what has a value."""
    found: dict[str, float | None] = {}
    for name in measures[0]:
        values = [value for each in measures if (value := each[name]) is not None]
        found[name] = float(np.mean(values)) if values else None
    return found


def _per_song(songs: Sequence[str], reference: SongPoints, candidate: SongPoints) -> dict[str, float | None]:
    try:
        return dict(zip(songs, per_song_fad(reference, candidate), strict=True))
    except UsageError:  # a song with a single embedding has no distance of its own
        return dict.fromkeys(songs)

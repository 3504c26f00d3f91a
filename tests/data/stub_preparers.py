"""Preparers that cost nothing: ids that follow from the samples, whoever computes them.

`OpenStub` decodes through `read_stems` as `hafm prepare` does, with a tokeniser of a few lines. `OpenQuick`
reads WAV files with the standard library and imports no torch, for tests that start many processes. Both can
be made to die, to fail and to wait. They are in a module of their own, which other processes can import.
"""

import os
import signal
import time
import wave
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np

from hafm.data.collection.track import SoundPart, Track
from hafm.data.result import ClipLevel, Prepared, Quarantined, TrackResult, TrackTokens

CODEBOOKS = 8


def track(name: str) -> Track:
    """A track that no stub reads."""
    return Track(id=name, song_id=name, mix=SoundPart(path=f"{name}.wav"))


def tokens_of(vocal: np.ndarray, instrumental: np.ndarray, seconds: float) -> TrackTokens:
    """Ids of any sound: energies of frames, hashed."""

    def frames(samples: np.ndarray, rate: int) -> np.ndarray:
        edges = np.linspace(0, len(samples), int(np.ceil(rate * seconds)) + 1).astype(int)[:-1]
        return np.add.reduceat(np.abs(np.asarray(samples, np.float64)), edges)

    def ids(values: np.ndarray, cardinality: int, salt: int = 0) -> np.ndarray:
        return ((values * 7919).astype(np.int64) * (2 * salt + 1) % cardinality).astype(np.uint16)

    coded = frames(instrumental, 75)
    return TrackTokens(
        vocal=ids(frames(vocal, 50), 500)[None],
        instrumental=ids(frames(instrumental, 50), 500),
        codes=np.stack([ids(coded, 1024, salt) for salt in range(CODEBOOKS)]),
    )


@dataclass(frozen=True, kw_only=True)
class Trouble:
    """What happens on a track of some id.

    Args:
        dies_on: the process gets SIGKILL.
        fails_on: a mistake of ours.
        wait_seconds: before each track.
        only_once: a folder: trouble of an id leaves a file there, and does not come again.
    """

    dies_on: frozenset[str] = frozenset()
    fails_on: frozenset[str] = frozenset()
    wait_seconds: float = 0.0
    only_once: str = ""

    def strike(self, name: str) -> None:
        if self.wait_seconds:
            time.sleep(self.wait_seconds)
        if name in self.dies_on and self._again(name):
            os.kill(os.getpid(), signal.SIGKILL)
        if name in self.fails_on:
            raise ZeroDivisionError(f"a mistake on {name}")

    def _again(self, name: str) -> bool:
        if not self.only_once:
            return True
        mark = Path(self.only_once, name.replace("/", "_"))
        if mark.exists():
            return False
        mark.touch()
        return True


class QuickPreparer:
    """Reads pairs of 16-bit WAV files; everything else is quarantined."""

    separates = False
    bytes_per_second = 2 * (2 * 50 + 75 * CODEBOOKS)
    clip_seconds = Fraction(10)

    def __init__(self, opened: "OpenQuick") -> None:
        self._opened = opened

    def made_by(self) -> dict[str, Any]:
        return {"fingerprints": {}, "seed": self._opened.seed}

    def save_parts(self, folder: Path) -> None:
        folder.mkdir(exist_ok=True)
        (folder / "parts.json").write_text("{}\n")

    def prepare(self, tracks: Sequence[Track]) -> list[TrackResult]:
        return [self._prepare(each) for each in tracks]

    def _prepare(self, track: Track) -> TrackResult:
        self._opened.trouble.strike(track.id)
        try:
            vocal, instrumental = (self._read(stem[0].path) for stem in (track.vocal, track.instrumental))
            if not 0 < len(vocal) == len(instrumental):
                raise ValueError("other lengths")
        except (OSError, EOFError, ValueError, wave.Error) as error:
            return Quarantined(track_id=track.id, reason=f"'{track.id}' cannot be read: {error}")
        seconds = len(vocal) / 16_000
        level = ClipLevel(start_seconds=0.0, seconds=seconds, vocal_dbfs=-20.0, instrumental_dbfs=-18.0)
        return Prepared(
            track_id=track.id,
            tokens=tokens_of(vocal, instrumental, seconds),
            levels=(level,),
            seconds=seconds,
            spent={"read": 0.001},
        )

    @staticmethod
    def _read(path: str) -> np.ndarray:
        with wave.open(path) as file:
            return np.frombuffer(file.readframes(file.getnframes()), np.int16) / 32768


@dataclass(frozen=True, kw_only=True)
class OpenQuick:
    """Opens a `QuickPreparer`."""

    seed: int = 0
    trouble: Trouble = field(default_factory=Trouble)

    def __call__(self) -> QuickPreparer:
        return QuickPreparer(self)


class NamePreparer(QuickPreparer):
    """Looks at the id of a track and at nothing else."""

    def _prepare(self, track: Track) -> TrackResult:
        self._opened.trouble.strike(track.id)
        noise = np.frombuffer(track.id.encode() * 100, np.uint8)
        return Prepared(track_id=track.id, tokens=tokens_of(noise, noise, 0.2), levels=(), seconds=0.2)


@dataclass(frozen=True, kw_only=True)
class OpenNames(OpenQuick):
    """Opens a `NamePreparer`; `start` is called first, in the worker."""

    start: Callable[[], None] | None = None

    def __call__(self) -> NamePreparer:
        if self.start is not None:
            self.start()
        return NamePreparer(self)


def die() -> None:
    """For `OpenNames.start`."""
    os.kill(os.getpid(), signal.SIGKILL)


def fail() -> None:
    """For `OpenNames.start`."""
    raise ZeroDivisionError("no models")


class _Halves:
    """A separator that calls a quarter of the mix the vocal."""

    sample_rate = 16_000

    def fingerprint(self) -> str:
        return "halves"

    def separate(self, mix: Any, /) -> tuple[Any, Any]:
        return mix / 4, mix * 3 / 4


@dataclass(frozen=True, kw_only=True)
class OpenStub:
    """Opens the preparer of `hafm prepare` with a cheap tokeniser."""

    seed: int = 0
    views: int = 1
    separates: bool = False
    trouble: Trouble = field(default_factory=Trouble)

    def __call__(self) -> Any:
        from hafm.data.preparing.track_preparer import TokenPreparer

        tokeniser: Any = _StubTokeniser(self)
        return TokenPreparer(tokeniser=tokeniser, separator=_Halves() if self.separates else None)


class _StubTokeniser:
    def __init__(self, opened: OpenStub) -> None:
        self._opened = opened
        self.device = "cpu"
        self.settings = SimpleNamespace(views=opened.views, clip_seconds=Fraction(10))
        self.parts = SimpleNamespace(
            vocal_features=SimpleNamespace(frame_rate=Fraction(50)),
            instrumental_features=SimpleNamespace(frame_rate=Fraction(50)),
            codec=SimpleNamespace(frame_rate=Fraction(75), num_codebooks=CODEBOOKS),
            fingerprints=lambda: {"codec": "stub"},
            save=self._save,
        )

    @staticmethod
    def _save(folder: Path) -> None:
        folder.mkdir(exist_ok=True)
        (folder / "parts.json").write_text("{}\n")

    def made_by(self) -> dict[str, Any]:
        return {"codec": "stub", "seed": self._opened.seed}

    def tokenise(self, read: Sequence[tuple[Track, Any]]) -> list[Prepared]:
        from hafm.data.tokenising.clip_filter import measure_levels

        results = []
        for each, stems in read:
            self._opened.trouble.strike(each.id)
            arguments = stems.vocal, stems.instrumental, stems.sample_rate
            results.append(
                Prepared(
                    track_id=each.id,
                    tokens=tokens_of(stems.vocal.numpy(), stems.instrumental.numpy(), stems.seconds),
                    levels=measure_levels(*arguments, self.settings.clip_seconds),
                    seconds=stems.seconds,
                    notes=stems.notes,
                    spent={"tokens": 0.001},
                )
            )
        return results


class Counting:
    """Hands on results one by one: each number up to the item; its process dies at 13."""

    def prepare(self, items: Sequence[int]) -> Iterator[int]:
        for item in items:
            for number in range(1, item + 1):
                if number == 13:
                    os.kill(os.getpid(), signal.SIGKILL)
                yield number

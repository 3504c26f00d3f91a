"""A small finished evaluation: a folder with clips, sounds of tones and noise, and made-up figures.

    from tests.evaluate.runs import make_run, results_of

Nothing in it was measured. Figures are drawn from the names, so that they are the same on every machine and
lie as a real run's do: the ceilings fit, the controls do not.
"""

import math
from collections.abc import Sequence
from hashlib import sha256
from pathlib import Path
from random import Random
from typing import Any

import torch
from torch import Tensor

from hafm.evaluate.run.folder import BOTH_ARMS, RESULTS_FILE, RunFolder, SoundKey
from hafm.evaluate.run.results import (
    ApaRow,
    ClipRow,
    FadRow,
    Figure,
    FitRow,
    MeasureRow,
    Results,
    SystemRow,
    WorthRow,
)
from hafm.evaluate.statistics import bootstrap_interval
from hafm.evaluate.testset import Arm, Clip, LeftOut, Manifest, Protocol, clip_id

RATE = 24_000

EMBEDDING = "hafm-mel-modulation"

SYSTEMS = {
    "truth": ("true instrumental", "ceiling", 0.9),
    "codec": ("true instrumental through the codec", "ceiling", 0.85),
    "model": ("model", "model", 0.6),
    "model-best-of-4": ("model, best of 4", "model", 0.68),
    "model-best-of-8": ("model, best of 8", "model", 0.7),
    "retrieval": ("retrieval by key and tempo", "baseline", 0.5),
    "random": ("another song's instrumental", "control", 0.25),
    "noise": ("pink noise", "control", 0.1),
    "silence": ("silence", "control", 0.0),
}
"""Every system that can be asked for: its title, its kind, and how well it does from 0 to 1."""

BEST_OF = "takes are chosen by key_vocal, which is therefore no test of it"

HEARS_NOTHING = frozenset({"truth", "codec", "random", "noise", "silence"})
"""Systems that make the same sound in both arms."""

MEASURES = (
    MeasureRow(
        name="key_vocal",
        unit="",
        higher_is_better=True,
        what="key of the accompaniment against the key estimated from the vocal, near keys in part",
        informative=True,
        p=0.002,
        effect=1.4,
        why="the true instrumental scores better than a random one (p 0.002, d 1.4)",
    ),
    MeasureRow(
        name="onset_lag",
        unit="s",
        higher_is_better=False,
        what="size of the lag at which onsets correlate best",
        informative=False,
        p=0.61,
        effect=0.1,
        why="the true instrumental scores no better than a random one (p 0.61)",
    ),
    MeasureRow(
        name="loudness_balance",
        unit="LU",
        higher_is_better=None,
        what="loudness of the accompaniment above that of the vocal",
        informative=None,
        p=None,
        effect=None,
        why="neither higher nor lower is better",
    ),
    MeasureRow(
        name="dead_air",
        unit="",
        higher_is_better=False,
        what="share of the singing without accompaniment beneath it",
        informative=True,
        p=0.01,
        effect=0.8,
        why="the true instrumental scores better than a random one (p 0.01, d 0.8)",
    ),
)


def make_run(
    folder: Path,
    *,
    songs: int = 3,
    clips_per_song: int = 1,
    systems: Sequence[str] = ("truth", "codec", "model", "random"),
    seconds: float = 2.0,
    separated: bool = False,
    song_name: str = "song",
) -> RunFolder:
    """A run with its manifest, all its sounds and its results.

    Args:
        folder: where it goes; made if need be.
        songs, clips_per_song: how many clips there are.
        systems: names from `SYSTEMS`, in the order of the tables. `model-best-of-N` plays takes of `model`.
        seconds: a clip's length, 1 or more.
        separated: whether there is a second arm.
        song_name: songs and tracks are called this and a number.
    """
    run = RunFolder(folder)
    clips = tuple(
        _clip(f"{song_name} {song}", index, seconds)
        for song in range(songs)
        for index in range(clips_per_song)
    )
    manifest = Manifest(
        collection={"kind": "pairs", "root": "/home/somebody/made up"},
        protocol=Protocol(split="all", clip_seconds=seconds, min_clip_seconds=seconds, sample_rate=RATE),
        clips=clips,
        left_out=(LeftOut(track=f"{song_name} X", start_seconds=0.0, reason="activity 0.10 below 0.40"),),
        separator="5e" * 32 if separated else None,
    )
    run.write("manifest.json", manifest.to_json())
    for number, clip in enumerate(clips):
        for arm in manifest.arms:
            run.put(run.vocal_path(arm, clip.id), _vocal(number, clip), RATE)
        for system in systems:
            for made in takes_of(system, manifest.arms, clip.id):
                run.put(run.sound_path(made), _sound(made, number, clip, len(clips)), RATE)
    for system in systems:
        if not system.startswith("model-"):
            run.claim(system, {"kind": system, "seed": 0})
    run.write(RESULTS_FILE, results_of(manifest, systems).to_json())
    return run


def _clip(track: str, index: int, seconds: float) -> Clip:
    return Clip(
        id=clip_id(track, index),
        track=track,
        song=track,
        start_seconds=index * seconds,
        num_samples=round(seconds * RATE),
        activity=0.8,
        sha256={
            part: sha256(f"{track} {index} {part}".encode()).hexdigest() for part in ("vocal", "instrumental")
        },
    )


def takes_of(system: str, arms: Sequence[Arm], clip: str) -> list[SoundKey]:
    """What a system plays for a clip: a best-of plays takes of `model`, and all of them lie there."""
    heard = [BOTH_ARMS] if system in HEARS_NOTHING else list(arms)
    takes = int(system.rpartition("-")[2]) if system.startswith("model-") else 1
    source = "model" if system.startswith("model-") else system
    return [
        SoundKey(system=source, heard=each, take=take, clip=clip) for each in heard for take in range(takes)
    ]


def results_of(manifest: Manifest, systems: Sequence[str]) -> Results:
    """Made-up results for these clips: every table has a row for every system."""
    clips = [
        _clip_row(arm, system, clip) for arm in manifest.arms for system in systems for clip in manifest.clips
    ]
    return Results(
        made_with={
            "date": "2026-01-31",
            "bundle": {"name": "builtin", "version": "1", "fingerprint": "b0" * 32},
            "seed": 0,
            "embeddings": {EMBEDDING: "e1" * 32},
            "environment": {"hafm": "0.1.0", "torch": "2.10.0", "device": "cpu", "threads": 1},
            "stem_lufs": -18.0,
        },
        manifest_fingerprint=manifest.fingerprint,
        arms=manifest.arms,
        systems=tuple(
            SystemRow(
                name=name,
                title=SYSTEMS[name][0],
                kind=SYSTEMS[name][1],
                note=BEST_OF if name.startswith("model-") else "",
                identity={"kind": name},
            )
            for name in systems
        ),
        measures=MEASURES,
        fad=tuple(
            _fad_row(arm, name, on, manifest)
            for arm in manifest.arms
            for name in systems
            for on in ("stem", "mix")
        ),
        apa=tuple(
            ApaRow(
                arm=arm,
                system=name,
                embedding=EMBEDDING,
                apa=_about(SYSTEMS[name][2], 0.05, f"apa {arm} {name}"),
                informative=True,
                why="true and shuffled pairs can be told apart",
            )
            for arm in manifest.arms
            for name in systems
        ),
        fit=tuple(
            _fit_row(arm, name, measure.name, clips)
            for arm in manifest.arms
            for name in systems
            for measure in MEASURES
        ),
        clips=tuple(clips),
        worth=tuple(
            WorthRow(
                stage=stage,
                right=Figure(value=4.1, low=4.0, high=4.2),
                wrong=Figure(value=4.4, low=4.3, high=4.5),
                difference=Figure(value=0.3, low=0.2, high=0.4),
                p=0.004,
                clips=len(manifest.clips),
            )
            for stage in ("semantic", "coarse")
        ),
        notes=("Made-up figures: nothing in this run was measured.",),
    )


def _fad_row(arm: str, system: str, on: Any, manifest: Manifest) -> FadRow:
    far = (1.0 - SYSTEMS[system][2]) * (20.0 if on == "stem" else 8.0)
    return FadRow(
        arm=arm,
        system=system,
        embedding=EMBEDDING,
        on=on,
        fad=_about(far, 0.1 * far, f"fad {arm} {system} {on}"),
        infinity=None if system == "silence" else 0.9 * far,
        points=100 * len(manifest.clips),
        per_song={song: far + Random(f"{song} {system}").random() for song in manifest.songs},
    )


def _clip_row(arm: str, system: str, clip: Clip) -> ClipRow:
    good = SYSTEMS[system][2]
    draw = Random(f"{arm} {system} {clip.id}")
    silent = system == "silence"
    best = system.startswith("model-")
    takes = int(system.rpartition("-")[2]) if best else 1
    take = draw.randrange(takes)
    return ClipRow(
        arm=arm,
        system=system,
        clip=clip.id,
        song=clip.song,
        take=take,
        heard=BOTH_ARMS if system in HEARS_NOTHING else arm,
        source="model" if best else system,
        measures={
            "key_vocal": None if silent else round(good + 0.1 * draw.random(), 3),
            "onset_lag": None if silent else round(0.3 * draw.random(), 2),
            "loudness_balance": None if silent else round(2 * draw.random() - 4, 2),
            "dead_air": 1.0 if silent else round(0.2 * (1 - good) * draw.random(), 3),
        },
        why=f"take {take + 1} of {takes}: highest key_vocal" if best else "",
    )


def _fit_row(arm: str, system: str, measure: str, clips: Sequence[ClipRow]) -> FitRow:
    by_song: dict[str, list[float]] = {}
    for row in clips:
        value = row.measures[measure]
        if (row.arm, row.system) == (arm, system) and value is not None:
            by_song.setdefault(row.song, []).append(value)
    figure = Figure(value=None)
    if by_song:
        found = bootstrap_interval([sum(values) / len(values) for values in by_song.values()], resamples=200)
        figure = Figure(value=found.value, low=found.low, high=found.high)
    return FitRow(
        arm=arm,
        system=system,
        measure=measure,
        figure=figure,
        songs=len(by_song),
        clips=sum(len(values) for values in by_song.values()),
    )


def _about(value: float, half: float, name: str) -> Figure:
    shift = half * (Random(name).random() - 0.5)
    return Figure(value=value + shift, low=value + shift - half, high=value + shift + half)


# ---- sounds


def _vocal(number: int, clip: Clip) -> Tensor:
    """A wavering tone, another note in each clip."""
    time = torch.arange(clip.num_samples) / RATE
    hz = 220.0 * 2 ** (number % 12 / 12)
    return 0.3 * torch.sin(2 * math.pi * hz * time + 1.5 * torch.sin(2 * math.pi * 5.0 * time))


def _chord(number: int, clip: Clip) -> Tensor:
    """A major triad under that note, struck twice a second."""
    time = torch.arange(clip.num_samples) / RATE
    root = 110.0 * 2 ** (number % 12 / 12)
    tones = sum(torch.sin(2 * math.pi * root * ratio * time) for ratio in (1.0, 1.25, 1.5))
    return 0.1 * torch.exp(-3.0 * (time % 0.5)) * tones


def _noise(clip: Clip, seed: int) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(clip.num_samples, generator=generator).clamp(-4, 4)


def _sound(made: SoundKey, number: int, clip: Clip, clips: int) -> Tensor:
    if made.system == "silence":
        return torch.zeros(clip.num_samples)
    if made.system == "noise":
        return 0.05 * _noise(clip, number)
    if made.system == "truth":
        return _chord(number, clip)
    if made.system == "random":
        return _chord((number + 1) % clips, clip)
    dirt = {"codec": 0.002, "retrieval": 0.004, "model": 0.008}[made.system]
    return _chord(number, clip) + dirt * _noise(clip, 100 * number + made.take + len(made.heard))

"""One evaluation from clips to results. Start to read here.

In: a folder with clips, and systems. Out: `Results`, and everything they come from in the folder.

    collection --protocol--> clips      run.clips      RUN/manifest.json, RUN/sounds/{vocal,truth}
    systems    --play------> sounds     run.sounds     RUN/sounds/SYSTEM
    sounds     --score-----> numbers    run.scores     RUN/measures, RUN/points
    takes      --choose----> entries    run.entries    RUN/choices
    entries    --sum up----> results    run.summary    RUN/results.json

Every step keeps what it made, so a run that was stopped goes on where it was, and a further system, take or
embedding costs only itself. Results are written last.

Source: paper 4; Donahue et al., "SingSong" (2023), section 4, for protocol and arms.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch

from hafm.errors import UsageError
from hafm.evaluate.embeddings.base import Embedding, embed_sound
from hafm.evaluate.run.clips import TRUTH
from hafm.evaluate.run.entries import entries_of, rows_of
from hafm.evaluate.run.folder import BOTH_ARMS, RESULTS_FILE, Made, RunFolder
from hafm.evaluate.run.results import Figure, On, Results, WorthRow
from hafm.evaluate.run.scores import STEM_LUFS, Scorer
from hafm.evaluate.run.sounds import make_sounds
from hafm.evaluate.run.summary import apa_rows, clip_rows, fad_rows, fit_rows, measure_rows, noise_floor
from hafm.evaluate.statistics import bootstrap_interval
from hafm.evaluate.systems.base import System
from hafm.evaluate.vocal_worth import AlignedClip, StageWorth, vocal_worth
from hafm.generate.record import Environment
from hafm.progress import OnProgress
from hafm.stages.bundle import Bundle

__all__ = ["BEST_OF", "Settings", "evaluate"]

_FEWEST_SONGS_OF_DISTANCES = 20

BEST_OF = (4, 8)
"""There is a row for the best of each of these numbers of takes, as far as there are as many."""

_REFERENCES: tuple[tuple[On, str], ...] = (("stem", "instrumentals"), ("mix", "mixes"))


@dataclass(frozen=True, kw_only=True)
class Settings:
    """What decides the figures beside clips and systems.

    Args:
        seed: of half-samples, subsets and pairings.
        best_of: numbers of takes for which there is a row.
        draws: half-samples behind an interval of a distance, 20 or more.
        device: where embeddings and stages run.
    """

    seed: int = 0
    best_of: tuple[int, ...] = BEST_OF
    draws: int = 200
    device: str = "cpu"


def evaluate(
    run: RunFolder,
    systems: Sequence[System],
    *,
    embeddings: Sequence[Embedding],
    settings: Settings,
    bundle: Bundle | None = None,
    on_progress: OnProgress | None = None,
) -> Results:
    """Plays, scores and sums up.

    Args:
        run: with its clips, see `hafm.evaluate.run.clips.build_test_set`.
        systems: in the order of the tables, without the truth.
        embeddings: what distances are measured with.
        settings: see `Settings`.
        bundle: whose use of the vocal is measured; None leaves that out.
        on_progress: called as each step goes on.

    Raises:
        HafmError: as the steps raise; what is done stays.
    """
    manifest = run.manifest
    _rehearse(run, embeddings)

    run.claim(TRUTH, {"kind": "ceiling"})
    for system in systems:
        make_sounds(run, system, on_progress=on_progress)
    scorer = Scorer(run, embeddings)
    entries = entries_of(run, systems, best_of=settings.best_of, on_progress=on_progress)
    sounds = list(dict.fromkeys(made for entry in entries for made in entry.made))
    scorer.score(sounds, on_progress=on_progress)
    clips = clip_rows(entries, scorer)
    worth = () if bundle is None else _worth(run, bundle, settings, on_progress)
    drawn = {"seed": settings.seed, "draws": settings.draws}
    results = Results(
        made_with={
            "environment": vars(Environment.here(settings.device)),
            "seed": settings.seed,
            "embeddings": {embedding.name: embedding.fingerprint() for embedding in embeddings},
            "bundle": None
            if bundle is None
            else {
                "name": bundle.config.name,
                "version": bundle.config.version,
                "fingerprint": bundle.fingerprint,
            },
            "stem_lufs": STEM_LUFS,
            "mix": "accompaniment 3 dB under the isolated vocal, -14 LUFS",
            "collection": dict(manifest.collection),
            "clips": len(manifest.clips),
            "songs": len(manifest.songs),
            "seconds": sum(clip.num_samples for clip in manifest.clips) / manifest.protocol.sample_rate,
        },
        manifest_fingerprint=manifest.fingerprint,
        arms=manifest.arms,
        systems=tuple(rows_of(systems, best_of=settings.best_of)),
        measures=tuple(measure_rows(clips)),
        fad=tuple(fad_rows(entries, scorer, manifest, **drawn, on_progress=on_progress)),
        apa=tuple(apa_rows(entries, scorer, manifest, **drawn, on_progress=on_progress)),
        fit=tuple(fit_rows(clips)),
        clips=tuple(clips),
        worth=worth,
        notes=_few_songs(len(manifest.songs))
        + tuple(
            f"Two halves of the true {what} are {floor:.2f} apart in {embedding.name}: with half the songs, "
            "a distance of that size means no difference."
            for embedding in embeddings
            for on, what in _REFERENCES
            if (floor := noise_floor(entries, scorer, embedding, on, seed=settings.seed)) is not None
        ),
    )
    run.write(RESULTS_FILE, results.to_json())
    return results


def _few_songs(count: int) -> tuple[str, ...]:
    """A warning, where distances rest on next to nothing.

    >>> _few_songs(50), len(_few_songs(2))
    ((), 1)
    """
    if count >= _FEWEST_SONGS_OF_DISTANCES:
        return ()
    return (
        f"The Fréchet distances rest on {count} songs, and say next to nothing: of fewer than "
        f"{_FEWEST_SONGS_OF_DISTANCES}, noise or a random pairing may come out as near as the truth. Take "
        "more songs.",
    )


def _rehearse(run: RunFolder, embeddings: Sequence[Embedding]) -> None:
    """Refuses, before anything is played, clips that an embedding cannot hear, or too few of them.

    Raises:
        AudioContentError: the shortest clip is too short.
        UsageError: there are fewer than two embeddings in all, so that nothing has a distance.
    """
    manifest = run.manifest
    shortest = torch.zeros(min(clip.num_samples for clip in manifest.clips))
    for embedding in embeddings:
        points = len(embed_sound(embedding, shortest, sample_rate=manifest.protocol.sample_rate))
        if points * len(manifest.clips) < 2:
            raise UsageError(
                f"a distance needs two embeddings or more, and {len(manifest.clips)} clip is one for "
                f"{embedding.name}; give more songs, or longer clips"
            )


def _worth(
    run: RunFolder, bundle: Bundle, settings: Settings, on_progress: OnProgress | None
) -> tuple[WorthRow, ...]:
    """What the vocal is worth to a bundle's stages on the clips; kept, since it takes long."""
    manifest, path = run.manifest, run.path / "worth.json"
    state = [bundle.fingerprint, manifest.fingerprint, settings.seed]
    if path.is_file():
        kept = json.loads(path.read_text(encoding="utf-8"))
        if kept["state"] == state:
            return tuple(_worth_row(row) for row in kept["rows"])
    clips = [
        AlignedClip(
            id=clip.id,
            song=clip.song,
            vocal=run.vocal("isolated", clip),
            instrumental=run.sound(Made(system=TRUTH, heard=BOTH_ARMS, take=0, clip=clip.id)),
        )
        for clip in manifest.clips
    ]
    stages = vocal_worth(
        bundle,
        clips,
        sample_rate=manifest.protocol.sample_rate,
        seed=settings.seed,
        device=settings.device,
        on_progress=on_progress,
    )
    rows = [_summed(stage) for stage in stages]
    run.write(path.name, json.dumps({"state": state, "rows": rows}, indent=1))
    return tuple(_worth_row(row) for row in rows)


def _summed(stage: StageWorth) -> dict[str, Any]:
    songs: dict[str, list[tuple[float, float]]] = {}
    for clip in stage.clips:
        songs.setdefault(clip.song, []).append((clip.right, clip.wrong))
    means = [[sum(side) / len(side) for side in zip(*pairs, strict=True)] for pairs in songs.values()]
    right, wrong = (bootstrap_interval([pair[side] for pair in means]) for side in (0, 1))
    figures = {"right": right, "wrong": wrong, "difference": stage.difference}
    return {
        "stage": stage.stage,
        "p": stage.p,
        "clips": len(stage.clips),
        **{name: {"value": each.value, "low": each.low, "high": each.high} for name, each in figures.items()},
    }


def _worth_row(row: dict[str, Any]) -> WorthRow:
    figures = {name: Figure(**row[name]) for name in ("right", "wrong", "difference")}
    return WorthRow(**{**row, **figures})

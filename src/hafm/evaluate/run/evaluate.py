"""One evaluation from clips to results. Start to read here.

In: a folder with clips, and systems. Out: `Results`, and everything they come from in the folder.

    collection --protocol--> clips      run.clips      RUN/manifest.json, RUN/sounds/{vocal,truth}
    systems    --accompany-> sounds     make_sounds    RUN/sounds/SYSTEM
    sounds     --score-----> numbers    run.scores     RUN/measures, RUN/points
    takes      --choose----> entries    run.entries    RUN/choices
    entries    --sum up----> results    run.summary    RUN/results.json

Every step keeps what it made, so a run that was stopped goes on where it was, and a further system, take or
embedding costs only itself. Results are written last.

Source: paper 4; Donahue et al., "SingSong" (2023), section 4, for protocol and arms.
"""

import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass

import torch

from hafm.errors import UsageError
from hafm.evaluate.embeddings.base import Embedding, embed_sound
from hafm.evaluate.run.entries import entries_of, rows_of
from hafm.evaluate.run.folder import BOTH_ARMS, RESULTS_FILE, RunFolder, SoundKey, takes_of, true_sound
from hafm.evaluate.run.results import On, Results, WorthRow
from hafm.evaluate.run.scores import STEM_LUFS, Scorer
from hafm.evaluate.run.summary import FEWEST_SONGS, Summary, figure_of, fit_rows, measure_rows
from hafm.evaluate.statistics import bootstrap_interval
from hafm.evaluate.systems.base import ClipSound, Guided, System
from hafm.evaluate.testset import TRUTH, Arm, Clip, of_song
from hafm.evaluate.vocal_worth import AlignedClip, StageWorth, vocal_worth
from hafm.generate.record import Environment
from hafm.jsonfile import as_type
from hafm.progress import OnProgress, Progress
from hafm.stages.bundle import Bundle

__all__ = ["BEST_OF", "Settings", "evaluate", "make_sounds"]

_FEWEST_SONGS_OF_DISTANCES = 20

BEST_OF = (4, 8)
"""There is a row for the best of each of these numbers of takes, as far as there are as many."""

_WORTH = "worth.json"
_REFERENCES: tuple[tuple[On, str], ...] = (("stem", "instrumentals"), ("mix", "mixes"))


@dataclass(frozen=True, kw_only=True)
class Settings:
    """What decides the figures beside clips and systems; an interval of a distance has 20 draws or more."""

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
    worth: bool = True,
    on_progress: OnProgress | None = None,
) -> Results:
    """Plays, scores and sums up.

    Args:
        run: with its clips, see `hafm.evaluate.run.clips.build_test_set`.
        systems: in the order of the tables, without the truth.
        embeddings: what distances are measured with.
        bundle: that is judged, for the record; None where none is.
        worth: whether its use of the vocal is measured, too.
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
    summary = Summary(
        entries=entries, scorer=scorer, seed=settings.seed, draws=settings.draws, on_progress=on_progress
    )
    clips = summary.clip_rows()
    rows = _worth(run, bundle, settings, on_progress) if worth and bundle is not None else ()
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
        fad=tuple(summary.fad_rows()),
        apa=tuple(summary.apa_rows()),
        fit=tuple(fit_rows(clips)),
        clips=tuple(clips),
        worth=rows,
        notes=_few_songs(len(manifest.songs))
        + tuple(
            f"Two halves of the true {what} are {floor:.2f} apart in {embedding.name}: with half the songs, "
            "a distance of that size means no difference."
            for embedding in embeddings
            for on, what in _REFERENCES
            if (floor := summary.noise_floor(embedding, on)) is not None
        ),
    )
    run.write(RESULTS_FILE, results.to_json())
    return results


def make_sounds(run: RunFolder, system: System, *, on_progress: OnProgress | None = None) -> None:
    """Makes all sounds of a system that are missing.

    Clips of one length go together, as many as a system takes at a time. Each sound is written as soon as its
    batch is done; a stopped run loses one batch.

    Raises:
        UsageError: the sounds in the folder were made by something else under that name.
    """
    run.claim(system.name, {"kind": system.kind, **system.identity()})
    manifest = run.manifest
    arms = manifest.arms if system.uses_vocal else [BOTH_ARMS]
    jobs = [(heard, clip) for heard in arms for clip in manifest.clips]
    missing = [
        job for job in jobs if not all(run.sound_path(made).is_file() for made in _takes(system, *job))
    ]
    done = len(jobs) - len(missing)
    for batch in _batches(missing, system.batch_clips):
        heard = batch[0][0]
        arm: Arm = "separated" if heard == "separated" else "isolated"
        clips = [
            ClipSound(
                clip=clip,
                vocal=run.vocal(arm, clip),
                instrumental=run.sound(true_sound(clip.id)),
                sheet=run.sheet(true_sound(clip.id)),
            )
            for _, clip in batch
        ]
        if isinstance(system, Guided):
            for each in clips:
                if (sheet := system.sheet_of(each)) is not None:
                    run.put_sheet(SoundKey(system=system.name, heard=heard, take=0, clip=each.clip.id), sheet)

        def on_share(share: float, done: int = done, size: int = len(batch)) -> None:
            if on_progress is not None:
                on_progress(Progress(step=system.title, done=done + share * size, total=len(jobs)))

        rate = manifest.protocol.sample_rate
        made_here = system.accompany(clips, sample_rate=rate, on_share=on_share)
        for job, takes in zip(batch, made_here, strict=True):
            for made, waveform in zip(_takes(system, *job), takes, strict=True):
                run.put(run.sound_path(made), waveform, rate)
        done += len(batch)


def _takes(system: System, heard: str, clip: Clip) -> tuple[SoundKey, ...]:
    return takes_of(system.name, heard, clip.id, system.takes)


def _batches(jobs: Sequence[tuple[str, Clip]], size: int) -> Iterator[list[tuple[str, Clip]]]:
    """Jobs of one arm and one length, `size` at most."""
    groups: dict[tuple[str, int], list[tuple[str, Clip]]] = {}
    for heard, clip in jobs:
        groups.setdefault((heard, clip.num_samples), []).append((heard, clip))
    for group in groups.values():
        for start in range(0, len(group), size):
            yield group[start : start + size]


def _few_songs(count: int) -> tuple[str, ...]:
    """A warning, where distances rest on next to nothing, or are left out for that.

    >>> _few_songs(50), len(_few_songs(5)), _few_songs(2)[0][:51]
    ((), 1, 'There are no Fréchet distances: 2 songs are too few')
    """
    if count >= _FEWEST_SONGS_OF_DISTANCES:
        return ()
    if count < FEWEST_SONGS:
        return (
            f"There are no Fréchet distances: {count} songs are too few for one, which needs {FEWEST_SONGS} "
            f"to have an interval, and {_FEWEST_SONGS_OF_DISTANCES} to say much. Take more songs.",
        )
    return (
        f"The Fréchet distances rest on {count} songs, and say next to nothing: of fewer than "
        f"{_FEWEST_SONGS_OF_DISTANCES}, noise or a random pairing may come out as near as the truth. Take "
        "more songs.",
    )


def _rehearse(run: RunFolder, embeddings: Sequence[Embedding]) -> None:
    """Refuses, before anything is played, clips that an embedding cannot hear, or too few of them."""
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
    manifest = run.manifest
    state = [bundle.fingerprint, manifest.fingerprint, settings.seed]
    if (kept := run.kept(_WORTH)).get("state") == state:
        return tuple(as_type(row, WorthRow, name=_WORTH) for row in kept["rows"])
    clips = [
        AlignedClip(
            id=clip.id,
            song=clip.song,
            vocal=run.vocal("isolated", clip),
            instrumental=run.sound(true_sound(clip.id)),
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
    rows = tuple(_worth_row(stage) for stage in stages)
    run.write(_WORTH, json.dumps({"state": state, "rows": [asdict(row) for row in rows]}, indent=1))
    return rows


def _worth_row(stage: StageWorth) -> WorthRow:
    songs = of_song(stage.clips).values()
    right, wrong = (
        [sum(getattr(loss, side) for loss in losses) / len(losses) for losses in songs]
        for side in ("right", "wrong")
    )
    return WorthRow(
        stage=stage.stage,
        right=figure_of(bootstrap_interval(right)),
        wrong=figure_of(bootstrap_interval(wrong)),
        difference=figure_of(stage.difference),
        p=stage.p,
        clips=len(stage.clips),
    )

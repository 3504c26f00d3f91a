"""What semantic tokens know of the score.

    python -m recipes.builtin.probe_tokens --shards work/shards --pairs work/pairs

In:  tokens of train and valid pairs, and the truths that `render` wrote. Out: a table, and one line of JSON.

    vocal ids          -> pitch class and pitch of the sung note
    instrumental ids   -> root of the chord, and its set of pitch classes

The probe is the simplest there is: on train, every id votes for what sounded most often while it was chosen;
on valid, that vote is compared with the truth, frame by frame. It knows nothing of neighbouring frames, so it
is a floor on what a stage can read from the tokens. Frames within 60 ms of a note's begin and 40 ms of its
end (100 and 50 for chords) are left out: there the truth is no single value. Chance is the share of the most
frequent answer.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hafm.data.shards.file import ShardArrays, shard_name
from hafm.data.shards.folder import ShardFolder
from hafm.data.shards.index import read_index, read_tracks
from hafm.data.shards.token_use import TokenUse
from hafm.errors import HafmError

__all__ = ["Truth", "frame_truth", "main", "probe", "vote"]

FRAME_SECONDS = 0.02
UNKNOWN = -1
NOTE_MARGINS_SECONDS = (0.06, 0.04)
CHORD_MARGINS_SECONDS = (0.10, 0.05)

Ids = NDArray[np.int64]


@dataclass(frozen=True, kw_only=True)
class Truth:
    """What sounds in each frame.

    Attributes:
        pitch: MIDI number of the sung note, or UNKNOWN. Shape [T].
        root: pitch class of the chord's root, or UNKNOWN. Shape [T].
        pitch_classes: of the chord. Shape [T, 12].
    """

    pitch: Ids
    root: Ids
    pitch_classes: NDArray[np.bool_]


def frame_truth(truth: dict[str, Any], num_frames: int) -> Truth:
    """The truth of a pair on the grid of semantic tokens.

    Args:
        truth: the pair's JSON.
        num_frames: at 50 Hz.

    >>> chord = {"start_seconds": 0.0, "end_seconds": 0.3, "root": 9, "pitch_classes": [9, 0, 4]}
    >>> found = frame_truth({"notes": [], "chords": [chord]}, 16)
    >>> found.root.tolist()
    [-1, -1, -1, -1, -1, 9, 9, 9, 9, 9, 9, 9, -1, -1, -1, -1]
    """
    centres = (np.arange(num_frames) + 0.5) * FRAME_SECONDS

    def inside(span: dict[str, Any], margins: tuple[float, float]) -> NDArray[np.bool_]:
        begin, end = span["start_seconds"] + margins[0], span["end_seconds"] - margins[1]
        return (centres >= begin) & (centres < end)

    pitch, root = np.full((2, num_frames), UNKNOWN)
    pitch_classes = np.zeros((num_frames, 12), bool)
    for note in truth["notes"]:
        pitch[inside(note, NOTE_MARGINS_SECONDS)] = note["pitch"]
    for chord in truth["chords"]:
        if chord["root"] is not None:
            frames = inside(chord, CHORD_MARGINS_SECONDS)
            root[frames] = chord["root"]
            pitch_classes[np.ix_(frames, chord["pitch_classes"])] = True
    return Truth(pitch=pitch, root=root, pitch_classes=pitch_classes)


def vote(train_ids: Ids, train_answers: Ids, ids: Ids, answers: Ids) -> dict[str, float]:
    """Majority vote of each id on train, judged on held-out frames; frames of unknown answer are left out.

    Returns:
        `accuracy`, and `chance`, that of always giving train's most frequent answer.

    >>> vote(np.array([0, 0, 0, 1]), np.array([5, 5, 6, 6]), np.array([0, 1, 1]), np.array([5, 6, 5]))
    {'accuracy': 0.6666666666666666, 'chance': 0.6666666666666666}
    """
    known = train_answers != UNKNOWN
    counts = np.zeros((int(max(train_ids.max(), ids.max())) + 1, int(train_answers.max()) + 1))
    np.add.at(counts, (train_ids[known], train_answers[known]), 1)
    held = answers != UNKNOWN
    return {
        "accuracy": float((counts.argmax(axis=1)[ids[held]] == answers[held]).mean()),
        "chance": float((counts.sum(axis=0).argmax() == answers[held]).mean()),
    }


def chord_f1(train_ids: Ids, train: NDArray[np.bool_], ids: Ids, held: NDArray[np.bool_]) -> dict[str, float]:
    """F1 over (frame, pitch class): an id claims the classes that sound in over half of its frames.

    Returns:
        `f1`, and `chance`, that of claiming all twelve always.
    """
    sounding, held_sounding = train.any(axis=1), held.any(axis=1)
    counts = np.bincount(train_ids[sounding], minlength=int(max(train_ids.max(), ids.max())) + 1)
    totals = np.zeros((len(counts), 12))
    np.add.at(totals, train_ids[sounding], train[sounding])
    claimed = (totals > 0.5 * counts[:, None])[ids[held_sounding]]
    true = held[held_sounding]
    return {
        "f1": float(2 * (claimed & true).sum() / (claimed.sum() + true.sum())),
        "chance": float(2 * true.sum() / (true.size + true.sum())),
    }


def probe(shards: Path, pairs: Path, *, max_pairs: int = 1000) -> dict[str, dict[str, float]]:
    """Votes on train, judges on view 0 of valid.

    Args:
        shards: folder that `hafm prepare` wrote.
        pairs: parent of the split folders that `render` wrote.
        max_pairs: of train that vote.

    Returns:
        A row of figures for each question.
    """
    train, valid = (_gather(shards, pairs, split, max_pairs) for split in ("train", "valid"))
    pitch_class = [
        np.where(part.truth.pitch == UNKNOWN, UNKNOWN, part.truth.pitch % 12) for part in (train, valid)
    ]
    return {
        "vocal: pitch class": vote(train.vocal, pitch_class[0], valid.vocal, pitch_class[1]),
        "vocal: pitch": vote(train.vocal, train.truth.pitch, valid.vocal, valid.truth.pitch),
        "instrumental: chord root": vote(
            train.instrumental, train.truth.root, valid.instrumental, valid.truth.root
        ),
        "instrumental: chord": chord_f1(
            train.instrumental, train.truth.pitch_classes, valid.instrumental, valid.truth.pitch_classes
        ),
        "vocal: ids": _use(valid.vocal),
        "instrumental: ids": _use(valid.instrumental),
    }


@dataclass(frozen=True, kw_only=True)
class _Frames:
    """All frames of a split, end to end."""

    vocal: Ids
    instrumental: Ids
    truth: Truth


def _gather(shards: Path, pairs: Path, split: str, max_pairs: int) -> _Frames:
    """All frames of the first tracks of a split, whatever the filter says of them."""
    folder = ShardFolder(shards)
    index = read_index(folder)
    tracks = [track for track in read_tracks(folder, index) if track.split == split][:max_pairs]
    if not tracks:
        raise ValueError(f"there are no {split} tracks in '{shards}'; prepare some")
    vocal, instrumental, truths = [], [], []
    for track in tracks:
        name = shard_name(split, track.shard)
        arrays = ShardArrays.open(folder.local_path(name, index.files[name]))
        frames = slice(track.start_50, track.start_50 + track.frames_50)
        vocal.append(arrays.vocal[0, frames])
        instrumental.append(arrays.instrumental[frames])
        truths.append(frame_truth(json.loads((pairs / f"{track.id}.json").read_text()), track.frames_50))
    return _Frames(
        vocal=np.concatenate(vocal).astype(np.int64),
        instrumental=np.concatenate(instrumental).astype(np.int64),
        truth=Truth(
            pitch=np.concatenate([truth.pitch for truth in truths]),
            root=np.concatenate([truth.root for truth in truths]),
            pitch_classes=np.concatenate([truth.pitch_classes for truth in truths]),
        ),
    )


def _use(ids: Ids) -> dict[str, float]:
    """How many ids are in use, and for how many frames one lasts."""
    return {
        "perplexity": TokenUse(counts=np.bincount(ids)).perplexity,
        "frames_per_id": len(ids) / (1 + int((ids[1:] != ids[:-1]).sum())),
    }


def main(arguments: Sequence[str] | None = None) -> int:
    """The command. Returns the exit status: 0, or 2 when it cannot be done."""
    parser = argparse.ArgumentParser(
        prog="python -m recipes.builtin.probe_tokens", description="What semantic tokens know of the score."
    )
    parser.add_argument("--shards", type=Path, required=True, help="folder that hafm prepare wrote")
    parser.add_argument("--pairs", type=Path, required=True, help="parent of the split folders")
    parser.add_argument("--max-pairs", type=int, default=1000, help="of train that vote (default 1000)")
    values = parser.parse_args(arguments)
    try:
        rows = probe(values.shards, values.pairs, max_pairs=values.max_pairs)
    except (HafmError, OSError, ValueError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    for name, figures in rows.items():
        print(f"{name:28s}" + "".join(f"{key} {value:8.3f}   " for key, value in figures.items()))
    print(json.dumps(rows))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())

"""The probe finds what is in tokens made to hold it, and nothing in tokens made by dice."""

import json
from pathlib import Path

import numpy as np
import pytest

from hafm.data.collection.track import Split
from hafm.data.result import TrackTokens
from recipes.builtin.probe_tokens import main, probe
from tests.recipes.shards import Tracks, make_shards

FRAMES = 1_000


def make_tracks(root: Path, split: Split, *, honest: bool, seed: int) -> Tracks:
    """Pairs whose notes and chords change every half second, with ids that spell them out, or random ones."""
    rng = np.random.default_rng(seed)
    folder = root / "pairs" / split
    folder.mkdir(parents=True, exist_ok=True)
    tokens = []
    for index in range(4):
        pitches, roots = rng.integers(50, 70, 40), rng.integers(0, 12, 40)
        spans = [{"start_seconds": 0.5 * k, "end_seconds": 0.5 * (k + 1)} for k in range(40)]
        notes = [{**span, "pitch": int(pitch)} for span, pitch in zip(spans, pitches, strict=True)]
        chords = [
            {
                **span,
                "root": int(root_),
                "pitch_classes": [int(root_), int(root_ + 4) % 12, int(root_ + 7) % 12],
            }
            for span, root_ in zip(spans, roots, strict=True)
        ]
        (folder / f"{index:06d}.json").write_text(json.dumps({"notes": notes, "chords": chords}))
        vocal, instrumental = np.repeat(pitches, 25), np.repeat(roots, 25)
        if not honest:
            vocal, instrumental = rng.integers(0, 70, FRAMES), rng.integers(0, 12, FRAMES)
        pair = TrackTokens(
            vocal=vocal[None].astype(np.uint16),
            instrumental=instrumental.astype(np.uint16),
            codes=np.zeros((1, 1500), np.uint16),
        )
        tokens.append((f"{split}/{index:06d}", str(index), pair))
    return tokens


@pytest.mark.parametrize("honest", [True, False])
def test_it_finds_what_is_there(tmp_path: Path, honest: bool) -> None:
    splits: tuple[Split, ...] = ("train", "valid")
    tracks = {
        split: make_tracks(tmp_path, split, honest=honest, seed=seed) for seed, split in enumerate(splits)
    }
    found = probe(make_shards(tmp_path / "shards", tracks), tmp_path / "pairs")
    accuracies = [
        found[name]["accuracy"] for name in ("vocal: pitch class", "vocal: pitch", "instrumental: chord root")
    ]
    if honest:
        assert min(accuracies) > 0.95
        assert found["instrumental: chord"]["f1"] > 0.95
        assert found["instrumental: ids"]["frames_per_id"] == pytest.approx(25, rel=0.2)
    else:
        assert max(accuracies) < 0.2
        assert found["instrumental: chord"]["f1"] < found["instrumental: chord"]["chance"]
    assert found["vocal: pitch"]["chance"] < 0.15


def test_without_shards_it_says_so_in_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--shards", str(tmp_path), "--pairs", str(tmp_path)]) == 2
    assert capsys.readouterr().err.startswith("error: there are no shards in")


def test_a_split_that_was_not_prepared_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    tracks = make_tracks(tmp_path, "train", honest=True, seed=0)
    shards = make_shards(tmp_path / "shards", {"train": tracks})
    assert main(["--shards", str(shards), "--pairs", str(tmp_path / "pairs")]) == 2
    assert "there are no valid tracks" in capsys.readouterr().err

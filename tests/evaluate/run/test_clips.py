"""From a collection to clips: what is cut, what is left out and why, both arms, and what is refused
afterwards."""

import json
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

from benchmarks.make_separator import write_separator
from hafm.data.collection.sources import open_source
from hafm.errors import UsageError
from hafm.evaluate.fit.truth import read_truth
from hafm.evaluate.run.clips import build_test_set, truth_path
from hafm.evaluate.run.folder import RunFolder, true_sound
from hafm.evaluate.testset import Manifest, Protocol
from hafm.separate.separator import Separator
from tests.evaluate.fit.band import RATE
from tests.evaluate.songs import make_songs


def build(songs: Path, run: Path, protocol: Protocol, **options: object) -> Manifest:
    kind = "rendered" if (songs / "test").is_dir() else "pairs"
    source = open_source(kind, songs, subset=None, song_from=None)
    return build_test_set(RunFolder(run), source, protocol, **options)  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def songs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_songs(tmp_path_factory.mktemp("songs"), songs=3)


def test_clips_follow_each_other_and_hold_the_songs_samples(songs: Path, tmp_path: Path) -> None:
    manifest = build(songs, tmp_path, Protocol(clip_seconds=2.0, min_clip_seconds=2.0))
    assert [clip.start_seconds for clip in manifest.clips] == [0.0, 2.0, 4.0] * 3
    assert manifest.songs == ("100", "101", "102")
    assert not manifest.left_out
    run = RunFolder(tmp_path)
    whole, _ = soundfile.read(songs / "test" / "000001.vocal.wav", dtype="float32")
    parts = [run.vocal("isolated", clip) for clip in manifest.clips if clip.song == "101"]
    assert torch.allclose(torch.cat(parts), torch.from_numpy(whole - whole.mean()), atol=1e-6)
    assert run.manifest == manifest


def test_the_truth_of_a_clip_is_that_of_its_stretch(songs: Path, tmp_path: Path) -> None:
    manifest = build(songs, tmp_path, Protocol(clip_seconds=2.0, min_clip_seconds=2.0))
    whole = read_truth(songs / "test" / "000001.json")
    clip = manifest.clips[4]
    part = read_truth(truth_path(RunFolder(tmp_path), clip.id))
    assert clip.truth
    assert part.key == whole.key
    assert part.beats_seconds == pytest.approx([beat - 2 for beat in whole.beats_seconds if 2 <= beat < 4])


def test_what_is_left_at_the_end_is_a_clip_if_it_is_long_enough(songs: Path, tmp_path: Path) -> None:
    short = build(songs, tmp_path / "a", Protocol(clip_seconds=4.0, min_clip_seconds=4.0))
    rest = build(songs, tmp_path / "b", Protocol(clip_seconds=4.0, min_clip_seconds=1.5))
    assert [clip.num_samples / RATE for clip in short.clips] == [4.0] * 3
    assert [clip.num_samples / RATE for clip in rest.clips] == [4.0, 2.0] * 3


def test_clips_without_singing_and_silent_instrumentals_are_named(songs: Path, tmp_path: Path) -> None:
    folder = tmp_path / "pairs"
    folder.mkdir()
    sung, _ = soundfile.read(songs / "test" / "000000.vocal.wav", dtype="float32")
    band, _ = soundfile.read(songs / "test" / "000000.instrumental.wav", dtype="float32")
    half = len(sung) // 2
    first_half = (np.arange(len(sung)) < half).astype(np.float32)
    for name, vocal, instrumental in (("rests", sung * first_half, band), ("drops", sung, band * first_half)):
        soundfile.write(folder / f"{name}.vocals.wav", vocal, RATE, subtype="FLOAT")
        soundfile.write(folder / f"{name}.instrumental.wav", instrumental, RATE, subtype="FLOAT")
    (folder / "broken.vocals.wav").write_bytes(b"RIFF")
    soundfile.write(folder / "broken.instrumental.wav", band, RATE)
    manifest = build(folder, tmp_path / "run", Protocol(clip_seconds=3.0, min_clip_seconds=3.0))
    assert [(clip.track, clip.start_seconds) for clip in manifest.clips] == [
        ("drops", 0.0),
        ("rests", 0.0),
    ]
    reasons = {(each.track, each.start_seconds): each.reason for each in manifest.left_out}
    assert "the voice is heard in 0 %" in reasons["rests", 3.0]
    assert "its instrumental is under -60 dBFS" in reasons["drops", 3.0]
    assert "broken.vocals.wav" in reasons["broken", None]


def test_limits_of_songs_and_of_clips_per_song(songs: Path, tmp_path: Path) -> None:
    protocol = Protocol(clip_seconds=2.0, min_clip_seconds=2.0, songs=2, clips_per_song=1)
    manifest = build(songs, tmp_path, protocol)
    assert [(clip.song, clip.start_seconds) for clip in manifest.clips] == [("100", 2.0), ("101", 2.0)]
    assert all("1 clips per song" in each.reason for each in manifest.left_out)
    assert len(manifest.left_out) == 4


def test_both_arms_have_the_same_clips(songs: Path, tmp_path: Path) -> None:
    write_separator(tmp_path / "vocals.onnx")
    separator = Separator.open(tmp_path / "vocals.onnx")
    protocol = Protocol(clip_seconds=2.0, min_clip_seconds=2.0, songs=1)
    manifest = build(songs, tmp_path / "run", protocol, separator=separator)
    run = RunFolder(tmp_path / "run")
    assert manifest.arms == ("isolated", "separated")
    assert manifest.separator == separator.fingerprint()
    for clip in manifest.clips:
        isolated, separated = run.vocal("isolated", clip), run.vocal("separated", clip)
        mix = isolated + run.sound(true_sound(clip.id))
        assert isolated.shape == separated.shape
        assert not torch.allclose(isolated, separated, atol=1e-3)
        correlation = torch.corrcoef(torch.stack([separated, mix]))[0, 1]
        assert correlation > 0.3  # it is cut at the same place of the same song


def test_the_same_rules_find_what_is_there_and_others_are_refused(songs: Path, tmp_path: Path) -> None:
    protocol = Protocol(clip_seconds=2.0, min_clip_seconds=2.0, songs=1)
    first = build(songs, tmp_path, protocol)
    before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*.flac")}
    assert build(songs, tmp_path, protocol) == first
    assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*.flac")} == before
    changed = r"another protocol \(\{'clip_seconds': 2.0, .*\}, now \{'clip_seconds': 3.0, "
    with pytest.raises(UsageError, match=changed) as caught:
        build(songs, tmp_path, Protocol(clip_seconds=3.0, min_clip_seconds=3.0, songs=1))
    assert "songs" not in str(caught.value)


def test_a_manifest_that_was_changed_is_refused(songs: Path, tmp_path: Path) -> None:
    build(songs, tmp_path, Protocol(clip_seconds=2.0, min_clip_seconds=2.0, songs=1))
    path = tmp_path / "manifest.json"
    values = json.loads(path.read_text())
    values["clips"][0]["song"] = "other"
    path.write_text(json.dumps(values))
    with pytest.raises(UsageError, match="changed by hand"):
        _ = RunFolder(tmp_path).manifest
    path.write_text("{}")
    with pytest.raises(UsageError, match="not a manifest"):
        _ = RunFolder(tmp_path).manifest


def test_nothing_to_test_on_is_refused(songs: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="none of the 3 tracks is of the valid split"):
        build(songs, tmp_path / "a", Protocol(split="valid"))
    with pytest.raises(UsageError, match=r"no clip of the 3 tracks passed \(test/000000: it lasts 6.0 s"):
        build(songs, tmp_path / "b", Protocol(clip_seconds=10.0))
    for wrong in ({"clip_seconds": 0.5}, {"min_activity": 1.5}, {"songs": 0}, {"split": "all of it"}):
        with pytest.raises(UsageError):
            Protocol(**wrong)  # type: ignore[arg-type]

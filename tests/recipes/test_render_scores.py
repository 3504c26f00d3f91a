"""Scores: labels, splits, the pack's layout, the published folder, moving a score in time and key."""

import io
import lzma
import os
from pathlib import Path

import mido
import numpy as np
import pytest

from recipes.builtin.rendering.chords import QUALITIES, ROOT_NAMES, parse_chord, parse_key
from recipes.builtin.rendering.scores import PackedPop909, covered_fraction, split_of
from recipes.builtin.rendering.scores_folder import Pop909Folder
from tests.recipes.rendering import tiny_score

# ---- labels


@pytest.mark.parametrize("quality", QUALITIES)
def test_a_chord_survives_a_tour_of_all_keys(quality: str) -> None:
    chord = parse_chord(f"D:{quality}")
    assert chord is not None
    for semitones in range(12):
        moved = chord.transposed(semitones)
        assert parse_chord(moved.label) == moved
        assert moved.pitch_classes == tuple((pitch + semitones) % 12 for pitch in chord.pitch_classes)
    assert chord.transposed(12) == chord


def test_inversions_keep_their_bass() -> None:
    chord = parse_chord("C:maj/5")
    assert chord is not None
    assert (chord.root, chord.bass) == (0, 7)
    assert chord.transposed(2).label == "D:maj/5"


@pytest.mark.parametrize("label", ["H:maj", "C:maj13", "C:maj/x", "Cbb:min", ""])
def test_unknown_chords_are_refused(label: str) -> None:
    with pytest.raises(ValueError, match=r"unknown|note name"):
        parse_chord(label)


def test_keys() -> None:
    assert [parse_key(f"{name}:min").tonic for name in ROOT_NAMES] == list(range(12))
    with pytest.raises(ValueError, match="mode"):
        parse_key("C:dorian")


# ---- splits


def test_splits_have_the_sizes_they_promise() -> None:
    splits = [split_of(song) for song in range(1, 910)]
    assert {name: splits.count(name) for name in set(splits)} == {"train": 772, "valid": 46, "test": 91}


# ---- time and key


def test_moving_a_score_moves_everything_alike() -> None:
    score = tiny_score()
    moved = score.moved(semitones=3, stretch=1.1, offset_seconds=2.0)
    for name in ("melody", "bridge", "piano"):
        old, new = getattr(score, name), getattr(moved, name)
        np.testing.assert_allclose(new[:, :2], old[:, :2] * 1.1 - 2.0)
        np.testing.assert_array_equal(new[:, 2], old[:, 2] + 3)
    np.testing.assert_allclose(moved.beat_seconds, score.beat_seconds * 1.1 - 2.0)
    assert moved.tempo_bpm == pytest.approx(score.tempo_bpm / 1.1)
    assert [span.value.root for span in moved.chords[:4] if span.value] == [3, 10, 0, 8]
    assert moved.keys[0].value.label == "Eb:maj"
    assert moved.chords[1].start_seconds == pytest.approx(score.chords[1].start_seconds * 1.1 - 2.0)


def test_covered_fraction_counts_overlaps_once() -> None:
    notes = np.array([[0.0, 4.0, 60, 90], [1.0, 2.0, 64, 90], [6.0, 20.0, 65, 90]])
    oracle = np.mean([any(start <= t < end for start, end, *_ in notes) for t in np.arange(0, 10, 0.01)])
    assert covered_fraction(notes, 0.0, 10.0) == pytest.approx(oracle, abs=0.01)
    assert covered_fraction(notes[:0], 0.0, 10.0) == 0.0


# ---- the pack


def write_pack(path: Path) -> None:
    """Two songs; times in ms, starts as differences, three runs of notes a song."""
    arrays = {
        "song": np.array([1, 9]),
        "note_ptr": np.array([0, 2, 2, 3, 4, 4, 4]),
        "note_on_delta": np.array([1000, 500, 0, 250], np.uint32),
        "note_dur": np.array([400, 600, 2000, 100], np.uint16),
        "note_pitch": np.array([60, 62, 48, 70], np.uint8),
        "note_vel": np.array([80, 81, 82, 83], np.uint8),
        "beat_ptr": np.array([0, 5, 6]),
        "beat_delta": np.array([100, 500, 500, 500, 500, 0]),
        "beat_flag": np.array([3, 0, 1, 0, 3, 3], np.uint8),
        "bar_len": np.array([4, 4], np.uint8),
        "chord_ptr": np.array([0, 2, 2]),
        "chord_start": np.array([100, 1100]),
        "chord_end": np.array([1100, 2100]),
        "chord_label": np.array([0, 1]),
        "chord_vocab": np.array(["G:7/3", "N"]),
        "key_ptr": np.array([0, 1, 1]),
        "key_start": np.array([-20]),
        "key_end": np.array([2100]),
        "key_label": np.array([0]),
        "key_vocab": np.array(["C:maj"]),
    }
    raw = io.BytesIO()
    np.savez(raw, **arrays)
    path.write_bytes(lzma.compress(raw.getvalue()))


def test_the_pack_is_read_back(tmp_path: Path) -> None:
    write_pack(tmp_path / "pack.npz.xz")
    pack = PackedPop909(tmp_path / "pack.npz.xz")
    assert pack.song_ids == (1, 9)
    score = pack.score(1)
    assert score.melody.tolist() == [[1.0, 1.4, 60, 80], [1.5, 2.1, 62, 81]]
    assert score.bridge.shape == (0, 4)
    assert score.piano.tolist() == [[0.0, 2.0, 48, 82]]
    assert score.beat_seconds.tolist() == [0.1, 0.6, 1.1, 1.6, 2.1]
    assert score.downbeats.tolist() == [0, 4]
    assert [span.value and span.value.label for span in score.chords] == ["G:7/3", None]
    assert score.keys[0].start_seconds == -0.02
    assert pack.beats_per_bar(1) == 4
    assert pack.score(9).melody.tolist() == [[0.25, 0.35, 70, 83]]


def test_what_is_no_pack_is_refused(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="--pop909"):
        PackedPop909(tmp_path / "none")
    (tmp_path / "junk").write_bytes(b"no pack at all")
    with pytest.raises(ValueError, match="not a POP909 pack"):
        PackedPop909(tmp_path / "junk")


# ---- the folder


def write_folder(root: Path) -> None:
    """Song 007: tempo 120, from beat 2 on 60; the keys' clock is 0.25 s late."""
    folder = root / "007"
    folder.mkdir(parents=True)
    midi = mido.MidiFile(ticks_per_beat=480)
    tempo = mido.MidiTrack()
    tempo.append(mido.MetaMessage("set_tempo", tempo=500_000, time=0))
    tempo.append(mido.MetaMessage("set_tempo", tempo=1_000_000, time=960))
    midi.tracks.append(tempo)
    for name, pitch in (("MELODY", 72), ("BRIDGE", 76), ("PIANO", 48)):
        track = mido.MidiTrack()
        track.append(mido.MetaMessage("track_name", name=name, time=0))
        track.append(mido.Message("note_on", note=pitch, velocity=90, time=480))
        track.append(mido.Message("note_on", note=pitch, velocity=0, time=960))
        track.append(mido.Message("note_on", note=pitch, velocity=50, time=0))
        track.append(mido.Message("note_off", note=pitch, velocity=0, time=240))
        midi.tracks.append(track)
    midi.save(folder / "007.mid")
    (folder / "beat_midi.txt").write_text("0.0 1.0 1.0\n0.5 0.0 0.0\n1.0 1.0 0.0\n2.0 0.0 0.0\n3.0 1.0 1.0\n")
    (folder / "chord_midi.txt").write_text("0.0 1.0 N\n1.0 3.0 Bb:min7\n")
    (folder / "chord_audio.txt").write_text("0.0 1.25 N\n1.25 3.25 Bb:min7\n")
    (folder / "key_audio.txt").write_text("0.25 3.25 Db:maj\n")


def test_the_folder_is_read_on_the_clock_of_the_notes(tmp_path: Path) -> None:
    write_folder(tmp_path)
    score = Pop909Folder(tmp_path).score(7)
    # Tick 480 is at 0.5 s; the tempo halves at tick 960 (1 s), so tick 1440 is at 2 s and 1680 at 2.5 s.
    assert score.melody.tolist() == [[0.5, 2.0, 72, 90], [2.0, 2.5, 72, 50]]
    assert score.piano[:, 2].tolist() == [48, 48]
    assert score.downbeats.tolist() == [0, 4]
    assert score.beats_per_bar == Pop909Folder(tmp_path).beats_per_bar(7) == 4
    assert (score.keys[0].start_seconds, score.keys[0].value.label) == (0.0, "Db:maj")
    assert score.chords[0].value is None


def test_a_folder_without_songs_is_refused(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="001, 002"):
        Pop909Folder(tmp_path)
    with pytest.raises(FileNotFoundError, match="001, 002"):
        Pop909Folder(tmp_path / "none")


def test_a_malformed_line_is_named(tmp_path: Path) -> None:
    write_folder(tmp_path)
    (tmp_path / "007" / "key_audio.txt").write_text("0.25 3.25\n")
    with pytest.raises(ValueError, match=r"key_audio.txt, line 1: 2 columns"):
        Pop909Folder(tmp_path).score(7)


# ---- the real pack, where there is one


@pytest.mark.skipif("HAFM_POP909" not in os.environ, reason="set HAFM_POP909 to the pack to run it")
def test_every_song_of_the_real_pack_reads() -> None:
    pack = PackedPop909(Path(os.environ["HAFM_POP909"]))
    assert len(pack.song_ids) == 909
    for song in pack.song_ids[::10]:
        score = pack.score(song)
        assert score.beats_per_bar in (4, 6)
        assert np.all(np.diff(score.beat_seconds) > 0)
        assert len(score.melody) > 20
        assert score.keys

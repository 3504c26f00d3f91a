"""Pairs and the command: purity, truth, the commit point, resuming, failures, stopping."""

import json
import signal
import subprocess
import sys
import time
import wave
from functools import cache
from pathlib import Path

import numpy as np
import pytest

from hafm.arrange.styles import STYLES as STYLES_OF_BANDS
from hafm.data.collection.truth import lead_sheet_of_truth
from hafm.guide.lead_sheet import STYLES
from recipes.builtin.render import RenderConfig, main, render, truth_path, write_pair
from recipes.builtin.rendering import mixbus
from recipes.builtin.rendering.arrange import STEMS
from recipes.builtin.rendering.pair import ROOM_TONE_DBFS, Pair, _draw_stems, _draw_voice, _streams, make_pair
from recipes.builtin.rendering.phrasing import monophonic
from recipes.builtin.rendering.scores import Score, split_of
from recipes.builtin.rendering.voices import RESERVED_VOICES
from recipes.builtin.rendering.window import draw_window
from tests.recipes.rendering import (
    FormantChoir,
    TinyScores,
    open_failing,
    open_tiny,
    tiny_score,
    tiny_sources,
)

SECONDS = 4.0


def read_wav(path: Path) -> np.ndarray:
    with wave.open(str(path)) as stream:
        assert (stream.getnchannels(), stream.getsampwidth(), stream.getframerate()) == (1, 2, 24_000)
        return np.frombuffer(stream.readframes(stream.getnframes()), "<i2") / 32767


def config(folder: Path, **changes: object) -> RenderConfig:
    values: dict = {
        "pop909": Path("unused"),
        "soundfont": Path("unused"),
        "voices": Path("unused"),
        "out": folder,
        "split": "train",
        "hours": 3 * SECONDS / 3600,
        "seconds": SECONDS,
        "workers": 1,
    }
    return RenderConfig(**{**values, **changes})


@cache
def pair_of(index: int) -> Pair:
    """One of several that tests look at and none changes."""
    return make_pair(tiny_sources(), seed=5, split="train", index=index, seconds=SECONDS)


# ---- purity


def test_a_pair_is_a_pure_function_of_seed_split_and_index() -> None:
    sources = tiny_sources()
    first = make_pair(sources, seed=1, split="train", index=5, seconds=2.0)
    make_pair(sources, seed=9, split="test", index=0, seconds=2.0)  # must leave no trace
    again = make_pair(sources, seed=1, split="train", index=5, seconds=2.0)
    np.testing.assert_array_equal(first.vocal, again.vocal)
    np.testing.assert_array_equal(first.instrumental, again.instrumental)
    assert first.truth == again.truth
    for changed in ({"seed": 2}, {"split": "valid"}, {"index": 6}):
        other = make_pair(sources, **{"seed": 1, "split": "train", "index": 5, **changed}, seconds=2.0)
        assert not np.array_equal(other.vocal, first.vocal), changed


@pytest.mark.long
def test_solos_play_alone_and_leave_the_other_pairs_as_they_are() -> None:
    sources, alone = tiny_sources(), set()
    for index in range(3):
        plain, some, all_of_them = (
            make_pair(sources, seed=1, split="train", index=index, seconds=2.0, solos=solos)
            for solos in (0.0, 0.5, 1.0)
        )
        chosen = all_of_them if len(some.truth["stems"]) == 1 != len(plain.truth["stems"]) else plain
        assert some.truth == chosen.truth
        np.testing.assert_array_equal(some.instrumental, chosen.instrumental)
        (player,) = all_of_them.truth["stems"]
        alone.add(player)
        assert all(not stem.any() for name, stem in all_of_them.stems.items() if name != player)
    assert len(alone) > 1


@pytest.mark.long
@pytest.mark.parametrize("count", [12, pytest.param(25, marks=pytest.mark.slow)])
def test_every_split_uses_its_own_songs_and_only_test_the_reserved_voices(count: int) -> None:
    voices: dict[str, set[str]] = {}
    for split in ("train", "valid", "test"):
        for index in range(count):
            rng = np.random.default_rng(index)
            window, score = draw_window(TinyScores(), split, 2.0, rng)
            assert split_of(window.song_id) == split_of(score.song_id) == split
            voices.setdefault(split, set()).add(_draw_voice(FormantChoir(), split, rng).name)
    assert not (voices["train"] | voices["valid"]) & RESERVED_VOICES
    assert voices["test"] > RESERVED_VOICES
    formants = {
        split: [int(name.split("-")[2]) for name in names if name.startswith("formant")]
        for split, names in voices.items()
    }
    assert max(formants["train"]) < 100_000 <= min(formants["test"])


# ---- truth


@pytest.mark.parametrize(
    "indices", [range(2), pytest.param(range(2, 6), marks=pytest.mark.slow)], ids=["two", "the others"]
)
def test_the_truth_is_json_and_within_the_window(indices: range) -> None:
    for index in indices:
        truth = pair_of(index).truth
        assert json.loads(json.dumps(truth)) == truth
        beats = np.array(truth["beats_seconds"])
        assert set(truth["downbeats_seconds"]) <= set(beats)
        steady = 0.6 * truth["stretch"]
        assert np.abs(np.diff(beats) / steady - 1).max() <= truth["drift"] + 1e-3
        assert truth["tempo_bpm"] == pytest.approx(60 / np.median(np.diff(beats)))
        for chord in truth["chords"]:
            assert chord["bass"] in chord["pitch_classes"]
        spans = [(chord["start_seconds"], chord["end_seconds"]) for chord in truth["chords"]]
        assert all(0 <= start < end <= SECONDS for start, end in spans)
        assert truth["key"]["tonic"] == truth["semitones"] % 12


def test_the_truth_is_a_lead_sheet() -> None:
    assert tuple(STYLES_OF_BANDS) == STYLES
    for split, index in (("train", 0), ("valid", 1), ("test", 2)):
        truth = make_pair(tiny_sources(), seed=0, split=split, index=index, seconds=SECONDS).truth
        sheet = lead_sheet_of_truth(json.loads(json.dumps(truth)))
        assert [beat.seconds for beat in sheet.beats] == truth["beats_seconds"]
        assert list(sheet.downbeats) == truth["downbeats_seconds"]
        assert [span.chord.bass for span in sheet.chords] == [chord["bass"] for chord in truth["chords"]]
        assert len(sheet.arrangement) == len(truth["arrangement"])


@pytest.mark.long
def test_the_sound_agrees_with_the_truth() -> None:
    """The bass line's pitch classes are those of the chords, and the clicks of the drums fall on beats."""
    checked = 0
    for index in range(5):
        pair = pair_of(index)
        for chord in pair.truth["chords"]:
            first, last = (round(chord[edge] * 24_000) for edge in ("start_seconds", "end_seconds"))
            if last - first < 12_000:
                continue
            piece = pair.stems["harmony"][first + 1200 : last - 1200]
            power = np.abs(np.fft.rfft(piece * np.hanning(len(piece)))) ** 2
            hz = np.fft.rfftfreq(len(piece), 1 / 24_000)
            near = (hz > 150) & (hz < 1000)
            classes = np.round(69 + 12 * np.log2(hz[near] / 440)).astype(int) % 12
            inside = power[near][np.isin(classes, chord["pitch_classes"])].sum()
            assert inside > 0.8 * power[near].sum(), (index, chord)
            checked += 1
    assert checked > 5


@pytest.mark.long
def test_vocal_and_truth_hold_the_same_notes() -> None:
    """In a steady, straight pair the score's notes are where the song has them; all are sung nearby."""
    steady = 0
    for index in range(6):
        pair = pair_of(index)
        truth = pair.truth
        if truth["drift"] == 0.0 and truth["band"]["swing"] == 0.5:
            steady += 1
            score = tiny_score(truth["song_id"]).moved(
                semitones=truth["semitones"],
                stretch=truth["stretch"],
                offset_seconds=truth["window_start_seconds"],
            )
            line = monophonic(score.melody)
            line = line[(line[:, 1] > 0.3) & (line[:, 0] < SECONDS - 0.3)]
            for start, _, pitch, _ in line:
                near = [
                    note for note in truth["notes"] if note["score_seconds"] == pytest.approx(start, abs=1e-4)
                ]
                assert any((note["pitch"] - pitch) % 12 == 0 for note in near), (index, start)
        for note in truth["notes"]:
            assert note["score_seconds"] is None or abs(note["start_seconds"] - note["score_seconds"]) <= 0.26
            if note["end_seconds"] - note["start_seconds"] > 0.3:
                middle = (note["start_seconds"] + note["end_seconds"]) / 2
                frame = pair.vocal[max(0, round(middle * 24_000) - 600) :][:1200]
                if len(frame) == 1200:
                    assert np.sqrt(np.mean(frame**2)) > 0.002
    assert steady >= 2


def test_the_vocal_is_never_digital_silence() -> None:
    for index in range(4):
        quietest = np.sqrt(np.mean(pair_of(index).vocal.reshape(-1, 480) ** 2, axis=1)).min()
        assert quietest > 0.3 * 10 ** (ROOM_TONE_DBFS[0] / 20)


@pytest.mark.slow
def test_arrangement_rows_say_what_is_heard() -> None:
    """Bar by bar: a stem whose row says no is 40 dB below where it says yes, but for what still rings."""
    drifting, silent = 0, 0
    for index in range(8):
        pair = make_pair(tiny_sources(), seed=7, split="train", index=index, seconds=8.0)
        truth, rows = pair.truth, pair.truth["arrangement"]
        drifting += truth["drift"] > 0
        assert [row["start_seconds"] for row in rows[1:]] == [row["end_seconds"] for row in rows[:-1]]
        assert {row["start_seconds"] for row in rows} >= set(truth["downbeats_seconds"])
        for stem in STEMS:
            if stem not in truth["stems"]:
                assert not pair.stems[stem].any()
                assert not any(row[stem] for row in rows)
            for row in rows:
                first, last = (round(row[edge] * 24_000) for edge in ("start_seconds", "end_seconds"))
                piece = pair.stems[stem][first + 4800 : last - 4800]
                if len(piece) > 4800 and not row[stem]:
                    silent += 1
                    assert np.abs(piece).max() < 1e-3, (index, stem, row)
                elif len(piece) > 14_400:
                    whole = pair.stems[stem][max(first - 2400, 0) : last]
                    assert np.abs(whole).max() > 1e-4, (index, stem, row)
    assert 1 < drifting < 8
    assert silent > 5


def test_a_sub_mix_keeps_its_stems_and_the_law() -> None:
    drawn = [_draw_stems(_streams(8, "train", index)["sub-mix"]) for index in range(200)]
    sub_mixes = [index for index, kept in enumerate(drawn) if len(kept) < len(STEMS)]
    assert 15 <= len(sub_mixes) <= 50
    for index in sub_mixes[:4]:
        pair = make_pair(tiny_sources(), seed=8, split="train", index=index, seconds=2.0)
        truth = pair.truth
        assert truth["full"] is False
        assert set(truth["stems"]) == drawn[index]
        kept = sum(pair.stems[stem] for stem in truth["stems"])
        settings = mixbus.BusSettings(**truth["bus"])
        np.testing.assert_allclose(mixbus.apply(kept, settings), pair.instrumental, atol=1e-5)
        assert np.abs(pair.instrumental).max() > 0.01


def test_openings_leave_the_band_alone_at_first() -> None:
    class Pausing(TinyScores):
        """Sixteen beats of rest before the voice."""

        def score(self, song_id: int) -> Score:
            return tiny_score(song_id, intro_beats=16)

    openings = set()
    for seed in range(60):
        window, score = draw_window(Pausing(), "train", 12.0, np.random.default_rng(seed))
        openings.add(window.opening)
        first = score.melody[:, 0][score.melody[:, 0] > -0.01].min()
        if window.opening == "intro":
            assert 1.9 < window.entry_seconds < 8.1
            assert first == pytest.approx(window.entry_seconds)
        elif window.opening == "count-in":
            downbeats = score.beat_seconds[score.downbeats]
            assert 0.02 < downbeats[downbeats >= 0].min() < 0.45
            assert first == pytest.approx(window.entry_seconds)
    assert openings == {"any", "intro", "count-in"}


def test_windows_are_sung_even_if_the_song_opens_without_singing() -> None:
    class LateSinger(TinyScores):
        def score(self, song_id: int) -> Score:
            return tiny_score(song_id, intro_beats=40)

    for index in range(20):
        _, score = draw_window(LateSinger(), "train", SECONDS, np.random.default_rng(index))
        times = np.arange(0, SECONDS, 0.01)
        sung = [np.any((score.melody[:, 0] <= time) & (time < score.melody[:, 1])) for time in times]
        assert np.mean(sung) >= 0.34
    with pytest.raises(ValueError, match="windows of 60 s"):
        draw_window(TinyScores(), "train", 60.0, np.random.default_rng(0))  # longer than the song


# ---- files


def test_the_truth_is_written_last(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pair = make_pair(tiny_sources(), seed=0, split="train", index=0, seconds=2.0)
    moved: list[str] = []
    replace = Path.replace

    def record(self: Path, target: Path) -> Path:
        moved.append(target.name)
        return replace(self, target)

    monkeypatch.setattr(Path, "replace", record)
    write_pair(tmp_path, 7, pair, stems=True)
    assert moved[-1] == truth_path(tmp_path, 7).name == "000007.json"
    assert sorted(moved) == sorted(path.name for path in tmp_path.iterdir())
    np.testing.assert_allclose(read_wav(tmp_path / "000007.vocal.wav"), pair.vocal, atol=2 / 32767)


@pytest.mark.slow
def test_rendering_resumes_and_equals_one_run(tmp_path: Path) -> None:
    whole = config(tmp_path / "whole")
    assert render(whole, opener=open_tiny) == 3
    parts = config(tmp_path / "parts", hours=1 * SECONDS / 3600)
    assert render(parts, opener=open_tiny) == 1
    truth_path(parts.folder, 0).unlink()  # an interrupted pair: sound without truth
    kept = (parts.folder / "000000.vocal.wav").read_bytes()
    (parts.folder / "000000.vocal.wav").write_bytes(b"half a file")
    parts = config(tmp_path / "parts")
    assert render(parts, opener=open_tiny) == 3
    assert render(parts, opener=open_tiny) == 0
    assert (parts.folder / "000000.vocal.wav").read_bytes() == kept
    names = sorted(path.name for path in whole.folder.iterdir())
    assert names == sorted(path.name for path in parts.folder.iterdir())
    assert len(names) == 9
    for name in names:
        assert (whole.folder / name).read_bytes() == (parts.folder / name).read_bytes(), name


@pytest.mark.slow
def test_stems_are_added_to_a_corpus_without_them(tmp_path: Path) -> None:
    (tmp_path / "train").mkdir()
    pair = make_pair(tiny_sources(), seed=0, split="train", index=0, seconds=SECONDS)
    write_pair(tmp_path / "train", 0, pair, stems=False)
    assert render(config(tmp_path, hours=SECONDS / 3600, stems=True), opener=open_tiny) == 1
    assert (tmp_path / "train" / "000000.drums.wav").is_file()


@pytest.mark.slow
def test_failures_are_named_and_too_many_stop_the_run(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match="no song belongs to the split 'train'"):
        render(config(tmp_path, hours=10 * SECONDS / 3600), opener=open_failing)
    rows = [json.loads(line) for line in (tmp_path / "train" / "failures.jsonl").read_text().splitlines()]
    assert len({row["index"] for row in rows}) == len(rows) >= 4
    assert not list((tmp_path / "train").glob("*.wav"))


@pytest.mark.slow
def test_a_stopped_run_leaves_complete_pairs_only(tmp_path: Path) -> None:
    """With SIGINT ignored from outside, as a shell does to its background jobs."""
    script = (
        "import sys; import recipes.builtin.render as r; from tests.recipes.rendering import open_tiny\n"
        "r.open_sources = open_tiny; r.render.__kwdefaults__['opener'] = open_tiny\n"
        "if __name__ == '__main__': sys.exit(r.main(sys.argv[1:]))\n"
    )
    (tmp_path / "run.py").write_text(script)
    exists = str(tmp_path / "run.py")  # in place of the sources, which `open_tiny` does not look at
    command = [sys.executable, str(tmp_path / "run.py"), "--out", str(tmp_path), "--split", "train"]
    for name in ("--pop909", "--soundfont", "--voices"):
        command += [name, exists]
    process = subprocess.Popen(
        [*command, "--hours", "5", "--seconds", "2", "--workers", "1"],
        env={"PYTHONPATH": str(Path(__file__).parents[2]), "OMP_NUM_THREADS": "1"},
        stderr=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_IGN),
    )
    deadline = time.monotonic() + 120
    while not list((tmp_path / "train").glob("*.json")) and time.monotonic() < deadline:
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    _, message = process.communicate(timeout=60)
    assert process.returncode == 130
    assert b"run the same command" in message
    assert b"Traceback" not in message
    assert not list((tmp_path / "train").glob("*.partial"))
    complete = list((tmp_path / "train").glob("*.json"))
    assert 1 <= len(complete) < 1000
    for path in complete:
        assert len(read_wav(path.with_name(path.stem + ".vocal.wav"))) == 48_000


# ---- command line


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"split": "dev"}, "not one of train"),
        ({"hours": 0.0}, "--hours"),
        ({"hours": float("nan")}, "--hours"),
        ({"seconds": 0.5}, "--seconds"),
        ({"workers": 0}, "--workers"),
        ({"seed": -1}, "--seed"),
    ],
)
def test_a_bad_setting_is_refused(tmp_path: Path, changes: dict, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        config(tmp_path, **changes)


def test_a_missing_source_is_named_before_anything_is_written(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["--soundfont", "x", "--voices", "x", "--out", str(tmp_path / "out"), "--split", "train"]
    with pytest.raises(SystemExit) as stop:
        main(["--pop909", str(tmp_path / "none"), *arguments, "--hours", "1"])
    assert stop.value.code == 2
    assert "--pop909: no file" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()

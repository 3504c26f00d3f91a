"""`hafm arrange`: a vocal or a sheet to files, replayed to the byte, and everything that is refused."""

import json
from pathlib import Path

import numpy as np
import pytest
import soundfile
from symusic import Score

from hafm.arrange.record import ArrangementRecord
from hafm.guide.sheet_json import lead_sheet_from_json, lead_sheet_to_json
from tests.app.conftest import Hafm, tree
from tests.arrange.songs import small_soundfont, song


@pytest.fixture
def font(tmp_path: Path) -> Path:
    path = tmp_path / "given" / "small.sf2"
    path.parent.mkdir()
    path.write_bytes(small_soundfont())
    return path


@pytest.fixture
def sheet(tmp_path: Path, font: Path) -> Path:
    path = font.parent / "song.json"
    path.write_text(lead_sheet_to_json(song(10.0)))
    return path


@pytest.fixture
def sung(font: Path) -> Path:
    """Ten seconds of a tone with gaps, in stereo, at 22.05 kHz."""
    rate = 22_050
    time = np.arange(10 * rate) / rate
    tone = 0.3 * np.sin(2 * np.pi * 220 * time) * (np.sin(2 * np.pi * time / 4) > -0.5)
    path = font.parent / "sung.wav"
    soundfile.write(path, np.stack([tone, tone], axis=1), rate)
    return path


def test_a_sheet_becomes_midi_and_stereo_sound(hafm: Hafm, sheet: Path, font: Path, tmp_path: Path) -> None:
    ran = hafm("arrange", sheet, "-o", tmp_path / "out", "--soundfont", font, "--stems", "--style", "folk")
    assert ran.code == 0, ran.err
    assert "folk, 100 bpm, 4/4, 5 bars, A minor, 10.0 s, seed 0, made in" in ran.out
    assert set(tree(tmp_path / "out")) == {
        "lead-sheet.json",
        "arrangement.mid",
        "accompaniment.wav",
        "arrangement.json",
        *(f"stems/{stem}.wav" for stem in ("drums", "bass", "harmony", "melody")),
    }
    whole, rate = soundfile.read(tmp_path / "out/accompaniment.wav", dtype="int32")
    assert (whole.shape, rate) == ((480_000, 2), 48_000)
    stems = [soundfile.read(path, dtype="int32")[0] for path in sorted((tmp_path / "out/stems").iterdir())]
    assert np.abs(sum(stems) - whole).max() <= 3 * 256  # steps of 24 bits
    assert Score(tmp_path / "out/arrangement.mid").tracks
    played = lead_sheet_from_json((tmp_path / "out/lead-sheet.json").read_bytes(), where="it")
    assert played.style == "folk"
    assert (played.beats, played.chords) == (song(10.0).beats, song(10.0).chords)


@pytest.mark.long
def test_a_vocal_gets_a_mix_of_its_own_length_and_is_replayed_to_the_byte(
    hafm: Hafm, sheet: Path, sung: Path, font: Path, tmp_path: Path
) -> None:
    words = [
        "arrange",
        sung,
        "--guide",
        sheet,
        "--soundfont",
        font,
        "--seed",
        3,
        "--format",
        "flac",
        "--json",
    ]
    ran = hafm(*words, "-o", tmp_path / "out")
    assert ran.code == 0, ran.err
    for name in ("accompaniment", "mix"):
        info = soundfile.info(tmp_path / f"out/{name}.flac")
        assert (info.frames, info.samplerate, info.channels) == (441_000, 44_100, 2)
    assert (ran.json["style"], ran.json["bars"], ran.json["meter"]) == ("rock", 5, "4/4")
    assert ran.json["levels"]["mix_lufs"] == pytest.approx(-14, abs=1)
    again = hafm("arrange", "--replay", tmp_path / "out/arrangement.json", "-o", tmp_path / "again")
    assert again.code == 0, again.err
    assert tree(tmp_path / "again") == tree(tmp_path / "out")
    record = ArrangementRecord.read(tmp_path / "out/arrangement.json")
    assert set(record.files) == set(tree(tmp_path / "out")) - {"arrangement.json"}


@pytest.mark.slow
def test_the_analyser_of_a_bundle_hears_a_vocal(hafm: Hafm, sung: Path, font: Path, tmp_path: Path) -> None:
    ran = hafm("arrange", sung, "-o", tmp_path / "out", "--soundfont", font, "--seconds", 4)
    assert ran.code == 0, ran.err
    assert "note: estimated from the voice" in ran.err
    read = json.loads((tmp_path / "out/lead-sheet.json").read_text())
    assert read["duration_seconds"] == 4.0
    assert read["origins"]["chords"]["source"] == "estimated"


@pytest.mark.long
def test_chords_and_beats_and_midi_files_are_sheets_by_themselves(
    hafm: Hafm, sheet: Path, font: Path, tmp_path: Path
) -> None:
    (font.parent / "song.lab").write_text("0 4.5 D:min\n4.5 6 G:7\n")
    (font.parent / "song.beats").write_text("".join(f"{n / 2} {n % 4 + 1}\n" for n in range(16)))
    ran = hafm("arrange", sheet, "-o", tmp_path / "midi", "--soundfont", font)
    assert ran.code == 0, ran.err
    (font.parent / "song.mid").write_bytes((tmp_path / "midi/arrangement.mid").read_bytes())
    for name, seconds, said in (
        ("lab", 6.0, "free time"),
        ("beats", 8.0, "120 bpm"),
        ("mid", 10.0, "100 bpm"),
    ):
        ran = hafm("arrange", font.parent / f"song.{name}", "-o", tmp_path / name, "--soundfont", font)
        assert ran.code == 0, ran.err
        assert said in ran.out
        assert soundfile.info(tmp_path / name / "accompaniment.wav").duration == pytest.approx(
            seconds, abs=0.01
        )


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ([], "no vocal and no lead sheet was given"),
        (["SHEET", "--style", "rok"], "there is no style 'rok' (did you mean rock?)"),
        (["SHEET", "--seed", "-1"], "--seed is -1; give a number from 0"),
        (["SHEET", "--start", "1"], "--start is for a vocal"),
        (["SHEET", "--balance", "0"], "--balance is for a vocal"),
        (["SHEET", "--bpm", "92"], "--bpm contradicts the beats of"),
        (["CHART"], "is a chart, which has no tempo; give one"),
        (["CHART", "--bpm", "60", "--chords", "C"], "is a chart, and --chords is another"),
        (["SHEET", "--soundfont", "SHEET"], "is no SoundFont"),
        (["SHEET", "--soundfont", "none.sf2"], "'none.sf2' cannot be read"),
        (["SHEET", "--replay", "SHEET", "--seed", "1"], "--seed cannot stand beside --replay"),
        (["--replay", "SHEET"], "give an arrangement.json that this version wrote"),
        (["none.json"], "'none.json' cannot be read"),
        (["none.wav"], "none.wav"),
        (["EMPTY"], "nothing to play"),
        (["BROKEN"], "is not a lead sheet"),
        (["LONG"], "lasts 2000 s"),
        (["SUNG", "--guide", "LONG"], "is the lead sheet of 2000.00 s and its sound lasts 10.00 s"),
        (["MIDI"], "is not a MIDI file"),
    ],
)
def test_what_cannot_work_is_refused_in_one_line_and_nothing_is_written(
    hafm: Hafm, sheet: Path, sung: Path, font: Path, tmp_path: Path, words: list[str], expected: str
) -> None:
    given = {"SHEET": sheet, "SUNG": sung}
    if words and not {"--soundfont", "--replay"} & set(words):
        words = [*words, "--soundfont", str(font)]  # the shipped one takes longer to open
    for name, text in (
        ("EMPTY", '{"format": "hafm-lead-sheet", "version": 1, "duration_seconds": 5}'),
        ("BROKEN", '{"format": "hafm-lead-sheet", "version": 1}'),
        (
            "LONG",
            '{"format": "hafm-lead-sheet", "version": 1, "duration_seconds": 2000, "chords": [[0, 9, "C"]]}',
        ),
    ):
        given[name] = sheet.parent / f"{name}.json"
        given[name].write_text(text)
    given["CHART"] = sheet.parent / "song.chart"
    given["CHART"].write_text("| Am | F |")
    given["MIDI"] = sheet.parent / "not.mid"
    given["MIDI"].write_bytes(b"MThd nonsense")
    before = tree(tmp_path)
    ran = hafm("arrange", *(given.get(word, word) for word in words), "-o", tmp_path / "out")
    assert (ran.code, ran.out) == (2, "")
    assert expected in ran.error
    assert tree(tmp_path) == before


@pytest.mark.slow
def test_what_is_known_better_holds(hafm: Hafm, sheet: Path, sung: Path, font: Path, tmp_path: Path) -> None:
    (font.parent / "song.chart").write_text("| Am | F | C  G/B | % |")
    ran = hafm("arrange", font.parent / "song.chart", "--bpm", 96, "-o", tmp_path / "a", "--soundfont", font)
    assert ran.code == 0, ran.err
    assert "rock, 96 bpm, 4/4, 4 bars, 10.0 s" in ran.out
    ran = hafm("arrange", sheet, "--transpose-chords", 2, "-o", tmp_path / "b", "--soundfont", font)
    assert ran.code == 0, ran.err
    labels = [row[2] for row in json.loads((tmp_path / "b/lead-sheet.json").read_text())["chords"]]
    assert labels[:4] == ["B:min", "G:maj", "D:maj", "A:maj"]
    words = ["--bpm", 120, "--first-beat", 0.5, "--chords", "| Dm | A7 |", "--style", "pop"]
    ran = hafm("arrange", sung, *words, "-o", tmp_path / "c", "--soundfont", font)
    assert ran.code == 0, ran.err
    read = json.loads((tmp_path / "c/lead-sheet.json").read_text())
    assert [row[0] for row in read["beats"] if row[1] == 1][:3] == [0.5, 2.5, 4.5]
    assert read["chords"][0][2] == "D:min"


@pytest.mark.slow
def test_another_vocal_or_soundfont_is_not_replayed(
    hafm: Hafm, sheet: Path, sung: Path, font: Path, tmp_path: Path
) -> None:
    assert hafm("arrange", sung, "--guide", sheet, "--soundfont", font, "-o", tmp_path / "out").code == 0
    record = tmp_path / "out/arrangement.json"
    other = font.parent / "other.sf2"
    other.write_bytes(small_soundfont(loops=False))
    ran = hafm("arrange", "--replay", record, "--soundfont", other, "-o", tmp_path / "again")
    assert (ran.code, "another soundfont" in ran.error) == (2, True)
    rate = 8_000
    soundfile.write(font.parent / "other.wav", 0.2 * np.sin(np.arange(10 * rate) / 5), rate)
    ran = hafm("arrange", font.parent / "other.wav", "--replay", record, "-o", tmp_path / "again")
    assert (ran.code, "give the same file" in ran.error) == (2, True)

"""`hafm analyse`: its files, what they say, and what it refuses before a model is opened."""

import json
from dataclasses import replace
from pathlib import Path

import matplotlib.image
import numpy as np
import pytest
import soundfile

from hafm.generate.accompany import Accompanist
from hafm.guide.lead_sheet import ChordSpan, LeadSheet
from hafm.guide.sheet_files import read_lead_sheet
from hafm.guide.sheet_json import lead_sheet_to_json
from tests.app.conftest import Hafm, Ran, tree
from tests.tiny import RATE
from tests.unchecked import unchecked

SECONDS = 4.0
FILES = {"lead-sheet.json", "lead-sheet.mid", "lead-sheet.png", "chords.lab", "beats.txt", "click.wav"}
GIVEN = ["--bpm", 120, "--first-beat", 0.3, "--meter", "3/4", "--key", "Am", "--chords", "| Am | F |"]


def analyse(hafm: Hafm, song: Path, bundle: Path, folder: Path, *words: object) -> Ran:
    with unchecked():
        return hafm("analyse", song, "-o", folder, "--bundle", bundle, *words)


def test_all_files_say_what_was_given(hafm: Hafm, song: Path, following: Path, tmp_path: Path) -> None:
    ran = analyse(hafm, song, following, tmp_path / "out", *GIVEN)
    assert ran.code == 0, ran.err
    assert set(tree(tmp_path / "out")) == FILES
    assert ran.out.splitlines()[0] == "120 bpm, 3/4, A minor, first downbeat 0.30 s"
    assert ran.out.splitlines()[2].partition("  #")[0] == " 1  | Am       | F        | Am       |"
    sheet = read_lead_sheet(tmp_path / "out" / "lead-sheet.json", duration_seconds=SECONDS)
    assert sheet.downbeats == (0.3, 1.8, 3.3)
    lab, beats, midi = (
        read_lead_sheet(tmp_path / "out" / name, duration_seconds=SECONDS)
        for name in ("chords.lab", "beats.txt", "lead-sheet.mid")
    )
    assert lab.chords == sheet.chords
    assert beats.beats == sheet.beats
    heard, meant = ([beat.seconds for beat in each.beats] for each in (midi, sheet))
    assert np.allclose(heard, meant, atol=2e-5)
    image = matplotlib.image.imread(tmp_path / "out" / "lead-sheet.png")
    assert image.shape[1] == 1800
    assert 0.02 < (image[..., :3].mean(axis=2) < 0.9).mean() < 0.5, "something is drawn, and not all of it"


def test_clicks_are_on_the_beats_to_the_sample(
    hafm: Hafm, song: Path, following: Path, tmp_path: Path
) -> None:
    analyse(hafm, song, following, tmp_path / "out", *GIVEN)
    click, rate = soundfile.read(tmp_path / "out" / "click.wav")
    voice, _ = soundfile.read(song)
    clicks = np.abs(click - 0.5 * voice / np.abs(voice).max()) > 1e-3
    assert (rate, len(click)) == (RATE, len(voice))
    for number in range(7):
        start = round((0.3 + number / 2) * RATE)
        assert not clicks[start - 100 : start + 1].any()
        assert clicks[start + 1]


@pytest.mark.slow
def test_a_sheet_that_was_edited_comes_back(hafm: Hafm, song: Path, following: Path, tmp_path: Path) -> None:
    analyse(hafm, song, following, tmp_path / "out", *GIVEN, "--no-click")
    path = tmp_path / "out" / "lead-sheet.json"
    path.write_text(path.read_text().replace("F:maj", "D:min7"))
    words = ["--guide", path, "--transpose-chords", 2, "--json"]
    ran = analyse(hafm, song, following, tmp_path / "again", *words)
    assert ran.json["sheet"]["chords"][1][2] == "E:min7"
    assert ran.json["tempo_bpm"] == pytest.approx(120)
    assert ran.json["unsure"] == []
    override = analyse(hafm, song, following, tmp_path / "third", "--guide", path, "--key", "C")
    assert f"note: --key holds, and not the key of '{path}'" in override.err
    assert "C major" in override.out


def test_a_chart_in_a_file_is_a_chart(hafm: Hafm, song: Path, following: Path, tmp_path: Path) -> None:
    chart = tmp_path / "song.txt"
    chart.write_text(" 1  | Dm | Bb |  # bass\n")
    words = ["--bpm", 120, "--first-beat", 0, "--meter", "4/4", "--guide", chart]
    ran = analyse(hafm, song, following, tmp_path / "out", *words)
    assert "| Dm       | Bb       |" in ran.out, ran.err


def test_a_sheet_of_the_whole_recording_is_cropped_to_a_part_of_it(
    hafm: Hafm, song: Path, following: Path, tmp_path: Path
) -> None:
    chords = (ChordSpan(0.0, 2.0, "A:min"), ChordSpan(2.0, SECONDS, "F:maj"))
    whole = tmp_path / "whole.json"
    whole.write_text(lead_sheet_to_json(replace(SHEET, chords=chords)))
    part = ["--start", 1, "--seconds", 2, "--no-click", "--free-time", "--json"]
    ran = analyse(hafm, song, following, tmp_path / "out", "--guide", whole, *part)
    assert ran.code == 0, ran.err
    note = f"'{whole}' is the sheet of the whole recording: what it says from 1 to 3 s is followed"
    assert note in ran.json["notes"]
    assert ran.json["sheet"]["chords"] == [[0.0, 1.0, "A:min"], [1.0, 2.0, "F:maj"]]
    whole.write_text(lead_sheet_to_json(LeadSheet(duration_seconds=SECONDS + 1)))
    ran = analyse(hafm, song, following, tmp_path / "other", "--guide", whole, *part)
    assert "is the lead sheet of 5.00 s and its sound lasts 2.00 s" in ran.error


@pytest.mark.long
def test_free_time_has_no_beats_to_write(hafm: Hafm, song: Path, following: Path, tmp_path: Path) -> None:
    ran = analyse(hafm, song, following, tmp_path / "out", "--free-time")
    assert ran.code == 0, ran.err
    assert set(tree(tmp_path / "out")) == {"lead-sheet.json", "chords.lab", "lead-sheet.png"}
    assert ran.out.startswith("free time (no steady beat; --bpm gives one)")
    assert "note: there are no beats to write or to hear" in ran.err


SHEET = LeadSheet(duration_seconds=SECONDS)
OVERLAP = '{"format":"hafm-lead-sheet","version":1,"duration_seconds":4.0,"chords":[[0,2,"C"],[1,3,"F"]]}'
UNORDERED = OVERLAP.replace('"chords":[[0,2,"C"],[1,3,"F"]]', '"beats":[[1,1],[0.5,2]],"meters":[[0,"4/4"]]')
LONG = '{"format":"hafm-lead-sheet","version":1,"duration_seconds":9}'


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ([], "no output folder was given"),
        (["--half-time", "--double-time"], "contradict each other"),
        (["--free-time", "--bpm", "92"], "--bpm cannot stand beside it"),
        (["--bpm", "0"], "--bpm is 0"),
        (["--bpm", "nan"], "--bpm is nan"),
        (["--meter", "5"], "'5' is not a meter"),
        (["--key", "H"], "does H mean the note below C?"),
        (["--style", "polka"], "there is no style 'polka'"),
        (
            ["--chords", "| Am | Cmjr7 |"],
            "bar 2 of the chart: chord 'Cmjr7' is not known; did you mean ",
        ),
        (["--chords", ("c1.chart", "| F |")], "the name of a file; give it with --guide "),
        (["--chords", "| H |"], "does H mean the note below C?"),
        (["--chords", "| Am " * 500], "the chart has 500 bars, and 4 s of sound have 8 at most"),
        (["--first-beat", "4.5"], "--first-beat is 4.5 s, and the sound lasts 4 s"),
        (["--guide", "none.json"], "'none.json' cannot be read (No such file or directory)"),
        (["--guide", "song.pdf"], "is no lead sheet; its name must end in .json"),
        (
            ["--guide", ("long.json", LONG)],
            "9.00 s and its sound",
        ),
        (["--guide", ("a.json", OVERLAP)], "chord 2 begins at 1 s, and what is before it ends at 2 s"),
        (["--guide", ("b.json", UNORDERED)], "beat 2 is at 0.5 s, which is not between"),
        (["--guide", ("n.json", OVERLAP.replace("4.0", "NaN"))], "lasts nan s"),
        (["--guide", ("m.mid", b"MThd")], "is not a MIDI file, or a damaged one"),
        (
            ["--guide", ("c.lab", "0 0.0001 C\n" * 10_000)],
            "line 2: 0 to 0.0001 s, where the line before ends",
        ),
        (["--guide", ("d.txt", "0.5 1\n0.4 2\n")], "line 2: 0.4 s is not after 0.5 s"),
        (["--guide", ("e.chart", "| Am |"), "--chords", "| F |"], "is a chart, and --chords is another"),
        (["--guide", ("f.txt", "0.5 1\n1.0 2\n"), "--bpm", "92"], "--bpm contradicts the beats of"),
    ],
)
def test_refused_in_one_line_before_a_model_is_opened(
    hafm: Hafm, song: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, words: list, expected: str
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("a bundle was opened before this was refused")

    monkeypatch.setattr(Accompanist, "from_pretrained", refuse)
    given = []
    for word in words:
        if isinstance(word, tuple):
            name, data = word
            (tmp_path / name).write_bytes(data.encode() if isinstance(data, str) else data)
            word = tmp_path / name
        given.append(word)
    before = tree(tmp_path)
    ran = hafm("analyse", song, *(["-o", tmp_path / "out"] if words else []), *given)
    assert ran.code == 2
    assert ran.out == ""
    assert expected in ran.error
    assert tree(tmp_path) == before


def test_ten_thousand_chords_are_too_many(hafm: Hafm, song: Path, tmp_path: Path) -> None:
    lines = "".join(f"{number / 3000} {(number + 1) / 3000} C\n" for number in range(10_000))
    (tmp_path / "many.lab").write_text(lines)
    ran = hafm("analyse", song, "-o", tmp_path / "out", "--guide", tmp_path / "many.lab")
    assert (ran.code, "has 10000 chords in 4 s, more than 10 per second" in ran.error) == (2, True)


def test_the_guide_is_never_replaced(hafm: Hafm, song: Path, tmp_path: Path) -> None:
    path = tmp_path / "out" / "lead-sheet.json"
    path.parent.mkdir()
    path.write_text(lead_sheet_to_json(SHEET))
    ran = hafm("analyse", song, "-o", path.parent, "--overwrite", "--guide", path)
    assert "holds the guide itself" in ran.error


def test_the_vocal_may_lie_in_the_folder_unless_a_result_has_its_name(
    hafm: Hafm, song: Path, following: Path, tmp_path: Path
) -> None:
    mine, click = tmp_path / "song.wav", tmp_path / "click.wav"
    for path in (mine, click):
        path.write_bytes(song.read_bytes())
    assert "--overwrite" in analyse(hafm, mine, following, tmp_path).error
    ran = analyse(hafm, click, following, tmp_path, "--overwrite")
    assert "holds the vocal itself" in ran.error
    ran = analyse(hafm, mine, following, tmp_path, *GIVEN, "--overwrite", "--no-click")
    assert ran.code == 0, ran.err
    assert mine.read_bytes() == click.read_bytes() == song.read_bytes()


@pytest.mark.long
def test_the_sheet_is_json_for_programs(hafm: Hafm, song: Path, following: Path, tmp_path: Path) -> None:
    ran = analyse(hafm, song, following, tmp_path / "out", "--json", "--no-click")
    assert json.loads((tmp_path / "out" / "lead-sheet.json").read_text()) == ran.json["sheet"]
    assert {"headline", "unsure", "tempo_bpm", "lead_sheet", "vocal", "notes"} <= set(ran.json)

"""The walk of a new user: each command of docs/walk.md, in order; a tiny bundle is the built-in one here."""

from pathlib import Path

import pytest
import soundfile
import symusic

from hafm.app.cli import run
from hafm.guide.lead_sheet import PLAYERS
from hafm.guide.sheet_files import read_lead_sheet
from tests.app.conftest import tree
from tests.test_docs import ROOT, commands
from tests.tiny import make_following_bundle
from tests.unchecked import unchecked

SECONDS = 13.6

pytestmark = pytest.mark.slow  # the band plays six times


@pytest.fixture(scope="module")
def walked(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in which all commands were run, and a chord edited before the band plays."""
    folder = tmp_path_factory.mktemp("walk")
    (folder / "assets").mkdir()
    make_following_bundle(folder / "assets" / "builtin")
    soundfile.write(folder / "vocal.wav", *soundfile.read(ROOT / "src/hafm/assets/demo_vocal.flac"))
    with pytest.MonkeyPatch.context() as patch, unchecked():
        patch.chdir(folder)
        patch.setattr("hafm.stages.hub._ASSETS", folder / "assets")
        for program, *words in commands(ROOT / "docs" / "walk.md"):
            assert program == "hafm"
            if words[0] == "generate" and not (folder / "out").exists():
                edit_a_chord(folder / "sheet" / "lead-sheet.json")
            assert run([*words, "--quiet"]) == 0, words
    return folder


def edit_a_chord(path: Path) -> None:
    sheet = read_lead_sheet(path, duration_seconds=SECONDS)
    last = sheet.chords[-1]
    text, line = path.read_text(), f'{last.end_seconds}, "{last.label}"]'
    assert text.count(line) == 1
    path.write_text(text.replace(line, f'{last.end_seconds}, "Eb:min7"]'))


def test_the_tempo_is_the_one_that_was_given(walked: Path) -> None:
    for folder in ("sheet", "typed", "out", "direct"):
        sheet = read_lead_sheet(walked / folder / "lead-sheet.json", duration_seconds=SECONDS)
        assert sheet.tempo_bpm == pytest.approx(76, abs=1e-9)
        assert [key.label for key in sheet.keys] == ["F:maj"]


def test_the_edited_chord_is_played_and_the_typed_ones_are(walked: Path) -> None:
    played = read_lead_sheet(walked / "out" / "lead-sheet.json", duration_seconds=SECONDS)
    assert played.chords[-1].label == "Eb:min7"
    direct = read_lead_sheet(walked / "direct" / "lead-sheet.json", duration_seconds=SECONDS)
    assert direct.chords[0].label == "F:maj"
    assert direct.chords[0].start_seconds == direct.downbeats[0]
    waltz = read_lead_sheet(walked / "waltz" / "lead-sheet.json", duration_seconds=SECONDS)
    assert waltz.style == "waltz"
    growing = read_lead_sheet(walked / "growing" / "lead-sheet.json", duration_seconds=SECONDS)
    assert [span.players for span in growing.arrangement] == [("bass",), PLAYERS]


def test_the_midi_of_the_band_has_its_tracks_and_the_songs_seconds(walked: Path) -> None:
    score = symusic.Score(walked / "out" / "lead-sheet.mid", ttype="second")
    assert [track.name for track in score.tracks] == ["Chords", "Bass", "Click"]
    sheet = read_lead_sheet(walked / "out" / "lead-sheet.json", duration_seconds=SECONDS)
    clicks = [note.time for note in score.tracks[2].notes]
    assert clicks == pytest.approx([beat.seconds for beat in sheet.beats], abs=1e-3)
    assert soundfile.info(walked / "out" / "accompaniment.wav").frames == int(SECONDS * 24_000)


def test_the_replay_is_the_best_take_again(walked: Path) -> None:
    out, again = tree(walked / "out"), tree(walked / "again")
    assert again["mix.wav"] == out["mix.wav"]
    assert again["lead-sheet.json"] == out["lead-sheet.json"]

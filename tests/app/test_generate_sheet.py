"""`hafm generate` and the lead sheet: what it says, writes, takes, refuses and replays."""

import json
from pathlib import Path

import numpy as np
import pytest
import soundfile

from hafm.generate.guidance import PLAYERS_GUIDANCE, STYLE_GUIDANCE
from hafm.guide.lead_sheet import ChordSpan, LeadSheet
from hafm.guide.sheet_files import read_lead_sheet
from hafm.guide.sheet_json import lead_sheet_to_json
from tests.app.conftest import Hafm, Ran, tree
from tests.unchecked import unchecked

SECONDS = 2.0
COLOURS = "may play the colours of Am9 in any octave"
GIVEN = ["--bpm", 120, "--first-beat", 0.3, "--meter", "2/4", "--key", "Am", "--chords", "| Am | F |"]
SOUNDS = {"accompaniment.wav", "mix.wav", "generation.json"}


def generate(hafm: Hafm, song: Path, bundle: Path, folder: Path, *words: object) -> Ran:
    with unchecked():
        return hafm("generate", song, "-o", folder, "--bundle", bundle, "--skip-fine", *words)


def replay(hafm: Hafm, made: Path, folder: Path) -> Ran:
    with unchecked():
        return hafm("generate", "--replay", made / "generation.json", "-o", folder)


@pytest.mark.long
def test_it_says_what_it_plays_and_writes_it_beside(
    hafm: Hafm, song: Path, following: Path, tmp_path: Path
) -> None:
    ran = generate(hafm, song, following, tmp_path / "out", *GIVEN)
    assert ran.code == 0, ran.err
    line = "120 bpm, 2/4, A minor, first downbeat 0.30 s"
    assert f"hafm: lead sheet: {line}\n" in ran.err
    assert ran.out.splitlines()[:3] == [line, "", " 1  | Am       | F        |"]
    assert set(tree(tmp_path / "out")) == SOUNDS | {"lead-sheet.json", "lead-sheet.mid"}
    record = json.loads((tmp_path / "out" / "generation.json").read_text())
    assert record["lead_sheet"] == json.loads((tmp_path / "out" / "lead-sheet.json").read_text())
    again = replay(hafm, tmp_path / "out", tmp_path / "again")
    assert again.code == 0, again.err
    assert tree(tmp_path / "again") == tree(tmp_path / "out")


@pytest.mark.long
def test_what_is_heard_is_said_to_be_a_guess(hafm: Hafm, song: Path, following: Path, tmp_path: Path) -> None:
    ran = generate(hafm, song, following, tmp_path / "out", "--bpm", 120)
    assert "; a guess: " in ran.out.splitlines()[0]
    assert "where bars begin" in ran.out
    assert ": --first-beat)" in ran.out
    assert ": --chords)" in ran.out


@pytest.mark.long
def test_colours_that_the_guide_does_not_know_are_said_once(
    hafm: Hafm, song: Path, following: Path, tmp_path: Path
) -> None:
    known = ["--bpm", 120, "--first-beat", 0.3, "--meter", "2/4", "--chords", "| Am9 | F |"]
    ran = generate(hafm, song, following, tmp_path / "out", *known)
    assert ran.err.count(COLOURS) == 1
    assert "A:min9" in (tmp_path / "out" / "lead-sheet.json").read_text()


@pytest.mark.slow
def test_takes_share_the_sheet_and_a_file_is_followed(
    hafm: Hafm, song: Path, following: Path, tmp_path: Path
) -> None:
    generate(hafm, song, following, tmp_path / "one", *GIVEN)
    words = ["--guide", tmp_path / "one" / "lead-sheet.json", "--takes", 2, "--json"]
    ran = generate(hafm, song, following, tmp_path / "two", *words)
    assert set(tree(tmp_path / "two")) == {
        *(f"take-{number}/{name}" for number in (1, 2) for name in SOUNDS),
        "lead-sheet.json",
        "lead-sheet.mid",
    }
    two, one = tree(tmp_path / "two"), tree(tmp_path / "one")
    assert two["lead-sheet.json"] == one["lead-sheet.json"]
    assert two["take-1/accompaniment.wav"] == one["accompaniment.wav"]
    assert ran.json["lead_sheet"]["headline"] == "120 bpm, 2/4, A minor, first downbeat 0.30 s"


@pytest.mark.slow
def test_no_guide_follows_none_and_replays_so(
    hafm: Hafm, song: Path, following: Path, tmp_path: Path
) -> None:
    ran = generate(hafm, song, following, tmp_path / "free", "--no-guide")
    generate(hafm, song, following, tmp_path / "led", *GIVEN)
    assert set(tree(tmp_path / "free")) == SOUNDS
    assert "lead sheet" not in ran.out + ran.err
    free, led = tree(tmp_path / "free"), tree(tmp_path / "led")
    assert free["accompaniment.wav"] != led["accompaniment.wav"]
    replay(hafm, tmp_path / "free", tmp_path / "again")
    assert tree(tmp_path / "again") == free


@pytest.mark.long
@pytest.mark.parametrize(
    ("asked", "weight"), [(["--style", "funk"], STYLE_GUIDANCE), (["--players", "bass"], PLAYERS_GUIDANCE)]
)
def test_what_is_asked_for_has_a_strength_of_its_own_wherever_it_comes_from(
    hafm: Hafm, song: Path, following: Path, tmp_path: Path, asked: list[str], weight: float
) -> None:
    option, name = asked[0], f"{asked[0].removeprefix('--')}_guidance"

    def strength(folder: str, *words: object) -> object:
        ran = generate(hafm, song, following, tmp_path / folder, *words)
        assert ran.code == 0, ran.err
        settings = json.loads((tmp_path / folder / "generation.json").read_text())["settings"]
        return settings.get(name)

    assert strength("none", *GIVEN) is None
    assert strength("asked", *GIVEN, *asked) == weight
    assert strength("file", "--guide", tmp_path / "asked" / "lead-sheet.json") == weight
    assert strength("less", *GIVEN, *asked, f"{option}-strength", 2) == 2.0
    replay(hafm, tmp_path / "less", tmp_path / "again")
    assert tree(tmp_path / "again") == tree(tmp_path / "less")


@pytest.mark.long
def test_a_sheet_of_the_whole_vocal_is_followed_in_a_part_of_it(
    hafm: Hafm, song: Path, following: Path, tmp_path: Path
) -> None:
    chords = (ChordSpan(0.0, 1.0, "A:min"), ChordSpan(1.0, SECONDS, "F:maj"))
    whole = tmp_path / "whole.json"
    whole.write_text(lead_sheet_to_json(LeadSheet(duration_seconds=SECONDS, chords=chords)))
    ran = generate(
        hafm, song, following, tmp_path / "out", "--guide", whole, "--start", 0.5, "--seconds", 1.25
    )
    assert ran.code == 0, ran.err
    assert f"note: '{whole}' is the sheet of the whole recording: what it says from 0.5 to 1.75 s" in ran.err
    played = json.loads((tmp_path / "out" / "lead-sheet.json").read_text())
    assert played["chords"] == [[0.0, 0.5, "A:min"], [0.5, 1.25, "F:maj"]]


@pytest.mark.slow
def test_the_strength_of_the_guide_is_recorded(
    hafm: Hafm, song: Path, following: Path, tmp_path: Path
) -> None:
    generate(hafm, song, following, tmp_path / "out", *GIVEN, "--guide-strength", 2.5)
    assert json.loads((tmp_path / "out" / "generation.json").read_text())["settings"]["guide_guidance"] == 2.5


@pytest.mark.slow
def test_an_intro_and_an_ending_make_room_and_replay(
    hafm: Hafm, song: Path, following: Path, tmp_path: Path
) -> None:
    ran = generate(hafm, song, following, tmp_path / "out", *GIVEN, "--intro", 1, "--ending")
    assert ran.code == 0, ran.err
    assert " 4.3 s, seed 0, made in" in ran.out
    # A bar of 2/4 at 120 is a second; the vocal's last bar begins at 1.3 s and is filled up to 2.3 s.
    assert "note: the band plays 1.00 s before the vocal and 1.30 s after the vocal: " in ran.err
    voice, _ = soundfile.read(song)
    mix, rate = soundfile.read(tmp_path / "out" / "mix.wav")
    band, _ = soundfile.read(tmp_path / "out" / "accompaniment.wav")
    assert len(mix) == len(band) == len(voice) + round(2.3 * rate)
    assert np.abs(band[: rate // 2]).max() > 0.01, "it plays before the voice"
    assert np.abs(band[-rate // 50 :]).max() < 0.01 * np.abs(band).max(), "it has died away at the end"
    sheet = read_lead_sheet(tmp_path / "out" / "lead-sheet.json", duration_seconds=len(mix) / rate)
    assert sheet.downbeats == pytest.approx((0.3, 1.3, 2.3, 3.3))
    assert [(round(span.start_seconds, 6), span.label) for span in sheet.chords] == [
        (0.0, "A:min"),  # as before the voice's first bar
        (0.3, "A:min"),
        (1.3, "A:min"),
        (2.3, "F:maj"),
        (3.3, "A:min"),
    ]
    again = replay(hafm, tmp_path / "out", tmp_path / "again")
    assert again.code == 0, again.err
    assert tree(tmp_path / "again") == tree(tmp_path / "out")


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["--no-guide", "--intro", "2"], "and --intro says something of one"),
        (["--free-time", "--ending"], "says that there are no bars, and an intro or an ending is made of"),
        (["--intro", "17"], "--intro is 17; give a number from 0 to 16"),
        (["--no-guide", "--bpm", "92"], "--no-guide follows no lead sheet, and --bpm says something of one"),
        (["--no-guide", "--guide-strength", "2"], "and --guide-strength says something of one"),
        (["--no-guide", "--guide", "x.json"], "and --guide says something of one"),
        (["--chords", "| Am " * 500], "the chart has 500 bars, and 2 s of sound have 4 at most"),
        (["--guide", "none.mid"], "cannot be read"),
        (["--guide-strength", "-1"], "--guide-strength is -1"),
        (["--style-strength", "-1"], "--style-strength is -1"),
        (["--style-strength", "2"], "no style is given; add --style"),
        (["--players-strength", "2"], "none are given; add --players"),
        (["--players", "drum"], "there is no player 'drum' (did you mean drums?)"),
        (["--no-guide", "--style-strength", "2"], "and --style-strength says something of one"),
        (["--replay", "x.json", "--bpm", "92"], "--bpm cannot stand beside --replay"),
    ],
)
def test_contradictions_are_refused_before_a_bundle_is_opened(
    hafm: Hafm, song: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, words: list[str], expected: str
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("a bundle was opened before this was refused")

    monkeypatch.setattr("hafm.generate.accompany.Accompanist.from_pretrained", refuse)
    ran = hafm("generate", song, "-o", tmp_path / "out", *words)
    assert (ran.code, ran.out) == (2, "")
    assert expected in ran.error


def test_a_bundle_without_a_guide_takes_no_sheet(
    hafm: Hafm, song: Path, bundle: Path, tmp_path: Path
) -> None:
    ran = generate(hafm, song, bundle, tmp_path / "out", *GIVEN)
    assert (ran.code, "were trained without lead sheets" in ran.error) == (2, True)
    assert generate(hafm, song, bundle, tmp_path / "none", "--no-guide").code == 0


@pytest.mark.long
def test_the_guide_is_never_replaced(hafm: Hafm, song: Path, following: Path, tmp_path: Path) -> None:
    generate(hafm, song, following, tmp_path / "out", *GIVEN)
    path = tmp_path / "out" / "lead-sheet.json"
    ran = generate(hafm, song, following, tmp_path / "out", "--guide", path, "--overwrite")
    assert "holds the guide itself" in ran.error
    assert read_lead_sheet(path, duration_seconds=SECONDS).tempo_bpm == pytest.approx(120)

"""`hafm generate --keep --region`: a stretch made again, the rest as it was, a record that is replayed."""

import json
from pathlib import Path

import numpy as np
import pytest
import soundfile
from jaxtyping import Float

from tests.app.conftest import Hafm, tree
from tests.tiny import RATE
from tests.unchecked import unchecked

SECONDS = 2.0
REGION = (0.5, 1.25)


def sound(folder: Path, format: str = "wav") -> Float[np.ndarray, " T"]:
    samples, rate = soundfile.read(folder / f"accompaniment.{format}")
    assert rate == RATE
    return np.asarray(samples)


@pytest.mark.slow
def test_a_stretch_is_made_again_changed_once_more_and_replayed(
    hafm: Hafm, song: Path, following: Path, tmp_path: Path
) -> None:
    steady = ["--bpm", 120, "--meter", "2/4", "--first-beat", 0]  # two bars of a second
    given = [*steady, "--chords", "| Am | F |", "--bundle", following]
    with unchecked():
        first = hafm("generate", song, "-o", tmp_path / "1", "--format", "flac", "--seed", 1, *given)
        assert first.code == 0, first.err
        kept = ["--keep", tmp_path / "1/generation.json", "--region", f"{REGION[0]}-{REGION[1]}", "--seed", 2]
        ran = hafm("generate", *kept, "--chords", "| Am | Dm |", "-o", tmp_path / "2", "--json")
        assert ran.code == 0, ran.err
        assert ran.json["settings"]["seed"] == 2
        old, new = sound(tmp_path / "1", "flac"), sound(tmp_path / "2")
        start, end = (round(seconds * RATE) for seconds in REGION)
        assert old.shape == new.shape
        assert (old[:start] == new[:start]).all()
        assert (old[end:] == new[end:]).all()
        assert (old[start:end] != new[start:end]).any()
        record = json.loads((tmp_path / "2/generation.json").read_text())
        assert record["again"]["of"] == json.loads((tmp_path / "1/generation.json").read_text())
        assert record["lead_sheet"]["chords"] == [
            [0.0, 1.0, "A:min"],
            [1.0, 1.25, "D:min"],
            [1.25, 2.0, "F:maj"],
        ]

        again = ["--keep", tmp_path / "2/generation.json", "--region", "1.5-2", "--skip-fine", "--seed", 3]
        assert hafm("generate", *again, "-o", tmp_path / "3").code == 0
        last = sound(tmp_path / "3")
        assert (last[: round(1.5 * RATE)] == new[: round(1.5 * RATE)]).all()
        replay = ["--replay", tmp_path / "3/generation.json"]
        assert hafm("generate", *replay, "-o", tmp_path / "same").code == 0
        assert tree(tmp_path / "same") == tree(tmp_path / "3")

        # what was kept has gone: it is made again, and what was kept of that as well
        (tmp_path / "2/accompaniment.wav").unlink()
        (tmp_path / "1/accompaniment.flac").unlink()
        assert hafm("generate", *replay, "-o", tmp_path / "anew").code == 0
        assert tree(tmp_path / "anew") == tree(tmp_path / "3")


@pytest.mark.slow
def test_an_ending_dies_away_in_the_new_stretch_too(
    hafm: Hafm, song: Path, following: Path, tmp_path: Path
) -> None:
    given = ["--bpm", 120, "--first-beat", 0.3, "--meter", "2/4", "--intro", 1, "--ending", "--skip-fine"]
    with unchecked():
        hafm("generate", song, "-o", tmp_path / "1", "--bundle", following, *given)
        kept = ["--keep", tmp_path / "1/generation.json", "--region", "3-4.3", "--seed", 5, "--skip-fine"]
        ran = hafm("generate", *kept, "--chords", "| C |", "-o", tmp_path / "2")
        assert ran.code == 0, ran.err
        replay = hafm("generate", "--replay", tmp_path / "2/generation.json", "-o", tmp_path / "3")
    old, new = sound(tmp_path / "1"), sound(tmp_path / "2")
    assert old.shape == new.shape == (round(4.3 * RATE),)
    assert (old[: 3 * RATE] == new[: 3 * RATE]).all()
    assert (old[3 * RATE :] != new[3 * RATE :]).any()
    assert np.abs(new[-RATE // 50 :]).max() < 0.01 * np.abs(new).max(), "it has died away at the end"
    assert replay.code == 0, replay.err
    assert tree(tmp_path / "3") == tree(tmp_path / "2")


@pytest.mark.slow
def test_what_was_edited_is_kept_but_cannot_be_made_again_once_it_has_gone(
    hafm: Hafm, vocal: Path, bundle: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    hafm("generate", vocal, "-o", out, "--bundle", bundle, "--skip-fine")
    edited, rate = soundfile.read(out / "accompaniment.wav")
    soundfile.write(out / "accompaniment.wav", 0.5 * edited, rate, subtype="PCM_24")
    edited, _ = soundfile.read(out / "accompaniment.wav")
    words = ["--keep", out / "generation.json", "--region", "0.1-0.3", "--skip-fine"]
    ran = hafm("generate", *words, "-o", tmp_path / "other")
    assert ran.code == 0, ran.err
    assert "seed 0 is that of the take, and nothing else was changed" in ran.err
    new, _ = soundfile.read(tmp_path / "other/accompaniment.wav")
    assert (new[: rate // 10] == edited[: rate // 10]).all()
    (out / "accompaniment.wav").unlink()
    again = hafm("generate", "--replay", tmp_path / "other/generation.json", "-o", tmp_path / "again")
    assert (again.code, (tmp_path / "again").exists()) == (2, False)
    assert "put it back there" in again.error


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["--keep", "TAKE"], "--keep names a take and --region the stretch"),
        (["VOCAL", "--region", "1-2"], "--keep names a take and --region the stretch"),
        (["--keep", "TAKE", "--region", "one-two"], "give seconds from and to, as in 12.5-20"),
        (["--keep", "TAKE", "--region", "0-9"], "is not in a sound of 0.5 s"),
        (["--keep", "TAKE", "--region", "0.2-0.21"], "is too short"),
        (["--keep", "NOTHING", "--region", "9-6"], "--region is '9-6', which ends before it begins"),
        (["--keep", "NOTHING", "--region", "6-6"], "--region is '6-6', which ends where it begins"),
        (["--keep", "TAKE", "--region", "0.1-0.3", "--takes", "2"], "--takes cannot be given beside --keep"),
        (["--keep", "TAKE", "--region", "0.1-0.3", "--intro", "1"], "--intro cannot be given beside --keep"),
        (["--keep", "TAKE", "--region", "0.1-0.3", "--replay", "TAKE"], "cannot"),
        (["--keep", "NOTHING", "--region", "0.1-0.3"], "cannot be read"),
        (["OTHER", "--keep", "TAKE", "--region", "0.1-0.3"], "was made from a vocal with SHA-256"),
        (["--keep", "TAKE", "--region", "0.1-0.3", "--chords", "| Am |"], "trained without lead sheets"),
    ],
)
def test_what_cannot_be_made_again_is_refused(
    hafm: Hafm, take: Path, vocal: Path, song: Path, tmp_path: Path, words: list[str], expected: str
) -> None:
    paths = {"TAKE": take / "generation.json", "NOTHING": take / "none.json", "VOCAL": vocal, "OTHER": song}
    ran = hafm("generate", *(paths.get(word, word) for word in words), "-o", tmp_path / "out")
    assert (ran.code, (tmp_path / "out").exists()) == (2, False)
    assert expected in ran.error


@pytest.fixture(scope="module")
def take(vocal: Path, bundle: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    from hafm import Accompanist

    folder = tmp_path_factory.mktemp("take") / "out"
    Accompanist.from_pretrained(bundle).generate(vocal, skip_fine=True).save(folder)
    return folder

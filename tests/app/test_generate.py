"""`hafm generate` when all is well: files, options, takes, replay, JSON, progress."""

import hashlib
import json
import re
from pathlib import Path

import numpy as np
import pytest
import soundfile

from hafm.audio.mixdown import BALANCE_DB, LOUDNESS_LUFS
from hafm.separate.stems import STEMS
from hafm.stages.separators import builtin_separator, separator_fingerprint
from tests.app.conftest import RATE, Hafm, Ran, tree
from tests.unchecked import unchecked

NAMES = {"accompaniment.wav", "mix.wav", "generation.json"}


@pytest.fixture(scope="module")
def made(bundle: Path, vocal: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One run with the defaults."""
    from hafm.app.cli import run

    folder = tmp_path_factory.mktemp("made") / "out"
    assert run(["generate", str(vocal), "-o", str(folder), "--bundle", str(bundle), "--quiet"]) == 0
    return folder


def quick(hafm: Hafm, vocal: Path, bundle: Path, folder: Path, *words: object) -> Ran:
    """A run without the fine stage, without guidance and without type checks: a tenth of the time."""
    with unchecked():
        return hafm(
            *("generate", vocal, "-o", folder, "--bundle", bundle, "--skip-fine", "--guidance", 1), *words
        )


def test_the_results_are_there_and_nothing_else(made: Path) -> None:
    assert set(tree(made.parent)) == {f"out/{name}" for name in NAMES}


def test_sounds_have_the_vocals_length_and_rate(made: Path, vocal: Path) -> None:
    given = soundfile.info(vocal)
    for name, channels in (("accompaniment.wav", 1), ("mix.wav", 2)):
        info = soundfile.info(made / name)
        assert (info.frames, info.samplerate, info.channels) == (given.frames, RATE, channels)
        sound, _ = soundfile.read(made / name)
        assert np.isfinite(sound).all()
        assert 0.01 < np.abs(sound).max() <= 1


def test_the_defaults_in_the_help_are_the_real_ones(made: Path, hafm: Hafm) -> None:
    output = json.loads((made / "generation.json").read_text())["output"]
    assert (output["balance_db"], output["loudness_lufs"]) == (BALANCE_DB, LOUDNESS_LUFS)
    text = " ".join(hafm("generate", "--help").out.replace("│", " ").split())
    balance, loudness = re.findall(r"--(?:balance|loudness).*?\[default: \((-?[\d.]+)\)\]", text)
    assert (float(balance), float(loudness)) == (BALANCE_DB, LOUDNESS_LUFS)


def test_a_replay_gives_the_same_bytes(made: Path, bundle: Path, hafm: Hafm, tmp_path: Path) -> None:
    ran = hafm("generate", "--replay", made / "generation.json", "-o", tmp_path / "again")
    assert ran.code == 0, ran.err
    assert tree(tmp_path / "again") == tree(made)


@pytest.mark.slow
def test_a_replay_of_a_moved_vocal_and_bundle(
    made: Path, vocal: Path, bundle: Path, hafm: Hafm, tmp_path: Path
) -> None:
    moved = tmp_path / "moved.wav"
    moved.write_bytes(vocal.read_bytes())
    record = json.loads((made / "generation.json").read_text())
    record["input"]["path"] = record["bundle"]["source"] = "/nowhere"
    (tmp_path / "record.json").write_text(json.dumps(record))
    words = ["--replay", tmp_path / "record.json", "-o", tmp_path / "again"]
    assert "'/nowhere' does not exist" in hafm("generate", *words).error
    assert "'/nowhere'" in hafm("generate", moved, *words).error
    ran = hafm("generate", moved, *words, "--bundle", bundle)
    assert ran.code == 0, ran.err
    assert (tmp_path / "again" / "mix.wav").read_bytes() == (made / "mix.wav").read_bytes()


def test_every_option_of_a_replay_comes_back(vocal: Path, bundle: Path, hafm: Hafm, tmp_path: Path) -> None:
    """Everything that can be said otherwise is said otherwise, and the replay gets no option."""
    options = ["--seed", 5, "--temperature", 0.7, "--top-k", 3, "--start", 0.0, "--seconds", 0.5]
    options += ["--balance", 2, "--loudness", -20, "--format", "flac", "--takes", 2]
    assert quick(hafm, vocal, bundle, tmp_path / "out", *options).code == 0
    ran = hafm("generate", "--replay", tmp_path / "out/take-2/generation.json", "-o", tmp_path / "again")
    assert ran.code == 0, ran.err
    assert tree(tmp_path / "again") == tree(tmp_path / "out" / "take-2")
    assert soundfile.info(tmp_path / "again" / "mix.flac").frames == RATE // 2


@pytest.mark.slow
def test_a_take_does_not_depend_on_its_companions(
    vocal: Path, bundle: Path, hafm: Hafm, tmp_path: Path
) -> None:
    quick(hafm, vocal, bundle, tmp_path / "three", "--takes", 3)
    quick(hafm, vocal, bundle, tmp_path / "one")
    three, one = tree(tmp_path / "three"), tree(tmp_path / "one")
    assert set(three) == {f"take-{number}/{name}" for number in (1, 2, 3) for name in NAMES}
    assert three["take-1/accompaniment.wav"] == one["accompaniment.wav"]
    assert len({three[f"take-{number}/accompaniment.wav"] for number in (1, 2, 3)}) == 3


@pytest.mark.slow
def test_another_seed_is_another_accompaniment(vocal: Path, bundle: Path, hafm: Hafm, tmp_path: Path) -> None:
    for seed in (1, 2):
        assert quick(hafm, vocal, bundle, tmp_path / str(seed), "--seed", seed).code == 0
    assert (tmp_path / "1/mix.wav").read_bytes() != (tmp_path / "2/mix.wav").read_bytes()


@pytest.mark.long
@pytest.mark.parametrize("format", ["wav", "flac"])
def test_stems_add_up_to_the_accompaniment(
    format: str, vocal: Path, bundle: Path, hafm: Hafm, tmp_path: Path
) -> None:
    ran = quick(hafm, vocal, bundle, tmp_path / "out", "--stems", "--format", format, "--json")
    assert ran.code == 0, ran.err
    [take] = ran.json["takes"]
    paths = {name: tmp_path / f"out/stems/{name}.{format}" for name in STEMS}
    assert {name: take[f"stems/{name}"] for name in STEMS} == {
        name: str(path) for name, path in paths.items()
    }
    band, rate = soundfile.read(take["accompaniment"], dtype="float64")
    stems = [soundfile.read(path, dtype="float64") for path in paths.values()]
    assert {each for _, each in stems} == {rate} == {RATE}
    assert np.abs(sum(stem for stem, _ in stems) - band).max() <= 3 / 2**23
    assert all(stem.any() for stem, _ in stems)
    output = json.loads((tmp_path / "out/generation.json").read_text())["output"]
    assert output["stems"] == separator_fingerprint(builtin_separator())
    for path in paths.values():
        name = path.relative_to(tmp_path / "out").as_posix()
        assert output["files"][name] == hashlib.sha256(path.read_bytes()).hexdigest()


@pytest.mark.long
def test_a_replay_makes_stems_again_or_adds_them(
    made: Path, vocal: Path, bundle: Path, hafm: Hafm, tmp_path: Path
) -> None:
    record = made / "generation.json"
    assert hafm("generate", "--replay", record, "--stems", "-o", tmp_path / "added").code == 0
    added = tree(tmp_path / "added")
    assert set(added) == {*NAMES, *(f"stems/{name}.wav" for name in STEMS)}
    assert added["accompaniment.wav"] == tree(made)["accompaniment.wav"]
    ran = hafm("generate", "--replay", tmp_path / "added/generation.json", "-o", tmp_path / "again")
    assert "stems" not in ran.err
    assert tree(tmp_path / "again") == added
    other = (tmp_path / "added/generation.json").read_text().replace('"stems": "', '"stems": "0')
    (tmp_path / "other.json").write_text(other)
    ran = hafm("generate", "--replay", tmp_path / "other.json", "-o", tmp_path / "third")
    assert "the stems of the record were parted by another net" in ran.err


def test_json_has_all_that_a_program_needs(vocal: Path, bundle: Path, hafm: Hafm, tmp_path: Path) -> None:
    ran = quick(hafm, vocal, bundle, tmp_path / "out", "--takes", 2, "--json", "--plot")
    result = ran.json
    assert list(result) == ["takes", "vocal", "settings", "bundle", "environment", "timings", "notes"]
    for number, take in enumerate(result["takes"], start=1):
        assert set(take) == {"take", "accompaniment", "mix", "record", "plot", "levels"}
        assert take["take"] == number
        for what in ("accompaniment", "mix", "record", "plot"):
            path = Path(take[what])
            assert path.is_file()
            assert path.parent == tmp_path / "out" / f"take-{number}"
        assert take["levels"]["mix_true_peak_dbtp"] <= -0.99
    given = soundfile.info(vocal)
    heard = result["vocal"]
    assert (heard["num_samples"], heard["sample_rate_hz"], heard["num_channels"]) == (given.frames, RATE, 2)
    assert heard["seconds"] == pytest.approx(given.frames / RATE)
    timings = result["timings"]
    parts = sum(timings[f"{part}_seconds"] for part in ("prepare", "generate", "write"))
    assert parts == pytest.approx(timings["total_seconds"], abs=0.01)
    assert timings["generate_seconds_per_second"] > 0
    assert result["settings"]["skip_fine"] is True
    assert "hafm: " in ran.err  # progress does not mix with the result


def test_the_summary_says_where_the_files_are(vocal: Path, bundle: Path, hafm: Hafm, tmp_path: Path) -> None:
    ran = quick(hafm, vocal, bundle, tmp_path / "out")
    for name in NAMES:
        assert str(tmp_path / "out" / name) in ran.out
    assert re.search(r"0\.5 s, seed 0, made in \d+\.\d s", ran.out)
    assert [line for line in ran.err.splitlines() if not line.startswith("hafm: ")] == []


def test_quiet_is_quiet(vocal: Path, bundle: Path, hafm: Hafm, tmp_path: Path) -> None:
    ran = quick(hafm, vocal, bundle, tmp_path / "out", "--quiet")
    assert (ran.code, ran.out, ran.err) == (0, "", "")


@pytest.mark.slow
def test_notes_of_the_gateway_are_passed_on(bundle: Path, hafm: Hafm, tmp_path: Path) -> None:
    """A file that was cut short is accompanied as far as it goes, and the user hears of it."""
    time = np.arange(RATE) / RATE
    soundfile.write(tmp_path / "whole.wav", 0.3 * np.sin(2 * np.pi * 220 * time), RATE)
    cut = tmp_path / "cut.wav"
    cut.write_bytes((tmp_path / "whole.wav").read_bytes()[: 44 + RATE])
    ran = quick(hafm, cut, bundle, tmp_path / "out", "--json")
    (note,) = ran.json["notes"]
    assert "cut short" in note or "missing" in note
    ran = quick(hafm, cut, bundle, tmp_path / "out", "--overwrite")
    assert f"note: {note}" in ran.err


def test_overwriting_keeps_what_is_not_ours(vocal: Path, bundle: Path, hafm: Hafm, tmp_path: Path) -> None:
    folder = tmp_path / "out"
    folder.mkdir()
    (folder / "song.txt").write_text("mine")
    (folder / "mix.wav").write_text("old")
    assert quick(hafm, vocal, bundle, folder, "--overwrite").code == 0
    files = tree(tmp_path)
    assert set(files) == {"out/song.txt", *(f"out/{name}" for name in NAMES)}
    assert files["out/song.txt"] == b"mine"
    assert files["out/mix.wav"] != b"old"


@pytest.mark.slow
def test_an_empty_folder_may_be_filled_and_missing_ones_are_made(
    vocal: Path, bundle: Path, hafm: Hafm, tmp_path: Path
) -> None:
    (tmp_path / "empty").mkdir()
    assert quick(hafm, vocal, bundle, tmp_path / "empty").code == 0
    assert set(tree(tmp_path / "empty")) == NAMES
    assert quick(hafm, vocal, bundle, tmp_path / "a" / "b" / "c").code == 0
    assert set(tree(tmp_path / "a")) == {f"b/c/{name}" for name in NAMES}


@pytest.mark.slow
def test_odd_names_are_no_trouble(vocal: Path, bundle: Path, hafm: Hafm, tmp_path: Path) -> None:
    odd = tmp_path / "ünï $x$ [bold]'\"\n音.wav"
    odd.write_bytes(vocal.read_bytes())
    ran = quick(hafm, odd, bundle, tmp_path / "out [red]", "--plot")
    assert ran.code == 0, ran.err
    assert set(tree(tmp_path / "out [red]")) == {*NAMES, "plot.png"}
    assert str(tmp_path / "out [red]" / "mix.wav") in ran.out


def test_a_name_that_looks_like_an_option(
    vocal: Path, bundle: Path, hafm: Hafm, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("--json").write_bytes(vocal.read_bytes())
    ran = hafm(*("generate", "-o", "out", "--bundle", bundle, "--skip-fine", "--guidance", 1, "--", "--json"))
    assert ran.code == 0, ran.err
    assert "out/mix.wav" in ran.out
    assert set(tree(tmp_path / "out")) == NAMES


def test_progress_tells_stages_and_time_left(
    vocal: Path, bundle: Path, hafm: Hafm, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("hafm.app.display._PLAIN_SECONDS", 0.0)
    lines = quick(hafm, vocal, bundle, tmp_path / "out").err.splitlines()
    steps = ["getting ready", "opening the bundle", "opening the engine", "listening"]
    assert lines[:4] == [f"hafm: {step}" for step in steps]
    assert lines[-2:] == ["hafm: rendering", "hafm: writing"]
    pattern = r"hafm: (semantic tokens|coarse codes)(?:, (\d+) %, \d+:\d\d left)?"
    matches = [re.fullmatch(pattern, line) for line in lines[4:-2]]
    assert all(matches), lines
    assert {match[1] for match in matches if match} == {"semantic tokens", "coarse codes"}
    shares = [int(match[2]) for match in matches if match and match[2]]
    assert shares == sorted(shares)
    assert 1 <= len(shares) <= 11


def test_what_an_earlier_run_left_is_named_and_the_vocal_beside_it_is_not_touched(
    hafm: Hafm, vocal: Path, bundle: Path, tmp_path: Path
) -> None:
    for name in ("take-2/mix.wav", "stems/drums.wav", "mix.wav", "mix.flac", "plot.png", "notes.txt"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("of before")
    mine = tmp_path / "mix.mp3"
    mine.write_bytes(vocal.read_bytes())
    ran = quick(hafm, mine, bundle, tmp_path, "--overwrite")
    assert ran.code == 0, ran.err
    assert "results that are not of this run: mix.flac, plot.png, stems/, take-2/; do not" in ran.err
    assert mine.read_bytes() == vocal.read_bytes()
    ran = quick(hafm, vocal, bundle, tmp_path / "new")
    assert "not of this run" not in ran.err

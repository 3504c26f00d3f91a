"""Saving and replaying: all files or none, a record that is believed, and the same bytes again."""

import errno
import hashlib
import json
import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import soundfile
import torch

from hafm import Accompaniment, Accompanist
from hafm.errors import AudioContentError, AudioReadError, BundleMismatch, OutputError, UsageError
from hafm.generate import accompaniment as accompaniment_module
from hafm.generate.record import Environment, GenerationRecord
from hafm.generate.seeds import generator_for
from tests.tiny import RATE, make_tiny_bundle, same, sung
from tests.unchecked import unchecked

AGAIN = {"start_seconds": 0.0, "end_seconds": 1.0, "path": "x", "sha256": "y", "of": {"format": 1}}
NAMES = {"accompaniment.wav", "mix.wav", "generation.json"}


@pytest.fixture(scope="module")
def vocal(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("vocals") / "vocal.wav"
    soundfile.write(path, sung(1.2)[0].numpy(), RATE, subtype="PCM_16")
    return path


@pytest.fixture(scope="module")
def made(tiny_accompanist: Accompanist, vocal: Path) -> Accompaniment:
    return tiny_accompanist.generate(
        vocal, seed=3, take=1, start_seconds=0.2, seconds=0.7, temperature=0.7, skip_fine=True
    )


def files(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


# ---- saving


def test_what_is_written(made: Accompaniment, tmp_path: Path) -> None:
    paths = made.save(tmp_path / "out")
    assert paths == {
        "accompaniment": tmp_path / "out" / "accompaniment.wav",
        "mix": tmp_path / "out" / "mix.wav",
        "record": tmp_path / "out" / "generation.json",
    }
    assert set(files(tmp_path / "out")) == NAMES
    assert [path.name for path in tmp_path.iterdir()] == ["out"]
    sound, rate = soundfile.read(paths["accompaniment"], dtype="float32")
    assert rate == RATE
    assert torch.allclose(torch.from_numpy(sound), made.waveform[0], atol=2**-23)
    mix, _ = soundfile.read(paths["mix"], dtype="float32")
    assert torch.allclose(torch.from_numpy(mix), made.mix()[0], atol=2**-23)


def test_the_record_says_everything(
    made: Accompaniment, tiny_accompanist: Accompanist, vocal: Path, tmp_path: Path
) -> None:
    paths = made.save(tmp_path / "out", balance_db=2.0, loudness_lufs=-20.0)
    record = GenerationRecord.read(paths["record"])
    assert replace(record, output=None) == made.record
    assert record.environment == Environment.here("cpu")
    assert record.bundle.fingerprint == tiny_accompanist.bundle.fingerprint
    assert record.bundle.source == str(tiny_accompanist.bundle.folder)
    assert record.input.path == str(vocal)
    assert record.input.sha256 == hashlib.sha256(vocal.read_bytes()).hexdigest()
    assert (record.input.start_seconds, record.input.seconds, record.input.num_samples) == (0.2, 0.7, 16_800)
    settings = record.settings
    assert (settings.seed, settings.take, settings.temperature, settings.skip_fine) == (3, 1, 0.7, True)
    assert (settings.top_k, settings.guidance) == (8, 1.5)  # the bundle's, spelt out
    assert record.output is not None
    assert record.save_options() == {"format": "wav", "balance_db": 2.0, "loudness_lufs": -20.0}
    assert record.output.levels["mix_lufs"] == pytest.approx(-20.0, abs=0.1)
    for name, digest in record.output.files.items():
        assert hashlib.sha256(paths["record"].with_name(name).read_bytes()).hexdigest() == digest


def test_flac_holds_the_same_samples_to_one_step_of_24_bits(made: Accompaniment, tmp_path: Path) -> None:
    wav, flac = (made.save(tmp_path / name, format=name) for name in ("wav", "flac"))
    assert set(files(tmp_path / "flac")) == {"accompaniment.flac", "mix.flac", "generation.json"}
    for what in ("accompaniment", "mix"):
        difference = soundfile.read(wav[what])[0] - soundfile.read(flac[what])[0]
        assert abs(difference).max() <= 2**-23


def test_a_folder_in_use_is_kept(made: Accompaniment, tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(OutputError, match=r"already holds files; .*\(overwrite=True\)"):
        made.save(tmp_path)
    made.save(tmp_path, overwrite=True)
    assert set(files(tmp_path)) == {*NAMES, "notes.txt"}
    assert (tmp_path / "notes.txt").read_text() == "mine"


def test_the_vocals_own_folder_is_refused(made: Accompaniment, vocal: Path) -> None:
    before = files(vocal.parent)
    with pytest.raises(OutputError, match="holds the vocal"):
        made.save(vocal.parent, overwrite=True)
    assert files(vocal.parent) == before


def full_disk(*_: object, **__: object) -> None:
    raise OSError(errno.ENOSPC, "No space left on device")


@pytest.mark.parametrize("place", ["write_audio", "atomic_file"])
@pytest.mark.parametrize("there", [False, True])
def test_a_full_disk_leaves_everything_as_it_was(
    made: Accompaniment, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, place: str, there: bool
) -> None:
    out = tmp_path / "out"
    if there:
        made.save(out)
    before = files(out) if there else None
    monkeypatch.setattr(accompaniment_module, place, full_disk)
    with pytest.raises(OutputError, match="the disk is full"):
        made.save(out, overwrite=True)
    assert (files(out) if there else None) == before
    assert out.exists() == there
    assert len(list(tmp_path.iterdir())) == there


def test_a_stop_while_files_take_their_places_leaves_no_record(
    made: Accompaniment, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The old record would vouch for a mix of old and new files."""
    out = tmp_path / "out"
    made.save(out)
    moves: list[str] = []
    replace_file = os.replace

    def stopped(source: Any, target: Any) -> None:
        moves.append(Path(target).name)
        if Path(target).parent == out and Path(target).name == "mix.wav":
            raise KeyboardInterrupt
        replace_file(source, target)

    monkeypatch.setattr(os, "replace", stopped)
    with pytest.raises(KeyboardInterrupt):
        made.save(out, overwrite=True)
    monkeypatch.undo()
    assert set(files(out)) == {"accompaniment.wav", "mix.wav"}
    assert moves[-2:] == ["accompaniment.wav", "mix.wav"]
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


@pytest.mark.parametrize("wrong", [{"format": "mp3"}, {"balance_db": 99.0}, {"loudness_lufs": 3.0}])
def test_options_out_of_range_write_nothing(
    made: Accompaniment, tmp_path: Path, wrong: dict[str, Any]
) -> None:
    with unchecked(), pytest.raises(UsageError):
        made.save(tmp_path / "out", **wrong)
    assert list(tmp_path.iterdir()) == []


# ---- replaying


@pytest.mark.slow
def test_a_replay_gives_the_same_bytes(
    made: Accompaniment, tiny_accompanist: Accompanist, tmp_path: Path
) -> None:
    paths = made.save(tmp_path / "then", format="flac", balance_db=1.0)
    record = GenerationRecord.read(paths["record"])
    fresh = Accompanist.from_pretrained(record.bundle.source, device=record.environment.device)
    again = fresh.replay(record)
    assert same(again, made)
    assert again.notes == made.notes == ()
    again.save(tmp_path / "now", **record.save_options())
    assert files(tmp_path / "now") == files(tmp_path / "then")


def test_a_bundle_given_by_a_relative_path_is_found_from_elsewhere(
    tiny_accompanist: Accompanist, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tiny_accompanist.bundle.folder
    monkeypatch.chdir(folder.parent)
    assert Accompanist.from_pretrained(folder.name).source == str(folder)


@pytest.mark.slow
@unchecked()
def test_one_take_of_many_replays_alone(tiny_accompanist: Accompanist, vocal: Path) -> None:
    takes = tiny_accompanist.generate_takes(vocal, takes=2, skip_fine=True)
    assert same(tiny_accompanist.replay(takes[1].record), takes[1])


def test_another_bundle_is_refused_and_both_are_named(made: Accompaniment, tmp_path: Path) -> None:
    other = Accompanist.from_pretrained(make_tiny_bundle(tmp_path / "other", seed=9))
    with pytest.raises(BundleMismatch) as caught:
        other.replay(made.record)
    assert made.record.bundle.fingerprint in str(caught.value)
    assert other.bundle.fingerprint in str(caught.value)


@unchecked()
def test_another_vocal_is_refused_and_a_moved_one_is_not(
    made: Accompaniment, tiny_accompanist: Accompanist, vocal: Path, tmp_path: Path
) -> None:
    moved = tmp_path / "moved.wav"
    moved.write_bytes(vocal.read_bytes())
    assert same(tiny_accompanist.replay(made.record, vocal=moved), made)
    soundfile.write(moved, sung(1.2, hz=221)[0].numpy(), RATE, subtype="PCM_16")
    with pytest.raises(AudioContentError, match=made.record.input.sha256):
        tiny_accompanist.replay(made.record, vocal=moved)
    gone = replace(made.record, input=replace(made.record.input, path=str(tmp_path / "gone.wav")))
    with pytest.raises(AudioReadError, match=r"gone\.wav"):
        tiny_accompanist.replay(gone)


@unchecked()
def test_an_array_has_to_be_given_again(tiny_accompanist: Accompanist) -> None:
    first = tiny_accompanist.generate(sung(), sample_rate=RATE, skip_fine=True)
    with pytest.raises(UsageError, match="made from an array"):
        tiny_accompanist.replay(first.record)
    assert same(tiny_accompanist.replay(first.record, vocal=sung(), sample_rate=RATE), first)


@unchecked()
def test_other_versions_are_noted(made: Accompaniment, tiny_accompanist: Accompanist) -> None:
    then = replace(made.record.environment, torch="2.10.0", threads=64)
    again = tiny_accompanist.replay(replace(made.record, environment=then))
    assert same(again, made)
    assert len(again.notes) == 2
    assert "torch 2.10.0" in again.notes[0]
    assert "threads 64" in again.notes[1]


# ---- reading records


def lacking(name: str) -> Callable[[dict[str, Any]], None]:
    return lambda values: values.pop(name)


def put(part: str, name: str, value: object) -> Callable[[dict[str, Any]], None]:
    return lambda values: values[part].update({name: value})


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda values: values.update(format=2), "is of format 2"),
        (lambda values: values.update(mood="blue"), "mood"),
        (lambda values: values.update(again={"of": {}}), "again lacks 'start_seconds'"),
        (lambda values: values.update(again=AGAIN), "the record of what was kept is not a record of hafm"),
        (lacking("settings"), "lacks 'settings'"),
        (lacking("output"), "lacks 'output'"),
        (put("settings", "speed", 2), r"settings has the unknown field 'speed' \(did you mean seed\?\)"),
        (lambda values: values["input"].pop("sha256"), "input lacks 'sha256'"),
        (lambda values: values.update(bundle=[]), "bundle must be an object"),
        (lambda values: values.update(output={}), "output lacks"),
    ],
)
def test_records_that_are_none(
    made: Accompaniment, change: Callable[[dict[str, Any]], None], said: str
) -> None:
    values = json.loads(made.record.to_json())
    change(values)
    with pytest.raises(UsageError, match=said):
        GenerationRecord.from_json(json.dumps(values))


@pytest.mark.parametrize("content", [b"", b"[]", b"\xff\xfe", b"null"])
def test_files_that_are_no_records(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "generation.json"
    with pytest.raises(UsageError, match=r"generation\.json"):
        GenerationRecord.read(path)
    path.write_bytes(content)
    with pytest.raises(UsageError, match=r"generation\.json"):
        GenerationRecord.read(path)
    with pytest.raises(UsageError, match="cannot be read"):
        GenerationRecord.read(tmp_path)


# ---- seeds


def test_generators_differ_by_seed_take_and_name_and_by_nothing_else() -> None:
    keys = [
        (seed, take, name) for seed in (-1, 0, 1, 2**70) for take in (0, 1, 10) for name in ("coarse", "fine")
    ]
    seeds = [generator_for(seed=seed, take=take, name=name).initial_seed() for seed, take, name in keys]
    assert len(set(seeds)) == len(keys)
    assert seeds == [
        generator_for(seed=seed, take=take, name=name).initial_seed() for seed, take, name in keys
    ]

"""Stems in files: levels over full scale, channels, a disk without room."""

import errno
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

from hafm import files
from hafm.errors import OutputError
from hafm.generate.accompaniment import write_stems
from hafm.separate.stems import STEMS

RATE = 24_000


def band(level: float) -> torch.Tensor:
    rng = np.random.default_rng(3)
    return torch.from_numpy(level * rng.uniform(-1, 1, (2, RATE)).astype(np.float32))


def test_what_would_clip_is_written_as_floats_and_all_add_up(tmp_path: Path) -> None:
    sound = band(3.0)
    paths, _ = write_stems(tmp_path, sound, RATE, format="flac")
    assert list(paths) == [f"stems/{name}" for name in STEMS]
    read = {what: soundfile.read(path, dtype="float32", always_2d=True)[0].T for what, path in paths.items()}
    np.testing.assert_allclose(sum(read.values()), sound, atol=1e-5)
    for what, path in paths.items():
        loud = np.abs(read[what]).max() > 1
        assert (path.suffix, soundfile.info(path).subtype) == (
            (".wav", "FLOAT") if loud else (".flac", "PCM_24")
        )
    assert any(path.suffix == ".wav" for path in paths.values())
    assert sorted(each.name for each in tmp_path.iterdir()) == ["stems"]


def test_a_full_disk_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Full:
        def __enter__(self) -> "Full":
            return self

        def __exit__(self, *_: object) -> None: ...

        def write(self, _: bytes) -> int:
            raise OSError(errno.ENOSPC, "No space left on device")

    def full(dir: Path) -> Full:
        return Full()

    monkeypatch.setattr(files, "TemporaryFile", full)
    with pytest.raises(OutputError, match="stems': the disk is full"):
        write_stems(tmp_path, band(0.1), RATE)

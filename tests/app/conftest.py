"""A tiny bundle, a short vocal, and the command line in this process."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from hafm.app.cli import run
from tests import tiny

RATE = 16_000


@dataclass(frozen=True)
class Ran:
    """What a command line did."""

    code: int
    out: str
    err: str

    @property
    def error(self) -> str:
        """The one line of a refusal."""
        lines = [line for line in self.err.splitlines() if not line.startswith("hafm: ")]
        assert len(lines) == 1, self.err
        return lines[0]

    @property
    def json(self) -> Any:
        return json.loads(self.out)


Hafm = Callable[..., Ran]


@pytest.fixture
def hafm(capfd: pytest.CaptureFixture[str]) -> Hafm:
    """`hafm("info", folder)`: any words, as a shell would give them."""

    def call(*words: object) -> Ran:
        capfd.readouterr()
        code = run([str(word) for word in words])
        return Ran(code, *capfd.readouterr())

    return call


@pytest.fixture(scope="session")
def bundle(tiny_bundle: Path) -> Path:
    return tiny_bundle


@pytest.fixture(scope="session")
def vocal(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Half a second of something like singing, in stereo, in a folder of its own."""
    path = tmp_path_factory.mktemp("vocal") / "vocal.wav"
    time = np.arange(int(0.5 * RATE)) / RATE
    voice = 0.3 * np.sin(2 * np.pi * 220 * time + np.sin(30 * time)) * np.hanning(len(time))
    soundfile.write(path, np.stack([voice, 0.5 * voice], axis=1), RATE)
    return path


def tree(folder: Path) -> dict[str, bytes]:
    """Every file below a folder, hidden ones too."""
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


@pytest.fixture(scope="module")
def song(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A melody that lasts the module's `SECONDS`."""
    path = tmp_path_factory.mktemp("song") / "song.wav"
    soundfile.write(path, tiny.sung(request.module.SECONDS)[0].numpy(), tiny.RATE)
    return path

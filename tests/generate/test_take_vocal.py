"""The vocal of a song, from Python: what the command line does, one layer below."""

from pathlib import Path

import pytest
import torch

from hafm.audio.io import audio_from_array
from hafm.errors import AudioContentError, UsageError
from hafm.generate.accompany import Accompanist
from hafm.generate.vocal import SEPARATION, take_vocal
from hafm.progress import Progress
from hafm.separate.separator import Separator
from tests.separate import onnx_nets
from tests.tiny import RATE, same, sung


@pytest.fixture(scope="module")
def separator(tmp_path_factory: pytest.TempPathFactory) -> Separator:
    return Separator.open(
        onnx_nets.write_net(tmp_path_factory.mktemp("net"), onnx_nets.band(lambda bins: bins < 12))
    )


@pytest.fixture
def song() -> torch.Tensor:
    return sung(0.6, hz=700.0, channels=2) + sung(0.6, hz=3_000.0, channels=2)


def test_the_vocal_is_the_separators(song: torch.Tensor, separator: Separator) -> None:
    audio = audio_from_array(song, RATE)
    reports: list[Progress] = []
    vocal = take_vocal(audio, separator, on_progress=reports.append)
    assert vocal.waveform.equal(separator.separate(audio.waveform, sample_rate=RATE)[0])
    assert (vocal.sha256, vocal.sample_rate, vocal.notes) == (audio.sha256, RATE, audio.notes)
    assert reports[0] == Progress(step=SEPARATION, done=0, total=1)
    assert reports[-1] == Progress(step=SEPARATION, done=1, total=1)


def test_a_song_without_a_vocal_is_refused(song: torch.Tensor, tmp_path: Path) -> None:
    deaf = Separator.open(onnx_nets.write_net(tmp_path, onnx_nets.gain(0.0)))
    with pytest.raises(AudioContentError, match="found no vocal in the array"):
        take_vocal(audio_from_array(song, RATE), deaf)


@pytest.mark.long
def test_it_is_the_vocal_that_is_accompanied(
    song: torch.Tensor, separator: Separator, tiny_accompanist: Accompanist
) -> None:
    options = {"sample_rate": RATE, "skip_fine": True, "guidance": 1.0}
    made = tiny_accompanist.generate(song, separator=separator, **options)
    vocal = take_vocal(audio_from_array(song, RATE), separator).waveform
    assert same(made, tiny_accompanist.generate(vocal, **options))
    assert made.vocal.waveform.equal(vocal)
    assert made.record.separation is not None
    assert made.record.separation.fingerprint == separator.fingerprint()
    replayed = tiny_accompanist.replay(made.record, vocal=song, sample_rate=RATE, separator=separator)
    assert same(made, replayed)
    with pytest.raises(UsageError, match="taken out of a song by a separator"):
        tiny_accompanist.replay(made.record, vocal=song, sample_rate=RATE)

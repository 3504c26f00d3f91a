"""Broken and odd files: each is refused with one line that helps, or taken with a note.

The files are made here, byte by byte, so that every field of a header can lie.
"""

import gzip
import io
import os
import random
import resource
import struct
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from hafm.audio.io import read_audio
from hafm.audio.sound import Audio
from hafm.errors import AudioContentError, AudioError, AudioReadError

RATE = 24_000


def voice(seconds: float = 1.0, rate: int = RATE) -> np.ndarray:
    """A tone with vibrato and an overtone."""
    time = np.arange(round(seconds * rate)) / rate
    phase = 2 * np.pi * 220 * time + 0.6 * np.sin(2 * np.pi * 5 * time)
    return 0.4 * np.sin(phase) + 0.1 * np.sin(2 * phase)


def wav(
    samples: np.ndarray,
    *,
    rate: int = RATE,
    channels: int = 1,
    tag: int = 1,
    bits: int = 16,
    data_size: int | None = None,
    riff_size: int | None = None,
    chunks: bytes = b"",
) -> bytes:
    """A WAV with a header of one's own. Tag 1 is PCM, 3 is floating point."""
    samples = np.asarray(samples)
    if tag == 3:
        data = samples.astype(f"<f{bits // 8}").tobytes()
    elif bits == 8:
        data = np.round(samples * 127 + 128).astype(np.uint8).tobytes()
    elif bits == 24:
        whole = np.round(np.clip(samples, -1, 1) * (2**23 - 1)).astype("<i4").reshape(-1, 1)
        data = whole.view(np.uint8)[:, :3].tobytes()
    else:
        data = np.round(np.clip(samples, -1, 1) * (2 ** (bits - 1) - 1)).astype(f"<i{bits // 8}").tobytes()
    block = channels * bits // 8
    fmt = struct.pack("<HHIIHH", tag, channels, rate, rate * block & 0xFFFFFFFF, block, bits)
    size = len(data) if data_size is None else data_size
    body = b"WAVEfmt " + struct.pack("<I", 16) + fmt + chunks + b"data" + struct.pack("<I", size) + data
    return b"RIFF" + struct.pack("<I", len(body) if riff_size is None else riff_size) + body


def encoded(samples: np.ndarray, format: str, subtype: str | None = None, rate: int = RATE) -> bytes:
    buffer = io.BytesIO()
    soundfile.write(buffer, samples, rate, format=format, subtype=subtype)
    return buffer.getvalue()


def with_bytes(data: bytes, at: int, new: bytes) -> bytes:
    return data[:at] + new + data[at + len(new) :]


def with_nan() -> np.ndarray:
    samples = voice()
    samples[2400:2500] = np.nan
    return samples


def with_infinity() -> np.ndarray:
    samples = voice()
    samples[5] = np.inf
    return samples


def cut_at(data: bytes, share: float) -> bytes:
    return data[: int(len(data) * share)]


GOOD = wav(voice())
SILENCE = np.zeros(RATE)
NOISE = random.Random(0).randbytes(20_000)
READ, CONTENT = AudioReadError, AudioContentError

REFUSED: dict[str, tuple[Callable[[], bytes], type[AudioError], str]] = {
    "empty.wav": (lambda: b"", READ, "is empty"),
    "header_only.wav": (lambda: wav(np.zeros(0)), CONTENT, "holds no sound that can be decoded"),
    "cut_in_header.wav": (lambda: GOOD[:20], READ, "cannot be decoded"),
    "nan.wav": (lambda: wav(with_nan(), tag=3, bits=32), CONTENT, "100 samples that are not numbers"),
    "infinity.wav": (lambda: wav(with_infinity(), tag=3, bits=32), CONTENT, "1 samples that are not"),
    "double_beyond_float.wav": (lambda: wav(voice() * 1e300, tag=3, bits=64), CONTENT, "not numbers"),
    "inaudible.wav": (lambda: wav(voice() * 1e-9, tag=3, bits=32), CONTENT, "is silent"),
    "silence.wav": (lambda: wav(SILENCE), CONTENT, "is silent"),
    "offset_only.wav": (lambda: wav(SILENCE + 0.7), CONTENT, "is silent"),
    "one_sample.wav": (lambda: wav(np.array([0.5])), CONTENT, "too short"),
    "half_a_second_less_one.wav": (lambda: wav(voice()[: RATE // 2 - 1]), CONTENT, "0.5 s or more"),
    "rate_0.wav": (lambda: wav(voice(), rate=0), READ, "impossible sample rate"),
    "rate_max.wav": (lambda: wav(voice(), rate=0xFFFFFFFF), READ, "impossible sample rate"),
    "rate_7999.wav": (lambda: wav(voice(), rate=7_999), CONTENT, "sample rate of 7999 Hz"),
    "rate_192001.wav": (lambda: wav(voice(9), rate=192_001), CONTENT, "sample rate of 192001 Hz"),
    "no_channels.wav": (lambda: wav(voice(), channels=0), READ, "cannot be decoded"),
    "nine_channels.wav": (lambda: wav(np.tile(voice(), 9), channels=9), CONTENT, "has 9 channels"),
    "unknown_codec.wav": (lambda: wav(voice(), tag=0x1234), READ, "cannot be decoded"),
    "chunk_overruns.wav": (lambda: wav(voice(), chunks=b"LIST\0\0\0\x40"), READ, "cannot be decoded"),
    "long.wav": (lambda: wav(np.tile(voice(rate=8_000), 601), rate=8_000), CONTENT, "--start and --seconds"),
    "long.flac": (lambda: encoded(np.tile(voice(rate=8_000), 601), "FLAC", rate=8_000), CONTENT, "10:01"),
    "text.wav": (lambda: b"this is not audio\n" * 500, READ, "is a text file"),
    "page.ogg": (lambda: b"\n<!DOCTYPE html><title>404</title>", READ, "is a web page"),
    "picture.mp3": (lambda: b"\x89PNG\r\n\x1a\n" + NOISE, READ, "PNG picture"),
    "noise.flac": (lambda: b"\0" + NOISE, READ, "is not an audio file"),
    "archive.wav.gz": (lambda: gzip.compress(GOOD), READ, "is a gzip archive"),
    "notes.mid": (lambda: b"MThd" + bytes(100), READ, "is a MIDI file"),
    "tag_only.mp3": (lambda: b"ID3\4\0\0\0\0\x0f\x76" + bytes(2000), READ, "holds no sound"),
    "sync_words.mp3": (lambda: b"\xff\xfb\x90\x00" * 3000, READ, "holds no sound"),
    "cut_in_header.flac": (lambda: encoded(voice(), "FLAC")[:30], READ, "cannot be decoded"),
    "cut_in_first_page.ogg": (lambda: encoded(voice(), "OGG")[:200], READ, "file is malformed"),
}  # fmt: skip

TAKEN: dict[str, tuple[Callable[[], bytes], int, str]] = {
    # name: (bytes, channels, what its only note says, or nothing)
    "good.wav": (lambda: GOOD, 1, ""),
    "8_bit.wav": (lambda: wav(voice(), bits=8), 1, ""),
    "24_bit.wav": (lambda: wav(voice(), bits=24), 1, ""),
    "32_bit.wav": (lambda: wav(voice(), bits=32), 1, ""),
    "float.wav": (lambda: wav(voice(), tag=3, bits=32), 1, ""),
    "double.wav": (lambda: wav(voice(), tag=3, bits=64), 1, ""),
    "good.flac": (lambda: encoded(voice(), "FLAC"), 1, ""),
    "good.mp3": (lambda: encoded(voice(), "MP3"), 1, ""),
    "good.ogg": (lambda: encoded(voice(), "OGG", "VORBIS"), 1, ""),
    "good.opus": (lambda: encoded(voice(), "OGG", "OPUS"), 1, ""),
    "good.aiff": (lambda: encoded(voice(), "AIFF"), 1, ""),
    "wav_named.mp3": (lambda: GOOD, 1, ""),
    "mp3_named.wav": (lambda: encoded(voice(), "MP3"), 1, ""),
    "wav_named.raw": (lambda: GOOD, 1, ""),
    "just_half_a_second.wav": (lambda: wav(voice()[: RATE // 2]), 1, ""),
    "8000_hz.wav": (lambda: wav(voice(rate=8_000), rate=8_000), 1, ""),
    "192000_hz.wav": (lambda: wav(voice(rate=192_000), rate=192_000), 1, ""),
    "44101_hz.wav": (lambda: wav(voice(rate=44_101), rate=44_101), 1, ""),
    "stereo.wav": (lambda: wav(np.stack([voice(), 0.5 * voice()], 1), channels=2), 2, ""),
    "out_of_phase.wav": (lambda: wav(np.stack([voice(), -voice()], 1), channels=2), 2, ""),
    "8_channels.wav": (lambda: wav(np.repeat(voice()[:, None], 8, 1), channels=8), 1, "channels were"),
    "clipped.wav": (lambda: wav(np.clip(30 * voice(), -1, 1)), 1, ""),
    "slightly_over.wav": (lambda: wav(3 * voice(), tag=3, bits=32), 1, ""),
    "far_over.wav": (lambda: wav(1e6 * voice(), tag=3, bits=32), 1, "scaled down to full scale"),
    "offset.wav": (lambda: wav(0.2 * voice() + 0.7), 1, "a constant offset of 0.700"),
    "impulse.wav": (lambda: wav(np.eye(1, RATE, 100)[0]), 1, "hardly any sound: 0.01 s"),
    "late.wav": (lambda: wav(np.concatenate([np.zeros(20 * RATE), voice()])), 1, ""),
    "junk_chunk.wav": (lambda: wav(voice(), chunks=b"JUNK" + struct.pack("<I", 4000) + bytes(4000)), 1, ""),
    "cut.wav": (lambda: cut_at(wav(voice(2)), 0.5), 1, "the end of the file is missing"),
    "cut_in_a_sample.wav": (lambda: cut_at(wav(voice(2)), 0.5)[:-1], 1, "the end of the file is missing"),
    "sizes_of_0.wav": (lambda: wav(voice(), data_size=0, riff_size=0), 1, "its header is unfinished"),
    "piped.wav": (lambda: wav(voice(), data_size=0xFFFFFFFF, riff_size=0xFFFFFFFF), 1, ""),
    "cut.flac": (lambda: cut_at(encoded(voice(4), "FLAC"), 0.5), 1, "it claims 0:04 and decodes up to"),
    "cut.mp3": (lambda: cut_at(encoded(voice(4), "MP3"), 0.5), 1, "it claims 0:04.1 and decodes up to"),
    "cut.ogg": (lambda: cut_at(encoded(voice(20), "OGG", "VORBIS"), 0.5), 1, "the end of the file is"),
    "hole.mp3": (lambda: with_bytes(encoded(voice(4), "MP3"), 6000, bytes(3000)), 1, "damaged or cut short"),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_refused(name: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    make, error, says = REFUSED[name]
    path = tmp_path / name
    path.write_bytes(make())
    with pytest.raises(error) as caught:
        read_audio(path)
    message = str(caught.value)
    assert says in message
    assert name in message
    assert "; " in message, "what, why; what to do"
    assert len(message.splitlines()) == 1
    assert capfd.readouterr() == ("", ""), "libraries must not write to the terminal"


@pytest.mark.parametrize("name", TAKEN)
def test_taken(name: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    make, channels, note = TAKEN[name]
    path = tmp_path / name
    path.write_bytes(make())
    audio = read_audio(path)
    assert audio.num_channels == channels
    assert audio.path == str(path)
    check_sound(audio)
    assert len(audio.notes) == bool(note)
    assert note in "".join(audio.notes)
    assert capfd.readouterr() == ("", "")


def check_sound(audio: Audio) -> None:
    assert audio.waveform.isfinite().all()
    assert audio.waveform.is_contiguous()
    assert 1e-4 < float(audio.waveform.abs().max()) <= 4.0
    assert 0.5 <= audio.seconds <= 600


@pytest.mark.parametrize("bits", [8, 16, 24, 32])
def test_whole_numbers_decode_to_what_was_written(bits: int, tmp_path: Path) -> None:
    path = tmp_path / "a.wav"
    path.write_bytes(wav(voice(), bits=bits))
    np.testing.assert_allclose(read_audio(path).waveform[0], voice(), atol=2.0 ** (2 - bits) + 1e-7, rtol=0)


def test_far_over_full_scale_keeps_its_shape(tmp_path: Path) -> None:
    path = tmp_path / "a.wav"
    path.write_bytes(wav(1e6 * voice(), tag=3, bits=32))
    np.testing.assert_allclose(read_audio(path).waveform[0], voice() / np.abs(voice()).max(), atol=1e-6)


def test_out_of_phase_is_heard_in_mono(tmp_path: Path) -> None:
    path = tmp_path / "a.wav"
    path.write_bytes(wav(np.stack([voice(), -voice()], 1), channels=2))
    np.testing.assert_allclose(read_audio(path).mono().abs(), np.abs(voice()), atol=1e-3)


@pytest.mark.parametrize("name", ["wav", "flac"])
def test_a_claim_of_gigabytes_allocates_nothing(name: str, tmp_path: Path) -> None:
    data = wav(voice(), data_size=0xFFFFFFF0, riff_size=0xFFFFFFFF)
    if name == "flac":  # 36 bits of STREAMINFO: the number of samples
        data = encoded(voice(), "FLAC")
        data = with_bytes(data, 21, bytes([data[21] | 0xF]) + b"\xff" * 4)
    path = tmp_path / "claim.wav"
    path.write_bytes(data)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    tracemalloc.start()
    try:
        audio = read_audio(path)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert audio.seconds > 0.8
    assert peak < 10e6
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 100_000  # kB


def test_a_flac_of_unknown_length_is_read(tmp_path: Path) -> None:
    data = encoded(voice(), "FLAC")
    path = tmp_path / "piped.flac"
    path.write_bytes(with_bytes(data, 21, bytes([data[21] & 0xF0]) + bytes(4)))
    assert read_audio(path).seconds > 0.8


def test_a_missing_file(tmp_path: Path) -> None:
    with pytest.raises(AudioReadError, match="does not exist; check the name and the folder"):
        read_audio(tmp_path / "none.wav")


def test_an_address() -> None:
    with pytest.raises(AudioReadError, match="opens files, not addresses"):
        read_audio("https://example.org/song.mp3")


def test_a_folder(tmp_path: Path) -> None:
    with pytest.raises(AudioReadError, match="is a folder; give one audio file"):
        read_audio(tmp_path)


def test_a_link_to_nothing(tmp_path: Path) -> None:
    (tmp_path / "link.wav").symlink_to("none.wav")
    with pytest.raises(AudioReadError, match="is a link to a file that does not exist"):
        read_audio(tmp_path / "link.wav")


def test_a_link_to_itself(tmp_path: Path) -> None:
    (tmp_path / "link.wav").symlink_to("link.wav")
    with pytest.raises(AudioReadError, match="cannot be opened"):
        read_audio(tmp_path / "link.wav")


def test_a_pipe_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.wav")
    with pytest.raises(AudioReadError, match="not a regular file"):
        read_audio(tmp_path / "pipe.wav")


def test_no_permission(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a.wav").write_bytes(GOOD)

    def refuse(*args: Any) -> None:  # the tests may run as root, who may read everything
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("hafm.audio.source.open", refuse, raising=False)
    with pytest.raises(AudioReadError, match=r"no permission to read .*chmod"):
        read_audio(tmp_path / "a.wav")


def test_a_disk_that_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a.wav").write_bytes(GOOD)

    def fail(*args: Any) -> None:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr("hafm.audio.io.hashlib.file_digest", fail)
    with pytest.raises(AudioReadError, match=r"cannot be read \(Input/output error\)"):
        read_audio(tmp_path / "a.wav")


@pytest.mark.parametrize(
    "name", ["ünï cødé 'quote\" 音.wav", "-y.wav", "a:b.wav", "%s{}.wav", "a\nb\x1b[31m.wav"]
)
def test_odd_names(name: str, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(GOOD)
    assert read_audio(tmp_path / name).num_samples == RATE
    (tmp_path / name).write_bytes(b"")
    with pytest.raises(AudioReadError) as caught:
        read_audio(tmp_path / name)
    assert str(caught.value).isprintable()


def test_a_name_that_is_no_text(tmp_path: Path) -> None:
    path = os.fsdecode(os.fsencode(tmp_path) + b"/\xff.wav")
    Path(path).write_bytes(GOOD)
    assert read_audio(path).num_samples == RATE
    with pytest.raises(AudioReadError) as caught:
        read_audio(path[:-4])
    str(caught.value).encode()  # can be printed


@pytest.mark.parametrize("path", ["", "a\0b.wav", "x" * 5000])
def test_names_that_cannot_be(path: str) -> None:
    with pytest.raises(AudioReadError):
        read_audio(path)


MUTATIONS = 16
"""Of each file; `tests.audio.test_fuzz` has more, of more kinds."""
MUTATED = {
    "a.wav": wav(voice(5)),
    "a.flac": encoded(voice(5), "FLAC"),
    "a.mp3": encoded(voice(5), "MP3"),
    "a.ogg": encoded(voice(5), "OGG", "VORBIS"),
    "a.opus": encoded(voice(5), "OGG", "OPUS"),
    "a.aiff": encoded(voice(5), "AIFF"),
}


@pytest.mark.slow
@pytest.mark.parametrize(
    "name",
    [pytest.param(name, marks=() if name == "a.wav" else pytest.mark.slow) for name in MUTATED],
)
def test_mutated_files_are_refused_or_sound(
    name: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    chance = random.Random(name)
    original = MUTATED[name]
    path = tmp_path / name
    messages: list[str] = []
    for _ in range(MUTATIONS):
        data = bytearray(original)
        for _ in range(chance.choice([0, 1, 30])):
            at = chance.choice([chance.randrange(len(data)), chance.randrange(64)])
            data[at] = chance.randrange(256)
        path.write_bytes(bytes(data[: chance.choice([len(data), chance.randrange(len(data))])]))
        try:
            check_sound(read_audio(path))
        except AudioError as error:
            messages.append(str(error))
    assert 0 < len(messages) < MUTATIONS
    assert all(len(message.splitlines()) == 1 for message in messages)
    assert capfd.readouterr() == ("", "")

"""What the header hides: all sound that decodes is taken, or a note says what was left out and why."""

import functools
import io
import shutil
import struct
import subprocess
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

from hafm.audio.io import read_audio
from hafm.audio.read_blocks import survey
from hafm.audio.sound import Audio
from hafm.errors import AudioError

FORMATS = [(44_100, 2, "CONSTANT"), (44_100, 1, "VARIABLE"), (24_000, 2, "VARIABLE"), (8_000, 1, "CONSTANT")]
DELAY = 576
"""What LAME's own index trims beyond 529 samples, the delay that any decoder trims."""


def loud_then_quiet(seconds: float, rate: int, channels: int) -> np.ndarray:
    """Variable bit rates begin high and end low, so that a guess from the first frame is far too short."""
    time = np.arange(round(seconds * rate)) / rate
    noise = np.random.default_rng(0).standard_normal(len(time)) * (time < 2)
    return np.tile((0.1 * noise + 0.2 * np.sin(2 * np.pi * 220 * time))[:, None], channels)


@functools.cache
def mp3(seconds: float, rate: int, channels: int, mode: str) -> bytes:
    buffer = io.BytesIO()
    samples = loud_then_quiet(seconds, rate, channels)
    soundfile.write(buffer, samples, rate, format="MP3", bitrate_mode=mode, compression_level=0.5)
    return buffer.getvalue()


def without_index(data: bytes) -> bytes:
    """The frame that LAME puts in front, with "Xing" or "Info" in it, left out."""
    assert b"Xing" in data[:64] or b"Info" in data[:64]
    return data[data.index(data[:2], 64) :]


def libsndfile_alone(data: bytes) -> int:
    return len(soundfile.read(io.BytesIO(data))[0])


@pytest.mark.parametrize(
    ("rate", "channels", "mode"),
    [pytest.param(*each, marks=pytest.mark.slow if each[1] == 2 else ()) for each in FORMATS],
)
def test_the_whole_sound_is_read(rate: int, channels: int, mode: str, tmp_path: Path) -> None:
    data = mp3(10, rate, channels, mode)
    (tmp_path / "with.mp3").write_bytes(data)
    (tmp_path / "without.mp3").write_bytes(without_index(data))
    expected = read_audio(tmp_path / "with.mp3")
    audio = read_audio(tmp_path / "without.mp3")
    assert audio.is_whole
    assert audio.notes == ()
    assert audio.seconds == pytest.approx(10, abs=0.2)
    compared = slice(DELAY, DELAY + 9 * rate)
    torch.testing.assert_close(
        audio.waveform[:, compared], expected.waveform[:, : 9 * rate], atol=1e-4, rtol=0
    )
    part = read_audio(tmp_path / "without.mp3", start_seconds=8, seconds=1)
    torch.testing.assert_close(part.waveform, audio.waveform[:, 8 * rate : 9 * rate], atol=1e-3, rtol=0)


def test_the_control_loses_most_of_it() -> None:
    data = without_index(mp3(10, 44_100, 1, "VARIABLE"))
    assert libsndfile_alone(data) < 7 * 44_100


@pytest.mark.parametrize("junk", [b"\0" * 5000, b"TAG" + b"x" * 125, b"\xff" * 300, b"APETAGEX" + bytes(200)])
def test_tags_and_junk_around_the_sound(junk: bytes, tmp_path: Path) -> None:
    sound = without_index(mp3(5, 44_100, 1, "CONSTANT"))
    (tmp_path / "clean.mp3").write_bytes(sound)
    tag = b"ID3\x04\0\0\0\0\x02\x01" + bytes(257)
    (tmp_path / "junk.mp3").write_bytes(tag + sound + junk)
    clean, noisy = (read_audio(tmp_path / f"{name}.mp3") for name in ("clean", "junk"))
    assert noisy.is_whole
    assert noisy.num_samples == clean.num_samples
    assert noisy.waveform[:, :-3000].equal(clean.waveform[:, :-3000])


def test_a_hole_is_reported_and_what_follows_it_is_taken(tmp_path: Path) -> None:
    sound = bytearray(without_index(mp3(10, 44_100, 1, "CONSTANT")))
    sound[20_000:22_000] = bytes(2000)
    (tmp_path / "hole.mp3").write_bytes(sound)
    audio = read_audio(tmp_path / "hole.mp3")
    assert not audio.is_whole
    assert "bytes between its frames are not sound" in audio.notes[0]
    assert audio.seconds == pytest.approx(9.8, abs=0.2)


@pytest.mark.parametrize("data", [b"ID3", b"\xff\xfb", b"\xff" * 5000])
def test_what_has_no_frames_is_left_to_the_decoder(data: bytes, tmp_path: Path) -> None:
    (tmp_path / "a.mp3").write_bytes(data)
    with pytest.raises(AudioError, match=r"a\.mp3"):
        read_audio(tmp_path / "a.mp3")


# ---- every container: counts that are wrong, files that were joined, what is in front

RATE = 24_000


def tone(seconds: float = 1.0, rate: int = RATE, channels: int = 1) -> np.ndarray:
    time = np.arange(round(seconds * rate)) / rate
    return np.tile((0.4 * np.sin(2 * np.pi * (220 + 40 * time) * time))[:, None], channels)


def sound(
    format: str, subtype: str | None = None, *, seconds: float = 1.0, rate: int = RATE, channels: int = 1
) -> bytes:
    buffer = io.BytesIO()
    soundfile.write(buffer, tone(seconds, rate, channels), rate, format=format, subtype=subtype)
    return buffer.getvalue()


def with_bytes(data: bytes, at: int, new: bytes) -> bytes:
    return data[:at] + new + data[at + len(new) :]


def read(data: bytes, folder: Path) -> Audio:
    (folder / "a").write_bytes(data)
    return read_audio(folder / "a")


def wav_with_sizes(riff: int, data: int) -> bytes:
    plain = sound("WAV", "PCM_16")
    return with_bytes(with_bytes(plain, 4, struct.pack("<I", riff)), 40, struct.pack("<I", data))


def rf64_with_sizes(data: int) -> bytes:
    plain = sound("WAV", "PCM_16")
    sizes = b"ds64" + struct.pack("<IQQQI", 28, data, data, 0, 0)
    return b"RF64" + b"\xff" * 4 + b"WAVE" + sizes + plain[12:40] + b"\xff" * 4 + plain[44:]


def wave64_with_size(size: int) -> bytes:
    plain = sound("W64", "PCM_16")
    place = plain.index(b"data" + bytes.fromhex("f3acd311")) + 16
    return with_bytes(plain, place, struct.pack("<Q", size))


def aiff_with_sizes(frames: int, size: int) -> bytes:
    plain = sound("AIFF", "PCM_16")
    plain = with_bytes(plain, plain.index(b"COMM") + 10, struct.pack(">I", frames))
    return with_bytes(plain, plain.index(b"SSND") + 4, struct.pack(">I", size))


def au_with_size(size: int) -> bytes:
    return with_bytes(sound("AU", "PCM_16"), 8, struct.pack(">I", size))


def caf_with_size(size: int) -> bytes:
    plain = sound("CAF", "PCM_16")
    return with_bytes(plain, plain.index(b"data") + 4, struct.pack(">q", size))


def flac_with_count(samples: int) -> bytes:
    plain = sound("FLAC")
    fields = int.from_bytes(plain[18:26], "big") >> 36 << 36 | samples
    return with_bytes(plain, 18, fields.to_bytes(8, "big"))


UNFINISHED, COUNTS = "its header is unfinished", "its header counts"
MISCOUNTED: dict[str, tuple[bytes, str]] = {
    "wav, sizes of 0": (wav_with_sizes(0, 0), UNFINISHED),
    "wav, the largest signed number": (wav_with_sizes(0x7FFFFFFF, 0x7FFFFFFF), ""),
    "wav, of another recorder": (wav_with_sizes(0x7FFFF024, 0x7FFFF000), ""),
    "wav, all ones": (wav_with_sizes(0xFFFFFFFF, 0xFFFFFFFF), ""),
    "wav, a quarter": (wav_with_sizes(12_036, 12_000), COUNTS),
    "rf64, size of 0": (rf64_with_sizes(0), UNFINISHED),
    "rf64, all ones": (rf64_with_sizes((1 << 64) - 1), ""),
    "bw64": (b"BW64" + rf64_with_sizes(2 * RATE)[4:], ""),
    "w64, size of 0": (wave64_with_size(0), UNFINISHED),
    "w64, the largest number": (wave64_with_size((1 << 63) - 1), ""),
    "aiff, sizes of 0": (aiff_with_sizes(0, 0), UNFINISHED),
    "aiff, all ones": (aiff_with_sizes(0, 0xFFFFFFFF), ""),
    "au, size of 0": (au_with_size(0), UNFINISHED),
    "au, all ones": (au_with_size(0xFFFFFFFF), ""),
    "au, a quarter": (au_with_size(12_000), COUNTS),
    "caf, size of 0": (caf_with_size(0), UNFINISHED),
    "caf, -1": (caf_with_size(-1), ""),
    "flac, 0": (flac_with_count(0), ""),
    "flac, a quarter": (flac_with_count(RATE // 4), COUNTS),
}


@pytest.mark.parametrize("case", MISCOUNTED)
def test_a_header_that_counts_too_little_hides_nothing(case: str, tmp_path: Path) -> None:
    data, note = MISCOUNTED[case]
    audio = read(data, tmp_path)
    np.testing.assert_allclose(audio.waveform[0], tone()[:, 0], atol=1e-4)
    assert audio.is_whole
    assert [note in each for each in audio.notes] == ([True] if note else [])
    surveyed = survey(tmp_path / "a")
    assert (surveyed.num_samples, surveyed.notes) == (RATE, audio.notes)


@pytest.mark.parametrize("share", [0.0, 0.3])
@pytest.mark.parametrize("name", [b"Info", b"VBRI"])
def test_an_index_that_counts_too_little_hides_nothing(name: bytes, share: float, tmp_path: Path) -> None:
    data = mp3(4, 44_100, 1, "CONSTANT")
    place = data.index(b"Info")
    count = struct.pack(">I", int(share * int.from_bytes(data[place + 8 : place + 12], "big")))
    if name == b"Info":
        data = with_bytes(data, place + 8, count)
    else:
        header = b"VBRI" + bytes(10) + count + bytes(12)
        data = with_bytes(data, place, bytes(len(data[place:]) and 120))
        data = with_bytes(data, 36, header)
    audio = read(data, tmp_path)
    assert audio.seconds == pytest.approx(4, abs=0.1)
    assert audio.is_whole
    assert "there; all of it was taken" in audio.notes[0]


TAG = b"ID3\x04\0\0\0\0\x02\x01" + bytes(257)
JOINED: dict[str, tuple[Callable[[], bytes], float]] = {
    "mp3": (lambda: mp3(2, 44_100, 1, "CONSTANT") * 2, 4),
    "mp3, tags between": (lambda: TAG + (mp3(2, 44_100, 1, "VARIABLE") + b"TAG" + bytes(125) + TAG) * 2, 4),
    "vorbis": (lambda: relinked(sound("OGG", "VORBIS"), 1) + relinked(sound("OGG", "VORBIS"), 2), 2),
    "opus": (lambda: relinked(sound("OGG", "OPUS"), 1) + relinked(sound("OGG", "OPUS", seconds=2), 2), 3),
    "opus, three": (lambda: b"".join(relinked(sound("OGG", "OPUS"), serial) for serial in (5, 6, 7)), 3),
    "flac": (lambda: sound("FLAC") + sound("FLAC", seconds=2), 3),
    "wav": (lambda: sound("WAV") + sound("WAV", seconds=2), 3),
    "wav from a pipe": (lambda: wav_with_sizes(0xFFFFFFFF, 0xFFFFFFFF) * 2, 2),
}  # fmt: skip


@pytest.mark.parametrize("case", JOINED)
def test_joined_files_are_taken_whole(case: str, tmp_path: Path) -> None:
    make, seconds = JOINED[case]
    audio = read(make(), tmp_path)
    assert audio.seconds == pytest.approx(seconds, abs=0.001)
    assert audio.is_whole
    assert "joins" in "".join(audio.notes)
    part = read_audio(tmp_path / "a", start_seconds=0.9, seconds=0.8)
    assert part.waveform.equal(audio.waveform[:, round(0.9 * audio.sample_rate) :][:, : part.num_samples])
    assert survey(tmp_path / "a").num_samples == audio.num_samples


@pytest.mark.parametrize(
    "data",
    [
        sound("FLAC") + sound("FLAC", rate=44_100),
        sound("WAV") + sound("WAV", channels=2),
        mp3(2, 44_100, 1, "CONSTANT") + mp3(2, 24_000, 2, "CONSTANT"),
    ],
)
def test_what_is_joined_in_another_format_is_reported(data: bytes, tmp_path: Path) -> None:
    audio = read(data, tmp_path)
    assert audio.seconds in (pytest.approx(1, abs=0.01), pytest.approx(2, abs=0.06))
    assert not audio.is_whole
    assert "was left out" in audio.notes[-1]


@pytest.mark.parametrize(
    "data",
    [
        TAG + sound("FLAC"),
        TAG + TAG + sound("WAV"),
        TAG + sound("AIFF"),
        bytes(3000) + sound("FLAC"),
        TAG + sound("OGG"),
    ],
)
def test_tags_and_zeros_in_front_of_any_kind(data: bytes, tmp_path: Path) -> None:
    audio = read(data, tmp_path)
    assert (audio.seconds, audio.notes) == (1.0, ())


@pytest.mark.parametrize("junk", [bytes(2048), b"\1\2\3\4" * 300, b"\xff\xfb" + bytes(50)])
def test_zeros_and_junk_in_front_of_an_mp3(junk: bytes, tmp_path: Path) -> None:
    audio = read(junk + mp3(2, 44_100, 1, "CONSTANT"), tmp_path)
    assert audio.seconds == pytest.approx(2, abs=0.001)
    assert audio.notes == ()


def test_a_second_data_chunk_is_reported(tmp_path: Path) -> None:
    plain = sound("WAV", "PCM_16")
    audio = read(plain + b"data" + struct.pack("<I", RATE) + bytes(RATE), tmp_path)
    assert audio.seconds == 1.0
    assert audio.notes == ("a further data chunk of 0:00.5 was left out",)
    assert not audio.is_whole


def test_chunks_without_padding_are_found(tmp_path: Path) -> None:
    """A data chunk of odd length, and a chunk right behind it."""
    plain = sound("WAV", "PCM_U8", seconds=0.999_96)[:-1]
    assert len(plain) % 2 == 1
    data = plain + b"LIST" + struct.pack("<I", 4) + b"INFO"
    audio = read(data, tmp_path)
    assert audio.num_samples == len(plain) - 44
    assert audio.notes == ()


@pytest.mark.parametrize(
    "data",
    [
        sound("WAV") + TAG,
        sound("WAV") + b"TAG" + bytes(125),
        sound("WAV") + bytes(10_000),
        sound("WAV") + b"LIST" + struct.pack("<I", 5000) + b"INFO",
        sound("FLAC") + b"TAG" + bytes(125),
        sound("FLAC") + bytes(1000),
        sound("AU") + bytes(10_000),
    ],
)
def test_what_follows_the_sound_is_not_taken_for_sound(data: bytes, tmp_path: Path) -> None:
    audio = read(data, tmp_path)
    assert (audio.num_samples, audio.notes) == (RATE, ())


@pytest.mark.parametrize(
    ("format", "subtype"),
    [
        ("WAV", "PCM_24"),
        ("W64", None),
        ("AIFF", None),
        ("AU", None),
        ("OGG", "VORBIS"),
        pytest.param("OGG", "OPUS", marks=pytest.mark.slow),
    ],
)
def test_a_missing_end_is_reported(format: str, subtype: str | None, tmp_path: Path) -> None:
    data = sound(format, subtype, seconds=20)
    audio = read(data[: len(data) * 2 // 3], tmp_path)
    assert 10 < audio.seconds < 15
    assert audio.notes == ("the end of the file is missing",)
    assert not audio.is_whole


@pytest.mark.parametrize("format", ["AU", "AIFF"])
def test_samples_that_are_said_to_begin_behind_the_end(format: str, tmp_path: Path) -> None:
    data = sound(format)
    place = 4 if format == "AU" else data.index(b"SSND") + 8  # where they say how far it is to the samples
    with pytest.raises(AudioError):
        read(with_bytes(data, place, b"\x7f\0\0\0" + bytes(4)), tmp_path)  # 0: a size that is not set
    with pytest.raises(AudioError):
        read(with_bytes(data, 4 if format == "AU" else data.index(b"COMM") + 16, b"\x7f\xff"), tmp_path)


# ---- where time starts


def by_ffmpeg(folder: Path, ending: str, *options: str) -> bytes:
    program = shutil.which("ffmpeg")
    if program is None:
        pytest.skip("needs the ffmpeg program")
    soundfile.write(folder / "source.wav", tone(4, 48_000), 48_000)
    target = folder / f"target.{ending}"
    subprocess.run(
        [program, "-nostdin", "-v", "error", "-i", folder / "source.wav", *options, target], check=True
    )
    return target.read_bytes()


STARTS: dict[str, Callable[[Path], bytes]] = {
    "wav": lambda _: sound("WAV", seconds=4),
    "w64": lambda _: sound("W64", seconds=4),
    "aiff": lambda _: sound("AIFF", seconds=4),
    "au": lambda _: sound("AU", seconds=4),
    "caf": lambda _: sound("CAF", seconds=4),
    "flac": lambda _: sound("FLAC", seconds=4),
    "flac, damaged": lambda _: damaged_flac(0.425),
    "vorbis": lambda _: sound("OGG", "VORBIS", seconds=4),
    "opus": lambda _: sound("OGG", "OPUS", seconds=4),
    "mp3": lambda _: mp3(4, 44_100, 1, "VARIABLE"),
    "mp3 without an index": lambda _: without_index(mp3(4, 44_100, 2, "CONSTANT")),
    "m4a": lambda folder: by_ffmpeg(folder, "m4a", "-c:a", "aac"),
    "aac": lambda folder: by_ffmpeg(folder, "aac", "-c:a", "aac"),
    "opus in webm": lambda folder: by_ffmpeg(folder, "webm", "-c:a", "libopus"),
    "wma": lambda folder: by_ffmpeg(folder, "wma", "-c:a", "wmav2"),
}
BY_FFMPEG_TOO = ("aac", "opus in webm", "wma")  # as m4a
OTHER_CODECS: dict[str, Callable[[Path], bytes]] = {  # in containers that have their tests by one codec
    "vorbis in mkv": lambda folder: by_ffmpeg(folder, "mkv", "-c:a", "libvorbis"),
    "alac in m4a": lambda folder: by_ffmpeg(folder, "m4a", "-c:a", "alac"),
    "opus in caf": lambda folder: by_ffmpeg(folder, "caf", "-c:a", "libopus"),
}


@pytest.mark.long
@pytest.mark.parametrize(
    "container",
    [
        pytest.param(name, marks=pytest.mark.slow if name in BY_FFMPEG_TOO or name in OTHER_CODECS else ())
        for name in (*STARTS, *OTHER_CODECS)
    ],
)
def test_a_part_is_what_the_whole_has_there(container: str, tmp_path: Path) -> None:
    whole = read({**STARTS, **OTHER_CODECS}[container](tmp_path), tmp_path)
    assert whole.seconds == pytest.approx(4, abs=0.15)
    for start in (0.01, 1.7, 3.2):
        part = read_audio(tmp_path / "a", start_seconds=start, seconds=0.5)
        first = round(start * whole.sample_rate)
        assert part.waveform.equal(whole.waveform[:, first : first + part.num_samples])


EXACT: dict[
    str, tuple[str, str, int, int]
] = {  # ending, codec; samples that it begins late, and has too many
    "wav": ("wav", "pcm_s24le", 0, 0),
    "flac": ("flac", "flac", 0, 0),
    "vorbis": ("ogg", "libvorbis", 0, 0),
    "opus": ("opus", "libopus", 0, 0),
    "opus in webm": ("webm", "libopus", 0, 0),
    "opus in mkv": ("mkv", "libopus", 0, 0),
    "mp3": ("mp3", "libmp3lame", 0, 0),
    "alac in m4a": ("m4a", "alac", 0, 0),
    "wavpack": ("wv", "wavpack", 0, 0),
    "aac in m4a": ("m4a", "aac", 0, 384),
    "aac": ("aac", "aac", 1024, 1408),
    "aac in mkv": ("mkv", "aac", 1024, 1408),
}


@pytest.mark.slow
@pytest.mark.parametrize("container", EXACT)
def test_where_a_sound_begins_and_ends(container: str, tmp_path: Path) -> None:
    """The table in docs/bad-input.md: 3 s at 48 kHz; an AAC frame has 1024 samples."""
    ending, codec, late, excess = EXACT[container]
    program = shutil.which("ffmpeg")
    if program is None:
        pytest.skip("needs the ffmpeg program")
    noise = np.random.default_rng(0).normal(size=3 * 48_000)
    sung = 0.1 * np.convolve(noise, np.hanning(32) / 4, mode="same")
    soundfile.write(tmp_path / "source.wav", sung, 48_000)
    words = [program, "-nostdin", "-v", "error", "-i", tmp_path / "source.wav", "-c:a", codec]
    subprocess.run([*words, tmp_path / f"a.{ending}"], check=True)
    heard = read_audio(tmp_path / f"a.{ending}").waveform[0].numpy()
    assert len(heard) - len(sung) == excess
    spectra = np.fft.rfft(heard, 1 << 19) * np.conj(np.fft.rfft(sung, 1 << 19))
    assert int(np.fft.irfft(spectra).argmax()) == late


# ---- Ogg pages, to join them


def relinked(ogg: bytes, serial: int) -> bytes:
    """The same stream under another serial number."""
    pages, place = [], 0
    while place < len(ogg):
        lengths = ogg[place + 27 : place + 27 + ogg[place + 26]]
        end = place + 27 + len(lengths) + sum(lengths)
        page = bytearray(ogg[place:end])
        page[14:18] = struct.pack("<I", serial)
        page[22:26] = bytes(4)
        page[22:26] = struct.pack("<I", crc_of_page(bytes(page)))
        pages.append(bytes(page))
        place = end
    return b"".join(pages)


def crc_of_page(page: bytes) -> int:
    crc = 0
    for byte in page:
        crc ^= byte << 24
        for _ in range(8):
            crc = (crc << 1 ^ (0x04C11DB7 if crc & 0x80000000 else 0)) & 0xFFFFFFFF
    return crc


# ---- a FLAC that is damaged inside


def damaged_flac(*places: float, seconds: float = 4.0, level: float = 0.5) -> bytes:
    """A FLAC with a hundred bytes overwritten at each of these shares of its length."""
    buffer = io.BytesIO()
    noisy = tone(seconds) + 0.05 * np.random.default_rng(0).standard_normal((round(seconds * RATE), 1))
    soundfile.write(buffer, noisy, RATE, format="FLAC", compression_level=level)
    data = buffer.getvalue()
    for place in places:
        data = with_bytes(data, round(place * len(data)), b"\x5a" * 100)
    return data


@pytest.mark.parametrize("level", [0.0, 1.0])  # frames of 1152 and of 4096 samples
def test_of_a_flac_with_damaged_frames_all_others_are_taken(level: float, tmp_path: Path) -> None:
    whole = read(damaged_flac(level=level), tmp_path)
    hurt = read(damaged_flac(0.3, 0.6, level=level), tmp_path)
    assert whole.notes == ()
    assert hurt.num_samples == whole.num_samples
    assert ["in 2 places, the first at 0:01" in note for note in hurt.notes] == [True]
    silent = (hurt.waveform == 0).all(dim=0)
    assert 2 <= int(silent.sum()) / (4096 if level else 1152) <= 4  # damage on a border takes two frames
    assert hurt.waveform[:, ~silent].equal(whole.waveform[:, ~silent])


def test_a_damaged_flac_is_silent_in_the_part_that_has_the_damage_and_the_note_too(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(damaged_flac(0.5))
    whole = read_audio(tmp_path / "a")
    hole = float((whole.waveform[0] == 0).nonzero().float().mean()) / RATE
    for start, has_hole in ((hole, True), (hole - 0.5, True), (0.0, False), (3.0, False)):
        part = read_audio(tmp_path / "a", start_seconds=start, seconds=1)
        first = round(start * RATE)
        assert part.waveform.equal(whole.waveform[:, first : first + RATE])
        assert bool(part.notes) == has_hole


def test_joined_flacs_are_damaged_where_the_second_is(tmp_path: Path) -> None:
    joined = read(damaged_flac(seconds=2) + damaged_flac(0.5, seconds=2), tmp_path)
    assert joined.seconds == 4
    assert any("damaged inside" in note and "the first at 0:0" in note for note in joined.notes)
    assert (joined.waveform[0, : 2 * RATE] == 0).sum() < 10 < (joined.waveform[0, 2 * RATE :] == 0).sum()


def test_a_flac_that_is_damaged_and_cut_has_both_notes(tmp_path: Path) -> None:
    hurt = read(damaged_flac(0.3)[:-9000], tmp_path)
    for note, word in zip(hurt.notes, ("damaged inside", "cut short"), strict=True):
        assert word in note

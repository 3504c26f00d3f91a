"""Broken sound files, made of whole ones, and the rule that reading them must keep.

    python -m tests.audio.fuzz COUNT FORMAT... [COUNT FORMAT...] ...

It prints two lines of JSON per file: which it is; what came of it.

A file is a pure function of its format and number: bytes flipped, sizes overwritten, stretches repeated,
dropped, zeroed or cut off, junk put in, two files joined. The rule:

    taken     with at least as many samples as another decoder finds there by itself (the ffmpeg program in
              m4a and webm, else libsndfile), at the same rate and channels; of MP3, where libsndfile also
              plays what is no sound and some of it twice, with those of all frames that are still whole
    refused   by an `AudioError` of one line; where the other decoder finds a sound that is fit, that is wrong
    never     another exception, the end of the process, over 10 s, over 200 MB more than the sound, a file
              that is left behind

What reads a file runs in this process, which `tests.audio.test_fuzz` watches from outside.
"""

import io
import json
import os
import random
import re
import shutil
import struct
import subprocess
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import soundfile

__all__ = ["BY_FFMPEG", "FORMATS", "broken", "by_ffmpeg", "least_of_mp3", "verdict"]

RATE = 24_000
SECONDS = 0.8
LIMIT_SECONDS = 10.0
LIMIT_BYTES = 200 << 20
MOST_SAMPLES = 1_000_000  # that are counted
_LONGEST_HEAD = 64
_OPUS_FRAME = 480
_MP3_FRAME = 576  # samples
_KBIT_S = (0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160)
_DECODER_DELAY = 529
_CUT = 141  # behind that name: 12 bits each of delay and padding
SIZES = (0, 1, 0x7F, 0xFF, 0x7FFF, 0xFFFF, 0x7FFF_FFFF, 0x8000_0000, 0xFFFF_FFFF)


def _tone() -> np.ndarray:
    """A glide and some noise, which fills several pages of an Ogg."""
    time_ = np.arange(round(SECONDS * RATE)) / RATE
    noise = 0.05 * np.random.default_rng(0).standard_normal(len(time_))
    return 0.4 * np.sin(2 * np.pi * (220 + 200 * time_) * time_) + noise


def _encoded(format: str, subtype: str | None = None, **options: object) -> bytes:
    buffer = io.BytesIO()
    soundfile.write(buffer, _tone(), RATE, format=format, subtype=subtype, **options)
    return buffer.getvalue()


def _without_index() -> bytes:
    data = _encoded("MP3", bitrate_mode="VARIABLE", compression_level=0.5)
    return data[data.index(data[:2], 64) :]


def _made_by_ffmpeg(ending: str, codec: str) -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        source, target = Path(folder, "a.wav"), Path(folder, f"b.{ending}")
        soundfile.write(source, _tone(), RATE)
        words = ["ffmpeg", "-nostdin", "-v", "error", "-i", source, "-c:a", codec, target]
        subprocess.run(words, check=True)
        return target.read_bytes()


FORMATS: dict[str, Callable[[], bytes]] = {
    "wav": lambda: _encoded("WAV", "PCM_16"),
    "wav-float": lambda: _encoded("WAV", "FLOAT"),
    "rf64": lambda: _encoded("RF64", "PCM_16"),
    "w64": lambda: _encoded("W64", "PCM_16"),
    "aiff": lambda: _encoded("AIFF", "PCM_16"),
    "au": lambda: _encoded("AU", "PCM_16"),
    "caf": lambda: _encoded("CAF", "PCM_16"),
    "flac": lambda: _encoded("FLAC"),
    "vorbis": lambda: _encoded("OGG", "VORBIS", compression_level=0.0),
    "opus": lambda: _encoded("OGG", "OPUS", compression_level=0.0),
    "mp3": lambda: _encoded("MP3"),
    "mp3-without-index": _without_index,
}
BY_FFMPEG: dict[str, Callable[[], bytes]] = {
    "m4a": lambda: _made_by_ffmpeg("m4a", "aac"),
    "webm": lambda: _made_by_ffmpeg("webm", "libopus"),
}
if shutil.which("ffmpeg"):
    FORMATS |= BY_FFMPEG


# ---- what is done to a file


def broken(whole: bytes, number: int) -> bytes:
    """The broken file of a number: one to four changes, half of them near the beginning, among headers."""
    chance = random.Random(number)
    data = bytearray(whole)
    for _ in range(chance.choice((1, 1, 2, 4))):
        near = chance.random() < 0.5
        place = chance.randrange(min(len(data), 128) if near else len(data)) if data else 0
        length = chance.choice((1, 4, 16, 256, 4096))
        chance.choice(_CHANGES)(data, place, length, chance)
    return bytes(data)


def _flip(data: bytearray, place: int, length: int, chance: random.Random) -> None:
    for at in range(place, min(place + min(length, 16), len(data))):
        data[at] ^= 1 << chance.randrange(8)


def _random(data: bytearray, place: int, length: int, chance: random.Random) -> None:
    end = min(place + length, len(data))
    data[place:end] = chance.randbytes(end - place)


def _size(data: bytearray, place: int, length: int, chance: random.Random) -> None:
    width = chance.choice((2, 4, 8))
    size = chance.choice((*SIZES, chance.randrange(1 << 32), len(data))) % (1 << (8 * width))
    data[place : place + width] = size.to_bytes(width, chance.choice(("little", "big")))


def _repeat(data: bytearray, place: int, length: int, chance: random.Random) -> None:
    data[place:place] = data[place : place + length] * chance.choice((1, 1, 3))


def _drop(data: bytearray, place: int, length: int, chance: random.Random) -> None:
    del data[place : place + length]


def _zero(data: bytearray, place: int, length: int, chance: random.Random) -> None:
    end = min(place + length, len(data))
    data[place:end] = bytes(end - place)


def _insert(data: bytearray, place: int, length: int, chance: random.Random) -> None:
    data[place:place] = chance.randbytes(length) if chance.random() < 0.5 else bytes(length)


def _cut(data: bytearray, place: int, length: int, chance: random.Random) -> None:
    del data[chance.randrange(len(data) + 1) :]


def _join(data: bytearray, place: int, length: int, chance: random.Random) -> None:
    data += data[: chance.choice((len(data), place))]


_CHANGES = (_flip, _random, _size, _size, _repeat, _drop, _zero, _insert, _cut, _join)


# ---- the rule


def verdict(path: Path, *, least: int | None = None, by: "Alone | None" = None) -> tuple[str, str]:
    """What came of a file, and what is wrong with that; empty if nothing is.

    Args:
        path: the file.
        least: samples that must be taken; None for what another decoder alone finds.
        by: that decoder; None for libsndfile.
    """
    by = _by_libsndfile if by is None else by
    from hafm.audio.io import read_audio
    from hafm.errors import AudioContentError, AudioError

    before = _peak_bytes(reset=True)
    began = time.process_time()
    size, outcome, wrong = 0, "taken", ""
    try:
        audio = read_audio(path, min_seconds=0.05, allow_silence=True)
        size = 4 * audio.waveform.numel()
        wrong = _less(path, least, by, audio.num_samples, audio.sample_rate, audio.file_channels)
    except AudioError as error:
        outcome = f"refused: {error}"
        if "\n" in str(error) or not str(error).strip():
            wrong = "not one line"
        elif not isinstance(error, AudioContentError):
            wrong = _fit(path, by)
    except Exception as error:
        last = traceback.extract_tb(error.__traceback__)[-1]
        outcome, wrong = "raised", f"{type(error).__name__}: {error} in {last.name}, line {last.lineno}"
    spent = time.process_time() - began
    if not wrong and spent > LIMIT_SECONDS:
        wrong = f"{spent:.1f} s"
    grown = _peak_bytes() - before - size
    if not wrong and grown > LIMIT_BYTES:
        wrong = f"{grown / 1e6:.0f} MB more than the sound"
    return outcome, wrong


class _OnwardFile(soundfile.SoundFile):
    """One that is not told to seek after every block: at the end of an MP3 it then plays a part again."""

    def seekable(self) -> bool:
        return False


def _by_libsndfile(path: Path) -> tuple[int, int, int] | None:
    """Samples, rate and channels that libsndfile finds, block by block; None if it does not open the file."""
    try:
        with _OnwardFile(path) as file:
            count = 0
            try:
                while len(block := file.read(4096, dtype="float32", always_2d=True)):
                    count += len(block)
                    if count > MOST_SAMPLES or not np.isfinite(block).all():
                        break
            except soundfile.LibsndfileError:
                pass
            return count, file.samplerate, file.channels
    except (soundfile.LibsndfileError, ValueError, RuntimeError):
        return None


Alone = Callable[[Path], tuple[int, int, int] | None]
"""A decoder: samples, rate and channels that it finds in a file; None if it does not open it."""


def by_ffmpeg(path: Path) -> tuple[int, int, int] | None:
    """Samples, rate and channels that the ffmpeg program finds where it sees an m4a or a webm."""
    command = ["ffmpeg", "-nostdin", "-v", "error", "-format_whitelist", "mov,matroska", "-i", str(path)]
    limits = ["-map", "0:a:0", "-t", "20", "-c:a", "pcm_f32le", "-f", "wav", "pipe:1"]
    made = subprocess.run([*command, *limits], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, check=False)
    place = made.stdout.find(b"data")
    if place < 0:
        return None
    channels, rate = struct.unpack_from("<HI", made.stdout, made.stdout.index(b"fmt ") + 10)
    return (len(made.stdout) - place - 8) // (4 * channels), rate, channels


def _less(path: Path, least: int | None, by: Alone, samples: int, rate: int, channels: int) -> str:
    if least is not None:
        return (
            f"{samples} samples were taken of {least}"
            if (rate, channels) == (RATE, 1) and samples < least
            else ""
        )
    found = by(path)
    # What is joined to a WAV begins with a head, and behind an Opus follows what its last page was filled up
    # with: libsndfile plays both.
    excused = _OPUS_FRAME if path.read_bytes()[:4] == b"OggS" else _LONGEST_HEAD
    if found is None or found[1:] != (rate, channels) or found[0] <= samples + excused:
        return ""
    return f"{samples} samples were taken, and {_named(by)} alone finds {found[0]}"


def _named(by: Alone) -> str:
    return "ffmpeg" if by is by_ffmpeg else "libsndfile"


def least_of_mp3(whole: bytes, data: bytes) -> int:
    """Samples that an MP3 of ours still holds, after something was done to it.

    Each of its frames is looked for. One that is alone, without another before or behind it, may be junk that
    looks like one, and does not count. The delay of the decoder is no sound (529 samples), nor is what an
    index says: the delay of the encoder, and what the last frame was filled up with.
    """
    frames, ends = list(_frames(whole)), dict[int, int]()
    for frame in {frame for frame in frames if b"Xing" not in frame}:
        for match in re.finditer(re.escape(frame), data):
            ends[match.start()] = match.end()
    behind = set(ends.values())
    count = sum(start in behind or end in ends for start, end in ends.items())
    cuts = 0 if b"Xing" in data[:64] else _DECODER_DELAY
    for match in re.finditer(b"Xing", data):
        place = match.start() + _CUT
        said = int.from_bytes(data[place : place + 3].ljust(3, b"\0"), "big")
        padding = max(0, (said & 0xFFF) - _DECODER_DELAY) if frames[-1] in data else 0
        cuts += _DECODER_DELAY + (said >> 12) + padding
    return max(0, _MP3_FRAME * count - cuts)


def _frames(whole: bytes) -> Iterator[bytes]:
    """The frames of a whole MP3 of ours: at 24 kHz, 576 samples are 24 ms, so 3 bytes per kbit/s."""
    place = 0
    while place < len(whole):
        end = place + 3 * _KBIT_S[whole[place + 2] >> 4] + (whole[place + 2] >> 1 & 1)
        yield whole[place:end]
        place = end


def _fit(path: Path, by: Alone) -> str:
    found = by(path)
    if found is None or found[0] < RATE // 10 or not 8_000 <= found[1] <= 192_000 or found[2] > 8:
        return ""
    return f"{_named(by)} finds {found[0]} samples at {found[1]} Hz, {found[2]} channels"


def _peak_bytes(*, reset: bool = False) -> int:
    """The most memory that this process had; 0 where the system does not say."""
    try:
        if reset:
            Path("/proc/self/clear_refs").write_text("5")
        status = Path("/proc/self/status").read_text()
    except OSError:
        return 0
    return 1024 * int(status.split("VmHWM:")[1].split()[0])


def main() -> None:
    """The command."""
    count, wanted = 0, list[tuple[str, int]]()
    for word in sys.argv[1:]:
        if word.isdigit():
            count = int(word)
        else:
            wanted += [(word, number) for number in range(count)]
    wholes = {name: FORMATS[name]() for name in {name for name, _ in wanted}}
    os.dup2(os.open(os.devnull, os.O_WRONLY), 2)  # where decoders complain
    with tempfile.TemporaryDirectory() as folder:
        os.environ["TMPDIR"] = tempfile.tempdir = folder
        for name, number in wanted:
            which = {"format": name, "number": number}
            path = Path(folder, "a")
            data = broken(wholes[name], number)
            path.write_bytes(data)
            print(json.dumps(which), flush=True)  # which one, should it end this process
            least = least_of_mp3(wholes[name], data) if name.startswith("mp3") else None
            outcome, wrong = verdict(path, least=least, by=by_ffmpeg if name in BY_FFMPEG else None)
            path.unlink()
            left = os.listdir(folder)
            if left and not wrong:
                wrong = f"left behind: {left}"
            print(json.dumps({**which, "outcome": outcome, "wrong": wrong}), flush=True)


if __name__ == "__main__":
    main()

"""Broken files of every container keep the rule of `tests.audio.fuzz`: all that decodes, or one line.

They are read in a process of their own: one that crashes or hangs is a failure here, and not the end of the
tests.
"""

import json
import sys
import tempfile
from pathlib import Path

import pytest

from hafm.audio.io import read_audio
from hafm.errors import AudioReadError
from tests.audio import fuzz
from tests.audio.fuzz import BY_FFMPEG, FORMATS, broken, by_ffmpeg, least_of_mp3, verdict
from tests.forked import ended, forked

SECONDS_PER_FILE = 10
"""On average, on a busy machine; that no file takes as much alone is measured there, as computing time."""


def failures(counts: dict[str, int]) -> list[str]:
    """What is wrong with the first broken files of each format, as many as `counts` says."""
    words = [word for name, count in counts.items() for word in (str(count), name)]
    with tempfile.TemporaryFile("w+") as printed:

        def read_them() -> None:
            sys.argv[1:], sys.stdout = words, printed
            try:
                fuzz.main()
            finally:
                printed.flush()

        code = ended(forked(read_them), seconds=60 + SECONDS_PER_FILE * sum(counts.values()))
        printed.seek(0)
        lines = [json.loads(line) for line in printed]
    wrong = [f"{_which(line)}: {line['wrong']} ({line['outcome']})" for line in lines if line.get("wrong")]
    if code:
        wrong.append(f"{_which(lines[-1]) if lines else ''}: the process ended with {code}")
    else:
        assert len(lines) == 2 * sum(counts.values())
    return wrong


def _which(line: dict[str, object]) -> str:
    return f"{line['format']} {line['number']}"


def test_the_first_broken_files_of_each_format_keep_the_rule() -> None:
    """Few of each, since many start the ffmpeg program, and those of two formats twice."""
    assert failures({name: 1 if name in BY_FFMPEG else 3 for name in FORMATS}) == []


@pytest.mark.slow
@pytest.mark.parametrize("by_program", [False, True], ids=["libsndfile", "ffmpeg"])
def test_fifty_broken_files_of_each_format_keep_the_rule(by_program: bool) -> None:
    """`make check` runs this, so that each commit has it. In two processes, since a file takes seven times as
    long where the ffmpeg program judges it."""
    names = [name for name in FORMATS if (name in BY_FFMPEG) == by_program]
    if not names:
        pytest.skip("there is no ffmpeg program")
    assert failures(dict.fromkeys(names, 50)) == []


@pytest.mark.slow
@pytest.mark.parametrize("format", FORMATS)
def test_two_thousand_broken_files_keep_the_rule(format: str) -> None:
    assert failures({format: 2000}) == []


@pytest.mark.long
@pytest.mark.parametrize(
    "format",
    [
        pytest.param(name, marks=pytest.mark.slow if name == "webm" else ())
        for name in ("wav", *BY_FFMPEG)
        if name in FORMATS
    ],
)
def test_the_rule_can_fail(format: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The control: readers that lose half, refuse what is fit, raise what they like."""
    import hafm.audio.io

    path = tmp_path / "a"
    path.write_bytes(FORMATS[format]())
    by = by_ffmpeg if format in BY_FFMPEG else None
    assert verdict(path, by=by) == ("taken", "")
    whole = hafm.audio.io.read_audio(path)

    def half(*_: object, **__: object) -> object:
        rate = whole.sample_rate
        return type(whole)(waveform=whole.waveform[:, ::2], sample_rate=rate, sha256="", file_channels=1)

    def refuse(*_: object, **__: object) -> object:
        raise AudioReadError("no")

    def fail(*_: object, **__: object) -> object:
        raise KeyError("x")

    count = whole.num_samples
    for reader, said in ((half, f"alone finds {count}"), (refuse, f"finds {count}"), (fail, "KeyError")):
        monkeypatch.setattr(hafm.audio.io, "read_audio", reader)
        assert said in verdict(path, by=by)[1]


@pytest.mark.parametrize("format", ["mp3", "mp3-without-index"])
def test_what_an_mp3_must_give_is_all_of_it(format: str, tmp_path: Path) -> None:
    whole, path = FORMATS[format](), tmp_path / "a"
    for data in (whole, whole + whole, whole[: len(whole) // 2]):
        path.write_bytes(data)
        assert read_audio(path, min_seconds=0.1).num_samples == least_of_mp3(whole, data)
        assert verdict(path, least=least_of_mp3(whole, data) + 1)[1], "the control"


@pytest.mark.parametrize(
    ("format", "number"),
    [
        ("mp3", 384),  # an index that is not silent: libsndfile guessed the length
        ("mp3", 407),  # the end is missing: libsndfile lost its last block
        ("mp3", 676),  # the last frame alone is missing
        ("mp3-without-index", 37),  # a byte is missing: the frame behind it was passed over
        ("mp3-without-index", 1490),  # what looked like a frame of another format hid one
    ],
)
def test_what_the_slow_run_found(format: str, number: int, tmp_path: Path) -> None:
    whole, path = FORMATS[format](), tmp_path / "a"
    path.write_bytes(broken(whole, number))
    assert verdict(path, least=least_of_mp3(whole, path.read_bytes())) == ("taken", "")


def test_a_broken_file_is_a_function_of_its_number() -> None:
    whole = FORMATS["wav"]()
    assert broken(whole, 7) == broken(whole, 7) != broken(whole, 8)

"""`hafm generate --preview`: a file that grows and goes, and the results that come without it."""

from pathlib import Path

import pytest
import soundfile

from hafm.app.generate_progress import Preview
from tests.app.conftest import RATE, Hafm, tree
from tests.tiny import sung
from tests.unchecked import unchecked


@pytest.fixture
def grown(monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, int]]:
    """Of the file after every part: frames that its header names, and frames that are there."""
    seen: list[tuple[int, int]] = []
    write = Preview._write

    def watched(self: Preview, part: object, num_samples: int) -> None:
        write(self, part, num_samples)  # type: ignore[arg-type]
        named = int.from_bytes(self.path.read_bytes()[40:44], "little") // 2
        seen.append((named, soundfile.info(self.path).frames))

    monkeypatch.setattr(Preview, "_write", watched)
    return seen


@pytest.mark.slow
@unchecked()
def test_it_grows_and_goes_and_changes_nothing(
    hafm: Hafm, bundle: Path, tmp_path: Path, grown: list[tuple[int, int]]
) -> None:
    vocal, words = tmp_path / "vocal.wav", ("--bundle", bundle, "--seed", 3)
    soundfile.write(vocal, sung(2.5, sample_rate=RATE)[0].numpy(), RATE)
    total = soundfile.info(vocal).frames
    assert hafm("generate", vocal, "-o", tmp_path / "plain", *words).code == 0
    ran = hafm("generate", vocal, "-o", tmp_path / "new" / "out", "--preview", *words)
    assert ran.code == 0, ran.err
    assert "out.preview.wav, 1.0 s so far" in ran.err
    assert [named for named, _ in grown] == [total] * len(grown)
    there = [frames for _, frames in grown]
    assert 0.9 * RATE < there[0] <= RATE
    assert there == sorted(there)
    assert there[-2:] == [total, total]  # the last part is empty
    assert tree(tmp_path / "new") == {f"out/{name}": data for name, data in tree(tmp_path / "plain").items()}


@unchecked()
def test_a_failure_leaves_nothing(
    hafm: Hafm, vocal: Path, bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write = Preview._write

    def full(self: Preview, part: object, num_samples: int) -> None:
        write(self, part, num_samples)  # type: ignore[arg-type]
        assert self.path == tmp_path / "new" / "out.preview.wav"
        assert self.path.is_file()
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Preview, "_write", full)
    words = ("--bundle", bundle, "--skip-fine", "--guidance", 1)
    ran = hafm("generate", vocal, "-o", tmp_path / "new" / "out", "--preview", *words)
    assert ran.code == 2
    assert ran.error.endswith("(No space left on device); make room there, or leave --preview out")
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize(
    "words",
    [("--takes", 2), ("--separate",), ("--intro", 1), ("--ending",)],
    ids=lambda words: words[0],
)
def test_what_has_no_preview_is_refused(
    words: tuple[object, ...], hafm: Hafm, vocal: Path, tmp_path: Path
) -> None:
    ran = hafm("generate", vocal, "-o", tmp_path / "out", "--preview", *words)
    assert ran.code == 2
    assert ran.error.endswith(f"--preview is for one new take of a vocal; leave it or {words[0]} out")


def test_a_file_of_that_name_is_kept(hafm: Hafm, vocal: Path, bundle: Path, tmp_path: Path) -> None:
    (tmp_path / "out.preview.wav").write_bytes(b"mine")
    ran = hafm("generate", vocal, "-o", tmp_path / "out", "--preview", "--bundle", bundle)
    assert ran.code == 2
    assert "out.preview.wav' is there already" in ran.error
    assert tree(tmp_path) == {"out.preview.wav": b"mine"}


def test_the_vocal_is_not_taken_for_an_old_preview(
    hafm: Hafm, vocal: Path, bundle: Path, tmp_path: Path
) -> None:
    mine = tmp_path / "out.preview.wav"
    mine.write_bytes(vocal.read_bytes())
    ran = hafm("generate", mine, "-o", tmp_path / "out", "--bundle", bundle, "--preview", "--overwrite")
    assert (ran.code, "where the preview would be; move it away" in ran.error) == (2, True)
    assert mine.read_bytes() == vocal.read_bytes()

"""`hafm fit-kmeans`: a folder of parts from a folder of pairs, whole or not at all."""

import json
from pathlib import Path
from typing import Any

import pytest
import soundfile

from hafm.app import fit_kmeans as module
from hafm.app.cli import run
from hafm.data.collection import intake
from hafm.stages.token_parts import open_parts
from hafm.tokens.kmeans import KMeans
from tests.data.test_tokenise import stems_of


@pytest.fixture(scope="module")
def music(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Six songs of a second, as pairs, all of which are for training."""
    root = tmp_path_factory.mktemp("music")
    for number in range(6):
        folder = root / "train" / f"song{number}"
        folder.mkdir(parents=True)
        stems = stems_of(24_000, seed=number)
        soundfile.write(folder / "vocals.wav", stems.vocal.numpy(), 24_000)
        soundfile.write(folder / "instrumental.wav", stems.instrumental.numpy(), 24_000)
    return root


def words(music: Path, tiny_bundle: Path, output: Path, *more: str) -> list[str]:
    given = [
        "--parts",
        str(tiny_bundle),
        "--clusters",
        "8",
        "--starts",
        "1",
        "--passes",
        "2",
        "-o",
        str(output),
    ]
    return ["fit-kmeans", str(music), *given, *more]


def content(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


@pytest.mark.long
def test_a_folder_of_parts_comes_out_the_same_every_time(
    music: Path, tiny_bundle: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(words(music, tiny_bundle, tmp_path / "a")) == 0
    shown = capsys.readouterr()
    assert "8 clusters, 0 dead; on held-out tracks perplexity" in shown.out
    assert "6 tracks (1 held out)" in shown.out
    assert "hafm: listening" in shown.err
    assert run(words(music, tiny_bundle, tmp_path / "deep" / "b", "--json", "--quiet")) == 0
    printed = json.loads(capsys.readouterr().out)
    assert content(tmp_path / "a") == content(tmp_path / "deep" / "b")
    parts = open_parts(tmp_path / "a")
    assert parts.vocal_kmeans.cardinality == parts.instrumental_kmeans.cardinality == 8
    assert printed["kmeans"]["vocal"]["fingerprint"] == parts.vocal_kmeans.fingerprint()
    assert printed["tracks"] == 6
    assert parts.codec.fingerprint() == open_parts(tiny_bundle).codec.fingerprint()
    table = (tmp_path / "a" / "sample.tsv").read_text().splitlines()
    assert table[0] == "id\tsha256\tseconds\tused for"
    assert [line.split("\t")[3] for line in table[1:]] == ["fit", "held out", *["fit"] * 4]


@pytest.mark.slow
def test_another_seed_gives_another_kmeans(music: Path, tiny_bundle: Path, tmp_path: Path) -> None:
    assert run(words(music, tiny_bundle, tmp_path / "a", "--quiet")) == 0
    assert run(words(music, tiny_bundle, tmp_path / "b", "--quiet", "--seed", "1", "--augment")) == 0
    one, other = (KMeans.load(tmp_path / name / "kmeans_vocal.safetensors") for name in "ab")
    assert one.fingerprint() != other.fingerprint()
    assert other.notes["settings"]["augment"] is not None


@pytest.mark.slow
def test_its_parts_are_parts_to_fit_again(music: Path, tiny_bundle: Path, tmp_path: Path) -> None:
    assert run(words(music, tiny_bundle, tmp_path / "a", "--quiet")) == 0
    assert run(words(music, tmp_path / "a", tmp_path / "b", "--quiet")) == 0
    assert content(tmp_path / "a") == content(tmp_path / "b")


@pytest.mark.parametrize(
    ("more", "said"),
    [
        (["--clusters", "0"], "clusters 0"),
        (["--hours", "0"], "hours 0"),
        (["--clusters", "10000"], "cannot make 10000 clusters"),
        (["--kind", "tapes"], "'tapes' is not one of"),
        (["--subset", "small"], "has no option subset"),
        (["--parts", "bultin"], "did you mean 'builtin'"),
        (["--shared"], "leave out --shared"),
        (["--device", "gpu"], "no device 'gpu'"),
        (["--kind", "mixes"], "no separator was given"),
    ],
)
def test_what_cannot_be_is_one_line_and_leaves_nothing(
    music: Path,
    tiny_bundle: Path,
    tmp_path: Path,
    more: list[str],
    said: str,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("HAFM_SEPARATOR", raising=False)
    assert run(words(music, tiny_bundle, tmp_path / "out", "--quiet", *more)) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("error: ")
    assert said in line
    assert list(tmp_path.iterdir()) == []


def test_a_folder_in_use_is_refused_before_anything_is_read(
    music: Path, tiny_bundle: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "thesis.txt").write_text("mine")
    assert run(words(music, tiny_bundle, tmp_path, "--quiet")) == 2
    assert "already holds files" in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.txt"]


def test_tracks_that_cannot_be_read_are_named(
    music: Path, tiny_bundle: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bad = music / "train" / "song2" / "vocals.wav"
    good = bad.read_bytes()
    bad.write_bytes(b"")
    try:
        assert run(words(music, tiny_bundle, tmp_path / "a", "--quiet")) == 2
        assert "1 of 6 tracks (16.7%) cannot be used" in capsys.readouterr().err
        assert run(words(music, tiny_bundle, tmp_path / "a", "--quarantine-limit", "0.5")) == 0
    finally:
        bad.write_bytes(good)
    assert "song2' was left out" in capsys.readouterr().err
    assert "left out: " in (tmp_path / "a" / "sample.tsv").read_text()


@pytest.mark.parametrize("when", ["reading", "writing"])
def test_ctrl_c_leaves_nothing(
    music: Path, tiny_bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, when: str
) -> None:
    def interrupt(*_: Any, **__: Any) -> None:
        raise KeyboardInterrupt

    if when == "reading":
        monkeypatch.setattr(intake, "read_stems", interrupt)
    else:
        monkeypatch.setattr(KMeans, "save", interrupt)
    from hafm.app.display import SilentDisplay
    from hafm.app.interrupt import Interrupts

    request = module.FitKMeans(
        source=music, parts=str(tiny_bundle), output=tmp_path / "out", clusters=8, starts=1, passes=1
    )
    with Interrupts() as interrupts, pytest.raises(KeyboardInterrupt):
        request.run(SilentDisplay(), interrupts)
    assert list(tmp_path.iterdir()) == []

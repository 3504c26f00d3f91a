"""`hafm info`: what it tells, and that it tells the truth."""

from fractions import Fraction
from pathlib import Path

import pytest

from hafm.stages.bundle import Bundle
from tests.app.conftest import Hafm

KEYS = (
    "name version licence data folder fingerprint bytes engine stages features codec streams generation "
    "measured"
)


def test_json_tells_the_truth(bundle: Path, hafm: Hafm) -> None:
    info = hafm("info", bundle, "--json").json
    opened = Bundle.open(bundle)
    assert list(info) == [*KEYS.split(), "fingerprints", "files"]
    assert info["fingerprint"] == opened.fingerprint
    assert info["engine"] == {"name": "torch", "why": "HAFM_ENGINE says so"}
    assert info["bytes"] == sum(path.stat().st_size for path in bundle.rglob("*") if path.is_file())
    for name, stage in info["stages"].items():
        assert stage["parameters"] == opened.load_stage(name).num_parameters()
        assert stage["bytes"] == (bundle / f"{name}.safetensors").stat().st_size
        assert stage["conditioning"] == "aligned"
    codec = opened.load_codec()
    assert info["codec"]["sample_rate"] == codec.sample_rate
    coarse, fine = info["streams"]["coarse_codes"], info["streams"]["fine_codes"]
    assert coarse["codebooks"] + fine["codebooks"] == codec.num_codebooks
    assert Fraction(coarse["frame_rate_hz"]) == codec.frame_rate
    assert info["measured"] == {"held-out loss": {"semantic": 2.77}}


@pytest.mark.parametrize("columns", [70, 80, 200])
def test_tables_for_people(bundle: Path, hafm: Hafm, monkeypatch: pytest.MonkeyPatch, columns: int) -> None:
    monkeypatch.setenv("COLUMNS", str(columns))
    ran = hafm("info", bundle)
    assert (ran.code, ran.err) == (0, "")
    assert max(map(len, ran.out.splitlines())) <= columns
    target = Bundle.open(bundle).spec("coarse").target
    words = ["tiny 0", "Apache-2.0", "semantic", "coarse", "fine", "aligned", "24000 Hz", "2.77"]
    for word in [*words, f"{target.num_codebooks} x {target.cardinality}", "75 Hz"]:
        assert word in ran.out
    assert Bundle.open(bundle).fingerprint[:24] in ran.out


def test_what_a_bundle_says_is_text(bundle: Path, hafm: Hafm, tmp_path: Path) -> None:
    """Square brackets are rich's markup; in a bundle they are brackets."""
    from hafm.stages.bundle_writer import write_bundle
    from tests.tiny import tiny_ingredients

    write_bundle(tmp_path / "odd", tiny_ingredients(data="[bold]POP909[/nothing] :smile:"))
    assert "[bold]POP909[/nothing] :smile:" in hafm("info", tmp_path / "odd").out


def test_an_unknown_bundle(hafm: Hafm, tmp_path: Path) -> None:
    ran = hafm("info", tmp_path / "none")
    assert (ran.code, ran.out) == (2, "")
    assert "there is no bundle" in ran.error
    assert hafm("info", tmp_path / "none", "--json").json["error"]["kind"] == "BundleNotFound"

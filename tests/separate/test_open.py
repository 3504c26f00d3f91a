"""What `Separator.open` refuses, before a second of sound goes through the net."""

import builtins
import json
from pathlib import Path
from typing import Any

import onnx
import pytest
import torch
from onnx import TensorProto

from hafm.errors import UsageError
from hafm.separate.config import SeparatorConfig
from hafm.separate.separator import Separator
from tests.separate import onnx_nets


def test_sizes_that_are_names_are_taken(tmp_path: Path) -> None:
    separator = Separator.open(onnx_nets.write_net(tmp_path, onnx_nets.any_size))
    named, _ = separator.separate(torch.ones(2, 100))
    fixed, _ = Separator.open(onnx_nets.write_net(tmp_path, onnx_nets.identity)).separate(torch.ones(2, 100))
    assert named.equal(fixed)


@pytest.mark.parametrize(
    ("change", "shown"),
    [
        ({"dim_f": 30}, r"\[1, 4, 30, 16\], and its JSON makes it \[1, 4, 32, 16\]"),
        ({"dim_t": 17}, "16, 17|32, 17"),
    ],
)
def test_a_net_of_another_shape_is_refused(tmp_path: Path, change: dict[str, int], shown: str) -> None:
    path = onnx_nets.write_net(tmp_path, onnx_nets.identity, made_for=onnx_nets.config(**change))
    with pytest.raises(UsageError, match=shown):
        Separator.open(path)


@pytest.mark.parametrize(
    ("net", "why"),
    [
        (onnx_nets.two_outputs, "2 outputs"),
        (onnx_nets.half_precision, r"tensor\(float16\), not float32"),
    ],
)
def test_another_kind_of_net_is_refused(tmp_path: Path, net: onnx_nets.Net, why: str) -> None:
    with pytest.raises(UsageError, match=why):
        Separator.open(onnx_nets.write_net(tmp_path, net))


def test_a_shape_that_only_a_pass_shows_is_refused(tmp_path: Path) -> None:
    separator = Separator.open(onnx_nets.write_net(tmp_path, onnx_nets.half_the_frames))
    with pytest.raises(UsageError, match=r"the output of the net is \[1, 4, 32, 8\]"):
        separator.separate(torch.ones(2, 100))


def test_bytes_that_are_no_net_are_refused(tmp_path: Path) -> None:
    path = onnx_nets.write_net(tmp_path, onnx_nets.identity)
    path.write_bytes(b"not a net")
    with pytest.raises(UsageError, match="no net that onnxruntime can run"):
        Separator.open(path)


def test_weights_in_a_further_file_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """They would not be in the fingerprint. The file lies where onnxruntime would look for it."""
    path = onnx_nets.write_net(tmp_path, onnx_nets.gain(0.5))
    model = onnx.load(path)
    onnx.save_model(
        model,
        path,
        save_as_external_data=True,
        location="weights.bin",
        size_threshold=0,
        convert_attribute=False,
    )
    assert (tmp_path / "weights.bin").exists()
    assert any(
        each.data_location == TensorProto.EXTERNAL
        for each in onnx.load(path, load_external_data=False).graph.initializer
    )
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UsageError, match="no net that onnxruntime can run"):
        Separator.open(path)


@pytest.mark.parametrize(
    ("name", "why"), [("none.onnx", "none.onnx' cannot be read"), ("net.json", "does not end in .onnx")]
)
def test_a_path_that_is_no_separator_is_refused(tmp_path: Path, name: str, why: str) -> None:
    onnx_nets.write_net(tmp_path, onnx_nets.identity)
    with pytest.raises(UsageError, match=why):
        Separator.open(tmp_path / name)


def test_the_json_must_lie_beside_it(tmp_path: Path) -> None:
    path = onnx_nets.write_net(tmp_path, onnx_nets.identity)
    path.with_suffix(".json").unlink()
    with pytest.raises(UsageError, match=r"net\.json', which must lie beside the separator"):
        Separator.open(path)


def test_without_onnxruntime_the_extra_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = onnx_nets.write_net(tmp_path, onnx_nets.identity)
    there = builtins.__import__

    def absent(name: str, *arguments: Any, **more: Any) -> Any:
        if name == "onnxruntime":
            raise ImportError(name)
        return there(name, *arguments, **more)

    monkeypatch.setattr(builtins, "__import__", absent)
    with pytest.raises(UsageError, match=r"pip install 'hafm\[separate\]'"):
        Separator.open(path)


def test_the_fingerprint_is_of_both_files(tmp_path: Path) -> None:
    prints = {
        Separator.open(path).fingerprint()
        for path in (
            onnx_nets.write_net(tmp_path / "a", onnx_nets.identity),
            onnx_nets.write_net(tmp_path / "b", onnx_nets.identity),  # the same again
            onnx_nets.write_net(tmp_path / "c", onnx_nets.gain(0.5)),
            onnx_nets.write_net(
                tmp_path / "d", onnx_nets.identity, described_as=onnx_nets.config(compensate=1.1)
            ),
        )
    }
    assert len(prints) == 3
    assert all(len(each) == 64 for each in prints)


# ---- the JSON

RIGHT = {
    "n_fft": 64,
    "hop": 32,
    "dim_f": 32,
    "dim_t": 16,
    "compensate": 1.0,
    "primary_stem": "vocals",
    "sample_rate": 8_000,
}


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"n_fft": 63}, "n_fft is 63; give an even number"),
        ({"n_fft": "64"}, "n_fft must be a whole number, not '64'"),
        ({"n_fft": True}, "n_fft must be a whole number, not True"),
        ({"hop": 33}, "hop is 33; give a whole number from 1 to 32"),
        ({"hop": 0}, "hop is 0"),
        ({"dim_f": 34}, "dim_f is 34; give a whole number from 4 to 33"),
        ({"dim_f": 3}, "dim_f is 3"),
        ({"dim_t": 2}, "dim_t is 2: with n_fft 64 and hop 32 it must be 7 or more"),
        ({"dim_t": 2.5}, "dim_t must be a whole number"),
        ({"dim_t": 10**9}, "dim_t is 1000000000"),
        ({"compensate": 0}, "compensate is 0; give a number above 0"),
        ({"compensate": float("inf")}, "compensate is inf"),
        ({"compensate": "1"}, "compensate must be a number"),
        ({"primary_stem": "drums"}, "primary_stem must be 'vocals' or 'instrumental', not 'drums'"),
        ({"primary_stem": ["vocals"]}, "primary_stem must be"),
        ({"sample_rate": 44_100.0}, "sample_rate must be a whole number, not 44100.0"),
        ({"sample_rate": None}, "sample_rate must be a whole number, not None"),
    ],
)
def test_a_wrong_value_is_named(change: dict[str, Any], why: str) -> None:
    with pytest.raises(UsageError, match=f"^net.json is not the description of an MDX-Net: {why}"):
        SeparatorConfig.from_json(json.dumps({**RIGHT, **change}), where="net.json")


def test_a_right_one_is_taken() -> None:
    assert SeparatorConfig.from_json(json.dumps(RIGHT), where="net.json") == onnx_nets.config()


@pytest.mark.parametrize("key", RIGHT)
def test_a_missing_key_is_named_and_all_are_listed(key: str) -> None:
    values = {name: value for name, value in RIGHT.items() if name != key}
    everything = ", ".join(sorted(RIGHT))
    with pytest.raises(UsageError, match=rf"^net.json is not .* lacks '{key}'; it must hold {everything}$"):
        SeparatorConfig.from_json(json.dumps(values), where="net.json")


@pytest.mark.parametrize(
    ("text", "why"), [("{", "it is not JSON"), ("[]", "it holds no JSON object"), ("\xff", "it is not JSON")]
)
def test_text_that_is_no_object_is_refused(text: str, why: str) -> None:
    with pytest.raises(UsageError, match=why):
        SeparatorConfig.from_json(text, where="net.json")

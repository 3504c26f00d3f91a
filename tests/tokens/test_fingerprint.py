"""A fingerprint changes with everything that matters, and with nothing else."""

from dataclasses import dataclass
from fractions import Fraction

import pytest
import torch

from hafm.errors import BundleMismatch
from hafm.tokens.fingerprint import fingerprint, require_same

CONFIG = {"hop": 480, "rate": Fraction(50), "bands": (1, 2)}
TENSORS = {"a": torch.arange(6.0).view(2, 3), "b": torch.tensor(1)}


def test_order_strides_and_mapping_type_do_not_count() -> None:
    reordered = {"b": TENSORS["b"], "a": TENSORS["a"].T.contiguous().T}
    assert not reordered["a"].is_contiguous()
    assert fingerprint(dict(reversed(CONFIG.items())), reordered) == fingerprint(CONFIG, TENSORS)


@pytest.mark.parametrize(
    ("config", "tensors"),
    [
        ({**CONFIG, "hop": 481}, TENSORS),
        ({**CONFIG, "rate": Fraction(51)}, TENSORS),
        ({**CONFIG, "more": None}, TENSORS),
        (CONFIG, {}),
        (CONFIG, {"a": TENSORS["a"]}),
        (CONFIG, {**TENSORS, "a": TENSORS["a"].view(3, 2)}),
        (CONFIG, {**TENSORS, "a": TENSORS["a"].double()}),
        (CONFIG, {**TENSORS, "a": TENSORS["a"].nextafter(torch.tensor(9.0))}),
        (CONFIG, {"a": TENSORS["a"], "c": TENSORS["b"]}),
    ],
)
def test_everything_else_does(config: dict[str, object], tensors: dict[str, torch.Tensor]) -> None:
    assert fingerprint(config, tensors) != fingerprint(CONFIG, TENSORS)


def test_dataclasses_and_bfloat16() -> None:
    @dataclass(frozen=True)
    class Config:
        hop: int

    assert fingerprint(Config(3)) == fingerprint({"hop": 3})
    assert fingerprint({}, {"w": torch.ones(2, dtype=torch.bfloat16)}) != fingerprint(
        {}, {"w": torch.ones(2)}
    )


def test_what_json_cannot_hold_is_refused() -> None:
    with pytest.raises(TypeError, match="not set"):
        fingerprint({"x": {1, 2}})


def test_mismatch_names_both() -> None:
    with pytest.raises(BundleMismatch, match=r"codec: made for fingerprint aa, but found bb"):
        require_same(expected="aa", found="bb", what="codec")

"""A JSON file becomes its dataclass or one error that names the file, the field and what to do."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from fractions import Fraction
from typing import Any, Literal

import pytest

from hafm.errors import BundleDamaged, HafmError, UsageError
from hafm.jsonfile import JsonFile, Mismatch, as_type


@dataclass(frozen=True, kw_only=True)
class Clip:
    id: str
    seconds: float
    sung: bool = True

    def __post_init__(self) -> None:
        if self.seconds < 0:
            raise UsageError("seconds must be 0 or more")


@dataclass(frozen=True, kw_only=True)
class Run:
    seed: int
    arm: Literal["isolated", "separated"]
    clips: tuple[Clip, ...]
    best: Clip | None = None
    span: tuple[float, float] = (0.0, 1.0)
    length: Fraction = Fraction(10)
    name: str | int = "a"
    known: Mapping[str, Clip] | None = None
    facts: Mapping[str, Any] | None = None


FILE = JsonFile(what="a run", fix="make it again", error=BundleDamaged, format=3)
WHOLE = Run(
    seed=1,
    arm="isolated",
    clips=(Clip(id="x", seconds=2.5), Clip(id="y", seconds=3, sung=False)),
    best=Clip(id="x", seconds=2.5),
    span=(0.5, 2.0),
    length=Fraction(12, 5),
    name=7,
    known={"x": Clip(id="x", seconds=2.5)},
    facts={"any": [1, {"deep": None}]},
)


def values(**changes: object) -> dict[str, object]:
    return {"format": 3, **asdict(WHOLE), "length": "12/5", **changes}


def test_what_was_written_is_read() -> None:
    assert FILE.read(Run, json.dumps(values()), where="run.json") == WHOLE


def test_a_whole_number_in_a_field_of_floats_stays_as_it_was_written() -> None:
    read = FILE.read(Run, json.dumps(values()), where="run.json")
    assert type(read.clips[1].seconds) is int


def test_fields_with_defaults_may_be_missing() -> None:
    read = FILE.read(Run, '{"format": 3, "seed": 1, "arm": "separated", "clips": []}', where="run.json")
    assert read == Run(seed=1, arm="separated", clips=())


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("{", "run.json is not a run: it is not JSON"),
        ("[" * 100_000, "run.json is not a run: it is not JSON"),
        ("[]", "run.json is not a run: it holds no JSON object"),
        ("{}", "run.json is not a run: it has no format"),
        (
            '{"format": 4}',
            "run.json is of format 4, and this version of hafm reads format 3; update",
        ),
    ],
)
def test_text_that_is_no_such_file_is_refused(text: str, reason: str) -> None:
    with pytest.raises(BundleDamaged) as caught:
        FILE.read(Run, text, where="run.json")
    assert str(caught.value).startswith(reason)
    assert str(caught.value).endswith("make it again")


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"sede": 1}, "it has the unknown field 'sede' (did you mean seed?)"),
        ({"clips": [{"id": "x"}]}, "clips[0] lacks 'seconds'"),
        ({"clips": [{"id": "x", "seconds": 1, "wet": 1}]}, "clips[0] has the unknown field 'wet'"),
        ({"clips": {"id": "x"}}, "clips must be a list, not {'id': 'x'}"),
        ({"clips": [3]}, "clips[0] must be an object, not 3"),
        ({"best": {"id": "x", "seconds": "2"}}, "best.seconds must be a number, not '2'"),
        ({"known": {"x": None}}, "known.x must be an object, not None"),
        ({"seed": True}, "seed must be a whole number, not True"),
        ({"seed": 1.0}, "seed must be a whole number, not 1.0"),
        ({"seed": None}, "seed must be a whole number, not None"),
        ({"arm": "mixed"}, "arm must be 'isolated' or 'separated', not 'mixed'"),
        ({"span": [1.0]}, "span must be a list, not [1.0]"),
        ({"length": "1/0"}, "length must be a number such as 10 or 12/5, not '1/0'"),
        ({"name": 1.5}, "name must be text or a whole number, not 1.5"),
        ({"clips": [{"id": "x", "seconds": -1}]}, "seconds must be 0 or more"),
    ],
)
def test_a_value_that_does_not_fit_is_named(change: dict[str, object], reason: str) -> None:
    with pytest.raises(BundleDamaged) as caught:
        FILE.read(Run, json.dumps(values(**change)), where="run.json")
    assert str(caught.value) == f"run.json is not a run: {reason}; make it again"


def test_a_class_that_reads_itself_is_asked_to() -> None:
    class Own:
        @classmethod
        def from_dict(cls, values: Mapping[str, Any]) -> str:
            return f"own {values['a']}"

    assert as_type({"a": 1}, Own, name="it") == "own 1"
    with pytest.raises(Mismatch, match="it must be an object, not 3"):
        as_type(3, Own, name="it")


def test_numbers_come_as_text_only_where_they_may() -> None:
    assert as_type("3e-4", float, name="rate", from_text=True) == 3e-4
    with pytest.raises(Mismatch, match="rate must be a number, not '3e-4'"):
        as_type("3e-4", float, name="rate")


def test_the_error_is_one_that_users_can_put_right() -> None:
    assert isinstance(FILE.refused("run.json", "it is empty"), HafmError)

"""JSON files that hold one frozen dataclass each: read by its types, refused in one form of words.

In: the text of a file, and the dataclass that it should hold. Out: the dataclass, or the error of that kind
of file, which names the file, the field, what was expected, and what to do.

Conventions: a value must have the type of its field. Tuples come from lists, fractions from text, nested
dataclasses from objects; a dataclass with a `from_dict` reads itself. A whole number also fits a float, and
stays as it was written. A field with a default may be missing, an unknown one never passes.
"""

import contextlib
import difflib
import functools
import hashlib
import json
import os
import types
import typing
from collections.abc import Collection, Mapping
from dataclasses import MISSING, dataclass, fields, is_dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any, Literal, TypeVar, get_args, get_origin

from hafm.errors import HafmError, UsageError

__all__ = ["JsonFile", "Mismatch", "as_type", "digest", "record_text", "unknown_name"]

T = TypeVar("T")


class Mismatch(ValueError):
    """A value does not have the type of its field; the message is a clause without the file."""


@dataclass(frozen=True, kw_only=True)
class JsonFile:
    """A kind of file: how it is read, and what is said where it cannot be.

    Args:
        what: it holds, with its article, such as `a record of hafm`.
        fix: what to do about a file that is something else.
        error: what is raised.
        format: number under the name `format`; None where the file has none.

    >>> @dataclass(frozen=True)
    ... class Take:
    ...     seed: int
    ...     seconds: Fraction = Fraction(10)
    >>> file = JsonFile(what="a take", fix="make it again", error=HafmError, format=1)
    >>> file.read(Take, '{"format": 1, "seed": 3, "seconds": "12/5"}', where="take.json")
    Take(seed=3, seconds=Fraction(12, 5))
    >>> file.read(Take, '{"format": 1, "sede": 3}', where="take.json")
    Traceback (most recent call last):
    ...
    hafm.errors.HafmError: take.json is not a take: it has the unknown field 'sede' (did ...
    """

    what: str
    fix: str
    error: type[HafmError]
    format: int | None = None

    def read(self, cls: type[T], text: str | bytes, *, where: str) -> T:
        """The dataclass that a text holds.

        Args:
            cls: a dataclass.
            text: of the file.
            where: what messages call the file.

        Raises:
            HafmError: of the class `error`; no JSON object, another format, or fields that do not fit.
        """
        return self.build(cls, self.values(text, where=where), where=where)

    def values(self, text: str | bytes, *, where: str) -> dict[str, Any]:
        """The JSON object that a text holds, without its format.

        Raises:
            HafmError: of the class `error`; no JSON object, or another format.
        """
        try:
            values = json.loads(text)
        except (ValueError, RecursionError) as error:
            raise self.refused(where, f"it is not JSON ({error})") from error
        if not isinstance(values, dict):
            raise self.refused(where, "it holds no JSON object")
        if self.format is None:
            return values
        if "format" not in values:
            raise self.refused(where, "it has no format")
        if (found := values.pop("format")) != self.format:
            raise self.error(
                f"{where} is of format {found!r}, and this version of hafm reads format {self.format}; "
                f"update hafm, or {self.fix}"
            )
        return values

    def build(self, cls: type[T], values: Mapping[str, Any], *, where: str) -> T:
        """The dataclass of an object's values.

        Raises:
            HafmError: of the class `error`; the values do not fit its fields.
        """
        try:
            return typing.cast(T, _dataclass(values, cls, ""))
        except (HafmError, ValueError, TypeError, ArithmeticError) as error:
            raise self.refused(where, str(error)) from error

    def refused(self, where: str, reason: str) -> HafmError:
        """The error for a file that is something else."""
        return self.error(f"{where} is not {self.what}: {reason}; {self.fix}")


def record_text(path: str | os.PathLike[str], *, fix: str) -> str:
    """The text of a record's file.

    Raises:
        UsageError: it cannot be read, or is no text; what to do about it is `fix`.
    """
    try:
        return Path(path).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "it is no text"
        raise UsageError(f"the record '{path}' cannot be read ({reason}); {fix}") from error


def digest(values: Mapping[str, Any]) -> str:
    """SHA-256 (hex) of JSON values, whatever their order and spacing.

    >>> digest({"b": 1, "a": [2]}) == digest({"a": [2], "b": 1})
    True
    """
    text = json.dumps(values, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()


def unknown_name(name: str, known: Collection[str]) -> str:
    """A question that may help, in brackets; empty where no known name is close.

    >>> unknown_name("widht", ["width", "depth"])
    ' (did you mean width?)'
    """
    close = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
    return f" (did you mean {close[0]}?)" if close else ""


def as_type(value: Any, hint: Any, *, name: str, from_text: bool = False) -> Any:
    """A JSON value as a type, where nothing is lost by it.

    Args:
        value: as JSON (or YAML) gives it.
        hint: the type, as annotations write it.
        name: of the field, for messages.
        from_text: whether numbers may come as text, as in `3e-4`, which YAML takes for one.

    Raises:
        Mismatch: it does not have that type.

    >>> as_type([1, 2], tuple[int, ...], name="marks")
    (1, 2)
    >>> as_type("loud", float | None, name="level")
    Traceback (most recent call last):
    ...
    hafm.jsonfile.Mismatch: level must be a number or null, not 'loud'
    """
    try:
        return _converted(value, hint, name, from_text)
    except Mismatch:
        raise
    except (TypeError, ValueError, ArithmeticError) as error:
        raise Mismatch(f"{name} must be {_described(hint)}, not {value!r}") from error


def _converted(value: Any, hint: Any, name: str, from_text: bool) -> Any:
    origin, args = get_origin(hint), get_args(hint)
    if hint is Any:
        return value
    if origin is Literal:
        return _require(value, value in args and not isinstance(value, bool))
    if origin in (types.UnionType, typing.Union):
        return _first_that_fits(value, args, name, from_text)
    if hint is types.NoneType:
        return _require(value, value is None)
    if origin is tuple:
        _require(value, isinstance(value, list | tuple))
        kinds = args[:1] * len(value) if args[1:] == (...,) else args
        pairs = enumerate(zip(value, kinds, strict=True))
        return tuple(as_type(each, kind, name=f"{name}[{place}]") for place, (each, kind) in pairs)
    if origin is not None and issubclass(origin, Mapping):
        _require(value, isinstance(value, Mapping))
        return {key: as_type(each, args[1], name=f"{name}.{key}") for key, each in value.items()}
    if hasattr(hint, "from_dict"):
        return hint.from_dict(_require(value, isinstance(value, Mapping)))
    if is_dataclass(hint):
        return _dataclass(_require(value, isinstance(value, Mapping)), hint, name)
    if hint is bool:
        return _require(value, isinstance(value, bool))
    _require(value, value is not None and not isinstance(value, bool))
    if hint is Fraction:
        return Fraction(str(value))
    if hint is float and from_text:
        return float(value)
    return _require(value, isinstance(value, (int, float) if hint is float else hint))


def _require(value: Any, fits: bool) -> Any:
    if not fits:
        raise TypeError
    return value


def _first_that_fits(value: Any, options: tuple[Any, ...], name: str, from_text: bool) -> Any:
    if value is None:
        return _require(value, types.NoneType in options)
    *others, last = (option for option in options if option is not types.NoneType)
    for option in others:
        with contextlib.suppress(TypeError, ValueError, ArithmeticError):
            return _converted(value, option, name, from_text)
    return _converted(value, last, name, from_text)


def _dataclass(values: Mapping[str, Any], cls: Any, name: str) -> object:
    hints, needed = _fields(cls)
    unknown = [key for key in values if key not in hints]
    missing = [key for key in needed if key not in values]
    if unknown or missing:
        wrong = [f"has the unknown field {key!r}{unknown_name(key, hints)}" for key in unknown]
        wrong += [f"lacks {', '.join(map(repr, missing))}"] if missing else []
        raise Mismatch(f"{name or 'it'} {' and '.join(wrong)}")
    prefix = f"{name}." if name else ""
    return cls(**{key: as_type(value, hints[key], name=prefix + key) for key, value in values.items()})


@functools.cache
def _fields(cls: Any) -> tuple[dict[str, Any], tuple[str, ...]]:
    """Types of the fields, and the names of those without a default."""
    hints = typing.get_type_hints(cls)
    known = [field for field in fields(cls) if field.init]
    needed = [f.name for f in known if f.default is MISSING and f.default_factory is MISSING]
    return {field.name: hints[field.name] for field in known}, tuple(needed)


def _described(hint: Any) -> str:
    """A type, in words.

    >>> _described(Literal["wav", "flac"]), _described(tuple[int, ...]), _described(float | None)
    ("'wav' or 'flac'", 'a list', 'a number or null')
    """
    if get_origin(hint) is Literal:
        return " or ".join(repr(option) for option in get_args(hint))
    if get_origin(hint) in (types.UnionType, typing.Union):
        return " or ".join(_described(option) for option in get_args(hint))
    if get_origin(hint) is tuple:
        return "a list"
    words = {
        types.NoneType: "null",
        int: "a whole number",
        float: "a number",
        bool: "true or false",
        str: "text",
        Fraction: "a number such as 10 or 12/5",
    }
    return words.get(hint, "an object")

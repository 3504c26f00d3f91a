"""`generation.json`: everything needed to make a generation again, and to know whether one can.

In: what a generation used. Out: JSON; and back, the same values, checked.

    environment   versions, platform, device, threads       differ: a note, the result may differ
    bundle        source, name, fingerprint                 differs: refused
    input         path, SHA-256, part, length               differs: refused
    separation    the separator, if the vocal was           differs: refused; with another onnxruntime: a note
                  taken out of the input; else absent
    settings      seed, take, sampling, loudness, engine    taken over
                  and samples of an intro and an ending
    lead_sheet    `hafm.guide.sheet_json`, if there was     taken over
                  one; else absent
    again         the stretch that was made again, and    the kept sound is read, or made again
                  the record of what was kept; else absent    from its record
    output        format, levels, SHA-256 of every file     taken over; tells whether bytes are the same
                  and, if there are stems, what parted it

Conventions: the record is written last, when the files that it names lie complete beside it. The same seed,
machine and versions give the same bytes; other devices and releases are not promised to.
"""

import json
import os
import platform
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, is_dataclass, replace
from importlib.metadata import version
from typing import Any, Literal, Self

from torch import get_num_threads

from hafm.arguments import seconds_of
from hafm.audio.sound import Audio
from hafm.errors import AudioContentError, BundleMismatch, UsageError
from hafm.generate.sampling import SamplingSettings
from hafm.guide.lead_sheet import LeadSheet
from hafm.guide.sheet_json import lead_sheet_from_json, lead_sheet_to_json
from hafm.jsonfile import JsonFile, record_text
from hafm.separate.network import onnxruntime_version
from hafm.separate.separator import Separator
from hafm.version import __version__

__all__ = [
    "BundleUsed",
    "Environment",
    "GenerationRecord",
    "InputUsed",
    "MadeAgain",
    "Output",
    "SeparationUsed",
    "Settings",
]

FORMAT = 1
"""Format of the file; a reader refuses any other."""


@dataclass(frozen=True, kw_only=True)
class Environment:
    """What the result may depend on besides the arguments.

    Args:
        threads: of torch; sums are taken in another order with another number.
        onnxruntime: version, where it ran the stages; else None.
    """

    hafm: str
    torch: str
    numpy: str
    python: str
    platform: str
    device: str
    threads: int
    onnxruntime: str | None = None

    @classmethod
    def here(cls, device: str, *, engine: str = "torch") -> Self:
        """This process, working on `device`."""
        return cls(
            hafm=__version__,
            torch=version("torch"),
            numpy=version("numpy"),
            python=platform.python_version(),
            platform=f"{platform.system()} {platform.machine()}",
            device=device,
            threads=get_num_threads(),
            onnxruntime=onnxruntime_version() if engine == "onnx" else None,
        )

    def to_json(self) -> dict[str, Any]:
        """As JSON values; without onnxruntime where it did not run the stages."""
        return _written(self)


@dataclass(frozen=True, kw_only=True)
class BundleUsed:
    """The bundle: where it came from, and what it is."""

    source: str
    revision: str | None
    name: str
    version: str
    fingerprint: str


@dataclass(frozen=True, kw_only=True)
class InputUsed:
    """The vocal, or the song that it was taken out of.

    Args:
        path: absolute; None for an array.
        sha256: of the file's bytes, or of the array's samples as little-endian float32.
        start_seconds, seconds: the part that was asked for, if one was.
        sample_rate, num_samples, num_channels: of that part.
    """

    path: str | None
    sha256: str
    start_seconds: float | None
    seconds: float | None
    sample_rate: int
    num_samples: int
    num_channels: int

    @classmethod
    def of(cls, vocal: Audio, *, start_seconds: float | None, seconds: float | None) -> Self:
        """The vocal of a generation, and the part of it that was asked for."""
        return cls(
            path=None if vocal.path is None else os.path.abspath(vocal.path),
            sha256=vocal.sha256,
            start_seconds=seconds_of("start_seconds", start_seconds),
            seconds=seconds_of("seconds", seconds),
            sample_rate=vocal.sample_rate,
            num_samples=vocal.num_samples,
            num_channels=vocal.num_channels,
        )


@dataclass(frozen=True, kw_only=True)
class SeparationUsed:
    """What took the vocal out of the input; `model` is the separator's `.onnx`, absolute."""

    model: str
    fingerprint: str
    onnxruntime: str

    @classmethod
    def of(cls, separator: Separator) -> Self:
        """A separator, here and now."""
        return cls(
            model=os.path.abspath(separator.path),
            fingerprint=separator.fingerprint(),
            onnxruntime=onnxruntime_version(),
        )


@dataclass(frozen=True, kw_only=True)
class Settings:
    """What decides the accompaniment, given bundle and vocal; no default is left open."""

    seed: int
    take: int
    temperature: float
    top_k: int
    guidance: float
    skip_fine: bool
    level_lufs: float
    guide_guidance: float | None = None
    intro_samples: int = 0
    ending_samples: int = 0
    coarse_guidance: float | None = None
    style_guidance: float | None = None
    players_guidance: float | None = None
    engine: Literal["torch", "onnx"] = "torch"

    @property
    def sampling(self) -> SamplingSettings:
        """How the semantic stage draws."""
        return SamplingSettings(**{each.name: getattr(self, each.name) for each in fields(SamplingSettings)})

    @property
    def coarse_sampling(self) -> SamplingSettings:
        """How the coarse stage draws: as the semantic one, unless it has a guidance of its own."""
        if self.coarse_guidance is None:
            return self.sampling
        return replace(self.sampling, guidance=self.coarse_guidance, guide_guidance=None)


@dataclass(frozen=True, kw_only=True)
class Output:
    """What was written.

    Args:
        levels: what came out of it (`hafm.audio.mixdown.Levels`).
        files: SHA-256 by name, beside the record.
        stems: fingerprint of the net that parted the accompaniment into stems; None without them.
    """

    format: Literal["wav", "flac"]
    balance_db: float
    loudness_lufs: float
    levels: Mapping[str, float | None]
    files: Mapping[str, str]
    stems: str | None = None


@dataclass(frozen=True, kw_only=True)
class MadeAgain:
    """A stretch that was made again in an accompaniment; all else of it was kept.

    Args:
        start_seconds, end_seconds: the stretch, from the beginning of the accompaniment on.
        path: of the accompaniment that was kept, absolute.
        sha256: of its bytes.
    """

    start_seconds: float
    end_seconds: float
    path: str
    sha256: str
    of: "GenerationRecord"


@dataclass(frozen=True, kw_only=True)
class GenerationRecord:
    """One generation. `output` is None until it is saved, `separation` if the input is the vocal.

    `again` is None of what was made in one piece; else settings and lead sheet are those of the stretch.
    """

    environment: Environment
    bundle: BundleUsed
    input: InputUsed
    settings: Settings
    separation: SeparationUsed | None = None
    lead_sheet: LeadSheet | None = None
    output: Output | None
    again: MadeAgain | None = None

    def to_json(self) -> str:
        """The text of `generation.json`."""
        return json.dumps(_written(self), indent=2) + "\n"

    @classmethod
    def from_json(cls, text: str, *, where: str = "generation.json") -> Self:
        """Reads what `to_json` wrote.

        Raises:
            UsageError: it is no record, of another format, or has unknown or missing fields.
            LeadSheetError: its lead sheet is not one.

        >>> GenerationRecord.from_json("[]")
        Traceback (most recent call last):
        ...
        hafm.errors.UsageError: generation.json is not a record of hafm: it holds no JSON object; give ...
        """
        values = _FILE.values(text, where=where)
        sheet = values.pop("lead_sheet", None)
        record = _FILE.build(cls, values, where=where)
        if sheet is None:
            return record
        sheet_where = f"the lead sheet in {where}"
        return replace(record, lead_sheet=lead_sheet_from_json(json.dumps(sheet), where=sheet_where))

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        """A record within a record."""
        return cls.from_json(json.dumps(values), where="the record of what was kept")

    @classmethod
    def read(cls, path: str | os.PathLike[str]) -> Self:
        """Reads a file.

        Raises:
            UsageError: it cannot be read, or is no record.
        """
        return cls.from_json(record_text(path, fix="give a generation.json"), where=f"'{path}'")

    def save_options(self) -> dict[str, Any]:
        """What `Accompaniment.save` was called with, to be given to it again."""
        if self.output is None:
            return {}
        return {
            "format": self.output.format,
            "balance_db": self.output.balance_db,
            "loudness_lufs": self.output.loudness_lufs,
            **({} if self.output.stems is None else {"stems": True}),
        }

    def require_bundle(self, fingerprint: str) -> None:
        """Refuses to replay with another bundle.

        Raises:
            BundleMismatch: the fingerprints differ; both are named.
        """
        then = self.bundle
        if fingerprint != then.fingerprint:
            raise BundleMismatch(
                f"the record was made with bundle {then.name!r}, fingerprint {then.fingerprint}, and this "
                f"one has fingerprint {fingerprint}; open the one that it was made with ({then.source})"
            )

    def require_input(self, sha256: str) -> None:
        """Refuses to replay with another vocal.

        Raises:
            AudioContentError: the hashes differ; both are named.
        """
        if sha256 != self.input.sha256:
            raise AudioContentError(
                f"the record was made from a vocal with SHA-256 {self.input.sha256}, and this one has "
                f"{sha256}; give the same file ({self.input.path or 'an array'})"
            )

    def require_separator(self, separator: Separator | None) -> None:
        """Refuses to replay with another separator, or with one where none was used.

        Raises:
            UsageError: what was used then and what is given now differ; both are named.
        """
        then = self.separation
        if then is None:
            if separator is not None:
                raise UsageError(
                    "the record was made from the vocal itself, without a separator; leave out the separator"
                )
            return
        if separator is None:
            differs = "; give that one"
        elif separator.fingerprint() != then.fingerprint:
            differs = f", and '{separator.path}' has {separator.fingerprint()}; give the same one"
        else:
            return
        raise UsageError(
            f"the vocal of the record was taken out of a song by a separator with fingerprint "
            f"{then.fingerprint}{differs} ({then.model})"
        )

    def differences(
        self, environment: Environment, separation: SeparationUsed | None = None
    ) -> tuple[str, ...]:
        """One note for everything about the environment that may change the result.

        >>> record.differences(Environment.here("cuda"))                            # doctest: +SKIP
        ('the record was made with device cpu, and this is device cuda: the result may differ',)
        """
        then, now = asdict(self.environment), asdict(environment)
        if self.separation is not None and separation is not None:
            then["onnxruntime"], now["onnxruntime"] = self.separation.onnxruntime, separation.onnxruntime
        return tuple(
            f"the record was made with {name} {value}, and this is {name} {now[name]}: the result may differ"
            for name, value in then.items()
            if value != now[name]
        )


def _written(values: Any) -> dict[str, Any]:
    """JSON values. A field that has its default is left out, as by versions that did not know it."""
    written: dict[str, Any] = {"format": FORMAT} if isinstance(values, GenerationRecord) else {}
    for each in fields(values):
        value = getattr(values, each.name)
        if value == each.default:
            continue
        if isinstance(value, LeadSheet):
            value = json.loads(lead_sheet_to_json(value))
        elif is_dataclass(value):
            value = _written(value)
        written[each.name] = dict(value) if isinstance(value, Mapping) else value
    return written


_FILE = JsonFile(
    what="a record of hafm",
    fix="give a generation.json that this version wrote",
    error=UsageError,
    format=FORMAT,
)

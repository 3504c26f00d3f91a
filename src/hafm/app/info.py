"""`hafm info`: what a bundle is, what it is made of, and how good it was measured to be.

In: a source of bundles. Out: a description as plain JSON values, and the same as tables for people.

The bundle is verified on the way, as it is before every generation. Its weights are not loaded: the number
of parameters follows from the specs.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from hafm.app import options
from hafm.app.command import Command, argument
from hafm.app.interrupt import Interrupts
from hafm.app.tables import Tables, new_table, print_tables

if TYPE_CHECKING:
    from rich.table import Table

    from hafm.app.display import Display
    from hafm.stages.bundle import Bundle

__all__ = ["Info", "describe"]

_SHOWN_DIGITS = 24


@dataclass(frozen=True, kw_only=True)
class Info(Command):
    """Show what a bundle is, what it is made of, and how good it was measured to be."""

    bundle: str = argument(f"{options.BUNDLES}.", "[BUNDLE]", default="builtin", shown=True)

    def run(self, shown: "Display", interrupts: Interrupts) -> Tables:
        description = describe(self.bundle)
        return Tables(values=description, show=lambda console: print_tables(_tables(description), console))


def describe(source: str) -> dict[str, Any]:
    """A bundle, which is `builtin`, a folder, or a hub id, as JSON values.

    Returns:
        Keys: name, version, licence, data, folder, fingerprint, bytes, engine, stages, features, codec,
        streams, generation, measured, fingerprints, files.

    Raises:
        BundleError: there is no bundle, or it is damaged, or its parts do not belong together.
    """
    import torch

    from hafm.generate.engine import foreseen_engine
    from hafm.stages.bundle import CODEC_FOLDER, Bundle
    from hafm.tokens.codec.storage import read_config

    bundle = Bundle.open(source)
    config = bundle.config
    engine, why = foreseen_engine(bundle, torch.device("cpu"))
    return {
        "name": config.name,
        "version": config.version,
        "licence": config.licence,
        "data": config.data,
        "folder": str(bundle.folder),
        "fingerprint": bundle.fingerprint,
        "bytes": bundle.num_bytes,
        "engine": {"name": engine, "why": why},
        "stages": {name: _stage(bundle, name) for name in config.stages},
        "features": {side: dict(features) for side, features in config.features.items()},
        # As it describes itself: the codec of the paper is not in the bundle, and looking needs no network.
        "codec": {**read_config(bundle.folder / CODEC_FOLDER), **config.codec},
        "streams": _streams(bundle),
        "generation": config.to_dict()["generation"],
        "measured": dict(config.measured),
        "fingerprints": dict(config.fingerprints),
        "files": {
            name: {"bytes": (bundle.folder / name).stat().st_size, "sha256": digest}
            for name, digest in config.files.items()
        },
    }


def _stage(bundle: "Bundle", name: str) -> dict[str, Any]:
    import torch

    from hafm.stages.bundle import stage_file
    from hafm.stages.stage_model import StageModel

    spec = bundle.spec(name)
    with torch.device("meta"):
        num_parameters = StageModel(spec).num_parameters()
    return {
        **spec.to_dict(),
        "parameters": num_parameters,
        "bytes": (bundle.folder / stage_file(name)).stat().st_size,
    }


def _streams(bundle: "Bundle") -> dict[str, dict[str, Any]]:
    """Every kind of token that a stage reads or writes, by name."""
    specs = bundle.config.stages.values()
    return {
        stream.name: {
            "codebooks": stream.num_codebooks,
            "cardinality": stream.cardinality,
            "frame_rate_hz": str(stream.frame_rate),
        }
        for spec in specs
        for stream in (*spec.sources, spec.target)
    }


def _tables(description: Mapping[str, Any]) -> "Iterator[tuple[str, Table]]":
    yield f"{description['name']} {description['version']}", _overview(description)
    yield "Stages", _stages(description["stages"])
    yield "Tokens", _tokens(description["streams"])
    yield from _measured(description["measured"], "Measured")
    yield "Fingerprints", _fingerprints(description)


def _overview(description: Mapping[str, Any]) -> "Table":
    table = new_table("", "")
    parameters = sum(stage["parameters"] for stage in description["stages"].values())
    table.add_row("data", description["data"])
    table.add_row("licence", description["licence"])
    table.add_row(
        "size", f"{_megabytes(description['bytes'])}, {parameters / 1e6:.2f} M parameters in the stages"
    )
    table.add_row("folder", description["folder"])
    codec = description["codec"]
    at = f", {codec['sample_rate']} Hz" if "sample_rate" in codec else ""
    table.add_row("codec", f"{codec['kind']}{at}")
    kinds = [f"{features['kind']} ({side})" for side, features in description["features"].items()]
    table.add_row("features", ", ".join(kinds))
    engine = description["engine"]
    table.add_row("engine", f"{engine['name']}: {engine['why']}")
    defaults = description["generation"]
    table.add_row("defaults", ", ".join(f"{_words(name)} {value}" for name, value in defaults.items()))
    return table


def _stages(stages: Mapping[str, Any]) -> "Table":
    """A column a stage, so that the table fits a narrow terminal."""
    table = new_table("", *stages)
    rows: dict[str, Callable[[Mapping[str, Any]], str]] = {
        "reads": lambda stage: ", ".join(_words(source["name"]) for source in stage["sources"]),
        "writes": lambda stage: _words(stage["target"]["name"]),
        "conditioning": lambda stage: stage["conditioning"],
        "layers": lambda stage: f"{stage['num_layers']}",
        "encoder layers": lambda stage: f"{stage['encoder_layers']}",
        "width": lambda stage: f"{stage['width']}, {stage['num_heads']} heads",
        "parameters": lambda stage: f"{stage['parameters'] / 1e6:.2f} M",
        "on disk": lambda stage: _megabytes(stage["bytes"]),
        "window": lambda stage: f"{stage['clip_seconds']} s",
    }
    for name, cell in rows.items():
        table.add_row(name, *(cell(stage) for stage in stages.values()))
    return table


def _tokens(streams: Mapping[str, Any]) -> "Table":
    table = new_table("stream", "a frame", "frames")
    for name, stream in streams.items():
        table.add_row(
            _words(name), f"{stream['codebooks']} x {stream['cardinality']}", f"{stream['frame_rate_hz']} Hz"
        )
    return table


def _measured(figures: Mapping[str, Any], title: str) -> "Iterator[tuple[str, Table]]":
    """Figures in whatever nesting a bundle has them: groups that are alike side by side, others in turn."""
    groups = {name: value for name, value in figures.items() if isinstance(value, Mapping)}
    single = {name: value for name, value in figures.items() if name not in groups}
    if single:
        table = new_table("", "")
        for name, value in single.items():
            table.add_row(_words(name), _figure(value))
        yield title, table
    leaves = [figure for group in groups.values() for figure in group.values()]
    if len(groups) > 1 and not any(isinstance(figure, Mapping) for figure in leaves):
        table = new_table("", *(_words(name) for name in groups))
        for name in dict.fromkeys(name for group in groups.values() for name in group):
            table.add_row(_words(name), *(_figure(group.get(name)) for group in groups.values()))
        yield title, table
    else:
        for name, group in groups.items():
            yield from _measured(group, f"{title}: {_words(name)}")


def _fingerprints(description: Mapping[str, Any]) -> "Table":
    table = new_table("part", "SHA-256, its beginning (whole with --json)")
    for part, fingerprint in {"bundle": description["fingerprint"], **description["fingerprints"]}.items():
        table.add_row(_words(part), fingerprint[:_SHOWN_DIGITS])
    return table


def _figure(value: Any) -> str:
    """A figure for people.

    >>> _figure(1.23456), _figure(6678528), _figure([0.5, 2]), _figure(None)
    ('1.235', '6678528', '0.5, 2', '-')
    """
    if value is None:
        return "-"
    if isinstance(value, list):
        return ", ".join(_figure(each) for each in value)
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _words(name: str) -> str:
    return name.replace("_", " ")


def _megabytes(num_bytes: int) -> str:
    return f"{num_bytes / 2**20:.1f} MiB"

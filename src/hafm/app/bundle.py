"""`hafm bundle`: from three training runs to a bundle that plays.

In: options. Out: a bundle, with a model card; a `BundleOutcome` says where and what is missing. The runs are
read and compared in `hafm.train.export`.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from hafm.app import options
from hafm.app.command import Command, argument, flag, option
from hafm.app.interrupt import Interrupts
from hafm.errors import UsageError

if TYPE_CHECKING:
    from hafm.app.display import Display

__all__ = ["BundleOutcome", "MakeBundle"]

_SAID = "What it says of itself"


@dataclass(frozen=True, kw_only=True)
class BundleOutcome:
    """What was made.

    Args:
        steps: that each stage was trained for, by name.
        held_out_loss: of each stage; None where it was not evaluated.
    """

    folder: Path
    fingerprint: str
    num_bytes: int
    steps: Mapping[str, int]
    held_out_loss: Mapping[str, float | None]
    notes: tuple[str, ...]

    def summary(self) -> str:
        lines = []
        for name, steps in self.steps.items():
            loss = self.held_out_loss[name]
            scored = "not evaluated" if loss is None else f"held-out loss {loss:.3f} nats per token"
            lines.append(f"{name}: {steps:,} steps, {scored}")
        lines.append(f"{self.num_bytes / 2**20:.1f} MiB; the card, README.md, has places to fill in")
        return "\n".join([*lines, str(self.folder)])

    def to_json(self) -> dict[str, Any]:
        return {
            "bundle": str(self.folder),
            "fingerprint": self.fingerprint,
            "bytes": self.num_bytes,
            "steps": dict(self.steps),
            "held_out_loss": dict(self.held_out_loss),
            "notes": list(self.notes),
        }


@dataclass(frozen=True, kw_only=True)
class MakeBundle(Command):
    """Make a bundle of three training runs, with a model card; hafm generate --bundle plays it."""

    runs: list[Path] = argument(
        "Folders of hafm train: one of the semantic, one of the coarse, one of the fine stage.", "RUN..."
    )
    output: Path = options.output(
        "Folder of the bundle.",
        metavar="BUNDLE",
        panel=None,
        required="no folder was given for the bundle; name one with -o, as in: -o my-bundle/",
    )
    overwrite: bool = options.overwrite()
    weights: Literal["fp16", "int8", "fp32"] = option(
        "How the stages' weights are stored: fp16, int8 (half of that), fp32 (as trained).",
        "KIND",
        options.MADE,
        default="fp16",
    )
    onnx: bool = flag(
        "Put the graphs of engine onnx into it, so that whoever opens it need not make them "
        "(needs hafm\\[fast]).",
        options.MADE,
    )
    analysers: str = option(
        "Whose analysers it gets a copy of, if its stages follow lead sheets: builtin, a folder, a hub id, "
        "or none.",
        "BUNDLE",
        options.MADE,
        default="builtin",
    )
    newest: bool = flag(
        "Take the newest weights of each run, not those of its best evaluation.", options.MADE
    )
    name: str | None = option("What people call it.", "TEXT", _SAID, shown="the folder's name")
    version: str = option("Of this bundle.", "TEXT", _SAID, default="1")
    licence: str = option(
        "Of the weights, such as Apache-2.0 or CC-BY-4.0.", "SPDX", _SAID, default="unknown"
    )

    examples: ClassVar = (
        "hafm bundle runs/semantic runs/coarse runs/fine -o my-bundle/",
        "hafm bundle runs/* -o my-bundle/ --weights int8 --name 'My band' --licence CC-BY-4.0",
        "hafm bundle runs/* -o my-bundle/ --onnx",
        "hafm generate vocal.wav --bundle my-bundle/ -o out/",
    )

    def check(self) -> None:
        if len(self.runs) != 3:
            raise UsageError(
                f"{len(self.runs)} runs were given; name three: of the semantic, coarse and fine stage"
            )

    def run(self, shown: "Display", interrupts: Interrupts) -> BundleOutcome:
        from hafm.generate.engine import graph_files, require_onnx
        from hafm.stages.bundle import Bundle
        from hafm.stages.bundle_writer import check_bundle_folder, write_bundle
        from hafm.train.export import open_runs

        check_bundle_folder(self.output, overwrite=self.overwrite)
        if self.onnx:
            require_onnx()
        trained = open_runs(self.runs, newest=self.newest)
        analysers, notes = {}, [*trained.notes()]
        if trained.follows_sheets and self.analysers != "none":
            source = Bundle.open(self.analysers)
            analysers = {each: source.load_analyser(each) for each in source.config.analysers}
        if trained.follows_sheets and "vocal" not in analysers:
            notes.append(
                "its stages follow lead sheets and it has no analyser of vocals: it plays to a sheet that is "
                "given (hafm generate --guide), and else without"
            )
        ingredients = trained.ingredients(
            name=self.output.absolute().name if self.name is None else self.name,
            version=self.version,
            licence=self.licence,
            storage=self.weights,
            analysers=analysers,
        )
        self.output.absolute().parent.mkdir(parents=True, exist_ok=True)
        if self.onnx:
            ingredients = replace(ingredients, more=graph_files)
        bundle = write_bundle(self.output, ingredients, overwrite=self.overwrite)
        return BundleOutcome(
            folder=bundle.folder,
            fingerprint=bundle.fingerprint,
            num_bytes=bundle.num_bytes,
            steps={name: stage.updates for name, stage in trained.stages.items()},
            held_out_loss={name: each["held_out_loss"] for name, each in trained.figures.items()},
            notes=tuple(notes),
        )

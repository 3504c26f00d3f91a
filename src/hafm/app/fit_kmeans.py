"""`hafm fit-kmeans`: the k-means of both sides, fitted to a music collection.

In: options. Out: a `FitOutcome`: where the folder is, how good the k-means are, what could not be read.

    folder? source? separator? features?   ->   listen, fit   ->   FOLDER   ->   hafm prepare --parts FOLDER
    `--- refused before a track is read -'

The folder is what `hafm.stages.token_parts` describes, and `sample.tsv`: the tracks that were read. It
appears whole or not at all.
"""

import time
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from hafm.app import options
from hafm.app.command import Command, argument, flag, option
from hafm.app.interrupt import Interrupts
from hafm.errors import OutputError
from hafm.estimate import Estimator, Phase

if TYPE_CHECKING:
    import torch

    from hafm.app.display import Display
    from hafm.data.collection.intake import Stems
    from hafm.data.collection.track import Track
    from hafm.data.tokenising.vocabulary import OnProgress, Vocabularies, VocabularySettings
    from hafm.stages.token_parts import FeatureParts

__all__ = ["FitKMeans", "FitOutcome"]

SAMPLE_FILE = "sample.tsv"
_TICKS = 10_000
_FITTED = "How it is fitted"


@dataclass(frozen=True, kw_only=True, eq=False)
class FitOutcome:
    """What was done."""

    folder: Path
    fitted: "Vocabularies"
    seconds: float

    @property
    def notes(self) -> list[str]:
        """What a user should know."""
        return [f"{each.track_id!r} was left out: {each.reason}" for each in self.fitted.sample.unusable]

    def summary(self) -> str:
        sample, lines = self.fitted.sample, []
        for side, quality in self.fitted.quality.items():
            fit, held_out = quality["fit"], quality["held_out"]
            lines.append(
                f"{side:<14} {self.fitted.kmeans[side].cardinality} clusters, {fit.dead} dead; on held-out "
                f"tracks perplexity {held_out.perplexity:.0f}, inertia {held_out.inertia:.4g} of variance "
                f"{held_out.variance:.4g}"
            )
        held_out_tracks = sum(each.held_out for each in sample.tracks)
        lines.append(
            f"{'':<14} {len(sample.tracks)} tracks ({held_out_tracks} held out), "
            f"{sample.seconds / 3600:.2f} h, in {self.seconds:.1f} s"
        )
        return "\n".join([*lines, f"{'parts':<14} {self.folder}"])

    def to_json(self) -> dict[str, Any]:
        sample = self.fitted.sample
        return {
            "folder": str(self.folder),
            "kmeans": {
                side: {
                    "clusters": kmeans.cardinality,
                    "fingerprint": kmeans.fingerprint(),
                    **{name: asdict(each) for name, each in self.fitted.quality[side].items()},
                }
                for side, kmeans in self.fitted.kmeans.items()
            },
            "tracks": len(sample.tracks),
            "hours": sample.seconds / 3600,
            "unusable": {each.track_id: each.reason for each in sample.unusable},
            "timings": {"total_seconds": self.seconds},
        }


@dataclass(frozen=True, kw_only=True)
class FitKMeans(Command):
    """Fit the k-means of both sides to a music collection.

    Writes a folder of parts: features, codec and k-means, all that turns sound into ids.

    The same files and settings give the same k-means, byte for byte, on the same machine.
    """

    source: Path = argument("The folder of a music collection.", "SOURCE")
    output: Path = options.output(
        "Where the parts go; --parts of hafm prepare takes it.", example="parts/", panel=None
    )
    kind: options.Kind | None = options.kind()
    subset: options.Subset | None = options.subset()
    hours: float = option("Hours of sound to read, at most.", "H", options.TAKEN, default=1.5)
    quarantine_limit: float = options.quarantine_limit()
    parts: str = option(
        "Whose features: builtin, paper (HuBERT), a folder of parts or of a codec, or a bundle.",
        "NAME",
        options.TOKENS,
        default="builtin",
    )
    separator: Path | None = options.separator()
    augment: bool = options.augment()
    clusters: int = option("Number of clusters.", "N", _FITTED, default=500)
    shared: bool = flag("One k-means for both sides, instead of one each.", _FITTED)
    starts: int = option("Random starts that are tried.", "N", _FITTED, default=3)
    passes: int = option("Passes over the frames in memory.", "N", _FITTED, default=12)
    seed: int = option(
        "Of everything random, and of the splits: the same as for hafm prepare.", "N", _FITTED, default=0
    )
    device: str = options.device()

    examples: ClassVar = (
        "hafm fit-kmeans music/ --parts paper --separator vocals.onnx --device cuda -o parts/",
        "hafm fit-kmeans work/pairs --parts builtin --augment -o work/parts",
    )

    def run(self, shown: "Display", interrupts: Interrupts) -> FitOutcome:
        began = time.monotonic()
        shown.step("getting ready")
        from hafm.data.tokenising.kmeans_fit import check_scikit_learn
        from hafm.device import find_device

        check_scikit_learn()
        settings = self._settings()
        device = find_device(self.device)
        _check_folder(self.output)
        with interrupts.staged_folder(self.output, overwrite=False) as folder:
            fitted = self._fit(settings, device, folder.staging, shown)
        return FitOutcome(folder=self.output, fitted=fitted, seconds=time.monotonic() - began)

    def _fit(
        self, settings: "VocabularySettings", device: "torch.device", folder: Path, shown: "Display"
    ) -> "Vocabularies":
        """All that is done once the output folder is ours."""
        from hafm.data.collection.intake import read_stems
        from hafm.data.collection.sources import guess_kind, open_source
        from hafm.data.tokenising.kmeans_sample import train_tracks
        from hafm.data.tokenising.vocabulary import fit_vocabularies
        from hafm.device import one_thread
        from hafm.separate.separator import Separator
        from hafm.stages.token_parts import open_features

        kind = guess_kind(self.source) if self.kind is None else self.kind
        source = open_source(kind, self.source, subset=self.subset)
        tracks = train_tracks(source.tracks(), seed=self.seed)
        separator = None
        if any(track.needs_separation for track in tracks):
            separator = Separator.open(options.separator_path(self.separator, spelling="--separator"))
        shown.step("opening the parts")
        parts = open_features(self.parts)

        def read(track: "Track") -> "Stems":
            return read_stems(track, separator=separator)

        settings = replace(settings, separator=None if separator is None else separator.fingerprint())
        with one_thread():
            fitted = fit_vocabularies(
                tracks,
                parts=parts,
                read=read,
                settings=settings,
                device=device,
                on_progress=_reporter(shown, listens=2 if _exceeds_memory(parts, settings) else 1),
            )
        shown.step("writing")
        _write(folder, parts, fitted)
        return fitted

    def _settings(self) -> "VocabularySettings":
        from hafm.data.tokenising.kmeans_fit import KMeansSettings
        from hafm.data.tokenising.vocabulary import VocabularySettings

        return VocabularySettings(
            kmeans=KMeansSettings(
                clusters=self.clusters, starts=self.starts, passes=self.passes, seed=self.seed
            ),
            hours=self.hours,
            shared=self.shared,
            augment=self.augment,
            unusable_limit=self.quarantine_limit,
        )


def _check_folder(folder: Path) -> None:
    from hafm.files import check_output_folder, is_unused

    if not is_unused(folder):
        raise OutputError(f"output folder '{folder}' already holds files; give another with -o")
    check_output_folder(folder)


def _exceeds_memory(parts: "FeatureParts", settings: "VocabularySettings") -> bool:
    """Whether that many hours are more frames than are kept, so that tracks will be read twice."""
    for features in parts.features.values():
        frames = settings.hours * 3600 * features.frame_rate * (2 if settings.shared else 1)
        if frames * 4 * features.dim > settings.max_bytes:
            return True
    return False


def _reporter(shown: "Display", *, listens: int) -> "OnProgress":
    """Tells a display of the steps. Listening is what takes the time, so it alone is estimated."""
    names = ["listening", "listening again"][:listens]
    last = ""
    tell = shown.generation(Estimator([Phase(name=name, frames=_TICKS, cost=1.0) for name in names]))

    def on_progress(step: str, share: float) -> None:
        nonlocal last
        if step in names:
            tell(step, int(share * _TICKS))
        elif step != last:
            shown.step(step)
        last = step

    return on_progress


def _write(folder: Path, parts: "FeatureParts", fitted: "Vocabularies") -> None:
    from hafm.files import write_whole

    parts.to("cpu").with_kmeans(**fitted.kmeans).save(folder)
    rows = [
        (each.track.id, each.sha256, f"{each.seconds:.3f}", "held out" if each.held_out else "fit")
        for each in fitted.sample.tracks
    ]
    rows += [(each.track_id, "", "", f"left out: {each.reason}") for each in fitted.sample.unusable]
    rows.insert(0, ("id", "sha256", "seconds", "used for"))
    table = "".join("\t".join(map(_cell, row)) + "\n" for row in rows)
    write_whole(folder / SAMPLE_FILE, table)


def _cell(text: str) -> str:
    """Text that stays one cell, whatever bytes a file's name holds."""
    return " ".join(text.split()).encode("utf-8", "backslashreplace").decode()

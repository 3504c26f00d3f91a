"""`hafm fit-kmeans`: from a music collection to a folder of parts.

In: a `FitRequest`. Out: a `FitOutcome`: where the folder is, how good the k-means are, what could not be
read.

    folder? source? separator? features?   ->   listen, fit   ->   FOLDER   ->   hafm prepare --parts FOLDER
    `--- refused before a track is read -'

The folder is what `hafm.stages.token_parts` describes, and `sample.tsv`: the tracks that were read. It
appears whole or not at all.
"""

import time
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hafm.app.estimate import Estimator, Phase
from hafm.app.interrupt import Interrupts
from hafm.app.progress import Display
from hafm.app.separate_model import separator_path
from hafm.errors import OutputError

if TYPE_CHECKING:
    from hafm.data.collection.intake import Stems
    from hafm.data.collection.track import Track
    from hafm.data.tokenising.vocabulary import OnProgress, Vocabularies, VocabularySettings
    from hafm.separate.separator import Separator
    from hafm.stages.token_parts import FeatureParts

__all__ = ["FitOutcome", "FitRequest", "run_fit"]

SAMPLE_FILE = "sample.tsv"
_TICKS = 10_000


@dataclass(frozen=True, kw_only=True)
class FitRequest:
    """What the command line asked for.

    Args:
        source: folder of the collection.
        kind: of the source; None for what the folder looks like.
        subset: of FMA; None for the largest that is there.
        parts: whose features.
        output: the folder to write.
        settings: of the fit.
        separator: an `.onnx` for mixes; None for that of the environment.
        device: where features are computed.
    """

    source: Path
    kind: str | None
    subset: str | None
    parts: str
    output: Path
    settings: "VocabularySettings"
    separator: Path | None
    device: str


@dataclass(frozen=True, kw_only=True, eq=False)
class FitOutcome:
    """What was done.

    Args:
        folder: that was written.
        fitted: the k-means.
        seconds: that it took.
    """

    folder: Path
    fitted: "Vocabularies"
    seconds: float

    @property
    def notes(self) -> list[str]:
        """What a user should know."""
        return [f"{each.track_id!r} was left out: {each.reason}" for each in self.fitted.sample.unusable]

    def summary(self) -> str:
        """For people."""
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
        """For programs."""
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


def run_fit(request: FitRequest, *, shown: Display, interrupts: Interrupts) -> FitOutcome:
    """Do what was asked for.

    Args:
        request: what to do.
        shown: told what is going on.
        interrupts: not let in while the folder is put in place.

    Raises:
        HafmError: it cannot be done; nothing was written.
    """
    began = time.monotonic()
    shown.step("getting ready")
    from hafm.data.collection.sources import guess_kind, open_source
    from hafm.data.tokenising.kmeans_fit import check_scikit_learn
    from hafm.data.tokenising.kmeans_sample import train_tracks
    from hafm.data.tokenising.vocabulary import fit_vocabularies
    from hafm.device import find_device, one_thread
    from hafm.stages.token_parts import open_features

    check_scikit_learn()
    device = find_device(request.device)
    _check_folder(request.output)
    kind = guess_kind(request.source) if request.kind is None else request.kind
    source = open_source(kind, request.source, subset=request.subset)
    tracks = train_tracks(source.tracks(), seed=request.settings.kmeans.seed)
    separator = _open_separator(request, tracks)
    shown.step("opening the parts")
    parts = open_features(request.parts)

    def read(track: "Track") -> "Stems":
        from hafm.data.collection.intake import read_stems

        return read_stems(track, separator=separator)

    settings = replace(request.settings, separator=None if separator is None else separator.fingerprint())
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
    with interrupts.shield():
        _write(request.output, parts, fitted)
    return FitOutcome(folder=request.output, fitted=fitted, seconds=time.monotonic() - began)


def _check_folder(folder: Path) -> None:
    from hafm.files import check_output_folder

    if folder.is_dir() and any(folder.iterdir()):
        raise OutputError(f"output folder '{folder}' already holds files; give another with -o")
    check_output_folder(folder)


def _open_separator(request: FitRequest, tracks: "list[Track]") -> "Separator | None":
    """The separator, if a track needs one."""
    if not any(track.needs_separation for track in tracks):
        return None
    from hafm.separate.separator import Separator

    return Separator.open(separator_path(request.separator, option="--separator"))


def _exceeds_memory(parts: "FeatureParts", settings: "VocabularySettings") -> bool:
    """Whether so many hours are more frames than are kept, so that tracks will be read twice."""
    for features in parts.features.values():
        frames = settings.hours * 3600 * features.frame_rate * (2 if settings.shared else 1)
        if frames * 4 * features.dim > settings.max_bytes:
            return True
    return False


def _reporter(shown: Display, *, listens: int) -> "OnProgress":
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
    from hafm.files import atomic_file

    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(f"cannot make '{folder.parent}': {error.strerror}; write elsewhere") from error
    parts.to("cpu").with_kmeans(**fitted.kmeans).save(folder)
    rows = [
        (each.track.id, each.sha256, f"{each.seconds:.3f}", "held out" if each.held_out else "fit")
        for each in fitted.sample.tracks
    ]
    rows += [(each.track_id, "", "", f"left out: {each.reason}") for each in fitted.sample.unusable]
    rows.insert(0, ("id", "sha256", "seconds", "used for"))
    table = "".join("\t".join(map(_cell, row)) + "\n" for row in rows)
    with atomic_file(folder / SAMPLE_FILE) as file:
        file.write(table.encode())


def _cell(text: str) -> str:
    """Text that stays one cell, whatever bytes a file's name holds."""
    return " ".join(text.split()).encode("utf-8", "backslashreplace").decode()

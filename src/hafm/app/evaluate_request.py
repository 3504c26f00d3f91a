"""What `hafm evaluate` was asked for, checked before anything heavy is loaded.

In: the options of the command line. Out: an `EvaluateRequest` whose values are in range and fit together, or
a `UsageError`.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TypeAlias

from hafm.app.request import MAX_TAKES
from hafm.errors import UsageError
from hafm.evaluate.systems import SYSTEMS, require_systems

__all__ = ["EvaluateRequest", "Split", "parse_systems"]

Split: TypeAlias = Literal["test", "valid", "train", "all"]

_MAX_BATCH = 4096


@dataclass(frozen=True, kw_only=True)
class EvaluateRequest:
    """One run of `hafm evaluate`.

    Args:
        collection: the folder of a collection with stems.
        output: the run's folder; the same one again goes on.
        kind: of the collection; None guesses.
        song_from: what tracks of one song share; see the sources.
        bundle: `builtin`, a folder or a hub id.
        systems: names out of `hafm.evaluate.systems.SYSTEMS`; None for all that can be.
        takes: of the model, 1 to `MAX_TAKES`.
        index: of `hafm retrieve-index`; needed for retrieval.
        separator: `.onnx` for the separated arm.
        embeddings: names for `open_embedding`.
        split: which songs.
        clip_seconds, min_clip_seconds: of a clip; None for as long.
        min_activity: of the voice in a clip.
        songs, clips_a_song: at most.
        seed: of everything random.
        temperature, top_k, guidance: of the model; None for the bundle's.
        skip_fine: the model stops after the coarse stage.
        batch_size: takes that are made together.
        device: where models run.
        report_clips: clips to listen to in the report; 0 for a page without sounds.
        against: an older `results.json`.
        worth: measure the held-out loss with right and wrong vocals.

    Raises:
        UsageError: a value is out of range, or two do not go together; the message names the option.

    >>> EvaluateRequest(collection=Path("a"), output=Path("b"), takes=0)
    Traceback (most recent call last):
    hafm.errors.UsageError: --takes is 0; give a number from 1 to 32
    """

    collection: Path
    output: Path
    kind: str | None = None
    song_from: str | None = None
    bundle: str = "builtin"
    systems: tuple[str, ...] | None = None
    takes: int = 1
    index: Path | None = None
    separator: Path | None = None
    embeddings: tuple[str, ...] = ("builtin",)
    split: Split = "test"
    clip_seconds: float = 10.0
    min_clip_seconds: float | None = None
    min_activity: float = 0.4
    songs: int | None = None
    clips_a_song: int | None = None
    seed: int = 0
    temperature: float | None = None
    top_k: int | None = None
    guidance: float | None = None
    skip_fine: bool = False
    batch_size: int = 16
    device: str = "cpu"
    report_clips: int = 8
    against: Path | None = None
    worth: bool = True

    def __post_init__(self) -> None:
        for option, value, low, high in (
            ("--takes", self.takes, 1, MAX_TAKES),
            ("--batch-size", self.batch_size, 1, _MAX_BATCH),
            ("--report-clips", self.report_clips, 0, 1000),
            ("--seed", self.seed, 0, 2**31 - 1),
        ):
            if not low <= value <= high:
                raise UsageError(f"{option} is {value}; give a number from {low} to {high}")
        if self.output.resolve() == self.collection.resolve():
            raise UsageError(f"'{self.output}' is the collection itself; give another folder with -o")
        if not self.embeddings:
            raise UsageError("no embedding was given; give --embedding builtin, or leave it out")
        chosen = self.chosen_systems
        if "retrieval" in chosen and self.index is None:
            raise UsageError(
                "retrieval needs an index of training songs; make one with hafm retrieve-index, and name it "
                "with --index"
            )
        if self.index is not None and "retrieval" not in chosen:
            raise UsageError(
                "--index is for retrieval, which is not among --systems; add it, or leave out --index"
            )

    @property
    def chosen_systems(self) -> tuple[str, ...]:
        """The systems to compare; without a choice, retrieval is among them if there is an index."""
        if self.systems is not None:
            return self.systems
        return tuple(name for name in SYSTEMS if name != "retrieval" or self.index is not None)


def parse_systems(text: str | None) -> tuple[str, ...] | None:
    """Names from a list with commas, in the order of the tables.

    Raises:
        UsageError: a name is unknown, or there is none.

    >>> parse_systems("random,model"), parse_systems(None)
    (('model', 'random'), None)
    """
    if text is None:
        return None
    return require_systems(name.strip() for name in text.split(",") if name.strip())

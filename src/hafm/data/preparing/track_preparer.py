"""The work on one track, with the models at hand: the same on every engine.

In: tracks. Out: one result per track; a track that cannot be used becomes `Quarantined`, and work goes on.

    files --read_stems--[separator]--> vocal, instrumental --Tokeniser--> tokens, levels --> Prepared
              |       `--read_lead_sheet--------------------------------> lead sheet ---------^
              `------- AudioError, LeadSheetError, OSError, no memory ---------------------> Quarantined

Anything else is not the track's fault (a device without memory, a mistake of ours), and stops the run.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias, runtime_checkable

from hafm.data.collection.track import Track
from hafm.data.result import Prepared, Quarantined, TrackResult
from hafm.errors import AudioError, DeviceError, HafmError, LeadSheetError, UsageError
from hafm.workers import Engine

if TYPE_CHECKING:
    from hafm.data.collection.intake import Stems
    from hafm.data.tokenising.tokenise import Tokeniser, TokeniseSettings
    from hafm.guide.analyser import Analyser
    from hafm.separate.separator import Separator
    from hafm.stages.token_parts import TokenParts

__all__ = ["OpenTokenPreparer", "Opener", "TokenPreparer", "TrackEngine", "TrackPreparer", "quarantine"]


@runtime_checkable
class TrackPreparer(Protocol):
    """Turns tracks into results."""

    separates: bool
    """Whether it can take mixes."""
    bytes_per_second: int
    """Size of the tokens of one second of sound."""
    clip_seconds: Fraction
    """Grid on which levels are measured."""

    def made_by(self) -> dict[str, Any]:
        """What decides the ids: settings, and fingerprints of all parts; JSON values."""
        ...

    def save_parts(self, folder: Path) -> None:
        """Writes what made the ids, unless it is there."""
        ...

    def prepare(self, tracks: Sequence[Track]) -> list[TrackResult]:
        """One result per track, in their order, which do not depend on who shares the batch.

        Raises:
            HafmError: the run must stop; a mix without a separator, or a GPU without memory.
        """
        ...


Opener: TypeAlias = Callable[[], TrackPreparer]
"""Opens a preparer in the process that calls it. Picklable; called once in each worker."""

TrackEngine: TypeAlias = Engine[Track, TrackResult]
"""Runs preparers: in this process, in several of this machine, on a cluster."""


def quarantine(track: Track, reason: str) -> Quarantined:
    """The result of a track on which worker processes died."""
    return Quarantined(track_id=track.id, reason=reason)


class TokenPreparer:
    """The preparer of `hafm prepare`.

    Args:
        separator: takes stems out of mixes; None refuses mixes.
        analyser: hears the lead sheet of instrumentals, as far as none is given; None hears none.
    """

    def __init__(
        self, *, tokeniser: "Tokeniser", separator: "Separator | None", analyser: "Analyser | None" = None
    ) -> None:
        self._tokeniser, self._separator, self._analyser = tokeniser, separator, analyser
        parts, settings = tokeniser.parts, tokeniser.settings
        self.separates = separator is not None
        self.clip_seconds = settings.clip_seconds
        # Two bytes per token: a semantic stream of each view and one of the instrumental, and the codes.
        semantic = parts.vocal_features.frame_rate * settings.views + parts.instrumental_features.frame_rate
        self.bytes_per_second = int(2 * (semantic + parts.codec.frame_rate * parts.codec.num_codebooks))

    def made_by(self) -> dict[str, Any]:
        separator = None if self._separator is None else self._separator.fingerprint()
        tokens = self._tokeniser.made_by()
        prints = {name: tokens.pop(name) for name in self._tokeniser.parts.fingerprints()}
        made = {"fingerprints": prints, **tokens, "separator": separator}
        return made if self._analyser is None else {**made, "analyser": self._analyser.fingerprint()}

    def save_parts(self, folder: Path) -> None:
        self._tokeniser.parts.save(folder)

    def prepare(self, tracks: Sequence[Track]) -> list[TrackResult]:
        from hafm.data.collection.intake import read_stems

        results: dict[str, TrackResult] = {}
        read: list[tuple[Track, Stems]] = []
        sheets: dict[str, str | None] = {}
        spent: dict[str, dict[str, float]] = {}
        for track in tracks:
            if track.needs_separation and self._separator is None:
                raise UsageError(f"track {track.id!r} is a mix; give a separator, --separator MODEL.onnx")
            try:
                began = time.perf_counter()
                stems = read_stems(track, separator=self._separator)
                read_at = time.perf_counter()
                sheets[track.id] = self._sheet(track, stems)
                spent[track.id] = {"read": read_at - began - stems.separating_seconds}
                if track.needs_separation:
                    spent[track.id]["separate"] = stems.separating_seconds
                if self._analyser is not None:
                    spent[track.id]["analyse"] = time.perf_counter() - read_at
            except (AudioError, LeadSheetError, OSError, MemoryError) as error:
                results[track.id] = Quarantined(track_id=track.id, reason=_reason(error))
            else:
                read.append((track, stems))
        for result in self._tokenise(read):
            if isinstance(result, Prepared):
                result = replace(
                    result,
                    tokens=replace(result.tokens, lead_sheet=sheets[result.track_id]),
                    spent={**spent[result.track_id], **result.spent},
                )
            results[result.track_id] = result
        return [results[track.id] for track in tracks]

    def _sheet(self, track: Track, stems: "Stems") -> str | None:
        """The lead sheet of a track as it is stored: what is given, and for the rest what the band plays."""
        from hafm.data.collection.intake import read_lead_sheet
        from hafm.guide.sheet_json import lead_sheet_to_json

        sheet = read_lead_sheet(track, seconds=stems.seconds)
        if self._analyser is not None:
            sheet = self._analyser.analyse(stems.instrumental, stems.sample_rate, given=sheet)
        return None if sheet is None else lead_sheet_to_json(sheet, compact=True)

    def _tokenise(self, read: "list[tuple[Track, Stems]]") -> list[TrackResult]:
        """Tokens; where the whole batch fails by the fault of one track, the others go alone."""
        if not read:
            return []
        try:
            return list(self._tokeniser.tokenise(read))
        except (AudioError, MemoryError) as error:
            if len(read) > 1:
                return [result for one in read for result in self._tokenise([one])]
            return [Quarantined(track_id=read[0][0].id, reason=_reason(error))]
        except RuntimeError as error:
            if type(error).__name__ != "OutOfMemoryError":  # torch's, of GPUs
                raise
            raise DeviceError(
                f"{self._tokeniser.device} ran out of memory; use a smaller --batch-size, fewer --workers, "
                "or the cpu"
            ) from error


@dataclass(frozen=True, kw_only=True)
class OpenTokenPreparer:
    """Opens the preparer of `hafm prepare`; see `Opener`.

    Args:
        parts: `builtin`, `paper`, a folder, or a bundle; see `hafm.stages.token_parts.open_parts`.
        kmeans: folder with the k-means, in place of those of `parts`.
        separator: an `.onnx` file; None takes no mixes.
        hears_sheets: whether the lead sheets of instrumentals are heard, by the built-in band analyser.
    """

    parts: str
    settings: "TokeniseSettings"
    kmeans: Path | None = None
    separator: Path | None = None
    device: str = "cpu"
    hears_sheets: bool = False

    def __call__(self) -> TokenPreparer:
        """The preparer, its models loaded, on one thread: a worker is a core's work."""
        import torch

        from hafm.data.tokenising.tokenise import Tokeniser
        from hafm.stages.token_parts import open_parts

        torch.set_num_threads(1)
        parts: TokenParts = open_parts(self.parts, kmeans=self.kmeans)
        separator = None
        if self.separator is not None:
            from hafm.separate.separator import Separator

            separator = Separator.open(self.separator)
        tokeniser = Tokeniser(parts=parts.to(self.device), settings=self.settings, device=self.device)
        analyser = None
        if self.hears_sheets:
            from hafm.stages.bundle import Bundle
            from hafm.stages.hub import BUILTIN

            analyser = Bundle.open(BUILTIN).load_analyser("band")
        return TokenPreparer(tokeniser=tokeniser, separator=separator, analyser=analyser)


def _reason(error: Exception) -> str:
    """One line, that any terminal and SQLite can take."""
    if isinstance(error, MemoryError):
        return "it needs more memory than there was; use fewer --workers, or cut it into parts"
    text = str(error) if isinstance(error, HafmError) else f"cannot be read: {error}"
    return " ".join(text.split()).encode("utf-8", "backslashreplace").decode()

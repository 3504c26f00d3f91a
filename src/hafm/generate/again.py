"""A take made again: whole, from its record, or a stretch of it.

In: a record and its vocal; or the `generation.json` of a take, beside its accompaniment, from when to
when, and what is to be different. Out: an `Accompaniment`: that of the record, or one that outside of the
stretch is the old one, sample for sample.

    generation.json, accompaniment.wav --> Kept --> regenerated --> Accompaniment with record.again
                                            ^                                        |
                                            |         the file, if it is still there |
                                            `---- replayed: or else its record, replayed

Conventions: what is not said is as in the record of what was kept, its lead sheet too. The sound itself is
made by `hafm.generate.region`. A chain of records may name several engines, so a replay gets a function that
opens the bundle with one.
"""

import math
import os
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from jaxtyping import Float
from torch import Tensor

from hafm.audio.io import read_audio
from hafm.audio.sound import Audio
from hafm.device import device_errors, one_thread
from hafm.errors import AudioContentError, AudioReadError, UsageError
from hafm.generate.accompaniment import Accompaniment
from hafm.generate.around import with_room
from hafm.generate.engine import EngineName
from hafm.generate.pipeline import OpenBundle, accompany
from hafm.generate.record import GenerationRecord, InputUsed, MadeAgain, Settings
from hafm.generate.region import Region, make_again
from hafm.generate.steps import follows_sheets, sheets_for
from hafm.generate.vocal import read_vocal, take_vocal, with_notes
from hafm.guide.around import Span, spans_between
from hafm.guide.corrections import Corrections
from hafm.guide.lead_sheet import LeadSheet, PartName
from hafm.progress import OnProgress
from hafm.separate.separator import Separator

__all__ = ["Kept", "regenerated", "replayed", "vocal_of"]


@dataclass(frozen=True, kw_only=True, eq=False)
class Kept:
    """A take that is kept, but for a stretch; path (absolute) and hash are those of its accompaniment."""

    record: GenerationRecord
    waveform: Float[Tensor, "1 T"]
    path: str
    sha256: str

    @classmethod
    def read(cls, path: str | os.PathLike[str]) -> "Kept":
        """A take on the disk.

        Args:
            path: of its `generation.json`; the accompaniment lies beside it, as it was made or edited since.

        Raises:
            UsageError: it is no record, or not of something that was saved; the accompaniment has more than
                one channel.
            AudioError: the accompaniment is not there, or cannot be read.
        """
        record, folder = GenerationRecord.read(path), Path(path).absolute().parent
        names = () if record.output is None else record.output.files
        found = [name for name in names if name in ("accompaniment.wav", "accompaniment.flac")]
        if not found:
            raise UsageError(
                f"the record in '{folder}' names no accompaniment; give the generation.json of a take that "
                "was saved"
            )
        return cls._file(record, folder / found[0])

    @classmethod
    def _file(cls, record: GenerationRecord, path: Path) -> "Kept":
        audio = read_audio(path, allow_silence=True)
        if audio.num_channels != 1:
            raise UsageError(
                f"'{path}' has {audio.num_channels} channels, and an accompaniment has one; mix it down"
            )
        return cls(record=record, waveform=audio.waveform, path=str(path), sha256=audio.sha256)


def _find_kept(again: MadeAgain) -> Kept | None:
    """What was kept then, if it still lies where it did."""
    try:
        kept = Kept._file(again.of, Path(again.path))
    except (AudioReadError, UsageError):
        return None
    return kept if kept.sha256 == again.sha256 else None


def _written(made: Accompaniment, again: MadeAgain) -> Kept:
    """What was kept then, made again and written as it was."""
    with tempfile.TemporaryDirectory() as folder:
        paths, _ = made.write(Path(folder), **again.of.save_options())
        kept = Kept._file(again.of, paths["accompaniment"])
    if kept.sha256 != again.sha256:
        raise AudioContentError(
            f"the accompaniment that was kept is not at '{again.path}' as it was, and made again from its "
            f"record it has SHA-256 {kept.sha256} and not {again.sha256}; put it back there"
        )
    return replace(kept, path=again.path)


def vocal_of(
    record: GenerationRecord, vocal: Any, sample_rate: int | None, separator: Separator | None
) -> Audio:
    """The vocal, or the song, that a record was made from.

    Args:
        vocal, sample_rate: where it is now; None for where it was then.

    Raises:
        UsageError: the record was made from an array, and none was given; or with another separator.
        AudioContentError: it is another one.
        AudioError: it cannot be read.
    """
    record.require_separator(separator)
    then = record.input
    if vocal is None and then.path is None:
        raise UsageError("the record was made from an array and not from a file; give that again as vocal=")
    audio = read_vocal(
        then.path if vocal is None else vocal,
        sample_rate=sample_rate,
        start_seconds=then.start_seconds,
        seconds=then.seconds,
    )
    record.require_input(audio.sha256)
    return audio


def replayed(
    open_bundle: Callable[[EngineName], OpenBundle],
    record: GenerationRecord,
    *,
    vocal: Audio,
    separator: Separator | None,
    on_progress: OnProgress | None,
) -> Accompaniment:
    """The take of a record, with notes on what differs from then.

    Args:
        open_bundle: the bundle, run by an engine.
        on_progress: called after every frame of every stage of the last step of a chain.

    Raises:
        BundleMismatch: it was made with another bundle.
        AudioContentError: what was kept is gone, and is another when it is made again.
        AudioError, BundleError, DeviceError: as for `Accompanist.generate`.
    """
    model, again = open_bundle(record.settings.engine), record.again
    record.require_bundle(model.used.fingerprint)
    if again is None:
        then = record.input
        [[made]] = accompany(
            model,
            [vocal],
            [InputUsed.of(vocal, start_seconds=then.start_seconds, seconds=then.seconds)],
            record.settings,
            guides=[record.lead_sheet],
            takes=[record.settings.take],
            separator=separator,
            on_progress=on_progress,
        )
    else:
        kept = _find_kept(again)
        if kept is None:
            before = replayed(open_bundle, again.of, vocal=vocal, separator=separator, on_progress=None)
            kept = _written(before, again)
        made = regenerated(
            model,
            kept,
            vocal=vocal,
            region=Region(start_seconds=again.start_seconds, end_seconds=again.end_seconds),
            settings=record.settings,
            guide=record.lead_sheet,
            separator=separator,
            on_progress=on_progress,
        )
    notes = record.differences(made.record.environment, made.record.separation)
    return replace(made, notes=made.notes + notes)


def regenerated(
    model: OpenBundle,
    kept: Kept,
    *,
    vocal: Audio,
    region: Region,
    settings: Settings,
    guide: LeadSheet | None,
    corrections: Corrections | None = None,
    separator: Separator | None,
    on_progress: OnProgress | None,
) -> Accompaniment:
    """The take with the region made again.

    Args:
        model: that made what is kept, or could have made it.
        region: what is made again, in seconds from the beginning of the accompaniment on.
        settings: of the stretch; the engine is set here.
        guide: the lead sheet of the whole take, changed or not; None for none.
        corrections: of the guide, see `hafm.generate.steps.sheets_for`. Chords and who plays change in the
            region alone, unless the beats are others, too.

    Raises:
        UsageError: the region is not in the sound, or vocal and accompaniment differ in length or rate.
        LeadSheetError, AudioError, BundleError, DeviceError: as for `Accompanist.generate`.
    """
    bundle, then = model.bundle, kept.record.input
    settings = replace(settings, engine=model.engine.name)
    used = InputUsed.of(vocal, start_seconds=then.start_seconds, seconds=then.seconds)
    if separator is not None:
        vocal = take_vocal(vocal, separator, on_progress=on_progress)
    vocal = with_room(
        with_notes(vocal), intro_samples=settings.intro_samples, ending_samples=settings.ending_samples
    )
    with device_errors(model.device), one_thread():
        if corrections is not None:
            corrections.require_duration(vocal.seconds)
            [corrected] = sheets_for(bundle, [guide], [vocal], corrections=corrections)
            guide = _changed_in(region, guide, corrected)
        guide = guide if follows_sheets(bundle) else None
        again = MadeAgain(
            start_seconds=region.start_seconds,
            end_seconds=region.end_seconds,
            path=kept.path,
            sha256=kept.sha256,
            of=kept.record,
        )
        record = model.record(used, settings, lead_sheet=guide, separator=separator, again=again)
    waveform, tokens = make_again(
        bundle,
        vocal=vocal,
        accompaniment=kept.waveform,
        region=region,
        guide=guide,
        settings=settings,
        device=model.device,
        engine=model.engine,
        ending=_first(kept.record).lead_sheet if settings.ending_samples else None,
        on_progress=on_progress,
    )
    return Accompaniment(
        waveform=waveform,
        sample_rate=vocal.sample_rate,
        tokens=tokens,
        vocal=vocal,
        record=record,
        notes=vocal.notes,
    )


def _changed_in(region: Region, then: LeadSheet | None, now: LeadSheet | None) -> LeadSheet | None:
    """The sheet as it is now in the region and was then elsewhere; as it is now where its beats moved."""
    if then is None or now is None or then.beats != now.beats:
        return now
    of_most: tuple[PartName, ...] = ("chords", "arrangement")
    return replace(
        now,
        chords=_spliced(region, then.chords, now.chords),
        arrangement=_spliced(region, then.arrangement, now.arrangement),
        origins={**now.origins, **{part: then.origins[part] for part in of_most if part in then.origins}},
    )


def _spliced(region: Region, then: Sequence[Span], now: Sequence[Span]) -> tuple[Span, ...]:
    start, end = region.start_seconds, region.end_seconds
    spans: list[Span] = [
        *spans_between(then, 0.0, start),
        *spans_between(now, start, end),
        *spans_between(then, end, math.inf),
    ]
    kept: list[Span] = []
    for span in spans:
        if kept and kept[-1].end_seconds == span.start_seconds in (start, end):
            longer: Span = replace(kept[-1], end_seconds=span.end_seconds)
            if longer == replace(span, start_seconds=longer.start_seconds):  # one that was cut at the seam
                kept[-1] = longer
                continue
        kept.append(span)
    return tuple(kept)


def _first(record: GenerationRecord) -> GenerationRecord:
    """Of what was made in one piece, before anything was made again in it."""
    return record if record.again is None else _first(record.again.of)

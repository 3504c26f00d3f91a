"""A stretch of a take made again: from its files to another take, whose record can be replayed.

In: the `generation.json` of a take, beside its accompaniment; from when to when; what is to be different.
Out: an `Accompaniment` that is the old one everywhere else, sample for sample.

    generation.json, accompaniment.wav --> Kept --> regenerated --> Accompaniment with record.again
                                            ^                                        |
                                            |         the file, if it is still there |
                                            `---- replay: or else its record, replayed

Conventions: what is not said is as in the record of what was kept, its lead sheet too. The sound itself is
made by `hafm.generate.region`.
"""

import os
import tempfile
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from jaxtyping import Float
from torch import Tensor

from hafm.audio.io import read_audio
from hafm.audio.sound import Audio
from hafm.device import device_errors, one_thread
from hafm.errors import AudioContentError, AudioReadError, UsageError
from hafm.generate.accompaniment import Accompaniment
from hafm.generate.around import with_room
from hafm.generate.engine import Engine
from hafm.generate.record import (
    BundleUsed,
    Environment,
    GenerationRecord,
    InputUsed,
    MadeAgain,
    SeparationUsed,
    Settings,
)
from hafm.generate.region import Region, make_again
from hafm.generate.steps import follows_sheets, sheets_for
from hafm.generate.vocal import take_vocal, with_notes
from hafm.guide.corrections import Corrections
from hafm.guide.lead_sheet import LeadSheet
from hafm.progress import OnProgress
from hafm.separate.separator import Separator
from hafm.stages.bundle import Bundle

__all__ = ["Kept", "find_kept", "regenerated", "written"]


@dataclass(frozen=True, kw_only=True, eq=False)
class Kept:
    """A take that is kept, but for a stretch.

    Args:
        record: of it.
        waveform: its accompaniment.
        path: of that, absolute.
        sha256: of its bytes.
    """

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
        record = GenerationRecord.read(path)
        return cls._of(record, Path(path).absolute().parent)

    @classmethod
    def _of(cls, record: GenerationRecord, folder: Path) -> "Kept":
        names = [] if record.output is None else [*record.output.files]
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


def find_kept(again: MadeAgain) -> Kept | None:
    """What was kept then, if it still lies where it did."""
    try:
        kept = Kept._file(again.of, Path(again.path))
    except (AudioReadError, UsageError):
        return None
    return kept if kept.sha256 == again.sha256 else None


def written(made: Accompaniment, again: MadeAgain) -> Kept:
    """What was kept then, made again and written as it was.

    Raises:
        AudioContentError: it has other bytes now: it was edited, or made by other versions.
    """
    with tempfile.TemporaryDirectory() as folder:
        paths, _ = made.write(Path(folder), **again.of.save_options())
        kept = Kept._file(again.of, paths["accompaniment"])
    if kept.sha256 != again.sha256:
        raise AudioContentError(
            f"the accompaniment that was kept is not at '{again.path}' as it was, and made again from its "
            f"record it has SHA-256 {kept.sha256} and not {again.sha256}; put it back there"
        )
    return replace(kept, path=again.path)


def regenerated(
    bundle: Bundle,
    kept: Kept,
    *,
    vocal: Audio,
    used: InputUsed,
    region: Region,
    settings: Settings,
    guide: LeadSheet | None,
    corrections: Corrections | None = None,
    bundle_used: BundleUsed,
    device: torch.device,
    engine: Engine,
    separator: Separator | None,
    on_progress: OnProgress | None,
) -> Accompaniment:
    """The take with the region made again.

    Args:
        bundle: that made what is kept, or could have made it.
        kept: the take.
        vocal: that it accompanies; a song, if there is a separator.
        used: of the vocal, for the record.
        region: what is made again, in seconds from the beginning of the accompaniment on.
        settings: of the stretch.
        guide: the lead sheet of the whole take, changed or not; None for none.
        corrections: of the guide, see `hafm.generate.steps.sheets_for`.
        bundle_used: for the record.
        device: where to compute.
        engine: what runs the stages.
        separator: takes the vocal out of a song.
        on_progress: called after every frame of every stage.

    Raises:
        UsageError: the region is not in the sound, or vocal and accompaniment differ in length or rate.
        LeadSheetError, AudioError, BundleError, DeviceError: as for `Accompanist.generate`.
    """
    if separator is not None:
        vocal = take_vocal(vocal, separator, on_progress=on_progress)
    vocal = with_room(
        with_notes(vocal), intro_samples=settings.intro_samples, ending_samples=settings.ending_samples
    )
    with device_errors(device), one_thread():
        if corrections is not None:
            corrections.require_duration(vocal.seconds)
            [guide] = sheets_for(bundle, [guide], [vocal], corrections=corrections)
        guide = guide if follows_sheets(bundle) else None
        environment = Environment.here(str(device), engine=engine.name)
    waveform, tokens = make_again(
        bundle,
        vocal=vocal,
        accompaniment=kept.waveform,
        region=region,
        guide=guide,
        settings=settings,
        device=device,
        engine=engine,
        ending=_first(kept.record).lead_sheet if settings.ending_samples else None,
        on_progress=on_progress,
    )
    return Accompaniment(
        waveform=waveform,
        sample_rate=vocal.sample_rate,
        tokens=tokens,
        vocal=vocal,
        record=GenerationRecord(
            environment=environment,
            bundle=bundle_used,
            input=used,
            settings=settings,
            separation=None if separator is None else SeparationUsed.of(separator),
            lead_sheet=guide,
            again=MadeAgain(
                start_seconds=region.start_seconds,
                end_seconds=region.end_seconds,
                path=kept.path,
                sha256=kept.sha256,
                of=kept.record,
            ),
            output=None,
        ),
        notes=vocal.notes,
    )


def _first(record: GenerationRecord) -> GenerationRecord:
    """Of what was made in one piece, before anything was made again in it."""
    return record if record.again is None else _first(record.again.of)

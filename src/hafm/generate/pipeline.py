"""The way of a vocal through the stages, from a checked sound to `Accompaniment`s.

In: a bundle, vocals of one length side by side, settings. Out: every take of every vocal; the drawing is at
the top of `hafm.generate.accompany`.

Conventions: vocals and takes share one batch, V * takes rows, and none of them knows of the others.

Source: paper 3 (Fig. 1), 3.5 "Inference".
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TypeAlias

import torch

from hafm.audio.sound import Audio
from hafm.device import device_errors, one_thread
from hafm.generate.accompaniment import Accompaniment, Tokens
from hafm.generate.around import Around, died_away, with_room
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
from hafm.generate.steps import codec_frames, hear, play, sheets_for, show, sound
from hafm.generate.vocal import take_vocal, with_notes
from hafm.guide.corrections import Corrections
from hafm.guide.lead_sheet import LeadSheet
from hafm.progress import OnProgress
from hafm.separate.separator import Separator
from hafm.stages.bundle import Bundle

__all__ = ["OnSheet", "OpenBundle", "accompany"]

OnSheet: TypeAlias = Callable[[LeadSheet | None], None]
"""Gets the lead sheet that is followed; None for none."""

_NOTHING_AROUND = Around()


@dataclass(frozen=True, kw_only=True, eq=False)
class OpenBundle:
    """A bundle that is ready to run; `used` is what a record says of it."""

    bundle: Bundle
    used: BundleUsed
    device: torch.device
    engine: Engine

    def record(
        self,
        used: InputUsed,
        settings: Settings,
        *,
        lead_sheet: LeadSheet | None,
        separator: Separator | None = None,
        again: MadeAgain | None = None,
    ) -> GenerationRecord:
        """The record of what is made here and now, with the threads that it is made with."""
        return GenerationRecord(
            environment=Environment.here(str(self.device), engine=self.engine.name),
            bundle=self.used,
            input=used,
            settings=settings,
            separation=None if separator is None else SeparationUsed.of(separator),
            lead_sheet=lead_sheet,
            output=None,
            again=again,
        )


def accompany(
    model: OpenBundle,
    vocals: Sequence[Audio],
    used: Sequence[InputUsed],
    settings: Settings,
    *,
    guides: Sequence[LeadSheet | None],
    takes: Sequence[int],
    separator: Separator | None,
    on_progress: OnProgress | None,
    corrections: Corrections | None = None,
    on_sheet: OnSheet | None = None,
    around: Around = _NOTHING_AROUND,
) -> list[list[Accompaniment]]:
    """The takes of each vocal.

    Args:
        vocals: one or more, of one length and rate; songs, if there is a separator.
        used: of each vocal, for its record.
        settings: of all; take and engine are set here.
        guides: the lead sheet of each vocal, or None for all of them: then the bundle's analyser hears them,
            if it has one and its stages follow them.
        corrections: of the lead sheets; see `hafm.generate.steps.sheets_for`.
        on_sheet: gets the lead sheet of each vocal, before the stages run.
        around: an intro and an ending of one vocal.

    Raises:
        LeadSheetError, AudioError, BundleError, DeviceError: as for `Accompanist.generate`.
    """
    bundle, device = model.bundle, model.device
    settings = replace(settings, engine=model.engine.name)
    if corrections is not None:
        for vocal in vocals:
            corrections.require_duration(vocal.seconds)
    if separator is not None:
        vocals = [take_vocal(vocal, separator, on_progress=on_progress) for vocal in vocals]
    vocals = [with_notes(vocal) for vocal in vocals]
    with device_errors(device), one_thread():
        guides = sheets_for(bundle, guides, vocals, corrections=corrections)
        if around:
            (sheet,), (vocal,) = guides, vocals
            intro, ending = around.samples(sheet, vocal.sample_rate)
            assert sheet is not None, "without one, none of it was admitted"
            rate = vocal.sample_rate
            guides = [around.sheet(sheet, intro_samples=intro, ending_samples=ending, rate=rate)]
            settings = replace(settings, intro_samples=intro, ending_samples=ending)
        vocals = [
            with_room(vocal, intro_samples=settings.intro_samples, ending_samples=settings.ending_samples)
            for vocal in vocals
        ]
        if on_sheet is not None:
            for sheet in guides:
                on_sheet(sheet)
        records = [
            model.record(each, settings, lead_sheet=sheet, separator=separator)
            for each, sheet in zip(used, guides, strict=True)
        ]
        heard = torch.cat([hear(bundle, vocal, seed=settings.seed, device=device) for vocal in vocals])
        semantic, codes = play(
            bundle,
            heard,
            guide=show(bundle, guides, vocals[0], device=device),
            num_frames=codec_frames(bundle, vocals[0]),
            settings=settings,
            takes=takes,
            device=device,
            session=model.engine.session,
            on_progress=on_progress,
        )
        waveforms = [
            sound(bundle, rows, vocal, level_lufs=settings.level_lufs, device=device)
            for vocal, rows in zip(vocals, codes.split(len(takes)), strict=True)
        ]
        if settings.ending_samples:
            waveforms = [
                [died_away(each, vocal.sample_rate, sheet) for each in takes_of if sheet is not None]
                for takes_of, vocal, sheet in zip(waveforms, vocals, guides, strict=True)
            ]
    return [
        [
            Accompaniment(
                waveform=waveforms[number][index],
                sample_rate=vocal.sample_rate,
                tokens=Tokens.of(heard[number], semantic[row + index], codes[row + index]),
                vocal=vocal,
                record=replace(records[number], settings=replace(settings, take=take)),
                notes=(*vocal.notes, *_longer(settings, vocal.sample_rate)),
            )
            for row in [number * len(takes)]
            for index, take in enumerate(takes)
        ]
        for number, vocal in enumerate(vocals)
    ]


def _longer(settings: Settings, sample_rate: int) -> list[str]:
    """What a user should know of the length of what comes out."""
    parts = [
        f"{samples / sample_rate:.2f} s {where} the vocal"
        for samples, where in ((settings.intro_samples, "before"), (settings.ending_samples, "after"))
        if samples
    ]
    played = " and ".join(parts)
    return [f"the band plays {played}: accompaniment and mix are longer by that"] if parts else []

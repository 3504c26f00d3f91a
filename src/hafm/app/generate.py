"""`hafm generate`: from a vocal to an accompaniment and a mix, as files in a folder.

In: options. Out: a `GenerateOutcome`: where everything is, how long it took, what a user should know.

    device? folder? vocal? room on the disk? bundle?  ->  generate  ->  rank, save, draw  ->  put in place
    `-- separator? refused before the model runs --'                    `----- all or nothing (files.py) -'

The accompaniment itself is made by `hafm.generate.accompany`; start to read there.
"""

import contextlib
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from hafm.app import options
from hafm.app.generate_files import Delivery, put_best, save_sheet
from hafm.app.generate_options import GenerateOptions
from hafm.app.generate_progress import Preview, growing_preview, stage_progress
from hafm.app.generate_result import GenerateOutcome
from hafm.app.interrupt import Interrupts
from hafm.app.options import separator_path, separator_threads
from hafm.app.sheet_command import SheetRequest
from hafm.errors import UsageError

if TYPE_CHECKING:
    from hafm.app.display import Display
    from hafm.audio.sound import Audio
    from hafm.files import StagedFolder
    from hafm.generate.accompany import Accompaniment, Accompanist
    from hafm.generate.record import GenerationRecord
    from hafm.progress import OnProgress
    from hafm.separate.separator import Separator

__all__ = ["Generate"]

_BESIDE_SECONDS = 5.0  # beside a region, that the stages see: hafm.generate.region
_LONGEST_BAR_SECONDS = 12


@dataclass(frozen=True, kw_only=True)
class Generate(GenerateOptions):
    """Make an accompaniment for a vocal, and a mix of both.

    Writes accompaniment.wav, mix.wav, lead-sheet.json and .mid (what was heard and is played), and
    generation.json, which holds all that --replay needs.

    The same vocal, seed and settings give the same sound, on the same machine with the same versions.
    """

    examples: ClassVar = (
        "hafm generate vocal.wav -o out/",
        "hafm generate vocal.m4a -o out/ --takes 4 --seed 7 --plot",
        "hafm generate vocal.wav -o out/ --takes 8 --pick best",
        'hafm generate vocal.wav -o out/ --bpm 92 --chords "| Am | F | C | G |"',
        "hafm generate vocal.wav -o out/ --guide sheet/lead-sheet.json",
        "hafm generate song.wav -o out/ --start 30 --seconds 20 --skip-fine",
        "hafm generate vocal.wav -o out/ --preview",
        "hafm generate vocal.wav -o out/ --stems",
        "hafm generate song.mp3 -o out/ --separate --separator vocals.onnx",
        "hafm generate --replay out/generation.json -o again/",
        "hafm generate --keep out/generation.json --region 12.5-20 --seed 2 -o other/",
    )

    def run(self, shown: "Display", interrupts: Interrupts) -> GenerateOutcome:
        began = time.monotonic()
        shown.step("getting ready")
        from hafm.files import check_output_folder

        # At once, since what follows takes seconds to load.
        check_output_folder(self.output, overwrite=self.overwrite)
        options.require_sound(self.vocal)
        from hafm.device import find_device
        from hafm.generate.accompaniment import RECORD_FILE

        if self.plot:
            from hafm.app.plot import check_matplotlib

            check_matplotlib()
        plan = _plan(self)
        find_device(plan.device)
        plan.delivery.check({"vocal": plan.vocal, "guide": self.guide}, record=self.record)
        with (
            interrupts.staged_folder(self.output, last=[RECORD_FILE], overwrite=self.overwrite) as folder,
            growing_preview(self.output, shown, interrupts, overwrite=self.overwrite, vocal=plan.vocal)
            if self.preview
            else contextlib.nullcontext() as preview,
        ):
            return self._make(plan, folder, shown, began, preview)

    def _make(
        self, plan: "_Plan", folder: "StagedFolder", shown: "Display", began: float, preview: Preview | None
    ) -> GenerateOutcome:
        """All that is done once the output folder is ours."""
        from hafm.audio.io import read_audio
        from hafm.generate.accompany import Accompanist
        from hafm.generate.steps import require_guide
        from hafm.guide.summary import beyond_guide, resting_players
        from hafm.separate.separator import Separator

        vocal = read_audio(plan.vocal, start_seconds=plan.start_seconds, seconds=plan.seconds)
        sheet = plan.sheet(vocal)
        longest = _LONGEST_BAR_SECONDS * (self.intro + 2 * self.ending)
        plan.delivery.check_room(vocal, longer_seconds=longest)
        separator = None
        if plan.separator is not None:
            separator = Separator.open(plan.separator, threads=separator_threads())
        shown.step("opening the bundle")
        accompanist = Accompanist.from_pretrained(
            plan.bundle, device=plan.device, engine=plan.engine, revision=plan.revision
        )
        if not sheet.is_empty:
            require_guide(accompanist.bundle)
        shown.step("opening the engine")
        accompanist.open_engine()
        ready = time.monotonic()

        shown.step("listening")
        on_progress = stage_progress(
            accompanist,
            plan.stage_seconds(vocal.seconds),
            shown,
            skip_fine=plan.skip_fine,
            separated=plan.separator is not None,
            preview=self.preview,
        )
        accompaniments = plan.generate(
            accompanist, separator, sheet, vocal, shown, preview=preview, on_progress=on_progress
        )
        generated = time.monotonic()

        ranking = None
        if self.pick == "best":
            shown.step("comparing the takes")
            from hafm.evaluate.ranking import pick_best

            ranking = pick_best(accompaniments)
        ranked = time.monotonic()

        shown.step("writing")
        notes = [*plan.notes(sheet), *sheet.notes, *(note for each in accompaniments for note in each.notes)]
        takes, failures = plan.delivery.write(accompaniments, folder)
        played = accompaniments[0].record.lead_sheet
        notes += [*failures, *beyond_guide(played), *resting_players(played)]
        picked = None if ranking is None else put_best(ranking, takes, folder)
        sheet_paths = save_sheet(played, folder)
        notes += plan.delivery.left_over(folder.staging, vocal=plan.vocal)
        written = time.monotonic()
        return GenerateOutcome(
            takes=takes,
            vocal=vocal,
            record=accompaniments[0].record,
            notes=tuple(dict.fromkeys(notes)),
            timings={
                "prepare_seconds": ready - began,
                "generate_seconds": generated - ready,
                **({} if ranking is None else {"rank_seconds": ranked - generated}),
                "write_seconds": written - ranked,
                "total_seconds": written - began,
            },
            picked=picked,
            sheet_paths=sheet_paths,
        )


# ---- a request with every blank filled in, by a default or by the record that is replayed


@dataclass(frozen=True, kw_only=True)
class _Plan:
    """What is to be done; from here on nothing asks whether it is a replay.

    Args:
        record: what is replayed, or what a stretch is made again in, if anything is.
        engine: what runs the stages; None for what the environment says.
        separator: the `.onnx` that takes the vocal out of the recording; None if that is the vocal.
        save_options: for `Accompaniment.write`.
    """

    request: Generate
    record: "GenerationRecord | None"
    vocal: Path
    start_seconds: float | None
    seconds: float | None
    bundle: str
    revision: str | None
    device: str
    engine: options.Engine | None
    skip_fine: bool
    separator: Path | None
    save_options: Mapping[str, Any]

    def sheet(self, vocal: "Audio") -> SheetRequest:
        """What is known of the lead sheet; of a replay, its record knows all."""
        if self.request.replay is not None:
            from hafm.guide.corrections import Corrections

            return SheetRequest(given=None, corrections=Corrections(), notes=())
        kept, lasts = None, vocal.seconds
        if self.record is not None:
            then, kept = self.record.settings, self.record.lead_sheet
            lasts += (then.intro_samples + then.ending_samples) / self.record.input.sample_rate
        sheet = self.request.sheet_request(lasts, part=vocal if self.record is None else None)
        followed = kept if sheet.given is None else sheet.given
        style = sheet.corrections.style or (None if followed is None else followed.style)
        if self.request.style_strength is not None and style is None:
            raise UsageError("--style-strength is that of a style, and no style is given; add --style")
        players = sheet.corrections.players or (followed is not None and followed.arrangement)
        if self.request.players_strength is not None and not players:
            raise UsageError("--players-strength is that of players, and none are given; add --players")
        return sheet

    def notes(self, sheet: SheetRequest) -> list[str]:
        """What a user should know of what was asked for."""
        request = self.request
        if request.replay is not None and self.record is not None and self.record.output is not None:
            from hafm.stages.separators import builtin_separator, separator_fingerprint

            then = self.record.output.stems
            if then is not None and then != separator_fingerprint(builtin_separator()):
                return [
                    "the stems of the record were parted by another net than this version of hafm has: the "
                    "same accompaniment may be parted otherwise"
                ]
        if self.record is None or request.keep is None or request.seed != self.record.settings.seed:
            return []
        if not sheet.is_empty:
            return []
        return [
            f"seed {request.seed} is that of the take, and nothing else was changed: the stretch may be what "
            "it was; give another --seed"
        ]

    @property
    def delivery(self) -> Delivery:
        """What will be written."""
        request = self.request
        return Delivery(
            output=request.output,
            overwrite=request.overwrite,
            takes=request.takes,
            best=request.pick == "best",
            separated=self.separator is not None,
            plot=request.plot,
            save_options={**self.save_options, **({"stems": True} if request.stems else {})},
        )

    def stage_seconds(self, vocal_seconds: float) -> float:
        """About how much the stages make."""
        stretch = self.request.stretch
        return vocal_seconds if stretch is None else stretch[1] - stretch[0] + _BESIDE_SECONDS

    def generate(
        self,
        accompanist: "Accompanist",
        separator: "Separator | None",
        sheet: SheetRequest,
        vocal: "Audio",
        shown: "Display",
        *,
        preview: Preview | None,
        on_progress: "OnProgress",
    ) -> "list[Accompaniment]":
        """The takes; what sheet they follow is said before they are made."""
        if self.record is not None and self.request.replay is not None:
            return [
                accompanist.replay(
                    self.record, vocal=self.vocal, separator=separator, on_progress=on_progress
                )
            ]
        from hafm.generate.guidance import asked_in
        from hafm.generate.steps import follows_sheets
        from hafm.guide.lead_sheet import LeadSheet
        from hafm.guide.summary import headline

        request = self.request
        asked: dict[str, Any] = {**asked_in(sheet.given), **request.drawing}
        asked |= {"seed": request.seed, "skip_fine": self.skip_fine, "on_progress": on_progress}
        asked["guide_guidance"] = request.guide_strength
        if request.style_strength is not None:
            asked["style_guidance"] = request.style_strength
        if request.players_strength is not None:
            asked["players_guidance"] = request.players_strength
        if request.record is not None and request.stretch is not None:
            start, end = request.stretch
            made = accompanist.regenerate(
                request.record,
                start_seconds=start,
                end_seconds=end,
                vocal=self.vocal,
                guide=sheet.given,
                corrections=sheet.corrections if sheet.corrections.given else None,
                separator=separator,
                **asked,
            )
            return [made]

        def on_sheet(followed: LeadSheet | None) -> None:
            if followed is not None and not request.no_guide:
                shown.say(f"lead sheet: {headline(followed)}")

        asked |= {"start_seconds": self.start_seconds, "seconds": self.seconds, "on_sheet": on_sheet}
        asked |= {"guide": sheet.given, "corrections": None if sheet.is_empty else sheet.corrections}
        if request.no_guide and follows_sheets(accompanist.bundle):
            # One that knows nothing is followed as none.
            asked["guide"] = LeadSheet(duration_seconds=vocal.seconds)
        if preview is not None:
            parts = accompanist.stream(self.vocal, preview=True, **asked)
            return preview.follow(parts, num_samples=vocal.num_samples)
        return accompanist.generate_takes(
            self.vocal,
            takes=request.takes,
            intro_bars=request.intro,
            ending=request.ending,
            separator=separator,
            **asked,
        )


def _plan(request: Generate) -> _Plan:
    """Fills in the blanks, from defaults or from a record."""
    if request.record is not None:
        return _plan_of_record(request, request.record)
    assert request.vocal is not None, "a request has a vocal or a record"
    return _Plan(
        request=request,
        record=None,
        vocal=request.vocal,
        start_seconds=request.start,
        seconds=request.seconds,
        bundle="builtin" if request.bundle is None else request.bundle,
        revision=None,
        device="cpu" if request.device is None else request.device,
        engine=request.engine,
        skip_fine=request.skip_fine,
        separator=separator_path(request.separator, spelling="--separator") if request.separate else None,
        save_options={"format": request.format, **options.levels(request.balance, request.loudness)},
    )


def _plan_of_record(request: Generate, source: Path) -> _Plan:
    from hafm.generate.record import GenerationRecord

    record = GenerationRecord.read(source)
    vocal, is_replay = request.vocal, request.replay is not None
    if vocal is None:
        if record.input.path is None:
            option = "--replay" if is_replay else f"--keep {source} --region {request.region}"
            raise UsageError(
                f"'{source}' was not made from a file; name the vocal: hafm generate VOCAL {option}"
            )
        vocal = Path(record.input.path)
    levels = options.levels(request.balance, request.loudness)
    return _Plan(
        request=request,
        record=record,
        vocal=vocal,
        start_seconds=record.input.start_seconds,
        seconds=record.input.seconds,
        bundle=record.bundle.source if request.bundle is None else request.bundle,
        revision=record.bundle.revision if request.bundle is None else None,
        device=record.environment.device if request.device is None else request.device,
        engine=record.settings.engine,
        skip_fine=record.settings.skip_fine if is_replay else request.skip_fine,
        separator=_separator_of_record(request, record, source),
        save_options=record.save_options() if is_replay else {"format": request.format, **levels},
    )


def _separator_of_record(request: Generate, record: "GenerationRecord", source: Path) -> Path | None:
    """The record's separator: the one of the option, where it was then, or the one of HAFM_SEPARATOR."""
    if record.separation is None:
        if request.separator is not None:
            raise UsageError(
                f"'{source}' was made from the vocal itself, without a separator; leave out --separator"
            )
        return None
    then = Path(record.separation.model)
    if request.separator is None and then.exists():
        return then
    try:
        return separator_path(request.separator, spelling="--separator")
    except UsageError as error:
        raise UsageError(
            f"the separator of '{source}', '{then}', is not there any more; say where it is with "
            f"--separator MODEL.onnx (its fingerprint is {record.separation.fingerprint})"
        ) from error

"""`hafm arrange`: from a vocal, or from a lead sheet alone, to a band that plays it.

In: options. Out: an `ArrangeOutcome`: where everything is, what was heard, what a user should know.

    style? folder? soundfont? vocal or sheet? room?  ->  analyse  ->  arrange  ->  render  ->  put in place
    `------- refused before anything is made -----'                                  all or nothing (files.py)

No model generates here; a vocal's lead sheet is estimated by the analyser of a bundle.

The work itself is that of `hafm.arrange.arranger`; start to read there.
"""

import hashlib
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from hafm.app import options
from hafm.app.arrange_job import Job, is_sheet, open_instruments, read_sheet, replayed
from hafm.app.arrange_result import ArrangeOutcome, notes_on
from hafm.app.command import Range, argument, flag, option
from hafm.app.interrupt import Interrupts
from hafm.app.sheet_command import SheetCommand
from hafm.errors import UsageError

if TYPE_CHECKING:
    from hafm.app.display import Display
    from hafm.files import StagedFolder
    from hafm.guide.corrections import Corrections

__all__ = ["Arrange"]

_BESIDE_REPLAY = options.BESIDE_ANY_RECORD | {"--source", "--soundfont"}

_SHEET_RATE = 48_000
_BYTES_PER_FRAME = 6  # stereo, 24 bits
_BYTES_BESIDE = 4 << 20


@dataclass(frozen=True, kw_only=True)
class Arrange(SheetCommand):
    """Arrange a band for a vocal, or for a lead sheet alone: MIDI and stereo sound, in seconds.

    Writes lead-sheet.json, arrangement.mid, accompaniment.wav, of a vocal mix.wav too, and arrangement.json,
    which holds all that --replay needs.

    The chords and beats of a vocal are estimated; a lead sheet (json, mid, lab, beats, or a chart and --bpm)
    is played as it is. Either way, what you know better holds.
    """

    source: Path | None = argument(
        "A recording of one voice (wav, flac, mp3, ...), or a lead sheet (json, mid, lab, beats, chart).",
        "[VOCAL|SHEET]",
        default=None,
    )
    start: float | None = options.start()
    seconds: float | None = options.seconds()
    excerpt: bool = flag(
        "The song goes on before and after: begin at once, and end without a last chord.", options.SOUND
    )
    replay: Path | None = option(
        "Make an earlier arrangement again, to the byte: its arrangement.json.",
        "FILE",
        options.SOUND,
        shown=False,
    )
    output: Path = options.output()
    overwrite: bool = options.overwrite()
    format: options.SoundFormat = options.sound_format()
    stems: bool = options.stems()
    balance: float | None = options.balance()
    loudness: float | None = options.loudness()
    style: str | None = option(
        "pop (what suits tempo and meter), rock, ballad, disco, funk, bossa, reggae, trap, folk, synth, "
        "shuffle, unplugged or waltz.",
        "NAME",
        options.MADE,
        shown="the sheet's, or pop",
    )
    seed: int = option(
        "Another number, another arrangement; 0 or more.",
        "N",
        options.MADE,
        default=0,
        within=Range(0, 2**63 - 1),
    )
    soundfont: Path | None = option(
        "The instruments: a General MIDI .sf2 or .sf3 of yours.",
        "FILE",
        options.MADE,
        shown="the shipped one",
    )
    bundle: str = option(
        f"Whose analyser hears the vocal: {options.BUNDLES}.", "NAME", options.MADE, default="builtin"
    )

    examples: ClassVar = (
        "hafm arrange vocal.wav -o out/ --style bossa",
        "hafm arrange song.json -o out/ --stems --format flac",
        'hafm arrange vocal.wav -o out/ --bpm 92 --chords "| Am | F | C  G/B | % |" --seed 7',
        "hafm arrange song.chart --bpm 120 -o out/ --style disco",
        "hafm arrange --replay out/arrangement.json -o again/",
    )

    def check(self) -> None:
        if self.source is None and self.replay is None:
            raise UsageError(
                "no vocal and no lead sheet was given; name one, as in: hafm arrange vocal.wav -o out/"
            )
        _ = self._record
        if self.style is not None:
            from hafm.arrange.style_choice import check_style

            check_style(self.style)
        super().check()
        if self.source is not None and is_sheet(self.source):
            for name in ("guide", "start", "seconds", "balance", "loudness"):
                if getattr(self, name) is not None:
                    raise UsageError(
                        f"--{name} is for a vocal, and '{self.source}' is a lead sheet; leave it out"
                    )

    def check_given(self, names: Sequence[str]) -> None:
        if self.replay is not None:
            options.require_settled(names, besides=_BESIDE_REPLAY)

    @property
    def _record(self) -> Path | None:
        return None if self.replay is None else options.record_file(self.replay, "arrange")

    @cached_property
    def corrections(self) -> "Corrections":
        """See `SheetCommand`; `pop` is a style of arrangements alone."""
        if self.style == "pop":
            return replace(self, style=None).corrections
        return super().corrections

    def run(self, shown: "Display", interrupts: Interrupts) -> ArrangeOutcome:
        began = time.monotonic()
        shown.step("getting ready")
        from hafm.arrange.record import RECORD_FILE
        from hafm.files import check_output_folder

        check_output_folder(self.output, overwrite=self.overwrite)
        if self.source is not None and not is_sheet(self.source):
            options.require_sound(self.source)
        if (record := self._record) is not None:
            job = replayed(record, source=self.source, soundfont=self.soundfont)
        else:
            job = self._new_job()
        results = _files(job)
        options.require_elsewhere(self.output, job.inputs, results=results)
        check_output_folder(
            self.output,
            overwrite=True,
            needed_bytes=6 * job.num_samples * _BYTES_PER_FRAME + _BYTES_BESIDE,
            files=results,
        )
        with interrupts.staged_folder(self.output, last=[RECORD_FILE], overwrite=self.overwrite) as folder:
            return self._make(job, folder, shown, began)

    def _new_job(self) -> Job:
        """Reads what the options name."""
        from hafm.arrange.files import rate_for
        from hafm.arrange.record import ArrangementRecord, Inputs, Settings, here
        from hafm.arrange.song import Song
        from hafm.audio.io import read_audio
        from hafm.audio.mixdown import BALANCE_DB, LOUDNESS_LUFS
        from hafm.guide.corrections import corrected
        from hafm.guide.lead_sheet import LeadSheet

        assert self.source is not None, "a request has a source or a record"
        soundfont, used = open_instruments(self.soundfont)
        vocal = sheet = balance_db = loudness_lufs = None
        if is_sheet(self.source):
            sheet, asked = read_sheet(self.source, self.sheet_request)
            lasts, rate = sheet.duration_seconds, _SHEET_RATE
            sha256 = hashlib.sha256(self.source.read_bytes()).hexdigest()
        else:
            vocal = read_audio(self.source, start_seconds=self.start, seconds=self.seconds)
            lasts, rate, sha256 = vocal.seconds, rate_for(vocal.sample_rate), vocal.sha256
            asked = self.sheet_request(lasts, part=vocal)
            given = asked.given
            if given is not None and given.beats and given.chords and given.keys:  # nothing is to be heard
                sheet = corrected(given, asked.corrections)
            balance_db = BALANCE_DB if self.balance is None else self.balance
            loudness_lufs = LOUDNESS_LUFS if self.loudness is None else self.loudness
        if sheet is not None:
            Song.of(sheet)  # refuses one with nothing to play
        record = ArrangementRecord(
            environment=here(),
            input=Inputs(
                kind="sheet" if vocal is None else "vocal",
                path=str(self.source.resolve()),
                sha256=sha256,
                start_seconds=self.start,
                seconds=self.seconds,
            ),
            settings=Settings(
                style=self.style or "",
                seed=self.seed,
                excerpt=self.excerpt,
                sample_rate=rate,
                stems=self.stems,
                format=self.format,
                balance_db=balance_db,
                loudness_lufs=loudness_lufs,
            ),
            soundfont=used,
            lead_sheet=sheet or LeadSheet(duration_seconds=lasts),
        )
        return Job(
            record=record,
            sheet=sheet,
            vocal=vocal,
            seconds=lasts,
            soundfont=soundfont,
            inputs={"lead sheet" if vocal is None else "vocal": self.source, "guide": self.guide},
            corrections=asked.corrections,
            known=asked.given,
            notes=asked.notes,
        )

    def _make(self, job: Job, folder: "StagedFolder", shown: "Display", began: float) -> ArrangeOutcome:
        """All that is done once the output folder is ours."""
        from hafm.arrange.arranger import arrange_sheet
        from hafm.arrange.files import write_arrangement
        from hafm.arrange.record import RECORD_FILE
        from hafm.device import one_thread
        from hafm.files import hashes, write_whole

        ready = time.monotonic()
        settings = job.record.settings
        with one_thread():
            if job.sheet is None:
                shown.step("listening")
            sheet = job.heard(self.bundle) if job.sheet is None else job.sheet
            listened = time.monotonic()
            shown.step("arranging")
            arrangement = arrange_sheet(
                sheet,
                style=settings.style or None,
                seed=settings.seed,
                voice=job.vocal,
                excerpt=settings.excerpt,
            )
            rendering = arrangement.render(
                sample_rate=settings.sample_rate, num_samples=job.num_samples, soundfont=job.soundfont
            )
            made = time.monotonic()
            shown.step("writing")
            paths, levels = write_arrangement(
                folder.staging,
                arrangement,
                rendering,
                vocal=job.vocal,
                format=settings.format,
                stems=settings.stems,
                **options.levels(settings.balance_db, settings.loudness_lufs),
            )
            record = replace(
                job.record,
                lead_sheet=sheet,
                settings=replace(settings, style=arrangement.style),
                levels=levels,
                files=hashes(folder.staging, paths.values()),
            )
            paths["record"] = folder.staging / RECORD_FILE
            write_whole(paths["record"], record.to_json())
        written = time.monotonic()
        return ArrangeOutcome(
            paths={name: folder.final(path) for name, path in paths.items()},
            arrangement=arrangement,
            sample_rate=settings.sample_rate,
            levels=levels,
            timings={
                "prepare_seconds": ready - began,
                "listen_seconds": listened - ready,
                "arrange_seconds": made - listened,
                "write_seconds": written - made,
                "total_seconds": written - began,
            },
            notes=(*job.notes, *notes_on(sheet, job.vocal)),
        )


def _files(job: Job) -> list[str]:
    """What will be written, below the output folder."""
    from hafm.arrange.record import RECORD_FILE
    from hafm.guide.lead_sheet import PLAYERS

    settings = job.record.settings
    sounds = ["accompaniment"]
    if job.vocal is not None:
        sounds.append("mix")
    if settings.stems:
        sounds += [f"stems/{name}" for name in PLAYERS]
    beside = ["lead-sheet.json", "arrangement.mid", RECORD_FILE]
    return [*beside, *(f"{name}.{settings.format}" for name in sounds)]

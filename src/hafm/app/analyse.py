"""`hafm analyse`: a vocal's lead sheet, as files, a picture, a sound to check it by, and a chart.

In: options. Out: an `AnalyseOutcome`.

    lead-sheet.json   all of it; edit it and give it back with --guide
    chords.lab, beats.txt, lead-sheet.mid             for other programs
    lead-sheet.png    the pitch that is sung over beats, bars and chords; needs matplotlib
    click.wav         the vocal with a metronome: is the beat right?

Where no beat is found, there are no beats to write: no `beats.txt`, no MIDI, no click.
"""

import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from hafm.app import options
from hafm.app.command import argument, flag
from hafm.app.interrupt import Interrupts
from hafm.app.options import WRITTEN
from hafm.app.sheet_command import SheetCommand
from hafm.errors import UsageError

if TYPE_CHECKING:
    from jaxtyping import Float
    from torch import Tensor

    from hafm.app.display import Display
    from hafm.audio.sound import Audio
    from hafm.files import StagedFolder
    from hafm.guide.lead_sheet import LeadSheet

__all__ = ["Analyse", "AnalyseOutcome", "clicked"]

PICTURE, CLICK = "lead-sheet.png", "click.wav"

_CLICK_HZ = (1600.0, 1000.0)  # of downbeats, of other beats
_CLICK_SECONDS = 0.03
_CLICK_LEVEL = 0.5
_VOICE_LEVEL = 0.5


@dataclass(frozen=True, kw_only=True)
class AnalyseOutcome:
    """What was heard."""

    sheet: "LeadSheet"
    vocal: "Audio"
    paths: Mapping[str, Path]
    notes: Sequence[str]
    seconds: float

    def summary(self) -> str:
        """For people: what was heard, the chart, and where the files are."""
        from hafm.guide.summary import headline, printed_chart

        files = [f"{name:<14} {path}" for name, path in self.paths.items()]
        return "\n".join([headline(self.sheet), "", printed_chart(self.sheet), "", *files])

    def to_json(self) -> dict[str, Any]:
        from hafm.app.generate_result import sheet_to_json, vocal_to_json

        return {
            **{name: str(path) for name, path in self.paths.items()},
            **sheet_to_json(self.sheet),
            "vocal": vocal_to_json(self.vocal),
            "seconds": self.seconds,
            "notes": list(self.notes),
        }


@dataclass(frozen=True, kw_only=True)
class Analyse(SheetCommand):
    """Say what a vocal's beats, bars, key and chords are: its lead sheet.

    Writes lead-sheet.json, .mid and .png, chords.lab, beats.txt, and click.wav, the vocal with a metronome.

    What a voice alone tells is a guess: look at it, correct it, and give it to hafm generate with --guide.
    """

    vocal: Path | None = argument(options.VOCALS, "[VOCAL]", default=None)
    start: float | None = options.start()
    seconds: float | None = options.seconds()
    output: Path = options.output()
    overwrite: bool = options.overwrite()
    no_click: bool = flag("Leave out click.wav, which is as large as the vocal.", WRITTEN)
    bundle: str = options.bundle()

    examples: ClassVar = (
        "hafm analyse vocal.wav -o sheet/",
        "hafm analyse vocal.wav -o sheet/ --bpm 92 --first-beat 1.37 --overwrite",
        "hafm analyse vocal.wav -o corrected/ --guide sheet/lead-sheet.json --half-time",
        'hafm analyse vocal.wav -o sheet/ --key Am --chords "| Am | F | C  G/B | % |"',
    )

    def check(self) -> None:
        super().check()
        if self.vocal is None:
            raise UsageError("no vocal was given; name one, as in: hafm analyse vocal.wav -o sheet/")

    def run(self, shown: "Display", interrupts: Interrupts) -> AnalyseOutcome:
        began = time.monotonic()
        assert self.vocal is not None, "checked when built"
        shown.step("getting ready")
        from hafm.files import check_output_folder
        from hafm.guide.sheet_files import SHEET_FILES

        results = [*SHEET_FILES.values(), PICTURE, *([] if self.no_click else [CLICK])]
        check_output_folder(self.output, overwrite=self.overwrite, files=results)
        options.require_elsewhere(self.output, {"vocal": self.vocal, "guide": self.guide}, results=results)
        options.require_sound(self.vocal)
        with interrupts.staged_folder(
            self.output, last=[SHEET_FILES["lead_sheet"]], overwrite=self.overwrite
        ) as folder:
            return self._make(self.vocal, folder, shown, began)

    def _make(self, source: Path, folder: "StagedFolder", shown: "Display", began: float) -> AnalyseOutcome:
        """All that is done once the output folder is ours."""
        from hafm.audio.io import read_audio
        from hafm.generate.accompany import Accompanist

        vocal = read_audio(source, start_seconds=self.start, seconds=self.seconds)
        request = self.sheet_request(vocal.seconds, part=vocal)
        shown.step("opening the bundle")
        accompanist = Accompanist.from_pretrained(self.bundle)
        shown.step("listening")
        sheet = accompanist.analyse(
            source,
            given=request.given,
            corrections=request.corrections,
            start_seconds=self.start,
            seconds=self.seconds,
        )
        shown.step("writing")
        paths, notes = self._write(sheet, vocal, folder.staging)
        return AnalyseOutcome(
            sheet=sheet,
            vocal=vocal,
            paths={name: folder.final(path) for name, path in paths.items()},
            notes=(*vocal.notes, *request.notes, *notes),
            seconds=time.monotonic() - began,
        )

    def _write(self, sheet: "LeadSheet", vocal: "Audio", folder: Path) -> tuple[dict[str, Path], list[str]]:
        """All files, and what was left out."""
        from hafm.app.plot import has_matplotlib
        from hafm.audio.io import write_audio
        from hafm.files import write_whole
        from hafm.guide.sheet_files import write_sheet_files

        paths, notes = write_sheet_files(sheet, folder), []
        if has_matplotlib():
            from hafm.app.sheet_plot import draw_sheet

            paths["picture"] = folder / PICTURE
            title = Path(vocal.path or "vocal").stem
            write_whole(paths["picture"], draw_sheet(sheet, vocal.mono(), vocal.sample_rate, title=title))
        else:
            notes.append(f"{PICTURE} was left out: it needs matplotlib, pip install 'hafm[plot]'")
        if not sheet.beats:
            notes.append("there are no beats to write or to hear: no beats.txt, lead-sheet.mid and click.wav")
        elif not self.no_click:
            paths["click"] = folder / CLICK
            write_audio(paths["click"], clicked(vocal, sheet), vocal.sample_rate)
        return paths, notes


def clicked(vocal: "Audio", sheet: "LeadSheet") -> "Float[Tensor, '1 T']":
    """The vocal with a click on each beat, to the sample, higher where a bar begins.

    Args:
        vocal: at any level; it is brought to half of full scale.
        sheet: of the same sound.
    """
    import torch

    rate, voice = vocal.sample_rate, vocal.mono()
    sound = _VOICE_LEVEL * voice / max(float(voice.abs().max()), 1e-6)
    times = torch.arange(round(_CLICK_SECONDS * rate)) / rate
    fade = _CLICK_LEVEL * torch.exp(-times / (_CLICK_SECONDS / 5))
    clicks = [fade * torch.sin(2 * math.pi * hz * times) for hz in _CLICK_HZ]
    for beat in sheet.beats:
        start = round(beat.seconds * rate)
        click = clicks[beat.position != 1][: len(sound) - start]
        sound[start : start + len(click)] += click
    return sound.clamp(-1.0, 1.0)[None]

"""An arrangement as a MIDI file, for a DAW.

In: a lead sheet and the parts of a band. Out: the bytes of a MIDI file, of which tick 0 is second 0 of the
sound. Tempo map, signatures and chord markers are those of `hafm.guide.midi_out`, so that the file is read
back as the lead sheet, too; each part is a track with its name, program, volume and place.

Free time has no beats; there the file counts seconds.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from hafm.arrange.mixing import pan_of
from hafm.arrange.parts import Part
from hafm.guide.lead_sheet import Beat, LeadSheet, MeterChange
from hafm.guide.midi_out import midi_frame

if TYPE_CHECKING:
    from symusic import Track

    from hafm.guide.midi_out import Clock

__all__ = ["NAMES", "arrangement_to_midi"]

NAMES = {
    "drums": "Drums",
    "bass": "Bass",
    "keys": "Keys",
    "comp": "Chords",
    "pad": "Pad",
    "bridge": "Melody",
}
"""What the tracks are called."""

_VOLUME, _PAN = 7, 10
_LOUDEST_DB = -16.0


def arrangement_to_midi(sheet: LeadSheet, parts: Sequence[Part]) -> bytes:
    """The bytes of a MIDI file.

    Raises:
        LeadSheetError: some beats are too far apart for MIDI's tempi.
    """
    score, clock, _ = midi_frame(_with_beats(sheet))
    for part in parts:
        score.tracks.append(_track(part, clock, sheet.duration_seconds))
    return bytes(score.dumps_midi())


def _with_beats(sheet: LeadSheet) -> LeadSheet:
    if len(sheet.beats) > 1:
        return sheet
    seconds = range(max(2, int(np.ceil(sheet.duration_seconds))))
    beats = [Beat(float(number), number % 4 + 1) for number in seconds if number < sheet.duration_seconds]
    if len(beats) < 2:
        beats.append(Beat(sheet.duration_seconds / 2, 2))
    return replace(sheet, beats=tuple(beats), meters=(MeterChange(0.0, 4, 4),))


def _track(part: Part, clock: "Clock", duration_seconds: float) -> "Track":
    from symusic import ControlChange, Note, Track

    track = Track(NAMES[part.role], part.program, part.is_drums)
    volume = round(127 * 10 ** (min(part.level_db - _LOUDEST_DB, 0.0) / 40))
    track.controls.append(ControlChange(0, _VOLUME, volume))
    track.controls.append(ControlChange(0, _PAN, round(64 + 63 * pan_of(part.role))))
    for start, end, pitch, velocity in sorted(part.events):
        begin, stop = max(start, 0.0), min(end, duration_seconds)
        if stop > begin:
            tick = clock.tick(begin)
            track.notes.append(Note(tick, max(clock.tick(stop) - tick, 1), pitch, velocity))
    return track

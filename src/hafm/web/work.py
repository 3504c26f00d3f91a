"""What the studio's workers do: hear a recording, make takes, pack a zip.

In: a task, which names the folder of a project. Out: files in it, and a few values for `project.json`.

    Listen    upload -> vocal.wav, hearing.json, heard.json, lead-sheet.json       the gateway, the analyser
    Play      vocal.wav + a lead sheet -> takes/NNN/                               `web/takes.py`, the model
    Sketch    vocal.wav + a lead sheet -> takes/NNN/                               `web/takes.py`, samples
    Export    a take -> export.zip                                                 `web/export.py`

Conventions: a task reports how far it is, and what that raises ends it; so it is cancelled. Whatever is
raised, files are whole and a folder of a take is there with all its files or not at all.
"""

import json
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hafm.errors import AudioError
from hafm.files import write_whole
from hafm.guide.sheet_json import lead_sheet_from_json, lead_sheet_to_json
from hafm.web.store import Vocal, Warning
from hafm.web.tasks import Listen, Play, Report, Sketch, Task

if TYPE_CHECKING:
    from jaxtyping import Float
    from torch import Tensor

    from hafm.audio.sound import Audio
    from hafm.guide.lead_sheet import LeadSheet

__all__ = ["Studio"]

_PEAKS_PER_SECOND = 50
_MOST_PEAKS = 12_000
_WARNINGS = (
    ("it is clipped", "clipped"),
    ("more than one voice", "music"),
    ("no pitch was found", "no_pitch"),
    ("below 30 Hz", "rumble"),
    ("channel is silent", "silent_channel"),
    ("cancel each other", "inverted"),
    ("offset", "offset"),
    ("hardly any sound", "quiet"),
    ("ends early", "cut"),
    ("damaged", "cut"),
)


class Studio:
    """Does tasks with one bundle.

    Args:
        bundle: its name, folder or hub id.
        device: where to compute.
    """

    def __init__(self, bundle: str, device: str) -> None:
        from hafm.generate.accompany import Accompanist

        self._accompanist: Accompanist = Accompanist.from_pretrained(bundle, device=device)

    def do(self, task: Task, report: Report) -> dict[str, Any]:
        """Does a task.

        Returns:
            Values for `project.json` and for whoever asked.

        Raises:
            HafmError: it cannot be done; the message says why.
        """
        if isinstance(task, Listen):
            return self._listen(task, report)
        if isinstance(task, Play):
            return self._play(task, report)
        from hafm.web.export import pack
        from hafm.web.takes import sketch

        return sketch(task, report) if isinstance(task, Sketch) else pack(task, report)

    # ---- hearing

    def _listen(self, task: Listen, report: Report) -> dict[str, Any]:
        from hafm.audio.checks import vocal_notes
        from hafm.audio.io import read_audio

        report("reading", 0.0, None)
        folder, vocal_path = task.folder, task.folder / "vocal.wav"
        if vocal_path.exists():
            audio, notes = read_audio(vocal_path), None
        else:
            audio = _read_upload(folder / "upload", task)
            notes = audio.notes + vocal_notes(audio.waveform, audio.sample_rate)
            audio = _kept_as_vocal(audio, vocal_path)
        report("hearing", 0.3, None)
        write_whole(folder / "hearing.json", json.dumps(_hearing(audio), allow_nan=False))
        report("hearing", 0.5, None)
        given = None if task.given is None else lead_sheet_from_json(task.given, where="the given lead sheet")
        if given is not None and given.beats and given.beats[-1].seconds >= audio.seconds:
            given = given.cropped(0.0, audio.seconds)
        elif given is not None:
            given = replace(given, duration_seconds=audio.seconds)
        sheet = self._heard(audio, given, task.tempo_bpm)
        for name in ("heard.json", "lead-sheet.json"):
            write_whole(folder / name, lead_sheet_to_json(sheet))
        vocal = Vocal(
            seconds=audio.seconds,
            sample_rate_hz=audio.sample_rate,
            num_channels=audio.num_channels,
            num_samples=audio.num_samples,
        )
        found: dict[str, Any] = {"vocal": vocal}
        if notes is not None:
            found["warnings"] = tuple(_warning(note) for note in notes)
        return found

    def _heard(self, audio: "Audio", given: "LeadSheet | None", tempo_bpm: float | None) -> "LeadSheet":
        from hafm.guide.lead_sheet import LeadSheet

        if "vocal" not in self._accompanist.bundle.config.analysers:
            return LeadSheet(duration_seconds=audio.seconds) if given is None else given
        return self._accompanist.analyse(
            audio.waveform, sample_rate=audio.sample_rate, given=given, tempo_bpm=tempo_bpm
        )

    def _play(self, task: Play, report: Report) -> dict[str, Any]:
        from hafm.web.takes import play

        return play(self._accompanist, task, report)


def _read_upload(path: Path, task: Listen) -> "Audio":
    """The recording as it came; what is wrong with it is said by its name, and not by our path."""
    from hafm.audio.io import read_audio

    try:
        return read_audio(path, max_seconds=task.sound_seconds)
    except AudioError as error:
        raise type(error)(str(error).replace(f"'{path}'", f"'{task.name}'")) from error


def _kept_as_vocal(audio: "Audio", path: Path) -> "Audio":
    """Writes what was decoded, and reads it again: from here on it is the recording, whatever came."""
    from hafm.audio.io import read_audio
    from hafm.audio.write_blocks import write_blocks

    write_blocks(
        path,
        [audio.waveform],
        audio.sample_rate,
        num_channels=audio.num_channels,
        num_samples=audio.num_samples,
        encoding="wav" if float(audio.waveform.abs().max()) <= 1.0 else "wav-float",
    )
    return read_audio(path)


def _warning(note: str) -> Warning:
    """A note of the gateway with the code of its words.

    >>> _warning("it is clipped (3.1 % of ...); record it again at a lower level").code
    'clipped'
    """
    return Warning(code=next((code for mark, code in _WARNINGS if mark in note), "other"), message=note)


def _hearing(audio: "Audio") -> dict[str, Any]:
    from hafm.audio.pitch import pitch_curve

    mono = audio.mono()
    curve = pitch_curve(mono, audio.sample_rate)
    peaks = _peaks(mono, audio.seconds)
    return {
        "peaks": [round(value, 4) for value in peaks.tolist()],
        "pitch": {
            "start_seconds": curve.start_seconds,
            "hop_seconds": curve.hop_seconds,
            "hertz": [round(value, 1) for value in curve.hertz.tolist()],
        },
    }


def _peaks(mono: "Float[Tensor, ' T']", seconds: float) -> "Float[Tensor, ' P']":
    """The largest magnitude of each stretch, for a picture."""
    import torch
    from torch.nn.functional import adaptive_max_pool1d

    number = max(1, min(_MOST_PEAKS, round(seconds * _PEAKS_PER_SECOND), len(mono)))
    return torch.as_tensor(adaptive_max_pool1d(mono.abs()[None], number)[0])

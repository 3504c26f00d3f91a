"""A take to carry home: one zip, named so that a DAW sorts it well.

In: a project's folder and a take. Out: `export.zip`:

    NAME/01 NAME vocal.wav           and flac, where that was asked for; all as long as the vocal, at its rate
         02 NAME accompaniment.wav
         03 NAME mix.wav
         04 NAME click.wav           a stroke per beat; downbeats higher
         05 NAME drums.wav           and bass, harmony, melody: those that sound
         NAME band.mid               its notes
         NAME lead-sheet.json, NAME lead-sheet.mid, NAME chords.lab
         generation.json             how it was made; arrangement.json of a band of samples

Conventions: sounds are stored, not deflated; the zip appears whole. Without beats there is no click and no
MIDI, without chords no `chords.lab`.
"""

import tempfile
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from hafm.audio.io import read_audio, write_audio
from hafm.files import atomic_file
from hafm.generate.accompaniment import write_stems
from hafm.guide.bars import continued_beats
from hafm.guide.lead_sheet import PLAYERS, LeadSheet
from hafm.guide.midi_out import lead_sheet_to_midi
from hafm.guide.sheet_json import lead_sheet_from_json, lead_sheet_to_json
from hafm.guide.text_files import chords_to_lab
from hafm.web.store import file_name
from hafm.web.tasks import Export, Report

__all__ = ["click_track", "pack"]

_CLICK_SECONDS = 0.03
_CLICK_HZ, _DOWNBEAT_HZ = 1000.0, 1500.0
_CLICK_LEVEL = 0.5


def pack(task: Export, report: Report) -> dict[str, Any]:
    """Writes the zip.

    Returns:
        Its name for the browser, and its size.

    Raises:
        AudioError, LeadSheetError, OutputError: a file of the project was changed, or the disk is full.
    """
    report("packing", 0.0, None)
    folder, name = task.folder, file_name(task.name)
    take = None if task.take is None else folder / "takes" / f"{task.take:03d}"
    sheet_path = (folder if take is None else take) / "lead-sheet.json"
    sheet = lead_sheet_from_json(sheet_path.read_bytes(), where="lead-sheet.json")
    sounds = {"vocal": folder / "vocal.wav"}
    if take is not None:
        sounds |= {"accompaniment": take / "accompaniment.wav", "mix": take / "mix.wav"}
    target = folder / "export.zip"
    with atomic_file(target) as file, zipfile.ZipFile(file, "w", zipfile.ZIP_STORED) as archive:
        for number, (what, path) in enumerate(sounds.items(), 1):
            _add_sound(archive, f"{name}/{number:02d} {name} {what}", path, task.format)
            report("packing", number / 10, None)
        if len(sheet.beats) > 1:
            vocal = read_audio(sounds["vocal"])
            with tempfile.TemporaryDirectory() as beside:
                click = Path(beside) / "click.wav"
                write_audio(
                    click, click_track(sheet, vocal.num_samples, vocal.sample_rate), vocal.sample_rate
                )
                _add_sound(archive, f"{name}/{len(sounds) + 1:02d} {name} click", click, task.format)
            report("packing", 0.5, None)
            archive.writestr(f"{name}/{name} lead-sheet.mid", lead_sheet_to_midi(sheet))
        archive.writestr(f"{name}/{name} lead-sheet.json", lead_sheet_to_json(sheet))
        if sheet.chords:
            archive.writestr(f"{name}/{name} chords.lab", chords_to_lab(sheet))
        if take is not None:
            _add_origin(archive, name, take, task.format)
    report("packing", 1.0, None)
    return {"file": f"{name}.zip", "bytes": target.stat().st_size}


def _add_origin(archive: zipfile.ZipFile, name: str, take: Path, format: str) -> None:
    """How a take was made, and what that gave besides its sound."""
    with tempfile.TemporaryDirectory() as beside:
        stems = take / "stems"
        if not stems.is_dir():  # the model plays a band in one
            band = read_audio(take / "accompaniment.wav", allow_silence=True, min_seconds=0.0)
            write_stems(Path(beside), band.waveform, band.sample_rate)
            stems = Path(beside) / "stems"
        number = 5
        for player in PLAYERS:
            path = stems / f"{player}.wav"
            if path.is_file() and read_audio(path, allow_silence=True, min_seconds=0.0).waveform.any():
                _add_sound(archive, f"{name}/{number:02d} {name} {player}", path, format)
                number += 1
    for file, called in (
        ("arrangement.mid", f"{name} band.mid"),
        ("arrangement.json", "arrangement.json"),
        ("generation.json", "generation.json"),
    ):
        if (take / file).is_file():
            archive.write(take / file, f"{name}/{called}")


def click_track(sheet: LeadSheet, num_samples: int, sample_rate: int) -> Float[Tensor, "1 T"]:
    """A stroke per beat.

    >>> from hafm.guide.lead_sheet import Beat, MeterChange
    >>> beats = (Beat(0.5, 1), Beat(1.0, 2))
    >>> sheet = LeadSheet(duration_seconds=1.4, beats=beats, meters=(MeterChange(0.0, 2, 4),))
    >>> click_track(sheet, 14_000, 10_000)[0].nonzero()[0].item()
    5001
    """
    track = np.zeros(num_samples, dtype=np.float32)
    time = np.arange(round(_CLICK_SECONDS * sample_rate)) / sample_rate
    for beat in continued_beats(sheet):
        hz = _DOWNBEAT_HZ if beat.position == 1 else _CLICK_HZ
        stroke = _CLICK_LEVEL * np.sin(2 * np.pi * hz * time) * np.exp(-time / (_CLICK_SECONDS / 5))
        start = round(beat.seconds * sample_rate)
        part = track[start : start + len(stroke)]
        part += stroke[: len(part)].astype(np.float32)
    return torch.from_numpy(track)[None]


def _add_sound(archive: zipfile.ZipFile, name: str, path: Path, format: str) -> None:
    audio = read_audio(path, allow_silence=True, min_seconds=0.0) if format == "flac" else None
    if audio is None or float(audio.waveform.abs().max()) > 1.0:  # FLAC has no room above full scale
        archive.write(path, f"{name}.wav")
        return
    with tempfile.TemporaryDirectory() as beside:
        flac = Path(beside) / "sound.flac"
        write_audio(flac, audio.waveform, audio.sample_rate, format="flac")
        archive.write(flac, f"{name}.flac")

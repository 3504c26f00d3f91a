"""The stems of a track, read under rules that are stricter than the app's.

In: a `Track`. Out: `Stems`, two mono waveforms of one length and rate; or an error whose one line says which
file, which value, and which limit.

    parts --read--> [C, T] each --sum--> vocal, instrumental --to_mono--> Stems
    mix   --read--> [C, T] --resample--> [2, T'] --separate--> vocal, instrumental --to_mono--> Stems

A singer's odd file is worth repairing; a training file is one of many, and a wrong one teaches. So this is
refused here, and taken by the app:

| found | limit |
|---|---|
| damaged, or its end missing | none |
| sample rate | 16 to 96 kHz |
| channels | 1 or 2 |
| samples beyond full scale, which the app scales down, and so changes the balance of the stems | 4.0 |
| duration | 1 s to 30 minutes |
| duration against what the source promises | 1 s |
| parts of a track against each other | one rate; 50 ms in length, which are cut off |
| its lead sheet against its stems | 50 ms in length |
| a stem, summed | audible, as `Audio` defines it; one part of a sum may be silent |

A stem that a separator gives may be silent: much music has no voice in it. The filter decides about that.
"""

import json
import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import reduce
from pathlib import Path
from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Float
from torch import Tensor

from hafm.audio.io import read_audio
from hafm.audio.resample import resample
from hafm.audio.sound import SILENCE_DBFS, Audio, to_mono
from hafm.data.collection.track import SoundPart, Track
from hafm.data.collection.truth import lead_sheet_of_truth
from hafm.errors import AudioContentError, LeadSheetError, UsageError
from hafm.guide.lead_sheet import LeadSheet
from hafm.guide.sheet_files import read_lead_sheet as read_sheet_file

__all__ = ["MixSeparator", "Stems", "read_lead_sheet", "read_stems"]

MIN_SAMPLE_RATE_HZ = 16_000
MAX_SAMPLE_RATE_HZ = 96_000
MAX_CHANNELS = 2
MIN_SECONDS = 1.0
MAX_SECONDS = 1800.0
MAX_OFF_PROMISE_SECONDS = 1.0
MAX_APART_SECONDS = 0.05


@runtime_checkable
class MixSeparator(Protocol):
    """What this module wants of `hafm.separate.Separator`."""

    @property
    def sample_rate(self) -> int:
        """Samples per second of what goes in and comes out."""
        ...

    def separate(self, mix: Float[Tensor, "C T"], /) -> tuple[Float[Tensor, "C T"], Float[Tensor, "C T"]]:
        """Vocal and instrumental of a stereo mix."""
        ...


@dataclass(frozen=True, kw_only=True, eq=False)
class Stems:
    """The two halves of a track.

    Args:
        vocal: float32, mono, finite.
        instrumental: the same, and as long.
        sample_rate: samples per second of both.
        notes: what was done to them, one line each.
        separating_seconds: that the separator took; 0 for stems from files.
    """

    vocal: Float[Tensor, " T"]
    instrumental: Float[Tensor, " T"]
    sample_rate: int
    notes: tuple[str, ...] = ()
    separating_seconds: float = 0.0

    @property
    def seconds(self) -> float:
        return self.vocal.shape[0] / self.sample_rate


def read_stems(track: Track, *, separator: MixSeparator | None) -> Stems:
    """Read the stems of a track, or take them out of its mix.

    Args:
        separator: for tracks that have a mix alone.

    Returns:
        Stems at the rate of the files, or at the separator's.

    Raises:
        AudioReadError: a file is missing, is no audio, or cannot be decoded.
        AudioContentError: what it holds is not fit for training: see the table of this module.
        UsageError: the track has to be separated and there is no separator.
    """
    if not track.needs_separation:
        return _from_parts(track)
    if separator is None:
        raise UsageError(
            f"track {track.id!r} is a mix and has to be separated; give an MDX-Net model with --separator"
        )
    return _from_mix(track, separator)


def read_lead_sheet(track: Track, *, seconds: float) -> LeadSheet | None:
    """Read the lead sheet of a track whose stems last some seconds; None if the track names none.

    Raises:
        LeadSheetError: the file cannot be read, or is of a sound of another length.
    """
    if (part := track.lead_sheet) is None:
        return None
    if part.kind == "file":
        return read_sheet_file(part.path, duration_seconds=seconds)
    try:
        sheet = lead_sheet_of_truth(json.loads(Path(part.path).read_bytes()))
    except (OSError, ValueError, RecursionError) as error:
        raise LeadSheetError(f"'{part.path}' cannot be read ({error}); render it again") from error
    except LeadSheetError as error:
        raise LeadSheetError(f"'{part.path}': {error}") from error
    if abs(sheet.duration_seconds - seconds) > MAX_APART_SECONDS:
        raise LeadSheetError(
            f"'{part.path}' is the lead sheet of {sheet.duration_seconds:.2f} s and its sound lasts "
            f"{seconds:.2f} s; training takes {MAX_APART_SECONDS:g} s of difference"
        )
    return sheet


def _from_parts(track: Track) -> Stems:
    # A part that is a stem by itself must be heard; of several, one may rest all the song.
    vocal, instrumental = (
        [_read(part, track, allow_silence=len(parts) > 1) for part in parts]
        for parts in (track.vocal, track.instrumental)
    )
    samples, notes = _common_length(vocal + instrumental, track)
    return Stems(
        vocal=_summed(vocal, samples, track, "vocal"),
        instrumental=_summed(instrumental, samples, track, "instrumental"),
        sample_rate=vocal[0].sample_rate,
        notes=_notes(vocal + instrumental) + notes,
    )


def _from_mix(track: Track, separator: MixSeparator) -> Stems:
    assert track.mix is not None, "a track without stems has a mix"
    audio = _read(track.mix, track)
    stereo = audio.waveform.expand(2, -1)
    mix = resample(stereo, audio.sample_rate, separator.sample_rate)
    began = time.perf_counter()
    separated = separator.separate(mix)
    separating_seconds = time.perf_counter() - began
    vocal, instrumental = (to_mono(stem) for stem in separated)
    for name, stem in (("vocal", vocal), ("instrumental", instrumental)):
        if not stem.isfinite().all():
            raise AudioContentError(f"the separated {name} of {track.id!r} is not finite; check the model")
    return Stems(
        vocal=vocal,
        instrumental=instrumental,
        sample_rate=separator.sample_rate,
        notes=_notes([audio]),
        separating_seconds=separating_seconds,
    )


def _read(part: SoundPart, track: Track, *, allow_silence: bool = False) -> Audio:
    audio = read_audio(
        part.path,
        audio_stream=0 if part.stream is None else part.stream,
        min_seconds=MIN_SECONDS,
        max_seconds=MAX_SECONDS,
        allow_silence=allow_silence,
    )
    if fault := _fault(audio, track):
        raise AudioContentError(f"{_name(part)} {fault}")
    return audio


def _fault(audio: Audio, track: Track) -> str:
    """What speaks against training on a file; nothing, if nothing does."""
    if not audio.is_whole:
        return f"is not whole ({'; '.join(audio.notes)}); training takes whole files"
    if not MIN_SAMPLE_RATE_HZ <= audio.sample_rate <= MAX_SAMPLE_RATE_HZ:
        return (
            f"has a sample rate of {audio.sample_rate} Hz; training takes {MIN_SAMPLE_RATE_HZ} to "
            f"{MAX_SAMPLE_RATE_HZ} Hz"
        )
    if audio.file_channels > MAX_CHANNELS:
        return f"has {audio.file_channels} channels; training takes 1 or {MAX_CHANNELS}"
    if audio.scale != 1:
        return f"reaches {1 / audio.scale:.4g} times full scale; training takes up to 4"
    if track.seconds is not None and abs(audio.seconds - track.seconds) > MAX_OFF_PROMISE_SECONDS:
        return (
            f"lasts {audio.seconds:.2f} s and should last {track.seconds:.2f} s; training takes "
            f"{MAX_OFF_PROMISE_SECONDS:g} s of difference"
        )
    return ""


def _common_length(parts: Sequence[Audio], track: Track) -> tuple[int, tuple[str, ...]]:
    """Samples of the shortest part, and a note if others were longer."""
    rates = sorted({audio.sample_rate for audio in parts})
    if len(rates) > 1:
        raise AudioContentError(
            f"the parts of {track.id!r} have sample rates of {' and '.join(map(str, rates))} Hz; training "
            "takes one"
        )
    shortest, longest = (find(audio.num_samples for audio in parts) for find in (min, max))
    apart = (longest - shortest) / rates[0]
    if apart > MAX_APART_SECONDS:
        raise AudioContentError(
            f"the parts of {track.id!r} last {shortest / rates[0]:.2f} to {longest / rates[0]:.2f} s; "
            f"training takes {MAX_APART_SECONDS:g} s of difference"
        )
    note = f"parts differ in length by {1000 * apart:.1f} ms; the longer ones were cut"
    return shortest, (note,) if apart else ()


def _summed(parts: Sequence[Audio], samples: int, track: Track, name: str) -> Float[Tensor, " T"]:
    waveforms = (audio.waveform[:, :samples] for audio in parts)
    stem = to_mono(reduce(torch.add, waveforms))  # a mono part is in both channels of the sum
    if float(stem.abs().max()) <= 10 ** (SILENCE_DBFS / 20):
        raise AudioContentError(
            f"the {name} of {track.id!r} is silent; training wants more than {SILENCE_DBFS:g} dBFS "
            "in the sum of its parts"
        )
    return stem


def _name(part: SoundPart) -> str:
    where = f"'{part.path}'" if part.path.isprintable() else ascii(part.path)
    return where if part.stream is None else f"{where}, stream {part.stream},"


def _notes(parts: Sequence[Audio]) -> tuple[str, ...]:
    """What the gateway noted, each thing once."""
    return tuple(dict.fromkeys(note for audio in parts for note in audio.notes))

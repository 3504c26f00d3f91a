"""What comes out: an accompaniment, its tokens and how it was made; a mix of it; and files.

In: the values of one generation. Out: a mix `[C, T]`, stems, or files.

    OUT/accompaniment.wav   mono, as long as the vocal and at its sample rate
    OUT/mix.wav             with the vocal, in the vocal's channels
    OUT/vocal.wav           only if it was separated from a song: as it was heard, and is in the mix
    OUT/stems/drums.wav     with stems: drums, bass, harmony, melody; their sum is the accompaniment
    OUT/lead-sheet.json     if one is followed; lead-sheet.mid, too, if it has beats
    OUT/generation.json     how to make them again (`hafm.generate.record`)

Conventions: the files are written beside the folder under another name and take their places together,
`generation.json` last. Whoever finds it finds the sounds that it names; its hashes tell whether they are
still those.
"""

import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import BinaryIO, Literal, Self

import torch
from jaxtyping import Float, Int
from torch import Tensor

from hafm.audio.io import write_audio
from hafm.audio.mixdown import BALANCE_DB, LOUDNESS_LUFS, mixdown
from hafm.audio.sound import Audio
from hafm.audio.write_blocks import Encoding, write_blocks
from hafm.device import one_thread
from hafm.errors import OutputError, UsageError
from hafm.files import atomic_file, check_output_folder, hashes, is_unused, scratch_file, staged_folder
from hafm.generate.record import GenerationRecord, Output
from hafm.guide.lead_sheet import LeadSheet
from hafm.guide.sheet_files import write_sheet_files
from hafm.separate.stems import STEMS
from hafm.stages.separators import builtin_separator, separator_fingerprint

__all__ = ["RECORD_FILE", "Accompaniment", "Tokens", "write_mixed", "write_stems"]

RECORD_FILE = "generation.json"

_BYTES_PER_SAMPLE = 4  # 24 bits and room for headers
_SCRATCH_SAMPLES = 1 << 18


@dataclass(frozen=True, kw_only=True, eq=False)
class Tokens:
    """The tokens of every stage, on the CPU.

    Args:
        vocal_semantic: what was heard, at 50 Hz.
        instrumental_semantic: what the semantic stage made of it, at 50 Hz.
        codes: what the coarse and the fine stage made of that, at 75 Hz; of the coarse alone if the fine was
            skipped.
    """

    vocal_semantic: Int[Tensor, " F50"]
    instrumental_semantic: Int[Tensor, " F50"]
    codes: Int[Tensor, "K F75"]

    @classmethod
    def of(cls, heard: Int[Tensor, "1 F50"], made: Int[Tensor, "1 F50"], codes: Int[Tensor, "K F75"]) -> Self:
        """Those of one take, wherever they are."""
        return cls(vocal_semantic=heard[0].cpu(), instrumental_semantic=made[0].cpu(), codes=codes.cpu())


@dataclass(frozen=True, kw_only=True, eq=False)
class Accompaniment:
    """One generated accompaniment. Made by `Accompanist`.

    Args:
        waveform: mono, exactly as long as the vocal, within full scale.
        sample_rate: the vocal's own.
        tokens: of every stage.
        vocal: what it accompanies.
        record: how it was made.
        notes: what a user should know, one line each.
    """

    waveform: Float[Tensor, "1 T"]
    sample_rate: int
    tokens: Tokens
    vocal: Audio
    record: GenerationRecord
    notes: tuple[str, ...] = ()

    def __repr__(self) -> str:
        seconds, settings = self.waveform.shape[1] / self.sample_rate, self.record.settings
        return (
            f"Accompaniment({seconds:.2f} s at {self.sample_rate} Hz, seed {settings.seed}, "
            f"take {settings.take}, bundle {self.record.bundle.name} {self.record.bundle.version})"
        )

    @property
    def lead_sheet(self) -> LeadSheet | None:
        """What the band follows; None for none."""
        return self.record.lead_sheet

    def mix(
        self, *, balance_db: float = BALANCE_DB, loudness_lufs: float = LOUDNESS_LUFS
    ) -> Float[Tensor, "C T"]:
        """Vocal and accompaniment together, the vocal untouched apart from one constant gain.

        Args:
            balance_db: loudness of the accompaniment against the vocal's, from -60 to 60.
            loudness_lufs: loudness of the mix, from -70 to 0, as far as a true peak of -1 dBTP permits.

        Raises:
            UsageError: a level is outside its range.
        """
        mixed, _ = mixdown(
            self.vocal.waveform,
            self.waveform,
            self.sample_rate,
            balance_db=balance_db,
            loudness_lufs=loudness_lufs,
        )
        return mixed

    def stems(self) -> dict[str, Float[Tensor, "1 T"]]:
        """The accompaniment, parted into `"drums"`, `"bass"`, `"harmony"` and `"melody"`.

        The stages play a band in one; another net hears who plays what (`hafm.separate.stems`). Stems are as
        long as the accompaniment and add up to it.
        """
        with one_thread():
            return builtin_separator().separate(self.waveform, self.sample_rate)

    def save(
        self,
        folder: str | os.PathLike[str],
        *,
        format: Literal["wav", "flac"] = "wav",
        stems: bool = False,
        overwrite: bool = False,
        balance_db: float = BALANCE_DB,
        loudness_lufs: float = LOUDNESS_LUFS,
    ) -> dict[str, Path]:
        """Writes accompaniment, mix, record, a vocal that was separated, and the lead sheet: all or nothing.

        Args:
            folder: where to; made if it is not there.
            format: of the sound files.
            stems: whether to write the stems, too.
            overwrite: whether files in the folder may be replaced; others that lie there stay.
            balance_db, loudness_lufs: of the mix; see `mix`.

        Returns:
            The files, under `"accompaniment"`, `"mix"` and `"record"`, `"vocal"` if it was separated,
            `"stems/drums"` and so on, and `"lead_sheet"` and `"midi"` if a sheet is followed.

        Raises:
            UsageError: a level is outside its range, or the format is unknown.
            LeadSheetError: beats are too far apart for MIDI.
            OutputError: the folder is in use or holds the vocal, the disk is full, or there is no permission.
        """
        if format not in ("wav", "flac"):
            raise UsageError(f"format={format!r}: give 'wav' or 'flac'")
        channels = 1 + self.vocal.num_channels * (1 if self.record.separation is None else 2)
        channels += 2 * len(STEMS) if stems else 0  # they are files of floats first
        target = check_output_folder(
            folder,
            overwrite=True,
            needed_bytes=_BYTES_PER_SAMPLE * channels * self.vocal.num_samples,
            source=self.vocal.path,
        )
        if not (overwrite or is_unused(target)):
            raise OutputError(
                f"'{target}' already holds files; give another folder, or allow replacing (overwrite=True)"
            )
        with staged_folder(target, last=[RECORD_FILE]) as filled:
            paths, _ = self.write(
                filled.staging,
                format=format,
                stems=stems,
                balance_db=balance_db,
                loudness_lufs=loudness_lufs,
            )
            sheet = self.lead_sheet
            if sheet is not None and sheet != LeadSheet(duration_seconds=sheet.duration_seconds):
                paths |= write_sheet_files(sheet, filled.staging, names=("lead_sheet", "midi"))
        return {what: filled.final(path) for what, path in paths.items()}

    def write(
        self,
        folder: Path,
        *,
        format: Literal["wav", "flac"] = "wav",
        stems: bool = False,
        balance_db: float = BALANCE_DB,
        loudness_lufs: float = LOUDNESS_LUFS,
    ) -> tuple[dict[str, Path], Output]:
        """Writes what `save` writes, but for the lead sheet, one by one into a folder that nobody reads yet.

        Returns:
            The files as `save` returns them, and what the record says of them.
        """
        paths, output = write_mixed(
            folder,
            vocal=self.vocal,
            accompaniment=self.waveform,
            format=format,
            balance_db=balance_db,
            loudness_lufs=loudness_lufs,
        )
        if self.record.separation is not None:
            sung, rate = self.vocal.waveform, self.sample_rate
            peak = float(sung.abs().max())
            paths["vocal"] = _write_unscaled(folder, "vocal", [sung], rate, sung.shape, peak, format)
            output = replace(output, files={**output.files, **hashes(folder, [paths["vocal"]])})
        if stems:
            written, fingerprint = write_stems(folder, self.waveform, self.sample_rate, format=format)
            paths |= written
            files = {**output.files, **hashes(folder, written.values())}
            output = replace(output, files=files, stems=fingerprint)
        paths["record"] = folder / RECORD_FILE
        with atomic_file(paths["record"]) as file:
            file.write(replace(self.record, output=output).to_json().encode())
        return paths, output


def write_mixed(
    folder: Path,
    *,
    vocal: Audio,
    accompaniment: Float[Tensor, "1 T"],
    format: Literal["wav", "flac"] = "wav",
    balance_db: float = BALANCE_DB,
    loudness_lufs: float = LOUDNESS_LUFS,
) -> tuple[dict[str, Path], Output]:
    """Writes an accompaniment, wherever it came from, and its mix with the vocal.

    Args:
        folder: where to; made if it is not there.
        accompaniment: mono, as long as the vocal and at its rate.
        format, balance_db, loudness_lufs: see `Accompaniment.save`.

    Returns:
        The files, under `"accompaniment"` and `"mix"`, and what a record says of them.

    Raises:
        UsageError: a level is outside its range.
        OutputError: the disk is full, or there is no permission.
    """
    mixed, levels = mixdown(
        vocal.waveform, accompaniment, vocal.sample_rate, balance_db=balance_db, loudness_lufs=loudness_lufs
    )
    folder.mkdir(parents=True, exist_ok=True)
    sounds = {"accompaniment": accompaniment, "mix": mixed}
    paths = {what: folder / f"{what}.{format}" for what in sounds}
    for what, waveform in sounds.items():
        write_audio(paths[what], waveform, vocal.sample_rate, format=format)
    output = Output(
        format=format,
        balance_db=balance_db,
        loudness_lufs=loudness_lufs,
        levels=asdict(levels),
        files=hashes(folder, paths.values()),
    )
    return paths, output


def write_stems(
    folder: Path, band: Float[Tensor, "C T"], sample_rate: int, *, format: Literal["wav", "flac"] = "wav"
) -> tuple[dict[str, Path], str]:
    """Parts a band into its players and writes their stems; memory does not grow with the band's length.

    Args:
        folder: where to; the files are in its folder `stems`.
        band: instruments only.
        sample_rate: in Hz.
        format: of the files; what would clip is WAV with floats.

    Returns:
        The files, under `"stems/drums"` and so on, and the fingerprint of what parted the band.

    Raises:
        OutputError: the disk is full, or there is no permission.
    """
    separator = builtin_separator()
    (folder / "stems").mkdir(exist_ok=True)
    with one_thread(), ExitStack() as scratch:
        floats = [scratch.enter_context(scratch_file(folder / "stems")) for _ in STEMS]
        peaks = torch.zeros(len(STEMS))
        for block in separator.separate_blocks(band, sample_rate):
            peaks = peaks.maximum(block.abs().amax(dim=(1, 2)))
            for file, stem in zip(floats, block, strict=True):
                file.write(stem.T.contiguous().numpy().tobytes())
        paths = {}
        for name, file, peak in zip(STEMS, floats, peaks.tolist(), strict=True):
            file.seek(0)
            what, blocks = f"stems/{name}", _read_floats(file, len(band))
            paths[what] = _write_unscaled(folder, what, blocks, sample_rate, band.shape, peak, format)
    return paths, separator_fingerprint(separator)


def _read_floats(file: BinaryIO, channels: int) -> Iterator[Float[Tensor, "C _"]]:
    while read := file.read(_SCRATCH_SAMPLES * channels * 4):
        yield torch.frombuffer(bytearray(read), dtype=torch.float32).view(-1, channels).T


def _write_unscaled(
    folder: Path,
    what: str,
    blocks: Iterable[Float[Tensor, "C _"]],
    sample_rate: int,
    shape: Sequence[int],
    peak: float,
    format: Literal["wav", "flac"],
) -> Path:
    """The file of a sound that keeps its own level: WAV with floats where 24 bits would clip it."""
    encoding: Encoding = format if peak <= 1.0 else "wav-float"
    path = folder / f"{what}.{encoding.removesuffix('-float')}"
    write_blocks(path, blocks, sample_rate, num_channels=shape[0], num_samples=shape[1], encoding=encoding)
    return path

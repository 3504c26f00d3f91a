"""An arrangement as files in a folder.

In: an arrangement, its sound, and the vocal if there is one. Out: files in a folder that nobody reads yet.

    lead-sheet.json      what is played
    arrangement.mid      the notes, a track for each instrument
    accompaniment.wav    stereo, exactly as long as the sheet's sound
    mix.wav              with the vocal, where there is one
    stems/drums.wav      with stems: drums, bass, harmony, melody; their sum is the accompaniment

All sounds are 24 bit, so the sum of four stems is the accompaniment to within two steps of 24 bits.
"""

from dataclasses import asdict
from pathlib import Path
from typing import Literal

from hafm.arrange.arranger import Arrangement, Rendering
from hafm.audio.io import write_audio
from hafm.audio.mixdown import BALANCE_DB, LOUDNESS_LUFS, mixdown
from hafm.audio.resample import resample
from hafm.audio.sound import Audio
from hafm.files import write_whole
from hafm.guide.sheet_json import lead_sheet_to_json

__all__ = ["rate_for", "write_arrangement"]


def rate_for(vocal_rate: int) -> int:
    """The sample rate beside a vocal: 44.1 or 48 kHz, whichever its own divides or is a multiple of.

    >>> rate_for(44_100), rate_for(22_050), rate_for(24_000), rate_for(96_000)
    (44100, 44100, 48000, 48000)
    """
    return 44_100 if vocal_rate % 11_025 == 0 else 48_000


def write_arrangement(
    folder: Path,
    arrangement: Arrangement,
    rendering: Rendering,
    *,
    vocal: Audio | None = None,
    format: Literal["wav", "flac"] = "wav",
    stems: bool = False,
    balance_db: float = BALANCE_DB,
    loudness_lufs: float = LOUDNESS_LUFS,
) -> tuple[dict[str, Path], dict[str, float | None]]:
    """Writes an arrangement.

    Args:
        folder: where to; made if it is not there.
        vocal: what it accompanies; None for no mix.
        balance_db, loudness_lufs: of the mix; see `hafm.audio.mixdown`.

    Returns:
        The files by what they hold, and the levels of the mix.

    Raises:
        UsageError: a level is outside its range.
        LeadSheetError: beats are too far apart for MIDI.
        OutputError: the disk is full, or there is no permission.
    """
    folder.mkdir(parents=True, exist_ok=True)
    paths = {"sheet": folder / "lead-sheet.json", "midi": folder / "arrangement.mid"}
    write_whole(paths["sheet"], lead_sheet_to_json(arrangement.sheet))
    write_whole(paths["midi"], arrangement.midi())
    accompaniment = rendering.accompaniment
    sounds = {"accompaniment": accompaniment}
    levels: dict[str, float | None] = {}
    if vocal is not None:
        beside = resample(vocal.waveform, vocal.sample_rate, rendering.sample_rate, accompaniment.shape[1])
        sounds["mix"], found = mixdown(
            beside,
            accompaniment,
            rendering.sample_rate,
            balance_db=balance_db,
            loudness_lufs=loudness_lufs,
        )
        levels = asdict(found)
    if stems:
        (folder / "stems").mkdir(exist_ok=True)
        sounds |= {f"stems/{player}": stem for player, stem in rendering.stems.items()}
    for name, sound in sounds.items():
        paths[name] = folder / f"{name}.{format}"
        write_audio(paths[name], sound, rendering.sample_rate, format=format)
    return paths, levels

"""What a codec keeps of music: key, scale, bass notes, timbre and treble, beside the sound that went in.

    python -m recipes.builtin.measure_codec --codec work/codec/export --sounds real=FOLDER valid=FOLDER

In:  codecs, and folders of `NAME.accompaniment.flac` (with `NAME.vocals.flac`) or `NAME.instrumental.wav`
(with `NAME.vocal.wav`). Out: a table for each folder, and the same as JSON.

| figure | meaning |
|---|---|
| key_soft | correlation of the sound's pitch-class profile with the probe tones of the vocal's key, mean |
| in scale | share of that profile on the seven notes of the key estimated from the original |
| bass chroma | correlation with the original's chroma of 55 to 220 Hz, frame by frame, means removed |
| mid chroma | the same for 220 to 880 Hz |
| Fréchet | distance of the whole set to the originals, `hafm-mel-modulation` |
| treble dB | energy above 8 kHz against the original's, mean over the sounds that have any |
| repeats | share of frames whose first code is that of the frame before |

Conventions: sounds are brought to -20 dBFS RMS first, as everywhere in training, and decoded sounds stay at
the level they come with. Frames for chroma are 8192 samples, ten per second; those more than 40 dB below the
loudest one of their band are left out.
"""

import argparse
import json
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from hafm.audio.io import read_audio
from hafm.audio.resample import resample
from hafm.evaluate.embeddings.builtin import MelModulation
from hafm.evaluate.fad import fad
from hafm.evaluate.key import MAJOR_PROFILE, MINOR_PROFILE, Key, estimate_key, pitch_class_profile
from hafm.tokens.chroma import fold_octaves, semitone_filters
from hafm.tokens.codec.model import SpectralCodec
from hafm.tokens.spectrum import band_powers

__all__ = ["Clip", "chroma_kept", "figures", "in_scale_share", "key_softness", "load_clips", "measure_codec"]

SAMPLE_RATE = 24_000
TARGET_RMS = 0.1
CHROMA_WINDOW, CHROMA_HOP = 8_192, 2_400
CHROMA_RANGE_DB = 40.0
BASS_NOTES, MID_NOTES = (33, 57), (57, 81)
TREBLE_HZ = 8_000.0
TREBLE_FLOOR_DB = -60.0
"""Sounds with less than this above 8 kHz, against the whole, have no treble that could be kept."""
MAJOR_SCALE = (0, 2, 4, 5, 7, 9, 11)


@dataclass(frozen=True, kw_only=True, eq=False)
class Clip:
    """An instrumental at -20 dBFS RMS, and the key of the voice that goes with it (None: no voice)."""

    sound: Float[Tensor, " T"]
    vocal_key: Key | None


def load_clips(folder: Path, *, max_seconds: float, limit: int | None) -> list[Clip]:
    """Every instrumental of a folder, by name."""
    clips = []
    for path in sorted((*folder.glob("*.accompaniment.flac"), *folder.glob("*.instrumental.wav")))[:limit]:
        vocal = path.with_name(path.name.replace("accompaniment", "vocals").replace("instrumental", "vocal"))
        sound = _read(path, max_seconds)
        sound = sound[: len(sound) // 320 * 320]
        clips.append(
            Clip(
                sound=sound * (TARGET_RMS / sound.square().mean().sqrt()),
                vocal_key=estimate_key(_read(vocal, max_seconds), SAMPLE_RATE) if vocal.exists() else None,
            )
        )
    return clips


def key_softness(profile: Float[Tensor, "12"], key: Key) -> float:
    """Correlation of a pitch-class profile with the probe tones of a key.

    >>> round(key_softness(torch.tensor(MAJOR_PROFILE).roll(2), Key(2, "maj")), 3)
    1.0
    """
    probe = torch.tensor(MAJOR_PROFILE if key.mode == "maj" else MINOR_PROFILE).roll(key.tonic)
    return float(torch.corrcoef(torch.stack((profile.float(), probe)))[0, 1])


def in_scale_share(profile: Float[Tensor, "12"], key: Key) -> float:
    """Share of a pitch-class profile (of sum 1) on the seven notes of a key.

    >>> round(in_scale_share(torch.full((12,), 1 / 12), Key(9, "min")), 3)
    0.583
    """
    return float(profile[[(key.signature + degree) % 12 for degree in MAJOR_SCALE]].sum())


def chroma_kept(
    decoded: Float[Tensor, " T"], original: Float[Tensor, " T"], notes: tuple[int, int]
) -> float | None:
    """Mean correlation of the chroma of each frame, from the lowest to below the highest MIDI note.

    >>> tone = torch.sin(2 * torch.pi * 110 * torch.arange(24_000) / 24_000)
    >>> round(chroma_kept(0.5 * tone, tone, BASS_NOTES), 3)
    1.0
    """
    filters = semitone_filters(
        size=CHROMA_WINDOW, sample_rate=SAMPLE_RATE, low_note=notes[0], high_note=notes[1] - 1
    )
    powers = [band_powers(x[None], filters, hop=CHROMA_HOP) for x in (decoded, original)]
    total = powers[1].sum(-1)[0]
    sounding = total > total.max() * 10 ** (-CHROMA_RANGE_DB / 10)
    if not sounding.any():
        return None
    chroma = [fold_octaves(power.sqrt(), low_note=notes[0], by="sum")[0, sounding] for power in powers]
    centred = [values - values.mean(1, keepdim=True) for values in chroma]
    return float(torch.cosine_similarity(centred[0], centred[1], dim=1).mean())


def measure_codec(
    codec: SpectralCodec, clips: Sequence[Clip], *, num_codebooks: Sequence[int] = (8, 4)
) -> dict[str, Any]:
    """All figures of the originals and of what the codec makes of them from its first codebooks."""
    started = time.process_time()
    codes = [codec.encode(clip.sound.view(1, 1, -1)) for clip in clips]
    encoding = time.process_time() - started
    report: dict[str, Any] = {"original": figures([clip.sound for clip in clips], clips)}
    seconds = sum(len(clip.sound) for clip in clips) / SAMPLE_RATE
    for count in num_codebooks:
        started = time.process_time()
        decoded = [codec.decode(ids[:, :count])[0, 0] for ids in codes]
        decoding = time.process_time() - started
        report[f"{count} codebooks"] = figures(decoded, clips) | {
            "core_seconds_per_second": (encoding + decoding) / seconds
        }
    same = [(ids[0, :, 1:] == ids[0, :, :-1]).float().mean(1) for ids in codes]
    report["repeats"] = torch.stack(same).mean(0).tolist()
    report["sounds"], report["seconds"] = len(clips), seconds
    return report


def format_music(name: str, report: dict[str, Any]) -> str:
    """One Markdown table; figures of key and scale with their share of the original's in brackets."""
    original = report["original"]
    lines = [
        f"{name}: {report['sounds']} sounds, {report['seconds']:.0f} s; "
        f"repeats {', '.join(f'{share:.2f}' for share in report['repeats'])}",
        "",
        "| decoded from | key_soft | in scale | bass chroma | mid chroma | Fréchet | treble dB | core s/s |",
        "|---|---|---|---|---|---|---|---|",
        f"| original | {original['key_soft']:.3f} | {original['in_scale']:.3f} | 1 | 1 | 0 | 0 | |",
    ]
    for row_name, row in report.items():
        if row_name.endswith("codebooks"):
            shares = (row["key_soft"] / original["key_soft"], row["in_scale"] / original["in_scale"])
            lines.append(
                f"| {row_name} | {row['key_soft']:.3f} ({shares[0]:.2f}) "
                f"| {row['in_scale']:.3f} ({shares[1]:.2f}) | {row['bass_chroma']:.3f} "
                f"| {row['mid_chroma']:.3f} | {row['frechet']:.3f} | {row['treble_db']:+.1f} "
                f"| {row['core_seconds_per_second']:.3f} |"
            )
    return "\n".join(lines)


def figures(decoded: Sequence[Tensor], clips: Sequence[Clip]) -> dict[str, float]:
    """Of decoded sounds beside the clips that they were made from."""
    profiles = [pitch_class_profile(sound, SAMPLE_RATE) for sound in decoded]
    own_keys = [estimate_key(clip.sound, SAMPLE_RATE) for clip in clips]
    embedding = MelModulation()
    points = [[embedding.embed(sound) for sound in sounds] for sounds in ([c.sound for c in clips], decoded)]
    return {
        "key_soft": _mean(
            key_softness(profile, clip.vocal_key) if clip.vocal_key else None
            for profile, clip in zip(profiles, clips, strict=True)
        ),
        "key_soft_own": _mean(map(key_softness, profiles, own_keys)),
        "in_scale": _mean(map(in_scale_share, profiles, own_keys)),
        "bass_chroma": _mean(
            chroma_kept(d, c.sound, BASS_NOTES) for d, c in zip(decoded, clips, strict=True)
        ),
        "mid_chroma": _mean(chroma_kept(d, c.sound, MID_NOTES) for d, c in zip(decoded, clips, strict=True)),
        "frechet": fad(*points),
        "treble_db": _mean(_treble_db(d, c.sound) for d, c in zip(decoded, clips, strict=True)),
    }


def _treble_db(decoded: Tensor, original: Tensor) -> float | None:
    first = round(TREBLE_HZ * len(original) / SAMPLE_RATE)
    treble = [float(torch.fft.rfft(x)[first:].abs().square().sum()) for x in (decoded, original)]
    whole = float(torch.fft.rfft(original).abs().square().sum())
    if treble[1] < whole * 10 ** (TREBLE_FLOOR_DB / 10):
        return None
    return float(10 * torch.log10(torch.tensor(max(treble[0], 1e-20) / treble[1])))


def _mean(values: Any) -> float:
    known = [value for value in values if value is not None]
    return sum(known) / len(known) if known else float("nan")


def _read(path: Path, max_seconds: float) -> Tensor:
    audio = read_audio(path, min_seconds=0.5)
    mono = audio.waveform.mean(0, keepdim=True)
    return resample(mono, audio.sample_rate, SAMPLE_RATE)[0, : int(max_seconds * SAMPLE_RATE)]


def main(arguments: list[str] | None = None) -> int:
    """The command; prints a table for each codec and folder."""
    parser = argparse.ArgumentParser(prog="python -m recipes.builtin.measure_codec")
    parser.add_argument("--codec", type=Path, nargs="+", required=True)
    parser.add_argument("--sounds", nargs="+", required=True, help="NAME=FOLDER")
    parser.add_argument("--max-seconds", type=float, default=20.0)
    parser.add_argument("--limit", type=int)
    parser.add_argument("--out", type=Path)
    options = parser.parse_args(arguments)
    torch.set_num_threads(1)
    reports = {}
    for named in options.sounds:
        name, _, folder = named.partition("=")
        clips = load_clips(Path(folder), max_seconds=options.max_seconds, limit=options.limit)
        for place in options.codec:
            report = measure_codec(SpectralCodec.load(place), clips)
            reports[f"{name}, {place}"] = report
            print(format_music(f"{name}, {place}", report) + "\n", flush=True)
    if options.out is not None:
        options.out.write_text(json.dumps(reports, indent=1) + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())

"""Which stage does the sound lose by? Each link of the chain alone, and the settings of the stages.

    python -m benchmarks.links --pairs work/pairs/valid --songs 32 \
        --links codec fine coarse all --guidance 1 1.5 2 3 --coarse-guidance 1

In: rendered pairs, of which the first of each song is taken (10 s of it). Out: a line of JSON per link, with
the Fréchet distance to the true instrumentals of the same songs and what it is made of.

    codec    true codes                                               -> sound
    fine     true coarse codes              -> fine stage             -> sound
    coarse   true semantic tokens           -> coarse stage           -> sound, once per --coarse-guidance
    all      vocal and lead sheet           -> semantic, coarse stage -> sound, once per --guidance

The fine stage is left out of `coarse` and `all`: the distance does not see it (`fine` against `codec`).
Lead sheets are the true ones; with --estimated, what the bundle's analyser hears.

    level, spread, movement    squared distance of the embeddings' means, in their three parts
    level_sd, ...              their deviation over that of the true ones; below 1, clips are too much alike
"""

import argparse
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import pad

from hafm.audio.io import read_audio
from hafm.audio.limiter import limit_peaks
from hafm.audio.loudness import normalise_loudness
from hafm.audio.resample import resample
from hafm.audio.sound import Audio
from hafm.data.collection.truth import lead_sheet_of_truth
from hafm.evaluate.embeddings.builtin import MelModulation
from hafm.evaluate.fad import fad
from hafm.evaluate.fit.measures import MEASURES, Example
from hafm.evaluate.fit.truth import Truth, read_truth
from hafm.generate.sampling import LIKELIEST, SamplingSettings
from hafm.generate.seeds import generator_for
from hafm.generate.steps import analyse, codec_frames, hear, show
from hafm.generate.windows import generate_long
from hafm.guide.lead_sheet import LeadSheet
from hafm.stages.bundle import Bundle

RATE, START, SECONDS, LEVEL_LUFS = 24_000, 5.0, 10.0, -18.0
PARTS = {"level": slice(0, 32), "spread": slice(32, 64), "movement": slice(64, 128)}
NAMES = ("beat_truth", "chord_tones", "pulse_clarity")
CPU = torch.device("cpu")


@dataclass(frozen=True, kw_only=True)
class Song:
    """Ten seconds of a pair."""

    vocal: Tensor
    instrumental: Tensor
    truth: Truth
    sheet: LeadSheet


def levelled(waveform: Tensor) -> Tensor:
    """As accompaniments are delivered. Shape: [T] -> [T]."""
    louder, _ = normalise_loudness(waveform[None], RATE, LEVEL_LUFS)
    return limit_peaks(louder, RATE)[0]


def read_songs(folder: Path, count: int) -> list[Song]:
    """The first pair of each song."""
    found: dict[int, Song] = {}
    first, last = round(START * RATE), round((START + SECONDS) * RATE)
    for path in sorted(folder.glob("[0-9]*.json")):
        truth = json.loads(path.read_text(encoding="utf-8"))
        if truth["song_id"] in found or len(found) == count:
            continue
        sounds = []
        for side in ("vocal", "instrumental"):
            audio = read_audio(path.with_suffix(f".{side}.wav"))
            sounds.append(resample(audio.mono()[None], audio.sample_rate, RATE)[0, first:last])
        found[truth["song_id"]] = Song(
            vocal=sounds[0],
            instrumental=levelled(sounds[1]),
            truth=read_truth(path).part(start_seconds=START, seconds=SECONDS),
            sheet=lead_sheet_of_truth(truth).cropped(START, START + SECONDS),
        )
    return list(found.values())


class Chain:
    """The stages of a bundle on some songs, all songs as rows of one batch."""

    def __init__(self, bundle: Bundle, songs: Sequence[Song], *, estimated: bool) -> None:
        self.bundle, self.songs = bundle, songs
        vocals = [
            Audio(waveform=song.vocal[None], sample_rate=RATE, sha256="", file_channels=1) for song in songs
        ]
        self.heard = torch.cat([hear(bundle, vocal, seed=0, device=CPU) for vocal in vocals])
        self.num_frames = codec_frames(bundle, vocals[0])
        sheets = [analyse(bundle, vocal) for vocal in vocals] if estimated else [song.sheet for song in songs]
        self.guide = show(bundle, sheets, vocals[0], device=CPU)

    def true_semantic(self) -> Tensor:
        """Shape: [N, 1, F50]."""
        features = self.bundle.load_features("instrumental")
        kmeans = self.bundle.load_kmeans("instrumental")
        rows = [
            kmeans.predict(
                features.extract(resample(song.instrumental[None], RATE, features.sample_rate)).cpu()
            )
            for song in self.songs
        ]
        return torch.cat(rows)[:, None, : self.heard.shape[2]]

    def true_codes(self) -> Tensor:
        """Shape: [N, K, F75]."""
        codec = self.bundle.load_codec()
        rows = [codec.encode(song.instrumental[None, None]) for song in self.songs]
        return torch.cat(rows)[:, :, : self.num_frames]

    def run(self, name: str, *conditions: Tensor, frames: int, settings: SamplingSettings) -> Tensor:
        """One stage. Shape: [N, K, F] per condition -> [N, K, frames]."""
        model = self.bundle.load_stage(name, device=CPU)
        lengths = model.spec.source_frames(frames)
        guide = None
        if self.guide is not None and model.spec.guide is not None:
            guide = _fit(self.guide.mT, lengths[0]).mT
        return generate_long(
            model,
            tuple(_fit(ids, length) for ids, length in zip(conditions, lengths, strict=True)),
            guide=guide,
            target_frames=frames,
            settings=LIKELIEST if model.spec.pattern == "parallel" else settings,
            generators=[generator_for(seed=row, take=0, name=name) for row in range(len(self.songs))],
            on_step=None,
        )

    def sounds(self, codes: Tensor) -> list[Tensor]:
        """What is heard of codes, a row per song."""
        codec, size = self.bundle.load_codec(), round(SECONDS * RATE)
        decoded = [codec.decode(row).reshape(-1)[:size] for row in codes.split(1)]
        return [levelled(pad(waveform, (0, size - len(waveform)))) for waveform in decoded]


def _fit(ids: Tensor, frames: int) -> Tensor:
    return ids if ids.shape[2] >= frames else torch.cat([ids, ids[:, :, -1:]], dim=2)


def figures(songs: Sequence[Song], sounds: Iterable[Tensor]) -> dict[str, float]:
    """The distance, its parts, and how well the sounds fit."""
    embedding, sounds = MelModulation(), list(sounds)
    own = [embedding.embed(sound) for sound in sounds]
    true = [embedding.embed(song.instrumental) for song in songs]
    found = {"frechet": fad(true, own)}
    a, b = np.concatenate(true), np.concatenate(own)
    for name, part in PARTS.items():
        found[name] = float(((a[:, part].mean(0) - b[:, part].mean(0)) ** 2).sum())
        found[f"{name}_sd"] = float(b[:, part].std(0).mean() / a[:, part].std(0).mean())
    for name in NAMES:
        values = [
            MEASURES[name](Example(vocal=song.vocal, accompaniment=sound, sample_rate=RATE, truth=song.truth))
            for song, sound in zip(songs, sounds, strict=True)
        ]
        found[name] = float(np.mean([value for value in values if value is not None]))
    return {name: round(value, 3) for name, value in found.items()}


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--pairs", type=Path, required=True)
    parser.add_argument("--bundle", default="builtin")
    parser.add_argument("--songs", type=int, default=32)
    parser.add_argument("--links", nargs="+", default=["codec", "fine", "coarse", "all"])
    parser.add_argument("--guidance", type=float, nargs="+", default=[2.0])
    parser.add_argument("--coarse-guidance", type=float, nargs="+", default=[1.0])
    parser.add_argument("--temperature", type=float, default=0.9)
    parser.add_argument("--estimated", action="store_true", help="lead sheets as the bundle hears them")
    options = parser.parse_args()
    torch.set_num_threads(1)

    songs = read_songs(options.pairs, options.songs)
    chain = Chain(Bundle.open(options.bundle), songs, estimated=options.estimated)
    settings = SamplingSettings(temperature=options.temperature)

    def report(link: str, codes: Tensor, **said: Any) -> None:
        print(
            json.dumps({"link": link, "songs": len(songs), **said, **figures(songs, chain.sounds(codes))}),
            flush=True,
        )

    def coarse(semantic: Tensor, guidance: float) -> Tensor:
        own = replace(settings, guidance=guidance)
        return chain.run("coarse", chain.heard, semantic, frames=chain.num_frames, settings=own)

    if "codec" in options.links:
        report("codec", chain.true_codes())
    if "fine" in options.links:
        low = chain.true_codes()[:, :4]
        high = chain.run("fine", low, frames=chain.num_frames, settings=settings)
        report("fine", torch.cat([low, high], dim=1))
    if "coarse" in options.links:
        for guidance in options.coarse_guidance:
            report("coarse", coarse(chain.true_semantic(), guidance), coarse_guidance=guidance)
    if "all" in options.links:
        for guidance in options.guidance:
            own = replace(settings, guidance=guidance)
            semantic = chain.run("semantic", chain.heard, frames=chain.heard.shape[2], settings=own)
            for other in options.coarse_guidance:
                report("all", coarse(semantic, other), guidance=guidance, coarse_guidance=other)


if __name__ == "__main__":
    main()

"""Is the style that a lead sheet names in the band that the model plays?

    python -m benchmarks.styles --train work/pairs/train --tune work/pairs/valid --test work/pairs/test

In: rendered pairs of whole bands; of each the middle 10 s. Out: a table of how often a classifier names the
style of a sound, with 95 % intervals over clips, and a line of JSON.

The classifier (logistic regression; how much it is held back is chosen on --tune) was trained on true bands.
It is given the sound, and from the sheet only when bars begin:

    256   `MelModulation`, mean and deviation over the clip: timbre, density, how fast it moves
    72    onset strength, low, middle and high, in 24 parts of a bar, mean over bars: the pattern

    true        true bands of test songs: the ceiling
    coded       the same, through the codec of the bundle
    sheet       a control: the same kind of classifier, of tempo and meter alone, without any sound
    model       the model, given the true sheet: against its style
    model, changed     songs in four, the sheet's style replaced by another: against the new style
    model, changed, own     the same sounds against the style that the song has in truth
    model, changed, W, and own    as these two, with a weight of W for the style (--weights)
    arrange, arrange, changed    `hafm arrange` on the same sheets

Beside what the model plays: how well it keeps the beats and the chords of its sheet (`benchmarks.obedience`).
`model, changed` can be right only by the style in the sheet; what a band of the true sheet has of its style
may come from tempo, meter and who plays.
"""

import argparse
import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from torch import Tensor

from benchmarks.links import RATE, SECONDS, START
from benchmarks.obedience import judged
from hafm import Accompanist, arrange_sheet
from hafm.audio.io import read_audio
from hafm.audio.resample import resample
from hafm.data.collection.truth import lead_sheet_of_truth
from hafm.evaluate.embeddings.builtin import MelModulation
from hafm.evaluate.statistics import bootstrap_interval
from hafm.generate.guidance import STYLE_GUIDANCE
from hafm.guide.bars import bars_of
from hafm.guide.lead_sheet import STYLES, LeadSheet
from hafm.tokens.onset import onset_mel_filters, onset_strength
from hafm.tokens.spectrum import band_powers

PARTS_OF_BAR = 24
HOP = 480
HOLDS = (0.001, 0.003, 0.01, 0.03, 0.1)

Floats = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class Clip:
    """Ten seconds of a rendered band."""

    path: Path
    song: int
    sheet: LeadSheet
    band: Tensor

    @property
    def style(self) -> str:
        """The one that it was rendered in."""
        assert self.sheet.style is not None, "a rendered band has a style"
        return self.sheet.style


def read_clips(
    folder: Path, count: int | None = None, *, once: bool = False, sub_mixes: bool = False
) -> list[Clip]:
    """Clips of whole bands, or of sub-mixes too; with `once`, the first of each song."""
    clips: list[Clip] = []
    for path in sorted(folder.glob("[0-9]*.json")):
        truth = json.loads(path.read_text(encoding="utf-8"))
        seen = once and any(clip.song == truth["song_id"] for clip in clips)
        if not (truth["full"] or sub_mixes) or seen or len(clips) == count:
            continue
        clips.append(
            Clip(
                path=path,
                song=truth["song_id"],
                sheet=lead_sheet_of_truth(truth).cropped(START, START + SECONDS),
                band=even(stretch(path, "instrumental")),
            )
        )
    return clips


def even(sound: Tensor) -> Tensor:
    """The sound at a root mean square of a tenth of full scale. Shape: [T] -> [T]."""
    return sound * (0.1 / sound.square().mean().sqrt().clamp(min=1e-6))


def stretch(path: Path, side: str) -> Tensor:
    """The middle of one side of a pair. Shape [T]."""
    audio = read_audio(path.with_suffix(f".{side}.wav"), allow_silence=True)
    first, last = round(START * RATE), round((START + SECONDS) * RATE)
    return resample(audio.mono()[None], audio.sample_rate, RATE)[0, first:last]


def features(sound: Tensor, sheet: LeadSheet) -> Floats:
    """What the classifier is given of a sound. Shape [328]."""
    points = MelModulation().embed(sound)
    return np.concatenate([points.mean(0), points.std(0), pattern(sound, sheet).ravel()])


def pattern(sound: Tensor, sheet: LeadSheet) -> Floats:
    """Onset strength by place in the bar, as shares of its mean. Shape [24, 3]."""
    powers = band_powers(sound[None], onset_mel_filters(size=1024, sample_rate=RATE), hop=HOP)
    strength = onset_strength(powers)[0].numpy()
    bars = [bar for bar in bars_of(sheet) if len(bar.beats) == bar.num_beats]
    if not bars:
        return np.ones((PARTS_OF_BAR, strength.shape[1]))
    edges = np.array([*(bar.beats[0] for bar in bars), bars[-1].end_seconds])
    passed = np.interp((np.arange(len(strength)) + 0.5) * HOP / RATE, edges, np.arange(len(edges)), -1, -1)
    inside = passed >= 0
    places = (passed[inside] % 1 * PARTS_OF_BAR).astype(int)
    sums = np.zeros((PARTS_OF_BAR, strength.shape[1]))
    np.add.at(sums, places, strength[inside])
    counts = np.bincount(places, minlength=PARTS_OF_BAR).clip(1)[:, None]
    profile = sums / counts
    return np.asarray(profile / profile.mean(0).clip(1e-3))


def of_sheet(sheet: LeadSheet) -> Floats:
    """What a sheet says without its style. Shape [4]."""
    meter, tempo = sheet.meters[0], sheet.tempo_bpm or 0.0
    return np.array([np.log2(tempo), np.log2(tempo) ** 2, meter.beats_per_bar, meter.is_compound], float)


def trained(rows: Floats, names: Sequence[str], tune_rows: Floats, tune_names: Sequence[str]) -> Any:
    """The classifier that is best on `tune`."""
    found = [
        make_pipeline(StandardScaler(), LogisticRegression(C=hold, max_iter=2000)).fit(rows, names)
        for hold in HOLDS
    ]
    return max(found, key=lambda each: each.score(tune_rows, tune_names))


def changed(clips: Sequence[Clip]) -> list[Clip]:
    """Those in four, each in the style that is five on in the list; the waltz is for songs in three alone."""
    others = [style for style in STYLES if style != "waltz"]
    return [
        replace(clip, sheet=replace(clip.sheet, style=others[(others.index(clip.style) + 5) % len(others)]))
        for clip in clips
        if clip.style != "waltz"
    ]


def played(
    accompanist: Accompanist, clips: Sequence[Clip], rows: int, style_guidance: float | None
) -> list[Tensor]:
    """What the model plays to each clip's vocal and sheet."""
    sounds: list[Tensor] = []
    for first in range(0, len(clips), rows):
        part = clips[first : first + rows]
        made = accompanist.generate_batch(
            [stretch(clip.path, "vocal").numpy() for clip in part],
            sample_rate=RATE,
            guides=[clip.sheet for clip in part],
            seed=first,
            style_guidance=style_guidance,
        )
        sounds += [even(takes[0].waveform[0]) for takes in made]
        print(f"{len(sounds)} of {len(clips)} played", flush=True)
    return sounds


def arranged(clip: Clip, seed: int) -> Tensor:
    """What `hafm arrange` plays of a clip's sheet, in mono."""
    rendering = arrange_sheet(clip.sheet, seed=seed, excerpt=True).render(sample_rate=RATE)
    return even(rendering.accompaniment.mean(0))


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    for name in ("train", "tune", "test"):
        parser.add_argument(f"--{name}", type=Path, required=True, help="folder of rendered pairs")
    parser.add_argument("--bundle", default="builtin")
    parser.add_argument("--engine", default="auto")
    parser.add_argument("--clips", type=int, help="of --train; all without it")
    parser.add_argument("--songs", type=int, default=45, help="bands that the model makes")
    parser.add_argument("--rows", type=int, default=9, help="songs in one batch")
    parser.add_argument("--weights", type=float, nargs="*", default=[STYLE_GUIDANCE], help="of the style")
    options = parser.parse_args()
    torch.set_num_threads(1)

    sets = {
        "train": read_clips(options.train, options.clips),
        "tune": read_clips(options.tune),
        "test": read_clips(options.test),
    }
    styles = {name: [clip.style for clip in clips] for name, clips in sets.items()}
    rows = {
        name: np.stack([features(clip.band, clip.sheet) for clip in clips]) for name, clips in sets.items()
    }
    sheets = {name: np.stack([of_sheet(clip.sheet) for clip in clips]) for name, clips in sets.items()}
    classifier = trained(rows["train"], styles["train"], rows["tune"], styles["tune"])
    by_sheet = trained(sheets["train"], styles["train"], sheets["tune"], styles["tune"])
    print(", ".join(f"{len(clips)} {name} clips" for name, clips in sets.items()), flush=True)

    accompanist = Accompanist.from_pretrained(options.bundle, engine=options.engine)
    codec = accompanist.bundle.load_codec()

    def coded(sound: Tensor) -> Tensor:
        decoded = codec.decode(codec.encode(resample(sound[None], RATE, codec.sample_rate)[None]))[0]
        return even(resample(decoded, codec.sample_rate, RATE, len(sound))[0])

    figures: dict[str, dict[str, Any]] = {}

    def judge(name: str, said: Sequence[str], wanted: Sequence[str]) -> None:
        right = [float(one == other) for one, other in zip(said, wanted, strict=True)]
        interval = bootstrap_interval(right)
        chance = float(np.mean([[one == other for other in wanted] for one in said]))
        figures[name] = {
            "clips": len(right),
            "right": [interval.value, interval.low, interval.high],
            "chance": chance,
            "by_style": {
                style: [
                    sum(one for one, of in zip(right, wanted, strict=True) if of == style),
                    wanted.count(style),
                ]
                for style in STYLES
            },
        }
        print(
            f"| {name} | {len(right)} | {interval.value:.2f} [{interval.low:.2f}, {interval.high:.2f}] | "
            f"{chance:.2f} |",
            flush=True,
        )

    def named(sounds: Sequence[Tensor], clips: Sequence[Clip]) -> list[str]:
        return list(
            classifier.predict(
                np.stack([features(sound, clip.sheet) for sound, clip in zip(sounds, clips, strict=True)])
            )
        )

    clips = read_clips(options.test, options.songs, once=True)
    others = changed(clips)
    own = {clip.path: clip.style for clip in clips}
    print(f"bundle {accompanist.bundle.config.name} {accompanist.bundle.config.version}")
    print("\n| bands | clips | style named right | by chance |\n|---|---|---|---|")
    judge("true", list(classifier.predict(rows["test"])), styles["test"])
    judge("sheet", list(by_sheet.predict(sheets["test"])), styles["test"])
    judge("true, of these songs", named([clip.band for clip in clips], clips), [clip.style for clip in clips])
    judge("coded", named([coded(clip.band) for clip in clips], clips), [clip.style for clip in clips])
    for name, way in (("arrange", clips), ("arrange, changed", others)):
        sounds = [arranged(clip, seed) for seed, clip in enumerate(way)]
        judge(name, named(sounds, way), [clip.style for clip in way])
    ways: list[tuple[str, list[Clip], float | None]] = [
        ("model", clips, None),
        ("model, changed", others, None),
    ]
    ways += [(f"model, changed, {weight:g}", others, weight) for weight in options.weights]
    for name, way, weight in ways:
        sounds = played(accompanist, way, options.rows, weight)
        said = named(sounds, way)
        judge(name, said, [clip.style for clip in way])
        if way is others:
            judge(f"{name}, own", said, [own[clip.path] for clip in way])
        kept = np.array(
            [judged(sound, clip.sheet)[:3] for sound, clip in zip(sounds, way, strict=True)], float
        )
        figures[name] |= dict(
            zip(("beats", "downbeats", "chord tones"), np.nanmean(kept, axis=0), strict=True)
        )
        print(
            f"  beats {figures[name]['beats']:.2f}, chord tones {figures[name]['chord tones']:.2f}",
            flush=True,
        )
    print(json.dumps(figures))


if __name__ == "__main__":
    main()

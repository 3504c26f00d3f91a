"""Stems of what the model plays: who is heard in each, and does it keep the sheet?

    python -m benchmarks.stems --train work/pairs/train --test work/pairs/test

In: rendered pairs. Out: tables in Markdown, and a line of JSON. For each test song the model plays the whole
band, which is parted (`hafm generate --stems`); 10 s, one take. With `--asked` it plays four times more, to a
sheet that says that drums, bass, harmony or melody alone play in every bar, with the weight that who plays
has where somebody says so; with `--as-trained`, without it. How well bands are parted whose stems are known,
`benchmarks.parting` measures.

Who is heard, per 2 s, says a detector that was trained on true bands and sub-mixes (logistic regression on
`MelModulation`, one per player; truth: who plays in at least half of the window, or in none of it). How often
it is right about true sounds of test songs is in the first table: what it says of a stem is worth as much.
Beside it:

    percussive   share of the power that median filters give to hits (Fitzgerald 2010): drums near 1
    below 160 Hz share of the power: where kick and bass are
    beats        F-measure of tracked beats against the sheet's; the band analyser's likewise
    chord tones, bass    shares of the chroma on the sheet's chords and bass notes (`evaluate.fit.obedience`)
    chords       share of the time in which the band analyser names the sheet's root and third

    parted       the model, the whole band asked for, a stem of it
    model        the model, one player asked for
    arrange      stems of `hafm arrange` on the same sheets, which cannot leak: what the measures give at best
    whole        the model, the whole band asked for
    sum          the four stems of the model together, at the levels of `hafm arrange`
"""

import argparse
import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.ndimage import median_filter
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import balanced_accuracy_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from torch import Tensor

from benchmarks.analyser import times_of
from benchmarks.heard import states
from benchmarks.links import RATE, SECONDS
from benchmarks.styles import Clip, even, read_clips, stretch
from hafm import Accompanist, arrange_sheet
from hafm.errors import HafmError
from hafm.evaluate.embeddings.builtin import MelModulation
from hafm.evaluate.fit.beats import beat_f_measure, track_beats
from hafm.evaluate.fit.obedience import sheet_bass_share, sheet_beats, sheet_chord_share
from hafm.evaluate.statistics import bootstrap_interval
from hafm.generate.guidance import PLAYERS_GUIDANCE
from hafm.guide.analyser import Analyser
from hafm.guide.lead_sheet import PLAYERS, LeadSheet, PlayingSpan
from hafm.stages.separators import builtin_separator

WINDOW_SECONDS = 2.0
LOW_HZ = 160.0
LEVELS_DB = {"drums": 0.0, "bass": -1.0, "harmony": -3.0, "melody": -4.0}
SILENT_DB = -60.0
LEFT_DB = -25.0
"""Below that of the band a parted stem is taken for silence."""
MEASURES = (
    "percussive",
    "below 160 Hz",
    "beats",
    "beats, analyser",
    "chord tones",
    "bass",
    "chords, analyser",
)

Floats = NDArray[np.float64]


def playing(sheet: LeadSheet) -> Floats:
    """Share of each window in which each player plays. Shape [windows, 4]."""
    edges = np.arange(0, SECONDS + 0.1, WINDOW_SECONDS)
    shares = np.zeros((len(edges) - 1, len(PLAYERS)))
    for span in sheet.arrangement:
        inside = np.minimum(span.end_seconds, edges[1:]) - np.maximum(span.start_seconds, edges[:-1])
        shares += inside.clip(0)[:, None] * np.array([player in span.players for player in PLAYERS])
    return shares / WINDOW_SECONDS


class Detector:
    """Who plays in a sound."""

    def __init__(self, clips: Sequence[Clip]) -> None:
        points, shares = self._of(clips)
        self._models = []
        for player in range(len(PLAYERS)):
            clear = (shares[:, player] >= 0.5) | (shares[:, player] == 0)
            model = make_pipeline(
                StandardScaler(), LogisticRegression(C=0.03, class_weight="balanced", max_iter=1000)
            )
            self._models.append(model.fit(points[clear], shares[clear, player] >= 0.5))

    @staticmethod
    def _of(clips: Sequence[Clip]) -> tuple[Floats, Floats]:
        points = [MelModulation().embed(clip.band) for clip in clips]
        return np.concatenate(points), np.concatenate([playing(clip.sheet) for clip in clips])

    def heard(self, sound: Tensor) -> Floats:
        """Share of a sound's windows in which each player is heard. Shape [4]."""
        points = MelModulation().embed(sound)
        return np.array([model.predict(points).mean() for model in self._models])

    def right(self, clips: Sequence[Clip]) -> list[tuple[int, int, float]]:
        """For each player: windows with it, without it, and the balanced accuracy among them."""
        points, shares = self._of(clips)
        found = []
        for player, model in enumerate(self._models):
            clear = (shares[:, player] >= 0.5) | (shares[:, player] == 0)
            truth = shares[clear, player] >= 0.5
            score = balanced_accuracy_score(truth, model.predict(points[clear]))
            found.append((int(truth.sum()), int((~truth).sum()), float(score)))
        return found


def power_shares(sound: Tensor) -> tuple[float, float]:
    """Share of the power that is percussive, and that lies below 160 Hz."""
    size, hop = 2048, 512
    spectrum = torch.stft(sound, size, hop, window=torch.hann_window(size), return_complex=True).abs().numpy()
    held, hit = median_filter(spectrum, (1, 17)), median_filter(spectrum, (17, 1))
    power = spectrum**2
    share = hit**2 / (hit**2 + held**2 + 1e-12)
    low = round(LOW_HZ * size / RATE)
    total = max(float(power.sum()), 1e-9)
    return float((power * share).sum()) / total, float(power[:low].sum()) / total


def judged(sound: Tensor, sheet: LeadSheet, analyser: Analyser) -> list[float | None]:
    """What is measured of a sound, by `MEASURES`."""
    try:
        found = analyser.analyse(sound, RATE)
    except HafmError:  # too little sound to hear anything in
        found = LeadSheet(duration_seconds=SECONDS)
    size = min(len(states(found)), len(states(sheet)))
    said, wanted = states(found)[:size], states(sheet)[:size]
    known = wanted >= 0
    return [
        *power_shares(sound),
        beat_f_measure(track_beats(sound, RATE), sheet_beats(sheet)),
        beat_f_measure(list(times_of(found)), sheet_beats(sheet)),
        sheet_chord_share(sound, RATE, sheet),
        sheet_bass_share(sound, RATE, sheet),
        float((said == wanted)[known].mean()) if known.any() else None,
    ]


def alone(sheet: LeadSheet, player: str) -> LeadSheet:
    """The sheet with one player in all bars."""
    return replace(sheet, arrangement=(PlayingSpan.of(0.0, sheet.duration_seconds, (player,)),))


def played(
    accompanist: Accompanist,
    clips: Sequence[Clip],
    sheets: Sequence[LeadSheet],
    rows: int,
    players_guidance: float | None = None,
) -> list[Tensor]:
    """What the model plays to each clip's vocal and these sheets."""
    sounds: list[Tensor] = []
    for first in range(0, len(clips), rows):
        part = slice(first, first + rows)
        made = accompanist.generate_batch(
            [stretch(clip.path, "vocal").numpy() for clip in clips[part]],
            sample_rate=RATE,
            guides=sheets[part],
            seed=first,
            players_guidance=players_guidance,
        )
        sounds += [takes[0].waveform[0] for takes in made]
        print(f"{len(sounds)} of {len(clips)} played", flush=True)
    return sounds


def summed(stems: Mapping[str, Tensor]) -> Tensor:
    """The stems together. Each came at one loudness."""
    mix = sum(stem * 10 ** (LEVELS_DB[player] / 20) for player, stem in stems.items())
    assert isinstance(mix, Tensor), "there are four"
    return even(mix)


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    for name in ("train", "test"):
        parser.add_argument(f"--{name}", type=Path, required=True, help="folder of rendered pairs")
    parser.add_argument("--bundle", default="builtin")
    parser.add_argument("--engine", default="auto")
    parser.add_argument("--clips", type=int, default=800, help="that the detector learns from")
    parser.add_argument("--songs", type=int, default=20, help="that the model makes stems for")
    parser.add_argument("--rows", type=int, default=10, help="songs in one batch")
    parser.add_argument("--asked", action="store_true", help="each player asked for alone, too")
    parser.add_argument("--as-trained", action="store_true", help="and no weight for who plays")
    options = parser.parse_args()
    torch.set_num_threads(1)

    detector = Detector(read_clips(options.train, options.clips, sub_mixes=True))
    right = detector.right(read_clips(options.test, sub_mixes=True))
    print("| detector | windows with | without | right, balanced |\n|---|---|---|---|")
    for player, (present, absent, score) in zip(PLAYERS, right, strict=True):
        print(f"| {player} | {present} | {absent} | {score:.2f} |", flush=True)

    accompanist = Accompanist.from_pretrained(options.bundle, engine=options.engine)
    analyser = accompanist.bundle.load_analyser("band")
    print(f"bundle {accompanist.bundle.config.name} {accompanist.bundle.config.version}")
    clips = read_clips(options.test, options.songs, once=True)
    truths = [clip.sheet for clip in clips]
    whole = [replace(sheet, arrangement=()) for sheet in truths]

    bands = played(accompanist, clips, whole, options.rows)
    separator = builtin_separator()
    parted = [separator.separate(band[None], RATE) for band in bands]
    weight = None if options.as_trained else PLAYERS_GUIDANCE
    stems = {
        player: played(accompanist, clips, [alone(sheet, player) for sheet in truths], options.rows, weight)
        for player in (PLAYERS if options.asked else ())
    }
    renderings = [
        arrange_sheet(replace(sheet, arrangement=()), seed=seed, excerpt=True).render(sample_rate=RATE)
        for seed, sheet in enumerate(truths)
    ]
    sounds: dict[str, list[Tensor]] = {}
    for player in PLAYERS:
        sounds[f"parted, {player}"] = [
            _heard(stem[player][0], band) for stem, band in zip(parted, bands, strict=True)
        ]
        if stems:
            sounds[f"model, {player}"] = [even(stem) for stem in stems[player]]
        mono = [rendering.stems[player].mean(0) for rendering in renderings]
        sounds[f"arrange, {player}"] = [even(stem) if _sounds(stem) else stem for stem in mono]
    sounds["model, whole"] = [even(band) for band in bands]
    if stems:
        sounds["model, sum"] = [
            summed({player: stems[player][number] for player in PLAYERS}) for number in range(len(clips))
        ]

    figures: dict[str, Any] = {"detector": right}
    rows = []
    for name, made in sounds.items():
        pairs = [(sound, sheet) for sound, sheet in zip(made, truths, strict=True) if _sounds(sound)]
        heard = np.stack([detector.heard(sound) for sound, _ in pairs]).mean(0)
        values = [judged(sound, sheet, analyser) for sound, sheet in pairs]
        columns = [[value for value in column if value is not None] for column in zip(*values, strict=True)]
        means = [bootstrap_interval(column) if column else None for column in columns]
        figures[name] = {
            "clips": len(pairs),
            "heard": heard.tolist(),
            "measures": [None if mean is None else [mean.value, mean.low, mean.high] for mean in means],
        }
        cells = [f"{share:.2f}" for share in heard]
        cells += ["" if mean is None else f"{mean.value:.2f}" for mean in means]
        rows.append(f"| {name} | {len(pairs)} | {' | '.join(cells)} |")
        print(rows[-1], flush=True)
    head = [*(f"{player} heard" for player in PLAYERS), *MEASURES]
    print(f"\n| | clips | {' | '.join(head)} |\n|{'---|' * (2 + len(head))}")
    print("\n".join(rows))
    print(json.dumps(figures))


def _heard(stem: Tensor, band: Tensor) -> Tensor:
    """A parted stem at one loudness, or silence, where what is left of the band is no player."""
    level = 10 * torch.log10(stem.square().mean().clamp_min(1e-12) / band.square().mean().clamp_min(1e-12))
    return even(stem) if float(level) > LEFT_DB else torch.zeros_like(stem)


def _sounds(stem: Tensor) -> bool:
    return float(stem.abs().max()) > 10 ** (SILENT_DB / 20)


if __name__ == "__main__":
    main()

"""Trains the harmoniser of the analyser of vocals, from scores alone.

    python -m recipes.builtin.train_harmoniser --pop909 POP909 --run work/harmoniser \
        --analyser src/hafm/assets/builtin/analyser/vocal.safetensors

In:  scores of songs with melody, beats, chords and keys; an analyser of vocals. Out: `RUN/vocal.safetensors`,
the same analyser with the harmoniser in it, and in `RUN`, `metrics.jsonl`, `checkpoints/`.

A batch is a pure function of (seed, step). Each crop is some beats of a song, and its melody is turned into
a chroma as the analyser hears one:

    timed      notes early or late, all of them and each by itself; some left out
    tuned      between two pitch classes; scoops into a note, wrong notes, overtones, room, noise
    mistaken   in another tempo, off the beat, in another place of the bar, or in none
    told       the key, a share of them

so that beats that the analyser got wrong cost little. Validation crops are made in the same way.

Conventions: given again, the command goes on where it stopped, and ends bit for bit where an uninterrupted
run would. One thread.
"""

import argparse
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits, cross_entropy

from hafm.errors import UsageError
from hafm.guide.analyser import OF_HARMONISER, Analyser
from hafm.guide.chords import state_of
from hafm.guide.harmoniser import (
    TICKS_PER_BEAT,
    HarmoniserConfig,
    HarmoniserNetwork,
    key_rows,
    position_rows,
)
from hafm.guide.network import CHORD_STATES
from hafm.stages.analysers import read_analyser, write_analyser
from recipes.builtin.rendering.pair import ScoreSource
from recipes.builtin.rendering.scores import PackedPop909, Score, split_of
from recipes.builtin.rendering.scores_folder import Pop909Folder
from recipes.builtin.training import SmallTraining

Floats = NDArray[np.floating]
Ints = NDArray[np.integer]

LENGTHS = ((16, 48), (40, 20), (80, 10))
"""Beats of a crop, and crops in a batch; one is drawn for each batch."""
HELD_OUT_CROPS, HELD_OUT_BEATS = 240, 40
WEIGHTS = {"states": 1.0, "pitch_classes": 2.0, "key": 0.3}
WARM_UP = 100
"""Steps in which the rate rises."""

SPEEDS, SPEED_SHARES = (1.0, 0.5, 2.0, 1.5), (0.77, 0.1, 0.1, 0.03)
"""Beats of the song that go by in one of the crop's."""
OFF_BEAT_SHARE, WRONG_BAR_SHARE, WRONG_METER_SHARE, NO_BAR_SHARE = 0.2, 0.15, 0.05, 0.1
TOLD_SHARE = 0.4
_BEYOND = 4
_FINE = 24
_UNKNOWN = -1


@dataclass(frozen=True, kw_only=True, eq=False)
class Song:
    """A score by its beats; labels count half-beats from the first beat.

    Attributes:
        notes: start and end in beats, MIDI pitch. Shape [K, 3].
        position: of each beat in its bar. Shape [M].
        beats_per_bar: 4, or 6.
        states: of chords, -1 where unknown. Shape [H].
        pitch_classes: of chords. Shape [H, 12].
        key: tonic, 12 more in minor, -1 where unknown. Shape [H].
    """

    notes: Floats
    position: Ints
    beats_per_bar: int
    states: Ints
    pitch_classes: Floats
    key: Ints


class Crop(NamedTuple):
    """What the network sees, and what is true of it."""

    chroma: Floats
    position: Floats
    told: Floats
    states: Ints
    pitch_classes: Floats
    key: Ints


def song_of(score: Score) -> Song:
    """A score by its beats."""
    seconds, count = score.beat_seconds, len(score.beat_seconds)
    period = float(np.median(np.diff(seconds)))
    times = np.concatenate([[seconds[0] - 100 * period], seconds, [seconds[-1] + 100 * period]])
    numbers = np.concatenate([[-100.0], np.arange(count), [count + 99.0]])

    def beats(at: Floats | float) -> Floats:
        return np.interp(at, times, numbers)

    last = np.searchsorted(score.downbeats, np.arange(count), side="right") - 1
    position = (np.arange(count) - score.downbeats[last.clip(0)]) % score.beats_per_bar
    middles = (np.arange(2 * (count - 1)) + 0.5) / 2
    states, key = np.full(len(middles), _UNKNOWN), np.full(len(middles), _UNKNOWN)
    pitch_classes = np.zeros((len(middles), 12), np.float32)

    def held(start: float, end: float) -> slice:
        return slice(*np.searchsorted(middles, [beats(start), beats(end)]))

    for chord in score.chords:
        span = held(chord.start_seconds, chord.end_seconds)
        states[span] = CHORD_STATES - 1 if chord.value is None else state_of(chord.value.label)
        if chord.value is not None:
            pitch_classes[span, list(chord.value.pitch_classes)] = 1
    for each in score.keys:
        key[held(each.start_seconds, each.end_seconds)] = each.value.tonic + 12 * (each.value.mode == "min")
    notes = np.stack([beats(score.melody[:, 0]), beats(score.melody[:, 1]), score.melody[:, 2]], axis=1)
    return Song(
        notes=notes,
        position=position,
        beats_per_bar=score.beats_per_bar,
        states=states,
        pitch_classes=pitch_classes,
        key=key,
    )


def paint(notes: Floats, *, first: float, num_beats: int, speed: float, rng: np.random.Generator) -> Floats:
    """A melody as the chroma of a voice that sings it. Shape [N, 4, 12].

    Args:
        notes: start and end in beats, MIDI pitch.
        first: beat at which it begins.
        num_beats: N.
        speed: beats of the notes in one of these.
        rng: the singer and the room.
    """
    size = num_beats * _FINE
    chroma = np.zeros((size, 12))
    level, tail, blur, overtones = rng.uniform((0.5, 0, 0, 0), (1, 0.5, 0.3, 0.25))
    late, tuning = rng.normal(0, (0.05, 0.15))
    slips = rng.uniform(0, 0.08)
    near = (notes[:, 0] < first + num_beats * speed + 1) & (notes[:, 1] > first - 1)
    for start, end, pitch in notes[near & (rng.random(len(notes)) > 0.02)]:
        begin, stop = np.round((np.array([start, end]) + rng.normal(late, slips, 2) - first) / speed * _FINE)
        begin, stop = max(0, int(begin)), min(size, max(int(stop), int(begin) + 2))
        if stop <= begin:
            continue
        here = slice(begin, stop)
        wrong = int(rng.choice([-2, -1, 1, 2])) if rng.random() < 0.02 else 0
        pitch_class, loud = (int(pitch) + wrong) % 12, level * rng.uniform(0.6, 1)
        beside = min(0.6, abs(rng.normal(tuning, 0.12)))
        chroma[here] = 0
        chroma[here, pitch_class] += loud * (1 - beside)
        chroma[here, (pitch_class + (1 if tuning > 0 else -1)) % 12] += loud * beside
        for interval, most in ((-1, blur), (1, blur), (7, overtones), (5, overtones)):
            chroma[here, (pitch_class + interval) % 12] += loud * most * rng.random()
        scoop = slice(begin, min(stop, begin + int(rng.integers(0, 5))))
        chroma[scoop, (pitch_class + int(rng.choice([-2, -1, 1, 2]))) % 12] += 0.5 * loud
        chroma[scoop, pitch_class] *= 0.5
        after = slice(stop, min(size, stop + _FINE))
        fading = loud * tail * np.exp(-np.arange(after.stop - stop) / (_FINE / 2))
        chroma[after, pitch_class] = np.maximum(chroma[after, pitch_class], fading)
    chroma += np.abs(rng.normal(0, 0.02, chroma.shape))
    return chroma.reshape(num_beats, TICKS_PER_BEAT, -1, 12).mean(axis=2)


def draw_crop(song: Song, num_beats: int, rng: np.random.Generator) -> Crop:
    """Some beats of a song, as the analyser may hear them."""
    speed = float(rng.choice(SPEEDS, p=SPEED_SHARES))
    span = int(np.ceil(num_beats * speed)) + 1
    count = len(song.states) // 2
    whole = int(rng.integers(-_BEYOND, max(1, count - span + _BEYOND)))
    first = whole + (float(rng.choice([0.5, rng.uniform()])) if rng.random() < OFF_BEAT_SHARE else 0.0)
    half_beats = np.floor(2 * (first + (np.arange(num_beats) + 0.5) * speed)).astype(int)
    known = (half_beats >= 0) & (half_beats < len(song.states))
    half_beats = half_beats.clip(0, len(song.states) - 1)
    key = np.where(known, song.key[half_beats], _UNKNOWN)

    per_bar = 3 if song.beats_per_bar in (3, 6) else 4
    position = np.arange(num_beats) + int(rng.integers(per_bar))
    if speed == 1.0 and rng.random() >= WRONG_BAR_SHARE:
        beats = whole + np.arange(num_beats)
        inside = beats.clip(0, len(song.position) - 1)
        position = song.position[inside] + beats - inside
    if rng.random() < WRONG_METER_SHARE:
        per_bar = 7 - per_bar
    if rng.random() < NO_BAR_SHARE:
        per_bar = 0
    told = key if rng.random() < TOLD_SHARE else np.full(num_beats, _UNKNOWN)
    return Crop(
        chroma=paint(song.notes, first=first, num_beats=num_beats, speed=speed, rng=rng),
        position=position_rows(position, np.full(num_beats, per_bar)),
        told=key_rows(told),
        states=np.where(known, song.states[half_beats], _UNKNOWN),
        pitch_classes=song.pitch_classes[half_beats],
        key=key,
    )


def losses(network: HarmoniserNetwork, crops: Sequence[Crop]) -> dict[str, Tensor]:
    """Cross-entropies, of beats of which the truth is known."""
    chroma, position, told, states, pitch_classes, key = (
        torch.from_numpy(np.stack(each)) for each in zip(*crops, strict=True)
    )
    found = network(chroma.float(), position, told)

    def of_classes(logits: Tensor, truth: Tensor) -> Tensor:
        return cross_entropy(logits.flatten(0, 1), truth.flatten(), ignore_index=_UNKNOWN)

    return {
        "states": of_classes(found.states, states),
        "pitch_classes": binary_cross_entropy_with_logits(found.pitch_classes, pitch_classes),
        "key": of_classes(found.key, key),
    }


class Training(SmallTraining):
    """The training of a harmoniser.

    Args:
        songs: to learn from.
        steps: in all.
        rate: highest learning rate.
        seed: of everything that is drawn.
        config: sizes of the network.
        init: an analyser whose harmoniser it goes on from, of the same sizes.

    Raises:
        UsageError: the analyser has none, or another one.
    """

    def __init__(
        self,
        *,
        songs: Sequence[Song],
        steps: int,
        rate: float,
        seed: int,
        config: HarmoniserConfig,
        init: Analyser | None = None,
    ) -> None:
        self.songs = songs
        sizes = np.array([len(song.states) for song in songs], float)
        self._shares = sizes / sizes.sum()
        torch.manual_seed(seed)
        self.config = config
        self.network = HarmoniserNetwork(config)
        if init is not None:
            if init.config.harmoniser != config:
                raise UsageError(f"--init has the harmoniser {init.config.harmoniser}, and not {config}")
            weights = init.weights.items()
            self.network.load_state_dict(
                {
                    name.removeprefix(OF_HARMONISER): value
                    for name, value in weights
                    if name.startswith(OF_HARMONISER)
                }
            )
        super().__init__(
            self.network,
            weights=WEIGHTS,
            steps=steps,
            rate=rate,
            seed=seed,
            warm_up=WARM_UP,
            weight_decay=0.03,
            shared={**asdict(config), "init": None if init is None else init.fingerprint()},
        )

    def draw_losses(self, rng: np.random.Generator) -> dict[str, Tensor]:
        """The losses of a batch that `rng` draws."""
        num_beats, size = LENGTHS[rng.integers(len(LENGTHS))]
        drawn = rng.choice(len(self.songs), size, p=self._shares)
        return losses(self.network, [draw_crop(self.songs[number], num_beats, rng) for number in drawn])

    @torch.no_grad()
    def held_out(self, songs: Sequence[Song]) -> dict[str, float]:
        """The losses on crops of some songs, without dropout."""
        self.network.eval()
        rng = np.random.default_rng(9)
        crops = [
            draw_crop(songs[number % len(songs)], HELD_OUT_BEATS, rng) for number in range(HELD_OUT_CROPS)
        ]
        return {name: float(loss) for name, loss in losses(self.network, crops).items()}

    def analyser(self, of: Analyser) -> Analyser:
        """An analyser with the harmoniser that has been learnt so far."""
        return of.with_harmoniser(self.config, self.network.state_dict())


def songs_of(scores: ScoreSource, split: str) -> list[Song]:
    """The songs of a split."""
    return [song_of(scores.score(song)) for song in scores.song_ids if split_of(song) == split]


def main(arguments: list[str] | None = None) -> int:
    """The command; returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--pop909", type=Path, required=True, help="the scores: a folder, or the pack")
    parser.add_argument("--analyser", type=Path, required=True, help="of vocals; its file stays as it is")
    parser.add_argument("--run", type=Path, required=True)
    parser.add_argument("--init", type=Path, help="go on from this analyser's harmoniser")
    parser.add_argument("--steps", type=int, default=4000)
    parser.add_argument("--rate", type=float, default=2e-3)
    parser.add_argument("--channels", type=int, default=HarmoniserConfig().channels)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--save-every", type=int, default=200)
    options = parser.parse_args(arguments)

    torch.set_num_threads(1)
    folder: Path = options.run
    folder.mkdir(parents=True, exist_ok=True)
    analyser = read_analyser(options.analyser)
    open_scores: Callable[[Path], ScoreSource] = PackedPop909 if options.pop909.is_file() else Pop909Folder
    scores = open_scores(options.pop909)
    run = Training(
        songs=songs_of(scores, "train"),
        steps=options.steps,
        rate=options.rate,
        seed=options.seed,
        config=HarmoniserConfig(channels=options.channels),
        init=None if options.init is None else read_analyser(options.init),
    )
    run.resume(folder)
    held_out = songs_of(scores, "valid")

    def saved() -> dict[str, float]:
        write_analyser(folder / "vocal.safetensors", run.analyser(analyser), storage="fp32")
        return run.held_out(held_out)

    run.train(folder, save_every=options.save_every, saved=saved)
    return 0


if __name__ == "__main__":
    sys.exit(main())

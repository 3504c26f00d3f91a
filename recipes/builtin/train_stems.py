"""Trains the net that parts a band into drums, bass, harmony and melody.

    python -m recipes.builtin.train_stems --pairs work/pairs --run work/stems

In:  `PAIRS/train` and `PAIRS/valid`, rendered with `--stems` (`recipes.builtin.render`).
Out: `RUN/stems.safetensors`, int8, which ships as `src/hafm/assets/stems/stems.safetensors`; and in `RUN`,
`metrics.jsonl`, `checkpoints/`, `sounds/`.

What a stem is: what a player adds to the finished instrumental, room and soft clip included, so that the four
add up to it. A crop is

    remixed     each stem up or down by some decibels, the melody above all up: it is 15 dB below the band;
                some left out; some from another song, above all where a player rests
    coded       through the bundle's codec, a share of them, as the model's bands are

The loss is the square of the share of each point of the spectrogram that goes to the wrong player, complex,
weighted with its magnitude. (Unsquared it is least where a player that is seldom heard is never heard: 600
steps of that gave the melody nothing, and a softmax does not come back from there.)

Conventions: given again, the command goes on where it stopped, and ends bit for bit where an uninterrupted
run would: step n draws from (seed, n). The pairs are those that were there at first. One thread.
"""

import argparse
import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soundfile
import torch
from numpy.typing import NDArray
from torch import Tensor

from hafm.separate.stems import STEMS, StemConfig, StemNetwork, StemSeparator, scaled, spectrogram
from hafm.stages.bundle import Bundle
from hafm.stages.separators import read_separator, separator_fingerprint, write_separator
from hafm.tokens.base import Codec
from recipes.builtin.rendering.mixbus import SAMPLE_RATE, BusSettings, reverberate, room_response
from recipes.builtin.training import SmallTraining

Sounds = NDArray[np.int16]

FULL_SCALE = 32_767
CROP_SAMPLES = 3 * SAMPLE_RATE
BATCH = 4
CODED_SHARE, REMIXED_SHARE, LEFT_OUT_SHARE = 0.3, 0.6, 0.12
FOREIGN_SHARE, FOREIGN_SHARE_OF_RESTS = 0.2, 0.6
_MOST_TRIES = 8
_QUIET = 1e-3
GAINS_DB = {"drums": (0.0, 5.0), "bass": (0.0, 5.0), "harmony": (0.0, 5.0), "melody": (7.0, 6.0)}
"""Mean and deviation."""
HELD_OUT_CROPS, HELD_OUT_CODED_EVERY = 48, 3
WARM_UP = 50
"""Steps in which the rate rises."""
_MOST_RATIO = 2.0

CONFIG = StemConfig()
"""Of the net that comes with hafm."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Example:
    """A band: what each player adds to it, 24 kHz, 16 bit. Shape [4, T]."""

    stems: Sounds


def heard_stems(truth: Path) -> NDArray[np.float32]:
    """What each player of a rendered pair adds to its instrumental. Shape [4, T].

    Raises:
        FileNotFoundError: it was rendered without its stems.
    """
    settings = BusSettings(**json.loads(truth.read_text(encoding="utf-8"))["bus"])
    room = room_response(settings.reverb_seconds, settings.room_seed)
    played = []
    for stem in STEMS:
        path = truth.with_suffix(f".{stem}.wav")
        if not path.is_file():
            raise FileNotFoundError(f"no '{path}'; render the pairs with --stems")
        dry = soundfile.read(path, dtype="float32")[0]
        played.append(settings.gain * (dry + settings.wet * reverberate(dry, room)))
    stems = np.stack(played)
    band = stems.sum(axis=0)
    clipped = np.where(np.abs(band) > 1e-6, np.tanh(band) / np.where(band == 0, 1, band), 1)
    return (stems * clipped).astype(np.float32)


def read_examples(pairs: Path, *, cache: Path) -> list[Example]:
    """The bands of a folder of pairs; they are made once and kept in `cache`.

    Raises:
        ValueError: there are no pairs.
    """
    truths = sorted(pairs.glob("*.json"))
    if not truths:
        raise ValueError(f"there are no rendered pairs in '{pairs}'; render some (recipes.builtin.render)")
    cache.mkdir(parents=True, exist_ok=True)
    listed = cache / "pairs.json"
    if not listed.is_file():
        for truth in truths:
            if (cache / f"{truth.stem}.npy").is_file():
                continue
            whole = np.round(np.clip(heard_stems(truth), -1, 1) * FULL_SCALE).astype(np.int16)
            np.save(cache / "partial.npy", whole)
            (cache / "partial.npy").replace(cache / f"{truth.stem}.npy")
        listed.write_text(json.dumps([truth.stem for truth in truths]))
    return [
        Example(stems=np.load(cache / f"{stem}.npy", mmap_mode="r")[: len(STEMS)])
        for stem in json.loads(listed.read_text(encoding="utf-8"))
    ]


@torch.inference_mode()
def through(codec: Codec, bands: Tensor) -> Tensor:
    """Bands as the codec gives them back. Shape: `[B, T] -> [B, T]`."""
    return codec.decode(codec.encode(bands[:, None]))[:, 0, : bands.shape[1]].clone()


def _crop(sounds: Sounds, start: int) -> NDArray[np.float32]:
    return sounds[..., start : start + CROP_SAMPLES].astype(np.float32) / FULL_SCALE


def players_of(examples: Sequence[Example]) -> list[list[Example]]:
    """For each player, the examples in which it sounds."""
    return [[each for each in examples if each.stems[row].any()] for row in range(len(STEMS))]


def _foreign(of: Sequence[Example], row: int, rng: np.random.Generator) -> NDArray[np.float32]:
    """A player of another song, in a place where it sounds, if one is found."""
    for _ in range(_MOST_TRIES):
        other = of[int(rng.integers(len(of)))]
        crop = _crop(other.stems[row], _draw_start(rng, other))
        if crop.any():
            break
    return crop


def _draw_start(rng: np.random.Generator, example: Example) -> int:
    return int(rng.integers(example.stems.shape[1] - CROP_SAMPLES + 1))


def draw_crop(
    examples: Sequence[Example], players: Sequence[Sequence[Example]], rng: np.random.Generator
) -> Tensor:
    """Stems of a band, remixed or as they are. Shape [4, T].

    Args:
        examples: to draw from.
        players: `players_of` them.
        rng: what decides.
    """
    while True:
        example = examples[int(rng.integers(len(examples)))]
        stems = _crop(example.stems, _draw_start(rng, example))
        if rng.random() < REMIXED_SHARE:
            for row in range(len(STEMS)):
                share = FOREIGN_SHARE if stems[row].any() else FOREIGN_SHARE_OF_RESTS
                if players[row] and rng.random() < share:
                    stems[row] = _foreign(players[row], row, rng)
                if rng.random() < LEFT_OUT_SHARE:
                    stems[row] = 0
                stems[row] *= 10 ** (rng.normal(*GAINS_DB[STEMS[row]]) / 20) * rng.choice([-1, 1])
        if np.sqrt(np.mean(stems.sum(axis=0) ** 2)) > _QUIET:
            return torch.from_numpy(stems)


def loss_of(network: StemNetwork, bands: Tensor, stems: Tensor) -> Tensor:
    """What goes to the wrong player. Shapes `[B, T], [B, 4, T] -> [B, 4]`.

    Where nobody is heard there is nothing to be shared out, and the shares do not count.
    """
    heard = spectrogram(scaled(bands)[0]).abs()
    truth = spectrogram(stems.flatten(0, 1)).unflatten(0, stems.shape[:2])
    whole = truth.sum(dim=1, keepdim=True)
    ratio = truth / (whole + 1e-6 * (whole.abs() == 0))
    ratio = ratio * (_MOST_RATIO / ratio.abs().clamp_min(_MOST_RATIO))
    shares = network(heard).softmax(dim=1)
    weight = heard[:, None]
    difference = shares - ratio
    wrong = ((difference.real.square() + difference.imag.square()) * weight).sum(dim=(2, 3))
    return wrong / weight.sum(dim=(2, 3))


class Training(SmallTraining):
    """The training of a net.

    Args:
        examples: to learn from.
        codec: that a share of the bands goes through.
        steps: in all.
        rate: highest learning rate.
        seed: of everything that is drawn.
        config: sizes of the net.
        init: a net of that size to go on from.
    """

    def __init__(
        self,
        *,
        examples: Sequence[Example],
        codec: Codec,
        steps: int,
        rate: float,
        seed: int,
        config: StemConfig = CONFIG,
        init: StemSeparator | None = None,
    ) -> None:
        self.codec = codec
        self.examples = examples
        self.players = players_of(examples)
        torch.manual_seed(seed)
        self.config = config
        self.network = StemNetwork(config)
        if init is not None:
            self.network.load_state_dict(init.weights)
        super().__init__(
            self.network,
            weights={"loss": 1.0},
            steps=steps,
            rate=rate,
            seed=seed,
            warm_up=WARM_UP,
            weight_decay=0.01,
            shared={
                "init": None if init is None else separator_fingerprint(init),
                "codec": codec.fingerprint(),
            },
        )

    def draw_losses(self, rng: np.random.Generator) -> dict[str, Tensor]:
        """The loss of a batch that `rng` draws."""
        stems = torch.stack([draw_crop(self.examples, self.players, rng) for _ in range(BATCH)])
        bands = stems.sum(dim=1)
        coded = torch.from_numpy(rng.random(BATCH) < CODED_SHARE)
        if coded.any():
            bands[coded] = through(self.codec, bands[coded])
        return {"loss": loss_of(self.network, bands, stems).mean()}

    @torch.no_grad()
    def held_out(self, examples: Sequence[Example]) -> dict[str, float]:
        """The loss of each player on bands as they are, and of the bands out of the codec."""
        plain, coded = [], []
        for number in range(HELD_OUT_CROPS):
            example = examples[number % len(examples)]
            start = _draw_start(np.random.default_rng((9, number)), example)
            stems = torch.from_numpy(_crop(example.stems, start))[None]
            if not stems.any():
                continue
            band = stems.sum(dim=1)
            plain.append(loss_of(self.network, band, stems)[0])
            if number % HELD_OUT_CODED_EVERY == 0:
                coded.append(loss_of(self.network, through(self.codec, band), stems)[0])
        rows = {"": torch.stack(plain).mean(dim=0), "coded ": torch.stack(coded).mean(dim=0)}
        return {
            f"{kind}{stem}": float(loss)
            for kind, row in rows.items()
            for stem, loss in zip(STEMS, row, strict=True)
        }

    def separator(self) -> StemSeparator:
        """What has been learnt so far."""
        weights = {key: value.clone() for key, value in self.network.state_dict().items()}
        return StemSeparator(config=self.config, weights=weights)


def main(arguments: list[str] | None = None) -> int:
    """The command; returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--pairs", type=Path, required=True)
    parser.add_argument("--run", type=Path, required=True)
    parser.add_argument("--bundle", default="builtin", help="whose codec (default: the built-in one)")
    parser.add_argument("--init", type=Path, help="start from this net, a .safetensors")
    parser.add_argument("--steps", type=int, default=3000)
    parser.add_argument("--rate", type=float, default=2e-3)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--save-every", type=int, default=100)
    options = parser.parse_args(arguments)

    torch.set_num_threads(1)
    folder: Path = options.run
    training, held_out = (
        read_examples(options.pairs / split, cache=folder / "sounds" / split) for split in ("train", "valid")
    )
    run = Training(
        examples=training,
        codec=Bundle.open(options.bundle).load_codec(),
        steps=options.steps,
        rate=options.rate,
        seed=options.seed,
        init=None if options.init is None else read_separator(options.init),
    )
    run.resume(folder)
    run.train(folder, save_every=options.save_every, saved=lambda: run.held_out(held_out))
    write_separator(folder / "stems.safetensors", run.separator(), storage="int8")
    return 0


if __name__ == "__main__":
    sys.exit(main())

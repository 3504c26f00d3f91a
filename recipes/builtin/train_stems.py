"""Trains the net that parts a band into drums, bass, harmony and melody.

    python -m recipes.builtin.train_stems --pairs work/pairs --run work/stems

In:  `PAIRS/train` and `PAIRS/valid`, rendered with `--stems` (`recipes.builtin.render`).
Out: `RUN/stems.safetensors`, int8, which ships as `src/hafm/assets/stems/stems.safetensors`; and in `RUN`,
`metrics.jsonl`, `checkpoints/`, `sounds/`.

What a stem is: what a player adds to the finished instrumental, room and soft clip included, so that the four
add up to it. A crop is

    remixed     each stem up or down by some decibels, the melody above all up: it is 15 dB below the band;
                some left out; some from another song, above all where a player rests
    coded       a share of them: through the bundle's codec, as the model's bands are

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
from hafm.stages.separators import write_separator
from hafm.tokens.base import Codec
from recipes.builtin.codec.checkpoint import (
    latest_checkpoint,
    load_checkpoint,
    restore_training,
    save_checkpoint,
    training_tensors,
)
from recipes.builtin.rendering.mixbus import SAMPLE_RATE, BusSettings, reverberate, room_response

Sounds = NDArray[np.int16]

FULL_SCALE = 32_767
CROP_SAMPLES = 3 * SAMPLE_RATE
BATCH = 4
CODED_EVERY = 3
"""Of the pairs, one in this many is kept as it comes out of the codec, too."""
CODED_SHARE, REMIXED_SHARE, LEFT_OUT_SHARE = 0.3, 0.6, 0.12
FOREIGN_SHARE, FOREIGN_SHARE_OF_RESTS = 0.2, 0.6
_MOST_TRIES = 8
GAINS_DB = {"drums": (0.0, 5.0), "bass": (0.0, 5.0), "harmony": (0.0, 5.0), "melody": (7.0, 6.0)}
"""Mean and deviation."""
HELD_OUT_CROPS = 48
WARM_UP, COOL_DOWN = 50, 0.5
_MOST_RATIO = 2.0

CONFIG = StemConfig()
"""Of the net that comes with hafm."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Example:
    """A band: what each player adds to it, 24 kHz, 16 bit.

    Attributes:
        stems: Shape [4, T].
        coded: their sum through the codec; None for most. Shape [T].
    """

    stems: Sounds
    coded: Sounds | None


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


def read_examples(pairs: Path, *, cache: Path, codec: Codec) -> list[Example]:
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
        for number, truth in enumerate(truths):
            if (cache / f"{truth.stem}.npy").is_file():
                continue
            stems = heard_stems(truth)
            rows = [*stems]
            if number % CODED_EVERY == 0:
                with torch.inference_mode():
                    band = torch.from_numpy(stems.sum(axis=0))[None, None]
                    rows.append(codec.decode(codec.encode(band))[0, 0, : stems.shape[1]].numpy())
            whole = np.round(np.clip(np.stack(rows), -1, 1) * FULL_SCALE).astype(np.int16)
            np.save(cache / "partial.npy", whole)
            (cache / "partial.npy").replace(cache / f"{truth.stem}.npy")
        listed.write_text(json.dumps([truth.stem for truth in truths]))
    examples = []
    for stem in json.loads(listed.read_text(encoding="utf-8")):
        rows_kept = np.load(cache / f"{stem}.npy", mmap_mode="r")
        coded = rows_kept[len(STEMS)] if len(rows_kept) > len(STEMS) else None
        examples.append(Example(stems=rows_kept[: len(STEMS)], coded=coded))
    return examples


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
) -> tuple[Tensor, Tensor]:
    """A band as the net hears it, and its stems. Shapes [T], [4, T].

    The stems add up to the band, but for one that comes out of the codec.

    Args:
        examples: to draw from.
        players: `players_of` them.
        rng: what decides.
    """
    while True:
        example = examples[int(rng.integers(len(examples)))]
        start = _draw_start(rng, example)
        stems = _crop(example.stems, start)
        if example.coded is not None and rng.random() < CODED_SHARE * CODED_EVERY:
            band = _crop(example.coded, start)
        else:
            if rng.random() < REMIXED_SHARE:
                for row in range(len(STEMS)):
                    share = FOREIGN_SHARE if stems[row].any() else FOREIGN_SHARE_OF_RESTS
                    if players[row] and rng.random() < share:
                        stems[row] = _foreign(players[row], row, rng)
                    if rng.random() < LEFT_OUT_SHARE:
                        stems[row] = 0
                    stems[row] *= 10 ** (rng.normal(*GAINS_DB[STEMS[row]]) / 20) * rng.choice([-1, 1])
            band = stems.sum(axis=0)
        if np.sqrt(np.mean(band**2)) > 1e-3 and np.sqrt(np.mean(stems.sum(axis=0) ** 2)) > 1e-3:
            return torch.from_numpy(band), torch.from_numpy(stems)


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


class Training:
    """A net, its optimiser, and how far they are.

    Args:
        examples: to learn from.
        steps: in all.
        rate: highest learning rate.
        seed: of everything that is drawn.
        config: sizes of the net.
    """

    def __init__(
        self,
        *,
        examples: Sequence[Example],
        steps: int,
        rate: float,
        seed: int,
        config: StemConfig = CONFIG,
    ) -> None:
        self.examples, self.steps, self.rate, self.seed = examples, steps, rate, seed
        self.players = players_of(examples)
        self.step = 0
        torch.manual_seed(seed)
        self.config = config
        self.network = StemNetwork(config)
        self.optimiser = torch.optim.AdamW(
            self.network.parameters(), lr=rate, betas=(0.9, 0.99), weight_decay=0.01
        )

    def take_step(self) -> float:
        """One step; its loss."""
        rng = np.random.default_rng((self.seed, self.step))
        rising = min(1.0, (self.step + 1) / WARM_UP)
        falling = min(1.0, (1 - self.step / self.steps) / COOL_DOWN + 0.01)
        for group in self.optimiser.param_groups:
            group["lr"] = self.rate * rising * falling
        drawn = [draw_crop(self.examples, self.players, rng) for _ in range(BATCH)]
        bands, stems = (torch.stack(each) for each in zip(*drawn, strict=True))
        loss = loss_of(self.network, bands, stems).mean()
        self.optimiser.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.network.parameters(), 1.0)
        self.optimiser.step()
        self.step += 1
        return float(loss.detach())

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
            plain.append(loss_of(self.network, stems.sum(dim=1), stems)[0])
            if example.coded is not None:
                coded.append(
                    loss_of(self.network, torch.from_numpy(_crop(example.coded, start))[None], stems)
                )
        each = torch.stack(plain).mean(dim=0).tolist()
        return {**dict(zip(STEMS, each, strict=True)), "coded": float(torch.cat(coded).mean())}

    def save(self, folder: Path) -> None:
        """Writes a checkpoint."""
        save_checkpoint(
            folder,
            step=self.step,
            tensors=training_tensors(self.network, self.optimiser),
            state={"seed": self.seed, "steps": self.steps},
        )

    def resume(self, folder: Path) -> None:
        """Goes on from the newest checkpoint, if there is one.

        Raises:
            ValueError: it is of a run with other options.
        """
        place = latest_checkpoint(folder)
        if place is None:
            return
        tensors, state = load_checkpoint(place)
        if (state["seed"], state["steps"]) != (self.seed, self.steps):
            raise ValueError(
                f"'{folder}' is of a run of {state['steps']} steps with seed {state['seed']}; give these, or "
                "another folder"
            )
        restore_training(self.network, self.optimiser, tensors)
        self.step = state["step"]

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
    parser.add_argument("--steps", type=int, default=3000)
    parser.add_argument("--rate", type=float, default=2e-3)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--save-every", type=int, default=100)
    options = parser.parse_args(arguments)

    torch.set_num_threads(1)
    folder: Path = options.run
    codec = Bundle.open(options.bundle).load_codec()
    training, held_out = (
        read_examples(options.pairs / split, cache=folder / "sounds" / split, codec=codec)
        for split in ("train", "valid")
    )
    run = Training(examples=training, steps=options.steps, rate=options.rate, seed=options.seed)
    run.resume(folder / "checkpoints")
    with (folder / "metrics.jsonl").open("a", encoding="utf-8") as metrics:
        while run.step < run.steps:
            row: dict[str, object] = {"step": run.step, "loss": run.take_step()}
            if run.step % options.save_every == 0 or run.step == run.steps:
                run.save(folder / "checkpoints")
                row["held_out"] = run.held_out(held_out)
                print(json.dumps(row), flush=True)
            metrics.write(json.dumps(row) + "\n")
    write_separator(folder / "stems.safetensors", run.separator(), storage="int8")
    return 0


if __name__ == "__main__":
    sys.exit(main())

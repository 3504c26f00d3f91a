"""How well a band is parted into its players, where its true stems are known.

    python -m benchmarks.parting --pairs work/pairs/test

In: rendered pairs with their stems (`recipes.builtin.render --stems`), and a file of `train_stems` or the net
that comes with hafm. Out: tables in Markdown, and a line of JSON. Songs in which one player alone sounds are
left out.

    SDR      10 lg of the power of the true stem over that of what is wrong with the parted one, in dB; of
             songs in which the player sounds. Beside it its floor, the whole band as every stem, and its
             ceiling, the true shares of each point's magnitude
    leakage  what a parted stem is made of: the shares of a net are factors, so each true stem goes through
             them by itself, and its power is its part in that stem

Twice: of bands as they were rendered, and as the bundle's codec gives them back, which is how the model's
sound; there what is compared with is the true share of the coded spectrogram.
"""

import argparse
import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from hafm.evaluate.statistics import bootstrap_interval
from hafm.separate.stems import STEMS, StemSeparator, spectrogram
from hafm.stages.bundle import Bundle
from hafm.stages.separators import builtin_separator, read_separator
from hafm.tokens.base import Codec
from recipes.builtin.train_stems import heard_stems

Floats = NDArray[np.float64]

AUDIBLE_DB = -50.0
MOST_RATIO = 2.0


def power(spectra: Tensor) -> Tensor:
    """Of each row. Shape: `[4, N, F] -> [4]`."""
    return spectra.abs().square().sum(dim=(1, 2)).double()


def sdr(truth: Tensor, found: Tensor) -> Floats:
    """In dB, of each row."""
    wrong = power(truth - found).clamp_min(1e-12)
    return np.asarray(10 * torch.log10(power(truth).clamp_min(1e-12) / wrong))


class Song:
    """The spectra of a band and of its stems.

    Args:
        stems: what each player adds to it. Shape [4, T].
        band: as it is heard. Shape [T].
    """

    def __init__(self, stems: Tensor, band: Tensor) -> None:
        parts = spectrogram(stems)
        self.band = spectrogram(band[None])[0]
        whole = parts.sum(dim=0)
        ratio = parts / (whole + 1e-6 * (whole.abs() == 0))
        ratio = ratio * (MOST_RATIO / ratio.abs().clamp_min(MOST_RATIO))
        self.truth = ratio * self.band
        self.ideal = parts.abs() / parts.abs().sum(dim=0).clamp_min(1e-9)
        level = 10 * torch.log10(power(parts) / power(parts).sum().clamp_min(1e-12) + 1e-12)
        self.sounds = (level > AUDIBLE_DB).numpy()

    def figures(self, shares: Tensor) -> tuple[Floats, Floats]:
        """SDR parted, of the band, and of true shares, `[3, 4]`; and what each stem is made of, `[4, 4]`."""
        found = np.stack(
            [
                sdr(self.truth, shares * self.band),
                sdr(self.truth, self.band.expand_as(self.truth)),
                sdr(self.truth, self.ideal * self.band),
            ]
        )
        made_of = np.stack([np.asarray(power(share * self.truth)) for share in shares])
        return found, made_of


def judged(separator: StemSeparator, truths: Sequence[Path], codec: Codec | None) -> dict[str, object]:
    """Both tables of some songs."""
    rows: dict[str, list[Floats]] = {name: [] for name in STEMS}
    leaks, songs = np.zeros((len(STEMS), len(STEMS))), 0
    for truth in truths:
        stems = torch.from_numpy(heard_stems(truth))
        band = stems.sum(dim=0)
        if codec is not None:
            with torch.inference_mode():
                band = codec.decode(codec.encode(band[None, None]))[0, 0, : len(band)]
        song = Song(stems, band)
        if song.sounds.sum() < 2:
            continue
        songs += 1
        found, made_of = song.figures(separator.shares(band[None]))
        for row, name in enumerate(STEMS):
            if song.sounds[row]:
                rows[name].append(found[:, row])
        leaks += made_of / made_of.sum()
    heard = "rendered" if codec is None else "out of the codec"
    print(f"\nBands as {heard}, {songs} songs\n")
    print(f"| stem | songs | SDR, dB | floor | ceiling | {' | '.join(f'of {name}' for name in STEMS)} |")
    print(f"|{'---|' * (5 + len(STEMS))}")
    figures: dict[str, object] = {"songs": songs}
    shares = leaks / leaks.sum(axis=1, keepdims=True)
    for row, name in enumerate(STEMS):
        values = np.array(rows[name])
        mean = bootstrap_interval(values[:, 0].tolist())
        floor, ceiling = values[:, 1].mean(), values[:, 2].mean()
        parts = " | ".join(f"{share:.2f}" for share in shares[row])
        interval = f"{mean.value:.1f} [{mean.low:.1f}, {mean.high:.1f}]"
        print(f"| {name} | {len(values)} | {interval} | {floor:.1f} | {ceiling:.1f} | {parts} |")
        figures[name] = {
            "songs": len(values),
            "sdr_db": [mean.value, mean.low, mean.high],
            "floor_db": float(floor),
            "ceiling_db": float(ceiling),
            "made_of": dict(zip(STEMS, shares[row].tolist(), strict=True)),
        }
    return figures


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--pairs", type=Path, required=True, help="folder of rendered pairs")
    parser.add_argument("--stems", type=Path, help="a net (default: the one that comes with hafm)")
    parser.add_argument("--bundle", default="builtin", help="whose codec")
    parser.add_argument("--songs", type=int, default=None)
    options = parser.parse_args()
    torch.set_num_threads(1)

    separator = builtin_separator() if options.stems is None else read_separator(options.stems)
    truths = sorted(options.pairs.glob("*.json"))[: options.songs]
    codec = Bundle.open(options.bundle).load_codec()
    figures = {name: judged(separator, truths, each) for name, each in (("rendered", None), ("coded", codec))}
    print(json.dumps(figures))


if __name__ == "__main__":
    main()

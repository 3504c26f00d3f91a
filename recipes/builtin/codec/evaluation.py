"""How good a codec is, on sounds that it was not trained on.

In:  a codec and held-out sounds. Out: a table, and the same as JSON.

| figure | meaning |
|---|---|
| mel distance | mean absolute difference of log10 mel magnitudes, summed over six resolutions |
| spectral SNR | energy of the magnitude spectrogram over that of its error, in dB: SNR, but blind to phase |
| SNR | of the waveform; near or below 0 by design, since no phases are coded, and shown to be honest |
| row "true magnitudes" | true magnitudes and advances in: what the phase steps cost by themselves |
| used, perplexity | entries that occur at all; exp of the entropy of their frequencies |
| repeats | share of frames whose id is that of the frame before |
| bits given the id before | conditional entropy from bigram counts, in sample, hence optimistic |

Conventions: all sounds are at -20 dBFS RMS; the six resolutions are windows of 64 to 2048 samples with 10 to
160 bands, hop = window / 4, magnitudes of unscaled transforms with a floor of 1e-5.
"""

import json
import math
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor

from hafm.tokens.codec.model import SpectralCodec
from recipes.builtin.codec.losses import mel_filters

__all__ = ["evaluate_codec", "format_table", "mel_distance", "snr_db", "spectral_snr_db"]

RESOLUTIONS = ((64, 10), (128, 20), (256, 40), (512, 80), (1024, 120), (2048, 160))
MEL_FLOOR = 1e-5


@cache
def _bank(window: int, bands: int, sample_rate: int) -> Tensor:
    filters = mel_filters(num_bins=window // 2 + 1, sample_rate=sample_rate, num_bands=bands)
    return filters / filters.amax(0)


def mel_distance(
    decoded: Float[Tensor, " T"], original: Float[Tensor, " T"], sample_rate: int = 24_000
) -> Float[Tensor, " R"]:
    """Mean |difference| of log10 mel magnitudes at each resolution; the sum is the figure that is reported.

    >>> sound = torch.rand(4096)
    >>> mel_distance(10 * sound, sound)
    tensor([1., 1., 1., 1., 1., 1.])
    """
    distances = []
    for window, bands in RESOLUTIONS:
        bank = _bank(window, bands, sample_rate)
        levels = [
            torch.log10((_magnitude(x, window).T @ bank).clamp_min(MEL_FLOOR)) for x in (decoded, original)
        ]
        distances.append((levels[0] - levels[1]).abs().mean())
    return torch.stack(distances)


def snr_db(decoded: Float[Tensor, " ..."], original: Float[Tensor, " ..."]) -> float:
    """10 log10 of energy over energy of the error.

    >>> round(snr_db(torch.tensor([0.9]), torch.tensor([1.0])))
    20
    """
    return 10 * math.log10(
        float(original.square().sum()) / max(float((decoded - original).square().sum()), 1e-20)
    )


def spectral_snr_db(decoded: Float[Tensor, " T"], original: Float[Tensor, " T"]) -> float:
    """`snr_db` of magnitude spectrograms (window 1024)."""
    return snr_db(_magnitude(decoded, 1024), _magnitude(original, 1024))


def evaluate_codec(
    codec: SpectralCodec,
    sounds: Sequence[Float[Tensor, " T"]],
    *,
    decoded_sounds: int = 12,
    decoded_seconds: int = 10,
    prefixes: Sequence[int] = (8, 4),
    with_floor: bool = True,
) -> dict[str, Any]:
    """All figures: of codebooks on all sounds, of quality (which takes longer) on the beginnings of some.

    Args:
        codec: sounds are moved to its device.
        sounds: at the codec's rate; whole frames are used.
        decoded_sounds: how many are decoded, the first ones.
        decoded_seconds: how much of each.
        prefixes: numbers of codebooks to decode with.
        with_floor: also measure what true magnitudes would give.
    """
    device, hop = codec.level_mean.device, codec.config.hop_samples
    rows: dict[str, list[list[float]]] = {}
    for sound in sounds[:decoded_sounds]:
        samples = min(len(sound), decoded_seconds * codec.sample_rate) // hop * hop
        original = sound[:samples].to(device)
        codes = codec.encode(original.view(1, 1, -1))
        decoded = {f"{k} codebooks": codec.decode(codes[:, :k])[0, 0] for k in prefixes}
        if with_floor:
            decoded["true magnitudes"] = _phases_only(codec, original)
        for name, result in decoded.items():
            rows.setdefault(name, []).append(_figures(result.cpu(), original.cpu()))
    figures = ("mel_distance", "spectral_snr_db", "snr_db", *(f"mel_distance_{n}" for n, _ in RESOLUTIONS))
    means = {
        name: torch.tensor(values, dtype=torch.float64).mean(0).tolist() for name, values in rows.items()
    }
    ids = [codec.encode(sound.view(1, 1, -1).to(device))[0].cpu() for sound in sounds]
    return {
        "decoded_sounds": len(sounds[:decoded_sounds]),
        "encoded_sounds": len(sounds),
        "encoded_seconds": sum(len(sound) for sound in sounds) / codec.sample_rate,
        "quality": {name: dict(zip(figures, values, strict=True)) for name, values in means.items()},
        "codebooks": [
            _usage([rows[k] for rows in ids], codec.cardinality) for k in range(codec.num_codebooks)
        ],
    }


def format_table(report: dict[str, Any]) -> str:
    """The report as two Markdown tables."""
    lines = [f"quality: {report['decoded_sounds']} held-out sounds", ""]
    lines += ["| decoded from | mel distance | spectral SNR dB | SNR dB |", "|---|---|---|---|"]
    for name, row in report["quality"].items():
        lines.append(
            f"| {name} | {row['mel_distance']:.3f} | {row['spectral_snr_db']:.2f} | {row['snr_db']:.2f} |"
        )
    lines += [
        "",
        f"codebooks: {report['encoded_sounds']} held-out sounds, {report['encoded_seconds']:.0f} s",
        "",
        "| codebook | used | perplexity | repeats | bits | bits given the id before |",
        "|---|---|---|---|---|---|",
    ]
    for number, row in enumerate(report["codebooks"], start=1):
        lines.append(
            f"| {number} | {row['used']} | {row['perplexity']:.0f} | {row['repeats']:.2f} "
            f"| {row['bits']:.2f} | {row['bits_given_previous']:.2f} |"
        )
    return "\n".join(lines)


def write_report(report: dict[str, Any], path: Path) -> None:
    """The report as JSON."""
    path.write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")


def _magnitude(sound: Tensor, window: int) -> Tensor:
    return torch.stft(sound, window, window // 4, window=torch.hann_window(window), return_complex=True).abs()


def _figures(decoded: Tensor, original: Tensor) -> list[float]:
    mel = mel_distance(decoded, original)
    return [float(mel.sum()), spectral_snr_db(decoded, original), snr_db(decoded, original), *mel.tolist()]


@torch.no_grad()
def _phases_only(codec: SpectralCodec, sound: Tensor) -> Tensor:
    """The sound from its own magnitudes and phase advances, by the decoder's last steps."""
    return codec.resynthesise(sound.view(1, 1, -1))[0, 0]


def _usage(ids: Sequence[Int[Tensor, " F"]], cardinality: int) -> dict[str, float]:
    """Figures of one codebook; neighbours are counted inside each sound only."""
    counts = torch.bincount(torch.cat(list(ids)), minlength=cardinality).double()
    before, after = torch.cat([i[:-1] for i in ids]), torch.cat([i[1:] for i in ids])
    pairs = torch.unique(before * cardinality + after, return_counts=True)[1].double()
    bits = _entropy_bits(counts)
    return {
        "used": int((counts > 0).sum()),
        "perplexity": 2**bits,
        "repeats": float((before == after).double().mean()),
        "bits": bits,
        "bits_given_previous": _entropy_bits(pairs) - _entropy_bits(torch.bincount(before).double()),
    }


def _entropy_bits(counts: Float[Tensor, " N"]) -> float:
    shares = counts[counts > 0] / counts.sum()
    return float(-(shares * shares.log2()).sum())

"""How often the vocal check is right: real voices, the same with their bands, noise and whispers.

    python -m benchmarks.signal_checks [FOLDER]        FOLDER is ../shared/data/real

In: NAME.vocals.flac and, of some, NAME.accompaniment.flac. Out: a table, and a line of JSON: of each kind of
sound how many clips there are, and how many get which note of `hafm.audio.checks`; and the share of clear
frames: least, median, largest.

    voice      as it is: any note is wrong
    mix        voice and true accompaniment: "more than one voice" is right, "no pitch" wrong
    band       the accompaniment alone: either note is right
    whisper    noise with the voice's spectrum, 20 ms by 20 ms: "no pitch" is right
    white, pink noise of the voice's length: likewise

The thresholds of `hafm.audio.checks` were chosen on these clips: the figures are no test on other data.
"""

import argparse
import json
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import torch
from torch import Tensor

from hafm.audio.checks import NO_PITCH, clarity, vocal_notes
from hafm.audio.io import read_audio
from hafm.audio.sound import to_mono

_NOTES = {"no pitch": NO_PITCH[:20], "more than a voice": "there seems to be more"}
_WINDOW = 1024


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("folder", type=Path, nargs="?", default=Path("../shared/data/real"))
    folder = parser.parse_args().folder
    torch.set_num_threads(1)
    found: dict[str, list[tuple[tuple[str, ...], float]]] = {}
    for path in sorted(folder.glob("*.vocals.flac")):
        for kind, sound, rate in _sounds(path):
            values, level = clarity(to_mono(sound), rate)
            active = values[level > level.max() - 30.0]
            found.setdefault(kind, []).append(
                (vocal_notes(sound, rate), float((active > 0.8).float().mean()))
            )
    print(
        f"{'':<8}{'clips':>7}" + "".join(f"{name:>20}" for name in (*_NOTES, "neither")) + "   clear frames"
    )
    figures: dict[str, dict[str, object]] = {}
    for kind, clips in found.items():
        counts = Counter(
            next(
                (name for name, begin in _NOTES.items() if any(n.startswith(begin) for n in notes)), "neither"
            )
            for notes, _ in clips
        )
        shares = torch.tensor(sorted(share for _, share in clips))
        figures[kind] = {"clips": len(clips), **counts, "clear": [round(share, 3) for _, share in clips]}
        print(
            f"{kind:<8}{len(clips):>7}"
            + "".join(f"{counts[name]:>20}" for name in (*_NOTES, "neither"))
            + f"   {shares[0]:.2f}, {shares.median():.2f}, {shares[-1]:.2f}"
        )
    print(json.dumps(figures))


def _sounds(path: Path) -> Iterator[tuple[str, Tensor, int]]:
    voice = read_audio(path)
    rate, samples = voice.sample_rate, voice.waveform
    yield "voice", samples, rate
    band_path = path.with_name(path.name.replace(".vocals.", ".accompaniment."))
    if band_path.exists():
        band = read_audio(band_path, allow_silence=True).waveform.mean(dim=0, keepdim=True)
        length = min(band.shape[1], samples.shape[1])
        yield "mix", samples[:, :length] + band[:, :length], rate
        yield "band", band, rate
    noise = torch.randn(1, samples.shape[1], generator=torch.Generator().manual_seed(0))
    yield "whisper", _whispered(samples.mean(dim=0), noise[0]), rate
    yield "white", 0.1 * noise, rate
    spectrum = torch.fft.rfft(noise)
    spectrum[:, 1:] /= torch.arange(1, spectrum.shape[1]).sqrt()
    pink = torch.fft.irfft(spectrum, n=samples.shape[1])
    yield "pink", 0.1 * pink / pink.std(), rate


def _whispered(voice: Tensor, noise: Tensor) -> Tensor:
    """The smoothed spectrum of the voice on noise: what is left when the vocal folds do not move."""
    window = torch.hann_window(_WINDOW)
    voiced, breath = (
        torch.stft(each, _WINDOW, _WINDOW // 4, window=window, return_complex=True) for each in (voice, noise)
    )
    smooth = torch.nn.functional.avg_pool1d(voiced.abs().T[:, None], 31, 1, 15)[
        :, 0
    ].T  # over 750 Hz and more
    whispered = torch.istft(breath * smooth, _WINDOW, _WINDOW // 4, window=window, length=len(voice))
    return (0.1 * whispered / whispered.std())[None]


if __name__ == "__main__":
    main()

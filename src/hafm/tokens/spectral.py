"""The built-in semantic features: what k-means turns into semantic tokens when HuBERT is not at hand.

In:  waveforms `[B, T]` at 24 kHz, any level, any length from one sample. Out: features `[B, F, D]` at 50 Hz.

A frame is the concatenation of groups, each scaled by its weight; a group of weight 0 is left out:

    group      size  from              says
    chroma      12   long window       which pitch classes sound: the sung note, the chord
    bass        12   long window       the bass note's pitch class (28 Hz .. 165 Hz fundamentals)
    register     8   long window       roughly how high: half-octave bands of salience
    level        1   short window      loudness against the clip
    timbre      20   short window      shape of the log-mel spectrum, without its mean
    onset        3   short window      attacks in the low, middle and high bands: kick, snare, hats; syllables

k-means minimises squared distance, so squared weight times variance is what a group can spend of the 500
clusters. The weights of `VOCAL` and `INSTRUMENTAL` were set by what the ids then say about the score on
held-out renders (`recipes/builtin/probe_tokens.py` measures it): chroma carries about half of the variance.

A vocal is one voice whose notes may last 100 ms: shorter window, no smoothing, folded by maximum. A chord
lasts a beat or more and is often broken up: longer window, chroma averaged over a second, folded by sum.

Level: every sound is first brought to one active RMS (`hafm.tokens.level`), so the features do not depend on
the recording's level. Chroma, register, timbre and onset hardly depend on it anyway (each frame is compared
with itself or with the one 40 ms before); `level` does, so a crop's features differ from the whole's by as
much as the crop is louder or softer, and within half a window or half the smoothing of its ends.

Source: ours, in place of section 3.2's HuBERT features, behind the same interface.
"""

from dataclasses import asdict, dataclass
from fractions import Fraction
from typing import Any, Self

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import conv1d, pad

from hafm.errors import UsageError
from hafm.tokens.chroma import HARMONIC_SPAN, contrast, fold_octaves, harmonic_sum, semitone_filters
from hafm.tokens.fingerprint import fingerprint
from hafm.tokens.level import set_active_rms
from hafm.tokens.onset import ONSET_BANDS, onset_mel_filters, onset_strength
from hafm.tokens.spectrum import band_powers, mel_filters

__all__ = ["INSTRUMENTAL", "VOCAL", "SpectralConfig", "SpectralFeatures"]

REFERENCE_RMS = 0.1
REGISTER_STEP = 6  # semitones between register bands; a note on a border counts in both
REGISTER_SPAN = 9


@dataclass(frozen=True, kw_only=True)
class SpectralConfig:
    """How the features are made.

    Args:
        sample_rate: in hertz.
        hop: samples per frame.
        pitch_window: samples of the long window, even.
        short_window: samples of the short window, even.
        low_note: MIDI number of the lowest fundamental looked for.
        chroma_low_note: lowest fundamental that counts for chroma, `low_note` or above.
        bass_high_note: highest fundamental that counts for bass.
        fold: how octaves fold in chroma, `"max"` (one voice) or `"sum"`.
        chroma_frames: odd length of the Hann average over time before the contrast; 1 for none.
        bass_frames: the same for bass.
        floor: salience at which chroma has faded by half (a sine at the clip's RMS has 0.14).
        chroma_exponent: above 1 sharpens chroma towards one class.
        num_mel_bands: bands of the timbre.
        chroma_weight, bass_weight, register_weight, level_weight, timbre_weight, onset_weight: factor of each
            group, 0 leaves it out.

    Raises:
        UsageError: a value out of its range, or all weights 0.

    >>> SpectralConfig(fold="mean")
    Traceback (most recent call last):
    ...
    hafm.errors.UsageError: SpectralConfig: fold must be 'max' or 'sum', got 'mean'
    """

    sample_rate: int = 24_000
    hop: int = 480
    pitch_window: int = 4096
    short_window: int = 1024
    low_note: int = 36
    chroma_low_note: int = 36
    high_note: int = 84
    bass_high_note: int = 52
    fold: str = "max"
    chroma_frames: int = 1
    bass_frames: int = 1
    floor: float = 0.05
    chroma_exponent: float = 1.0
    num_mel_bands: int = 20
    chroma_weight: float = 1.0
    bass_weight: float = 0.0
    register_weight: float = 0.5
    level_weight: float = 0.3
    timbre_weight: float = 0.08
    onset_weight: float = 1.5

    def __post_init__(self) -> None:
        def require(good: bool, message: str) -> None:
            if not good:
                raise UsageError(f"SpectralConfig: {message}")

        require(self.sample_rate > 0 and self.hop > 0, "sample_rate and hop must be above 0")
        for name in ("pitch_window", "short_window"):
            size = getattr(self, name)
            require(size % 2 == 0 and size >= self.hop, f"{name} must be even and at least hop, got {size}")
        require(
            0 <= self.low_note <= self.chroma_low_note < self.high_note <= 127,
            f"notes must rise: low_note {self.low_note}, chroma_low_note {self.chroma_low_note}, "
            f"high_note {self.high_note}",
        )
        require(
            self.low_note < self.bass_high_note <= self.high_note, "bass_high_note must lie above low_note"
        )
        require(self.fold in ("max", "sum"), f"fold must be 'max' or 'sum', got {self.fold!r}")
        for name in ("chroma_frames", "bass_frames"):
            require(getattr(self, name) % 2 == 1, f"{name} must be odd, got {getattr(self, name)}")
        require(self.floor > 0 and self.chroma_exponent > 0, "floor and chroma_exponent must be above 0")
        require(self.num_mel_bands > 0, f"num_mel_bands must be above 0, got {self.num_mel_bands}")
        require(all(weight >= 0 for weight in self.weights.values()), "weights must be 0 or more")
        require(any(self.weights.values()), "at least one weight must be above 0")

    @property
    def weights(self) -> dict[str, float]:
        """Weight of each group, in the order of the features."""
        return {name: getattr(self, f"{name}_weight") for name in _GROUPS}

    @property
    def group_sizes(self) -> dict[str, int]:
        """Length of each group that is not left out, in the order of the features."""
        sizes = {
            "chroma": 12,
            "bass": 12,
            "register": self.num_registers,
            "level": 1,
            "timbre": self.num_mel_bands,
        }
        sizes["onset"] = ONSET_BANDS
        return {name: sizes[name] for name, weight in self.weights.items() if weight > 0}

    @property
    def num_registers(self) -> int:
        """Register bands that fit between `low_note` and `high_note`."""
        return len(range(0, self.high_note - self.low_note + 1 - REGISTER_STEP // 2, REGISTER_STEP))

    def to_dict(self) -> dict[str, Any]:
        """JSON values; `SpectralConfig(**config.to_dict()) == config`."""
        return asdict(self)


_GROUPS = ("chroma", "bass", "register", "level", "timbre", "onset")

VOCAL = SpectralConfig()
"""For the sung voice: note, height, loudness, syllable onsets."""

INSTRUMENTAL = SpectralConfig(
    pitch_window=8192,
    low_note=28,
    chroma_low_note=48,
    fold="sum",
    chroma_frames=51,
    bass_frames=25,
    floor=0.1,
    bass_weight=0.5,
    register_weight=0.0,
    level_weight=0.4,
    timbre_weight=0.1,
    onset_weight=1.0,
)
"""For accompaniments: chord, bass note, drums, loudness and brightness."""


class SpectralFeatures:
    """Semantic features without weights; implements `hafm.tokens.base.SemanticFeatures`.

    Args:
        config: how they are made, `VOCAL` or `INSTRUMENTAL` for the built-in model.

    >>> features = SpectralFeatures(VOCAL)
    >>> features.extract(torch.zeros(2, 48_001)).shape, features.dim
    (torch.Size([2, 101, 44]), 44)
    """

    def __init__(self, config: SpectralConfig = VOCAL) -> None:
        self.config = config
        self.sample_rate, self.frame_rate = config.sample_rate, Fraction(config.sample_rate, config.hop)
        self.dim = sum(config.group_sizes.values())
        self._semitones = semitone_filters(
            size=config.pitch_window,
            sample_rate=config.sample_rate,
            low_note=config.low_note,
            high_note=config.high_note + HARMONIC_SPAN,
        )
        # Timbre and onset share one FFT: their filters stand side by side.
        self._mel = torch.cat(
            [
                mel_filters(
                    size=config.short_window,
                    sample_rate=config.sample_rate,
                    num_bands=config.num_mel_bands,
                    low_hz=60.0,
                    high_hz=min(11_000.0, config.sample_rate / 2),
                ),
                onset_mel_filters(size=config.short_window, sample_rate=config.sample_rate),
            ],
            dim=1,
        )

    @torch.no_grad()
    def extract(self, waveform: Float[Tensor, "B T"]) -> Float[Tensor, "B F D"]:
        """Features of `F = ceil(T * frame_rate / sample_rate)` frames.

        Args:
            waveform: one sound per row at `sample_rate`, T >= 1.

        Shape: `[B, T] -> [B, F, D]`

        Raises:
            ValueError: not `[B, T]` with T >= 1.
        """
        if waveform.ndim != 2 or waveform.shape[1] == 0:
            raise ValueError(
                f"waveform must be [B, T] with at least one sample, got shape {tuple(waveform.shape)}"
            )
        sound = set_active_rms(waveform.float(), REFERENCE_RMS, sample_rate=self.sample_rate)
        groups = {**self._pitch_groups(sound), **self._short_groups(sound)}
        weights = self.config.weights
        return torch.cat([weights[name] * groups[name] for name in self.config.group_sizes], dim=2)

    def fingerprint(self) -> str:
        """SHA-256 of the configuration and of this file's algorithm version."""
        return fingerprint({"kind": "spectral", "version": 1, **self.config.to_dict()})

    def to(self, device: torch.device | str) -> Self:
        """These features, with their filters on `device`."""
        self._semitones, self._mel = self._semitones.to(device), self._mel.to(device)
        return self

    def _pitch_groups(self, sound: Float[Tensor, "B T"]) -> dict[str, Tensor]:
        config = self.config
        salience = harmonic_sum(band_powers(sound, self._semitones, hop=config.hop))
        above = config.chroma_low_note - config.low_note
        chroma = fold_octaves(salience[..., above:], low_note=config.chroma_low_note, by=config.fold)
        bass = salience[..., : config.bass_high_note - config.low_note + 1]
        bass = fold_octaves(bass, low_note=config.low_note, by="max")
        register = torch.stack(
            [
                salience[..., step * REGISTER_STEP : step * REGISTER_STEP + REGISTER_SPAN].amax(dim=-1)
                for step in range(config.num_registers)
            ],
            dim=-1,
        )
        return {
            "chroma": contrast(
                _average(chroma, config.chroma_frames), floor=config.floor, exponent=config.chroma_exponent
            ),
            "bass": contrast(_average(bass, config.bass_frames), floor=config.floor / 2, exponent=2.0),
            "register": contrast(register, floor=config.floor, exponent=2.0),
        }

    def _short_groups(self, sound: Float[Tensor, "B T"]) -> dict[str, Tensor]:
        powers = band_powers(sound, self._mel, hop=self.config.hop)
        mel, fine = powers.split(
            [self.config.num_mel_bands, powers.shape[-1] - self.config.num_mel_bands], dim=-1
        )
        # 1e-5 is 30 dB below the level that everything is brought to: the noise of a room stays under it.
        log_mel = torch.log10(mel + 1e-5)
        level = log_mel.mean(dim=-1, keepdim=True)
        return {"level": level, "timbre": log_mel - level, "onset": onset_strength(fine)}


def _average(values: Float[Tensor, "B F N"], frames: int) -> Float[Tensor, "B F N"]:
    """Hann average over `frames` frames; near the ends over those that there are."""
    if frames == 1:
        return values
    num_rows, num_frames, num_values = values.shape
    kernel = torch.hann_window(frames + 2, periodic=False, device=values.device)[1:-1][None, None]
    columns = values.transpose(1, 2).reshape(num_rows * num_values, 1, num_frames)
    half = frames // 2
    total = conv1d(pad(columns, (half, half)), kernel)
    present = conv1d(pad(torch.ones_like(columns[:1]), (half, half)), kernel)
    return (total / present).view(num_rows, num_values, num_frames).transpose(1, 2)

"""The analyser: a vocal, or a band, to a lead sheet.

In:  a waveform of any length. Out: a `LeadSheet` whose parts are `estimated`, with a confidence, or `given`.

    waveform [T]
      |  features (`hafm.tokens.spectral`)
    [F50, D]
      |  network, in windows of 20 s that overlap by half (`hafm.guide.network`)
    logits of every frame
      |  beats (`hafm.guide.beats`; at a tempo that is given, `hafm.guide.steady`), corrected
      |  chords and key, by half bars (`hafm.guide.chords`)
    LeadSheet

Conventions: windows are averaged where they overlap, each weighted by a triangle, so a frame is judged by
what lies around it, and a sound of ten minutes like one of twenty seconds. Where there is no beat (free
time), beats stay unknown, and chords may change once per second. One analyser hears vocals, another bands:
they differ in features and weights.
"""

from bisect import bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, Self

import numpy as np
import torch
from jaxtyping import Float
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import pad

from hafm.errors import LeadSheetError, UsageError
from hafm.guide.beats import METERS, Beats, find_beats
from hafm.guide.chords import Harmony, find_harmony
from hafm.guide.corrections import Corrections
from hafm.guide.grid import with_meters, without_beats
from hafm.guide.lead_sheet import LeadSheet, MeterChange, Origin
from hafm.guide.network import POOL, Activations, AnalyserNetwork, NetworkConfig
from hafm.guide.steady import find_steady_beats
from hafm.rates import SEMANTIC_RATE
from hafm.tokens.fingerprint import fingerprint
from hafm.tokens.onset import ONSET_BANDS
from hafm.tokens.spectral import SpectralConfig, SpectralFeatures

__all__ = ["BAND", "VOCAL", "Analyser", "AnalyserConfig"]

Floats = NDArray[np.floating]

WINDOW_FRAMES, WINDOW_HOP = 1000, 500
_RATE = int(SEMANTIC_RATE)
_FREE_SEGMENT_SECONDS = 1.0
_VOWEL_ONSETS = 1 - ONSET_BANDS
"""The middle one of the onset bands, which the features end with: vowels and snares begin there."""
_SHORTEST_SEGMENT_SECONDS = 0.1
_MOST_SECONDS_APART = 0.5
"""A given sheet and its sound."""


@dataclass(frozen=True, kw_only=True)
class AnalyserConfig:
    """What an analyser hears and how large it is.

    Args:
        features: at 50 Hz.
        network: shapes, for as many features.
        melody_weight: how much the chroma counts for chords that hold it; 0 where chords themselves sound.

    Raises:
        UsageError: the two do not fit.
    """

    features: SpectralConfig
    network: NetworkConfig
    melody_weight: float

    def __post_init__(self) -> None:
        size = sum(self.features.group_sizes.values())
        if size != self.network.num_features:
            raise UsageError(
                f"AnalyserConfig: the features have {size} values per frame, and the network expects "
                f"{self.network.num_features}"
            )
        if self.features.onset_weight == 0 or self.features.chroma_weight == 0:
            raise UsageError("AnalyserConfig: an analyser needs chroma and onsets; give them a weight")
        if self.features.sample_rate != self.features.hop * _RATE:
            raise UsageError(f"AnalyserConfig: features must come {_RATE} times per second; change hop")

    def to_dict(self) -> dict[str, Any]:
        """JSON values, which `from_dict` reads."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        """Reads what `to_dict` gave.

        Raises:
            UsageError, TypeError, KeyError: a value is out of range, a key unknown or missing.
        """
        return cls(
            features=SpectralConfig(**values["features"]),
            network=NetworkConfig(**values["network"]),
            melody_weight=values["melody_weight"],
        )


VOCAL = AnalyserConfig(
    features=SpectralConfig(register_weight=1.0, level_weight=1.0, timbre_weight=1.0, onset_weight=1.0),
    network=NetworkConfig(num_features=44),
    melody_weight=8.0,
)
"""One voice: note, height, loudness, vowel, syllables. The network scales what it is given."""

BAND = AnalyserConfig(
    features=SpectralConfig(
        pitch_window=8192,
        low_note=28,
        chroma_low_note=48,
        fold="sum",
        floor=0.1,
        bass_weight=1.0,
        register_weight=0.0,
        level_weight=1.0,
        timbre_weight=1.0,
        onset_weight=1.0,
    ),
    network=NetworkConfig(num_features=48),
    melody_weight=0.0,
)
"""Many instruments: chord, bass, loudness, drums."""


class Analyser:
    """A trained network, ready to analyse.

    Args:
        config: what it was trained with.
        weights: of `AnalyserNetwork`, by name.

    Raises:
        UsageError: the weights do not fit.
    """

    def __init__(self, *, config: AnalyserConfig, weights: Mapping[str, Tensor]) -> None:
        self.config = config
        self._features = SpectralFeatures(config.features)
        self._network = AnalyserNetwork(config.network)
        try:
            self._network.load_state_dict(weights)
        except RuntimeError as error:
            raise UsageError(f"the weights do not fit the analyser: {error}") from error
        self._network.eval().requires_grad_(False)

    @property
    def weights(self) -> dict[str, Tensor]:
        """By name; `Analyser(config=config, weights=weights)` is this analyser."""
        return dict(self._network.state_dict())

    def fingerprint(self) -> str:
        """SHA-256 (hex) of configuration and weights, as they are used."""
        return fingerprint({"kind": "analyser", "version": 1, **self.config.to_dict()}, self.weights)

    def analyse(
        self,
        waveform: Float[Tensor, " T"],
        sample_rate: int,
        *,
        given: LeadSheet | None = None,
        tempo_bpm: float | None = None,
        corrections: Corrections | None = None,
    ) -> LeadSheet:
        """The lead sheet of a sound.

        Args:
            waveform: one sample or more.
            sample_rate: in hertz.
            given: what is known already. Its key, chords, arrangement and style are kept; its beats are kept,
                and more are found where it has none.
            tempo_bpm: about how fast it goes, if that is known and no beats are.
            corrections: what is known better. They hold over what is given, and what is not given is found
                in accord with them.

        Raises:
            LeadSheetError: the given beats cannot be continued, or their sheet is of another sound; or
                corrections do not fit it.
        """
        known = LeadSheet(duration_seconds=len(waveform) / sample_rate) if given is None else given
        if abs(known.duration_seconds - len(waveform) / sample_rate) > _MOST_SECONDS_APART:
            raise LeadSheetError(
                f"the given lead sheet lasts {known.duration_seconds:g} s and the sound "
                f"{len(waveform) / sample_rate:g} s; give the sheet of this part"
            )
        corrections = Corrections() if corrections is None else corrections
        if corrections.bpm is not None and known.beats:
            raise LeadSheetError("the lead sheet has beats, and --bpm says others; leave one out")
        features = self.features(waveform, sample_rate)
        activations = self.activations(features)
        heard = (activations.beat.numpy(), activations.downbeat.numpy(), features[:, _VOWEL_ONSETS].numpy())
        known = _with_beats(known, heard, corrections, tempo_bpm)
        known = corrections.with_chart(corrections.with_keys(known))
        harmony = find_harmony(
            activations.key.numpy(),
            activations.root.numpy(),
            activations.pitch_classes.numpy(),
            melody=self.config.melody_weight * _slow_chroma(features),
            transitions=self._network.chord_transitions.double().numpy(),
            borders_seconds=_borders(known),
            known_keys=known.keys,
        )
        return corrections.finished(_with_harmony(known, harmony))

    def features(self, waveform: Float[Tensor, " T"], sample_rate: int) -> Float[Tensor, "F D"]:
        """What the network sees of a sound.

        Args:
            waveform: one sample or more.
            sample_rate: in hertz.
        """
        from hafm.audio.resample import resample  # what trains stages needs no audio packages

        sound = resample(waveform[None].float(), sample_rate, self._features.sample_rate)
        return self._features.extract(sound)[0]

    @torch.inference_mode()
    def activations(self, features: Float[Tensor, "F D"]) -> Activations:
        """The network's logits, each of one row: without `B`.

        Args:
            features: see `features`.
        """
        num_frames = len(features)
        windows = [
            (start, self._network(features[None, start : start + WINDOW_FRAMES]))
            for start in range(0, max(1, num_frames - WINDOW_HOP), WINDOW_HOP)
        ]
        return Activations(*(_overlapped(field, windows, num_frames) for field in Activations._fields))


def _slow_chroma(features: Float[Tensor, "F D"]) -> Float[np.ndarray, "S 12"]:
    """The chroma, which the features begin with, at the rate of the chords."""
    padded = pad(features[:, :12], (0, 0, 0, -len(features) % POOL))
    return padded.reshape(-1, POOL, 12).mean(dim=1).numpy()


def _overlapped(field: str, windows: Sequence[tuple[int, Activations]], num_frames: int) -> Tensor:
    """One field of all windows, averaged where they overlap; each counts most in its middle."""
    step = 1 if field in ("beat", "downbeat") else POOL
    size = -(-num_frames // step)
    total, weight = torch.zeros(()), torch.zeros(size)
    for start, activations in windows:
        values = getattr(activations, field)[0]
        place = slice(start // step, start // step + len(values))
        ramp = torch.arange(1, len(values) + 1)
        triangle = torch.minimum(ramp, ramp.flip(0)).float()
        weight[place] += triangle
        if total.ndim == 0:
            total = torch.zeros(size, *values.shape[1:])
        total[place] += values * triangle.view(-1, *[1] * (values.ndim - 1))
    return total / weight.view(-1, *[1] * (total.ndim - 1))


def _with_beats(
    known: LeadSheet, heard: tuple[Floats, Floats, Floats], corrections: Corrections, tempo_bpm: float | None
) -> LeadSheet:
    """The sheet with its beats and bars: those that are known and those that are found, corrected.

    Args:
        known: what is given.
        heard: logits of beat and downbeat, onset strength.
        corrections: see `Analyser.analyse`.
        tempo_bpm: see there.
    """
    if corrections.free_time:
        return without_beats(known)
    duration, given_meters = known.duration_seconds, known.meters
    if not known.beats and corrections.meters:
        given_meters = tuple(meter for _, meter in corrections.meters)[:1]
    meters = dict.fromkeys((meter.beats_per_bar for meter in given_meters), 1.0) or METERS
    if corrections.bpm is not None:
        bpm, first_beat = corrections.bpm, corrections.first_beat
        found: Beats | None = find_steady_beats(
            *heard, bpm=bpm, duration_seconds=duration, first_beat=first_beat, meters=meters
        )
    else:
        found = find_beats(*heard, known=known.beats, meters=meters, tempo_bpm=tempo_bpm)
    if found is None:
        return corrections.on_beats(known)  # which refuses what only beats could have
    beats = tuple(beat for beat in found.beats if beat.seconds < duration)
    if known.beats:
        return corrections.on_beats(replace(known, beats=beats))
    is_given = corrections.bpm is not None and corrections.first_beat is not None
    origin = Origin() if is_given else Origin(source="estimated", confidence=found.confidence)
    meter = given_meters[0] if len(given_meters) == 1 else MeterChange(0.0, found.beats_per_bar, 4)
    origins = {**known.origins, "beats": origin}
    sheet = replace(known, beats=beats, meters=(replace(meter, start_seconds=0.0),), origins=origins)
    if corrections.bpm is None:
        return corrections.on_beats(sheet, moves_chords=False)  # they were given in seconds, without bars
    return with_meters(sheet, corrections.meters) if corrections.meters else sheet


def _borders(sheet: LeadSheet) -> list[float]:
    """Where a chord may change: at bars and, of four beats, at the third; once per second in free time."""
    duration = sheet.duration_seconds
    if not sheet.beats:
        inner = np.arange(_FREE_SEGMENT_SECONDS, duration, _FREE_SEGMENT_SECONDS).tolist()
    else:
        starts = [meter.start_seconds for meter in sheet.meters]
        inner = [
            beat.seconds
            for beat in sheet.beats
            if beat.position == 1
            or (
                beat.position == 3 and sheet.meters[bisect_right(starts, beat.seconds) - 1].beats_per_bar == 4
            )
        ]
    least = _SHORTEST_SEGMENT_SECONDS
    inner = [time for time in inner if least < time < duration - least]
    return [0.0, *inner, duration]


def _with_harmony(known: LeadSheet, harmony: Harmony) -> LeadSheet:
    """What was known, and for the rest what was found."""
    origins = dict(known.origins)
    keys, chords = known.keys, known.chords
    if not keys:
        keys = harmony.keys
        origins["key"] = Origin(source="estimated", confidence=harmony.key_confidence)
    if not chords:
        chords = harmony.chords
        origins["chords"] = Origin(source="estimated", confidence=harmony.chord_confidence)
    return replace(known, keys=keys, chords=chords, origins=origins)

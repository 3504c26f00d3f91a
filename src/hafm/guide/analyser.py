"""The analyser: a vocal, or a band, to a lead sheet.

In:  a waveform of any length. Out: a `LeadSheet` whose parts are `estimated`, with a confidence, or `given`.

    waveform [T]
      |  features (`hafm.tokens.spectral`)
    [F50, D]
      |  tempi that are worth a try (`hafm.guide.beats`); at each
      |    sampled in beat time (`hafm.guide.beat_time`)
      |    network, in windows of 24 beats that overlap by half or more (`hafm.guide.network`)
    what it says at the tempo that it believes most
      |  beats (`hafm.guide.beats`; at a tempo that is given, `hafm.guide.steady`), corrected
      |  chords and key, by half bars (`hafm.guide.chords`)
    LeadSheet

Conventions: windows are averaged where they overlap, each weighted by a triangle, so a tick is judged by
what lies around it, and a sound of ten minutes like one of twenty seconds. A tempo is believed by what the
network says of it and by what repeats in the onsets; of a long sound, three excerpts decide. Where there is
no beat (free time), beats stay unknown, and chords may change once per second. One analyser hears vocals,
another bands: they differ in features and weights.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, NamedTuple, Self

import numpy as np
import torch
from jaxtyping import Float
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.functional import pad

from hafm.errors import LeadSheetError, UsageError
from hafm.guide.beat_time import at_rate, beginnings, sample_ticks, tick_seconds
from hafm.guide.beats import KNOWN_TEMPO_CHANCE, METERS, Beats, find_beats, possible_tempi
from hafm.guide.chords import (
    HARMONY_RATE,
    STAY_COST,
    Harmony,
    find_harmony,
    key_number,
    mean_of_segments,
    segment_states,
)
from hafm.guide.corrections import Corrections
from hafm.guide.grid import with_meters, without_beats
from hafm.guide.harmoniser import (
    BeatGrid,
    HarmoniserConfig,
    HarmoniserNetwork,
    HarmonyLogits,
    chroma_of_ticks,
    key_rows,
    position_rows,
)
from hafm.guide.lead_sheet import KeyChange, LeadSheet, MeterChange, Origin, PartName
from hafm.guide.network import SAMPLES_PER_TICK, TICKS_PER_BEAT, Activations, AnalyserNetwork, NetworkConfig
from hafm.guide.steady import find_steady_beats
from hafm.rates import SEMANTIC_RATE
from hafm.tokens.fingerprint import fingerprint
from hafm.tokens.onset import ONSET_BANDS
from hafm.tokens.spectral import SpectralConfig, SpectralFeatures

__all__ = ["BAND", "OF_HARMONISER", "VOCAL", "Analyser", "AnalyserConfig", "Heard"]

Floats = NDArray[np.floating]

WINDOW_TICKS, WINDOW_HOP = 24 * TICKS_PER_BEAT, 12 * TICKS_PER_BEAT
_EXCERPT_SECONDS, _EXCERPTS = 20.0, 3
_WINDOWS_AT_ONCE = 16
_MIDDLING_BPM = 100.0
_RATE = int(SEMANTIC_RATE)
_POOL = round(_RATE / HARMONY_RATE)
_FREE_SEGMENT_SECONDS = 1.0
_VOWEL_ONSETS = 1 - ONSET_BANDS
"""The middle one of the onset bands, which the features end with: vowels and snares begin there."""
_SHORTEST_SEGMENT_SECONDS = 0.1
MELODY_TRANSITIONS, MELODY_STAY_COST = 0.0, 0.3
"""What usually follows a chord, and staying on it, against the harmoniser's word, which knows what comes
before and after."""
OF_HARMONISER = "harmoniser."
"""How the names of its weights begin."""
_MOST_SECONDS_APART = 0.5
"""A given sheet and its sound."""


class Heard(NamedTuple):
    """What the network says of a sound at a tempo: chances at 50 Hz, logits at 12.5 Hz."""

    bpm: float
    beat: Float[np.ndarray, " F"]
    downbeat: Mapping[int, Float[np.ndarray, " F"]]
    """By beats per bar."""
    meters: Mapping[int, float]
    """How likely each number of beats per bar is."""
    key: Float[np.ndarray, "S 24"]
    root: Float[np.ndarray, "S 13"]
    pitch_classes: Float[np.ndarray, "S 12"]


@dataclass(frozen=True, kw_only=True)
class AnalyserConfig:
    """What an analyser hears and how large it is.

    Args:
        features: at 50 Hz.
        network: shapes, for as many features.
        melody_weight: how much the chroma counts for chords that hold it; 0 where chords themselves sound, or
            where a harmoniser listens.
        harmoniser: shapes of what finds chords for a melody; None where the network's word decides.

    Raises:
        UsageError: the two do not fit.
    """

    features: SpectralConfig
    network: NetworkConfig
    melody_weight: float
    harmoniser: HarmoniserConfig | None = None

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
        """JSON values, which `from_dict` reads; without a harmoniser they do not mention one."""
        return {name: value for name, value in asdict(self).items() if value is not None}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        """Reads what `to_dict` gave.

        Raises:
            UsageError, TypeError, KeyError: a value is out of range, a key unknown or missing.
        """
        harmoniser = values.get("harmoniser")
        return cls(
            features=SpectralConfig(**values["features"]),
            network=NetworkConfig(**values["network"]),
            melody_weight=values["melody_weight"],
            harmoniser=None if harmoniser is None else HarmoniserConfig(**harmoniser),
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
        weights: of `AnalyserNetwork`, by name, and after `harmoniser.` those of `HarmoniserNetwork`.

    Raises:
        UsageError: the weights do not fit.
    """

    def __init__(self, *, config: AnalyserConfig, weights: Mapping[str, Tensor]) -> None:
        self.config = config
        self._features = SpectralFeatures(config.features)
        self._network = AnalyserNetwork(config.network)
        self._harmoniser = None if config.harmoniser is None else HarmoniserNetwork(config.harmoniser)
        own = {name: value for name, value in weights.items() if not name.startswith(OF_HARMONISER)}
        others = {
            name.removeprefix(OF_HARMONISER): value for name, value in weights.items() if name not in own
        }
        try:
            self._network.load_state_dict(own)
            (nn.Module() if self._harmoniser is None else self._harmoniser).load_state_dict(others)
        except RuntimeError as error:
            raise UsageError(f"the weights do not fit the analyser: {error}") from error
        for network in (self._network, self._harmoniser):
            if network is not None:
                network.eval().requires_grad_(False)

    @property
    def weights(self) -> dict[str, Tensor]:
        """By name; `Analyser(config=config, weights=weights)` is this analyser."""
        others = {} if self._harmoniser is None else self._harmoniser.state_dict()
        return {
            **self._network.state_dict(),
            **{f"{OF_HARMONISER}{name}": value for name, value in others.items()},
        }

    def with_harmoniser(self, config: HarmoniserConfig, weights: Mapping[str, Tensor]) -> "Analyser":
        """This analyser with another harmoniser, or its first.

        Raises:
            UsageError: the weights do not fit.
        """
        own = self._network.state_dict()
        return Analyser(
            config=replace(self.config, harmoniser=config),
            weights={**own, **{f"{OF_HARMONISER}{name}": value for name, value in weights.items()}},
        )

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
        bpm = corrections.bpm or known.tempo_bpm or tempo_bpm  # exact, by beats that are known, or about
        is_known = bpm is not None
        bpm, tempo_chance = self.tempo(features) if bpm is None else (bpm, KNOWN_TEMPO_CHANCE)
        heard = self.hear(features, bpm)
        known = _with_beats(known, heard, corrections, is_known=is_known, tempo_chance=tempo_chance)
        known = corrections.with_harmony(known)
        find = self._heard_harmony if self._harmoniser is None else self._melody_harmony
        return corrections.finished(_with_harmony(known, find(known, features, heard)))

    def _heard_harmony(self, known: LeadSheet, features: Float[Tensor, "F D"], heard: Heard) -> Harmony:
        """Keys and chords by the network's word."""
        borders = _borders(known)
        states = segment_states(
            heard.root,
            heard.pitch_classes,
            melody=self.config.melody_weight * _slow_chroma(features),
            borders_seconds=borders,
        )
        return find_harmony(
            heard.key,
            states,
            heard.pitch_classes,
            transitions=self._network.chord_transitions.double().numpy(),
            stay_cost=STAY_COST,
            borders_seconds=borders,
            known_keys=known.keys,
        )

    def _melody_harmony(self, known: LeadSheet, features: Float[Tensor, "F D"], heard: Heard) -> Harmony:
        """Chords by the harmoniser's; keys by both."""
        grid, borders = BeatGrid.of(known), _borders(known)
        said = self._harmony_logits(features, grid, known.keys)
        seconds = (np.arange(len(heard.key)) + 0.5) / HARMONY_RATE
        beats = (np.searchsorted(grid.borders_seconds, seconds, side="right") - 1).clip(0, len(said.key) - 1)
        heard_key = torch.from_numpy(heard.key).double().log_softmax(dim=1).numpy()
        states, key = (each.double().log_softmax(dim=1).numpy()[beats] for each in (said.states, said.key))
        return find_harmony(
            (key + heard_key) / 2,
            mean_of_segments(states, borders),
            said.pitch_classes.double().numpy()[beats],
            transitions=MELODY_TRANSITIONS * self._network.chord_transitions.double().numpy(),
            stay_cost=MELODY_STAY_COST,
            borders_seconds=borders,
            known_keys=known.keys,
        )

    @torch.inference_mode()
    def _harmony_logits(
        self, features: Float[Tensor, "F D"], grid: BeatGrid, keys: Sequence[KeyChange]
    ) -> HarmonyLogits:
        """What the harmoniser says of each beat, without `B`."""
        assert self._harmoniser is not None
        begins = grid.borders_seconds[:-1]
        numbers = np.array([-1, *(key_number(key) for key in keys)])
        key = numbers[np.searchsorted([key.start_seconds for key in keys], begins + 1e-6)]
        rows = (
            chroma_of_ticks(features[:, :12].numpy(), grid.borders_seconds),
            position_rows(grid.position, grid.beats_per_bar),
            key_rows(key),
        )
        found = self._harmoniser(*(torch.from_numpy(row)[None] for row in rows))
        return HarmonyLogits(*(field[0] for field in found))

    def features(self, waveform: Float[Tensor, " T"], sample_rate: int) -> Float[Tensor, "F D"]:
        """What the network sees of a sound."""
        from hafm.audio.resample import resample  # what trains stages needs no audio packages

        sound = resample(waveform[None].float(), sample_rate, self._features.sample_rate)
        return self._features.extract(sound)[0]

    def tempo(self, features: Float[Tensor, "F D"]) -> tuple[float, float]:
        """The likeliest tempo of a sound, in beats per minute, and its chance among those worth a try."""
        tempi = possible_tempi(features[:, _VOWEL_ONSETS].numpy())
        if not tempi:
            return _MIDDLING_BPM, 0.0
        scores = np.array([prior + self.tempo_score(features, bpm) for bpm, prior in tempi.items()])
        chances = np.exp(scores - scores.max()) / np.exp(scores - scores.max()).sum()
        return list(tempi)[chances.argmax()], float(chances.max())

    def tempo_score(self, features: Float[Tensor, "F D"], bpm: float) -> float:
        """The network's log-odds that a tempo is that of the beat; comparable between tempi of one sound."""
        said = [float(self.activations(excerpt, bpm).tempo.mean()) for excerpt in _excerpts(features)]
        return float(np.mean(said))

    def hear(self, features: Float[Tensor, "F D"], bpm: float) -> Heard:
        """What the network says of a sound at a tempo."""
        ticks = self.activations(features, bpm)
        seconds = tick_seconds(bpm, len(features) / _RATE)[: len(ticks.tempo)]

        def chances(phases: Tensor) -> Floats:
            return at_rate(beginnings(phases.numpy()), seconds, size=len(features), rate=_RATE)

        def slow(logits: Tensor) -> Floats:
            return at_rate(logits.numpy(), seconds, size=-(-len(features) // _POOL), rate=HARMONY_RATE)

        three = float(ticks.meter.mean(dim=0).softmax(dim=0)[1])
        half_bars = ticks.bar_of_four.unflatten(1, (2, -1)).logsumexp(dim=1)
        return Heard(
            bpm=bpm,
            beat=chances(ticks.beat),
            downbeat={
                4: chances(ticks.bar_of_four),
                3: chances(ticks.bar_of_three),
                2: chances(half_bars),
            },
            meters={4: 1 - three, 3: three, 2: 0.0},
            key=slow(ticks.key),
            root=slow(ticks.root),
            pitch_classes=slow(ticks.pitch_classes),
        )

    @torch.inference_mode()
    def activations(self, features: Float[Tensor, "F D"], bpm: float) -> Activations:
        """The network's logits of the ticks of a tempo that lie in the sound, without `B`."""
        seconds = tick_seconds(bpm, len(features) / _RATE)
        num_ticks = max(1, int((seconds < len(features) / _RATE).sum()))
        samples, inside = (
            torch.from_numpy(each[: SAMPLES_PER_TICK * num_ticks])
            for each in sample_ticks(features.numpy(), seconds)
        )
        size = min(num_ticks, WINDOW_TICKS)
        starts = [*range(0, num_ticks - size, WINDOW_HOP), num_ticks - size]
        windows = [slice(SAMPLES_PER_TICK * start, SAMPLES_PER_TICK * (start + size)) for start in starts]
        found = []
        for first in range(0, len(windows), _WINDOWS_AT_ONCE):
            part = windows[first : first + _WINDOWS_AT_ONCE]
            rows, theirs = (torch.stack([each[window] for window in part]) for each in (samples, inside))
            found.append(self._network(rows, theirs, torch.full((len(part),), float(bpm))))
        fields = (torch.cat(field) for field in zip(*found, strict=True))
        return Activations(*(_overlapped(field, starts) for field in fields))


def _excerpts(features: Float[Tensor, "F D"]) -> list[Float[Tensor, "E D"]]:
    """What decides the tempo: all of a short sound, the middles of the thirds of a long one."""
    size = round(_EXCERPT_SECONDS * _RATE)
    if len(features) <= _EXCERPTS * size:
        return [features]
    middles = (np.arange(_EXCERPTS) + 0.5) * len(features) / _EXCERPTS
    return [features[round(middle) - size // 2 :][:size] for middle in middles]


def _slow_chroma(features: Float[Tensor, "F D"]) -> Float[np.ndarray, "S 12"]:
    """The chroma, which the features begin with, at the rate of the chords."""
    padded = pad(features[:, :12], (0, 0, 0, -len(features) % _POOL))
    return padded.reshape(-1, _POOL, 12).mean(dim=1).numpy()


def _overlapped(windows: Tensor, starts: Sequence[int]) -> Tensor:
    """All windows `[W, N, ...]` as one, averaged where they overlap; each counts most in its middle."""
    size = windows.shape[1]
    ramp = torch.arange(1, size + 1)
    triangle = torch.minimum(ramp, ramp.flip(0)).float().view(-1, *[1] * (windows.ndim - 2))
    total = torch.zeros(starts[-1] + size, *windows.shape[2:])
    weight = torch.zeros(len(total), *triangle.shape[1:])
    for start, window in zip(starts, windows, strict=True):
        total[start : start + size] += window * triangle
        weight[start : start + size] += triangle
    return total / weight


def _with_beats(
    known: LeadSheet, heard: Heard, corrections: Corrections, *, is_known: bool, tempo_chance: float
) -> LeadSheet:
    """The sheet with its beats and bars: those that are known and those that are found, corrected.

    Args:
        is_known: whether somebody said how fast it goes.
        tempo_chance: how likely the tempo is that was found.
    """
    if corrections.free_time:
        return without_beats(known)
    duration, given_meters = known.duration_seconds, known.meters
    if not known.beats and corrections.meters:
        given_meters = tuple(meter for _, meter in corrections.meters)[:1]
    possible = [meter.beats_per_bar for meter in given_meters] or list(METERS)
    likeliest = max(possible, key=lambda beats: heard.meters.get(beats, 0.0))
    downbeat = heard.downbeat.get(likeliest, heard.downbeat[4])
    if corrections.bpm is not None:
        found: Beats | None = find_steady_beats(
            heard.beat,
            downbeat,
            bpm=corrections.bpm,
            duration_seconds=duration,
            first_beat=corrections.first_beat,
            meters={likeliest: 1.0},
        )
    else:
        meters = dict.fromkeys(possible if given_meters else (likeliest,), 1.0)
        found = find_beats(
            heard.beat,
            downbeat,
            bpm=heard.bpm,
            is_known=is_known,
            tempo_chance=tempo_chance,
            known=known.beats,
            meters=meters,
        )
    if found is None:
        return corrections.on_beats(known)  # which refuses what only beats could have
    beats = tuple(beat for beat in found.beats if beat.seconds < duration)
    if known.beats:
        if len(known.beats) > 1:
            last = known.beats[-1].seconds
            if 2 * last - known.beats[-2].seconds > duration - 1e-6:  # one is found a frame before that
                beats = tuple(beat for beat in beats if beat.seconds <= last)
        return corrections.on_beats(replace(known, beats=beats))
    is_given = corrections.bpm is not None and corrections.first_beat is not None
    origins = dict(known.origins)
    said: Mapping[PartName, float] = {"beats": found.confidence, "bars": found.bar_confidence}
    for part, confidence in said.items():
        origins[part] = Origin() if is_given else Origin(source="estimated", confidence=confidence)
    meter = given_meters[0] if len(given_meters) == 1 else MeterChange(0.0, found.beats_per_bar, 4)
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
        inner = [
            beat.seconds
            for beat in sheet.beats
            if beat.position == 1 or (beat.position == 3 and sheet.meter_at(beat.seconds).beats_per_bar == 4)
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

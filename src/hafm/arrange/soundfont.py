"""The instruments of a SoundFont, `.sf2` or `.sf3`.

In: the bytes of a file. Out: for each preset its `Zone`s: which sample sounds for which keys and velocities,
at which pitch, and how it swells and fades. Zones and samples are read when they are asked for.

    RIFF sfbk
      LIST sdta  smpl                      samples, end to end: 16 bit, or an Ogg Vorbis stream each (.sf3)
      LIST pdta  phdr -> pbag -> pgen      presets: zones of generators, each naming an instrument
                 inst -> ibag -> igen      instruments: zones of generators, each naming a sample
                 shdr                      where the samples lie

Conventions: a zone's generators are those of the instrument, or else of the instrument's first zone if that
names no sample, or else the defaults; what the preset says is added (8.5). Modulators and the modulation
envelope are passed over. Attenuation counts 0.04 dB per unit and not 0.1 as the standard has it: so do the
E-mu cards and FluidSynth, for which SoundFonts were made.

Source: SoundFont Technical Specification 2.04 (1998); numbers are its sections. `.sf3` is MuseScore's.
"""

import io
import struct
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import soundfile
from numpy.typing import NDArray

from hafm.errors import SoundfontError

__all__ = ["DRUM_BANK", "SHIPPED", "Soundfont", "Zone", "open_soundfont"]

SHIPPED = Path(__file__).parent.parent / "assets" / "soundfont" / "fluidmono_pop.sf3"
"""Fluid (R3) Mono GM, cut to the instruments of the styles; MIT."""

DRUM_BANK = 128
_MOST_BYTES = 1 << 31

Generators: TypeAlias = dict[int, int]
Floats = NDArray[np.float32]

_START, _END, _LOOP_START, _LOOP_END = 0, 1, 2, 3
_START_COARSE, _END_COARSE, _LOOP_START_COARSE, _LOOP_END_COARSE = 4, 12, 45, 50
_CUTOFF, _RESONANCE, _PAN = 8, 9, 17
_DELAY, _ATTACK, _HOLD, _DECAY, _SUSTAIN, _RELEASE = 33, 34, 35, 36, 37, 38
_INSTRUMENT, _KEYS, _VELOCITIES, _ATTENUATION = 41, 43, 44, 48
_COARSE_TUNE, _FINE_TUNE, _SAMPLE, _MODES, _SCALE, _EXCLUSIVE, _ROOT = 51, 52, 53, 54, 56, 57, 58

_SHORTEST = -12_000  # timecents
_DEFAULTS = {
    _CUTOFF: 13_500,
    **dict.fromkeys((_DELAY, _ATTACK, _HOLD, _DECAY, _RELEASE), _SHORTEST),
    _SCALE: 100,
    _ROOT: -1,
}
_NOT_ADDED = frozenset({_KEYS, _VELOCITIES, _INSTRUMENT, _SAMPLE, _MODES, _EXCLUSIVE, _ROOT})
_ALL = 127 << 8  # from 0 to 127
_ATTENUATION_DB = 0.04


@dataclass(frozen=True, kw_only=True)
class Zone:
    """One sample, as a preset plays it.

    Args:
        keys, velocities: from, to.
        sample: number of the sample.
        root: the key at which it has its own pitch.
        tune_cents, cents_per_key: further up.
        loop: first and after the last sample of what repeats, counted in the sample; None for none.
        start, end: samples left out at the beginning, and (0 or less) at the end.
        attenuation_db: 0 or more.
        pan: -1 left, 1 right.
        delay_seconds, attack_seconds, hold_seconds: then
        decay_seconds, release_seconds: in which the level falls by 100 dB.
        sustain_db: where the decay ends, below the peak.
        cutoff_hz: of a lowpass.
        resonance_db: of it.
        exclusive: a note of this class ends those before it; 0 for none.
    """

    keys: tuple[int, int]
    velocities: tuple[int, int]
    sample: int
    root: int
    tune_cents: float
    cents_per_key: float
    loop: tuple[int, int] | None
    start: int
    end: int
    attenuation_db: float
    pan: float
    delay_seconds: float
    attack_seconds: float
    hold_seconds: float
    decay_seconds: float
    sustain_db: float
    release_seconds: float
    cutoff_hz: float
    resonance_db: float
    exclusive: int


@dataclass(frozen=True)
class _Sample:
    """Where a sample lies, and what it is."""

    start: int
    end: int
    loop_start: int
    loop_end: int
    rate: int
    root: int
    correction_cents: int
    is_compressed: bool


class Soundfont:
    """A SoundFont.

    Raises:
        SoundfontError: it is not a soundfont, or a damaged one.
    """

    def __init__(self, data: bytes, *, where: str) -> None:
        self.where = where
        try:
            if data[:4] != b"RIFF" or data[8:12] != b"sfbk":
                raise ValueError("it does not begin as one")
            self._chunks = dict(_chunks(data, 12, len(data)))
            self._samples = list(self._headers())
            presets, instruments = self._records(b"phdr", "<20sHHHIII"), self._records(b"inst", "<20sH")
            self._presets = {
                (bank, program): (first, after)
                for (_, program, bank, first, *_), (_, _, _, after, *_) in pairwise(presets)
            }
            self._instruments = [(first, after) for (_, first), (_, after) in pairwise(instruments)]
            self._bags = {name: self._records(name, "<HH") for name in (b"pbag", b"pgen", b"ibag", b"igen")}
        except (ValueError, KeyError, IndexError, struct.error) as error:
            raise SoundfontError(f"{where} is no SoundFont ({error}); give an .sf2 or .sf3 file") from error
        self._waveforms: dict[int, Floats] = {}
        self._zones: dict[tuple[int, int], tuple[Zone, ...]] = {}

    @cached_property
    def presets(self) -> frozenset[tuple[int, int]]:
        """Bank and program of each; drum kits are in bank 128."""
        return frozenset(self._presets)

    def zones(self, *, bank: int, program: int) -> Sequence[Zone]:
        """The zones of a preset; of the bank's first if it has no such preset.

        Raises:
            SoundfontError: the file has no preset in that bank.
        """
        if (bank, program) not in self._presets:
            others = sorted(each for each in self._presets if each[0] == bank)
            if not others:
                what = "drum kit" if bank == DRUM_BANK else "instrument"
                raise SoundfontError(f"{self.where} has no {what}; give a General MIDI SoundFont")
            bank, program = others[0]
        if (bank, program) not in self._zones:
            try:
                self._zones[bank, program] = tuple(self._read_zones(bank, program))
            except (KeyError, IndexError) as error:
                raise SoundfontError(
                    f"{self.where} is damaged (preset {bank}:{program} names what is not there); get it again"
                ) from error
        return self._zones[bank, program]

    def rate(self, sample: int) -> int:
        """Sample rate of a sample, in hertz."""
        return self._samples[sample].rate

    def waveform(self, sample: int) -> Floats:
        """A sample. Shape [T].

        Raises:
            SoundfontError: it cannot be decoded.
        """
        if sample not in self._waveforms:
            header, stored = self._samples[sample], self._chunks[b"smpl"]
            if header.is_compressed:
                try:
                    packed = io.BytesIO(stored[header.start : header.end])
                    read = soundfile.read(packed, dtype="float32", always_2d=True)[0][:, 0]
                except soundfile.LibsndfileError as error:
                    raise SoundfontError(f"{self.where} is damaged (sample {sample}: {error})") from error
            else:
                read = np.frombuffer(stored[2 * header.start : 2 * header.end], "<i2") / np.float32(1 << 15)
            self._waveforms[sample] = read
        return self._waveforms[sample]

    # ---- how it is stored

    def _headers(self) -> Iterator[_Sample]:
        for *_, start, end, loop_start, loop_end, rate, root, cents, _, kind in self._records(
            b"shdr", "<20sIIIIIBbHH"
        ):
            packed = bool(kind & 0x10)
            if not packed:
                loop_start, loop_end = loop_start - start, loop_end - start
            yield _Sample(start, end, loop_start, loop_end, rate, root, cents, packed)

    def _records(self, name: bytes, layout: str) -> list[tuple[Any, ...]]:
        """Records of a chunk; the last, which ends the list, among them."""
        size = struct.calcsize(layout)
        data = self._chunks[name]
        return [struct.unpack_from(layout, data, place) for place in range(0, len(data) - size + 1, size)]

    def _read_zones(self, bank: int, program: int) -> Iterator[Zone]:
        for said in self._said(b"p", *self._presets[bank, program], names=_INSTRUMENT):
            for inner in self._said(b"i", *self._instruments[said[_INSTRUMENT]], names=_SAMPLE):
                zone = self._zone(said, inner)
                if zone is not None:
                    yield zone

    def _said(self, level: bytes, first: int, after: int, *, names: int) -> Iterator[Generators]:
        """The zones that name something; each on top of the first if that names nothing (7.3, 7.7)."""
        bags, generators = self._bags[level + b"bag"], self._bags[level + b"gen"]
        everywhere: Generators = {}
        for bag in range(first, after):
            said = generators[bags[bag][0] : bags[bag + 1][0]]
            zone = {**everywhere, **dict(said)}
            if names in zone:
                yield zone
            elif bag == first:
                everywhere = zone

    def _zone(self, preset: Mapping[int, int], instrument: Mapping[int, int]) -> Zone | None:
        """What a preset's zone and an instrument's zone say together; None where they exclude each other."""
        keys = _common(preset.get(_KEYS, _ALL), instrument.get(_KEYS, _ALL))
        velocities = _common(preset.get(_VELOCITIES, _ALL), instrument.get(_VELOCITIES, _ALL))
        if keys is None or velocities is None:
            return None

        def value(generator: int) -> int:
            said = _signed(instrument[generator]) if generator in instrument else _DEFAULTS.get(generator, 0)
            return said + (0 if generator in _NOT_ADDED else _signed(preset.get(generator, 0)))

        sample = self._samples[instrument[_SAMPLE]]
        loops = instrument.get(_MODES, 0) & 1
        loop_start = sample.loop_start + value(_LOOP_START) + 32_768 * value(_LOOP_START_COARSE)
        loop_end = sample.loop_end + value(_LOOP_END) + 32_768 * value(_LOOP_END_COARSE)
        root = value(_ROOT) if value(_ROOT) >= 0 else sample.root
        return Zone(
            keys=keys,
            velocities=velocities,
            sample=instrument[_SAMPLE],
            root=root if root <= 127 else 60,
            tune_cents=sample.correction_cents + value(_FINE_TUNE) + 100 * value(_COARSE_TUNE),
            cents_per_key=value(_SCALE),
            loop=(loop_start, loop_end) if loops and 0 <= loop_start < loop_end else None,
            start=max(0, value(_START) + 32_768 * value(_START_COARSE)),
            end=min(0, value(_END) + 32_768 * value(_END_COARSE)),
            attenuation_db=_ATTENUATION_DB * max(0, value(_ATTENUATION)),
            pan=min(max(value(_PAN) / 500, -1.0), 1.0),
            delay_seconds=_seconds(value(_DELAY)),
            attack_seconds=_seconds(value(_ATTACK)),
            hold_seconds=_seconds(value(_HOLD)),
            decay_seconds=_seconds(value(_DECAY)),
            sustain_db=min(max(value(_SUSTAIN) / 10, 0.0), 100.0),
            release_seconds=_seconds(value(_RELEASE)),
            cutoff_hz=8.176 * 2 ** (min(max(value(_CUTOFF), 1500), 13_500) / 1200),
            resonance_db=min(max(value(_RESONANCE) / 10, 0.0), 96.0),
            exclusive=instrument.get(_EXCLUSIVE, 0),
        )


def open_soundfont(path: Path) -> Soundfont:
    """The SoundFont of a file.

    Raises:
        SoundfontError: it cannot be read, or is no SoundFont.
    """
    where = f"'{path}'"
    try:
        if path.stat().st_size > _MOST_BYTES:
            raise SoundfontError(f"{where} has {path.stat().st_size} bytes; a SoundFont has 2 GiB at most")
        data = path.read_bytes()
    except OSError as error:
        raise SoundfontError(f"{where} cannot be read ({error.strerror}); check the name") from error
    return Soundfont(data, where=where)


def _chunks(data: bytes, start: int, end: int) -> Iterator[tuple[bytes, bytes]]:
    """The chunks of a stretch by their names, those of lists as if they stood in it themselves."""
    while start + 8 <= end:
        name, size = data[start : start + 4], struct.unpack_from("<I", data, start + 4)[0]
        if start + 8 + size > end:
            raise ValueError(f"its {name.decode('latin-1')!r} ends after the file")
        if name == b"LIST":
            yield from _chunks(data, start + 12, start + 8 + size)
        else:
            yield name, data[start + 8 : start + 8 + size]
        start += 8 + size + size % 2


def _common(*ranges: int) -> tuple[int, int] | None:
    """What ranges of two bytes have in common."""
    low, high = max(each & 0xFF for each in ranges), min(each >> 8 for each in ranges)
    return (low, high) if low <= high else None


def _signed(word: int) -> int:
    return word - 65_536 if word > 32_767 else word


def _seconds(timecents: int) -> float:
    return float(2.0 ** (min(max(timecents, _SHORTEST), 8000) / 1200))

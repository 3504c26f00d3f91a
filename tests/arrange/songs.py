"""Lead sheets, voices and a small SoundFont, made for the tests."""

import functools
import struct

import numpy as np
import torch

from hafm.audio.io import audio_from_array
from hafm.audio.sound import Audio
from hafm.guide.chart import parse_chart, put_on
from hafm.guide.lead_sheet import Beat, KeyChange, LeadSheet, MeterChange

RATE = 8_000


def song(
    seconds: float = 24.0,
    *,
    bpm: float = 100.0,
    meter: tuple[int, int] = (4, 4),
    first_beat: float = 0.0,
    chart: str = "| Am | F | C | G |",
) -> LeadSheet:
    """A song in A minor at a steady tempo."""
    change = MeterChange(0.0, *meter)
    times = [first_beat + number * 60 / bpm for number in range(int((seconds - first_beat) * bpm / 60) + 1)]
    beats = tuple(
        Beat(time, number % change.beats_per_bar + 1) for number, time in enumerate(times) if time < seconds
    )
    keys = (KeyChange(0.0, "A", "min"),)
    sheet = LeadSheet(duration_seconds=seconds, beats=beats, meters=(change,), keys=keys)
    return put_on(sheet, parse_chart(chart))


def voice(seconds: float, sung: list[tuple[float, float, float]]) -> Audio:
    """A tone that sounds from start to end, with an amplitude."""
    time = torch.arange(round(seconds * RATE)) / RATE
    sound = torch.zeros_like(time)
    for start, end, amplitude in sung:
        sound += amplitude * torch.sin(2 * torch.pi * 220 * time) * ((time >= start) & (time < end))
    return audio_from_array(sound[None], RATE)


@functools.cache
def small_soundfont(*, loops: bool = True) -> bytes:
    """An .sf2 with one instrument in bank 0 and one in bank 128: a sine of 441 Hz at key 69, one second."""
    rate, period = 44_100, 100
    wave = np.sin(2 * np.pi * np.arange(rate) / period)
    samples = (16_000 * wave).astype("<i2").tobytes() + bytes(92)

    def chunk(name: bytes, data: bytes) -> bytes:
        return name + struct.pack("<I", len(data)) + data + bytes(len(data) % 2)

    def records(layout: str, *rows: tuple[object, ...]) -> bytes:
        return b"".join(struct.pack(layout, *row) for row in rows)

    generators = (
        [(38, 0)] + ([(54, 1)] if loops else []) + [(58, 69), (53, 0)]
    )  # release, modes, root, sample
    presets = records(
        "<20sHHHIII",
        (b"Sine", 0, 0, 0, 0, 0, 0),
        (b"Kit", 0, 128, 1, 0, 0, 0),
        (b"EOP", 0, 0, 2, 0, 0, 0),
    )
    pdta = (
        chunk(b"phdr", presets)
        + chunk(b"pbag", records("<HH", (0, 0), (1, 0), (2, 0)))
        + chunk(b"pmod", bytes(10))
        + chunk(b"pgen", records("<HH", (41, 0), (41, 0), (0, 0)))
        + chunk(b"inst", records("<20sH", (b"Sine", 0), (b"EOI", 1)))
        + chunk(b"ibag", records("<HH", (0, 0), (len(generators), 0)))
        + chunk(b"imod", bytes(10))
        + chunk(b"igen", records("<HH", *generators, (0, 0)))
        + chunk(
            b"shdr",
            records(
                "<20sIIIIIBbHH",
                (b"Sine", 0, rate, 200 * period, 300 * period, rate, 60, 0, 0, 1),
                (b"EOS", 0, 0, 0, 0, 0, 0, 0, 0, 0),
            ),
        )
    )
    body = chunk(b"LIST", b"sdta" + chunk(b"smpl", samples)) + chunk(b"LIST", b"pdta" + pdta)
    return chunk(b"RIFF", b"sfbk" + body)

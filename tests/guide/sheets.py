"""Lead sheets for tests: one of each kind of item, and any that hypothesis can think of."""

from itertools import pairwise

from hypothesis import strategies as st

from hafm.guide.chord import QUALITIES
from hafm.guide.lead_sheet import (
    PARTS,
    STYLES,
    Beat,
    ChordSpan,
    KeyChange,
    LeadSheet,
    MeterChange,
    Origin,
    PlayingSpan,
    SectionSpan,
)
from tests.unchecked import unchecked

WALTZ = LeadSheet(
    duration_seconds=4.0,
    beats=tuple(Beat(0.25 + 0.5 * number, (number + 2) % 3 + 1) for number in range(7)),
    meters=(MeterChange(0.0, 3, 4),),
    keys=(KeyChange(0.0, "A", "min"),),
    chords=(
        ChordSpan(0.0, 0.75, "A:min/b3"),
        ChordSpan(0.75, 2.25, "N"),
        ChordSpan(2.5, 4.0, "F#:sus4(b7)"),
    ),
    arrangement=(PlayingSpan(0.75, 2.25, True, True, False, False),),
    style="waltz",
    sections=(SectionSpan(0.75, 4.0, "Verse"),),
    origins={"chords": Origin(source="estimated", confidence=0.7)},
)
"""A pick-up of one beat (3), then bars at 0.75 and 2.25 s."""

ROOTS = st.sampled_from("CDEFGAB").flatmap(
    lambda letter: st.sampled_from(["", "#", "b", "##", "bb"]).map(lambda accidental: letter + accidental)
)
DEGREES = st.tuples(st.sampled_from(["", "b", "#", "bb"]), st.integers(1, 13)).map(lambda d: f"{d[0]}{d[1]}")


@st.composite
def labels(draw: st.DrawFn) -> str:
    """Any chord label."""
    if draw(st.integers(0, 9)) == 0:
        return "N"
    label = draw(ROOTS)
    quality = draw(st.sampled_from([*QUALITIES, ""]))
    degrees = draw(st.lists(DEGREES, max_size=3, unique=True))
    degrees = [draw(st.sampled_from(["", "*"])) + degree for degree in degrees] if quality else degrees
    if quality or degrees:
        label += f":{quality}" + (f"({','.join(degrees)})" if degrees else "")
    return label + (f"/{draw(DEGREES)}" if draw(st.booleans()) else "")


@st.composite
@unchecked()  # beartype draws at random what it looks at, and hypothesis objects
def sheets(draw: st.DrawFn, *, even: bool = False) -> LeadSheet:
    """Any lead sheet; with `even`, one of even tempo, one meter, and beats throughout."""
    duration = draw(st.floats(2.0, 30.0))
    beats_per_bar = draw(st.integers(2, 5))
    meters = (MeterChange(0.0, beats_per_bar, 4),)
    if even:
        period = draw(st.floats(0.25, 1.2))
        times = [draw(st.floats(0.0, 1.0)) * period]
        while times[-1] + period < duration:
            times.append(times[0] + len(times) * period)
    else:
        ticks = draw(st.sets(st.integers(0, int(duration * 100) - 1), max_size=30))
        times = [tick / 100 + draw(st.floats(0.0, 0.009)) for tick in sorted(ticks)]
    first = draw(st.integers(0, beats_per_bar - 1))
    return LeadSheet(
        duration_seconds=duration,
        beats=tuple(Beat(time, (first + number) % beats_per_bar + 1) for number, time in enumerate(times)),
        meters=meters,
        keys=tuple(
            KeyChange(start, draw(ROOTS), draw(st.sampled_from(["maj", "min"])))
            for start in [0.0, *sorted(draw(st.sets(st.floats(0.1, duration - 0.1), max_size=2)))]
        ),
        chords=tuple(ChordSpan(start, end, draw(labels())) for start, end in _spans(draw, duration)),
        arrangement=tuple(
            PlayingSpan(start, end, *(draw(st.booleans()) for _ in range(4)))
            for start, end in _spans(draw, duration)
        ),
        style=draw(st.sampled_from([None, *STYLES])),
        origins={
            part: Origin(source="estimated", confidence=draw(st.floats(0, 1)))
            for part in draw(st.sets(st.sampled_from(PARTS)))
        },
    )


def _spans(draw: st.DrawFn, duration: float) -> list[tuple[float, float]]:
    """Spans in order, some with a gap between them."""
    edges = sorted(draw(st.sets(st.floats(0.0, duration), max_size=8)))
    spans = list(pairwise(edges))
    return [span for span in spans if draw(st.integers(0, 3))]

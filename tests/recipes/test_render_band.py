"""The band: styles as data, arrangements that follow the score, stems, the mix bus."""

from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from hafm.arrange.parts import Part
from hafm.arrange.plan import DOUBLE, FILLS, HALF, NORMAL, Bar, Feel
from hafm.arrange.soundfont import SHIPPED
from hafm.arrange.styles import DRUMS, ROLES, STYLES, Style, held, strokes
from hafm.data.tokenising.augment import reverberate, room_response
from hafm.errors import SoundfontError
from recipes.builtin.rendering import mixbus
from recipes.builtin.rendering.arrange import (
    RESERVED_KITS,
    RESERVED_PROGRAMS,
    STEMS,
    Arrangement,
    arrange,
)
from recipes.builtin.rendering.clock import LARGEST_DRIFT, drift_clock, swing_clock
from recipes.builtin.rendering.pair import make_pair
from recipes.builtin.rendering.plan import bars_in_window, draw_feel, style_weights
from recipes.builtin.rendering.scores import Score
from recipes.builtin.rendering.stems import SAMPLE_RATE, SoundFontRenderer, render_stems
from tests.recipes.rendering import BEAT_SECONDS, SineBand, tiny_score, tiny_sources

# ---- styles


def test_there_are_twelve_styles_and_chances_sum_to_one() -> None:
    assert len(STYLES) == 12
    for beats in (3, 4, 6):
        assert sum(style_weights(beats).values()) == pytest.approx(1.0)


@pytest.mark.parametrize("name", STYLES)
def test_a_style_stays_within_its_bar(name: str) -> None:
    style = STYLES[name]
    for lanes in style.drums:
        written = strokes(lanes, beats=style.beats)
        assert all(0 <= beat < style.beats and 1 <= velocity <= 127 for beat, _, velocity in written)
    for pattern in (*style.bass, *style.comp):
        notes = held(pattern, beats=style.beats)
        assert notes
        assert all(beat + length <= style.beats for beat, _, length in notes)
    assert min(len(style.bass), len(style.comp)) >= 2
    assert len(style.drums) >= 3 or not style.drums


def test_fills_use_known_drums() -> None:
    assert {lane for _, lanes in FILLS for lane in lanes} <= set(DRUMS)


def test_a_malformed_style_is_refused() -> None:
    with pytest.raises(ValueError, match="cowbell"):
        Style(drums=({"cowbell": "8"},), bass=("r",), comp=("x",))
    with pytest.raises(ValueError, match="bass pattern"):
        Style(bass=("r4",), comp=("x",))


def test_every_family_keeps_instruments_for_both_splits() -> None:
    for role in ROLES.values():
        if role.programs:
            assert set(role.programs) - RESERVED_PROGRAMS
    assert all(set(style.kits) - RESERVED_KITS for style in STYLES.values())


# ---- arrangements


def band(
    score: Score, seed: int, *, seconds: float = 10.0, style: str | None = None, **options: object
) -> Arrangement:
    """An arrangement of a score that needs no bending: straight, whatever the style."""
    rng = np.random.default_rng(seed)
    feel = draw_feel(score, rng)
    plain = Feel(style=style or feel.style, rate=feel.rate, swing=0.5, swing_pair_beats=1.0)
    return arrange(score, plain, seconds=seconds, rng=rng, **options)  # type: ignore[arg-type]


def arrangements(count: int, *, test: bool = False, beats_per_bar: int = 4) -> list[Arrangement]:
    score = tiny_score(beats_per_bar=beats_per_bar).moved(offset_seconds=5.0)
    return [band(score, seed, test=test) for seed in range(count)]


@pytest.mark.parametrize("count", [15, pytest.param(60, marks=pytest.mark.slow)])
def test_training_never_hears_the_reserved_instruments(count: int) -> None:
    programs = {(part.is_drums, part.program) for band in arrangements(count) for part in band.parts}
    reserved = {(False, program) for program in RESERVED_PROGRAMS} | {(True, kit) for kit in RESERVED_KITS}
    assert not programs & reserved
    tested = {(part.is_drums, part.program) for band in arrangements(count, test=True) for part in band.parts}
    assert tested & reserved


@pytest.mark.slow
def test_styles_differ_from_draw_to_draw_but_not_for_the_same_draw() -> None:
    bands = arrangements(40)
    assert len({band.feel.style for band in bands}) > 6
    assert bands == arrangements(40)


@pytest.mark.long
def test_bass_and_chords_follow_the_harmony() -> None:
    """Comp and pad always; the bass where a chord begins, and mostly."""
    score = tiny_score().moved(semitones=2, offset_seconds=5.0)
    inside, outside, moving = 0, 0, 0
    for seed in range(40):
        for part in band(score, seed).parts:
            if part.role not in ("bass", "comp", "pad"):
                continue
            for start, _, pitch, _ in part.events:
                near = [
                    span.value
                    for span in score.chords
                    if span.start_seconds - 0.12 < start < span.end_seconds + 0.12 and span.value
                ]
                fits = any(pitch % 12 in chord.pitch_classes for chord in near)
                begins = any(abs(span.start_seconds - start) < 0.05 for span in score.chords)
                if part.role != "bass" or begins:
                    assert fits, (seed, part.role, start)
                inside, outside = inside + fits, outside + (not fits)
            if part.role == "bass":
                moving += len({pitch for _, _, pitch, _ in part.events}) > 4
    assert 0 < outside < 0.1 * inside
    assert moving > 5


@pytest.mark.parametrize(("count", "least"), [(15, 5), pytest.param(60, 20, marks=pytest.mark.slow)])
def test_a_step_into_a_chord_resolves(count: int, least: int) -> None:
    """What the bass plays outside the chord lies one or two semitones from its next note."""
    score = tiny_score().moved(offset_seconds=5.0)
    steps = 0
    for seed in range(count):
        for part in band(score, seed).parts:
            notes = sorted(part.events) if part.role == "bass" else []
            for (start, _, pitch, _), (_, _, target, _) in pairwise(notes):
                sounding = [s.value for s in score.chords if s.start_seconds - 0.03 < start < s.end_seconds]
                if not any(chord and pitch % 12 in chord.pitch_classes for chord in sounding):
                    steps += 1
                    assert abs(pitch - target) <= 2, (seed, start)
    assert steps > least


def test_drums_strike_on_the_grid_of_the_song() -> None:
    for arrangement in arrangements(30):
        for part in arrangement.parts:
            if part.role == "drums":
                kicks = [start for start, _, pitch, _ in part.events if pitch == DRUMS["kick"]]
                places = 3 if STYLES[arrangement.feel.style].triplets else 4
                grid = BEAT_SECONDS / (places * 2)
                error = [(start + 5.0 + grid / 2) % grid - grid / 2 for start in kicks]
                assert np.abs(error).max(initial=0.0) < 5 * arrangement.humanise_seconds


def test_six_beats_a_bar_are_a_waltz() -> None:
    assert {band.feel.style for band in arrangements(10, beats_per_bar=6)} == {"waltz"}


def test_patterns_lie_in_bars_by_the_feel() -> None:
    """Snares on 2 and 4 of a bar; of two bars in half time; four times a bar in double time."""
    clock = np.arange(20.0)
    for rate, expected in (
        (NORMAL, [1, 3, 5, 7]),
        (HALF, [2, 6]),
        (DOUBLE, [0.5, 1.5, 2.5, 3.5, 4.5, 5.5, 6.5, 7.5]),
    ):
        feel = Feel(style="rock", rate=rate, swing=0.5, swing_pair_beats=1.0)
        found = []
        for number in (0, 1):
            bar = Bar(number=number, first_beat=4 * number, beats=4, beat_seconds=clock, feel=feel)
            found += [bar.seconds(beat) for snare in (1.0, 3.0) for beat in bar.occurrences(snare, 4)]
        assert sorted(found) == expected


@pytest.mark.slow
def test_a_phrase_ends_in_a_fill_and_the_next_begins_with_a_crash() -> None:
    score = tiny_score()
    toms, crashes = 0, 0
    for seed in range(60):
        for part in band(score, seed, seconds=38.0, style="rock").parts:
            times = {drum: [s for s, _, p, _ in part.events if p == DRUMS[drum]] for drum in DRUMS}
            if not part.is_drums:
                continue
            edges = np.arange(0, 65, 4) * 4 * BEAT_SECONDS  # sections are 4, 8 or 16 bars
            toms += len(times["high_tom"])
            for tom in times["high_tom"]:
                assert np.min(edges[edges > tom] - tom) < 8 * BEAT_SECONDS + 0.1
            for crash in times["crash"]:
                crashes += 1
                assert np.abs(edges - crash).min() < 0.05
    assert toms > 20
    assert crashes > 10


def test_a_count_in_is_sticks_before_the_band() -> None:
    score = tiny_score().moved(offset_seconds=4.5)  # bars begin at 0.3, 2.7, 5.1 ...
    for seed in range(20):
        arrangement = band(score, seed, count_in=True, entry_seconds=2.7, style="rock")
        drums = next(part for part in arrangement.parts if part.is_drums)
        first = sorted(start for start, *_ in drums.events if start < 2.6)
        assert first == pytest.approx([0.3, 0.9, 1.5, 2.1], abs=0.06)
        assert all(
            start > 2.6 for part in arrangement.parts if not part.is_drums for start, *_ in part.events
        )
        row = next(bar for bar in arrangement.bars if bar.start_seconds == pytest.approx(0.3))
        assert row.stems == {"drums"}


@pytest.mark.parametrize("count", [12, pytest.param(40, marks=pytest.mark.slow)])
def test_sections_differ_in_who_plays(count: int) -> None:
    rows = [bar.stems for seed in range(count) for bar in band(tiny_score(), seed, seconds=30.0).bars]
    shares = {stem: np.mean([stem in row for row in rows]) for stem in STEMS}
    assert 0.6 < shares["drums"] < 0.97
    assert 0.75 < shares["bass"] < 1.0
    assert 0.8 < shares["harmony"] <= 1.0
    assert all(rows)


def test_left_out_stems_have_no_parts() -> None:
    for seed in range(10):
        kept = frozenset({"bass", "harmony"})
        assert {part.stem for part in band(tiny_score(), seed, stems=kept).parts} <= kept
    only = band(tiny_score(), 0, stems=frozenset({"drums"}), style="rock")
    assert {part.stem for part in only.parts} == {"drums"}
    assert all(bar.stems == {"drums"} for bar in only.bars)


# ---- time


def test_swing_moves_off_beats_of_score_and_patterns_alike() -> None:
    score = tiny_score()
    bent = score.warped(swing_clock(score.beat_seconds, ratio=2 / 3, pair_beats=1.0))
    np.testing.assert_allclose(bent.beat_seconds, score.beat_seconds, atol=1e-9)
    feel = Feel(style="rock", rate=NORMAL, swing=2 / 3, swing_pair_beats=1.0)
    bar = bars_in_window(bent, feel, 10.0)[1]
    assert bar.seconds(0.5) == pytest.approx(BEAT_SECONDS * (4 + 2 / 3))
    assert bar.seconds(1.0) == pytest.approx(BEAT_SECONDS * 5)


@pytest.mark.parametrize("depth", [0.01, 0.05])
def test_a_drift_stays_within_its_depth_and_keeps_zero(depth: float) -> None:
    largest = []
    for seed in range(20):
        clock = drift_clock(
            start_seconds=-4.0,
            end_seconds=24.0,
            bar_seconds=2.0,
            depth=depth,
            rng=np.random.default_rng(seed),
        )
        assert abs(float(clock(0.0))) < 1e-12
        beats = clock(np.arange(0.0, 20.0, 0.5))
        factor = np.diff(beats) / 0.5 - 1
        assert np.abs(factor).max() <= depth
        assert np.abs(np.diff(factor)).max() < depth  # it bends over bars, not between beats
        largest.append(np.abs(factor).max())
    assert np.mean(largest) > 0.4 * depth
    with pytest.raises(ValueError, match="drift"):
        drift_clock(
            start_seconds=0.0,
            end_seconds=1.0,
            bar_seconds=2.0,
            depth=2 * LARGEST_DRIFT,
            rng=np.random.default_rng(0),
        )


def test_everything_in_a_score_bends_alike() -> None:
    score = tiny_score()
    clock = drift_clock(
        start_seconds=0.0, end_seconds=40.0, bar_seconds=2.4, depth=0.05, rng=np.random.default_rng(0)
    )
    bent = score.warped(clock)
    np.testing.assert_array_equal(bent.melody[:, 0], clock(score.melody[:, 0]))
    np.testing.assert_array_equal(bent.beat_seconds, clock(score.beat_seconds))
    np.testing.assert_allclose(bent.melody[:, 0], bent.beat_seconds, atol=1e-9)  # it sings each beat
    chords = [span.start_seconds for span in bent.chords]
    np.testing.assert_allclose(chords, bent.beat_seconds[bent.downbeats], atol=1e-9)


# ---- SoundFont


def part(*events: tuple[float, float, int, int], role: str = "keys", level_db: float = -20.0) -> Part:
    return Part(role=role, program=0, level_db=level_db, events=events)


def test_parts_are_brought_to_their_level_and_summed_by_stem() -> None:
    quiet, loud = part((0, 2, 60, 5), level_db=-20), part((0, 2, 64, 120), level_db=-26)
    bass = part((0, 2, 30, 90), role="bass")
    stems = render_stems(SineBand(), [quiet, loud, bass], seconds=1.0)
    assert tuple(stems) == STEMS
    assert not stems["drums"].any()
    alone = render_stems(SineBand(), [quiet], seconds=1.0)["harmony"]
    other = render_stems(SineBand(), [loud], seconds=1.0)["harmony"]
    np.testing.assert_allclose(stems["harmony"], alone + other, atol=1e-6)
    levels = [20 * np.log10(np.sqrt(np.mean(stem**2))) for stem in (alone, other)]
    assert levels == pytest.approx([-20, -26], abs=0.3)


def test_a_soundfont_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(SoundfontError, match=r"none\.sf3"):
        SoundFontRenderer(tmp_path / "none.sf3")


def test_the_shipped_soundfont_renders_the_same_whatever_it_played_before() -> None:
    renderer = SoundFontRenderer(SHIPPED)
    chord = [part((0.0, 0.8, 60, 90), (0.3, 1.5, 67, 90))]
    first = renderer.render(chord, seconds=1.0)
    renderer.render([part((0.0, 5.0, 40, 127), role="bass")], seconds=1.0)
    np.testing.assert_array_equal(renderer.render(chord, seconds=1.0), first)
    assert len(first) == SAMPLE_RATE
    assert np.abs(first).max() > 0.01


# ---- mix bus


def test_the_instrumental_is_the_bus_applied_to_the_sum_of_the_stems() -> None:
    pair = make_pair(tiny_sources(), seed=0, split="train", index=0, seconds=4.0)
    settings = mixbus.BusSettings(**pair.truth["bus"])  # type: ignore[arg-type]
    total = sum(pair.stems[stem] for stem in STEMS)
    np.testing.assert_allclose(mixbus.apply(total, settings), pair.instrumental, atol=1e-5)
    louder = mixbus.apply(total + pair.stems["bass"], settings)
    assert np.abs(louder - pair.instrumental).max() > 0.01  # the law is not empty


def test_dry_stems_leave_headroom() -> None:
    stems = mixbus.level_stems({"a": np.ones(100, np.float32), "b": np.zeros(100, np.float32)})
    assert 20 * np.log10(stems["a"][0]) == pytest.approx(mixbus.DRY_RMS_DB, abs=1e-4)
    with pytest.raises(ValueError, match="silent"):
        mixbus.level_stems({"a": np.zeros(100, np.float32)})


def test_a_room_decays_by_60_db_in_its_time() -> None:
    response = room_response(1.0, 3).astype(np.float64)
    assert np.sum(response**2) == pytest.approx(1.0, rel=1e-5)
    edge = SAMPLE_RATE // 10
    fall = 10 * np.log10(np.mean(response[:edge] ** 2) / np.mean(response[-edge:] ** 2))
    assert fall == pytest.approx(60 * 0.9, abs=1.0)
    impulse = np.zeros(len(response), np.float32)
    impulse[100] = 1.0
    np.testing.assert_allclose(
        reverberate(impulse, response.astype(np.float32))[100:], response[:-100], atol=1e-6
    )

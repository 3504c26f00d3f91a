"""The band: styles as data, arrangements that follow the score, the SoundFont's schedule, the mix bus."""

import os
from pathlib import Path

import numpy as np
import pytest

from hafm.data.tokenising import room
from recipes.builtin.rendering import mixbus
from recipes.builtin.rendering.arrange import Part, arrange
from recipes.builtin.rendering.pair import make_pair
from recipes.builtin.rendering.soundfont import (
    BLOCK_SAMPLES,
    SAMPLE_RATE,
    SoundFontRenderer,
    _schedule,
    render_stems,
)
from recipes.builtin.rendering.styles import (
    DRUMS,
    RESERVED_KITS,
    RESERVED_PROGRAMS,
    ROLES,
    STEMS,
    STYLES,
    Style,
    style_weights,
)
from tests.recipes.rendering import BEAT_SECONDS, SineBand, tiny_score, tiny_sources

# ---- styles


def test_there_are_twelve_styles_and_chances_sum_to_one() -> None:
    assert len(STYLES) == 12
    for beats in (3, 4, 6):
        assert sum(style_weights(beats).values()) == pytest.approx(1.0)


@pytest.mark.parametrize("name", STYLES)
def test_a_style_stays_within_its_bar(name: str) -> None:
    style = STYLES[name]
    assert all(0 <= beat < style.beats and 1 <= velocity <= 127 for beat, _, velocity in style.strokes())
    assert list(style.comp) == sorted(style.comp)
    assert all(0 <= beat < style.beats for beat in style.comp)


def test_a_malformed_style_is_refused() -> None:
    with pytest.raises(ValueError, match="cowbell"):
        Style(drums={"cowbell": "8"}, bass=(), comp=())
    with pytest.raises(ValueError, match="bass note"):
        Style(bass=((4.0, "root", 1.0),), comp=())


def test_every_family_keeps_instruments_for_both_splits() -> None:
    for role in ROLES.values():
        if role.programs:
            assert set(role.programs) - RESERVED_PROGRAMS
    assert all(set(style.kits) - RESERVED_KITS for style in STYLES.values())


# ---- arrangements


def arrangements(count: int, *, test: bool = False, beats_per_bar: int = 4) -> list:
    score = tiny_score(beats_per_bar=beats_per_bar).moved(offset_seconds=5.0)
    return [arrange(score, seconds=10.0, rng=np.random.default_rng(seed), test=test) for seed in range(count)]


def test_training_never_hears_the_reserved_instruments() -> None:
    programs = {(part.is_drums, part.program) for band in arrangements(60) for part in band.parts}
    reserved = {(False, program) for program in RESERVED_PROGRAMS} | {(True, kit) for kit in RESERVED_KITS}
    assert not programs & reserved
    tested = {(part.is_drums, part.program) for band in arrangements(60, test=True) for part in band.parts}
    assert tested & reserved


def test_styles_differ_from_draw_to_draw_but_not_for_the_same_draw() -> None:
    bands = arrangements(40)
    assert len({band.style for band in bands}) > 6
    assert bands == arrangements(40)


def test_bass_and_chords_follow_the_harmony() -> None:
    score = tiny_score().moved(semitones=2, offset_seconds=5.0)
    for seed in range(20):
        band = arrange(score, seconds=10.0, rng=np.random.default_rng(seed))
        for part in band.parts:
            if part.role not in ("bass", "comp", "pad"):
                continue
            for start, _, pitch, _ in part.events:
                near = [
                    span.value
                    for span in score.chords
                    if span.start_seconds - 0.12 < start < span.end_seconds + 0.12 and span.value
                ]
                assert any(pitch % 12 in chord.pitch_classes for chord in near), (seed, part.role, start)


def test_drums_strike_on_the_grid_of_the_song() -> None:
    offset = 5.0
    for band in arrangements(30):
        for part in band.parts:
            if part.role == "drums":
                kicks = [start for start, _, pitch, _ in part.events if pitch == DRUMS["kick"]]
                grid = BEAT_SECONDS / (8 if band.double_time else 4)
                error = [(start + offset + grid / 2) % grid - grid / 2 for start in kicks]
                assert np.abs(error).max(initial=0.0) < 5 * band.humanise_seconds


def test_six_beats_a_bar_are_a_waltz() -> None:
    assert {band.style for band in arrangements(10, beats_per_bar=6)} == {"waltz"}


def test_a_phrase_ends_in_a_fill_and_begins_with_a_crash() -> None:
    score = tiny_score()
    for seed in range(30):
        band = arrange(score, seconds=30.0, rng=np.random.default_rng(seed))
        drums = [part for part in band.parts if part.is_drums]
        if drums and not band.double_time:
            pitches = {pitch: start for start, _, pitch, _ in sorted(drums[0].events)}
            assert pitches[DRUMS["crash"]] == pytest.approx(8 * 4 * BEAT_SECONDS)
            toms = [start for start, _, pitch, _ in drums[0].events if pitch == DRUMS["high_tom"]]
            assert min(toms) == pytest.approx((8 * 4 - 1 + 0.25) * BEAT_SECONDS)
            return
    pytest.fail("no band with drums in 30 draws")


# ---- SoundFont


def part(*events: tuple[float, float, int, int], role: str = "keys", level_db: float = -20.0) -> Part:
    return Part(role=role, program=0, level_db=level_db, events=events)


def test_the_schedule_is_ordered_and_releases_come_first() -> None:
    messages = _schedule([part((0.0, 0.5, 60, 90), (0.5, 1.0, 60, 90))], 0, SAMPLE_RATE)
    assert [message[0] for message in messages] == sorted(message[0] for message in messages)
    assert [message[1] for message in messages] == [True, False, True]  # the last ends with the window
    assert all(message[0] % BLOCK_SAMPLES == 0 for message in messages)


def test_notes_from_before_are_struck_at_the_start_but_drums_are_not() -> None:
    early = (-3.0, 2.0, 60, 90)
    assert _schedule([part(early)], 1000, SAMPLE_RATE)[0][:2] == (0, True)
    assert _schedule([part(early, role="drums")], 1000, SAMPLE_RATE) == []


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
    with pytest.raises(FileNotFoundError, match="--soundfont"):
        SoundFontRenderer(tmp_path / "none.sf3")


@pytest.mark.skipif("HAFM_SOUNDFONT" not in os.environ, reason="set HAFM_SOUNDFONT to an .sf3 to run it")
def test_a_real_soundfont_renders_the_same_whatever_it_played_before() -> None:
    renderer = SoundFontRenderer(Path(os.environ["HAFM_SOUNDFONT"]))
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
    response = room.room_response(1.0, 3).astype(np.float64)
    assert np.sum(response**2) == pytest.approx(1.0, rel=1e-5)
    edge = SAMPLE_RATE // 10
    fall = 10 * np.log10(np.mean(response[:edge] ** 2) / np.mean(response[-edge:] ** 2))
    assert fall == pytest.approx(60 * 0.9, abs=1.0)
    impulse = np.zeros(len(response), np.float32)
    impulse[100] = 1.0
    np.testing.assert_allclose(
        room.reverberate(impulse, response.astype(np.float32))[100:], response[:-100], atol=1e-6
    )

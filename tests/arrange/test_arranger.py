"""Arrangements: the sheet is kept, the voice is followed, the same seed gives the same, stems add up."""

from dataclasses import replace
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
import torch
from symusic import Score

from hafm.arrange.arranger import Arrangement, arrange_sheet
from hafm.arrange.parts import Part
from hafm.arrange.sections import line_up
from hafm.arrange.soundfont import Soundfont
from hafm.arrange.styles import DRUMS
from hafm.arrange.voice import Voice
from hafm.audio.true_peak import true_peak_dbtp
from hafm.errors import LeadSheetError, UsageError
from hafm.guide.lead_sheet import PLAYERS, STYLES, ChordSpan, LeadSheet, Origin, PlayingSpan
from hafm.guide.midi_in import lead_sheet_from_midi
from tests.arrange.songs import RATE, small_soundfont, song, voice
from tests.unchecked import unchecked


def part(arrangement: Arrangement, role: str) -> Part:
    return next(each for each in arrangement.parts if each.role == role)


@pytest.mark.parametrize("style", STYLES)
def test_every_style_keeps_the_beat_and_the_chords(style: str) -> None:
    sheet = song(meter=(3, 4) if style == "waltz" else (4, 4))
    arrangement = arrange_sheet(sheet, style=style, seed=3, excerpt=True)
    chords = [(span.start_seconds, span.end_seconds, span.chord) for span in sheet.chords]
    grid = 60 / 100 / 24
    for each in arrangement.parts:
        assert all(start < sheet.duration_seconds for start, *_ in each.events)
        if each.is_drums:
            kicks = [start for start, _, pitch, _ in each.events if pitch == DRUMS["kick"]]
            assert kicks
            assert max(abs((start + grid / 2) % grid - grid / 2) for start in kicks) < 0.03
        elif each.role in ("keys", "comp", "pad"):
            for start, _, pitch, _ in each.events:
                near = [chord for begin, end, chord in chords if begin - 0.12 < start < end + 0.12]
                assert any(pitch % 12 in chord.pitch_classes for chord in near), (each.role, start)
    bass = part(arrangement, "bass")
    for begin, _, chord in chords:
        struck = [pitch for start, _, pitch, _ in bass.events if abs(start - begin) < 0.05]
        assert not struck or struck[0] % 12 == chord.bass


@pytest.mark.slow
def test_the_same_seed_gives_the_same_and_another_another() -> None:
    sheet = song(9.6)
    first = arrange_sheet(sheet, seed=5, style="funk")
    assert arrange_sheet(sheet, seed=5, style="funk").parts == first.parts
    assert arrange_sheet(sheet, seed=6, style="funk").parts != first.parts
    font = Soundfont(small_soundfont(), where="small")
    sounds = [first.render(sample_rate=16_000, soundfont=font).accompaniment for _ in range(2)]
    assert sounds[0].equal(sounds[1])


def test_stems_add_up_and_are_as_long_as_the_sheet() -> None:
    rendering = arrange_sheet(song(12.34567), style="rock").render(
        sample_rate=16_000, soundfont=Soundfont(small_soundfont(), where="small")
    )
    assert tuple(rendering.stems) == PLAYERS
    total = sum(rendering.stems.values())
    assert isinstance(total, torch.Tensor)
    assert total.shape == (2, round(12.34567 * 16_000))
    assert total.equal(rendering.accompaniment)
    peak = true_peak_dbtp(rendering.accompaniment)
    assert peak is not None
    assert -12 < peak < -0.9
    assert all(float(stem.abs().max()) <= 1 for stem in rendering.stems.values())


def test_answers_are_played_where_the_voice_rests_and_nowhere_else() -> None:
    sheet = song(40.0)
    sung = [(4.8, 12.0, 0.3), (16.8, 26.4, 0.3), (31.2, 36.0, 0.3)]
    found = 0
    for seed in range(6):
        arrangement = arrange_sheet(sheet, seed=seed, style="rock", voice=voice(40.0, sung))
        for each in arrangement.parts:
            if each.role == "bridge":
                found += len(each.events)
                for start, end, *_ in each.events:
                    assert not any(start < after and end > begin for begin, after, _ in sung), (seed, start)
    assert found > 10


def test_dynamics_follow_the_voice() -> None:
    sheet = song(76.8)  # 32 bars: sections of 8
    sung = [(0.0, 38.0, 0.03), (38.4, 76.0, 0.3)]
    arrangement = arrange_sheet(sheet, seed=1, style="rock", voice=voice(76.8, sung))
    bass = part(arrangement, "bass").events
    quiet = [velocity for start, _, _, velocity in bass if start < 37]
    loud = [velocity for start, _, _, velocity in bass if 39 < start < 74]
    assert np.mean(loud) > np.mean(quiet) + 8
    who = [
        {each.role for each in arrangement.parts if any(low <= event[0] < high for event in each.events)}
        for low, high in ((0.0, 38.0), (38.4, 74.0))
    ]
    assert who[0] < who[1]


def test_who_plays_is_taken_from_the_sheet() -> None:
    sheet = song(24.0)
    spans = (
        PlayingSpan.of(0.0, 12.0, ("bass",)),
        PlayingSpan.of(12.0, 24.0, ("drums", "harmony")),
    )
    arrangement = arrange_sheet(replace(sheet, arrangement=spans), style="rock", excerpt=True)
    for each in arrangement.parts:
        early = [start for start, *_ in each.events if 0.2 < start < 11.8]
        late = [start for start, *_ in each.events if start > 12.2]
        assert bool(early) == (each.stem == "bass"), each.role
        assert bool(late) == (each.stem in ("drums", "harmony")), each.role


def test_who_plays_holds_before_the_first_downbeat_too() -> None:
    sheet = song(24.0, first_beat=1.1)  # more than half of the bar before it is cut off
    first, *others = sheet.chords
    sheet = replace(sheet, chords=(replace(first, start_seconds=0.0), *others))
    spans = (PlayingSpan.of(0.0, 24.0, ("bass",)),)
    early = [
        {each.stem for each in arrange_sheet(asked, style="rock").parts if each.events[0][0] < 1.0}
        for asked in (sheet, replace(sheet, arrangement=spans))
    ]
    assert early == [{"harmony"}, set()]


@pytest.mark.long
def test_the_fuller_the_voice_the_larger_the_band_unless_somebody_says_who_plays() -> None:
    sheet = song(48.0, first_beat=0.6)  # bars of 2.4 s, sections of 9.6 s from the third bar on
    sung = voice(48.0, [(5.5, 14.8, 0.3), (15.2, 15.8, 0.03), (17.0, 19.5, 0.3), (34.6, 40.0, 0.3)])
    spans = line_up(sheet, Voice(sung.mono(), RATE))
    assert [span.start_seconds for span in spans] == pytest.approx([0.0, 5.4, 15.0, 24.6, 34.2, 43.8])
    who = [PLAYERS, PLAYERS, ("harmony",), PLAYERS, ("drums", "bass", "harmony"), PLAYERS]
    assert [span.players for span in spans] == who
    assert line_up(LeadSheet(duration_seconds=48.0), Voice(sung.mono(), RATE)) == ()

    estimated = {"arrangement": Origin(source="estimated", confidence=0.3)}
    fewer = tuple(replace(span, drums=False) for span in spans)
    for seed in range(3):  # the arranger goes by energy, and by what was given
        heard, plain, asked = (
            arrange_sheet(each, seed=seed, style="rock", voice=sung).parts
            for each in (
                replace(sheet, arrangement=fewer, origins=estimated),
                sheet,
                replace(sheet, arrangement=fewer),
            )
        )
        assert heard == plain != asked


def test_a_song_ends_on_a_chord_that_rings_and_an_excerpt_does_not() -> None:
    sheet = song(24.0)
    ended, cut = (arrange_sheet(sheet, style="rock", seed=2, excerpt=excerpt) for excerpt in (False, True))
    last_bar = sheet.downbeats[-1]
    assert [start for start, *_ in part(ended, "bass").events if start > last_bar - 0.05] == [last_bar]
    assert part(ended, "bass").events[-1][1] == sheet.duration_seconds
    assert len([start for start, *_ in part(cut, "bass").events if start > last_bar - 0.05]) > 1


def test_free_time_is_played_from_chord_to_chord_without_drums() -> None:
    chords = (ChordSpan(0.3, 4.0, "D:min"), ChordSpan(4.0, 9.5, "G:7"), ChordSpan(9.5, 12.0, "N"))
    arrangement = arrange_sheet(LeadSheet(duration_seconds=12.0, chords=chords))
    assert {each.role for each in arrangement.parts} == {"bass", "keys", "pad"}
    assert [start for start, *_ in part(arrangement, "bass").events] == [0.3, 4.0]
    assert max(end for each in arrangement.parts for _, end, *_ in each.events) < 9.5
    assert Score.from_midi(arrangement.midi()).tracks


@pytest.mark.parametrize("meter", [(3, 4), (6, 8), (12, 8), (5, 4), (2, 4)])
def test_other_meters_are_felt_in_their_bars(meter: tuple[int, int]) -> None:
    sheet = song(24.0, meter=meter, chart="| Am | F |")
    arrangement = arrange_sheet(sheet, seed=1, style="pop", excerpt=True)
    drums = part(arrangement, "drums").events
    kicks = sorted(start for start, _, pitch, _ in drums if pitch == DRUMS["kick"])
    on_downbeats = [any(abs(kick - bar) < 0.05 for kick in kicks) for bar in sheet.downbeats]
    assert np.mean(on_downbeats) > 0.8
    assert max(after - before for before, after in pairwise(kicks)) < 5


def test_the_midi_file_has_named_tracks_and_the_sheets_own_time() -> None:
    sheet = song(60.0, bpm=92.3, first_beat=0.41)
    arrangement = arrange_sheet(sheet, style="disco", seed=4)
    data = arrangement.midi()
    score = Score.from_midi(data)
    names = [track.name for track in score.tracks]
    assert set(names) <= {"Drums", "Bass", "Keys", "Chords", "Pad", "Melody"}
    assert {"Drums", "Bass", "Keys"} <= set(names)
    assert [track.is_drum for track in score.tracks] == [name == "Drums" for name in names]
    read = lead_sheet_from_midi(data, duration_seconds=60.0, where="it")
    known = {round(beat.seconds, 3) for beat in read.beats}
    assert all(any(abs(beat.seconds - other) < 1e-3 for other in known) for beat in sheet.beats)
    seconds = score.to("second")
    for track, each in zip(seconds.tracks, arrangement.parts, strict=True):
        written = sorted(note.time for note in track.notes)
        np.testing.assert_allclose(written, sorted(max(event[0], 0) for event in each.events), atol=1e-3)


def test_what_gives_a_band_nothing_to_play_is_refused() -> None:
    with pytest.raises(LeadSheetError, match="nothing to play"):
        arrange_sheet(LeadSheet(duration_seconds=5.0))
    with pytest.raises(UsageError, match="did you mean reggae"):
        arrange_sheet(song(), style="regae")


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"seed": -1}, "seed is -1; give a whole number of 0 or more"),
        ({"seed": 1.5}, r"seed is 1\.5"),
        ({"sheet": "sheet.json"}, "sheet is of type str; give a LeadSheet; .*read_lead_sheet reads"),
        ({"voice": "d.flac"}, r"voice is of type str; read it with hafm\.audio\.io\.read_audio"),
    ],
)
@unchecked()
def test_mistaken_arguments_are_refused(wrong: dict[str, Any], said: str) -> None:
    with pytest.raises(UsageError, match=said):
        arrange_sheet(**{"sheet": song(), **wrong})


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"sample_rate": 1}, "sample_rate is 1; give a whole number from 8000 to 192000"),
        ({"sample_rate": 44_100.0}, r"sample_rate is 44100\.0"),
        ({"num_samples": 1.5}, r"num_samples is 1\.5; give a whole number of 1 or more"),
        ({"num_samples": -1}, "num_samples is -1"),
    ],
)
@unchecked()
def test_what_no_sound_can_have_is_refused(wrong: dict[str, Any], said: str) -> None:
    with pytest.raises(UsageError, match=said):
        arrange_sheet(song(9.6)).render(**wrong)


def test_a_voice_of_any_rate_is_listened_to() -> None:
    assert voice(10.0, [(1.0, 2.0, 0.2)]).sample_rate == RATE
    arrange_sheet(song(10.0), voice=voice(10.0, [(1.0, 2.0, 0.2)]))

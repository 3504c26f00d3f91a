"""From a lead sheet to a band. Start to read here.

In: a `LeadSheet`, and the voice that it belongs to, if there is one. Out: an `Arrangement`: parts, note by
note, which become a MIDI file and stereo stems.

    lead sheet            voice
      |  song               |  level, rests
    bars, chords            |
      |  sections  <--------'   energy, who plays, fills
    planned bars
      |  drums, bass, keys, comp, pad, answers
    parts                                        -> midi() -> arrangement.mid
      |  sampler, places, room                   -> render() -> stems -> accompaniment
    stems [2, T] each

Conventions: the same sheet, voice, style and seed give the same notes, and on one machine the same samples.
Where no chord is known, harmony, bass and melody rest; without beats they play freely, from chord to chord,
without drums.
"""

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from jaxtyping import Float
from torch import Tensor

from hafm.arguments import READ_SHEET, require_type, whole_number
from hafm.arrange.answers import answers
from hafm.arrange.basslines import bass_line, pitch_near_bottom
from hafm.arrange.harmony import voiced
from hafm.arrange.midi import arrangement_to_midi
from hafm.arrange.mixing import mixed
from hafm.arrange.parts import Hand, Part, chords, drums, heard, keys, pad, spans_of
from hafm.arrange.plan import Bar, PlannedBar
from hafm.arrange.sampler import Event
from hafm.arrange.sections import plan_song
from hafm.arrange.song import Song
from hafm.arrange.soundfont import SHIPPED, Soundfont, open_soundfont
from hafm.arrange.style_choice import POP, check_style, style_for
from hafm.arrange.styles import BANDS, DRUMS, ROLES, STYLES
from hafm.arrange.voice import Voice
from hafm.audio.sound import MAX_SAMPLE_RATE_HZ, MIN_SAMPLE_RATE_HZ, Audio
from hafm.guide.lead_sheet import LeadSheet, Player

__all__ = ["Arrangement", "Rendering", "arrange_sheet"]

_LEVELS_DB = {"keys": -22.5, "bridge": -22.0, "bass": -19.0, "drums": -18.0, "pad": -30.0, "comp": -26.5}
_LEVEL_RANGE_DB = 1.5
_SIGMA_SECONDS = 0.006


@dataclass(frozen=True, kw_only=True, eq=False)
class Rendering:
    """The sound of an arrangement.

    Args:
        stems: of drums, bass, harmony and melody, silent where nobody plays; each within full scale.
    """

    stems: Mapping[Player, Float[Tensor, "2 T"]]
    sample_rate: int

    @property
    def accompaniment(self) -> Float[Tensor, "2 T"]:
        """The sum of the stems, with a true peak of -1 dBTP at most."""
        total = sum(self.stems.values())
        assert isinstance(total, Tensor), "there are four stems"
        return total


@dataclass(frozen=True, kw_only=True, eq=False)
class Arrangement:
    """An arrangement. Made by `arrange_sheet`.

    Args:
        sheet: what it plays.
        style: one of the twelve.
        seed: that decided the rest.
        parts: the instruments.
    """

    sheet: LeadSheet
    style: str
    seed: int
    parts: tuple[Part, ...]

    def midi(self) -> bytes:
        """The bytes of a MIDI file; see `hafm.arrange.midi`."""
        return arrangement_to_midi(self.sheet, self.parts)

    def render(
        self,
        *,
        sample_rate: int = 48_000,
        num_samples: int | None = None,
        soundfont: Soundfont | None = None,
        on_part: Callable[[int], None] | None = None,
    ) -> Rendering:
        """Its sound.

        Args:
            sample_rate: 8,000 to 192,000 hertz.
            num_samples: its length, if not that of the sheet, to the nearest sample.
            soundfont: its instruments; None for those that are shipped.
            on_part: gets how many of the parts are done.

        Raises:
            UsageError: the rate or the length is out of range.
            SoundfontError: the soundfont lacks drums or instruments, or is damaged.
        """
        sample_rate = whole_number(
            "sample_rate", sample_rate, least=MIN_SAMPLE_RATE_HZ, most=MAX_SAMPLE_RATE_HZ
        )
        if num_samples is None:
            num_samples = max(1, round(self.sheet.duration_seconds * sample_rate))
        stems = mixed(
            self.parts,
            open_soundfont(SHIPPED) if soundfont is None else soundfont,
            sample_rate=sample_rate,
            num_samples=whole_number("num_samples", num_samples, least=1),
            on_part=on_part,
        )
        return Rendering(stems=stems, sample_rate=sample_rate)


def arrange_sheet(
    sheet: LeadSheet,
    *,
    style: str | None = None,
    seed: int = 0,
    voice: Audio | None = None,
    excerpt: bool = False,
    stems: Sequence[Player] | Literal["all"] = "all",
) -> Arrangement:
    """The arrangement of a lead sheet.

    Args:
        sheet: with beats or chords.
        style: one of the twelve, or `"pop"` for the one that suits; None for the sheet's own, or else that.
        seed: of patterns, instruments, fills and answers; 0 or more.
        voice: the vocal of the sheet: the band follows its level and leaves it room. None for none.
        excerpt: whether the sheet is a stretch of a song, which neither begins nor ends there.
        stems: whom to arrange.

    Raises:
        UsageError: the style is unknown, the seed below 0, or an argument of another type.
        LeadSheetError: there is nothing to play.

    >>> from hafm.guide.lead_sheet import ChordSpan
    >>> chords = (ChordSpan(0.0, 2.0, "A:min"), ChordSpan(2.0, 4.0, "F"))
    >>> arrangement = arrange_sheet(LeadSheet(duration_seconds=4.0, chords=chords), seed=1)
    >>> arrangement.style, sorted({part.role for part in arrangement.parts})
    ('unplugged', ['bass', 'keys', 'pad'])
    """
    require_type("sheet", sheet, LeadSheet, READ_SHEET)
    require_type("voice", voice, Audio | None, "read it with hafm.audio.io.read_audio")
    seed = whole_number("seed", seed)
    if style is not None:
        check_style(style)
    chosen = style_for(sheet) if style is None else style
    if chosen == POP:
        chosen = style_for(replace(sheet, style=None))
    rng = np.random.default_rng([seed, int(hashlib.sha256(chosen.encode()).hexdigest()[:8], 16)])
    song = Song.of(sheet)
    listened = None if voice is None else Voice(voice.mono(), voice.sample_rate)
    hand = Hand(rng, _SIGMA_SECONDS)
    if len(song.downbeats) < 2:
        events = _free(song)
    else:
        events = _in_time(song, chosen, listened, hand, rng, excerpt=excerpt)
    parts = []
    for name, role in ROLES.items():
        pool = STYLES[chosen].kits if name == "drums" else BANDS[chosen][name]
        program = int(rng.choice(pool))
        level_db = _LEVELS_DB[name] + float(rng.uniform(-1, 1)) * _LEVEL_RANGE_DB
        played = tuple(event for event in events.get(name, ()) if event[0] < sheet.duration_seconds)
        if played and (stems == "all" or role.stem in stems):
            parts.append(Part(role=name, program=program, level_db=level_db, events=played))
    return Arrangement(sheet=sheet, style=chosen, seed=seed, parts=tuple(parts))


def _in_time(
    song: Song,
    style: str,
    voice: Voice | None,
    hand: Hand,
    rng: np.random.Generator,
    *,
    excerpt: bool,
) -> dict[str, list[Event]]:
    """What each role plays on the beats."""
    bars = song.bars(style)
    planned, last = plan_song(bars, song.sheet, voice=voice, excerpt=excerpt, rng=rng)
    events: dict[str, list[Event]] = {
        "drums": drums(planned, hand),
        "bass": [
            (start + hand.late(), end, pitch, hand.velocity(95, energy))
            for (start, end, pitch), energy in bass_line(planned, song.chord_at, rng)
        ],
        "keys": keys(planned, song.chord_at, hand),
        "comp": chords(planned, song.chord_at, hand),
        "pad": pad(song.held_chords()),
        "bridge": answers(planned, _rests(song.sheet, voice, planned), song.sheet, song.chord_at, hand, rng),
    }
    cut = {role: heard(played, spans_of(planned, role), role=role) for role, played in events.items()}
    if last is not None:
        for role, ending in _ending(bars[last], planned, song).items():
            cut[role] += ending
    return cut


def _rests(
    sheet: LeadSheet, voice: Voice | None, planned: Sequence[PlannedBar]
) -> Sequence[tuple[float, float]]:
    """Where others may play: in the voice's rests, or, without one, in the second half of each fourth bar."""
    if voice is not None:
        return voice.rests(0.0, sheet.duration_seconds)
    return [
        (plan.bar.seconds(plan.bar.beats / 2 - 0.5), plan.bar.end_seconds)
        for plan in planned
        if plan.bar.number % 4 == 3
    ]


def _ending(bar: Bar, planned: Sequence[PlannedBar], song: Song) -> dict[str, list[Event]]:
    """The last chord, struck by all who played before it, and left to ring."""
    start, end = bar.start_seconds, song.sheet.duration_seconds
    before = next(each for each in reversed(planned) if each.bar.number < bar.number)
    harmony = song.chord_at(start)
    events: dict[str, list[Event]] = {role: [] for role in ROLES}
    if "drums" in before.roles and STYLES[bar.feel.style].drums:
        events["drums"] = [
            (start, start + 0.1, DRUMS["kick"], 100),
            (start, end, DRUMS["crash" if before.section.energy > 0.5 else "ride"], 88),
        ]
    if harmony is not None:
        if "bass" in before.roles:
            events["bass"] = [(start, end, pitch_near_bottom(harmony.bass), 96)]
        for role in ("keys", "comp", "pad"):
            if role in before.roles:
                strum = STYLES[bar.feel.style].strum_seconds if role == "comp" else 0.0
                events[role] = [
                    (start + number * strum, end, pitch, 78)
                    for number, pitch in enumerate(voiced(harmony, [], low=55, high=74))
                ]
    return events


def _free(song: Song) -> dict[str, list[Event]]:
    """Chords from change to change: a pad, broken keys, a bass note each."""
    events: dict[str, list[Event]] = {"pad": pad(song.held_chords()), "keys": [], "bass": []}
    voicing: list[int] = []
    for start, end, harmony in song.held_chords():
        voicing = voiced(harmony, voicing, low=55, high=74)
        events["bass"].append((start, end - 0.05, pitch_near_bottom(harmony.bass), 84))
        events["keys"] += [
            (start + 0.09 * number, end - 0.05, pitch, 72 - 3 * number)
            for number, pitch in enumerate(voicing)
            if start + 0.09 * number < end - 0.1
        ]
    return events

"""The clips that are played: each vocal, and what every system plays to it.

In: a run and its results. Out: `PlayedClip`s, with sounds (MP3) and pictures inside, for the template.

    song, start                                    [x] with the vocal
    vocal                 ::::::::::::  picture
                          |> ---------  player
    system, why this take ::::::::::::
                          |> ---------             with the vocal, or alone: both are there, one is shown
    table of the clip's measures

Conventions: clips are those of the first arm, spread evenly over songs, the same every time. Sounds are mono,
at the run's own rate, about 30 kbit/s: 10 s take 50 kB of a page. An accompaniment alone has the level that
it has in the mix, and is turned down if that would clip; silence stays silence.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from jaxtyping import Float
from torch import Tensor

from hafm.audio.mixdown import LOUDNESS_LUFS, mixdown
from hafm.errors import UsageError
from hafm.evaluate.pages import data_address, mp3, vocal_alone
from hafm.evaluate.report.lookup import KIND_TITLES, Lookup
from hafm.evaluate.report.pictures import picture
from hafm.evaluate.report.tables import measures_of_clip
from hafm.evaluate.report.values import Table
from hafm.evaluate.run.folder import RunFolder, SoundKey
from hafm.evaluate.testset import Arm, Clip, of_song
from hafm.progress import OnProgress, Progress
from hafm.words import clock

__all__ = ["PlayedClip", "Take", "alone_and_mix", "choose_clips", "played_clips"]

_VOCAL, _ACCOMPANIMENT = (194, 65, 12), (37, 99, 235)
_TICKS = 5
_COMPRESSION = 0.85
_MOST = 0.98


@dataclass(frozen=True, kw_only=True)
class Take:
    """One sound of a clip.

    Args:
        about: lines below the title.
        sounds: a label for screen readers and an address, by `voice`, or by `mix` and `alone`.
    """

    title: str
    about: tuple[str, ...] = ()
    name: str
    picture: str
    sounds: Mapping[str, tuple[str, str]]


@dataclass(frozen=True, kw_only=True)
class PlayedClip:
    """A clip with all that is played of it.

    Args:
        about: where in the song, and how much of it is sung.
        times: marks below the pictures.
        measures: of this clip; None where nothing was measured.
    """

    song: str
    about: str
    times: tuple[str, ...]
    takes: tuple[Take, ...]
    measures: Table | None


def choose_clips(clips: Sequence[Clip], count: int) -> list[Clip]:
    """The clips to play: spread over songs first, then over a song's; UsageError for a count below 0."""
    if count < 0:
        raise UsageError(f"{count} clips cannot be played in a report; give 0 or more")
    songs = list(of_song(clips).values())
    wanted = min(count, len(clips))
    shares = [0] * len(songs)
    if wanted < len(songs):
        for index in range(wanted):
            shares[index * len(songs) // wanted] = 1
    while sum(shares) < wanted:
        for index, song in enumerate(songs):
            if shares[index] < len(song) and sum(shares) < wanted:
                shares[index] += 1
    # The middle of each of `share` equal stretches: one clip is the middle one, all of them are all.
    return [
        song[(2 * place + 1) * len(song) // (2 * share)]
        for song, share in zip(songs, shares, strict=True)
        for place in range(share)
    ]


def played_clips(
    run: RunFolder, found: Lookup, clips: Sequence[Clip], *, on_progress: OnProgress | None = None
) -> list[PlayedClip]:
    """What the page plays of some clips of a run.

    Raises:
        OutputError: a sound of the results is missing, or not as it was written.
        UsageError: the run has no isolated or separated arm of that name.
    """
    made = []
    for index, clip in enumerate(clips):
        made.append(_played(run, found, clip))
        if on_progress is not None:
            on_progress(Progress(step="writing the report", done=index + 1, total=len(clips)))
    return made


def alone_and_mix(
    vocal: Float[Tensor, " T"], accompaniment: Float[Tensor, " T"], sample_rate: int
) -> tuple[Float[Tensor, " T"], Float[Tensor, " T"]]:
    """The accompaniment at the level that it has in the mix, and the mix as `hafm generate` makes it."""
    mix, levels = mixdown(vocal[None], accompaniment[None], sample_rate)
    alone = accompaniment * 10 ** (levels.accompaniment_gain_db / 20)
    peak = float(alone.abs().max())
    return (alone if peak <= _MOST else alone * (_MOST / peak)), mix[0]


def _played(run: RunFolder, found: Lookup, clip: Clip) -> PlayedClip:
    arm = _arm(run, found)
    rate = run.manifest.protocol.sample_rate
    vocal = run.vocal(arm, clip)
    voice = vocal_alone(vocal, rate, loudness_lufs=LOUDNESS_LUFS)
    name = f"vocal of {clip.song}"
    takes = [
        Take(
            title="Vocal",
            name=name,
            picture=data_address(picture(voice, rate, colour=_VOCAL), "image/png"),
            sounds={"voice": (name, _address(voice, rate))},
        )
    ]
    rows = {row.system: row for row in found.results.clips if row.arm == arm and row.clip == clip.id}
    for system in found.systems:
        if (row := rows.get(system.name)) is None:
            continue
        sound = run.sound(SoundKey.of(row))
        alone, mix = alone_and_mix(vocal, sound, rate)
        kind = KIND_TITLES.get(system.kind, system.kind).rstrip("s").lower()
        name = f"{system.title}, {clip.song}"
        takes.append(
            Take(
                title=system.title,
                about=(kind, row.why) if row.why else (kind,),
                name=name,
                picture=data_address(picture(alone, rate, colour=_ACCOMPANIMENT), "image/png"),
                sounds={
                    "mix": (f"{name}, with the vocal", _address(mix, rate)),
                    "alone": (f"{name}, alone", _address(alone, rate)),
                },
            )
        )
    seconds = clip.num_samples / rate
    start, stop = clock(clip.start_seconds), clock(clip.start_seconds + seconds)
    return PlayedClip(
        song=clip.song,
        about=f"{start} to {stop}, sung in {100 * clip.activity:.0f} % of it",
        times=tuple(clock(seconds * index / _TICKS) for index in range(_TICKS + 1)),
        takes=tuple(takes),
        measures=measures_of_clip(found, rows),
    )


def _address(sound: Float[Tensor, " T"], rate: int) -> str:
    return data_address(mp3(sound, rate, compression=_COMPRESSION), "audio/mpeg")


def _arm(run: RunFolder, found: Lookup) -> Arm:
    for arm in run.manifest.arms:
        if arm == found.results.arms[0]:
            return arm
    raise UsageError(
        f"results are of {found.results.arms[0]!r} vocals, and the run has {', '.join(run.manifest.arms)}; "
        "give the results of the same run"
    )

"""The clips that are played: each vocal, and what every system plays to it.

In: a run and its results. Out: markup with sounds and pictures inside.

    song, start                                    [x] with the vocal
    vocal                 ::::::::::::  picture
                          |> ---------  player
    system, why this take ::::::::::::
                          |> ---------             with the vocal, or alone: both are there, one is shown
    table of the clip's measures

Convention: clips are those of the first arm. The switch is a checkbox and a rule of the style sheet, so it
works without scripts too.
"""

from collections.abc import Callable, Sequence

from hafm.errors import UsageError
from hafm.evaluate.report.fit_tables import one_clip
from hafm.evaluate.report.labels import KIND_TITLES
from hafm.evaluate.report.lookup import Lookup
from hafm.evaluate.report.markup import Html, element
from hafm.evaluate.report.pictures import CHROMA_ROWS, COLUMNS, GAP_ROWS, SPECTRUM_ROWS, picture
from hafm.evaluate.report.sounds import data_address, heard, mp3, vocal_alone
from hafm.evaluate.report.table_html import table_html
from hafm.evaluate.run.folder import Made, RunFolder
from hafm.evaluate.run.results import ClipRow, SystemRow
from hafm.evaluate.testset.clip import Arm, Clip
from hafm.words import clock

__all__ = ["players"]

_VOCAL, _ACCOMPANIMENT = (194, 65, 12), (37, 99, 235)
_TICKS = 5

OnClip = Callable[[int, int], None]


def players(
    run: RunFolder, found: Lookup, clips: Sequence[Clip], *, on_progress: OnClip | None = None
) -> list[Html]:
    """One piece of markup a clip.

    Args:
        run: where the sounds are.
        found: its results.
        clips: to play.
        on_progress: told how many clips are done, and of how many.

    Raises:
        OutputError: a sound of the results is not there, or not as it was written.
        UsageError: the run has no isolated or separated arm of that name.
    """
    made = []
    for index, clip in enumerate(clips):
        made.append(_clip(run, found, clip, number=index))
        if on_progress is not None:
            on_progress(index + 1, len(clips))
    return made


def _clip(run: RunFolder, found: Lookup, clip: Clip, *, number: int) -> Html:
    arm = _arm(run, found)
    rate = run.manifest.protocol.sample_rate
    vocal = run.vocal(arm, clip)
    voice = vocal_alone(vocal, rate)
    rows = {row.system: row for row in found.results.clips if row.arm == arm and row.clip == clip.id}
    switch = f"with-vocal-{number}"
    takes = [
        _take(
            element("h4", "Vocal"),
            look=picture(voice, rate, colour=_VOCAL),
            sounds={"voice": mp3(voice, rate)},
            name=f"vocal of {clip.song}",
            clip=clip,
            rate=rate,
        )
    ]
    for system in found.systems:
        if (row := rows.get(system.name)) is None:
            continue
        sound = run.sound(Made(system=row.source, heard=row.heard, take=row.take, clip=row.clip))
        both = heard(vocal, sound, rate)
        takes.append(
            _take(
                *_about(system, row),
                look=picture(both.alone, rate, colour=_ACCOMPANIMENT),
                sounds={"mix": mp3(both.mix, rate), "alone": mp3(both.alone, rate)},
                name=f"{system.title}, {clip.song}",
                clip=clip,
                rate=rate,
            )
        )
    measured = one_clip(found, rows)
    start, stop = clip.start_seconds, clip.start_seconds + clip.num_samples / rate
    return element(
        "details",
        element(
            "summary",
            element("h3", clip.song),
            " ",
            element("span", f"{clock(start)} to {clock(stop)}, sung in {100 * clip.activity:.0f} % of it"),
        ),
        element("input", type="checkbox", id=switch, class_="switch", checked=True),
        element("label", "with the vocal", for_=switch),
        *takes,
        *([] if measured is None else [table_html(measured, class_="fit")]),
        class_="clip",
        open=number == 0,
    )


def _arm(run: RunFolder, found: Lookup) -> Arm:
    for arm in run.manifest.arms:
        if arm == found.results.arms[0]:
            return arm
    raise UsageError(
        f"results are of {found.results.arms[0]!r} vocals, and the run has {', '.join(run.manifest.arms)}; "
        "give the results of the same run"
    )


def _take(*about: Html, look: bytes, sounds: dict[str, bytes], name: str, clip: Clip, rate: int) -> Html:
    spoken = {"voice": name, "mix": f"{name}, with the vocal", "alone": f"{name}, alone"}
    image = element(
        "img",
        src=data_address(look, "image/png"),
        alt=f"Spectrogram and pitch classes: {name}",
        width=str(COLUMNS),
        height=str(SPECTRUM_ROWS + GAP_ROWS + CHROMA_ROWS),
    )
    voices = [
        element(
            "audio",
            controls=True,
            preload="metadata",
            src=data_address(sound, "audio/mpeg"),
            class_=kind,
            aria_label=spoken[kind],
        )
        for kind, sound in sounds.items()
    ]
    return element(
        "div",
        element("div", *about, class_="about"),
        element(
            "div",
            element("div", image, element("i", class_="head"), class_="look"),
            _time(clip, rate),
            *voices,
            class_="hear",
        ),
        class_="take",
    )


def _time(clip: Clip, rate: int) -> Html:
    seconds = clip.num_samples / rate
    marks = (seconds * index / _TICKS for index in range(_TICKS + 1))
    return element(
        "div", *(element("span", clock(each)) for each in marks), class_="time", aria_hidden="true"
    )


def _about(system: SystemRow, row: ClipRow) -> list[Html]:
    kind = KIND_TITLES.get(system.kind, system.kind).rstrip("s").lower()
    why = [element("p", row.why, class_="why")] if row.why else []
    return [element("h4", system.title), element("p", kind, class_="why"), *why]

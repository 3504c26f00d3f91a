"""The report: one page that holds everything it shows and asks nothing of a network.

In: a run with its sounds, and its results. Out: `RUN/report.html`, and the same tables in Markdown.

Conventions: every figure comes from the results as they are; nothing is measured again. Text from files is
escaped (`markup`). Tables, switches and players work without scripts; a script only sees to it that one
player plays at a time. A policy in the head forbids any request, should a mistake ask for one. The same
input gives the same bytes.
"""

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

from hafm.errors import UsageError
from hafm.evaluate.report.best_of_table import best_of
from hafm.evaluate.report.choice import choose_clips
from hafm.evaluate.report.fad_tables import distances, like_table2, per_song
from hafm.evaluate.report.fit_tables import SAYS_NOTHING, fit
from hafm.evaluate.report.labels import ARM_TITLES, measure_title
from hafm.evaluate.report.lookup import Lookup
from hafm.evaluate.report.markup import Html, element, joined
from hafm.evaluate.report.players import players
from hafm.evaluate.report.provenance import facts, manifest_tables
from hafm.evaluate.report.script import SCRIPT
from hafm.evaluate.report.style import STYLE
from hafm.evaluate.report.summary import HOW, summary
from hafm.evaluate.report.table import Table, plural
from hafm.evaluate.report.table_html import table_html
from hafm.evaluate.report.table_markdown import plain, table_markdown_of
from hafm.evaluate.report.vocal_tables import adherence, worth
from hafm.evaluate.run.folder import REPORT_FILE, RunFolder
from hafm.evaluate.run.results import MeasureRow, Results

__all__ = ["table_markdown", "write_report"]

_POLICY = (
    "default-src 'none'; img-src data:; media-src data:; "
    "style-src 'unsafe-inline'; script-src 'unsafe-inline'"
)


def write_report(
    run: RunFolder,
    results: Results,
    *,
    clips: int = 8,
    on_progress: Callable[[int, int], None] | None = None,
) -> Path:
    """Writes `RUN/report.html`.

    Args:
        run: the folder, with its sounds.
        results: of this run.
        clips: how many clips to play on the page, 0 for none. Each takes about 1.3 MB with twelve systems.
        on_progress: told how many of the clips are done, and of how many.

    Returns:
        Where it is.

    Raises:
        UsageError: the results are of other clips, or the number of clips is below 0.
        OutputError: a sound is missing or damaged, or the page cannot be written.
    """
    if results.manifest_fingerprint != run.manifest.fingerprint:
        raise UsageError(
            f"the results are of clips {results.manifest_fingerprint[:12]}, and '{run.path}' holds "
            f"{run.manifest.fingerprint[:12]}; evaluate again, or give the results of this run"
        )
    found = Lookup(results)
    chosen = choose_clips(run.manifest.clips, clips)
    body = joined(
        _head(run, found),
        *_measured(found),
        _listening(run, found, players(run, found, chosen, on_progress=on_progress)),
        element("section", element("h2", "Test set"), *manifest_tables(run.manifest, found), id="test-set"),
    )
    # The size that the page tells is that of the page that tells it, but for the digits.
    size = len(_document(_subject(run, found), body, size="0.0 MB").encode())
    return run.write(REPORT_FILE, _document(_subject(run, found), body, size=f"{size / 1e6:.1f} MB"))


def table_markdown(results: Results) -> str:
    """All tables as Markdown, for `RUN/table.md` and the model card."""
    found = Lookup(results)
    lines = [f"{plain(sentence)}\n" for sentence in summary(found)]
    tables = [table_markdown_of(table) for table in _tables(found)]
    return "\n".join([*(f"- {line}" for line in lines), f"{HOW}\n", *tables])


def _tables(found: Lookup) -> list[Table]:
    tables = [like_table2(found)]
    for arm in found.results.arms:
        tables += [distances(found, arm, name) for name in found.fad_embeddings]
    for arm in found.results.arms:
        tables += [fit(found, arm), adherence(found, arm), best_of(found, arm)]
    return [table for table in [*tables, worth(found.results.worth)] if table is not None]


def _subject(run: RunFolder, found: Lookup) -> str:
    collection = str(run.manifest.collection.get("kind", "a collection"))
    bundle = found.results.made_with.get("bundle")
    model = "Baselines" if found.model is None else found.model.title
    return f"{bundle['name'] if isinstance(bundle, Mapping) and 'name' in bundle else model} on {collection}"


def _head(run: RunFolder, found: Lookup) -> Html:
    lines = [element("li", sentence) for sentence in summary(found)]
    notes = [element("p", note, class_="note") for note in found.results.notes]
    return element(
        "header",
        element("p", "HAFM evaluation", class_="over"),
        element("h1", _subject(run, found)),
        facts(run.manifest, found),
        element(
            "section",
            element("h2", "In words"),
            element("ul", *lines),
            element("p", HOW, class_="note"),
            *notes,
        ),
    )


def _measured(found: Lookup) -> list[Html]:
    arms = found.results.arms
    embeddings = found.fad_embeddings
    songs = [per_song(found, arm, name) for arm in arms for name in embeddings]
    folded = [
        element("details", element("summary", table.caption), table_html(table), class_="fold")
        for table in songs
        if table is not None
    ]
    table2 = like_table2(found)
    return [
        _section("Table 2", [] if table2 is None else [table_html(table2, class_="table2")]),
        _section(
            "Fréchet audio distance",
            [
                *(table_html(distances(found, arm, name)) for arm in arms for name in embeddings),
                *([_about_distances()] if embeddings else []),
                *folded,
            ],
        ),
        _section(
            "How well it fits",
            [
                *(table_html(fit(found, arm), class_="fit") for arm in arms),
                _about_measures(found.results.measures),
            ]
            if found.results.measures
            else [],
        ),
        _section("Prompt adherence", _beside(_present(adherence(found, arm) for arm in arms))),
        _section("What the vocal is worth", _present([worth(found.results.worth)])),
        _section("Best of several takes", _present((best_of(found, arm) for arm in arms), class_="fit")),
    ]


def _present(tables: Iterable[Table | None], *, class_: str = "") -> list[Html]:
    return [table_html(table, class_=class_) for table in tables if table is not None]


def _beside(tables: list[Html]) -> list[Html]:
    """Narrow tables next to each other where there is room."""
    return [element("div", *tables, class_="beside")] if tables else []


def _section(title: str, content: list[Html]) -> Html:
    name = title.lower().replace(" ", "-").replace("é", "e")
    missing = [] if content else [element("p", "Not measured in this run.", class_="note")]
    return element("section", element("h2", title), *content, *missing, id=name)


def _about_distances() -> Html:
    return element(
        "p",
        "Lower is nearer to the true instrumentals. Distances of different embeddings are different "
        "quantities, and so are those of accompaniments alone and of mixes. FAD\N{INFINITY} is extrapolated "
        "to an endless set. An arrow points to what is beyond the scale.",
        class_="note",
    )


def _about_measures(measures: tuple[MeasureRow, ...]) -> Html:
    items = [
        element(
            "div",
            element("dt", measure_title(row.name), " ", element("code", row.name)),
            element("dd", f"{row.what[:1].upper()}{row.what[1:]}. ", _verdict(row)),
            class_="nothing" if row.informative is False else None,
        )
        for row in measures
    ]
    return element("dl", *items, class_="measures")


def _verdict(row: MeasureRow) -> Html:
    said = {True: "Tells something here", False: SAYS_NOTHING.capitalize(), None: "No verdict"}[
        row.informative
    ]
    return joined(element("b", said), f": {row.why}." if row.why else ".")


def _listening(run: RunFolder, found: Lookup, shown: list[Html]) -> Html:
    arm = found.results.arms[0]
    about = (
        f"{len(shown)} of {plural(len(run.manifest.clips), 'clip')}, with {ARM_TITLES.get(arm, arm)}, spread "
        "over the songs by a fixed rule and not by how they sound. "
        "Levels are those of the mix. In the pictures time runs from left to right: above, frequency (60 Hz "
        "to 11 kHz); below, pitch classes (C at the bottom, B on top). Sounds are MP3 here; the run's folder "
        "has them without loss."
    )
    content = [element("p", about, class_="note"), *shown] if shown else []
    return element(
        "section",
        element("h2", "Listening"),
        *content,
        *([] if shown else [element("p", "No clip is played on this page.", class_="note")]),
        id="listening",
    )


def _document(title: str, body: Html, *, size: str) -> str:
    about = f"One file of {size} that asks nothing of a network. Written by hafm evaluate."
    head = element(
        "head",
        element("meta", charset="utf-8"),
        element("meta", http_equiv="Content-Security-Policy", content=_POLICY),
        element("meta", name="viewport", content="width=device-width, initial-scale=1"),
        element("meta", name="color-scheme", content="light dark"),
        element("title", f"HAFM evaluation: {title}"),
        element("style", Html(STYLE)),
    )
    script = element("script", Html(SCRIPT))
    page = element(
        "html", head, element("body", element("main", body, element("footer", about)), script), lang="en"
    )
    return f"<!DOCTYPE html>\n{page}\n"

"""The report of a run: one page that holds everything it shows, and the same tables in Markdown.

In: a run with its sounds, and its results. Out: `RUN/report.html`, and text for `RUN/table.md` and the model
card.

Conventions: every figure comes from the results as they are; nothing is measured again. `report.html.j2` puts
the page together from values (`hafm.evaluate.pages`); tables, switches and players work without scripts.
Where a collection lay on a disk is nobody's business: of its root only the last name is shown. The same input
gives the same bytes.
"""

import json
import re
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path, PurePath
from typing import Any

from hafm.errors import UsageError
from hafm.evaluate.pages import render
from hafm.evaluate.report.chart import WIDTH, mark, ticks
from hafm.evaluate.report.clips import PlayedClip, choose_clips, played_clips
from hafm.evaluate.report.lookup import ARM_TITLES, Lookup, measure_title
from hafm.evaluate.report.paper_table2 import like_table2
from hafm.evaluate.report.pictures import CHROMA_ROWS, COLUMNS, GAP_ROWS, SPECTRUM_ROWS
from hafm.evaluate.report.tables import SAYS_NOTHING, adherence, best_of, distances, fit, per_song, worth
from hafm.evaluate.report.values import Cell, Column, Row, Table
from hafm.evaluate.report.words import HOW, summary
from hafm.evaluate.run.folder import REPORT_FILE, RunFolder
from hafm.evaluate.run.results import MeasureRow, Results
from hafm.evaluate.testset import Manifest
from hafm.progress import OnProgress
from hafm.words import clock, plural

__all__ = ["table_markdown", "write_report"]

_KNOWN = (("bundle", "Bundle"), ("seed", "Seed"), ("environment", "Made with"), ("date", "Date"))
_PLAIN = ("name", "fingerprint")  # their values speak for themselves
_HASH_CHARACTERS = 16


def write_report(
    run: RunFolder, results: Results, *, clips: int = 8, on_progress: OnProgress | None = None
) -> Path:
    """Writes `RUN/report.html`, and returns where it is. A clip takes about 1.3 MB with twelve systems.

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
    played = played_clips(run, found, choose_clips(run.manifest.clips, clips), on_progress=on_progress)
    values = {**_head(run.manifest, found), **_measured(found), **_test_set(run.manifest, found)}
    values |= {"clips": played, "about_clips": _about_clips(run.manifest, found, played)}
    # The page states the size of the page that states it, but for the digits.
    size = len(_page(values, size="0.0 MB").encode())
    return run.write(REPORT_FILE, _page(values, size=f"{size / 1e6:.1f} MB"))


def table_markdown(results: Results) -> str:
    """All tables as Markdown, for `RUN/table.md` and the model card."""
    found = Lookup(results)
    arms = results.arms
    tables = [
        like_table2(found),
        *(distances(found, arm, name) for arm in arms for name in found.fad_embeddings),
        *(make(found, arm) for arm in arms for make in (fit, adherence, best_of)),
        worth(results.worth),
    ]
    lines = [f"- {_plain(sentence)}\n" for sentence in summary(found)]
    return "\n".join([*lines, f"{HOW}\n", *(_markdown(table) for table in tables if table)])


def _page(values: Mapping[str, Any], *, size: str) -> str:
    return render(
        Path(__file__).parent,
        "report",
        size=size,
        mark=mark,
        ticks=ticks,
        chart_width=WIDTH,
        picture_width=COLUMNS,
        picture_height=SPECTRUM_ROWS + GAP_ROWS + CHROMA_ROWS,
        **values,
    )


# ---- what was evaluated


def _head(manifest: Manifest, found: Lookup) -> dict[str, Any]:
    results = found.results
    collection = str(manifest.collection.get("kind", "a collection"))
    bundle = results.made_with.get("bundle")
    model = "Baselines" if found.model is None else found.model.title
    name = bundle["name"] if isinstance(bundle, Mapping) and "name" in bundle else model
    return {
        "subject": f"{name} on {collection}",
        "facts": [(title, text) for title, text in _facts(manifest, found) if text],
        "sentences": summary(found),
        "how": HOW,
        "notes": results.notes,
    }


def _facts(manifest: Manifest, found: Lookup) -> list[tuple[str, str]]:
    """Of `made_with` the facts that are known by name; the whole of it is at the page's end."""
    results = found.results
    seconds = sum(clip.num_samples for clip in manifest.clips) / manifest.protocol.sample_rate
    counted = f"{plural(len(manifest.clips), 'clip')} of {plural(len(manifest.songs), 'song')}"
    made = [(title, _words(results.made_with[key])) for key, title in _KNOWN if key in results.made_with]
    return [
        *made[:1],
        ("Collection", _collection_name(manifest)),
        ("Test set", f"{counted}, {clock(seconds)} in all"),
        ("Vocals", " and ".join(ARM_TITLES.get(arm, arm) for arm in results.arms)),
        ("Systems", str(len(results.systems))),
        ("Embeddings", ", ".join(found.embeddings)),
        ("Manifest", results.manifest_fingerprint[:_HASH_CHARACTERS]),
        *made[1:],
    ]


def _collection_name(manifest: Manifest) -> str:
    """Kind and options of the collection, in one line."""
    described = dict(manifest.collection)
    kind = str(described.pop("kind", "collection"))
    root = described.pop("root", None)
    parts = [kind, f"split {manifest.protocol.split}"]
    if root is not None:
        parts.append(f"folder {PurePath(str(root)).name}")
    parts += [f"{key.replace('_', ' ')} {value}" for key, value in described.items() if value is not None]
    return ", ".join(parts)


def _words(value: Any) -> str:
    """JSON as words; long hashes are cut, since the whole of them is at the page's end.

    >>> _words({"name": "builtin", "fingerprint": "0123456789abcdef" * 4}), _words(0), _words(None)
    ('builtin, 0123456789abcdef', '0', '')
    """
    if value is None:
        return ""
    if isinstance(value, Mapping):
        words = [(key, _words(each)) for key, each in value.items()]
        return ", ".join(text if key in _PLAIN else f"{key} {text}" for key, text in words if text)
    if isinstance(value, list | tuple):
        return ", ".join(text for each in value if (text := _words(each)))
    text = str(value)
    is_hash = len(text) == 64 and set(text) <= set("0123456789abcdef")
    return text[:_HASH_CHARACTERS] if is_hash else text


# ---- what was measured


def _measured(found: Lookup) -> dict[str, Any]:
    arms, embeddings = found.results.arms, found.fad_embeddings
    pairs = [(arm, name) for arm in arms for name in embeddings]
    return {
        "table2": like_table2(found),
        "distances": [distances(found, *pair) for pair in pairs],
        "per_song": [table for pair in pairs if (table := per_song(found, *pair))],
        "fit": [fit(found, arm) for arm in arms],
        "measures": [_measure(row) for row in found.results.measures],
        "adherence": [table for arm in arms if (table := adherence(found, arm))],
        "worth": worth(found.results.worth),
        "best_of": [table for arm in arms if (table := best_of(found, arm))],
    }


def _measure(row: MeasureRow) -> dict[str, Any]:
    verdicts = {True: "Informative here", False: SAYS_NOTHING.capitalize(), None: "No verdict"}
    return {
        "title": measure_title(row.name),
        "name": row.name,
        "what": f"{row.what[:1].upper()}{row.what[1:]}",
        "verdict": verdicts[row.informative],
        "why": row.why,
        "silent": row.informative is False,
    }


def _about_clips(manifest: Manifest, found: Lookup, played: list[PlayedClip]) -> str:
    arm = found.results.arms[0]
    return (
        f"{len(played)} of {plural(len(manifest.clips), 'clip')}, with {ARM_TITLES.get(arm, arm)}, spread "
        "over the songs by a fixed rule and not by how they sound. "
        "Levels are those of the mix. In the pictures time runs from left to right: above, frequency (60 Hz "
        "to 11 kHz); below, pitch classes (C at the bottom, B on top). Sounds are MP3 here; the run's folder "
        "has them without loss."
    )


# ---- on what


def _test_set(manifest: Manifest, found: Lookup) -> dict[str, Any]:
    """The rules, every clip, what was left out, and what everything was made with."""
    rules = {**asdict(manifest.protocol), "collection": manifest.collection, "separator": manifest.separator}
    identities = {
        system.name: {"title": system.title, "made by": system.identity} for system in found.results.systems
    }
    return {
        "rules": _json(rules),
        "lists": [
            (plural(len(manifest.clips), "clip"), _clips(manifest)),
            (f"Left out: {len(manifest.left_out):,}", _left_out(manifest)),
        ],
        "identities": _json(identities),
        "made_with": _json(found.results.made_with),
    }


def _clips(manifest: Manifest) -> Table:
    rate = manifest.protocol.sample_rate
    activity = Column(title="Activity", small="share sung")
    hashes = Column(title="SHA-256", small="of instrumental and vocal, first digits")
    return Table.of_texts(
        "Clips",
        "Clip",
        ("Song", "Start", "Length", activity, hashes),
        *(
            (
                *(clip.id, clip.song, clock(clip.start_seconds), clock(clip.num_samples / rate)),
                f"{clip.activity:.2f}",
                " ".join(clip.sha256[name][:_HASH_CHARACTERS] for name in sorted(clip.sha256)),
            )
            for clip in manifest.clips
        ),
    )


def _left_out(manifest: Manifest) -> Table:
    rows = (
        (each.track, "" if each.start_seconds is None else clock(each.start_seconds), each.reason)
        for each in manifest.left_out
    )
    return Table.of_texts("Left out", "Track", ("Start", "Why"), *rows)


def _json(value: Any) -> str:
    return json.dumps(_rootless(value), indent=2, ensure_ascii=False)


def _rootless(value: Any) -> Any:
    """The same without any `root`.

    >>> _rootless({"seed": 0, "collection": {"kind": "pairs", "root": "/home/somebody"}})
    {'seed': 0, 'collection': {'kind': 'pairs'}}
    """
    if isinstance(value, Mapping):
        return {key: _rootless(each) for key, each in value.items() if key != "root"}
    return value


# ---- as Markdown


def _markdown(table: Table) -> str:
    """A table as GitHub and the hub render it, ending with a line break.

    Charts are left out; a column that says nothing says so in its head, since Markdown has no grey; what was
    not measured here is in italics, below a row that says where it comes from.

    >>> table = Table(caption="Sizes", corner="Thing", columns=(Column(title="m"),),
    ...     rows=(Row(title="a|b", cells=(Cell(text="1.0", interval="[0.5, 1.5]", strong=True),)),))
    >>> print(_markdown(table))
    **Sizes**
    <BLANKLINE>
    | Thing | m |
    |---|---:|
    | a\\|b | **1.0** [0.5, 1.5] |
    <BLANKLINE>
    """
    kept = [index for index, column in enumerate(table.columns) if column.chart_scale is None]
    heads = [_plain(table.corner), *(_column_head(table.columns[index]) for index in kept)]
    lines = [f"**{_plain(table.caption)}**", "", _line(heads), _line(["---", *["---:"] * len(kept)], gap="")]
    group = ""
    for row in table.rows:
        if row.group != group:
            group = row.group
            lines.append(_line([f"*{_plain(group)}*", *[""] * len(kept)]))
        lines.append(
            _line([_row_title(row), *(_field(row.cells[index], foreign=row.foreign) for index in kept)])
        )
    below = [text for text in (table.warning, *table.notes) if text]
    lines += ["", *(f"{_plain(text)}\n" for text in below)]
    return "\n".join(lines)


def _plain(text: str) -> str:
    """Text that Markdown leaves as it is.

    >>> print(_plain("a*b <script> | [0.1, 0.2] [x](y)"))
    a\\*b &lt;script&gt; \\| [0.1, 0.2] [x\\](y)
    """
    one_line = " ".join(text.split())
    # A bracket matters only where an address or a name could follow: intervals stay readable.
    escaped = re.sub(r"([\\`*_|~$]|\](?=[(\[:]))", r"\\\1", one_line.replace("&", "&amp;"))
    return escaped.replace("<", "&lt;").replace(">", "&gt;")


def _line(fields: list[str], *, gap: str = " ") -> str:
    return "|" + "|".join(f"{gap}{field}{gap}" for field in fields) + "|"


def _column_head(column: Column) -> str:
    group = f"{column.group}: " if column.group else ""
    return _plain(f"{group}{column.title}" + (f" ({column.small})" if column.small else ""))


def _row_title(row: Row) -> str:
    title = f"*{_plain(row.title)}*" if row.foreign else _plain(row.title)
    return f"{title} ({_plain(row.small)})" if row.small else title


def _field(cell: Cell, *, foreign: bool) -> str:
    mark = "**" if cell.strong else "*" if foreign else ""
    text = f"{mark}{_plain(cell.text)}{mark}"
    # Brackets alone do not make a link, and read better unescaped.
    return f"{text} {cell.interval}".strip()

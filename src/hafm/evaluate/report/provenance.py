"""What was evaluated, and on what: the facts at the head of the page, and the whole manifest at its end.

In: a run's manifest and its results. Out: markup.

Conventions: of `made_with` the facts that are known by name come first; the whole of it stands at the end
as it is, so nothing is lost. Where a collection lay on a disk is nobody's business: of its root only the
last name is shown.
"""

import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import PurePath
from typing import Any

from hafm.evaluate.report.labels import ARM_TITLES
from hafm.evaluate.report.lookup import Lookup
from hafm.evaluate.report.markup import Html, element
from hafm.evaluate.report.table import Cell, Column, Row, Table, plural
from hafm.evaluate.report.table_html import table_html
from hafm.evaluate.testset.clip import Clip, Manifest
from hafm.words import clock

__all__ = ["collection_name", "facts", "manifest_tables"]

_KNOWN = (("bundle", "Bundle"), ("seed", "Seed"), ("environment", "Made with"), ("date", "Date"))
_PLAIN = ("name", "fingerprint")  # their values speak for themselves
_HASH_CHARACTERS = 16


def facts(manifest: Manifest, found: Lookup) -> Html:
    """A list of what was evaluated."""
    results = found.results
    seconds = sum(clip.num_samples for clip in manifest.clips) / manifest.protocol.sample_rate
    counted = f"{plural(len(manifest.clips), 'clip')} of {plural(len(manifest.songs), 'song')}"
    pairs: list[tuple[str, str]] = [
        ("Collection", collection_name(manifest)),
        ("Test set", f"{counted}, {clock(seconds)} in all"),
        ("Vocals", " and ".join(ARM_TITLES.get(arm, arm) for arm in results.arms)),
        ("Systems", str(len(results.systems))),
        ("Embeddings", ", ".join(found.embeddings)),
        ("Manifest", results.manifest_fingerprint[:_HASH_CHARACTERS]),
    ]
    made = [(title, _told(results.made_with[key])) for key, title in _KNOWN if key in results.made_with]
    pairs = [*made[:1], *pairs, *made[1:]]
    shown = [element("div", element("dt", title), element("dd", text)) for title, text in pairs if text]
    return element("dl", *shown, class_="facts")


def collection_name(manifest: Manifest) -> str:
    """Kind and options of the collection, in one line."""
    described = dict(manifest.collection)
    kind = str(described.pop("kind", "collection"))
    root = described.pop("root", None)
    parts = [kind, f"split {manifest.protocol.split}"]
    if root is not None:
        parts.append(f"folder {PurePath(str(root)).name}")
    parts += [f"{key.replace('_', ' ')} {value}" for key, value in described.items() if value is not None]
    return ", ".join(parts)


def _told(value: Any) -> str:
    """JSON as words: long hashes are cut, since the whole of them stands at the end.

    >>> _told({"name": "builtin", "fingerprint": "0123456789abcdef" * 4}), _told(0), _told(None)
    ('builtin, 0123456789abcdef', '0', '')
    """
    if value is None:
        return ""
    if isinstance(value, Mapping):
        told = [(key, _told(each)) for key, each in value.items()]
        return ", ".join(text if key in _PLAIN else f"{key} {text}" for key, text in told if text)
    if isinstance(value, list | tuple):
        return ", ".join(text for each in value if (text := _told(each)))
    text = str(value)
    is_hash = len(text) == 64 and set(text) <= set("0123456789abcdef")
    return text[:_HASH_CHARACTERS] if is_hash else text


def manifest_tables(manifest: Manifest, found: Lookup) -> list[Html]:
    """The rules, every clip, what was left out, and what everything was made with, folded away."""
    rules = {
        **asdict(manifest.protocol),
        "collection": manifest.collection,
        "separator": manifest.separator,
    }
    left_out = Table(
        caption="Left out",
        corner="Track",
        columns=(Column(title="Start"), Column(title="Why")),
        rows=tuple(
            Row(
                title=each.track,
                cells=(
                    Cell(text="" if each.start_seconds is None else clock(each.start_seconds)),
                    Cell(text=each.reason),
                ),
            )
            for each in manifest.left_out
        ),
    )
    systems = {
        system.name: {"title": system.title, "made by": system.identity} for system in found.results.systems
    }
    return [
        _folded("Rules by which the clips were chosen", _json(rules)),
        _folded(plural(len(manifest.clips), "clip"), table_html(_clips(manifest), class_="words")),
        _folded(f"Left out: {len(manifest.left_out):,}", table_html(left_out, class_="words")),
        _folded("Systems, and what made them", _json(systems)),
        _folded("Made with", _json(found.results.made_with)),
    ]


def _clips(manifest: Manifest) -> Table:
    rate = manifest.protocol.sample_rate

    def row(clip: Clip) -> Row:
        hashes = (clip.sha256[name][:_HASH_CHARACTERS] for name in sorted(clip.sha256))
        texts = (
            clip.song,
            clock(clip.start_seconds),
            clock(clip.num_samples / rate),
            f"{clip.activity:.2f}",
            " ".join(hashes),
        )
        return Row(title=clip.id, cells=tuple(Cell(text=text) for text in texts))

    return Table(
        caption="Clips",
        corner="Clip",
        columns=(
            Column(title="Song"),
            Column(title="Start"),
            Column(title="Length"),
            Column(title="Activity", small="share sung"),
            Column(title="SHA-256", small="of instrumental and vocal, first digits"),
        ),
        rows=tuple(row(clip) for clip in manifest.clips),
    )


def _json(value: Any) -> Html:
    return element("pre", json.dumps(_rootless(value), indent=2, ensure_ascii=False), tabindex="0")


def _rootless(value: Any) -> Any:
    """The same without any `root`.

    >>> _rootless({"seed": 0, "collection": {"kind": "pairs", "root": "/home/somebody"}})
    {'seed': 0, 'collection': {'kind': 'pairs'}}
    """
    if isinstance(value, Mapping):
        return {key: _rootless(each) for key, each in value.items() if key != "root"}
    return value


def _folded(title: str, content: Html) -> Html:
    return element("details", element("summary", title), content, class_="fold")

"""The page that raters open: one file that asks nothing of a network and knows nothing of systems.

In: a kit's id, and sounds under opaque ids. Out: HTML, in which `listen.html`, `listen.css` and `listen.js`
(beside this file) are put together with the sounds as base64.

    <style>     listen.css
    <script>    {"kit", "listen_seconds", "sound_check", "trials": [{"id", "a", "b"}]}    sounds as base64
    <script>    listen.js

A policy in the page (Content-Security-Policy) forbids it every request, so the browser keeps the promise.
"""

import base64
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

__all__ = ["Encoded", "render"]

_PARTS = Path(__file__).parent


@dataclass(frozen=True, kw_only=True)
class Encoded:
    """A trial as the page knows it.

    Args:
        id: opaque.
        a, b: MP3.
    """

    id: str
    a: bytes
    b: bytes


def render(*, kit: str, listen_seconds: float, sound_check: bytes, trials: Sequence[Encoded]) -> str:
    """The text of the page.

    Args:
        kit: fingerprint of the design.
        listen_seconds: how long a side must be heard before an answer counts.
        sound_check: MP3 to set the volume by.
        trials: in order.
    """
    data = {
        "kit": kit,
        "listen_seconds": listen_seconds,
        "sound_check": _base64(sound_check),
        "trials": [{"id": trial.id, "a": _base64(trial.a), "b": _base64(trial.b)} for trial in trials],
    }
    parts = {
        "/* STYLE */": _part("listen.css"),
        "/* DATA */": json.dumps(data),  # letters, digits, + and / alone: nothing that could end a script
        "/* SCRIPT */": _part("listen.js"),
    }
    page = _part("listen.html")
    for mark, text in parts.items():
        before, _, after = page.partition(mark)
        page = before + text + after
    return page


def _base64(sound: bytes) -> str:
    return base64.b64encode(sound).decode()


def _part(name: str) -> str:
    return (_PARTS / name).read_text(encoding="utf-8")

"""The page's files: vendored ones as they were published, words in one place, nothing from elsewhere."""

import hashlib
import re
from pathlib import Path

import pytest

from hafm.web.api import PAGE

VENDOR = PAGE / "vendor"
OURS = sorted(path for path in PAGE.iterdir() if path.suffix in {".js", ".css", ".html"})
WORDS = (PAGE / "words.js").read_text()


def test_vendored_files_are_what_was_published() -> None:
    table = dict(re.findall(r"\| `([\w.]+)` \| ([0-9a-f]{64}) \|", (VENDOR / "VERSION.md").read_text()))
    assert {path.name for path in VENDOR.glob("*.js")} == set(table)
    for name, sha256 in table.items():
        assert hashlib.sha256((VENDOR / name).read_bytes()).hexdigest() == sha256
    assert "BSD 3-Clause" in (VENDOR / "LICENSE").read_text()


@pytest.mark.parametrize("path", OURS, ids=lambda path: path.name)
def test_nothing_is_fetched_from_elsewhere(path: Path) -> None:
    found = re.findall(r"https?://[^\s\"'`)]+", path.read_text())
    assert {each for each in found if not each.startswith("http://www.w3.org/")} == set()


def test_html_has_no_words_of_its_own() -> None:
    text = (PAGE / "index.html").read_text()
    for name in re.findall(r'data-(?:word|label|hint)="([^"]+)"', text):
        assert re.search(rf"^  {name}: ", WORDS, re.MULTILINE), name
    body = re.sub(r"<svg\b.*?</svg>|<option[^>]*>[^<]*", "", text.partition("<body>")[2], flags=re.S)
    assert re.findall(r">\s*([A-Za-z][^<]{2,})<", body) == []


@pytest.mark.parametrize("path", OURS, ids=lambda path: path.name)
def test_words_that_are_used_are_there(path: Path) -> None:
    for name in re.findall(r"\bWORDS\.(\w+)", path.read_text()):
        assert re.search(rf"^  {name}: ", WORDS, re.MULTILINE), name


def test_no_html_is_made_of_text() -> None:
    for path in OURS:
        assert not re.search(
            r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\(", path.read_text()
        )

"""The page as a reader's browser gets it: parsed, decoded and compared with the results."""

import base64
import io
import re
from dataclasses import dataclass, field, replace
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
import soundfile
from torch import Tensor

from hafm.errors import OutputError, UsageError
from hafm.evaluate.report.page import table_markdown, write_report
from hafm.evaluate.report.paper_table2 import PAPER_ROWS
from hafm.evaluate.run.folder import RESULTS_FILE, RunFolder, SoundKey
from hafm.evaluate.run.results import Results
from tests.evaluate.runs import MEASURES, RATE, SYSTEMS, make_run

PLAYED = ("truth", "model", "model-best-of-4", "random", "silence")
NASTY = """<script>alert("x")</script> & 'song'"""
VOID = {"br", "img", "input", "meta"}


# ---- reading a page


@dataclass
class Node:
    tag: str
    attributes: dict[str, str | None]
    children: "list[Node | str]" = field(default_factory=list)

    @property
    def text(self) -> str:
        return "".join(child if isinstance(child, str) else child.text for child in self.children)

    def all(self, tag: str, class_: str | None = None) -> "list[Node]":
        found: list[Node] = []
        for child in self.children:
            if isinstance(child, Node):
                if child.tag == tag and (
                    class_ is None or class_ in (child.attributes.get("class") or "").split()
                ):
                    found.append(child)
                found += child.all(tag, class_)
        return found

    def one(self, tag: str, class_: str | None = None) -> "Node":
        [found] = self.all(tag, class_)
        return found


class Tree(HTMLParser):
    """A tree of a page in which every element is closed, in order; anything else is an error."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.root = Node("", {})
        self.open = [self.root]
        self.feed(text)
        self.close()
        assert self.open == [self.root], f"never closed: {[node.tag for node in self.open[1:]]}"

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        assert len({name for name, _ in attrs}) == len(attrs), f"<{tag}> has an attribute twice"
        node = Node(tag, dict(attrs))
        self.open[-1].children.append(node)
        if tag not in VOID:
            self.open.append(node)

    def handle_endtag(self, tag: str) -> None:
        assert self.open[-1].tag == tag, f"</{tag}> closes <{self.open[-1].tag}>"
        self.open.pop()

    def handle_data(self, data: str) -> None:
        self.open[-1].children.append(data)


def parse(path: Path) -> Node:
    return Tree(path.read_text(encoding="utf-8")).root


def title_of(system: str) -> str:
    title = SYSTEMS[system][0]
    return title[:1].upper() + title[1:]


def table_of(page: Node, caption: str) -> Node:
    return next(table for table in page.all("table") if caption in table.one("caption").text)


def column_of(table: Node, title: str) -> int:
    """Where a column is among a row's cells, the row's name not counted."""
    heads = table.all("thead")[0].all("tr")[-1].all("th")
    offset = 1 if heads[0].text in ("System", "Method") else 0
    return next(index for index, head in enumerate(heads) if head.text.startswith(title)) - offset


def cells_of(table: Node, title: str) -> list[Node]:
    return next(row.all("td") for row in table.all("tr") if row.all("td") and row.all("th")[0].text == title)


def shown(value: float, places: int = 2) -> str:
    return f"{value:.{places}f}".replace("-", "\N{MINUS SIGN}")


def decoded(node: Node) -> tuple[np.ndarray, int]:
    head, _, content = (node.attributes["src"] or "").partition(",")
    assert head == "data:audio/mpeg;base64"
    samples, rate = soundfile.read(io.BytesIO(base64.b64decode(content, validate=True)))
    return samples, rate


def alike(heard: np.ndarray, sound: Tensor) -> float:
    """Correlation of what is heard with a sound of the run."""
    return float(np.corrcoef(heard, sound.numpy())[0, 1])


def results_in(run: RunFolder) -> Results:
    return Results.from_json((run.path / RESULTS_FILE).read_text(), where="results")


# ---- one run for all


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    folder = tmp_path_factory.mktemp("report") / "run"
    return make_run(folder, songs=3, systems=PLAYED, seconds=1.0, separated=True, song_name=NASTY)


@pytest.fixture(scope="module")
def page(run: RunFolder) -> Node:
    return parse(write_report(run, results_in(run), clips=2))


@pytest.fixture
def small(tmp_path: Path) -> RunFolder:
    return make_run(tmp_path / "run", songs=2, systems=("truth",), seconds=1.0)


# ---- the page itself


@pytest.mark.long
def test_it_is_one_page_of_well_formed_html(page: Node) -> None:
    assert page.one("html").attributes["lang"] == "en"
    assert len(page.all("h1")) == len(page.all("title")) == 1
    identifiers = [
        node.attributes["id"]
        for tag in ("section", "input")
        for node in page.all(tag)
        if "id" in node.attributes
    ]
    assert len(set(identifiers)) == len(identifiers) > 5
    for label in page.all("label"):
        assert label.attributes["for"] in identifiers


def test_the_check_for_well_formed_html_can_fail() -> None:
    for wrong in ("<p><b>x</p></b>", "<p>", '<p a="1" a="2"></p>'):
        with pytest.raises(AssertionError):
            Tree(wrong)


@pytest.mark.long
def test_heads_of_tables_say_what_they_are_heads_of(page: Node) -> None:
    assert len(page.all("table")) > 8
    for table in page.all("table"):
        assert table.one("caption").text
        scopes = {head.attributes.get("scope") for head in table.all("th")}
        assert scopes <= {"col", "row", "colgroup", "rowgroup"}
        for row in table.all("tbody")[0].all("tr"):
            assert row.all("th")[0].attributes["scope"] in ("row", "rowgroup")


def outside(text: str) -> list[str]:
    """Whatever in a page could make a browser ask for something."""
    addresses = re.findall(r"""(?:src|href|action|poster|srcset)\s*=\s*["']?([^"'>\s]{1,40})""", text)
    found = [address for address in addresses if not address.startswith(("data:", "#"))]
    without_data = re.sub(r'"data:[^"]*"', "", text)
    return found + re.findall(r"https?:|@import|url\(|<link|fetch\(|<iframe|//[a-z]+\.[a-z]", without_data)


def test_nothing_is_asked_for_outside_the_page(run: RunFolder, page: Node) -> None:
    assert outside((run.path / "report.html").read_text()) == []
    [policy] = [node.attributes["content"] for node in page.all("meta") if "http-equiv" in node.attributes]
    assert policy is not None
    assert policy.startswith("default-src 'none'")


@pytest.mark.parametrize(
    "planted", ['<img src="x.png">', "<script src=//a.b/c>", "a { background: url(x) }", "http://a"]
)
def test_the_check_for_what_is_outside_can_fail(planted: str) -> None:
    assert outside(planted)


def test_names_from_files_are_text(page: Node) -> None:
    """One script, ours; and the song's name in full where it is shown."""
    assert len(page.all("script")) == 1
    assert "alert" not in page.one("script").text
    names = {head.text for head in page.all("h3")}
    assert names <= {f"{NASTY} {index}" for index in range(3)}
    assert len(names) == 2


def test_where_the_collection_lay_is_not_shown(run: RunFolder, page: Node) -> None:
    assert run.manifest.collection["root"] == "/home/somebody/made up"
    assert "somebody" not in (run.path / "report.html").read_text()
    assert "folder made up" in page.text


def test_the_facts_say_what_was_evaluated(run: RunFolder, page: Node) -> None:
    facts = {pair.one("dt").text: pair.one("dd").text for pair in page.one("dl", "facts").all("div")}
    assert facts["Bundle"] == "builtin, version 1, b0b0b0b0b0b0b0b0"
    assert facts["Test set"] == "3 clips of 3 songs, 0:03 in all"
    assert facts["Seed"] == "0"
    assert facts["Manifest"] == run.manifest.fingerprint[:16]


def test_the_footer_tells_the_size(run: RunFolder, page: Node) -> None:
    size = (run.path / "report.html").stat().st_size
    assert f"{size / 1e6:.1f} MB" in page.one("footer").text


@pytest.mark.long
def test_the_same_results_give_the_same_bytes(small: RunFolder) -> None:
    results = results_in(small)
    first = write_report(small, results, clips=1).read_bytes()
    assert write_report(small, results, clips=1).read_bytes() == first
    assert write_report(small, replace(results, notes=("Another note.",)), clips=1).read_bytes() != first


# ---- figures


def test_every_mean_is_that_of_the_results(run: RunFolder, page: Node) -> None:
    titles = ("Key against the vocal", "Onset lag", "Loudness balance", "Dead air")
    for arm in run.manifest.arms:
        table = table_of(page, f"Measures of fit, means over songs, {arm} vocals")
        for row in results_in(run).fit:
            if row.arm != arm:
                continue
            title = titles[[measure.name for measure in MEASURES].index(row.measure)]
            cell = cells_of(table, title_of(row.system))[column_of(table, title)]
            figure = row.figure
            if figure.value is None or figure.low is None or figure.high is None:
                assert cell.text == "\N{EN DASH}"
                continue
            places = len(cell.text.partition("[")[0].partition(".")[2])
            assert places >= 2
            assert cell.text == "{}[{}, {}]".format(
                *(shown(each, places) for each in (figure.value, figure.low, figure.high))
            )


def test_every_distance_is_that_of_the_results(run: RunFolder, page: Node) -> None:
    for row in results_in(run).fad:
        table = table_of(page, f"Distance to the true instrumentals, by {row.embedding}, {row.arm} vocals")
        cells = cells_of(table, title_of(row.system))[0 if row.on == "stem" else 4 :][:4]
        assert row.fad.value is not None
        assert cells[0].text.startswith(shown(row.fad.value))
        assert cells[1].one("svg").all("circle")
        assert cells[2].text == ("\N{EN DASH}" if row.infinity is None else shown(row.infinity))
        assert cells[3].text == f"{row.points:,}"


def test_clips_tell_their_own_values(run: RunFolder, page: Node) -> None:
    clip = next(clip for clip in run.manifest.clips if clip.song == page.all("h3")[0].text)
    table = page.all("details", "clip")[0].one("table")
    for row in results_in(run).clips:
        value = row.measures["loudness_balance"]
        if row.clip == clip.id and row.arm == "isolated" and value is not None:
            assert cells_of(table, title_of(row.system))[2].text == shown(value)


def test_measures_that_say_nothing_are_grey_and_say_so(page: Node) -> None:
    table = table_of(page, "Measures of fit, means over songs, isolated")
    grey = column_of(table, "Onset lag")
    heads = table.all("thead")[0].all("th")[1:]
    assert [("says nothing here" in head.text, head.attributes.get("class")) for head in heads] == [
        (index == grey, "nothing" if index == grey else None) for index in range(len(MEASURES))
    ]
    for system in PLAYED:
        cells = cells_of(table, title_of(system))
        assert [cell.attributes.get("class") == "nothing" for cell in cells] == [
            index == grey for index in range(len(MEASURES))
        ]
        assert not cells[grey].all("b")
    [why] = [part for part in page.one("dl", "measures").all("div") if "onset_lag" in part.text]
    assert "Says nothing here: the true instrumental scores no better than a random one (p 0.61)." in why.text


def test_the_papers_rows_are_marked_and_as_printed(page: Node) -> None:
    table = page.one("table", "table2")
    rows = table.all("tr", "foreign")
    assert [[cell.text for cell in row.all("td")] for row in rows] == [
        [f"{value:.2f}" for value in (row.fad_isolated, row.fad_separated, row.delta)] for row in PAPER_ROWS
    ]
    *_, ours, theirs = table.all("tbody")
    assert len(theirs.all("tr", "foreign")) == len(PAPER_ROWS)
    assert theirs.all("tr")[0].text == "From the paper (VGGish, MUSDB18-test), not measured here"
    assert not ours.all("tr", "foreign")
    assert "\N{MINUS SIGN}0.22, not 0.33" in rows[-1].all("th")[0].text
    assert "comparable with ours only where the embedding is VGGish" in page.one("p", "warning").text


def test_what_has_no_separated_arm_is_not_measured(small: RunFolder) -> None:
    table = parse(write_report(small, results_in(small), clips=0)).one("table", "table2")
    assert [cell.text for cell in cells_of(table, title_of("truth"))][1:] == [
        "not measured",
        "not measured",
    ]


def test_the_gap_keeps_its_sign(run: RunFolder, page: Node) -> None:
    fad = {(row.arm, row.on): row.fad.value for row in results_in(run).fad if row.system == "random"}
    isolated, separated = fad["isolated", "stem"], fad["separated", "stem"]
    assert isolated is not None
    assert separated is not None
    assert isolated < separated
    cells = cells_of(page.one("table", "table2"), title_of("random"))
    assert cells[2].text == shown(isolated - separated)


def test_markdown_has_the_same_tables(run: RunFolder, page: Node) -> None:
    text = table_markdown(results_in(run))
    for table in page.all("table"):
        caption = table.one("caption").text
        listed = caption in ("Measures of this clip", "Clips", "Left out") or "own distance" in caption
        assert (f"**{caption}**" in text) != listed
    lines = text.splitlines()
    assert "| *SingSong-XL (S-SA)* | *1.28* | *0.96* | *0.32* |" in lines
    assert "| *From the paper (VGGish, MUSDB18-test), not measured here* |  |  |  |" in lines
    assert any("Onset lag" in line and "says nothing here" in line for line in lines)
    tables = [line for line in lines if line.startswith("|")]
    assert len(tables) > 40


# ---- sounds


def test_every_clip_has_players_that_decode_to_its_sounds(run: RunFolder, page: Node) -> None:
    rows = {(row.clip, row.system): row for row in results_in(run).clips if row.arm == "isolated"}
    played = page.all("details", "clip")
    assert len(played) == 2
    for details in played:
        clip = next(clip for clip in run.manifest.clips if clip.song == details.one("h3").text)
        vocal, *takes = details.all("div", "take")
        assert len(takes) == len(PLAYED)
        for player in details.all("audio"):
            samples, rate = decoded(player)
            assert samples.shape == (clip.num_samples,)
            assert rate == RATE
            assert player.attributes["controls"] is None  # there, without a value
        assert alike(decoded(vocal.one("audio", "voice"))[0], run.vocal("isolated", clip)) > 0.99
        for take in takes:
            system = next(name for name in PLAYED if title_of(name) == take.one("h4").text)
            row = rows[clip.id, system]
            sound = run.sound(SoundKey(system=row.source, heard=row.heard, take=row.take, clip=clip.id))
            alone, mix = (decoded(take.one("audio", kind))[0] for kind in ("alone", "mix"))
            assert row.why in take.text
            assert take.one("img").attributes["alt"]
            if system == "silence":
                assert np.abs(alone).max() < 1e-3
                continue
            assert alike(alone, sound) > 0.98
            assert alike(mix, sound) > 0.3
            assert alike(mix, run.vocal("isolated", clip)) > 0.3


def test_one_switch_a_clip_shows_one_of_the_two(page: Node) -> None:
    """By the style sheet alone, so also without scripts."""
    for details in page.all("details", "clip"):
        switch = details.one("input", "switch")
        assert "checked" in switch.attributes
    rule = ".switch:checked ~ .take .alone, .switch:not(:checked) ~ .take .mix { display: none; }"
    assert rule in page.one("style").text


def test_no_clip_is_played_where_none_is_wanted(small: RunFolder) -> None:
    silent = parse(write_report(small, results_in(small), clips=0))
    assert not silent.all("audio")
    assert "No clip is played" in silent.text


def test_progress_is_reported_clip_by_clip(small: RunFolder) -> None:
    reported: list[tuple[int, int]] = []
    write_report(small, results_in(small), on_progress=lambda at: reported.append((at.done, at.total)))
    assert reported == [(1, 2), (2, 2)]


# ---- what cannot be


def test_a_missing_sound_is_named_and_leaves_no_page(small: RunFolder) -> None:
    clip = small.manifest.clips[1].id
    path = small.sound_path(SoundKey(system="truth", heard="both", take=0, clip=clip))
    path.unlink()
    with pytest.raises(OutputError, match=re.escape(str(path))):
        write_report(small, results_in(small))
    assert not (small.path / "report.html").exists()


def test_results_of_other_clips_are_refused(run: RunFolder) -> None:
    other = replace(results_in(run), manifest_fingerprint="0" * 64)
    with pytest.raises(UsageError, match="the results are of clips 000000000000"):
        write_report(run, other)


def test_fewer_than_no_clips_are_refused(run: RunFolder) -> None:
    with pytest.raises(UsageError, match="-1 clips cannot be played"):
        write_report(run, results_in(run), clips=-1)

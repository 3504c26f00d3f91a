"""A sheet from a file of any kind, and the page about them."""

import re
from pathlib import Path

import pytest

from hafm.errors import LeadSheetError
from hafm.guide.lead_sheet import LeadSheet
from hafm.guide.midi_out import lead_sheet_to_midi
from hafm.guide.sheet_files import read_lead_sheet
from hafm.guide.sheet_json import lead_sheet_from_json, lead_sheet_to_json
from hafm.guide.text_files import beats_to_text, chords_to_lab
from tests.guide.sheets import WALTZ

PAGE = (Path(__file__).parents[2] / "docs" / "lead-sheet.md").read_text()


def written(folder: Path, name: str, data: str | bytes) -> Path:
    path = folder / name
    path.write_bytes(data.encode() if isinstance(data, str) else data)
    return path


def test_the_ending_says_what_a_file_is(tmp_path: Path) -> None:
    def read(name: str, data: str | bytes) -> LeadSheet:
        return read_lead_sheet(written(tmp_path, name, data), duration_seconds=4.0)

    assert read("a.lead.json", lead_sheet_to_json(WALTZ)) == WALTZ
    assert read("a.LAB", "\ufeff" + chords_to_lab(WALTZ)) == LeadSheet(
        duration_seconds=4.0, chords=WALTZ.chords
    )
    beats = read("a.beats.txt", beats_to_text(WALTZ))
    assert (beats.beats, beats.meters, beats.chords) == (WALTZ.beats, WALTZ.meters, ())
    midi = read("a.mid", lead_sheet_to_midi(WALTZ))
    assert [beat.position for beat in midi.beats] == [beat.position for beat in WALTZ.beats]
    assert [span.chord.pitch_classes for span in midi.chords] == [
        span.chord.pitch_classes for span in WALTZ.chords
    ]


@pytest.mark.parametrize(("seconds", "fits"), [(3.96, True), (4.04, True), (3.9, False), (4.1, False)])
def test_a_sheet_of_another_length_is_refused(tmp_path: Path, seconds: float, fits: bool) -> None:
    path = written(tmp_path, "a.json", lead_sheet_to_json(WALTZ))
    if fits:
        assert read_lead_sheet(path, duration_seconds=seconds).duration_seconds == seconds
    else:
        with pytest.raises(LeadSheetError, match=r"a\.json' is the lead sheet of 4\.00 s and its"):
            read_lead_sheet(path, duration_seconds=seconds)


@pytest.mark.parametrize(
    ("name", "data", "message"),
    [
        ("a.pdf", b"", "is no lead sheet; its name must end in .json"),
        ("a.lab", b"\xff\xfe\x00", "is not text in UTF-8"),
        ("a.lab", b" " * ((1 << 24) + 1), "too many for a lead sheet"),
        ("a.json", b"\xff", "is not a lead sheet: it is not JSON"),
    ],
)
def test_what_is_no_sheet_is_refused(tmp_path: Path, name: str, data: bytes, message: str) -> None:
    with pytest.raises(LeadSheetError) as caught:
        read_lead_sheet(written(tmp_path, name, data), duration_seconds=4.0)
    assert message in str(caught.value)


def test_a_missing_file_is_named() -> None:
    with pytest.raises(LeadSheetError, match=r"'no\.lab' cannot be read \(No such file or directory\)"):
        read_lead_sheet("no.lab", duration_seconds=4.0)


def test_the_page_shows_a_sheet_as_it_is_written() -> None:
    (example,) = re.findall(r"^```json\n(.*?)^```$", PAGE, re.M | re.S)
    assert lead_sheet_from_json(example, where="the example") == WALTZ
    assert lead_sheet_to_json(WALTZ) == example


def test_what_the_page_does_in_python_prints_what_it_says(capsys: pytest.CaptureFixture[str]) -> None:
    names: dict[str, object] = {"text": lead_sheet_to_json(WALTZ)}
    code = "\n".join(re.findall(r"^```python\n(.*?)^```$", PAGE, re.M | re.S))
    exec(code, names)
    said = [comment.strip() for comment in re.findall(r"^print\(.*?\)\s+# (.*)$", code, re.M)]
    assert capsys.readouterr().out.splitlines() == said
    assert len(said) == 6

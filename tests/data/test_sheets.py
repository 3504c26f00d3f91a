"""`hafm prepare --guide`: sheets beside the audio are given, and the band is heard for the rest."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from hafm.app.prepare import Prepare
from hafm.data.collection.sheets import WithSheets
from hafm.data.collection.sources import open_source
from hafm.data.collection.track import SheetPart, Track
from hafm.data.result import Prepared, Quarantined
from hafm.guide.analyser import BAND, Analyser
from hafm.guide.network import AnalyserNetwork, NetworkConfig
from hafm.guide.sheet_json import lead_sheet_from_json
from tests.data.music_collections import MadeItems, make_items
from tests.data.stub_preparers import OpenStub


@pytest.fixture(scope="module")
def items(tmp_path_factory: pytest.TempPathFactory) -> MadeItems:
    return make_items(tmp_path_factory.mktemp("items") / "tree", good=3, bad=0)


def band_analyser() -> Analyser:
    torch.manual_seed(0)
    config = replace(BAND, network=NetworkConfig(num_features=48, channels=8))
    return Analyser(config=config, weights=AnalyserNetwork(config.network).state_dict())


def sheets_of(root: Path, kind: str) -> dict[str, str | None]:
    found = WithSheets(source=open_source(kind, root)).tracks()
    return {
        track.id: None if track.lead_sheet is None else Path(track.lead_sheet.path).name for track in found
    }


def test_a_sheet_has_the_name_of_its_sound_or_of_its_pair(tmp_path: Path) -> None:
    names = ["b.vocal.wav", "b.instrumental.wav", "b.lab", "c.vocal.wav", "c.instrumental.wav"]
    names += ["c.vocal.mid", "c.lab", "a/vocals.wav", "a/instrumental.wav", "a/vocals.lead.json"]
    names += ["d.vocal.wav", "d.instrumental.wav", "other.lab"]
    (tmp_path / "a").mkdir()
    for name in names:
        (tmp_path / name).write_bytes(b"")
    assert sheets_of(tmp_path, "pairs") == {
        "a": "vocals.lead.json",
        "b": "b.lab",
        "c": "c.vocal.mid",
        "d": None,
    }


def test_a_mix_has_one_too_and_a_truth_is_kept(tmp_path: Path) -> None:
    for name in ("song.mp3", "song.lab", "song.lead.json", "tune.mp3"):
        (tmp_path / name).write_bytes(b"")
    assert sheets_of(tmp_path, "mixes") == {"song.mp3": "song.lead.json", "tune.mp3": None}

    class Known:
        def describe(self) -> dict[str, object]:
            return {"kind": "mixes"}

        def tracks(self) -> list[Track]:
            (found, _) = open_source("mixes", tmp_path).tracks()
            return [replace(found, lead_sheet=SheetPart(path="truth.json", kind="truth"))]

    source = WithSheets(source=Known())  # type: ignore[arg-type]
    assert [track.lead_sheet for track in source.tracks()] == [SheetPart(path="truth.json", kind="truth")]
    assert source.describe() == {"kind": "mixes", "guide": True}


def test_without_the_option_nothing_changes(items: MadeItems, tmp_path: Path) -> None:
    plain, guided = (
        Prepare(source=items.root, output=tmp_path / "s", kind="pairs", guide=guide)
        for guide in (False, True)
    )
    source, kind = plain._source()
    assert source.describe() == open_source("pairs", items.root.resolve()).describe()
    assert not plain._opener(kind).hears_sheets
    assert guided._opener(kind).hears_sheets
    preparer = OpenStub()()
    assert "analyser" not in preparer.made_by()
    results = preparer.prepare(list(source.tracks()))
    assert all(isinstance(each, Prepared) and each.tokens.lead_sheet is None for each in results)


@pytest.mark.long
def test_what_is_given_is_stored_and_the_band_is_heard_for_the_rest(items: MadeItems) -> None:
    first, second, third = items.good
    (items.root / first / "vocals.lab").write_text("0 0.5 A:min\n")
    (items.root / third / "vocals.lab").write_text("0 500 A:min\n")
    preparer = OpenStub()()
    analyser = band_analyser()
    preparer._analyser = analyser
    assert preparer.made_by()["analyser"] == analyser.fingerprint()
    tracks = list(WithSheets(source=open_source("pairs", items.root)).tracks())
    results = {each.track_id: each for each in preparer.prepare(tracks)}
    given, heard, wrong = results[first], results[second], results[third]
    assert isinstance(given, Prepared)
    assert isinstance(heard, Prepared)
    assert {"read", "analyse", "tokens"} == set(heard.spent)
    sheet = lead_sheet_from_json(given.tokens.lead_sheet or "", where="it")
    assert [span.label for span in sheet.chords] == ["A:min"]
    assert sheet.origin("chords").source == "given"
    assert sheet.origin("key").source == "estimated"
    sheet = lead_sheet_from_json(heard.tokens.lead_sheet or "", where="it")
    assert sheet.origin("chords").source == "estimated"
    assert isinstance(wrong, Quarantined)
    assert "line 1: 500 s is after the end of the sound" in wrong.reason

"""The preparer: whose fault an error is, and that tracks of one batch do not know of each other."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from hafm.data.collection.track import SheetPart, SoundPart, Track
from hafm.data.collection.truth import lead_sheet_of_truth
from hafm.data.preparing.track_preparer import TokenPreparer
from hafm.data.result import Prepared, Quarantined, TrackResult
from hafm.errors import AudioContentError, DeviceError, UsageError
from hafm.guide.sheet_json import lead_sheet_from_json
from tests.data.music_collections import MadeItems, make_items
from tests.data.stub_preparers import OpenStub


@pytest.fixture(scope="module")
def items(tmp_path_factory: pytest.TempPathFactory) -> MadeItems:
    return make_items(tmp_path_factory.mktemp("items") / "tree", good=4, bad=0)


def tracks(items: MadeItems) -> list[Track]:
    return [
        Track(
            id=name,
            song_id=name,
            vocal=(SoundPart(path=str(items.root / name / "vocals.wav")),),
            instrumental=(SoundPart(path=str(items.root / name / "instrumental.wav")),),
        )
        for name in items.good
    ]


def summaries(results: list[TrackResult]) -> list[tuple[str, Any]]:
    return [
        (each.track_id, each.tokens.to_bytes() if isinstance(each, Prepared) else each.reason)
        for each in results
    ]


def raising(error: Exception, *, on: str) -> TokenPreparer:
    """A preparer whose tokeniser fails whenever a certain track is in the batch."""
    preparer: TokenPreparer = OpenStub()()
    tokenise = preparer._tokeniser.tokenise

    def fail(read: Any) -> Any:
        if any(track.id == on for track, _ in read):
            raise error
        return tokenise(read)

    preparer._tokeniser.tokenise = fail  # type: ignore[method-assign]
    return preparer


def test_a_batch_is_its_tracks(items: MadeItems) -> None:
    preparer = OpenStub()()
    together = preparer.prepare(tracks(items))
    assert summaries(together) == [summaries(preparer.prepare([track]))[0] for track in tracks(items)]
    assert {step for each in together for step in each.spent} == {"read", "tokens"}


def test_a_track_that_cannot_be_read_spoils_nothing(items: MadeItems) -> None:
    batch = tracks(items)
    missing = Track(id="x", song_id="x", vocal=(SoundPart(path="no"),), instrumental=(SoundPart(path="no"),))
    results = OpenStub()().prepare([batch[0], missing, batch[1]])
    assert results[1] == Quarantined(
        track_id="x", reason="'no' does not exist; check the name and the folder"
    )
    assert summaries([results[0], results[2]]) == summaries(OpenStub()().prepare(batch[:2]))


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (AudioContentError("track '00001': not finite"), "track '00001': not finite"),
        (MemoryError(), "it needs more memory than there was; use fewer --workers, or cut it into parts"),
    ],
)
def test_what_fails_in_the_models_fails_alone(items: MadeItems, error: Exception, reason: str) -> None:
    results = raising(error, on="00001").prepare(tracks(items))
    assert results[1] == Quarantined(track_id="00001", reason=reason)
    good = [each for each in results if each.track_id != "00001"]
    assert summaries(good) == [
        each for each in summaries(OpenStub()().prepare(tracks(items))) if each[0] != "00001"
    ]


def test_a_device_without_memory_stops_the_run(items: MadeItems) -> None:
    with pytest.raises(DeviceError, match="cpu ran out of memory; use a smaller --batch-size"):
        raising(torch.OutOfMemoryError("CUDA out of memory"), on="00002").prepare(tracks(items))


def test_a_mistake_of_ours_is_not_the_tracks_fault(items: MadeItems) -> None:
    with pytest.raises(RuntimeError, match="shapes"):
        raising(RuntimeError("shapes do not fit"), on="00002").prepare(tracks(items))


def test_names_that_are_no_text_are_reported_as_text(tmp_path: Path) -> None:
    part = SoundPart(path=str(tmp_path / "a\udcff\n.wav"))
    track = Track(id="x", song_id="x", vocal=(part,), instrumental=(part,))
    (result,) = OpenStub()().prepare([track])
    assert isinstance(result, Quarantined)
    result.reason.encode()
    assert "\n" not in result.reason


def test_a_mix_needs_a_separator(items: MadeItems) -> None:
    mix = Track(id="m", song_id="m", mix=SoundPart(path=str(items.root / "00000" / "vocals.wav")))
    with pytest.raises(UsageError, match="is a mix; give a separator"):
        OpenStub()().prepare([mix])
    (result,) = OpenStub(separates=True)().prepare([mix])
    assert isinstance(result, Prepared)
    assert result.spent.keys() == {"read", "separate", "tokens"}


def test_what_the_ids_depend_on_is_reported() -> None:
    preparer = OpenStub(separates=True)()
    assert preparer.made_by() == {"fingerprints": {"codec": "stub"}, "seed": 0, "separator": "halves"}
    assert OpenStub()().made_by()["separator"] is None
    assert preparer.bytes_per_second == 2 * (50 + 50 + 8 * 75)


# ---- lead sheets


def with_truth(track: Track, folder: Path, **changes: Any) -> Track:
    """The track with a truth beside it, of its own length unless that is changed."""
    path = folder / f"{track.id}.json"
    chord = {"start_seconds": 0.0, "end_seconds": 1.0, "label": "A:min"}
    truth = {
        "seconds": 2.0,
        "key": {"label": "A:min"},
        "beats_per_bar": 4,
        "beats_seconds": [0.5, 1.0],
        "downbeats_seconds": [0.5],
        "chords": [chord],
        "band": {"style": "rock"},
    }
    path.write_text(json.dumps({**truth, **changes}))
    return replace(track, lead_sheet=SheetPart(path=str(path), kind="truth"))


def test_a_lead_sheet_travels_with_the_tokens(items: MadeItems, tmp_path: Path) -> None:
    without = tracks(items)[0]
    (bare,) = OpenStub()().prepare([without])
    assert isinstance(bare, Prepared)
    track = with_truth(without, tmp_path, seconds=bare.seconds)
    (result,) = OpenStub()().prepare([track])
    assert isinstance(result, Prepared)
    assert result.tokens.lead_sheet is not None
    sheet = lead_sheet_from_json(result.tokens.lead_sheet, where="it")
    assert sheet == lead_sheet_of_truth(json.loads((tmp_path / f"{track.id}.json").read_text()))
    assert bare.tokens.lead_sheet is None
    assert replace(result.tokens, lead_sheet=None).to_bytes() == bare.tokens.to_bytes()


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"seconds": 9.0}, "is the lead sheet of 9.00 s and its sound lasts"),
        ({"beats_seconds": [1.0, 0.5]}, "beat 2 is at 0.5 s, which is not between"),
        ({"key": None}, "this is no truth of a rendered pair"),
    ],
)
def test_a_bad_lead_sheet_quarantines_its_track_alone(
    items: MadeItems, tmp_path: Path, changes: dict[str, Any], reason: str
) -> None:
    good, other = tracks(items)[:2]
    bad, result = OpenStub()().prepare([with_truth(good, tmp_path, **changes), other])
    assert isinstance(bad, Quarantined)
    assert f"{good.id}.json'" in bad.reason
    assert reason in bad.reason
    assert isinstance(result, Prepared)


def test_a_track_without_a_sheet_is_written_as_before(items: MadeItems, tmp_path: Path) -> None:
    track = tracks(items)[0]
    assert "lead_sheet" not in track.to_dict()
    sheeted = with_truth(track, tmp_path)
    assert Track.from_dict(json.loads(json.dumps(sheeted.to_dict()))) == sheeted

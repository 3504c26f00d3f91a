"""A lead sheet as JSON: nothing is lost, and what is wrong is named."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hafm.errors import LeadSheetError
from hafm.guide.lead_sheet import LeadSheet
from hafm.guide.sheet_json import lead_sheet_from_json, lead_sheet_to_json
from tests.guide.sheets import WALTZ, sheets
from tests.unchecked import unchecked


@given(sheets(), st.booleans())
def test_a_sheet_comes_back_to_its_last_bit(sheet: LeadSheet, compact: bool) -> None:
    text = lead_sheet_to_json(sheet, compact=compact)
    assert lead_sheet_from_json(text, where="it") == sheet
    assert lead_sheet_to_json(lead_sheet_from_json(text, where="it"), compact=compact) == text


def test_for_people_every_entry_has_its_line() -> None:
    text = lead_sheet_to_json(WALTZ)
    assert "\n    [0.25, 3],\n    [0.75, 1],\n" in text
    assert '\n  "arrangement": [\n    [0.75, 2.25, ["drums", "bass"]]\n  ],\n' in text


def changed(**changes: Any) -> str:
    return json.dumps({**json.loads(lead_sheet_to_json(WALTZ)), **changes})


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "s.json is not a lead sheet: it is not JSON"),
        ("[]", "it holds no JSON object"),
        ("{}", "its format is None, not 'hafm-lead-sheet'"),
        (changed(version=2), "s.json is of version 2, and this version of hafm reads version 1; update hafm"),
        (changed(chord=[]), "unknown field 'chord' (did you mean chords?)"),
        (changed(beats=[[0.5, "1"]]), "beats[0][1] must be a whole number, not '1'"),
        (changed(beats=[[0.5]]), "beats[0] must be a list"),
        (changed(beats=[[0.5, 1], [0.4, 2]]), "s.json: beat 2 is at 0.4 s"),
        (changed(meters=[[0, "4"]]), "s.json: '4' is not a meter; write it as in 4/4"),
        (changed(keys=[[0, "Am"]]), "s.json: key 1 is Am:; its mode must be maj or min, as in A:min"),
        (
            changed(chords=[[0, 1, "Csus"]]),
            "s.json: chord 1 at 0.000 s: 'Csus' is not a chord label; did you",
        ),
        (changed(chords=[[0, 1, "Bbm7/Ab"]]), "'Bbm7/Ab' is not a chord label; did you mean Bb:min7/b7?"),
        (changed(chords=[[0, 1, "Xq"]]), "'Xq' is not a chord label; write it as in 'C:maj', 'A:min7/b3'"),
        (changed(arrangement=[[0, 1, ["drum"]]]), "arrangement[0][2][0] must be 'drums' or"),
        (changed(origins={"chords": {"source": "heard"}}), "origins.chords.source must be 'given' or"),
        (changed(origins={"tempo": {"source": "given"}}), "a lead sheet has no part 'tempo'"),
        (changed(duration_seconds=float("nan")), "lasts nan s"),
    ],
)
def test_what_is_wrong_is_named(text: str, message: str) -> None:
    with unchecked(), pytest.raises(LeadSheetError) as caught:
        lead_sheet_from_json(text, where="s.json")
    assert message in str(caught.value)

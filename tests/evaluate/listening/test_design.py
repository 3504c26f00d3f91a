"""A design is balanced in all but the systems, and the same from the same seed."""

import json
from collections import Counter
from itertools import combinations, pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hafm.errors import UsageError
from hafm.evaluate.listening.design import Design, Plan, Trial, make_design, order_apart
from tests.evaluate.listening.simulated import RUN, design_of

SYSTEMS = ("model", "retrieval", "random", "truth")


def spread(counts: Counter, keys) -> int:
    values = [counts[key] for key in keys]
    return max(values) - min(values)


def clips(design: Design) -> list[str]:
    return [trial.clip for trial in design.trials]


# ---- balance


@given(
    num_systems=st.integers(2, 4),
    songs=st.integers(2, 13),
    trials=st.integers(1, 60),
    seed=st.integers(0, 1 << 30),
    data=st.data(),
)
def test_everything_is_spread_evenly(num_systems, songs, trials, seed, data) -> None:
    repeats, catch = data.draw(st.integers(0, min(5, trials))), data.draw(st.integers(0, 5))
    systems = SYSTEMS[:num_systems]
    design = design_of(systems=systems, songs=songs, trials=trials, repeats=repeats, catch=catch, seed=seed)
    main = design.of_kind("main")
    assert [len(design.of_kind(kind)) for kind in ("main", "repeat", "catch")] == [trials, repeats, catch]
    pairs = [frozenset(pair) for pair in combinations(systems, 2)]
    names = [f"c{number}" for number in range(songs)]
    assert spread(Counter(frozenset((t.a, t.b)) for t in main), pairs) <= 1
    assert spread(Counter(t.clip for t in main), names) <= 1
    for pair in pairs:
        of_pair = [t for t in main if {t.a, t.b} == pair]
        assert spread(Counter(t.clip for t in of_pair), names) <= 1
        assert spread(Counter(t.a for t in of_pair), pair) <= 1
    assert spread(Counter(t.a for t in design.of_kind("catch")), ("truth", "noise")) <= 1
    assert all(one != other for one, other in pairwise(clips(design)))


def test_clips_come_from_all_songs_before_any_comes_twice() -> None:
    songs = {f"s{number}": [f"s{number}/{clip}" for clip in range(50)] for number in range(8)}
    design = make_design(
        systems=("model", "random"),
        controls=(),
        songs=songs,
        run=RUN,
        arm="isolated",
        plan=Plan(trials=16, catch=0, repeats=0),
    )
    assert set(Counter(clip.partition("/")[0] for clip in clips(design)).values()) == {2}


def test_repeats_swap_the_sides_and_come_late() -> None:
    design = design_of(systems=SYSTEMS, songs=20, trials=24, repeats=6)
    place = {trial.id: number for number, trial in enumerate(design.trials)}
    trials = {trial.id: trial for trial in design.trials}
    for again in design.of_kind("repeat"):
        first = trials[again.repeats]
        assert (first.kind, first.clip, first.a, first.b) == ("main", again.clip, again.b, again.a)
        assert place[again.id] - place[first.id] >= 5
    assert len({trial.repeats for trial in design.of_kind("repeat")}) == 6


def test_catch_trials_set_the_truth_against_the_controls_in_turn() -> None:
    songs = {f"s{number}": [f"c{number}"] for number in range(6)}
    plan = Plan(trials=6, catch=4, repeats=0)
    design = make_design(
        systems=("model", "random"),
        controls=("noise", "silence"),
        songs=songs,
        run=RUN,
        arm="isolated",
        plan=plan,
    )
    catch = design.of_kind("catch")
    assert Counter(frozenset((t.a, t.b)) for t in catch) == {
        frozenset(("truth", "noise")): 2,
        frozenset(("truth", "silence")): 2,
    }


# ---- order


@given(st.lists(st.integers(0, 3), min_size=1, max_size=14), st.randoms(use_true_random=False))
def test_an_order_is_found_exactly_where_there_is_one(kinds, random) -> None:
    wishes = [random.random() for _ in kinds]
    possible = max(Counter(kinds).values()) <= (len(kinds) + 1) // 2
    if not possible:
        with pytest.raises(UsageError, match="twice in a row"):
            order_apart(range(len(kinds)), kinds, wishes)
        return
    order = order_apart(range(len(kinds)), kinds, wishes)
    assert sorted(order) == list(range(len(kinds)))
    assert all(kinds[one] != kinds[other] for one, other in pairwise(order))


def test_wishes_are_met_where_nothing_is_in_the_way() -> None:
    assert order_apart("abcd", "wxyz", [0.4, 0.1, 0.3, 0.2]) == list("bdca")


# ---- seeds and ids


def test_a_seed_and_a_run_decide_everything() -> None:
    assert design_of(seed=3) == design_of(seed=3)
    assert design_of(seed=3).kit == design_of(seed=3).kit
    for other in (design_of(seed=4), design_of(seed=3, run="77" * 32)):
        assert other.kit != design_of(seed=3).kit
        assert clips(other) != clips(design_of(seed=3))
        assert not {t.id for t in other.trials} & {t.id for t in design_of(seed=3).trials}


def test_ids_are_drawn_and_of_one_form() -> None:
    ids = [trial.id for trial in design_of(systems=SYSTEMS).trials]
    assert len(set(ids)) == len(ids)
    assert {len(id) for id in ids} == {16}
    assert sorted(ids) != ids


# ---- JSON


def test_json_there_and_back() -> None:
    design = design_of(systems=SYSTEMS)
    again = Design.from_json(design.to_json(), where="key.json")
    assert again == design
    assert again.kit == design.kit == json.loads(design.to_json())["kit"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "not the key of a listening test"),
        ("[]", "not the key of a listening test"),
        ('{"format": 1}', "not the key of a listening test"),
        ('{"format": 9}', "is of format 9"),
    ],
)
def test_what_is_no_key_is_refused(text: str, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        Design.from_json(text, where="'key.json'")


def test_a_changed_key_is_refused() -> None:
    text = design_of().to_json()
    changed = text.replace('"a": "model"', '"a": "random"', 1)
    assert changed != text
    with pytest.raises(UsageError, match="changed by hand"):
        Design.from_json(changed, where="'key.json'")


# ---- refusals


@pytest.mark.parametrize(
    ("plan", "message"),
    [
        ({"trials": 0}, "--trials is 0"),
        ({"catch": -1}, "--catch is -1"),
        ({"trials": 3, "repeats": 4}, "--repeats is 4; give 0 to 3"),
        ({"trials": 499}, "come to 507 trials"),
        ({"listen_seconds": -0.5}, "--listen-seconds is -0.5"),
    ],
)
def test_a_plan_out_of_range_is_refused(plan: dict, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        Plan(**plan)


@pytest.mark.parametrize("systems", [(), ("model",), ("model", "model")])
def test_fewer_than_two_systems_are_refused(systems: tuple[str, ...]) -> None:
    with pytest.raises(UsageError, match="two systems or more"):
        design_of(systems=systems)


def test_a_single_clip_is_refused() -> None:
    with pytest.raises(UsageError, match="two clips or more"):
        design_of(songs=1)


def test_what_a_choice_stands_for() -> None:
    trial = Trial(id="x", kind="main", clip="c", a="model", b="truth")
    assert [trial.chosen(choice) for choice in ("a", "b", "same")] == ["model", "truth", None]

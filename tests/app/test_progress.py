"""Estimates against a job whose course is known, and what is shown of them."""

import io

import pytest
from rich.console import Console

from hafm.app.display import PlainDisplay, SilentDisplay, TerminalDisplay, display
from hafm.estimate import Estimate, Estimator, Phase
from hafm.generate.phases import phases
from hafm.progress import Progress
from hafm.stages.spec import COARSE, FINE, SEMANTIC

SPECS = (SEMANTIC, COARSE, FINE)


def follow(
    seconds_per_frame: dict[str, float], *, seconds: float = 10.0
) -> list[tuple[float, float, Estimate]]:
    """Runs a job at given speeds: (time, true seconds left, estimate) after every frame."""
    parts = phases(SPECS, seconds)
    whole = sum(part.frames * seconds_per_frame[part.name] for part in parts)
    job, now, course = Estimator(parts), 100.0, []
    job.start(now=now)
    for part in parts:
        for done in range(1, part.frames + 1):
            now += seconds_per_frame[part.name]
            course.append((now, 100.0 + whole - now, job.update(part.name, done=done, now=now)))
    return course


def test_the_estimate_is_right_where_costs_are_as_expected() -> None:
    for _, left, estimate in follow({"semantic": 0.01, "coarse": 0.04, "fine": 0.04})[5:]:
        assert estimate.seconds_left == pytest.approx(left, rel=1e-6, abs=1e-6)


def test_a_bar_over_frames_would_be_wrong() -> None:
    """The control: without the costs, the first stage would promise a third of the true time."""
    parts = [Phase(name=part.name, frames=part.frames, cost=1.0) for part in phases(SPECS, 10.0)]
    job = Estimator(parts)
    job.start(now=0.0)
    job.update("semantic", done=1, now=0.01)
    estimate = job.update("semantic", done=500, now=5.0)
    assert estimate.seconds_left is not None
    assert estimate.seconds_left < 0.4 * (750 + 750) * 0.04


@pytest.mark.parametrize("factor", [0.5, 2.0])
def test_the_estimate_corrects_itself(factor: float) -> None:
    """A stage is twice as cheap or dear as expected: a quarter into it, the estimate is right to 15 %."""
    course = follow({"semantic": 0.01, "coarse": 0.04 * factor, "fine": 0.04 * factor})
    for _, left, estimate in course[500 + 190 :]:
        assert estimate.seconds_left == pytest.approx(left, rel=0.15, abs=0.1)


def test_the_share_never_falls_and_ends_at_one() -> None:
    shares = [estimate.share for _, _, estimate in follow({"semantic": 0.01, "coarse": 0.2, "fine": 0.001})]
    assert shares == sorted(shares)
    assert shares[-1] == 1.0
    assert shares[0] < shares[9] < 0.05


def test_the_loading_of_a_stage_is_not_taken_for_its_speed() -> None:
    job = Estimator(phases((SEMANTIC, FINE), 10.0))
    job.start(now=0.0)
    for done in range(1, 501):
        job.update("semantic", done=done, now=7.0 + 0.01 * done)  # it took 7 s to hear the vocal
    left = job.update("fine", done=1, now=12.0 + 30.0).seconds_left  # and 30 s to load the next stage
    assert left == pytest.approx(749 * 0.04, rel=1e-6)


def test_before_the_first_frame_there_is_no_speed() -> None:
    job = Estimator(phases(SPECS, 1.0))
    job.start(now=0.0)
    assert job.update("semantic", done=0, now=3.0) == Estimate(stage="semantic", share=0.0, seconds_left=None)


def test_stages_out_of_turn_are_a_mistake() -> None:
    job = Estimator(phases(SPECS, 1.0))
    job.start(now=0.0)
    job.update("coarse", done=1, now=1.0)
    with pytest.raises(AssertionError, match="out of turn"):
        job.update("semantic", done=1, now=2.0)


def test_plain_lines_are_sparse() -> None:
    lines: list[str] = []
    times = iter(range(10_000))
    plain = PlainDisplay(lines.append, now=lambda: 0.001 * next(times))
    for step in range(1001):
        plain.show(Estimate(stage="coarse", share=step / 1000, seconds_left=1.0))
    assert len(lines) == 1
    lines.clear()
    slow = PlainDisplay(lines.append, now=lambda: 60.0 * next(times))
    for step in range(1001):
        slow.show(Estimate(stage="coarse", share=step / 1000, seconds_left=100.4))
    assert len(lines) == 11
    assert lines[5] == "hafm: coarse codes, 50 %, 1:40 left"


def test_what_is_shown_where() -> None:
    log, terminal = io.StringIO(), io.StringIO()
    with display(Console(file=log), quiet=True) as shown:
        assert isinstance(shown, SilentDisplay)
    with display(Console(file=log), quiet=False) as shown:
        assert isinstance(shown, PlainDisplay)
        shown.step("reading [bold]")
    assert log.getvalue() == "hafm: reading [bold]\n"
    with display(Console(file=terminal, force_terminal=True, width=100), quiet=False) as shown:
        assert isinstance(shown, TerminalDisplay)
        shown.step("getting ready")
        report = shown.generation(Estimator(phases(SPECS, 1.0)))
        report("semantic", 25)
        report("coarse", 75)
        shown.step("writing")
    assert "writing" in terminal.getvalue()
    assert terminal.getvalue().endswith("\x1b[2K")  # the line is gone when the work is done


def test_items_are_counted_and_the_clock_starts_with_the_first(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ten of a hundred were done before; loading takes a minute, each item then a second."""
    now = iter([0.0, 60.0, 70.0, 80.0])
    monkeypatch.setattr("hafm.app.display.time.monotonic", lambda: next(now))
    seen: list[tuple[str, float, float | None]] = []

    class Display(SilentDisplay):
        def show_items(self, estimate: Estimate, counted: str) -> None:
            seen.append((counted, estimate.share, estimate.seconds_left))

    report = Display().follow()
    for done in (10, 11, 21, 31):
        report(Progress(step="preparing", done=done, total=100))
    assert seen == [
        ("10 of 100", 0.10, None),
        ("11 of 100", 0.11, None),
        ("21 of 100", 0.21, pytest.approx(79.0)),
        ("31 of 100", 0.31, pytest.approx(69.0)),
    ]


def test_lines_of_items_come_every_half_minute() -> None:
    lines: list[str] = []
    times = iter(range(0, 10_000, 4))
    plain = PlainDisplay(lines.append, now=lambda: float(next(times)))
    for done in range(16):
        estimate = Estimate(stage="preparing", share=done / 2000, seconds_left=7384.0)
        plain.show_items(estimate, f"{done:,} of 2,000")
    assert lines == [
        "hafm: preparing 0 of 2,000, 0 %, 2:03:04 left",
        "hafm: preparing 8 of 2,000, 0 %, 2:03:04 left",
    ]

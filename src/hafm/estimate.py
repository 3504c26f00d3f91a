"""How far a whole job is, and how long it will still take, from the progress of its stages.

In: how many frames each stage has to make and what a frame is expected to cost; then, as the job goes, who
has made how many frames by when. Out: the share of the job that is done, and the seconds left.

A frame of the coarse stage is four steps of its model and a frame of the semantic stage is one, so a bar
over frames would lie. The expected costs need only be right in proportion: the seconds that one unit of
cost takes are measured on the way, and as soon as a stage runs, its own speed counts more and more. A stage
runs from its first report on; what is before that (loading its weights) is not a matter of frames:

    seconds a frame = (seconds of running + P * expected) / (frames made while running + P)
    expected        = cost of a frame * what a unit of cost took in the stages before
    P               = 3 % of the frames of this stage

Stages to come are expected to run as fast for their cost as this one does.
"""

from collections.abc import Sequence
from dataclasses import dataclass

__all__ = ["Estimate", "Estimator", "Phase"]

_TRUST_AFTER = 0.03


@dataclass(frozen=True, kw_only=True)
class Phase:
    """A part of the job.

    Args:
        name: of the stage.
        frames: how many it makes, 1 or more.
        cost: of a frame, above 0, in any unit that all phases share.
    """

    name: str
    frames: int
    cost: float


@dataclass(frozen=True, kw_only=True)
class Estimate:
    """How far the job is.

    Args:
        stage: what runs.
        share: of the job's time that has passed, 0 to 1; it never falls.
        seconds_left: until the last frame; None while that is unknown.
    """

    stage: str
    share: float
    seconds_left: float | None


class Estimator:
    """Follows a job. Time is handed in, so that it can be tested.

    Args:
        phases: the parts of the job in the order in which they run.

    >>> first = Phase(name="semantic", frames=51, cost=1.0)
    >>> job = Estimator([first, Phase(name="coarse", frames=101, cost=2.0)])
    >>> job.start(now=0.0)
    >>> job.update("semantic", done=1, now=5.0)
    Estimate(stage='semantic', share=0.0, seconds_left=None)
    >>> halfway = job.update("semantic", done=26, now=10.0)  # 0.2 s per frame, and 101 of twice that to come
    >>> f"{halfway.share:.2f} done, {halfway.seconds_left:.1f} s left"
    '0.18 done, 45.4 s left'
    """

    def __init__(self, phases: Sequence[Phase]) -> None:
        self._phases = list(phases)
        self._began = self._last = 0.0
        self._share = 0.0
        self._index = -1
        self._first_done, self._first_now = 0, 0.0
        # Of the stages before the one that runs, while they ran.
        self._cost_before = self._seconds_before = 0.0

    def start(self, *, now: float) -> None:
        """The job begins."""
        self._began = self._last = now

    def update(self, stage: str, *, done: int, now: float) -> Estimate:
        """A stage has made `done` frames. Stages come in the order of the phases; one may be passed over."""
        self._enter(stage, done, now)
        phase = self._phases[self._index]
        done = min(done, phase.frames)
        self._last = now
        left = self._seconds_left(phase, done, now)
        if left is not None and now > self._began:
            passed = now - self._began
            self._share = max(self._share, passed / (passed + left))
        return Estimate(stage=stage, share=self._share, seconds_left=left)

    def _enter(self, stage: str, done: int, now: float) -> None:
        """Closes the books of the stage before, if this is another."""
        if self._index >= 0 and self._phases[self._index].name == stage:
            return
        names = [phase.name for phase in self._phases]
        assert stage in names[self._index + 1 :], f"{stage} comes out of turn; the order is {names}"
        if self._index >= 0:
            phase = self._phases[self._index]
            self._cost_before += (phase.frames - self._first_done) * phase.cost
            self._seconds_before += self._last - self._first_now
        self._index = names.index(stage)
        self._first_done, self._first_now = done, now

    def _seconds_left(self, phase: Phase, done: int, now: float) -> float | None:
        """None while no speed is known: at the first report of the first stage."""
        running, made = now - self._first_now, done - self._first_done
        if self._cost_before > 0:
            trust = _TRUST_AFTER * phase.frames
            expected = phase.cost * self._seconds_before / self._cost_before
            a_frame = (running + trust * expected) / (made + trust)
        elif made > 0:
            a_frame = running / made
        else:
            return None
        to_come = sum(each.frames * each.cost for each in self._phases[self._index + 1 :])
        return (phase.frames - done) * a_frame + to_come * a_frame / phase.cost

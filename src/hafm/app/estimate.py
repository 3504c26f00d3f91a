"""How far a whole job is, and how long it will still take, from the progress of its stages.

In: how many frames each stage has to make and what a frame is expected to cost; then, as the job goes, who
has made how many frames by when. Out: the share of the job that is done, and the seconds left.

A frame of the coarse stage is four steps of its model and a frame of the semantic stage is one, so a bar
over frames would lie. The expected costs need only be right in proportion: the seconds that one unit of
cost takes are measured on the way, and as soon as a stage runs, its own speed counts more and more:

    seconds a frame = (seconds in this stage + P * expected) / (frames in this stage + P)
    expected        = cost of a frame * (seconds before this stage) / (cost before this stage)
    P               = 5 % of the frames of this stage

and stages to come are expected to run as fast for their cost as this one does.
"""

from collections.abc import Sequence
from dataclasses import dataclass

__all__ = ["Estimate", "Estimator", "Phase"]

_TRUST_AFTER = 0.05


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
        seconds_left: until the last frame; None while that cannot be told.
    """

    stage: str
    share: float
    seconds_left: float | None


class Estimator:
    """Follows a job. Time is handed in, so that it can be tested.

    Args:
        phases: the parts of the job in the order in which they run.

    >>> semantic, coarse = Phase(name="semantic", frames=50, cost=1.0), Phase(name="coarse", frames=100, cost=2.0)
    >>> job = Estimator([semantic, coarse])
    >>> job.start(now=0.0)
    >>> job.update("semantic", done=50, now=10.0)
    Estimate(stage='semantic', share=0.2, seconds_left=40.0)
    >>> job.update("coarse", done=100, now=50.0)
    Estimate(stage='coarse', share=1.0, seconds_left=0.0)
    """

    def __init__(self, phases: Sequence[Phase]) -> None:
        self._phases = list(phases)
        self._index = 0
        self._began = self._stage_began = self._last = 0.0
        self._share = 0.0

    def start(self, *, now: float) -> None:
        """The job begins."""
        self._began = self._stage_began = self._last = now

    def update(self, stage: str, *, done: int, now: float) -> Estimate:
        """A stage has made `done` frames. Stages come in the order of the phases; one may be passed over."""
        names = [phase.name for phase in self._phases]
        assert stage in names[self._index :], f"{stage} comes out of turn; the order is {names}"
        if names[self._index] != stage:
            self._index = names.index(stage)
            self._stage_began = self._last
        self._last = now
        left = self._seconds_left(min(done, self._phases[self._index].frames), now)
        if left is not None:
            passed = now - self._began
            self._share = max(self._share, passed / (passed + left) if passed + left > 0 else 0.0)
        return Estimate(stage=stage, share=self._share, seconds_left=left)

    def _seconds_left(self, done: int, now: float) -> float | None:
        """None before the first frame: there is no speed yet."""
        phase = self._phases[self._index]
        finished_cost = sum(each.frames * each.cost for each in self._phases[: self._index])
        if finished_cost == 0 and done == 0:
            return None
        if self._index > 0:  # what the stages before this one tell
            expected = phase.cost * (self._stage_began - self._began) / finished_cost
            trust = _TRUST_AFTER * phase.frames
            a_frame = (now - self._stage_began + trust * expected) / (done + trust)
        else:
            a_frame = (now - self._stage_began) / done
        to_come = sum(each.frames * each.cost for each in self._phases[self._index + 1 :])
        return (phase.frames - done) * a_frame + to_come * a_frame / phase.cost

"""What a generation consists of, for an estimate of the time that it takes.

In: the stages that will run, and how long the vocal is. Out: their frames, and what a frame of each costs in
proportion (`hafm.estimate` has the rest).
"""

from collections.abc import Sequence

from hafm.estimate import Phase
from hafm.stages.spec import StageSpec

__all__ = ["phases"]


def phases(specs: Sequence[StageSpec], seconds: float) -> list[Phase]:
    """What a job consists of, for its estimate: a frame costs its steps times the work of one.

    >>> from hafm.stages.spec import COARSE, SEMANTIC
    >>> [(phase.name, phase.frames, phase.cost) for phase in phases([SEMANTIC, COARSE], 10.0)]
    [('semantic', 500, 24.0), ('coarse', 750, 96.0)]
    """
    return [
        Phase(
            name=spec.name,
            frames=max(1, round(seconds * spec.target.frame_rate)),
            cost=_cost_of_a_frame(spec),
        )
        for spec in specs
    ]


def _cost_of_a_frame(spec: StageSpec) -> float:
    """A small layer takes the time of its calls, whatever its width; at 512 that has doubled."""
    products = (spec.width / 512) ** 2
    if spec.pattern == "parallel":  # a pass is one call for many frames, whose products run twice as fast
        return spec.target.num_codebooks * spec.num_layers * products / 2
    steps = spec.target.num_codebooks if spec.pattern == "flat" else 1
    return steps * spec.num_layers * (1 + products)

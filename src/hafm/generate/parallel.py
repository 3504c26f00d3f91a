"""All frames of a codebook at once, codebook after codebook: stages of pattern ``parallel``.

In: conditions ``[B, K, F]`` a source, and windows that cover all frames. Out: codes ``[B, K, F]``. Row b is
take b.

    pass k     every window scores codebook k in all its frames, from the condition and the codebooks below;
               of what two windows share, each gives the half that lies further inside it:

    window 0   [        kept       |    ]
    window 1                  [    |kept|    ]
    window 2                       [    |   kept     ]
    codebook k [       of 0        |of 1|of 2        ]     one code a frame: all windows see it in pass k + 1

So the scores of a frame depend on what lies in its own window and on nothing else. Where a stage looks no
further in a pass than the frames that a window has beyond those it gives, windows choose what one window over
the whole sound would have chosen. Memory is that of one window.

Codes of one pass do not see each other. Drawn apart, each from its own distribution, they would go together
less well than the likeliest ones; ``sampling.LIKELIEST`` are the settings that callers give, as VALL-E does.

A take's codes depend on its own condition and generator only, bit for bit, as in ``hafm.generate.decode``.

Source: VALL-E (Wang et al. 2023), section 4.2.2; the windows are ours.
"""

from collections.abc import Callable, Iterator, Sequence
from itertools import pairwise

import torch
from jaxtyping import Float, Int
from torch import Tensor

from hafm.device import exact_device
from hafm.engine.session import StageSession
from hafm.generate.guidance import Guidance
from hafm.generate.plan import Window, conditions_of
from hafm.generate.sampling import SamplingSettings, sample
from hafm.progress import OnProgress, Progress
from hafm.stages.stage_model import StageModel

__all__ = ["generate_parallel"]


def generate_parallel(
    model: StageModel,
    conditions: tuple[Int[Tensor, "B _K _F"], ...],
    *,
    windows: Sequence[Window],
    codes: Int[Tensor, "B K F"],
    settings: SamplingSettings,
    generators: list[torch.Generator],
    session: StageSession | None = None,
    before: Callable[[Window], None] | None = None,
    on_step: OnProgress | None = None,
) -> Iterator[int]:
    """Generates the codes of all windows; see `hafm.generate.decode.decode_frames`.

    Args:
        conditions: one tensor a source, F as ``model.spec.source_frames`` says for all frames; what goes with
            a window is looked at when its first pass is made.
        windows: of :func:`hafm.generate.plan.plan_windows`, at least one.
        generators: one a take, on the CPU; each moves on by one number a token.
        before: called before the first pass of a window.
        on_step: called after every window of every pass; what it raises stops the run.

    Yields:
        How many frames have all their codes, whenever there are more.
    """
    assert not model.training, "generation needs model.eval(): in training mode rows influence each other"
    B, K, F = codes.shape
    numbers = [torch.rand(F, K, generator=take, dtype=torch.float64) for take in generators]
    uniform = torch.stack(numbers).to(exact := exact_device(codes.device))
    kept = _kept(windows)
    guidance = Guidance.of(settings, has_guide=False)
    for done, (number, k) in enumerate(_order(windows, kept, num_passes=K), start=1):
        window, (first, last) = windows[number], kept[number]
        if k == 0 and before is not None:
            before(window)
        with torch.inference_mode():
            scores = _scores(
                model,
                codes[:, :, window.start : window.stop],
                conditions_of(window, conditions, spec=model.spec),
                codebook=k,
                guidance=guidance,
                session=session,
            )[:, first - window.start : last - window.start]
            tokens = sample(
                scores.flatten(0, 1).to(exact),
                settings=settings,
                uniform=uniform[:, first:last, k].flatten(),
            )
            codes[:, k, first:last] = tokens.unflatten(0, (B, -1)).to(codes.device)
        if on_step is not None:
            on_step(Progress(step=model.spec.name, done=F * done // (K * len(windows)), total=F))
        if k == K - 1:
            yield last


def _kept(windows: Sequence[Window]) -> list[tuple[int, int]]:
    """The frames that each window gives: neighbours part in the middle of what they share.

    >>> from hafm.generate.plan import plan_windows
    >>> _kept(plan_windows(20, window_frames=10, overlap_frames=4))
    [(0, 8), (8, 13), (13, 20)]
    """
    borders = [(one.stop + other.start) // 2 for one, other in pairwise(windows)]
    return list(pairwise([windows[0].start, *borders, windows[-1].stop]))


def _order(
    windows: Sequence[Window], kept: Sequence[tuple[int, int]], *, num_passes: int
) -> Iterator[tuple[int, int]]:
    """Window and pass of every piece of work: the first windows are whole while the last wait for their turn.

    A window's pass needs the codes of the pass before in all its frames, and so the windows that give them.

    >>> from hafm.generate.plan import plan_windows
    >>> windows = plan_windows(20, window_frames=10, overlap_frames=4)
    >>> list(_order(windows, _kept(windows), num_passes=2))
    [(0, 0), (1, 0), (0, 1), (2, 0), (1, 1), (2, 1)]
    """
    ahead = max(
        other - number
        for number, window in enumerate(windows)
        for other, (first, _) in enumerate(kept)
        if first < window.stop
    )
    for wave in range(len(windows) + ahead * (num_passes - 1)):
        for k in range(num_passes):
            if 0 <= wave - ahead * k < len(windows):
                yield wave - ahead * k, k


def _scores(
    model: StageModel,
    codes: Int[Tensor, "B K F"],
    conditions: tuple[Int[Tensor, "B _K _F"], ...],
    *,
    codebook: int,
    guidance: Guidance,
    session: StageSession | None,
) -> Float[Tensor, "B F V"]:
    """The guided scores of one codebook in a window; rows of a take as in ``hafm.generate.decode``."""
    together, drop = guidance.num_rows, guidance.without_sources(len(codes), device=codes.device)
    codes = codes.repeat_interleave(together, dim=0)
    conditioned = model.condition(
        tuple(ids.repeat_interleave(together, dim=0) for ids in conditions),
        target_frames=codes.shape[2],
        drop=drop,
    )
    scores = model.predict_codebook(
        codes,
        conditioned,
        codebook=codes.new_full((len(codes),), codebook),
        together=together,
        transformer=None if session is None else session.hidden,
    )
    return guidance.join(scores)

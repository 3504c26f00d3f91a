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
less well than the likeliest ones; :data:`LIKELIEST` are the settings that callers give, as VALL-E does.

A take's codes depend on its own condition and generator only, bit for bit, as in ``hafm.generate.decode``.

Source: VALL-E (Wang et al. 2023), section 4.2.2; the windows are ours.
"""

from collections.abc import Sequence
from itertools import pairwise

import torch
from jaxtyping import Float, Int
from torch import Tensor

from hafm.generate.guidance import Guidance
from hafm.generate.plan import Window, conditions_of
from hafm.generate.sampling import SamplingSettings, sample
from hafm.progress import OnProgress, Progress
from hafm.stages.stage_model import StageModel

__all__ = ["LIKELIEST", "generate_parallel"]

LIKELIEST = SamplingSettings(temperature=0.0, top_k=1, guidance=1.0)
"""The likeliest code of every frame, under the condition as trained."""


def generate_parallel(
    model: StageModel,
    conditions: tuple[Int[Tensor, "B _K _F"], ...],
    *,
    windows: Sequence[Window],
    settings: SamplingSettings,
    generators: list[torch.Generator],
    on_step: OnProgress | None = None,
) -> Int[Tensor, "B K F"]:
    """Generates the codes of all windows together.

    Args:
        model: the stage, in evaluation mode, of pattern ``parallel``.
        conditions: one tensor a source, F as ``model.spec.source_frames`` says for all frames.
        windows: of :func:`hafm.generate.plan.plan_windows`, at least one.
        settings: how tokens are drawn.
        generators: one a take, on the CPU; each moves on by one number a token.
        on_step: told after every window of every pass; what it raises stops the run.

    Returns:
        Codes of every take, on the model's device.

    Raises:
        BundleError: the model's logits are not finite.
    """
    assert not model.training, "generation needs model.eval(): in training mode rows influence each other"
    B, K, F = len(generators), model.spec.target.num_codebooks, windows[-1].stop
    device = model.heads.device
    codes = torch.zeros(B, K, F, dtype=torch.long, device=device)
    numbers = [torch.rand(F, K, generator=take, dtype=torch.float64) for take in generators]
    uniform = torch.stack(numbers).to(device)
    kept = _kept(windows)
    with torch.inference_mode():
        for k in range(K):
            chosen = torch.empty_like(codes[:, k])
            for window, (first, last) in zip(windows, kept, strict=True):
                scores = _scores(
                    model,
                    codes[:, :, window.start : window.stop],
                    conditions_of(window, conditions, spec=model.spec),
                    codebook=k,
                    guidance=Guidance.of(settings, has_guide=False),
                )[:, first - window.start : last - window.start]
                tokens = sample(
                    scores.flatten(0, 1), settings=settings, uniform=uniform[:, first:last, k].flatten()
                )
                chosen[:, first:last] = tokens.unflatten(0, (B, -1))
                if on_step is not None:
                    on_step(Progress(step=model.spec.name, done=(k * F + last) // K, total=F))
            codes[:, k] = chosen
    return codes


def _kept(windows: Sequence[Window]) -> list[tuple[int, int]]:
    """The frames that each window gives: neighbours part in the middle of what they share.

    >>> from hafm.generate.plan import plan_windows
    >>> _kept(plan_windows(20, window_frames=10, overlap_frames=4))
    [(0, 8), (8, 13), (13, 20)]
    """
    borders = [(one.stop + other.start) // 2 for one, other in pairwise(windows)]
    return list(pairwise([windows[0].start, *borders, windows[-1].stop]))


def _scores(
    model: StageModel,
    codes: Int[Tensor, "B K F"],
    conditions: tuple[Int[Tensor, "B _K _F"], ...],
    *,
    codebook: int,
    guidance: Guidance,
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
        codes, conditioned, codebook=codes.new_full((len(codes),), codebook), together=together
    )
    return guidance.join(scores)

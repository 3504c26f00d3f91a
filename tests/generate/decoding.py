"""A whole window of codes by `decode_frames`, for tests."""

from typing import Any

import torch
from torch import Tensor

from hafm.generate.decode import decode_frames
from hafm.stages.stage_model import StageModel


def decode(
    model: StageModel,
    conditions: tuple[Tensor, ...],
    *,
    target_frames: int,
    generators: list[torch.Generator],
    prompt: Tensor | None = None,
    **others: Any,
) -> Tensor:
    """Codes of all takes; the prompt, if there is one, comes first."""
    known = 0 if prompt is None else prompt.shape[2]
    shape = (len(generators), model.spec.target.num_codebooks, target_frames)
    codes = torch.full(shape, model.target_embedding.bos, device=model.heads.device)
    if prompt is not None:
        codes[:, :, :known] = prompt
    for _ in decode_frames(model, conditions, codes=codes, known=known, generators=generators, **others):
        pass
    return codes

"""One window of target tokens, step by step, for several takes at once.

In: conditions ``[B, K, F]`` a source, perhaps a prompt ``[B, K, P]``. Out: codes ``[B, K, F]``, the
prompt first. Row b is take b.

             prefill, one pass                         steps, one position each
    take 0   [condition prefix][BOS p p p p]           [t] -> [t] -> [t] -> ...    row 0
             [dropped prefix  ][BOS p p p p]           [t] -> [t] -> [t] -> ...    row 1
    take 1   [condition prefix][BOS p p p p]           [t] -> [t] -> [t] -> ...    row 2
             [dropped prefix  ][BOS p p p p]           [t] -> [t] -> [t] -> ...    row 3

Both rows of a take see the same tokens; the second has its condition dropped, and eq. 5 joins the logits
of both into those that are drawn from. With guidance 1 the second would not count and is left out; a guide
with a weight of its own makes it three (`hafm.generate.guidance`).

With ``pattern="flat"`` a step gives one token, with ``"delay"`` one of every codebook
(`hafm.tokens.pattern`). The first step after a delayed prompt of P frames draws codebook 0 of frame P alone:
the codebooks above it are still at frames before P, which are known.

A take's tokens depend on its own condition, prompt and generator only, bit for bit (on one machine
and with one number of threads): no operation on the way lets takes influence each other.

Source: paper 3.5.
"""

from collections.abc import Callable, Iterator, Sequence

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from hafm.device import exact_device
from hafm.engine.session import StageSession
from hafm.engine.torch_steps import TorchSteps
from hafm.generate.guidance import Guidance
from hafm.generate.sampling import SamplingSettings, sample
from hafm.progress import OnProgress, Progress
from hafm.stages.stage_model import Conditioned, StageModel, StepEmbedding

__all__ = ["Stepper", "decode_frames"]


def decode_frames(
    model: StageModel,
    conditions: tuple[Int[Tensor, "B _K _F"], ...],
    *,
    codes: Int[Tensor, "B K F"],
    known: int,
    settings: SamplingSettings,
    generators: list[torch.Generator],
    guide: Float[Tensor, "B _F G"] | None = None,
    session: StageSession | None = None,
    on_step: OnProgress | None = None,
) -> Iterator[int]:
    """Generates codes into memory of the caller, a frame whenever the caller asks for the next.

    Args:
        model: the stage, in evaluation mode.
        conditions: one tensor a source, F as ``model.spec.source_frames`` says of the frames of the codes.
        codes: the first ``known`` frames are the prompt; the others are filled in.
        known: how many are, 0 or more.
        settings: how tokens are drawn.
        generators: one a take, on the CPU; each moves on by one number a generated token.
        guide: of every take, for a guided stage; None where nothing is known.
        session: runs the stage's Transformer in ONNX Runtime; None for PyTorch.
        on_step: called after every frame; what it raises stops the run.

    Yields:
        How many frames there are, the prompt's included.

    Raises:
        BundleError: the model's logits are not finite.

    >>> from dataclasses import replace
    >>> from hafm.stages.spec import SEMANTIC
    >>> model = StageModel(replace(SEMANTIC, width=32, num_heads=2, num_layers=1)).eval()
    >>> vocal, codes = torch.zeros(2, 1, 10, dtype=torch.long), torch.zeros(2, 1, 10, dtype=torch.long)
    >>> takes = [torch.Generator().manual_seed(seed) for seed in (1, 2)]
    >>> made = decode_frames(
    ...     model, (vocal,), codes=codes, known=0, settings=SamplingSettings(), generators=takes
    ... )
    >>> list(made), codes.shape
    ([1, 2, 3, 4, 5, 6, 7, 8, 9, 10], torch.Size([2, 1, 10]))
    """
    assert not model.training, "decode() needs model.eval(): in training mode rows influence each other"
    B, K, F = codes.shape
    layout, device, bos = model.layout, model.heads.device, model.target_embedding.bos
    start_codes = codes.clone()
    start_codes[:, :, known:] = bos
    # What is drawn goes through the memory of the processor: `inputs` and `made`.
    steps = layout.spread(start_codes.cpu(), fill=bos)
    inputs = torch.cat([torch.full_like(steps[:, :, :1], bos), steps], dim=2)
    made = codes.cpu().clone()
    # One number per token, frame by frame, laid out as the tokens are: row by row, step by step.
    uniform = torch.zeros(B, K, F, dtype=torch.float64)
    for row, take in zip(uniform, generators, strict=True):
        row[:, known:] = torch.rand(F - known, K, generator=take, dtype=torch.float64).T
    numbers = layout.spread(uniform, fill=0).unbind(2)
    exact = exact_device(device)
    # Not around the loop: between two frames it is the caller's turn.
    with torch.inference_mode():
        guidance = Guidance.of(settings, has_guide=guide is not None)
        step = Stepper(model, conditions, target_frames=F, guidance=guidance, guide=guide, session=session)
    start, reported = 0, known
    grid, frames = inputs.numpy(), made.numpy()
    for position in range(layout.first_step(known), layout.num_steps(F) if known < F else 0):
        codebooks = layout.codebooks_of(position, num_frames=F, known=known)
        rows = layout.rows_of(codebooks)
        with torch.inference_mode():
            logits = step(inputs[:, :, start : position + 1], start=start, codebooks=codebooks)
            drawn = sample(
                logits.flatten(0, 1).to(exact),
                settings=settings,
                uniform=numbers[position][:, rows].flatten(),
            )
            tokens = drawn.cpu().numpy().reshape(B, -1)
            start = position + 1
            grid[:, rows, start] = tokens
            for codebook, ids in zip(codebooks, tokens.T, strict=True):
                frames[:, codebook, layout.frame_of_code(position, codebook=codebook)] = ids
            if (done := layout.whole_frames(start)) > reported:
                codes[:, :, reported:done] = made[:, :, reported:done].to(device)
        if done > reported:
            reported = done
            if on_step is not None:
                on_step(Progress(step=model.spec.name, done=done - known, total=F - known))
            yield done


class Stepper:
    """The guided logits after some target inputs, and what is kept from one step to the next.

    Args:
        guidance: which rows there are, and how they join.
    """

    def __init__(
        self,
        model: StageModel,
        conditions: tuple[Int[Tensor, "B _K _F"], ...],
        *,
        target_frames: int,
        guidance: Guidance,
        guide: Float[Tensor, "B _F G"] | None = None,
        session: StageSession | None = None,
    ) -> None:
        self.model = model
        self.guidance = guidance
        num_takes, device = conditions[0].shape[0], model.heads.device
        self.conditioned = _condition(
            model,
            tuple(ids.repeat_interleave(guidance.num_rows, dim=0) for ids in conditions),
            target_frames=target_frames,
            guide=None if guide is None else guidance.guide_of_rows(guide),
            drop=guidance.without_sources(num_takes, device=device),
        )
        self.embedding = StepEmbedding(model, self.conditioned, rows=guidance.num_rows)
        batch = num_takes * guidance.num_rows
        capacity = self.conditioned.num_prefix + model.layout.num_steps(target_frames)
        self.scores: _Scores
        if session is None:
            self.scores = TorchSteps(model, batch=batch, capacity=capacity, together=guidance.num_rows)
        else:
            self.scores = session.start(batch=batch, capacity=capacity)

    def __call__(
        self, inputs: Int[Tensor, "B R S"], *, start: int, codebooks: Sequence[int]
    ) -> Float[Tensor, "B N V"]:
        """Logits of N codebooks at the last of S steps: from 0 on with the first call, then one each."""
        inputs = inputs.to(self.model.heads.device)
        if start:
            x = self.embedding(inputs[:, :, 0], start)
        else:
            x = self.model.embed(inputs, self.conditioned, rows=self.guidance.num_rows)
            if self.conditioned.prefix is not None:
                x = torch.cat([self.conditioned.prefix, x], dim=1)
        return self.guidance.join(self.scores(x, codebooks))


_Scores = Callable[[Tensor, Sequence[int]], Tensor]
"""From embeddings ``[B, S, D]`` of new positions to logits ``[B, N, V]`` of N codebooks at the last one."""


def _condition(
    model: StageModel,
    conditions: tuple[Int[Tensor, "N _K _F"], ...],
    *,
    target_frames: int,
    guide: Float[Tensor, "N _F G"] | None,
    drop: Bool[Tensor, " N"],
) -> Conditioned:
    """The condition of every row; rows that are given the same share the work: takes of one vocal do."""
    first: dict[tuple[bytes, ...], int] = {}
    place = []
    for row, dropped in enumerate(drop.tolist()):
        seen = (() if dropped else conditions) + (() if guide is None else (guide,))
        key = tuple(each[row].cpu().numpy().tobytes() for each in seen)
        place.append(first.setdefault((bytes([dropped]), *key), row))
    rows = sorted(set(place))
    conditioned = model.condition(
        tuple(ids[rows] for ids in conditions),
        target_frames=target_frames,
        guide=None if guide is None else guide[rows],
        drop=drop[rows],
    )
    which = [rows.index(row) for row in place]
    prefix, slots = conditioned.prefix, conditioned.slots
    return Conditioned(
        prefix=None if prefix is None else prefix[which], slots=None if slots is None else slots[which]
    )

"""Makes the graphs of a bundle's stages for ONNX Runtime, from steps that PyTorch takes, and tests them.

In: a bundle. Out: for every stage its graph, and how far the graph's logits are from PyTorch's.

    demo vocal, 2.5 s  -> hear, show, play in PyTorch, two takes -> conditions and codes of every stage
      take 0 -> keys and values of every layer -> their largest, per channel -> graph
      take 1 -> logits at its own codes in PyTorch <- distance -> the same from the graph, prompt and steps

The vocal is the one that comes with hafm, so that the ranges are those of real steps, for everyone the same.
A graph that was made elsewhere is tested with codes that it makes itself; a bad one fails with bad codes.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor

from hafm.audio.io import read_audio
from hafm.device import one_thread
from hafm.engine.graph import KeyValueRange, stage_graph
from hafm.engine.session import StageSession
from hafm.generate.guidance import Guidance
from hafm.generate.plan import Window, conditions_of, guide_of
from hafm.generate.record import Settings
from hafm.generate.sampling import SamplingSettings
from hafm.generate.steps import codec_frames, hear, play, sheets_for, show
from hafm.stages.bundle import Bundle
from hafm.stages.stage_model import StageModel

__all__ = ["StageGraph", "make_graphs", "tested_graphs"]

_VOCAL = Path(__file__).parent.parent / "assets" / "demo_vocal.flac"
_SECONDS = 2.5
_MARGIN = 2.0
"""Over the largest key and value that was seen. What is cut off costs more than what is rounded: with the
built-in bundle's semantic stage, logits are 1.4 % off at 1.2, 0.6 % at 2 and at 2.5."""
_SETTINGS = Settings(seed=0, take=0, skip_fine=False, level_lufs=0.0, **asdict(SamplingSettings()))
_BOTH = Guidance(sources=_SETTINGS.guidance)  # the rows that generation has: with the condition and without


@dataclass(frozen=True, kw_only=True)
class StageGraph:
    """A graph, and its test.

    Args:
        content: bytes of an `.onnx`.
        logits_error: distance of its logits from PyTorch's, over the size of those.
    """

    content: bytes
    logits_error: float


def make_graphs(bundle: Bundle) -> dict[str, StageGraph]:
    """The graph of every stage, by name."""
    return _of_demo(bundle, _graph_of, takes=range(2))


def tested_graphs(bundle: Bundle, contents: Mapping[str, bytes]) -> dict[str, StageGraph]:
    """Graphs of all stages (the bytes of an `.onnx` each) that were made elsewhere, tested here.

    Raises:
        UsageError: this version of onnxruntime cannot run one.
        BundleError: the logits of one are not finite.
    """

    def tested(
        model: StageModel, conditions: tuple[Tensor, ...], guide: Tensor | None, codes: Tensor
    ) -> StageGraph:
        x = _first_window(model, conditions, guide, codes, take=0)
        return _tested(contents[model.spec.name], model, x)

    return _of_demo(
        bundle, tested, takes=range(1), session=lambda stage, model: StageSession(contents[stage], model)
    )


def _of_demo(
    bundle: Bundle,
    graph_of: Callable[[StageModel, tuple[Tensor, ...], Tensor | None, Tensor], StageGraph],
    *,
    takes: Sequence[int],
    session: Callable[[str, StageModel], StageSession] | None = None,
) -> dict[str, StageGraph]:
    """The graph of each stage, from its conditions, its guide and its codes of the demo vocal."""
    device, graphs = torch.device("cpu"), dict[str, StageGraph]()

    def on_stage(model: StageModel, *seen: Any) -> None:
        graphs[model.spec.name] = graph_of(model, *seen)

    with one_thread():
        vocal = read_audio(_VOCAL, seconds=_SECONDS)
        play(
            bundle,
            hear(bundle, vocal, seed=_SETTINGS.seed, device=device),
            guide=show(bundle, sheets_for(bundle, [None], [vocal]), vocal, device=device),
            num_frames=codec_frames(bundle, vocal),
            settings=_SETTINGS,
            takes=takes,
            device=device,
            session=session,
            on_stage=on_stage,
        )
    return graphs


def _graph_of(
    model: StageModel,
    conditions: tuple[Int[Tensor, "2 _K _F"], ...],
    guide: Float[Tensor, "2 _F G"] | None,
    codes: Int[Tensor, "2 K F"],
) -> StageGraph:
    """The graph of one stage: the first of two takes is measured, the second is tested with."""
    measured, other = (_first_window(model, conditions, guide, codes, take=take) for take in range(2))
    with torch.inference_mode():
        ranges = None if model.spec.pattern == "parallel" else _ranges(model, measured)
        content = stage_graph(model, ranges)
    return _tested(content, model, other)


def _first_window(
    model: StageModel,
    conditions: tuple[Int[Tensor, "B _K _F"], ...],
    guide: Float[Tensor, "B _F G"] | None,
    codes: Int[Tensor, "B K F"],
    *,
    take: int,
) -> Float[Tensor, "2 S D"]:
    """The Transformer's inputs in the first window of a take."""
    window = Window(start=0, stop=min(codes.shape[2], model.spec.target_frames), prompt=0)
    one = slice(take, take + 1)
    return _inputs(
        model,
        conditions_of(window, tuple(ids[one] for ids in conditions), spec=model.spec),
        guide=None if guide is None else guide_of(window, guide[one], spec=model.spec),
        codes=codes[one, :, : window.stop],
    )


def _tested(content: bytes, model: StageModel, x: Float[Tensor, "2 S D"]) -> StageGraph:
    """A graph with its error, which is infinite if its logits are not finite."""
    with torch.inference_mode():
        found, expected = _both_logits(model, StageSession(content, model), x)
        error = float((found - expected).norm() / expected.norm())
    return StageGraph(content=content, logits_error=error if math.isfinite(error) else math.inf)


def _inputs(
    model: StageModel,
    conditions: tuple[Int[Tensor, "1 _K _F"], ...],
    *,
    guide: Float[Tensor, "1 _F G"] | None,
    codes: Int[Tensor, "1 K F"],
) -> Float[Tensor, "2 S D"]:
    """The Transformer's inputs at all positions of a window, with its condition and without."""
    rows = _BOTH.num_rows
    conditioned = model.condition(
        tuple(ids.expand(rows, -1, -1) for ids in conditions),
        target_frames=codes.shape[2],
        guide=None if guide is None else _BOTH.guide_of_rows(guide),
        drop=_BOTH.without_sources(1, device=codes.device),
    )
    codes = codes.expand(rows, -1, -1)
    if model.spec.pattern == "parallel":
        assert conditioned.slots is not None, "parallel stages have aligned conditions"
        last = codes.new_full((rows,), codes.shape[1] - 1)
        return model.target_embedding.below(codes, codebook=last) + conditioned.slots
    grid = model.layout.spread(codes, fill=model.target_embedding.bos)
    x = model.embed(model.target_embedding.shift(grid), conditioned)
    return x if conditioned.prefix is None else torch.cat([conditioned.prefix, x], dim=1)


def _ranges(model: StageModel, x: Float[Tensor, "B S D"]) -> KeyValueRange:
    transformer = model.transformer
    cache = transformer.new_cache(batch=x.shape[0], capacity=x.shape[1])
    transformer(x, cache=cache)
    keys = cache.keys
    if transformer.bias is None:
        # Turning moves a point on a circle, to any place on it at some position.
        radius = torch.hypot(*keys.chunk(2, dim=-1))
        keys = torch.cat([radius, radius], dim=-1)
    return KeyValueRange(
        keys=keys.abs().amax((1, 3)) * _MARGIN, values=cache.values.abs().amax((1, 3)) * _MARGIN
    )


def _both_logits(
    model: StageModel, session: StageSession, x: Float[Tensor, "B S D"]
) -> tuple[Float[Tensor, "B N K V"], Float[Tensor, "B N K V"]]:
    """Of the graph and of PyTorch, at all positions behind a prompt of half of them."""
    B, S, _D = x.shape
    expected = torch.einsum("bsd,kdv->bskv", model.transformer(x), model.heads)
    if model.spec.pattern == "parallel":
        return torch.einsum("bsd,kdv->bskv", session.hidden(x), model.heads), expected
    prompt, codebooks = max(1, S // 2), range(model.heads.shape[0])
    steps = session.start(batch=B, capacity=S)
    found = [steps(x[:, :prompt], codebooks)]
    found += [steps(x[:, position : position + 1], codebooks) for position in range(prompt, S)]
    return torch.stack(found, dim=1), expected[:, prompt - 1 :]

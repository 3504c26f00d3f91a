"""One stage of HAFM: a Transformer that predicts target tokens under a condition.

In: conditions (one `[B, K, F]` per source), perhaps a guide `[B, F, G]`, and the target codes
`[B, K, F]`. Out: logits `[B, K, F, V]`. The same class is the semantic, the coarse and the fine stage;
a `StageSpec` makes the difference. Training calls the model whole; generation uses its parts step by step:

    condition(...)  ->  Conditioned: what precedes the target (prefix) or joins its slots (aligned)
    embed(...)      ->  inputs of some positions
    transformer(...) with a cache, then logits(...)

That is the way of stages that are causal. One of pattern `parallel` sees the condition of all frames and
all codebooks below, and `predict_codebook(...)` gives the scores of a codebook in all frames.

Source: paper 3.3-3.5, Fig. 2; VALL-E 4.2.2 for `parallel`.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from hafm.model.linear import Linear, by_rows, draw_normal
from hafm.model.training_attention import AttentionKind
from hafm.model.transformer import Transformer
from hafm.stages.embed import ConditionEmbedding, TargetEmbedding
from hafm.stages.spec import StageSpec


@dataclass(frozen=True)
class Conditioned:
    """The condition, ready for the Transformer: exactly one of the two is there."""

    prefix: Tensor | None
    """`[B, P, D]`: goes before the target."""
    slots: Tensor | None
    """`[B, S, D]`: is added to the target's slots."""

    @property
    def num_prefix(self) -> int:
        """Positions before the target."""
        return 0 if self.prefix is None else self.prefix.shape[1]


class StageModel(nn.Module):
    """One stage.

    Args:
        spec: its shapes.

    >>> from hafm.stages.spec import SEMANTIC, COARSE, FINE
    >>> with torch.device("meta"):
    ...     [round(StageModel(spec).num_parameters() / 1e6, 2) for spec in (SEMANTIC, COARSE, FINE)]
    [38.53, 42.47, 44.06]
    """

    def __init__(self, spec: StageSpec) -> None:
        super().__init__()
        self.spec = spec
        self.layout = spec.layout
        self.condition_embedding = ConditionEmbedding(spec)
        self.target_embedding = TargetEmbedding(spec)
        self.guide_embedding: Linear | None = None
        if spec.guide is not None:
            self.guide_embedding = Linear(spec.guide.channels, spec.width)
            draw_normal(self.guide_embedding.weight, std=spec.embedding_std)
        self.encoder: Transformer | None = None
        if spec.encoder_layers:
            self.encoder = self._transformer(
                spec.encoder_layers, causal=False, max_distance=max(spec.source_frames(spec.target_frames))
            )
            # A norm's output has unit size, which drowns token embeddings of the paper's size: the stage
            # would not see its own output. Much smaller than they are, it would not use its condition.
            nn.init.constant_(self.encoder.norm.weight, 2.5 * spec.embedding_std)
        self.transformer = self._transformer(
            spec.num_layers, causal=spec.pattern != "parallel", max_distance=spec.sequence_length
        )
        heads = torch.empty(spec.target.num_codebooks, spec.width, spec.target.cardinality)
        self.heads = nn.Parameter(draw_normal(heads, std=0.02))

    def _transformer(self, num_layers: int, *, causal: bool, max_distance: int) -> Transformer:
        spec = self.spec
        return Transformer(
            num_layers=num_layers,
            width=spec.width,
            num_heads=spec.num_heads,
            feedforward_multiplier=spec.feedforward_multiplier,
            num_buckets=spec.num_buckets,
            max_distance=max_distance,
            causal=causal,
            positions=spec.positions,
        )

    def compile_blocks(self) -> None:
        """Compiles the Transformers' blocks for training on a GPU, see model/transformer.py."""
        self.transformer.compile_blocks()
        if self.encoder is not None:
            self.encoder.compile_blocks()

    def num_parameters(self) -> int:
        """How many numbers are trained."""
        return sum(parameter.numel() for parameter in self.parameters())

    def condition(
        self,
        conditions: tuple[Int[Tensor, "B _K _F"], ...],
        *,
        target_frames: int,
        guide: Float[Tensor, "B _F G"] | None = None,
        drop: Bool[Tensor, " B"] | None = None,
        attention: AttentionKind = "auto",
    ) -> Conditioned:
        """Embeds the condition of `target_frames` target frames.

        Args:
            conditions: one `[B, K, F]` a source, F as `spec.source_frames(target_frames)` says.
            guide: as many frames as the sources have; None is a guide of zeros, in which nothing is known.
            drop: rows whose sources are left out. Their guide stays: leave it out with `drop_groups`.
            attention: of the two-way encoder in training, see model/training_attention.py.
        """
        expected = self.spec.source_frames(target_frames)
        got = tuple(ids.shape[2] for ids in conditions)
        assert got == expected, f"{self.spec.name}: sources of {got} frames, expected {expected}"
        assert guide is None or self.guide_embedding is not None, f"{self.spec.name}: no guide is expected"
        embedded = self.condition_embedding(conditions, drop)
        if self.spec.conditioning == "prefix":
            return Conditioned(prefix=torch.cat(embedded, dim=1), slots=None)
        frames = torch.stack(embedded).sum(0)
        guided = None if guide is None else self._embed_guide(guide)
        if guided is not None:
            frames = frames + guided
        if self.encoder is not None:
            frames = self.encoder(frames, attention=attention)
            if guided is not None:
                frames = frames + guided
        step = torch.arange(self.layout.num_steps(target_frames), device=frames.device)
        target_frame = self.layout.frame_of(step, num_frames=target_frames)
        # The source frame that sounds when the target frame begins, in exact arithmetic.
        ratio = self.spec.sources[0].frame_rate / self.spec.target.frame_rate
        source_frame = target_frame * ratio.numerator // ratio.denominator
        return Conditioned(prefix=None, slots=frames[:, source_frame])

    def _embed_guide(self, guide: Float[Tensor, "B F G"]) -> Float[Tensor, "B F D"]:
        assert self.guide_embedding is not None, "checked before"
        embedding = self.guide_embedding
        out: Tensor = embedding(guide) if self.training else by_rows(lambda rows, _: embedding(rows), guide)
        return out

    def embed(
        self, shifted: Int[Tensor, "B R S"], conditioned: Conditioned, *, start: int = 0, rows: int = 1
    ) -> Float[Tensor, "N S D"]:
        """Inputs of the target steps `start ... start + S - 1`, from the tokens before them.

        Args:
            shifted: the tokens.
            conditioned: of N = B * rows rows.
            start: the first step.
            rows: how many neighbouring rows of the condition share a row of tokens.
        """
        x: Tensor = self.target_embedding(shifted, start=start)[:, None]
        B, _, S, D = x.shape
        if conditioned.slots is not None:
            x = x + conditioned.slots[:, start : start + S].view(B, rows, S, D)
        return x.expand(B, rows, S, D).flatten(0, 1)

    def logits(
        self, hidden: Float[Tensor, "B D"], *, codebook: int, together: int = 1
    ) -> Float[Tensor, "B V"]:
        """Scores of the next token of one codebook; for `together` see model/transformer.py."""
        return by_rows(lambda rows, _: rows @ self.heads[codebook], hidden, together=together)

    def predict_codebook(
        self,
        codes: Int[Tensor, "B K F"],
        conditioned: Conditioned,
        *,
        codebook: Int[Tensor, " B"],
        together: int = 1,
        transformer: Callable[[Tensor], Tensor] | None = None,
        attention: AttentionKind = "auto",
    ) -> Float[Tensor, "B F V"]:
        """Scores of one codebook in all frames, for a stage of pattern `parallel`.

        Args:
            codes: only the codebooks below are looked at.
            together: see model/transformer.py.
            transformer: what runs in the place of the stage's own; None for that.
            attention: in training mode, see model/training_attention.py.
        """
        assert conditioned.slots is not None, "parallel stages have aligned conditions"
        x = self.target_embedding.below(codes, codebook=codebook) + conditioned.slots
        if transformer is None:
            hidden = self.transformer(x, together=together, attention=attention)
        else:
            hidden = transformer(x)
        return by_rows(
            lambda rows, which: rows @ self.heads[codebook[which]].to(rows.dtype),
            hidden,
            together=len(hidden) if self.training else together,
        )

    def forward(
        self,
        target: Int[Tensor, "B K F"],
        conditions: tuple[Int[Tensor, "B _K _F"], ...],
        *,
        guide: Float[Tensor, "B _F G"] | None = None,
        drop: Bool[Tensor, " B"] | None = None,
        hide: Bool[Tensor, "B S"] | None = None,
        codebook: Int[Tensor, " B"] | None = None,
        attention: AttentionKind = "auto",
    ) -> Float[Tensor, "B _K F V"]:
        """Teacher-forced logits: entry `[b, k, f]` sees the condition and all tokens before it.

        Args:
            guide, drop: as for :meth:`condition`.
            hide: input steps whose tokens are hidden behind BOS: what follows must be inferred from the
                condition and from the tokens that are left. Not for `parallel`.
            codebook: for `parallel`, the one codebook of each row to predict; None predicts all, in K
                passes.
            attention: in training mode, which attention: see model/training_attention.py.

        Returns:
            Logits of all codebooks, or `[B, 1, F, V]` of those asked for.
        """
        B, K, F = target.shape
        conditioned = self.condition(conditions, target_frames=F, guide=guide, drop=drop, attention=attention)
        if self.spec.pattern == "parallel":
            assert hide is None, "a pass has no tokens before it"
            passes = target.new_tensor(range(K))[:, None].expand(K, B) if codebook is None else codebook[None]
            logits = [
                self.predict_codebook(target, conditioned, codebook=each, attention=attention)
                for each in passes
            ]
            return torch.stack(logits, dim=1)
        assert codebook is None, "only a parallel stage predicts one codebook by itself"
        bos = self.target_embedding.bos
        shifted = self.target_embedding.shift(self.layout.spread(target, fill=bos))
        if hide is not None:
            shifted = shifted.masked_fill(hide[:, None], bos)
        x = self.embed(shifted, conditioned)
        if conditioned.prefix is not None:
            x = torch.cat([conditioned.prefix, x], dim=1)
        hidden = self.transformer(x, attention=attention)[:, conditioned.num_prefix :]
        by_codebook = self.layout.by_codebook(hidden)
        return torch.einsum("bfkd,kdv->bkfv", by_codebook, self.heads.to(hidden.dtype))


class StepEmbedding:
    """`StageModel.embed` of single steps: the same numbers, in the fewest calls.

    Args:
        model: the stage, in evaluation mode.
        conditioned: of N = B * rows rows.
        rows: how many neighbouring rows of the condition share a row of tokens.
    """

    def __init__(self, model: StageModel, conditioned: Conditioned, *, rows: int) -> None:
        self.target, self.rows = model.target_embedding, rows
        self.slots: tuple[Tensor, ...] | None = None
        if conditioned.slots is not None:
            self.slots = conditioned.slots.unflatten(0, (-1, rows)).unbind(2)
        self.table = self.target.weight.flatten(0, 1)
        cardinality = self.target.weight.shape[1]
        starts = range(0, len(self.table), cardinality)
        self.starts = torch.tensor(list(starts), device=self.table.device)

    def __call__(self, shifted: Int[Tensor, "B R"], step: int) -> Float[Tensor, "N 1 D"]:
        """Inputs of a target step, from the tokens before it."""
        target = self.target
        if target.offset is None:
            x = F.embedding(shifted + self.starts, self.table).sum(1) + target.segment
        else:
            predicted = step % target.num_codebooks
            x = F.embedding(shifted[:, 0], target.weight[predicted - 1]) + target.offset[predicted]
            x = x + target.segment
        if self.slots is None:
            return x.repeat_interleave(self.rows, dim=0)[:, None]
        return (x[:, None] + self.slots[step]).flatten(0, 1)[:, None]


# ---- the training loss


def codebook_losses(logits: Float[Tensor, "B K F V"], target: Int[Tensor, "B K F"]) -> Float[Tensor, " K"]:
    """Mean cross-entropy of every codebook, in nats per token.

    >>> codebook_losses(torch.zeros(1, 2, 3, 8), torch.zeros(1, 2, 3, dtype=torch.long)).exp()
    tensor([8., 8.])
    """
    # A codebook at a time, classes last: with the classes moved forward, a processor takes twice as long.
    losses = [
        F.cross_entropy(of_one.float().flatten(0, 1), ids.flatten())
        for of_one, ids in zip(logits.unbind(1), target.unbind(1), strict=True)
    ]
    return torch.stack(losses)


def stage_loss(logits: Float[Tensor, "B K F V"], target: Int[Tensor, "B K F"]) -> Float[Tensor, ""]:
    """The training loss (paper eq. 6), in nats per token: the codebooks' means, averaged.

    L = - 1/Q sum_q 1/T_q sum_t log P(y_q,t | y_<t, x)
    """
    return codebook_losses(logits, target).mean()

"""The stage as a whole: size, start values, what sees what."""

import math
from fractions import Fraction

import pytest
import torch

from hafm.guide.frames import GROUPS, GUIDE_CHANNELS, KNOWN
from hafm.stages.embed import ConditionEmbedding
from hafm.stages.guide import drop_groups
from hafm.stages.spec import COARSE, FINE, SEMANTIC, Conditioning, StageSpec
from hafm.stages.stage_model import StageModel, StepEmbedding
from hafm.tokens.pattern import Pattern
from tests.crossed import crossed
from tests.stages.small_stages import (
    CONDITIONINGS,
    STAGES,
    STEPWISE,
    guided,
    random_conditions,
    random_guide,
    random_target,
    small_model,
    small_spec,
    with_large_weights,
)
from tests.unchecked import unchecked

ALL_WAYS = [("prefix", "flat"), ("aligned", "flat"), ("aligned", "delay"), ("aligned", "parallel")]
ALL_STAGES = pytest.mark.parametrize("stage", STAGES, ids=lambda stage: stage.name)
BOTH_WAYS = pytest.mark.parametrize("conditioning", CONDITIONINGS)
BOTH_PATTERNS = pytest.mark.parametrize("pattern", STEPWISE)


# ---- size


def transformer_parameters(*, num_layers: int, width: int, num_heads: int, inner: int) -> int:
    attention = width * 3 * width + width * width  # Q, K, V in one; out
    norms = 2 * width + 2 * (width // num_heads)  # before attention and feed-forward; of queries and keys
    feedforward = width * 2 * inner + inner * width  # gate and value in one; out
    return num_layers * (attention + norms + feedforward) + 32 * num_heads + width  # bias, final norm


@pytest.mark.parametrize(
    ("spec", "expected", "millions"),
    [(SEMANTIC, 38_527_744, 38.53), (COARSE, 42_470_144, 42.47), (FINE, 44_055_808, 44.06)],
    ids=["semantic", "coarse", "fine"],
)
def test_parameters_of_the_paper_stages(spec: StageSpec, expected: int, millions: float) -> None:
    D = 512
    stack = transformer_parameters(num_layers=12, width=D, num_heads=8, inner=1365)
    assert stack == 12 * 3_146_368 + 256 + 512
    by_hand = {
        #           sources           BOS and tokens  heads          offsets  segments
        "semantic": 501 * D + 501 * D + 500 * D + 1 * D + 2 * D,
        "coarse": 2 * 501 * D + 4 * 1025 * D + 4 * 1024 * D + 4 * D + 3 * D,
        "fine": 4 * 1025 * D + 4 * 1025 * D + 4 * 1024 * D + 4 * D + 2 * D,
    }
    with torch.device("meta"):
        model = StageModel(spec)
    assert model.num_parameters() == stack + by_hand[spec.name] == expected
    assert round(expected / 1e6, 2) == millions


def test_nothing_is_drawn_for_weights_that_are_replaced(monkeypatch: pytest.MonkeyPatch) -> None:
    """On the meta device a draw does nothing, and loads PyTorch's compiler: a second and a half."""

    def draw(*_: object, **__: object) -> None:
        raise AssertionError("something was drawn")

    specs = guided(COARSE), small_spec(SEMANTIC, "prefix")  # positions by rotation, and by a bias
    for name in ("normal_", "uniform_"):
        monkeypatch.setattr(torch.Tensor, name, draw)
    with torch.device("meta"):
        models = [StageModel(spec) for spec in specs]
    assert all(parameter.is_meta for model in models for parameter in model.parameters())
    with pytest.raises(AssertionError, match="drawn"):
        StageModel(specs[0])


@pytest.mark.parametrize("embedding_std", [0.02, 0.2])
def test_initialisation(embedding_std: float) -> None:
    """N(0, 0.02) throughout, norms from one (paper 3.4).

    Ours: the embeddings may start larger, and the encoder's output with them, for it is added to them.
    """
    model = StageModel(small_spec(FINE, "aligned", width=128, embedding_std=embedding_std))
    for name, parameter in model.named_parameters():
        if name == "encoder.norm.weight":
            assert (parameter == parameter[0]).all()
            assert embedding_std <= parameter[0] <= 5 * embedding_std
        elif "norm" in name:
            assert (parameter == 1).all(), name
        else:
            std = embedding_std if "embedding" in name else 0.02
            error = 5 * std / parameter.numel() ** 0.5  # five standard errors
            assert abs(parameter.mean().item()) < error, name
            assert abs(parameter.std().item() - std) < error, name


# ---- what sees what


@crossed(stage=STAGES, conditioning=CONDITIONINGS, pattern=STEPWISE)
def test_causality_by_gradient(stage: StageSpec, conditioning: Conditioning, pattern: Pattern) -> None:
    """The scores of a token move with the steps before it, and with every frame of every source.

    Those stand before the target (prefix), or reach it through the two-way encoder (aligned).
    """
    model = small_model(stage, conditioning, pattern=pattern)
    spec, layout = model.spec, model.layout
    F = spec.target_frames
    conditions = random_conditions(spec, batch=1)
    inputs: list[torch.Tensor] = []
    sources: list[torch.Tensor] = []

    def keep_inputs(_: object, __: object, out: torch.Tensor) -> None:
        out.retain_grad()
        inputs.append(out)

    def keep_sources(_: object, __: object, out: list[torch.Tensor]) -> None:
        for x in out:
            x.retain_grad()
        sources.extend(out)

    model.target_embedding.register_forward_hook(keep_inputs)
    model.condition_embedding.register_forward_hook(keep_sources)
    logits = model(random_target(spec, batch=1), conditions)
    S = layout.num_steps(F)
    for step in (0, S // 2, S - 1):
        for x in (*inputs, *sources):
            x.grad = None
        token = layout.tokens_of(step, num_frames=F)[-1]
        logits[0, token.codebook, token.frame].logsumexp(-1).backward(retain_graph=True)
        moved = inputs[0].grad[0].abs().sum(-1) > 0
        assert moved.tolist() == [other <= step for other in range(S)]
        assert len(sources) == len(spec.sources)
        for source in sources:
            assert (source.grad[0].abs().sum(-1) > 0).all()


@pytest.mark.parametrize("pattern", ["flat", "delay", "parallel"])
def test_which_tokens_see_which(pattern: Pattern) -> None:
    """One token after the other is changed: the scores that move are those the pattern says.

    Flat sees all before it, frame by frame. Delay sees what is further left when codebook k is moved
    right by k. Parallel sees every frame of the codebooks below, and nothing of its own.
    """
    model = small_model(COARSE, "aligned", pattern=pattern)
    K, F = model.spec.target.num_codebooks, model.spec.target_frames
    sees = {
        "flat": lambda k, f, other_k, other_f: (other_f, other_k) < (f, k),
        "delay": lambda k, f, other_k, other_f: other_f + other_k < f + k,
        "parallel": lambda k, f, other_k, other_f: other_k < k,
    }[pattern]
    target, conditions = random_target(model.spec, batch=1), random_conditions(model.spec, batch=1)
    with torch.inference_mode():
        before = model(target, conditions)[0]
        for other_k in range(K):
            for other_f in range(F):
                changed = target.clone()
                changed[0, other_k, other_f] = (changed[0, other_k, other_f] + 1) % 13
                moved = (model(changed, conditions)[0] != before).any(-1)
                for k in range(K):
                    for f in range(F):
                        assert moved[k, f] == sees(k, f, other_k, other_f), (k, f, other_k, other_f)


def test_a_parallel_pass_hears_all_of_the_condition() -> None:
    """The first frame of every codebook moves with every frame of the coarse codes."""
    model = small_model(FINE, "aligned", pattern="parallel", encoder_layers=0)
    target, (coarse,) = random_target(model.spec, batch=1), random_conditions(model.spec, batch=1)
    with torch.inference_mode():
        before = model(target, (coarse,))[0, :, 0]
        for frame in range(coarse.shape[2]):
            changed = coarse.clone()
            changed[0, 0, frame] = (changed[0, 0, frame] + 1) % 7
            assert (model(target, (changed,))[0, :, 0] != before).any(-1).all()


@pytest.mark.parametrize("training", [False, True])
def test_a_codebook_a_row_is_that_of_all_passes(training: bool) -> None:
    """Training predicts one codebook of every clip; its scores are those of the pass over that codebook."""
    model = small_model(FINE, "aligned", pattern="parallel").train(training)
    target, conditions = random_target(model.spec, batch=4), random_conditions(model.spec, batch=4)
    codebook = torch.tensor([3, 0, 2, 2])
    with torch.no_grad():
        every = model(target, conditions)
        found = model(target, conditions, codebook=codebook)
    assert found.shape == (4, 1, 9, 13)
    torch.testing.assert_close(found[:, 0], every[torch.arange(4), codebook], rtol=1e-4, atol=1e-4)


@BOTH_PATTERNS
def test_hidden_steps_are_those_of_bos(pattern: Pattern) -> None:
    """What is hidden can hold anything; what is not, cannot."""
    model = small_model(COARSE, "aligned", pattern=pattern)
    F, S = model.spec.target_frames, model.spec.target_steps
    one, conditions = random_target(model.spec, batch=1), random_conditions(model.spec, batch=1)
    hide = torch.zeros(1, S, dtype=torch.bool)
    hide[0, S // 2] = True
    hidden = model.layout.tokens_of(S // 2 - 1, num_frames=F)  # the inputs of a step are the column before
    shown = model.layout.tokens_of(S // 2, num_frames=F)
    with torch.inference_mode():
        before = model(one, conditions, hide=hide)
        assert not torch.equal(before, model(one, conditions))
        for tokens, same in ((hidden, True), (shown, False)):
            for token in tokens:
                other = one.clone()
                other[0, token.codebook, token.frame] = (other[0, token.codebook, token.frame] + 1) % 13
                assert torch.equal(model(other, conditions, hide=hide), before) == same


def test_delayed_steps_hear_what_sounds_at_the_time_of_codebook_0() -> None:
    """75 Hz frame s at step s, and the last frame once codebook 0 has ended; the others lag."""
    flat, delayed = (
        small_model(COARSE, "aligned", pattern=pattern, encoder_layers=0) for pattern in STEPWISE
    )
    delayed.condition_embedding.load_state_dict(flat.condition_embedding.state_dict())
    conditions = random_conditions(flat.spec, batch=2)
    frames = flat.condition(conditions, target_frames=9).slots[:, ::4]
    steps = delayed.condition(conditions, target_frames=9).slots
    assert torch.equal(steps, frames[:, [0, 1, 2, 3, 4, 5, 6, 7, 8, 8, 8, 8]])


@pytest.mark.parametrize("stage", [SEMANTIC, COARSE, FINE], ids=lambda stage: stage.name)
def test_without_an_encoder_a_slot_hears_what_sounds_at_its_time(stage: StageSpec) -> None:
    """Against exact times: the source frame that holds the moment at which the target frame begins."""
    spec = small_spec(stage, "aligned", encoder_layers=0)
    model = StageModel(spec)
    K, F = spec.target.num_codebooks, spec.target_frames
    conditions = random_conditions(spec, batch=2)
    slots = model.condition(conditions, target_frames=F).slots
    assert slots is not None
    assert slots.shape == (2, K * F, spec.width)
    frames = ConditionEmbedding.forward(model.condition_embedding, conditions)
    rate = spec.sources[0].frame_rate
    for slot in range(K * F):
        begins = Fraction(slot // K) / spec.target.frame_rate
        (hears,) = (f for f in range(frames[0].shape[1]) if f / rate <= begins < (f + 1) / rate)
        torch.testing.assert_close(slots[:, slot], sum(source[:, hears] for source in frames))


def test_alignment_at_50_and_75_hz() -> None:
    """75 Hz frames 0 1 2 | 3 4 5 begin at 0, 13.3, 26.7 | 40, ... ms; 50 Hz frames at 0, 20 | 40, ... ms."""
    spec = small_spec(COARSE, "aligned", encoder_layers=0)
    model = StageModel(spec)
    with torch.no_grad():
        model.condition_embedding.segment.zero_()
        for source in model.condition_embedding.sources:
            source.weight.copy_(
                torch.arange(source.weight.shape[1]).float()[None, :, None].expand_as(source.weight)
            )
        ids = torch.tensor([[[0, 1, 2, 3, 4, 5]]])
        slots = model.condition((ids, torch.zeros_like(ids)), target_frames=9).slots
    assert slots is not None
    assert slots[0, ::4, 0].tolist() == [0, 0, 1, 2, 2, 3, 4, 4, 5]
    assert (slots[0].unflatten(0, (9, 4)) == slots[0, ::4][:, None]).all()


def test_prefix_stands_before_the_target_in_order() -> None:
    spec = small_spec(COARSE)
    model = StageModel(spec)
    conditions = random_conditions(spec, batch=2)
    conditioned = model.condition(conditions, target_frames=9)
    assert conditioned.slots is None
    assert conditioned.num_prefix == 12
    assert torch.equal(conditioned.prefix, torch.cat(model.condition_embedding(conditions), 1))


def test_sources_of_another_length_are_refused() -> None:
    model = small_model(COARSE)
    conditions = random_conditions(model.spec, batch=1)
    with pytest.raises(AssertionError, match=r"sources of \(6, 6\) frames, expected \(5, 5\)"):
        model.condition(conditions, target_frames=7)


# ---- dropped conditions


@torch.no_grad()
@crossed(stage=STAGES, conditioning=CONDITIONINGS, pattern=STEPWISE)
@pytest.mark.parametrize("rows", [1, 3])
def test_a_step_is_embedded_as_in_the_whole(
    stage: StageSpec, conditioning: Conditioning, pattern: Pattern, rows: int
) -> None:
    model = small_model(stage, conditioning, pattern=pattern)
    conditions = tuple(ids.repeat_interleave(rows, dim=0) for ids in random_conditions(model.spec, batch=2))
    conditioned = model.condition(conditions, target_frames=model.spec.target_frames)
    target = random_target(model.spec, batch=2)
    shifted = model.target_embedding.shift(model.layout.spread(target, fill=model.target_embedding.bos))
    step = StepEmbedding(model, conditioned, rows=rows)
    found = [step(shifted[:, :, each], each) for each in range(shifted.shape[2])]
    assert torch.equal(torch.cat(found, dim=1), model.embed(shifted, conditioned, rows=rows))


@crossed(stage=STAGES, ways=ALL_WAYS, dropped=["mask", "zeros"])
def test_a_dropped_row_knows_nothing_of_its_condition(
    stage: StageSpec, ways: tuple[Conditioning, Pattern], dropped: str
) -> None:
    conditioning, pattern = ways
    model = small_model(stage, conditioning, pattern=pattern, dropped_condition=dropped)
    target = random_target(model.spec, batch=2)
    one, other = (random_conditions(model.spec, batch=2) for _ in range(2))
    drop = torch.tensor([True, False])
    with torch.inference_mode():
        a, b = model(target, one, drop=drop), model(target, other, drop=drop)
        kept = model(target, one)
    assert torch.equal(a[0], b[0])
    assert not torch.allclose(a[1], b[1])
    assert torch.equal(a[1], kept[1])
    assert not torch.allclose(a[0], kept[0])


# ---- heads


@crossed(stage=STAGES, conditioning=CONDITIONINGS, pattern=STEPWISE)
def test_every_codebook_has_its_own_head(
    stage: StageSpec, conditioning: Conditioning, pattern: Pattern
) -> None:
    """Training's einsum and generation's single head give the scores of the same codebook."""
    model = small_model(stage, conditioning, pattern=pattern)
    F, S = model.spec.target_frames, model.spec.target_steps
    hidden: list[torch.Tensor] = []
    model.transformer.register_forward_hook(lambda _, __, out: hidden.append(out))
    with torch.inference_mode():
        logits = model(random_target(model.spec, batch=2), random_conditions(model.spec, batch=2))
        for step in range(S):
            for token in model.layout.tokens_of(step, num_frames=F):
                found = model.logits(hidden[0][:, step - S], codebook=token.codebook)
                expected = logits[:, token.codebook, token.frame]
                torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4)


def test_a_start_knows_nothing() -> None:
    """Fresh weights give every class about the same chance: the loss starts near log V."""
    spec = small_spec(FINE, "aligned")
    logits = StageModel(spec)(random_target(spec, batch=2), random_conditions(spec, batch=2))
    entropy = torch.distributions.Categorical(logits=logits).entropy()
    assert (entropy > 0.98 * math.log(13)).all()


# ---- the guide

BOTH_GUIDED = pytest.mark.parametrize("stage", [SEMANTIC, COARSE], ids=lambda stage: stage.name)


@BOTH_GUIDED
@pytest.mark.parametrize("training", [True, False])
def test_a_guide_of_zeros_is_no_guide(stage: StageSpec, training: bool) -> None:
    model = with_large_weights(guided(stage)).train(training)
    target, conditions = random_target(model.spec, batch=3), random_conditions(model.spec, batch=3)
    guide = random_guide(model.spec, batch=3)
    with torch.no_grad():
        without = model(target, conditions)
        assert torch.equal(model(target, conditions, guide=torch.zeros_like(guide)), without)
        everything = torch.ones(3, len(KNOWN), dtype=torch.bool)
        assert torch.equal(model(target, conditions, guide=drop_groups(guide, everything)), without)
        assert not torch.allclose(model(target, conditions, guide=guide), without)


@BOTH_GUIDED
def test_a_stage_whose_guide_weighs_nothing_is_the_stage_without(stage: StageSpec) -> None:
    model = with_large_weights(guided(stage))
    plain = StageModel(small_spec(stage, "aligned", positions="rotary")).eval()
    weights = model.state_dict()
    del weights["guide_embedding.weight"]
    plain.load_state_dict(weights)
    target, conditions = random_target(model.spec, batch=1), random_conditions(model.spec, batch=1)
    with torch.no_grad():
        assert torch.equal(plain(target, conditions), model(target, conditions))


@BOTH_GUIDED
def test_the_guide_reaches_the_slots_before_and_behind_the_encoder(stage: StageSpec) -> None:
    """Behind it, a slot gets the guide of its own instant; before it, of all instants."""
    model = with_large_weights(guided(stage))
    K, F = model.spec.target.num_codebooks, model.spec.target_frames
    conditions = random_conditions(model.spec, batch=1)
    guide = random_guide(model.spec, batch=1).requires_grad_()
    slots = model.condition(conditions, target_frames=F, guide=guide).slots
    assert slots is not None
    (grad,) = torch.autograd.grad(slots[0, K].sum(), guide, retain_graph=True)
    assert (grad[0].abs().sum(-1) > 0).all()
    assert model.encoder is not None
    with torch.no_grad():
        model.encoder.norm.weight.zero_()  # nothing comes through the encoder any more
    slots = model.condition(conditions, target_frames=F, guide=guide).slots
    assert slots is not None
    rate = model.spec.target.frame_rate
    for slot in range(K * F):
        frame = int(Fraction(slot // K) / rate * 50)
        torch.testing.assert_close(slots[0, slot], guide[0, frame] @ model.guide_embedding.weight)


@unchecked()
def test_rows_with_guides_do_not_influence_each_other() -> None:
    model = with_large_weights(guided(COARSE))
    conditions, guide = random_conditions(model.spec, batch=4), random_guide(model.spec, batch=4)

    def slots(rows: slice) -> torch.Tensor:
        some = tuple(ids[rows] for ids in conditions)
        found = model.condition(some, target_frames=9, guide=guide[rows]).slots
        assert found is not None
        return found

    with torch.inference_mode():
        whole = slots(slice(None))
        for rows in (slice(0, 1), slice(1, 3), slice(3, 4)):
            assert torch.equal(slots(rows), whole[rows])


@pytest.mark.parametrize("name", KNOWN)
def test_a_dropped_group_loses_its_channels_and_its_flag_and_nothing_else(name: str) -> None:
    guide = torch.ones(2, 3, GUIDE_CHANNELS)
    lost = torch.tensor([group == name for group in KNOWN])
    found = drop_groups(guide, torch.stack([lost, ~lost & lost]))
    gone = (found[0] == 0).all(0).nonzero().flatten().tolist()
    assert gone == [*range(*GROUPS[name].indices(GUIDE_CHANNELS)), KNOWN[name]]
    assert torch.equal(found[1], guide[1])


def test_a_stage_without_a_guide_takes_none() -> None:
    model = small_model(SEMANTIC, "aligned")
    conditions = random_conditions(model.spec, batch=1)
    with pytest.raises(AssertionError, match="no guide is expected"):
        model.condition(conditions, target_frames=6, guide=random_guide(model.spec, batch=1))

"""The HuBERT adapter, on tiny random models of the same class, in both variants of layer normalisation."""

import math
from fractions import Fraction
from typing import TYPE_CHECKING

import pytest
import torch
from torch.nn.functional import pad

from hafm.errors import BundleNotFound, UsageError
from hafm.tokens import hubert as module
from hafm.tokens.base import SemanticFeatures
from hafm.tokens.hubert import HubertFeatures
from tests.crossed import crossed

if TYPE_CHECKING:
    from transformers import HubertModel

STABLE = pytest.mark.parametrize("stable", [True, False], ids=["stable", "post-norm"])


def tiny(*, stable: bool = True, layers: int = 5, seed: int = 0) -> "HubertModel":
    from transformers import HubertConfig, HubertModel

    torch.manual_seed(seed)
    config = HubertConfig(
        hidden_size=16,
        num_hidden_layers=layers,
        num_attention_heads=2,
        intermediate_size=24,
        conv_dim=(8,) * 7,
        feat_extract_norm="layer" if stable else "group",
        do_stable_layer_norm=stable,
        conv_bias=stable,
        num_conv_pos_embeddings=8,
        num_conv_pos_embedding_groups=2,
        attn_implementation="eager",
    )
    model = HubertModel(config).eval()
    with torch.no_grad():  # the default initialisation is so small that layers hardly differ
        for name, weight in model.named_parameters():
            if "attention" in name or "feed_forward" in name:
                weight.mul_(20)
    return model


def test_it_is_a_semantic_feature_extractor() -> None:
    features = HubertFeatures(model=tiny(), layer=3)
    assert isinstance(features, SemanticFeatures)
    assert (features.sample_rate, features.frame_rate, features.dim) == (16_000, Fraction(50), 16)
    assert features.to("cpu") is features


@STABLE
@pytest.mark.parametrize("layer", [1, 3, 5])
def test_cut_model_gives_the_hidden_state_of_the_full_one(stable: bool, layer: int) -> None:
    from transformers import Wav2Vec2FeatureExtractor

    sound = torch.randn(2, 5_000)
    full = tiny(stable=stable)
    prepared = Wav2Vec2FeatureExtractor(do_normalize=True)(
        [row.numpy() for row in sound], sampling_rate=16_000, return_tensors="pt"
    ).input_values
    prepared = pad(prepared, (0, 320 * 15 + 400 - 5_000))
    with torch.no_grad():
        states = full(prepared, output_hidden_states=True).hidden_states
    features = HubertFeatures(model=tiny(stable=stable), layer=layer)
    found = features.extract(sound)
    torch.testing.assert_close(found, states[layer], atol=1e-5, rtol=1e-4)
    assert not torch.allclose(found, states[layer - 1], atol=1e-3)
    assert len(features._model.encoder.layers) == layer


def test_the_last_hidden_state_of_a_cut_model_is_another_thing() -> None:
    """The trap itself: were this ever equal, taking `hidden_states` would no longer need its reason."""
    features = HubertFeatures(model=tiny(stable=True), layer=3)
    sound = torch.randn(1, 320 * 9 + 400)
    with torch.no_grad():
        out = features._model(sound, output_hidden_states=True)
    assert not torch.allclose(out.last_hidden_state, out.hidden_states[3], atol=1e-3)


@crossed(length=[1, 79, 80, 319, 321, 399, 320, 401, 639, 400, 640, 15_999, 16_000, 160_000])
def test_frames_are_the_ceiling_for_every_length(length: int) -> None:
    found = HubertFeatures(model=tiny(), layer=1).extract(torch.randn(1, length))
    assert found.shape == (1, math.ceil(length / 320), 16)
    assert torch.isfinite(found).all()


@STABLE
def test_level_and_offset_do_not_matter(stable: bool) -> None:
    features, sound = HubertFeatures(model=tiny(stable=stable), layer=2), torch.randn(1, 4_000)
    torch.testing.assert_close(
        features.extract(0.3 * sound + 0.1), features.extract(sound), atol=1e-3, rtol=1e-3
    )


def test_silence_is_finite() -> None:
    assert torch.isfinite(HubertFeatures(model=tiny(), layer=2).extract(torch.zeros(1, 3_000))).all()


def test_rows_do_not_see_each_other() -> None:
    features, sound = HubertFeatures(model=tiny(), layer=2), torch.randn(3, 4_000)
    together = features.extract(sound)
    for row in range(3):
        torch.testing.assert_close(
            features.extract(sound[row : row + 1])[0], together[row], atol=1e-5, rtol=1e-4
        )


def test_long_sounds_go_through_in_windows(monkeypatch: pytest.MonkeyPatch) -> None:
    """Away from a window's ends, a model of local sight cannot tell a window from the whole."""
    model = tiny()
    for layer in model.encoder.layers:  # without attention, only the positional convolution looks sideways
        torch.nn.init.zeros_(layer.attention.out_proj.weight)
    features, sound = HubertFeatures(model=model, layer=2), torch.randn(1, 100 * 320 + 7)
    whole = features.extract(sound)
    monkeypatch.setattr(module, "SPAN_FRAMES", 30)
    monkeypatch.setattr(module, "CONTEXT_FRAMES", 8)
    windowed = features.extract(sound)
    assert whole.shape == windowed.shape == (1, 101, 16)
    torch.testing.assert_close(windowed, whole, atol=1e-4, rtol=1e-3)


@pytest.mark.parametrize("num_frames", [1, 29, 30, 31, 44, 45, 60, 333])
def test_windows_keep_every_frame_once(num_frames: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "SPAN_FRAMES", 30)
    monkeypatch.setattr(module, "CONTEXT_FRAMES", 8)
    kept = []
    for first, keep_from, keep_to, last in module._spans(num_frames):
        assert 0 <= first <= keep_from < keep_to <= last <= num_frames
        assert last - first <= 30
        assert keep_from - first == 8 or first == keep_from == 0
        assert last - keep_to == 8 or last == keep_to == num_frames
        kept += range(keep_from, keep_to)
    assert kept == list(range(num_frames))


def test_fingerprint_covers_weights_and_layer() -> None:
    prints = {
        HubertFeatures(model=tiny(seed=seed), layer=layer).fingerprint()
        for seed in (0, 1)
        for layer in (2, 3)
    }
    assert len(prints) == 4
    assert HubertFeatures(model=tiny(), layer=2).fingerprint() in prints


def test_what_cannot_be_is_refused() -> None:
    from transformers import HubertConfig, HubertModel

    with pytest.raises(UsageError, match="layer 6 asked for, but this HuBERT has layers 1 to 5"):
        HubertFeatures(model=tiny(), layer=6)
    with pytest.raises(UsageError, match="40 hex digits"):
        HubertFeatures.from_hub(revision="main")
    other = HubertModel(
        HubertConfig(
            hidden_size=16,
            num_hidden_layers=1,
            num_attention_heads=2,
            intermediate_size=8,
            conv_dim=(4, 4),
            conv_stride=(5, 2),
            conv_kernel=(10, 3),
            num_feat_extract_layers=2,
            num_conv_pos_embeddings=4,
            num_conv_pos_embedding_groups=2,
        )
    )
    with pytest.raises(UsageError, match="hop 10 and window 20"):
        HubertFeatures(model=other, layer=1)
    with pytest.raises(ValueError, match="at least one sample"):
        HubertFeatures(model=tiny(), layer=1).extract(torch.zeros(1, 0))


def test_without_hub_and_cache_the_message_says_what_to_do(
    tmp_path: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(BundleNotFound, match="built-in bundle"):
        HubertFeatures.from_hub(str(tmp_path))

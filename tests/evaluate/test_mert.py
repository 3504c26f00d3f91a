"""MERT as an embedding: its weights in HuBERT, under the names that its own checkpoints have."""

import json
import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

from hafm.errors import AudioContentError, UsageError
from hafm.evaluate.embeddings.base import Embedding, embed_sound
from hafm.evaluate.embeddings.mert import hubert_names, load_mert

if TYPE_CHECKING:
    from transformers import HubertModel

RATE = 3_000  # a tenth of the work; the convolutions are MERT's own
WINDOW = 5 * RATE
STABLE = pytest.mark.parametrize("stable", [False, True], ids=["v1-95M", "v1-330M"])

CONFIG: dict[str, Any] = {  # fields as in MERT's config.json, widths our own
    "activation_dropout": 0.1,
    "architectures": ["MERTModel"],
    "attention_relax": -1.0,
    "auto_map": {"AutoConfig": "configuration_MERT.MERTConfig", "AutoModel": "modeling_MERT.MERTModel"},
    "conv_dim": [8] * 7,
    "conv_kernel": [10, 3, 3, 3, 3, 2, 2],
    "conv_stride": [5, 2, 2, 2, 2, 2, 2],
    "deepnorm": False,
    "feature_extractor_cqt": False,
    "feature_extractor_cqt_bins": 336,
    "hidden_size": 16,
    "intermediate_size": 24,
    "model_type": "mert_model",
    "num_attention_heads": 2,
    "num_conv_pos_embedding_groups": 2,
    "num_conv_pos_embeddings": 8,
    "num_hidden_layers": 4,
    "sample_rate": RATE,
    "torch_dtype": "float32",
}
FRONT_END = {
    "do_normalize": True,
    "feature_extractor_type": "Wav2Vec2FeatureExtractor",
    "sampling_rate": RATE,
}


def variant(stable: bool) -> dict[str, Any]:
    """What sets the two published sizes apart, beside their widths."""
    return {
        "do_stable_layer_norm": stable,
        "feat_extract_norm": "layer" if stable else "group",
        "conv_bias": stable,
    }


def oracle(*, stable: bool = False, seed: int = 0) -> "HubertModel":
    from transformers import HubertConfig, HubertModel

    torch.manual_seed(seed)
    shape = {
        key: value for key, value in CONFIG.items() if key.startswith(("conv_", "num_", "hidden", "inter"))
    }
    model = HubertModel(HubertConfig(**shape, **variant(stable), attn_implementation="eager")).eval()
    with torch.no_grad():  # the default initialisation is so small that layers hardly differ
        for name, weight in model.named_parameters():
            if "attention" in name or "feed_forward" in name:
                weight.mul_(20)
            if "layer_norm" in name:
                weight.add_(0.3 * torch.randn_like(weight))
    return model


def as_published(model: "HubertModel") -> dict[str, Tensor]:
    """The state dict as MERT's own file names it: weight norm is that of torch before parametrizations."""
    conv = "encoder.pos_conv_embed.conv"
    old = {
        f"{conv}.parametrizations.weight.original0": f"{conv}.weight_g",
        f"{conv}.parametrizations.weight.original1": f"{conv}.weight_v",
    }
    return {old.get(name, name): tensor.clone() for name, tensor in model.state_dict().items()}


def write(folder: Path, model: "HubertModel", *, ending: str = "bin", **changes: Any) -> Path:
    folder.mkdir(exist_ok=True)
    (folder / "config.json").write_text(json.dumps(CONFIG | changes))
    (folder / "preprocessor_config.json").write_text(json.dumps(FRONT_END))
    if ending == "bin":
        torch.save(as_published(model), folder / "pytorch_model.bin")
    else:
        save_file(as_published(model), folder / "model.safetensors")
    return folder


def states(model: "HubertModel", window: Tensor) -> list[Tensor]:
    """Hidden states as MERT's own code gives them: the last is what comes after the final norm."""
    from transformers import Wav2Vec2FeatureExtractor

    extractor = Wav2Vec2FeatureExtractor(sampling_rate=RATE, do_normalize=True)
    inputs = extractor(window.numpy(), sampling_rate=RATE, return_tensors="pt").input_values
    with torch.no_grad():
        out = model(inputs, output_hidden_states=True)
    return [state[0] for state in (*out.hidden_states[:-1], out.last_hidden_state)]


def test_the_published_checkpoint_is_a_hubert_base() -> None:
    """m-a-p/MERT-v1-95M holds 211 tensors of 94 371 712 values; so does HuBERT at its defaults."""
    from transformers import HubertConfig, HubertModel

    with torch.device("meta"):
        model = HubertModel(HubertConfig())
        weights = as_published(model)
    assert (len(weights), sum(tensor.numel() for tensor in weights.values())) == (211, 94_371_712)
    for name in (
        "masked_spec_embed",
        "encoder.pos_conv_embed.conv.weight_g",
        "feature_projection.layer_norm.bias",
    ):
        assert name in weights
    assert set(hubert_names(weights)) == set(model.state_dict())


@STABLE
@pytest.mark.parametrize("layer", [*(pytest.param(n, marks=pytest.mark.slow) for n in (1, 4, None)), 3])
def test_a_point_is_the_mean_of_a_layer_over_five_seconds(
    tmp_path: Path, stable: bool, layer: int | None
) -> None:
    model = oracle(stable=stable)
    embedding = load_mert(write(tmp_path / "tiny", model, **variant(stable)), layer=layer)
    taken = 4 if layer is None else layer
    assert isinstance(embedding, Embedding)
    assert (embedding.name, embedding.sample_rate, embedding.dim) == (f"mert-tiny-layer{taken}", RATE, 16)
    sound = torch.randn(2 * WINDOW + 100)
    points = embedding.embed(sound)
    assert points.shape == (2, 16)
    assert points.dtype == np.float32
    for index, point in enumerate(points):
        found = states(model, sound[index * WINDOW : (index + 1) * WINDOW])
        assert found[taken].shape == ((WINDOW - 400) // 320 + 1, 16)
        np.testing.assert_allclose(point, found[taken].mean(0), atol=1e-4, rtol=1e-4)
        assert not np.allclose(point, found[taken - 1].mean(0), atol=1e-2)


def test_the_last_layer_of_the_large_variant_is_normed_once_more(tmp_path: Path) -> None:
    """The trap: transformers' hidden states end before that norm, MERT's own code ends after it."""
    model, sound = oracle(stable=True), torch.randn(WINDOW)
    with torch.no_grad():
        out = model(sound[None], output_hidden_states=True)
    assert not torch.allclose(out.hidden_states[-1], out.last_hidden_state, atol=1e-2)


@pytest.mark.parametrize("ending", ["bin", "safetensors"])
def test_both_kinds_of_file_and_both_names_give_the_same_network(tmp_path: Path, ending: str) -> None:
    model = oracle()
    embedding = load_mert(write(tmp_path / "one", model, ending=ending))
    other = write(tmp_path / "two", model, ending="safetensors")
    save_file({name: t.clone() for name, t in model.state_dict().items()}, other / "model.safetensors")
    assert embedding.fingerprint() == load_mert(other).fingerprint()


def test_batches_do_not_matter_and_neither_does_level(tmp_path: Path) -> None:
    embedding, sound = load_mert(write(tmp_path / "tiny", oracle())), torch.randn(6 * WINDOW)
    together = embedding.embed(sound)
    np.testing.assert_array_equal(embedding.embed(sound), together)
    for index in (0, 4, 5):
        alone = embedding.embed(sound[index * WINDOW : (index + 1) * WINDOW])
        np.testing.assert_allclose(alone[0], together[index], atol=1e-4)


def test_level_counts_where_the_front_end_leaves_it(tmp_path: Path) -> None:
    folder, sound = write(tmp_path / "tiny", oracle(stable=True), **variant(True)), torch.randn(WINDOW)
    embedding = load_mert(folder)
    np.testing.assert_allclose(embedding.embed(0.1 * sound + 1), embedding.embed(sound), atol=1e-2)
    (folder / "preprocessor_config.json").write_text(json.dumps(FRONT_END | {"do_normalize": False}))
    plain = load_mert(folder)
    assert np.abs(plain.embed(0.1 * sound + 1) - plain.embed(sound)).max() > 0.1
    assert plain.fingerprint() != embedding.fingerprint()


def test_silence_is_finite_and_short_sounds_are_refused(tmp_path: Path) -> None:
    embedding = load_mert(write(tmp_path / "tiny", oracle()))
    assert np.isfinite(embedding.embed(torch.zeros(WINDOW))).all()
    assert embed_sound(embedding, torch.zeros(44_100 * 10), sample_rate=44_100).shape == (2, 16)
    with pytest.raises(AudioContentError, match=r"needs 5\.000 s"):
        embedding.embed(torch.zeros(WINDOW - 1))
    with pytest.raises(AudioContentError, match="NaN or infinity"):
        embedding.embed(torch.full((WINDOW,), math.inf))


@pytest.mark.long
def test_fingerprint_covers_weights_layer_and_rate(tmp_path: Path) -> None:
    folder = write(tmp_path / "tiny", oracle())
    prints = {load_mert(folder, layer=layer).fingerprint() for layer in (1, 2, 4)}
    assert load_mert(folder).fingerprint() in prints
    prints.add(load_mert(write(tmp_path / "other", oracle(seed=1))).fingerprint())
    prints.add(load_mert(write(tmp_path / "act", oracle(), hidden_act="relu")).fingerprint())
    assert len(prints) == 5


@pytest.mark.parametrize("field", ["feature_extractor_cqt", "deepnorm"])
def test_what_hubert_does_not_have_is_refused_by_name(tmp_path: Path, field: str) -> None:
    with pytest.raises(UsageError, match=f"has {field} = True: it .* its own code is not run"):
        load_mert(write(tmp_path / "tiny", oracle(), **{field: True}))


def test_relaxed_attention_changes_nothing(tmp_path: Path) -> None:
    relaxed = load_mert(write(tmp_path / "tiny", oracle(), attention_relax=32.0))
    sound = torch.randn(WINDOW)
    np.testing.assert_array_equal(
        relaxed.embed(sound), load_mert(write(tmp_path / "other", oracle())).embed(sound)
    )


def test_other_models_layers_and_rates_are_refused(tmp_path: Path) -> None:
    folder = write(tmp_path / "tiny", oracle())
    with pytest.raises(UsageError, match="layer 5 asked for, but tiny has layers 1 to 4"):
        load_mert(folder, layer=5)
    with pytest.raises(UsageError, match="layer 0 asked for"):
        load_mert(folder, layer=0)
    with pytest.raises(UsageError, match="of type 'hubert', not 'mert_model'"):
        load_mert(write(folder, oracle(), model_type="hubert"))
    with pytest.raises(UsageError, match="configuration that HuBERT cannot take"):
        load_mert(write(folder, oracle(), conv_stride=[5, 2]))
    with pytest.raises(UsageError, match=r"sample rates 24000 \(config\.json\) and 3000"):
        load_mert(write(folder, oracle(), sample_rate=24_000))


def test_weights_are_taken_whole_or_refused(tmp_path: Path) -> None:
    folder = write(tmp_path / "tiny", oracle())
    weights = as_published(oracle())
    del weights["encoder.pos_conv_embed.conv.weight_g"], weights["masked_spec_embed"]
    weights["encoder.layers.4.attention.k_proj.bias"] = torch.zeros(16)
    weights["encoder.layers.0.attention.k_proj.bias"] = torch.full((16,), math.nan)
    torch.save(weights, folder / "pytorch_model.bin")
    with pytest.raises(UsageError) as refusal:
        load_mert(folder)
    for fault in (
        "masked_spec_embed is missing",
        "encoder.pos_conv_embed.conv.parametrizations.weight.original0 is missing",
        "encoder.layers.4.attention.k_proj.bias does not belong to it",
        "encoder.layers.0.attention.k_proj.bias holds NaN or infinity",
    ):
        assert fault in str(refusal.value)


class Harmful:
    """What a pickle could carry."""


def test_pickled_code_is_not_run(tmp_path: Path) -> None:
    folder = write(tmp_path / "tiny", oracle())
    torch.save(Harmful(), folder / "pytorch_model.bin")
    with pytest.raises(UsageError, match="cannot be read as weights"):
        load_mert(folder)
    torch.save({"epoch": 3}, folder / "pytorch_model.bin")
    with pytest.raises(UsageError, match="other things than tensors"):
        load_mert(folder)
    (folder / "pytorch_model.bin").unlink()
    with pytest.raises(UsageError, match=r"lacks model\.safetensors or pytorch_model\.bin"):
        load_mert(folder)

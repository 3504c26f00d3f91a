"""VGGish: shapes layer by layer, the graph against one in numpy, and the loader's refusals."""

import math
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

from hafm.errors import AudioContentError, UsageError
from hafm.evaluate.embeddings import vggish
from hafm.evaluate.embeddings.base import Embedding, embed_sound
from hafm.evaluate.embeddings.vggish import (
    NUM_PARAMETERS,
    VGGish,
    VGGishConfig,
    VGGishEmbedding,
    load_vggish,
    vggish_of_weights,
)
from hafm.evaluate.embeddings.vggish_frontend import log_mel_patches

TINY = VGGishConfig(channels=(2, 3, 4, 4, 5, 5), hidden=7, dim=6)

PUBLISHED = {
    "conv1": (64, 1, 3, 3),
    "conv2": (128, 64, 3, 3),
    "conv3_1": (256, 128, 3, 3),
    "conv3_2": (256, 256, 3, 3),
    "conv4_1": (512, 256, 3, 3),
    "conv4_2": (512, 512, 3, 3),
    "fc1_1": (4096, 12288),
    "fc1_2": (4096, 4096),
    "fc2": (128, 4096),
}
TORCHVGGISH = [f"features.{n}" for n in (0, 3, 6, 8, 11, 13)] + [f"embeddings.{n}" for n in (0, 2, 4)]


def tiny() -> VGGish:
    network = VGGish(TINY)
    for weight in network.parameters():
        torch.nn.init.normal_(weight, std=0.5)
    return network


def renamed(weights: dict[str, Tensor]) -> dict[str, Tensor]:
    """Our weights under torchvggish's names."""
    names = dict(zip(PUBLISHED, TORCHVGGISH, strict=True))
    return {f"{names[key.split('.')[0]]}.{key.split('.')[1]}": tensor for key, tensor in weights.items()}


def in_numpy(weights: dict[str, np.ndarray], patch: np.ndarray) -> np.ndarray:
    """The published graph as tensorflow lays it out: images [frames, bands, channels], flattened so."""

    def convolved(image: np.ndarray, name: str) -> np.ndarray:
        height, width, _ = image.shape
        padded = np.pad(image, ((1, 1), (1, 1), (0, 0)))
        kernel = weights[f"{name}.weight"].transpose(2, 3, 1, 0)  # [frames, bands, in, out]
        total = sum(padded[y : y + height, x : x + width] @ kernel[y, x] for y in range(3) for x in range(3))
        return np.maximum(total + weights[f"{name}.bias"], 0)

    def pooled(image: np.ndarray) -> np.ndarray:
        height, width, channels = image.shape
        return image.reshape(height // 2, 2, width // 2, 2, channels).max(axis=(1, 3))

    def dense(row: np.ndarray, name: str) -> np.ndarray:
        return row @ weights[f"{name}.weight"].T + weights[f"{name}.bias"]

    image = pooled(convolved(patch[..., None], "conv1"))
    image = pooled(convolved(image, "conv2"))
    image = pooled(convolved(convolved(image, "conv3_1"), "conv3_2"))
    image = pooled(convolved(convolved(image, "conv4_1"), "conv4_2"))
    row = np.maximum(dense(image.reshape(-1), "fc1_1"), 0)
    return dense(np.maximum(dense(row, "fc1_2"), 0), "fc2")


def test_layers_have_the_published_names_shapes_and_number_of_parameters() -> None:
    with torch.device("meta"):
        weights = VGGish(VGGishConfig()).state_dict()
    expected = {f"{name}.weight": shape for name, shape in PUBLISHED.items()}
    expected |= {f"{name}.bias": shape[:1] for name, shape in PUBLISHED.items()}
    assert {name: tuple(weight.shape) for name, weight in weights.items()} == expected
    assert sum(math.prod(shape) for shape in expected.values()) == NUM_PARAMETERS == 72_141_184


def test_the_graph_is_the_one_in_numpy() -> None:
    network = tiny().double()
    patches = torch.randn(2, 96, 64, dtype=torch.float64)
    weights = {name: weight.numpy() for name, weight in network.state_dict().items()}
    expected = np.stack([in_numpy(weights, patch) for patch in patches.numpy()])
    np.testing.assert_allclose(network(patches).detach().numpy(), expected, rtol=1e-9)


def test_an_embedding_of_a_sound_is_the_network_on_its_patches() -> None:
    network = tiny()
    waveform = 0.1 * torch.randn(20 * 96 * 160 + 400)
    embedding = VGGishEmbedding(network=network)
    assert isinstance(embedding, Embedding)
    points = embedding.embed(waveform)
    assert points.shape == (20, 6)
    assert points.dtype == np.float32
    with torch.no_grad():
        alone = torch.cat([network(patch[None]) for patch in log_mel_patches(waveform)])
    np.testing.assert_allclose(points, alone.numpy(), rtol=1e-4, atol=1e-4)


def test_the_activation_is_a_choice_and_stands_in_name_and_fingerprint() -> None:
    network = tiny()
    plain, activated = VGGishEmbedding(network=network), VGGishEmbedding(network=network, relu=True)
    waveform = 0.1 * torch.randn(32_000)
    assert (plain.embed(waveform) < 0).any()
    np.testing.assert_array_equal(activated.embed(waveform), plain.embed(waveform).clip(0))
    assert (plain.name, activated.name) == ("vggish", "vggish-relu")
    assert plain.fingerprint() != activated.fingerprint()
    assert plain.fingerprint() != VGGishEmbedding(network=tiny()).fingerprint()
    assert plain.fingerprint() == VGGishEmbedding(network=network).fingerprint()


def test_other_rates_are_resampled_first() -> None:
    embedding = VGGishEmbedding(network=tiny())
    assert embed_sound(embedding, torch.zeros(44_100 * 10), sample_rate=44_100).shape == (10, 6)
    with pytest.raises(AudioContentError, match="NaN or infinity"):
        embed_sound(embedding, torch.full((44_100,), torch.inf), sample_rate=44_100)


@pytest.mark.parametrize("ending", [".pth", ".safetensors"])
@pytest.mark.parametrize("foreign", [False, True])
def test_weights_come_from_either_file_under_either_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, ending: str, foreign: bool
) -> None:
    network = tiny()
    weights = dict(network.state_dict())
    weights = renamed(weights) if foreign else weights
    path = tmp_path / f"weights{ending}"
    if ending == ".pth":
        torch.save(weights, path)
    else:
        save_file(weights, path)
    monkeypatch.setattr(vggish, "VGGishConfig", lambda: TINY)
    waveform = 0.1 * torch.randn(16_000)
    embedding = load_vggish(path, relu=True)
    expected = VGGishEmbedding(network=network, relu=True)
    # Where the weights lie in memory may decide how they are summed up.
    np.testing.assert_allclose(embedding.embed(waveform), expected.embed(waveform), rtol=1e-5, atol=1e-4)
    assert embedding.fingerprint() == expected.fingerprint()


def test_a_file_of_other_widths_is_not_the_published_network(tmp_path: Path) -> None:
    path = tmp_path / "small.pth"
    torch.save(renamed(dict(tiny().state_dict())), path)
    with pytest.raises(
        UsageError, match=r"features\.0\.weight is \[2, 1, 3, 3\] and should be \[64, 1, 3, 3\]"
    ):
        load_vggish(path)


def test_every_fault_is_named_as_the_file_names_it() -> None:
    weights = renamed(dict(tiny().state_dict()))
    del weights["embeddings.2.bias"], weights["features.0.weight"]
    weights["pproc.pca_means"] = torch.zeros(6, 1)
    weights["features.3.bias"] = torch.zeros(9)
    weights["features.6.bias"] = torch.full((4,), math.nan)
    weights["features.8.bias"] = torch.zeros(4, dtype=torch.int64)
    with pytest.raises(UsageError) as refusal:
        vggish_of_weights(weights, config=TINY, name="w.pth")
    for fault in (
        "w.pth is not VGGish",
        "embeddings.2.bias is missing",
        "features.0.weight is missing",
        "pproc.pca_means does not belong to it",
        "features.3.bias is [9] and should be [3]",
        "features.6.bias holds NaN or infinity",
        "features.8.bias is torch.int64 and should be torch.float32",
    ):
        assert fault in str(refusal.value)


class Harmful:
    """What a pickle could carry."""


def test_files_that_are_no_weights_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="there is no file"):
        load_vggish(tmp_path / "none.pth")
    for name in ("text.pth", "text.safetensors"):
        (tmp_path / name).write_text("no weights")
        with pytest.raises(UsageError, match="cannot be read as weights"):
            load_vggish(tmp_path / name)
    torch.save({"epoch": 3}, tmp_path / "other.pth")
    with pytest.raises(UsageError, match="other things than tensors"):
        load_vggish(tmp_path / "other.pth")
    torch.save(Harmful(), tmp_path / "code.pth")
    with pytest.raises(UsageError, match="cannot be read as weights"):
        load_vggish(tmp_path / "code.pth")


def test_a_network_has_six_convolutions() -> None:
    with pytest.raises(UsageError, match="six convolutions"):
        VGGishConfig(channels=(1, 2))
    with pytest.raises(UsageError, match="1 or more"):
        VGGishConfig(hidden=0)

"""CLAP as an embedding, on a tiny random model of the same classes, and what the loader refuses."""

import json
import math
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from hafm.errors import AudioContentError, BundleNotFound, UsageError
from hafm.evaluate.embeddings.base import Embedding, embed_sound
from hafm.evaluate.embeddings.clap import ClapEmbedding, load_clap

if TYPE_CHECKING:
    from transformers import ClapFeatureExtractor, ClapModel

RATE = 8_000
WINDOW = 5 * RATE


def tiny(*, fused: bool = False, seed: int = 0) -> "ClapModel":
    from transformers import ClapConfig, ClapModel

    torch.manual_seed(seed)
    config = ClapConfig(
        text_config={
            "vocab_size": 9,
            "hidden_size": 8,
            "num_hidden_layers": 1,
            "num_attention_heads": 1,
            "intermediate_size": 8,
            "max_position_embeddings": 8,
        },
        audio_config={
            "spec_size": 64,
            "num_mel_bins": 16,
            "window_size": 2,
            "patch_embeds_hidden_size": 4,
            "hidden_size": 8,
            "depths": [1, 1],
            "num_attention_heads": [1, 2],
            "num_hidden_layers": 2,
            "enable_fusion": fused,
        },
        projection_dim=6,
        projection_hidden_act="gelu",  # unlike the default of the audio tower's own configuration
    )
    model = ClapModel(config)
    with torch.no_grad():  # the default initialisation is so small that sounds hardly differ
        for weight in model.audio_projection.parameters():
            torch.nn.init.normal_(weight)
        for name, weight in model.audio_model.named_parameters():
            if "bias" not in name and weight.ndim > 1:
                torch.nn.init.normal_(weight, std=0.3)
    return model.eval()


def front_end(**changes: object) -> "ClapFeatureExtractor":
    from transformers import ClapFeatureExtractor

    settings = {
        "feature_size": 16,
        "sampling_rate": RATE,
        "hop_length": 320,
        "fft_window_size": 512,
        "frequency_min": 50,
        "frequency_max": 4_000,
        "truncation": "rand_trunc",
    }
    return ClapFeatureExtractor(**settings | changes)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("models") / "tiny-clap"
    tiny().save_pretrained(path)
    front_end().save_pretrained(path)
    return path


@pytest.mark.long
def test_a_point_is_what_the_whole_model_says_of_five_seconds(folder: Path) -> None:
    embedding = load_clap(folder)
    assert isinstance(embedding, Embedding)
    assert (embedding.name, embedding.sample_rate, embedding.dim) == ("clap-tiny-clap", RATE, 6)
    sound = 0.1 * torch.randn(2 * WINDOW + WINDOW // 2)
    points = embedding.embed(sound)
    assert points.shape == (2, 6)
    assert points.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(points, axis=1), 1, rtol=1e-5)
    model = tiny()
    for index, point in enumerate(points):
        window = sound[index * WINDOW : (index + 1) * WINDOW].numpy()
        # Its own front end repeats short sounds to 10 s, as LAION's "repeatpad" does.
        inputs = front_end()(window, sampling_rate=RATE, return_tensors="pt")
        with torch.no_grad():
            expected = model.get_audio_features(**inputs).pooler_output[0]
        np.testing.assert_allclose(point, expected, atol=1e-5)
    assert np.abs(points[0] - points[1]).max() > 1e-3


@pytest.mark.long
def test_the_same_sound_gives_the_same_point_alone_and_in_a_batch(folder: Path) -> None:
    embedding, sound = load_clap(folder), torch.randn(10 * WINDOW)
    together = embedding.embed(sound)
    np.testing.assert_array_equal(embedding.embed(sound), together)
    for index in (0, 3, 9):
        alone = embedding.embed(sound[index * WINDOW : (index + 1) * WINDOW])
        np.testing.assert_allclose(alone[0], together[index], atol=1e-5)


def test_the_front_end_is_given_all_that_it_hears(folder: Path, tmp_path: Path) -> None:
    """So what it would pad short sounds with does not matter: here zeros, not repetition."""
    for file in folder.iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    front_end(padding="pad").save_pretrained(tmp_path)
    sound = torch.randn(WINDOW)
    np.testing.assert_array_equal(load_clap(tmp_path).embed(sound), load_clap(folder).embed(sound))


def test_silence_is_finite_and_other_rates_are_resampled(folder: Path) -> None:
    embedding = load_clap(folder)
    assert np.isfinite(embedding.embed(torch.zeros(WINDOW))).all()
    assert embed_sound(embedding, torch.zeros(44_100 * 10), sample_rate=44_100).shape == (2, 6)


@pytest.mark.parametrize(
    "length", [*(pytest.param(length, marks=pytest.mark.slow) for length in (0, 1)), WINDOW - 1]
)
def test_short_sounds_are_refused(folder: Path, length: int) -> None:
    with pytest.raises(AudioContentError, match=r"needs 5\.000 s"):
        load_clap(folder).embed(torch.zeros(length))
    with pytest.raises(AudioContentError, match="NaN or infinity"):
        load_clap(folder).embed(torch.full((WINDOW,), math.nan))


def test_fingerprint_covers_weights_and_front_end() -> None:
    def made(*, seed: int = 0, **changes: object) -> str:
        from transformers import ClapAudioModelWithProjection

        whole = tiny(seed=seed)
        model = ClapAudioModelWithProjection(whole.config.audio_config)
        model.audio_model, model.audio_projection = whole.audio_model, whole.audio_projection
        return ClapEmbedding(model=model, front_end=front_end(**changes), label="x").fingerprint()

    assert len({made(), made(seed=1), made(frequency_min=0), made(hop_length=400)}) == 4
    assert made() == made()


def test_the_fingerprint_of_a_folder_does_not_depend_on_its_place(folder: Path, tmp_path: Path) -> None:
    copy = tmp_path / "renamed"
    copy.mkdir()
    for file in folder.iterdir():
        (copy / file.name).write_bytes(file.read_bytes())
    assert load_clap(copy).fingerprint() == load_clap(folder).fingerprint()
    assert load_clap(copy).name == "clap-renamed"


def test_models_with_fusion_are_refused(tmp_path: Path) -> None:
    tiny(fused=True).save_pretrained(tmp_path)
    front_end(truncation="fusion").save_pretrained(tmp_path)
    with pytest.raises(UsageError, match="CLAP with fusion, whose embeddings are drawn at random"):
        load_clap(tmp_path)


def test_other_spans_than_whole_windows_are_refused(folder: Path, tmp_path: Path) -> None:
    for file in folder.iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    front_end(max_length_s=7).save_pretrained(tmp_path)
    with pytest.raises(UsageError, match="hears 7 s at a time, not whole windows of 5 s"):
        load_clap(tmp_path)


@pytest.mark.parametrize("missing", ["config.json", "preprocessor_config.json", "model.safetensors"])
def test_every_file_is_needed_and_pickles_are_none(folder: Path, tmp_path: Path, missing: str) -> None:
    for file in folder.iterdir():
        if file.name != missing:
            (tmp_path / file.name).write_bytes(file.read_bytes())
    torch.save({}, tmp_path / "pytorch_model.bin")
    with pytest.raises(UsageError, match=f"lacks {missing}"):
        load_clap(tmp_path)


def test_weights_are_taken_whole_or_refused(folder: Path, tmp_path: Path) -> None:
    for file in folder.iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    weights = load_file(folder / "model.safetensors")
    del weights["audio_projection.linear2.bias"]
    weights["audio_projection.linear1.bias"] = torch.zeros(7)
    weights["audio_projection.linear3.bias"] = torch.zeros(7)
    save_file(weights, tmp_path / "model.safetensors")
    with pytest.raises(UsageError) as refusal:
        load_clap(tmp_path)
    for fault in (
        "audio_projection.linear2.bias is missing",
        "audio_projection.linear3.bias does not belong to it",
        "audio_projection.linear1.bias is [7] and should be [6]",
    ):
        assert fault in str(refusal.value)


def test_configurations_of_other_models_are_refused(folder: Path, tmp_path: Path) -> None:
    for file in folder.iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    config = json.loads((folder / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps(config | {"model_type": "hubert"}))
    with pytest.raises(UsageError, match="holds a model of type 'hubert', not 'clap'"):
        load_clap(tmp_path)
    (tmp_path / "config.json").write_text(json.dumps(config | {"projection_dim": "six"}))
    with pytest.raises(UsageError, match="does not describe CLAP"):
        load_clap(tmp_path)
    (tmp_path / "config.json").write_text("{")
    with pytest.raises(UsageError, match="cannot be read as JSON"):
        load_clap(tmp_path)


def test_hub_ids_are_pinned(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UsageError, match="a hub id needs a commit"):
        load_clap("laion/larger_clap_music")
    with pytest.raises(UsageError, match="40 hex digits"):
        load_clap("laion/larger_clap_music", revision="main")
    with pytest.raises(UsageError, match="is not a hub id"):
        load_clap("larger_clap_music", revision=40 * "a")
    with pytest.raises(BundleNotFound, match="connect to the network once"):
        load_clap("laion/larger_clap_music", revision=40 * "a")
    monkeypatch.chdir(tmp_path)
    (tmp_path / "laion").mkdir()
    (tmp_path / "laion" / "larger_clap_music").mkdir()
    with pytest.raises(UsageError, match="is a folder here, and folders have no revisions"):
        load_clap("laion/larger_clap_music", revision=40 * "a")

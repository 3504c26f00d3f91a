"""The EnCodec adapter, on a tiny random model of the same class."""

import math
from fractions import Fraction
from typing import TYPE_CHECKING

import pytest
import torch

from hafm.errors import BundleNotFound, UsageError
from hafm.tokens import encodec as module
from hafm.tokens.base import Codec
from hafm.tokens.encodec import EncodecCodec

if TYPE_CHECKING:
    from transformers import EncodecModel


def tiny(*, seed: int = 0, **changes: object) -> "EncodecModel":
    from transformers import EncodecConfig, EncodecModel

    torch.manual_seed(seed)
    values: dict[str, object] = {"num_filters": 2, "hidden_size": 8, "codebook_dim": 8, "num_lstm_layers": 1}
    model = EncodecModel(EncodecConfig(**{**values, **changes})).eval()
    # A random EncodecModel has codebooks of zeros only: all ids would be 0, and every test would pass. They
    # get the statistics of what this encoder puts out, or one entry would be nearest to everything. Its last
    # layer is made louder, so that the decoder hears one code from another.
    with torch.no_grad():
        model.encoder.layers[-1].conv.parametrizations.weight.original0.mul_(100)
        latent = model.encoder(torch.randn(1, int(changes.get("audio_channels", 1)), 32_000))[0]
    mean, deviation = latent.mean(dim=1), latent.std(dim=1)
    for depth, layer in enumerate(model.quantizer.layers):
        entries = torch.randn(layer.codebook.embed.shape) * deviation * 0.7**depth
        layer.codebook.embed.copy_(entries + mean if depth == 0 else entries)
    return model


@pytest.fixture(scope="module")
def codec() -> EncodecCodec:
    return EncodecCodec(model=tiny())


def test_it_is_a_codec_with_the_rates_of_the_paper(codec: EncodecCodec) -> None:
    assert isinstance(codec, Codec)
    assert (codec.sample_rate, codec.frame_rate, codec.num_codebooks, codec.cardinality) == (
        24_000,
        Fraction(75),
        8,
        1024,
    )
    assert codec.to("cpu") is codec


@pytest.mark.parametrize("length", [1, 2, 319, 320, 321, 639, 640, 23_999, 24_000, 24_001])
def test_frames_are_the_ceiling_for_every_length(codec: EncodecCodec, length: int) -> None:
    codes = codec.encode(torch.randn(2, 1, length))
    assert codes.shape == (2, 8, math.ceil(length / 320))
    assert codes.dtype == torch.int64
    assert codec.decode(codes).shape == (2, 1, 320 * codes.shape[2])


@pytest.mark.parametrize(
    "length", [1, 320 * 40, 320 * 41, pytest.param(320 * 97 + 5, marks=pytest.mark.slow)]
)
@torch.no_grad()
def test_the_encoder_in_pieces_is_the_encoder_of_the_whole(
    codec: EncodecCodec, length: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    sound = torch.randn(2, 1, length)
    whole = torch.nn.functional.pad(sound, (0, -length % 320))
    expected = codec._model.encoder(whole)
    assert codec._latent(whole).equal(expected)  # of one piece
    monkeypatch.setattr(module, "PIECE_FRAMES", 40)
    torch.testing.assert_close(codec._latent(whole), expected, atol=1e-4, rtol=1e-4)
    reference = codec._model.encode(whole, bandwidth=6.0, return_dict=True).audio_codes[0]
    assert (codec.encode(sound) == reference).double().mean() > 0.99  # but for near ties
    if length > 320 * 40:
        monkeypatch.setattr(codec, "_context_frames", 0)
        assert not torch.allclose(codec._latent(whole), expected, atol=1e-4, rtol=1e-4)


def test_a_frame_looks_back_by_less_than_two(codec: EncodecCodec) -> None:
    assert codec._context_frames == 2


def test_an_encoder_that_looks_ahead_is_refused() -> None:
    with pytest.raises(UsageError, match="looks ahead"):
        EncodecCodec(model=tiny(use_causal_conv=False))


def test_codes_are_not_all_zero(codec: EncodecCodec) -> None:
    codes = codec.encode(torch.randn(1, 1, 24_000))
    assert all(len(codes[0, k].unique()) > 5 for k in range(8))


def test_equal_to_the_model_itself(codec: EncodecCodec) -> None:
    sound = torch.randn(2, 1, 3_200)
    model = tiny()
    with torch.no_grad():
        expected = model.encode(sound, bandwidth=6.0, return_dict=True)
        decoded = model.decode(expected.audio_codes, expected.audio_scales, return_dict=True).audio_values
    assert torch.equal(codec.encode(sound), expected.audio_codes[0])
    torch.testing.assert_close(codec.decode(expected.audio_codes[0]), decoded[..., :3_200])


@pytest.mark.parametrize("given", [*(pytest.param(given, marks=pytest.mark.slow) for given in (1, 7)), 4])
def test_the_first_codebooks_decode_alone(codec: EncodecCodec, given: int) -> None:
    """k codebooks decode to what a sum of k rows of the model's own tables decodes to."""
    codes = codec.encode(torch.randn(1, 1, 3_200))
    model = tiny()
    latent = sum(model.quantizer.layers[k].codebook.embed[codes[0, k]] for k in range(given))
    with torch.no_grad():
        expected = model.decoder(latent.T[None])
    torch.testing.assert_close(codec.decode(codes[:, :given]), expected[..., :3_200])
    assert not torch.allclose(codec.decode(codes[:, :given]), codec.decode(codes), atol=1e-5)


def test_padding_is_zeros(codec: EncodecCodec) -> None:
    sound = torch.randn(1, 1, 1_000)
    assert torch.equal(codec.encode(sound), codec.encode(torch.nn.functional.pad(sound, (0, 280))))


def test_rows_do_not_see_each_other(codec: EncodecCodec) -> None:
    sound = torch.randn(3, 1, 2_000)
    assert torch.equal(codec.encode(sound), torch.cat([codec.encode(row[None]) for row in sound]))


@pytest.mark.long
def test_fingerprint_covers_weights_and_bandwidth() -> None:
    first = EncodecCodec(model=tiny())
    assert first.fingerprint() == EncodecCodec(model=tiny()).fingerprint()
    others = {
        EncodecCodec(model=tiny(seed=1)).fingerprint(),
        EncodecCodec(model=tiny(), bandwidth_kbps=3.0).fingerprint(),
    }
    assert len(others | {first.fingerprint()}) == 3


def test_what_cannot_be_is_refused(codec: EncodecCodec) -> None:
    with pytest.raises(UsageError, match=r"no bandwidth of 5.0 kbps, choose from \[1.5"):
        EncodecCodec(model=tiny(), bandwidth_kbps=5.0)
    with pytest.raises(UsageError, match="48 kHz"):
        EncodecCodec(model=tiny(normalize=True))
    with pytest.raises(UsageError, match="40 hex digits"):
        EncodecCodec.from_hub(revision="main")
    with pytest.raises(ValueError, match="at least one sample"):
        codec.encode(torch.zeros(1, 1, 0))
    with pytest.raises(ValueError, match=r"\[B, 1\.\.8, F\]"):
        codec.decode(torch.zeros(1, 9, 3, dtype=torch.int64))
    with pytest.raises(ValueError, match=r"0\.\.1023, got 0\.\.1024"):
        codec.decode(torch.tensor([[[0, 1024]]]))


def test_without_hub_and_cache_the_message_says_what_to_do(tmp_path: object) -> None:
    with pytest.raises(BundleNotFound, match="built-in bundle"):
        EncodecCodec.from_hub(str(tmp_path))

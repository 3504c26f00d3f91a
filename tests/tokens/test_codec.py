"""The codec as a whole: the contract, frame counts, pieces against the whole, and files."""

import inspect
import json
import math
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import pytest
import torch
from torch.nn import functional as F

from hafm.errors import BundleDamaged, BundleNotFound, UsageError
from hafm.rates import frames_for
from hafm.tokens.base import Codec
from hafm.tokens.codec.config import CodecConfig, LowsConfig
from hafm.tokens.codec.model import SpectralCodec
from hafm.tokens.codec.quantizer import ResidualQuantizer
from tests.crossed import crossed

CONFIG = CodecConfig(
    width=16,
    hidden=24,
    encoder_blocks=1,
    decoder_blocks=2,
    cardinality=32,
    codebook_dim=4,
    phase_iterations=2,
)
WITH_LOWS = replace(CONFIG, lows=LowsConfig(phase_iterations=1))


@pytest.fixture(params=[CONFIG, WITH_LOWS], ids=["first version", "with lows"])
def codec(request: pytest.FixtureRequest) -> SpectralCodec:
    torch.manual_seed(0)
    return SpectralCodec(config=request.param).eval()


def sound(samples: int, *, batch: int = 1, seed: int = 0) -> torch.Tensor:
    """Three gliding tones and noise, at about -20 dBFS RMS. Shape [B, 1, T]."""
    random = torch.Generator().manual_seed(seed)
    seconds = torch.arange(samples) / 24_000
    tones = sum(torch.sin(2 * math.pi * (hz + 20 * seconds) * seconds) for hz in (110, 277, 880))
    return 0.05 * (torch.as_tensor(tones) + 0.3 * torch.randn(batch, 1, samples, generator=random))


def test_it_is_a_codec(codec: SpectralCodec) -> None:
    assert isinstance(codec, Codec)
    assert (codec.sample_rate, codec.frame_rate) == (24_000, Fraction(75))
    assert (SpectralCodec(config=CodecConfig()).num_codebooks, CodecConfig().cardinality) == (8, 1024)
    assert codec.to("cpu") is codec


@crossed(samples=[1, 2, 319, 320, 480, 959, 321, 23_999, 24_000, 24_001, 1_280, 50_021])
def test_frames_are_the_ceiling_for_every_length(codec: SpectralCodec, samples: int) -> None:
    codes = codec.encode(sound(samples, batch=2))
    frames = frames_for(samples, sample_rate=24_000, frame_rate=Fraction(75))
    assert codes.shape == (2, 8, frames)
    assert codes.dtype == torch.int64
    assert 0 <= int(codes.min()) <= int(codes.max()) < 32
    decoded = codec.decode(codes)
    assert decoded.shape == (2, 1, frames * 320)
    assert bool(torch.isfinite(decoded).all())


def test_the_end_is_padded_with_zeros(codec: SpectralCodec) -> None:
    short = sound(1_000)
    torch.testing.assert_close(codec.encode(short), codec.encode(F.pad(short, (0, 1_280 - 1_000))))


def test_a_row_does_not_depend_on_its_batch(codec: SpectralCodec) -> None:
    both = torch.cat((sound(9_000, seed=1), sound(9_000, seed=2)))
    codes = codec.encode(both)
    assert torch.equal(codec.encode(both[1:]), codes[1:])
    torch.testing.assert_close(codec.decode(codes[1:]), codec.decode(codes)[1:])


@pytest.mark.parametrize("piece_frames", [pytest.param(1, marks=pytest.mark.slow), 7, 40, 99])
def test_encoding_in_pieces_is_encoding_the_whole(codec: SpectralCodec, piece_frames: int) -> None:
    waveform = sound(100 * 320 - 17)
    assert torch.equal(codec.encode(waveform, piece_frames=piece_frames), codec.encode(waveform))


@pytest.mark.parametrize(
    "piece_frames", [*(pytest.param(frames, marks=pytest.mark.slow) for frames in (1, 7)), 40, 99]
)
def test_decoding_in_pieces_is_decoding_the_whole(codec: SpectralCodec, piece_frames: int) -> None:
    codes = codec.encode(sound(100 * 320, batch=2))
    whole, pieces = codec.decode(codes), codec.decode(codes, piece_frames=piece_frames)
    assert float((pieces - whole).abs().max()) < 1e-4 * float(whole.abs().max())


def test_pieces_need_all_of_their_context(codec: SpectralCodec, monkeypatch: pytest.MonkeyPatch) -> None:
    """The control of the test above: with less context the pieces do differ.

    The edges of windows weigh next to nothing, above all of long ones, so it takes more than a frame less.
    """
    codes = codec.encode(sound(150 * 320))
    whole = codec.decode(codes)
    context = codec.config.phase_context_frames
    monkeypatch.setattr(CodecConfig, "phase_context_frames", property(lambda self: context // 6))
    assert float((codec.decode(codes, piece_frames=40) - whole).abs().max()) > 1e-4 * float(whole.abs().max())


def test_contexts_are_the_receptive_fields(codec: SpectralCodec) -> None:
    """One changed code reaches exactly as far as `CodecConfig` says (found by change, not by formula)."""
    codes = codec.encode(sound(101 * 320))
    changed = codes.clone()
    changed[0, :, 50] = (changed[0, :, 50] + 1) % 32
    levels = [codec.predict(codec.quantizer.latent_of(c)).level[0] for c in (codes, changed)]
    moved = (levels[0] != levels[1]).any(-1).nonzero().flatten()
    reach = codec.config.decoder_context_frames
    assert (int(moved.min()), int(moved.max())) == (50 - reach, 50 + reach)

    waveform = sound(101 * 320)
    bumped = waveform.clone()
    bumped[0, 0, 50 * 320 : 51 * 320] *= -3
    latents = [codec.latent(codec.views(w[:, 0])) for w in (waveform, bumped)]
    moved = (latents[0] != latents[1]).any(-1)[0].nonzero().flatten()
    reach = codec.config.encoder_context_frames
    # An advance looks one frame back, never ahead.
    first = 50 - reach if codec.config.lows is None else 51 - reach
    assert (int(moved.min()), int(moved.max())) == (first, 50 + reach)


def test_decoding_repeats_itself(codec: SpectralCodec) -> None:
    codes = codec.encode(sound(24_000))
    assert torch.equal(codec.decode(codes), codec.decode(codes))


@crossed(prefix=[1, 3, 2, 4, 5, 7, 8, 6])
def test_a_prefix_decodes_the_sum_of_its_codebooks(codec: SpectralCodec, prefix: int) -> None:
    codes = codec.encode(sound(6_400))
    latent = codec.quantizer.latent_of(codes[:, :prefix])
    slow = torch.zeros_like(latent)
    for k in range(prefix):
        for t in range(codes.shape[-1]):
            entry = codec.quantizer.codebooks[k, codes[0, k, t]]
            slow[0, t] += codec.quantizer.project_out[k](entry)
    torch.testing.assert_close(latent, slow)
    assert codec.decode(codes[:, :prefix]).shape == (1, 1, 6_400)


def test_quantising_takes_the_nearest_entry_of_what_is_left() -> None:
    torch.manual_seed(3)
    quantizer = ResidualQuantizer(width=6, num_codebooks=3, cardinality=9, codebook_dim=3)
    latent = torch.randn(1, 4, 6)
    found = quantizer(latent)
    for t in range(4):
        residual = latent[0, t]
        for k in range(3):
            point = quantizer.project_in[k](residual)
            distances = [
                float((entry - point.detach() / point.detach().norm()).norm())
                for entry in quantizer.codebooks[k]
            ]
            code = distances.index(min(distances))
            assert code == int(found.codes[0, k, t])
            residual = residual - quantizer.project_out[k](quantizer.codebooks[k, code])
    torch.testing.assert_close(found.latent, quantizer.latent_of(found.codes))
    torch.testing.assert_close(
        quantizer(latent, torch.tensor([2])).latent, quantizer.latent_of(found.codes[:, :2])
    )


def test_gradients_reach_the_encoder_through_the_rounding() -> None:
    quantizer = ResidualQuantizer(width=6, num_codebooks=2, cardinality=9, codebook_dim=3)
    latent = torch.randn(1, 4, 6, requires_grad=True)
    quantizer(latent).latent.square().sum().backward()
    assert latent.grad is not None
    assert float(latent.grad.abs().sum()) > 0


@pytest.mark.parametrize("shape", [(24_000,), (1, 24_000), (1, 2, 24_000), (1, 1, 0)])
def test_waveforms_of_another_shape_are_refused(codec: SpectralCodec, shape: tuple[int, ...]) -> None:
    with pytest.raises(UsageError, match=r"takes \[batch, 1, samples\]"):
        inspect.unwrap(SpectralCodec.encode)(codec, torch.zeros(shape))  # past the tests' own check of shapes


@pytest.mark.parametrize("shape", [(1, 9, 5), (1, 0, 5), (1, 8, 0)])
def test_codes_of_another_shape_are_refused(codec: SpectralCodec, shape: tuple[int, ...]) -> None:
    with pytest.raises(UsageError, match="1 to 8 codebooks"):
        codec.decode(torch.zeros(shape, dtype=torch.int64))


@pytest.mark.parametrize("bad", [-1, 32])
def test_ids_out_of_range_are_refused(codec: SpectralCodec, bad: int) -> None:
    codes = torch.zeros(1, 8, 3, dtype=torch.int64)
    codes[0, 4, 1] = bad
    with pytest.raises(UsageError, match="must be in 0 to 31"):
        codec.decode(codes)


def test_what_is_loaded_is_what_was_saved(codec: SpectralCodec, tmp_path: Path) -> None:
    before = codec.fingerprint()
    codec.save(tmp_path / "codec")
    loaded = SpectralCodec.load(tmp_path / "codec")
    waveform = sound(24_000)
    codes = codec.encode(waveform)
    assert torch.equal(loaded.encode(waveform), codes)
    assert torch.equal(loaded.decode(codes), codec.decode(codes))
    assert loaded.fingerprint() == codec.fingerprint() != before
    assert loaded.config == codec.config
    assert all(tensor.dtype == torch.float32 for tensor in loaded.state_dict().values())
    again = tmp_path / "again"
    loaded.save(again)
    assert (again / "weights.safetensors").read_bytes() == (
        tmp_path / "codec/weights.safetensors"
    ).read_bytes()


def test_rounded_weights_are_halves_of_the_originals(codec: SpectralCodec) -> None:
    original = {name: tensor.clone() for name, tensor in codec.state_dict().items()}
    codec.round_weights()
    for name, tensor in codec.state_dict().items():
        assert torch.equal(tensor, original[name].half().float())


def test_a_fingerprint_covers_configuration_and_weights(codec: SpectralCodec) -> None:
    print_before = codec.fingerprint()
    codec.decoder[-1].bias.data[3] += 1e-3
    assert codec.fingerprint() != print_before
    torch.manual_seed(0)
    other = SpectralCodec(config=replace(codec.config, phase_iterations=3))
    assert other.fingerprint() != print_before


def test_weights_that_float16_cannot_hold_are_not_saved(codec: SpectralCodec, tmp_path: Path) -> None:
    codec.decoder[-1].bias.data[3] = 1e6
    with pytest.raises(ValueError, match=r"decoder\.3\.bias|decoder\.\d+\.bias"):
        codec.save(tmp_path)
    assert not (tmp_path / "config.json").exists()


def test_a_changed_byte_is_found(codec: SpectralCodec, tmp_path: Path) -> None:
    codec.save(tmp_path)
    weights = bytearray((tmp_path / "weights.safetensors").read_bytes())
    weights[-5] ^= 1
    (tmp_path / "weights.safetensors").write_bytes(bytes(weights))
    with pytest.raises(BundleDamaged, match="a file was changed"):
        SpectralCodec.load(tmp_path)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", "not a codec's configuration"),
        ("[]", "not a codec's configuration"),
        ('{"kind": "other", "fingerprint": ""}', "describes a 'other'"),
    ],
)
def test_a_configuration_that_is_none_is_refused(
    codec: SpectralCodec, tmp_path: Path, content: str, message: str
) -> None:
    codec.save(tmp_path)
    (tmp_path / "config.json").write_text(content)
    with pytest.raises(BundleDamaged, match=message):
        SpectralCodec.load(tmp_path)


def test_unknown_and_missing_settings_are_refused(codec: SpectralCodec, tmp_path: Path) -> None:
    codec.save(tmp_path)
    values = json.loads((tmp_path / "config.json").read_text())
    values["colour"] = values.pop("width")
    (tmp_path / "config.json").write_text(json.dumps(values))
    with pytest.raises(BundleDamaged, match=r"unknown \['colour'\], missing \['width'\]"):
        SpectralCodec.load(tmp_path)


def test_missing_files_are_named(codec: SpectralCodec, tmp_path: Path) -> None:
    with pytest.raises(BundleNotFound, match=r"it has no config\.json"):
        SpectralCodec.load(tmp_path)
    codec.save(tmp_path)
    (tmp_path / "weights.safetensors").unlink()
    with pytest.raises(BundleDamaged, match=r"weights\.safetensors"):
        SpectralCodec.load(tmp_path)


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("hop_samples", 0, "whole number, 1 or more"),
        ("window_samples", 960, "4 hops or more"),
        ("kernel_frames", 4, "must be odd"),
        ("codebook_dim", 1, "2 dimensions"),
        ("phase_momentum", 1.0, "below 1"),
        ("phase_iterations", -1, "0 or more"),
    ],
)
def test_sizes_out_of_range_are_refused(field: str, value: float, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        CodecConfig(**{**CONFIG.to_json(), field: value})


def test_the_builtin_size_fits_its_budget() -> None:
    codec = SpectralCodec(config=CodecConfig())
    assert sum(tensor.numel() for tensor in codec.state_dict().values()) <= 5_500_000

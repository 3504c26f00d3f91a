"""The pipeline on a tiny random bundle: lengths, takes, defaults, levels, memory, and what is refused."""

import gc
import math
import weakref
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import torch

from hafm import Accompaniment, Accompanist
from hafm.audio.io import audio_from_array
from hafm.audio.loudness import integrated_lufs
from hafm.audio.true_peak import true_peak_dbtp
from hafm.errors import AudioContentError, BundleError, DeviceError, OutputError, UsageError
from hafm.generate import steps
from hafm.generate.record import GenerationRecord
from hafm.generate.sampling import LIKELIEST, SamplingSettings
from hafm.guide.corrections import Corrections
from hafm.progress import Progress
from hafm.rates import CODEC_RATE, SEMANTIC_RATE, frames_for
from hafm.stages.bundle import Bundle
from hafm.stages.bundle_writer import write_bundle
from hafm.stages.stage_model import StageModel
from hafm.tokens.codec.model import SpectralCodec
from tests.tiny import CODEBOOKS, PATTERNS, RATE, same, sung, tiny_ingredients, tiny_stages
from tests.unchecked import unchecked


@pytest.fixture(scope="module")
def preview(tiny_accompanist: Accompanist) -> Accompaniment:
    """What the sung half second gets with all settings left alone, without the fine stage."""
    return tiny_accompanist.generate(sung(), sample_rate=RATE, skip_fine=True)


# ---- patterns


@pytest.fixture(scope="module")
def flat(tmp_path_factory: pytest.TempPathFactory) -> Accompanist:
    """A bundle whose stages are flat, as the paper's; those of the others are as in the built-in bundle."""
    folder = tmp_path_factory.mktemp("bundles") / "flat"
    patterns = dict.fromkeys(PATTERNS, "flat")
    write_bundle(folder, tiny_ingredients(stages=tiny_stages(patterns, seed=7)))
    accompanist = Accompanist.from_pretrained(folder)
    assert {name: accompanist.bundle.spec(name).pattern for name in patterns} == patterns
    return accompanist


@pytest.mark.slow
@pytest.mark.parametrize(
    ("is_flat", "seconds"),
    [(True, 0.5), (True, 2.7), (False, 2.2)],  # a window has 2 s
)
@unchecked()
def test_takes_of_all_patterns_are_made_together_alone_or_from_their_records(
    flat: Accompanist, tiny_accompanist: Accompanist, is_flat: bool, seconds: float
) -> None:
    accompanist, seen = flat if is_flat else tiny_accompanist, list[Progress]()
    vocal, num_frames = sung(seconds), math.ceil(75 * seconds)
    takes = accompanist.generate_takes(vocal, sample_rate=RATE, takes=2, on_progress=seen.append)
    for made in takes:
        assert made.waveform.shape == vocal.shape
        assert made.tokens.codes.shape == (CODEBOOKS, num_frames)
    assert same(takes[0], accompanist.generate(vocal, sample_rate=RATE, take=0))
    assert same(takes[1], accompanist.replay(takes[1].record, vocal=vocal, sample_rate=RATE))
    assert not same(*takes)
    assert [(each.done, each.total) for each in seen if each.step == "fine"][-1] == (num_frames,) * 2


def test_a_parallel_stage_takes_the_likeliest_codes_whatever_the_settings(
    tiny_accompanist: Accompanist, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Temperature, top-k and guidance are for the stages that draw."""
    used: dict[str, SamplingSettings] = {}
    generate_long = steps.generate_long

    def spy(model: StageModel, conditions: Any, **arguments: Any) -> torch.Tensor:
        used[model.spec.name] = arguments["settings"]
        return generate_long(model, conditions, **arguments)

    monkeypatch.setattr(steps, "generate_long", spy)
    tiny_accompanist.generate(sung(), sample_rate=RATE, temperature=1.25, top_k=3, guidance=2.0)
    drawn = SamplingSettings(temperature=1.25, top_k=3, guidance=2.0)
    assert used == {"semantic": drawn, "coarse": drawn, "fine": LIKELIEST}


# ---- lengths


@pytest.mark.parametrize(
    ("sample_rate", "num_samples", "channels"),
    [
        pytest.param(24_000, 12_000, 1, marks=pytest.mark.slow),
        (44_100, 26_461, 2),
        pytest.param(8_000, 4_003, 1, marks=pytest.mark.slow),
    ],
)
def test_as_long_as_the_vocal_at_its_own_rate(
    tiny_accompanist: Accompanist, sample_rate: int, num_samples: int, channels: int
) -> None:
    vocal = sung(num_samples / sample_rate, sample_rate=sample_rate, channels=channels)
    assert vocal.shape == (channels, num_samples)
    made = tiny_accompanist.generate(vocal, sample_rate=sample_rate)
    assert made.sample_rate == sample_rate
    assert made.waveform.shape == (1, num_samples)
    assert made.waveform.dtype == torch.float32
    assert made.waveform.isfinite().all()
    at_50 = frames_for(num_samples, sample_rate=sample_rate, frame_rate=SEMANTIC_RATE)
    at_75 = frames_for(num_samples, sample_rate=sample_rate, frame_rate=CODEC_RATE)
    assert made.tokens.vocal_semantic.shape == made.tokens.instrumental_semantic.shape == (at_50,)
    assert made.tokens.codes.shape == (CODEBOOKS, at_75)
    assert made.mix().shape == (channels, num_samples)


@pytest.mark.parametrize(
    "num_samples", [12_161, *(pytest.param(n, marks=pytest.mark.slow) for n in (12_480, 12_481))]
)
@unchecked()
def test_lengths_at_which_the_rates_round_differently(
    tiny_accompanist: Accompanist, num_samples: int
) -> None:
    """12 161 samples are 26 frames at 50 Hz and 39 at 75 Hz, which reach over 26; 12 481 are 27 and 40."""
    made = tiny_accompanist.generate(sung(num_samples / RATE), sample_rate=RATE, skip_fine=True)
    assert made.waveform.shape == (1, num_samples)


def test_a_condition_that_is_a_frame_short_repeats_its_last() -> None:
    ids = torch.tensor([[[1, 2, 3]]])
    assert steps.fit_frames(ids, 3) is ids
    assert steps.fit_frames(ids, 4).tolist() == [[[1, 2, 3, 3]]]
    for wrong in (2, 5):
        with pytest.raises(AssertionError):
            steps.fit_frames(ids, wrong)
    needed = [
        (
            frames_for(n, sample_rate=RATE, frame_rate=SEMANTIC_RATE),
            -(-frames_for(n, sample_rate=RATE, frame_rate=CODEC_RATE) * 2 // 3),
        )
        for n in range(1, 2 * 960)
    ]
    assert {there - have for have, there in needed} == {0, 1}


@pytest.mark.slow
@unchecked()
def test_a_vocal_longer_than_the_windows(tiny_accompanist: Accompanist) -> None:
    reports: list[Progress] = []
    made = tiny_accompanist.generate(sung(3.1), sample_rate=RATE, skip_fine=True, on_progress=reports.append)
    assert made.waveform.shape == (1, 74_400)
    assert made.tokens.codes.shape == (CODEBOOKS // 2, 233)
    assert reports[-1] == Progress(step="coarse", done=233, total=233)


# ---- takes and seeds


@pytest.mark.long
@unchecked()
def test_a_take_alone_is_the_take_of_many(tiny_accompanist: Accompanist) -> None:
    vocal = sung()
    takes = tiny_accompanist.generate_takes(vocal, takes=2, sample_rate=RATE, seed=4)
    for number, take in enumerate(takes):
        alone = tiny_accompanist.generate(vocal, sample_rate=RATE, seed=4, take=number)
        assert same(alone, take)
        assert alone.record == take.record
        assert take.record.settings.take == number
    assert not takes[0].tokens.codes.equal(takes[1].tokens.codes)


@pytest.mark.slow
def test_a_vocal_of_a_batch_is_as_if_alone(tiny_accompanist: Accompanist) -> None:
    vocals = [sung(0.6), sung(0.6).flip(-1)]
    batch = tiny_accompanist.generate_batch(vocals, sample_rate=RATE, takes=2, seed=4)
    assert [len(takes) for takes in batch] == [2, 2]
    for vocal, takes in zip(vocals, batch, strict=True):
        for take, made in enumerate(takes):
            alone = tiny_accompanist.generate(vocal, sample_rate=RATE, seed=4, take=take)
            assert same(made, alone)
            assert made.record == alone.record
    assert not same(batch[0][0], batch[1][0])


def test_a_batch_needs_one_length(tiny_accompanist: Accompanist) -> None:
    with pytest.raises(UsageError, match="14400 samples at 24000 Hz, 16800 samples"):
        tiny_accompanist.generate_batch([sung(0.6), sung(0.7)], sample_rate=RATE)
    with pytest.raises(UsageError, match="none"):
        tiny_accompanist.generate_batch([], sample_rate=RATE)
    with pytest.raises(UsageError, match="takes is 0; give a whole number of 1 or more"):
        tiny_accompanist.generate_batch([sung(0.6)], sample_rate=RATE, takes=0)


@unchecked()
def test_the_seed_decides_and_no_global_random_state(
    tiny_accompanist: Accompanist, preview: Accompaniment
) -> None:
    torch.manual_seed(2)
    before = torch.get_rng_state()
    seeds = {
        seed: tiny_accompanist.generate(sung(), sample_rate=RATE, seed=seed, skip_fine=True)
        for seed in (0, 1)
    }
    assert torch.get_rng_state().equal(before)
    assert same(seeds[0], preview)
    assert not seeds[1].tokens.codes.equal(preview.tokens.codes)


@unchecked()
def test_skipping_the_fine_stage_changes_nothing_before_it(
    tiny_accompanist: Accompanist, preview: Accompaniment
) -> None:
    whole = tiny_accompanist.generate(sung(), sample_rate=RATE)
    assert preview.tokens.codes.equal(whole.tokens.codes[: CODEBOOKS // 2])
    assert preview.tokens.codes.shape[0] == CODEBOOKS // 2
    assert not preview.waveform.equal(whole.waveform)


@unchecked()
def test_recordings_that_differ_in_level_alone_get_the_same_tokens(
    tiny_accompanist: Accompanist, preview: Accompaniment
) -> None:
    soft = tiny_accompanist.generate(sung() / 64, sample_rate=RATE, skip_fine=True)
    assert soft.tokens.codes.equal(preview.tokens.codes)


# ---- settings


@unchecked()
def test_none_is_the_bundles_default_and_zero_is_a_value(
    tiny_accompanist: Accompanist, preview: Accompaniment
) -> None:
    def settings(made: Accompaniment) -> tuple[float, int, float]:
        used = made.record.settings
        return used.temperature, used.top_k, used.guidance

    assert settings(preview) == (1.0, 8, 1.5)
    given = {"temperature": 0.0, "top_k": 1, "guidance": 0.0}
    made = tiny_accompanist.generate(sung(), sample_rate=RATE, skip_fine=True, **given)
    assert settings(made) == (0.0, 1, 0.0)


@pytest.mark.slow
@unchecked()
def test_temperature_zero_is_the_same_for_every_seed_but_for_the_noise(tiny_accompanist: Accompanist) -> None:
    bundle = Bundle(
        folder=tiny_accompanist.bundle.folder,
        config=replace(tiny_accompanist.bundle.config, vocal_noise_sigma=0.0),
    )
    still = Accompanist(bundle=bundle)
    one, other = (
        still.generate(sung(), sample_rate=RATE, temperature=0.0, seed=seed, skip_fine=True)
        for seed in (1, 2)
    )
    assert same(one, other)


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"temperature": -1.0}, "temperature"),
        ({"temperature": math.nan}, "temperature"),
        ({"top_k": 0}, "top_k"),
        ({"guidance": -0.5}, "guidance"),
        ({"take": -1}, "take"),
        ({"seconds": 0.0}, "seconds"),
        ({"start_seconds": -1.0}, "start"),
    ],
)
def test_arguments_out_of_range_are_refused(
    tiny_accompanist: Accompanist, wrong: dict[str, Any], said: str
) -> None:
    with pytest.raises(UsageError, match=said):
        tiny_accompanist.generate(sung(), sample_rate=RATE, **wrong)


MISTAKEN: list[tuple[str, dict[str, Any], str]] = [
    *(
        ("generate", {"seed": seed}, f"seed is {seed!r}; give a whole number from 0 to 9223372036854775807")
        for seed in ("x", 1.5, True, None, -1, 2**63)
    ),
    ("generate", {"take": 1.5}, "take is 1.5; give a whole number of 0 or more"),
    ("generate", {"intro_bars": 1.5}, "intro_bars is 1.5; give a whole number of 0 or more"),
    ("generate", {"guide": "sheet.json"}, "guide is of type str; give a LeadSheet; .*read_lead_sheet reads"),
    ("generate", {"guide": {}}, "guide is of type dict"),
    ("generate", {"corrections": {"bpm": 80}}, r"corrections is of type dict; .* Corrections\(bpm=92\)"),
    ("generate", {"temperature": "hot"}, "temperature is 'hot'"),
    ("generate", {"top_k": 1.5}, "top_k is 1.5"),
    ("generate", {"coarse_guidance": "far"}, "coarse guidance is 'far'"),
    ("stream", {"take": 1.5}, "take is 1.5"),
    ("stream", {"guide": Path("sheet.json")}, "guide is of type PosixPath"),
    ("generate_takes", {"takes": 0}, "takes is 0; give a whole number of 1 or more"),
    ("generate_takes", {"takes": 1.5}, "takes is 1.5"),
    ("generate_takes", {"takes": 1, "intro_bars": -1}, "intro_bars is -1"),
    ("generate_batch", {"takes": True}, "takes is True"),
    ("generate_batch", {"guides": ["sheet.json"]}, "guide is of type str"),
    ("analyse", {"given": "sheet.json"}, "given is of type str"),
]


@pytest.mark.parametrize(("method", "wrong", "said"), MISTAKEN)
@unchecked()
def test_mistaken_arguments_are_refused_before_anything_is_read(
    tiny_accompanist: Accompanist, method: str, wrong: dict[str, Any], said: str
) -> None:
    with pytest.raises(UsageError, match=said):
        getattr(tiny_accompanist, method)(["not there.wav"] if method == "generate_batch" else "no", **wrong)


@unchecked()
def test_what_is_no_record_is_refused(tiny_accompanist: Accompanist, preview: Accompaniment) -> None:
    with pytest.raises(
        UsageError, match=r"kept is of type Accompaniment; give the path of a generation\.json"
    ):
        tiny_accompanist.regenerate(preview, start_seconds=0.0, end_seconds=0.3)  # type: ignore[arg-type]
    with pytest.raises(UsageError, match="record is of type str; give a GenerationRecord"):
        tiny_accompanist.replay("out/generation.json")  # type: ignore[arg-type]


def test_an_engine_that_there_is_not_is_refused_at_once(tmp_path: Path) -> None:
    with unchecked(), pytest.raises(UsageError, match="no engine 'tensorrt'; give auto, torch or onnx"):
        Accompanist.from_pretrained(tmp_path / "not there", engine="tensorrt")  # type: ignore[arg-type]


@unchecked()
def test_numbers_of_numpy_are_numbers(tiny_accompanist: Accompanist) -> None:
    made = tiny_accompanist.generate(
        sung(),
        sample_rate=RATE,
        seed=np.int64(3),
        take=np.int32(1),
        intro_bars=np.int64(0),
        top_k=np.int64(5),
        temperature=np.float32(0.5),
        skip_fine=True,
    )
    plain = tiny_accompanist.generate(
        sung(), sample_rate=RATE, seed=3, take=1, top_k=5, temperature=0.5, skip_fine=True
    )
    assert same(made, plain)
    assert made.record.to_json() == plain.record.to_json()


def test_an_accompaniment_shows_itself_in_one_line(preview: Accompaniment) -> None:
    assert repr(preview) == "Accompaniment(0.50 s at 24000 Hz, seed 0, take 0, bundle tiny 0)"


# ---- what comes in


@pytest.mark.long
@unchecked()
def test_paths_open_files_arrays_and_tensors_are_the_same(
    tiny_accompanist: Accompanist, preview: Accompaniment, tmp_path: Path
) -> None:
    path = tmp_path / "vocal.wav"
    soundfile.write(path, sung()[0].numpy(), RATE, subtype="FLOAT")
    with open(path, "rb") as file:
        made = [
            tiny_accompanist.generate(vocal, sample_rate=rate, skip_fine=True)
            for vocal, rate in (
                (path, None),
                (str(path), None),
                (file, None),
                (sung()[0].numpy(), RATE),
            )
        ]
    assert all(same(each, preview) for each in made)
    assert made[0].record.input.path == str(path)
    assert made[2].record.input.path is None
    assert made[0].record.input.sha256 == made[2].record.input.sha256 != preview.record.input.sha256


@pytest.mark.long
@unchecked()
def test_a_part_of_a_vocal(tiny_accompanist: Accompanist, tmp_path: Path) -> None:
    whole = torch.cat([sung(hz=200), sung(hz=300), sung(hz=400)], dim=1)
    path = tmp_path / "vocal.wav"
    soundfile.write(path, whole[0].numpy(), RATE, subtype="FLOAT")
    part = {"start_seconds": 0.5, "seconds": 0.5, "skip_fine": True}
    made = tiny_accompanist.generate(path, **part)
    assert made.waveform.shape == (1, 12_000)
    assert same(made, tiny_accompanist.generate(whole, sample_rate=RATE, **part))
    assert same(made, tiny_accompanist.generate(sung(hz=300), sample_rate=RATE, skip_fine=True))
    assert (made.record.input.start_seconds, made.record.input.seconds) == (0.5, 0.5)


@pytest.mark.parametrize(
    ("vocal", "rate", "error", "said"),
    [
        (torch.zeros(RATE), RATE, AudioContentError, "silent"),
        (sung(0.4), RATE, AudioContentError, "too short"),
        (torch.full((RATE,), math.nan), RATE, AudioContentError, "not numbers"),
        (sung(), None, UsageError, "sample rate was not given"),
        ("vocal.wav", RATE, UsageError, "says its own"),
        ([0.1, 0.2], RATE, UsageError, "is a list"),
        (np.zeros(RATE, dtype=np.int16), RATE, AudioContentError, "not floating point"),
    ],
)
def test_vocals_that_cannot_be_used(
    tiny_accompanist: Accompanist, vocal: Any, rate: int | None, error: type[Exception], said: str
) -> None:
    with pytest.raises(error, match=said):
        tiny_accompanist.generate(vocal, sample_rate=rate)


# ---- what is said


@pytest.mark.slow
@unchecked()
def test_every_stage_reports_every_frame(flat: Accompanist) -> None:
    reports: list[Progress] = []
    flat.generate_takes(sung(), takes=2, sample_rate=RATE, on_progress=reports.append)
    expected = [
        Progress(step=stage, done=done, total=total)
        for stage, total in (("semantic", 25), ("coarse", 38), ("fine", 38))
        for done in range(1, total + 1)
    ]
    assert reports == expected


@unchecked()
def test_what_progress_raises_stops_the_run(tiny_accompanist: Accompanist) -> None:
    def stop(progress: Progress) -> None:
        if progress.step == "coarse":
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        tiny_accompanist.generate(sung(), sample_rate=RATE, on_progress=stop)


# ---- levels


@pytest.mark.parametrize("level", [pytest.param(-30.0, marks=pytest.mark.slow), -16.0])
@unchecked()
def test_the_accompaniment_has_the_bundles_level(tmp_path: Path, level: float) -> None:
    ingredients = tiny_ingredients()
    generation = replace(ingredients.generation, level_lufs=level)
    bundle = write_bundle(tmp_path / "loud", replace(ingredients, generation=generation))
    made = Accompanist(bundle=bundle).generate(sung(1.0), sample_rate=RATE, skip_fine=True)
    loudness = integrated_lufs(made.waveform, RATE)
    assert loudness is not None
    assert loudness == pytest.approx(level, abs=0.5)
    peak = true_peak_dbtp(made.waveform)
    assert peak is not None
    assert peak <= -1.0


@pytest.mark.slow
def test_the_vocal_in_the_mix_is_the_vocal_times_a_constant(tiny_accompanist: Accompanist) -> None:
    vocal = torch.cat([sung(), 0.5 * sung(hz=330)])
    made = tiny_accompanist.generate(vocal, sample_rate=RATE, skip_fine=True)
    side = made.mix()[0] - made.mix()[1]  # the accompaniment is mono and cancels
    expected = vocal[0] - vocal[1]
    gain = float((side * expected).sum() / expected.square().sum())
    assert gain > 0.1
    assert torch.allclose(side, gain * expected, atol=1e-6)


# ---- memory, and numbers that are none


@pytest.mark.long
@unchecked()
def test_no_two_stages_are_in_memory_at_once(
    tiny_accompanist: Accompanist, monkeypatch: pytest.MonkeyPatch
) -> None:
    alive: list[weakref.ref[StageModel]] = []
    load = Bundle.load_stage

    def watched(self: Bundle, name: str, **options: Any) -> StageModel:
        gc.collect()
        assert [ref for ref in alive if ref() is not None] == []
        model = load(self, name, **options)
        alive.append(weakref.ref(model))
        return model

    monkeypatch.setattr(Bundle, "load_stage", watched)
    tiny_accompanist.generate(sung(), sample_rate=RATE)
    assert len(alive) == 3


def test_a_stage_that_gives_nan_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    bundle = write_bundle(tmp_path / "b", tiny_ingredients())
    load = Bundle.load_stage

    def broken(self: Bundle, name: str, **options: Any) -> StageModel:
        model = load(self, name, **options)
        if name == "coarse":
            model.heads.fill_(math.nan)
        return model

    monkeypatch.setattr(Bundle, "load_stage", broken)
    with pytest.raises(BundleError, match="not finite"):
        Accompanist(bundle=bundle).generate(sung(), sample_rate=RATE)


def test_a_codec_that_gives_nan_is_refused(
    tiny_accompanist: Accompanist, monkeypatch: pytest.MonkeyPatch
) -> None:
    decode = SpectralCodec.decode
    monkeypatch.setattr(SpectralCodec, "decode", lambda self, codes: decode(self, codes) * math.nan)
    with pytest.raises(BundleError, match="not finite"):
        tiny_accompanist.generate(sung(), sample_rate=RATE, skip_fine=True)


# ---- devices


@pytest.mark.parametrize("name", ["tpu", "cuda:x", "", "meta", "xpu"])
def test_unknown_devices(tiny_bundle: Path, name: str) -> None:
    with pytest.raises(DeviceError, match="give cpu, cuda, cuda:N or mps"):
        Accompanist.from_pretrained(tiny_bundle, device=name)


@pytest.mark.parametrize("name", ["cuda", "cuda:0", "mps"])
def test_devices_that_are_not_there(tiny_bundle: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    with pytest.raises(DeviceError, match="use cpu"):
        Accompanist.from_pretrained(tiny_bundle, device=name)


def test_a_gpu_beyond_the_last(tiny_bundle: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    with pytest.raises(DeviceError, match="cuda:0 to cuda:1"):
        Accompanist.from_pretrained(tiny_bundle, device="cuda:2")


def test_a_device_that_runs_out_of_memory(
    tiny_accompanist: Accompanist, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object, **__: object) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(steps, "generate_long", full)
    with pytest.raises(DeviceError, match="fewer takes"):
        tiny_accompanist.generate(sung(), sample_rate=RATE)


# ---- the bundle goes on


@pytest.mark.long
@unchecked()
def test_save_pretrained_and_open_again(
    tiny_accompanist: Accompanist, preview: Accompaniment, tmp_path: Path
) -> None:
    saved = tiny_accompanist.save_pretrained(tmp_path / "mine")
    again = Accompanist.from_pretrained(saved)
    assert again.bundle.fingerprint == tiny_accompanist.bundle.fingerprint
    assert same(again.generate(sung(), sample_rate=RATE, skip_fine=True), preview)
    with pytest.raises(OutputError, match="already holds files"):
        tiny_accompanist.save_pretrained(saved)


def test_push_to_hub_sends_the_folder(tiny_accompanist: Accompanist, monkeypatch: pytest.MonkeyPatch) -> None:
    sent: list[tuple[Path, str, bool, str | None]] = []

    def played(folder: Path, repo_id: str, *, private: bool, revision: str | None) -> str:
        sent.append((folder, repo_id, private, revision))
        return "https://hub/commit/1"

    monkeypatch.setattr("hafm.generate.accompany.push_folder", played)
    assert tiny_accompanist.push_to_hub("me/band", private=True) == "https://hub/commit/1"
    assert sent == [(tiny_accompanist.bundle.folder, "me/band", True, None)]


@unchecked()
def test_the_gateways_notes_come_through(tiny_accompanist: Accompanist) -> None:
    vocal = 30 * sung()
    expected = audio_from_array(vocal, RATE).notes
    assert expected
    assert tiny_accompanist.generate(vocal, sample_rate=RATE, skip_fine=True).notes == expected


def test_numpys_numbers_give_a_record_that_is_read_again(
    tiny_accompanist: Accompanist, tmp_path: Path
) -> None:
    with unchecked():
        made = tiny_accompanist.generate(
            sung(1.0),
            sample_rate=RATE,
            start_seconds=np.float32(0.25),  # type: ignore[arg-type]
            seconds=np.float64(0.5),
            seed=np.int64(3),  # type: ignore[arg-type]
        )
        made.save(tmp_path / "out")
        assert type(Corrections(bpm=np.float32(92)).bpm) is float  # type: ignore[arg-type]
        with pytest.raises(UsageError, match="start_seconds is '1'; give a number of seconds"):
            tiny_accompanist.generate(sung(1.0), sample_rate=RATE, start_seconds="1")  # type: ignore[arg-type]
    record = GenerationRecord.read(tmp_path / "out/generation.json")
    assert (record.input.start_seconds, record.input.seconds, record.settings.seed) == (0.25, 0.5, 3)

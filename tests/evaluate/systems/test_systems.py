"""The systems one by one: lengths, seeds, pairings, and the model as `Accompanist` makes it."""

from pathlib import Path
from typing import Any

import pytest
import torch

from hafm import Accompanist
from hafm.audio.loudness import integrated_lufs
from hafm.errors import HafmError, UsageError
from hafm.evaluate.exchange import pairings
from hafm.evaluate.run.evaluate import make_sounds
from hafm.evaluate.run.folder import RunFolder, SoundKey, true_sound
from hafm.evaluate.systems import ARRANGED, GUIDED, SYSTEMS, open_systems
from hafm.evaluate.systems.base import ClipSound, Guided, System
from hafm.evaluate.systems.model import Model
from hafm.evaluate.systems.references import CodecCeiling, Noise, RandomPairing, Silence
from hafm.evaluate.testset import Clip
from hafm.guide.lead_sheet import KeyChange, LeadSheet
from hafm.stages.bundle import Bundle
from tests.evaluate.runs import make_run
from tests.tiny import RATE, sung
from tests.unchecked import unchecked


def clip(name: str, song: str, samples: int = RATE) -> Clip:
    return Clip(
        id=name, track=name, song=song, start_seconds=0.0, num_samples=samples, activity=1.0, sha256={}
    )


def sound(name: str, seconds: float = 0.6) -> ClipSound:
    vocal = sung(seconds)[0] * (0.5 if name == "b" else 1.0)
    return ClipSound(clip=clip(name, name, len(vocal)), vocal=vocal, instrumental=vocal.flip(0))


def ignore(share: float) -> None:
    assert 0 <= share <= 1


@pytest.mark.long
@unchecked()
def test_the_model_plays_what_the_accompanist_generates(tiny_accompanist: Accompanist) -> None:
    model = Model(accompanist=tiny_accompanist, takes=2, seed=5, batch_rows=4)
    clips = [sound("a", 0.5), sound("b", 0.5)]
    shares: list[float] = []
    made = model.accompany(clips, sample_rate=RATE, on_share=shares.append)
    for each, takes in zip(clips, made, strict=True):
        for take, waveform in enumerate(takes):
            alone = tiny_accompanist.generate(each.vocal, sample_rate=RATE, seed=5, take=take)
            assert waveform.equal(alone.waveform[0])
    assert shares == sorted(shares)
    assert shares[-1] == 1.0
    assert model.batch_clips == 2


def test_what_decides_the_models_sounds_is_in_its_identity(tiny_accompanist: Accompanist) -> None:
    identity = Model(accompanist=tiny_accompanist, takes=2).identity()
    assert identity["fingerprint"] == tiny_accompanist.bundle.fingerprint
    assert identity == Model(accompanist=tiny_accompanist, takes=8, batch_rows=1).identity()
    for changed in ({"seed": 1}, {"guidance": 1.0}, {"temperature": 0.0}, {"top_k": 3}, {"skip_fine": True}):
        assert identity != Model(accompanist=tiny_accompanist, **changed).identity()  # type: ignore[arg-type]


def test_the_codec_ceiling_is_the_codecs_round_trip(tiny_accompanist: Accompanist) -> None:
    codec = tiny_accompanist.bundle.load_codec()
    [[made]] = CodecCeiling(codec=codec).accompany([sound("a")], sample_rate=RATE, on_share=ignore)
    expected = codec.decode(codec.encode(sound("a").instrumental[None, None]))[0, 0, : len(made)]
    assert torch.allclose(made, expected, atol=1e-6)
    [[other]] = CodecCeiling(codec=codec).accompany([sound("a")], sample_rate=16_000, on_share=ignore)
    assert other.shape == made.shape


def test_pairings_use_every_clip_once_and_never_the_own_song() -> None:
    clips = [clip(f"{song}{index}", song) for song in "abcdefg" for index in range(2)]
    for seed in range(20):
        for partner in pairings(clips, seed=seed, takes=3):
            assert sorted(other.id for other in partner.values()) == sorted(each.id for each in clips)
            assert all(partner[each.id].song != each.song for each in clips)
    assert pairings(clips, seed=1, takes=2) == pairings(clips, seed=1, takes=2)
    assert pairings(clips, seed=1, takes=1) != pairings(clips, seed=2, takes=1)


def test_a_single_song_cannot_be_paired() -> None:
    with pytest.raises(UsageError, match="two songs"):
        pairings([clip("a", "a")], seed=0, takes=1)


def test_random_pairing_plays_the_partner_at_the_right_length() -> None:
    sounds = {"a": torch.arange(4.0), "b": torch.arange(10.0, 16.0)}
    pairing = RandomPairing(
        clips=[clip("a", "a", 4), clip("b", "b", 6)],
        instrumental=lambda each: sounds[each.id],
        seed=0,
        takes=1,
    )
    parts = [
        ClipSound(clip=clip(name, name, len(of)), vocal=0 * of, instrumental=of)
        for name, of in sounds.items()
    ]
    [[for_a], [for_b]] = pairing.accompany(parts, sample_rate=RATE, on_share=ignore)
    assert for_a.tolist() == [10.0, 11.0, 12.0, 13.0]
    assert for_b.tolist() == [0.0, 1.0, 2.0, 3.0, 0.0, 1.0]


def test_noise_is_pink_seeded_and_at_its_level() -> None:
    part = sound("a", 4.0)
    [[noise]] = Noise(seed=1).accompany([part], sample_rate=RATE, on_share=ignore)
    [[again]] = Noise(seed=1).accompany([part], sample_rate=RATE, on_share=ignore)
    [[other]] = Noise(seed=2).accompany([part], sample_rate=RATE, on_share=ignore)
    assert noise.equal(again)
    assert not noise.equal(other)
    assert integrated_lufs(noise[None], RATE) == pytest.approx(-18.0, abs=0.05)
    power = torch.fft.rfft(noise).abs().square()
    hz = torch.fft.rfftfreq(len(noise), 1 / RATE)
    octaves = [power[(hz >= low) & (hz < 2 * low)].sum() for low in (250, 500, 1000, 2000, 4000)]
    assert max(octaves) / min(octaves) < 1.3  # as much in each octave


def test_silence_is_silent_and_all_of_them_are_systems() -> None:
    part = sound("a")
    [[silence]] = Silence().accompany([part], sample_rate=RATE, on_share=ignore)
    assert silence.shape == part.vocal.shape
    assert not silence.any()
    assert isinstance(Silence(), System)
    assert isinstance(Noise(seed=0), System)


# ---- by name


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    return make_run(tmp_path_factory.mktemp("named") / "run", songs=2, systems=("truth",), seconds=1.0)


def test_systems_have_the_names_that_open_them_in_the_order_of_tables(
    run: RunFolder, tiny_accompanist: Accompanist
) -> None:
    names = [name for name in SYSTEMS if name not in (*GUIDED, *ARRANGED, "retrieval")]
    found = open_systems(reversed(names), run, accompanist=tiny_accompanist, seed=3, takes=2, guidance=1.5)
    assert [system.name for system in found] == names
    assert all(isinstance(system, System) for system in found)
    model = Model(accompanist=tiny_accompanist, takes=2, seed=3, guidance=1.5)
    assert found[names.index("model")].identity() == model.identity()


def test_the_random_pairing_plays_the_runs_own_instrumentals(run: RunFolder) -> None:
    [pairing] = open_systems(["random"], run)
    first, second = run.manifest.clips
    truth = run.sound(true_sound(second.id))
    nothing = torch.zeros(first.num_samples)
    part = ClipSound(clip=first, vocal=nothing, instrumental=nothing)
    [[played, *_]] = pairing.accompany([part], sample_rate=RATE, on_share=ignore)
    assert played.equal(truth)


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (["modle"], "knows no modle; choose among codec, model"),
        ([], "knows no empty list"),
        (["model"], "'model' needs a bundle"),
        (["codec"], "'codec' needs a bundle"),
        (["retrieval"], "needs an index"),
    ],
)
def test_what_a_system_lacks_is_named(run: RunFolder, names: list[str], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        open_systems(names, run)


@pytest.mark.slow
def test_a_guided_model_gets_the_clips_own_sheet_or_another_songs(
    tmp_path: Path, tiny_accompanist: Accompanist, monkeypatch: pytest.MonkeyPatch
) -> None:
    given_sheets = []

    def without_guides(vocals: list[torch.Tensor], *, guides: list[LeadSheet], **words: Any) -> Any:
        given_sheets.append(guides)
        return Accompanist.generate_batch(tiny_accompanist, vocals, **words)

    monkeypatch.setattr(tiny_accompanist, "generate_batch", without_guides)
    run = make_run(tmp_path / "run", songs=2, systems=("truth",), seconds=1.0)
    first, second = run.manifest.clips
    sheets = {}
    for clip_, tonic in ((first, "C"), (second, "F#")):
        sheets[clip_.id] = LeadSheet(duration_seconds=1.0, keys=(KeyChange(0.0, tonic, "maj"),))
        run.put_sheet(true_sound(clip_.id), sheets[clip_.id])
    given, other = open_systems(["model-given", "model-other"], run, accompanist=tiny_accompanist)
    make_sounds(run, given)
    make_sounds(run, other)
    assert given_sheets == [
        [sheets[first.id], sheets[second.id]],
        [sheets[second.id], sheets[first.id]],
    ]
    assert given.identity()["guide"] == "given"
    made = SoundKey(system="model-other", heard="isolated", take=0, clip=first.id)
    assert run.sheet(made) == sheets[second.id]


class Listener:
    """An analyser that hears how loud its vocal is, as a style."""

    def analyse(self, waveform: torch.Tensor, sample_rate: int) -> LeadSheet:
        style = "rock" if waveform.abs().max() > 0 else "ballad"
        return LeadSheet(duration_seconds=len(waveform) / sample_rate, style=style)


def test_a_model_with_estimated_sheets_hears_the_vocal_of_the_arm(
    run: RunFolder, tiny_accompanist: Accompanist, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Bundle, "load_analyser", lambda bundle, name: {"vocal": Listener()}[name])
    [estimated] = open_systems(["model-estimated"], run, accompanist=tiny_accompanist)
    assert isinstance(estimated, Guided)
    [first, _] = run.manifest.clips
    silence = torch.zeros(first.num_samples)
    for vocal, style in ((silence, "ballad"), (silence + 0.1, "rock")):
        sheet = estimated.sheet_of(ClipSound(clip=first, vocal=vocal, instrumental=silence))
        assert sheet == LeadSheet(duration_seconds=1.0, style=style)
    assert estimated.identity()["guide"] == "estimated"


def test_a_bundle_without_an_analyser_has_no_estimated_sheets(
    run: RunFolder, tiny_accompanist: Accompanist
) -> None:
    with pytest.raises(HafmError, match="has no vocal analyser"):
        open_systems(["model-estimated"], run, accompanist=tiny_accompanist)


def test_a_guided_model_needs_lead_sheets(run: RunFolder, tiny_accompanist: Accompanist) -> None:
    [given] = open_systems(["model-given"], run, accompanist=tiny_accompanist)
    with pytest.raises(UsageError, match="no lead sheet of clip"):
        make_sounds(run, given)

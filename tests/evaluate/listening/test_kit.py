"""A kit from a run: the page plays the right sounds, and says nothing of whose they are."""

import base64
import io
import json
import re
from pathlib import Path
from typing import Any

import pytest
import soundfile
import torch

from hafm.audio.loudness import integrated_lufs
from hafm.audio.mixdown import mixdown
from hafm.errors import HafmError, UsageError
from hafm.evaluate.listening.design import Design, Plan
from hafm.evaluate.listening.kit import LOUDNESS_LUFS, ListeningRun, encode_mp3, two_mixes
from hafm.evaluate.run.folder import RunFolder, SoundKey
from tests.evaluate.runs import make_run

SYSTEMS = ("truth", "model", "model-best-of-4", "retrieval", "random", "noise", "silence")
RATE = 24_000


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    return make_run(tmp_path_factory.mktemp("evaluated") / "run", systems=SYSTEMS, songs=4, seconds=1.5)


@pytest.fixture(scope="module")
def made(run: RunFolder) -> tuple[Design, str]:
    listening = ListeningRun(run.path)
    design = listening.design(Plan(trials=6, catch=2, repeats=1))
    return design, listening.page(design)


def data_of(page: str) -> dict[str, Any]:
    (found,) = re.findall(r'<script type="application/json" id="data">(.*?)</script>', page, re.S)
    return json.loads(found)


def sounds_of(page: str) -> dict[tuple[str, str], bytes]:
    """By trial and side."""
    return {
        (trial["id"], side): base64.b64decode(trial[side])
        for trial in data_of(page)["trials"]
        for side in "ab"
    }


def decoded(sound: bytes) -> torch.Tensor:
    samples, rate = soundfile.read(io.BytesIO(sound), dtype="float32")
    assert rate == RATE
    return torch.from_numpy(samples)


# ---- what the page must not say


@pytest.mark.long
def test_the_page_names_nothing(run: RunFolder, made: tuple[Design, str]) -> None:
    design, page = made
    secrets = {
        "truth",
        "isolated",
        "separated",
        "catch trial",
        str(run.path),
        run.path.name + "/",
        design.run,
    }
    for row in ListeningRun(run.path).results.systems:
        secrets |= {row.name, row.title}
    for clip in run.manifest.clips:
        secrets |= {clip.id, clip.track, clip.song, *clip.sha256.values()}
    without_sounds = re.sub(r"[A-Za-z0-9+/=]{200,}", "", page)
    assert len(without_sounds) < 40_000
    found = [each for each in secrets if re.search(rf"(?<!\w){re.escape(each)}(?!\w)", without_sounds)]
    assert found == []
    # The same search finds them all in the key and the run, so it can find.
    everything = design.to_json() + (run.path / "manifest.json").read_text()
    assert re.search(r"(?<!\w)retrieval(?!\w)", everything)
    assert re.search(rf"(?<!\w){re.escape(run.manifest.clips[0].id)}(?!\w)", everything)


@pytest.mark.long
def test_the_data_of_the_page_are_ids_and_sounds_alone(made: tuple[Design, str]) -> None:
    design, page = made
    data = data_of(page)
    assert set(data) == {"kit", "listen_seconds", "sound_check", "trials"}
    assert all(set(trial) == {"id", "a", "b"} for trial in data["trials"])
    assert [trial["id"] for trial in data["trials"]] == [trial.id for trial in design.trials]
    assert data["kit"] == design.kit


def test_sizes_and_durations_are_all_the_same(made: tuple[Design, str]) -> None:
    sounds = sounds_of(made[1])
    assert len({len(sound) for sound in sounds.values()}) == 1
    assert len({len(decoded(sound)) for sound in sounds.values()}) == 1


def test_a_bit_rate_that_follows_the_sound_would_give_silence_away() -> None:
    """The control of the test above: without a constant rate, sizes tell systems apart."""
    sizes = []
    for scale in (0.0, 0.1):
        file = io.BytesIO()
        noise = scale * torch.randn(36_000, generator=torch.Generator().manual_seed(0))
        soundfile.write(file, noise.numpy(), RATE, format="MP3", subtype="MPEG_LAYER_III")
        sizes.append(len(file.getvalue()))
    assert sizes[0] != sizes[1]


def test_no_two_sounds_have_the_same_bytes(made: tuple[Design, str]) -> None:
    """A repeat plays what was played before, and its bytes must not say so."""
    design, page = made
    sounds = sounds_of(page)
    assert len(set(sounds.values())) == len(sounds)
    (again,) = design.of_kind("repeat")
    first, second = decoded(sounds[again.id, "a"]), decoded(sounds[again.repeats, "b"])
    assert not torch.equal(first, second)
    assert (first - second).abs().max() < 0.01


def test_sounds_carry_no_tags(made: tuple[Design, str]) -> None:
    for sound in sounds_of(made[1]).values():
        assert sound[0] == 0xFF  # a frame, and no ID3
        assert b"ID3" not in sound[:10]
        assert b"TAG" not in sound[-128:-125]
        with soundfile.SoundFile(io.BytesIO(sound)) as file:
            assert file.copy_metadata() == {}


def test_both_sides_are_equally_loud(made: tuple[Design, str]) -> None:
    design, page = made
    sounds = sounds_of(page)
    for trial in design.trials:
        a, b = (integrated_lufs(decoded(sounds[trial.id, side])[None], RATE) for side in "ab")
        assert a == pytest.approx(b, abs=0.3)


def test_a_mix_that_must_stay_quieter_takes_the_other_with_it() -> None:
    time = torch.arange(2 * RATE) / RATE
    vocal = 0.1 * torch.sin(1382 * time)
    clicks = torch.zeros(2 * RATE)
    clicks[::2400] = 1.0
    tone = 0.1 * torch.sin(691 * time)
    alone, _ = mixdown(vocal[None], clicks[None], RATE, loudness_lufs=LOUDNESS_LUFS)
    assert integrated_lufs(alone, RATE) < LOUDNESS_LUFS - 1
    mixes = two_mixes(vocal, clicks, tone, RATE)
    first, second = (integrated_lufs(mix[None], RATE) for mix in mixes)
    assert first == pytest.approx(second, abs=0.05)


# ---- what the page must hold


@pytest.mark.slow
def test_every_side_plays_the_mix_of_its_system(run: RunFolder, made: tuple[Design, str]) -> None:
    design, page = made
    sounds, listening = sounds_of(page), ListeningRun(run.path)
    inner = slice(2400, -2400)  # between the fades
    rows = {(row.system, row.clip): row for row in listening.results.clips}
    for trial in design.trials:
        vocal = run.vocal("isolated", run.manifest.clip(trial.clip))
        expected = {}
        for system in (trial.a, trial.b):
            accompaniment = run.sound(SoundKey.of(rows[system, trial.clip]))
            mix, _ = mixdown(vocal[None], accompaniment[None], RATE, loudness_lufs=LOUDNESS_LUFS)
            expected[system] = mix[0]
        for side, system, other in (("a", trial.a, trial.b), ("b", trial.b, trial.a)):
            heard = decoded(sounds[trial.id, side])
            error = (heard - expected[system])[inner].square().mean()
            wrong = (heard - expected[other])[inner].square().mean()
            assert error < 0.8 * wrong, (trial, side)


def test_the_page_asks_nothing_of_a_network(made: tuple[Design, str]) -> None:
    page = made[1]
    assert "default-src 'none'" in page
    assert not re.findall(r"https?:|src=|@import|fetch\(|XMLHttpRequest|WebSocket|sendBeacon", page)
    assert re.findall(r'href="([^"]*)"', page) == ["data:,"]
    assert "userAgent" not in page
    assert page.count("</script>") == 2
    assert "{{" not in page


@pytest.mark.slow
def test_the_same_kit_comes_out_twice(run: RunFolder, made: tuple[Design, str]) -> None:
    listening = ListeningRun(run.path)
    assert listening.design(Plan(trials=6, catch=2, repeats=1)) == made[0]
    assert listening.page(made[0]) == made[1]


# ---- what is compared


def compared(folder: Path, made: tuple[str, ...], **words: Any) -> Design:
    run = make_run(folder / "run", systems=made, songs=3, seconds=1.0, separated="arm" in words)
    return ListeningRun(run.path).design(Plan(trials=6, catch=2, repeats=0), **words)


def test_by_default_what_singsong_compared(made: tuple[Design, str]) -> None:
    assert made[0].systems == ("model", "retrieval", "random", "truth")
    catch = {name for trial in made[0].of_kind("catch") for name in (trial.a, trial.b)}
    assert catch == {"truth", "noise", "silence"}


def test_what_is_asked_for(tmp_path: Path) -> None:
    design = compared(tmp_path, ("truth", "model-best-of-4", "random"), systems=["random", "model-best-of-4"])
    assert design.systems == ("random", "model-best-of-4")
    assert {trial.a for trial in design.of_kind("catch")} <= {"truth", "random"}


def test_without_the_truth_there_is_nothing_to_catch_by(tmp_path: Path) -> None:
    assert compared(tmp_path, ("model", "random", "noise")).of_kind("catch") == ()


def test_the_other_arm(tmp_path: Path) -> None:
    assert compared(tmp_path, ("truth", "model"), arm="separated").arm == "separated"


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ({"systems": ["model", "singsong"]}, "no system 'singsong' in the isolated arm; it has truth, model"),
        ({"systems": ["model"]}, "two systems or more"),
    ],
)
def test_what_the_run_lacks_is_refused(tmp_path: Path, words: dict, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        compared(tmp_path, ("truth", "model"), **words)


def test_an_arm_that_is_not_there_is_refused(run: RunFolder) -> None:
    with pytest.raises(UsageError, match="--arm is 'separated'; the run has isolated"):
        ListeningRun(run.path).design(Plan(), arm="separated")


def test_a_folder_without_results_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="not a finished evaluation"):
        ListeningRun(tmp_path)


def test_a_missing_sound_is_refused(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run", systems=("truth", "model"), songs=2, seconds=1.0)
    listening = ListeningRun(run.path)
    design = listening.design(Plan(trials=2, catch=0, repeats=0))
    for path in (run.path / "sounds" / "model").rglob("*.flac"):
        path.unlink()
    with pytest.raises(HafmError, match="cannot be read"):
        listening.page(design)


def test_a_rate_that_mp3_does_not_know_is_refused() -> None:
    with pytest.raises(UsageError, match="20000 Hz"):
        encode_mp3(torch.zeros(20_000), 20_000, seed=0)

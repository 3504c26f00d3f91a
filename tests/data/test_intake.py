"""Intake: stems are sums of parts in one clock, and what training should not see is refused."""

import os
import shutil
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from torch import Tensor

from hafm.audio.sound import to_mono
from hafm.data.collection import intake
from hafm.data.collection.duplicates import ScanFailure, hash_track
from hafm.data.collection.intake import Stems, read_stems
from hafm.data.collection.sources import open_source
from hafm.data.collection.splits import ScannedTrack, assign
from hafm.data.collection.track import SoundPart, Track
from hafm.errors import AudioContentError, AudioError, AudioReadError, UsageError
from tests.data.music_collections import (
    BAD_WAYS,
    RATE_HZ,
    make_fma,
    make_items,
    make_musdb18,
    make_musdb18hq,
    pair,
    wav,
)

TIME = np.arange(2 * RATE_HZ) / RATE_HZ
VOICE = 0.3 * np.sin(2 * np.pi * 220 * TIME) * np.linspace(1, 0.5, len(TIME))
BAND = 0.4 * np.sin(2 * np.pi * 110 * TIME)


class HalfSeparator:
    """Says that a quarter of every mix is vocal, and keeps what it was given."""

    sample_rate = 24_000

    def separate(self, mix: Tensor) -> tuple[Tensor, Tensor]:
        self.given = mix
        return 0.25 * mix, 0.75 * mix


def read(track: Track) -> Stems:
    stems = read_stems(track, separator=None)
    assert stems.vocal.shape == stems.instrumental.shape
    assert stems.vocal.ndim == 1
    return stems


# ---- what comes out


def test_a_pair(tmp_path: Path) -> None:
    stems = read(pair(tmp_path, wav(VOICE), wav(BAND)))
    assert (stems.sample_rate, stems.seconds, stems.notes) == (RATE_HZ, 2.0, ())
    torch.testing.assert_close(stems.vocal, torch.from_numpy(VOICE).float(), atol=1e-4, rtol=0)
    torch.testing.assert_close(stems.instrumental, torch.from_numpy(BAND).float(), atol=1e-4, rtol=0)


def test_stems_are_sums_and_mono_parts_stand_in_both_channels(tmp_path: Path) -> None:
    left_and_right = np.stack([0.5 * BAND, -0.25 * BAND], axis=1)
    contents = {"vocals": wav(VOICE), "drums": wav(left_and_right, channels=2), "bass": wav(BAND)}
    contents["other"] = wav(0 * BAND)  # a part may rest
    for name, content in contents.items():
        (tmp_path / f"{name}.wav").write_bytes(content)
    parts = {name: SoundPart(path=str(tmp_path / f"{name}.wav")) for name in contents}
    instrumental = (parts["drums"], parts["bass"], parts["other"])
    stems = read(Track(id="a", song_id="a", vocal=(parts["vocals"],), instrumental=instrumental))
    expected = torch.from_numpy(1.125 * BAND).float()
    torch.testing.assert_close(stems.instrumental, expected, atol=1e-4, rtol=0)


def test_small_differences_in_length_are_cut(tmp_path: Path) -> None:
    stems = read(pair(tmp_path, wav(VOICE), wav(BAND[:-800])))  # 50 ms
    torch.testing.assert_close(stems.vocal, torch.from_numpy(VOICE[:31_200]).float(), atol=1e-3, rtol=0)
    assert stems.notes == ("parts differ in length by 50.0 ms; the longer ones were cut",)
    with pytest.raises(AudioContentError, match=r"last 1\.95 to 2\.00 s; training takes 0\.05 s"):
        read(pair(tmp_path, wav(VOICE), wav(BAND[:-801])))


def test_a_mix_is_separated_at_the_rate_of_the_separator(tmp_path: Path) -> None:
    (tmp_path / "mix.wav").write_bytes(wav(VOICE + BAND))
    track = Track(id="a", song_id="a", mix=SoundPart(path=str(tmp_path / "mix.wav")), seconds=2.5)
    separator = HalfSeparator()
    stems = read_stems(track, separator=separator)
    assert separator.given.shape == (2, 48_000)
    assert stems.sample_rate == 24_000
    torch.testing.assert_close(stems.vocal, 0.25 * to_mono(separator.given))
    torch.testing.assert_close(stems.instrumental, 3 * stems.vocal)
    with pytest.raises(UsageError, match="track 'a' is a mix and has to be separated; give an MDX-Net model"):
        read(track)


def test_a_song_without_a_voice_is_a_matter_of_the_filter(tmp_path: Path) -> None:
    class NoVoice(HalfSeparator):
        def separate(self, mix: Tensor) -> tuple[Tensor, Tensor]:
            return 0 * mix, mix

    (tmp_path / "mix.wav").write_bytes(wav(BAND))
    track = Track(id="a", song_id="a", mix=SoundPart(path=str(tmp_path / "mix.wav")))
    assert not read_stems(track, separator=NoVoice()).vocal.any()


def test_a_separator_that_gives_nan(tmp_path: Path) -> None:
    class Broken(HalfSeparator):
        def separate(self, mix: Tensor) -> tuple[Tensor, Tensor]:
            return mix, mix / 0

    (tmp_path / "mix.wav").write_bytes(wav(BAND))
    track = Track(id="a", song_id="a", mix=SoundPart(path=str(tmp_path / "mix.wav")))
    with pytest.raises(AudioContentError, match="the separated instrumental of 'a' is not finite"):
        read_stems(track, separator=Broken())


# ---- what is refused


def scaled(waveform: np.ndarray, peak: float) -> bytes:
    return wav(waveform / np.abs(waveform).max() * peak, floats=True)


def test_the_limits_themselves_are_taken(tmp_path: Path) -> None:
    second = slice(0, RATE_HZ)
    assert read(pair(tmp_path, wav(VOICE[second]), wav(BAND[second]))).vocal.shape == (RATE_HZ,)
    read(pair(tmp_path, scaled(VOICE, 4), wav(BAND)))
    read(pair(tmp_path, wav(VOICE), wav(BAND), seconds=1.0))
    read(pair(tmp_path, wav(VOICE), wav(BAND), seconds=3.0))
    tone = np.repeat(VOICE, 6)
    assert read(pair(tmp_path, wav(tone, rate_hz=96_000), wav(tone, rate_hz=96_000))).sample_rate == 96_000


REFUSED = {
    "short": (lambda: wav(VOICE[: RATE_HZ - 1]), None, "lasts 1.000 s, too short to accompany; give 1 s"),
    "loud": (lambda: scaled(VOICE, 4.5), None, "reaches 4.5 times full scale; training takes up to 4"),
    "another rate": (
        lambda: wav(VOICE, rate_hz=24_000),
        None,
        "rates of 16000 and 24000 Hz; training takes one",
    ),
    "under 16 kHz": (lambda: wav(VOICE, rate_hz=15_999), None, "15999 Hz; training takes 16000 to 96000 Hz"),
    "over 96 kHz": (lambda: wav(np.tile(VOICE, 4), rate_hz=96_001), None, "96001 Hz; training takes 16000"),
    "three channels": (
        lambda: wav(np.repeat(VOICE, 3), channels=3),
        None,
        "3 channels; training takes 1 or 2",
    ),
    "shorter than promised": (
        lambda: wav(VOICE),
        3.01,
        "lasts 2.00 s and should last 3.01 s; training takes 1 s",
    ),
    "longer than promised": (lambda: wav(VOICE), 0.99, "lasts 2.00 s and should last 0.99 s"),
    "claims more": (
        lambda: wav(VOICE, claimed_bytes=80_000),
        None,
        "is not whole (the end of the file is missing)",
    ),
}


@pytest.mark.parametrize("way", REFUSED)
def test_each_refusal_names_file_value_and_limit(way: str, tmp_path: Path) -> None:
    content, promised, message = REFUSED[way]
    with pytest.raises(AudioContentError) as caught:
        read(pair(tmp_path, content(), wav(BAND), seconds=promised))
    text = str(caught.value)
    assert message in text
    assert "vocals.wav" in text or "'song'" in text
    assert len(text.splitlines()) == 1


def test_parts_that_cancel_are_silent(tmp_path: Path) -> None:
    track = pair(tmp_path, wav(VOICE), wav(BAND, floats=True))
    (tmp_path / "anti.wav").write_bytes(wav(-BAND, floats=True))
    instrumental = (*track.instrumental, SoundPart(path=str(tmp_path / "anti.wav")))
    both = Track(id="song", song_id="song", vocal=track.vocal, instrumental=instrumental)
    with pytest.raises(
        AudioContentError, match="the instrumental of 'song' is silent; training wants more than -80"
    ):
        read(both)


def test_songs_over_the_limit_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert intake.MAX_SECONDS == 1800
    track = pair(tmp_path, wav(VOICE), wav(BAND))
    monkeypatch.setattr(intake, "MAX_SECONDS", 2.0)
    read(track)
    monkeypatch.setattr(intake, "MAX_SECONDS", 1.9)
    with pytest.raises(AudioContentError, match=r"lasts 0:02 or more, over the limit of 0:01\.9"):
        read(track)


def test_twelve_ways_to_be_bad(tmp_path: Path) -> None:
    """Scan and intake together give every bad item its reason, and take every good one."""
    made = make_items(tmp_path / "items", good=40, bad=24)
    assert set(made.bad.values()) == set(BAD_WAYS)
    tracks = list(open_source("pairs", made.root).tracks())
    assert [track.id for track in tracks] == sorted([*made.good, *made.bad])
    hashes = [hash_track(track) for track in tracks]
    assigned = assign(
        [
            ScannedTrack(
                id=track.id,
                song_id=track.song_id,
                split=None,
                sha256=None if isinstance(sha, ScanFailure) else sha,
            )
            for track, sha in zip(tracks, hashes, strict=True)
        ]
    )
    reasons = {}
    for track, sha, assignment in zip(tracks, hashes, assigned, strict=True):
        if isinstance(sha, ScanFailure):
            reasons[track.id] = sha.reason
        elif assignment.duplicate_of is not None:
            reasons[track.id] = f"duplicate of {assignment.duplicate_of}"
        else:
            try:
                read(track)
            except AudioError as error:
                reasons[track.id] = str(error)
    assert set(reasons) == set(made.bad)
    for name, way in made.bad.items():
        assert BAD_WAYS[way][1] in reasons[name]
        assert len(reasons[name].splitlines()) == 1


def test_good_items_are_the_same_without_the_bad_ones(tmp_path: Path) -> None:
    made = make_items(tmp_path / "all", good=20, bad=12)
    clean = make_items(tmp_path / "clean", good=20, bad=12, write_bad=False)
    assert clean.good == made.good
    assert sorted(os.listdir(clean.root)) == sorted(made.good)
    for name in made.good:
        for stem in ("vocals.wav", "instrumental.wav"):
            assert (made.root / name / stem).read_bytes() == (clean.root / name / stem).read_bytes()


# ---- from the layouts


def test_the_stems_of_musdb18hq_sum_to_its_mix(tmp_path: Path) -> None:
    (track,) = open_source("musdb18hq", make_musdb18hq(tmp_path, songs=1, seconds=1.5)).tracks()
    stems = read(track)
    assert track.mix is not None
    mix, _ = soundfile.read(track.mix.path, dtype="float32")
    torch.testing.assert_close(
        stems.vocal + stems.instrumental, torch.from_numpy(mix[:, 0]), atol=2e-3, rtol=0
    )
    assert stems.vocal.abs().max() > 0.1


@pytest.mark.long
@pytest.mark.skipif(shutil.which("ffmpeg") is None, reason="the ffmpeg program is not installed")
def test_the_streams_of_musdb18_are_the_stems_of_musdb18hq(tmp_path: Path) -> None:
    (whole,) = open_source("musdb18hq", make_musdb18hq(tmp_path / "hq", songs=1, seconds=1.5)).tracks()
    (packed,) = open_source("musdb18", make_musdb18(tmp_path / "18", songs=1, seconds=1.5)).tracks()
    expected, stems = read(whole), read(packed)
    for one, other in ((stems.vocal, expected.vocal), (stems.instrumental, expected.instrumental)):
        samples = len(other)
        assert len(one) >= samples
        error = (one[:samples] - other).square().mean().sqrt() / other.square().mean().sqrt()
        assert error < 0.3, "AAC, but the right stem"
    swapped = (stems.vocal[:samples] - expected.instrumental).square().mean().sqrt()
    assert swapped / expected.instrumental.square().mean().sqrt() > 0.8
    (cut,) = (tmp_path / "18").rglob("*.mp4")
    cut.write_bytes(cut.read_bytes()[:-1000])  # the index is at the end
    with pytest.raises(AudioError, match=r"cannot be decoded|has no audio stream 4"):
        read(packed)


@pytest.mark.long
def test_fma_clips(tmp_path: Path) -> None:
    tracks = list(open_source("fma", make_fma(tmp_path, songs=2, seconds=3.0)).tracks())
    stems = read_stems(tracks[0], separator=HalfSeparator())
    assert stems.seconds == pytest.approx(3.0, abs=0.1)
    assert tracks[1].mix is not None
    path = Path(tracks[1].mix.path)
    path.write_bytes(path.read_bytes()[: path.stat().st_size * 2 // 3])
    with pytest.raises(AudioContentError, match=r"is not whole \(.* it claims 0:03 and decodes up to"):
        read_stems(tracks[1], separator=HalfSeparator())
    path.unlink()
    with pytest.raises(AudioReadError, match="does not exist"):
        read_stems(tracks[1], separator=HalfSeparator())

"""The SoundFont player against what its own samples say: pitch, place, level, loops, exclusive classes."""

import numpy as np
import pytest

from hafm.arrange.sampler import Sampler
from hafm.arrange.soundfont import DRUM_BANK, SHIPPED, Soundfont, open_soundfont
from hafm.arrange.styles import DRUMS, ROLES, STYLES
from hafm.errors import SoundfontError
from tests.arrange.songs import small_soundfont

RATE = 44_100


@pytest.fixture(scope="module")
def small() -> Sampler:
    return Sampler(Soundfont(small_soundfont(), where="small"), RATE)


@pytest.fixture(scope="module")
def shipped() -> Sampler:
    return Sampler(open_soundfont(SHIPPED), RATE)


def test_a_key_sounds_at_its_pitch_and_a_note_begins_on_its_sample(small: Sampler) -> None:
    for key, hz in ((69, 441.0), (81, 882.0), (57, 220.5)):
        sound = small.play([(0.1, 0.6, key, 127)], bank=0, program=0, num_samples=RATE)
        assert not sound[:, : RATE // 10].any()
        assert np.abs(sound[:, RATE // 10 : RATE // 10 + 60]).max() > 0.01
        spectrum = np.abs(np.fft.rfft(sound[0, 6000:22_050] * np.hanning(16_050)))
        assert np.argmax(spectrum) * RATE / 16_050 == pytest.approx(hz, abs=3)


def test_a_loop_holds_a_note_longer_than_its_sample(small: Sampler) -> None:
    sound = small.play([(0.0, 3.0, 69, 127)], bank=0, program=0, num_samples=3 * RATE)
    late = sound[0, int(2.5 * RATE) : int(2.9 * RATE)]
    assert np.sqrt(np.mean(late**2)) == pytest.approx(16_000 / 32_768 / np.sqrt(2), rel=0.01)
    ended = Sampler(Soundfont(small_soundfont(loops=False), where="it"), RATE)
    assert not ended.play([(0.0, 3.0, 69, 127)], bank=0, program=0, num_samples=3 * RATE)[0, 2 * RATE :].any()


def test_loudness_is_proportional_to_velocity_and_notes_add_up(small: Sampler) -> None:
    one, two = (0.0, 0.5, 69, 100), (0.2, 0.7, 76, 50)
    options = {"bank": 0, "program": 0, "num_samples": RATE}
    both = small.play([one, two], **options)
    alone = small.play([one], **options) + small.play([two], **options)
    np.testing.assert_allclose(both, alone, atol=1e-6)
    soft = small.play([(0.0, 0.5, 69, 50)], **options)
    np.testing.assert_allclose(2 * soft, small.play([one], **options), atol=1e-6)


def test_a_note_from_before_is_heard_from_where_it_is(small: Sampler) -> None:
    whole = small.play([(0.0, 1.0, 69, 90)], bank=0, program=0, num_samples=2 * RATE)
    cut = small.play([(-0.25, 0.75, 69, 90)], bank=0, program=0, num_samples=RATE)
    np.testing.assert_allclose(cut, whole[:, RATE // 4 : RATE // 4 + RATE], atol=1e-6)


def test_a_closed_hat_ends_an_open_one(shipped: Sampler) -> None:
    options = {"bank": DRUM_BANK, "program": 0, "num_samples": RATE}
    opened = shipped.play([(0.0, 0.9, DRUMS["open_hat"], 100)], **options)
    closed = shipped.play([(0.3, 0.4, DRUMS["closed_hat"], 100)], **options)
    both = shipped.play([(0.0, 0.9, DRUMS["open_hat"], 100), (0.3, 0.4, DRUMS["closed_hat"], 100)], **options)
    after = slice(int(0.32 * RATE), None)
    assert np.abs(opened[:, after]).max() > 0.01  # it would ring on
    np.testing.assert_allclose(both[:, after], closed[:, after], atol=1e-6)


def test_the_shipped_font_has_every_instrument_that_a_style_asks_for(shipped: Sampler) -> None:
    from hafm.arrange.styles import BANDS

    programs = {program for band in BANDS.values() for pool in band.values() for program in pool}
    programs |= {program for role in ROLES.values() for program in role.programs}
    assert {(0, program) for program in programs} <= shipped.soundfont.presets
    assert {(DRUM_BANK, kit) for style in STYLES.values() for kit in style.kits} <= shipped.soundfont.presets


def test_every_drum_of_a_kit_is_heard(shipped: Sampler) -> None:
    for lane, key in DRUMS.items():
        sound = shipped.play([(0.0, 0.1, key, 100)], bank=DRUM_BANK, program=0, num_samples=RATE // 4)
        assert np.abs(sound).max() > 0.03, lane


def test_what_is_no_soundfont_is_refused() -> None:
    whole = small_soundfont()
    for data in (b"", b"RIFF", whole[:400], b"RIFF\x00\x00\x00\x00WAVE", whole.replace(b"phdr", b"phdx")):
        with pytest.raises(SoundfontError, match="it is no SoundFont"):
            Soundfont(data, where="it")


def test_a_font_without_drums_is_refused(small: Sampler) -> None:
    data = small_soundfont().replace(struct_of_kit(128), struct_of_kit(1))
    with pytest.raises(SoundfontError, match="no drum kit"):
        Soundfont(data, where="it").zones(bank=DRUM_BANK, program=0)


def struct_of_kit(bank: int) -> bytes:
    import struct

    return struct.pack("<20sHH", b"Kit", 0, bank)

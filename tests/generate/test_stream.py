"""Sound while it is being made: the same accompaniment in the end, and parts that are its sound."""

from pathlib import Path

import pytest
import torch

from hafm.audio.loudness import normalise_loudness
from hafm.errors import UsageError
from hafm.generate.accompany import Accompanist
from hafm.progress import Progress
from tests.tiny import same, sung
from tests.unchecked import unchecked

SECONDS, RATE = 2.4, 22_050


@pytest.fixture
def accompanist(tiny_accompanist: Accompanist) -> Accompanist:
    """Of a bundle with windows of 2 s, whose codec looks 0.1 s ahead."""
    return tiny_accompanist


@pytest.mark.long
@pytest.mark.parametrize("skip_fine", [pytest.param(False, marks=pytest.mark.slow), True])
@unchecked()
def test_the_last_part_holds_what_generate_gives_and_parts_are_its_sound(
    accompanist: Accompanist, skip_fine: bool
) -> None:
    vocal = sung(SECONDS, sample_rate=RATE)
    whole = accompanist.generate(vocal, sample_rate=RATE, seed=3, take=1, skip_fine=skip_fine)
    parts = list(accompanist.stream(vocal, sample_rate=RATE, seed=3, take=1, skip_fine=skip_fine))
    assert len(parts) > 2
    assert [part.accompaniment is None for part in parts] == [True] * (len(parts) - 1) + [False]
    last = parts[-1].accompaniment
    assert last is not None
    assert same(last, whole)
    assert last.record == whole.record
    ends = [part.start + part.waveform.shape[1] for part in parts]
    assert [part.start for part in parts] == [0, *ends[:-1]]
    assert ends[-1] == whole.waveform.shape[1]
    joined = torch.cat([part.waveform for part in parts], dim=1)
    # The level of the parts is that of the first: brought to that of the whole, the rest is the same.
    levelled, _ = normalise_loudness(joined, RATE, -18.0)
    expected, _ = normalise_loudness(whole.waveform, RATE, -18.0)
    torch.testing.assert_close(levelled, expected, rtol=1e-2, atol=2e-3)


@unchecked()
def test_sound_comes_before_the_stages_are_done(accompanist: Accompanist) -> None:
    done: dict[str, float] = {}

    def on_progress(progress: Progress) -> None:
        done[progress.step] = progress.done / progress.total

    parts = accompanist.stream(sung(6.0), sample_rate=24_000, seed=3, skip_fine=True, on_progress=on_progress)
    first = next(parts)
    assert first.start == 0
    assert done["semantic"] < 0.6
    assert done["coarse"] < 0.3
    parts.close()


@pytest.mark.long
@unchecked()
def test_a_preview_is_the_coarse_sound_and_ends_with_the_whole_accompaniment(
    accompanist: Accompanist,
) -> None:
    vocal, stages = sung(SECONDS, sample_rate=RATE), list[str]()
    whole = accompanist.generate(vocal, sample_rate=RATE, seed=3)
    coarse = list(accompanist.stream(vocal, sample_rate=RATE, seed=3, skip_fine=True))
    *parts, last = accompanist.stream(
        vocal,
        sample_rate=RATE,
        seed=3,
        preview=True,
        on_progress=lambda progress: stages.append(progress.step),
    )
    assert len(parts) == len(coarse)
    for part, expected in zip(parts, coarse, strict=True):
        assert part.start == expected.start
        assert part.accompaniment is None
        assert torch.equal(part.waveform, expected.waveform)
    assert last.waveform.shape == (1, 0)
    assert last.start == whole.waveform.shape[1]
    assert last.accompaniment is not None
    assert same(last.accompaniment, whole)
    assert last.accompaniment.record == whole.record
    assert "coarse" not in stages[stages.index("fine") :]


def test_what_the_progress_raises_stops_it(accompanist: Accompanist) -> None:
    def stop(progress: Progress) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        next(accompanist.stream(sung(1.0), sample_rate=24_000, on_progress=stop))


def test_arguments_are_refused_before_anything_is_made(accompanist: Accompanist, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="take is -1; give a whole number of 0 or more"):
        accompanist.stream(sung(1.0), sample_rate=24_000, take=-1)

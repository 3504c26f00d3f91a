"""Overlap-add with a function that differs from chunk to chunk, so that the fades between them show."""

import itertools
import math

import pytest
import torch

from hafm.separate.overlap import overlap_add

CHUNK, MARGIN, FADE = 40, 4, 8
STEP = CHUNK - 2 * MARGIN - FADE


def numbered(samples: int, *, cut: int) -> torch.Tensor:
    """What becomes of a sound when chunk k is made the constant k."""
    numbers = itertools.count()

    def number(chunk: torch.Tensor) -> torch.Tensor:
        assert chunk.shape == (2, CHUNK)
        return torch.full_like(chunk, float(next(numbers)))

    blocks = torch.ones(2, samples).split(cut, dim=1)
    parts = overlap_add(blocks, number, chunk_samples=CHUNK, margin_samples=MARGIN, fade_samples=FADE)
    return torch.cat([torch.zeros(2, 0), *parts], dim=1)


def expected(sample: int) -> float:
    """Chunk k sounds alone from `kS` on, and fades into the next over the last F samples of its step."""
    number, place = divmod(sample, STEP)
    into = place - (STEP - FADE)
    return number + (0.0 if into < 0 else math.sin(math.pi * (into + 0.5) / (2 * FADE)) ** 2)


@pytest.mark.parametrize("samples", [0, 1, STEP - FADE, STEP - FADE + 1, STEP, 2 * STEP + 3, 200])
@pytest.mark.parametrize("cut", [1, 7, 1_000])
def test_chunks_fade_into_each_other(samples: int, cut: int) -> None:
    made = numbered(samples, cut=cut)
    wanted = torch.tensor([expected(sample) for sample in range(samples)]).expand(2, -1)
    torch.testing.assert_close(made, wanted, atol=1e-6, rtol=0)


@pytest.mark.parametrize(
    ("samples", "chunks"), [(1, 1), (STEP - FADE, 1), (STEP - FADE + 1, 2), (2 * STEP - FADE, 2)]
)
def test_no_more_chunks_than_needed(samples: int, chunks: int) -> None:
    seen = []
    list(
        overlap_add(
            [torch.ones(2, samples)],
            lambda chunk: seen.append(chunk) or chunk,
            chunk_samples=CHUNK,
            margin_samples=MARGIN,
            fade_samples=FADE,
        )
    )
    assert len(seen) == chunks


def test_a_chunk_hears_the_sound_around_it_and_silence_outside() -> None:
    sound = torch.arange(1.0, 101.0).expand(2, -1)
    heard: list[torch.Tensor] = []
    parts = overlap_add(
        sound.split(9, dim=1),
        lambda chunk: heard.append(chunk[0].clone()) or chunk,
        chunk_samples=CHUNK,
        margin_samples=MARGIN,
        fade_samples=FADE,
    )
    torch.testing.assert_close(torch.cat(list(parts), dim=1), sound)
    around = torch.nn.functional.pad(sound[0], (MARGIN + FADE, 3 * CHUNK))
    for number, chunk in enumerate(heard):
        assert chunk.equal(around[number * STEP : number * STEP + CHUNK])

r"""A function of chunks, over a sound of any length, without seams.

In: a sound [2, T] in blocks of any lengths. Out: the same stretch of time, transformed, in blocks.

    sound                  |=================================================|
    chunk 0       mmm/.....|------------\mmm
    chunk 1                       mmm/-------------------\mmm                        S = C - 2M - F
    chunk 2                                       mmm/-----------------------|...\mmm
                     |<-F->|         |<F>|           |<F>|

Of chunk k the samples `kS - F .. kS + S` are used; the M on each side of them (m) are not. Over the F samples
that two chunks share, one fades out by half a Hann window as the next fades in, and the two weights sum to 1.
The first chunk fades in before the sound, and chunks are added until one fades out behind it, so the weights
sum to 1 at both ends, too: nothing is divided by a small number, and there is no special case. Outside the
sound there are zeros.

Where a chunk begins depends on its number alone, so blocks can be cut anywhere: the result is the same, bit
for bit. Memory: `threads + 2` chunks and one block, whatever T is.
"""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import pad

__all__ = ["map_ahead", "overlap_add"]

Item = TypeVar("Item")
Result = TypeVar("Result")


def map_ahead(
    function: Callable[[Item], Result], items: Iterable[Item], *, threads: int = 1
) -> Iterator[Result]:
    """Like `map`, in `threads` threads.

    At most that many results are under way or waiting, so memory does not grow with the number of items; and
    what comes out does not depend on `threads`, as long as a result depends on its item alone.

    Args:
        function: called from several threads at a time, if `threads` is above 1.
        items: taken one after the other in the caller's thread, up to `threads` ahead.
        threads: 1 or more.

    Yields:
        The results, in order. What the function raises is raised in its place.

    >>> list(map_ahead(abs, range(-5, 0), threads=2))
    [5, 4, 3, 2, 1]
    """
    if threads == 1:
        yield from map(function, items)
        return
    executor = ThreadPoolExecutor(threads, thread_name_prefix="hafm-separate")
    try:
        waiting: deque[Future[Result]] = deque()
        for item in items:
            waiting.append(executor.submit(function, item))
            if len(waiting) == threads:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:
        executor.shutdown(wait=True, cancel_futures=True)


def overlap_add(
    blocks: Iterable[Float[Tensor, "2 _"]],
    transform: Callable[[Tensor], Tensor],
    *,
    chunk_samples: int,
    margin_samples: int,
    fade_samples: int,
    threads: int = 1,
) -> Iterator[Float[Tensor, "2 _"]]:
    """Transform a sound chunk by chunk.

    Args:
        blocks: the sound, cut anywhere.
        transform: `[2, C] -> [2, C]`; a function of the chunk alone.
        chunk_samples: C.
        margin_samples: M, 0 or more.
        fade_samples: F, 1 to (C - 2M) / 2.
        threads: chunks that are transformed at the same time; the result does not depend on it.

    Yields:
        The result, as many samples in all as there are in the blocks.

    >>> sound = torch.rand(2, 1000)
    >>> parts = overlap_add(
    ...     sound.split(70, dim=1), torch.neg, chunk_samples=64, margin_samples=8, fade_samples=16
    ... )
    >>> torch.allclose(torch.cat(list(parts), dim=1), -sound)
    True
    """
    used_samples = chunk_samples - 2 * margin_samples
    step = used_samples - fade_samples
    assert 1 <= fade_samples <= step, "no more than two chunks meet"
    fade_in = _fade_in(fade_samples)
    chunks = _Chunks(blocks, length=chunk_samples, margin=margin_samples, fade=fade_samples, step=step)
    tail = torch.zeros(2, fade_samples)
    for number, chunk in enumerate(map_ahead(transform, chunks, threads=threads)):
        used = chunk[:, margin_samples : margin_samples + used_samples]
        head = tail + used[:, :fade_samples] * fade_in
        tail = used[:, step:] * (1 - fade_in)
        whole = torch.cat([head, used[:, fade_samples:step]], dim=1)  # samples kS - F .. kS - F + S
        # Of the first chunk what lies before the sound goes, of the last ones what lies behind it. As long as
        # there is more to come, all of this stretch has been received.
        start = number * step - fade_samples
        yield whole[:, max(0, -start) : chunks.received - start]


class _Chunks:
    """Cuts overlapping chunks out of blocks, and counts the samples."""

    def __init__(self, blocks: Iterable[Tensor], *, length: int, margin: int, fade: int, step: int) -> None:
        self.received = 0
        self._blocks = blocks
        self._length, self._margin, self._fade, self._step = length, margin, fade, step

    def __iter__(self) -> Iterator[Tensor]:
        held = [torch.zeros(2, self._margin + self._fade)]
        available = self._margin + self._fade
        first_used = -self._fade
        for block in self._blocks:
            held.append(block)
            available += block.shape[1]
            self.received += block.shape[1]
            if available < self._length:
                continue  # small blocks are joined once per chunk, not once per block
            sound = torch.cat(held, dim=1)
            while sound.shape[1] >= self._length:
                yield sound[:, : self._length]
                sound = sound[:, self._step :]
                first_used += self._step
            held, available = [sound], sound.shape[1]
        sound = torch.cat(held, dim=1)
        while self.received and first_used < self.received:
            yield pad(sound, (0, self._length - sound.shape[1]))
            sound = sound[:, self._step :]
            first_used += self._step


def _fade_in(samples: int) -> Float[Tensor, " F"]:
    """The rising half of a Hann window, between its samples: it and its mirror image sum to 1."""
    phase = (torch.arange(samples, dtype=torch.float64) + 0.5) * (torch.pi / (2 * samples))
    return phase.sin().square().to(torch.float32)

"""A sample of bounded size from a stream of frames that does not fit into memory.

In: frames, block by block. Out: at every moment a uniform sample of all that came.

Source: Vitter, "Random Sampling with a Reservoir" (1985), algorithm R: frame number n (from 0) enters with
probability capacity / (n + 1), in place of one drawn at random.
"""

import numpy as np
from jaxtyping import Float32
from numpy.typing import NDArray

__all__ = ["Reservoir"]


class Reservoir:
    """Frames of one size.

    Args:
        dim: D, length of a frame.
        max_bytes: of the frames that are kept, as float32; at least one is.
        seed: decides which.

    >>> kept = Reservoir(dim=1, max_bytes=40, seed=0)
    >>> kept.add(np.arange(1000, dtype=np.float32)[:, None])
    >>> kept.frames.shape, kept.seen, kept.is_whole
    ((10, 1), 1000, False)
    """

    def __init__(self, *, dim: int, max_bytes: int, seed: int | tuple[int, ...]) -> None:
        self.capacity = max(1, max_bytes // (4 * dim))
        self.seen = 0
        self._rng = np.random.default_rng(seed)
        # Memory that is not written to yet is not taken yet either.
        self._kept = np.empty((self.capacity, dim), dtype=np.float32)

    @property
    def is_whole(self) -> bool:
        """Whether every frame that came is kept."""
        return self.seen <= self.capacity

    @property
    def frames(self) -> NDArray[np.float32]:
        """A view of what is kept. Shape [N, D]."""
        return self._kept[: min(self.seen, self.capacity)]

    def add(self, frames: Float32[np.ndarray, "N D"]) -> None:
        """More of the stream."""
        free = min(len(frames), max(0, self.capacity - self.seen))
        self._kept[self.seen : self.seen + free] = frames[:free]
        late = frames[free:]
        if len(late):
            numbers = np.arange(self.seen + free, self.seen + len(frames))
            places = self._rng.integers(0, numbers + 1)
            enter = places < self.capacity
            # Of two that draw one place the later stays: numpy assigns in order.
            self._kept[places[enter]] = late[enter]
        self.seen += len(frames)

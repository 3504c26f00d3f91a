"""Pairs whose tokens are their own frame numbers, so that a crop tells where it was cut."""

import numpy as np

from hafm.guide.frames import GUIDE_CHANNELS


class ClockPairs:
    """Pairs of given lengths in seconds.

    Vocal tokens are frame + 10000 * view, instrumental tokens frame. Codes are frame in codebooks 0 to 2, and
    the number of the pair in codebook 3. Channel g of the guide is frame + g / 100.
    """

    def __init__(self, *seconds: int, views: int = 2) -> None:
        self.seconds, self.views = seconds, views

    def __len__(self) -> int:
        return len(self.seconds)

    def num_views(self) -> int:
        return self.views

    def frames(self, name: str) -> np.ndarray:
        return np.array(self.seconds) * (50 if name.endswith("semantic") else 75)

    def stream(self, index: int, name: str, view: int) -> np.ndarray:
        frames = np.arange(self.frames(name)[index])
        if name.endswith("semantic"):
            return frames[None] + 10_000 * (view if name == "vocal_semantic" else 0)
        return np.stack([frames, frames, frames, np.full_like(frames, index)])

    def guide(self, index: int, inside: slice = slice(None)) -> np.ndarray:
        frames = np.arange(self.frames("vocal_semantic")[index])
        return (frames[inside, None] + np.arange(GUIDE_CHANNELS) / 100).astype(np.float32)

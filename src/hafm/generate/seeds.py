"""Random numbers for every take and stage, from one seed.

In: a seed, the number of the take, and the name of what draws. Out: a generator of its own.

    generator seed = first 63 bits of SHA-256("hafm seed=<seed> take=<take> <name>")

So a take draws the same numbers whatever it is batched with, a stage's numbers do not depend on how many the
one before it drew, and neighbouring seeds have nothing in common.
"""

import hashlib

import torch

__all__ = ["generator_for"]


def generator_for(*, seed: int, take: int, name: str) -> torch.Generator:
    """The generator of one take for one purpose, on the CPU.

    >>> generator_for(seed=1, take=0, name="coarse").initial_seed()
    1065871478065938105
    """
    digest = hashlib.sha256(f"hafm seed={seed} take={take} {name}".encode()).digest()
    return torch.Generator().manual_seed(int.from_bytes(digest[:8], "big") >> 1)

"""The keys and values of the positions already seen, in memory that is taken once.

In: the new keys and values of a layer. Out: views of everything so far. Capacity is fixed when the
cache is built; nothing grows, nothing is copied. Unused slots hold NaN, so that a read past the
end shows at once.
"""

import torch
from jaxtyping import Float
from torch import Tensor


class KVCache:
    """Keys and values of ``num_layers`` layers for up to ``capacity`` positions.

    >>> cache = KVCache(num_layers=1, batch=2, num_heads=4, capacity=8, head_width=16)
    >>> k = torch.zeros(2, 4, 3, 16)
    >>> keys, values = cache.extend(0, k, k)
    >>> cache.advance(3)
    >>> keys.shape, cache.length
    (torch.Size([2, 4, 3, 16]), 3)
    """

    def __init__(
        self,
        *,
        num_layers: int,
        batch: int,
        num_heads: int,
        capacity: int,
        head_width: int,
        dtype: torch.dtype = torch.float32,
        device: torch.device | str = "cpu",
    ) -> None:
        shape = (num_layers, batch, num_heads, capacity, head_width)
        self.keys = torch.full(shape, float("nan"), dtype=dtype, device=device)
        self.values = torch.full(shape, float("nan"), dtype=dtype, device=device)
        self.capacity = capacity
        self.length = 0

    def extend(
        self,
        layer: int,
        keys: Float[Tensor, "B H S E"],
        values: Float[Tensor, "B H S E"],
        *,
        rows: slice = slice(None),
    ) -> tuple[Float[Tensor, "B H L E"], Float[Tensor, "B H L E"]]:
        """Writes S new positions of one layer; returns all ``L = length + S`` of them, as views.

        Every layer extends, and every batch row, before :meth:`advance` moves the end.

        Args:
            rows: which batch rows these are.
        """
        end = self.length + keys.shape[2]
        assert end <= self.capacity, f"cache of {self.capacity} positions asked for {end}"
        self.keys[layer, rows, :, self.length : end] = keys
        self.values[layer, rows, :, self.length : end] = values
        return self.keys[layer, rows, :, :end], self.values[layer, rows, :, :end]

    def advance(self, num_positions: int) -> None:
        """Moves the end, once every layer has written the new positions."""
        self.length += num_positions

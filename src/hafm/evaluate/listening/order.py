"""An order for trials in which no clip comes twice in a row.

In: trials, each with the clip it is about and a wish: a number, low for early, high for late. Out: the trials
in order.

One after the other, the trial of the lowest wish is taken whose clip was not heard just before. A clip that
still has more than half of what is left must be taken now, or it would be left over with itself in the end.
That is the only case in which wishes do not count. Such an order exists if and only if no clip has more than
half of the trials, rounded up, and then this finds one.
"""

from collections import Counter
from collections.abc import Hashable, Sequence
from typing import TypeVar

from hafm.errors import UsageError

__all__ = ["order_apart"]

T = TypeVar("T")


def order_apart(items: Sequence[T], clips: Sequence[Hashable], wishes: Sequence[float]) -> list[T]:
    """Items in order, no two neighbours of one clip.

    Args:
        items: what to order.
        clips: what each is about.
        wishes: where each would like to stand.

    Raises:
        UsageError: a clip has more than half of the items, so there is no such order.

    >>> order_apart(["first", "second", "third"], ["x", "x", "y"], [0.1, 0.2, 0.9])
    ['first', 'third', 'second']
    """
    left = sorted(range(len(items)), key=lambda number: wishes[number])
    ordered: list[int] = []
    while left:
        clip, count = Counter(clips[number] for number in left).most_common(1)[0]
        before = clips[ordered[-1]] if ordered else None
        found = [
            number
            for number in left
            if (not ordered or clips[number] != before) and (2 * count <= len(left) or clips[number] == clip)
        ]
        if not found:
            raise UsageError(
                "no order of the trials keeps a clip from coming twice in a row; give a run with more clips, "
                "or fewer trials"
            )
        ordered.append(found[0])
        left.remove(found[0])
    return [items[number] for number in ordered]

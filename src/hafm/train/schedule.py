"""Learning-rate schedules: a step number in, the share of the peak rate out.

cosine       /\\_            paper 3.5: linear warm-up, then a cosine down to a floor
            /    \\_
trapezoid   /-----\\         linear warm-up, flat, linear down: the flat part can be prolonged later,
                            which a cosine that has already come down cannot
"""

import math


def cosine(step: int, *, warmup: int, total: int, floor: float) -> float:
    """Linear warm-up to 1, then a half cosine to ``floor`` at ``total``.

    >>> [round(cosine(s, warmup=4, total=12, floor=0.0), 3) for s in (0, 3, 8, 12, 99)]
    [0.25, 1.0, 0.5, 0.0, 0.0]
    """
    if step < warmup:
        return (step + 1) / warmup
    progress = min(1.0, (step - warmup) / max(1, total - warmup))
    return floor + (1 - floor) * 0.5 * (1 + math.cos(math.pi * progress))


def trapezoid(step: int, *, warmup: int, total: int, cooldown: int, floor: float) -> float:
    """Linear warm-up to 1, flat, then linear to ``floor`` over the last ``cooldown`` steps.

    >>> [round(trapezoid(s, warmup=2, total=10, cooldown=4, floor=0.0), 3) for s in (0, 1, 6, 8, 10)]
    [0.5, 1.0, 1.0, 0.5, 0.0]
    """
    if step < warmup:
        return (step + 1) / warmup
    remaining = max(0, total - step) / max(1, cooldown)
    return floor + (1 - floor) * min(1.0, remaining)

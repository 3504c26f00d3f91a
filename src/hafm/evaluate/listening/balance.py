"""A design in which nothing but the systems differs: pairs, clips and sides are spread evenly.

In: systems, clips, how many trials, a seed. Out: a `Design`.

    pairs    each pair of systems is heard equally often, give or take one
    clips    each clip is heard equally often, and with each pair equally often, give or take one
    sides    of each pair's trials, either system is on side A in a half, give or take one
    order    random, but no clip twice in a row; repeats come towards the end, their firsts in the beginning

How clips meet pairs: let there be P pairs, C clips, and L their least common multiple. Trial t has pair
`t mod P` and clip `(t + floor(t / L)) mod C`. Within a block of L trials every clip comes L / C times, and
a pair meets C / gcd(C, P) clips, all different. The next block is shifted by one clip, so the pair meets
others; after gcd(C, P) blocks it has met every clip once.

Conventions: draws come from the seed and the run's fingerprint together, so that nobody without the run can
work out a kit from the number of its seed.
"""

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations, zip_longest
from math import lcm
from random import Random

from hafm.errors import UsageError
from hafm.evaluate.listening.design import Design, Trial
from hafm.evaluate.listening.order import order_apart
from hafm.evaluate.testset.clip import Arm

__all__ = ["Plan", "make_design"]

MAX_TRIALS = 500
"""Of all kinds together; a page with more would be too large for a browser, and too long for an ear."""

TRUTH = "truth"


@dataclass(frozen=True, kw_only=True)
class Plan:
    """How long a listening test is.

    Args:
        trials: main trials, 1 or more.
        catch: catch trials, 0 or more.
        repeats: main trials that are heard again, 0 or more.
        seed: of the draws.
        listen_seconds: see `Design`; 0 or more.

    Raises:
        UsageError: a value is out of range.
    """

    trials: int = 24
    catch: int = 4
    repeats: int = 4
    seed: int = 0
    listen_seconds: float = 5.0

    def __post_init__(self) -> None:
        if self.trials < 1:
            raise UsageError(f"--trials is {self.trials}; give 1 or more")
        if self.catch < 0:
            raise UsageError(f"--catch is {self.catch}; give 0 or more")
        if not 0 <= self.repeats <= self.trials:
            raise UsageError(
                f"--repeats is {self.repeats}; give 0 to {self.trials}, as many as there are trials to repeat"
            )
        if self.trials + self.catch + self.repeats > MAX_TRIALS:
            raise UsageError(
                f"--trials, --catch and --repeats come to {self.trials + self.catch + self.repeats} trials; "
                f"give {MAX_TRIALS} at most, or make several kits with other seeds"
            )
        if not 0 <= self.listen_seconds <= 600:
            raise UsageError(f"--listen-seconds is {self.listen_seconds:g}; give 0 to 600")


def make_design(
    *,
    systems: Sequence[str],
    controls: Sequence[str],
    songs: Mapping[str, Sequence[str]],
    run: str,
    arm: Arm,
    plan: Plan,
) -> Design:
    """The design of a listening test.

    Args:
        systems: names of two or more that are compared.
        controls: what catch trials set against the truth, in turn; empty where there can be none.
        songs: ids of clips by song; two clips or more.
        run: fingerprint of the evaluation.
        arm: see `Design`.
        plan: how many trials there are.

    Raises:
        UsageError: there are too few systems or clips, or a system is named twice.
    """
    if len(systems) < 2 or len(set(systems)) < len(systems):
        raise UsageError(
            "a listening test compares two systems or more, each named once; got "
            f"{', '.join(systems) or 'none'}"
        )
    rng = Random(f"{plan.seed} {run}")
    clips = _spread(songs, rng)
    if len(clips) < 2:
        raise UsageError(
            f"a listening test needs two clips or more, so that none comes twice in a row, and there is "
            f"{len(clips)}; evaluate more songs"
        )
    main = _main_trials(systems, clips, plan.trials, rng)
    uses = Counter(dict.fromkeys(clips, 0))
    uses.update(trial.clip for trial in main)
    repeats = _repeats(main, plan.repeats, uses, rng)
    catch = _catch_trials(controls, plan.catch if controls else 0, uses, rng)
    again = {trial.repeats for trial in repeats}
    trials, wishes = [*main, *catch, *repeats], []
    for trial in trials:
        early, late = (
            (2 / 3, 1.0) if trial.repeats is not None else (0.0, 1 / 3 if trial.id in again else 1.0)
        )
        wishes.append(rng.uniform(early, late))
    return Design(
        run=run,
        arm=arm,
        systems=tuple(systems),
        trials=tuple(order_apart(trials, [trial.clip for trial in trials], wishes)),
        seed=plan.seed,
        listen_seconds=plan.listen_seconds,
    )


def _spread(songs: Mapping[str, Sequence[str]], rng: Random) -> list[str]:
    """All clips in random order, a clip of every song before the second of any."""
    shuffled = [rng.sample(list(clips), len(clips)) for clips in songs.values()]
    rng.shuffle(shuffled)
    return [clip for layer in zip_longest(*shuffled) for clip in layer if clip is not None]


def _main_trials(systems: Sequence[str], clips: Sequence[str], count: int, rng: Random) -> list[Trial]:
    pairs = list(combinations(systems, 2))
    rng.shuffle(pairs)
    block = lcm(len(pairs), len(clips))
    by_pair: dict[tuple[str, str], list[str]] = defaultdict(list)
    for number in range(count):
        by_pair[pairs[number % len(pairs)]].append(clips[(number + number // block) % len(clips)])
    return [
        _trial(pair, clip, swapped, rng)
        for pair, met in by_pair.items()
        for clip, swapped in zip(met, _sides(len(met), rng), strict=True)
    ]


def _repeats(main: Sequence[Trial], count: int, uses: Counter[str], rng: Random) -> list[Trial]:
    """Of the least used clips first, then of the least repeated pairs."""
    left, pairs = rng.sample(list(main), len(main)), Counter[frozenset[str]]()
    chosen = []
    for _ in range(count):
        first = min(left, key=lambda trial: (uses[trial.clip], pairs[frozenset((trial.a, trial.b))]))
        left.remove(first)
        uses[first.clip] += 1
        pairs[frozenset((first.a, first.b))] += 1
        chosen.append(
            replace(first, id=_id(rng), kind="repeat", a=first.b, b=first.a, repeats=first.id),
        )
    return chosen


def _catch_trials(controls: Sequence[str], count: int, uses: Counter[str], rng: Random) -> list[Trial]:
    chosen = []
    for number, swapped in enumerate(_sides(count, rng)):
        clip = min(uses, key=lambda clip: uses[clip])
        uses[clip] += 1
        pair = (TRUTH, controls[number % len(controls)])
        chosen.append(replace(_trial(pair, clip, swapped, rng), kind="catch"))
    return chosen


def _sides(count: int, rng: Random) -> list[bool]:
    """Whether to swap, for each of `count` trials: half of them, give or take one."""
    start = rng.random() < 0.5
    sides = [(number % 2 == 0) == start for number in range(count)]
    rng.shuffle(sides)
    return sides


def _trial(pair: tuple[str, str], clip: str, swapped: bool, rng: Random) -> Trial:
    a, b = reversed(pair) if swapped else pair
    return Trial(id=_id(rng), kind="main", clip=clip, a=a, b=b)


def _id(rng: Random) -> str:
    return f"{rng.getrandbits(64):016x}"

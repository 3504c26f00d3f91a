"""What raters hear, trial by trial, and how it is drawn so that nothing but the systems differs.

In: systems, clips, how many trials, a seed. Out: a `Design`, the key that says which sound is whose.

    KIT/key.json    the design: systems, clips and sides of every trial, in the order in which they are heard

A trial is one vocal with two accompaniments, on side A and on side B. It is one of three kinds:

    main      two of the systems that are compared; these alone make win rates
    catch     the true instrumental against something that cannot fit: whoever listens chooses the truth
    repeat    a main trial once more, with the sides swapped: whoever knows their mind chooses the same system

What is spread evenly:

    pairs    each pair of systems is heard equally often, give or take one
    clips    each clip is heard equally often, and with each pair equally often, give or take one
    sides    of each pair's trials, either system is on side A in a half, give or take one
    order    random, but no clip twice in a row; repeats come towards the end, their firsts in the beginning

How clips meet pairs: let there be P pairs, C clips, and L their least common multiple. Trial t has pair
`t mod P` and clip `(t + floor(t / L)) mod C`. Within a block of L trials every clip comes L / C times, and
a pair meets C / gcd(C, P) clips, all different. The next block is shifted by one clip, so the pair meets
others; after gcd(C, P) blocks it has met every clip once.

Conventions: a trial's id is random and says nothing; the page knows ids and sounds, and nothing else of this.
`Design.kit` is a hash of the whole design, so answers find the key they belong to. Draws come from the seed
and the run's fingerprint together, so that nobody without the run can work out a kit from its seed.

Source: the listener study of Donahue et al., "SingSong" (2023): two 10 s mixes with the same isolated vocal,
and the question in which the accompaniment is more musically compatible with it. Catch trials, repeats and
the answer "no difference" are ours.
"""

import json
from collections import Counter, defaultdict
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from hashlib import sha256
from itertools import combinations, zip_longest
from math import lcm
from random import Random
from typing import Literal, Self, TypeAlias, TypeVar

from hafm.errors import UsageError
from hafm.evaluate.testset import TRUTH, Arm
from hafm.jsonfile import JsonFile

__all__ = ["MIN_CATCH", "Design", "Kind", "Plan", "Trial", "make_design", "order_apart"]

Kind: TypeAlias = Literal["main", "catch", "repeat"]
T = TypeVar("T")

FORMAT = 1

MIN_CATCH = 0.75
"""Share of catch trials that an attentive rater gets right; of four, one slip is forgiven."""

MAX_TRIALS = 500
"""Of all kinds together; a page with more would be too large for a browser, and too long for an ear."""


@dataclass(frozen=True, kw_only=True)
class Trial:
    """One question.

    Args:
        repeats: id of the main trial that a repeat repeats, else None.
    """

    id: str
    kind: Kind
    clip: str
    a: str
    b: str
    repeats: str | None = None

    def chosen(self, choice: str) -> str | None:
        """The system behind the choice `a` or `b`; None for `same`.

        >>> trial = Trial(id="7f", kind="main", clip="x", a="model", b="random")
        >>> trial.chosen("b"), trial.chosen("same")
        ('random', None)
        """
        return {"a": self.a, "b": self.b}.get(choice)


@dataclass(frozen=True, kw_only=True)
class Design:
    """A listening test.

    Args:
        run: fingerprint of the evaluation whose sounds are heard.
        arm: whose sounds: made for isolated or for separated vocals.
        systems: those that are compared, two or more.
        listen_seconds: how long either side must be heard, if it lasts as long, before an answer counts.
    """

    run: str
    arm: Arm
    systems: tuple[str, ...]
    trials: tuple[Trial, ...]
    seed: int
    listen_seconds: float

    @property
    def kit(self) -> str:
        """Fingerprint of the design, 16 hex digits."""
        return sha256(json.dumps(asdict(self), sort_keys=True).encode()).hexdigest()[:16]

    def of_kind(self, kind: Kind) -> tuple[Trial, ...]:
        """The trials of a kind, in order."""
        return tuple(trial for trial in self.trials if trial.kind == kind)

    def to_json(self) -> str:
        """What `from_json` reads."""
        values = asdict(self)
        trials = {trial.pop("id"): trial for trial in values.pop("trials")}
        return json.dumps({"format": FORMAT, "kit": self.kit, **values, "trials": trials}, indent=1)

    @classmethod
    def from_json(cls, text: str, *, where: str) -> Self:
        """What `to_json` gave, which messages call `where`; UsageError where it is anything else."""
        values = _FILE.values(text, where=where)
        kit, trials = values.pop("kit", None), values.get("trials")
        if isinstance(trials, dict) and all(isinstance(each, dict) for each in trials.values()):
            values["trials"] = [{"id": id, **each} for id, each in trials.items()]
        design = _FILE.build(cls, values, where=where)
        if kit != design.kit:
            raise UsageError(f"{where} was changed by hand; use the key.json as hafm listen make wrote it")
        return design


_FILE = JsonFile(
    what="the key of a listening test",
    fix="give the key.json of a kit that hafm listen make wrote",
    error=UsageError,
    format=FORMAT,
)


@dataclass(frozen=True, kw_only=True)
class Plan:
    """How many trials of each kind a listening test has; UsageError where a value is out of range."""

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
        run, arm: see `Design`.

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
        early = 0.0 if trial.repeats is None else 2 / 3
        wishes.append(rng.uniform(early, 1 / 3 if trial.id in again else 1.0))
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
        chosen.append(replace(first, id=_id(rng), kind="repeat", a=first.b, b=first.a, repeats=first.id))
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


def order_apart(items: Sequence[T], clips: Sequence[Hashable], wishes: Sequence[float]) -> list[T]:
    """Items in order, no two neighbours of one clip.

    One after the other, the item of the lowest wish is taken whose clip was not heard just before. A clip
    that still has more than half of what is left must be taken now, or it would be left over with itself in
    the end. That is the only case in which wishes do not count. Such an order exists if and only if no clip
    has more than half of the items, rounded up, and then this finds one.

    Args:
        clips: what each item is about.
        wishes: low for early, high for late.

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

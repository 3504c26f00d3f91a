"""The best of N takes, as a singer would get it from `hafm generate --takes N --pick best`.

In: the takes of a model. Out: for each arm, clip and N, which take is chosen and why.

The choice hears what the model heard (the arm's vocal, isolated or separated) and knows neither score nor
true instrumental. Best of 1 is take 0. The first N takes are ranked, so the best of 4 and of 8 nest.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256

from hafm.evaluate.criteria import CRITERIA
from hafm.evaluate.ranking import rank_takes
from hafm.evaluate.run.folder import Made, RunFolder
from hafm.evaluate.testset.clip import Arm, Clip
from hafm.version import __version__

__all__ = ["Choice", "choose"]


@dataclass(frozen=True, kw_only=True)
class Choice:
    """A take and why it was chosen."""

    take: int
    why: str


def choose(
    run: RunFolder,
    system: str,
    arm: Arm,
    clip: Clip,
    *,
    of: Sequence[int],
) -> dict[int, Choice]:
    """The best of the first N takes of a clip, for each N.

    Args:
        run: with the takes.
        system: whose takes.
        arm: whose vocal.
        clip: which.
        of: each N, 1 or more.
    """
    made = [Made(system=system, heard=arm, take=take, clip=clip.id) for take in range(max(of))]
    paths = [run.sound_path(each) for each in made]
    digests = [sha256(path.read_bytes()).hexdigest() for path in (run.vocal_path(arm, clip.id), *paths)]
    key = f"choices/{system}/{arm}/{clip.id}.json"
    state = sha256(json.dumps([__version__, repr(CRITERIA), *digests]).encode()).hexdigest()
    kept = _kept(run, key, state)
    if kept is None or not set(of) <= set(kept):
        vocal, sounds = run.vocal(arm, clip), [run.sound(each) for each in made]
        rate = run.manifest.protocol.sample_rate
        kept = {}
        for count in sorted(set(of)):
            best = rank_takes(vocal, sounds[:count], rate).best
            kept[count] = Choice(take=best.index, why=best.why if count > 1 else "the only take")
        chosen = {str(count): [choice.take, choice.why] for count, choice in kept.items()}
        run.write(key, json.dumps({"state": state, "chosen": chosen}))
    return {count: kept[count] for count in of}


def _kept(run: RunFolder, key: str, state: str) -> dict[int, Choice] | None:
    path = run.path / key
    if not path.is_file():
        return None
    values = json.loads(path.read_text(encoding="utf-8"))
    if values["state"] != state:
        return None
    return {int(count): Choice(take=take, why=why) for count, (take, why) in values["chosen"].items()}

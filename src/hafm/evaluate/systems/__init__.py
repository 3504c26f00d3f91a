"""What is compared: the true instrumental, the model, and what a number means without either.

In: names, as they are given on a command line, and what the systems need. Out: `System`s, see `systems.base`.

    codec            the true instrumental through the bundle's codec; `systems.references`
    model            the bundle as a user has it: with an analyser it follows its estimate; `systems.model`
    model-none       the bundle, given an empty lead sheet
    model-given      the bundle, given the true lead sheet of each clip
    model-estimated  the bundle, given what its own analyser estimates from the vocal
    model-other      the bundle, given the lead sheet of another song: the floor of what a sheet can do
    arrangement      a band of samples that plays what the bundle's analyser estimates; `systems.references`
    arrangement-given   the same, given the true lead sheet of each clip
    retrieval        the training song that fits best, transposed and stretched
    random           another song's instrumental
    noise            pink noise
    silence          zeros

The true instrumental is always there, and needs no system.
"""

from collections.abc import Iterable
from os import PathLike
from typing import TYPE_CHECKING, Unpack

from hafm.errors import UsageError

if TYPE_CHECKING:
    from hafm.evaluate.run.folder import RunFolder
    from hafm.evaluate.systems.base import System
    from hafm.generate.accompany import Accompanist
    from hafm.generate.sampling import Chosen

__all__ = ["ARRANGED", "GUIDED", "SYSTEMS", "WITH_BUNDLE", "open_systems", "require_systems"]

GUIDED = ("model-none", "model-given", "model-estimated", "model-other")
"""Those that need lead sheets, and a bundle that follows them."""

ARRANGED = ("arrangement", "arrangement-given")
"""Those that play lead sheets without a model."""

SYSTEMS = ("codec", "model", *GUIDED, *ARRANGED, "retrieval", "random", "noise", "silence")
"""Every name, in the order of the tables."""

WITH_BUNDLE = frozenset({"codec", "model", *GUIDED, "arrangement"})
"""Those that need a bundle."""


_TITLES = {
    "model": "model",
    "model-none": "model, without a lead sheet",
    "model-given": "model, given the lead sheet",
    "model-estimated": "model, given the lead sheet estimated from the vocal",
    "model-other": "model, given another song's lead sheet",
    "arrangement": "arrangement of the lead sheet estimated from the vocal",
    "arrangement-given": "arrangement of the lead sheet",
}


def require_systems(names: Iterable[str]) -> tuple[str, ...]:
    """The names in the order of the tables, each once; UsageError where one is unknown, or none is given.

    >>> require_systems(["random", "model"])
    ('model', 'random')
    """
    given = set(names)
    unknown = sorted(given - set(SYSTEMS))
    if unknown or not given:
        raise UsageError(
            f"--systems knows no {', '.join(unknown) or 'empty list'}; choose among {', '.join(SYSTEMS)} "
            "(the true instrumental is always there)"
        )
    return tuple(name for name in SYSTEMS if name in given)


def open_systems(
    names: Iterable[str],
    run: "RunFolder",
    *,
    accompanist: "Accompanist | None" = None,
    index: str | PathLike[str] | None = None,
    seed: int = 0,
    takes: int = 1,
    batch_rows: int = 16,
    skip_fine: bool = False,
    **chosen: "Unpack[Chosen]",
) -> "list[System]":
    """The systems of these names, in the order of the tables.

    Args:
        names: out of `SYSTEMS`.
        accompanist: for those of `WITH_BUNDLE`.
        index: of `hafm retrieve-index`, for `retrieval`.
        takes, batch_rows, skip_fine, chosen: of the model, see `systems.model`.

    Raises:
        UsageError: a name is unknown, or a system lacks what it needs.
        HafmError: as opening an index or an analyser raises.
    """
    from hafm.evaluate.retrieval.retrieve import Retriever
    from hafm.evaluate.run.folder import true_sound
    from hafm.evaluate.systems import references
    from hafm.evaluate.systems.model import Model, sheets_of

    wanted = require_systems(names)

    def bundle() -> "Accompanist":
        if accompanist is None:
            name = next(name for name in wanted if name in WITH_BUNDLE)
            raise UsageError(f"the system {name!r} needs a bundle; give one, or leave {name!r} out")
        return accompanist

    def opened(name: str) -> "System":
        if name == "codec":
            return references.CodecCeiling(codec=bundle().bundle.load_codec(), device=bundle().device)
        if name == "model" or name in GUIDED:
            guide = name.removeprefix("model-")
            return Model(
                name=name,
                title=_TITLES[name],
                sheets=sheets_of(guide, run, bundle, seed) if name in GUIDED else None,
                guide=guide,
                accompanist=bundle(),
                takes=takes,
                seed=seed,
                batch_rows=batch_rows,
                skip_fine=skip_fine,
                **chosen,
            )
        if name in ARRANGED:
            guide = "given" if name == "arrangement-given" else "estimated"
            sheets = sheets_of(guide, run, bundle, seed)
            return references.Arranged(name=name, title=_TITLES[name], sheets=sheets, guide=guide, seed=seed)
        if name == "retrieval":
            if index is None:
                raise UsageError(
                    "retrieval needs an index of training songs; make one with hafm retrieve-index"
                )
            return references.Retrieval(retriever=Retriever.open(index))
        if name == "random":
            return references.RandomPairing(
                clips=run.manifest.clips, instrumental=lambda clip: run.sound(true_sound(clip.id)), seed=seed
            )
        return references.Noise(seed=seed) if name == "noise" else references.Silence()

    return [opened(name) for name in wanted]

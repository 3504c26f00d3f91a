"""What is compared: the true instrumental, the model, and what a number means without either.

In: names, as they are given on a command line, and what the systems need. Out: `System`s, see `systems.base`.

    codec            the true instrumental through the bundle's codec; `systems.ceilings`
    model            the bundle as a user has it: with an analyser it follows its estimate; `systems.model`
    model-none       the bundle, given an empty lead sheet
    model-given      the bundle, given the true lead sheet of each clip
    model-estimated  the bundle, given what its own analyser hears in the vocal
    model-other      the bundle, given the lead sheet of another song: the floor of what a sheet can do
    arrangement      a band of samples that plays what the bundle's analyser hears; `systems.arrangement`
    arrangement-given   the same, given the true lead sheet of each clip
    retrieval        the training song that fits best, transposed and stretched; `systems.retrieval`
    random           another song's instrumental; `systems.controls`
    noise            pink noise
    silence          zeros

The true instrumental is always there, and needs no system.
"""

from collections.abc import Callable, Iterable
from dataclasses import replace
from os import PathLike
from typing import TYPE_CHECKING

from hafm.errors import UsageError

if TYPE_CHECKING:
    from hafm.evaluate.run.folder import RunFolder
    from hafm.evaluate.systems.base import ClipSound, System
    from hafm.evaluate.testset.clip import Clip
    from hafm.generate.accompany import Accompanist
    from hafm.guide.lead_sheet import LeadSheet

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
    """The names in the order of the tables, each once.

    Raises:
        UsageError: a name is unknown, or there is none.

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
    temperature: float | None = None,
    top_k: int | None = None,
    guidance: float | None = None,
    skip_fine: bool = False,
) -> "list[System]":
    """The systems of these names, in the order of the tables.

    Args:
        names: out of `SYSTEMS`.
        run: with its clips.
        accompanist: for those of `WITH_BUNDLE`.
        index: of `hafm retrieve-index`, for `retrieval`.
        seed: of everything random.
        takes, batch_rows, temperature, top_k, guidance, skip_fine: of the model, see `systems.model`.

    Raises:
        UsageError: a name is unknown, or a system lacks what it needs.
        HafmError: as opening an index or an analyser raises.
    """
    from hafm.evaluate.run.clips import TRUTH
    from hafm.evaluate.run.folder import BOTH_ARMS, Made
    from hafm.evaluate.systems.ceilings import CodecCeiling
    from hafm.evaluate.systems.controls import Noise, RandomPairing, Silence, pairings
    from hafm.evaluate.systems.model import Model
    from hafm.guide.lead_sheet import LeadSheet

    def sheet_of(clip: "Clip") -> "LeadSheet":
        sheet = run.sheet(Made(system=TRUTH, heard=BOTH_ARMS, take=0, clip=clip.id))
        if sheet is None:
            raise UsageError(
                f"there is no lead sheet of clip {clip.id!r}; give rendered pairs, or leave out "
                "model-given, model-other and arrangement-given"
            )
        return sheet

    def sheets(name: str) -> "Callable[[ClipSound], LeadSheet] | None":
        if name in ("model-given", "arrangement-given"):
            return lambda each: sheet_of(each.clip)
        rate = run.manifest.protocol.sample_rate
        if name == "model-none":
            return lambda each: LeadSheet(duration_seconds=each.clip.num_samples / rate)
        if name in ("model-estimated", "arrangement"):
            assert accompanist is not None
            analyser = accompanist.bundle.load_analyser("vocal")
            return lambda each: analyser.analyse(each.vocal, rate)
        if name == "model-other":
            [partner] = pairings(run.manifest.clips, seed=seed, takes=1)
            return lambda each: _of_length(sheet_of(partner[each.clip.id]), each.clip.num_samples / rate)
        return None

    found: list[System] = []
    for name in require_systems(names):
        if name in WITH_BUNDLE and accompanist is None:
            raise UsageError(f"the system {name!r} needs a bundle; give one, or leave {name!r} out")
        if name == "codec":
            assert accompanist is not None
            found.append(CodecCeiling(codec=accompanist.bundle.load_codec(), device=accompanist.device))
        elif name == "model" or name in GUIDED:
            assert accompanist is not None
            found.append(
                Model(
                    name=name,
                    title=_TITLES[name],
                    sheets=sheets(name),
                    guide=name.removeprefix("model-"),
                    accompanist=accompanist,
                    takes=takes,
                    seed=seed,
                    batch_rows=batch_rows,
                    temperature=temperature,
                    top_k=top_k,
                    guidance=guidance,
                    skip_fine=skip_fine,
                )
            )
        elif name in ARRANGED:
            from hafm.evaluate.systems.arrangement import Arranged

            chosen = sheets(name)
            assert chosen is not None, "these are played from sheets"
            guide = "given" if name == "arrangement-given" else "estimated"
            found.append(Arranged(name=name, title=_TITLES[name], sheets=chosen, guide=guide, seed=seed))
        elif name == "retrieval":
            from hafm.evaluate.retrieval.retrieve import Retriever
            from hafm.evaluate.systems.retrieval import Retrieval

            if index is None:
                raise UsageError(
                    "retrieval needs an index of training songs; make one with hafm retrieve-index"
                )
            found.append(Retrieval(retriever=Retriever.open(index)))
        elif name == "random":
            found.append(
                RandomPairing(
                    clips=run.manifest.clips,
                    instrumental=lambda clip: run.sound(
                        Made(system=TRUTH, heard=BOTH_ARMS, take=0, clip=clip.id)
                    ),
                    seed=seed,
                )
            )
        elif name == "noise":
            found.append(Noise(seed=seed))
        else:
            assert name == "silence"
            found.append(Silence())
    return found


def _of_length(sheet: "LeadSheet", seconds: float) -> "LeadSheet":
    """The beginning of a sheet, or the whole of it with nothing known of the rest."""
    if sheet.duration_seconds > seconds:
        return sheet.cropped(0.0, seconds)
    return replace(sheet, duration_seconds=seconds)

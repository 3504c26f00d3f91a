"""What the results say, in sentences.

In: `Lookup`. Out: lines of text.

Convention: two systems differ where their 95 % intervals do not meet, and nothing else is called a
difference. That is careful: intervals that meet may hide a difference that a paired test would find.
Measures that do not tell true pairs from random ones are named, and no sentence is made from them.
"""

from hafm.evaluate.report.lookup import ON_TITLES, RANDOM, Lookup, measure_title
from hafm.evaluate.report.values import decimals, of_figure
from hafm.evaluate.run.results import Figure, On, SystemRow, WorthRow
from hafm.words import listed

__all__ = ["HOW", "summary"]

HOW = (
    "A difference is stated where the two 95 % intervals (over songs) do not meet. Where they meet, nothing "
    "is said about which is better."
)


def summary(found: Lookup) -> list[str]:
    """The sentences, of the first arm."""
    results, arm = found.results, found.results.arms[0]
    lines = [_informative_measures(found)]
    if found.model is not None:
        lines += _against_chance(found, arm, found.model)
        if found.main_embedding is not None:
            for on in ("stem", "mix"):
                lines += _distance(found, arm, found.model, found.main_embedding, on)
        lines += [_adherence(found, arm, found.model, name) for name in found.embeddings]
    lines += [_worth(row) for row in results.worth]
    return [line for line in lines if line]


def _informative_measures(found: Lookup) -> str:
    rated = [row for row in found.results.measures if row.informative is not None]
    good = [measure_title(row.name).lower() for row in rated if row.informative]
    bad = [measure_title(row.name).lower() for row in rated if not row.informative]
    if not rated:
        return "No measure of fit could be checked against true and random pairs, so none is discussed here."
    text = f"{len(good)} of {len(rated)} measures of fit tell true pairs from random ones on this test set"
    text += f" ({listed(good)})." if good else "."
    if bad:
        text += f" Nothing is concluded from {listed(bad)}."
    return text


def _against_chance(found: Lookup, arm: str, model: SystemRow) -> list[str]:
    """The informative measures, by how the model compares with random pairing."""
    sides: dict[int, list[str]] = {1: [], 0: [], -1: []}
    for measure in found.informative:
        ours, chance = found.fit(arm, model.name, measure.name), found.fit(arm, RANDOM, measure.name)
        if ours is None or chance is None or measure.higher_is_better is None:
            continue
        if (side := ours.apart(chance)) is None:
            continue
        places = decimals([ours.value, chance.value])
        unit = f" {measure.unit}" if measure.unit else ""
        both = f"{_figure(ours, places)}{unit} against {_figure(chance, places)}{unit}"
        better = side if measure.higher_is_better else -side
        sides[better].append(f"{measure_title(measure.name).lower()} ({both})")
    verdicts = {1: "is better than", 0: "is not distinguishable from", -1: "is worse than"}
    subject = _article(model.title)
    return [
        f"{subject[:1].upper()}{subject[1:]} {verdict} random pairing by {listed(sides[side])}."
        for side, verdict in verdicts.items()
        if sides[side]
    ]


def _distance(found: Lookup, arm: str, model: SystemRow, embedding: str, on: On) -> list[str]:
    mine = found.fad(arm, model.name, embedding, on)
    if mine is None:
        return []
    sides: dict[int, list[str]] = {-1: [], 1: [], 0: []}
    for system in found.systems:
        row = found.fad(arm, system.name, embedding, on)
        if row is None or system.kind == "model":
            continue
        if (side := mine.fad.apart(row.fad)) is not None:
            sides[side].append(_inside(system.title))
    words = [
        f"{verdict} {listed(sides[side])}"
        for side, verdict in ((-1, "nearer than"), (1, "farther than"), (0, "not distinguishable from"))
        if sides[side]
    ]
    if not words:
        return []
    places = decimals([mine.fad.value])
    text = (
        f"FAD to the true instrumentals, {ON_TITLES[on]}, by {embedding}: {_article(model.title)} is at "
        f"{_figure(mine.fad, places)}, {'; '.join(words)}."
    )
    # FAD compares sets: whose vocal an accompaniment was made for does not enter on stems.
    if on == "stem":
        text += " This is about how accompaniments sound, not about whether they fit their vocals."
    return [text]


def _adherence(found: Lookup, arm: str, model: SystemRow, embedding: str) -> str:
    mine, chance = found.apa(arm, model.name, embedding), found.apa(arm, RANDOM, embedding)
    if mine is None or chance is None or not mine.informative:
        return ""
    if (side := mine.apa.apart(chance.apa)) is None:
        return ""
    verdict = {1: "above", 0: "not distinguishable from", -1: "below"}[side]
    return (
        f"Prompt adherence by {embedding}: {_article(model.title)} is {verdict} random pairing, "
        f"{_figure(mine.apa, 2)} against {_figure(chance.apa, 2)}."
    )


def _worth(row: WorthRow) -> str:
    low, high = row.difference.low, row.difference.high
    if low is None or high is None:
        return ""
    if low > 0:
        verdict = "predicts true tokens better with the right vocal than with another's"
    elif high < 0:
        verdict = "predicts true tokens worse with the right vocal than with another's"
    else:
        verdict = "shows no difference between the right vocal and another's"
    return f"The {row.stage} stage {verdict}: {_figure(row.difference, 3)} nats per token."


def _figure(figure: Figure, places: int) -> str:
    """One that has an interval."""
    cell = of_figure(figure, places)
    return f"{cell.text} {cell.interval}"


def _article(title: str) -> str:
    """A model inside a sentence.

    >>> _article("Model"), _article("HAFM")
    ('the model', 'HAFM')
    """
    inside = _inside(title)
    return title if inside == title else f"the {inside}"


def _inside(title: str) -> str:
    """A title inside a sentence.

    >>> _inside("True instrumental"), _inside("HAFM")
    ('true instrumental', 'HAFM')
    """
    return title[:1].lower() + title[1:] if title[1:2].islower() else title

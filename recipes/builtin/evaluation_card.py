"""The evaluation's section of a bundle's model card.

    python -m recipes.builtin.evaluation_card --bundle src/hafm/assets/builtin \\
        --rendered recipes/builtin/evaluation/rendered.json --real recipes/builtin/evaluation/real.json

In: a bundle, and results of `hafm evaluate` on rendered and on real songs. Out: its README.md with a section
of their tables, in place of an older one. The card is no part of the fingerprint, so the bundle stays the
same.

Conventions: results of another bundle are refused. A measure that does not tell true from random pairs on its
test set is left out of the table and named below it.
"""

import argparse
import re
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path

from hafm.errors import UsageError
from hafm.evaluate.run.results import Results
from hafm.files import write_whole
from hafm.stages.bundle import CARD_FILE, Bundle
from recipes.builtin.model_card import table

__all__ = ["evaluation_section", "with_section"]

TITLE = "Beside ceilings, baselines and controls"
_BEFORE = "## The codec"


def evaluation_section(bundle: Bundle, runs: Iterable[tuple[str, str, Results]]) -> str:
    """The section.

    Args:
        bundle: whose card it is for.
        runs: of each, what it was done on, the command that makes it again, and its results.

    Raises:
        UsageError: the results are of another bundle.
    """
    parts = [f"## {TITLE}", _INTRODUCTION]
    for what, command, results in runs:
        made_with = results.made_with["bundle"]
        found = "none" if made_with is None else str(made_with["fingerprint"])
        if found != bundle.fingerprint:
            raise UsageError(
                f"the results on {what} are of bundle {found[:16]}, and this is {bundle.fingerprint[:16]}; "
                "evaluate this one"
            )
        parts += [_heading(what, results), _table(results), *_below(results), f"Measured by `{command}`."]
    return "\n\n".join(parts)


def with_section(card: str, section: str) -> str:
    """A card with the section, in place of an older one or before the one on the codec.

    >>> print(with_section("# A\\n\\n## The codec\\n\\nb\\n", f"## {TITLE}\\n\\nc"))
    # A
    <BLANKLINE>
    ## Beside ceilings, baselines and controls
    <BLANKLINE>
    c
    <BLANKLINE>
    ## The codec
    <BLANKLINE>
    b
    <BLANKLINE>
    """
    card = re.sub(rf"## {re.escape(TITLE)}\n.*?(?=^## )", "", card, flags=re.S | re.M)
    if _BEFORE not in card:
        raise UsageError(f"the card has no section {_BEFORE!r}, before which the evaluation's would stand")
    return card.replace(_BEFORE, f"{section}\n\n{_BEFORE}", 1)


_INTRODUCTION = """\
What a figure means shows beside the true instrumental (ceiling), the same through the codec, a training
song that was found by key, tempo and chords, and another song's instrumental (chance). Means over
songs, in brackets 95 % intervals. Best of 4 and of 8 are chosen by measures that need no truth, which
those then favour; retrieval looks for chroma and beats, so `chroma_vocal` and `beat_vocal` favour it.
Distances (FAD) are by `hafm-mel-modulation`, an embedding of our own without weights: they compare rows
of one table and nothing else. `docs/evaluate.md` describes the measures."""


def _heading(what: str, results: Results) -> str:
    made = results.made_with
    return f"**{what}**: {made['clips']} clips of {made['songs']} songs, {made['seconds'] / 60:.1f} minutes."


def _table(results: Results) -> str:
    measures = [row.name for row in results.measures if row.informative]
    fad = {(row.system, row.on): row.fad for row in results.fad if row.arm == "isolated"}
    fit = {(row.system, row.measure): row.figure for row in results.fit if row.arm == "isolated"}
    rows = [
        [
            row.name,
            fad[row.name, "stem"],
            fad[row.name, "mix"],
            *(fit[row.name, measure] for measure in measures),
        ]
        for row in results.systems
    ]
    return table(["system", "FAD, alone", "FAD, mixed", *measures], rows)


def _below(results: Results) -> list[str]:
    silent = [row.name for row in results.measures if row.informative is False]
    lines = []
    if silent:
        lines.append(
            "Say nothing on this test set (the truth was not shown to do better than a random pairing): "
            f"{', '.join(silent)}."
        )
    if results.worth:
        worth = "; ".join(
            f"{row.stage} {row.right.value:.3f} right, {row.wrong.value:.3f} wrong, difference "
            f"{row.difference.value:.4f} [{row.difference.low:.4f}, {row.difference.high:.4f}]"
            for row in results.worth
        )
        lines.append(
            f"Loss on true tokens with the right and with another song's vocal, nats per token: {worth}."
        )
    return lines


def main(arguments: Sequence[str] | None = None) -> int:
    """The command. Returns its exit status."""
    parser = argparse.ArgumentParser(description="Put an evaluation into a bundle's model card.")
    parser.add_argument("--bundle", type=Path, required=True, help="folder of the bundle")
    parser.add_argument("--rendered", type=Path, required=True, help="results.json on rendered test songs")
    parser.add_argument("--real", type=Path, required=True, help="results.json on real singing")
    options = parser.parse_args(arguments)
    bundle = Bundle.read(options.bundle)
    runs = [
        (
            what,
            command,
            Results.from_json(path.read_text(encoding="utf-8"), where=f"'{path}'"),
        )
        for what, command, path in (
            (
                "Rendered test songs",
                "hafm evaluate work/pairs -o run/ --songs 40 --clips-per-song 1 --systems "
                "codec,model,model-none,model-given,model-other,random,retrieval --index work/index",
                options.rendered,
            ),
            (
                "Real singing, 41 excerpts of 33 songs of MUSDB18, each counted as a song",
                "hafm evaluate SINGERS -o run/ --min-clip-seconds 4 --clips-per-song 1 --systems "
                "codec,model,random,retrieval --index work/index",
                options.real,
            ),
        )
    ]
    card = options.bundle / CARD_FILE
    text = with_section(card.read_text(encoding="utf-8"), evaluation_section(bundle, runs))
    write_whole(card, text)
    return 0


if __name__ == "__main__":
    sys.exit(main())

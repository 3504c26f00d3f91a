"""The model card of a bundle made of training runs: what it is, what it learnt from, how well it predicts.

In: a finished bundle; its `measured` holds the figures (`hafm.app.bundle` gathers them). Out: the text of its
`README.md`, with the front matter that the Hugging Face hub reads.

    measured    stages   NAME: parameters, steps, batch, ..., held_out_loss, ..._by_codebook
                data     hours, tracks, songs known, split by split
                storage  kind

Conventions: every figure comes from the bundle. A figure that was not measured is called so. What no program
can know (whose music it was, under which licence the weights go) is left to fill in, and says so.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from hafm.stages.bundle import Bundle, kmeans_file, stage_file
from hafm.stages.bundle_config import SIDES, STAGES

__all__ = ["UNKNOWN_LICENCE", "markdown_table", "model_card"]

UNKNOWN_LICENCE = "unknown"
"""The hub's word for a licence that nobody has named."""

_NOT_MEASURED = "not measured"


def model_card(bundle: Bundle) -> str:
    """The text of the card, Markdown."""
    sections = [
        _head(bundle),
        _what(bundle),
        _data(bundle.config.measured["data"]),
        _losses(bundle.config.measured["stages"]),
        _by_codebook(bundle.config.measured["stages"]),
        _recipe(bundle),
        _licence(bundle.config.licence),
        _fingerprints(bundle),
    ]
    return "\n\n".join(sections) + "\n"


def markdown_table(header: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """A Markdown table; floats with three decimals, None as "not measured".

    >>> print(markdown_table(["stage", "loss"], [["coarse", 4.25], ["fine", None]]))
    | stage | loss |
    |---|---|
    | coarse | 4.250 |
    | fine | not measured |
    """
    lines = [[_cell(cell) for cell in line] for line in (header, *rows)]
    texts = [f"| {' | '.join(line)} |" for line in lines]
    return "\n".join([texts[0], f"|{'---|' * len(header)}", *texts[1:]])


def _cell(value: object) -> str:
    if value is None:
        return _NOT_MEASURED
    return f"{value:.3f}" if isinstance(value, float) else str(value)


def _head(bundle: Bundle) -> str:
    config = bundle.config
    return f"""---
license: {config.licence.lower()}
library_name: hafm
pipeline_tag: audio-to-audio
tags: [music-generation, accompaniment, singing]
---

# {config.name}, version {config.version}

Turns a sung vocal into an instrumental accompaniment of exactly the same length.

```sh
hafm generate vocal.wav --bundle PATH_OR_HUB_ID -o out/
```"""


def _what(bundle: Bundle) -> str:
    rows: list[Sequence[object]] = []
    for name in STAGES:
        spec, figures = bundle.spec(name), bundle.config.measured["stages"][name]
        what = (
            f"{spec.num_layers} layers of width {spec.width}, {spec.conditioning} conditioning, "
            f"{figures['parameters'] / 1e6:.1f} M parameters, clips of {spec.clip_seconds} s"
        )
        rows.append([f"{name} stage", what, _size(bundle, stage_file(name))])
    semantic = bundle.spec("semantic")
    for side, stream in zip(SIDES, (semantic.sources[0], semantic.target), strict=True):
        what = f"{stream.cardinality} centroids of {bundle.config.features[side]['kind']} features"
        rows.append([f"k-means, {side}", what, _size(bundle, kmeans_file(side))])
    rows.append(["codec", str(bundle.config.codec["kind"]), _size(bundle, "codec")])
    return f"""## What it is

Three transformers of the HAFM paper's design: vocal to semantic tokens of the band, to coarse codes, to fine
codes. The stages' weights are stored as {bundle.config.measured["storage"]["kind"]}.

{markdown_table(["part", "what", "MB"], rows)}"""


def _data(data: Mapping[str, Any]) -> str:
    header = ["split", "hours used", "hours", "tracks"]
    rows = [
        [split, counts["kept_hours"], counts["hours"], counts["tracks"]]
        for split, counts in data["splits"].items()
    ]
    return f"""## What it learnt from

{data["kept_hours"]:.1f} hours of pairs of vocal and instrumental, of {data["tracks"]} tracks. "Used" is what
the filter kept (section 3.6 of the paper: instrumentals of some level, vocals that do not drown them).

{markdown_table(header, rows)}

Whose music it is, and by what right it was used: **to fill in**."""


def _losses(stages: Mapping[str, Mapping[str, Any]]) -> str:
    header = ["stage", "held-out loss", "with a wrong vocal", "all conditions wrong", "training loss"]
    rows = []
    for name, stage in stages.items():
        held_out, with_wrong_vocal = stage["held_out_loss"], stage["loss_with_wrong_vocal"]
        if held_out is not None and with_wrong_vocal is None:
            with_wrong_vocal = "does not see it"
        rows.append(
            [name, held_out, with_wrong_vocal, stage["loss_with_wrong_conditions"], stage["training_loss"]]
        )
    return f"""## How well it predicts

Nats a token, on songs that it was not trained on. With another song's vocal or conditions the loss must be
higher: by that much it listens.

{markdown_table(header, rows)}"""


def _by_codebook(stages: Mapping[str, Mapping[str, Any]]) -> str:
    rows: list[Sequence[object]] = []
    for name, stage in stages.items():
        losses = stage["held_out_loss_by_codebook"]
        if losses is None:
            rows.append([name, None, None, None])
            continue
        columns = (losses, stage["loss_with_wrong_conditions_by_codebook"], stage["accuracy_by_codebook"])
        rows += [[f"{name} {number}", *row] for number, row in enumerate(zip(*columns, strict=True), start=1)]
    header = ["codebook", "held-out loss", "all conditions wrong", "likeliest token is right"]
    return markdown_table(header, rows)


def _recipe(bundle: Bundle) -> str:
    rows = [
        [
            name,
            f"{stage['steps']:,} of {stage['planned_steps']:,}",
            stage["batch"],
            f"{stage['target_tokens_seen'] / 1e6:.1f} M",
            stage["optimizer"],
            f"{stage['peak_rate']:g}",
            stage["precision"],
            "none" if stage["ema_decay"] is None else f"{stage['ema_decay']:g}",
            stage["seed"],
        ]
        for name, stage in bundle.config.measured["stages"].items()
    ]
    header = ["stage", "steps", "batch", "target tokens seen", "optimiser", "peak rate", "precision"]
    return f"""## How it was trained

`hafm train`, a stage at a time; the weights are those of the best evaluation on held-out pairs, where there
was one.

{markdown_table([*header, "moving average", "seed"], rows)}"""


def _licence(licence: str) -> str:
    if licence == UNKNOWN_LICENCE:
        return """## Licence

**To fill in**: nobody has said yet under which terms these weights may be used. Until then, assume none."""
    return f"""## Licence

The weights: {licence}. What you make of a melody that is not yours is still made of it."""


def _fingerprints(bundle: Bundle) -> str:
    rows = [[part, f"`{digest[:16]}`"] for part, digest in bundle.config.fingerprints.items()]
    rows.append(["training data", f"`{bundle.config.measured['data']['fingerprint'][:16]}`"])
    return f"""## Fingerprints

Beginnings of SHA-256; `config.json` has them whole, and the hash of every file.

{markdown_table(["part", "fingerprint"], rows)}"""


def _size(bundle: Bundle, name: str) -> str:
    path = bundle.folder / name
    files = [path] if path.is_file() else [file for file in path.rglob("*") if file.is_file()]
    return f"{sum(file.stat().st_size for file in files) / 1e6:.1f}"

"""The model card of the built-in bundle: what it is, what it was made of, how good it is, what it cannot do.

In: a finished bundle, whose `measured` holds the figures that `bundle` gathered. Out: the text of its
`README.md`, with the front matter that the Hugging Face hub reads.

Conventions: every figure comes from the bundle, with the command that measures it beside it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from hafm.stages.bundle import Bundle, analyser_file, kmeans_file, stage_file
from hafm.stages.bundle_config import SIDES, STAGES

__all__ = ["model_card", "table"]


def model_card(bundle: Bundle) -> str:
    """The text of the card, Markdown."""
    sections = [
        _head(bundle),
        _what(bundle),
        _data(bundle.config.measured),
        _stages(bundle),
        _hearing(bundle.config.measured.get("hearing")),
        _codec(bundle.config.measured.get("codec")),
        _tokens(bundle.config.measured["kmeans"]),
        _recipe(bundle),
        _licences(),
        _fingerprints(bundle),
    ]
    return "\n\n".join(section for section in sections if section) + "\n"


def table(header: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """A Markdown table; floats with three decimals.

    >>> print(table(["stage", "loss"], [["coarse", 4.25]]))
    | stage | loss |
    |---|---|
    | coarse | 4.250 |
    """
    lines = [header, ["---"] * len(header)]
    lines += [[f"{cell:.3f}" if isinstance(cell, float) else str(cell) for cell in row] for row in rows]
    texts = [f"| {' | '.join(line)} |" for line in lines]
    return "\n".join([texts[0], f"|{'|'.join(lines[1])}|", *texts[2:]])


def _head(bundle: Bundle) -> str:
    config = bundle.config
    return f"""---
license: {config.licence.lower()}
library_name: hafm
pipeline_tag: audio-to-audio
tags: [music-generation, accompaniment, singing]
---

# HAFM {config.name}, version {config.version}

Turns a sung vocal into an instrumental accompaniment of exactly the same length, offline on a CPU.

```python
from hafm import Accompanist

Accompanist.from_pretrained("builtin").generate("vocal.wav", seed=1).save("out")
```"""


def _what(bundle: Bundle) -> str:
    rows: list[Sequence[object]] = [
        [
            f"{name} stage",
            _in_words(bundle, name),
            _size(bundle, stage_file(name)),
        ]
        for name in STAGES
    ]
    rows += [
        [f"k-means, {side}", "500 centroids of spectral features", _size(bundle, kmeans_file(side))]
        for side in SIDES
    ]
    rows.append(
        [
            "codec",
            "24 kHz, 75 frames per second, 8 codebooks of 1024",
            _size(bundle, "codec/weights.safetensors"),
        ]
    )
    for name in bundle.config.analysers:
        has_harmoniser = bundle.load_analyser(name).config.harmoniser is not None
        learnt = "; which chords go with a melody, from the scores alone" if has_harmoniser else ""
        hears = f"beats, bars, key and chords from sound{learnt}"
        rows.append([f"analyser, {name}", hears, _size(bundle, analyser_file(name))])
    return f"""## What it is

A small model that plays out of the box: three transformers of the HAFM paper's design at a laptop's size,
with our own semantic features and our own codec. {bundle.num_bytes / 2**20:.1f} MiB in all; the stages'
weights are stored as {bundle.config.measured["storage"]["kind"]}.

{table(["part", "what", "MB"], rows)}

It was trained on twelve band styles from one synthesiser and on four recorded and some synthetic voices;
expect that sound. It is not the paper's model, and no figure here is the paper's."""


def _in_words(bundle: Bundle, name: str) -> str:
    """A stage in a few words."""
    spec, figures = bundle.spec(name), bundle.config.measured["stages"][name]
    parameters = f"{figures['parameters'] / 1e6:.1f} M parameters"
    guide = "" if spec.guide is None else ", follows a lead sheet"
    return (
        f"{spec.num_layers} layers of width {spec.width}, {parameters}, {spec.conditioning} conditioning, "
        f"{spec.pattern}{guide}"
    )


def _data(measured: Mapping[str, Any]) -> str:
    data = measured["data"]
    went_on = [name for name in STAGES if measured["stages"][name].get("init")]
    before = (
        f"\n\nThe stages ({', '.join(went_on)}) went on from those of an earlier version, which had learnt\n"
        "from other pairs of the same songs."
        if went_on
        else ""
    )
    return f"""## What it was trained on

{data["hours"]:.1f} hours of rendered pairs ({data["pairs"]} of them, from {data["songs"]} songs) of vocal and
band; no recording of any performer. The notes, chords and keys come from POP909, the band from the FluidR3
SoundFont, the voices from flite's speakers and from a formant synthesiser (`recipes/builtin/README.md`
describes them). Songs of the held-out and the test split are in none of it; two voices and six instruments
are heard in the test split alone.{before}"""


def _stages(bundle: Bundle) -> str:
    measured = bundle.config.measured["stages"]
    rows = []
    for name in STAGES:
        stage = measured[name]
        wrong_vocal = stage["loss_with_wrong_vocal"]
        rows.append(
            [
                name,
                stage["unigram_entropy"],
                stage["held_out_loss"],
                stage["held_out_loss_as_stored"]
                if stage["held_out_loss_as_stored"] is not None
                else "not measured",
                "does not see it" if wrong_vocal is None else wrong_vocal,
                stage["loss_with_wrong_conditions"],
            ]
        )
    by_codebook = [
        [f"{name} {number}", entropy, loss]
        for name in STAGES
        if len(measured[name]["held_out_loss_by_codebook"]) > 1
        for number, (entropy, loss) in enumerate(
            zip(
                measured[name]["unigram_entropy_by_codebook"],
                measured[name]["held_out_loss_by_codebook"],
                strict=True,
            ),
            start=1,
        )
    ]
    header = [
        "stage",
        "unigram entropy",
        "held-out loss",
        "as stored",
        "with a wrong vocal",
        "all conditions wrong",
    ]
    return f"""## How well it predicts

Nats per token on held-out songs. A model that knew frequencies only would score the unigram entropy. With
another song's vocal the loss must be higher, or the vocal is not heard.

{table(header, rows)}

{table(["codebook", "unigram entropy", "held-out loss"], by_codebook)}

Measured by `python -m recipes.builtin.train_stages`, which prints both at its end; the column "as stored"
(the same loss with weights as they are in this bundle, on fewer clips) by `python -m
recipes.builtin.bundle`."""


def _hearing(hearing: Mapping[str, Any] | None) -> str:
    if hearing is None:
        return ""
    names = {
        "model": "the accompaniment",
        "codec": "the true instrumental, through the codec",
        "truth": "the true instrumental",
        "vocal": "the vocal itself",
    }
    rows = []
    for key, what in names.items():
        exact, notes = hearing["agreement"][key]["exact"], hearing["agreement"][key]["same_notes"]
        shuffled = hearing["shuffled"][key]
        rows.append([what, _interval(exact), shuffled["exact"], _interval(notes), shuffled["same_notes"]])
    header = ["key estimated from", "agrees", "shuffled", "same notes", "shuffled"]
    settings = ", ".join(
        f"{name} {value}" for name, value in hearing["settings"].items() if value is not None
    )
    return f"""## Does it hear the vocal?

The key of {hearing["songs"]} accompaniments ({hearing["seconds_each"]:g} s each, test songs, {settings}),
estimated from the sound, against the song's key. "Shuffled" is every output against all other songs: chance.
"Same notes" counts C major and A minor as equal. In brackets: 95 % bootstrap intervals over songs.

{table(header, rows)}

Measured by `python -m recipes.builtin.measure_hearing --bundle builtin --pairs work/pairs --songs
{hearing["songs"]}`, on these weights in the bundle of fingerprint `{str(hearing["bundle"])[:12]}` (without
this section)."""


def _codec(codec: Mapping[str, Any] | None) -> str:
    if codec is None:
        return ""
    quality = [
        [name, row["mel_distance"], f"{row['spectral_snr_db']:.2f}", f"{row['snr_db']:.2f}"]
        for name, row in codec["quality"].items()
    ]
    columns = zip(codec["used"], codec["perplexity"], codec["repeats"], strict=True)
    books = [[number, *row] for number, row in enumerate(columns, start=1)]
    return f"""## The codec

On {codec["sounds"]} held-out renders, {codec["seconds"]:.0f} s.

{table(["decoded from", "mel distance", "spectral SNR dB", "SNR dB"], quality)}

The codes hold no phases, so the SNR of waveforms is near 0 by design; "true magnitudes" is what that alone
costs.

{table(["codebook", "entries used of 1024", "perplexity", "frames that repeat"], books)}

Measured by `python -m recipes.builtin.train_codec`; `recipes/builtin/codec/evaluation.py` defines
the figures."""


def _tokens(kmeans: Mapping[str, Any]) -> str:
    rows = [
        [
            side,
            f"{kmeans[side].get('perplexity', float('nan')):.0f} of 500",
            kmeans[side].get("dead_clusters", "?"),
            kmeans[side].get("inertia", "?"),
            kmeans[side].get("variance", "?"),
        ]
        for side in SIDES
    ]
    return f"""## Semantic tokens

{table(["side", "perplexity", "dead clusters", "inertia", "variance"], rows)}

Measured by `hafm fit-kmeans`."""


def _recipe(bundle: Bundle) -> str:
    rows = [
        [
            name,
            stage["steps"],
            stage["batch"],
            f"{bundle.spec(name).clip_seconds} s",
            f"{stage['target_tokens_seen'] / 1e6:.1f} M",
            stage["optimizer"],
            stage["seed"],
            f"`{stage['init'][:12]}`" if stage.get("init") else "new",
        ]
        for name, stage in bundle.config.measured["stages"].items()
    ]
    header = ["stage", "steps", "batch", "clip", "target tokens seen", "optimiser", "seed", "began as"]
    return f"""## How it was made

`recipes/builtin` makes it from public parts, each step one command, resumable and seeded: render,
train_codec, hafm fit-kmeans, hafm prepare, train_stages (three times), bundle.

{table(header, rows)}

Steps and tokens are those since a stage began: new, or as that of the bundle with this fingerprint."""


def _licences() -> str:
    rows = [
        ["code and weights", "Apache-2.0"],
        [
            "POP909 (scores)",
            "MIT, which covers the transcriptions; the songs underneath are commercial works",
        ],
        ["FluidR3 (SoundFont)", "MIT"],
        ["flite (voices)", "BSD-style"],
    ]
    return f"""## Licences

{table(["what", "licence"], rows)}

No score, SoundFont or voice is part of this bundle. The model was trained on renderings of transcribed
commercial songs: it can play progressions that are common among them. What you make of a melody that is not
yours is still made of it."""


def _fingerprints(bundle: Bundle) -> str:
    rows = [[part, f"`{digest[:16]}`"] for part, digest in bundle.config.fingerprints.items()]
    return f"""## Fingerprints

Beginnings of SHA-256; `config.json` has them whole, and the hash of every file. The bundle is
`{bundle.fingerprint[:16]}`.

{table(["part", "fingerprint"], rows)}"""


def _interval(values: Sequence[float]) -> str:
    mean, low, high = values
    return f"{mean:.2f} [{low:.2f}, {high:.2f}]"


def _size(bundle: Bundle, name: str) -> str:
    return f"{(bundle.folder / name).stat().st_size / 1e6:.1f}"

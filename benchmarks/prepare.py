"""What preparation costs: seconds of audio per core-second for each step, and what is added to the models.

    python -m benchmarks.prepare --pairs work/pairs --tracks 20

In: rendered pairs. Out: two tables, and one JSON line with the same figures.

* Steps: each alone, on arrays in memory. HuBERT-Large (9 layers) and EnCodec have their true size and random
  weights, which take as long as trained ones. The separator is a net that gives what it gets, with the
  sizes of a common MDX-Net, so its figure is what our transforms cost and not what a net does.
* Overhead: `prepare` from the hashes of the scan to the index, its models opened before, against bare calls
  of the same models on arrays in memory: features and k-means of both sides, codec. `reading` is the part of
  it that decoding and checking the files takes.

Conventions: one thread. Times are processor time of this process, since other work on a machine stretches
the clock; what the clock says of the same runs is beside it. Bare models and pipeline take turns, track by
track. Medians, and the spread from the least to the most.
"""

import argparse
import json
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Generator, Iterable, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from statistics import median
from typing import Any

import torch

from hafm.audio.resample import resample
from hafm.data.collection.intake import Stems, read_stems
from hafm.data.collection.sources import open_source
from hafm.data.collection.track import Source, Track
from hafm.data.preparing.before import PrepareConfig
from hafm.data.preparing.prepare import prepare
from hafm.data.preparing.track_preparer import Opener, TokenPreparer, TrackEngine
from hafm.data.result import TrackResult
from hafm.data.tokenising.tokenise import Tokeniser, TokeniseSettings
from hafm.progress import Progress
from hafm.separate.config import SeparatorConfig
from hafm.separate.separator import Separator
from hafm.stages.parts import Pinned
from hafm.stages.token_parts import TokenParts, open_parts
from hafm.tokens.kmeans import KMeans
from hafm.workers import SameProcess

CLUSTERS = 500
SEPARATION_RATE_HZ = 44_100


@dataclass(frozen=True, kw_only=True)
class Spent:
    """Seconds of processor and of the clock."""

    core: float
    wall: float

    def __add__(self, other: "Spent") -> "Spent":
        return Spent(core=self.core + other.core, wall=self.wall + other.wall)

    def __sub__(self, other: "Spent") -> "Spent":
        return Spent(core=self.core - other.core, wall=self.wall - other.wall)


def timed(work: Callable[[], object]) -> Spent:
    """What a piece of work takes."""
    wall, core = time.perf_counter(), time.process_time()
    work()
    return Spent(core=time.process_time() - core, wall=time.perf_counter() - wall)


def paper_size_parts() -> TokenParts:
    """HuBERT-Large and EnCodec at 24 kHz with random weights, and k-means with random centroids."""
    from transformers import EncodecConfig, EncodecModel, HubertConfig, HubertModel

    from hafm.tokens.encodec import EncodecCodec
    from hafm.tokens.hubert import HubertFeatures

    torch.manual_seed(0)
    large = HubertConfig(
        hidden_size=1024,
        num_hidden_layers=9,
        num_attention_heads=16,
        intermediate_size=4096,
        feat_extract_norm="layer",
        conv_bias=True,
        do_stable_layer_norm=True,
    )
    hubert = HubertFeatures(model=HubertModel(large), layer=9)
    encodec = EncodecModel(EncodecConfig())
    for layer in encodec.quantizer.layers:
        layer.codebook.embed.normal_()
    centroids = torch.randn(CLUSTERS, hubert.dim)
    kmeans = KMeans(centroids=centroids, feature_fingerprint=hubert.fingerprint())
    return TokenParts(
        vocal_features=hubert,
        instrumental_features=hubert,
        vocal_kmeans=kmeans,
        instrumental_kmeans=kmeans,
        codec=EncodecCodec(model=encodec),
        pinned={name: Pinned(repo="random", revision="0" * 40) for name in ("features", "codec")},
    )


def identity_separator(folder: Path) -> Separator:
    """A net that gives what it gets, with the sizes of a common MDX-Net."""
    from tests.separate.onnx_nets import identity, write_net

    settings = SeparatorConfig(
        n_fft=6144,
        hop=1024,
        dim_f=2048,
        dim_t=256,
        compensate=1.0,
        primary_stem="vocals",
        sample_rate=SEPARATION_RATE_HZ,
    )
    return Separator.open(write_net(folder, identity, described_as=settings))


# ---- steps


def steps(tracks: Sequence[Track], stems: Sequence[Stems], sets: dict[str, TokenParts]) -> dict[str, Any]:
    """Work by step: a function of the number of a track, and the seconds of audio that it takes in."""
    found: dict[str, Callable[[int], object]] = {
        "decode and check both stems": lambda number: read_stems(tracks[number], separator=None)
    }
    stereo = [each.vocal.expand(2, -1).contiguous() for each in stems]
    found["resample stereo to 44.1 kHz"] = lambda number: resample(
        stereo[number], stems[number].sample_rate, SEPARATION_RATE_HZ
    )
    with tempfile.TemporaryDirectory() as folder:
        separator = identity_separator(Path(folder))
    mixes = [resample(each, stems[0].sample_rate, SEPARATION_RATE_HZ) for each in stereo[:2]]
    found["separate, without its net"] = lambda number: separator.separate(mixes[number % 2])
    for name, parts in sets.items():
        inputs = [ready(parts, each) for each in stems]
        frames = parts.vocal_features.extract(inputs[0].vocal)
        found[f"{name}: vocal features"] = lambda number, p=parts, i=inputs: p.vocal_features.extract(
            i[number].vocal
        )
        found[f"{name}: instrumental features"] = lambda number, p=parts, i=inputs: (
            p.instrumental_features.extract(i[number].heard)
        )
        found[f"{name}: k-means"] = lambda number, p=parts, f=frames: p.vocal_kmeans.predict(f)
        found[f"{name}: codec"] = lambda number, p=parts, i=inputs: p.codec.encode(i[number].encoded)
    return found


@dataclass(frozen=True, kw_only=True)
class Ready:
    """Waveforms as models want them."""

    vocal: torch.Tensor
    heard: torch.Tensor
    encoded: torch.Tensor


def ready(parts: TokenParts, stems: Stems) -> Ready:
    """What models get of a track."""

    def at(waveform: torch.Tensor, rate: int) -> torch.Tensor:
        return resample(waveform[None], stems.sample_rate, rate)

    return Ready(
        vocal=at(stems.vocal, parts.vocal_features.sample_rate),
        heard=at(stems.instrumental, parts.instrumental_features.sample_rate),
        encoded=at(stems.instrumental, parts.codec.sample_rate)[None],
    )


def measure_steps(
    tracks: Sequence[Track], sets: dict[str, TokenParts], repetitions: int
) -> dict[str, dict[str, float]]:
    """Seconds of audio a core-second of each step: median, least and most."""
    stems = [read_stems(track, separator=None) for track in tracks]
    rates: defaultdict[str, list[float]] = defaultdict(list)
    work = steps(tracks, stems, sets)
    for repetition in range(repetitions + 1):
        for name, step in work.items():
            number = repetition % len(tracks)
            spent = timed(lambda step=step, number=number: step(number)).core
            if repetition:  # the first warms up
                rates[name].append(stems[number].seconds / spent)
    return {name: spread(each) for name, each in rates.items()}


# ---- overhead


class Interleaved(SameProcess):
    """Works as the engine does, and before each track calls the bare models on it, with a stopwatch.

    So both are measured within half a second of each other, whatever else the machine does.
    """

    def __init__(self, parts: TokenParts, inputs: Sequence[Ready]) -> None:
        self._parts, self._inputs = parts, inputs
        self.bare = Spent(core=0.0, wall=0.0)

    def run(
        self, batches: Iterable[Sequence[Track]], opener: Opener
    ) -> Generator[Sequence[TrackResult], None, None]:
        """See `Engine.run`."""
        preparer = opener()
        for batch, each in zip(batches, self._inputs, strict=True):
            self.bare += timed(lambda each=each: bare(self._parts, each))
            yield preparer.prepare(batch)


def bare(parts: TokenParts, each: Ready) -> None:
    """The models and nothing else."""
    parts.vocal_kmeans.predict(parts.vocal_features.extract(each.vocal))
    parts.instrumental_kmeans.predict(parts.instrumental_features.extract(each.heard))
    parts.codec.encode(each.encoded)


def measure_overhead(pairs: Path, parts: TokenParts, num_tracks: int, repetitions: int) -> dict[str, Any]:
    """What `prepare` takes beyond its models."""
    source = open_source("rendered", pairs)
    tracks = list(islice(source.tracks(), num_tracks))
    stems = [read_stems(track, separator=None) for track in tracks]
    inputs = [ready(parts, each) for each in stems]
    preparer = TokenPreparer(tokeniser=Tokeniser(parts=parts, settings=TokeniseSettings()), separator=None)
    models: list[Spent] = []
    whole: list[Spent] = []
    reading: list[float] = []
    with torch.no_grad():
        bare(parts, inputs[0])
        for _ in range(repetitions):
            engine = Interleaved(parts, inputs)
            whole.append(prepared(source, preparer, engine, num_tracks) - engine.bare)
            models.append(engine.bare)
            reading.append(timed(lambda: [read_stems(track, separator=None) for track in tracks]).core)
    return {
        "tracks": num_tracks,
        "audio_seconds": sum(each.seconds for each in stems),
        "models_core_seconds": spread([each.core for each in models]),
        "prepare_core_seconds": spread([each.core for each in whole]),
        "overhead": spread([b.core / a.core - 1 for a, b in zip(models, whole, strict=True)]),
        "overhead_wall": spread([b.wall / a.wall - 1 for a, b in zip(models, whole, strict=True)]),
        "reading": spread([b / a.core for a, b in zip(models, reading, strict=True)]),
    }


def prepared(source: Source, preparer: TokenPreparer, engine: TrackEngine, num_tracks: int) -> Spent:
    """What a run takes from the first hash on; before, the collection is listed and parts are written."""
    began: list[Spent] = []

    def now() -> Spent:
        return Spent(core=time.process_time(), wall=time.perf_counter())

    def on_progress(progress: Progress) -> None:
        if not began:
            began.append(now())

    with tempfile.TemporaryDirectory() as folder:
        config = PrepareConfig(out=Path(folder), limit=num_tracks)
        prepare(config, source, lambda: preparer, engine=engine, on_progress=on_progress)
        return now() - began[0]


def spread(values: Sequence[float]) -> dict[str, float]:
    """Median, least and most."""
    return {"median": median(values), "least": min(values), "most": max(values)}


# ---- tables


def table(measured: dict[str, dict[str, float]], overhead: dict[str, dict[str, Any]]) -> str:
    """Two tables in Markdown."""
    lines = ["| step | s of audio per core-second | least - most |", "|---|---|---|"]
    lines += [
        f"| {name} | {each['median']:.3g} | {each['least']:.3g} - {each['most']:.3g} |"
        for name, each in measured.items()
    ]
    lines += [
        "",
        "| parts | models, core-s | prepare, core-s | overhead | least - most | reading | by the clock |",
        "|---" * 7 + "|",
    ]
    for name, each in overhead.items():
        extra, wall = each["overhead"], each["overhead_wall"]["median"]
        lines.append(
            f"| {name}, {each['tracks']} tracks, {each['audio_seconds']:.0f} s "
            f"| {each['models_core_seconds']['median']:.2f} | {each['prepare_core_seconds']['median']:.2f} "
            f"| {extra['median']:.1%} | {extra['least']:.1%} - {extra['most']:.1%} "
            f"| {each['reading']['median']:.1%} | {wall:.1%} |"
        )
    return "\n".join(lines)


def main() -> None:
    """Measures what the command line asks for."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--pairs", type=Path, required=True, help="the --out of recipes.builtin.render")
    parser.add_argument("--tracks", type=int, default=20, help="pairs, with the built-in parts (default 20)")
    parser.add_argument("--paper-tracks", type=int, default=2, help="pairs, with HuBERT and EnCodec; 0: none")
    parser.add_argument("--repetitions", type=int, default=5)
    options = parser.parse_args()
    torch.set_num_threads(1)
    sets = {"built-in": open_parts("builtin")}
    if options.paper_tracks:
        sets["paper size"] = paper_size_parts()
    tracks = list(islice(open_source("rendered", options.pairs).tracks(), options.tracks))
    with torch.no_grad():
        measured = measure_steps(tracks, sets, options.repetitions)
    numbers = {"built-in": options.tracks, "paper size": options.paper_tracks}
    overhead = {
        name: measure_overhead(
            options.pairs, parts, numbers[name], options.repetitions if name == "built-in" else 2
        )
        for name, parts in sets.items()
    }
    print(table(measured, overhead))
    print(json.dumps({"steps": measured, "overhead": overhead}))


if __name__ == "__main__":
    main()

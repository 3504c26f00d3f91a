"""Does the accompaniment hear the vocal? Keys of what is generated, against the score.

    python -m recipes.builtin.measure_hearing --bundle src/hafm/assets/builtin --pairs work/pairs --songs 40 \
        --out work/hearing.json

Takes one pair of each of N test songs (songs and two voices that training never saw), generates an
accompaniment from the clean vocal alone, and compares its estimated key with the song's key as the
score has it. Beside it, in the same table:

    shuffled   every output against the keys of all other songs: what chance gives
    truth      the true instrumental: what the key estimator can reach
    codec      the true instrumental through the codec
    vocal      the key estimated from the vocal itself

Each agreement is counted exactly (tonic and mode) and by the notes of the scale (C major = A minor),
with a 95 % bootstrap interval over songs. Outputs are written as wav files with ``--listen FOLDER``.
"""

import argparse
import json
import sys
import time
import wave
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from hafm.evaluate.key import Key, estimate_key
from hafm.generate.sampling import SamplingSettings
from hafm.generate.seeds import generator_for
from hafm.generate.windows import generate_long
from hafm.stages.bundle import Bundle
from hafm.tokens.level import prepare_vocal

RATE = 24_000


def main(arguments: list[str] | None = None) -> int:
    """The command; returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--bundle", default="builtin")
    parser.add_argument("--pairs", type=Path, required=True)
    parser.add_argument("--split", default="test")
    parser.add_argument("--songs", type=int, default=40)
    parser.add_argument("--seconds", type=float, default=10.0)
    parser.add_argument("--guidance", type=float)
    parser.add_argument("--temperature", type=float)
    parser.add_argument("--top-k", type=int)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--skip-fine", action="store_true")
    parser.add_argument("--workers", type=int, default=1, help="processes, each with its share of the songs")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--out", type=Path)
    parser.add_argument("--listen", type=Path)
    options = parser.parse_args(arguments)
    torch.set_num_threads(1)

    bundle = Bundle.open(options.bundle)
    chosen = one_pair_a_song(options.pairs / options.split, options.songs)
    samples = round(options.seconds * RATE)
    vocals = torch.stack([read_wav(Path(f"{stem}.vocal.wav"))[:samples] for stem, _ in chosen])
    truths = torch.stack([read_wav(Path(f"{stem}.instrumental.wav"))[:samples] for stem, _ in chosen])
    keys = [truth for _, truth in chosen]

    started = time.monotonic()
    outputs = generate_all(vocals, options)
    seconds = time.monotonic() - started
    codec = bundle.load_codec()
    through_codec = torch.cat([codec.decode(codec.encode(truth[None, None]))[0] for truth in truths])

    rows = {
        "model": estimated(outputs),
        "codec": estimated(through_codec),
        "truth": estimated(truths),
        "vocal": estimated(vocals),
    }
    report = {
        "songs": len(keys),
        "seconds_each": options.seconds,
        "settings": {
            name: getattr(options, name) for name in ("guidance", "temperature", "top_k", "seed", "skip_fine")
        },
        "bundle": bundle.fingerprint,
        "compute_seconds": round(seconds, 1),
        "agreement": {name: agreement(found, keys) for name, found in rows.items()},
        "shuffled": {name: chance(found, keys) for name, found in rows.items()},
    }
    print(json.dumps(report, indent=2))
    if options.out is not None:
        options.out.write_text(json.dumps(report, indent=2))
    if options.listen is not None:
        options.listen.mkdir(parents=True, exist_ok=True)
        for (stem, _), vocal, output in zip(chosen, vocals, outputs, strict=True):
            for kind, sound in (("output", output), ("mix", output + vocal * (output.std() / vocal.std()))):
                write_wav(options.listen / f"{Path(stem).name}.{kind}.wav", sound)
    return 0


def one_pair_a_song(folder: Path, songs: int) -> list[tuple[str, Key]]:
    """The first pair of each of the first songs, with the score's key."""
    chosen: dict[int, tuple[str, Key]] = {}
    for path in sorted(folder.glob("*.json")):
        truth = json.loads(path.read_text())
        key = Key(truth["key"]["tonic"], truth["key"]["mode"])
        chosen.setdefault(truth["song_id"], (str(path.with_suffix("")), key))
    if len(chosen) < songs:
        raise SystemExit(f"{folder} holds {len(chosen)} songs, {songs} were asked for; render more pairs.")
    return [chosen[song] for song in sorted(chosen)[:songs]]


def generate_all(vocals: Tensor, options: argparse.Namespace) -> Tensor:
    """Accompaniments of all songs, shared out among the workers. ``[B, T] -> [B, T]``."""
    shares = [share for share in torch.arange(len(vocals)).chunk(options.workers) if len(share)]
    jobs = [(vocals[share].numpy(), share.tolist(), options) for share in shares]
    with ProcessPoolExecutor(len(jobs), mp_context=get_context("spawn")) as pool:
        return torch.cat([torch.from_numpy(part) for part in pool.map(generate, jobs)])


@torch.inference_mode()
def generate(job: tuple[np.ndarray, list[int], argparse.Namespace]) -> np.ndarray:
    """Some songs in one batch, stage after stage; what a song sounds like depends on its number alone."""
    torch.set_num_threads(1)
    vocals, numbers, options = torch.from_numpy(job[0]), job[1], job[2]
    bundle = Bundle.open(options.bundle)
    features, kmeans = bundle.load_features("vocal"), bundle.load_kmeans("vocal")
    heard = (
        prepare_vocal(
            vocal[None],
            sample_rate=RATE,
            generator=generator_for(seed=options.seed, take=number, name="noise"),
        )
        for vocal, number in zip(vocals, numbers, strict=True)
    )
    vocal_ids = torch.cat([kmeans.predict(features.extract(vocal)) for vocal in heard])[:, None]
    defaults = bundle.config.generation
    settings = SamplingSettings(
        guidance=defaults.guidance if options.guidance is None else options.guidance,
        temperature=defaults.temperature if options.temperature is None else options.temperature,
        top_k=defaults.top_k if options.top_k is None else options.top_k,
    )

    def run(name: str, conditions: tuple[Tensor, ...], frames: int) -> Tensor:
        model = bundle.load_stage(name, device=options.device)
        seeds = [generator_for(seed=options.seed, take=number, name=name) for number in numbers]
        started = time.monotonic()
        ids = generate_long(
            model,
            tuple(c.to(options.device) for c in conditions),
            target_frames=frames,
            settings=settings,
            generators=seeds,
        )
        print(f"{name}: {time.monotonic() - started:.0f} s", file=sys.stderr, flush=True)
        return ids.cpu()

    frames_50 = vocal_ids.shape[2]
    frames_75 = -(-frames_50 * 3 // 2)
    semantic = run("semantic", (vocal_ids,), frames_50)
    codes = run("coarse", (vocal_ids, semantic), frames_75)
    if not options.skip_fine:
        codes = torch.cat([codes, run("fine", (codes,), frames_75)], dim=1)
    codec = bundle.load_codec()
    sounds = torch.cat([codec.decode(row[None])[0] for row in codes])
    return sounds[:, : vocals.shape[1]].numpy()


def estimated(sounds: Tensor) -> list[Key]:
    """The key of every row."""
    return [estimate_key(sound, RATE) for sound in sounds]


def agreement(found: Sequence[Key], keys: Sequence[Key]) -> dict[str, list[float]]:
    """Share and 95 % interval, exactly and by the notes of the scale."""
    rng = np.random.default_rng(0)
    result = {}
    for name, hits in (
        ("exact", [a == b for a, b in zip(found, keys, strict=True)]),
        ("same_notes", [a.same_notes(b) for a, b in zip(found, keys, strict=True)]),
    ):
        draws = np.asarray(hits)[rng.integers(len(hits), size=(2000, len(hits)))].mean(1)
        low, high = np.quantile(draws, (0.025, 0.975))
        result[name] = [round(float(x), 3) for x in (np.mean(hits), low, high)]
    return result


def chance(found: Sequence[Key], keys: Sequence[Key]) -> dict[str, float]:
    """Agreement over all pairings of an output with another song."""
    pairs = [(a, b) for i, a in enumerate(found) for j, b in enumerate(keys) if i != j]
    return {
        "exact": round(float(np.mean([a == b for a, b in pairs])), 3),
        "same_notes": round(float(np.mean([a.same_notes(b) for a, b in pairs])), 3),
    }


def read_wav(path: Path) -> Tensor:
    """16-bit mono, as the recipe writes it."""
    with wave.open(str(path)) as file:
        data = np.frombuffer(file.readframes(file.getnframes()), dtype="<i2")
    return torch.from_numpy(data.astype(np.float32) / 32768)


def write_wav(path: Path, sound: Tensor) -> None:
    """16-bit mono, scaled to a peak of 0.9."""
    peak = float(sound.abs().max())
    data = (sound / max(peak, 1e-9) * 0.9 * 32767).numpy().astype("<i2")
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(RATE)
        file.writeframes(data.tobytes())


if __name__ == "__main__":
    sys.exit(main())

"""Turn rendered pairs into tokens.

    python -m recipes.builtin.tokenise --pairs work/pairs --codec work/codec/export \\
        --out work/tokens --split train

In:  pairs, the codec, and the two vocabularies that `fit_kmeans` wrote to `--out`. Out: `--out/<split>/`,
read by `token_store.TokenStore`.

Views of the vocal are augmented for train; view 0 of valid and test is the clean vocal (with the noise of
section 3.2), so that held-out figures do not depend on luck with the augmentation.

Rerunning goes on where the last run stopped, shard by shard, and picks up pairs that have been rendered
since. Tokens made by another codec, vocabulary, seed or number of views are refused, never mixed in. When
only the codec has changed, `--semantic-from OLD` takes the semantic tokens from an older folder: half of the
time is theirs.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from hafm.errors import HafmError
from hafm.tokens.fingerprint import require_same
from recipes.builtin.tokens.pair_files import PairFiles, list_pairs
from recipes.builtin.tokens.token_store import Index, PairTokens, TokenStore, append_shard, load_index
from recipes.builtin.tokens.tokeniser import SemanticIds, Tokeniser
from recipes.builtin.tokens.vocal_views import vocal_view

__all__ = ["TokeniseConfig", "main", "tokenise"]

SPLITS = ("train", "valid", "test")
PAIRS_PER_SHARD = 200
QUARANTINE_ALLOWED = 0.02


@dataclass(frozen=True, kw_only=True)
class TokeniseConfig:
    """One run of the command.

    Attributes:
        pairs: parent of the split folders.
        codec: folder of the codec.
        out: parent of the token folders; holds the two k-means files.
        split: which pairs.
        views: of each vocal.
        limit: stop after so many new pairs; None for all.
        batch: pairs that go through features and codec at once; 1 is best on a CPU.
        device: "cpu" or "cuda".
        seed: of augmentation and noise.
        semantic_from: like `out`, of a run that differs in the codec only; None computes everything.
    """

    pairs: Path
    codec: Path
    out: Path
    split: str
    views: int = 2
    limit: int | None = None
    batch: int = 1
    device: str = "cpu"
    seed: int = 0
    semantic_from: Path | None = None

    def __post_init__(self) -> None:
        if self.split not in SPLITS:
            raise ValueError(f"split {self.split!r} is none of {', '.join(SPLITS)}")
        if self.views < 1 or self.batch < 1:
            raise ValueError("--views and --batch must be at least 1")
        if self.limit is not None and self.limit < 1:
            raise ValueError(f"--limit {self.limit} must be at least 1")


def tokenise(config: TokeniseConfig, tokeniser: Tokeniser) -> Index:
    """Tokenises the pairs that are not in the index yet.

    Args:
        config: what to do.
        tokeniser: `Tokeniser.load(...)`.

    Returns:
        The index, as it stands on disk.

    Raises:
        BundleMismatch: the folder, or that of `semantic_from`, holds tokens made by something else.
        RuntimeError: more than `QUARANTINE_ALLOWED` of the pairs failed.
    """
    folder = config.out / config.split
    made_by = {**tokeniser.made_by(), "seed": config.seed, "views": config.views}
    index = load_index(folder) or Index(split=config.split, made_by=made_by)
    _require_same_makers(index.made_by, made_by, folder)
    semantic = _older_semantic(config, made_by)
    done = {entry.id for entry in index.pairs} | set(index.quarantined)
    pending = [pair for pair in list_pairs(config.pairs, config.split) if pair.id not in done][: config.limit]
    for start in range(0, len(pending), PAIRS_PER_SHARD):
        began = time.perf_counter()
        failed: dict[str, str] = {}
        shard = pending[start : start + PAIRS_PER_SHARD]
        tokens = list(_tokens(_load(shard, config, tokeniser, semantic, failed), config, tokeniser))
        index = append_shard(folder, index, tokens, quarantined=failed)
        seconds = sum(pair.instrumental.shape[0] for _, _, pair in tokens) / 50
        print(
            f"{config.split}: {len(index.pairs)} pairs done, {len(index.quarantined)} quarantined, "
            f"{len(pending) - start - len(shard)} pending; "
            f"{seconds / (time.perf_counter() - began):.0f} s of audio per s",
            flush=True,
        )
        if len(index.quarantined) > max(3, QUARANTINE_ALLOWED * (len(index.pairs) + len(index.quarantined))):
            raise RuntimeError(
                f"{len(index.quarantined)} pairs quarantined, more than {QUARANTINE_ALLOWED:.0%}; "
                f"the last reason: {list(index.quarantined.values())[-1]}"
            )
    return index


@dataclass(frozen=True, kw_only=True)
class _Loaded:
    """A pair on its way: either `views` to be tokenised, or `semantic` known already."""

    pair: PairFiles
    song_id: int
    instrumental: NDArray[np.float32]
    views: NDArray[np.float32] | None
    semantic: SemanticIds | None


def _load(
    pairs: Sequence[PairFiles],
    config: TokeniseConfig,
    tokeniser: Tokeniser,
    semantic: Mapping[str, SemanticIds],
    failed: dict[str, str],
) -> Iterator[_Loaded]:
    """Waveforms of pairs, one at a time; a pair that cannot be used goes to `failed` with the reason."""
    rate = tokeniser.codec.sample_rate
    for pair in pairs:
        began = time.perf_counter()
        try:
            vocal = pair.waveform("vocal", sample_rate=rate)
            instrumental = pair.waveform("instrumental", sample_rate=rate)
            if len(vocal) != len(instrumental):
                raise ValueError(f"{len(vocal)} vocal samples but {len(instrumental)} instrumental ones")
            song_id = int(pair.truth()["song_id"])
        except (ValueError, KeyError, OSError) as error:
            failed[pair.id] = f"{type(error).__name__}: {error}"
            continue
        tokeniser.spent["read"] += time.perf_counter() - began
        known = semantic.get(pair.id)
        began = time.perf_counter()
        views = None if known else _views(vocal, instrumental, rate, pair.id, config)
        tokeniser.spent["views"] += time.perf_counter() - began
        yield _Loaded(pair=pair, song_id=song_id, instrumental=instrumental, views=views, semantic=known)


def _views(
    vocal: NDArray[np.float32],
    instrumental: NDArray[np.float32],
    rate: int,
    pair_id: str,
    config: TokeniseConfig,
) -> NDArray[np.float32]:
    views = [
        vocal_view(
            vocal,
            instrumental,
            sample_rate=rate,
            pair_id=pair_id,
            view=view,
            seed=config.seed,
            augmented=config.split == "train" or view > 0,
        )
        for view in range(config.views)
    ]
    return torch.cat(views).numpy()


def _tokens(
    loaded: Iterable[_Loaded], config: TokeniseConfig, tokeniser: Tokeniser
) -> Iterator[tuple[str, int, PairTokens]]:
    """(pair id, song id, tokens) of each pair, in the order given."""

    def alike(item: _Loaded) -> tuple[int, bool]:
        return len(item.instrumental), item.semantic is None

    for _, group in groupby(loaded, key=alike):
        for batch in _batches(group, config.batch):
            instrumentals = [item.instrumental for item in batch]
            views = [item.views for item in batch if item.views is not None]
            semantic = (
                tokeniser.semantic(views, instrumentals)
                if views
                else [item.semantic for item in batch if item.semantic is not None]
            )
            codes = tokeniser.codes(instrumentals)
            for item, ids, rows in zip(batch, semantic, codes, strict=True):
                tokens = PairTokens(vocal=ids.vocal, instrumental=ids.instrumental, codes=rows)
                yield item.pair.id, item.song_id, tokens


def _batches(items: Iterable[_Loaded], size: int) -> Iterator[list[_Loaded]]:
    batch: list[_Loaded] = []
    for item in items:
        batch.append(item)
        if len(batch) == size:
            yield batch
            batch = []
    if batch:
        yield batch


def _older_semantic(config: TokeniseConfig, made_by: Mapping[str, Any]) -> dict[str, SemanticIds]:
    """Semantic tokens by pair id of the folder `semantic_from`; they must differ in the codec only."""
    if config.semantic_from is None:
        return {}
    store = TokenStore(config.semantic_from, config.split)
    _require_same_makers({**store.made_by, "codec": made_by["codec"]}, made_by, store.folder)
    return {
        entry.id: SemanticIds(vocal=vocal, instrumental=instrumental)
        for entry, vocal, instrumental in zip(store.pairs, store.vocal, store.instrumental, strict=True)
    }


def _require_same_makers(found: Mapping[str, Any], expected: Mapping[str, Any], folder: Path) -> None:
    for name in sorted({*found, *expected}):
        require_same(
            expected=str(found.get(name)),
            found=str(expected.get(name)),
            what=f"{name} of the tokens in '{folder}'",
        )


def main(arguments: Sequence[str] | None = None) -> int:
    """The command. Returns 0, 1 after too many failures, 2 for what cannot work, 130 after Ctrl-C."""
    parser = argparse.ArgumentParser(
        prog="python -m recipes.builtin.tokenise", description="Turn rendered pairs into tokens."
    )
    parser.add_argument("--pairs", type=Path, required=True, help="parent of the split folders")
    parser.add_argument("--codec", type=Path, required=True, help="folder of the codec")
    parser.add_argument(
        "--out", type=Path, required=True, help="parent of the token folders, holds the k-means"
    )
    parser.add_argument("--split", required=True, choices=SPLITS)
    parser.add_argument("--views", type=int, default=TokeniseConfig.views, help="of each vocal (default 2)")
    parser.add_argument("--limit", type=int, help="stop after so many new pairs")
    parser.add_argument("--batch", type=int, default=TokeniseConfig.batch, help="pairs at once (default 1)")
    parser.add_argument("--device", default=TokeniseConfig.device, help="cpu (default) or cuda")
    parser.add_argument("--threads", type=int, default=1, help="of torch on the CPU (default 1)")
    parser.add_argument(
        "--seed", type=int, default=TokeniseConfig.seed, help="of augmentation and noise (default 0)"
    )
    parser.add_argument("--semantic-from", type=Path, help="older --out whose semantic tokens still hold")
    values = vars(parser.parse_args(arguments))
    torch.set_num_threads(values.pop("threads"))
    try:
        config = TokeniseConfig(**values)
        tokeniser = Tokeniser.load(codec=config.codec, kmeans=config.out, device=config.device)
        index = tokenise(config, tokeniser)
    except (HafmError, ValueError, FileNotFoundError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except RuntimeError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("stopped; whole shards are kept, run the same command to go on", file=sys.stderr)
        return 130
    parts = ", ".join(f"{stage} {seconds:.1f}" for stage, seconds in tokeniser.spent.items())
    where = config.out / config.split
    print(f"{config.split}: {len(index.pairs)} pairs in '{where}'; seconds spent: {parts or 'none'}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())

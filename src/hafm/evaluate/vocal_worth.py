"""What the vocal is worth to a bundle: how much worse it predicts true accompaniments under a wrong vocal.

In: a bundle, and clips of a vocal with its true instrumental, on one clock. Out: for the semantic and the
coarse stage the loss of eq. 6, in nats per token, of every clip, twice:

    right   what the stage predicts of the true tokens, given all true tokens before and the true condition
    wrong   the same, with the vocal of a clip of another song; the mean over some of them

In the coarse stage the instrumental semantic tokens stay those of the true instrumental, so what it loses is
what its own look at the vocal is worth. wrong - right is 0 where a stage does not listen, and the more above
0, the more it takes from the vocal. It is small beside the loss itself, since most of a token follows from
the tokens before it; so the two are compared clip by clip.

Conventions: ids come from the bundle's own parts, from whole clips, without augmentation, as in
`hafm.data.tokenising`. Stretches as long as the stage's clip lie end to end from the clip's beginning; what
is left over at its end is not used, and a clip shorter than the stage's is one stretch. The noise of a vocal
is decided by the seed and its id, and is the same with its own clip and with another one.

Source: paper eq. 6; the comparison with a wrong condition is ours.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from hafm.data.crops import common_rate
from hafm.data.tokenising.views import RatedStems
from hafm.errors import UsageError
from hafm.evaluate.statistics import Interval, bootstrap_interval, paired_permutation_p
from hafm.evaluate.testset import of_song
from hafm.progress import OnProgress, Progress
from hafm.stages.bundle import Bundle
from hafm.stages.spec import StageSpec
from hafm.stages.stage_model import StageModel, stage_loss
from hafm.stages.token_parts import TokenParts, open_parts

__all__ = ["AlignedClip", "ClipLoss", "StageWorth", "stretches", "vocal_worth", "wrong_clips"]

_STAGES = ("semantic", "coarse")  # that are given the vocal
_VOCAL = "vocal_semantic"
_ROWS = 8  # of one forward pass


@dataclass(frozen=True, kw_only=True, eq=False)
class AlignedClip:
    """A vocal and its true instrumental.

    Args:
        song: the vocal of a song is never a wrong one for its other clips.
    """

    id: str
    song: str
    vocal: Float[Tensor, " T"]
    instrumental: Float[Tensor, " T"]

    def __post_init__(self) -> None:
        if self.vocal.shape != self.instrumental.shape or len(self.vocal) == 0:
            raise UsageError(
                f"clip {self.id!r}: the vocal has {len(self.vocal)} samples and the instrumental "
                f"{len(self.instrumental)}; give as many of both, 1 or more"
            )
        if not (self.vocal.isfinite().all() and self.instrumental.isfinite().all()):
            raise UsageError(f"clip {self.id!r} holds NaN or infinity: it cannot be measured")


@dataclass(frozen=True, kw_only=True)
class ClipLoss:
    """The losses of one clip, in nats per token: under its own vocal, and the mean over wrong ones."""

    clip: str
    song: str
    right: float
    wrong: float
    wrong_ids: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class StageWorth:
    """What the vocal is worth to a stage.

    Args:
        songs: how many; the clips of a song count as one value, their mean.
        right, wrong: mean over songs, in nats per token.
        difference: mean of wrong - right with its interval over songs.
        p: of that under the paired permutation test, two-sided.
    """

    stage: str
    clips: tuple[ClipLoss, ...]
    songs: int
    right: float
    wrong: float
    difference: Interval
    p: float


@torch.no_grad()
def vocal_worth(
    bundle: Bundle,
    clips: Sequence[AlignedClip],
    *,
    sample_rate: int,
    wrong: int = 4,
    seed: int = 0,
    device: torch.device | str = "cpu",
    on_progress: OnProgress | None = None,
) -> tuple[StageWorth, ...]:
    """Losses under the right and under wrong vocals, for each stage that is given the vocal.

    Args:
        clips: of two songs or more, of any lengths.
        wrong: wrong vocals per clip, 1 or more; fewer where there are fewer.

    Raises:
        UsageError: ids that are not unique, too few songs, or a clip longer than all of other songs.
    """
    heard = wrong_clips([(clip.id, clip.song, len(clip.vocal)) for clip in clips], count=wrong)
    parts, sigma = open_parts(bundle.folder).to(device), bundle.config.vocal_noise_sigma
    tokens = [_tokenise(parts, clip, sample_rate, sigma=sigma, seed=seed, device=device) for clip in clips]
    found: list[StageWorth] = []
    for name in _STAGES:
        model = bundle.load_stage(name, device=device)
        losses = []
        for number, (clip, streams, others) in enumerate(zip(clips, tokens, heard, strict=True), start=1):
            wrongs = [_clip_loss(model, streams, vocal=tokens[other][_VOCAL]) for other in others]
            losses.append(
                ClipLoss(
                    clip=clip.id,
                    song=clip.song,
                    right=_clip_loss(model, streams, vocal=streams[_VOCAL]),
                    wrong=float(np.mean(wrongs)),
                    wrong_ids=tuple(clips[other].id for other in others),
                )
            )
            if on_progress is not None:
                done = len(found) * len(clips) + number
                total = len(_STAGES) * len(clips)
                on_progress(Progress(step="the vocal's worth", done=done, total=total))
        found.append(_summary(name, losses))
    return tuple(found)


def wrong_clips(clips: Sequence[tuple[str, str, int]], *, count: int) -> list[tuple[int, ...]]:
    """Whose vocals each clip gets as wrong ones, by their numbers: of other songs, and not shorter.

    A clip's candidates are those after it, the list going round; from them `count` are taken at even
    distances, so that neighbours do not share theirs.

    `clips` are id, song and samples of each.

    >>> wrong_clips([("a1", "a", 9), ("a2", "a", 9), ("b", "b", 9), ("c", "c", 5)], count=1)
    [(2,), (2,), (0,), (0,)]
    """
    if count < 1:
        raise UsageError(f"wrong vocals per clip: give 1 or more, not {count}")
    if len({name for name, _, _ in clips}) < len(clips):
        raise UsageError("ids of clips must be unique: give each clip one of its own")
    if len({song for _, song, _ in clips}) < 2:
        raise UsageError("a wrong vocal is one of another song: give clips of two songs or more")
    chosen = []
    for number, (name, song, samples) in enumerate(clips):
        others = [(number + step) % len(clips) for step in range(1, len(clips))]
        others = [other for other in others if clips[other][1] != song and clips[other][2] >= samples]
        if not others:
            raise UsageError(f"clip {name!r} is longer than all of other songs: cut the clips to one length")
        taken = min(count, len(others))
        chosen.append(tuple(others[len(others) * place // taken] for place in range(taken)))
    return chosen


def stretches(spec: StageSpec, target_frames: int) -> tuple[tuple[Fraction, ...], int]:
    """Where the stretches of a clip that a stage is asked about begin, in seconds, on a frame of every
    stream; and how many target frames each has.

    >>> from hafm.stages.spec import COARSE
    >>> stretches(COARSE, 750)
    ((Fraction(0, 1), Fraction(5, 1)), 375)
    >>> stretches(COARSE, 300)
    ((Fraction(0, 1),), 300)
    """
    frames = min(spec.target_frames, target_frames)
    grid = common_rate(*(stream.frame_rate for stream in (*spec.sources, spec.target)))
    step = math.ceil(spec.clip_seconds * grid) / grid
    count = 1 + math.floor((target_frames - frames) / (step * spec.target.frame_rate))
    return tuple(step * number for number in range(count)), frames


def _tokenise(
    parts: TokenParts, clip: AlignedClip, rate: int, *, sigma: float, seed: int, device: torch.device | str
) -> dict[str, Tensor]:
    """The clip's ids by the names of `hafm.stages.spec`, `[1, K, F]`, on the device."""
    stems = RatedStems(vocal=clip.vocal, instrumental=clip.instrumental, sample_rate=rate)
    heard = {
        "vocal": stems.vocal_view(
            parts.vocal_features.sample_rate,
            track_id=clip.id,
            view=0,
            seed=seed,
            sigma=sigma,
            augmented=False,
        ),
        "instrumental": stems.instrumental(
            parts.instrumental_features.sample_rate, rms=parts.instrumental_rms
        ),
    }
    streams = {}
    for side, sound in heard.items():
        values = parts.features[side].extract(sound[None].to(device))
        kmeans = parts.kmeans[side]
        streams[f"{side}_semantic"] = kmeans.predict(values.to(kmeans.centroids.device))[:, None].to(device)
    for_codec = stems.instrumental(parts.codec.sample_rate, rms=parts.instrumental_rms)
    streams["codes"] = parts.codec.encode(for_codec[None, None].to(device))
    return streams


def _clip_loss(model: StageModel, streams: Mapping[str, Tensor], *, vocal: Tensor) -> float:
    """Eq. 6 over the clip's stretches, under a vocal; right and wrong in the same arithmetic."""
    spec = model.spec
    codes = streams["codes"][:, : spec.target.num_codebooks]
    known = {**streams, "coarse_codes": codes, _VOCAL: vocal}
    target = known[spec.target.name]
    starts, frames = stretches(spec, target.shape[2])
    targets = _cut(target, starts, spec.target.frame_rate, frames)
    conditions = [
        _cut(known[source.name], starts, source.frame_rate, length)
        for source, length in zip(spec.sources, spec.source_frames(frames), strict=True)
    ]
    losses = []
    for rows in zip(*(each.split(_ROWS) for each in (targets, *conditions)), strict=True):
        logits = model(rows[0], rows[1:])
        losses += [float(stage_loss(*row)) for row in zip(logits.split(1), rows[0].split(1), strict=True)]
    return float(np.mean(losses))


def _cut(ids: Tensor, starts: Sequence[Fraction], frame_rate: Fraction, frames: int) -> Tensor:
    """One row per stretch, `[1, K, F] -> [stretches, K, frames]`.

    Frames of codes can reach into one semantic frame more than the clip has; it repeats the last one.
    """
    firsts = [int(start * frame_rate) for start in starts]
    missing = firsts[-1] + frames - ids.shape[2]
    assert missing <= 1, f"{ids.shape[2]} frames do not hold {frames} from {firsts[-1]} on"
    if missing > 0:
        ids = torch.cat([ids, ids[:, :, -1:]], dim=2)
    return torch.cat([ids[:, :, first : first + frames] for first in firsts])


def _summary(stage: str, losses: Sequence[ClipLoss]) -> StageWorth:
    songs = of_song(losses)
    right, wrong = (
        np.array([np.mean([getattr(loss, side) for loss in each]) for each in songs.values()])
        for side in ("right", "wrong")
    )
    return StageWorth(
        stage=stage,
        clips=tuple(losses),
        songs=len(songs),
        right=float(right.mean()),
        wrong=float(wrong.mean()),
        difference=bootstrap_interval(wrong - right),
        p=paired_permutation_p(wrong, right),
    )

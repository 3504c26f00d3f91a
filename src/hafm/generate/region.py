r"""A stretch of an accompaniment made again, and joined in without a seam.

In: a vocal, an accompaniment of it, a lead sheet, and from when to when. Out: the accompaniment with another
stretch; outside of it, every sample is what it was.

    vocal            ..|--- 4 s ---|############|- 1 s -|..        what the stages see
    tokens           ..|  known    | generated          |..        known: those of the accompaniment as it is
    sound            ==============/            \==========        / \ fades of 30 ms, inside the stretch
                                   from         to

What was before is read from the accompaniment's sound, not from a record: so a take that was edited, or made
by something else, can be changed, too. What comes after the stretch is not seen by the stages, which look
forwards only; ends that lie on bars join best. The new stretch has the level that the old one has beside it;
an ending dies away in it as well.
"""

from dataclasses import dataclass, replace

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import pad

from hafm.arguments import seconds_of
from hafm.audio.limiter import limit_peaks
from hafm.audio.resample import resample
from hafm.audio.sound import Audio
from hafm.device import device_errors, exact_device, one_thread
from hafm.errors import UsageError
from hafm.generate.accompaniment import Tokens
from hafm.generate.around import died_away
from hafm.generate.engine import Engine
from hafm.generate.record import Settings
from hafm.generate.steps import codec_frames, hear, play, show
from hafm.guide.lead_sheet import LeadSheet
from hafm.progress import OnProgress
from hafm.stages.bundle import Bundle
from hafm.stages.token_parts import SPECTRAL_INSTRUMENTAL_RMS
from hafm.tokens.level import set_active_rms

__all__ = ["Region", "make_again"]

_BEFORE_SECONDS, _AFTER_SECONDS = 4.0, 1.0
_FADE_SECONDS = 0.03
_GRID = 25  # times per second at which frames of 50 and of 75 Hz begin together
_MOST_GAIN = 4.0


@dataclass(frozen=True, kw_only=True)
class Region:
    """A stretch of a sound.

    Args:
        start_seconds: its first instant, 0 or more.
        end_seconds: the first instant after it.
    """

    start_seconds: float
    end_seconds: float

    def __post_init__(self) -> None:
        for name in ("start_seconds", "end_seconds"):
            object.__setattr__(self, name, seconds_of(name, getattr(self, name)))
        if not (self.start_seconds >= 0 and self.start_seconds + 4 * _FADE_SECONDS < self.end_seconds):
            raise UsageError(
                f"the region from {self.start_seconds:g} to {self.end_seconds:g} s is too short; give a "
                "start of 0 or more, and an end at least an eighth of a second later"
            )


def make_again(
    bundle: Bundle,
    *,
    vocal: Audio,
    accompaniment: Float[Tensor, "1 T"],
    region: Region,
    guide: LeadSheet | None,
    settings: Settings,
    device: torch.device,
    engine: Engine,
    ending: LeadSheet | None = None,
    on_progress: OnProgress | None = None,
) -> tuple[Float[Tensor, "1 T"], Tokens]:
    """The accompaniment with the region made again.

    Args:
        accompaniment: as long as the vocal and at its rate.
        region: what is made again; it ends with the sound at the latest.
        guide: the lead sheet of the whole vocal, changed or not; None for none.
        settings: with another seed, or the region may be as it was.
        ending: in whose last bar the accompaniment dies away; None if it does not.

    Returns:
        The accompaniment, and the tokens of what the stages saw and made: from 4 s before the region to 1 s
        after it.

    Raises:
        UsageError: the region is not in the sound, or the two sounds differ in length.
        LeadSheetError, BundleError, DeviceError: as for `Accompanist.generate`.
    """
    rate, total = vocal.sample_rate, vocal.num_samples
    if accompaniment.shape[1] != total:
        raise UsageError(
            f"the accompaniment has {accompaniment.shape[1]} samples and the vocal {total}; give those of "
            "one take"
        )
    first, last = round(region.start_seconds * rate), min(round(region.end_seconds * rate), total)
    if region.end_seconds > vocal.seconds + 0.5 or last - first < 4 * _FADE_SECONDS * rate:
        raise UsageError(
            f"the region from {region.start_seconds:g} to {region.end_seconds:g} s is not in a sound of "
            f"{vocal.seconds:g} s; give one within it"
        )
    start_tick = max(0, int((region.start_seconds - _BEFORE_SECONDS) * _GRID))
    known_ticks = int(region.start_seconds * _GRID) - start_tick
    begin = start_tick * rate // _GRID
    end = min(total, last + round(_AFTER_SECONDS * rate))
    piece = replace(vocal, waveform=vocal.waveform[:, begin:end])
    old = accompaniment[:, begin:end]
    with device_errors(device), one_thread():
        start50 = 2 * start_tick
        heard = hear(bundle, vocal, seed=settings.seed, device=device)[:, :, start50:]
        heard = heard[:, :, : -(-piece.num_samples * 50 // rate)]
        shown = show(bundle, [guide], vocal, device=device)
        known = _tokens(bundle, old, rate, known_ticks, device) if known_ticks else None
        semantic, codes = play(
            bundle,
            heard,
            guide=None if shown is None else shown[:, start50 : start50 + heard.shape[2]],
            num_frames=codec_frames(bundle, piece),
            settings=settings,
            takes=[settings.take],
            known=known,
            device=device,
            session=engine.session,
            on_progress=on_progress,
        )
        exact = exact_device(device)
        codec = bundle.load_codec().to(exact)
        decoded = codec.decode(codes.to(exact))[0].cpu()
    new = resample(decoded, codec.sample_rate, rate, piece.num_samples)
    new = limit_peaks(_levelled(new, old, first - begin, last - begin), rate)
    if ending is not None:
        new = died_away(pad(new, (begin, total - end)), rate, ending)[:, begin:end]
    tokens = Tokens.of(heard[0], semantic[0], codes[0])
    fade = round(_FADE_SECONDS * rate)
    return _joined(accompaniment, new, first=first, last=last, begin=begin, fade=fade), tokens


def _tokens(
    bundle: Bundle, old: Float[Tensor, "1 N"], rate: int, ticks: int, device: torch.device
) -> tuple[Tensor, Tensor]:
    """Semantic tokens and coarse codes of the first `ticks` 25ths of a second of a sound."""
    exact = exact_device(device)
    features, kmeans = bundle.load_features("instrumental").to(exact), bundle.load_kmeans("instrumental")
    codec = bundle.load_codec().to(exact)
    levelled = []
    for wanted in (features.sample_rate, codec.sample_rate):
        sound = resample(old, rate, wanted)
        if bundle.config.codec.get("kind") == "spectral":
            sound = set_active_rms(sound, SPECTRAL_INSTRUMENTAL_RMS, sample_rate=wanted)
        levelled.append(sound.to(exact))
    semantic = kmeans.predict(features.extract(levelled[0]).cpu())[:, None, : 2 * ticks].to(device)
    coarse = bundle.spec("coarse").target.num_codebooks
    codes = codec.encode(levelled[1][:, None])[:, :coarse, : 3 * ticks]
    return semantic, codes.to(device)


def _levelled(
    new: Float[Tensor, "1 N"], old: Float[Tensor, "1 N"], first: int, last: int
) -> Float[Tensor, "1 N"]:
    """The new sound as loud as the old one where both play the same: before the region, or behind it."""
    where = slice(0, first) if first > 0 else slice(last, None)
    if not old[:, where].any():
        where = slice(None)
    ratio = old[:, where].square().mean().sqrt() / new[:, where].square().mean().sqrt().clamp_min(1e-6)
    return new * float(ratio.clamp(1 / _MOST_GAIN, _MOST_GAIN)) if ratio > 0 else new


def _joined(
    old: Float[Tensor, "1 T"], new: Float[Tensor, "1 N"], *, first: int, last: int, begin: int, fade: int
) -> Float[Tensor, "1 T"]:
    """The old sound with the new one from `first` to `last`, which fades in and out, unless the sound does.

    >>> _joined(torch.zeros(1, 9), torch.ones(1, 9), first=2, last=8, begin=0, fade=2)
    tensor([[0.0000, 0.0000, 0.2500, 0.7500, 1.0000, 1.0000, 0.7500, 0.2500, 0.0000]])
    """
    ramp = (torch.arange(fade) + 0.5) / fade
    weight = torch.ones(last - first)
    if first > 0:
        weight[:fade] = ramp
    if last < old.shape[1]:
        weight[-fade:] = ramp.flip(0)
    joined = old.clone()
    part = new[:, first - begin : last - begin]
    joined[:, first:last] = weight * part + (1 - weight) * old[:, first:last]
    return joined

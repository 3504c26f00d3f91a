"""The steps of an accompaniment: hear the vocal, show the lead sheet, play to both, make it sound.

In: a bundle, and what the step before gave. Out: tokens on the device; at the end waveforms on the CPU.

    hear    vocal [C, T]               -> vocal semantic tokens [1, 1, F50]
    sheets  vocals [V]                 -> lead sheets [V]: given, or what the bundle's analyser hears
    show    lead sheets [V]            -> guide [V, F50, G]
    play    vocal semantic tokens [V]  -> instrumental semantic tokens [N, 1, F50], codes [N, K, F75]
    sound   codes of one vocal         -> waveforms [1, T] at the vocal's rate

Conventions: V vocals of one length go through the stages together, each with all of its takes: N = V * takes,
the takes of the first vocal first. `F50 = ceil(50 * seconds)`, `F75 = ceil(75 * seconds)`, seconds being
theirs. F75 frames of codes can reach into one semantic frame more than the vocal has (at most 13 ms of
padding); that frame repeats the last one. Each part of the bundle is loaded when it is needed and let go
after it.

Source: paper 3.2 and 3.3; 3.5 "Inference".
"""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TypeAlias

import torch
from jaxtyping import Float, Int, Num
from torch import Tensor

from hafm.arrange.sections import line_up
from hafm.arrange.voice import Voice
from hafm.audio.limiter import limit_peaks
from hafm.audio.loudness import normalise_loudness
from hafm.audio.resample import resample
from hafm.audio.sound import Audio
from hafm.device import exact_device
from hafm.engine.session import StageSession
from hafm.errors import BundleError, LeadSheetError, UsageError
from hafm.generate.record import Settings
from hafm.generate.sampling import LIKELIEST, SamplingSettings
from hafm.generate.seeds import generator_for
from hafm.generate.windows import generate_long
from hafm.guide.corrections import Corrections, corrected
from hafm.guide.frames import guide_frames
from hafm.guide.lead_sheet import PLAYERS, LeadSheet, Origin, PlayingSpan
from hafm.progress import OnProgress
from hafm.rates import SEMANTIC_RATE, frames_for
from hafm.stages.bundle import Bundle
from hafm.stages.stage_model import StageModel
from hafm.tokens.level import prepare_vocal

__all__ = [
    "OnStage",
    "analyse",
    "codec_frames",
    "fit_frames",
    "follows_sheets",
    "hear",
    "play",
    "require_finite",
    "require_guide",
    "sheets_for",
    "show",
    "sound",
    "with_line_up",
]

OnStage: TypeAlias = Callable[[StageModel, tuple[Tensor, ...], Tensor | None, Tensor], None]
"""Is given a stage, its conditions, its guide, and the codes that it made."""

_LINE_UP_CONFIDENCE = 0.23
"""Share of the time in which the true bands of 90 validation vocals have just these players."""

_MOST_SECONDS_APART = 0.5
"""A sheet and its sound: more, and it is likely that of another sound, or of the whole of a part."""


def hear(bundle: Bundle, vocal: Audio, *, seed: int, device: torch.device) -> Int[Tensor, "1 1 F50"]:
    """The vocal's semantic tokens.

    Args:
        vocal: any rate and level.
        seed: decides the noise that covers what a separator left in the vocal; all takes hear the same.
        device: where the stages run, and features are computed, unless it is an Apple GPU. Their ids are
            taken on the CPU, which has float64.
    """
    exact = exact_device(device)
    features, kmeans = bundle.load_features("vocal").to(exact), bundle.load_kmeans("vocal")
    waveform = resample(vocal.mono()[None], vocal.sample_rate, features.sample_rate)
    prepared = prepare_vocal(
        waveform,
        sample_rate=features.sample_rate,
        generator=generator_for(seed=seed, take=0, name="vocal noise"),
        sigma=bundle.config.vocal_noise_sigma,
    )
    return kmeans.predict(features.extract(prepared.to(exact)).cpu())[:, None].to(device)


def analyse(
    bundle: Bundle,
    vocal: Audio,
    *,
    given: LeadSheet | None = None,
    tempo_bpm: float | None = None,
    corrections: Corrections | None = None,
) -> LeadSheet:
    """What the bundle's analyser hears in a vocal; see `hafm.guide.analyser.Analyser.analyse`.

    Raises:
        UsageError: the bundle has no analyser of vocals.
        LeadSheetError: no lead sheet of the vocal's length can have the given beats, or the corrections do
            not fit it.
    """
    if corrections is not None:
        corrections.require_duration(vocal.seconds)
    sheet = bundle.load_analyser("vocal").analyse(
        vocal.mono(), vocal.sample_rate, given=given, tempo_bpm=tempo_bpm, corrections=corrections
    )
    return with_line_up(sheet, vocal.mono(), vocal.sample_rate)


def with_line_up(sheet: LeadSheet, vocal: Float[Tensor, " T"], sample_rate: int) -> LeadSheet:
    """The sheet with who plays, estimated, if it does not say so and has bars."""
    spans = () if sheet.arrangement else line_up(sheet, Voice(vocal, sample_rate))
    if not spans:
        return sheet
    origins = {**sheet.origins, "arrangement": Origin(source="estimated", confidence=_LINE_UP_CONFIDENCE)}
    return replace(sheet, arrangement=spans, origins=origins)


def sheets_for(
    bundle: Bundle,
    given: Sequence[LeadSheet | None],
    vocals: Sequence[Audio],
    *,
    corrections: Corrections | None = None,
) -> list[LeadSheet | None]:
    """The lead sheet of each vocal: the one given; or else an estimate, if the bundle can make and use one.

    Args:
        given: one per vocal; None for none. A sheet that knows nothing is one too, and is kept.
        corrections: what is known better; then what a given sheet leaves open is estimated, too, if the
            bundle has an analyser.

    Raises:
        UsageError: there are corrections, and no stage of the bundle has a guide.
        LeadSheetError: they do not fit.
    """
    hears = "vocal" in bundle.config.analysers
    pairs = list(zip(given, vocals, strict=True))
    if corrections is None:
        estimates = hears and follows_sheets(bundle)
        return [analyse(bundle, vocal) if sheet is None and estimates else sheet for sheet, vocal in pairs]
    require_guide(bundle)
    if hears:
        return [analyse(bundle, vocal, given=sheet, corrections=corrections) for sheet, vocal in pairs]
    return [
        corrected(LeadSheet(duration_seconds=vocal.seconds) if sheet is None else sheet, corrections)
        for sheet, vocal in pairs
    ]


def follows_sheets(bundle: Bundle) -> bool:
    """Whether a stage of the bundle was trained with lead sheets."""
    return any(spec.guide is not None for spec in bundle.config.stages.values())


def require_guide(bundle: Bundle) -> None:
    """Refuses a lead sheet where no stage could follow it.

    Raises:
        UsageError: no stage of the bundle has a guide.
    """
    if not follows_sheets(bundle):
        raise UsageError(
            f"the stages of bundle {bundle.config.name!r} were trained without lead sheets; leave the lead "
            "sheet out, or use another bundle"
        )


def show(
    bundle: Bundle, sheets: Sequence[LeadSheet | None], vocal: Audio, *, device: torch.device
) -> Float[Tensor, "V F50 G"] | None:
    """The guide of each vocal's lead sheet; None without sheets.

    Where a sheet does not say who plays, the whole band does: a stage that learnt from sub-mixes too would
    otherwise leave players out at random.

    Args:
        sheets: one a vocal, or None for all of them.
        vocal: one of the vocals, which are of one length.

    Raises:
        UsageError: no stage of the bundle has a guide, or some vocals have a sheet and others have none.
        LeadSheetError: a sheet is not as long as the vocals.
    """
    given = [sheet for sheet in sheets if sheet is not None]
    if not given:
        return None
    if len(given) < len(sheets):
        raise UsageError(
            f"{len(given)} of {len(sheets)} vocals of a batch have a lead sheet; give one for each, or none"
        )
    require_guide(bundle)
    for sheet in given:
        if abs(sheet.duration_seconds - vocal.seconds) > _MOST_SECONDS_APART:
            raise LeadSheetError(
                f"the lead sheet lasts {sheet.duration_seconds:g} s and what it is for {vocal.seconds:g} s; "
                "give the sheet of this part"
            )
    num_frames = frames_for(vocal.num_samples, sample_rate=vocal.sample_rate, frame_rate=SEMANTIC_RATE)
    frames = [torch.from_numpy(guide_frames(_in_full(sheet), num_frames=num_frames)) for sheet in given]
    return torch.stack(frames).to(device)


def _in_full(sheet: LeadSheet) -> LeadSheet:
    """The sheet with the whole band wherever it does not say who plays.

    >>> _in_full(LeadSheet(duration_seconds=2.0)).arrangement[0].players
    ('drums', 'bass', 'harmony', 'melody')
    """
    ends = [0.0, *(span.end_seconds for span in sheet.arrangement)]
    starts = [*(span.start_seconds for span in sheet.arrangement), sheet.duration_seconds]
    gaps = [PlayingSpan.of(*gap, PLAYERS) for gap in zip(ends, starts, strict=True) if gap[0] < gap[1]]
    spans = sorted([*sheet.arrangement, *gaps], key=lambda span: span.start_seconds)
    return replace(sheet, arrangement=tuple(spans))


def play(
    bundle: Bundle,
    heard: Int[Tensor, "V 1 F50"],
    *,
    guide: Float[Tensor, "V F50 G"] | None = None,
    num_frames: int,
    settings: Settings,
    takes: Sequence[int],
    known: tuple[Int[Tensor, "N 1 _P"], Int[Tensor, "N _K _Q"]] | None = None,
    device: torch.device,
    session: Callable[[str, StageModel], StageSession | None] | None = None,
    on_stage: OnStage | None = None,
    on_progress: OnProgress | None = None,
) -> tuple[Int[Tensor, "N 1 F50"], Int[Tensor, "N K F75"]]:
    """Instrumental semantic tokens and codes: the three stages in turn.

    Args:
        guide: of the vocals' lead sheets, for the stages that have one; None where there are none.
        num_frames: F75, frames of codes to make.
        settings: how tokens are drawn, where they are: a parallel stage takes the likeliest (`LIKELIEST`).
        takes: their numbers; one row each for every vocal.
        known: the semantic tokens and the coarse codes that a take begins with, if it goes on from something.
        session: what runs a stage of that name; None, or what gives None, for PyTorch.
        on_stage: called after every stage, with what it was given and made.
    """

    def run(
        name: str,
        *conditions: Int[Tensor, "N _K _F"],
        frames: int,
        sampling: SamplingSettings = settings.sampling,
        begins: Int[Tensor, "N _K _P"] | None = None,
    ) -> Int[Tensor, "N K F"]:
        # The stage lives as long as this call: three of them are never in memory together.
        model = bundle.load_stage(name, device=device)
        lengths = model.spec.source_frames(frames)
        shown = None
        if guide is not None and model.spec.guide is not None:
            shown = fit_frames(guide.mT, lengths[0]).mT.repeat_interleave(len(takes), dim=0)
        fitted = tuple(fit_frames(ids, length) for ids, length in zip(conditions, lengths, strict=True))
        made = generate_long(
            model,
            fitted,
            guide=shown,
            target_frames=frames,
            settings=LIKELIEST if model.spec.pattern == "parallel" else sampling,
            generators=[
                generator_for(seed=settings.seed, take=take, name=name) for _ in heard for take in takes
            ],
            known=begins,
            session=None if session is None else session(name, model),
            on_step=on_progress,
        )
        if on_stage is not None:
            on_stage(model, fitted, shown, made)
        return made

    vocal = heard.repeat_interleave(len(takes), dim=0)
    known_semantic, known_codes = (None, None) if known is None else known
    semantic = run("semantic", vocal, frames=heard.shape[2], begins=known_semantic)
    coarse = settings.coarse_sampling
    codes = run("coarse", vocal, semantic, frames=num_frames, sampling=coarse, begins=known_codes)
    if not settings.skip_fine:
        codes = torch.cat([codes, run("fine", codes, frames=num_frames)], dim=1)
    return semantic, codes


def sound(
    bundle: Bundle, codes: Int[Tensor, "N K F75"], vocal: Audio, *, level_lufs: float, device: torch.device
) -> list[Float[Tensor, "1 T"]]:
    """The waveforms of codes, at the vocal's rate and of its length.

    Args:
        codes: one row a take.
        vocal: whose rate and length they get.
        level_lufs: loudness they are brought to; peaks stay under -1 dBTP.
        device: where the codec runs, unless it is an Apple GPU.

    Raises:
        BundleError: the codec gave something that is not finite.
    """
    exact = exact_device(device)
    codec = bundle.load_codec().to(exact)
    waveforms = []
    for row in codes.to(exact).split(1):  # one by one: a take's bytes do not depend on its companions
        # One name for all of them: ten minutes of each are many.
        waveform = codec.decode(row)[0].cpu()
        require_finite(waveform)
        waveform = resample(waveform, codec.sample_rate, vocal.sample_rate, vocal.num_samples)
        waveform, _ = normalise_loudness(waveform, vocal.sample_rate, level_lufs)
        waveforms.append(limit_peaks(waveform, vocal.sample_rate))
    return waveforms


def require_finite(decoded: Float[Tensor, "..."]) -> None:
    """Refuses sound of a damaged codec.

    Raises:
        BundleError: a sample is not finite.
    """
    if not decoded.isfinite().all():
        raise BundleError(
            "the codec gave samples that are not finite: its weights are damaged or do not fit; get the "
            "bundle again"
        )


def codec_frames(bundle: Bundle, vocal: Audio) -> int:
    """F75: frames of codes that cover the vocal."""
    return frames_for(
        vocal.num_samples,
        sample_rate=vocal.sample_rate,
        frame_rate=bundle.spec("coarse").target.frame_rate,
    )


def fit_frames(ids: Num[Tensor, "N K F"], num_frames: int) -> Num[Tensor, "N K F2"]:
    """`num_frames` frames: what is missing at the end repeats the last, and there is at most one of it.

    >>> fit_frames(torch.tensor([[[1, 2, 3]]]), 4).tolist()
    [[[1, 2, 3, 3]]]
    """
    missing = num_frames - ids.shape[2]
    assert 0 <= missing <= 1, f"{ids.shape[2]} frames of a condition do not go with {num_frames}"
    return ids if not missing else torch.cat([ids, ids[:, :, -1:]], dim=2)

"""The sound of one take while it is still being made.

In: a vocal, settings. Out: parts of the sound, the first as soon as there is enough of it, and at last the
accompaniment. Tokens, and in the end the accompaniment, are those of `hafm.generate.pipeline`, to the byte:
the order of the windows is another, what they see is not.

    sound, up to here  <- codec, which looks ahead
      codes            <- fine stage: its last pass needs windows further on in the passes before
        codes          <- coarse stage, window by window
          tokens       <- semantic stage, window by window

Who needs frames asks who makes them, and that one makes windows until they are there. All stages are in
memory at once, which `pipeline` avoids.

What cannot be known before the end is how loud the whole is: parts have the gain that the first one asks for,
with peaks limited part by part. The first part is short, the others are longer: the codec works on what lies
around a part, too.

A preview is the sound of the coarse codes alone, which need not wait for the fine stage: that runs when the
preview has been given. The accompaniment at the end is the same.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from fractions import Fraction

import torch
from jaxtyping import Float, Int
from torch import Tensor

from hafm.audio.limiter import limit_peaks
from hafm.audio.loudness import normalise_loudness
from hafm.audio.resample import resample_blocks
from hafm.audio.sound import Audio
from hafm.device import device_errors, exact_device, one_thread
from hafm.generate.accompaniment import Accompaniment, Tokens
from hafm.generate.engine import Engine
from hafm.generate.pipeline import OnSheet, OpenBundle
from hafm.generate.plan import Window
from hafm.generate.record import InputUsed, Settings
from hafm.generate.sampling import LIKELIEST, SamplingSettings
from hafm.generate.seeds import generator_for
from hafm.generate.steps import (
    codec_frames,
    fit_frames,
    hear,
    require_finite,
    sheets_for,
    show,
    sound,
)
from hafm.generate.vocal import with_notes
from hafm.generate.windows import generate_windows
from hafm.guide.corrections import Corrections
from hafm.guide.lead_sheet import LeadSheet
from hafm.progress import OnProgress
from hafm.rates import convert_frames
from hafm.stages.stage_model import StageModel
from hafm.tokens.base import Codec, DecodesInPieces

__all__ = ["Part", "in_turns", "stream"]

_FIRST_SECONDS, _LONGEST_SECONDS = 1, 8


@dataclass(frozen=True, kw_only=True, eq=False)
class Part:
    """Some of the sound.

    Args:
        start: number of its first sample; parts follow each other without gaps.
        waveform: at the vocal's rate, about as loud as the accompaniment will be.
        sample_rate: the vocal's.
        accompaniment: with the last part, the whole; None with all others.
    """

    start: int
    waveform: Float[Tensor, "1 T"]
    sample_rate: int
    accompaniment: Accompaniment | None = None


class _Made:
    """The codes of one stage, made when they are asked for."""

    def __init__(
        self,
        model: StageModel,
        sources: "tuple[Int[Tensor, '1 _K _F'] | _Made, ...]",
        *,
        num_frames: int,
        settings: SamplingSettings,
        generator: torch.Generator,
        guide: Float[Tensor, "1 _F G"] | None,
        engine: Engine,
        on_progress: OnProgress | None,
    ) -> None:
        self.spec, self.sources, self.num_frames = model.spec, sources, num_frames
        device = model.heads.device
        self.codes = torch.zeros(
            1, model.spec.target.num_codebooks, num_frames, dtype=torch.long, device=device
        )
        self.there = 0
        lengths = model.spec.source_frames(num_frames)
        self.conditions = tuple(
            torch.zeros(1, stream.num_codebooks, length, dtype=torch.long, device=device)
            if isinstance(source, _Made)
            else fit_frames(source, length)
            for source, stream, length in zip(sources, model.spec.sources, lengths, strict=True)
        )
        shown = None
        if guide is not None and model.spec.guide is not None:
            shown = fit_frames(guide.mT, lengths[0]).mT
        self.windows = generate_windows(
            model,
            self.conditions,
            codes=self.codes,
            settings=settings,
            generators=[generator],
            guide=shown,
            session=engine.session(model.spec.name, model),
            before=self._fetch,
            on_step=on_progress,
        )

    def require(self, num_frames: int) -> None:
        """Makes windows until that many frames are there, or all."""
        while self.there < min(num_frames, self.num_frames):
            self.there = next(self.windows)

    def _fetch(self, window: Window) -> None:
        """Gets the conditions of a window from the stages before."""
        lengths = self.spec.source_frames(window.stop - window.start)
        for source, condition, stream, length in zip(
            self.sources, self.conditions, self.spec.sources, lengths, strict=True
        ):
            if isinstance(source, _Made):
                start = convert_frames(window.start, self.spec.target.frame_rate, stream.frame_rate)
                source.require(start + length)
                there = source.there
                condition[:, :, :there] = source.codes[:, :, :there]
                if there == source.num_frames:  # at most one is missing: it repeats the last
                    condition[:, :, there:] = source.codes[:, :, -1:]


class _Stacked:
    """Coarse and fine codes, one below the other."""

    def __init__(self, stages: list[_Made]) -> None:
        self.stages = stages
        codes = torch.cat([stage.codes for stage in stages], dim=1)
        self.codes = codes.to(exact_device(codes.device))  # where the codec reads them
        self.num_frames = stages[0].num_frames

    def require(self, num_frames: int) -> None:
        """Makes windows until that many frames are there, or all."""
        self.stages[-1].require(num_frames)
        there, row = self.stages[-1].there, 0
        for stage in self.stages:
            rows = stage.codes.shape[1]
            self.codes[:, row : row + rows, :there] = stage.codes[:, :, :there]
            row += rows


def in_turns(parts: Iterator[Part], device: torch.device) -> Iterator[Part]:
    """Threads and errors of the device are ours while a part is made, not while the caller has its turn."""
    while True:
        with device_errors(device), one_thread():
            part = next(parts, None)
        if part is None:
            return
        yield part


def stream(
    model: OpenBundle,
    vocal: Audio,
    used: InputUsed,
    settings: Settings,
    *,
    guide: LeadSheet | None,
    on_progress: OnProgress | None,
    corrections: Corrections | None = None,
    on_sheet: OnSheet | None = None,
    preview: bool = False,
) -> Iterator[Part]:
    """The parts, for `in_turns`.

    Args:
        preview: parts sound as the coarse codes do, and the one with the accompaniment is empty.
        model, ...: those of `hafm.generate.pipeline.accompany`, for one vocal and take.
    """
    bundle, device, engine = model.bundle, model.device, model.engine
    settings, vocal = replace(settings, engine=engine.name), with_notes(vocal)
    [sheet] = sheets_for(bundle, [guide], [vocal], corrections=corrections)
    if on_sheet is not None:
        on_sheet(sheet)
    heard = hear(bundle, vocal, seed=settings.seed, device=device)
    shown = show(bundle, [sheet], vocal, device=device)
    num_frames = codec_frames(bundle, vocal)

    def made(
        name: str, *sources: "Tensor | _Made", frames: int, drawn: SamplingSettings = settings.sampling
    ) -> _Made:
        stage = bundle.load_stage(name, device=device)
        return _Made(
            stage,
            sources,
            num_frames=frames,
            settings=LIKELIEST if stage.spec.pattern == "parallel" else drawn,
            generator=generator_for(seed=settings.seed, take=settings.take, name=name),
            guide=shown,
            engine=engine,
            on_progress=on_progress,
        )

    semantic = made("semantic", heard, frames=heard.shape[2])
    coarse = made("coarse", heard, semantic, frames=num_frames, drawn=settings.coarse_sampling)
    stages = [coarse]
    if not settings.skip_fine:
        stages.append(made("fine", coarse, frames=num_frames))
    codes = _Stacked(stages)
    given = _Stacked([coarse]) if preview else codes
    codec = bundle.load_codec().to(exact_device(device))
    start, gain_db = 0, None
    for block in resample_blocks(
        _decoded(codec, given), codec.sample_rate, vocal.sample_rate, num_channels=1
    ):
        kept = block[:, : vocal.num_samples - start]
        if not kept.shape[1]:
            continue
        if gain_db is None:
            _, gain_db = normalise_loudness(kept, vocal.sample_rate, settings.level_lufs)
        waveform = limit_peaks(kept * 10 ** (gain_db / 20), vocal.sample_rate)
        part = Part(start=start, waveform=waveform, sample_rate=vocal.sample_rate)
        start += kept.shape[1]
        if start == vocal.num_samples and not preview:
            break
        yield part
        if start == vocal.num_samples:
            part = replace(part, start=start, waveform=waveform[:, :0])
            break
    assert start == vocal.num_samples, "codes cover the vocal"
    codes.require(num_frames)
    semantic.require(semantic.num_frames)  # a last frame that no window of the coarse stage looked at
    [waveform] = sound(bundle, codes.codes, vocal, level_lufs=settings.level_lufs, device=device)
    accompaniment = Accompaniment(
        waveform=waveform,
        sample_rate=vocal.sample_rate,
        tokens=Tokens.of(heard[0], semantic.codes[0], codes.codes[0]),
        vocal=vocal,
        record=model.record(used, settings, lead_sheet=sheet),
        notes=vocal.notes,
    )
    yield replace(part, accompaniment=accompaniment)


def _decoded(codec: Codec, codes: _Stacked) -> Iterator[Float[Tensor, "1 T"]]:
    """The codec's sound, in pieces if it can."""
    if isinstance(codec, DecodesInPieces):
        pieces = codec.decode_pieces(
            codes.codes, _ends(codes, frame_rate=codec.frame_rate, lookahead_frames=codec.lookahead_frames)
        )
    else:
        codes.require(codes.num_frames)
        pieces = iter([codec.decode(codes.codes)])
    for piece in pieces:
        require_finite(piece)
        yield piece[0].cpu()


def _ends(codes: _Stacked, *, frame_rate: Fraction, lookahead_frames: int) -> Iterator[int]:
    """Where pieces end; codes are there up to what the codec looks at when one is given."""
    length, last = round(_FIRST_SECONDS * frame_rate), 0
    while last < codes.num_frames:
        last = min(last + length, codes.num_frames)
        codes.require(last + lookahead_frames)
        yield last
        length = min(2 * length, round(_LONGEST_SECONDS * frame_rate))

"""The three stages as data: what goes in, what comes out, and the shape of the Transformer between.

    SEMANTIC   P(s_i | s_v)        500 classes at 50 Hz                        clip 10 s
    COARSE     P(a_c | s_v, s_i)   4 x 1024 codes at 75 Hz, interleaved        clip  5 s
    FINE       P(a_f | a_c)        4 x 1024 codes at 75 Hz, interleaved        clip  3 s

These three are the paper's, to the letter. Others are made with ``dataclasses.replace``. Two layouts
of the condition exist:

    prefix    [s_v ............][s_i ............][BOS a a a ...]          one causal sequence (paper 3.3)

    aligned   s_v + s_i -> small two-way encoder -> frames                 the frame that sounds at the
                                                     | | |                 time of a target slot is added
              [BOS a a a a a a ...............]  <---+-+-+                 to that slot (ours)

An aligned stage may also have a *guide*, the lead sheet on the 50 Hz grid (ours). It joins the frames twice,
before the encoder and behind it.

And there are three orders in which the codes of several codebooks are predicted, see ``hafm.tokens.pattern``:

    flat      one code per step, each from all before it; the paper's
    delay     one frame per step, all codebooks side by side, each a step behind the one below it
    parallel  all frames at once, a pass per codebook, each from the codebooks below it

Source: paper 3.2-3.5, Table 1; why ``aligned``, ``delay`` and ``parallel`` exist: docs/architecture.md.
"""

import math
from dataclasses import asdict, dataclass, fields
from fractions import Fraction
from typing import Any, Literal, get_args

from hafm.errors import UsageError
from hafm.model.position import Positions
from hafm.rates import CODEC_RATE, SEMANTIC_RATE, convert_frames
from hafm.stages.guide import GuideSpec
from hafm.tokens.pattern import Layout, Pattern, layout_of

Conditioning = Literal["prefix", "aligned"]
DroppedCondition = Literal["mask", "zeros"]


@dataclass(frozen=True, kw_only=True)
class TokenStream:
    """Tokens of one kind: ``num_codebooks`` ids below ``cardinality`` every ``1 / frame_rate`` s."""

    name: str
    cardinality: int
    frame_rate: Fraction
    num_codebooks: int = 1

    def __post_init__(self) -> None:
        if self.cardinality < 2 or self.num_codebooks < 1 or self.frame_rate <= 0:
            raise UsageError(
                f"The token stream {self.name!r} needs a cardinality of 2 or more, a codebook and a "
                f"positive frame rate; it has {self.cardinality}, {self.num_codebooks}, {self.frame_rate}."
            )


@dataclass(frozen=True, kw_only=True)
class StageSpec:
    """One stage.

    Args:
        name: ``semantic``, ``coarse`` or ``fine``.
        sources: the streams it is conditioned on, in order.
        target: the stream it predicts.
        clip_seconds: the trained length, which is also the window of long-form generation.
        num_layers: Transformer blocks L.
        width: model width D.
        num_heads: attention heads; divides ``width``.
        feedforward_multiplier: ``d_ff mult`` of 3.4; the inner width is 2/3 of ``width`` times it.
        conditioning: the layout, see the top of this file.
        encoder_layers: blocks of the two-way condition encoder; aligned only.
        dropped_condition: what a dropped condition is replaced with: the learned mask row of every
            source (3.4) or zeros (3.5).
        guidance_dropout: share of training samples whose condition is dropped (3.5), the guide with it.
        embedding_std: of the embeddings before training; 0.02 in the paper (3.4).
        positions: ``t5``, the paper's relative bias (3.4), or ``rotary`` (``hafm.model.rotary``).
        guide: how the guide is dropped in training; None is a stage without.
        pattern: the order of prediction, see the top of this file.

    Raises:
        UsageError: a field is out of range.

    >>> SEMANTIC.target_frames, SEMANTIC.sequence_length
    (500, 1000)
    >>> COARSE.sequence_length, FINE.sequence_length
    (2000, 1125)
    """

    name: str
    sources: tuple[TokenStream, ...]
    target: TokenStream
    clip_seconds: Fraction
    num_layers: int = 12
    width: int = 512
    num_heads: int = 8
    feedforward_multiplier: float = 4.0
    num_buckets: int = 32
    conditioning: Conditioning = "prefix"
    encoder_layers: int = 0
    dropped_condition: DroppedCondition = "mask"
    guidance_dropout: float = 0.1
    embedding_std: float = 0.02
    positions: Positions = "t5"
    guide: GuideSpec | None = None
    pattern: Pattern = "flat"

    def __post_init__(self) -> None:
        checks = {
            "sources must not be empty": bool(self.sources),
            "num_layers must be 1 or more": self.num_layers >= 1,
            "width must be 1 or more": self.width >= 1,
            "num_heads must be 1 or more": self.num_heads >= 1,
            "num_heads must divide width": self.num_heads >= 1 and self.width % self.num_heads == 0,
            "feedforward_multiplier must leave an inner width": self.width * self.feedforward_multiplier
            >= 1.5,
            "num_buckets must be even and 4 or more": self.num_buckets >= 4 and self.num_buckets % 2 == 0,
            "clip_seconds must be positive": self.clip_seconds > 0,
            "conditioning must be 'prefix' or 'aligned'": self.conditioning in ("prefix", "aligned"),
            "dropped_condition must be 'mask' or 'zeros'": self.dropped_condition in ("mask", "zeros"),
            "encoder_layers must be 0 or more": self.encoder_layers >= 0,
            "encoder_layers must be 0 with prefix conditioning": self.conditioning == "aligned"
            or self.encoder_layers == 0,
            "guidance_dropout must be in [0, 1)": 0 <= self.guidance_dropout < 1,
            "embedding_std must be positive": self.embedding_std > 0,
            "positions must be 't5' or 'rotary'": self.positions in ("t5", "rotary"),
            "rotary positions need heads of an even width": self.positions == "t5"
            or self.width % (2 * self.num_heads) == 0,
            "a guide does not go with the pattern 'parallel'": self.guide is None
            or self.pattern != "parallel",
            "a guide needs aligned sources at 50 Hz": self.guide is None
            or (
                self.conditioning == "aligned"
                and {source.frame_rate for source in self.sources} == {SEMANTIC_RATE}
            ),
            f"pattern must be one of {', '.join(get_args(Pattern))}": self.pattern in get_args(Pattern),
            "pattern 'parallel' needs aligned conditioning": self.pattern != "parallel"
            or self.conditioning == "aligned",
            "aligned sources must share a frame rate": self.conditioning == "prefix"
            or len({source.frame_rate for source in self.sources}) == 1,
        }
        for rule, holds in checks.items():
            if not holds:
                raise UsageError(f"The {self.name} stage is not valid: {rule}.")

    @property
    def num_segments(self) -> int:
        """Segment embeddings: one per source and one for the target (Table 1, N_seg)."""
        return len(self.sources) + 1

    @property
    def target_frames(self) -> int:
        """Target frames of a whole clip."""
        return convert_frames_of_clip(self.clip_seconds, self.target)

    @property
    def target_slots(self) -> int:
        """Target tokens of a whole clip."""
        return self.target_frames * self.target.num_codebooks

    @property
    def layout(self) -> Layout:
        """The steps of the target; of one pass for a parallel stage."""
        return layout_of(self.pattern, num_codebooks=self.target.num_codebooks)

    @property
    def target_steps(self) -> int:
        """Positions that a whole clip's target takes."""
        return self.layout.num_steps(self.target_frames)

    @property
    def sequence_length(self) -> int:
        """Positions of a whole clip: the target's steps, and the condition's frames when it is a prefix."""
        if self.conditioning == "aligned":
            return self.target_steps
        return self.target_steps + sum(
            convert_frames_of_clip(self.clip_seconds, source) for source in self.sources
        )

    def source_frames(self, target_frames: int) -> tuple[int, ...]:
        """Frames of every source that go with ``target_frames`` of the target.

        >>> COARSE.source_frames(375)
        (250, 250)
        """
        rate = self.target.frame_rate
        return tuple(
            convert_frames(target_frames, from_rate=rate, to_rate=source.frame_rate)
            for source in self.sources
        )

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON types; :meth:`from_dict` is the inverse.

        What a stage of the first version did not have is left out where it is not used, so that such a stage
        keeps its fingerprint.
        """
        values: dict[str, Any] = _fractions_to_text(asdict(self))
        for field in fields(self):
            if field.name in _ADDED_LATER and getattr(self, field.name) == field.default:
                del values[field.name]
        return values

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> "StageSpec":
        """Reads what :meth:`to_dict` wrote.

        Raises:
            UsageError: a field is unknown, missing or out of range.

        >>> StageSpec.from_dict(FINE.to_dict()) == FINE
        True
        """
        try:
            values = dict(values)
            streams = [_stream(source) for source in values.pop("sources")]
            target = _stream(values.pop("target"))
            clip_seconds = Fraction(values.pop("clip_seconds"))
            if values.get("guide") is not None:
                values["guide"] = GuideSpec(**values["guide"])
            return cls(sources=tuple(streams), target=target, clip_seconds=clip_seconds, **values)
        except (ArithmeticError, KeyError, TypeError, ValueError) as error:
            known = ", ".join(cls.__dataclass_fields__)
            raise UsageError(f"This is no stage description ({error}). Its fields are: {known}.") from error


_ADDED_LATER = frozenset({"positions", "guide", "pattern"})


def convert_frames_of_clip(clip_seconds: Fraction, stream: TokenStream) -> int:
    """``ceil(clip_seconds * frame_rate)``.

    >>> convert_frames_of_clip(Fraction(3), FINE.target)
    225
    """
    return math.ceil(clip_seconds * stream.frame_rate)


def _stream(fields: dict[str, Any]) -> TokenStream:
    return TokenStream(**{**fields, "frame_rate": Fraction(fields["frame_rate"])})


def _fractions_to_text(value: Any) -> Any:
    if isinstance(value, Fraction):
        return str(value)
    if isinstance(value, dict):
        return {key: _fractions_to_text(item) for key, item in value.items()}
    if isinstance(value, (tuple, list)):
        return [_fractions_to_text(item) for item in value]
    return value


VOCAL_SEMANTIC = TokenStream(name="vocal_semantic", cardinality=500, frame_rate=SEMANTIC_RATE)
INSTRUMENTAL_SEMANTIC = TokenStream(name="instrumental_semantic", cardinality=500, frame_rate=SEMANTIC_RATE)
COARSE_CODES = TokenStream(name="coarse_codes", cardinality=1024, frame_rate=CODEC_RATE, num_codebooks=4)
FINE_CODES = TokenStream(name="fine_codes", cardinality=1024, frame_rate=CODEC_RATE, num_codebooks=4)

SEMANTIC = StageSpec(
    name="semantic", sources=(VOCAL_SEMANTIC,), target=INSTRUMENTAL_SEMANTIC, clip_seconds=Fraction(10)
)
COARSE = StageSpec(
    name="coarse",
    sources=(VOCAL_SEMANTIC, INSTRUMENTAL_SEMANTIC),
    target=COARSE_CODES,
    clip_seconds=Fraction(5),
)
FINE = StageSpec(name="fine", sources=(COARSE_CODES,), target=FINE_CODES, clip_seconds=Fraction(3))

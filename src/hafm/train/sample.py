"""Something to listen to while a stage is trained.

In: the stage, as far as it is; a held-out clip; the parts. Out: a sound file of one clip.

| stage | what it is given | what makes sound of what it plays |
|---|---|---|
| semantic | the true vocal tokens | the coarse stage of another bundle (and its fine stage), then the codec |
| coarse | the true vocal and instrumental tokens | the codec, 4 codebooks |
| fine | the true coarse codes | the codec, 8 codebooks |

So a sample shows this stage alone. `truth.wav` beside the samples is what the codec makes of the true
codes: no sample can sound better. The semantic stage has no sound of its own; without a bundle it is refused.

A file of its own: it alone of training needs generation and audio.
"""

from pathlib import Path

import torch
from jaxtyping import Float, Int
from torch import Tensor

from hafm.audio.io import write_audio
from hafm.data.crops import Crops, Pairs
from hafm.errors import UsageError
from hafm.generate.sampling import LIKELIEST, SamplingSettings
from hafm.generate.seeds import generator_for
from hafm.generate.windows import generate_long
from hafm.stages.bundle import Bundle
from hafm.stages.spec import COARSE, FINE, SEMANTIC, StageSpec
from hafm.stages.stage_model import StageModel
from hafm.stages.token_parts import TokenParts
from hafm.train.state import Position

__all__ = ["SAMPLES_FOLDER", "Sampler"]

SAMPLES_FOLDER = "samples"
_SEED = 0


class Sampler:
    """Makes a sound file of the same held-out clip whenever it is called.

    Args:
        held_out: pairs; the first crop is taken.
        folder: for the files; made when the first is written.
        bundle: whose other stages play on; needed for the semantic stage, and used for no other.

    Raises:
        UsageError: the semantic stage without a bundle.
        BundleMismatch: the bundle's ids mean something else.
    """

    def __init__(
        self, *, spec: StageSpec, held_out: Pairs, parts: TokenParts, folder: Path, bundle: Bundle | None
    ) -> None:
        if spec.name == SEMANTIC.name and bundle is None:
            raise UsageError(
                "samples of the semantic stage need stages that play on: name a bundle with --sample-bundle"
            )
        self.spec, self.parts, self.folder, self.bundle = spec, parts, folder, bundle
        self.clip = Crops(pairs=held_out, spec=spec, seed=_SEED, views=False).take(0, 1)

    def __call__(self, model: StageModel, position: Position) -> None:
        """Writes `step-N.wav`, and `truth.wav` the first time."""
        was_training = model.training
        model.train(False)
        try:
            played = self._run(model, self.clip.conditions, self.clip.guide)
            if self.spec.name == SEMANTIC.name:
                played = self._play_on(played)
            elif self.spec.name == FINE.name:
                played = torch.cat([self.clip.conditions[0], played], dim=1)
        finally:
            model.train(was_training)
        self._write(f"step-{position.step:08d}.wav", played)
        if self.spec.name == SEMANTIC.name or (self.folder / "truth.wav").exists():
            return
        coarse = [self.clip.conditions[0]] if self.spec.name == FINE.name else []
        self._write("truth.wav", torch.cat([*coarse, self.clip.target], dim=1))

    def _run(
        self, model: StageModel, conditions: tuple[Tensor, ...], guide: Float[Tensor, "1 F G"] | None = None
    ) -> Int[Tensor, "1 K F"]:
        device = model.heads.device
        rate = model.spec.target.frame_rate / model.spec.sources[0].frame_rate
        return generate_long(
            model,
            tuple(ids.to(device) for ids in conditions),
            guide=None if guide is None else guide.to(device),
            target_frames=int(conditions[0].shape[2] * rate),
            settings=LIKELIEST if model.spec.pattern == "parallel" else SamplingSettings(),
            generators=[generator_for(seed=_SEED, take=0, name=model.spec.name)],
        ).cpu()

    def _play_on(self, semantic: Int[Tensor, "1 1 F"]) -> Int[Tensor, "1 K F"]:
        assert self.bundle is not None, "checked when built"
        coarse = self.bundle.load_stage(COARSE.name)
        guide = None if coarse.spec.guide is None else self.clip.guide
        codes = self._run(coarse, (self.clip.conditions[0], semantic), guide)
        return torch.cat([codes, self._run(self.bundle.load_stage(FINE.name), (codes,))], dim=1)

    def _write(self, name: str, codes: Int[Tensor, "1 K F"]) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        codec = self.parts.codec
        waveform = codec.decode(codes)[0].clamp(-1, 1)
        write_audio(self.folder / name, waveform, codec.sample_rate)

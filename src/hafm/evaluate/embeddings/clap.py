"""LAION's CLAP as an embedding: what the audio tower of a text and audio model makes of 5 s of music.

In:  a mono waveform `[T]` at the rate of the front end, 48 kHz for the published models. Out: `[N, D]`, unit
vectors, D = 512, one for each whole 5 s, without overlap.

CLAP embeds 10 s at a time. Published code differs in what it gives it:

    SonyCSLParis/audio-metrics   5 s windows without overlap, each repeated to 10 s
    microsoft/fadtk              10 s windows every 1 s, the last ones padded with zeros

We follow the first, which is also the one that accompaniment prompt adherence was published with
(`hafm.evaluate.apa`): each sound counts once, and a 10 s clip still gives two points. Points that overlap by
nine tenths are hardly ten times as many points, and distances know only their number.

Other conventions, where they could be mistaken:

* *Unit length*: the projected output divided by its norm, as both packages have it. transformers normalises
  in `ClapModel.get_audio_features` and does not in `ClapAudioModelWithProjection`.
* *Front end*: the folder's own `ClapFeatureExtractor`, given exactly the 10 s that it wants. So it neither
  pads nor crops, which it would do at random. Level counts.
* *No rounding to 16 bits*, which fadtk does first.
* *Not fused*: a model with fusion marks one sound of a batch as a long one, drawn at random; it is refused.

Weights come from safetensors alone. LAION's own checkpoints (`music_audioset_epoch_15_esc_90.14.pt`) are
pickles under other names; laion/larger_clap_music is the conversion of that kind.

Source: Wu et al., "Large-scale contrastive language-audio pretraining" (2023); Gui et al., "Adapting Fréchet
Audio Distance for generative music evaluation" (2024); weights through the transformers package.
"""

import os
from typing import TYPE_CHECKING, Any

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import normalize

from hafm.errors import UsageError
from hafm.evaluate.embeddings.base import WindowedEmbedding
from hafm.evaluate.embeddings.published import find_published, read_json, read_tensors, take_whole
from hafm.tokens.fingerprint import fingerprint

if TYPE_CHECKING:
    from transformers import ClapAudioModelWithProjection, ClapFeatureExtractor

__all__ = ["ClapEmbedding", "load_clap"]

WINDOW_SECONDS = 5

_TOWER = ("audio_model.", "audio_projection.")
_MODEL_FIELDS = (
    "spec_size",
    "num_mel_bins",
    "window_size",
    "patch_size",
    "patch_stride",
    "depths",
    "num_attention_heads",
    "hidden_act",
    "projection_hidden_act",
    "flatten_patch_embeds",
    "enable_patch_layer_norm",
    "layer_norm_eps",
)
_FRONT_END_FIELDS = (
    "sampling_rate",
    "feature_size",
    "fft_window_size",
    "hop_length",
    "frequency_min",
    "frequency_max",
    "nb_max_samples",
)
_TAKE = "take one without fusion, such as laion/larger_clap_music or laion/clap-htsat-unfused"


class ClapEmbedding(WindowedEmbedding):
    """CLAP as an `Embedding`: a unit vector for each 5 s of sound.

    The model is the audio tower with its projection; it is put into evaluation mode.

    Raises:
        UsageError: a model with fusion, or a front end that does not hear whole windows.
    """

    def __init__(
        self,
        *,
        model: "ClapAudioModelWithProjection",
        front_end: "ClapFeatureExtractor",
        label: str,
        device: torch.device | str = "cpu",
    ) -> None:
        if model.config.enable_fusion or front_end.truncation == "fusion":
            raise UsageError(f"{label} is a CLAP with fusion, whose embeddings are drawn at random; {_TAKE}")
        self.name = f"clap-{label}"
        self.sample_rate = int(front_end.sampling_rate)
        self.dim = int(model.config.projection_dim)
        self.window_samples = WINDOW_SECONDS * self.sample_rate
        self._repeats, rest = divmod(int(front_end.nb_max_samples), self.window_samples)
        if rest or self._repeats < 1:
            heard = front_end.nb_max_samples / self.sample_rate
            raise UsageError(
                f"{label} hears {heard:g} s at a time, not whole windows of {WINDOW_SECONDS} s; {_TAKE}"
            )
        # Any: the annotations in transformers do not fit the way its models are called.
        self._model: Any = model
        self._model.requires_grad_(False).train(False).to(device)
        self._front_end: Any = front_end
        self._device = torch.device(device)
        config = {
            "embedding": "clap",
            "version": 1,
            "window_seconds": WINDOW_SECONDS,
            "model": {field: getattr(model.config, field) for field in _MODEL_FIELDS},
            "front_end": {field: getattr(front_end, field) for field in _FRONT_END_FIELDS},
        }
        self._fingerprint = fingerprint(config, model.state_dict())

    def _rows(self, windows: Float[Tensor, "B window"]) -> Float[Tensor, "B D"]:
        filled = windows.repeat(1, self._repeats).numpy()
        # "rand_trunc" names the mel filters of models without fusion; nothing is left to be cut.
        features = self._front_end(
            list(filled), sampling_rate=self.sample_rate, truncation="rand_trunc", return_tensors="pt"
        ).input_features
        return normalize(self._model(input_features=features.float().to(self._device)).audio_embeds, dim=-1)


def load_clap(
    source: str | os.PathLike[str], *, revision: str | None = None, device: torch.device | str = "cpu"
) -> ClapEmbedding:
    """CLAP with published weights; its text tower is not loaded.

    Args:
        source: a folder with `config.json`, `preprocessor_config.json` and `model.safetensors` of a
            `ClapModel`, or a hub id such as laion/larger_clap_music with a revision.

    Raises:
        UsageError: neither a folder nor a pinned hub id, a file is missing, or it does not hold CLAP.
        BundleNotFound: neither the cache nor the hub has it.
    """
    found = find_published(source, revision=revision, weights=("model.safetensors",))
    kind = read_json(found.folder / "config.json").get("model_type")
    if kind != "clap":
        raise UsageError(f"'{found.folder}' holds a model of type {kind!r}, not 'clap'; {_TAKE}")
    from transformers import ClapAudioModelWithProjection, ClapConfig, ClapFeatureExtractor

    try:
        # The whole configuration, since it overrides what that of its audio tower says of the projection.
        config: Any = ClapConfig.from_pretrained(found.folder, local_files_only=True)
        front_end = ClapFeatureExtractor.from_pretrained(found.folder, local_files_only=True)
        with torch.device("meta"):
            model = ClapAudioModelWithProjection(config.audio_config)
    except Exception as error:  # transformers raises many classes for a file that it cannot use
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise UsageError(f"'{found.folder}' does not describe CLAP ({reason}); {_TAKE}") from error
    tensors = {key: value for key, value in read_tensors(found.weights).items() if key.startswith(_TOWER)}
    take_whole(model, tensors, what=f"'{found.weights}' is not a CLAP of that configuration")
    return ClapEmbedding(model=model, front_end=front_end, label=found.label, device=device)

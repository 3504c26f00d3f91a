"""MERT as an embedding: what a layer of a music model says, averaged over 5 s.

In:  a mono waveform `[T]` at the model's own rate, 24 kHz for v1. Out: `[N, D]`, D = 768 for MERT-v1-95M, one
point for each whole 5 s, without overlap.

MERT is published with code of its own, which is never run here. Its weights go into transformers' HuBERT,
which is the same network but for two fields, which are refused where they are true (`_FOREIGN`).
`attention_relax` is ignored: it shifts the attention's logits, which softmax takes back, and only the encoder
of deepnorm reads it. The sample rate, 24 000 (v1) or 16 000 (v0), is taken from the file.

The tensors have HuBERT's names; the two of the positional convolution's weight norm were renamed by torch
since, `weight_g` and `weight_v` to `parametrizations.weight.original0` and `original1`. All of them are taken
or none. The published weights are for non-commercial use (CC BY-NC 4.0).

Choices, where published code differs:

* *Layer*: the last by default, as fadtk has it. A layer below it is taken raw, as HuBERT's hidden states are;
  the last one after the model's final norm, where it has one. The layer is part of the name.
* *One point for 5 s*, the mean over its 374 frames: 5 s is the context that MERT was trained with, and frames
  of one window are anything but independent. fadtk takes each frame as a point and lets up to 6 minutes
  attend to each other, so that points depend on the whole song.
* *Level*: each window is brought to mean 0 and variance 1 where `preprocessor_config.json` says so
  (`do_normalize`), over that window alone. Then level does not count, as it does for VGGish.

Source: Li et al., "MERT: Acoustic music understanding model with large-scale self-supervised training"
(2024), and its `modeling_MERT.py`; Gui et al., "Adapting Fréchet Audio Distance for generative music
evaluation" (2024); Hsu et al., "HuBERT" (2021), through the transformers package.
"""

import os
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import torch
from jaxtyping import Float
from torch import Tensor

from hafm.errors import UsageError
from hafm.evaluate.embeddings.base import WindowedEmbedding
from hafm.evaluate.embeddings.published import (
    DESCRIPTIONS,
    find_published,
    read_json,
    read_tensors,
    take_whole,
)
from hafm.tokens.fingerprint import fingerprint

if TYPE_CHECKING:
    from transformers import HubertConfig, HubertModel

__all__ = ["MertEmbedding", "hubert_config", "hubert_names", "load_mert"]

WINDOW_SECONDS = 5
VARIANCE_FLOOR = 1e-7  # of the model's own feature extractor

_FIELDS = (
    "hidden_size",
    "num_hidden_layers",
    "num_attention_heads",
    "intermediate_size",
    "hidden_act",
    "layer_norm_eps",
    "do_stable_layer_norm",
    "feat_proj_layer_norm",
    "feat_extract_norm",
    "feat_extract_activation",
    "conv_dim",
    "conv_stride",
    "conv_kernel",
    "conv_bias",
    "conv_pos_batch_norm",
    "num_conv_pos_embeddings",
    "num_conv_pos_embedding_groups",
    "mask_time_prob",
    "mask_feature_prob",
)
"""What decides HuBERT's shape and what it computes. The last two say whether it has a mask vector."""

_FOREIGN = {
    "feature_extractor_cqt": "adds constant-Q features to those of the convolutions",
    "deepnorm": "scales its residuals up",
}
_WEIGHT_NORM = {
    ".weight_g": ".parametrizations.weight.original0",
    ".weight_v": ".parametrizations.weight.original1",
}
_TAKE = "take one without, such as m-a-p/MERT-v1-95M"


class MertEmbedding(WindowedEmbedding):
    """MERT as an `Embedding`: the mean of a layer over each 5 s of sound.

    Args:
        model: its weights as a HuBERT; it is cut after `layer`, put into evaluation mode and frozen.
        normalise: whether each window is brought to mean 0 and variance 1 first.
        layer: 1 to the number of layers; None for the last.

    Raises:
        UsageError: the model has no such layer.
    """

    batch_windows = 4

    def __init__(
        self,
        *,
        model: "HubertModel",
        sample_rate: int,
        normalise: bool,
        label: str,
        layer: int | None = None,
        device: torch.device | str = "cpu",
    ) -> None:
        layers = model.encoder.layers
        self.layer = len(layers) if layer is None else layer
        if not 1 <= self.layer <= len(layers):
            raise UsageError(f"layer {layer} asked for, but {label} has layers 1 to {len(layers)}")
        self._is_last = self.layer == len(layers)
        model.encoder.layers = layers[: self.layer]
        self.name = f"mert-{label}-layer{self.layer}"
        self.sample_rate = sample_rate
        self.window_samples = WINDOW_SECONDS * sample_rate
        self.dim = int(model.config.hidden_size)
        self._normalise = normalise
        # Any: the annotations in transformers do not fit the way its models are called.
        self._model: Any = model
        self._model.requires_grad_(False).train(False).to(device)
        self._device = torch.device(device)
        config = {
            "embedding": "mert",
            "version": 1,
            "window_seconds": WINDOW_SECONDS,
            "sample_rate": sample_rate,
            "normalise": normalise,
            "layer": self.layer,
            "is_last": self._is_last,
            "model": {field: getattr(model.config, field) for field in _FIELDS},
        }
        self._fingerprint = fingerprint(config, model.state_dict())

    def _rows(self, windows: Float[Tensor, "B span"]) -> Float[Tensor, "B D"]:
        windows = windows.to(self._device)
        if self._normalise:
            variance, mean = torch.var_mean(windows, dim=1, keepdim=True, correction=0)
            windows = (windows - mean) / (variance + VARIANCE_FLOOR).sqrt()
        out = self._model(windows, output_hidden_states=True)
        states: Tensor = out.last_hidden_state if self._is_last else out.hidden_states[self.layer]
        return states.mean(dim=1)


def load_mert(
    source: str | os.PathLike[str],
    *,
    revision: str | None = None,
    layer: int | None = None,
    device: torch.device | str = "cpu",
) -> MertEmbedding:
    """MERT with published weights.

    Args:
        source: a folder with `config.json`, `preprocessor_config.json`, and `model.safetensors` or
            `pytorch_model.bin`; or a hub id such as m-a-p/MERT-v1-95M with a revision.
        layer: 1 to the number of layers; None for the last.

    Raises:
        UsageError: neither a folder nor a pinned hub id, a file is missing, it does not hold a MERT that
            HuBERT can represent, or the layer is not there.
        BundleNotFound: neither the cache nor the hub has it.
    """
    found = find_published(source, revision=revision, weights=("model.safetensors", "pytorch_model.bin"))
    values, front_end = (read_json(found.folder / name) for name in DESCRIPTIONS)
    config = hubert_config(values, what=f"'{found.folder}'")
    sample_rate, heard = values.get("sample_rate"), front_end.get("sampling_rate")
    if not isinstance(sample_rate, int) or sample_rate != heard:
        raise UsageError(
            f"'{found.folder}' gives the sample rates {sample_rate} (config.json) and {heard} "
            "(preprocessor_config.json), which should be one; fetch both files from one place"
        )
    from transformers import HubertModel

    with torch.device("meta"):
        model = HubertModel(config)
    take_whole(
        model,
        hubert_names(read_tensors(found.weights)),
        what=f"'{found.weights}' is not a MERT of that configuration",
    )
    return MertEmbedding(
        model=model,
        sample_rate=sample_rate,
        normalise=bool(front_end.get("do_normalize", True)),
        label=found.label,
        layer=layer,
        device=device,
    )


def hubert_config(values: Mapping[str, Any], *, what: str) -> "HubertConfig":
    """HuBERT's configuration for a MERT, where there is one.

    Args:
        values: what MERT's `config.json` holds. A field that it lacks has HuBERT's default, which is MERT's.

    Raises:
        UsageError: a field asks for what HuBERT does not have, or has a value that it cannot take.

    >>> hubert_config({"model_type": "mert_model", "deepnorm": True}, what="this MERT")
    Traceback (most recent call last):
    hafm.errors.UsageError: this MERT has deepnorm = True: it scales its residuals up, which HuBERT ...
    """
    from transformers import HubertConfig

    if values.get("model_type") != "mert_model":
        raise UsageError(
            f"{what} holds a model of type {values.get('model_type')!r}, not 'mert_model'; "
            "give one such as m-a-p/MERT-v1-95M"
        )
    for field, does in _FOREIGN.items():
        if values.get(field, False):
            raise UsageError(
                f"{what} has {field} = {values[field]}: it {does}, which HuBERT does not, and its own code "
                f"is not run; {_TAKE}"
            )
    try:
        return HubertConfig(**{field: values[field] for field in _FIELDS if field in values})
    except Exception as error:  # transformers validates with classes of its own
        reason = " ".join(str(error).split()) or type(error).__name__
        raise UsageError(f"{what} has a configuration that HuBERT cannot take ({reason}); {_TAKE}") from error


def hubert_names(tensors: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
    """Tensors under the names that HuBERT has in today's torch.

    >>> sorted(hubert_names({"conv.weight_g": torch.ones(1), "conv.bias": torch.ones(1)}))
    ['conv.bias', 'conv.parametrizations.weight.original0']
    """
    names = {}
    for key in tensors:
        stem, ending = key[: -len(".weight_g")], key[-len(".weight_g") :]
        names[stem + _WEIGHT_NORM[ending] if ending in _WEIGHT_NORM else key] = tensors[key]
    return names

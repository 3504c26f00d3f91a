"""The image that a net is shown, ends of a chunk included, against frames and a Fourier matrix by hand."""

import numpy as np
import pytest
import torch

from hafm.separate.spectrogram import Spectrogram
from tests.separate import onnx_nets, oracle


@pytest.mark.parametrize("changes", [{}, {"n_fft": 48, "hop": 10, "dim_f": 20}, {"hop": 8, "dim_t": 31}])
def test_the_image_is_the_oracles(changes: dict[str, int]) -> None:
    config = onnx_nets.config(**changes)
    chunk = torch.rand(2, config.chunk_samples) - 0.5
    seen: list[np.ndarray] = []
    back = oracle.transform(chunk.double().numpy(), config, lambda image: seen.append(image) or image)
    image = Spectrogram(config).analyse(chunk)
    assert image.shape == (1, 4, config.dim_f, config.dim_t)
    np.testing.assert_allclose(image[0, :, 3:], seen[0][:, 3:], atol=1e-5)
    image[:, :, :3] = 0
    np.testing.assert_allclose(Spectrogram(config).synthesise(image), back, atol=1e-6)

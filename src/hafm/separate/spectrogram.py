"""A chunk of sound as an MDX-Net wants it, and back.

In:  a chunk [2, C], C = hop * (dim_t - 1). Out: an image [1, 4, dim_f, dim_t]; and back.

    rows of the 4:   0 left, real    1 left, imaginary    2 right, real    3 right, imaginary

Conventions: a periodic Hann window; frames are centred on samples 0, hop, 2 hop, ..., C, and half a window is
mirrored at each end; no scaling. Bins from `dim_f` on are dropped on the way in and zero on the way out. The
way back is weighted least squares, so that without dropped bins it is exact.

Source: Kim et al., "KUIELab-MDX-Net" (2021); Griffin & Lim (1984), eq. 6. A file of its own: it is a
transform, with an oracle in the tests, and knows nothing of nets.
"""

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import pad

from hafm.separate.config import SeparatorConfig

__all__ = ["Spectrogram"]


class Spectrogram:
    """Chunks to images and back, for one configuration.

    Args:
        config: window, hop and shape.

    >>> config = SeparatorConfig(n_fft=64, hop=16, dim_f=33, dim_t=17, compensate=1.0,
    ...                          primary_stem="vocals", sample_rate=8_000)
    >>> transform, chunk = Spectrogram(config), torch.rand(2, 256)
    >>> image = transform.analyse(chunk)
    >>> image.shape, torch.allclose(transform.synthesise(image), chunk, atol=1e-6)
    (torch.Size([1, 4, 33, 17]), True)
    """

    def __init__(self, config: SeparatorConfig) -> None:
        self._config = config
        self._window = torch.hann_window(config.n_fft)

    def analyse(self, chunk: Float[Tensor, "2 C"]) -> Float[Tensor, "1 4 dim_f dim_t"]:
        """The image of a chunk.

        Shape:
            `[2, hop * (dim_t - 1)] -> [1, 4, dim_f, dim_t]`
        """
        config = self._config
        spectrum = torch.stft(
            chunk,
            config.n_fft,
            hop_length=config.hop,
            window=self._window,
            center=True,
            pad_mode="reflect",
            return_complex=True,
        )[:, : config.dim_f]
        parts = torch.view_as_real(spectrum).permute(0, 3, 1, 2)  # [2 sides, 2 parts, dim_f, dim_t]
        return parts.reshape(1, 4, config.dim_f, config.dim_t)

    def synthesise(self, image: Float[Tensor, "1 4 dim_f dim_t"]) -> Float[Tensor, "2 C"]:
        """The chunk of an image.

        Shape:
            `[1, 4, dim_f, dim_t] -> [2, hop * (dim_t - 1)]`
        """
        config = self._config
        parts = image.reshape(2, 2, config.dim_f, config.dim_t).permute(0, 2, 3, 1).contiguous()
        spectrum = pad(torch.view_as_complex(parts), (0, 0, 0, config.num_bins - config.dim_f))
        chunk: Tensor = torch.istft(
            spectrum,
            config.n_fft,
            hop_length=config.hop,
            window=self._window,
            center=True,
            length=config.chunk_samples,
        )
        return chunk

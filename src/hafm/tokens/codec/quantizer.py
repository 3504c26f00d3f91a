"""Residual vector quantisation: K codebooks on unit spheres, each coding what the earlier ones left.

In:  latent [B, F, D]. Out: codes [B, K, F] and the latent they stand for, [B, F, D].

    residual_1 = latent
    z_k = unit(in_k(residual_k));  code_k = nearest entry to z_k
    part_k = out_k(entry);         residual_{k+1} = residual_k - part_k
    latent(codes) = part_1 + ... + part_k                                   any k <= K

Conventions: entries have length 1, so "nearest" is "largest inner product". Codebooks are buffers: whoever
trains moves them (`recipes.builtin.codec.codebooks`); no gradient reaches them here.

Source: residual stages, Zeghidour et al., "SoundStream", 2021; low-dimensional normalised codes, Yu et al.,
"Vector-quantized image modelling with improved VQGAN", 2022, and Kumar et al., "High-fidelity audio
compression with improved RVQGAN", 2023.
"""

from typing import NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional as F

__all__ = ["Quantised", "ResidualQuantizer"]


class Quantised(NamedTuple):
    """What `ResidualQuantizer.forward` returns."""

    latent: Float[Tensor, "B F D"]
    """The coded latent; gradients pass to the encoder as if nothing had been rounded."""
    codes: Int[Tensor, "B K F"]
    points: Float[Tensor, "K B F C"]
    """z_k: the unit vectors that were looked up, with gradient."""
    entries: Float[Tensor, "K B F C"]
    """The entries that they were rounded to."""


class ResidualQuantizer(nn.Module):
    """K residual codebooks.

    Args:
        width: D, channels of the latent.
        num_codebooks: K.
        cardinality: V, entries per codebook.
        codebook_dim: C, dimensions of an entry.

    >>> quantizer = ResidualQuantizer(width=16, num_codebooks=3, cardinality=32, codebook_dim=4)
    >>> result = quantizer(torch.randn(2, 5, 16))
    >>> result.codes.shape
    torch.Size([2, 3, 5])
    >>> torch.allclose(result.latent, quantizer.latent_of(result.codes), atol=1e-6)
    True
    """

    codebooks: Float[Tensor, "K V C"]

    def __init__(self, *, width: int, num_codebooks: int, cardinality: int, codebook_dim: int) -> None:
        super().__init__()
        self.project_in = nn.ModuleList(nn.Linear(width, codebook_dim) for _ in range(num_codebooks))
        self.project_out = nn.ModuleList(nn.Linear(codebook_dim, width) for _ in range(num_codebooks))
        self.register_buffer(
            "codebooks", F.normalize(torch.randn(num_codebooks, cardinality, codebook_dim), dim=-1)
        )

    def forward(self, latent: Float[Tensor, "B F D"], active: Int[Tensor, " B"] | None = None) -> Quantised:
        """Quantise.

        Args:
            latent: [B, F, D].
            active: how many codebooks of each row add to `latent` in the result; None is all. Every
                codebook is looked up in any case, so that all of them learn from every row.
        """
        residual, total = latent, torch.zeros_like(latent)
        codes, points, entries = [], [], []
        for k, (project_in, project_out) in enumerate(zip(self.project_in, self.project_out, strict=True)):
            # Nearest entries are found in full precision: under autocast, ties would be decided by rounding.
            with torch.autocast(latent.device.type, enabled=False):
                point = F.normalize(project_in(residual.float()), dim=-1)
                ids = nearest(point.detach(), self.codebooks[k])
                entry = self.codebooks[k][ids]
                part = project_out(point + (entry - point).detach())
            residual = residual - part
            total = total + (part if active is None else part * (active > k).view(-1, 1, 1))
            codes.append(ids)
            points.append(point)
            entries.append(entry)
        return Quantised(total, torch.stack(codes, dim=1), torch.stack(points), torch.stack(entries))

    def latent_of(self, codes: Int[Tensor, "B k F"]) -> Float[Tensor, "B F D"]:
        """The latent that the first k codebooks' codes stand for.

        Shape:
            [B, k, F] -> [B, F, D], 1 <= k <= K
        """
        parts = (
            project_out(self.codebooks[k][codes[:, k]])
            for k, project_out in zip(range(codes.shape[1]), self.project_out, strict=False)
        )
        return torch.stack(list(parts)).sum(0)


def nearest(points: Float[Tensor, "... C"], entries: Float[Tensor, "V C"]) -> Int[Tensor, "..."]:
    """Index of the entry with the largest inner product, of the lowest index if several have it.

    >>> nearest(torch.tensor([[0.9, 0.1]]), torch.tensor([[0.0, 1.0], [1.0, 0.0]]))
    tensor([1])
    """
    return (points @ entries.T).argmax(-1)

"""How codebooks are trained: k-means to begin with, moving averages from then on, and no entry left unused.

In:  the unit vectors that the quantiser looked up, and the ids it found. Out: codebooks, moved in place.

    start    spherical k-means, codebook by codebook, on the residuals of a few batches
    a step   mass_v = d mass_v + (1-d) count_v;  sum_v = d sum_v + (1-d) sum of the points at v
             entry_v = unit(sum_v)
    restart  an entry whose mass falls under `restart_share` of the mean goes to a random point of the batch

Conventions: entries are unit vectors, so the mean direction replaces the mean. Random choices come from a
generator that is a function of (seed, step).

Source: van den Oord et al., "Neural discrete representation learning", 2017, appendix A (moving averages);
restarts from the current batch: Dhariwal et al., "Jukebox", 2020.
"""

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional as F

from hafm.tokens.codec.quantizer import Quantised, ResidualQuantizer, nearest

__all__ = ["CodebookAverages", "initialise_codebooks", "spherical_kmeans"]

SMALLEST_VARIANCE = 1e-6


class CodebookAverages(nn.Module):
    """The running masses and sums behind a quantiser's codebooks; a module, so that checkpoints hold it.

    Args:
        quantizer: whose codebooks are moved.
        decay: d, how much of an average stays at each step, 0 to 1 exclusive.
        restart_share: entries with less than this share of the mean mass start again.
    """

    mass: Float[Tensor, "K V"]
    sums: Float[Tensor, "K V C"]

    def __init__(
        self, quantizer: ResidualQuantizer, *, decay: float = 0.95, restart_share: float = 0.2
    ) -> None:
        super().__init__()
        if not (0 < decay < 1 and 0 <= restart_share < 1):
            raise ValueError(
                f"decay={decay} must be between 0 and 1, restart_share={restart_share} from 0 to below 1"
            )
        self.decay, self.restart_share = decay, restart_share
        self.register_buffer("mass", torch.ones(quantizer.codebooks.shape[:2]))
        self.register_buffer("sums", quantizer.codebooks.clone())

    @torch.no_grad()
    def update(self, quantizer: ResidualQuantizer, quantised: Quantised, generator: torch.Generator) -> int:
        """Move the codebooks towards what was looked up.

        Args:
            quantizer: its codebooks are changed in place.
            quantised: one batch.
            generator: on the CPU; chooses where restarted entries go.

        Returns:
            How many entries were restarted.
        """
        num_codebooks, cardinality, dim = self.sums.shape
        points = quantised.points.detach().float().reshape(num_codebooks, -1, dim)
        ids = quantised.codes.transpose(0, 1).reshape(num_codebooks, -1)
        share = 1 - self.decay
        counts = torch.zeros_like(self.mass).scatter_add_(1, ids, torch.ones_like(points[..., 0]))
        added = torch.zeros_like(self.sums).scatter_add_(1, ids[..., None].expand_as(points), points)
        self.mass.lerp_(counts, share)
        self.sums.lerp_(added, share)

        mean_mass = points.shape[1] / cardinality
        dead = self.mass < self.restart_share * mean_mass
        for k in dead.any(1).nonzero().flatten().tolist():
            where = dead[k].nonzero().flatten()
            chosen = torch.randint(points.shape[1], (len(where),), generator=generator).to(points.device)
            self.sums[k, where] = points[k, chosen] * mean_mass
            self.mass[k, where] = mean_mass
        quantizer.codebooks.copy_(F.normalize(self.sums, dim=-1))
        return int(dead.sum())


@torch.no_grad()
def initialise_codebooks(
    quantizer: ResidualQuantizer,
    latents: Float[Tensor, "N D"],
    *,
    iterations: int = 4,
    generator: torch.Generator,
) -> None:
    """Start every codebook where it takes most away from the residual that it gets, in place.

    Codebook by codebook: `project_in` becomes the C main directions of the residuals, each to variance 1,
    so that points spread over the whole sphere; the entries their k-means; `project_out` the least-squares
    map from entries back to residuals. What is left goes to the next codebook. (With random projections all
    codebooks would at first code the same.)

    Args:
        quantizer: codebooks and projections are replaced.
        latents: [N, D], several times as many as there are entries.
        iterations: of k-means.
        generator: on the CPU.
    """
    dim = quantizer.codebooks.shape[2]
    residual = latents.float()
    for k, (project_in, project_out) in enumerate(
        zip(quantizer.project_in, quantizer.project_out, strict=True)
    ):
        # LAPACK rounds differently from call to call (by where its buffers lie); in float64 that stays
        # below what float32 keeps, so that two runs of one seed begin alike.
        exact = residual.double()
        variances, directions = torch.linalg.eigh(torch.cov(exact.T))
        scaled = directions[:, -dim:] * variances[-dim:].clamp_min(SMALLEST_VARIANCE).rsqrt()
        project_in.weight.copy_(scaled.T)
        project_in.bias.copy_(-exact.mean(0) @ scaled)
        points = F.normalize(project_in(residual), dim=-1)
        entries = spherical_kmeans(
            points, quantizer.codebooks.shape[1], iterations=iterations, generator=generator
        )
        quantizer.codebooks[k] = entries
        coded = entries[nearest(points, entries)]
        with_ones = torch.cat((coded, torch.ones_like(coded[:, :1])), dim=1).double()
        solution = torch.linalg.lstsq(with_ones, exact).solution
        project_out.weight.copy_(solution[:-1].T)
        project_out.bias.copy_(solution[-1])
        residual = residual - project_out(coded)


def spherical_kmeans(
    points: Float[Tensor, "N C"], num_entries: int, *, iterations: int, generator: torch.Generator
) -> Float[Tensor, "V C"]:
    """Unit vectors that lie in the middle of the points nearest to them; empty ones go to a random point.

    >>> points = F.normalize(torch.tensor([[1.0, 0.1], [1.0, -0.1], [0.1, 1.0], [-0.1, 1.0]]), dim=-1)
    >>> spherical_kmeans(points, 2, iterations=9, generator=torch.Generator().manual_seed(0)).abs().sum(0)
    tensor([1., 1.])
    """
    order = torch.randperm(len(points), generator=generator)
    repeats = -(-num_entries // len(points))
    entries = points[order.repeat(repeats)[:num_entries].to(points.device)].clone()
    for _ in range(iterations):
        ids: Int[Tensor, " N"] = nearest(points, entries)
        sums = torch.zeros_like(entries).index_add_(0, ids, points)
        empty = torch.bincount(ids, minlength=num_entries) == 0
        chosen = torch.randint(len(points), (int(empty.sum()),), generator=generator).to(points.device)
        sums[empty] = points[chosen]
        entries = F.normalize(sums, dim=-1)
    return entries

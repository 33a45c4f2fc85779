"""Numerical rank of a layer: how many directions carry more than a thousandth of the largest variance.

The trap: the threshold is on *variances*, the eigenvalues of the centred covariance. On the singular values of the
features themselves the same 1e-3 is 1e-6 on variances, and a layer that collapsed to 43 directions counts 485. Features
are centred (the mean would be one dominant direction and lower the rank) and not standardised (that changes the spectrum).
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from common.analysis.moments import Moments
from common.analysis.passes import wide
from common.errors import Problem

THRESHOLD = 1e-3
FEWEST = 100


@dataclass(frozen=True)
class Rank:
    """Numerical rank with what bounds it, min(features, samples - 1); variances [min(features, samples)], largest first."""

    rank: int
    features: int
    samples: int
    spectrum: Tensor


class Spectrum:
    """Streaming variances of a layer: rows while they are fewer than the features, X^T X from then on.

    So it holds at most 8 d^2 bytes for d features, and never more than the samples themselves would need.
    """

    def __init__(self, products: bool = True) -> None:
        self.rows: list[Tensor] | None = []
        self.held = 0
        self.moments = Moments(products=products)

    def add(self, x: Tensor) -> None:
        """Takes in features [B, d]."""
        if self.rows is None:
            self.moments.add(x)
            return
        self.rows.append(x)
        self.held += len(x)
        if self.held > x.shape[1]:
            for part in self.rows:
                self.moments.add(part)
            self.rows = None

    def variances(self) -> tuple[Tensor, int, int]:
        """(variances, largest first, features, samples). Errors: Problem for fewer than two samples, NaN, infinity."""
        if self.rows is None:
            values, n = torch.linalg.eigvalsh(self.moments.covariance()), self.moments.n
            return values.flip(0), len(values), n
        x = wide(torch.cat(self.rows)) if self.rows else torch.zeros(0, 1)
        if len(x) < 2:
            raise Problem(f"The rank needs at least 2 samples, given are {len(x)}.")
        x = x - x.mean(0)
        if not bool(torch.isfinite(x).all()):
            raise Problem("Its features hold NaN or infinity.")
        # fewer samples than features: X X^T has the same variances, and zeros for the rest
        return torch.linalg.eigvalsh(x @ x.T / len(x)).flip(0), x.shape[1], len(x)

    def rank(self, threshold: float = THRESHOLD, fewest: int = 2) -> Rank:
        """The numerical rank. Errors: Problem when the samples are fewer than `fewest`, or so few that they bound it."""
        values, features, samples = self.variances()
        if samples < fewest:
            raise Problem(f"The rank needs at least {fewest} samples to mean anything, given are {samples}.")
        largest = float(values[0])
        rank = int((values > threshold * largest).sum()) if largest > 0 else 0
        if rank >= samples - 1 and samples - 1 < features and fewest > 2:
            raise Problem(
                f"{samples} samples are too few: the rank found, {rank}, is their number less one and not the layer's "
                f"({features} features). Give more samples, or take fewer features (max_features)."
            )
        return Rank(rank, features, samples, values)


def numerical_rank(x: Tensor, threshold: float = THRESHOLD) -> Rank:
    """The numerical rank of features [n, d], n >= 2."""
    spectrum = Spectrum()
    for part in x.split(1024):
        spectrum.add(part)
    return spectrum.rank(threshold)

"""Linear probes in closed form: ridge regression on standardised features, its strength chosen on held-out samples.

Every sample passes the trunk once: the fitted part first, then the held-out part, which chooses the strength and joins
the sums for the refit.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from common.analysis.moments import Moments
from common.analysis.passes import about, stream, wide
from common.analysis.samples import Samples
from common.analysis.taps import Pass
from common.rng import generator

DEAD = 1e-12  # a feature with less than this share of the largest variance is constant but for rounding


@dataclass(frozen=True)
class Ridge:
    """The closed form. strengths: multiples of n on the diagonal of Z^T Z; hold_out: share that chooses among them."""

    strengths: tuple[float, ...] = (1e-4, 1e-3, 1e-2, 1e-1, 1.0)
    hold_out: float = 0.2
    seed: int = 0


class Fitted(NamedTuple):
    """Weight [d, K] and bias [K] (float64) for raw features, the strength chosen and its accuracy on the held-out part."""

    weight: Tensor
    bias: Tensor
    strength: float
    accuracy: float


class _Standard(NamedTuple):
    """Correlations R [d, d], Z^T T / n [d, K], mean of T [K], and mean and 1 / std [d] that standardise raw features."""

    R: Tensor
    cross: Tensor
    level: Tensor
    mean: Tensor
    inverse: Tensor


def _standard(m: Moments) -> _Standard:
    covariance = m.covariance()
    variance = covariance.diagonal().clamp(min=0)
    alive = variance > DEAD * variance.max()
    inverse = torch.where(alive, variance.clamp(min=1e-300).rsqrt(), torch.zeros_like(variance))
    # targets are one-hot minus 1/K; Z is centred, so only their level meets the constant
    share = m.shares
    cross = (m.sums / m.n - share.unsqueeze(1) * m.mean).T * inverse.unsqueeze(1)
    assert m.shift is not None
    R = covariance * inverse * inverse.unsqueeze(1)
    return _Standard(R, cross, share - 1 / m.classes, m.mean + m.shift, inverse)


def _raw(s: _Standard, weight: Tensor) -> tuple[Tensor, Tensor]:
    """Weight and bias for raw features, of a weight for standardised ones."""
    scaled = weight * s.inverse.unsqueeze(1)
    return scaled, s.level - s.mean @ scaled


def path(m: Moments, strengths: Sequence[float]) -> list[tuple[Tensor, Tensor]]:
    """(weight [d, K], bias [K]) for each strength, from one eigendecomposition."""
    s = _standard(m)
    values, vectors = torch.linalg.eigh(s.R)
    turned = vectors.T @ s.cross
    return [_raw(s, vectors @ (turned / (values.clamp(min=0) + t).unsqueeze(1))) for t in strengths]


def solve(m: Moments, strength: float) -> tuple[Tensor, Tensor]:
    """(weight [d, K], bias [K]) for one strength: (Z^T Z + strength n I)^-1 Z^T T."""
    s = _standard(m)
    factor = torch.linalg.cholesky(s.R + strength * torch.eye(len(s.R), dtype=s.R.dtype, device=s.R.device))
    return _raw(s, torch.cholesky_solve(s.cross, factor))


def split(n: int, how: Ridge) -> tuple[np.ndarray, np.ndarray]:
    """(rows to fit on, held-out rows), both in order."""
    held = np.zeros(n, dtype=bool)
    held[generator(how.seed, "ridge hold-out").permutation(n)[: max(1, round(how.hold_out * n))]] = True
    return np.flatnonzero(~held), np.flatnonzero(held)


def fit_group(
    trunk: Callable[[Tensor], Pass], names: list[str], train: Samples, y: Tensor, how: Ridge, batch: int
) -> dict[str, Fitted]:
    """A fitted probe per layer. y: class positions of the training samples. Errors: Problem, NaN in the features."""
    fit_rows, held = split(len(train), how)
    moments = {name: Moments(int(y.max()) + 1) for name in names}
    for rows, found in stream(trunk, train, batch, fit_rows):
        for name, x in found.features.items():
            moments[name].add(x, y[torch.from_numpy(rows)])
    paths = {}
    for name, m in moments.items():
        with about(name):
            paths[name] = path(m, how.strengths)
    right = {name: torch.zeros(len(how.strengths), dtype=torch.int64) for name in names}
    for rows, found in stream(trunk, train, batch, held):
        labels = y[torch.from_numpy(rows)]
        for name, x in found.features.items():
            guesses = torch.stack([(wide(x) @ weight + bias).argmax(1) for weight, bias in paths[name]])
            right[name] += (guesses.cpu() == labels).sum(1)
            moments[name].add(x, labels)
    chosen = {}
    for name, m in moments.items():
        # of equally good strengths the largest
        best = max(range(len(how.strengths)), key=lambda k: (int(right[name][k]), how.strengths[k]))
        strength = how.strengths[best]
        with about(name):
            weight, bias = solve(m, strength)
        chosen[name] = Fitted(weight, bias, strength, float(right[name][best]) / len(held))
    return chosen

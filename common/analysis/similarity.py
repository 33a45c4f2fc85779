"""Linear centred kernel alignment between layers (Kornblith et al. 2019; debiased: Song et al. 2012), in float64.

Over n samples and L layers it works through blocks of the n x n Gram matrices, so that none of them is ever whole: beside
the features it holds L x 256 x n numbers.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from common.analysis.passes import wide
from common.errors import Problem

BLOCK = 256


def linear_cka(x: Tensor, y: Tensor, debiased: bool = False) -> float:
    """Linear CKA of two sets of features [n, d1], [n, d2] of the same samples: 1 for rotated and scaled copies.

    Debiased, it is 0 in the mean for independent features (and can be below); biased, it grows with d / n.
    """
    return float(cka([x, y], debiased)[0, 1])


def cka(features: Sequence[Tensor], debiased: bool = False) -> Tensor:
    """float64 [L, L]: linear CKA of each pair of layers, features [n, d] each; NaN for a layer that is constant.

    Errors: Problem for fewer than four samples, or layers with different samples.
    """
    n = len(features[0])
    if n < 4 or any(len(x) != n for x in features):
        raise Problem(
            f"CKA needs the same 4 or more samples in every layer, given are {sorted(set(map(len, features)))}."
        )
    centred = [_scaled(wide(x) - wide(x).mean(0)) for x in features]
    offsets = [_offset(x) if debiased else None for x in centred]
    products = centred[0].new_zeros(len(features), len(features))
    for start in range(0, n, BLOCK):
        rows = slice(start, min(start + BLOCK, n))
        blocks = torch.stack([_gram(x, rows, o) for x, o in zip(centred, offsets, strict=True)])
        corner = blocks[:, :, : rows.stop - start].flatten(1)
        rest = blocks[:, :, rows.stop - start :].flatten(
            1
        )  # what lies right of the diagonal counts for what lies below
        products += corner @ corner.T + 2 * (rest @ rest.T)
    norms = products.diagonal().sqrt()
    return (products / torch.outer(norms, norms)).cpu()


def _scaled(x: Tensor) -> Tensor:
    """Unit norm: CKA does not see the scale, and squares of squares of large features could overflow."""
    norm = torch.linalg.matrix_norm(x)
    return x / norm if norm > 0 else x


def _offset(x: Tensor) -> tuple[Tensor, Tensor]:
    """(row sums / (n - 2), all / ((n - 1) (n - 2))) of the Gram matrix without its diagonal."""
    n = len(x)
    sums = x @ x.sum(0) - x.square().sum(1)
    return sums / (n - 2), sums.sum() / ((n - 1) * (n - 2))


def _gram(x: Tensor, rows: slice, offset: tuple[Tensor, Tensor] | None) -> Tensor:
    """[rows, n - rows.start]: those rows of the centred Gram matrix from the diagonal on; debiased: U-centred."""
    gram = x[rows] @ x[rows.start :].T
    if offset is not None:
        sums, total = offset
        gram += total - sums[rows].unsqueeze(1) - sums[rows.start :]
        gram.diagonal().zero_()
    return gram

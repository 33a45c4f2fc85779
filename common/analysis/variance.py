"""Variance within and between classes, in one pass (tunnel effect, Fig. 3)."""

from typing import NamedTuple

import torch
from torch import Tensor

from common.analysis.moments import Moments


class Variances(NamedTuple):
    """within = (1/n) sum_c sum_{i in c} ||x_i - m_c||^2, between = (1/n) sum_c n_c ||m_c - m||^2, and their ratio.

    The scale of features changes from layer to layer, so only the ratio compares layers (infinite when all class means
    are one).
    """

    within: float
    between: float

    @property
    def ratio(self) -> float:
        """within / between."""
        return self.within / self.between if self.between > 0 else float("inf")


def variances(moments: Moments) -> Variances:
    """Both variances from streaming sums per class; products are not needed."""
    means, share = moments.class_means(), moments.shares.unsqueeze(1)
    # total = within + between holds exactly, and both are sums of non-negative terms
    within = moments.squares / moments.n - float((share * means.square()).sum())
    between = float((share * (means - moments.mean).square()).sum())
    return Variances(max(within, 0.0), between)


def class_variances(x: Tensor, y: Tensor) -> Variances:
    """Both variances of features [n, d] with labels [n]."""
    classes, positions = torch.unique(y, return_inverse=True)
    moments = Moments(len(classes), products=False)
    moments.add(x, positions)
    return variances(moments)

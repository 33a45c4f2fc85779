"""Actions as tokens: each dimension of [-1, 1] in 64 equal bins, a bin standing for its centre (README, deviation D3)."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor

BINS = 64
WIDTH = 2 / BINS
UNUSED = -100  # the label of an action that does not count: cross_entropy passes it over
REST = BINS // 2  # the bin of 0, which fills the dimensions that a task does not have


def bins(actions: "Tensor") -> "Tensor":
    """int64: the bin of each action; what lies outside of [-1, 1] has the first or last one."""
    return ((actions + 1) / WIDTH).floor_().clamp_(0, BINS - 1).long()


def centres(tokens: "Tensor") -> "Tensor":
    """float32: the action that a bin stands for."""
    return -1 + (tokens.float() + 0.5) * WIDTH

"""First and second moments of a layer's features, per class, in one pass and float64."""

import torch
from torch import Tensor

from common.analysis.passes import wide
from common.errors import Problem


class Moments:
    """Streaming sums over samples x [B, d] with class positions y [B].

    counts [K], sums [K, d], squares (sum of ||x||^2) and, with `products`, X^T X [d, d]; all of x minus `shift`, the
    mean of the first batch: sums of squares of numbers far from zero would lose the digits that the variance lives in.
    """

    def __init__(self, classes: int = 1, products: bool = True) -> None:
        self.classes, self.with_products = classes, products
        self.shift: Tensor | None = None

    def add(self, x: Tensor, y: Tensor | None = None) -> None:
        """Takes in a batch; without labels all samples are of one class."""
        x = wide(x)
        if self.shift is None:
            self._begin(x)
        assert self.shift is not None
        x = x - self.shift
        y = torch.zeros(len(x), dtype=torch.int64) if y is None else y
        y = y.to(x.device)
        self.counts += torch.bincount(y, minlength=self.classes)
        # a matrix product and not index_add: the same sums in the same order on every device
        self.sums += torch.nn.functional.one_hot(y, self.classes).to(x.dtype).T @ x
        self.squares += float((x * x).sum())
        if self.with_products:
            self.products.addmm_(x.T, x)

    def _begin(self, x: Tensor) -> None:
        self.shift = x.mean(0)
        self.counts = torch.zeros(self.classes, dtype=torch.int64, device=x.device)
        self.sums = x.new_zeros(self.classes, x.shape[1])
        self.squares = 0.0
        self.products = x.new_zeros(x.shape[1], x.shape[1]) if self.with_products else x.new_zeros(0)

    @property
    def n(self) -> int:
        """Samples taken in."""
        return 0 if self.shift is None else int(self.counts.sum())

    @property
    def shares(self) -> Tensor:
        """[K], float64: each class's share of the samples."""
        return self.counts.double() / self.n

    @property
    def mean(self) -> Tensor:
        """[d], of the features less `shift`."""
        return self.sums.sum(0) / self.n

    def covariance(self) -> Tensor:
        """[d, d], divided by n. Errors: Problem when the features hold NaN or infinity."""
        found = self.products / self.n - torch.outer(self.mean, self.mean)
        if not bool(torch.isfinite(found).all()):
            raise Problem("Its features hold NaN or infinity.")
        return found

    def class_means(self) -> Tensor:
        """[K, d] less `shift`; zero for a class without samples."""
        return self.sums / self.counts.clamp(min=1).unsqueeze(1)

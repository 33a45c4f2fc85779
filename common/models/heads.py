"""Output layers: linear with a bias, or with rows of unit norm and no bias."""

from typing import Literal

import torch
from torch import Tensor, nn

from common.models.small import Net


class WeightNorm(nn.Linear):
    """Logits from rows divided by their norm (SCoLe, released code)."""

    def __init__(self, features: int, classes: int) -> None:
        super().__init__(features, classes, bias=False)

    def forward(self, features: Tensor) -> Tensor:
        """[B, features] -> [B, classes]."""
        return nn.functional.linear(features, self.weight / self.weight.norm(dim=1, keepdim=True))


def headed(trunk: nn.Module, shape: tuple[int, int, int], classes: int, head: Literal["linear", "weightnorm"]) -> Net:
    """A network of that trunk and head; the trunk's features are counted on an empty image."""
    with torch.no_grad():
        features = trunk.eval()(torch.zeros(1, *shape)).shape[1]
    net = Net(trunk.train(), features, classes)
    if head == "weightnorm":
        net.head = WeightNorm(features, classes)
    return net

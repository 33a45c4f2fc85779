"""The deep perceptron of the tunnel effect: equal widths, He initialisation, no normalisation and no dropout."""

import math
from typing import Literal

from torch import nn

from common.models.layered import Layered, fc_layer, he


def mlp_he(
    shape: tuple[int, int, int],
    classes: int,
    *,
    width: int = 1024,
    depth: int = 12,
    heads: Literal["single", "multi"] = "single",
) -> Layered:
    """A perceptron of `depth` linear layers, the first and the last counted: hidden layers trunk.fc1 ... fc(depth - 1)."""
    trunk = nn.Sequential()
    trunk.add_module("flat", nn.Flatten())
    before = math.prod(shape)
    for number in range(1, depth):
        trunk.add_module(f"fc{number}", fc_layer(before, width))
        before = width
    return he(Layered(trunk, before, classes))

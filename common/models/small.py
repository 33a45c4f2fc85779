"""Small networks: the two-layer perceptron of the papers' MNIST runs, and a CNN small enough for a laptop.

Every network has `trunk` (input -> features) and `head` (features -> logits); analyses and parents rely on the names.
"""

import itertools
import math
from typing import Literal

import torch
from torch import Tensor, nn


class Net(nn.Module):
    """Logits [B, classes] from images [B, C, H, W]: a trunk and one linear layer over all classes.

    With several heads (task-incremental) the same linear layer is read in columns, one block a task, which is the
    same function as one linear layer per task.
    """

    def __init__(self, trunk: nn.Module, features: int, classes: int) -> None:
        super().__init__()
        self.trunk = trunk
        self.head = nn.Linear(features, classes)

    def forward(self, images: Tensor) -> Tensor:
        """Logits [B, classes] of float images [B, C, H, W]."""
        return self.head(self.trunk(images))


def mlp(
    shape: tuple[int, int, int],
    classes: int,
    *,
    hidden: list[int] = [400, 400],  # noqa: B006  (read from source, never changed)
    heads: Literal["single", "multi"] = "single",
) -> Net:
    """A perceptron with ReLU after each hidden layer (official code of the stability gap: 784-400-400-C, 478,410 parameters)."""
    widths = [math.prod(shape), *hidden]
    layers: list[nn.Module] = [nn.Flatten()]
    for before, after in itertools.pairwise(widths):
        layers += [nn.Linear(before, after), nn.ReLU()]
    return Net(nn.Sequential(*layers), widths[-1], classes)


def small_cnn(
    shape: tuple[int, int, int],
    classes: int,
    *,
    width: int = 16,
    norm: Literal["batch", "group", "none"] = "batch",
    heads: Literal["single", "multi"] = "single",
) -> Net:
    """Three 3x3 convolutions of stride 2 (width, 2 width, 4 width), normalisation, ReLU, global average pool."""
    layers: list[nn.Module] = []
    before = shape[0]
    for after in (width, 2 * width, 4 * width):
        layers += [nn.Conv2d(before, after, 3, stride=2, padding=1, bias=norm == "none"), _norm(norm, after), nn.ReLU()]
        before = after
    net = Net(nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten()), before, classes)
    return net.to(memory_format=torch.channels_last)  # type: ignore[call-overload]


def _norm(kind: str, channels: int) -> nn.Module:
    if kind == "batch":
        return nn.BatchNorm2d(channels)
    return nn.GroupNorm(4, channels) if kind == "group" else nn.Identity()

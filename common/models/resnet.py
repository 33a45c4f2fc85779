"""The slim ResNet-18 of continual learning: GEM's reduced network, as the stability gap uses it."""

from typing import Literal

import torch
from torch import Tensor, nn

from common.models.small import Net


class Block(nn.Module):
    """Two 3x3 convolutions with BatchNorm and a shortcut."""

    def __init__(self, before: int, after: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(before, after, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(after)
        self.conv2 = nn.Conv2d(after, after, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(after)
        self.shortcut: nn.Module = nn.Identity()
        if stride != 1 or before != after:
            self.shortcut = nn.Sequential(nn.Conv2d(before, after, 1, stride, bias=False), nn.BatchNorm2d(after))

    def forward(self, x: Tensor) -> Tensor:
        """[B, before, H, W] -> [B, after, H/stride, W/stride]."""
        out = self.bn2(self.conv2(torch.relu(self.bn1(self.conv1(x)))))
        return torch.relu(out + self.shortcut(x))


def slim_resnet18(
    shape: tuple[int, int, int], classes: int, *, width: int = 20, heads: Literal["single", "multi"] = "single"
) -> Net:
    """ResNet-18 of 20-40-80-160 channels, 3x3 stem of stride 1, no max-pool, average pool of 4.

    As in the official code of the stability gap (src/model.py).
    Parameters with 10 / 100 / 126 classes at 32 / 84 / 96 pixels: 1.095 M / 1.157 M / 1.275 M.
    """
    layers: list[nn.Module] = [nn.Conv2d(shape[0], width, 3, 1, 1, bias=False), nn.BatchNorm2d(width), nn.ReLU()]
    before = width
    for stage in range(4):
        after = width * 2**stage
        layers += [Block(before, after, 1 if stage == 0 else 2), Block(after, after, 1)]
        before = after
    trunk = nn.Sequential(*layers, nn.AvgPool2d(4), nn.Flatten())
    with torch.no_grad():
        features = trunk.eval()(torch.zeros(1, *shape)).shape[1]
    net = Net(trunk.train(), features, classes)
    return net.to(memory_format=torch.channels_last)  # type: ignore[call-overload]

"""ResNet-18 and -34 with the switches of the tunnel effect: stem, shortcuts, normalisation, width.

torchvision's blocks add the shortcut in place, which would change what a hook on the second convolution has kept.
"""

from typing import Literal

import torch
from torch import Tensor, nn

from common.models.layered import Layered, conv_layer, he, norm_layer
from common.networks import RESNET_STAGES


class BasicBlock(nn.Module):
    """Two 3x3 convolutions with normalisation and, where wanted, a shortcut (He et al. 2016, Fig. 5)."""

    def __init__(self, before: int, after: int, stride: int, norm: str, skips: bool) -> None:
        super().__init__()
        bias = norm == "none"
        self.skips = skips
        self.conv1 = nn.Conv2d(before, after, 3, stride, 1, bias=bias)
        self.norm1 = norm_layer(norm, after)
        self.conv2 = nn.Conv2d(after, after, 3, 1, 1, bias=bias)
        self.norm2 = norm_layer(norm, after)
        self.downsample: nn.Module = nn.Identity()
        if skips and (stride != 1 or before != after):
            # every second pixel is picked first: with channels last, torch 2.13's own 1x1 convolution of stride 2 writes
            # outside its memory on CPUs (seen with 4, 5 and 8 channels of 64 x 64)
            self.downsample = nn.Sequential()
            self.downsample.add_module("pick", nn.MaxPool2d(1, stride))
            self.downsample.add_module("conv", nn.Conv2d(before, after, 1, bias=bias))
            self.downsample.add_module("norm", norm_layer(norm, after))

    def forward(self, x: Tensor) -> Tensor:
        """[B, before, H, W] -> [B, after, H/stride, W/stride]."""
        out = self.norm2(self.conv2(torch.relu(self.norm1(self.conv1(x)))))
        return torch.relu(out + self.downsample(x) if self.skips else out)


def resnet(
    shape: tuple[int, int, int],
    classes: int,
    *,
    depth: Literal[18, 34] = 18,
    width: int = 64,
    stem: Literal["7x7", "3x3"] = "7x7",
    skips: bool = True,
    norm: Literal["batch", "group", "none"] = "batch",
    heads: Literal["single", "multi"] = "single",
) -> Layered:
    """trunk.conv1 (the stem) and basic blocks trunk.block1, block2 ... of 1, 2, 4, 8 times `width` channels, average pool.

    stem: 7x7 of stride 2 with a 3x3 max-pool of stride 2 as in torchvision, or 3x3 of stride 1 without a pool.
    """
    trunk, before, number = nn.Sequential(), width, 0
    large = stem == "7x7"
    trunk.add_module("conv1", conv_layer(shape[0], width, 7 if large else 3, 2 if large else 1, norm))
    if large:
        trunk.add_module("pool", nn.MaxPool2d(3, 2, 1))
    for stage, blocks in enumerate(RESNET_STAGES[depth]):
        after = width * 2**stage
        for block in range(blocks):
            number += 1
            stride = 2 if stage and not block else 1
            trunk.add_module(f"block{number}", BasicBlock(before, after, stride, norm, skips))
            before = after
    trunk.add_module("gather", nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten()))
    net = he(Layered(trunk, before, classes))
    return net.to(memory_format=torch.channels_last)  # type: ignore[call-overload]

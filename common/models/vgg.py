"""VGG for small pictures, with the switches of the tunnel effect: depth, width, normalisation, head, convolutions left out.

torchvision's `vgg` has no names for its layers, works in place, and stretches a small picture's last map to 7 x 7.
"""

from typing import Literal

import torch
from torch import nn

from common.models.layered import Layered, conv_layer, fc_layer, he
from common.networks import vgg_channels


def vgg(
    shape: tuple[int, int, int],
    classes: int,
    *,
    depth: Literal[11, 13, 16, 19] = 19,
    width: int = 64,
    norm: Literal["batch", "group", "none"] = "batch",
    head: Literal["linear", "fc"] = "linear",
    fc: int = 512,
    convs: int | None = None,
    heads: Literal["single", "multi"] = "single",
) -> Layered:
    """3x3 convolutions trunk.conv1, conv2 ... of 1, 2, 4, 8, 8 times `width` channels, max-pools between the five stages.

    A global max-pool takes the place of the last pool (at 32 pixels it is the same), so the head fits every picture; a
    pool is left out where the map has one pixel already. head: one linear layer, or "fc", two hidden layers of
    `fc` units before it. convs: only so many convolutions are kept, the deepest go first; the pools all stay.
    """
    trunk, before, size, number = nn.Sequential(), shape[0], min(shape[1:]), 0
    for stage, channels in enumerate(vgg_channels(depth, width, convs), 1):
        for after in channels:
            number += 1
            trunk.add_module(f"conv{number}", conv_layer(before, after, 3, 1, norm))
            before = after
        if stage < 5 and size > 1:
            trunk.add_module(f"pool{stage}", nn.MaxPool2d(2))
            size //= 2
    trunk.add_module("gather", nn.Sequential(nn.AdaptiveMaxPool2d(1), nn.Flatten()))
    for layer in (1, 2) if head == "fc" else ():
        trunk.add_module(f"fc{layer}", fc_layer(before, fc))
        before = fc
    net = he(Layered(trunk, before, classes))
    return net.to(memory_format=torch.channels_last)  # type: ignore[call-overload]

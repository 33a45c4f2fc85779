"""A residual convolution stem in place of a patch embedding: 8 x 8 pixels a token, as timm's VisionTransformer takes it."""

from typing import Any

import torch
from torch import Tensor, nn


class Residual(nn.Module):
    """Two 3x3 convolutions of stride 2 and 1 with BatchNorm, and a 1x1 shortcut over 2x2 means."""

    def __init__(self, before: int, after: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(before, after, 3, 2, 1, bias=False)
        self.norm1 = nn.BatchNorm2d(after)
        self.conv2 = nn.Conv2d(after, after, 3, 1, 1, bias=False)
        self.norm2 = nn.BatchNorm2d(after)
        self.pool, self.shortcut = nn.AvgPool2d(2), nn.Conv2d(before, after, 1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """[B, before, H, W] -> [B, after, H/2, W/2]."""
        inner = self.norm2(self.conv2(torch.relu(self.norm1(self.conv1(x)))))
        return torch.relu(inner + self.shortcut(self.pool(x)))


class Stem(nn.Module):
    """Tokens [B, (H/8) (W/8), D]: a 3x3 convolution to 32 channels, then residual blocks of 64, 128 and D of stride 2."""

    def __init__(self, img_size: int, patch_size: int, in_chans: int, embed_dim: int, **_: Any) -> None:
        super().__init__()
        self.num_patches = (img_size // patch_size) ** 2
        first = nn.Conv2d(in_chans, 32, 3, 1, 1, bias=False)
        blocks = [Residual(a, b) for a, b in ((32, 64), (64, 128), (128, embed_dim))]
        layers: Any = nn.Sequential(first, nn.BatchNorm2d(32), nn.ReLU(), *blocks)
        self.layers: nn.Module = layers.to(memory_format=torch.channels_last)

    def forward(self, images: Tensor) -> Tensor:
        """[B, N, D] of [B, C, H, W]."""
        found: Tensor = self.layers(images.contiguous(memory_format=torch.channels_last))
        return found.flatten(2).transpose(1, 2)

"""Networks of SCoLe's released code: the MNIST CNN, CIFAR's ResNet-20 (32, 44, 56), a wide ResNet of depth 10."""

from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn.functional import max_pool2d

from common.errors import Problem
from common.models.heads import headed
from common.models.resnet import Block
from common.models.small import Net


def mnist_cnn(shape: tuple[int, int, int], classes: int, *, head: Literal["linear", "weightnorm"] = "linear") -> Net:
    """Two 5x5 convolutions (10, 20 channels), each with max-pool 2 and ReLU, and a hidden layer of 50.

    21,840 parameters with 10 classes at 28 pixels. Errors: Problem for images too small for it.
    """
    if min(shape[1:]) < 16:
        raise Problem(f"model.name is 'mnist_cnn', which needs images of 16 pixels or more, but these have {shape[1]}.")
    side = [((n - 4) // 2 - 4) // 2 for n in shape[1:]]
    trunk = nn.Sequential(Convolutions(shape[0]), nn.Linear(20 * side[0] * side[1], 50), nn.ReLU())
    return headed(trunk, shape, classes, head).to(memory_format=torch.channels_last)  # type: ignore[call-overload]


class Convolutions(nn.Module):
    """Two 5x5 convolutions, each with max-pool 2 and ReLU: [B, channels, H, W] -> [B, features].

    On a processor the first, and both where no gradient is asked for, work in the layout of torch's oneDNN tensors:
    channels in blocks as wide as a register, in which pooling takes a tenth of the time. What was tried: benchmarks/scole.py.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.first, self.second = nn.Conv2d(channels, 10, 5), nn.Conv2d(10, 20, 5)

    def forward(self, images: Tensor) -> Tensor:
        """[B, channels, H, W] -> [B, 20 h w]."""
        blocked = _may_be_blocked(images)
        x = self._stage(self.first, images.to_mkldnn() if blocked else images)
        if blocked and torch.is_grad_enabled():  # backward of a convolution is slower in blocks of channels
            x = x.to_dense().contiguous(memory_format=torch.channels_last)
        x = self._stage(self.second, x)
        return (x.to_dense() if x.is_mkldnn else x).flatten(1)

    @staticmethod
    def _stage(convolution: nn.Module, x: Tensor) -> Tensor:
        return torch.relu(max_pool2d(convolution(x), 2, 2))


def _may_be_blocked(x: Tensor) -> bool:
    plain = x.device.type == "cpu" and x.dtype == torch.float32 and not torch.is_autocast_enabled("cpu")
    return plain and len(x) > 0 and torch.backends.mkldnn.is_available() and bool(torch.backends.mkldnn.enabled)


def cifar_resnet(
    shape: tuple[int, int, int],
    classes: int,
    *,
    depth: int = 20,
    head: Literal["linear", "weightnorm"] = "linear",
) -> Net:
    """Three stages of (depth - 2) / 6 basic blocks with 16, 32 and 64 channels, 1x1 shortcuts, global average pool.

    272,474 parameters at depth 20 with 10 classes.
    """
    if (depth - 2) % 6:
        raise Problem(f"model.depth is {depth}, but cifar_resnet has 6n + 2 layers: 20, 32, 44, 56.")
    layers: list[nn.Module] = [nn.Conv2d(shape[0], 16, 3, 1, 1, bias=False), nn.BatchNorm2d(16), nn.ReLU()]
    before = 16
    for stage, after in enumerate((16, 32, 64)):
        for block in range((depth - 2) // 6):
            layers.append(Block(before, after, 2 if stage and not block else 1))
            before = after
    trunk = nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten())
    return headed(trunk, shape, classes, head).to(memory_format=torch.channels_last)  # type: ignore[call-overload]


class WideBlock(nn.Module):
    """Norm and ReLU before each of two 3x3 convolutions; the shortcut is a convolution where channels change."""

    def __init__(self, before: int, after: int, stride: int) -> None:
        super().__init__()
        self.norm1, self.norm2 = nn.BatchNorm2d(before), nn.BatchNorm2d(after)
        self.conv1 = nn.Conv2d(before, after, 3, stride, 1, bias=False)
        self.conv2 = nn.Conv2d(after, after, 3, 1, 1, bias=False)
        self.shortcut = None if before == after else nn.Conv2d(before, after, 1, stride, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """[B, before, H, W] -> [B, after, H/stride, W/stride]."""
        active = torch.relu(self.norm1(x))
        out: Tensor = self.conv2(torch.relu(self.norm2(self.conv1(active))))
        return out + (x if self.shortcut is None else self.shortcut(active))


def wide_resnet(
    shape: tuple[int, int, int],
    classes: int,
    *,
    width: int = 2,
    head: Literal["linear", "weightnorm"] = "linear",
) -> Net:
    """Wide ResNet of depth 10 (one block a stage, 16w-32w-64w channels), without dropout; width: the factor w.

    Parameters with 10 classes: 77,850 (w = 1), 303,706 (2), 1.20 M (4), 4.76 M (8).
    """
    layers: list[nn.Module] = [nn.Conv2d(shape[0], 16, 3, 1, 1, bias=False)]
    before = 16
    for stage in range(3):
        after = 16 * width * 2**stage
        layers.append(WideBlock(before, after, 2 if stage else 1))
        before = after
    trunk = nn.Sequential(*layers, nn.BatchNorm2d(before), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    return headed(trunk, shape, classes, head).to(memory_format=torch.channels_last)  # type: ignore[call-overload]

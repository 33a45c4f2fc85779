"""Plans of the deep networks, and the multiply-adds of one forward pass; without torch, so that `plan` can use them."""

import itertools
from collections.abc import Callable
from typing import Any

# convolutions in each of the five stages (Simonyan & Zisserman 2015, Table 1: A, B, D, E); depth counts three more layers
VGG_STAGES = {11: (1, 1, 2, 2, 2), 13: (2, 2, 2, 2, 2), 16: (2, 2, 3, 3, 3), 19: (2, 2, 4, 4, 4)}
# basic blocks in each of the four stages (He et al. 2016, Table 1)
RESNET_STAGES = {18: (2, 2, 2, 2), 34: (3, 4, 6, 3)}


def vgg_channels(depth: int, width: int, convs: int | None) -> list[list[int]]:
    """Channels of the convolutions of each stage: width times 1, 2, 4, 8, 8; only the first `convs` of them all."""
    whole = [[width * min(2**stage, 8)] * count for stage, count in enumerate(VGG_STAGES[depth])]
    left = depth if convs is None else convs
    kept = []
    for stage in whole:
        kept.append(stage[:left])
        left = max(0, left - len(stage))
    return kept


def vgg_macs(settings: dict[str, Any], channels: int, size: int, classes: int = 10) -> float:
    """Multiply-adds of one image through `vgg`."""
    before, total = channels, 0
    stages = vgg_channels(settings["depth"], settings["width"], settings["convs"])
    for stage in stages:
        for after in stage:
            total += 9 * before * after * size**2
            before = after
        size = max(1, size // 2)
    hidden = [settings["fc"]] * 2 if settings["head"] == "fc" else []
    return float(total + sum(a * b for a, b in itertools.pairwise([before, *hidden, classes])))


def resnet_macs(settings: dict[str, Any], channels: int, size: int, classes: int = 10) -> float:
    """Multiply-adds of one image through `resnet`."""
    width, total = settings["width"], 0
    if settings["stem"] == "7x7":
        size = -(-size // 2)
        total += 49 * channels * width * size**2
        size = -(-size // 2)  # max-pool
    else:
        total += 9 * channels * width * size**2
    before = width
    for stage, blocks in enumerate(RESNET_STAGES[settings["depth"]]):
        after = width * 2**stage
        for block in range(blocks):
            if stage and not block:
                size = -(-size // 2)
                total += before * after * size**2 * settings["skips"]
            total += 9 * (before + after) * after * size**2
            before = after
    return float(total + before * classes)


def mlp_macs(settings: dict[str, Any], channels: int, size: int, classes: int = 10) -> float:
    """Multiply-adds of one image through `mlp_he`."""
    widths = [channels * size**2, *[settings["width"]] * (settings["depth"] - 1), classes]
    return float(sum(a * b for a, b in itertools.pairwise(widths)))


MACS: dict[str, Callable[..., float]] = {"vgg": vgg_macs, "resnet": resnet_macs, "mlp_he": mlp_macs}

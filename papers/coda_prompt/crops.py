"""The paper's training augmentation, on the device and for a whole batch: a crop of random area and shape, and a flip."""

import math

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import affine_grid, grid_sample

from common.streams.augment import Change

VERSION = 1


def resized_crop_flip(*, size: int = 224, least_area: float = 0.08, flip: float = 0.5) -> Change:
    """Crops of least_area to all of the area and of 3:4 to 4:3 shape, bilinear to `size`, each mirrored with that chance.

    As torchvision's RandomResizedCrop and RandomHorizontalFlip, but one draw (its ten tries end in the same distribution
    cut at the picture's edge) and no antialiasing (README, deviation D4).
    """

    def change(pictures: Tensor, draws: np.random.Generator) -> Tensor:
        count = len(pictures)
        area, shape = (
            draws.uniform(least_area, 1.0, count),
            np.exp(draws.uniform(math.log(3 / 4), math.log(4 / 3), count)),
        )
        high, wide = np.minimum(np.sqrt(area / shape), 1.0), np.minimum(np.sqrt(area * shape), 1.0)
        down, right = ((draws.uniform(0, 1, count) * 2 - 1) * (1 - part) for part in (high, wide))
        wide = np.where(draws.random(count) < flip, -wide, wide)
        zero = np.zeros(count)
        maps = np.stack([np.stack([wide, zero, right], 1), np.stack([zero, high, down], 1)], 1)
        grid = affine_grid(
            torch.from_numpy(maps).float().to(pictures.device),
            [count, pictures.shape[1], size, size],
            align_corners=False,
        )
        return grid_sample(pictures.float(), grid, mode="bilinear", padding_mode="border", align_corners=False)

    return change

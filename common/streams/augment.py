"""Random changes of training pictures, on the device, for a whole batch at once. Evaluation never sees them.

An augmentation is a function of its settings that gives `change(pictures, draws)`; the draws of a batch have an address of
their own (seed, task, step), so that a resumed run sees the same pictures.
"""

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import pad as padded

Change = Callable[[Tensor, np.random.Generator], Tensor]


def crop_flip(*, padding: int = 4, flip: float = 0.5) -> Change:
    """Pictures shifted by up to `padding` pixels (black comes in at the edges), each mirrored with probability `flip`.

    As torchvision's RandomCrop(size, padding) and RandomHorizontalFlip(flip) of each picture.
    """

    def change(pictures: Tensor, draws: np.random.Generator) -> Tensor:
        count, _, height, width = pictures.shape
        down, right = torch.from_numpy(draws.integers(0, 2 * padding + 1, (2, count))).to(pictures.device)
        mirrored = torch.from_numpy(draws.random(count) < flip).to(pictures.device)
        across = torch.arange(width, device=pictures.device).expand(count, -1)
        across = torch.where(mirrored[:, None], width - 1 - across, across) + right[:, None]
        along = torch.arange(height, device=pictures.device) + down[:, None]
        every = torch.arange(count, device=pictures.device)[:, None, None]
        larger = padded(pictures, (padding,) * 4)
        return larger.permute(0, 2, 3, 1)[every, along[:, :, None], across[:, None, :]].permute(0, 3, 1, 2).contiguous()

    return change

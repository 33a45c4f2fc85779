"""From a layer's output to its features: pooling, and a random subset that never changes."""

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor
from torch.nn.functional import adaptive_avg_pool2d

from common.errors import Problem
from common.rng import generator


@dataclass(frozen=True)
class View:
    """How a layer's output becomes features [B, d], float32.

    pool: `flatten` keeps every activation; `pool2` averages maps [B, C, H, W] to 2 x 2, `gap` to one value a channel
    (and tokens [B, T, D] to their mean). max_features: of more, a random subset that is the same for all data and all
    checkpoints, keyed by (seed, layer, width); it is drawn after flattening, so that it spans the whole map. None: all.
    """

    pool: Literal["flatten", "pool2", "gap"] = "flatten"
    max_features: int | None = 2048
    seed: int = 0

    def index(self, layer: str, width: int) -> Tensor | None:
        """Sorted int64 positions of the kept features among `width`; None: all of them."""
        if self.max_features is None or width <= self.max_features:
            return None
        draw = generator(self.seed, f"features of {layer}", width)
        return torch.from_numpy(draw.choice(width, self.max_features, replace=False)).sort().values

    def pooled(self, layer: str, output: Tensor) -> Tensor:
        """[B, width] of an output [B, ...]."""
        if output.ndim > 2 and self.pool == "gap":
            output = output.mean(dim=1) if output.ndim == 3 else output.flatten(2).mean(dim=2)
        elif output.ndim == 4 and self.pool == "pool2":
            output = adaptive_avg_pool2d(output, 2)
        elif output.ndim > 2 and self.pool == "pool2":
            raise Problem(
                f"Layer '{layer}' gives {list(output.shape)}, no maps to pool to 2 x 2: take 'gap' or 'flatten'."
            )
        return output.flatten(1)

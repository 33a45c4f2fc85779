"""What the prompt modules share: where their numbers come from, and one prefix a layer."""

from contextlib import AbstractContextManager, nullcontext

import numpy as np
import torch
from torch import Tensor, nn

from common.rng import generator
from papers.coda_prompt.vit import Prefixes


class Prompts(nn.Module):
    """query [B, D] -> (prefix of each prompted layer, the prompts' own loss while they learn).

    Numbers are drawn at the address (seed, purpose, task), in float64 on the host, whatever was drawn before.
    """

    def __init__(self, layers: list[int], length: int, width: int, seed: int) -> None:
        super().__init__()
        self.layers, self.length, self.width, self.seed = layers, length, width, seed

    def begin(self, task: int) -> None:
        """Called when a task begins."""

    def uniform(self, purpose: str, *shape: int) -> Tensor:
        """Numbers in [0, 1), as the official code begins prompts and keys of L2P and DualPrompt."""
        return torch.from_numpy(generator(self.seed, purpose).random(shape)).float()

    def prefixes(self, rows: Tensor) -> Prefixes:
        """layer -> [B, L, D] of rows [layers, B, L * D]."""
        shape = (len(self.layers), rows.shape[1], -1, self.width)
        return dict(zip(self.layers, rows.reshape(shape).unbind(0), strict=True))


def in_full_precision(x: Tensor) -> AbstractContextManager[object]:
    """A context without autocast: weights of prompts are computed in float32 whatever the trunk runs in."""
    return nullcontext() if x.is_meta else torch.autocast(x.device.type, enabled=False)


def orthonormal(old: np.ndarray, count: int, rng: np.random.Generator) -> np.ndarray:
    """[count, d]: Gaussian rows made orthonormal in their order, and orthogonal to the span of the rows `old` [k, d].

    Exact for any `old` (a QR projection); Gram-Schmidt where the old rows are orthonormal (README, deviation D5).
    """
    drawn = rng.standard_normal((count, old.shape[1]))
    if len(old):
        span, _ = np.linalg.qr(old.T)
        for _ in range(2):  # twice is enough against rounding
            drawn = drawn - drawn @ span @ span.T
    q, r = np.linalg.qr(drawn.T)
    return np.asarray((q * np.sign(np.diag(r))).T)

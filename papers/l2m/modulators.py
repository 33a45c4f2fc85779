"""Modulators: what is trained beside a frozen trunk. Each holds `count` of its kind and picks one (or several) for each sample.

`pick(index, on)`: the change [B] samples make, index int64 [B] (several: [B, n]) or None for the one that all share; on: bool [B]
of those that are modulated at all (None: all). A sample that is off is computed as by the frozen trunk, to the last bit.
"""

import math
from typing import Literal

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import silu

from common.rng import generator
from papers.l2m.changes import Change
from papers.l2m.model import MDDT

Kind = Literal["lora", "ia3", "adapter", "prompt", "prefix", "deep_prompt"]


class Modulator(nn.Module):
    """Numbers are drawn at the address (seed, purpose), whatever was drawn before."""

    def __init__(self, count: int, depth: int, width: int, seed: int) -> None:
        super().__init__()
        self.count, self.depth, self.width, self.seed = count, depth, width, seed

    def uniform(self, purpose: str, bound: float, *shape: int) -> nn.Parameter:
        """Numbers in [-bound, bound)."""
        drawn = generator(self.seed, f"modulator {purpose}").uniform(-bound, bound, shape)
        return nn.Parameter(torch.from_numpy(drawn.astype(np.float32)))

    def pick(self, index: Tensor | None, on: Tensor | None) -> Change:
        """The change that those make."""
        raise NotImplementedError


def taken(values: Tensor, index: Tensor | None) -> Tensor:
    """[B, ...]: the chosen rows of [count, ...]; without an index the first row [1, ...], which all share."""
    return values[:1] if index is None else values.index_select(0, index)


class LoRA(Modulator):
    """Low-rank terms on queries, values and the inside of the feed-forward net: h <- h + scale h A B, scale = alpha / rank."""

    def __init__(self, count: int, depth: int, width: int, seed: int, rank: int, scale: float) -> None:
        super().__init__(count, depth, width, seed)
        self.scale = scale
        for name, size in (("query", width), ("value", width), ("inner", 4 * width)):  # A: Kaiming, a = sqrt 5
            setattr(self, f"{name}_A", self.uniform(name, 1 / math.sqrt(size), count, depth, size, rank))
            setattr(self, f"{name}_B", nn.Parameter(torch.zeros(count, depth, rank, size)))

    def pick(self, index: Tensor | None, on: Tensor | None) -> Change:
        """Low-rank terms of each sample."""
        scale: Tensor | float = self.scale if on is None else self.scale * on[:, None, None].float()
        weights = {name: taken(value, index) for name, value in self.named_parameters()}
        return LowRank({name: value.unbind(1) for name, value in weights.items()}, scale)


class LowRank(Change):
    """Gathered factors by name, one a layer: A [B or 1, D, r], B [B or 1, r, D]."""

    def __init__(self, factors: dict[str, tuple[Tensor, ...]], scale: Tensor | float) -> None:
        self.factors, self.scale = factors, scale

    def projected(self, layer: int, x: Tensor, q: Tensor, k: Tensor, v: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Terms on queries and values."""
        return q + self.term("query", layer, x), k, v + self.term("value", layer, x)

    def inner(self, layer: int, h: Tensor) -> Tensor:
        """The term on the inside of the feed-forward net."""
        return h + self.term("inner", layer, h)

    def term(self, name: str, layer: int, x: Tensor) -> Tensor:
        """scale x A B, a batched product where samples have factors of their own."""
        A, B = self.factors[f"{name}_A"][layer], self.factors[f"{name}_B"][layer]
        if len(A) == 1:
            A, B = A[0], B[0]
        return (x @ A) * self.scale @ B


class IA3(Modulator):
    """Factors on keys, values and the activation of the feed-forward net, 1 in the beginning."""

    def __init__(self, count: int, depth: int, width: int, seed: int) -> None:
        super().__init__(count, depth, width, seed)
        self.key, self.value = (nn.Parameter(torch.ones(count, depth, width)) for _ in range(2))
        self.activation = nn.Parameter(torch.ones(count, depth, 4 * width))

    def pick(self, index: Tensor | None, on: Tensor | None) -> Change:
        """Factors of each sample."""
        factors = [taken(values, index) for values in (self.key, self.value, self.activation)]
        if on is not None:
            factors = [torch.where(on[:, None, None], values, 1.0) for values in factors]
        return Scaled(*(values.unsqueeze(2).unbind(1) for values in factors))


class Scaled(Change):
    """Factors [B or 1, 1, D], one a layer, of keys, values and activation."""

    def __init__(self, key: tuple[Tensor, ...], value: tuple[Tensor, ...], activation: tuple[Tensor, ...]) -> None:
        self.key, self.value, self.activation = key, value, activation

    def projected(self, layer: int, x: Tensor, q: Tensor, k: Tensor, v: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Scaled keys and values."""
        return q, k * self.key[layer], v * self.value[layer]

    def active(self, layer: int, h: Tensor) -> Tensor:
        """The scaled activation."""
        return h * self.activation[layer]


class Adapter(Modulator, Change):
    """Two bottlenecks in each layer, after attention and after the feed-forward net, for all samples alike (Houlsby)."""

    def __init__(self, count: int, depth: int, width: int, seed: int, reduction: int = 16) -> None:
        super().__init__(1, depth, width, seed)
        small = max(1, width // reduction)
        draws = generator(seed, "modulator adapter")
        self.attended_down, self.attended_up, self.fed_down, self.fed_up = (
            nn.Parameter(torch.from_numpy(draws.normal(0, 0.02, (depth, *shape)).astype(np.float32)))
            for shape in 2 * ((width, small), (small, width))
        )

    def pick(self, index: Tensor | None, on: Tensor | None) -> Change:
        """Itself."""
        return self

    def attended(self, layer: int, h: Tensor) -> Tensor:
        """What attention gives, and the bottleneck's part."""
        return h + silu(h @ self.attended_down[layer]) @ self.attended_up[layer]

    def fed(self, layer: int, h: Tensor) -> Tensor:
        """What the feed-forward net gives, and the bottleneck's part."""
        return h + silu(h @ self.fed_down[layer]) @ self.fed_up[layer]


class Prompts(Modulator):
    """Soft tokens: at the input ("prompt"), at each layer's input ("deep_prompt"), or keys and values ("prefix")."""

    def __init__(
        self, count: int, depth: int, width: int, seed: int, length: int, kind: Kind, dropout: float = 0.0
    ) -> None:
        super().__init__(count, depth, width, seed)
        self.kind, self.drop = kind, nn.Dropout(dropout)
        rows = {"prompt": 1, "deep_prompt": depth, "prefix": 2 * depth}[kind]
        self.rows = self.uniform(kind, 1.0, count, rows, length, width)

    def pick(self, index: Tensor | None, on: Tensor | None) -> Change:
        """The soft tokens of each sample, those of several behind each other. There is no sample without them."""
        assert on is None
        if index is None:
            return Fronts(self.drop(self.rows[:1]), self.kind)
        several = index if index.dim() == 2 else index[:, None]
        found = self.rows.index_select(0, several.flatten()).unflatten(0, several.shape)  # B, n, rows, L, D
        return Fronts(self.drop(found.transpose(1, 2).flatten(2, 3)), self.kind)


class Fronts(Change):
    """Soft tokens [B, rows, L, D] of each sample, or [1, rows, L, D] which all share."""

    def __init__(self, rows: Tensor, kind: Kind) -> None:
        self.rows, self.kind = rows, kind

    def prefix(self, layer: int) -> tuple[Tensor, Tensor] | None:
        """Keys and values of a prefix."""
        return (self.rows[:, 2 * layer], self.rows[:, 2 * layer + 1]) if self.kind == "prefix" else None

    def front(self, layer: int) -> Tensor | None:
        """Tokens of a prompt, at the input alone or at every layer."""
        deep = self.kind == "deep_prompt"
        return self.rows[:, layer] if deep or (self.kind == "prompt" and layer == 0) else None


def modulator(
    kind: Kind, count: int, net: MDDT, seed: int, rank: int, scale: float, length: int, dropout: float = 0.0
) -> Modulator:
    """`count` modulators of a kind for a net's trunk."""
    depth, width = net.trunk.depth, net.trunk.width
    if kind == "lora":
        return LoRA(count, depth, width, seed, rank, scale)
    if kind == "ia3":
        return IA3(count, depth, width, seed)
    if kind == "adapter":
        return Adapter(count, depth, width, seed)
    return Prompts(count, depth, width, seed, length, kind, dropout)

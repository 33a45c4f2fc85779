"""CODA-P: prompts assembled from components, weighted by attention between the query and learned keys.

    u_m = q * A_m,   alpha_m = cos(u_m, K_m),   p(x) = sum_m alpha_m P_m          (Eqs. 4 and 5; no softmax, no top-k)

for each prompted layer, with components P [M, L, D], keys K [M, D] and attention vectors A [M, D]. Task t of N trains
M / N new components; old ones take part as they are; later ones are invisible (Sec. 4.3). Old rows lie in buffers and new
ones in a parameter, so that nothing can move an old one; shapes stay the same from task to task.
"""

from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import normalize

from common.learners.base import Setup
from common.rng import generator
from common.streams.stream import Task
from papers.coda_prompt.frozen import Frozen
from papers.coda_prompt.prompts import Prompts, in_full_precision, orthonormal
from papers.coda_prompt.vit import Prefixes

VERSION = 1
TINY = 1e-12


class Components(Prompts):
    """P, K and A of all layers; rows are ordered by task, those of past tasks in `old_*`, those that learn in `new_*`."""

    def __init__(
        self,
        layers: list[int],
        length: int,
        width: int,
        seed: int,
        count: int,
        tasks: int,
        init: str,
        attention: bool,
        freezing: bool,
        mu: float,
    ) -> None:
        super().__init__(layers, length, width, seed)
        self.count, self.each, self.init = count, count // tasks, init
        self.attention, self.freezing, self.mu = attention, freezing, mu
        self.sizes = {"P": length * width, "K": width} | ({"A": width} if attention else {})
        learning = self.each if freezing else count
        for name, size in self.sizes.items():
            self.register_parameter(f"new_{name}", nn.Parameter(torch.zeros(len(layers), learning, size)))
            self.register_buffer(f"old_{name}", torch.zeros(len(layers), count - learning, size))
        self.register_buffer("visible", torch.zeros(count))

    def begin(self, task: int) -> None:
        """The rows learned last become old ones, and the task's own rows are drawn."""
        own = slice(task * self.each, (task + 1) * self.each)
        before = slice((task - 1) * self.each, task * self.each)
        for name in self.sizes:
            new, old = getattr(self, f"new_{name}").data, getattr(self, f"old_{name}")
            if self.freezing and task:
                old[:, before] = new
            known = old if self.freezing else new
            drawn = [self._drawn(name, layer, task, known[layer, : own.start]) for layer in range(len(self.layers))]
            new[:, slice(None) if self.freezing else own] = torch.stack(drawn).to(new)
        visible: Any = self.visible
        places = torch.arange(self.count, device=visible.device)
        learned = places >= self.count - self.each if self.freezing else places < own.stop
        visible.copy_((learned | (places < own.start)).float())

    def _drawn(self, name: str, layer: int, task: int, known: Tensor) -> Tensor:
        """[M / N, d]: first values of a task's rows."""
        size = self.sizes[name]
        if self.init == "all_at_once":
            every = orthonormal(np.zeros((0, size)), self.count, generator(self.seed, f"components {name}", 0, layer))
            return torch.from_numpy(every[task * self.each : (task + 1) * self.each])
        rng = generator(self.seed, f"components {name}", task, layer)
        if self.init == "uniform":
            return torch.from_numpy(rng.random((self.each, size)))
        return torch.from_numpy(orthonormal(known.double().cpu().numpy(), self.each, rng))

    def table(self, name: str) -> Tensor:
        """[layers, M, d]: all rows, those that learn last (all of them learn without freezing)."""
        return torch.cat([getattr(self, f"old_{name}"), getattr(self, f"new_{name}")], dim=1)

    def alpha(self, query: Tensor) -> Tensor:
        """[B, layers, M]: weights of all components, 0 for those not visible. Two matrix products, no [B, M, D] tensor:

        <q * A, K / |K|> = q . (A * K / |K|)  and  |q * A|^2 = q^2 . A^2.
        """
        keys = normalize(self.table("K"), dim=-1, eps=TINY)
        if self.attention:
            attended = self.table("A")
            above = query @ (attended * keys).flatten(0, 1).T
            # the square root has no slope at 0, where rows are that do not exist yet
            below = ((query**2) @ (attended**2).flatten(0, 1).T).clamp(min=TINY**2).sqrt()
        else:
            above, below = query @ keys.flatten(0, 1).T, query.norm(dim=1, keepdim=True).clamp(min=TINY)
        return (above / below).unflatten(1, (len(self.layers), self.count)) * self.visible

    def forward(self, query: Tensor, learning: bool) -> tuple[Prefixes, Tensor | None]:
        """(prefixes, mu times the penalty on rows that are not orthonormal)."""
        with in_full_precision(query):
            rows = self.alpha(query.float()).transpose(0, 1) @ self.table("P")
            return self.prefixes(rows), self.mu * self.overlap() if learning and self.mu else None

    def overlap(self) -> Tensor:
        """sum over layers and P, K, A of the mean squared entry of B B^T - I, over the visible rows."""
        visible: Any = self.visible
        pairs = visible[:, None] * visible
        found = [
            pairs * (self.table(n) @ self.table(n).mT - torch.eye(self.count, device=pairs.device)) for n in self.sizes
        ]
        return torch.stack([(gram**2).sum() for gram in found]).sum() / pairs.sum()


class CodaP(Frozen):
    """CODA-P. CODA-P-S is the same with fewer components (20) and shorter prompts (4).

    components, length: M and L of all tasks together. mu: weight of the penalty (0 in the last code, 1e-7 in effect in the
    first). init: "gram_schmidt" for each task's rows as in the last code, "all_at_once" as in the paper, or "uniform"
    without orthogonality. attention, freezing: the ablations of Table 3.
    """

    def __init__(
        self,
        setup: Setup,
        *,
        components: int = 100,
        length: int = 8,
        layers: list[int] = [0, 1, 2, 3, 4],  # noqa: B006  (read from source, never changed)
        mu: float = 0.0,
        init: Literal["gram_schmidt", "all_at_once", "uniform"] = "gram_schmidt",
        attention: bool = True,
        freezing: bool = True,
        cached: Literal["none", "query", "tokens"] = "tokens",
    ) -> None:
        super().__init__(setup, cached=cached)
        width, tasks = self.net.trunk.width, len(setup.data.stream)
        made = Components(layers, length, width, setup.seed, components, tasks, init, attention, freezing, mu)
        self.net.prompt = made.to(setup.data.device)
        self.train_only()

    def begin(self, task: Task) -> None:
        """New classes, and new components."""
        super().begin(task)
        prompt: Any = self.net.prompt
        prompt.begin(task.index)

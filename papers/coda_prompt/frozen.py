"""Learners on a frozen trunk: what they share, the linear probe, and the nearest class mean (the floor without training)."""

from collections.abc import Callable
from contextlib import nullcontext
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn.functional import cross_entropy, normalize

from common.learners.base import Params, Setup, State, Terms, masked
from common.streams.resident import Batch, Evaluation
from common.streams.stream import Task
from papers.coda_prompt.growing import Growing
from papers.coda_prompt.vit import PromptNet

VERSION = 1
BLOCK = 256  # rows that are computed together; the same ones always, so that a resumed run has the same bits


class Table:
    """Rows of some tensors, computed in fixed blocks when one of a block is first asked for."""

    def __init__(self, count: int, compute: Callable[[Tensor], tuple[Tensor, ...]], device: torch.device) -> None:
        self.count, self.compute, self.device = count, compute, device
        self.known = [False] * -(-count // BLOCK)
        self.values: tuple[Tensor, ...] = ()

    def at(self, rows: Tensor) -> tuple[Tensor, ...]:
        """The tensors at those rows."""
        if not all(self.known):
            for block in torch.unique(rows // BLOCK).tolist():
                if not self.known[block]:
                    self._fill(block)
        return tuple(value[rows] for value in self.values)

    def _fill(self, block: int) -> None:
        rows = torch.arange(block * BLOCK, min((block + 1) * BLOCK, self.count), device=self.device)
        found = self.compute(rows)
        if not self.values:
            self.values = tuple(t.new_empty((self.count, *t.shape[1:])) for t in found)
        for value, part in zip(self.values, found, strict=True):
            value[rows] = part
        self.known[block] = True


class Frozen(Growing):
    """A trunk that learns nothing, under prompts and a head that do; past classes are masked in training.

    cached: what is computed once for each image instead of at every step: "none"; the "query", which is then that of
    the image without augmentation (deviation D7 where there is one); or the "tokens" that enter the first block, too,
    which is the same function without augmentation. At test the query is always kept, and nothing changes by that.
    """

    net: PromptNet

    def __init__(self, setup: Setup, *, cached: Literal["none", "query", "tokens"] = "tokens") -> None:
        super().__init__(setup, masks=True)
        self.cached = cached
        self.net.trunk.requires_grad_(False)
        self._trained: Table | None = None
        self._tested: Table | None = None
        self.train_only()

    def train_only(self) -> None:
        """Nothing; the optimiser has the parameters that learn, and no others."""
        self.live = {name: p for name, p in self.net.named_parameters() if p.requires_grad}
        self.optimiser.param_groups[0]["params"] = list(self.live.values())

    # --- what is computed once ---------------------------------------------------------------------------------

    def looked_at(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """(tokens, query) of images, without gradients."""
        with torch.no_grad(), self._fabric.autocast() if self._fabric else nullcontext():
            tokens = self.net.trunk.tokens(x)
            return tokens, self.net.trunk.encode(tokens).float()

    def kept(self, x: Tensor) -> tuple[Tensor, ...]:
        """What a table keeps of images: (query) or (query, tokens)."""
        tokens, query = self.looked_at(x)
        return (query, tokens) if self.cached == "tokens" else (query,)

    def seen(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """(tokens, query) of a training batch, from the table as far as it is kept there."""
        if self.cached == "none":
            return self.looked_at(batch.x)
        assert batch.rows is not None
        query, *tokens = self.table().at(batch.rows)
        return (tokens[0] if tokens else self.net.trunk.tokens(batch.x)), query

    def table(self) -> Table:
        """What is kept of the training images, by row."""
        if self._trained is None:
            data = self.data
            self._trained = Table(len(data.labels), lambda rows: self.kept(data.batch(rows).x), data.device)
        return self._trained

    def scores(self, evaluation: Evaluation, part: slice) -> Tensor:
        """As `predict`, with the queries (and tokens) of held-out samples computed once in a run."""
        if self._tested is None:
            x = evaluation.x
            self._tested = Table(len(x), lambda rows: self.kept(x[rows]), x.device)
        query, *tokens = self._tested.at(torch.arange(part.start, part.stop, device=evaluation.x.device))
        return self.judge(tokens[0] if tokens else None, query, evaluation.x[part])

    def judge(self, tokens: Tensor | None, query: Tensor, x: Tensor) -> Tensor:
        """Scores of held-out samples, those of classes not seen yet at minus infinity."""
        with self._fabric.autocast() if self._fabric else nullcontext():
            logits = self.net(x, tokens, query)
        return masked(logits.float(), self.state["seen"])

    # --- the loss ----------------------------------------------------------------------------------------------

    def run(self, params: Params, tokens: Tensor, query: Tensor) -> tuple[Tensor, Tensor | None]:
        """(logits, the prompts' own loss) under given parameters."""
        arguments = (None, tokens, query, True)
        with self._fabric.autocast() if self._fabric else nullcontext():
            found: Any = self.net(*arguments) if params is self.live else functional_call(self.net, params, arguments)
        return found[0].float(), found[1]

    def terms(self, params: Params, state: State, batch: Batch) -> Terms:
        """(cross-entropy over the task's own classes, the prompts' own loss)."""
        logits, own = self.run(params, *self.seen(batch))
        return Terms(cross_entropy(masked(logits, self.trained_columns(state)), batch.y), own)


class LinearProbe(Frozen):
    """A linear head on frozen features, trained task after task: what prompts have to add to."""

    def seen(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """(nothing of use, query): the features are the query itself."""
        if self.cached == "none" or batch.rows is None:
            return self.looked_at(batch.x)
        query = self.table().at(batch.rows)[0]
        return query, query

    def run(self, params: Params, tokens: Tensor, query: Tensor) -> tuple[Tensor, Tensor | None]:
        """The head on the features."""
        return nn.functional.linear(query, params["head.weight"], params["head.bias"]), None

    def judge(self, tokens: Tensor | None, query: Tensor, x: Tensor) -> Tensor:
        """The head on the features."""
        return masked(self.net.head(query), self.state["seen"])


class ClassMean(Frozen):
    """Nearest class mean on frozen features, by cosine: nothing is trained, and nothing can be forgotten but by confusion."""

    def __init__(self, setup: Setup) -> None:
        super().__init__(setup, cached="query")
        shape = (setup.data.stream.classes, self.net.trunk.width)
        self.net.register_buffer("means", torch.zeros(shape, device=setup.data.device))

    def begin(self, task: Task) -> None:
        """Takes the means of the task's classes."""
        super().begin(task)
        means: Any = self.net.means
        rows = self.data.rows(task)
        labels = self.data.labels_of(rows)
        for label in task.classes:
            own = torch.as_tensor(rows[labels == label], device=self.data.device)
            means[label] = normalize(self.table().at(own)[0], dim=1).mean(0)

    def update(self, batch: Batch) -> dict[str, Tensor]:
        """Nothing."""
        return {}

    def judge(self, tokens: Tensor | None, query: Tensor, x: Tensor) -> Tensor:
        """Cosine to each class's mean."""
        means: Any = self.net.means
        return masked(normalize(query, dim=1) @ normalize(means, dim=1).T, self.state["seen"])

    def predict(self, x: Tensor) -> Tensor:
        """The same of images that are not in the evaluation set."""
        return self.judge(None, self.looked_at(x)[1], x)

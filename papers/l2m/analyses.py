"""What this paper looks at in a finished run: that the backbone stands still, what is active, and which keys are taken."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import normalize

from common import checkpoint
from common.analyse import Trained
from common.places import runs_dir
from common.rng import generator
from papers.l2m.learners.cloning import Cloning
from papers.l2m.learners.pools import Pool
from papers.l2m.paths import paths

VERSION = 1


def last(trained: Trained, *, samples: int = 200, shown: int = 40) -> Iterator[dict[str, Any]]:
    """Facts of the final model: quantity, task (by name), other (number of a key), value, x, y.

    moved: how many numbers of the parent's weights are others now. active_share: parameters of one modulator against those
    of the trunk's blocks. key: how often `samples` stored windows of a task take a key, as the policy does while it acts
    (keys of pre-training tasks have numbers below 0). query, place: `shown` windows a task, and keys, on the two main directions
    of all queries. path, expert_path: see paths.py.
    """
    spec = trained.spec
    assert spec.parent is not None
    before, after = checkpoint.read_weights(runs_dir() / spec.parent["run"]), trained.weights()
    yield {"quantity": "moved", "value": sum(int((after[name] != old).sum()) for name, old in before.items())}
    learner = trained.learner
    if isinstance(learner, Cloning):
        yield from paths(learner)
    if not isinstance(learner, Pool):
        return
    blocks = sum(p.numel() for p in learner.net.trunk.blocks.parameters())
    one = sum(p[0].numel() for p in learner.net.modulator.parameters()) * learner.top
    yield {"quantity": "active_share", "value": one / blocks}
    yield from _keys(learner, samples, shown)


@torch.no_grad()
def _keys(learner: Pool, samples: int, shown: int) -> Iterator[dict[str, Any]]:
    stream, net = learner.data.stream, learner.net
    keys = normalize(net.keys.float(), dim=1)
    old = keys[:0] if net.old_keys is None else normalize(net.old_keys.float(), dim=1)
    queries: dict[str, Tensor] = {}
    for number, name in enumerate(stream.played):
        query = normalize(_queries(learner, name, samples), dim=1)
        close = query @ keys.T
        if learner.oracle:
            task = learner.learned()[number]
            if task < 0:
                continue
            close = close.masked_fill(~learner.block(task.expand(len(close))), -torch.inf)
        index = torch.cat((close, query @ old.T), 1).argmax(1)
        index = torch.where(index < len(keys), index, len(keys) - 1 - index)
        for key, count in zip(*torch.unique(index, return_counts=True), strict=True):
            yield {"quantity": "key", "task": name, "other": int(key), "value": float(count) / len(index)}
        queries[name] = query
    if learner.oracle:
        return
    every = torch.cat(list(queries.values()))
    centre = every.mean(0)
    directions = torch.linalg.svd(every - centre, full_matrices=False).Vh[:2].T
    for name, query in queries.items():
        for x, y in ((query[:shown] - centre) @ directions).tolist():
            yield {"quantity": "query", "task": name, "x": x, "y": y}
    for first, points in ((0, keys), (-1, old)):
        for number, (x, y) in enumerate(((points - centre) @ directions).tolist()):
            yield {"quantity": "place", "other": number if first == 0 else -1 - number, "x": x, "y": y}


def _queries(learner: Pool, name: str, samples: int) -> Tensor:
    """[samples, D]: queries of stored windows of a played task, drawn by their address."""
    from papers.l2m.windows import Windows

    data = Windows(learner.data.stream, learner.data.device, [name])
    rows = generator(learner.seed, "looked at").integers(0, data.first[-1], samples)
    x = data.batch(np.asarray(rows)).x
    return learner.net.query(learner.net.trunk.embed(x), learner.net.trunk.split(x)[-1]).float()

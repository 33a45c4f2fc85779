"""What this paper looks at in a finished run: accuracy with the task known, cost, which prompts are chosen, mechanisms."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.func import functional_call
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from common.analyse import Trained
from common.record import snapshots
from papers.coda_prompt.coda import Components
from papers.coda_prompt.frozen import ClassMean
from papers.coda_prompt.pools import Dual

VERSION = 1


def last(trained: Trained) -> Iterator[dict[str, Any]]:
    """Facts of the final model: quantity, task (of the stream, from 0), other (task or prompt), value.

    local accuracy: argmax over the task's own classes. trained parameters: prompts and head (full fine-tuning: all).
    MACs: multiply-adds of one image's answer, and of the plain network. choice: how often images of a task take a prompt.
    weight: mean |alpha| that images of a task give to the components of a task. key gradient: slope that the classification
    loss alone has at keys, largest entry (of CODA's K and A the smaller one); prompt gradient: the same at prompts.
    moved: how many rows of past tasks differ from what they were at a task's end, where weights were kept.
    """
    yield from _local(trained)
    yield {"quantity": "trained parameters", "value": _trainable(trained)}
    yield {"quantity": "all parameters", "value": _plain(trained)}
    yield from _macs(trained)
    prompt = trained.net.prompt
    if prompt is not None:
        yield from _choices(trained, prompt)
        yield from _slopes(trained)
    if isinstance(prompt, Components):
        yield from _moved(trained, prompt)


def _local(trained: Trained) -> Iterator[dict[str, Any]]:
    held = trained.learner.data.evaluation(trained.spec.evaluation.samples, trained.spec.seed)
    with torch.inference_mode():
        for task in trained.stream.tasks:
            part = slice(int(held.offsets[task.index]), int(held.offsets[task.index + 1]))
            scores = torch.cat([trained.learner.scores(held, piece) for piece in _pieces(part)])
            columns = torch.tensor(task.classes, device=scores.device)
            hits = columns[scores[:, columns].argmax(1)] == held.y[part]
            yield {"quantity": "local accuracy", "task": task.index, "value": float(hits.float().mean())}


def _pieces(part: slice, size: int = 256) -> list[slice]:
    return [slice(start, min(start + size, part.stop)) for start in range(part.start, part.stop, size)]


def _trainable(trained: Trained) -> int:
    """Parameters that any task trains: rows of all tasks together."""
    net: Any = trained.net
    if isinstance(trained.learner, ClassMean):
        return 0
    if isinstance(net.prompt, Components):
        return sum(net.prompt.table(name).numel() for name in net.prompt.sizes) + _count(net.head.parameters())
    return _count(p for p in trained.net.parameters() if p.requires_grad)


def _plain(trained: Trained) -> int:
    """Parameters of trunk and head."""
    net: Any = trained.net
    return _count(net.trunk.parameters()) + _count(net.head.parameters())


def _count(parameters: Any) -> int:
    return sum(p.numel() for p in parameters)


def _macs(trained: Trained) -> Iterator[dict[str, Any]]:
    x = trained.learner.data.batch(np.arange(1)).x
    net: Any = trained.net
    prompt, found = net.prompt, {}
    for name in ("MACs", "MACs of the plain network"):
        # detached: the counter looks for the origin of gradients otherwise
        weights = {key: p.detach() for key, p in net.named_parameters()}
        with sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter, torch.no_grad():
            functional_call(net, weights, (x,))
        found[name] = counter.get_total_flops() / 2
        net.prompt = None
    net.prompt = prompt
    yield from ({"quantity": name, "value": value} for name, value in found.items())


def _queries(trained: Trained, task: int) -> Tensor:
    held = trained.learner.data.evaluation(trained.spec.evaluation.samples, trained.spec.seed)
    part = slice(int(held.offsets[task]), int(held.offsets[task + 1]))
    learner: Any = trained.learner
    return torch.cat([learner.looked_at(held.x[piece])[1] for piece in _pieces(part)])


def _choices(trained: Trained, prompt: Any) -> Iterator[dict[str, Any]]:
    with torch.no_grad():
        for task in trained.stream.tasks:
            query = _queries(trained, task.index)
            if isinstance(prompt, Components):
                shares, quantity = _weights(prompt, query), "weight"
            else:
                index = prompt.chosen(query)
                shares = torch.bincount(index.flatten(), minlength=prompt.P.shape[1]) / index[..., 0].numel()
                quantity = "choice"
            for other, value in enumerate(shares.tolist()):
                yield {"quantity": quantity, "task": task.index, "other": other, "value": value}


def _weights(prompt: Components, query: Tensor) -> Tensor:
    """[tasks]: mean |alpha| of the components of each task; with freezing the newest rows lie last already."""
    alpha = prompt.alpha(query).abs().mean((0, 1))
    return alpha.unflatten(0, (-1, prompt.each)).mean(1)


def _slopes(trained: Trained) -> Iterator[dict[str, Any]]:
    """Gradients of the classification loss alone, on one batch of the last task."""
    learner, task = trained.learner, trained.stream.tasks[-1]
    prompt: Any = trained.net.prompt
    learner.begin(task) if isinstance(prompt, Dual) else None
    batch = learner.data.batch(learner.data.rows(task)[:32])
    own = [(name, p) for name, p in prompt.named_parameters() if p.requires_grad]
    loss = learner.terms(learner.live, learner.state, batch).plasticity
    slopes = torch.autograd.grad(loss, [p for _, p in own], allow_unused=True)
    largest = {name: 0.0 if g is None else float(g.abs().max()) for (name, _), g in zip(own, slopes, strict=True)}
    keys = [value for name, value in largest.items() if name[-1] in "KA"]
    prompts = [value for name, value in largest.items() if name[-1] in "PG"]
    least_key = min(keys) if isinstance(prompt, Components) else max(keys)
    yield {"quantity": "key gradient", "value": least_key}
    yield {"quantity": "prompt gradient", "value": min(prompts)}


def _moved(trained: Trained, prompt: Components) -> Iterator[dict[str, Any]]:
    """Rows of P, K and A that a later task changed, over all tasks' ends."""
    steps = snapshots(trained.folder.path)
    if len(steps) != len(trained.stream) or not prompt.freezing:
        return
    moved, final = 0, trained.weights()
    for task, step in enumerate(steps[:-1]):
        then = trained.weights(step)
        for name in prompt.sizes:
            own = slice(task * prompt.each, (task + 1) * prompt.each)
            changed = then[f"prompt.new_{name}"] != final[f"prompt.old_{name}"][:, own]
            moved += int(changed.any(-1).sum())
    yield {"quantity": "moved", "value": moved}

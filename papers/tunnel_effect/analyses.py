"""What this paper looks at beside the layers of a finished run: exchanged halves, reset tunnels, early development.

A network is cut after layer k: E is layers 1 .. k, T the layers after it. The numbers behind them are tasks: E1+T2 is
the extractor as task 1 left it under the tunnel as task 2 left it. Each task is measured with its own head.
"""

from collections.abc import Iterator
from itertools import pairwise
from typing import Any

import numpy as np
import torch
from torch import Tensor

from common.analyse import Trained
from common.analysis.change import weight_change
from common.analysis.onecall import layerwise
from common.analysis.probes import Ridge
from common.analysis.views import View
from common.errors import Problem
from common.evaluate import correct
from common.models.layered import Layered
from common.record import snapshots
from common.streams.resident import Evaluation

VERSION = 1
Weights = dict[str, Tensor]


def swap(
    trained: Trained, *, max_features: int | None = 1024, probe_per_class: int | None = None
) -> Iterator[dict[str, Any]]:
    """Accuracy of every exchange of two tasks' halves at every cut, and of probes and heads fitted anew (Table 1).

    probe_per_class: training images of each class for the probes. Facts: split, layer, task (1 or 2), quantity, value.
    """
    names = layered(trained).layers()
    ends = np.cumsum([trained.spec.budget.updates(len(task.train)) for task in trained.stream.tasks])
    one, two = (trained.weights(int(end)) for end in ends[:2])
    train, tests = _probe_images(trained, probe_per_class), held_out(trained)
    before, after = (_probed(trained, weights, names, train, tests[0], max_features) for weights in (one, two))
    whole = layered(trained).split(len(names))
    uncut = {
        (what, task): _accuracy(trained, whole.mix(weights, weights, head), tests[task - 1])
        for what, weights in (("E1+T1", one), ("E2+T2", two))
        for task, head in ((1, one), (2, two))
    }
    for k, name in enumerate(names, start=1):
        cut = layered(trained).split(k)
        place = {"split": k, "layer": name}
        for (what, task), accuracy in uncut.items():
            yield place | {"task": task, "quantity": what, "value": accuracy}
        for what, extractor, tunnel in (("E1+T2", one, two), ("E2+T1", two, one)):
            for task, head in ((1, one), (2, two)):
                accuracy = _accuracy(trained, cut.mix(extractor, tunnel, head), tests[task - 1])
                yield place | {"task": task, "quantity": what, "value": accuracy}
        (refit,) = _probed(trained, cut.mix(two, one), names[-1:], train, tests[0], max_features)
        yield place | {"task": 1, "quantity": "E2+T1, new head", "value": refit}
        yield place | {"task": 1, "quantity": "probe of E1", "value": before[k - 1]}
        yield place | {"task": 1, "quantity": "probe of E2", "value": after[k - 1]}
    trained.net.load_state_dict(two)


def reset(
    trained: Trained, *, max_features: int | None = 1024, probe_per_class: int | None = None
) -> Iterator[dict[str, Any]]:
    """Accuracy with the layers after each cut put back to their initial weights, with the trained head and a new one (Sec. 3.1).

    The new head tells lost information from a head that no longer fits. Facts: split, layer, quantity, value.
    """
    names = layered(trained).layers()
    first, last = trained.weights(0), trained.weights()
    train, (test, *_) = _probe_images(trained, probe_per_class), held_out(trained)
    for k, name in enumerate(names, start=1):
        mixed = layered(trained).split(k).mix(last, first, last)
        place = {"split": k, "layer": name}
        yield place | {"quantity": "tunnel reset", "value": _accuracy(trained, mixed, test)}
        (refit,) = _probed(trained, mixed, names[-1:], train, test, max_features)
        yield place | {"quantity": "tunnel reset, new head", "value": refit}
    trained.net.load_state_dict(last)


def development(trained: Trained, *, samples: int = 1000, max_features: int | None = 512) -> Iterator[dict[str, Any]]:
    """Rank of every layer at every kept checkpoint, and how far its weights moved since the one before (Figs. 5 and 6).

    samples: test images for the rank. Facts: step (updates made), layer, index, quantity, value.
    """
    names = layered(trained).layers()
    drawn = trained.learner.data.evaluation(samples, trained.spec.seed)
    test = drawn.x[:samples], drawn.y[:samples]
    before: Weights | None = None
    for step in snapshots(trained.folder.path):
        weights = trained.weights(step)
        trained.net.load_state_dict(weights)
        found = layerwise(trained.net, names, id_test=test, quantities=("rank",), view=View(max_features=max_features))
        for index, (name, rank) in enumerate(zip(names, found.curve("rank"), strict=True), start=1):
            yield {"step": step, "layer": name, "index": index, "quantity": "rank", "value": rank}
        moved = {} if before is None else weight_change(before, weights)
        for index, name in enumerate(names, start=1):
            for layer, change in moved.items():
                if layer in (f"{name}.conv", f"{name}.linear"):
                    yield {"step": step, "layer": name, "index": index, "quantity": "weight change", "value": change}
        before = weights
    trained.net.load_state_dict(trained.weights())


def layered(trained: Trained) -> Layered:
    """The network, which can be cut in two. Errors: Problem for one whose layers have no names in depth order."""
    if not isinstance(trained.net, Layered):
        raise Problem(
            f"Run {trained.spec.run_id} has the model {trained.spec.model.name}, which cannot be cut in two. Models that can: "
            "vgg, resnet, mlp_he."
        )
    return trained.net


def held_out(trained: Trained) -> list[Evaluation]:
    """All test images of each task, one evaluation set a task."""
    every = trained.learner.data.evaluation(None, trained.spec.seed)
    spans = [slice(int(a), int(b)) for a, b in pairwise(every.offsets)]
    columns = [None if every.columns is None else every.columns[span] for span in spans]
    return [
        Evaluation(every.x[span], every.y[span], own, np.array([0, span.stop - span.start]))
        for span, own in zip(spans, columns, strict=True)
    ]


def _accuracy(trained: Trained, weights: Weights, test: Evaluation) -> float:
    """Accuracy of the network with those weights."""
    trained.net.load_state_dict(weights)
    return float(correct(trained.learner, test, 1).float().mean())


def _probe_images(trained: Trained, per_class: int | None) -> tuple[Tensor, Tensor]:
    """Training images of task 1 for probes, and their labels."""
    resident, task = trained.learner.data, trained.stream.tasks[0]
    rows = resident.rows(task)
    labels = resident.labels_of(rows)
    kept = [rows[labels == c][:per_class] for c in np.unique(labels)]
    batch = resident.batch(np.concatenate(kept))
    return batch.x, batch.y


def _probed(
    trained: Trained,
    weights: Weights,
    names: list[str],
    train: tuple[Tensor, Tensor],
    test: Evaluation,
    max_features: int | None,
) -> list[float]:
    """Accuracy of ridge probes of those layers."""
    trained.net.load_state_dict(weights)
    view, how = View(max_features=max_features), {"quantities": ("probe",), "reference": "last probe"}
    with torch.no_grad():
        found: Any = layerwise(trained.net, names, train, (test.x, test.y), view=view, probe=Ridge(), **how)  # type: ignore[arg-type]
    return list(found.curve("ID accuracy"))

"""Analyses of SCoLe: every class against its frequency, and the frozen trunk over time."""

from collections.abc import Iterator

import numpy as np
import torch

from common.analyse import Fact, Trained
from common.analysis import Ridge, View, layerwise
from common.analysis.change import weight_change
from common.errors import Problem
from common.evaluate import correct
from common.metrics import accuracy_matrix
from common.record import snapshots
from common.streams.frequencies import inclusion
from common.streams.recipe import Recurring
from common.streams.stream import Lazy
from papers.scole.traces import course


def classes(trained: Trained) -> Iterator[Fact]:
    """Per class: p, its probability in a draw; q, that of being in a task; `share` of the tasks it was in; `expected`, its mean
    accuracy in the second half of the tasks; `last task`, what a learner would have that knows its last task alone."""
    tasks = trained.stream.tasks
    if not isinstance(tasks, Lazy) or not isinstance(tasks.recipe, Recurring):
        raise Problem(f"Run {trained.spec.run_id} has no recurring stream. Analyse one with stream.name=recurring.")
    p = tasks.recipe.probabilities
    q = inclusion(p, tasks.recipe.width)
    trace = trained.folder.trace()
    run = course(trace, accuracy_matrix(trace["bits"], trace["offsets"], trace["seen"]))
    late = run.between(run.tasks / 2, run.tasks)
    since, accuracy = run.since(), run.accuracy
    for label in range(len(p)):
        fresh = accuracy[since[:, label] == 0, label]
        known = float(fresh.mean()) if len(fresh) else 0.0
        values = {
            "p": p[label],
            "q": q[label],
            "share": run.trained[:, label].mean(),
            "expected": accuracy[late, label].mean(),
            "last task": q[label] * known,
        }
        yield from ({"class": label, "quantity": name, "value": float(value)} for name, value in values.items())


def probes(trained: Trained, *, per_class: int | None = None) -> Iterator[Fact]:
    """At every kept snapshot: accuracy of the network and of a ridge probe on its trunk, both on all classes, and how far each
    layer moved since the snapshot before (root mean square)."""
    resident = trained.learner.data
    labels = resident.labels_of(np.arange(len(resident.labels)))
    kept = [np.flatnonzero(labels == c)[:per_class] for c in np.unique(labels)]
    train = resident.batch(np.concatenate(kept))
    held_out = resident.evaluation(None, trained.spec.seed)
    steps, ends = snapshots(trained.folder.path), trained.folder.trace()["ends"]
    before = None
    for step in steps:
        after = int(np.searchsorted(ends, step, side="right"))
        weights = trained.weights(step)
        trained.net.load_state_dict(weights)
        hits = correct(trained.learner, held_out, len(held_out.offsets) - 1)
        with torch.no_grad():
            picture = layerwise(
                trained.net, ["trunk"], (train.x, train.y), (held_out.x, held_out.y), view=View(), probe=Ridge(),
                quantities=("probe",), reference="last probe",
            )  # fmt: skip
        (probed,) = picture.curve("ID accuracy")
        facts = {"accuracy": float(hits.float().mean()), "probe": float(probed)}
        yield from ({"after": after, "layer": "", "quantity": name, "value": value} for name, value in facts.items())
        if before is not None:
            for name, value in weight_change(before, weights).items():
                yield {"after": after, "layer": name, "quantity": "weight change", "value": value}
        before = weights

"""Per-sample evaluation: one batched forward for all parts measured, and nothing of training moves."""

import torch
from torch import Tensor

from common.learners.base import Learner, masked
from common.streams.resident import Evaluation


@torch.inference_mode()
def correct(learner: Learner, evaluation: Evaluation, seen: int, batch: int = 256) -> Tensor:
    """bool [offsets[seen]]: whether each held-out sample of the first `seen` parts (tasks) is classified right.

    Argmax over the whole output layer (single head) or over the task's own columns (several heads). Evaluation mode
    (running statistics, no dropout), so the answer for a sample depends on neither the batch nor the order.
    """
    count = int(evaluation.offsets[seen])
    was_training = learner.net.training
    learner.net.eval()
    hits = []
    for part in pieces(evaluation.x, count, batch):
        logits = learner.scores(evaluation, part)
        columns = None if evaluation.columns is None else evaluation.columns[part]
        hits.append(masked(logits, columns).argmax(1) == evaluation.y[part])
    learner.net.train(was_training)
    return torch.cat(hits)


def pieces(x: Tensor, count: int, batch: int) -> list[slice]:
    """The first `count` samples in pieces for one forward pass each."""
    batch = max(batch, 200_000 // x[0].numel())  # small images: fewer, larger forwards cost less
    return [slice(start, min(start + batch, count)) for start in range(0, count, batch)]

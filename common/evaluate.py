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
    batch = max(batch, 200_000 // evaluation.x[0].numel())  # small images: fewer, larger forwards cost less
    hits = []
    for start in range(0, count, batch):
        part = slice(start, min(start + batch, count))
        logits = learner.scores(evaluation, part)
        columns = None if evaluation.columns is None else evaluation.columns[part]
        hits.append(masked(logits, columns).argmax(1) == evaluation.y[part])
    learner.net.train(was_training)
    return torch.cat(hits)

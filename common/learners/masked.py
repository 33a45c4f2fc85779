"""Fine-tuning as SCoLe does it: a mask on the loss, clipped gradients, and steps without loss left out.

Lesort et al. 2023, released code (utils_training.py): the mask acts on the loss alone; predictions use all classes.
"""

from typing import Any, Literal

import torch
from torch import Tensor, nn

from common.errors import Problem
from common.learners.base import Learner, Params, Setup, State, Terms
from common.rng import torch_seed
from common.streams.resident import Batch
from common.streams.stream import Task

OUT = -1e9  # the logit of a class outside of the mask, as released


class Masked(Learner):
    """L = CE over the classes of the mask.

    mask: none; group, the labels that occur in the mini-batch (as released); task, the classes of the task.
    clip: largest norm of the gradient over all parameters (null: as it is). fresh_head: the head starts anew with each task.
    A batch of one class has loss 0 under the mask `group`; such steps are left out, as released.
    """

    skip_zero = True

    def __init__(
        self,
        setup: Setup,
        *,
        mask: Literal["none", "group", "task"] = "none",
        clip: float | None = 10.0,
        fresh_head: bool = False,
    ) -> None:
        super().__init__(setup)
        self.mask, self.clip, self.fresh_head = mask, clip, fresh_head
        self.state["allowed"] = torch.ones(self.data.stream.classes, dtype=torch.bool, device=self.data.device)

    def begin(self, task: Task) -> None:
        """Sets the mask of the task. Errors: Problem when the task has labels that the mask would exclude."""
        if self.mask == "task":
            excluded = set(self.data.labels_of(self.data.rows(task)).tolist()) - set(task.classes)
            if excluded:
                raise Problem(
                    f"learner.mask is 'task', but task {task.index} has images of the classes {sorted(excluded)}, which it "
                    f"does not name ({task.classes}): their loss could not fall. Use learner.mask=group or none."
                )
            allowed = torch.zeros_like(self.state["allowed"])
            allowed[list(task.classes)] = True
            self.state["allowed"] = allowed
        if self.fresh_head:
            self._begin_head(task)

    def _begin_head(self, task: Task) -> None:
        head: Any = self.net.head
        with torch.random.fork_rng():
            torch.manual_seed(torch_seed(self.seed, f"head of task {task.index}"))
            for module in head.modules():
                if isinstance(module, nn.Linear):
                    module.reset_parameters()

    def terms(self, params: Params, state: State, batch: Batch) -> Terms:
        """The loss on a batch, new and replayed samples alike."""
        if batch.replay is not None:
            batch = Batch(torch.cat([batch.x, batch.replay.x]), torch.cat([batch.y, batch.replay.y]))
        logits = self.apply_net(params, batch.x)
        if self.mask != "none":
            allowed = present(batch.y, logits.shape[1]) if self.mask == "group" else state["allowed"]
            logits = logits.masked_fill(~allowed, OUT)
        return Terms(self.loss(logits, batch))

    def edit(self, grads: Params, params: Params, state: State, batch: Batch) -> Params:
        """The gradient scaled so that its norm is at most `clip`."""
        return grads if self.clip is None else clipped(grads, self.clip)


def clipped(grads: Params, most: float) -> Params:
    """The gradients, all times one factor, so that their common norm is at most `most`."""
    norm = torch.linalg.vector_norm(torch.stack([torch.linalg.vector_norm(g) for g in grads.values()]))
    scale = (most / (norm + 1e-6)).clamp(max=1.0)
    return {name: g * scale for name, g in grads.items()}


def present(labels: Tensor, classes: int) -> Tensor:
    """bool [classes]: the labels that occur."""
    return (labels.unsqueeze(1) == torch.arange(classes, device=labels.device)).any(0)

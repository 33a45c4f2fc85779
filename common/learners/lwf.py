"""Learning without forgetting: the old network's answers on new data are kept by distillation."""

import torch
from torch import Tensor

from common.learners.base import Learner, Params, Setup, State, Terms
from common.streams.resident import Batch
from common.streams.stream import Task


class LwF(Learner):
    """L = CE(new) + a * KL(q || p), q and p the softened outputs of the old and the present network.

    Official code src/methods/lwf_standard.py: softmax over all outputs, only columns of classes seen in earlier tasks
    enter the sum, batch mean, no factor T^2, no penalty at the first update of a task (the two networks coincide).
    strength: a. temperature: T.
    """

    def __init__(self, setup: Setup, *, strength: float = 1.0, temperature: float = 2.0) -> None:
        super().__init__(setup)
        self.strength, self.temperature = strength, temperature

    def begin(self, task: Task) -> None:
        """No penalty at the task's first update."""
        self.state["moved"] = torch.zeros((), device=self.data.device)

    def terms(self, params: Params, state: State, batch: Batch) -> Terms:
        """(CE(new), a * KL over the old classes); no penalty during the first task."""
        logits = self.apply_net(params, batch.x)
        loss = self.loss(logits, batch)
        if "teacher" not in state:
            return Terms(loss)
        old = (self._teach(state, batch.x) / self.temperature).log_softmax(1)
        new = (logits / self.temperature).log_softmax(1)
        pointwise = old.exp() * (old - new) * state["seen"]
        return Terms(loss, self.strength * state["moved"] * pointwise.sum(1).mean())

    def after(self, grads: Params, before: Params, params: Params, state: State) -> State:
        """From the second step on the penalty counts."""
        return {"moved": torch.ones_like(state["moved"])}

    def _teach(self, state: State, x: Tensor) -> Tensor:
        training = self.net.training
        self.net.eval()  # running statistics: the teacher is frozen
        with torch.no_grad():
            logits = self.apply_net(state["teacher"], x)  # in the student's precision: alike while they are the same
        self.net.train(training)
        return logits

    def end(self, task: Task) -> None:
        """The network as it is becomes the teacher."""
        self.state["teacher"] = {n: t.detach().clone() for n, t in self.net.state_dict().items()}
        seen = self.state.get("seen", torch.zeros(self.data.stream.classes, device=self.data.device)).clone()
        seen[list(task.classes)] = 1.0
        self.state["seen"] = seen

"""Pre-training of a small backbone: plain supervised learning with label smoothing."""

from torch.nn.functional import cross_entropy

from common.learners.base import Learner, Params, Setup, State, Terms
from common.learners.masked import clipped
from common.streams.resident import Batch

VERSION = 1


class Supervised(Learner):
    """L = cross-entropy of all classes against labels smoothed by `smoothing`."""

    def __init__(self, setup: Setup, *, smoothing: float = 0.1) -> None:
        super().__init__(setup)
        self.smoothing = smoothing

    def terms(self, params: Params, state: State, batch: Batch) -> Terms:
        """The smoothed loss."""
        return Terms(cross_entropy(self.apply_net(params, batch.x), batch.y, label_smoothing=self.smoothing))


class Clipped(Supervised):
    """The same with the norm of the gradient clipped: at small and 2e-3 without it the loss jumped twice by half a unit, and the
    backbone ended at 27 % on its own classes."""

    def __init__(self, setup: Setup, *, smoothing: float = 0.1, clip: float = 1.0) -> None:
        super().__init__(setup, smoothing=smoothing)
        self.clip = clip

    def edit(self, grads: Params, params: Params, state: State, batch: Batch) -> Params:
        """The gradient scaled so that its norm is at most `clip`."""
        return clipped(grads, self.clip)

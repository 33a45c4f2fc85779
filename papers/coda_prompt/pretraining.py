"""Pre-training of a small backbone: plain supervised learning with label smoothing."""

from torch.nn.functional import cross_entropy

from common.learners.base import Learner, Params, Setup, State, Terms
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

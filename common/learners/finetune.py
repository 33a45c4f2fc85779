"""Fine-tuning: plain training on the new task, nothing kept of the old ones. The lower bound of every comparison."""

from common.learners.base import Learner


class Finetune(Learner):
    """The base learner under its own name: L = CE(new)."""

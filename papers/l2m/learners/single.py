"""One modulator beside the frozen net, for all tasks: adapters, LoRA, IA3, prompt tuning, prefix tuning, P-tuning v2."""

from typing import Literal

from torch import Tensor

from common.learners.base import Setup
from papers.l2m.changes import Change
from papers.l2m.learners.cloning import Cloning
from papers.l2m.modulators import Modulator, modulator

VERSION = 1


class Single(Cloning):
    """kind: what is trained; prompt is prompt tuning, prefix is prefix tuning, deep_prompt is P-tuning v2 (soft tokens at every
    layer's input). rank, scale (alpha / rank): of LoRA. length: of prompts."""

    modulator: Modulator

    def __init__(
        self,
        setup: Setup,
        *,
        kind: Literal["lora", "ia3", "adapter", "prompt", "prefix", "deep_prompt"],
        rank: int = 8,
        scale: float = 2.0,
        length: int = 25,
        clip: float = 0.25,
    ) -> None:
        super().__init__(setup, clip)
        self.net.requires_grad_(False)
        made = modulator(kind, 1, self.net, setup.seed, rank, scale, length)
        self.net.modulator = made.to(setup.data.device)
        self.train_only()

    def modulation(self, tokens: Tensor, there: Tensor, played: Tensor | None) -> tuple[Change, Tensor | None]:
        """The one modulator, everywhere."""
        return self.net.modulator.pick(None, None), None

"""Scalars of several runs' updates, kept on the device and brought into their traces in blocks."""

import numpy as np
import torch
from torch import Tensor

from common.progress import Facts

BLOCK = 1024  # updates between two transfers


class GroupFacts:
    """What the members note at each update, in the order of the updates."""

    def __init__(self, members: list[Facts]) -> None:
        self.members = members
        self.waiting: list[dict[str, Tensor]] = []

    def of_all(self, scalars: dict[str, Tensor]) -> None:
        """Takes the scalars [members] of an update of all."""
        self.waiting.append(scalars)
        if len(self.waiting) >= BLOCK:
            self.flush()

    def of_each(self, who: list[int], scalars: list[dict[str, Tensor]]) -> None:
        """Takes the scalars of updates that some made alone."""
        names = scalars[0].keys()
        if len(who) == len(self.members) and all(s.keys() == names for s in scalars):
            self.of_all({name: torch.stack([s[name] for s in scalars]) for name in names})
            return
        self.flush()
        for k, own in zip(who, scalars, strict=True):
            self.members[k].noted(own)
            self.members[k].flush()

    def flush(self) -> None:
        """Brings everything taken so far into the traces."""
        for name in dict.fromkeys(name for scalars in self.waiting for name in scalars):
            missing = torch.full((len(self.members),), float("nan"))
            column = torch.stack([scalars.get(name, missing).float() for scalars in self.waiting]).cpu().numpy()
            for member, values in zip(self.members, column.T, strict=True):
                member.trace.noted(member.start, name, np.ascontiguousarray(values))
        for member in self.members:
            member.start += len(self.waiting)
        self.waiting = []

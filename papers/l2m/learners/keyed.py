"""Keys: how near queries are to them, how often each was taken, and how rare a key is."""

import torch
from torch import Tensor
from torch.nn.functional import normalize

from common.learners.base import State

FEW = 1e-6


def closeness(query: Tensor, keys: Tensor) -> Tensor:
    """[B, keys]: cosine of each query with each key; no gradient reaches the query."""
    return normalize(query.detach().float(), dim=1) @ normalize(keys, dim=1).T


def rarity(taken: Tensor) -> Tensor:
    """[keys]: weights in proportion to 1 / (share of samples that took a key + 1e-6), their sum 1."""
    few = 1 / (taken + FEW)
    return few / few.sum()


def count(state: State, index: Tensor) -> None:
    """Nothing; `taken` in the state, the mean over batches of the share of samples that took each key, goes on by a batch."""
    share = torch.bincount(index.flatten(), minlength=len(state["taken"])) / len(index)
    state["batches"] += 1
    state["taken"] = state["taken"] + (share - state["taken"]) / state["batches"]

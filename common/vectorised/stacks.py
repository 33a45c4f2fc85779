"""Tensors of several runs as one, of which each run holds its part: stacked trees, and one optimiser for all members."""

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor

from common import parts
from common.learners.base import Params
from common.schedules import set_rate
from common.spec import PartSpec
from common.vectorised.lift import same

Groups = list[
    tuple[slice, Any, PartSpec]
]  # members with the same settings, their optimiser over the stacks, the settings


def stacked(tensors: list[Tensor]) -> Tensor:
    """The tensors one after the other in a new tensor; each part has the strides of its original."""
    one = tensors[0]
    made = torch.empty_strided(
        (len(tensors), *one.shape), (one.numel(), *one.stride()), dtype=one.dtype, device=one.device
    )
    for part, tensor in zip(made.unbind(0), tensors, strict=True):
        part.copy_(tensor)
    return made


def tree(trees: list[Any]) -> Any:
    """Dictionaries of tensors as one dictionary of stacked tensors; the originals' entries become parts of it.

    What is no tensor must be the same in all. Errors: ValueError where they differ in more than numbers in tensors.
    """
    first = trees[0]
    if isinstance(first, dict):
        if any(t.keys() != first.keys() for t in trees):
            raise ValueError("their states have different entries")
        made = {}
        for key in first:
            made[key] = tree([t[key] for t in trees])
            for k, t in enumerate(trees):
                if isinstance(t[key], Tensor):
                    t[key] = made[key][k]
        return made
    if isinstance(first, Tensor):
        if any(t.shape != first.shape for t in trees):
            raise ValueError("their states have tensors of different shapes")
        return stacked([t.detach() for t in trees])
    if any(t != first for t in trees):
        raise ValueError("their states differ in a number")
    return first


def form(value: Any) -> Any:
    """What a tree of tensors is apart from its numbers, to compare it with another."""
    if isinstance(value, dict):
        return tuple((key, form(inner)) for key, inner in value.items())
    return (value.shape, value.dtype) if isinstance(value, Tensor) else value


class Optimiser:
    """One optimiser over stacked parameters for all members that share its settings, where it does the same as alone.

    alone: the members' own optimisers, over their parts of the same parameters. `gather` takes the members' state over,
    `spread` hands it back; in between, only one side's is up to date.
    """

    def __init__(self, params: Params, alone: list[Any], settings: list[PartSpec]) -> None:
        self.params, self.alone = params, alone
        self.groups: Groups = []
        start = 0
        for k in range(1, len(settings) + 1):
            if k == len(settings) or settings[k] != settings[start]:
                members, chosen = slice(start, k), settings[start]
                made = _made(chosen, (p[members] for p in params.values()))
                self.groups.append((members, made, chosen))
                start = k
        self.scheduled = any(hasattr(made, "schedule") for _, made, _ in self.groups)
        self.exact = all(_as_alone(chosen, [p[m] for p in params.values()]) for m, _, chosen in self.groups)

    def clear(self) -> None:
        """Forgets the state of all."""
        for one in (*self.alone, *(made for _, made, _ in self.groups)):
            one.state.clear()

    def step(self, grads: list[Tensor | None], step: int, updates: int) -> None:
        """One step of all members. grads: stacked, in the order of the parameters."""
        for members, made, _ in self.groups:
            set_rate(made, step, updates)
            for p, g in zip(made.param_groups[0]["params"], grads, strict=True):
                p.grad = None if g is None else g[members]
            made.step()

    def gather(self) -> bool:
        """Whether the members' states could be taken over: they must have come equally far."""
        for members, made, _ in self.groups:
            own = [one.param_groups[0]["params"] for one in self.alone[members]]
            made.state.clear()
            for k, p in enumerate(made.param_groups[0]["params"]):
                found = [one.state.get(params[k], {}) for one, params in zip(self.alone[members], own, strict=True)]
                joined = _joined(found, p.shape[1:])
                if joined is None:
                    return False
                if joined:
                    made.state[p] = joined
        return True

    def spread(self) -> None:
        """Gives every member's own optimiser its part of the state and the settings of the moment."""
        for members, made, _ in self.groups:
            for k, one in enumerate(self.alone[members]):
                kept = {key: value for key, value in made.param_groups[0].items() if key != "params"}
                one.param_groups[0].update(kept)
                for p, mine in zip(made.param_groups[0]["params"], one.param_groups[0]["params"], strict=True):
                    if p in made.state:
                        one.state[mine] = {key: _part(value, k, p.shape[1:]) for key, value in made.state[p].items()}


def _made(settings: PartSpec, params: Iterable[Tensor]) -> Any:
    return parts.find("optimiser", settings.name).load()(list(params), **settings.settings)


def _part(value: Any, k: int, shape: torch.Size) -> Any:
    if not isinstance(value, Tensor):
        return value
    return value[k].clone() if value.shape[1:] == shape and value.ndim == len(shape) + 1 else value.clone()


def _joined(found: list[dict[str, Any]], shape: torch.Size) -> dict[str, Any] | None:
    """One parameter's state of several members as one; None where they have not come equally far."""
    if any(state.keys() != found[0].keys() for state in found):
        return None
    joined: dict[str, Any] = {}
    for key, first in found[0].items():
        values = [state[key] for state in found]
        if isinstance(first, Tensor) and first.shape == shape and key != "step":
            joined[key] = stacked(values)
        elif all(same(v, first) if isinstance(first, Tensor) else v == first for v in values):
            joined[key] = first.clone() if isinstance(first, Tensor) else first
        else:
            return None
    return joined


def _as_alone(settings: PartSpec, params: list[Tensor]) -> bool:
    """Whether three steps on random numbers end with the same bits, stacked and one by one."""
    generator = torch.Generator().manual_seed(0)
    start = [torch.randn(p.shape, generator=generator).to(p) for p in params]
    whole = [t.clone() for t in start]
    each = [[t[k].clone() for t in start] for k in range(len(params[0]))]
    makers: list[tuple[Any, Callable[[Tensor], Tensor], list[Tensor]]] = [(_made(settings, whole), lambda g: g, whole)]
    for k, own in enumerate(each):
        makers.append((_made(settings, own), lambda g, k=k: g[k], own))  # type: ignore[misc]
    for step in range(3):
        grads = [torch.randn(p.shape, generator=generator).to(p) for p in params]
        for made, pick, own in makers:
            set_rate(made, step, 3)
            for p, g in zip(own, grads, strict=True):
                p.grad = pick(g)
            made.step()
    return all(same(w[k], own[j]) for k, own in enumerate(each) for j, w in enumerate(whole))

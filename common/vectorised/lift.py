"""Captured operations of one run, lifted to several: tensors [members, ...] in, tensors [members, ...] out, same bits."""

import operator
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, fx
from torch.utils import _pytree as pytree

from common.vectorised.rules import RULES, Lone

Function = Callable[..., Any]
ALIGNMENT = 64  # bytes, of every tensor that torch allocates on a processor
TRIALS = 3  # draws of random numbers on which an operation for all must equal the operation for each


class Program:
    """A captured function for `members` runs at once; call it with stacked tensors in the order of its inputs."""

    def __init__(self, graph: fx.GraphModule, members: int, example: list[Tensor]) -> None:
        self.members = members
        self.steps: list[tuple[Function, tuple[int, ...], int]] = []
        self.one_by_one: list[str] = []  # operations that are done member after member
        self.slots: list[Any] = []
        self.place: dict[fx.Node, int] = {}
        self.given: list[int] = []
        self.results: list[int | None] = []
        waiting = iter(example)
        for node in graph.graph.nodes:
            if node.op == "placeholder":
                self.given.append(self._slot(node, next(waiting)))
            elif node.op == "call_function":
                self._add(node)
            elif node.op == "output":
                flat = pytree.tree_leaves(node.args[0], is_leaf=lambda x: x is None)
                self.results = [self.place[n] if isinstance(n, fx.Node) else None for n in flat]
        changing = {out for _, _, out in self.steps} | set(self.given)
        self.slots = [None if k in changing else value for k, value in enumerate(self.slots)]
        self.ended = self._ends(changing - {k for k in self.results if k is not None})

    def __call__(self, tensors: list[Tensor]) -> list[Tensor | None]:
        """Stacked results in the order of the function's own, None where it gives none."""
        slots = self.slots.copy()
        for k, tensor in zip(self.given, tensors, strict=True):
            slots[k] = tensor
        for (function, wanted, out), ended in zip(self.steps, self.ended, strict=True):
            slots[out] = function(*[slots[k] for k in wanted])
            for k in ended:
                slots[k] = None
        return [None if k is None else slots[k] for k in self.results]

    def _ends(self, free: set[int]) -> list[tuple[int, ...]]:
        """After each step, the slots that nobody reads any more: their memory is taken again while it is in the cache."""
        last = {k: n for n, (_, wanted, _) in enumerate(self.steps) for k in wanted if k in free}
        ended: list[list[int]] = [[] for _ in self.steps]
        for k, n in last.items():
            ended[n].append(k)
        return [tuple(slots) for slots in ended]

    def _slot(self, node: fx.Node, value: Any) -> int:
        self.slots.append(value)
        self.place[node] = len(self.slots) - 1
        return len(self.slots) - 1

    def _add(self, node: fx.Node) -> None:
        """One operation: left out, done once, for all, or for each."""
        if node.target is torch.ops.aten.detach.default:
            self.place[node] = self.place[node.args[0]]  # type: ignore[index]
            return
        wanted = tuple(self.place[n] for n in _tensors(node))
        if node.target is operator.getitem:
            which = node.args[1]
            self._do(node, lambda values: values[which], wanted)
            return
        if not wanted:
            value = node.target(*node.args, **node.kwargs)  # type: ignore[operator]
            self._slot(node, value.expand(self.members, *value.shape))
            return
        inputs = [self.slots[k] for k in wanted]
        each = one_by_one(node)
        rule = RULES.get(node.target) or (RULES["pointwise"] if _pointwise(node) else None)
        lifted = None if rule is None else rule(Lone.of(node, self.members))
        if lifted is None or not equal(lifted, each, inputs):
            self.one_by_one.append(str(node.target))
            lifted = each
        self._do(node, lifted, wanted)

    def _do(self, node: fx.Node, function: Function, wanted: tuple[int, ...]) -> None:
        out = self._slot(node, function(*[self.slots[k] for k in wanted]))
        self.steps.append((function, wanted, out))


def one_by_one(node: fx.Node) -> Function:
    """The lone operation for one member after the other: equal by construction."""
    flat, form = pytree.tree_flatten((node.args, dict(node.kwargs)))
    where = [k for k, value in enumerate(flat) if isinstance(value, fx.Node)]
    target: Any = node.target

    def each(*tensors: Tensor) -> Any:
        found = []
        for own in zip(*(t.unbind(0) for t in tensors), strict=True):
            for k, tensor in zip(where, own, strict=True):
                flat[k] = aligned(tensor)
            args, kwargs = pytree.tree_unflatten(flat, form)
            found.append(target(*args, **kwargs))
        if isinstance(found[0], Tensor):
            return torch.stack(found)
        return tuple(torch.stack(column) if column[0] is not None else None for column in zip(*found, strict=True))

    return each


def aligned(t: Tensor) -> Tensor:
    """The tensor where torch would have put it alone: some sums (a dot product's) depend on where memory begins."""
    return t if t.data_ptr() % ALIGNMENT == 0 else t.clone()


def equal(lifted: Function, each: Function, inputs: list[Tensor]) -> bool:
    """Whether both give the same bits: on the inputs themselves, and on random numbers in their place."""
    for trial in range(TRIALS + 1):
        tried = inputs if trial == 0 else [scrambled(t, trial) for t in inputs]
        try:
            if not same(lifted(*tried), each(*tried)):
                return False
        except (RuntimeError, TypeError, IndexError, ValueError):
            return False  # a rule that does not fit these arguments
    return True


def same(one: Any, other: Any) -> bool:
    """Whether two results (tensors, or tuples of them) have the same bits and types."""
    if not isinstance(one, Tensor) or not isinstance(other, Tensor):
        if one is None or other is None:
            return one is other
        return len(one) == len(other) and all(same(a, b) for a, b in zip(one, other, strict=True))
    if one.shape != other.shape or one.dtype != other.dtype:
        return False
    return torch.equal(_bits(one), _bits(other))


def _bits(t: Tensor) -> Tensor:
    return t.contiguous().view(torch.uint8) if t.is_floating_point() and t.ndim else t


def scrambled(t: Tensor, seed: int) -> Tensor:
    """Random numbers in a tensor of the same shape and strides; whole numbers (labels, rows) stay as they are."""
    if not t.is_floating_point():
        return t
    generator = torch.Generator(t.device).manual_seed(seed)
    repeated = [k for k, (size, step) in enumerate(zip(t.shape, t.stride(), strict=True)) if step == 0 and size > 1]
    base = t
    for k in repeated:
        base = base.narrow(k, 0, 1)
    made = torch.empty_strided(base.shape, base.stride(), dtype=t.dtype, device=t.device)
    return made.normal_(generator=generator).expand(t.shape)


def _tensors(node: fx.Node) -> list[fx.Node]:
    return [value for value in pytree.tree_leaves((node.args, dict(node.kwargs))) if isinstance(value, fx.Node)]


def _pointwise(node: fx.Node) -> bool:
    return torch.Tag.pointwise in getattr(node.target, "tags", ())

"""How an operation on one run's tensors reads on stacked ones; whether that gives the same bits is tried by lift.py.

A rule gets the lone operation and returns a function of its stacked tensors, in their order, or None. What has no rule
is done member after member.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, fx

aten = torch.ops.aten
Function = Callable[..., Any]


@dataclass(frozen=True)
class Lone:
    """A captured operation: arguments (tensors as nodes), shapes of the tensors among them and of the result."""

    target: Any
    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    shapes: tuple[torch.Size, ...]
    out: torch.Size | None
    members: int

    @classmethod
    def of(cls, node: fx.Node, members: int) -> "Lone":
        """The operation of a node."""
        nodes = [n for n in _flat(node.args) if isinstance(n, fx.Node)]
        value = node.meta.get("val")
        out = value.shape if isinstance(value, Tensor) else None
        shapes = tuple(n.meta["val"].shape for n in nodes if isinstance(n.meta.get("val"), Tensor))
        return cls(node.target, node.args, dict(node.kwargs), shapes, out, members)

    def arg(self, k: int, otherwise: Any = None) -> Any:
        """Argument k, or its default."""
        return self.args[k] if len(self.args) > k else otherwise

    def dim(self, dim: int, extra: int = 0) -> int:
        """A dimension of the first tensor, counted in the stacked one."""
        return (dim if dim >= 0 else dim + len(self.shapes[0]) + extra) + 1

    def stacked(self, shape: Any) -> list[int]:
        """A lone shape with the members before it."""
        return [self.members, *shape]


def _flat(args: Any) -> list[Any]:
    return [x for a in args for x in (_flat(a) if isinstance(a, list | tuple) else [a])]


def pointwise(lone: Lone) -> Function | None:
    """Entry by entry: the operation itself, with room for dimensions that a smaller tensor is repeated along."""
    if lone.out is None or any(isinstance(a, list | tuple) for a in lone.args):
        return None
    where = [k for k, a in enumerate(lone.args) if isinstance(a, fx.Node)]
    missing = [len(lone.out) - len(shape) for shape in lone.shapes]
    views = [lone.stacked([1] * m + list(shape)) if m else None for m, shape in zip(missing, lone.shapes, strict=True)]
    target, kwargs, args = lone.target, lone.kwargs, list(lone.args)
    if not any(missing) and not kwargs:
        if where == list(range(len(args))):
            return target
        if where == [0]:
            rest = args[1:]
            return lambda a: target(a, *rest)
        if where == [0, 1]:
            rest = args[2:]
            return lambda a, b: target(a, b, *rest)

    def apply(*tensors: Tensor) -> Any:
        for k, tensor, view in zip(where, tensors, views, strict=True):
            args[k] = tensor if view is None else tensor.reshape(view)
        return target(*args, **kwargs)

    return apply


def _view(lone: Lone) -> Function:
    shape = lone.stacked(lone.out or ())
    return lambda x: x.reshape(shape)


def _expand(lone: Lone) -> Function:
    assert lone.out is not None
    shape = lone.stacked(lone.out)
    between = lone.stacked([1] * (len(lone.out) - len(lone.shapes[0])) + list(lone.shapes[0]))
    return lambda x: x.reshape(between).expand(shape)


def _t(lone: Lone) -> Function:
    return (lambda x: x.transpose(1, 2)) if len(lone.shapes[0]) == 2 else (lambda x: x)


def _one_dim(lone: Lone) -> Function:
    """Operations (x, dim, ...) that keep their other arguments."""
    dim, rest, target = lone.dim(lone.arg(1, 0)), lone.args[2:], lone.target
    return lambda x: target(x, dim, *rest)


def _unsqueeze(lone: Lone) -> Function:
    dim = lone.dim(lone.args[1], 1)
    return lambda x: x.unsqueeze(dim)


def _two_dims(lone: Lone) -> Function:
    one, two = lone.dim(lone.args[1]), lone.dim(lone.args[2])
    return lambda x: x.transpose(one, two)


def _permute(lone: Lone) -> Function:
    dims = [0, *(lone.dim(d) for d in lone.args[1])]
    return lambda x: x.permute(dims)


def _backward_of_slice(lone: Lone) -> Function:
    sizes, dim, rest, target = lone.stacked(lone.args[1]), lone.args[2], lone.args[3:], lone.target
    at = (dim if dim >= 0 else dim + len(lone.args[1])) + 1
    return lambda x: target(x, sizes, at, *rest)


def _joined(lone: Lone) -> Function:
    extra = int(lone.target is aten.stack.default)
    dim, target = lone.dim(lone.arg(1, 0), extra), lone.target
    return lambda *tensors: target(tensors, dim)


def _mm(lone: Lone) -> Function:
    return torch.bmm


def _addmm(lone: Lone) -> Function | None:
    if len(lone.shapes[0]) != 1 or lone.kwargs:
        return None
    return lambda bias, x, w: torch.baddbmm(bias.unsqueeze(1), x, w)


def _reduced(lone: Lone) -> Function:
    target, kwargs, keep = lone.target, lone.kwargs, lone.arg(2, False)
    wanted = lone.arg(1)
    dims = [lone.dim(d) for d in wanted] if wanted else list(range(1, len(lone.shapes[0]) + 1))
    return lambda x: target(x, dims, keep, **kwargs)


def _whole(lone: Lone) -> Function | None:
    """A sum or mean over everything: over each member's row."""
    if lone.kwargs:
        return None
    over = {aten.sum.default: torch.sum, aten.mean.default: torch.mean}[lone.target]
    return lambda x: over(x.reshape(len(x), -1), 1)


def _norm(lone: Lone) -> Function | None:
    """The norm of everything: of each member's row."""
    order, target = lone.arg(1, 2), lone.target
    if lone.arg(2) is not None or lone.arg(3, False) or lone.kwargs:
        return None
    return lambda x: target(x.reshape(len(x), -1), order, [1])


def _log_softmax_backward(lone: Lone) -> Function:
    target, dim, dtype = lone.target, lone.dim(lone.args[2]), lone.args[3]
    return lambda g, out: target(g, out, dim, dtype)


def _nll_forward(lone: Lone) -> Function | None:
    """The sum over samples must keep its order, so each member's own; what else it needs is done by the caller."""
    if lone.args[2] is not None:
        return None
    rest, target = lone.args[2:], lone.target._op

    def each(logs: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        pairs = [target(a, b, *rest) for a, b in zip(logs.unbind(0), labels.unbind(0), strict=True)]
        losses, weights = zip(*pairs, strict=True)
        return torch.stack(losses), torch.stack(weights)

    return each


def _nll_backward(lone: Lone) -> Function | None:
    """Each sample's own share of the gradient, all members' samples in one batch."""
    _, _, _, weight, reduction, ignored, _ = lone.args
    if weight is not None or reduction != 1 or len(lone.shapes[1]) != 2:
        return None
    count, classes = lone.shapes[1]
    members, target = lone.members, lone.target

    def all_at_once(g: Tensor, logs: Tensor, labels: Tensor, total: Tensor) -> Tensor:
        own = (g / total).unsqueeze(1).expand(members, count).reshape(-1)
        flat = target(own, logs.reshape(-1, classes), labels.reshape(-1), None, 0, ignored, total[0])
        return flat.view(members, count, classes)

    return all_at_once


def _folded(lone: Lone) -> Function | None:
    """What treats every sample by itself (pooling): all members' samples in one batch."""
    if lone.kwargs or any(isinstance(a, fx.Node) for a in lone.args[len(lone.shapes) :]):
        return None
    count, target = len(lone.shapes), lone.target
    if list(map(type, lone.args[:count])) != [fx.Node] * count or any(len(s) != 4 for s in lone.shapes):
        return None
    rest, members = lone.args[count:], lone.members

    def apply(*tensors: Tensor) -> Any:
        found = target(*(t.flatten(0, 1) for t in tensors), *rest)
        if isinstance(found, Tensor):
            return found.unflatten(0, (members, -1))
        return tuple(f.unflatten(0, (members, -1)) for f in found)

    return apply


RULES: dict[Any, Callable[[Lone], Function | None]] = {
    "pointwise": pointwise,
    aten.view.default: _view,
    aten._unsafe_view.default: _view,
    aten.reshape.default: _view,
    aten.expand.default: _expand,
    aten.t.default: _t,
    aten.transpose.int: _two_dims,
    aten.permute.default: _permute,
    aten.unsqueeze.default: _unsqueeze,
    aten.squeeze.dim: _one_dim,
    aten.slice.Tensor: _one_dim,
    aten.select.int: _one_dim,
    aten.argmax.default: _one_dim,
    aten._softmax.default: _one_dim,
    aten._log_softmax.default: _one_dim,
    aten._log_softmax_backward_data.default: _log_softmax_backward,
    aten.slice_backward.default: _backward_of_slice,
    aten.select_backward.default: _backward_of_slice,
    aten.cat.default: _joined,
    aten.stack.default: _joined,
    aten.mm.default: _mm,
    aten.addmm.default: _addmm,
    aten.sum.dim_IntList: _reduced,
    aten.mean.dim: _reduced,
    aten.sum.default: _whole,
    aten.mean.default: _whole,
    aten.linalg_vector_norm.default: _norm,
    aten.any.dim: _one_dim,
    aten.ones_like.default: pointwise,
    aten.zeros_like.default: pointwise,
    aten.nll_loss_forward.default: _nll_forward,
    aten.nll_loss_backward.default: _nll_backward,
    aten.max_pool2d_with_indices.default: _folded,
    aten.avg_pool2d.default: _folded,
}

"""What a learner computes at an update, captured from the lone run's own code as a list of operations."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, fx, nn
from torch.fx.experimental.proxy_tensor import make_fx

from common.build import build, fabric_for
from common.learners.base import Learner, Params, State
from common.ranks import undivided
from common.spec import RunSpec
from common.streams.resident import Batch

Results = tuple[list[Tensor | None], Tensor, Tensor | None]  # gradients, plasticity, stability


class Unfit(Exception):
    """A computation that cannot be done for several runs at once; says why."""


def gradients(learner: Learner) -> Callable[[Params, State, Batch], Results]:
    """The first half of an update as a function: gradient of the loss in the order of the parameters, and both terms."""

    def step(params: Params, state: State, batch: Batch) -> Results:
        leaves = {name: p.detach().requires_grad_() for name, p in params.items()}
        terms = learner.terms(leaves, state, batch)
        found = torch.autograd.grad(terms.total, list(leaves.values()), allow_unused=True)
        return list(found), terms.plasticity.detach(), None if terms.stability is None else terms.stability.detach()

    return step


def captured(function: Callable[..., Any], *example: Any) -> fx.GraphModule:
    """The operations that a function performs on such arguments. Errors: Unfit where they are not the same every time."""
    try:
        graph: fx.GraphModule = make_fx(lambda *inputs: function(*inputs))(*example)  # it miscounts those of methods
    except Exception as error:  # torch has no common type for what it cannot capture
        first = (str(error).splitlines() or [""])[0]
        raise Unfit(f"its update depends on values ({type(error).__name__}: {first[:120]})") from error
    for node in graph.graph.nodes:
        if node.op == "get_attr":
            raise Unfit("its loss uses a tensor that is neither weight, state nor batch")
        if node.op == "call_function" and isinstance(node.target, torch._ops.OpOverload):
            if torch.Tag.nondeterministic_seeded in node.target.tags:
                raise Unfit(f"its loss draws random numbers ({node.target})")
            if node.target._schema.is_mutable:
                raise Unfit(f"its loss changes a tensor in place ({node.target})")
    return graph


def unfit(spec: RunSpec, device: str) -> str | None:
    """Why a run can only be carried out alone; None when nothing speaks against it."""
    fabric = fabric_for(device, spec.precision)
    if fabric.device.type != "cpu":
        return "groups are for processors; a GPU makes one run at a time"
    learner = build(spec, fabric)[1]
    return unfit_network(learner.net) or unfit_learner(learner)


def unfit_network(net: nn.Module) -> str | None:
    """Why a network cannot be trained in a group; None when nothing speaks against it."""
    for module in net.modules():
        if undivided(module):
            return f"{type(module).__name__} keeps statistics of its batches, or draws random numbers"
    return None


def unfit_learner(learner: Learner) -> str | None:
    """Why a learner cannot be trained in a group; None when nothing speaks against it."""
    if type(learner).update is not Learner.update:
        return f"{type(learner).__name__} has an `update` of its own; only terms, edit and after can be batched"
    if learner.watch:
        return "evaluation.gradients asks for norms of each run's own gradients"
    return None

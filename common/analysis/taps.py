"""Layers of any torch network by name, and their outputs while it stays as it is: no mode, weight, buffer or draw moves.

A tap hears what a module gives back, before anything after it: name the convolution for its raw output, the BatchNorm or
ReLU module behind it for what comes later, the block for the sum with its skip. What a network computes without a module
(`torch.relu(x)`) has no name and cannot be tapped. `input` names the network's input.
"""

import itertools
import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from common.analysis.views import View
from common.errors import Problem, nearest

KINDS: tuple[type[nn.Module], ...] = (nn.Conv2d, nn.Linear)
INPUT = "input"


def tapped(
    net: nn.Module, names: str | Sequence[str] | None = None, kinds: tuple[type[nn.Module], ...] = KINDS
) -> list[str]:
    """Full names of layers, each once: all modules of `kinds` in the order of the network, or those that `names` match.

    names: names as in `net.named_modules()`, or patterns: `*` stands for any part without a dot, `**` for any part
    (`blocks.*`, `**.conv2`). Errors: Problem with every name that matches nothing and the nearest one; no layer at all.
    """
    modules = {name: module for name, module in net.named_modules() if name}
    if names is None:
        found = [name for name, module in modules.items() if isinstance(module, kinds)]
        if not found:
            words = " or ".join(kind.__name__ for kind in kinds)
            raise Problem(f"The network ({type(net).__name__}) has no layer of kind {words}.")
        return found
    found, unknown = [], []
    for name in [names] if isinstance(names, str) else names:
        matches = [name] if name in modules or name == INPUT else _matching(name, modules)
        found += matches
        if not matches:
            unknown.append(f"The network ({type(net).__name__}) has no layer '{name}'.{nearest(name, modules)}")
    if unknown or not found:
        raise Problem(*(unknown or ["No layer is named."]))
    return list(dict.fromkeys(found))


def _matching(pattern: str, modules: dict[str, nn.Module]) -> list[str]:
    parts = {"**": ".*", "*": "[^.]*", "?": "[^.]"}
    regex = "".join(parts.get(part, re.escape(part)) for part in re.split(r"(\*\*|\*|\?)", pattern))
    return [name for name in modules if re.fullmatch(regex, name)] if re.search(r"[*?]", pattern) else []


class Pass(NamedTuple):
    """What a forward pass gave: features [B, d] per layer, and the network's own output."""

    features: dict[str, Tensor]
    output: Any


class _Catcher:
    """Hears the outputs of the tapped layers and keeps their features (copies: a ReLU may work in place)."""

    def __init__(self, view: View) -> None:
        self.view, self.samples = view, 0
        self.caught: dict[str, Tensor] = {}
        self.indices: dict[tuple[str, int], Tensor | None] = {}

    def hook(self, name: str) -> Callable[..., None]:
        def hear(module: nn.Module, args: Any, output: Any) -> None:
            if self.samples:  # somebody else's forward pass is none of ours
                self.keep(name, output)

        return hear

    def keep(self, name: str, output: Any) -> None:
        if name in self.caught:
            raise Problem(
                f"Layer '{name}' is called more than once in a forward pass, so it has no one output: tap the layers "
                "around it."
            )
        if isinstance(output, tuple | list) and output:
            output = output[0]  # attention and recurrent layers: (output, weights or state)
        if not isinstance(output, Tensor):
            raise Problem(f"Layer '{name}' gives a {type(output).__name__}, not a tensor: tap a layer inside it.")
        if output.ndim < 2 or len(output) != self.samples:
            raise Problem(
                f"Layer '{name}' gives {list(output.shape)} for {self.samples} samples: its first dimension is not the "
                "samples. Tap the block around it."
            )
        flat = self.view.pooled(name, output)
        key = (name, flat.shape[1])
        if key not in self.indices:
            index = self.view.index(*key)
            self.indices[key] = None if index is None else index.to(flat.device)
        chosen = self.indices[key]
        if chosen is None:
            self.caught[name] = flat.to(torch.float32, copy=True)
        else:
            self.caught[name] = flat.index_select(1, chosen).float()


def device_of(net: nn.Module) -> torch.device:
    """Where the network's first parameter or buffer lies; the CPU when it has none."""
    for tensor in itertools.chain(net.parameters(), net.buffers()):
        return tensor.device
    return torch.device("cpu")


@contextmanager
def frozen(net: nn.Module, names: Sequence[str], view: View) -> Iterator[Callable[[Tensor], Pass]]:
    """A function from inputs [B, ...] to a Pass, valid inside the `with`: evaluation mode, full float32, no gradients.

    Afterwards every module is in the mode it was in, no hook is left and torch's generators are where they were.
    Errors: Problem for a layer that is called twice or never, or whose output is not [B, ...].
    """
    catcher, device = _Catcher(view), device_of(net)
    modules = dict(net.named_modules())

    def forward(x: Tensor) -> Pass:
        catcher.caught, catcher.samples = {}, len(x)
        x = x.to(device)
        if INPUT in names and INPUT not in modules:
            catcher.keep(INPUT, x)
        try:
            with torch.no_grad(), torch.autocast(device.type, enabled=False):
                output = net(x)
        finally:
            catcher.samples = 0
        silent = [name for name in names if name not in catcher.caught]
        if silent:
            raise Problem(*[f"Layer '{name}' is not called in a forward pass." for name in silent])
        caught, catcher.caught = catcher.caught, {}  # whoever asked is the only one who keeps the features
        return Pass({name: caught[name] for name in names}, output)

    with ExitStack() as undo:
        undo.enter_context(torch.random.fork_rng([device] if device.type == "cuda" else []))
        undo.enter_context(_without_tf32())
        for module in modules.values():
            undo.callback(setattr, module, "training", module.training)
        for name in names:
            if name in modules:
                undo.callback(modules[name].register_forward_hook(catcher.hook(name)).remove)
        net.eval()
        yield forward


@contextmanager
def _without_tf32() -> Iterator[None]:
    """TF32 rounds to 10 bits, a relative error of 1e-3: the very threshold of the rank."""
    matmul, conv = torch.backends.cuda.matmul, torch.backends.cudnn
    before = matmul.allow_tf32, conv.allow_tf32
    matmul.allow_tf32 = conv.allow_tf32 = False
    try:
        yield
    finally:
        matmul.allow_tf32, conv.allow_tf32 = before

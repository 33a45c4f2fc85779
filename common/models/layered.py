"""Networks whose layers have names in depth order, and can be cut in two at any of them: extractor and tunnel.

Each layer is one child of `trunk` (conv1, conv2 ..., fc1 ..., block1 ...), whose output is taken after the ReLU. What it
is made of is below it: trunk.conv3.conv is the bare convolution, trunk.conv3.norm its normalisation; a ResNet's block
has conv1, norm1, conv2, norm2 and, where the shape changes, downsample. Nothing works in place, so that a hook on any
of these modules keeps what the module put out.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, get_args

from torch import Tensor, nn

from common.errors import Problem, nearest
from common.models.small import Net

Which = Literal["relu", "conv", "all", "conv2"]
Weights = Mapping[str, Tensor]


@dataclass(frozen=True)
class Split:
    """A network cut after a layer: names of its weights and buffers, those of the layers up to it, of the others, of the head."""

    extractor: tuple[str, ...]
    tunnel: tuple[str, ...]
    head: tuple[str, ...]

    def mix(self, extractor: Weights, tunnel: Weights, head: Weights | None = None) -> dict[str, Tensor]:
        """Weights for load_state_dict: E of one checkpoint, T of another, head of a third (None: of the tunnel's).

        Running statistics of BatchNorm go with their layer.
        """
        top = tunnel if head is None else head
        parts = ((self.extractor, extractor), (self.tunnel, tunnel), (self.head, top))
        return {name: weights[name] for names, weights in parts for name in names}


class Layered(Net):
    """A trunk of named layers under a linear head."""

    def layers(self, which: Which = "relu", head: bool = False) -> list[str]:
        """Module names in depth order, for hooks. Errors: Problem for a choice this network does not have.

        relu: each layer's output after its ReLU (of a ResNet: the stem and the blocks, after the sum).
        conv: bare output of each convolution and linear layer, without the 1x1 convolutions of shortcuts; all: with them.
        conv2: bare output of each block's second convolution (ResNet). head: the logits as the last entry.
        """
        if which not in get_args(Which):
            raise Problem(
                f"There are no layers '{which}'.{nearest(which, get_args(Which))} Allowed: {get_args(Which)}."
            )
        bare = [f"trunk.{name}" for name, module in self.trunk.named_modules() if _weighted(module)]
        if which == "relu":
            children = dict.fromkeys(".".join(name.split(".")[:2]) for name in bare)
            names = list(children)
        elif which == "conv2":
            names = [name for name in bare if name.endswith(".conv2")]
        else:
            names = [name for name in bare if which == "all" or ".downsample." not in name]
        if not names:
            raise Problem("Only a network with residual blocks has layers 'conv2'. Use relu, conv or all.")
        return [*names, "head"] if head else names

    def split(self, k: int, which: Which = "relu") -> Split:
        """The cut after the k-th of `layers(which)`, with the normalisation that follows it; k = 0: all is tunnel.

        Errors: Problem when there is no k-th layer.
        """
        names = self.layers(which)
        if not 0 <= k <= len(names):
            raise Problem(f"The network cannot be split after layer {k}: it has {len(names)} layers '{which}'.")
        keys = list(self.state_dict())
        trunk = [key for key in keys if key.startswith("trunk.")]
        cut = 0 if k == 0 else _cut(trunk, names[k - 1], self.layers("all" if which == "all" else "conv"))
        return Split(tuple(trunk[:cut]), tuple(trunk[cut:]), tuple(key for key in keys if key not in set(trunk)))


def _cut(keys: list[str], layer: str, order: list[str]) -> int:
    """Number of keys up to a layer's last one: those before the first key of the convolution that comes after it."""
    last = max(i for i, name in enumerate(order) if name == layer or name.startswith(f"{layer}."))
    if last + 1 == len(order):
        return len(keys)
    return next(i for i, key in enumerate(keys) if key.startswith(f"{order[last + 1]}."))


def _weighted(module: nn.Module) -> bool:
    return isinstance(module, nn.Conv2d | nn.Linear)


def conv_layer(before: int, after: int, kernel: int, stride: int, norm: str) -> nn.Sequential:
    """Convolution, normalisation and ReLU, by name."""
    layer = nn.Sequential()
    layer.add_module("conv", nn.Conv2d(before, after, kernel, stride, kernel // 2, bias=norm == "none"))
    if norm != "none":
        layer.add_module("norm", norm_layer(norm, after))
    layer.add_module("relu", nn.ReLU())
    return layer


def fc_layer(before: int, after: int) -> nn.Sequential:
    """Linear layer and ReLU, by name."""
    layer = nn.Sequential()
    layer.add_module("linear", nn.Linear(before, after))
    layer.add_module("relu", nn.ReLU())
    return layer


def norm_layer(kind: str, channels: int) -> nn.Module:
    """BatchNorm, GroupNorm of up to four groups, or nothing."""
    if kind == "batch":
        return nn.BatchNorm2d(channels)
    return nn.GroupNorm(math.gcd(4, channels), channels) if kind == "group" else nn.Identity()


def he(net: Layered) -> Layered:
    """The network with weights drawn anew: normal with variance 2 / inputs, biases zero (He et al. 2015), head included."""
    for module in net.modules():
        if isinstance(module, nn.Conv2d | nn.Linear):
            nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
            if module.bias is not None:
                nn.init.zeros_(module.bias)
    return net

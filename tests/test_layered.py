"""Deep networks of named layers: sizes, names in depth order, hooks, and the cut into extractor and tunnel."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from common import networks
from common.errors import Problem
from common.models.deep_mlp import mlp_he
from common.models.deep_resnet import resnet
from common.models.layered import Layered
from common.models.vgg import vgg
from common.parts import find

NETS: dict[str, Callable[..., Layered]] = {
    "mlp": lambda s, c: mlp_he(s, c, width=9, depth=5),
    "vgg bn": lambda s, c: vgg(s, c, width=4),
    "vgg 11": lambda s, c: vgg(s, c, depth=11, width=4, norm="none"),
    "vgg fc": lambda s, c: vgg(s, c, depth=16, width=4, norm="group", head="fc", fc=8),
    "vgg short": lambda s, c: vgg(s, c, width=4, convs=5),
    "resnet": lambda s, c: resnet(s, c, width=4),
    "resnet 34": lambda s, c: resnet(s, c, depth=34, width=4, stem="3x3"),
    "resnet bare": lambda s, c: resnet(s, c, width=4, norm="none", skips=False),
}


def count(net: nn.Module) -> int:
    return sum(p.numel() for p in net.parameters())


def outputs(net: Layered, names: list[str], x: Tensor) -> dict[str, Tensor]:
    """What the named modules put out, as hooks keep it without a copy."""
    kept: dict[str, Tensor] = {}
    hooks = [
        net.get_submodule(n).register_forward_hook(lambda _m, _i, out, n=n: kept.__setitem__(n, out)) for n in names
    ]
    with torch.no_grad():
        kept["logits"] = net(x)
    for hook in hooks:
        hook.remove()
    return kept


@pytest.mark.parametrize("name", NETS)
@pytest.mark.parametrize("shape", [(1, 8, 8), (3, 32, 32), (3, 64, 64), (1, 1, 1)])
def test_every_size_of_picture_fits_and_every_weight_learns(name: str, shape: Any) -> None:
    torch.manual_seed(0)
    net = NETS[name](shape, 7)
    x = torch.randn(6, *shape)
    assert net(x).shape == (6, 7)
    assert torch.allclose(net.eval()(x), net.head(net.trunk(x)))
    net.train()(x).square().sum().backward()
    assert all(p.grad is not None for p in net.parameters())


def test_the_quarter_width_vgg_of_the_sheet_has_its_size() -> None:
    net = vgg((3, 32, 32), 5, width=16)
    assert round(count(net) / 1e6, 2) == 1.25
    widths = [m.out_channels for m in net.modules() if isinstance(m, nn.Conv2d)]
    assert widths == [16] * 2 + [32] * 2 + [64] * 4 + [128] * 8
    kept = outputs(net.eval(), net.layers(), torch.zeros(1, 3, 32, 32))
    assert [kept[f"trunk.conv{i}"][0].numel() for i in (12, 13, 16)] == [2048, 512, 512]


def test_the_whole_vgg19_has_303104_features_and_the_fc_head_three_layers() -> None:
    net = vgg((3, 32, 32), 10, head="fc").eval()
    assert net.layers(head=True) == [*(f"trunk.conv{i}" for i in range(1, 17)), "trunk.fc1", "trunk.fc2", "head"]
    kept = outputs(net, net.layers("conv", head=True), torch.zeros(1, 3, 32, 32))
    assert sum(out[0].numel() for name, out in kept.items() if name.endswith(".conv")) == 303_104
    assert [kept[n].shape[1] for n in ("trunk.fc1.linear", "trunk.fc2.linear", "head")] == [512, 512, 10]
    assert [len(vgg((3, 32, 32), 10, depth=d, width=4).layers()) for d in (11, 13, 16, 19)] == [8, 10, 13, 16]  # type: ignore[arg-type]
    wide = vgg((3, 32, 32), 10, width=8, head="fc", fc=4096)
    assert [m.out_features for m in wide.modules() if isinstance(m, nn.Linear)] == [4096, 4096, 10]


def test_shortened_networks_keep_their_pools() -> None:
    for convs in range(1, 17):
        net = vgg((3, 32, 32), 5, width=4, convs=convs).eval()
        assert len(net.layers()) == convs
        assert sum(isinstance(m, nn.MaxPool2d) for m in net.modules()) == 4
        seen = outputs(net, ["trunk.gather.0"], torch.randn(1, 3, 32, 32))["trunk.gather.0"]
        assert seen.shape[1:] == (min(8, {1: 1, 2: 1, 3: 2, 4: 2}.get(convs, 4 if convs < 9 else 8)) * 4, 1, 1)


def test_positions_of_resnet34_count_as_in_the_sheet() -> None:
    net = resnet((3, 32, 32), 10, depth=34, width=4)
    assert len(net.layers("conv", head=True)) == 34
    every = net.layers("all")
    assert len(every) == 36
    assert every[28] == "trunk.block13.conv2"  # layer 29, the last convolution of stage 3
    assert every[18] == "trunk.block8.downsample.conv"  # layer 19
    assert net.layers() == ["trunk.conv1", *(f"trunk.block{i}" for i in range(1, 17))]
    assert net.layers("conv2") == [f"trunk.block{i}.conv2" for i in range(1, 17)]
    assert len(resnet((3, 32, 32), 10, width=4).layers("conv", head=True)) == 18
    bare = resnet((3, 32, 32), 10, width=4, skips=False, norm="none")
    assert bare.layers("all") == bare.layers("conv")
    assert not any(isinstance(m, nn.BatchNorm2d) for m in bare.modules())


def test_sizes_are_torchvisions() -> None:
    from torchvision.models import resnet34

    ours, theirs = resnet((3, 32, 32), 10, depth=34), resnet34(num_classes=10)
    assert count(ours) == count(theirs)
    theirs.load_state_dict(dict(zip(theirs.state_dict(), ours.state_dict().values(), strict=True)))
    x = torch.randn(2, 3, 40, 40)
    with torch.no_grad():
        assert torch.allclose(ours.eval()(x), theirs.eval()(x), atol=1e-4 * float(ours(x).abs().max()))


def test_a_hook_keeps_what_the_layer_put_out() -> None:
    for name, make in NETS.items():
        torch.manual_seed(1)
        net = make((3, 32, 32), 5).eval()
        kept = outputs(net, [*net.layers(), *net.layers("all")], torch.randn(3, 3, 32, 32))
        assert all((kept[layer] >= 0).all() for layer in net.layers())
        assert all((kept[layer] < 0).any() for layer in net.layers("conv")), name  # not changed by a ReLU behind it
        if "resnet" not in name:
            for after, bare in zip(net.layers(), net.layers("conv"), strict=True):
                norm = getattr(net.get_submodule(after), "norm", nn.Identity())
                assert torch.equal(kept[after], torch.relu(norm(kept[bare])))


def test_the_perceptron_counts_all_linear_layers() -> None:
    net = mlp_he((3, 32, 32), 10)
    linear = [m for m in net.modules() if isinstance(m, nn.Linear)]
    assert len(linear) == 12
    assert {m.out_features for m in linear[:-1]} == {1024}
    assert len(net.layers()) == 11
    assert abs(linear[3].weight.std().item() - (2 / 1024) ** 0.5) < 1e-3
    assert all(not m.bias.any() for m in linear)
    assert len(mlp_he((3, 32, 32), 5, width=512, depth=11).layers()) == 10  # setting A: ten hidden layers


def stirred(net: Layered, seed: int) -> dict[str, Tensor]:
    """Other weights and running statistics for the same network."""
    torch.manual_seed(seed)
    return {n: torch.rand_like(t) if t.is_floating_point() else t + seed for n, t in net.state_dict().items()}


@pytest.mark.parametrize("which", ["relu", "conv", "all", "conv2"])
@pytest.mark.parametrize("name", NETS)
def test_every_split_takes_each_key_once_and_mixes_exactly(name: str, which: Any) -> None:
    net = NETS[name]((3, 32, 32), 5).eval()
    if which == "conv2" and "resnet" not in name:
        with pytest.raises(Problem, match="residual blocks"):
            net.split(1, which)
        return
    one, other, x = stirred(net, 1), stirred(net, 2), torch.randn(4, 3, 32, 32)
    layers, before = net.layers(which), 0
    for k in range(len(layers) + 1):
        split = net.split(k, which)
        assert split.extractor + split.tunnel + split.head == tuple(net.state_dict())
        assert split.head == ("head.weight", "head.bias")
        assert len(split.extractor) > before or k == 0
        before = len(split.extractor)
        same = split.mix(one, one)
        assert same.keys() == one.keys()
        assert all(torch.equal(same[n], one[n]) for n in one)  # E1 + T1
        if which != "relu" or k == 0:
            continue
        mixed = split.mix(one, other, head=one)
        net.load_state_dict(one)
        alone = outputs(net, layers[:k], x)
        net.load_state_dict(mixed)
        both = outputs(net, layers[:k], x)
        assert all(torch.equal(alone[layer], both[layer]) for layer in layers[:k])  # the extractor is whole
        assert all(torch.equal(mixed[n], other[n]) for n in split.tunnel)


def test_running_statistics_go_with_their_layer() -> None:
    net = vgg((3, 32, 32), 5, width=4)
    assert "trunk.conv3.norm.running_var" in net.split(3).extractor
    assert "trunk.conv4.norm.num_batches_tracked" in net.split(3).tunnel
    assert net.split(3) == net.split(3, "conv")
    blocks = resnet((3, 32, 32), 5, width=4)
    assert blocks.split(2, "conv2") == blocks.split(3)  # a block is not cut, unless at its first convolution
    inside = blocks.split(2, "conv")
    assert inside.extractor[-1] == "trunk.block1.norm1.num_batches_tracked"
    assert blocks.split(4).extractor[-1] == "trunk.block3.downsample.norm.num_batches_tracked"


def test_what_cannot_be_is_said_plainly() -> None:
    net = vgg((3, 32, 32), 5, width=4)
    with pytest.raises(Problem, match="cannot be split after layer 17: it has 16"):
        net.split(17)
    with pytest.raises(Problem, match="no layers 'convs'"):
        net.layers("convs")  # type: ignore[arg-type]


def multiply_adds(net: nn.Module, shape: Any) -> int:
    total = 0

    def note(module: Any, _given: Any, out: Tensor) -> None:
        nonlocal total
        total += module.weight.numel() * (out[0, 0].numel() if out.ndim == 4 else 1)

    for module in net.modules():
        if isinstance(module, nn.Conv2d | nn.Linear):
            module.register_forward_hook(note)
    with torch.no_grad():
        net.eval()(torch.zeros(1, *shape))
    return total


@pytest.mark.parametrize("shape", [(1, 8, 8), (3, 32, 32), (3, 64, 64)])
@pytest.mark.parametrize(
    ("name", "settings"),
    [
        ("mlp_he", {"width": 64}),
        ("vgg", {"width": 8}),
        ("vgg", {"depth": 11, "width": 8, "head": "fc", "convs": 6}),
        ("resnet", {"width": 8}),
        ("resnet", {"depth": 34, "width": 8, "stem": "3x3"}),
        ("resnet", {"width": 8, "skips": False}),
    ],
)
def test_multiply_adds_are_those_of_the_network(name: str, settings: dict[str, Any], shape: Any) -> None:
    part = find("model", name)
    whole = {key: parameter.default for key, parameter in part.parameters.items()} | settings
    assert networks.MACS[name](whole, shape[0], shape[1]) == multiply_adds(part.load()(shape, 10, **whole), shape)

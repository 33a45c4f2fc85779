"""Networks: sizes as in the official code, the names that parents and analyses rely on, unknown tags refused."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn

from common.errors import Problem
from common.models.from_timm import timm_model
from common.models.resnet import slim_resnet18
from common.models.small import mlp, small_cnn


def count(net: nn.Module) -> int:
    return sum(p.numel() for p in net.parameters())


def test_mlp_has_the_papers_size() -> None:
    assert count(mlp((1, 28, 28), 10)) == 478_410
    layers = [m for m in mlp((1, 28, 28), 10).modules() if isinstance(m, nn.Linear | nn.ReLU)]
    assert [type(m).__name__ for m in layers] == ["Linear", "ReLU", "Linear", "ReLU", "Linear"]


@pytest.mark.parametrize(
    ("pixels", "classes", "millions", "features"), [(32, 10, 1.095, 160), (84, 100, 1.157, 640), (96, 126, 1.275, 1440)]
)
def test_slim_resnet_has_the_papers_size(pixels: int, classes: int, millions: float, features: int) -> None:
    net = slim_resnet18((3, pixels, pixels), classes)
    assert round(count(net) / 1e6, 3) == millions
    assert net.head.in_features == features
    with torch.no_grad():
        assert net.eval()(torch.zeros(2, 3, pixels, pixels)).shape == (2, classes)


def test_slim_resnet_is_built_in_training_mode_with_untouched_statistics() -> None:
    net = slim_resnet18((3, 32, 32), 10)
    assert net.training
    norms = [m for m in net.modules() if isinstance(m, nn.BatchNorm2d)]
    assert len(norms) == 20
    assert all(m.training and int(m.num_batches_tracked) == 0 for m in norms)


NETS: dict[str, Callable[..., nn.Module]] = {
    "mlp": lambda s, c: mlp(s, c, hidden=[9, 5]),
    "cnn": lambda s, c: small_cnn(s, c, width=4),
    "cnn group": lambda s, c: small_cnn(s, c, width=4, norm="group"),
    "cnn none": lambda s, c: small_cnn(s, c, width=4, norm="none"),
    "resnet": lambda s, c: slim_resnet18(s, c, width=4),
    "timm": lambda s, c: timm_model(s, c, tag="resnet10t"),
}


@pytest.mark.parametrize("name", NETS)
@pytest.mark.parametrize("shape", [(1, 32, 32), (3, 32, 32)])
def test_every_network_is_a_trunk_under_a_linear_head(name: str, shape: Any) -> None:
    torch.manual_seed(0)
    net = NETS[name](shape, 7)
    x = torch.randn(3, *shape)
    assert {n.split(".")[0] for n, _ in net.named_parameters()} == {"trunk", "head"}
    net.eval()
    features = net.trunk(x)  # type: ignore[operator]
    assert torch.allclose(net(x), net.head(features))  # type: ignore[operator]
    alone = torch.cat([net(image.unsqueeze(0)) for image in x])
    assert torch.allclose(net(x), alone, atol=1e-5)
    net.train()(x).sum().backward()
    assert all(p.grad is not None for p in net.parameters())


def test_norms_of_the_small_cnn() -> None:
    kinds = {norm: {type(m) for m in small_cnn((3, 32, 32), 10, norm=norm).modules()} for norm in ("batch", "group")}  # type: ignore[arg-type]
    assert nn.BatchNorm2d in kinds["batch"]
    assert nn.GroupNorm in kinds["group"]
    bare = small_cnn((3, 32, 32), 10, norm="none")
    assert not any(isinstance(m, nn.BatchNorm2d | nn.GroupNorm) for m in bare.modules())
    assert all(m.bias is not None for m in bare.modules() if isinstance(m, nn.Conv2d))


def test_an_unknown_tag_of_timm_is_a_problem() -> None:
    with pytest.raises(Problem, match=r"which timm .* does not have. Did you mean 'resnet18'"):
        timm_model((3, 32, 32), 10, tag="resnet_18")


def test_the_seed_alone_decides_the_first_weights(small: Callable[..., Any]) -> None:
    from lightning import Fabric

    from common.loop import build

    def first(seed: int, learner: str) -> torch.Tensor:
        torch.manual_seed(seed + 17)  # the process's own generator is of no account
        return build(small(learner, seed=seed), Fabric(accelerator="cpu", devices=1))[1].net.head.weight  # type: ignore[union-attr,return-value]

    assert torch.equal(first(0, "er"), first(0, "gem"))
    assert not torch.equal(first(0, "er"), first(1, "er"))

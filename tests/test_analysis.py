"""Taps, probes and the whole picture of frozen networks: what is heard is right, and nothing of the network moves."""

import copy
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from lightning import LightningModule
from sklearn.linear_model import Ridge as ReferenceRidge
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

from common.analysis import Adam, Ridge, View, layerwise, tapped
from common.analysis.probes import Probes, fit, score
from common.analysis.ridge import split
from common.analysis.samples import Samples
from common.analysis.taps import frozen
from common.errors import Problem

ALL = View(max_features=None)


def convnet() -> nn.Sequential:
    """Two convolutions with BatchNorm, ReLU in place, dropout, and a linear head: 3 x 8 x 8 -> 4."""
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(3, 6, 3, padding=1), nn.BatchNorm2d(6), nn.ReLU(inplace=True), nn.MaxPool2d(2),
        nn.Conv2d(6, 5, 3, padding=1), nn.ReLU(inplace=True), nn.Flatten(), nn.Dropout(0.5), nn.Linear(80, 4),
    )  # fmt: skip


def clusters(n: int = 240, seed: int = 0, classes: int = 4) -> tuple[Tensor, Tensor]:
    """Images [n, 3, 8, 8] around one mean per class."""
    means = torch.randn(classes, 3, 8, 8, generator=torch.Generator().manual_seed(9))
    draw = torch.Generator().manual_seed(seed)
    y = torch.randint(classes, (n,), generator=draw)
    return 0.5 * means[y] + torch.randn(n, 3, 8, 8, generator=draw), y


def says(work: Callable[[], Any], *words: str) -> None:
    with pytest.raises(Problem) as caught:
        work()
    for word in words:
        assert word in str(caught.value)


# --- names ---------------------------------------------------------------------------------------------------


def test_layers_are_found_by_kind_by_name_and_by_pattern() -> None:
    import timm

    net = timm.create_model("vit_tiny_patch16_224", img_size=32, patch_size=8, depth=3, num_classes=4)
    assert tapped(net, "blocks.*") == ["blocks.0", "blocks.1", "blocks.2"]
    assert tapped(net, ["**.fc2", "blocks.1.mlp.fc2", "norm"])[1:] == ["blocks.1.mlp.fc2", "blocks.2.mlp.fc2", "norm"]
    assert tapped(convnet()) == ["0", "4", "8"]
    assert tapped(convnet(), kinds=(nn.ReLU,)) == ["2", "5"]


def test_a_layer_that_is_not_there_is_refused_with_the_nearest_name() -> None:
    net = nn.ModuleDict({"conv1": nn.Conv2d(3, 4, 3), "bn1": nn.BatchNorm2d(4)})
    says(lambda: tapped(net, ["conv_1", "bn*2"]), "no layer 'conv_1'. Did you mean 'conv1'?", "no layer 'bn*2'")
    says(lambda: tapped(nn.Sequential(nn.ReLU())), "no layer of kind Conv2d or Linear")
    says(lambda: tapped(net, []), "No layer is named")


# --- taps ----------------------------------------------------------------------------------------------------


def test_a_tap_hears_the_raw_output_though_the_relu_behind_it_works_in_place() -> None:
    net, (x, _) = convnet().eval(), clusters(8)
    with frozen(net, ["0", "1", "2", "input"], ALL) as trunk:
        found = trunk(x).features
    with torch.no_grad():
        conv = net[0](x)
        norm = net[1](conv)
    assert torch.equal(found["0"], conv.flatten(1))
    assert torch.equal(found["1"], norm.flatten(1))
    assert torch.equal(found["2"], norm.relu().flatten(1))
    assert torch.equal(found["input"], x.flatten(1))


def test_nothing_of_the_network_moves_also_when_the_analysis_fails() -> None:
    net, data = convnet().train(), clusters()
    net[1].eval()  # a part that its owner froze
    modes = [m.training for m in net.modules()]
    before = copy.deepcopy(net.state_dict())
    state, drawn = torch.get_rng_state(), np.random.get_state()[1].copy()
    layerwise(net, ["0", "4", "8"], data, clusters(seed=1), clusters(seed=2), clusters(seed=3), probe=Adam(epochs=2))

    def fails() -> None:
        with frozen(net, ["0"], ALL) as trunk:
            torch.rand(3)
            trunk(data[0][:, :2])

    with pytest.raises(RuntimeError):
        fails()
    assert [m.training for m in net.modules()] == modes
    assert all(torch.equal(before[name], tensor) for name, tensor in net.state_dict().items())
    assert not any(m._forward_hooks for m in net.modules())
    assert torch.equal(torch.get_rng_state(), state)
    assert (np.random.get_state()[1] == drawn).all()
    assert all(p.grad is None and p.requires_grad for p in net.parameters())


def test_training_goes_on_to_the_same_bits_whether_it_was_analysed_or_not() -> None:
    def trained(analysed: bool) -> dict[str, Tensor]:
        net, (x, y) = convnet(), clusters(64)
        optimiser = torch.optim.SGD(net.parameters(), 0.1)
        for _ in range(3):
            optimiser.zero_grad()
            nn.functional.cross_entropy(net(x), y).backward()
            optimiser.step()
            if analysed:
                layerwise(net, None, (x, y), (x, y), quantities=["probe", "cka"], probe=Ridge())
        return net.state_dict()

    one, other = trained(False), trained(True)
    assert all(torch.equal(one[name], other[name]) for name in one)


def test_a_subset_of_features_is_of_the_whole_map_and_the_same_everywhere() -> None:
    view = View(max_features=50)
    index = view.index("conv", 4096)
    assert index is not None
    assert len(index.unique()) == 50
    assert index.max() > 3000
    assert torch.equal(index, view.index("conv", 4096))  # type: ignore[arg-type]
    assert not torch.equal(index, view.index("conv2", 4096))  # type: ignore[arg-type]
    assert not torch.equal(index, View(max_features=50, seed=1).index("conv", 4096))  # type: ignore[arg-type]
    assert view.index("conv", 50) is None
    net, (x, _) = convnet(), clusters(8)
    with frozen(net, ["0"], ALL) as whole, frozen(net, ["0"], view) as part:
        index = view.index("0", 384)
        assert index is not None
        assert torch.equal(part(x).features["0"], whole(x).features["0"][:, index])


def test_pools() -> None:
    x = torch.randn(5, 6, 8, 8)
    assert torch.allclose(View("gap").pooled("a", x), x.mean((2, 3)))
    assert torch.allclose(View("pool2").pooled("a", x)[:, 0], x[:, 0, :4, :4].mean((1, 2)))
    tokens = torch.randn(5, 7, 3)
    assert torch.allclose(View("gap").pooled("a", tokens), tokens.mean(1))
    assert View().pooled("a", tokens).shape == (5, 21)
    says(lambda: View("pool2").pooled("a", tokens), "no maps to pool")


class Odd(nn.Module):
    """A layer called twice, one never, one with a dictionary, one whose first dimension is not the samples."""

    def __init__(self) -> None:
        super().__init__()
        self.twice, self.never = nn.Linear(4, 4), nn.Linear(4, 4)
        self.windows, self.lstm, self.dictionary = nn.Identity(), nn.LSTM(4, 3, batch_first=True), Boxed()

    def forward(self, x: Tensor) -> Tensor:
        self.windows(x.reshape(-1, 2))
        self.dictionary(x)
        return self.lstm(self.twice(self.twice(x)).unsqueeze(1))[0][:, 0]


class Boxed(nn.Module):
    def forward(self, x: Tensor) -> dict[str, Tensor]:
        return {"x": x}


@pytest.mark.parametrize(
    ("layer", "words"),
    [
        ("twice", "more than once"),
        ("never", "not called"),
        ("windows", "not the samples"),
        ("dictionary", "gives a dict"),
    ],
)
def test_layers_without_one_output_are_refused(layer: str, words: str) -> None:
    def forward(name: str = layer) -> dict[str, Tensor]:
        with frozen(Odd(), [name], ALL) as trunk:
            return trunk(torch.randn(6, 4)).features

    says(forward, f"Layer '{layer}'", words)
    assert forward("lstm")["lstm"].shape == (6, 3)


# --- probes --------------------------------------------------------------------------------------------------


def fitted(net: nn.Module, names: list[str], how: Adam | Ridge, memory_gb: float = 1.0) -> Probes:
    return fit(net, names, Samples(clusters()), how, ALL, memory_gb)


def same(one: Probes, other: Probes, names: list[str]) -> bool:
    return all(
        torch.equal(one.weights[n], other.weights[n]) and torch.equal(one.biases[n], other.biases[n]) for n in names
    )


@pytest.mark.parametrize("how", [Adam(epochs=3, batch=50, seeds=2), Adam(epochs=3, batch=50, hold=False), Ridge()])
def test_all_probes_at_once_are_one_layer_after_the_other_to_the_last_bit(how: Adam | Ridge) -> None:
    net, names = convnet(), ["0", "2", "4", "8"]
    together = fitted(net, names, how)
    for name in names:
        alone = fitted(net, [name], how)
        assert same(together, alone, [name])
        assert together.train[name] == alone.train[name]


def test_groups_of_layers_that_fit_into_memory_change_no_bit_and_passes_agree_with_held_features() -> None:
    net, names = convnet(), ["0", "2", "4", "8"]
    how = Adam(epochs=4, batch=50)
    held = fitted(net, names, how)
    assert same(held, fitted(net, names, how, memory_gb=4 * 240 * 400 / 1e9), names)
    streamed = fitted(net, names, how, memory_gb=4 * 240 * 100 / 1e9)
    for name in names:
        torch.testing.assert_close(held.weights[name], streamed.weights[name], rtol=1e-3, atol=1e-5)
    ridge = fitted(net, names, Ridge())
    assert same(ridge, fitted(net, names, Ridge(), memory_gb=8 * 384**2 / 1e9), names)
    says(lambda: fitted(net, names, Ridge(), memory_gb=1e-5), "layer '0' would hold", "max_features")


def test_adam_is_the_loop_that_one_would_write() -> None:
    x, y = torch.randn(120, 7), torch.randint(3, (120,))
    how = Adam(epochs=5, batch=32)
    found = fit(nn.Identity(), ["input"], Samples((x, y)), how, ALL)
    from common.analysis.adam import _initial, _order

    weight, bias = _initial("input", 7, 3, how, torch.device("cpu"))
    linear = nn.Linear(7, 3)
    linear.load_state_dict({"weight": weight, "bias": bias})
    assert weight.abs().max() <= 7**-0.5
    optimiser = torch.optim.Adam(linear.parameters(), 1e-3)
    for epoch in range(5):
        for rows in _order(120, epoch, how):
            optimiser.zero_grad()
            nn.functional.cross_entropy(linear(x[rows]), y[rows]).backward()
            optimiser.step()
    torch.testing.assert_close(found.weights["input"], linear.weight.detach(), rtol=1e-4, atol=1e-6)


def test_stacked_seeds_are_the_seeds_alone() -> None:
    stacked = fitted(convnet(), ["4"], Adam(epochs=3, seeds=3))
    weight = stacked.weights["4"].view(3, 4, 80)
    assert not torch.allclose(weight[0], weight[1])
    torch.testing.assert_close(weight[0], fitted(convnet(), ["4"], Adam(epochs=3)).weights["4"], rtol=1e-3, atol=1e-5)
    bits = score(convnet(), ["4"], stacked, Samples(clusters(100, 5)), ALL)["4"]
    assert bits.shape == (3, 100)
    assert bits.dtype == bool


def test_ridge_is_the_ridge_regression_of_scikit_learn() -> None:
    draw = np.random.default_rng(0)
    x = draw.normal(size=(300, 12)) * draw.uniform(0.1, 30, 12) + draw.normal(size=12) * 20
    x[:, 3] = 5.0  # a dead feature
    y = (x[:, 0] > np.median(x[:, 0])).astype(int) + (x[:, 1] > np.quantile(x[:, 1], 0.3))
    how = Ridge(strengths=(0.01, 0.3))
    train = Samples((torch.from_numpy(x).float(), torch.from_numpy(y)), "train")
    found = fit(nn.Identity(), ["input"], train, how, ALL)
    rows, held = split(300, how)
    assert len(held) == 60
    assert sorted([*rows, *held]) == list(range(300))
    x = x.astype(np.float32).astype(float)
    deviation = np.where(np.arange(12) == 3, 1, x.std(0))
    z, targets = (x - x.mean(0)) / deviation, np.eye(3)[y] - 1 / 3
    z[:, 3] = 0
    reference = ReferenceRidge(alpha=found.strengths["input"] * 300).fit(z, targets)
    ours = x @ found.weights["input"].numpy().T + found.biases["input"].numpy()
    np.testing.assert_allclose(ours, reference.predict(z), atol=1e-8)
    chosen = []
    zf = (x - x[rows].mean(0)) / np.where(np.arange(12) == 3, 1, x[rows].std(0))
    for strength in how.strengths:
        reference = ReferenceRidge(alpha=strength * len(rows)).fit(zf[rows], targets[rows])
        chosen.append((reference.predict(zf[held]).argmax(1) == y[held]).mean())
    assert found.train["input"] == [max(chosen)]


def test_labels_may_be_any_whole_numbers_and_a_loader_is_as_good_as_tensors() -> None:
    (x, y), (xt, yt) = clusters(), clusters(100, 1)
    strange = torch.tensor([17, 3, 90, -4])
    tensors = layerwise(convnet(), "4", (x, y), (xt, yt), reference=0.9)
    train = DataLoader(TensorDataset(x, strange[y]), 37)
    test = [(xt[:64], strange[yt[:64]]), (xt[64:], strange[yt[64:]])]
    batches = layerwise(convnet(), "4", train, test, reference=0.9, quantities=["rank", "variance"])
    for quantity in ("rank", "within/between"):
        np.testing.assert_allclose(tensors.curve(quantity), batches.curve(quantity), rtol=1e-6)
    one = fit(convnet(), ["4"], Samples(train), Ridge(), ALL)
    assert one.classes.tolist() == [-4, 3, 17, 90]
    assert score(convnet(), ["4"], one, Samples(test), ALL)["4"].mean() > 0.5


def test_data_that_cannot_be_used_is_refused() -> None:
    (x, y), net = clusters(), convnet()
    says(lambda: Samples((batch for batch in [(x, y)]), "train"), "train can be read only once")
    says(lambda: Samples((x, y[:5]), "train"), "240 inputs and 5 labels")
    says(lambda: Samples((x, y.float()), "train"), "whole numbers")
    says(lambda: Samples([]), "0 labels")
    says(lambda: fit(net, ["0"], Samples((x, torch.zeros_like(y))), Adam(), ALL), "two classes")
    shuffled = DataLoader(TensorDataset(x, y), 16, shuffle=True)
    says(lambda: fit(net, ["0"], Samples(shuffled), Ridge(), ALL), "do not shuffle")
    loader = Samples(DataLoader(TensorDataset(x, y), 16), "train")
    says(lambda: fit(net, ["0"], loader, Adam(hold=False), ALL), "order cannot be changed")
    says(lambda: fit(net, ["0"], Samples((x * torch.nan, y)), Ridge(), ALL), "Layer '0'", "NaN")
    says(lambda: fit(net, ["0"], Samples((x * torch.nan, y)), Adam(epochs=1), ALL), "layer '0' diverged")


# --- the picture ---------------------------------------------------------------------------------------------


def test_everything_wrong_with_a_request_is_told_at_once() -> None:
    data = clusters(60)
    says(
        lambda: layerwise(convnet(), None, None, data, data, quantities=["probe", "ranks", "rank"], classes=("ab", "bc")),
        "id_train is missing", "ood_test is missing", "Did you mean 'rank'?", "at once: b", "the trained classes have 60",
    )  # fmt: skip
    one_more = (data[0], data[1] + 1)
    says(lambda: layerwise(convnet(), None, data, one_more, quantities=["probe"]), "id_test has the classes [4]")
    wide = (data[0], data[1] * 5)
    says(lambda: layerwise(convnet(), None, wide, wide, quantities=["probe"]), "reference='last probe'")
    says(lambda: layerwise(convnet(), "0", id_test=clusters(110), quantities=["rank"]), "110 samples are too few")


def test_a_network_whose_tunnel_is_the_identity_starts_it_there() -> None:
    """No linear probe separates the input's classes, the first layer makes them separable, all layers after it copy."""
    draw = torch.Generator().manual_seed(0)
    y = torch.arange(800) % 4
    x = torch.cat([torch.eye(4)[y], torch.zeros(800, 28)], 1) + 0.1 * torch.randn(800, 32, generator=draw)
    signs = torch.randn(800, 1, generator=draw).sign()
    x = torch.cat([x * signs, signs * 3], 1)
    copies = [nn.Linear(32, 32, bias=False) for _ in range(4)]
    head = nn.Linear(32, 4, bias=False)
    with torch.no_grad():
        for layer in (*copies, head):
            layer.weight.copy_(torch.eye(*layer.weight.shape))
    net = nn.Sequential(Unfold(), *copies, head)
    data = (x[:400], y[:400]), (x[400:], y[400:])
    picture = layerwise(net, ["input", "*"], *data, *data, probe=Ridge(), fewest=50)
    table = {row["quantity"]: row["value"] for row in picture.rows if row["layer"] == "network"}
    assert picture.layers == ["input", "0", "1", "2", "3", "4", "5"]
    assert table["accuracy"] == 1.0
    assert picture.curve("ID accuracy")[0] < 0.5
    assert table["s95"] == table["s98"] == table["s95 kept"] == table["s98 kept"] == 2
    assert len(set(picture.curve("rank")[1:6])) == 1
    np.testing.assert_allclose(picture.curve("cka to 3")[1:6], 1)
    assert table["OOD retained"] == pytest.approx(100)
    assert picture.bits["id", "3"].shape == (1, 400)


class Unfold(nn.Module):
    """Gives every sample the sign that its last feature names."""

    def forward(self, x: Tensor) -> Tensor:
        return x[:, :32] * x[:, 32:].sign()


def test_rows_are_plain_and_the_logits_are_left_out_of_what_the_ood_curve_says() -> None:
    import pandas as pd

    data = clusters(), clusters(300, 1)
    picture = layerwise(convnet(), None, *data, *data, probe=Adam(epochs=3), cka_samples=64, debiased=True)
    table = pd.DataFrame(picture.rows)
    assert table.columns.tolist() == ["layer", "index", "quantity", "value"]
    assert table["value"].map(type).eq(float).all()
    quantities = set(table["quantity"])
    assert {
        "ID accuracy",
        "OOD accuracy",
        "rank",
        "features",
        "samples",
        "within/between",
        "cka to 8",
        "s95",
    } <= quantities
    ood = picture.curve("OOD accuracy")
    (kept,) = table.loc[table["quantity"] == "OOD retained", "value"]
    assert kept == pytest.approx(100 * ood[1] / max(ood[:2]))
    assert picture.curve("samples") == [300.0] * 3
    grouped = layerwise(convnet(), None, *data, *data, probe=Adam(epochs=3), memory_gb=8 * 300 * 384 / 1e9)
    assert grouped.curve("rank") == picture.curve("rank")
    assert grouped.rows[0]["layer"] == "0"


class Lit(LightningModule):
    def __init__(self) -> None:
        super().__init__()
        self.net = convnet()

    def forward(self, x: Tensor) -> Tensor:
        return self.net(x)


def test_a_lightning_module_and_a_timm_model_are_analysed_alike() -> None:
    import timm

    data = clusters(), clusters(120, 1)
    assert layerwise(Lit(), ["net.0", "net.4"], *data, quantities=["probe"], probe=Ridge()).layers[0] == "net.0"
    net = timm.create_model("resnet10t", num_classes=4)
    picture = layerwise(net, "layer*", *data, probe=Ridge(), view=View(max_features=64))
    assert picture.layers == ["layer1", "layer2", "layer3", "layer4"]
    assert picture.curve("features") == [64.0] * 4

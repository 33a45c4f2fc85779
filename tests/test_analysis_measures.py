"""Rank, CKA, variances, weight change and the tunnel's start against known answers and properties."""

import os

import numpy as np
import pytest
import scipy.stats
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from common.analysis import tunnel
from common.analysis.change import weight_change
from common.analysis.moments import Moments
from common.analysis.similarity import cka, linear_cka
from common.analysis.spectrum import Spectrum, numerical_rank
from common.analysis.variance import class_variances, variances
from common.errors import Missing, Problem

DATA = os.environ.get("REPLICATE_DATA")  # before the tests get folders of their own


def normal(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def rotation(d: int, seed: int = 1) -> Tensor:
    return torch.linalg.qr(normal(d, d, seed=seed)).Q


# --- rank ----------------------------------------------------------------------------------------------------


@settings(deadline=None, max_examples=25)
@given(k=st.integers(1, 20), n=st.integers(30, 90), d=st.integers(25, 70), seed=st.integers(0, 99))
def test_a_matrix_of_rank_k_has_rank_k_also_rotated_scaled_and_moved(k: int, n: int, d: int, seed: int) -> None:
    left = torch.linalg.qr(normal(n, k, seed=seed) - normal(n, k, seed=seed).mean(0)).Q
    x = left @ rotation(d, seed)[:k]
    found = numerical_rank(x)
    assert (found.rank, found.features, found.samples) == (k, d, n)
    assert numerical_rank(7 * x @ rotation(d) + 100).rank == k


def test_the_threshold_is_on_variances_and_not_on_singular_values() -> None:
    x = normal(2000, 6)
    x = torch.linalg.qr(x - x.mean(0)).Q * torch.tensor([1, 0.1, 0.04, 0.02, 0.002, 0.0002])
    # on the singular values themselves 1e-3 would count five
    assert numerical_rank(x).rank == 3
    assert numerical_rank(x, threshold=1e-6).rank == 5
    spectrum = numerical_rank(x).spectrum
    assert (spectrum.diff() <= 0).all()
    torch.testing.assert_close(spectrum, x.var(0, correction=0).to(spectrum), rtol=1e-6, atol=1e-15)


@pytest.mark.parametrize(("n", "d"), [(500, 40), (40, 500), (64, 64)])
def test_streaming_is_the_whole_array_also_far_from_zero(n: int, d: int) -> None:
    x = normal(n, d) * torch.logspace(0, -3, d, dtype=torch.float64) + 1e5
    spectrum = Spectrum()
    for part in x.split(17):
        spectrum.add(part)
    values, features, samples = spectrum.variances()
    assert (features, samples) == (d, n)
    exact = torch.linalg.svdvals(x - x.mean(0)).square() / n
    torch.testing.assert_close(values[: len(exact)], exact[: len(values)], rtol=1e-6, atol=1e-12)


def test_too_few_samples_and_broken_features_are_refused() -> None:
    with pytest.raises(Problem, match="at least 2 samples"):
        Spectrum().rank()
    spectrum = Spectrum()
    spectrum.add(normal(120, 800))
    with pytest.raises(Problem, match="120 samples are too few"):
        spectrum.rank(fewest=100)
    with pytest.raises(Problem, match="at least 500 samples"):
        spectrum.rank(fewest=500)
    for shape in ((9, 4), (4, 9)):
        with pytest.raises(Problem, match="NaN"):
            numerical_rank(torch.full(shape, torch.inf))
    assert numerical_rank(torch.ones(9, 4)).rank == 0


def test_the_rank_of_normalised_cifar10_pixels() -> None:
    from common.streams import data

    if DATA is None:
        pytest.skip("REPLICATE_DATA names no folder of data sets")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("REPLICATE_DATA", DATA)
        try:
            images = data.load("cifar10")
        except Missing:
            pytest.skip("CIFAR-10 is not in REPLICATE_DATA")
        mean, std = (torch.tensor(v).view(1, 3, 1, 1) for v in ((0.4914, 0.4822, 0.4465), (0.2023, 0.1994, 0.2010)))
        spectrum = Spectrum()
        for start in range(0, 10_000, 1000):
            part = torch.from_numpy(np.array(images.test.images[start : start + 1000])).float() / 255
            spectrum.add(((part - mean) / std).flatten(1))
    assert spectrum.rank().rank == 192


# --- similarity ----------------------------------------------------------------------------------------------


@settings(deadline=None, max_examples=20)
@given(scale=st.floats(1e-3, 1e3), shift=st.floats(-50, 50), d=st.integers(2, 30), debiased=st.booleans())
def test_cka_does_not_see_rotation_scale_and_shift(scale: float, shift: float, d: int, debiased: bool) -> None:
    x = normal(60, d)
    assert linear_cka(x, scale * x @ rotation(d) + shift, debiased) == pytest.approx(1, abs=1e-9)


def test_independent_features_have_no_debiased_similarity_and_a_biased_one_has_its_bias() -> None:
    x, y = normal(600, 300), normal(600, 300, seed=5)
    assert abs(linear_cka(x, y, debiased=True)) < 0.02
    assert 0.2 < linear_cka(x, y) < 0.5


@pytest.mark.parametrize("n", [40, 256, 700])
def test_cka_in_blocks_is_the_formula(n: int) -> None:
    features = [normal(n, 20), normal(n, 30, seed=3).clip(min=0), normal(n, 5, seed=4) + 3]
    found, debiased = cka(features), cka(features, debiased=True)
    centre = torch.eye(n, dtype=torch.float64) - 1 / n
    for i, x in enumerate(features):
        for j, y in enumerate(features):
            a, b = x - x.mean(0), y - y.mean(0)
            exact = (a.T @ b).norm() ** 2 / ((a.T @ a).norm() * (b.T @ b).norm())
            assert found[i, j] == pytest.approx(float(exact), abs=1e-10)
            assert exact == pytest.approx(float(((centre @ x @ x.T @ centre) * (y @ y.T)).sum() / _norms(x, y, centre)))
            exact = _unbiased(x, y) / (_unbiased(x, x) * _unbiased(y, y)).sqrt()
            assert debiased[i, j] == pytest.approx(float(exact), abs=1e-10)


def _norms(x: Tensor, y: Tensor, centre: Tensor) -> Tensor:
    return (centre @ x @ x.T @ centre).norm() * (centre @ y @ y.T @ centre).norm()


def _unbiased(x: Tensor, y: Tensor) -> Tensor:
    """The unbiased estimator of HSIC, as Song et al. write it (without its 1 / (n (n - 3)))."""
    n = len(x)
    k, m = x @ x.T, y @ y.T
    k, m = k - k.diag().diag(), m - m.diag().diag()
    return (k @ m).trace() + k.sum() * m.sum() / ((n - 1) * (n - 2)) - 2 / (n - 2) * (k @ m).sum()


def test_cka_refuses_other_samples() -> None:
    with pytest.raises(Problem, match="same 4 or more"):
        linear_cka(normal(9, 2), normal(8, 2))
    assert cka([torch.ones(9, 2), normal(9, 2)])[0].isnan().all()


# --- variance and weights ------------------------------------------------------------------------------------


def test_variances_are_the_formula_streamed_or_whole() -> None:
    y = torch.arange(400) % 3
    x = normal(400, 8) + 50 * y.unsqueeze(1) + 1e4
    within = sum(((x[y == c] - x[y == c].mean(0)) ** 2).sum() for c in range(3)) / 400
    between = sum((y == c).sum() * ((x[y == c].mean(0) - x.mean(0)) ** 2).sum() for c in range(3)) / 400
    moments = Moments(3, products=False)
    for part, labels in zip(x.split(33), y.split(33), strict=True):
        moments.add(part, labels)
    for found in (class_variances(x, y + 7), variances(moments)):
        assert found.within == pytest.approx(float(within), rel=1e-8)
        assert found.between == pytest.approx(float(between), rel=1e-8)
        assert found.ratio == pytest.approx(float(within / between), rel=1e-8)


def test_weight_change_is_per_weight_and_leaves_buffers_out() -> None:
    net = nn.Sequential(nn.Linear(4, 9), nn.BatchNorm1d(9))
    before = {name: t.clone() for name, t in net.state_dict().items()}
    net[0].weight.data += 0.5
    net[1].running_mean += 3
    assert weight_change(before, net.state_dict()) == pytest.approx({"0": 0.5, "1": 0.0})
    net[0].bias.data += 0.5
    assert weight_change(before, net.state_dict(), ("weight", "bias"))["0"] == pytest.approx(0.5)
    with pytest.raises(Problem, match=r"'0.weight' is \[9, 4\]"):
        weight_change(before, nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(9)).state_dict())
    with pytest.raises(Problem, match="one of the checkpoints only"):
        weight_change(before, nn.Linear(4, 9).state_dict())
    with pytest.raises(Problem, match="no tensor named"):
        weight_change(before, before, ("alpha",))


# --- tunnel --------------------------------------------------------------------------------------------------


def test_the_start_of_the_tunnel_in_both_rules() -> None:
    curve = [0.3, 0.76, 0.7, 0.79, 0.8]
    assert tunnel.start(curve, 0.8) == 2
    assert tunnel.start(curve, 0.8, rule="kept") == 4
    assert tunnel.start(curve, 0.8, 0.98) == 4
    assert tunnel.start(curve, 0.9) is None
    assert tunnel.parts("abcde", 2) == (["a", "b"], ["c", "d", "e"])
    assert tunnel.share_of_tunnel(2, 5) == 0.6


@settings(deadline=None)
@given(
    curve=st.lists(st.floats(0, 1), min_size=1, max_size=20),
    shares=st.tuples(st.floats(0.1, 1), st.floats(0.1, 1)),
    rule=st.sampled_from(["reached", "kept"]),
)
def test_a_stricter_threshold_never_moves_the_start_forward(
    curve: list[float], shares: tuple[float, float], rule: tunnel.Rule
) -> None:
    loose, strict = (tunnel.start(curve, curve[-1], share, rule) for share in sorted(shares))
    assert loose is not None
    assert strict is not None
    assert loose <= strict
    reached = tunnel.start(curve, curve[-1], shares[0])
    kept = tunnel.start(curve, curve[-1], shares[0], "kept")
    assert reached is not None
    assert kept is not None
    assert reached <= kept


@given(st.lists(st.tuples(st.integers(-9, 9), st.integers(-9, 9)), min_size=3, max_size=15))
def test_correlations_are_those_of_scipy(pairs: list[tuple[int, int]]) -> None:
    x, y = map(list, zip(*pairs, strict=True))
    if len(set(x)) == 1 or len(set(y)) == 1:
        assert np.isnan(tunnel.pearson(x, y))
        assert np.isnan(tunnel.spearman(x, y))
        return
    assert tunnel.pearson(x, y) == pytest.approx(scipy.stats.pearsonr(x, y).statistic, abs=1e-9)
    assert tunnel.spearman(x, y) == pytest.approx(scipy.stats.spearmanr(x, y).statistic, abs=1e-9)


def test_what_is_retained_out_of_distribution() -> None:
    curve = [0.6, 0.8, 0.7, 0.6]
    assert tunnel.retained(curve) == pytest.approx(75)
    assert [tunnel.strength([1, o]) for o in (0.96, 0.92, 0.85, 0.5)] == ["none", "weak", "medium", "strong"]
    assert tunnel.alignment(0.6, 0.3, 10, 5) == pytest.approx(0.05)
    with pytest.raises(Problem, match="same layers"):
        tunnel.pearson([1, 2], [1, 2, 3])

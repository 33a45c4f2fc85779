"""CODA-Prompt: prefixes, components, pools and what they must never do; each fast path against the plain one."""

from itertools import count
from typing import Any

import numpy as np
import pytest
import timm
import torch
from torch import Tensor
from torch.nn.functional import cosine_similarity

from common import checkpoint, loop
from common.build import build, fabric_for
from common.errors import Problem
from common.evaluate import correct
from common.loop import Place, Stopped
from common.resolve import resolve
from common.spec import RunSpec
from common.specfiles import merge, nested
from common.streams import data
from papers.coda_prompt import optimisers, vit
from papers.coda_prompt.prompts import orthonormal
from tests.helpers import same, stored

HERE = "papers.coda_prompt."
RAW: dict[str, Any] = {
    "data": "digits",
    "stream": {"name": f"{HERE}streams.incremental", "tasks": 5, "per_class": 12, "test_per_class": 10},
    "model": {"name": f"{HERE}vit.small_vit", "width": 16, "depth": 3, "attention_heads": 2, "patch": 4},
    "optimiser": {"name": f"{HERE}optimisers.adam_cosine", "lr": 0.01, "epochs": 3},
    "budget": {"iterations": 6, "batch": 8},
    "evaluation": {"every": 0, "samples": None},
}
LAYERS = {"layers": [0, 1, 2]}
PROMPTED: dict[str, dict[str, Any]] = {
    "coda": {"name": f"{HERE}coda.CodaP", "components": 10, "length": 4, **LAYERS},
    "l2p": {"name": f"{HERE}pools.L2P", "pool": 6, "length": 4, "top": 3},
    "deep": {"name": f"{HERE}pools.L2P", "pool": 6, "length": 4, "top": 3, "key_loss": "sample", **LAYERS},
    "dual": {"name": f"{HERE}pools.DualPrompt", "e_length": 4, "g_length": 2, "g_layers": [0], "e_layers": [1, 2]},
}
METHODS: dict[str, dict[str, Any]] = PROMPTED | {
    "linear": {"name": f"{HERE}frozen.LinearProbe"},
    "mean": {"name": f"{HERE}frozen.ClassMean"},
    "ft": {"name": f"{HERE}growing.FineTune"},
    "ft++": {"name": f"{HERE}growing.FineTune", "masks": True},
    "er": {"name": f"{HERE}rehearsal.ER", "memory": 20},
    "lwf": {"name": f"{HERE}rehearsal.LwFMC"},
}
FROZEN = [*PROMPTED, "linear"]


def spec(method: str, over: dict[str, Any] | None = None, seed: int = 1) -> RunSpec:
    raw = merge(merge(RAW, {"learner": METHODS[method]}), nested(over or {}))
    return resolve({**raw, "seed": seed}, data.digest("digits"))


def made(method: str, over: dict[str, Any] | None = None, updates: int = 0, task: int = 0) -> Any:
    """The learner after so many updates of each task up to `task`."""
    run = spec(method, over)
    stream, learner = build(run, fabric_for("cpu", run.precision))
    for k in range(task + 1):
        learner.begin(stream.tasks[k])
        for _ in range(updates):
            learner.update(learner.data.batch(learner.data.rows(stream.tasks[k])[:8]))
        if k < task:
            learner.end(stream.tasks[k])
    return learner


def images(n: int = 6) -> Tensor:
    return torch.from_numpy(np.random.default_rng(0).standard_normal((n, 1, 8, 8))).float()


# --- the trunk ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("stem", ["patch", "conv"])
def test_the_trunk_is_timms_and_a_prefix_of_no_rows_is_none(stem: Any) -> None:
    net = vit.small_vit((3, 16, 16), 4, width=24, depth=3, attention_heads=3, patch=8, stem=stem).eval()
    x = torch.randn(5, 3, 16, 16)
    plain = net.trunk.vit.forward_features(x)[:, 0]
    torch.testing.assert_close(net.trunk(x), plain, rtol=1e-5, atol=1e-5)
    none = {k: torch.zeros(5, 0, 24) for k in range(3)}
    torch.testing.assert_close(net.trunk.encode(net.trunk.tokens(x), none), plain, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(net(x), net.head(plain), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("insertion", ["after", "before"])
def test_a_prefix_is_keys_and_values_that_every_query_may_look_at(insertion: Any) -> None:
    net = vit.small_vit((1, 8, 8), 4, width=16, depth=2, attention_heads=2, patch=4, insertion=insertion).eval()
    block, x, prefix = net.trunk.vit.blocks[0], torch.randn(3, 5, 16), torch.randn(3, 6, 16)
    h = block.norm1(x)
    q, k, v = block.attn.qkv(h).chunk(3, dim=-1)
    pk, pv = prefix[:, :3], prefix[:, 3:]
    if insertion == "before":
        _, pk, _ = block.attn.qkv(pk).chunk(3, dim=-1)
        _, _, pv = block.attn.qkv(pv).chunk(3, dim=-1)
    k, v = torch.cat([pk, k], 1), torch.cat([pv, v], 1)
    heads = []
    for part in (slice(0, 8), slice(8, 16)):
        weights = (q[..., part] @ k[..., part].mT / 8**0.5).softmax(-1)
        heads.append(weights @ v[..., part])
    y = x + block.attn.proj(torch.cat(heads, -1))
    y = y + block.mlp(block.norm2(y))
    for only in (False, True):
        torch.testing.assert_close(vit.through(block, x, prefix, insertion, only), y[:, : 1 if only else None])


def test_images_of_another_size_are_enlarged_or_cut() -> None:
    x = torch.arange(64.0).reshape(1, 1, 8, 8)
    assert torch.equal(vit.fitted(x, 4), x[:, :, 2:6, 2:6])
    assert vit.fitted(x, 16).shape == (1, 1, 16, 16)
    assert vit.fitted(x, 8) is x


def test_all_full_tags_are_there_and_a_whole_model_can_be_counted() -> None:
    """C13: two forward passes, prompts and all, of ViT-B/16; counted on shapes alone."""
    from torch.utils.flop_counter import FlopCounterMode

    from papers.coda_prompt.coda import Components

    with torch.device("meta"):
        model = timm.create_model("vit_base_patch16_224.augreg_in21k_ft_in1k", num_classes=0)
        net = vit.PromptNet(vit.Trunk(model, 224, "after"), 100).eval()
        x = torch.zeros(2, 3, 224, 224)
        counted = []
        with torch.nn.attention.sdpa_kernel(torch.nn.attention.SDPBackend.MATH):
            for prompt in (None, Components([0, 1, 2, 3, 4], 8, 768, 0, 100, 10, "gram_schmidt", True, True, 0.0)):
                net.prompt = prompt
                with FlopCounterMode(display=False) as counter, torch.no_grad():
                    net(x)
                counted.append(counter.get_total_flops())
    assert counted[1] / counted[0] == pytest.approx(2, abs=0.01)


# --- components -----------------------------------------------------------------------------------------------------


def test_weights_of_components_are_the_cosines_of_the_definition() -> None:
    learner = made("coda", updates=3, task=2)
    prompt, q = learner.net.prompt, torch.randn(7, 16)
    alpha = prompt.alpha(q)
    K, A = prompt.table("K"), prompt.table("A")
    for layer in range(3):
        for m in range(10):
            wanted = cosine_similarity(q * A[layer, m], K[layer, m].expand(7, -1), dim=1) * prompt.visible[m]
            torch.testing.assert_close(alpha[:, layer, m], wanted, rtol=1e-4, atol=1e-6)
    assert int(prompt.visible.sum()) == 3 * 2
    prefixes, _ = prompt(q, False)
    P = prompt.table("P").unflatten(-1, (4, 16))
    torch.testing.assert_close(prefixes[1], torch.einsum("bm,mld->bld", alpha[:, 1], P[1]), rtol=1e-4, atol=1e-6)


def test_old_components_never_move_and_weigh_as_before() -> None:
    learner = made("coda", updates=4, task=1)
    prompt, q = learner.net.prompt, torch.randn(5, 16)
    before = {n: prompt.table(n).detach().clone() for n in "PKA"}
    weight = prompt.alpha(q).detach()
    learner.end(learner.data.stream.tasks[1])
    learner.begin(learner.data.stream.tasks[2])
    for _ in range(4):
        learner.update(learner.data.batch(learner.data.rows(learner.data.stream.tasks[2])[:8]))
    for name, table in before.items():
        old = prompt.table(name)
        assert torch.equal(old[:, :2], table[:, :2])  # task 1
        assert torch.equal(old[:, 2:4], table[:, 8:])  # task 2, which learned in the last rows
        assert not torch.equal(old[:, 8:], table[:, 8:])
    after = prompt.alpha(q)
    torch.testing.assert_close(after[..., :2], weight[..., :2], rtol=0, atol=1e-6)
    torch.testing.assert_close(after[..., 2:4], weight[..., 8:], rtol=0, atol=1e-6)


def test_without_freezing_the_old_components_move() -> None:
    learner = made("coda", {"learner.freezing": False}, updates=3, task=0)
    prompt = learner.net.prompt
    before = prompt.table("P").detach().clone()
    learner.begin(learner.data.stream.tasks[1])
    for _ in range(3):
        learner.update(learner.data.batch(learner.data.rows(learner.data.stream.tasks[1])[:8]))
    moved = (prompt.table("P") != before).any(-1).any(0)
    assert moved.tolist() == [True] * 4 + [False] * 6


def test_new_rows_are_orthonormal_and_orthogonal_to_whatever_the_old_ones_became() -> None:
    rng = np.random.default_rng(0)
    old = rng.standard_normal((4, 12))
    new = orthonormal(old, 5, rng)
    np.testing.assert_allclose(new @ new.T, np.eye(5), atol=1e-12)
    np.testing.assert_allclose(new @ old.T, 0, atol=1e-12)
    first = orthonormal(np.zeros((0, 12)), 2, np.random.default_rng(3))
    by_hand = np.random.default_rng(3).standard_normal((2, 12))
    by_hand[1] -= (by_hand[1] @ by_hand[0]) / (by_hand[0] @ by_hand[0]) * by_hand[0]
    np.testing.assert_allclose(first, by_hand / np.linalg.norm(by_hand, axis=1, keepdims=True), atol=1e-12)


@pytest.mark.parametrize(
    ("init", "low", "high"), [("gram_schmidt", 0, 1e-8), ("all_at_once", 0, 1e-8), ("uniform", 1, 1e9)]
)
def test_the_penalty_is_nothing_for_orthonormal_rows_and_something_otherwise(
    init: str, low: float, high: float
) -> None:
    learner = made("coda", {"learner.init": init, "learner.mu": 0.1})
    overlap = float(learner.net.prompt.overlap().detach())
    assert low <= overlap <= high
    facts = learner.update(learner.data.batch(learner.data.rows(learner.data.stream.tasks[0])[:8]))
    assert float(facts["stability"]) == pytest.approx(0.1 * overlap)


def test_all_rows_at_once_are_orthogonal_between_tasks() -> None:
    learner = made("coda", {"learner.init": "all_at_once"}, updates=0, task=3)
    K = learner.net.prompt.table("K")[:, [0, 1, 2, 3, 4, 5, 8, 9]]
    torch.testing.assert_close(K @ K.mT, torch.eye(8).expand(3, -1, -1), rtol=0, atol=1e-6)


# --- who learns from what ---------------------------------------------------------------------------------------------


def test_the_classification_loss_reaches_keys_of_coda_and_never_those_of_a_pool() -> None:
    for method, learner in {name: made(name, updates=1, task=1) for name in PROMPTED}.items():
        batch = learner.data.batch(learner.data.rows(learner.data.stream.tasks[1])[:8])
        learner.optimiser.zero_grad()
        learner.terms(learner.live, learner.state, batch).plasticity.backward()
        keys = [p.grad for name, p in learner.live.items() if name.endswith(("K", "A"))]
        prompts = [p.grad for name, p in learner.live.items() if name.endswith(("P", "G"))]
        assert all(g is not None and bool(g.abs().sum() > 0) for g in prompts), method
        if method == "coda":
            assert len(keys) == 2
            assert all(bool(g.abs().sum() > 0) for g in keys)
        else:
            assert all(g is None or not bool(g.any()) for g in keys), method
            terms = learner.terms(learner.live, learner.state, batch)
            assert torch.autograd.grad(terms.stability, learner.net.prompt.K)[0].abs().sum() > 0


@pytest.mark.parametrize("method", FROZEN)
def test_a_frozen_trunk_has_no_gradients_and_stays_as_it_is(method: str) -> None:
    learner = made(method)
    before = {n: p.clone() for n, p in learner.net.trunk.state_dict().items()}
    learner.update(learner.data.batch(learner.data.rows(learner.data.stream.tasks[0])[:8]))
    assert all(p.grad is None and not p.requires_grad for p in learner.net.trunk.parameters())
    assert all(torch.equal(p, before[n]) for n, p in learner.net.trunk.state_dict().items())
    held = {id(p) for group in learner.optimiser.param_groups for p in group["params"]}
    assert held == {id(p) for p in learner.live.values()}


def test_past_columns_of_the_head_get_no_gradient_but_in_ft() -> None:
    for method, learner in {name: made(name, updates=1, task=1) for name in ("coda", "ft", "ft++")}.items():
        batch = learner.data.batch(learner.data.rows(learner.data.stream.tasks[1])[:8])
        learner.terms(learner.live, learner.state, batch).plasticity.backward()
        moved = learner.net.head.weight.grad.abs().sum(1) > 0
        assert moved[2:4].all()
        assert not moved[4:].any()
        assert bool(moved[:2].all()) == (method == "ft")


def test_the_released_key_loss_draws_each_chosen_key_to_the_whole_batch() -> None:
    learner = made("l2p")
    prompt, q = learner.net.prompt, torch.randn(8, 16)
    close = prompt.closeness(q)[0]
    index = prompt.chosen(q)[0]
    _, official = prompt(q, True)
    torch.testing.assert_close(official, (1 - close[:, index]).sum())  # [B, B, top], as released
    prompt.key_loss = "sample"
    torch.testing.assert_close(prompt(q, True)[1], (1 - close.gather(1, index)).sum())


def test_dualprompt_trains_the_tasks_prompt_and_tests_with_the_nearest_key() -> None:
    learner = made("dual", updates=2, task=1)
    prompt, q = learner.net.prompt, torch.randn(4, 16)
    told, _ = prompt(q, True)
    torch.testing.assert_close(told[1][0], prompt.P[0, 1].reshape(4, 16))
    torch.testing.assert_close(told[0][2], prompt.G[0])
    free, _ = prompt(q, False)
    near = int(cosine_similarity(q[:1], prompt.K[1], dim=1).argmax())
    torch.testing.assert_close(free[2][0], prompt.P[1, near].reshape(4, 16))
    batch = learner.data.batch(learner.data.rows(learner.data.stream.tasks[1])[:8])
    learner.terms(learner.live, learner.state, batch).total.backward()
    assert prompt.P.grad.abs().sum(-1)[0].bool().tolist() == [False, True, False, False, False]


# --- fast paths equal the plain ones --------------------------------------------------------------------------------------


@pytest.mark.parametrize("method", FROZEN)
def test_cached_queries_and_tokens_give_the_same_loss_and_gradients(method: str) -> None:
    found = []
    for cached in ("none", "query", "tokens"):
        learner = made(method, {"learner.cached": cached}, updates=2, task=1)
        batch = learner.data.batch(learner.data.rows(learner.data.stream.tasks[1])[3:11])
        terms = learner.terms(learner.live, learner.state, batch)
        terms.total.backward()
        found.append([terms.total.detach(), *(p.grad for p in learner.live.values())])
    for other in found[1:]:
        for a, b in zip(found[0], other, strict=True):
            torch.testing.assert_close(a, b, rtol=1e-3, atol=1e-6)


@pytest.mark.parametrize("method", METHODS)
def test_answers_depend_on_neither_batch_nor_order_nor_what_is_kept(method: str) -> None:
    learner = made(method, updates=3, task=2)
    held = learner.data.evaluation(None, 1)
    n = int(held.offsets[3])
    learner.net.eval()
    with torch.inference_mode():
        whole = learner.predict(held.x[:n])
        order = torch.randperm(n)
        torch.testing.assert_close(learner.predict(held.x[order]), whole[order], rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(learner.scores(held, slice(3, 20)), whole[3:20], rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(learner.scores(held, slice(0, n)), whole, rtol=1e-4, atol=1e-5)
    assert torch.equal(correct(learner, held, 3), whole.argmax(1) == held.y[:n])
    assert (whole[:, 6:] == -torch.inf).all()


@pytest.mark.parametrize("method", METHODS)
def test_interrupted_equals_uninterrupted(method: str, places: Any, tmp_path: Any, monkeypatch: Any) -> None:
    own = {"learner.cached": "tokens"} if method in FROZEN else {}
    run = spec(method, own)
    with monkeypatch.context() as patch:
        patch.setenv("REPLICATE_RUNS", str(tmp_path / "whole"))
        whole = stored(loop.run(run).path)
    for at in (3, 10, 6):  # sittings of so many updates: within a task, at a task's end, after it
        numbers = count(1)
        with pytest.raises(Stopped):
            loop.run(run, Place(stop=lambda at=at, numbers=numbers: next(numbers) == at))
    assert same(stored(loop.run(run).path), whole)


def test_evaluation_moves_nothing(places: Any) -> None:
    weights = []
    for every in (0, 2):
        weights.append(checkpoint.read_weights(loop.run(spec("coda", {"evaluation.every": every})).path))
    assert all(torch.equal(t, weights[1][name]) for name, t in weights[0].items())


# --- baselines, schedule ----------------------------------------------------------------------------------------------------


def test_replay_is_balanced_and_half_of_each_batch(places: Any) -> None:
    learner = made("er", updates=1, task=2)
    assert np.bincount(learner.memory.labels).tolist() == [5, 5, 5, 5]
    drawn = learner.recall(2, 0, 8)
    assert len(drawn) == 8
    assert set(drawn) <= set(learner.memory.rows.tolist())


@pytest.mark.parametrize("precision", ["32", "bf16-mixed"])
def test_lwf_keeps_the_old_answers(precision: str) -> None:
    learner = made("lwf", {"precision": precision}, updates=2, task=1)
    batch = learner.data.batch(learner.data.rows(learner.data.stream.tasks[1])[:8])
    terms = learner.terms(learner.live, learner.state, batch)
    assert float(terms.stability.detach()) > 0
    learner.end(learner.data.stream.tasks[1])
    learner.begin(learner.data.stream.tasks[2])
    terms = learner.terms(learner.live, learner.state, batch)
    slope = torch.autograd.grad(terms.stability, learner.net.head.weight)[0]
    assert slope.abs().max() < 1e-6  # the two models coincide


def gradients(learner: Any) -> dict[str, Tensor]:
    batch = learner.data.batch(learner.data.rows(learner.data.stream.tasks[0])[:8])
    slopes = learner.gradient(lambda p: learner.terms(p, {}, batch).plasticity, learner.live, learner.live)
    return dict(zip(learner.live, slopes, strict=True))


def test_clipping_shortens_the_gradient_and_keeps_its_direction() -> None:
    learner = made("ft", {"learner.name": f"{HERE}pretraining.Clipped", "learner.clip": 0.01})
    plain = gradients(learner)
    clipped = learner.edit(plain, learner.live, {}, None)
    whole, short = (torch.cat([g.flatten() for g in grads.values()]) for grads in (plain, clipped))
    assert whole.norm() > 1
    assert float(short.norm()) == pytest.approx(0.01, rel=1e-3)
    assert float(cosine_similarity(whole, short, dim=0)) == pytest.approx(1, abs=1e-5)
    learner.clip = 1e3
    assert all(torch.equal(g, plain[name]) for name, g in learner.edit(plain, learner.live, {}, None).items())


@pytest.mark.parametrize(("epochs", "last"), [(20, 0.097), (50, 0.047), (5, 0.394)])
def test_the_schedule_is_the_released_one(epochs: int, last: float) -> None:
    rates = [optimisers.rate(e, epochs) for e in range(epochs)]
    assert rates[:2] == [1, 1]
    assert rates[-1] == pytest.approx(last, abs=5e-4)
    assert optimisers.rate(0, 1) == 1
    made = optimisers.adam_cosine([torch.nn.Parameter(torch.ones(1))], lr=0.1, epochs=epochs)
    assert [made.schedule(s, 3 * epochs) for s in (0, 3 * epochs - 1)] == pytest.approx([0.1, 0.1 * rates[-1]])


# --- bad input ----------------------------------------------------------------------------------------------------------------

BAD: list[tuple[str, dict[str, Any], str]] = [
    ("coda", {"learner.length": 5}, "learner.length is 5, but a prompt has as many rows"),
    ("dual", {"learner.g_length": 5}, "learner.g_length is 5"),
    ("coda", {"learner.components": 12}, "which the 5 tasks do not divide"),
    ("coda", {"learner.components": 20}, "in 16 dimensions no more than 16 rows are orthogonal"),
    ("l2p", {"learner.layers": [3]}, "but the trunk has layers 0 to 2"),
    ("l2p", {"learner.top": 7}, "the pool has 6 prompts"),
    ("coda", {"learner.cached": "tokens", "augmentation.name": "crop_flip"}, "every step sees other pictures"),
    ("coda", {"budget.iterations": None, "budget.epochs": 4}, "optimiser.epochs is 3, but budget.epochs is 4"),
    ("coda", {"model": {"name": "mlp"}}, "needs a network of papers.coda_prompt.vit"),
    ("ft", {"model.attention_heads": 3}, "does not divide model.width 16"),
    (
        "ft",
        {"model": {"name": f"{HERE}vit.timm_vit", "tag": "vit_base_patch16_224"}},
        "no full tag of a vision transformer",
    ),
    (
        "ft",
        {"model": {"name": f"{HERE}vit.timm_vit", "tag": "vit_base_patch16_224.augreg_in21k_ft_in2k"}},
        "Did you mean",
    ),
]


@pytest.mark.parametrize(("method", "over", "words"), BAD, ids=[words for *_, words in BAD])
def test_what_cannot_work_is_refused_early(method: str, over: dict[str, Any], words: str) -> None:
    with pytest.raises(Problem, match=words):
        spec(method, over)

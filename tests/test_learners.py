"""Learners against slow, literal re-implementations; every mechanism has an effect; terms are pure functions."""

import itertools
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.func import functional_call, grad, vmap

from common import loop
from common.learners.base import Learner, Setup, Terms
from common.learners.gem import dual, flat
from common.learners.regularise import SI
from common.loop import Batches, build, fabric_for
from common.spec import RunSpec
from common.streams.resident import Batch
from common.streams.stream import Stream
from tests.helpers import LEARNERS, stored

PLAIN = {"optimiser.momentum": 0.0}


def made(spec: RunSpec) -> tuple[Stream, Learner]:
    return build(spec, fabric_for("cpu", spec.precision))


def train(stream: Stream, learner: Learner, spec: RunSpec, tasks: range, steps: int = 6) -> None:
    """The loop without anything but learning."""
    for k in tasks:
        batches = begun(stream, learner, spec, k)
        for step in range(steps):
            learner.update(batches.at(step))
        learner.end(stream.tasks[k])


def begun(stream: Stream, learner: Learner, spec: RunSpec, k: int) -> Batches:
    learner.optimiser.state.clear()
    learner.begin(stream.tasks[k])
    return Batches(learner, stream.tasks[k], spec)


def weights(learner: Learner) -> dict[str, Tensor]:
    return {name: p.detach().clone() for name, p in learner.net.named_parameters()}


def entropy(learner: Learner, params: dict[str, Tensor], x: Tensor, y: Tensor) -> Tensor:
    """Mean cross-entropy, sample by sample and from the definition."""
    losses = []
    for image, label in zip(x, y, strict=True):
        logits = functional_call(learner.net, params, (image.unsqueeze(0),))[0]
        losses.append(torch.log(torch.exp(logits).sum()) - logits[label])
    return torch.stack(losses).mean()


def close(one: Tensor, other: Tensor, tolerance: float = 1e-5) -> None:
    torch.testing.assert_close(one, other, rtol=tolerance, atol=tolerance * 0.1)


# --- ER and joint training -------------------------------------------------------------------------------


def test_er_loss_is_alpha_new_plus_rest_old(small: Callable[..., RunSpec]) -> None:
    spec = small("er")
    stream, learner = made(spec)
    train(stream, learner, spec, range(1))
    batch = begun(stream, learner, spec, 1).at(0)
    assert batch.replay is not None
    assert len(batch.replay.y) == len(batch.y) == 8
    assert set(batch.replay.y.tolist()) <= {0, 1}
    terms = learner.terms(learner.live, learner.state, batch)
    assert terms.stability is not None
    close(terms.plasticity, 0.3 * entropy(learner, learner.live, batch.x, batch.y))
    close(terms.stability, 0.7 * entropy(learner, learner.live, batch.replay.x, batch.replay.y))


def test_alpha_scales_the_first_task_too(small: Callable[..., RunSpec]) -> None:
    moves = []
    for name in ("er", "finetune"):
        spec = small(name, PLAIN)
        stream, learner = made(spec)
        before = weights(learner)
        learner.update(begun(stream, learner, spec, 0).at(0))
        moves.append({n: p - before[n] for n, p in weights(learner).items()})
    for name, move in moves[0].items():
        close(move, 0.3 * moves[1][name], 1e-4)


def test_er_over_two_tasks_equals_a_literal_loop(small: Callable[..., RunSpec]) -> None:
    spec = small("er")
    stream, learner = made(spec)
    params = {n: p.requires_grad_() for n, p in weights(learner).items()}
    for k in range(2):
        velocity = {n: torch.zeros_like(p) for n, p in params.items()}  # cleared at the switch
        batches = begun(stream, learner, spec, k)
        for step in range(4):
            batch = batches.at(step)
            loss = 0.3 * entropy(learner, params, batch.x, batch.y)
            if batch.replay is not None:
                loss = loss + 0.7 * entropy(learner, params, batch.replay.x, batch.replay.y)
            slopes = torch.autograd.grad(loss, list(params.values()))
            for (name, p), slope in zip(params.items(), slopes, strict=True):
                velocity[name] = 0.9 * velocity[name] + slope
                params[name] = (p.detach() - 0.05 * velocity[name]).requires_grad_()
            learner.update(batch)
        learner.end(stream.tasks[k])
    for name, p in weights(learner).items():
        close(p, params[name].detach(), 1e-4)


def test_joint_weighs_every_task_the_same_and_remembers_all(small: Callable[..., RunSpec]) -> None:
    spec = small("joint", {"budget.batch": 400})
    stream, learner = made(spec)
    train(stream, learner, spec, range(2), steps=1)
    batch = begun(stream, learner, spec, 2).at(0)
    earlier = [learner.data.rows(task) for task in stream.tasks[:2]]
    assert batch.replay is not None
    assert learner.memory is not None
    assert sorted(learner.memory.rows) == sorted(np.concatenate(earlier))
    terms = learner.terms(learner.live, learner.state, batch)
    assert terms.stability is not None
    close(terms.plasticity, entropy(learner, learner.live, batch.x, batch.y) / 3)
    close(terms.stability, entropy(learner, learner.live, batch.replay.x, batch.replay.y) * 2 / 3)


def test_batchnorm_sees_new_and_replayed_images_together(small: Callable[..., RunSpec]) -> None:
    spec = small("er", {"model.name": "small_cnn", "model.width": 4})
    stream, learner = made(spec)
    train(stream, learner, spec, range(1))
    batch = begun(stream, learner, spec, 1).at(0)
    assert batch.replay is not None
    both = learner.net(torch.cat([batch.x, batch.replay.x]))
    terms = learner.terms(learner.live, learner.state, batch)
    close(terms.plasticity, 0.3 * torch.nn.functional.cross_entropy(both[:8], batch.y))


# --- GEM and A-GEM -----------------------------------------------------------------------------------------


def brute_force(memory: np.ndarray, g: np.ndarray, gamma: float) -> np.ndarray:
    """v of min 1/2 v'Pv + (Gg)'v, v >= gamma: every choice of bounds that hold with equality is tried."""
    p = memory @ memory.T + 1e-3 * np.eye(len(memory))
    q = memory @ g
    best, found = np.inf, np.full(len(memory), gamma)
    for tight in itertools.product([True, False], repeat=len(memory)):
        free = ~np.array(tight)
        v = np.full(len(memory), gamma)
        if free.any():
            v[free] = np.linalg.solve(p[np.ix_(free, free)], -q[free] - p[np.ix_(free, ~free)] @ v[~free])
        value = 0.5 * v @ p @ v + q @ v
        if (v >= gamma - 1e-12).all() and value < best:
            best, found = value, v
    return found


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 10**6), st.integers(1, 5), st.integers(2, 12), st.sampled_from([0.0, 0.1, 0.5, 2.0]))
def test_dual_solves_the_quadratic_programme(seed: int, tasks: int, size: int, gamma: float) -> None:
    rng = np.random.default_rng(seed)
    memory, g = rng.normal(size=(tasks, size)), rng.normal(size=size)
    v = dual(torch.from_numpy(memory), torch.from_numpy(g), gamma).numpy()
    np.testing.assert_allclose(v, brute_force(memory, g, gamma), rtol=1e-6, atol=1e-8)
    # optimality: no slope along v where v is free, none below zero where v is at its bound
    slope = memory @ (g + memory.T @ v) + 1e-3 * v
    assert (v >= gamma - 1e-12).all()
    assert (slope >= -1e-7).all()
    assert np.abs(slope * (v - gamma)).max() < 1e-6
    # the projected gradient violates no constraint (by more than the 1e-3 on P's diagonal allows)
    assert (memory @ (g + memory.T @ v) >= -1e-3 * v - 1e-7).all()


def test_dual_agrees_with_a_general_solver() -> None:
    from scipy.optimize import minimize

    rng = np.random.default_rng(3)
    memory, g = rng.normal(size=(4, 9)), rng.normal(size=9)
    p, q = memory @ memory.T + 1e-3 * np.eye(4), memory @ g
    found = minimize(
        lambda v: 0.5 * v @ p @ v + q @ v, np.ones(4), jac=lambda v: p @ v + q, bounds=[(0.5, None)] * 4,
        method="SLSQP", options={"ftol": 1e-14, "maxiter": 500},
    )  # fmt: skip
    v = dual(torch.from_numpy(memory), torch.from_numpy(g), 0.5).numpy()
    np.testing.assert_allclose(v, found.x, atol=1e-5)


def gradient(learner: Learner, batch: Batch) -> dict[str, Tensor]:
    loss = entropy(learner, learner.live, batch.x, batch.y)
    return dict(zip(learner.live, torch.autograd.grad(loss, list(learner.live.values())), strict=True))


def test_gem_projects_against_each_old_task_and_only_when_violated(small: Callable[..., RunSpec]) -> None:
    spec = small("gem", {"optimiser.lr": 0.1})
    stream, learner = made(spec)
    train(stream, learner, spec, range(2))
    assert learner.memory is not None
    expected = [learner.data.rows(task)[:10] for task in stream.tasks[:2]]  # the first 30 // 3 of each task
    assert learner.memory.rows.tolist() == np.concatenate(expected).tolist()
    references = [gradient(learner, learner.data.batch(rows)) for rows in expected]
    rows = np.stack([flat(list(r.values())).numpy() for r in references]).astype(np.float64)

    batch = begun(stream, learner, spec, 2).at(0)
    g = gradient(learner, batch)
    edited = learner.edit(g, learner.live, learner.state, batch)
    g_flat = flat(list(g.values())).numpy().astype(np.float64)
    assert (rows @ g_flat < 0).any()
    v = brute_force(rows, g_flat, 0.5)
    np.testing.assert_allclose(flat(list(edited.values())).numpy(), g_flat + rows.T @ v, rtol=1e-3, atol=1e-5)
    scale = np.linalg.norm(rows, axis=1) * np.linalg.norm(g_flat)
    assert (rows @ flat(list(edited.values())).numpy() >= -1e-3 * v - 1e-5 * scale).all()

    along = {n: references[0][n] + references[1][n] for n in g}  # lowers the loss of both old tasks
    assert (rows @ flat(list(along.values())).numpy() >= 0).all()
    kept = learner.edit(along, learner.live, learner.state, batch)
    assert all(torch.equal(kept[n], along[n]) for n in along)


def test_agem_takes_out_what_points_against_the_reference(small: Callable[..., RunSpec]) -> None:
    spec = small("agem")
    stream, learner = made(spec)
    train(stream, learner, spec, range(1))
    batch = begun(stream, learner, spec, 1).at(0)
    assert batch.replay is not None
    r = flat(list(gradient(learner, batch.replay).values()))
    raw = gradient(learner, batch)
    for sign in (1.0, -1.0):
        grads = {n: sign * g for n, g in raw.items()}
        g = flat(list(grads.values()))
        edited = flat(list(learner.edit(grads, learner.live, learner.state, batch).values()))
        if g @ r < 0:
            close(edited, g - (g @ r) / (r @ r) * r, 1e-4)
            assert abs(float(edited @ r)) < 1e-4 * float(g.norm() * r.norm())
        else:
            assert torch.equal(edited, g)


# --- EWC, SI and LwF ---------------------------------------------------------------------------------------


def literal_fisher(learner: Learner, rows: np.ndarray, kind: str, size: int) -> dict[str, Tensor]:
    """Mean of squared gradients, of single samples or of batches, one after the other."""
    pieces = [rows[i : i + size] for i in range(0, len(rows), size)] if kind == "batch" else [[r] for r in rows]
    total = {n: torch.zeros_like(p) for n, p in learner.live.items()}
    for piece in pieces:
        for name, g in gradient(learner, learner.data.batch(np.array(piece))).items():
            total[name] += g**2 / len(pieces)
    return total


@pytest.mark.parametrize("kind", ["sample", "batch"])
def test_ewc_importance_is_the_running_mean_of_the_fisher(kind: str, small: Callable[..., RunSpec]) -> None:
    spec = small("ewc", {"learner.fisher": kind, "learner.fisher_batch": 16, "stream.train_per_task": 41})
    stream, learner = made(spec)
    found = []
    for k in range(2):
        batches = begun(stream, learner, spec, k)
        for step in range(3):
            learner.update(batches.at(step))
        found.append(literal_fisher(learner, learner.data.rows(stream.tasks[k]), kind, 16))
        learner.end(stream.tasks[k])
        for name, value in learner.state["importance"].items():
            close(value, torch.stack([f[name] for f in found]).mean(0), 1e-3)
            assert torch.equal(learner.state["anchor"][name], learner.live[name].detach())


@pytest.mark.parametrize("kind", ["sample", "batch"])
def test_measuring_importance_leaves_batchnorm_as_it_is(kind: str, small: Callable[..., RunSpec]) -> None:
    spec = small("ewc", {"learner.fisher": kind, "model.name": "small_cnn", "model.width": 4})
    stream, learner = made(spec)
    batches = begun(stream, learner, spec, 0)
    for step in range(3):
        learner.update(batches.at(step))
    before = {n: t.clone() for n, t in learner.net.state_dict().items()}
    learner.end(stream.tasks[0])
    assert all(torch.equal(before[n], t) for n, t in learner.net.state_dict().items())
    assert all(m.training for m in learner.net.modules())
    found = literal_fisher_in_eval(learner, learner.data.rows(stream.tasks[0]), kind)
    for name, value in learner.state["importance"].items():
        torch.testing.assert_close(value, found[name], rtol=1e-3, atol=1e-6)


def literal_fisher_in_eval(learner: Learner, rows: np.ndarray, kind: str) -> dict[str, Tensor]:
    """`literal_fisher` with running statistics, by hand because `entropy` goes image by image."""
    learner.net.eval()
    total = {n: torch.zeros_like(p) for n, p in learner.live.items()}
    size = 128 if kind == "batch" else 1
    pieces = [rows[i : i + size] for i in range(0, len(rows), size)]
    for piece in pieces:
        batch = learner.data.batch(piece)
        loss = torch.nn.functional.cross_entropy(learner.net(batch.x), batch.y)
        slopes = torch.autograd.grad(loss, list(learner.live.values()))
        for name, slope in zip(total, slopes, strict=True):
            total[name] += slope**2 / len(pieces)
    learner.net.train()
    return total


def test_lwf_teacher_answers_with_running_statistics(small: Callable[..., RunSpec]) -> None:
    spec = small("lwf", {"model.name": "small_cnn", "model.width": 4})
    stream, learner = made(spec)
    train(stream, learner, spec, range(1))
    batches = begun(stream, learner, spec, 1)
    learner.update(batches.at(0))
    batch = batches.at(1)
    statistics = {n: b.clone() for n, b in learner.net.named_buffers()}
    penalty = learner.terms(learner.live, learner.state, batch).stability
    moved = {n: b.clone() for n, b in learner.net.named_buffers()}
    assert any(not torch.equal(statistics[n], moved[n]) for n in moved)  # by the pupil's own forward pass
    learner.net.load_state_dict(statistics, strict=False)
    pupil = learner.net(batch.x)
    learner.net.eval()
    teacher = functional_call(learner.net, learner.state["teacher"], (batch.x,))
    learner.net.train()
    q, p = (teacher / 2).softmax(1), (pupil / 2).softmax(1)
    expected = (q * (q / p).log())[:, :2].sum(1).mean()
    assert penalty is not None
    close(penalty, expected.detach(), 1e-4)


def test_ewc_penalty_is_the_sum_by_hand(small: Callable[..., RunSpec]) -> None:
    spec = small("ewc")
    stream, learner = made(spec)
    train(stream, learner, spec, range(1))
    batches = begun(stream, learner, spec, 1)
    learner.update(batches.at(0))
    penalty = learner.terms(learner.live, learner.state, batches.at(1)).stability
    by_hand = 0.0
    for name, p in learner.live.items():
        omega, anchor = learner.state["importance"][name].flatten(), learner.state["anchor"][name].flatten()
        entries = zip(omega.tolist(), p.flatten().tolist(), anchor.tolist(), strict=True)
        by_hand += sum(o * (w - a) ** 2 for o, w, a in entries)
    assert penalty is not None
    assert penalty.item() == pytest.approx(30.0 * by_hand, rel=1e-3)
    assert by_hand > 0


class Bowl(SI):
    """SI on the loss 1/2 sum curvature * (w - middle)^2, whose path integral is known."""

    def terms(self, params: dict[str, Tensor], state: dict[str, Any], batch: Batch) -> Terms:
        parts = [(CURVATURE * (p - 1.0) ** 2).sum() / 2 for p in params.values()]
        return Terms(torch.stack(parts).sum())


CURVATURE = 3.0


def test_si_integrates_the_fall_of_the_loss_along_the_path(small: Callable[..., RunSpec]) -> None:
    spec = small("si", PLAIN)
    stream, plain = made(spec)
    optimiser = torch.optim.SGD(plain.net.parameters(), lr=1e-3)
    learner = Bowl(Setup(plain.net, optimiser, plain.data, 0), strength=1.0, damping=0.1)
    batch = Batches(learner, stream.tasks[0], spec).at(0)
    start, path = weights(learner), {n: torch.zeros_like(p) for n, p in learner.live.items()}
    learner.begin(stream.tasks[0])
    for _ in range(50):
        before = weights(learner)
        learner.update(batch)
        for name, w in before.items():
            path[name] += 1e-3 * (CURVATURE * (w - 1.0)) ** 2  # - gradient * movement, movement = - lr * gradient
    end = weights(learner)
    learner.end(stream.tasks[0])
    for name in start:
        fall = CURVATURE / 2 * ((start[name] - 1) ** 2 - (end[name] - 1) ** 2)
        torch.testing.assert_close(path[name], fall, rtol=0.01, atol=1e-6)  # lr -> 0 gives equality
        moved = end[name] - start[name]
        close(learner.state["importance"][name], path[name] / (moved**2 + 0.1), 1e-3)


def test_si_starts_a_new_path_at_each_task(small: Callable[..., RunSpec]) -> None:
    spec = small("si", PLAIN)
    stream, learner = made(spec)
    before: dict[str, Tensor] = {n: torch.zeros_like(p) for n, p in learner.live.items()}
    for k in range(3):
        start, path = weights(learner), {n: torch.zeros_like(p) for n, p in learner.live.items()}
        batches = begun(stream, learner, spec, k)
        for step in range(4):
            old = weights(learner)
            learner.update(batches.at(step))
            for name, w in weights(learner).items():
                path[name] += (w - old[name]) ** 2 / 0.05  # - gradient * movement = movement^2 / lr
        learner.end(stream.tasks[k])
        for name, w in weights(learner).items():
            grown = learner.state["importance"][name] - before[name]
            torch.testing.assert_close(grown, path[name] / ((w - start[name]) ** 2 + 0.1), rtol=1e-2, atol=1e-5)
        before = {n: t.clone() for n, t in learner.state["importance"].items()}


def test_si_importance_is_never_negative(small: Callable[..., RunSpec]) -> None:
    spec = small("si")
    stream, learner = made(spec)
    learner.begin(stream.tasks[0])
    for path in learner.state["path"].values():  # the loss rose along the way, as momentum can make it
        path -= 1.0
    learner.end(stream.tasks[0])
    assert all((value == 0).all() for value in learner.state["importance"].values())


def test_si_penalty_and_importance_over_tasks(small: Callable[..., RunSpec]) -> None:
    spec = small("si")
    stream, learner = made(spec)
    train(stream, learner, spec, range(1))
    first = {n: t.clone() for n, t in learner.state["importance"].items()}
    anchor = weights(learner)
    batches = begun(stream, learner, spec, 1)
    learner.update(batches.at(0))
    penalty = learner.terms(learner.live, learner.state, batches.at(1)).stability
    by_hand = sum((first[n] * (p - anchor[n]) ** 2).sum() for n, p in learner.live.items())
    assert penalty is not None
    close(penalty, 5.0 * by_hand, 1e-4)
    learner.end(stream.tasks[1])
    assert all((learner.state["importance"][n] >= first[n]).all() for n in first)  # it only grows
    assert min(float(t.min()) for t in first.values()) >= 0


def test_lwf_penalty_is_the_divergence_over_seen_columns(small: Callable[..., RunSpec]) -> None:
    spec = small("lwf", {"learner.strength": 0.7, "learner.temperature": 3.0})
    stream, learner = made(spec)
    train(stream, learner, spec, range(2))
    teacher = weights(learner)
    batches = begun(stream, learner, spec, 2)
    learner.update(batches.at(0))
    batch = batches.at(1)
    penalty = learner.terms(learner.live, learner.state, batch).stability
    total = 0.0
    for image in batch.x:
        old = functional_call(learner.net, teacher, (image.unsqueeze(0),))[0] / 3.0
        new = learner.net(image.unsqueeze(0))[0] / 3.0
        q, p = old.exp() / old.exp().sum(), new.exp() / new.exp().sum()
        total += sum((q[c] * (q[c].log() - p[c].log())).item() for c in (0, 1, 2, 3))  # classes of tasks 0 and 1
    assert penalty is not None
    assert penalty.item() == pytest.approx(0.7 * total / len(batch.x), rel=1e-3)
    assert any((teacher[n] != w).any() for n, w in weights(learner).items())


def test_lwf_penalty_is_nothing_while_the_networks_are_the_same_in_mixed_precision(
    small: Callable[..., RunSpec],
) -> None:
    spec = small("lwf", {"precision": "bf16-mixed"})
    stream, learner = made(spec)
    train(stream, learner, spec, range(1))
    batch = begun(stream, learner, spec, 1).at(0)
    learner.state["moved"] = torch.ones(())  # the penalty counts, but nothing has moved
    penalty = learner.terms(learner.live, learner.state, batch).stability
    assert penalty is not None
    assert penalty.item() == 0


@pytest.mark.parametrize("name", ["ewc", "si", "lwf"])
def test_first_step_of_a_task_is_free_of_the_penalty(name: str, small: Callable[..., RunSpec]) -> None:
    trace = loop.run(small(name, {"evaluation.gradients": True})).trace()
    for key in ("s_stability", "s_grad_stability"):
        assert np.isnan(trace[key][:12]).all()  # there is none in the first task
        assert trace[key][12] == trace[key][24] == 0.0
        assert (trace[key][[13, 25]] > 0).all()


# --- a mechanism that does nothing is a failing test -----------------------------------------------------------


@pytest.mark.parametrize("name", LEARNERS)
def test_mixed_precision_trains_and_keeps_full_weights(name: str, small: Callable[..., RunSpec]) -> None:
    folder = loop.run(small(name, {"precision": "bf16-mixed"}))
    weights = stored(folder.path)[1]
    assert all(w.dtype == np.float32 and np.isfinite(w).all() for w in weights.values())
    full = stored(loop.run(small(name)).path)[1]
    assert 0 < max(np.abs(weights[n] - full[n]).max() for n in full) < 0.5


@pytest.mark.parametrize("name", [n for n in LEARNERS if n != "finetune"])
def test_every_mechanism_has_an_effect(name: str, small: Callable[..., RunSpec]) -> None:
    folder = loop.run(small(name, {"evaluation.gradients": True}))
    later = folder.trace()["s_grad_stability"][12:]
    assert np.nanmax(later) > 0  # the replayed loss, the penalty or the projection moved the weights
    fine = loop.run(small("finetune"))
    ours, plain = stored(folder.path)[1], stored(fine.path)[1]
    assert max(np.abs(ours[n] - plain[n]).max() for n in plain) > 1e-4


def test_projections_fire_on_some_steps_and_not_in_the_first_task(small: Callable[..., RunSpec]) -> None:
    for name in ("gem", "agem"):
        change = loop.run(small(name, {"evaluation.gradients": True})).trace()["s_grad_stability"]
        assert (change[:12] == 0).all()
        assert (change[12:] > 0).any()


@pytest.mark.parametrize("name", ["er", "joint", "agem"])
def test_replayed_rows_are_of_earlier_tasks_and_differ_from_step_to_step(
    name: str, small: Callable[..., RunSpec]
) -> None:
    spec = small(name)
    stream, learner = made(spec)
    assert learner.recall(0, 0, 8) is None
    train(stream, learner, spec, range(1))
    drawn = [tuple(learner.recall(1, step, 8)) for step in range(5)]
    assert len(set(drawn)) == 5
    assert set(np.concatenate(drawn)) <= set(learner.data.rows(stream.tasks[0]))
    assert tuple(learner.recall(1, 2, 8)) == drawn[2]  # an address, not a history


def test_watching_gradients_changes_no_weight(small: Callable[..., RunSpec]) -> None:
    for name in LEARNERS:
        plain, watched = (
            stored(loop.run(small(name, {"evaluation.gradients": watch})).path)[1] for watch in (False, True)
        )
        assert all(np.array_equal(plain[n], watched[n]) for n in plain), name


def test_recorded_gradient_norms_are_those_of_the_two_terms(small: Callable[..., RunSpec]) -> None:
    spec = small("er", {"evaluation.gradients": True})
    stream, learner = made(spec)
    train(stream, learner, spec, range(1))
    batch = begun(stream, learner, spec, 1).at(0)
    assert batch.replay is not None
    new, old = gradient(learner, batch), gradient(learner, batch.replay)
    facts = learner.update(batch)
    close(facts["grad_plasticity"], 0.3 * flat(list(new.values())).norm(), 1e-4)
    close(facts["grad_stability"], 0.7 * flat(list(old.values())).norm(), 1e-4)


# --- terms are pure functions of (parameters, state, batch) ----------------------------------------------------


def stacked(values: list[Any]) -> Any:
    """Trees of the same shape as one tree of stacked tensors."""
    if isinstance(values[0], dict):
        return {key: stacked([v[key] for v in values]) for key in values[0]}
    return torch.stack([v.detach() for v in values])


@pytest.mark.parametrize("name", LEARNERS)
def test_terms_batched_over_runs_equal_each_run_alone(name: str, small: Callable[..., RunSpec]) -> None:
    """vmap over stacked parameters, states and batches of two seeds, within 1e-5 (float32, other summation order)."""
    runs = []
    for seed in (0, 1):
        spec = small(name, seed=seed)
        stream, learner = made(spec)
        train(stream, learner, spec, range(1))
        batches = begun(stream, learner, spec, 1)
        learner.update(batches.at(0))
        runs.append((learner, batches.at(1)))
    learner = runs[0][0]

    def values(params: Any, state: Any, x: Tensor, y: Tensor, old_x: Any, old_y: Any) -> tuple[Tensor, Tensor]:
        replay = None if old_x is None else Batch(old_x, old_y)
        terms = learner.terms(params, state, Batch(x, y, None, replay))
        return terms.plasticity, torch.zeros(()) if terms.stability is None else terms.stability

    def total(*arguments: Any) -> Tensor:
        one, other = values(*arguments)
        return one + other

    batches = [b for _, b in runs]
    columns = [stacked([weights(run) for run, _ in runs]), stacked([run.state for run, _ in runs])]
    columns += [torch.stack([b.x for b in batches]), torch.stack([b.y for b in batches])]
    replays = [b.replay for b in batches]
    columns += (
        [torch.stack([r.x for r in replays if r]), torch.stack([r.y for r in replays if r])]
        if replays[0] is not None
        else [None, None]
    )
    dims = tuple(None if column is None else 0 for column in columns)
    plasticity, stability = vmap(values, in_dims=dims)(*columns)
    slopes = vmap(grad(total), in_dims=dims)(*columns)
    for k, (run, batch) in enumerate(runs):
        alone = run.terms(run.live, run.state, batch)
        close(plasticity[k], alone.plasticity.detach())
        if alone.stability is not None:
            close(stability[k], alone.stability.detach())
        expected = torch.autograd.grad(alone.total, list(run.live.values()))
        for slope, one in zip(slopes.values(), expected, strict=True):
            close(slope[k], one, 1e-4)
    leaked = [key for key, value in vars(learner).items() if isinstance(value, Tensor)]
    assert not leaked  # nothing of the batched call stays in the learner


@pytest.mark.parametrize("name", LEARNERS)
def test_terms_change_neither_learner_nor_state(name: str, small: Callable[..., RunSpec]) -> None:
    spec = small(name)
    stream, learner = made(spec)
    train(stream, learner, spec, range(1))
    batches = begun(stream, learner, spec, 1)
    learner.update(batches.at(0))
    before, facts = learner.state_dict(), dict(vars(learner))
    facts.pop("_modules")
    copied = {n: t.clone() for n, t in before.items() if isinstance(t, Tensor)}
    state = stacked([learner.state]) if learner.state else {}
    first = learner.terms(learner.live, learner.state, batches.at(1)).total
    second = learner.terms(learner.live, learner.state, batches.at(1)).total
    assert torch.equal(first, second)
    assert all(torch.equal(copied[n], t) for n, t in learner.state_dict().items() if isinstance(t, Tensor))
    torch.testing.assert_close(stacked([learner.state]) if learner.state else {}, state)
    assert all(vars(learner)[key] is value for key, value in facts.items())

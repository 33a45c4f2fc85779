"""SCoLe: the mask and the clip as functions, networks' sizes, replay on hand-made histories, measures against hand-made traces."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from lightning import Fabric
from torch import nn
from torch.func import functional_call, grad, vmap

from common import analyse, loop
from common.batches import Batches
from common.build import build
from common.errors import Problem
from common.learners.masked import Masked, present
from common.models.scole import cifar_resnet, mnist_cnn, wide_resnet
from common.resolve import resolve
from common.spec import RunSpec
from common.streams import data
from common.streams.resident import Batch
from papers.scole import analyses, measures
from papers.scole.learner import ReplayClasses, within
from papers.scole.tables import area, tasks_to
from papers.scole.traces import course
from tests.helpers import SMALL, stored

REPLAY = "papers.scole.learner.ReplayClasses"
RUN = {
    "stream": {"name": "recurring", "tasks": 20, "classes_per_task": 2, "per_class": 16},
    "budget": {"iterations": None, "epochs": 1, "batch": 8},
    "evaluation": {"every": 0, "samples": 12},
}


def made(small: Callable[..., RunSpec], learner: str = "masked", **over: Any) -> tuple[RunSpec, Any, Any]:
    """(spec, stream, learner) on a recurring stream."""
    spec = small(learner, {**RUN, **over})
    return spec, *build(spec, Fabric(accelerator="cpu", devices=1))


# --- mask, clip, steps without loss ----------------------------------------------------------------------------------


@pytest.mark.parametrize("mask", ["none", "group", "task"])
def test_head_rows_of_absent_classes_get_no_gradient_under_a_mask(mask: str, small: Callable[..., RunSpec]) -> None:
    spec, stream, learner = made(small, **{"learner.mask": mask, "learner.clip": None})
    task = stream.tasks[3]
    learner.begin(task)
    learner.terms(learner.live, learner.state, Batches(learner, task, spec).at(0)).total.backward()
    absent = [c for c in range(10) if c not in task.classes]
    rows = learner.net.head.weight.grad
    assert bool((rows[absent] == 0).all()) == (mask != "none")
    assert bool((rows[list(task.classes)] != 0).any(dim=1).all())


def test_the_mask_of_a_task_is_a_state_that_can_be_batched_over_runs(small: Callable[..., RunSpec]) -> None:
    spec, stream, learner = made(small, **{"learner.mask": "task", "learner.clip": 0.5})
    tasks, batches, states = [stream.tasks[k] for k in (0, 1, 2)], [], []
    for task in tasks:
        learner.begin(task)
        batches.append(Batches(learner, task, spec).at(0))
        states.append(learner.state["allowed"].clone())
    params = {name: torch.stack([p.detach()] * 3) for name, p in learner.live.items()}

    def one(p: Any, allowed: Any, x: Any, y: Any) -> Any:
        batch, state = Batch(x, y), {"allowed": allowed}

        def loss(weights: Any) -> Any:
            learner.apply_net = lambda given, images: functional_call(learner.net, given, (images,))
            return learner.terms(weights, state, batch).total

        return learner.edit(grad(loss)(p), p, state, batch)

    together = vmap(one)(
        params, torch.stack(states), torch.stack([b.x for b in batches]), torch.stack([b.y for b in batches])
    )
    for k in range(3):
        alone = one({n: p[k] for n, p in params.items()}, states[k], batches[k].x, batches[k].y)
        for name, gradient in alone.items():
            torch.testing.assert_close(together[name][k], gradient, rtol=1e-5, atol=1e-7)


def test_a_batch_of_one_class_has_no_loss_and_moves_nothing_under_the_group_mask(small: Callable[..., RunSpec]) -> None:
    adam = {"optimiser.name": "adam", "optimiser.lr": 0.01}
    for mask, moves in (("group", False), ("none", True)):
        spec, stream, learner = made(small, **{"learner.mask": mask}, **adam)
        task = stream.tasks[0]
        learner.begin(task)
        batches = Batches(learner, task, spec)
        learner.update(batches.at(0))  # Adam has momentum now
        rows = learner.data.rows(task)
        single = learner.data.batch(rows[learner.data.labels_of(rows) == task.classes[0]][:6])
        before = [p.detach().clone() for p in learner.live.values()]
        facts = learner.update(single)
        changed = any(not torch.equal(old, new) for old, new in zip(before, learner.live.values(), strict=True))
        assert changed == moves
        assert (float(facts["plasticity"]) > 0) == moves


def test_present_labels() -> None:
    assert present(torch.tensor([3, 1, 3]), 5).tolist() == [False, True, False, True, False]


def test_the_gradient_is_clipped_over_all_parameters_together(small: Callable[..., RunSpec]) -> None:
    spec, stream, learner = made(small, **{"learner.clip": 0.1})
    task = stream.tasks[0]
    learner.begin(task)
    learner.update(Batches(learner, task, spec).at(0))
    own = torch.nn.utils.get_total_norm([p.grad for p in learner.live.values()])
    assert float(own) == pytest.approx(0.1, rel=1e-4)
    free = made(small, **{"learner.clip": None})[2]
    gradients = {"a": torch.full((4,), 50.0)}
    assert free.edit(gradients, {}, {}, None) is gradients
    assert torch.equal(learner.edit({"a": torch.full((4,), 0.01)}, {}, {}, None)["a"], torch.full((4,), 0.01))


def test_a_fresh_head_is_another_one_in_each_task_and_the_same_each_time(small: Callable[..., RunSpec]) -> None:
    _, stream, learner = made(small, **{"learner.fresh_head": True})
    heads = []
    for k in (0, 1, 0):
        learner.begin(stream.tasks[k])
        heads.append(learner.net.head.weight.detach().clone())
    assert torch.equal(heads[0], heads[2])
    assert not torch.equal(heads[0], heads[1])


def test_a_mask_that_would_exclude_a_label_is_refused(small: Callable[..., RunSpec]) -> None:
    with pytest.raises(Problem) as caught:
        small(REPLAY, {**RUN, "learner.mask": "task"})
    assert "learner.mask is 'task'" in str(caught.value)
    from dataclasses import replace

    _, stream, learner = made(small, **{"learner.mask": "task"})
    task = stream.tasks[0]
    with pytest.raises(Problem, match="does not name"):
        learner.begin(replace(task, classes=task.classes[:1]))


def test_impossible_streams_are_refused_at_plan(small: Callable[..., RunSpec]) -> None:
    from common import estimate

    for over, words in (
        ({"stream.classes_per_task": 11}, "stream has 10 classes"),
        ({"stream.frequencies": [0.0] * 10}, "sum to zero"),
    ):
        with pytest.raises(Problem) as caught:
            estimate.updates(small("masked", {**RUN, **over}))
        assert words in str(caught.value)
    with pytest.raises(Problem, match=r"stream\.tasks is 0"):
        small("masked", {**RUN, "stream.tasks": 0})


# --- networks ----------------------------------------------------------------------------------------------------


def parameters(net: torch.nn.Module) -> int:
    return sum(p.numel() for p in net.parameters())


def test_networks_have_the_released_numbers_of_parameters() -> None:
    assert parameters(mnist_cnn((1, 28, 28), 10)) == 21_840
    assert parameters(cifar_resnet((3, 32, 32), 10)) == 272_474
    assert [parameters(wide_resnet((3, 32, 32), 10, width=w)) for w in (1, 2)] == [77_850, 303_706]
    assert round(parameters(wide_resnet((3, 32, 32), 10, width=4)) / 1e6, 2) == 1.20
    with pytest.raises(Problem, match="6n \\+ 2"):
        cifar_resnet((3, 32, 32), 10, depth=21)
    with pytest.raises(Problem, match="16 pixels or more"):
        mnist_cnn((1, 8, 8), 10)


@pytest.mark.parametrize("shape", [(1, 28, 28), (3, 20, 17)])
def test_the_mnist_net_is_what_its_layers_say(shape: tuple[int, int, int]) -> None:
    net: Any = mnist_cnn(shape, 10)
    first, second = net.trunk[0].first, net.trunk[0].second
    plain = nn.Sequential(
        *(first, nn.MaxPool2d(2), nn.ReLU(), second, nn.MaxPool2d(2), nn.ReLU(), nn.Flatten()),
        *(*net.trunk[1:], net.head),
    )
    x, y = torch.randn(7, *shape), torch.arange(7)
    found = [logits_and_gradients(each, net, x, y) for each in (net, plain)]
    for one, other in zip(*found, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-6)
    assert len(found[0]) == 9
    with torch.inference_mode():
        whole = net(x)
        torch.testing.assert_close(whole, found[1][0], rtol=1e-4, atol=1e-6)
        torch.testing.assert_close(whole, torch.cat([net(part) for part in x.split(2)]), rtol=1e-5, atol=1e-7)


def logits_and_gradients(net: nn.Module, parameters_of: nn.Module, x: torch.Tensor, y: torch.Tensor) -> list[Any]:
    logits = net(x)
    loss = nn.functional.cross_entropy(logits, y)
    return [logits.detach(), *torch.autograd.grad(loss, list(parameters_of.parameters()))]


@pytest.mark.parametrize(
    "net", [mnist_cnn((1, 28, 28), 7, head="weightnorm"), wide_resnet((1, 16, 16), 7, head="weightnorm")]
)
def test_a_weight_normed_head_has_rows_of_length_one_and_no_bias(net: Any) -> None:
    net.eval()
    x = torch.randn(5, 1, 28, 28)
    features = net.trunk(x)
    norms = net.head.weight.norm(dim=1)
    torch.testing.assert_close(net(x), features @ (net.head.weight / norms[:, None]).T)
    assert net.head.bias is None


# --- replay ------------------------------------------------------------------------------------------------------


def test_replay_takes_the_rarest_classes_inside_the_band() -> None:
    occurred = np.array([40, 3, 8, 2, 12, 9, 0])
    # shares of 100 tasks: class 3 and 6 occurred too rarely, class 0 too often, class 4 above 0.1
    assert within(occurred, 100, (5,), 2, 0.01, 0.1) == [1, 2]
    assert within(occurred, 100, (1,), 2, 0.01, 0.1) == [2, 5]
    assert within(occurred, 100, (1, 2, 5), 3, 0.01, 0.1) == []
    assert within(occurred, 100, (6,), 5, 0.05, 0.2) == [2, 5, 4]
    assert within(occurred, 1000, (0,), 5, 0.01, 0.1) == [4]


def test_replayed_images_are_stored_ones_of_absent_classes_each_once_an_epoch(small: Callable[..., RunSpec]) -> None:
    spec, stream, learner = made(small, REPLAY, **{"learner.per_class": 6, "learner.high": 0.5, "stream.tasks": 60})
    assert isinstance(learner, ReplayClasses)
    met = 0
    for task in stream.tasks:
        learner.begin(task)
        batches = Batches(learner, task, spec)
        replayed = [batches.at(step).replay for step in range(4)]
        rows = np.concatenate([r.rows.numpy() for r in replayed if r is not None] or [np.zeros(0, dtype=np.int64)])
        assert sorted(rows) == sorted(learner.state["rows"].tolist())
        labels = set(learner.data.labels_of(rows).tolist())
        assert not labels & set(task.classes)
        met += bool(labels)
        for label in range(10):
            own = learner.state["stored"][label]
            own = own[own >= 0].numpy()
            assert len(set(own)) == len(own) or len(own) == 6
            assert set(learner.data.labels_of(own).tolist()) <= {label}
    assert met > 5


def test_replay_changes_what_is_learned(small: Callable[..., RunSpec]) -> None:
    over = {**RUN, "stream.tasks": 30, "learner.high": 0.6}
    runs = [
        small(REPLAY, over),
        small(REPLAY, {**over, "learner.high": 0.01}),
        small("masked", {**RUN, "learner.mask": "group"}),
    ]
    weights = [stored(loop.run(run).path)[1] for run in runs]
    assert any(weights[0][n].tobytes() != weights[1][n].tobytes() for n in weights[0])
    assert weights[1].keys() == weights[2].keys()


# --- measures ----------------------------------------------------------------------------------------------------


def by_hand() -> tuple[dict[str, np.ndarray], np.ndarray]:
    """(trace, accuracy) of four tasks of one of two classes: 0, 1, 0, 0; measured before and after each."""
    accuracy = np.array([[0.0, 0.0], [1.0, 0.0], [0.2, 0.8], [0.9, 0.5], [1.0, 0.3]])
    trained = np.array([[1, 0], [0, 1], [1, 0], [1, 0]], dtype=bool)
    trace = {
        "step": np.array([0, 3, 6, 9, 12]),
        "task": np.array([0, 0, 1, 2, 3]),
        "ends": np.array([3, 6, 9, 12]),
        "trained": np.packbits(trained, axis=1),
    }
    return trace, accuracy


def test_the_course_of_a_run_by_hand() -> None:
    run = course(*by_hand())
    assert run.done.tolist() == [1, 2, 3, 4]
    assert run.since().tolist() == [[0, -1], [1, 0], [0, 1], [0, 2]]
    assert run.mean.tolist() == pytest.approx([0.5, 0.5, 0.7, 0.65])


def test_measures_of_a_run_by_hand() -> None:
    found = measures.per_run(*by_hand())
    assert (found["a_1"], found["late"]) == (0.5, 0.65)
    assert found["expected"] == pytest.approx((0.7 + 0.65) / 2)
    assert found["gain"] == pytest.approx(0.65 - 0.5)  # after two tasks both classes could have been seen
    assert found["recency_gap"] == pytest.approx(0.95 - 0.4)
    assert (found["retained_0"], found["retained_1"], found["retained_2"]) == pytest.approx((0.95, 0.5, 0.3))
    assert (found["first_late"], found["second_late"]) == (1.0, 0.3)
    assert measures.per_run({"step": np.array([0])}, np.zeros((1, 1))) == {}


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("classes", [1, 2, 10])
@pytest.mark.parametrize("tasks", [1, 2, 3, 4])
def test_a_stream_of_few_tasks_has_the_measures_that_it_is_long_enough_for(tasks: int, classes: int) -> None:
    trained = np.eye(classes, dtype=bool)[np.arange(tasks) % classes]  # one class a task
    steps = np.arange(tasks + 1)
    trace = {
        "step": steps,
        "task": np.maximum(steps - 1, 0),
        "ends": steps[1:],
        "trained": np.packbits(trained, axis=1),
    }
    found = measures.per_run(trace, np.linspace(0, 1, (tasks + 1) * classes).reshape(tasks + 1, classes))
    assert ("gain" in found) == (1 < tasks >= classes)
    assert ("first_late" in found) == (tasks > 1 and classes > 1)
    assert {"a_1", "late", "expected"} <= found.keys()
    assert all(np.isfinite(value) for value in found.values())


@pytest.mark.filterwarnings("error")
def test_measures_of_a_world_whose_classes_are_all_rare_leave_out_the_share_of_the_others() -> None:
    values = {"q": [0.002, 0.003], "expected": [0.1, 0.2], "last task": [0.0, 0.0]}
    facts = pd.DataFrame(
        [{"class": c, "quantity": name, "value": v[c]} for name, v in values.items() for c in range(2)]
    )
    found = measures.per_analysis("classes", facts)
    assert "above_last" not in found
    assert found["rare"] == pytest.approx(0.15)


def test_thresholds_and_areas_by_hand() -> None:
    done = np.array([1.0, 2, 4, 8, 16])
    curve = np.array([0.1, 0.6, 0.2, 0.7, 0.9])
    assert tasks_to(done, curve, 0.5) == 2.0  # the mean of what follows is 0.6
    assert tasks_to(done, curve, 0.65) == 8.0
    assert np.isnan(tasks_to(done, curve, 0.95))
    assert area(np.array([1.0, 10, 100]), np.array([0.0, 1.0, 1.0])) == pytest.approx(0.75)


def test_measures_over_runs_say_what_is_missing() -> None:
    rows = pd.DataFrame(
        {"learner.mask": ["none", "task"], "a_10": [0.2, 0.5], "late": [0.9, 0.8], "spec": "accumulation"}
    )
    assert measures.mask_gain_early(rows) == pytest.approx(0.3)
    with pytest.raises(Problem, match="0 values of a_10"):
        measures.mask_gain_early(rows.iloc[:1])
    with pytest.raises(Problem, match="0 values of late"):
        measures.MEASURES["normalised_late"](rows)


# --- analyses ----------------------------------------------------------------------------------------------------


def test_analyses_of_a_run_agree_with_its_trace() -> None:
    over = {
        "evaluation": {"every": 0, "samples": None, "snapshots": [0], "tasks": "log"},
        "learner": {"name": "masked"},
    }
    run = resolve({**SMALL, **RUN, **over}, data.digest("digits"))
    folder = loop.run(run)
    found = analyse.trained(run.run_id, "cpu")
    facts = pd.DataFrame(analyses.classes(found)).pivot(index="class", columns="quantity", values="value")
    assert facts["q"].tolist() == pytest.approx([0.2] * 10)
    assert facts["share"].sum() == pytest.approx(2.0)
    over_time = pd.DataFrame(analyses.probes(found))
    own = over_time[over_time["quantity"] == "accuracy"].set_index("after")["value"]
    trace = folder.trace()
    bits = np.unpackbits(trace["bits"], axis=1)[:, : trace["offsets"][-1]].mean(axis=1)
    assert own.index.tolist() == [0, 1, 2, 3, 4, 5, 6, 7, 8, 10, 12, 15, 18, 20]
    assert own.to_numpy() == pytest.approx(bits)
    probe = over_time[over_time["quantity"] == "probe"].set_index("after")["value"]
    assert probe[0] > own[0] + 0.2  # the head is untrained, the probe is not
    moved = over_time[over_time["quantity"] == "weight change"]
    assert set(moved["layer"]) == {"trunk.1", "head"}
    assert (moved["value"] > 0).all()
    assert isinstance(found.learner, Masked)

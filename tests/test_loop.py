"""The loop: evaluation moves nothing, the same spec gives the same bytes, batches are a function of their address."""

import socket
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from lightning import Fabric

from common import loop
from common.batches import Batches
from common.build import build
from common.errors import Busy, Problem
from common.evaluate import correct
from common.files import write_json
from common.loop import Place, evaluate_at
from common.places import runs_dir
from common.record import RunFolder
from common.spec import RunSpec
from common.trace import Trace
from tests.helpers import LEARNERS, same, same_weights, stored

BATCHNORM = {"model.name": "small_cnn", "model.width": 4, "model.norm": "batch"}
MORE = {"evaluation.every": 5, "evaluation.samples": 3, "evaluation.gradients": True}


def cpu() -> Fabric:
    return Fabric(accelerator="cpu", devices=1)


@pytest.mark.parametrize("learner", LEARNERS)
def test_the_evaluation_period_leaves_the_weights_bit_identical(learner: str, small: Callable[..., RunSpec]) -> None:
    every, never = (stored(loop.run(small(learner, {"evaluation.every": e})).path)[1] for e in (1, 0))
    assert same_weights(every, never)


@pytest.mark.parametrize("learner", ["er", "gem", "lwf"])
@pytest.mark.parametrize("key", MORE)
def test_nothing_of_the_evaluation_moves_a_batchnorm_network(
    learner: str, key: str, small: Callable[..., RunSpec]
) -> None:
    plain = stored(loop.run(small(learner, BATCHNORM)).path)[1]
    other = stored(loop.run(small(learner, BATCHNORM | {key: MORE[key]})).path)[1]
    assert same_weights(plain, other)
    assert any("running_mean" in name for name in plain)


def test_evaluation_draws_nothing_from_the_generator_of_dropout(
    small: Callable[..., RunSpec], dropout: dict[str, Any]
) -> None:
    every, never = (
        stored(loop.run(small("er", dropout | {"evaluation.every": e, "evaluation.samples": n})).path)[1]
        for e, n in ((1, 20), (0, 3))
    )
    assert same_weights(every, never)
    plain = stored(loop.run(small("er", dropout | {"model.p": 0.0})).path)[1]
    assert not same_weights(every, plain)


def test_evaluation_batch_is_of_the_place_and_moves_nothing(
    small: Callable[..., RunSpec], tmp_path: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec, found = small("er", BATCHNORM), []
    for batch in (7, 256):
        monkeypatch.setenv("REPLICATE_RUNS", str(tmp_path / str(batch)))
        found.append(stored(loop.run(spec, Place(evaluation_batch=batch)).path))
    assert same(*found)


@pytest.mark.parametrize("learner", LEARNERS)
def test_the_same_spec_twice_gives_the_same_bytes(
    learner: str, small: Callable[..., RunSpec], tmp_path: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec, found = small(learner, {"evaluation.gradients": True}), []
    for name in "ab":
        monkeypatch.setenv("REPLICATE_RUNS", str(tmp_path / name))
        torch.manual_seed(ord(name))  # what the process did before is of no account
        found.append(stored(loop.run(spec).path))
    assert same(*found)


def test_another_seed_is_another_run(small: Callable[..., RunSpec]) -> None:
    one, other = (stored(loop.run(small("er", seed=seed)).path)[1] for seed in (0, 1))
    assert not same_weights(one, other)


@pytest.mark.parametrize("over", [{}, BATCHNORM, {"stream.scenario": "task", "model.heads": "multi"}])
def test_correctness_of_a_sample_depends_on_neither_batch_nor_order(
    over: dict[str, Any], small: Callable[..., RunSpec]
) -> None:
    spec = small("er", over | {"evaluation.samples": None})
    _, learner = build(spec, cpu())
    learner.net.load_state_dict(torch.load(loop.run(spec).path / "weights.pt", weights_only=True))
    held_out = learner.data.evaluation(None, 0)
    whole = correct(learner, held_out, 3, 10**6)
    assert 0.1 < whole.float().mean() < 1
    for batch in (1, 7, 64):
        assert torch.equal(correct(learner, held_out, 3, batch), whole)
    order = torch.randperm(len(held_out.y), generator=torch.Generator().manual_seed(1))
    columns = None if held_out.columns is None else held_out.columns[order]
    turned = type(held_out)(held_out.x[order], held_out.y[order], columns, held_out.offsets)
    assert torch.equal(correct(learner, turned, 3, 16), whole[order])
    assert torch.equal(correct(learner, held_out, 2), whole[: held_out.offsets[2]])
    assert learner.net.training


def test_several_heads_are_told_the_task_a_single_head_is_not(small: Callable[..., RunSpec]) -> None:
    told = loop.run(small("finetune", {"stream.scenario": "task", "model.heads": "multi"})).trace()
    untold = loop.run(small("finetune")).trace()
    first = slice(0, 20)  # samples of the first task, after the last
    assert np.unpackbits(told["bits"][-1])[first].mean() > 0.7
    assert np.unpackbits(untold["bits"][-1])[first].mean() < 0.3


def test_trace_has_every_evaluation_and_every_update(small: Callable[..., RunSpec]) -> None:
    trace = loop.run(small("er", {"evaluation.every": 5})).trace()
    assert trace["step"].tolist() == [0, 5, 10, 12, 15, 20, 24, 25, 30, 35, 36]  # multiples, and task ends
    assert trace["task"].tolist() == [0, 0, 0, 0, 1, 1, 1, 2, 2, 2, 2]
    assert trace["seen"].tolist() == [1, 1, 1, 1, 2, 2, 2, 3, 3, 3, 3]
    assert trace["offsets"].tolist() == [0, 20, 40, 60]
    assert trace["ends"].tolist() == [12, 24, 36]
    assert len(trace["s_plasticity"]) == 36
    assert np.isfinite(trace["s_plasticity"]).all()
    assert np.isfinite(trace["s_stability"]).tolist() == [False] * 12 + [True] * 24
    unseen = np.unpackbits(trace["bits"], axis=1)[:4, 20:]
    assert not unseen.any()


def test_coarse_evaluation_is_a_part_of_the_fine_one(small: Callable[..., RunSpec]) -> None:
    fine, coarse = (loop.run(small("er", {"evaluation.every": every})).trace() for every in (1, 4))
    rows = np.isin(fine["step"], coarse["step"])
    assert np.array_equal(fine["bits"][rows], coarse["bits"])


@pytest.mark.parametrize(
    ("every", "expected"), [(0, [12]), (1, list(range(1, 13))), (5, [5, 10, 12]), (12, [12]), (100, [12])]
)
def test_evaluate_at(every: int, expected: list[int]) -> None:
    assert [u for u in range(1, 13) if evaluate_at(every, u, last=u == 12)] == expected


def test_batches_of_an_epoch_are_all_samples_once(small: Callable[..., RunSpec]) -> None:
    spec = small("finetune", {"budget.iterations": None, "budget.epochs": 2, "stream.train_per_task": 50})
    stream, learner = build(spec, cpu())
    task = stream.tasks[1]
    assert spec.budget.updates(len(task.train)) == 14  # two epochs of six whole batches and one of two samples
    batches = Batches(learner, task, spec)
    epochs = [torch.cat([batches.at(step).x for step in range(e * 7, e * 7 + 7)]) for e in range(2)]
    everything = learner.data.batch(learner.data.rows(task)).x
    for epoch in epochs:
        assert epoch.shape == everything.shape
        assert torch.equal(epoch.flatten(1).sum(1).sort().values, everything.flatten(1).sum(1).sort().values)
    assert not torch.equal(epochs[0], epochs[1])
    assert len(batches.at(6).y) == 2
    fresh = Batches(learner, task, spec)  # asked in another order, as after a resume
    assert torch.equal(fresh.at(9).x, Batches(learner, task, spec).at(9).x)
    assert torch.equal(fresh.at(2).x, batches.at(2).x)


def test_momentum_is_cleared_at_a_switch_unless_it_is_meant_to_stay(small: Callable[..., RunSpec]) -> None:
    fresh, kept = (stored(loop.run(small("er", {"optimiser.fresh": f})).path)[1] for f in (True, False))
    assert not same_weights(fresh, kept)


def test_folder_of_a_finished_run(small: Callable[..., RunSpec]) -> None:
    spec = small("er")
    folder = loop.run(spec)
    names = {"spec.json", "provenance.json", "status.json", "trace.npz", "weights.pt"}
    assert {p.name for p in folder.path.iterdir()} == names
    assert folder.spec() == spec.science | {"run_id": spec.run_id}
    assert folder.status()["state"] == "done"
    assert folder.status()["updates"] == folder.status()["total"] == 36
    about = folder.provenance()
    assert about["device"] == "cpu"
    assert "3 tasks" in about["stream"]["text"]


def test_a_failure_is_kept_with_its_reason_and_the_next_call_goes_on(
    small: Callable[..., RunSpec], monkeypatch: pytest.MonkeyPatch
) -> None:
    spec = small("er")

    def trip(updates: int, total: int) -> None:
        if updates == 20:
            raise RuntimeError("a cable was pulled")

    with pytest.raises(RuntimeError):
        loop.run(spec, Place(save_every=6, watch=trip))
    status = RunFolder(runs_dir() / spec.run_id).status()
    assert (status["state"], status["error"]) == ("failed", "RuntimeError: a cable was pulled")
    seen: list[int] = []
    assert loop.run(spec, Place(watch=lambda done, total: seen.append(done))).done()
    assert seen[0] == 19
    assert "error" not in RunFolder(runs_dir() / spec.run_id).status()


def test_cuda_without_a_gpu_is_a_problem(small: Callable[..., RunSpec], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(Problem, match="no GPU here"):
        loop.run(small("er"), Place(device="cuda"))


# --- parents -----------------------------------------------------------------------------------------------


def child(small: Callable[..., RunSpec], parent: RunSpec, take: str, **over: Any) -> RunSpec:
    from dataclasses import replace

    spec = small("finetune", over, seed=9)
    return replace(spec, parent={"run": parent.run_id, "take": take})


@pytest.mark.parametrize("take", ["all", "trunk"])
def test_a_child_starts_from_its_parents_weights(take: str, small: Callable[..., RunSpec]) -> None:
    parent = small("er")
    theirs = stored(loop.run(parent).path)[1]
    spec = child(small, parent, take)
    _, learner = build(spec, cpu())
    ours = {n: t.numpy() for n, t in learner.net.state_dict().items()}
    for name, values in ours.items():
        inherited = take == "all" or name.startswith("trunk.")
        assert np.array_equal(values, theirs[name]) == inherited, name
    assert loop.run(spec).done()


def test_a_missing_or_misfitting_parent_is_a_problem(small: Callable[..., RunSpec]) -> None:
    parent = small("er")
    with pytest.raises(Problem, match=r"has no weights.pt yet. Run its target first"):
        loop.run(child(small, parent, "all"))
    loop.run(parent)
    with pytest.raises(Problem, match=r"do not fit this model at trunk.1.weight"):
        loop.run(child(small, parent, "all", **{"model.hidden": [13]}))
    wider = {"stream.tasks": 4}  # another head: the trunk alone fits
    with pytest.raises(Problem, match=r"do not fit this model at head.weight, head.bias. .*parent.take=trunk"):
        loop.run(child(small, parent, "all", **wider))
    assert loop.run(child(small, parent, "trunk", **wider)).done()


def test_a_run_whose_lock_was_taken_writes_nothing_more(small: Callable[..., Any]) -> None:
    spec = small("er")
    folder = runs_dir() / spec.run_id
    left: dict[str, bytes] = {}

    def cut_off(updates: int, total: int) -> None:
        if updates == 5:
            (folder / "lock").write_text('{"host": "n3", "token": "theirs"}')
            left.update({p.name: p.read_bytes() for p in folder.iterdir()})

    with pytest.raises(Busy, match="taken over"):
        loop.run(spec, loop.Place(watch=cut_off, save_every=4, status_seconds=0))
    assert {p.name: p.read_bytes() for p in folder.iterdir()} == left
    (folder / "lock").unlink()
    assert loop.run(spec).done()


def test_a_run_that_dies_again_and_again_without_getting_on_counts_as_failed(small: Callable[..., Any]) -> None:
    spec = small("er")
    folder = RunFolder(runs_dir() / spec.run_id)
    died = {"state": "running", "updates": 0, "total": 36, "host": socket.gethostname(), "pid": 2**22 + 1, "starts": 4}

    def dies(**more: Any) -> None:
        write_json(folder.path / "status.json", died | more | {"written": 0})

    dies()
    seen = []
    with pytest.raises(loop.Stopped):
        loop.run(spec, loop.Place(stop=lambda: True))
    assert folder.status()["starts"] == 0  # it saved, so it got on
    dies(starts=5)
    with pytest.raises(Problem, match="was started 5 times and died each time"):
        loop.run(spec)
    assert folder.status()["state"] == "failed"
    assert loop.run(
        spec, loop.Place(watch=lambda updates, total: seen.append(updates))
    ).done()  # asked again, tried again
    assert seen[0] > 1  # from the checkpoint


def test_a_learner_may_have_an_exam_of_its_own(
    small: Callable[..., RunSpec], tmp_path: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "own_exam.py").write_text(
        "import torch\nfrom common.learners.base import Exam, Learner\n\n\nclass Acts(Learner):\n"
        "    def exam(self, held_out, seen):\n"
        "        count = int(held_out.offsets[seen])\n"
        "        return Exam(torch.arange(count) % 2 == 0, {'returns': torch.arange(count).float()})\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    trace = loop.run(small("own_exam.Acts", {"evaluation.every": 0})).trace()
    count = trace["offsets"][1]
    rows = np.unpackbits(trace["bits"], axis=1)
    np.testing.assert_array_equal(rows[1, :count], np.arange(count) % 2 == 0)
    np.testing.assert_array_equal(trace["v_returns"][1, :count], np.arange(count))
    assert np.isnan(trace["v_returns"][1, count:]).all()


@pytest.mark.parametrize("seeds", [1, 2], ids=["alone", "in a batch"])
def test_a_run_whose_loss_is_not_finite_in_the_end_says_so(seeds: int, small: Callable[..., RunSpec]) -> None:
    from common.vectorised import loop as batch

    specs = [small("er", {"optimiser.lr": 1e6, "model.hidden": [12, 12]}, seed=seed) for seed in range(seeds)]
    seen: list[int | None] = []

    def watch(updates: int, total: int) -> None:
        if updates == 26:
            seen.extend(RunFolder(runs_dir() / s.run_id).status()["not_finite_from"] for s in specs)

    asked = iter(range(1000))
    with pytest.raises(loop.Stopped):
        batch.run(specs, Place(stop=lambda: next(asked) == 24), [], lambda *_: None)
    stopped = [RunFolder(runs_dir() / s.run_id).status()["not_finite_from"] for s in specs]
    batch.run(specs, Place(watch=watch), [], lambda *_: None)
    assert seen == stopped  # known again as soon as the run is resumed
    for spec, before in zip(specs, stopped, strict=True):
        folder = RunFolder(runs_dir() / spec.run_id)
        loss = folder.trace()["s_plasticity"]
        first = folder.status()["not_finite_from"]
        if spec.seed == 0:
            assert first == before == 4
            assert np.isfinite(loss).sum() == first - 1
        else:
            assert np.isfinite(loss).all()
            assert first is before is None


def test_from_which_update_on_a_loss_is_not_finite() -> None:
    nan, inf = float("nan"), float("inf")
    for losses, updates, first in (
        ([1.0, 2.0, nan, nan], 2, None),  # the last two were not made yet
        ([1.0, 2.0, nan, inf], 4, 3),
        ([1.0, inf, 2.0, nan], 3, None),  # it came back
        ([1.0, inf, 2.0, nan], 4, 4),
        ([nan, inf, nan, nan], 4, 1),
        ([nan, inf, nan, nan], 0, None),
    ):
        trace = Trace(np.array([0, 1]), np.array([4]), scalars={"plasticity": np.array(losses, dtype=np.float32)})
        assert trace.not_finite_from(updates) == first
    assert Trace(np.array([0, 1]), np.array([4])).not_finite_from(4) is None  # a learner that notes no loss

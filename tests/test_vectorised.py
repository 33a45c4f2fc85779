"""Runs carried out as one batch leave the bytes that they leave alone, whatever the learner, the optimiser and the kill."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from common import lock, loop, sweep, together
from common.build import build, fabric_for
from common.errors import Busy, Problem
from common.launch import run_local
from common.learners.base import Learner
from common.loop import Place
from common.outcome import Settings
from common.places import runs_dir
from common.record import RunFolder
from common.sitting import Stopped
from common.spec import RunSpec
from common.vectorised import group as group_of
from common.vectorised import joining
from common.vectorised import loop as batch
from common.vectorised.capture import Unfit, captured
from common.vectorised.lift import Program, same
from common.vectorised.stacks import Optimiser, stacked
from tests.helpers import LEARNERS, stored
from tests.helpers import killed as kill_after
from tests.helpers import same as same_runs

Make = Callable[..., RunSpec]
ADAM = {"optimiser.name": "adam", "optimiser.lr": 0.01}
COSINE = {"optimiser.name": "sgd_scheduled", "optimiser.schedule": "cosine", "optimiser.lr": 0.1}
EPOCHS = {"budget.iterations": None, "budget.epochs": 2, "budget.batch": 10}


def at_once(specs: list[RunSpec], **place: Any) -> dict[str, Exception | None]:
    """What became of the runs of a batch."""
    found: dict[str, Exception | None] = {}
    batch.run(specs, Place(device="cpu", **place), [], found.__setitem__)
    return found


def alone(specs: list[RunSpec], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """What the runs leave behind one by one, in a folder of their own."""
    with monkeypatch.context() as patch:
        patch.setenv("REPLICATE_RUNS", str(tmp_path / "alone"))
        return [stored(loop.run(spec, Place(device="cpu")).path) for spec in specs]


def results(specs: list[RunSpec]) -> list[Any]:
    return [stored(runs_dir() / spec.run_id) for spec in specs]


@pytest.fixture(autouse=True, scope="module")
def first_backward() -> None:
    """torch starts autograd's threads at a process's first backward; one under a capture would forbid every later fork."""
    torch.ones(1, requires_grad=True).sum().backward()


@pytest.fixture
def groups(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """Every group that is made, with the number of updates that it did not make at once in `apart`."""
    made: list[Any] = []
    init, each = group_of.Group.__init__, group_of.Group._each

    def note(self: Any, *given: Any) -> None:
        init(self, *given)
        self.apart = 0
        made.append(self)

    def count(self: Any, *given: Any) -> None:
        self.apart += 1
        each(self, *given)

    monkeypatch.setattr(group_of.Group, "__init__", note)
    monkeypatch.setattr(group_of.Group, "_each", count)
    monkeypatch.setattr(batch, "_one_by_one", lambda *_: pytest.fail("the batch was given up"))
    return made


@pytest.mark.parametrize("learner", LEARNERS)
def test_every_learner_leaves_the_same_bytes_as_alone(
    learner: str, small: Make, groups: list[Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    over = ADAM if learner in ("er", "ewc", "agem", "si") else {}
    specs = [small(learner, over, seed=seed) for seed in range(2)]
    assert at_once(specs) == dict.fromkeys((s.run_id for s in specs), None)
    assert all(map(same_runs, results(specs), alone(specs, tmp_path, monkeypatch)))
    assert [one.apart for one in groups] == [0]
    assert groups[0].why == (["its edit: it looks at more than its arguments"] if learner == "gem" else [])


@pytest.mark.parametrize(
    ("learner", "overs", "apart"),
    [
        ("er", [{"optimiser.lr": lr} for lr in (0.1, 0.1, 0.01)], False),
        ("finetune", [COSINE, COSINE | {"optimiser.momentum": 0.5}], False),
        ("er", [{"stream.scenario": "task", "model.heads": "multi"}] * 3, False),
        ("er", [{"stream.name": "rotated", "stream.degrees": 30, "stream.train_per_task": 40}] * 2, False),
        ("lwf", [{"model.name": "small_cnn", "model.width": 4, "model.norm": "group"}] * 2, False),
        ("ewc", [ADAM | {"optimiser.fresh": False}] * 2, False),
        # tasks of other sizes: the last batches of epochs differ, and so do the numbers of updates
        ("finetune", [EPOCHS | {"stream.train_per_task": n} for n in (47, 58, 45)], True),
        ("lwf", [EPOCHS | {"stream.train_per_task": n} for n in (47, 51)], True),
        ("er", [EPOCHS | COSINE | {"stream.train_per_task": n} for n in (47, 51)], True),
        ("ewc", [EPOCHS | ADAM | {"optimiser.fresh": False, "stream.train_per_task": n} for n in (47, 51)], True),
    ],
    ids=["rates", "schedules", "heads", "transforms", "cnn", "kept", "sizes", "sizes-lwf", "sizes-er", "sizes-kept"],
)  # fmt: skip
def test_other_settings_and_members_that_differ(
    learner: str,
    overs: list[dict[str, Any]],
    apart: bool,
    small: Make,
    groups: list[Any],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    overs = [{**over, "stream.tasks": 3} if "stream.name" in over else over for over in overs]
    specs = [small(learner, over, seed=seed) for seed, over in enumerate(overs)]
    assert not any(at_once(specs).values())
    assert all(map(same_runs, results(specs), alone(specs, tmp_path, monkeypatch)))
    assert bool(groups[0].apart) == apart


def test_half_precision(small: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    specs = [small("ewc", {"precision": "bf16-mixed"}, seed=seed) for seed in range(2)]
    at_once(specs)
    assert all(map(same_runs, results(specs), alone(specs, tmp_path, monkeypatch)))


def test_a_batch_is_filled_up_only_where_that_changes_nothing(small: Make) -> None:
    found = {}
    for name in ("finetune", "lwf"):
        stream, learner = build(small(name), fabric_for("cpu", "32"))
        learner.begin(stream.tasks[0])
        learner.end(stream.tasks[0])  # LwF has a teacher now: its penalty is a mean over all rows, counted or not
        rows = learner.data.rows(stream.tasks[1])
        found[name] = []
        for count in range(1, 16):
            full = joining.joined([learner.data], [rows[:count]], 16)
            assert full.y[0, count:].tolist() == [joining.NOT_COUNTED] * (16 - count)
            own = joining.parts(full, 1)[0]
            found[name].append(joining.may_be_filled(learner, own, count, None))
    assert any(found["finetune"])
    assert not any(found["lwf"])


def killed(specs: list[RunSpec], at: int, **place: Any) -> None:
    """Carries the batch out until it is killed after update `at`."""
    kill_after(lambda watch: at_once(specs, watch=watch, **place), at)


@pytest.mark.parametrize(
    ("learner", "over"),
    [("si", {}), ("er", ADAM), ("agem", {}), ("ewc", ADAM | {"optimiser.fresh": False})],
    ids=["si", "er", "agem", "ewc"],
)
def test_killed_at_a_random_update_and_resumed(
    learner: str, over: dict[str, Any], small: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    specs = [small(learner, over, seed=seed) for seed in range(3)]
    whole = alone(specs, tmp_path, monkeypatch)
    at = int(np.random.default_rng(len(learner)).integers(8, 36))
    killed(specs, at, save_every=5)
    assert {RunFolder(runs_dir() / s.run_id).status()["state"] for s in specs} == {"interrupted"}
    first = loop.run(specs[0], Place(device="cpu"))  # a member of a batch goes on alone
    assert same_runs(stored(first.path), whole[0])
    assert not any(at_once(specs[1:]).values())  # and the others go on as another batch
    assert all(map(same_runs, results(specs), whole))


def test_members_at_different_places_meet(
    small: Make, groups: list[Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    specs = [small("er", seed=seed) for seed in range(4)]
    whole = alone(specs, tmp_path, monkeypatch)
    for spec, last in ((specs[1], 5), (specs[2], 17)):
        asked = iter(range(1, 1000))
        with pytest.raises(Stopped):
            loop.run(spec, Place(device="cpu", stop=lambda asked=asked, last=last: next(asked) == last))
    assert not any(at_once(specs).values())
    assert [len(one.runs) for one in groups] == [2, 3, 4]
    assert all(map(same_runs, results(specs), whole))


def test_a_stop_saves_every_member_and_they_go_on(small: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    specs = [small("lwf", seed=seed) for seed in range(2)]
    whole = alone(specs, tmp_path, monkeypatch)
    asked = iter(range(1, 1000))
    with pytest.raises(Stopped):
        at_once(specs, stop=lambda: next(asked) == 17)
    for spec in specs:
        status = RunFolder(runs_dir() / spec.run_id).status()
        assert (status["state"], status["updates"], status["total"]) == ("interrupted", 17, 36)
        assert not (runs_dir() / spec.run_id / "lock").exists()
    sizes = [(runs_dir() / s.run_id / "checkpoint.pt").stat().st_size for s in specs]
    seen: list[int] = []
    assert not any(at_once(specs, watch=lambda done, total: seen.append(done)).values())
    assert seen == list(range(18, 37))
    assert all(map(same_runs, results(specs), whole))
    assert max(sizes) < 60_000  # each holds its own part of the stacked tensors, not all of them


def test_the_folder_is_that_of_a_run_alone_and_says_how_many_there_were(
    small: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    over = {"evaluation.snapshots": [3]}
    specs = [small("er", over, seed=seed) for seed in range(2)]
    assert not any(at_once(specs).values())
    alone(specs[:1], tmp_path, monkeypatch)
    here, there = RunFolder(runs_dir() / specs[0].run_id), RunFolder(tmp_path / "alone" / specs[0].run_id)

    def names(folder: RunFolder) -> list[str]:
        return sorted(p.relative_to(folder.path).as_posix() for p in folder.path.rglob("*"))

    assert names(here) == names(there)
    assert here.spec() == there.spec()
    assert here.provenance().keys() - there.provenance().keys() == {"together"}
    assert here.provenance()["together"] == 2
    assert here.status().keys() == there.status().keys()
    for name in names(here):
        if name.endswith(".pt"):
            one, other = (torch.load(f.path / name, weights_only=True) for f in (here, there))
            assert all(same(one[key], other[key]) for key in one)


def test_done_ones_are_left_alone_and_held_ones_left_out(small: Make, groups: list[Any]) -> None:
    specs = [small("er", seed=seed) for seed in range(4)]
    done = loop.run(specs[0], Place(device="cpu")).path
    before = {p.name: p.stat().st_mtime_ns for p in done.iterdir()}
    with lock.held(runs_dir() / specs[1].run_id):
        found = at_once(specs)
    assert {p.name: p.stat().st_mtime_ns for p in done.iterdir()} == before
    assert isinstance(found.pop(specs[1].run_id), Busy)
    assert not any(found.values())
    assert len(found) == 3
    assert [len(one.runs) for one in groups] == [2]
    assert RunFolder(runs_dir() / specs[1].run_id).status()["state"] == "missing"


def test_a_lock_lost_on_the_way_costs_that_member_alone(
    small: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    specs = [small("er", seed=seed) for seed in range(3)]
    whole = alone(specs, tmp_path, monkeypatch)

    def steal(updates: int, total: int) -> None:
        path = runs_dir() / specs[1].run_id / "lock"
        if updates == 9 and path.exists():
            path.write_text(path.read_text().replace('"token": "', '"token": "0'))

    found = at_once(specs, watch=steal, save_every=4)
    assert isinstance(found.pop(specs[1].run_id), Busy)
    assert not any(found.values())
    assert all(map(same_runs, results(specs[::2]), whole[::2]))


def test_a_batch_that_is_given_up_says_so_and_why(small: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    specs = [small("er", seed=seed) for seed in range(2)]
    whole = alone(specs, tmp_path, monkeypatch)
    update = group_of.Group.update
    made: list[Any] = []

    def broken(self: Any, *given: Any) -> None:
        made.append(given)
        if len(made) > 8:
            raise ZeroDivisionError("a fault of ours")
        update(self, *given)

    monkeypatch.setattr(group_of.Group, "update", broken)
    said: list[str] = []
    found: dict[str, Exception | None] = {}
    batch.run(specs, Place(device="cpu", save_every=5), [], found.__setitem__, said.append)
    assert found == dict.fromkeys((spec.run_id for spec in specs), None)
    assert all(map(same_runs, results(specs), whole))
    assert len(said) == 1
    assert said[0].endswith("from where it is saved: ZeroDivisionError: a fault of ours")
    for spec in specs:
        why = RunFolder(runs_dir() / spec.run_id).provenance()["apart"]
        assert why[0] == "ZeroDivisionError: a fault of ours"
        assert "in broken" in "".join(why[1:])


@pytest.mark.parametrize(
    "over",
    [{"model.name": "small_cnn", "model.width": 4}, {"evaluation.gradients": True}],
    ids=["batchnorm", "gradients"],
)
def test_what_cannot_be_batched_is_carried_out_one_by_one(
    over: dict[str, Any], small: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    specs = [small("er", over, seed=seed) for seed in range(2)]
    assert together.alone(specs[0], 8)
    monkeypatch.setattr(batch, "Group", lambda *_: pytest.fail("it was batched"))
    assert not any(at_once(specs).values())
    reasons = [RunFolder(runs_dir() / spec.run_id).provenance()["apart"] for spec in specs]
    assert reasons[0] == reasons[1]
    assert "statistics of its batches" in reasons[0][0] or "evaluation.gradients" in reasons[0][0]
    assert all(map(same_runs, results(specs), alone(specs, tmp_path, monkeypatch)))


def test_dropout_is_carried_out_one_by_one(
    small: Make, dropout: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    specs = [small("er", dropout, seed=seed) for seed in range(2)]
    monkeypatch.setattr(batch, "Group", lambda *_: pytest.fail("it was batched"))
    assert not any(at_once(specs).values())
    assert all(map(same_runs, results(specs), alone(specs, tmp_path, monkeypatch)))


OWN = """
import torch
from common.learners.base import Learner, Terms
class Own(Learner):
    def update(self, batch):
        return super().update(batch)
class Looks(Learner):
    def terms(self, params, state, batch):
        loss = self.loss(self.apply_net(params, batch.x), batch)
        return Terms(loss if float(loss) > 1 else 2 * loss)
class Draws(Learner):
    def terms(self, params, state, batch):
        return Terms(self.loss(self.apply_net(params, batch.x + 0.1 * torch.rand_like(batch.x)), batch))
class Counts(Learner):
    def begin(self, task):
        self.state["times"] = task.index + 1
    def terms(self, params, state, batch):
        return Terms(state["times"] * self.loss(self.apply_net(params, batch.x), batch))
"""


@pytest.mark.parametrize(("name", "apart"), [("Own", None), ("Draws", 36), ("Counts", 0)])
def test_learners_of_ones_own(
    name: str, apart: int | None, small: Make, groups: list[Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "own").mkdir()
    (tmp_path / "own" / "own_batched.py").write_text("VERSION = 1\n" + OWN)
    monkeypatch.syspath_prepend(str(tmp_path / "own"))
    specs = [small(f"own_batched.{name}", seed=seed) for seed in range(2)]
    assert "code of your own" in str(together.alone(specs[0]))
    assert together.alone(specs[0], 8) is None
    if apart is None:
        monkeypatch.undo()
        monkeypatch.syspath_prepend(str(tmp_path / "own"))
        monkeypatch.setenv("REPLICATE_RUNS", str(tmp_path / "runs"))
        monkeypatch.setenv("REPLICATE_DATA", str(tmp_path / "data"))
        monkeypatch.setattr(batch, "Group", lambda *_: pytest.fail("it was batched"))
    assert not any(at_once(specs).values())
    assert all(map(same_runs, results(specs), alone(specs, tmp_path, monkeypatch)))
    assert [one.apart for one in groups] == ([] if apart is None else [apart])


def test_a_learner_that_looks_at_values(small: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "own").mkdir()
    (tmp_path / "own" / "own_looking.py").write_text("VERSION = 1\n" + OWN)
    monkeypatch.syspath_prepend(str(tmp_path / "own"))
    specs = [small("own_looking.Looks", seed=seed) for seed in range(2)]
    at_once(specs)
    assert all(map(same_runs, results(specs), alone(specs, tmp_path, monkeypatch)))


def test_a_sum_whose_order_would_change_is_made_one_by_one() -> None:
    x = torch.randn(5, 3, 1000)
    graph = captured(lambda a: (torch.dot(a[0], a[1]), a.sum()), x[0])
    program = Program(graph, 5, [x])
    assert program.one_by_one == ["aten.dot.default"]
    found = program([x])
    assert all(torch.equal(found[0][k], torch.dot(*(row.clone() for row in x[k][:2]))) for k in range(5))  # type: ignore[index]
    assert all(torch.equal(found[1][k], x[k].clone().sum()) for k in range(5))  # type: ignore[index]


def test_what_is_the_same_only_now_is_not_captured() -> None:
    constant = torch.ones(3)
    for function, reason in (
        (lambda a: a + torch.rand_like(a), "random numbers"),
        (lambda a: a + constant, "neither weight, state nor batch"),
        (lambda a: a.clone().add_(1), "in place"),
    ):
        with pytest.raises(Unfit, match=reason):
            captured(function, torch.ones(3))


def test_an_optimiser_that_looks_at_all_weights_together_is_found_out(tmp_path: Path, monkeypatch: Any) -> None:
    (tmp_path / "own_whole.py").write_text(
        "import torch\n\nVERSION = 1\n\n\nclass Whole(torch.optim.SGD):\n    def step(self):\n"
        "        for p in self.param_groups[0]['params']:\n            p.grad = p.grad / p.grad.norm()\n"
        "        super().step()\n\n\n"
        "def whole(parameters, *, lr: float):\n    return Whole(parameters, lr=lr)\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    from common.spec import PartSpec

    params = {"w": stacked([torch.randn(3, 4) for _ in range(2)])}
    assert not Optimiser(params, [None, None], [PartSpec("own_whole.whole", "1", {"lr": 0.1})] * 2).exact
    assert Optimiser(params, [None, None], [PartSpec("adam", "1", {"lr": 0.1})] * 2).exact


def test_the_pure_functions_of_the_learners_are_found() -> None:
    from common.learners.gem import AGEM
    from common.learners.lwf import LwF

    assert group_of.edits(AGEM.__new__(AGEM))
    assert LwF.after is not Learner.after
    assert LwF.update is Learner.update


# --- sweeps ------------------------------------------------------------------------------------------------------

TOY = {
    "run": {
        "data": "digits",
        "stream": {"name": "split", "tasks": 2, "classes_per_task": 2},
        "model": {"name": "mlp", "hidden": [8]},
        "learner": {"name": "er", "memory": 20},
        "optimiser": {"name": "sgd", "lr": 0.05},
        "budget": {"iterations": 6, "batch": 8},
        "evaluation": {"every": 0, "samples": 10},
    },
    "seeds": "0-4",
    "tiers": {"smoke": {}},
}


def launched(requests: list[sweep.Request], updates: int = 1000, **settings: Any) -> Any:
    return run_local(requests, Settings(device="cpu", **settings), {r.run_id: updates for r in requests}, quiet=True)


def batches_of(requests: list[sweep.Request]) -> list[int]:
    """How many runs each run was carried out with."""
    return [RunFolder(runs_dir() / r.run_id).provenance().get("together", 1) for r in requests]


def test_a_sweep_is_grouped_by_itself_and_leaves_the_same_bytes(
    paper: Callable[..., Path], forked: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    paper("many", {**TOY, "grid": {"optimiser.lr": [0.05, 0.1]}})
    requests = sweep.expand("toy", "smoke")
    outcome = launched(requests, workers=2)
    assert sorted(outcome.done) == sorted(r.run_id for r in requests)
    assert outcome.together == "10 in batches of up to 8"
    assert outcome.said == []
    assert batches_of(requests) == [5] * 10  # two groups for two workers
    assert all(
        map(same_runs, results([r.run for r in requests]), alone([r.run for r in requests], tmp_path, monkeypatch))
    )


def test_together_off_or_a_number(paper: Callable[..., Path], forked: None) -> None:
    paper("many", TOY)
    requests = sweep.expand("toy", "smoke", {"learner.alpha": 0.3})
    assert launched(requests, workers=1, together="off").done
    assert batches_of(requests) == [1] * 5
    requests = sweep.expand("toy", "smoke", {"learner.alpha": 0.4})
    assert launched(requests, workers=1, together=3).done
    assert sorted(batches_of(requests)) == [2, 2, 3, 3, 3]
    for word in ("none", "0", "-3", "1.5"):
        with pytest.raises(Problem, match="--together"):
            together.how(word)


def test_children_wait_for_their_parents_and_then_go_together(paper: Callable[..., Path], forked: None) -> None:
    paper("base", TOY)
    paper("child", {**TOY, "run": TOY["run"] | {"parent": {"spec": "toy/base"}, "learner": {"name": "finetune"}}})
    requests = sweep.expand("toy/child", "smoke")
    assert len(launched(requests, workers=1).done) == 10
    assert batches_of(requests) == [5] * 10


def test_a_member_that_fails_does_not_take_the_others_with_it(
    paper: Callable[..., Path], forked: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    from common.learners.replay import ER

    paper("many", TOY)
    requests = sweep.expand("toy", "smoke")
    end = ER.end

    def broken(self: Any, task: Any) -> None:
        if self.seed == 2:
            raise ArithmeticError("seed 2 cannot end")
        end(self, task)

    monkeypatch.setattr(ER, "end", broken)
    outcome = launched(requests, workers=1)
    assert len(outcome.done) == 4
    assert list(outcome.failed) == [requests[2].run_id]
    assert "seed 2 cannot end" in outcome.failed[requests[2].run_id]


def test_the_plan_says_what_goes_together_and_why_not(small: Make) -> None:
    def request(run: RunSpec) -> sweep.Request:
        return sweep.Request(run, "toy", "many", "smoke", "")

    runs = [small("er", seed=seed) for seed in range(3)] + [small("lwf")]
    runs.append(small("er", {"model.name": "small_cnn", "model.norm": "batch"}))
    runs.append(small("er", {"model.hidden": [4000, 4000]}))
    updates = dict.fromkeys((run.run_id for run in runs), 1000)
    said = together.summary([request(run) for run in runs], updates)
    assert said.startswith("3 in batches of up to 8; 1 alone: ")
    for reason in (
        "BatchNorm keeps running statistics",
        "an update of mlp is large enough by itself",
        "no other run differs",
    ):
        assert f"1 alone: {reason}" in said
    assert together.summary([request(run) for run in runs], updates, "off") == "6 alone: --together off"
    few = dict.fromkeys(updates, 36)
    assert "4 alone: fewer than 300 updates" in together.summary([request(run) for run in runs[:4]], few)
    assert together.alone(runs[0], 3, updates=36) is None


def test_how_runs_are_grouped_is_no_part_of_them(small: Make) -> None:
    one, other = small("er", seed=0), small("er", {"optimiser.lr": 0.3}, seed=5)
    assert together.key(one) == together.key(other)
    for over in ({"budget.batch": 9}, {"learner.alpha": 0.9}, {"optimiser.fresh": False}, {"evaluation.every": 2}):
        assert together.key(one) != together.key(small("er", over))
    assert "together" not in str(one.science)

"""L2M's methods on toy worlds: every one runs, resumes to the bit, and does what it says it does."""

import shutil
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from lightning import Fabric

from common import analyse, checkpoint, loop, sweep
from common.batches import Batches
from common.build import build, fabric_for
from common.errors import Problem
from common.places import runs_dir
from common.ranks import Ranks
from common.record import RunFolder
from common.schedules import set_rate
from papers.l2m.changes import Change
from papers.l2m.collection import collect
from papers.l2m.learners import cloning
from papers.l2m.learners.keyed import count
from papers.l2m.model import mddt
from papers.l2m.paths import Recorded, paths
from papers.l2m.playing import Settings
from papers.l2m.policy import Acting
from papers.l2m.rollouts import episode_seed
from papers.l2m.sequences import sequences
from papers.l2m.windows import Windows
from tests import l2m_toy
from tests.helpers import same, stored

FROZEN = [c for c in l2m_toy.METHODS if c not in ("FT", "FT-last", "FT-head", "EWC", "L2", "joint")]
POOLS = [c for c in l2m_toy.METHODS if c.startswith("L2") and c != "L2"]


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where parents are kept for all tests of this file."""
    return tmp_path_factory.mktemp("parents")


@pytest.fixture
def toy(paper: Callable[..., Path], kept: Path) -> None:
    """The toy paper, its data, pre-trained net and keys."""
    l2m_toy.write(paper)
    for request in sweep.expand("toy/keys", "smoke"):
        folder = kept / request.run_id
        if not folder.exists():
            shutil.copytree((analyse.run if request.run.finding else loop.run)(request.run).path, folder)
        shutil.copytree(folder, runs_dir() / request.run_id, dirs_exist_ok=True)


def spec(case: str, over: dict[str, Any] | None = None, target: str = "toy/methods") -> Any:
    """The run of a case."""
    return sweep.expand(target, "smoke", over, case=case)[-1].run


def built(case: str, over: dict[str, Any] | None = None) -> Any:
    """A learner before its first update, in its first task."""
    run = spec(case, over)
    stream, learner = build(run, fabric_for("cpu", run.precision))
    learner.begin(stream.tasks[0])
    return learner


def batch(learner: Any, task: int = 0, step: int = 0, size: int = 16) -> Any:
    """A training batch."""
    data = learner.data
    return data.batch(data.drawn(data.stream.tasks[task], step, size, 0))


@pytest.mark.parametrize("case", ["EWC", "adapter", "L2P prefix", "L2M old keys", "joint"])
def test_interrupted_equals_uninterrupted(toy: None, case: str) -> None:
    run = spec(case)
    whole = stored(loop.run(run).path)
    shutil.rmtree(runs_dir() / run.run_id)
    for after in (2, 7):  # in either task of the sequence
        count = iter(range(100))
        with pytest.raises(loop.Stopped):
            loop.run(run, loop.Place(save_every=1, stop=lambda count=count, after=after: next(count) >= after - 1))
        if case == "joint":
            break
    assert same(stored(loop.run(run).path), whole)


@pytest.mark.parametrize("case", ["FT", "L2P prompt", "L2M"])
def test_playing_moves_nothing(toy: None, case: str) -> None:
    one, other = (
        stored(loop.run(spec(case, {"evaluation.every": n, "evaluation.samples": s})).path)[1]
        for n, s in ((2, 3), (0, 1))
    )
    assert all(one[name].tobytes() == other[name].tobytes() for name in one)


@pytest.mark.parametrize("case", FROZEN)
def test_the_backbone_stays_as_it_is_to_the_last_bit_and_what_learns_moves(toy: None, case: str) -> None:
    run = spec(case)
    before = checkpoint.read_weights(runs_dir() / run.parent["run"])
    first = build(run, Fabric(accelerator="cpu", devices=1))[1].net.state_dict()
    after = checkpoint.read_weights(loop.run(run).path)
    assert all(torch.equal(after[name], value) for name, value in before.items())
    moved = {name for name, value in after.items() if not torch.equal(value, first[name])}
    assert moved
    assert moved == set(after) - set(before)


@pytest.mark.parametrize(
    ("case", "begins"),
    [("FT", ("trunk.", "head.")), ("FT-last", ("trunk.blocks.1.", "trunk.last.", "head.")), ("FT-head", ("head.",))],
)
def test_fine_tuning_moves_the_parts_it_names(toy: None, case: str, begins: tuple[str, ...]) -> None:
    run = spec(case)
    before, after = (checkpoint.read_weights(p) for p in (runs_dir() / run.parent["run"], loop.run(run).path))
    moved = {name for name in before if not torch.equal(before[name], after[name])}
    still = {name for name in before if not name.startswith(begins)} | {"trunk.mean", "trunk.scale"}
    assert not moved & still
    rows = {name for name in before if name.startswith(begins)} - {"trunk.mean", "trunk.scale"}
    assert moved == rows


def test_the_trace_has_both_readings_returns_and_the_share_of_modulated_steps(toy: None) -> None:
    folder = loop.run(spec("L2M old keys"))
    trace = folder.trace()
    assert trace["offsets"].tolist() == [0, 2, 4, 6, 8]
    assert {name for name in trace if name.startswith("v_")} == {"v_score", "v_last", "v_returns", "v_modulated"}
    ever = np.unpackbits(trace["bits"], axis=1)[:, :8]
    assert set(np.unique(trace["v_last"])) <= {0, 1}
    assert np.isfinite(trace["v_returns"]).all()
    assert ((trace["v_modulated"] >= 0) & (trace["v_modulated"] <= 1)).all()
    np.testing.assert_array_equal(np.unpackbits(trace["trained"], axis=1)[:, :4], [[0, 0, 1, 0], [0, 0, 0, 1]])
    assert ever.shape == trace["v_last"].shape == (3, 8)


def test_every_method_begins_where_pre_training_ended(toy: None) -> None:
    parent = sweep.expand("toy/pretrain", "smoke")[-1].run_id
    ended = RunFolder(runs_dir() / parent).trace()
    for case in ("FT", "prompt", "adapter", "L2P prefix", "L2M"):
        trace = loop.run(spec(case)).trace()
        np.testing.assert_array_equal(
            trace["v_returns"][0], ended["v_returns"][-1]
        )  # the same policy, the same episodes
        assert not trace["v_modulated"][0].any()
        assert case == "FT" or trace["v_modulated"][-1].any()


# --- modulators -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("case", POOLS)
def test_modulators_of_each_sample_equal_a_loop_over_samples(toy: None, case: str) -> None:
    learner = built(case)
    learner.net.eval()
    for p in learner.net.modulator.parameters():
        torch.nn.init.normal_(p, std=0.5)
    x = batch(learner).x
    tokens = learner.net.trunk.embed(x)
    index = torch.stack([torch.randperm(len(learner.net.keys))[: learner.top] for _ in x])
    together = learner.net.decide(tokens, learner.taken(index, None))
    alone = [learner.net.decide(tokens[[k]], learner.taken(index[[k]], None)) for k in range(len(x))]
    torch.testing.assert_close(together, torch.cat(alone), rtol=1e-4, atol=1e-4)
    plain = learner.net.decide(tokens, learner.taken(index[:1].expand_as(index), None))
    assert not torch.allclose(plain, together, atol=1e-4)


def test_one_lora_equals_weights_with_the_product_added(toy: None) -> None:
    learner = built("lora")
    net = learner.net.eval()
    x = batch(learner).x
    for p in net.modulator.parameters():
        torch.nn.init.normal_(p, std=0.3)
    change, _ = learner.modulation(net.trunk.embed(x), None, None)
    modulated = net.decide(net.trunk.embed(x), change)
    width = net.trunk.width
    with torch.no_grad():
        for layer, block in enumerate(net.trunk.blocks):
            terms = {
                n: 2 * getattr(net.modulator, f"{n}_A")[0, layer] @ getattr(net.modulator, f"{n}_B")[0, layer]
                for n in ("query", "value", "inner")
            }
            block.qkv.weight[:width] += terms["query"].T
            block.qkv.weight[2 * width :] += terms["value"].T
            block.up.bias += block.up.bias @ terms["inner"]
            block.up.weight += (block.up.weight.T @ terms["inner"]).T
    torch.testing.assert_close(net(x), modulated, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("case", ["L2M", "L2M-IA3", "lora", "ia3"])
def test_a_fresh_modulator_changes_nothing(toy: None, case: str) -> None:
    learner = built(case)
    learner.net.eval()
    x = batch(learner).x
    tokens, there = learner.net.trunk.embed(x), learner.net.trunk.split(x)[-1]
    assert torch.equal(learner.net.decide(tokens, learner.chosen(tokens, there)[0]), learner.net(x))


# --- keys -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["lora", "ia3"])
def test_where_a_pre_training_key_wins_actions_are_the_frozen_nets(toy: None, kind: str) -> None:
    learner = built("L2M old keys", {"learner.kind": kind})
    net = learner.net.eval()
    for p in net.modulator.parameters():
        torch.nn.init.normal_(p)
    x = batch(learner).x
    tokens, there = net.trunk.embed(x), net.trunk.split(x)[-1]
    query = net.query(tokens, there)
    with torch.no_grad():
        net.keys.copy_(-query[: len(net.keys)])
        net.keys[0] = query[5]  # row 5, and whatever is nearest to it, goes to the pool
        net.old_keys.copy_(query[: len(net.old_keys)])
    change, on = learner.modulation(tokens, there, None)
    assert 0 < int(on.sum()) < len(on)
    modulated, frozen = net.decide(tokens, change), net(x)
    assert torch.equal(modulated[~on], frozen[~on])
    assert not torch.equal(modulated[on], frozen[on])


def test_the_loss_of_keys_reaches_the_chosen_keys_alone(toy: None) -> None:
    learner = built("L2M")
    x = batch(learner)
    terms = learner.terms(learner.live, learner.state, x)
    assert terms.stability is not None
    grads = torch.autograd.grad(terms.stability, list(learner.live.values()), allow_unused=True, retain_graph=True)
    by_name = dict(zip(learner.live, grads, strict=True))
    assert {name for name, g in by_name.items() if g is not None} == {"keys"}
    moved = by_name["keys"].abs().sum(1) > 0
    others = dict(
        zip(
            learner.live,
            torch.autograd.grad(terms.plasticity, list(learner.live.values()), allow_unused=True),
            strict=True,
        )
    )
    assert others["keys"] is None
    tokens, there = learner.net.trunk.embed(x.x), learner.net.trunk.split(x.x)[-1]
    close = learner.closeness(tokens, there, learner.net.keys)
    torch.testing.assert_close(terms.stability, -0.5 * close.max(1).values.mean())
    learner.update(x)
    assert torch.equal(moved, learner.state["taken"] > 0)


def test_the_count_penalty(toy: None) -> None:
    learner = built("L2M")
    tasks = learner.data.stream.tasks
    count(learner.state, torch.tensor([3, 1, 0, 0, 0, 0]), 4)
    count(learner.state, torch.tensor([0, 4, 0, 0, 0, 0]), 4)
    np.testing.assert_allclose(learner.state["taken"].numpy(), [0.375, 0.625, 0, 0, 0, 0])
    assert torch.equal(learner.state["weight"], torch.ones(6))  # of the first task
    learner.begin(tasks[1])
    few = 1 / (np.array([0.375, 0.625, 0, 0, 0, 0]) + 1e-6)
    np.testing.assert_allclose(learner.state["weight"].numpy(), few / few.sum(), rtol=1e-5)
    x = batch(learner, 1).x
    tokens, there = learner.net.trunk.embed(x), learner.net.trunk.split(x)[-1]
    with torch.no_grad():
        learner.net.keys[0] = learner.net.query(tokens, there).mean(0)  # nearest by far, but taken before
    learner.state["taken"] = torch.zeros(6)
    learner.state["batches"] = 0
    before = learner.state["weight"].clone()
    learner.update(batch(learner, 1))
    assert float(learner.state["taken"].sum()) == 1
    assert float(learner.state["taken"][:2].sum()) == 0  # fresh keys
    assert torch.equal(learner.state["weight"], before)  # renewed at switches alone
    index = learner.modulation(tokens, there, None)[0].factors["query_A"][0]
    assert torch.equal(index, learner.net.modulator.query_A[:1, 0].expand_as(index))  # playing: plain cosine


def test_the_oracle_takes_the_block_of_the_task(toy: None) -> None:
    learner = built("L2M-oracle")
    loop_over = ((0, [0, 1, 2]), (1, [3, 4, 5]))
    for task, own in loop_over:
        learner.begin(learner.data.stream.tasks[task])
        learner.state["taken"] = torch.zeros(6)
        learner.state["batches"] = 0
        learner.update(batch(learner, task))
        assert learner.state["taken"][own].sum() == pytest.approx(1)
    assert learner.learned().tolist() == [-1, -1, 0, 1]  # east and north are of pre-training
    x = batch(learner).x
    tokens, there = learner.net.trunk.embed(x), learner.net.trunk.split(x)[-1]
    played = torch.arange(16) % 4
    _, on = learner.modulation(tokens, there, played)
    assert torch.equal(on, played >= 2)


def test_keys_of_pre_training_come_to_be_used_and_nothing_else_moves(toy: None) -> None:
    run = sweep.expand("toy/keys", "smoke", {"budget.iterations": 30, "optimiser.lr": 0.03})[-1].run
    before, after = (checkpoint.read_weights(p) for p in (runs_dir() / run.parent["run"], loop.run(run).path))
    assert all(torch.equal(after[name], value) for name, value in before.items())
    trace = loop.run(run).trace()
    assert trace["s_plasticity"][-1] < trace["s_plasticity"][0] - 0.1  # nearer to the queries
    _, learner = build(run, Fabric(accelerator="cpu", devices=1))
    learner.begin(learner.data.stream.tasks[0])
    for step in range(10):
        learner.update(batch(learner, 0, step))
    assert (learner.state["taken"] > 0).all()


def test_keys_are_compared_in_full_precision_whatever_the_net_runs_in(toy: None) -> None:
    learner = built("L2M", {"precision": "bf16-mixed"})
    x = batch(learner).x
    with torch.no_grad(), learner._fabric.autocast():
        tokens, there = learner.net.trunk.embed(x), learner.net.trunk.split(x)[-1]
        learning = learner.closeness(tokens, there, learner.net.keys)
        assert learner.net.decide(tokens, learner.chosen(tokens, there)[0]).dtype == torch.bfloat16
    assert learning.dtype == torch.float32
    assert torch.equal(learning, learner.closeness(tokens, there, learner.net.keys))  # as while it acts
    own = learner.terms(learner.live, learner.state, batch(learner)).stability
    assert own.dtype == torch.float32
    assert torch.equal(own, -0.5 * learning.max(1).values.mean())


def keyed(case: str) -> Any:
    """A learner that takes keys, in its first task; without dropout, which several processes cannot share."""
    if case == "keys":
        stream, learner = build(sweep.expand("toy/keys", "smoke")[-1].run, Fabric(accelerator="cpu", devices=1))
        learner.begin(stream.tasks[0])
        return learner
    return built(case, {"learner.prompt_dropout": 0.0})


@pytest.mark.parametrize("case", ["keys", "L2M", "L2P prompt"])
def test_a_loss_that_is_only_asked_for_counts_no_keys(toy: None, case: str) -> None:
    learner = keyed(case)
    learner.update(batch(learner))
    before = {name: value.clone() if name == "taken" else value for name, value in learner.state.items()}
    for step in (1, 2):
        learner.terms(learner.live, learner.state, batch(learner, 0, step))
    assert torch.equal(learner.state["taken"], before["taken"])
    assert learner.state["batches"] == before["batches"] == 1


class Two(Ranks):
    """One of two ranks that are threads of this process."""

    def __init__(self, rank: int, meeting: threading.Barrier, told: list[Any]) -> None:
        super().__init__()
        self.rank, self.world, self.meeting, self.brought = rank, 2, meeting, told

    def both(self, value: Any) -> list[Any]:
        """What either rank brought."""
        self.brought[self.rank] = value
        self.meeting.wait(30)
        found = list(self.brought)
        self.meeting.wait(30)
        return found

    def any(self, flag: bool) -> bool:
        return any(self.both(flag))

    def told(self, value: Any) -> Any:
        return self.both(value)[0]

    def summed(self, tensors: list[torch.Tensor]) -> list[torch.Tensor]:
        return [one + other for one, other in zip(*self.both([t.clone() for t in tensors]), strict=True)]


def shared(case: str, sizes: list[int]) -> list[Any]:
    """The learners of two ranks after an update on a batch of each of those sizes, agreed upon before each and at the end."""
    meeting, told = threading.Barrier(2), [None, None]
    learners = [keyed(case), keyed(case)]

    def learn(rank: int) -> None:
        learner = learners[rank]
        learner.ranks = Two(rank, meeting, told)
        for step, size in enumerate(sizes):
            learner.ranks.check(learner, batch(learner, 0, step, size))
            learner.update(batch(learner, 0, step, size))
        learner.ranks.same(learner)

    with ThreadPoolExecutor(2) as pool:
        list(pool.map(learn, (0, 1)))
    return learners


@pytest.mark.parametrize("case", ["keys", "L2M", "L2P prompt"])
def test_ranks_count_the_keys_of_the_whole_batch_once(toy: None, case: str) -> None:
    sizes = [16, 5, 1]  # in halves, uneven, and one sample that one of the ranks takes without weight
    alone = keyed(case)
    for step, size in enumerate(sizes):
        alone.update(batch(alone, 0, step, size))
    for learner in shared(case, sizes):
        assert learner.state["batches"] == alone.state["batches"] == 3
        assert torch.equal(learner.state["taken"], alone.state["taken"])


def test_ranks_that_remember_different_things_are_refused(toy: None) -> None:
    meeting, told = threading.Barrier(2), [None, None]
    learners = [keyed("L2M"), keyed("L2M")]
    learners[1].state["taken"][0] += 1e-6

    def same_on(rank: int) -> str:
        with pytest.raises(Problem) as refused:
            Two(rank, meeting, told).same(learners[rank])
        return str(refused.value)

    with ThreadPoolExecutor(2) as pool:
        assert all("differ in what Pool remembers" in said for said in pool.map(same_on, (0, 1)))


def test_l2p_takes_several_prompts_of_which_all_get_a_gradient(toy: None) -> None:
    learner = built("L2P prompt")
    learner.update(batch(learner))
    assert learner.state["taken"].sum() == pytest.approx(3)
    taken = learner.state["taken"] > 0
    moved = learner.net.modulator.rows.grad.abs().sum((1, 2, 3)) > 0
    assert torch.equal(moved, taken)


# --- regularisers, loss, clipping -----------------------------------------------------------------------------------


@pytest.mark.parametrize("case", ["EWC", "L2"])
def test_the_pull_begins_with_the_second_task_and_holds_to_the_last_anchor(toy: None, case: str) -> None:
    learner = built(case)
    tasks = learner.data.stream.tasks
    assert learner.terms(learner.live, learner.state, batch(learner)).stability is None
    learner.update(batch(learner))
    learner.end(tasks[0])
    first = {name: value.clone() for name, value in learner.state["anchor"].items()}
    assert all(torch.equal(first[name], p) for name, p in learner.live.items())
    learner.begin(tasks[1])
    learner.update(batch(learner, 1))
    pull = learner.terms(learner.live, learner.state, batch(learner, 1)).stability
    weights = learner.state["fisher"]
    hand = sum((weights[name] * (p - first[name]) ** 2).sum() for name, p in learner.live.items())
    assert pull.item() == pytest.approx(learner.strength / 2 * hand.item(), rel=1e-4)
    assert pull.item() > 0
    if case == "L2":
        assert all((w == 1).all() for w in weights.values())
    learner.end(tasks[1])
    assert not torch.equal(learner.state["anchor"]["head.weight"], first["head.weight"])


def test_micro_batches_weigh_the_same(toy: None) -> None:
    learner = built("joint")
    x = batch(learner)
    assert len(x.x) == 32
    scores = learner.net.eval()(x.x)
    halves = [
        learner.error(s, y)
        for s, y in zip(scores.chunk(2), x.y.chunk(2), strict=True)
        if learner.state.update(groups=1) is None
    ]
    learner.state["groups"] = 2
    assert learner.error(scores, x.y).item() == pytest.approx(torch.stack(halves).mean().item())


def test_gradients_are_clipped_but_those_of_keys_and_keys_are_faster(toy: None) -> None:
    learner = built("L2M", {"learner.clip": 1e-6})
    learner.update(batch(learner))
    inner = torch.cat([p.grad.flatten() for name, p in learner.live.items() if name != "keys"])
    assert 0 < inner.norm() < 1.01e-6
    assert learner.live["keys"].grad.norm() > 1e-3
    rates = {tuple(p.shape): g["lr"] for g in learner.optimiser.param_groups for p in g["params"]}
    assert rates[tuple(learner.live["keys"].shape)] == pytest.approx(10 * 0.003)
    assert sorted({g["lr"] for g in learner.optimiser.param_groups}) == pytest.approx([0.003, 0.03])
    decays = {g["weight_decay"] for g in built("FT").optimiser.param_groups}
    assert decays == {0.0, 0.01}


@pytest.mark.parametrize("name", ["adam", "adamw_scheduled"])
def test_keys_stay_as_many_times_as_fast_at_every_update(toy: None, name: str) -> None:
    learner = built("L2M", {"optimiser.name": name, "optimiser.lr": 0.01})
    for step in range(4):
        set_rate(learner.optimiser, step, 4)
        learner.update(batch(learner, 0, step))
        rates = {id(p): group["lr"] for group in learner.optimiser.param_groups for p in group["params"]}
        assert rates[id(learner.live["keys"])] == pytest.approx(0.1)
        assert sorted(set(rates.values())) == pytest.approx([0.01, 0.1])


def test_batches_are_a_function_of_their_address(toy: None) -> None:
    learner = built("FT")
    batches = Batches(learner, learner.data.stream.tasks[1], spec("FT"))
    one, other = batches.at(3), batches.at(4)
    assert torch.equal(Batches(learner, learner.data.stream.tasks[1], spec("FT")).at(3).x, one.x)
    assert not torch.equal(one.x, other.x)


def test_a_pre_trained_net_is_measured_once_for_all_methods(toy: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cloning, "_first_exams", {})
    played: list[str] = []
    play = cloning.Cloning.played
    monkeypatch.setattr(cloning.Cloning, "played", lambda self, *asked: played.append("") or play(self, *asked))
    exams = []
    for case, over in (("FT", {}), ("L2M", {}), ("L2M", {"evaluation.samples": 3})):
        stream, learner = build(spec(case, over), Fabric(accelerator="cpu", devices=1))
        exams.append(learner.exam(learner.data.evaluation(over.get("evaluation.samples", 2), 0), 0))
    assert exams[0] is exams[1]
    assert len(played) == 2
    with torch.no_grad():
        learner.net.head.bias.add_(1)
    learner.exam(learner.data.evaluation(2, 0), 0)
    assert len(played) == 3
    learner.begin(stream.tasks[0])
    learner.exam(learner.data.evaluation(2, 0), 1)
    assert len(played) == 4


# --- what is looked at afterwards -------------------------------------------------------------------------------------


@pytest.mark.parametrize("case", ["FT", "L2M old keys", "L2M-oracle"])
def test_facts_of_the_final_model(toy: None, paper: Callable[..., Path], case: str) -> None:
    looked = {"of": "methods", "run": {"analysis": {"name": "papers.l2m.analyses.last", "samples": 20, "shown": 5}}}
    paper("looked_at", looked | {"tiers": {"smoke": {}}})
    *_, run, analysis = sweep.expand("toy/looked_at", "smoke", case=case)
    loop.run(run.run)
    facts = analyse.run(analysis.run).facts()
    (moved,) = facts[facts["quantity"] == "moved"]["value"]
    assert (moved > 0) == (case == "FT")
    keys = facts[facts["quantity"] == "key"]
    if case == "FT":
        assert keys.empty
        return
    np.testing.assert_allclose(keys.groupby("task")["value"].sum(), 1)
    (share,) = facts[facts["quantity"] == "active_share"]["value"]
    assert share == pytest.approx((2 * 2 * (2 * 32 * 2) + 2 * 2 * 128 * 2) / (2 * (12 * 32**2 + 13 * 32)))
    if case == "L2M-oracle":
        assert set(keys["task"]) == {"west", "south"}
        assert keys[keys["task"] == "west"]["other"].between(0, 2).all()
        return
    assert keys["other"].min() < 0
    assert len(facts[facts["quantity"] == "query"]) == 4 * 5
    assert sorted(facts[facts["quantity"] == "place"]["other"]) == list(range(-5, 6))


def test_recorded_states_are_those_that_the_policy_met(toy: None) -> None:
    learner = built("FT")
    learner.net.eval()
    stream = learner.data.stream
    books = [stream.shelf[name] for name in stream.played]
    acting = Acting(learner.net, learner.modulation, books, learner.data.context)
    recorded = Recorded(acting)
    ground = cloning.ground(tuple(stream.played), stream.worlds)
    found = ground.play(recorded, 1, 0)
    plain = ground.play(Acting(learner.net, learner.modulation, books, learner.data.context), 1, 0)
    assert np.array_equal(found.returns, plain.returns)
    assert [len(states) for states in recorded.states] == found.lengths.ravel().tolist()
    first = ground.stage.begin([(name, episode_seed(0, "rollout", name, 0)) for name in stream.played])
    assert np.array_equal(np.stack([states[0] for states in recorded.states]), first)


def test_the_hand_is_recorded_in_the_tasks_that_are_learned(tmp_path: Path) -> None:
    tasks = ["handle-press", "coffee-button"]
    collect(tmp_path / "data", Settings(tasks, 1, 60, [0.0], "disjoint", None, 0))
    stream = sequences(tmp_path / "data", 0, learn=tasks[1:], play=tasks, context=2, actions=4, horizon=3)
    net = mddt(stream.shape, 64, width=16, depth=1, attention_heads=2)
    learner = SimpleNamespace(data=Windows(stream), net=net.eval(), seed=0, modulation=partial(still, net))
    facts = pd.DataFrame(paths(learner))  # type: ignore[arg-type]
    assert set(facts["task"]) == {"coffee-button"}
    assert facts.groupby("quantity")["other"].apply(list).to_dict() == {"expert_path": [0, 1, 2], "path": [0, 1, 2]}
    starts = facts[facts["other"] == 0][["x", "y", "value"]].to_numpy()
    assert np.array_equal(starts[0], starts[1])
    ends = facts[facts["other"] == 2][["x", "y", "value"]].to_numpy()
    assert not np.allclose(ends[0], ends[1])


def still(net: Any, tokens: torch.Tensor, there: torch.Tensor, played: Any) -> Any:
    """No modulation."""
    return Change(), None

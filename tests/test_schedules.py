"""Learning rates are a function of step and updates: torch's own schedules, and what a run is given at each update."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from common import loop
from common.schedules import Schedule, adamw_scheduled, set_rate, sgd_scheduled
from common.spec import RunSpec
from tests.helpers import same, same_weights, stored
from tests.test_resume import killed, uninterrupted

ONE_CYCLE = {"optimiser.name": "sgd_scheduled", "optimiser.lr": 0.05, "optimiser.momentum": 0.9,
             "optimiser.schedule": "onecycle"}  # fmt: skip


def theirs(updates: int, make: Callable[[torch.optim.Optimizer], Any]) -> list[float]:
    """The rates that one of torch's schedulers gives."""
    optimiser = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=0.3)
    scheduler, rates = make(optimiser), []
    for _ in range(updates):
        rates.append(optimiser.param_groups[0]["lr"])
        optimiser.step()
        scheduler.step()
    return rates


@pytest.mark.parametrize("updates", [10, 57, 400])
def test_one_cycle_is_torchs(updates: int) -> None:
    ours = Schedule(0.3, "onecycle", end=1 / 25 / 1e4)
    expected = theirs(updates + 0, lambda o: torch.optim.lr_scheduler.OneCycleLR(o, 0.3, updates + 1, pct_start=0.2))
    assert len(expected) == updates
    assert [Schedule(0.3, "onecycle", end=4e-6)(s, updates + 1) for s in range(updates)] == pytest.approx(expected)
    assert ours(0, updates) == pytest.approx(0.3 / 25)
    assert max(ours(s, updates) for s in range(updates)) == pytest.approx(0.3, rel=0.03)
    assert ours(updates - 1, updates) == pytest.approx(0.3 / 25 / 1e4)


def test_steps_and_cosine_are_torchs() -> None:
    milestones = theirs(160, lambda o: torch.optim.lr_scheduler.MultiStepLR(o, [80, 120]))
    for given in ((80.0, 120.0), (0.5, 0.75)):
        assert [Schedule(0.3, "steps", given)(s, 160) for s in range(160)] == pytest.approx(milestones)
    cosine = theirs(90, lambda o: torch.optim.lr_scheduler.CosineAnnealingLR(o, 90, eta_min=0.03))
    assert [Schedule(0.3, "cosine", end=0.1)(s, 90) for s in range(90)] == pytest.approx(cosine)
    assert {Schedule(0.3)(s, 90) for s in range(90)} == {0.3}


def test_warm_up_rises_to_the_full_rate() -> None:
    for kind in ("constant", "steps", "cosine"):
        schedule = Schedule(1.0, kind, warm_up=0.25, start=0.1)  # type: ignore[arg-type]
        rates = [schedule(s, 40) for s in range(40)]
        assert rates[:11] == pytest.approx([0.1 + 0.09 * s for s in range(10)] + [1.0])
        assert rates[10:] == sorted(rates[10:], reverse=True)
    assert Schedule(1.0, "onecycle", warm_up=0.5)(4, 10) == 1.0


@pytest.mark.parametrize("kind", ["constant", "steps", "cosine", "onecycle"])
@pytest.mark.parametrize("warm", [None, 0.0, 0.5, 1.0])
def test_no_length_of_task_breaks_it(kind: Any, warm: float | None) -> None:
    for updates in range(1, 12):
        rates = [Schedule(0.1, kind, warm_up=warm)(s, updates) for s in range(updates)]
        assert all(0 <= rate <= 0.1 + 1e-12 for rate in rates)
        assert updates < 3 or max(rates) > 0.05


def test_a_group_of_parameters_can_be_faster_than_the_schedule() -> None:
    slow, fast = (torch.nn.Parameter(torch.zeros(2)) for _ in range(2))
    scheduled = sgd_scheduled([slow], lr=0.5, schedule="steps", milestones=[2])
    scheduled.add_param_group({"params": [fast], "times": 10.0})
    rates = []
    for step in range(4):
        set_rate(scheduled, step, 4)
        rates += [group["lr"] for group in scheduled.param_groups]
    assert rates == pytest.approx([0.5, 5, 0.5, 5, 0.05, 0.5, 0.05, 0.5])


def test_optimisers_without_a_schedule_are_left_alone() -> None:
    parameters = [torch.nn.Parameter(torch.zeros(2))]
    plain = torch.optim.SGD(parameters, lr=0.7)
    set_rate(plain, 3, 10)
    assert plain.param_groups[0]["lr"] == 0.7
    for make in (sgd_scheduled, adamw_scheduled):
        scheduled = make(parameters, lr=0.7, schedule="cosine")
        set_rate(scheduled, 5, 10)
        assert scheduled.param_groups[0]["lr"] == pytest.approx(0.35)
        assert "schedule" not in str(scheduled.state_dict())


def test_the_loop_gives_each_update_its_rate(small: Callable[..., RunSpec], monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[float] = []
    plain = torch.optim.SGD.step

    def step(self: Any, *given: Any, **named: Any) -> Any:
        seen.append(self.param_groups[0]["lr"])
        return plain(self, *given, **named)

    monkeypatch.setattr(torch.optim.SGD, "step", step)
    loop.run(small("finetune", ONE_CYCLE))
    schedule = Schedule(0.05, "onecycle")
    assert seen == [schedule(s, 12) for s in range(12)] * 3  # every task anew


def test_constant_is_the_plain_optimiser(small: Callable[..., RunSpec]) -> None:
    plain = stored(loop.run(small("finetune")).path)[1]
    over = {"optimiser.name": "sgd_scheduled", "optimiser.lr": 0.05, "optimiser.momentum": 0.9}
    assert same_weights(plain, stored(loop.run(small("finetune", over)).path)[1])
    assert not same_weights(plain, stored(loop.run(small("finetune", ONE_CYCLE)).path)[1])


@pytest.mark.parametrize(
    "over",
    [
        ONE_CYCLE,
        {**ONE_CYCLE, "optimiser.schedule": "steps", "optimiser.fresh": False},
        {"optimiser.name": "adamw_scheduled", "optimiser.lr": 0.01, "optimiser.schedule": "cosine"},
        {**ONE_CYCLE, "model.name": "vgg", "model.depth": 11, "model.width": 4},
        {**ONE_CYCLE, "model.name": "resnet", "model.width": 4, "budget.iterations": 4},
    ],
    ids=["onecycle", "steps", "adamw", "vgg", "resnet"],
)
def test_scheduled_runs_that_are_killed_equal_uninterrupted_ones(
    over: dict[str, Any], small: Callable[..., RunSpec], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec = small("finetune", over)
    whole = uninterrupted(spec, tmp_path, monkeypatch)
    for at in (5, 9):
        killed(spec, at, save_every=4)
    assert same(stored(loop.run(spec).path), whole)

"""The tasks of L2M by name, their states, the simulators themselves, and many episodes at once."""

import os
import subprocess
import sys
import time
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from common.errors import Problem
from papers.l2m import catalogue, worlds
from papers.l2m.experts import RandomPolicy, ScriptedPolicy, expert
from papers.l2m.layouts import LAYOUTS, OBSERVATION, layout
from papers.l2m.rollouts import Outcomes, Playground, episode_seed, rollouts
from papers.l2m.stage import Hands
from tests.toy_world import NAMES, Chaser, Point, point

ROOT = Path(__file__).resolve().parent.parent


def alive(number: int) -> bool:
    """Whether a process of that number is there and no zombie."""
    try:
        return Path(f"/proc/{number}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


# --- names and versions ----------------------------------------------------------------------------------------


def test_the_splits_are_the_papers_66_tasks_and_overlap_nowhere() -> None:
    assert [len(catalogue.names(split)) for split in ("MT40", "CW10", "DMC10", "DMC6")] == [40, 10, 10, 6]  # type: ignore[arg-type]
    assert len(set(catalogue.TASKS)) == 66
    assert catalogue.names("CW10")[:2] == ("hammer", "push-wall")
    assert "reacher-easy" in catalogue.DMC6
    assert "reacher-hard" not in catalogue.DMC6


def test_names_of_older_versions_mean_the_same_task() -> None:
    assert catalogue.task_names(["hammer-v2", "reach-v3", "DMC6"]) == ["hammer", "reach", *catalogue.DMC6]


def test_wrong_names_are_refused_together_with_the_nearest_ones() -> None:
    with pytest.raises(Problem) as refused:
        catalogue.task_names(["hamer", "walker-wlak", "reach"])
    assert "Did you mean 'hammer'?" in refused.value.messages[0]
    assert "Did you mean 'walker-walk'?" in refused.value.messages[1]
    with pytest.raises(Problem, match="reach: named twice"):
        catalogue.task_names(["MT40", "reach"])
    with pytest.raises(Problem, match="No task is named"):
        catalogue.task_names([])
    with pytest.raises(Problem, match="Did you mean 'CW10'"):
        catalogue.names("CW1")  # type: ignore[arg-type]
    with pytest.raises(Problem, match="Did you mean 'disjoint'"):
        layout("disjont")


def test_versions_of_the_needed_simulators_alone_enter_an_identity() -> None:
    assert set(catalogue.versions(["reach"])) == {"metaworld", "mujoco"}
    assert set(catalogue.versions(["reach", "walker-run"])) == {"metaworld", "mujoco", "dm_control"}
    assert {"stable_baselines3", "torch"} < set(catalogue.versions(["reach"], "sac"))


def test_simulators_that_do_not_work_together_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    installed = {"metaworld": "3.0.0", "mujoco": "4.0.0", "dm_control": "1.0.50"}
    monkeypatch.setattr(metadata, "version", installed.__getitem__)
    with pytest.raises(Problem, match=r"metaworld 3\.0\.0, mujoco 4\.0\.0 were not seen to work together") as refused:
        catalogue.versions(["reach"])
    assert "mujoco==3.3.0" in str(refused.value)


def test_a_missing_simulator_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    def version(package: str) -> str:
        raise metadata.PackageNotFoundError(package)

    monkeypatch.setattr(metadata, "version", version)
    with pytest.raises(Problem, match="metaworld, mujoco cannot be found"):
        catalogue.versions(["reach"])


def test_planning_what_to_collect_imports_no_simulator() -> None:
    code = (
        "import sys\nfrom papers.l2m.collection import Settings, identity\n"
        "s = Settings(tasks=['CW10', 'DMC6'], episodes=1, steps=None, noise=[0.0], layout='paper', cut_after_success=None,"
        " seed=0)\n"
        "assert len(identity(s)['tasks']) == 16\n"
        "heavy = {'mujoco', 'metaworld', 'dm_control', 'gymnasium', 'torch', 'stable_baselines3', 'minari', 'pandas'}\n"
        "print(sorted(set(sys.modules) & heavy))"
    )
    said = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert said.stdout == "[]\n"


# --- states ----------------------------------------------------------------------------------------------------


def test_layouts_have_the_papers_widths_and_slots_that_do_not_overlap() -> None:
    assert {name: shape.size for name, shape in LAYOUTS.items()} == {"paper": 204, "shared": 53, "disjoint": 92}
    assert [LAYOUTS[name].slots[OBSERVATION][0] for name in ("paper", "shared", "disjoint")] == [0, 0, 53]
    for name, shape in LAYOUTS.items():
        used = [
            place
            for key, (first, width) in shape.slots.items()
            if key != OBSERVATION
            for place in range(first, first + width)
        ]
        assert len(set(used)) == len(used)
        assert not set(used) & set(range(53, 92)) or name == "paper"


@given(st.sampled_from(sorted(LAYOUTS)), st.integers(0, 10**6))
def test_what_is_written_into_a_state_is_read_back_and_the_rest_is_zero(name: str, seed: int) -> None:
    shape, draws = LAYOUTS[name], np.random.default_rng(seed)
    keys = [key for key in shape.slots if key != OBSERVATION]
    for chosen in (draws.permutation(keys)[:3], [OBSERVATION]):
        seen = {key: draws.normal(size=shape.slots[key][1]) for key in chosen}
        state = shape.state(seen)
        assert all(np.array_equal(shape.part(state, key), np.float32(value)) for key, value in seen.items())
        assert np.count_nonzero(state) == sum(len(value) for value in seen.values())


def test_an_observation_without_a_place_is_refused() -> None:
    with pytest.raises(Problem, match="no 40 places"):
        layout("shared").state({OBSERVATION: np.zeros(40)})
    with pytest.raises(Problem, match="'extremities'"):
        layout("shared").state({"extremities": np.zeros(12)})


# --- the simulators --------------------------------------------------------------------------------------------

# each of these read, after one reset, what the last episode had left: positions, targets or the first observation
LEFT_OVER = ("window-close", "dial-turn", "peg-unplug-side", "reach")


def played(world: Any, seed: int, steps: int) -> np.ndarray:
    """[steps + 1, S + 1]: states and rewards of an episode of random actions."""
    draws = np.random.default_rng(seed)
    rows = [np.append(world.reset(seed), 0.0)]
    for _ in range(steps):
        state, reward, _, _ = world.step(draws.uniform(-1, 1, 6))
        rows.append(np.append(state, reward))
    return np.array(rows)


@pytest.mark.parametrize("task", [*LEFT_OVER, "reacher-easy", "finger-turn_hard"])
def test_an_episode_depends_on_its_seed_and_not_on_what_was_played_before(task: str) -> None:
    fresh, used = worlds.make(task), worlds.make(task)
    first = played(fresh, 7, 20)
    played(used, 3, 15), played(used, 4, 30)
    assert np.array_equal(played(used, 7, 20), first)
    assert not np.array_equal(played(used, 8, 20)[0], first[0])


@pytest.mark.slow
@pytest.mark.parametrize("task", catalogue.TASKS)
def test_that_holds_for_every_task_and_its_numbers_are_those_of_the_catalogue(task: str) -> None:
    fresh, used = worlds.make(task, "paper"), worlds.make(task, "paper")
    first = played(fresh, 7, 60)
    played(used, 3, 25), played(used, 4, 70)
    assert np.array_equal(played(used, 7, 60), first)
    assert fresh.dims == catalogue.action_dims(task)
    assert fresh.horizon == catalogue.HORIZON[catalogue.domain_of(task)]


def test_the_goal_of_meta_world_is_seen_and_stays_seen() -> None:
    world = worlds.make("assembly", "shared")
    goal = world.reset(5)[36:39]
    assert np.abs(goal).min() > 0
    state, _, _, _ = world.step(np.ones(6))
    assert np.array_equal(state[36:39], goal)
    assert not np.array_equal(world.reset(6)[36:39], goal)


def test_states_of_one_suite_stand_in_the_places_of_the_layout() -> None:
    reach, walker = worlds.make("reach").reset(1), worlds.make("walker-walk").reset(1)
    assert not reach[:53].any()
    assert not walker[53:].any()
    shape = LAYOUTS["disjoint"]
    assert np.count_nonzero(walker) <= 14 + 9 + 1
    assert shape.part(walker, "height") == np.float32(worlds.make("walker-walk", "paper").reset(1)[-1])


def test_actions_beyond_the_bounds_and_beyond_a_tasks_own_count_for_nothing() -> None:
    one, other = worlds.make("pendulum-swingup"), worlds.make("pendulum-swingup")
    one.reset(2), other.reset(2)
    assert np.array_equal(one.step(np.array([7.0, 1, 1, 1, 1, 1]))[0], other.step(np.array([1.0, 0, 0, 0, 0, 0]))[0])


def test_experts_solve_and_are_better_than_chance() -> None:
    tasks = ["door-close", "window-close"]
    with Playground(tasks) as ground:
        expert_does = ground.play(ScriptedPolicy(tasks), 2, 0)
        chance = ground.play(RandomPolicy(0), 2, 0, horizon=40)
    assert expert_does.ever.all()
    assert not chance.ever.any()
    assert (expert_does.lengths == 200).all()


def test_planning_brings_the_reacher_to_its_target() -> None:
    world = worlds.make("reacher-easy")
    world.reset(episode_seed(0, "collect", "reacher-easy", 0))
    plans = expert(world, np.random.default_rng(0))
    rewards = [world.step(plans.act(world))[1] for _ in range(150)]
    assert sum(rewards[-50:]) == 50


def test_experts_are_told_apart_by_suite() -> None:
    with pytest.raises(Problem, match="walker-walk: no task of Meta-World"):
        ScriptedPolicy(["reach", "walker-walk"])


# --- many episodes at once -------------------------------------------------------------------------------------


def equal(one: Outcomes, other: Outcomes) -> bool:
    names = ("ever", "last", "returns", "lengths")
    return all(getattr(one, name).tobytes() == getattr(other, name).tobytes() for name in names)


def by_hand(tasks: tuple[str, ...], episodes: int, seed: int) -> Outcomes:
    """The same episodes one after the other, rows as in one group."""
    shape = (len(tasks), episodes)
    ever, last = np.zeros(shape, bool), np.zeros(shape, bool)
    returns, lengths = np.zeros(shape, np.float32), np.zeros(shape, np.int64)
    for row in range(len(tasks) * episodes):
        task, episode = row % len(tasks), row // len(tasks)
        world, total, over = Point(tasks[task]), 0.0, False
        state = world.reset(episode_seed(seed, "rollout", tasks[task], episode))
        while not over:
            state, reward, solved, over = world.step(Chaser().act(state[None], np.array([row]))[0])
            total += float(np.float32(reward))
            ever[task, episode] |= solved
            last[task, episode] = solved
            lengths[task, episode] += 1
        returns[task, episode] = total
    return Outcomes(list(tasks), ever, last, returns, lengths)


def test_a_batch_gives_what_one_episode_after_the_other_gives() -> None:
    policy = Chaser()
    together = rollouts(policy, NAMES, 5, 3, make=point)
    alone = by_hand(NAMES, 5, 3)
    assert equal(together, alone)
    assert together.ever.any()
    assert not together.last.all()
    assert policy.sizes == [10] * 12
    assert policy.received == pytest.approx(float(together.returns.sum()), rel=1e-5)


def test_the_outcome_does_not_depend_on_the_number_of_processes() -> None:
    one = rollouts(Chaser(), NAMES, 4, 1, make=point, together=6)
    assert equal(one, rollouts(Chaser(), NAMES, 4, 1, make=point, together=6, processes=3))


def test_episodes_are_those_of_their_task_whatever_else_is_played() -> None:
    both, one = rollouts(RandomPolicy(0), NAMES, 3, 1, make=point), rollouts(Chaser(), ["far"], 3, 1, make=point)
    assert (
        episode_seed(1, "rollout", "far", 2)
        != episode_seed(1, "rollout", "near", 2)
        != episode_seed(1, "collect", "near", 2)
    )
    assert both.tasks == ["near", "far"]
    assert one.ever.shape == (1, 3)
    first = rollouts(Chaser(), ["far"], 2, 1, make=point)
    assert np.array_equal(one.ever[:, :2], first.ever)


def test_episodes_that_are_over_drop_out_of_the_batch() -> None:
    policy = Chaser()
    cut = rollouts(policy, NAMES, 5, 3, make=point, cut_after_success=1)
    whole = rollouts(Chaser(), NAMES, 5, 3, make=point)
    assert np.array_equal(cut.ever, whole.ever)
    assert (cut.lengths[cut.ever] < 12).any()
    assert min(policy.sizes) < 10
    assert sum(policy.sizes) == cut.lengths.sum()
    assert (rollouts(Chaser(), NAMES, 2, 3, make=point, horizon=4).lengths == 4).all()


def test_worlds_are_kept_between_rounds_and_rounds_do_not_move_each_other() -> None:
    with Playground(NAMES, make=point) as ground:
        first = ground.play(Chaser(), 3, 0)
        kept = {id(world) for world in ground.stage.kept.values()}  # type: ignore[union-attr]
        ground.play(Chaser(), 3, 5)
        assert equal(ground.play(Chaser(), 3, 0), first)
        assert {id(world) for world in ground.stage.kept.values()} == kept  # type: ignore[union-attr]


def test_an_action_that_is_no_number_is_refused() -> None:
    class Broken(Chaser):
        def act(self, states: np.ndarray, rows: np.ndarray) -> np.ndarray:
            return np.full((len(rows), 6), np.nan)

    with pytest.raises(Problem, match="no number, in an episode of near"):
        rollouts(Broken(), NAMES, 1, 0, make=point)
    with pytest.raises(Problem, match="at least 1"):
        rollouts(Chaser(), NAMES, 1, 0, make=point, processes=0)


def test_what_fails_in_a_process_is_told_and_leaves_no_process_behind() -> None:
    numbers: list[int] = []
    for task, kind, words in (
        ("broken", RuntimeError, "a fault of the simulator"),
        ("refused", Problem, "no such toy"),
    ):
        with pytest.raises(kind, match=words), Playground([task], processes=2, make=point) as ground:  # noqa: PT012
            assert isinstance(ground.stage, Hands)
            numbers += [servant.process.pid for servant in ground.stage.servants]
            ground.play(Chaser(), 2, 0)
    assert len(numbers) == 4
    assert not any(map(alive, numbers))


def test_a_process_that_was_killed_is_told_of() -> None:
    with pytest.raises(Problem, match="has died"), Playground(NAMES, processes=2, make=point) as ground:  # noqa: PT012
        ground.play(Chaser(), 1, 0)
        assert isinstance(ground.stage, Hands)
        ground.stage.servants[1].process.kill()
        ground.stage.servants[1].process.wait()
        ground.play(Chaser(), 1, 0)


def test_processes_end_when_their_caller_is_killed() -> None:
    code = (
        "import time\nfrom papers.l2m.stage import Hands\nfrom tests.toy_world import point\n"
        "hands = Hands('shared', 2, point)\nhands.begin([('near', 1), ('near', 2)])\n"
        "print(*(s.process.pid for s in hands.servants), flush=True)\ntime.sleep(60)"
    )
    caller = subprocess.Popen([sys.executable, "-c", code], cwd=ROOT, stdout=subprocess.PIPE, text=True)
    assert caller.stdout is not None
    numbers = [int(word) for word in caller.stdout.readline().split()]
    assert len(numbers) == 2
    assert all(map(alive, numbers))
    os.kill(caller.pid, 9)
    caller.wait()
    deadline = time.monotonic() + 30
    while any(map(alive, numbers)) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not any(map(alive, numbers))

"""The simulated tasks, headless and seen through their state: one way to reset and step Meta-World and DMControl.

An episode depends on the seed it is reset with and on the actions, on nothing that was played before in the same world. Two things
of Meta-World stand in the way and are mended here: the goal stays hidden unless the cached observation space is dropped too, and
one reset reads positions that the last layout left behind (the first observation of a dozen tasks, the targets of some), so that
every reset is done twice with the same draws. An episode's success is what Meta-World calls so; DMControl has no such notion.
"""

import copy
import os
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from papers.l2m.catalogue import ACTIONS, HORIZON, SPLITS, domain_of, names, task_name
from papers.l2m.layouts import OBSERVATION, Layout, State, layout

__all__ = ["SPLITS", "DMControl", "MetaWorld", "World", "make", "names"]

Action = npt.NDArray[np.float32]


class World(Protocol):
    """A task that can be played. State: float32 [size of the layout]; actions: float32 [6], of which the first `dims` count."""

    name: str
    dims: int
    horizon: int

    def reset(self, seed: int) -> State:
        """The first state of the episode of that seed."""

    def step(self, action: npt.NDArray[Any]) -> tuple[State, float, bool, bool]:
        """(state, reward, whether the task is solved now, whether the episode is over) after an action, clipped to [-1, 1]."""


def make(task: str, layout_name: str = "disjoint") -> "MetaWorld | DMControl":
    """The world of a task. Errors: Problem for an unknown task or layout."""
    kind = MetaWorld if domain_of(task) == "metaworld" else DMControl
    return kind(task_name(task), layout(layout_name))


class MetaWorld:
    """A task of Meta-World with a new layout of objects and goal every episode; the goal is part of the observation."""

    def __init__(self, name: str, shape: Layout) -> None:
        self.name, self.shape, self.dims, self.horizon = name, shape, 4, HORIZON["metaworld"]
        self.env = _metaworld(f"{name}-v3")
        self.observation = np.zeros(39)  # float64, as the scripted experts read it
        self.steps = 0

    def reset(self, seed: int) -> State:
        """The first state of the episode of that seed."""
        env = self.env
        for _ in range(2):  # the first places the objects, the second reads where they are
            env.np_random = np.random.default_rng(seed)
            observation, _ = _whole_reset(env)
        env.curr_path_length = self.steps = 0
        env._prev_obs = observation[:18].copy()
        observation[18:36] = env._prev_obs
        return self._seen(observation)

    def step(self, action: npt.NDArray[Any]) -> tuple[State, float, bool, bool]:
        """(state, reward of 0 to 10, success, over)."""
        observation, reward, _, _, facts = self.env.step(np.clip(action[:4], -1, 1).astype(np.float64))
        self.steps += 1
        return self._seen(observation), float(reward), bool(facts["success"]), self.steps >= self.horizon

    def _seen(self, observation: npt.NDArray[np.float64]) -> State:
        self.observation = observation
        return self.shape.state({OBSERVATION: observation})


class DMControl:
    """A task of DMControl; `success` is always False there. A diverged simulation ends the episode with reward 0."""

    def __init__(self, name: str, shape: Layout) -> None:
        self.name, self.shape, self.horizon = name, shape, HORIZON["dmcontrol"]
        self.env = _dmcontrol(name)
        self.dims = int(self.env.action_spec().shape[0])
        self.state = shape.state({})

    def reset(self, seed: int) -> State:
        """The first state of the episode of that seed."""
        self.env.task._random = np.random.RandomState(seed)  # dm_control knows no newer generator
        self.state = self.shape.state(self.env.reset().observation)
        return self.state

    def step(self, action: npt.NDArray[Any]) -> tuple[State, float, bool, bool]:
        """(state, reward of 0 to 1, False, over)."""
        from dm_control.rl.control import PhysicsError

        try:
            seen = self.env.step(np.clip(action[: self.dims], -1, 1).astype(np.float64))
        except PhysicsError:
            return self.state, 0.0, False, True
        self.state = self.shape.state(seen.observation)
        return self.state, float(seen.reward), False, bool(seen.last())


def padded(action: npt.ArrayLike) -> Action:
    """float32 [6]: the action, clipped to [-1, 1] and filled up with zeros."""
    whole = np.zeros(ACTIONS, dtype=np.float32)
    values = np.asarray(action, dtype=np.float32)
    whole[: len(values)] = np.clip(values, -1, 1)
    return whole


def _whole_reset(env: Any) -> Any:
    """(observation, facts) of gymnasium's reset. Meta-World's own is passed over: it places the objects twice, with other draws."""
    from gymnasium.envs.mujoco import MujocoEnv

    return MujocoEnv.reset(env)


_models: dict[str, Any] = {}  # compiled models: a copy takes a hundredth of the time of reading its file


def _metaworld(name: str) -> Any:
    """A simulation of Meta-World whose goal is visible and whose layout is drawn at every reset."""
    import mujoco
    from metaworld.env_dict import ALL_V3_ENVIRONMENTS

    task: Any = ALL_V3_ENVIRONMENTS[name]

    class Compiled(task):
        def _initialize_simulation(self) -> tuple[Any, Any]:
            if self.fullpath not in _models:
                _models[self.fullpath] = super()._initialize_simulation()[0]
            model = copy.copy(_models[self.fullpath])
            return model, mujoco.MjData(model)

    env = Compiled()
    env._partially_observable = False
    del env.__dict__[
        "sawyer_observation_space"
    ]  # computed while the goal was hidden; step() would clip the goal to 0 by it
    env._freeze_rand_vec, env.seeded_rand_vec, env._set_task_called = False, True, True
    return env


def _dmcontrol(name: str) -> Any:
    """A simulation of DMControl."""
    os.environ.setdefault(
        "MUJOCO_GL", "disabled"
    )  # nothing is rendered; without it a missing display is complained about
    from dm_control import suite

    return suite.load(*name.split("-"))

"""Data as the paper collected it: everything that a soft actor-critic agent does while it learns a task (stable-baselines3).

It takes hours a task: the paper gave each agent a million steps or two. The episodes are of mixed quality, from random to as good
as it got; there is no noise to tell, so it is noted as 0.
"""

from collections.abc import Iterator
from typing import Any

import numpy as np

from common.errors import Problem
from papers.l2m.catalogue import ACTIONS
from papers.l2m.rollouts import episode_seed
from papers.l2m.store import Episode
from papers.l2m.worlds import World, padded

HIDDEN = [256, 256, 256]  # the paper's agents: three layers, batches of 128, 50 updates after every 50 steps
BATCH, EVERY, WARM_UP = 128, 50, 1000
AT_ONCE = 50  # episodes between two looks at what was played


def learn(world: World, seed: int, episodes: int, steps: int | None) -> Iterator[Episode]:
    """All `episodes` episodes that an agent plays while it learns, in order. steps: most of an episode (None: the world's own).

    Errors: Problem when stable-baselines3 is not installed.
    """
    try:
        from stable_baselines3 import SAC
    except ImportError as error:
        raise Problem(
            "stable_baselines3 is not installed, which trains the agents. Install it: pip install 'stable-baselines3>=2.7'; "
            "or collect from experts (source: experts)."
        ) from error
    horizon = min(steps or world.horizon, world.horizon)
    gym = watched(world, seed, horizon)
    agent = SAC(
        "MlpPolicy", gym, batch_size=BATCH, train_freq=EVERY, gradient_steps=EVERY, learning_starts=WARM_UP,
        policy_kwargs={"net_arch": HIDDEN}, seed=episode_seed(seed, "agent", world.name, 0) % 2**31, device="cpu",
    )  # fmt: skip
    while episodes > 0:
        agent.learn(min(episodes, AT_ONCE) * horizon, reset_num_timesteps=False)
        yield from gym.played[:episodes]
        episodes -= len(gym.played)
        gym.played.clear()


def watched(world: World, seed: int, horizon: int) -> Any:
    """The world as a gymnasium environment that keeps every finished episode in `played`."""
    import gymnasium
    from gymnasium.spaces import Box

    class Watched(gymnasium.Env[Any, Any]):
        observation_space = Box(-np.inf, np.inf, world.reset(0).shape, np.float32)
        action_space = Box(-1.0, 1.0, (world.dims,), np.float32)
        played: list[Episode]

        def __init__(self) -> None:
            self.played, self.begun = [], 0

        def reset(
            self, *, seed: int | None = None, options: dict[str, Any] | None = None
        ) -> tuple[Any, dict[str, Any]]:
            self.states: list[Any] = [world.reset(episode_seed(address, "collect", world.name, self.begun))]
            self.actions: list[Any] = []
            self.rewards: list[float] = []
            self.ever, self.begun = False, self.begun + 1
            return self.states[0], {}

        def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
            state, reward, success, over = world.step(action)
            self.actions.append(padded(action))
            self.rewards.append(reward)
            self.ever |= success
            over = over or len(self.actions) >= horizon
            if over:
                columns = np.stack(self.states), np.stack(self.actions), np.array(self.rewards, dtype=np.float32)
                self.played.append(Episode(*columns, 0.0, self.ever, success))
            self.states.append(state)
            return state, reward, False, over, {}

    address = seed
    assert world.dims <= ACTIONS
    return Watched()

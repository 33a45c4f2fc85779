"""Sampling MPC, a demonstrator for DMControl: the cross-entropy method over knots of a control spline, by MuJoCo's own rollout.

Every few steps, plans are drawn around the last one (shifted on), simulated from the present state, and the mean and spread are
drawn towards the best; two such rounds, then the mean is carried out. No training; a plan depends on state and address only.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from common.errors import Problem
from papers.l2m.costs import COSTS
from papers.l2m.worlds import DMControl, World

Array = npt.NDArray[np.float64]

ROUNDS = 2
SPREAD = 0.6  # of the first round's knots, in units of the control range
LEAST_SPREAD = 0.05
ELITES = 0.15  # share of the plans that the next round is drawn from


@dataclass(frozen=True)
class Search:
    """How far ahead (steps), how many plans, how many knots a plan has, and after how many steps a new one is made."""

    horizon: int
    samples: int
    knots: int
    every: int


SEARCHES: dict[str, Search] = {
    "ball_in_cup-catch": Search(30, 12, 5, 4),
    "cartpole-balance": Search(100, 32, 8, 5),
    "cartpole-swingup": Search(100, 32, 8, 5),
    "cheetah-run": Search(30, 32, 6, 3),
    "finger-spin": Search(20, 96, 10, 2),
    "finger-turn_easy": Search(50, 64, 10, 4),
    "finger-turn_hard": Search(50, 64, 10, 4),
    "fish-upright": Search(30, 16, 5, 4),
    "hopper-stand": Search(40, 32, 6, 3),
    "pendulum-swingup": Search(60, 32, 8, 4),
    "point_mass-easy": Search(30, 16, 4, 4),
    "reacher-easy": Search(20, 16, 4, 4),
    "reacher-hard": Search(20, 16, 4, 4),
    "walker-stand": Search(25, 24, 5, 3),
    "walker-walk": Search(25, 32, 5, 2),
    "walker-run": Search(25, 32, 5, 2),
}


class Planner:
    """Acts in one episode of one world of DMControl."""

    def __init__(self, world: World, draws: np.random.Generator) -> None:
        if not isinstance(world, DMControl):
            raise Problem(
                f"{world.name} is no task of DMControl: MPC plans there alone. Meta-World has scripted experts."
            )
        import mujoco
        from mujoco.rollout import Rollout

        self.search, self.cost, self.draws = SEARCHES[world.name], COSTS[world.name], draws
        self.physics, self.substeps = world.env.physics, int(world.env._n_sub_steps)
        self.model = self.physics.model.ptr
        self.scratch = mujoco.MjData(self.model)  # plans are simulated apart from the episode
        self.simulate = Rollout(nthread=0).rollout
        self.whole = mujoco.mjtState.mjSTATE_FULLPHYSICS
        self.state = np.empty(mujoco.mj_stateSize(self.model, self.whole))
        self.spline = spline(self.search.knots, self.search.horizon)
        self.mean = np.zeros((self.search.knots, self.model.nu))
        self.plan = np.zeros((0, self.model.nu))

    def act(self, world: World) -> Array:
        """The next control [nu], in [-1, 1]."""
        if not len(self.plan):
            self._think()
        control, self.plan = self.plan[0], self.plan[1:]
        return control

    def _think(self) -> None:
        """Nothing; `plan` holds the controls until the next plan is made."""
        self.mean = shifted(self.mean, self.search)
        spread = np.full_like(self.mean, SPREAD)
        elites = max(2, round(ELITES * self.search.samples))
        for _ in range(ROUNDS):
            knots = self.mean + spread * self.draws.standard_normal((self.search.samples, *self.mean.shape))
            knots[0] = self.mean
            knots = np.clip(knots, -1, 1)
            best = knots[np.argsort(self._costs(knots), kind="stable")[:elites]]
            self.mean, spread = best.mean(axis=0), np.maximum(best.std(axis=0), LEAST_SPREAD)
        self.plan = np.clip(self.spline @ self.mean, -1, 1)[: self.search.every]

    def _costs(self, knots: Array) -> Array:
        """Summed cost [plans] of plans [plans, knots, nu] from the present state."""
        import mujoco

        mujoco.mj_getState(self.model, self.physics.data.ptr, self.state, self.whole)
        controls = self.spline @ knots
        every = np.repeat(controls, self.substeps, axis=1)
        states, _ = self.simulate(self.model, self.scratch, self.state[None], every)
        states = states[:, self.substeps - 1 :: self.substeps]
        nq, nv = self.model.nq, self.model.nv
        cost = self.cost(states[..., 1 : 1 + nq], states[..., 1 + nq : 1 + nq + nv], controls, self.model)
        return np.nan_to_num(cost, nan=1e6).sum(axis=1)


def spline(knots: int, steps: int) -> Array:
    """[steps, knots]: weights that interpolate linearly between knots spread evenly over the steps."""
    place = np.linspace(0, knots - 1, steps)
    return np.maximum(0.0, 1 - np.abs(place[:, None] - np.arange(knots)))


def shifted(knots: Array, search: Search) -> Array:
    """Knots of the same plan, seen from where it will be when the next one is made."""
    place = np.arange(search.knots) + search.every * (search.knots - 1) / (search.horizon - 1)
    return np.stack([np.interp(place, np.arange(search.knots), column) for column in knots.T], axis=1)

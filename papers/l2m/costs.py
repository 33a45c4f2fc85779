"""What sampling MPC minimises for each domain of DMControl: dense costs from positions and velocities, in numpy.

Each is given positions [..., nq], velocities [..., nv], controls [..., nu] and the model (for targets that an episode draws),
and returns the cost [...] of a step. Where DMControl's own reward is sparse, the cost is a distance; a data set holds the true
reward.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]
Cost = Callable[[Array, Array, Array, Any], Array]

WALKER_HEIGHT, HOPPER_HEIGHT = (
    1.3,
    0.95,
)  # of the torso: walker's lowest upright height is 1.2, the hopper's 0.6 above its foot
WALKER_SPEEDS = {"stand": 0.0, "walk": 1.0, "run": 8.0}
SPIN_VELOCITY = 25.0  # counts from 15 on; what is pushed slows down again
LINK = 0.12  # metres, both links of the reacher


def ball_in_cup(q: Array, v: Array, u: Array, model: Any) -> Array:
    """Distance of the ball to the middle of the cup once it is inside, before that to a point above the rim: the way in."""
    across, above = (
        q[..., 2] - q[..., 0],
        q[..., 3] - q[..., 1] - 0.35,
    )  # the middle of the cup is 0.35 above the ball's zero
    inside = (np.abs(across) < 0.05) & (above > -0.05) & (above < 0.06)
    return np.where(inside, np.hypot(across, above) - 0.5, np.hypot(across, above - 0.15))


def cartpole(q: Array, v: Array, u: Array, model: Any) -> Array:
    """Pole upright, cart in the middle, slow."""
    centred = np.exp(-0.5 * (q[..., 0] / 0.93) ** 2)
    slow = np.exp(-0.5 * (v[..., 1] / 2.33) ** 2)
    return -(1 + np.cos(q[..., 1])) / 2 * (1 + centred) / 2 * (1 + slow) / 2


def cheetah(q: Array, v: Array, u: Array, model: Any) -> Array:
    """Speed forwards, on its feet."""
    return -np.minimum(v[..., 0], 10.0) / 10 + 0.3 * q[..., 2] ** 2 + 0.05 * np.mean(u**2, axis=-1)


def finger_spin(q: Array, v: Array, u: Array, model: Any) -> Array:
    """Speed of the spinner the way that counts, and the fingertip near it."""
    return np.maximum(v[..., 2] + SPIN_VELOCITY, 0.0) / SPIN_VELOCITY + 0.3 * _finger_gap(q)


def finger_turn(q: Array, v: Array, u: Array, model: Any) -> Array:
    """Angle of the spinner's tip from the target, the fingertip near it, and slow."""
    across, _, above = (model.site("target").pos - model.body("spinner").pos).T
    angle = np.arctan2(-across, above)  # of the hinge when the tip points at the target
    off = np.abs(np.angle(np.exp(1j * (q[..., 2] - angle))))
    return off / np.pi + 0.02 * np.abs(v[..., 2]) * (off < 0.3) + 0.3 * _finger_gap(q) * (off > 0.1)


def fish(q: Array, v: Array, u: Array, model: Any) -> Array:
    """The body upright."""
    return 2 * (q[..., 4] ** 2 + q[..., 5] ** 2)  # 1 - z of the body's up axis, by its quaternion


def hopper(q: Array, v: Array, u: Array, model: Any) -> Array:
    """Torso high above the foot and level, little control."""
    turns = np.cumsum(q[..., 2:6], axis=-1)  # of torso, pelvis, thigh and calf
    height = np.cos(turns) @ np.array([0.05, 0.2, 0.33, 0.32])
    level = 0.3 * np.abs(q[..., 2])
    return (
        np.maximum(HOPPER_HEIGHT - height, 0.0)
        + level
        + 0.01 * np.mean(np.abs(v), axis=-1)
        + 0.05 * np.mean(u**2, axis=-1)
    )


def pendulum(q: Array, v: Array, u: Array, model: Any) -> Array:
    """Pole upright, and slow there."""
    up = np.cos(q[..., 0])
    return 1 - up + 0.02 * v[..., 0] ** 2 * (up > 0.7)


def point_mass(q: Array, v: Array, u: Array, model: Any) -> Array:
    """Distance to the target in the middle, little control."""
    return np.hypot(q[..., 0], q[..., 1]) + 0.002 * np.mean(u**2, axis=-1)


def reacher(q: Array, v: Array, u: Array, model: Any) -> Array:
    """Distance of the finger to the target, and slow."""
    first, both = q[..., 0], q[..., 0] + q[..., 1]
    target = model.geom("target").pos
    x = LINK * (np.cos(first) + np.cos(both)) - target[0]
    y = LINK * (np.sin(first) + np.sin(both)) - target[1]
    return np.hypot(x, y) + 0.001 * np.sum(v**2, axis=-1)


def walker(speed: float) -> Cost:
    """The cost of standing, walking or running at that speed: upright and high enough, and as fast as asked."""

    def cost(q: Array, v: Array, u: Array, model: Any) -> Array:
        low = np.maximum(WALKER_HEIGHT - (1.3 + q[..., 0]), 0.0)
        standing = 2 * low + (1 - np.cos(q[..., 2])) / 2
        slow = np.maximum(speed - v[..., 1], 0.0) / speed if speed else 0.1 * np.abs(v[..., 1])
        return standing + slow + 0.02 * np.mean(u**2, axis=-1)

    return cost


def _finger_gap(q: Array) -> Array:
    """Distance of the fingertip from the spinner's hinge, beyond touching it."""
    both = q[..., 0] + q[..., 1]
    x = 0.18 * np.cos(q[..., 0]) + 0.16 * np.cos(both)
    z = 0.18 * np.sin(q[..., 0]) + 0.16 * np.sin(both)
    return np.maximum(np.hypot(x - 0.4, z) - 0.16, 0.0)


COSTS: dict[str, Cost] = {
    "ball_in_cup-catch": ball_in_cup,
    "cartpole-balance": cartpole,
    "cartpole-swingup": cartpole,
    "cheetah-run": cheetah,
    "finger-spin": finger_spin,
    "finger-turn_easy": finger_turn,
    "finger-turn_hard": finger_turn,
    "fish-upright": fish,
    "hopper-stand": hopper,
    "pendulum-swingup": pendulum,
    "point_mass-easy": point_mass,
    "reacher-easy": reacher,
    "reacher-hard": reacher,
    **{f"walker-{gait}": walker(speed) for gait, speed in WALKER_SPEEDS.items()},
}

"""One state vector for all tasks: where each observation of either suite is written in it. The rest is zero.

paper     204 dimensions as in the paper: a slot for every key of the whole DMControl suite, at its largest width; Meta-World's 39
          numbers begin at 0 and share their places with unrelated keys.
shared    53 dimensions: only the eleven keys that the paper's sixteen tasks have; Meta-World's 39 begin at 0 as well.
disjoint  92 dimensions: those 53, then Meta-World's 39 in places of their own.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import accumulate
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from common.errors import Problem, nearest

Name = Literal["paper", "shared", "disjoint"]
State = npt.NDArray[np.float32]

WHOLE_SUITE = {
    "orientations": 14, "velocity": 27, "position": 8, "touch": 5, "target_position": 2, "dist_to_target": 1, "joint_angles": 21,
    "upright": 1, "target": 3, "head_height": 1, "extremities": 12, "torso_vertical": 3, "com_velocity": 3, "arm_pos": 16,
    "arm_vel": 8, "hand_pos": 4, "object_pos": 4, "object_vel": 3, "target_pos": 4, "orientation": 2, "to_target": 2,
    "joints": 14, "body_velocities": 45, "height": 1,
}  # fmt: skip
SIXTEEN_TASKS = {
    "orientations": 14, "velocity": 13, "position": 8, "touch": 2, "target_position": 2, "dist_to_target": 1, "joint_angles": 7,
    "upright": 1, "orientation": 2, "to_target": 2, "height": 1,
}  # fmt: skip
OBSERVATION = "metaworld"  # the one key of Meta-World: hand, gripper and objects now and one step before, then the goal
OBSERVATION_WIDTH = 39


@dataclass(frozen=True)
class Layout:
    """Slots (first place, width) by key in a vector of `size` numbers."""

    name: str
    size: int
    slots: dict[str, tuple[int, int]]

    def state(self, observation: Mapping[str, Any]) -> State:
        """float32 [size] with each observation from the beginning of its slot on. Errors: Problem for one without a slot."""
        vector = np.zeros(self.size, dtype=np.float32)
        for key, value in observation.items():
            values = np.ravel(value)
            first, width = self.slots.get(key, (0, -1))
            if len(values) > width:
                raise Problem(f"Layout {self.name} has no {len(values)} places for the observation '{key}'.")
            vector[first : first + len(values)] = values
        return vector

    def part(self, states: npt.NDArray[Any], key: str) -> npt.NDArray[Any]:
        """What stands in the slot of `key`, over the last axis."""
        first, width = self.slots[key]
        return states[..., first : first + width]


def _slots(widths: dict[str, int]) -> dict[str, tuple[int, int]]:
    ends = accumulate(widths.values())
    return {key: (end - width, width) for (key, width), end in zip(widths.items(), ends, strict=True)}


def _layout(name: str, widths: dict[str, int], first: int) -> Layout:
    """DMControl's keys one after the other; Meta-World's observation from `first` on."""
    size = max(sum(widths.values()), first + OBSERVATION_WIDTH)
    return Layout(name, size, {**_slots(widths), OBSERVATION: (first, OBSERVATION_WIDTH)})


LAYOUTS: dict[str, Layout] = {
    "paper": _layout("paper", WHOLE_SUITE, 0),
    "shared": _layout("shared", SIXTEEN_TASKS, 0),
    "disjoint": _layout("disjoint", SIXTEEN_TASKS, sum(SIXTEEN_TASKS.values())),
}


def layout(name: str) -> Layout:
    """The layout of that name. Errors: Problem with the nearest one."""
    if name not in LAYOUTS:
        raise Problem(f"There is no layout '{name}'.{nearest(name, LAYOUTS)} Known: {', '.join(LAYOUTS)}.")
    return LAYOUTS[name]

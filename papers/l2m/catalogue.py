"""The 66 tasks of the paper by name, its four splits, the domains' scales, and which simulators they need. Imports none.

A task is named as in the paper, without Meta-World's version ending: its "v2" tasks are today's "v3" (hammer-v2 is hammer-v3).
"""

import re
from collections.abc import Iterable
from importlib import metadata
from typing import Literal

from common.errors import Problem, nearest

Domain = Literal["metaworld", "dmcontrol"]
Split = Literal["MT40", "CW10", "DMC10", "DMC6"]

CW10 = tuple(  # in the order of training
    "hammer push-wall faucet-close push-back stick-pull handle-press-side push shelf-place window-close peg-unplug-side".split()
)
MT40 = tuple(
    "reach pick-place door-open drawer-open drawer-close button-press-topdown peg-insert-side window-open door-close reach-wall "
    "pick-place-wall button-press button-press-topdown-wall button-press-wall disassemble plate-slide plate-slide-side "
    "plate-slide-back plate-slide-back-side handle-press handle-pull handle-pull-side stick-push basketball soccer faucet-open "
    "coffee-push coffee-pull coffee-button sweep sweep-into pick-out-of-hole assembly lever-pull dial-turn bin-picking box-close "
    "hand-insert door-lock door-unlock".split()
)
DMC10 = tuple(
    "cartpole-balance finger-turn_easy finger-turn_hard fish-upright hopper-stand pendulum-swingup point_mass-easy reacher-hard "
    "walker-stand walker-run".split()
)
# The released list has reacher-hard here, which is in DMC10 already; sixteen tasks need reacher-easy.
DMC6 = tuple("ball_in_cup-catch cartpole-swingup cheetah-run finger-spin reacher-easy walker-walk".split())

SPLITS: dict[Split, tuple[str, ...]] = {"MT40": MT40, "CW10": CW10, "DMC10": DMC10, "DMC6": DMC6}
METAWORLD, DMCONTROL = MT40 + CW10, DMC10 + DMC6
TASKS = METAWORLD + DMCONTROL

HORIZON: dict[Domain, int] = {"metaworld": 200, "dmcontrol": 1000}  # steps of an episode
RETURN_SCALE: dict[Domain, float] = {"metaworld": 200.0, "dmcontrol": 100.0}  # what returns and rewards are divided by
ACTIONS = 6  # width of an action; tasks with fewer leave the last ones unused
DIMS = {  # of actions, by domain of DMControl; Meta-World's have 4: a move of the hand and the gripper's force
    "cartpole": 1, "pendulum": 1, "point_mass": 2, "reacher": 2, "ball_in_cup": 2, "finger": 2, "hopper": 4, "fish": 5,
    "cheetah": 6, "walker": 6,
}  # fmt: skip

# Returns in the paper's own data, from the released code: of DMControl at random, in the mean and the best; of Meta-World (200
# steps) the best, for the ten new tasks.
_RETURNS = {
    "cartpole-balance": (350.4, 938.5, 993.2), "finger-turn_easy": (57.8, 800.6, 1000), "finger-turn_hard": (40.6, 676.1, 1000),
    "fish-upright": (229.4, 548.0, 999.4), "hopper-stand": (1.3, 266.8, 975.6), "pendulum-swingup": (0, 614.5, 1000),
    "point_mass-easy": (1.3, 779.3, 998.4), "reacher-hard": (8.0, 779.9, 1000), "walker-stand": (134.7, 816.3, 999.8),
    "walker-run": (23.4, 344.8, 513.5), "ball_in_cup-catch": (0, 926.7, 1000), "cartpole-swingup": (27.4, 766.2, 857.5),
    "cheetah-run": (3.2, 324.0, 451.3), "finger-spin": (0.2, 834.6, 987), "reacher-easy": (33.0, 849.2, 1000),
    "walker-walk": (30.2, 773.2, 982.2),
}  # fmt: skip
PAPER_RANDOM = {task: returns[0] for task, returns in _RETURNS.items()}
PAPER_MEAN = {task: returns[1] for task, returns in _RETURNS.items()}
PAPER_BEST = {task: returns[2] for task, returns in _RETURNS.items()} | dict(
    zip(CW10, (1725, 1747, 1799, 1565, 1551, 1898, 1791, 1513, 1559, 1620), strict=True)
)

# Simulators that work together (exact versions): metaworld asks for one mujoco, and dm_control reads its structures.
TOGETHER = (
    {"metaworld": "3.1.1", "mujoco": "3.3.0", "dm_control": "1.0.28"},
    {"metaworld": "3.0.0", "mujoco": "3.16.0", "dm_control": "1.0.49"},
)
NEEDS: dict[Domain, tuple[str, ...]] = {"metaworld": ("metaworld", "mujoco"), "dmcontrol": ("dm_control", "mujoco")}


def task_name(name: str) -> str:
    """The task's name in normal form: "hammer" of "hammer", "hammer-v2" and "hammer-v3". Errors: Problem with the nearest name."""
    plain = re.sub(r"-v[123](-goal-observable)?$", "", name)
    if plain not in TASKS:
        raise Problem(
            f"There is no task '{name}'.{nearest(plain, TASKS)} There are {len(METAWORLD)} tasks of Meta-World (such as {MT40[0]}, "
            f"{CW10[0]}) and {len(DMCONTROL)} of DMControl (such as {DMC6[-1]}); papers/l2m/catalogue.py lists them."
        )
    return plain


def task_names(tasks: Iterable[str]) -> list[str]:
    """Names in normal form; a split's name (MT40, CW10, DMC10, DMC6) stands for all its tasks. Errors: Problem, all together."""
    found: list[str] = []
    wrong: list[str] = []
    for asked in tasks:
        try:
            found += SPLITS[asked] if asked in SPLITS else [task_name(asked)]
        except Problem as problem:
            wrong += problem.messages
    twice = sorted({name for name in found if found.count(name) > 1})
    if twice:
        wrong.append(f"{', '.join(twice)}: named twice. Name each task once.")
    if not wrong and not found:
        wrong.append(f"No task is named. Name some, or a split: {', '.join(SPLITS)}.")
    if wrong:
        raise Problem(*wrong)
    return found


def names(split: Split) -> tuple[str, ...]:
    """Tasks of a split, CW10 in the order of training. Errors: Problem for another name."""
    if split not in SPLITS:
        raise Problem(f"There is no split '{split}'.{nearest(split, SPLITS)} Known: {', '.join(SPLITS)}.")
    return SPLITS[split]


def domain_of(task: str) -> Domain:
    """The simulator suite that a task belongs to. Errors: Problem for an unknown task."""
    return "metaworld" if task_name(task) in METAWORLD else "dmcontrol"


def action_dims(task: str) -> int:
    """How many of an action's numbers count in a task."""
    return 4 if domain_of(task) == "metaworld" else DIMS[task_name(task).partition("-")[0]]


def versions(tasks: Iterable[str], source: str = "experts") -> dict[str, str]:
    """Installed version of each simulator that the tasks need (and of what trains agents), for a data set's identity.

    Errors: Problem when one is missing or when they do not work together; nothing is imported.
    """
    learned = ("stable_baselines3", "torch") if source == "sac" else ()
    needed = sorted({package for task in tasks for package in NEEDS[domain_of(task)]} | {*learned})
    found, missing = {}, []
    for package in needed:
        try:
            found[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            missing.append(package)
    advice = "Set up again (make demo), or install: " + " ".join(f"{p}=={v}" for p, v in TOGETHER[0].items())
    if missing:
        raise Problem(f"{', '.join(missing)} cannot be found, which these tasks are simulated with. {advice}.")
    simulators = {package: version for package, version in found.items() if package not in learned}
    if not any(all(known[package] == version for package, version in simulators.items()) for known in TOGETHER):
        have = ", ".join(f"{package} {version}" for package, version in simulators.items())
        raise Problem(f"{have} were not seen to work together (others fail on loading or on reset). {advice}.")
    return found

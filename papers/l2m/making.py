"""Collecting trajectories as a run (`collection: {name: papers.l2m.making.collect}` in a spec)."""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Literal

from common.launch import cores
from common.sitting import Stopped
from papers.l2m.catalogue import domain_of, task_names
from papers.l2m.collection import collect as collected
from papers.l2m.playing import Settings
from papers.l2m.statistics import rows
from papers.l2m.trajectories import Trajectories

if TYPE_CHECKING:
    from common.analyse import Making

VERSION = 1  # that of collection.py


def collect(
    making: "Making",
    *,
    tasks: list[str],
    episodes: int,
    simulators: str,
    dmcontrol_episodes: int | None = None,
    steps: int | None = None,
    noise: list[float] = [0.0, 0.1, 0.1, 0.2],  # noqa: B006  (read from source, never changed)
    layout: Literal["disjoint", "shared", "paper"] = "disjoint",
    cut_after_success: int | None = None,
    source: Literal["experts", "sac"] = "experts",
) -> Iterator[dict[str, Any]]:
    """Experts (or SAC agents while they learn) play `episodes` of each task, and what they did is stored, a folder a suite;
    one fact an episode.

    simulators: their versions, such as "metaworld 3.1.1, mujoco 3.3.0"; others are refused before anything runs (checks.py).
    dmcontrol_episodes: of each task of DMControl (null: as many). steps, cut_after_success (steps that follow the first
    success): of Meta-World. noise: deviations of the noise on actions, in turn.
    """
    names = task_names(tasks)
    for suite, many, most in (("metaworld", episodes, steps), ("dmcontrol", dmcontrol_episodes or episodes, None)):
        own = [name for name in names if domain_of(name) == suite]
        settings = Settings(
            tasks=own, episodes=many, steps=most, noise=noise, layout=layout, cut_after_success=cut_after_success,
            source=source, seed=making.seed,
        )  # fmt: skip
        place = making.folder / suite
        if own and not collected(place, settings, lambda done, total: making.alive(), making.stop, cores()):
            raise Stopped
        yield from rows(Trajectories.open(place)) if own else ()

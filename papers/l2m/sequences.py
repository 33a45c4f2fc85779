"""Streams on stored trajectories: tasks that are learned from them, and tasks of the simulators that are played to measure."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from common.files import sha256_bytes
from common.streams.data import Images, Split
from common.streams.stream import Stream, Task
from papers.l2m.bins import BINS
from papers.l2m.catalogue import domain_of, task_names
from papers.l2m.layouts import layout as layout_of
from papers.l2m.shelf import Shelf

if TYPE_CHECKING:
    from papers.l2m.windows import Windows

VERSION = 1
EPISODES = 1000  # most episodes that measure a task; evaluation.samples says how many are played
WORLD_MB = 35  # of one world of Meta-World: 20 of its model, 15 that MuJoCo works in


@dataclass(frozen=True, eq=False)
class Sequences(Stream):
    """Tasks that are learned one after the other from stored trajectories, and tasks that are played.

    learned[k]: names of the groups of tasks that stream task k shows, a micro-batch each. played: names of the measured parts.
    """

    learned: list[list[list[str]]] = field(default_factory=list)
    played: list[str] = field(default_factory=list)
    folder: Path = Path()
    shape: tuple[int, int, int] = (0, 0, 0)  # time steps of a window, numbers of a state, dimensions of an action
    worlds: "Worlds" = field(default_factory=lambda: Worlds())

    @cached_property
    def shelf(self) -> Shelf:
        """The data set, opened when it is first needed. Errors: Problem when it is not there, damaged or of other spaces."""
        names = [name for groups in self.learned for group in groups for name in group] + self.played
        return Shelf(self.folder, list(dict.fromkeys(names)), self.shape[1], self.shape[2])

    def beside_mb(self, samples: int) -> int:
        """Worlds of Meta-World that are kept ready, each with a model of its own."""
        rows = min(self.worlds.together, samples * len(self.played))
        return 0 if self.worlds.make else rows * WORLD_MB

    def resident(self, device: Any) -> "Windows":
        """Its windows on a device."""
        from papers.l2m.windows import Windows

        return Windows(self, device)

    def digest(self) -> str:
        """Hexadecimal SHA-256 of what is learned and played, and of the data set."""
        return sha256_bytes(f"{self.shelf.digest} {self.learned} {self.played} {self.shape} {self.worlds}".encode())

    def __str__(self) -> str:
        lines = [f"task {k}: {' beside '.join(map(', '.join, groups))}" for k, groups in enumerate(self.learned)]
        return "\n".join(["trajectories", *lines, f"played: {', '.join(self.played)}"])


@dataclass(frozen=True)
class Worlds:
    """How episodes are played: layout of the state, most steps of an episode (None: the task's own), rows at once."""

    layout: str = "disjoint"
    horizon: int | None = None
    together: int = 64
    make: str | None = None  # dotted path of what builds a world of one's own


def sequences(
    folder: Path,
    seed: int,
    *,
    learn: list[str],
    play: list[str],
    joint: bool = False,
    suites_apart: bool = False,
    beside: list[str] = [],  # noqa: B006  (read from source, never changed)
    context: int = 5,
    layout: str = "disjoint",
    actions: int = 6,
    horizon: int | None = None,
    together: int = 64,
    worlds: str | None = None,
) -> Sequences:
    """One stream task for each of `learn` (names or splits) in order, or one of all of them (`joint`).

    play: tasks that are measured, beside those that are learned. suites_apart: a micro-batch for each suite in every update,
    so that both weigh the same. beside: tasks of one more micro-batch (those of pre-training in joint training); they do not
    count as learned. actions: action tokens of a time step (4 do where all tasks are Meta-World's). horizon: most steps of an
    episode that is played. together: episodes played at once. worlds: the dotted path of `make(task, layout)` of one's own.
    """
    known: Callable[[Sequence[str]], list[str]] = task_names if worlds is None else list
    first, second = known(learn), [known(beside)] if beside else []
    played = list(dict.fromkeys([*known(play), *first]))
    shown = [first] if joint else [[name] for name in first]
    groups = [[*(_suites(names) if suites_apart else [names]), *second] for names in shown]
    size = layout_of(layout).size if worlds is None else int(layout)
    places = {name: k for k, name in enumerate(played)}
    nothing = np.zeros(0, dtype=np.int64)

    def task(index: int, name: str, names: list[str], episodes: int) -> Task:
        classes = tuple(places[n] for n in names if n in places)
        return Task(index, name, nothing, np.arange(episodes), classes)

    tasks = [
        task(k, " + ".join(names) if len(names) < 4 else f"{len(names)} tasks", names, 0)
        for k, names in enumerate(shown)
    ]
    parts = [task(k, name, [name], EPISODES) for k, name in enumerate(played)]
    empty = Split(np.zeros((0, 1, 1, 1), dtype=np.uint8), nothing)
    images = Images("trajectories", "trajectories", empty, empty, (), "", False, (0.0,), (1.0,))
    return Sequences(
        images, tasks, "domain", nothing, BINS, parts,
        learned=groups, played=played, folder=folder, shape=(context, size, actions),
        worlds=Worlds(layout, horizon, together, worlds),
    )  # fmt: skip


def _suites(names: list[str]) -> list[list[str]]:
    """The tasks, those of one suite together."""
    return [own for suite in ("metaworld", "dmcontrol") if (own := [n for n in names if domain_of(n) == suite])]

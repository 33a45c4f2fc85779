"""What one run is: a typed, fully resolved specification whose digest names the run's folder.

Only what can move a number is in it (data, stream, model, learner, optimiser, budget, evaluation, seed, precision,
parent and the version of each part). Folders, devices, workers and log periods are nowhere in here.
"""

import dataclasses
import json
import math
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Literal

from common import parts
from common.files import sha256_bytes

LOOP_VERSION = 1  # raise when the loop, the evaluation or the batch order changes its meaning


@dataclass(frozen=True)
class Budget:
    """How long each task is trained: `iterations` or `epochs` (one of the two), with `batch` new samples a step."""

    batch: int
    iterations: "int | None" = None
    epochs: "int | None" = None

    def updates(self, samples: int) -> int:
        """Updates made on a task of that many samples: its iterations, or its epochs of ceil(samples / batch) updates."""
        return self.iterations or (self.epochs or 0) * -(-samples // self.batch)


@dataclass(frozen=True)
class Evaluation:
    """When and on what the learner is measured.

    every: updates between evaluations (1 = continual evaluation; 0 = at task ends only).
    samples: held-out samples per task, drawn once and kept (null = all).
    gradients: whether the norms of the plasticity and stability gradients are recorded at every update.
    snapshots: after how many updates (0: before the first) the weights are kept in snapshots/, besides each task's end;
        numbers beyond the last update are passed over (null = none are kept).
    tasks: at the ends of which tasks the learner is measured (and its weights kept): of every n-th, or `log`, about
        twelve times as the number of tasks grows tenfold; of the last always (null = of every task).
    """

    every: int = 1
    samples: "int | None" = 1000
    gradients: bool = False
    snapshots: "list[int] | None" = None
    tasks: "int | Literal['log'] | None" = None

    def __post_init__(self) -> None:
        if self.snapshots is not None:  # the same request however it is written
            object.__setattr__(self, "snapshots", sorted(set(self.snapshots)))

    def settings(self) -> dict[str, Any]:
        """All settings by name; snapshots and tasks only where they are asked for, so that runs from before keep their ids."""
        later = ("snapshots", "tasks")
        return {key: value for key, value in vars(self).items() if key not in later or value is not None}

    def at_end_of(self, index: int, count: int) -> bool:
        """Whether the learner is measured at the end of that task of `count` (from 0)."""
        if self.tasks is None or index + 1 == count:
            return True
        return log_spaced(index + 1) if self.tasks == "log" else (index + 1) % self.tasks == 0


def log_spaced(number: int) -> bool:
    """Whether a number from 1 on is one of those that are spread evenly on a logarithmic axis, twelve to a decade.

    They are 1, 2, 3, 4, 5, 6, 7, 8, 10, 12, 15, 18, 22, 26, 32, ...: 10^(i/12) rounded.
    """
    nearest_power = round(12 * math.log10(number))
    return any(int(10 ** (i / 12) + 0.5) == number for i in (nearest_power - 1, nearest_power, nearest_power + 1))


@dataclass(frozen=True)
class PartSpec:
    """A chosen part: its name, version and every setting, defaults filled in."""

    name: str
    version: str
    settings: dict[str, Any]


NOTHING = PartSpec("", "", {})  # in place of the parts that a run without training lacks
MADE = "run:"  # begins the data_digest of data that another run makes; that run's id follows


@dataclass(frozen=True)
class RunSpec:
    """One run, fully resolved. `run_id` is the same for the same request on every machine with the same data.

    With an `analysis` it trains nothing: it analyses its parent, whose settings stand beside it for the tables. With a
    `collection` it makes data from nothing but its own settings, and has no stream, model, learner or optimiser.
    """

    data: str
    data_digest: str
    stream: PartSpec
    model: PartSpec
    learner: PartSpec
    optimiser: PartSpec
    budget: Budget
    evaluation: Evaluation
    seed: int
    precision: str = "32"
    parent: dict[str, str] | None = None
    loop: int = field(default=LOOP_VERSION)
    augmentation: PartSpec | None = None
    analysis: PartSpec | None = None
    collection: PartSpec | None = None

    @property
    def finding(self) -> PartSpec | None:
        """What the run does in place of training: its analysis or its collection; None for a run that trains."""
        return self.analysis or self.collection

    @property
    def maker(self) -> str | None:
        """The id of the run that makes the data, where a run does."""
        return self.data_digest.removeprefix(MADE) if self.data_digest.startswith(MADE) else None

    @cached_property
    def science(self) -> dict[str, Any]:
        """The specification as plain nested dictionaries, as it is stored and digested."""
        whole = {name: getattr(self, name) for name in ("data", "data_digest", "seed", "precision", "parent", "loop")}
        if self.collection:
            return whole | {"collection": dict(vars(self.collection))}
        names = (*parts.KINDS, "budget", *(kind for kind in parts.OPTIONAL if getattr(self, kind)))
        whole |= {name: dict(vars(getattr(self, name))) for name in names}
        return whole | {"evaluation": self.evaluation.settings()}

    @cached_property
    def run_id(self) -> str:
        """`<learner, analysis or collection>-<data>-s<seed>-<12 hex digits>`: a readable head and the digest that decides."""
        raw = json.dumps(self.science, sort_keys=True).encode()
        head = (self.finding or self.learner).name.rpartition(".")[2]
        return f"{head}-{self.data}-s{self.seed}-{sha256_bytes(raw)[:12]}".lower()

    @classmethod
    def of(cls, science: dict[str, Any]) -> "RunSpec":
        """The RunSpec whose `science` was stored."""
        if "collection" in science:
            return collected(PartSpec(**science["collection"]), science["data"], science["seed"], science["loop"])
        made: dict[str, Any] = {kind: PartSpec(**science[kind]) for kind in parts.KINDS}
        made |= {"budget": Budget(**science["budget"]), "evaluation": Evaluation(**science["evaluation"])}
        made |= {kind: PartSpec(**science[kind]) for kind in parts.OPTIONAL if kind in science}
        return cls(**science | made)

    def analysed(self, analysis: PartSpec) -> "RunSpec":
        """The run that analyses this one."""
        return dataclasses.replace(self, parent={"run": self.run_id, "take": "all"}, analysis=analysis)

    def flat(self) -> dict[str, Any]:
        """Columns of the table of runs: 'stream.tasks', 'learner.alpha', ... one per setting."""
        columns: dict[str, Any] = {"data": self.data, "precision": self.precision, "seed": self.seed}
        for kind in (*parts.KINDS, *parts.OPTIONAL):
            part: PartSpec | None = getattr(self, kind)
            if part in (None, NOTHING):
                continue
            columns[f"{kind}.name"] = part.name
            columns |= {f"{kind}.{key}": value for key, value in part.settings.items()}
        if self.collection:
            return columns
        for name, settings in (("budget", vars(self.budget)), ("evaluation", self.evaluation.settings())):
            columns |= {f"{name}.{key}": value for key, value in settings.items()}
        return columns


def collected(collection: PartSpec, name: str, seed: int, loop: int = LOOP_VERSION) -> RunSpec:
    """The run that collects data of that name."""
    none = (NOTHING, NOTHING, NOTHING, NOTHING)
    return RunSpec(name, "", *none, Budget(1, 1), Evaluation(), seed, loop=loop, collection=collection)

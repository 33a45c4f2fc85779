"""What one run is: a typed, fully resolved specification whose digest names the run's folder.

Only what can move a number is in it (data, stream, model, learner, optimiser, budget, evaluation, seed, precision,
parent and the version of each part). Folders, devices, workers and log periods are nowhere in here.
"""

import dataclasses
import importlib
import importlib.util
import json
import math
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Literal

from common import parts
from common.errors import Problem, nearest
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


FIELDS = ("data", *parts.KINDS, "augmentation", "budget", "evaluation", "seed", "precision", "parent")
PRECISIONS = ("32", "bf16-mixed")

# (lowest, highest) allowed value of settings that mean the same in every part
LIMITS: dict[str, tuple[float, float]] = {
    "seed": (0, 2**31),
    "budget.batch": (1, 10**7),
    "budget.iterations": (1, 10**9),
    "budget.epochs": (1, 10**6),
    "evaluation.every": (0, 10**9),
    "evaluation.samples": (1, 10**9),
    "evaluation.snapshots": (0, 10**9),
    "evaluation.tasks": (1, 10**9),
    "stream.tasks": (1, 10**6),
    "optimiser.lr": (1e-12, 1e6),
    "optimiser.momentum": (0, 1),
    "optimiser.weight_decay": (0, 1e6),
    "optimiser.milestones": (0, 1e9),
    "optimiser.gamma": (0.0, 1.0),
    "optimiser.warm_up": (0.0, 1.0),
    "optimiser.start": (0.0, 1.0),
    "optimiser.end": (0.0, 1.0),
    "augmentation.padding": (0, 1000),
    "augmentation.flip": (0, 1),
    "learner.alpha": (0, 1),
    "learner.memory": (1, 10**9),
    "learner.strength": (0, 1e12),
    "learner.damping": (1e-12, 1e6),
    "learner.gamma": (0, 1e6),
    "learner.temperature": (1e-3, 1e6),
    "learner.fisher_batch": (1, 10**7),
    "model.hidden": (1, 10**6),
    "model.width": (1, 10**5),
    "model.depth": (2, 1000),
    "model.convs": (1, 16),
    "model.fc": (1, 10**5),
    "stream.classes_per_task": (1, 10**6),
    "stream.first_class": (0, 10**6),
    "stream.degrees": (-360, 360),
    "stream.per_class": (1, 10**9),
    "stream.test_per_class": (1, 10**9),
    "stream.count": (1, 10**6),
    "stream.draw": (0, 2**31),
    "stream.sizes": (1, 10**6),
    "stream.classes": (0, 10**6),
    "stream.exponent": (0.0, 1e3),
    "stream.prob_reduction": (1.0, 1e6),
    "stream.combinations": (0.0, 1.0),
    "stream.severity": (1, 5),
    "learner.clip": (1e-12, 1e12),
    "learner.low": (0, 1),
    "learner.high": (0, 1),
    "learner.budget": (0, 1),
}


def resolve(raw: dict[str, Any], digest: str) -> RunSpec:
    """The RunSpec of nested plain dictionaries (as YAML gives them). Errors: one Problem with everything wrong in it.

    digest: content digest of the data set `raw["data"]`, part of the run's identity.
    """
    problems = [
        f"'{key}' is no part of a run.{nearest(str(key), FIELDS)} Allowed: {', '.join(FIELDS)}."
        for key in raw.keys() - set(FIELDS)
    ]
    chosen: Any = {kind: part_of(kind, raw.get(kind), problems) for kind in parts.KINDS}
    if raw.get("augmentation") is not None:
        chosen["augmentation"] = part_of("augmentation", raw["augmentation"], problems)
    budget = _typed(Budget, "budget", raw.get("budget"), problems)
    evaluation = _typed(Evaluation, "evaluation", raw.get("evaluation", {}), problems)
    values = {"data": raw.get("data"), "seed": raw.get("seed", 0), "precision": str(raw.get("precision", "32"))}
    for key, annotation in (("data", "str"), ("seed", "int")):
        if not parts.fit(values[key], annotation)[1]:
            problems.append(f"{key} is {values[key]!r}, but must be of type {annotation}.")
    if values["precision"] not in PRECISIONS:
        problems.append(f"precision is '{values['precision']}'; allowed: {', '.join(PRECISIONS)}.")
    typed = not problems
    problems += _out_of_range(_given(raw, chosen))
    if typed:
        spec = RunSpec(
            **values, data_digest=digest, **chosen, budget=budget, evaluation=evaluation, parent=raw.get("parent")
        )
        problems += impossible(spec)
    if problems:
        raise Problem(*problems)
    return spec


def resolve_collection(raw: dict[str, Any], name: str) -> RunSpec:
    """The RunSpec of `collection: {name: ...}`, its data called `name`. Errors: one Problem with everything wrong in it."""
    problems = [
        f"'{key}' is no part of a run that collects data; it has a collection alone."
        for key in raw
        if key not in ("collection", "seed")
    ]
    part, seed = part_of("collection", raw.get("collection"), problems), raw.get("seed", 0)
    if not parts.fit(seed, "int")[1]:
        problems.append(f"seed is {seed!r}, but must be of type int.")
    problems += _out_of_range({"seed": seed})
    if problems or part is None:
        raise Problem(*problems)
    spec = collected(part, name, seed)
    if sentences := impossible(spec):
        raise Problem(*sentences)
    return spec


def collected(collection: PartSpec, name: str, seed: int, loop: int = LOOP_VERSION) -> RunSpec:
    """The run that collects data of that name."""
    none = (NOTHING, NOTHING, NOTHING, NOTHING)
    return RunSpec(name, "", *none, Budget(1, 1), Evaluation(), seed, loop=loop, collection=collection)


def part_of(kind: parts.Kind, given: Any, problems: list[str]) -> PartSpec | None:
    """The chosen part with its defaults filled in, or None with the problems noted."""
    if not isinstance(given, dict) or not isinstance(given.get("name"), str):
        problems.append(f"{kind} is {given!r}, but must be a mapping with a name, such as {kind}: {{name: ...}}.")
        return None
    settings = {key: value for key, value in given.items() if key != "name"}
    try:
        part = parts.find(kind, given["name"])
    except Problem as problem:
        problems += problem.messages
        return None
    settings, found = parts.check(part, settings)
    problems += found
    return PartSpec(part.name, part.version, settings)


def _typed(cls: type, where: str, given: Any, problems: list[str]) -> Any:
    """An instance of a settings dataclass, or None with the problems noted."""
    fields = {f.name: f for f in dataclasses.fields(cls)}
    if not isinstance(given, dict):
        problems.append(f"{where} is {given!r}, but must be a mapping with: {', '.join(fields)}.")
        return None
    start = len(problems)
    for key in given.keys() - fields.keys():
        problems.append(f"{where} has no setting '{key}'.{nearest(key, fields)} Allowed: {', '.join(fields)}.")
    for key, spec in fields.items():
        annotation = spec.type if isinstance(spec.type, str) else spec.type.__name__
        if key in given and not parts.fit(given[key], annotation)[1]:
            problems.append(f"{where}.{key} is {given[key]!r}, but must be of type {annotation}.")
        elif key not in given and spec.default is dataclasses.MISSING:
            problems.append(f"{where} needs {where}.{key} ({annotation}).")
    return cls(**given) if len(problems) == start else None


def _given(raw: dict[str, Any], chosen: dict[str, PartSpec | None]) -> dict[str, Any]:
    """Every setting that is there, by its dotted name, whatever else is wrong with the request."""
    found = {"seed": raw.get("seed", 0)}
    for kind, part in chosen.items():
        found |= {f"{kind}.{key}": value for key, value in (part.settings if part else {}).items()}
    for name in ("budget", "evaluation"):
        if isinstance(raw.get(name), dict):
            found |= {f"{name}.{key}": value for key, value in raw[name].items()}
    return found


def _out_of_range(given: dict[str, Any]) -> list[str]:
    return [
        f"{key} is {given[key]}, but must lie between {low:g} and {high:g}."
        for key, (low, high) in LIMITS.items()
        if not all(low <= value <= high for value in _numbers(given.get(key)))
    ]


def _numbers(value: Any) -> list[float]:
    values = value if isinstance(value, list) else [value]
    return [v for v in values if isinstance(v, int | float) and not isinstance(v, bool)]


def impossible(spec: RunSpec) -> list[str]:
    """Sentences on settings that are each valid but do not go together."""
    found = []
    scenario = spec.stream.settings.get("scenario", "domain")
    heads = spec.model.settings.get("heads", "single")
    if scenario == "task" and heads != "multi":
        found.append(
            f"stream.scenario is 'task' but model.heads is '{heads}': a task-incremental learner is told the task and "
            "needs one head per task. Set model.heads=multi, or stream.scenario=class."
        )
    if scenario != "task" and heads == "multi":
        found.append(
            f"model.heads is 'multi' but the stream is {scenario}-incremental, where the task is not told at test. "
            "Set model.heads=single, or stream.scenario=task."
        )
    if (spec.budget.iterations is None) == (spec.budget.epochs is None):
        found.append(
            f"budget has iterations={spec.budget.iterations} and epochs={spec.budget.epochs}: give exactly one of the two."
        )
    if spec.learner.settings.get("mask") == "task" and "replay" in spec.learner.settings:
        found.append(
            f"learner.mask is 'task', but the learner {spec.learner.name} replays other classes, whose labels that mask would "
            "exclude. Set learner.mask=group or none."
        )
    memory = spec.learner.settings.get("memory")
    least, what = _least_memory(spec)
    depth, convs = spec.model.settings.get("depth", 0), spec.model.settings.get("convs")
    if spec.model.name == "vgg" and isinstance(convs, int) and convs > depth - 3:
        found.append(f"model.convs is {convs}, but a VGG-{depth} has {depth - 3} convolutions. Lower it.")
    if isinstance(least, int) and isinstance(memory, int) and memory < least:
        found.append(f"learner.memory is {memory}, fewer than one sample for each of the {least} {what}. Raise it.")
    return found + _of_papers(spec)


def absent(spec: RunSpec) -> list[str]:
    """Sentences on what a run needs besides data and this machine lacks (a simulator): `absent(spec)` of its papers' checks."""
    return [said for module in _checks(spec) if hasattr(module, "absent") for said in module.absent(spec)]


def _of_papers(spec: RunSpec) -> list[str]:
    """The same from `impossible(spec)` in papers/<paper>/checks.py, of every paper that a part comes from."""
    return [sentence for module in _checks(spec) for sentence in module.impossible(spec)]


def _checks(spec: RunSpec) -> list[Any]:
    """The checks of every paper that a part of the run comes from."""
    names = [part.name.split(".") for kind in (*parts.KINDS, *parts.OPTIONAL) if (part := getattr(spec, kind))]
    modules = sorted({f"papers.{words[1]}.checks" for words in names if words[0] == "papers"})
    return [importlib.import_module(name) for name in modules if importlib.util.find_spec(name)]


def _least_memory(spec: RunSpec) -> tuple[Any, str]:
    """(fewest samples a memory must hold, or None where the spec alone does not tell; of what one each)."""
    settings = spec.stream.settings
    tasks = settings.get("tasks")
    if spec.stream.name == "recurring":  # its classes come again
        return (tasks, "tasks") if spec.learner.name == "gem" else (settings["classes"], "classes")
    classes = (tasks or 0) * settings.get("classes_per_task", 0)
    return (classes, "classes") if classes else (tasks, "tasks")

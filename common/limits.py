"""What a request's settings may be: the range of each, and which of them do not go together."""

import importlib
import importlib.util
from typing import Any

from common import parts
from common.spec import RunSpec

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


def out_of_range(given: dict[str, Any]) -> list[str]:
    """Sentences on settings, by their dotted names, that lie beyond their limits."""
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
    betas = spec.optimiser.settings.get("betas")
    if isinstance(betas, list) and (len(betas) != 2 or not all(0 <= beta < 1 for beta in betas)):
        found.append(f"optimiser.betas is {betas}, but must be two numbers from 0 to below 1, such as [0.9, 0.999].")
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

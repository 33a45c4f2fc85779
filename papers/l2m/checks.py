"""What this paper's parts refuse before anything runs. No simulator and no torch is imported."""

import re
from collections.abc import Iterable
from typing import Any

from common.errors import Problem
from common.spec import RunSpec
from papers.l2m.catalogue import action_dims, task_names, versions
from papers.l2m.layouts import layout

HERE = "papers.l2m."
PROMPTS = ("prompt", "prefix", "deep_prompt")


def impossible(spec: RunSpec) -> list[str]:
    """Sentences on settings that are each valid but do not go together."""
    if spec.collection:
        return _data(spec)
    found = _stream(spec) if spec.stream.name.startswith(HERE) else []
    width, heads = (spec.model.settings.get(key, 1) for key in ("width", "attention_heads"))
    if spec.model.name.startswith(HERE) and width % heads:
        found.append(f"model.attention_heads is {heads}, which does not divide model.width {width}.")
    layer, depth = (spec.model.settings.get(key, 0) for key in ("query_layer", "depth"))
    if spec.model.name.startswith(HERE) and not 0 <= layer <= depth:
        found.append(f"model.query_layer is {layer}, but the model has layers 0 (embedded tokens) to {depth}.")
    if spec.learner.name.startswith(HERE):
        found += [] if spec.model.name.startswith(HERE) else [f"{spec.learner.name} needs the model {HERE}model.mddt."]
        found += (
            [] if spec.stream.name.startswith(HERE) else [f"{spec.learner.name} needs a stream of {HERE}sequences."]
        )
        found += _learner(spec)
    return found


def absent(spec: RunSpec) -> list[str]:
    """Sentences on simulators that are not installed, or not in the versions that a collection names."""
    collection = spec.collection
    if collection is None and (not spec.stream.name.startswith(HERE) or spec.stream.settings["worlds"]):
        return []
    tasks = collection.settings["tasks"] if collection else spec.stream.settings["play"]
    try:
        there = (
            versions(task_names(tasks), collection.settings["source"]) if collection else versions(task_names(tasks))
        )
    except Problem as problem:
        return problem.messages
    wanted = dict(re.findall(r"(\w+) ([\w.]+)", collection.settings["simulators"])) if collection else there
    return [
        f"collection.simulators names {name} {wanted.get(name, 'not at all')}, but {version} is installed. Install that version, "
        "or name this one (it makes other data)."
        for name, version in there.items()
        if wanted.get(name) != version
    ]


def _data(spec: RunSpec) -> list[str]:
    assert spec.collection is not None
    settings = spec.collection.settings
    found = _counts("collection", settings, "episodes", "dmcontrol_episodes", "steps")
    if not settings["noise"] or not all(0 <= level <= 2 for level in settings["noise"]):
        found.append(f"collection.noise is {settings['noise']}, but must be one level or more, each from 0 to 2.")
    return found + _names(settings["tasks"])


def _counts(kind: str, settings: dict[str, Any], *names: str) -> list[str]:
    """Sentences on numbers of something that are below one."""
    return [
        f"{kind}.{name} is {settings[name]}, but must be at least 1."
        for name in names
        if settings.get(name) is not None and settings[name] < 1
    ]


def _stream(spec: RunSpec) -> list[str]:
    settings = spec.stream.settings
    if spec.budget.iterations is None:
        found = ["budget.iterations is missing: windows are drawn at each step, there are no epochs."]
    else:
        found = []
    found += _counts("stream", settings, "context", "actions", "horizon", "together")
    if spec.maker is None:
        found.append(f"data is '{spec.data}', but must be a run that collects: data={{spec: l2m/trajectories}}.")
    if settings["worlds"]:
        return found
    lists = [settings[key] for key in ("learn", "play", "beside") if settings[key]]
    found += [said for names in lists for said in _names(names)]
    try:
        layout(settings["layout"])
    except Problem as problem:
        found += problem.messages
    if not found:
        most = max(action_dims(name) for names in lists for name in task_names(names))
        if settings["actions"] < most:
            found.append(
                f"stream.actions is {settings['actions']}, but one of the tasks has {most} dimensions. Raise it."
            )
    return found


def _names(tasks: Iterable[str]) -> list[str]:
    try:
        task_names(tasks)
    except Problem as problem:
        return problem.messages
    return []


def _learner(spec: RunSpec) -> list[str]:
    learner, keys = spec.learner.settings, spec.model.settings.get("old_keys", 0)
    found = []
    if spec.learner.name == f"{HERE}learners.keys.OldKeys" and not keys:
        found.append("model.old_keys is 0, so there are no keys to train. Raise it.")
    if learner.get("top", 1) > learner.get("pool", learner.get("top", 1)):
        found.append(f"learner.top is {learner['top']}, but the pool has {learner['pool']} modulators. Lower it.")
    if "pool" in learner and learner["kind"] in PROMPTS and keys:
        found.append(f"model.old_keys is {keys}, but prompts cannot be switched off sample by sample. Set it to 0.")
    if "pool" in learner and learner["kind"] not in PROMPTS and learner["top"] > 1:
        found.append(f"learner.top is {learner['top']}, but a sample takes one modulator of kind {learner['kind']}.")
    tasks = len(spec.stream.settings.get("learn", []))
    if learner.get("oracle") and learner["pool"] < tasks:
        found.append(
            f"learner.pool is {learner['pool']}, fewer than one modulator for each of the {tasks} tasks. Raise it."
        )
    return found

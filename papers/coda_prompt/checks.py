"""What this paper's parts refuse before anything runs. Reads timm's list of tags from its source: torch stays away."""

import importlib.util
import re
from functools import cache
from pathlib import Path
from typing import Any

from common.errors import nearest
from common.spec import RunSpec

HERE = "papers.coda_prompt."
SIZES = {"tiny": (192, 12), "small": (384, 12), "base": (768, 12), "large": (1024, 24), "huge": (1280, 32)}


def impossible(spec: RunSpec) -> list[str]:
    """Sentences on settings that are each valid but do not go together."""
    learner = spec.learner.settings
    found = [
        f"learner.{key} is {learner[key]}, but a prompt has as many rows for keys as for values: give an even number."
        for key in ("length", "g_length", "e_length")
        if key in learner and (learner[key] % 2 or learner[key] < 0)
    ]
    if spec.model.name.startswith(HERE):
        found += _tag(spec) if "tag" in spec.model.settings else _heads(spec)
        found += _layers(spec) + _components(spec)
    elif spec.learner.name.startswith(HERE) and not spec.learner.name.startswith(f"{HERE}pretraining"):
        found.append(f"model.name is '{spec.model.name}', but {spec.learner.name} needs a network of {HERE}vit.")
    if learner.get("cached") == "tokens" and spec.augmentation is not None:
        found.append(
            "learner.cached is 'tokens', but with an augmentation every step sees other pictures: set it to query or none."
        )
    if learner.get("top", 0) > learner.get("pool", learner.get("top", 0)):
        found.append(f"learner.top is {learner['top']}, but the pool has {learner['pool']} prompts. Lower it.")
    epochs = spec.optimiser.settings.get("epochs")
    if epochs is not None and spec.budget.epochs not in (None, epochs):
        found.append(
            f"optimiser.epochs is {epochs}, but budget.epochs is {spec.budget.epochs}: the schedule counts them. "
            f"Give both: budget.epochs={spec.budget.epochs} optimiser.epochs={spec.budget.epochs}."
        )
    return found


def size(spec: RunSpec) -> tuple[int, int]:
    """(width, depth) of the trunk; (0, 0) where its tag does not say."""
    settings = spec.model.settings
    if "width" in settings:
        return settings["width"], settings["depth"]
    return next((found for word, found in SIZES.items() if f"_{word}_" in settings.get("tag", "")), (0, 0))


def _heads(spec: RunSpec) -> list[str]:
    width, heads = spec.model.settings["width"], spec.model.settings["attention_heads"]
    return [f"model.attention_heads is {heads}, which does not divide model.width {width}."] if width % heads else []


def _tag(spec: RunSpec) -> list[str]:
    """A tag in full, as timm lists it: a name alone means other weights in other versions of timm."""
    tag = spec.model.settings["tag"]
    known = tags()
    if tag in known:
        return []
    full = [name for name in known if name.startswith(f"{tag}.")]
    told = f" Tags of that name: {', '.join(full)}." if full else nearest(tag, known)
    return [f"model.tag is '{tag}', which is no full tag of a vision transformer in timm.{told}"]


@cache
def tags() -> tuple[str, ...]:
    """Full tags of timm's vision transformers."""
    package: Any = importlib.util.find_spec("timm")
    text = (Path(package.origin).parent / "models" / "vision_transformer.py").read_text()
    named = re.findall(r"^ +'(vit_[\w]+\.[\w]+)': _cfg\(", text, re.MULTILINE)
    return tuple(tag for tag in named if not tag.endswith(".untrained"))


def _layers(spec: RunSpec) -> list[str]:
    _, depth = size(spec)
    named = {key: spec.learner.settings.get(key, []) for key in ("layers", "g_layers", "e_layers")}
    wrong = {key: layers for key, layers in named.items() if depth and any(not 0 <= k < depth for k in layers)}
    return [f"learner.{key} is {layers}, but the trunk has layers 0 to {depth - 1}." for key, layers in wrong.items()]


def _components(spec: RunSpec) -> list[str]:
    count = spec.learner.settings.get("components")
    if count is None:
        return []
    tasks = 1 if spec.stream.settings.get("joint") else spec.stream.settings.get("tasks", 1)
    found = []
    if count % tasks:
        found.append(
            f"learner.components is {count}, which the {tasks} tasks do not divide: each has as many. Use a multiple."
        )
    width, _ = size(spec)
    if width and count > width and spec.learner.settings["init"] != "uniform":
        found.append(
            f"learner.components is {count}, but in {width} dimensions no more than {width} rows are orthogonal. Lower it, "
            "or set learner.init=uniform."
        )
    return found

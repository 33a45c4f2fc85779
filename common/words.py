"""Words of the command line read into values: seeds and overrides."""

import re
from typing import Any

from common import parts
from common.errors import Problem, nearest

MOST_SEEDS = 100_000  # of one request; more is a slip of the finger
ALL_KEYS = (
    "data", "seed", "precision", "learner.name", "learner.alpha", "learner.memory", "learner.strength", "model.name",
    "model.hidden", "stream.name", "stream.tasks", "stream.degrees", "optimiser.lr", "optimiser.momentum",
    "budget.batch", "budget.iterations", "budget.epochs", "evaluation.every", "evaluation.samples", "evaluation.gradients",
)  # fmt: skip


def seed_list(given: Any) -> list[int]:
    """[0, 1, 2] of [0, 1, 2], "0-2", "0,1,2" or 3 (the one seed). Errors: Problem for anything else."""
    if isinstance(given, int):
        return [given]
    try:
        words = given.split(",") if isinstance(given, str) else list(given)
        spans = [str(word).split("-") for word in words]
        ranges = [range(int(span[0]), int(span[-1]) + 1) for span in spans]
        if sum(map(len, ranges)) > MOST_SEEDS:
            raise Problem(f"seeds are {given!r}; give at most {MOST_SEEDS} of them, as 0-4 or 0,1,2.")
        seeds = [seed for one in ranges for seed in one]
    except (TypeError, ValueError, AttributeError, OverflowError):
        seeds = []
    if not seeds:
        raise Problem(f"seeds are {given!r}; give them as 0-4 or 0,1,2.")
    if len(set(seeds)) < len(seeds):
        raise Problem(f"seeds are {given!r}, where one is given twice: it would be one run, not two. Give each once.")
    return seeds


def parse_overrides(words: list[str]) -> dict[str, Any]:
    """{"learner.alpha": 0.3} of ["learner.alpha=0.3"], values read as YAML. Errors: Problem for a word without '='."""
    import yaml

    wrong = [
        f"'{word}' is no override; write key=value, such as learner.alpha=0.3." for word in words if "=" not in word
    ]
    if wrong:
        raise Problem(*wrong)
    found = {}
    for word in words:
        key, _, value = word.partition("=")
        head = key.split(".")[0]
        if key in found:
            wrong.append(f"{key} is given twice, the second time as '{value}'. Give it once.")
        if head not in (*parts.KINDS, *parts.OPTIONAL, "data", "budget", "evaluation", "seed", "precision", "parent"):
            wrong.append(
                f"'{key}' is no setting of a run.{nearest(key, ALL_KEYS)} "
                "Settings look like learner.alpha, stream.tasks, budget.batch."
            )
        try:
            found[key] = _number(yaml.safe_load(value))
        except yaml.YAMLError:
            wrong.append(f"The value of {key} is '{value}', which cannot be read. Quote it, such as {key}='\"text\"'.")
    if wrong:
        raise Problem(*wrong)
    return found


def _number(value: Any) -> Any:
    """1e-3 as the number it means: YAML 1.1 alone would take it for a text, unlike in spec files."""
    if isinstance(value, str) and re.fullmatch(r"[-+]?(\d+\.?\d*|\.\d+)[eE][-+]?\d+", value):
        return float(value)
    return [_number(v) for v in value] if isinstance(value, list) else value

"""Which runs are carried out as one batch (common/vectorised/). A matter of the place: results are the same bits either way.

Runs belong together when they differ in nothing but their seed, their parent and settings of their optimiser. It pays
where an update is so small that most of its time goes into starting operations: up to some millions of multiply-adds.
"""

import json
from collections import Counter
from typing import Any

from common import estimate, gpus
from common.errors import Problem
from common.spec import RunSpec
from common.sweep import Request

MOST = 8  # runs of a group
MACS = 5e6  # multiply-adds of an update (forward and backward), above which a core gains nothing by it: `make bench`
# Updates, below which what a batch costs at its start is not won back. Measured with the MLP 64-128-10, batch 32: a start costs
# 0.25 s more for each of two runs and 0.10 s for each of eight, an update 0.26 and 0.71 ms less: even at 960 and 140 updates.
SHORT = 300
How = int | str


def how(word: str) -> How:
    """What --together says: "auto", "off", or the most runs of a group. Errors: Problem for anything else."""
    if word in ("auto", "off"):
        return word
    if word.isdecimal() and 1 <= int(word) <= 1000:
        return int(word)
    raise Problem(
        f"--together is '{word}', but must be auto, off, or the most runs to be carried out at once (1 to 1000)."
    )


def most(setting: How) -> int:
    """Most runs of a group."""
    return {"auto": MOST, "off": 1}[setting] if isinstance(setting, str) else setting


def alone(run: RunSpec, setting: How = "auto", gpu: bool = False, updates: int | None = None) -> str | None:
    """Why a run is carried out by itself, in a few words; None when it may join others.

    gpu: whether it will have one. updates: how many it makes, where that is known.
    """
    if setting in ("off", 1):
        return "--together off"
    if run.finding:
        return "analyses and collections train nothing"
    if gpu:
        return "a GPU makes one run at a time"
    if run.evaluation.gradients:
        return "evaluation.gradients asks for each run's own norms"
    if run.augmentation:
        return "its pictures are changed at random"
    if run.model.settings.get("norm") == "batch":
        return "BatchNorm keeps running statistics"
    if setting == "auto" and any("." in part.name for part in (run.learner, run.model, run.optimiser)):
        return "code of your own (--together N tries it)"
    if setting == "auto" and updates is not None and updates < SHORT:
        return f"fewer than {SHORT} updates"
    if setting == "auto":
        macs = update_macs(run)
        if macs is None:
            return f"the size of {run.model.name} is not known (--together N tries it)"
        if macs > MACS:
            return f"an update of {run.model.name} is large enough by itself"
    return None


def update_macs(run: RunSpec) -> float | None:
    """Multiply-adds of an update on new samples, None where a network's arithmetic is not written down."""
    forward = estimate.image_macs(run)
    return None if forward is None else 3 * forward * run.budget.batch


def key(run: RunSpec) -> str:
    """The same for runs that may be carried out at once."""
    science: dict[str, Any] = json.loads(json.dumps(run.science))
    science.pop("seed")
    science["parent"] = science["parent"] and science["parent"]["take"]
    optimiser = science["optimiser"]
    optimiser["settings"] = optimiser["settings"].get("fresh")
    return json.dumps(science, sort_keys=True)


def summary(requests: list[Request], updates: dict[str, int], setting: How = "auto", gpu: bool | None = None) -> str:
    """One line on what is carried out together and what is not, and why.

    updates: of each run, by its id. gpu: whether the runs will have one (None: where the machine does).
    """
    unique = {r.run_id: r.run for r in requests}
    gpu = bool(gpus.visible()) if gpu is None else gpu
    why = {run_id: alone(run, setting, gpu, updates.get(run_id)) for run_id, run in unique.items()}
    groups = Counter(key(run) for run_id, run in unique.items() if why[run_id] is None)
    joined = sum(count for count in groups.values() if count > 1)
    reasons = Counter(reason for reason in why.values() if reason)
    if len(unique) - joined - sum(reasons.values()):
        reasons["no other run differs from it in its seed alone"] = len(unique) - joined - sum(reasons.values())
    told = "; ".join(f"{count} alone: {reason}" for reason, count in reasons.most_common())
    head = f"{joined} in batches of up to {most(setting)}" if joined else ""
    return "; ".join(filter(None, (head, told)))

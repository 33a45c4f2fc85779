"""Eight seeds of a small network as one batch against one seed alone, by turns in one process, one thread.

The work: fine-tuning (and, beside it, other learners and a larger network) on the digits, batch 32, SGD with momentum,
evaluation at task ends only. Times are taken in the second task, so that set-up, capture and first calls are in nobody's
time. Processor time is measured, not the clock: it is what a core is busy for, whoever else is on the machine.
"""

import os
import statistics
import tempfile
import time
from typing import Any

import torch

from common.spec import RunSpec

MEMBERS = 8
UPDATES = 200  # timed updates a turn
TURNS = 5
LEARNERS: dict[str, dict[str, Any]] = {"finetune": {}, "er": {"memory": 200}, "ewc": {"strength": 10.0}}


def measure() -> dict[str, float]:
    """Median over turns of (seconds of an update of all members) / (seconds of an update of one)."""
    torch.set_num_threads(1)
    found = {}
    with tempfile.TemporaryDirectory() as folder:
        os.environ |= {"REPLICATE_RUNS": folder, "REPLICATE_DATA": f"{folder}/data"}
        for name in LEARNERS:
            found[f"8 seeds at once / 1 seed: MLP 64-128-10, {name}"] = _ratio(name, [128])
        found["8 seeds at once / 1 seed: MLP 64-400-400-10, finetune"] = _ratio("finetune", [400, 400])
    return found


def _ratio(learner: str, hidden: list[int]) -> float:
    ratios = []
    for turn in range(TURNS + 1):
        one = _seconds([_spec(learner, hidden, 1000 + turn)])
        all_ = _seconds([_spec(learner, hidden, 10 * turn + k) for k in range(MEMBERS)])
        if turn:  # the first turn warms up
            ratios.append(all_ / one)
    return statistics.median(ratios)


def _seconds(specs: list[RunSpec]) -> float:
    """Seconds of the processor for one update of these runs, from their specs to finished run folders."""
    from common import loop
    from common.vectorised import loop as batch

    marks: list[float] = []
    place = loop.Place(device="cpu", watch=lambda *_: marks.append(time.process_time()))
    if len(specs) == 1:
        loop.run(specs[0], place)
    else:
        batch.run(specs, place, [], _refuse)
    # the first updates of the second task meet what is new to them; its last is followed by an evaluation
    return (marks[-2] - marks[UPDATES + 20]) / (len(marks) - UPDATES - 22)


def _refuse(run_id: str, error: Exception | None) -> None:
    if error is not None:
        raise error


def _spec(learner: str, hidden: list[int], seed: int) -> RunSpec:
    from common.resolve import resolve
    from common.streams import data

    raw = {
        "data": "digits",
        "stream": {"name": "split", "tasks": 2, "classes_per_task": 5},
        "model": {"name": "mlp", "hidden": hidden},
        "learner": {"name": learner, **LEARNERS[learner]},
        "optimiser": {"name": "sgd", "lr": 0.01, "momentum": 0.9},
        "budget": {"iterations": UPDATES, "batch": 32},
        "evaluation": {"every": 0, "samples": 100},
        "seed": seed,
    }
    return resolve(raw, data.digest("digits"))

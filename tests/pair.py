"""A script that is one of two processes of the same runs; each case leaves a run folder and what each rank was told.

python -m tests.pair FOLDER, with RANK, LOCAL_RANK, WORLD_SIZE, MASTER_ADDR and MASTER_PORT set.
"""

import json
import os
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch

from common import analyse, loop
from common.cluster import shared
from common.errors import Problem
from common.learners.base import Params, State, Terms
from common.learners.finetune import Finetune
from common.loop import Place, Stopped
from common.resolve import part_of
from common.spec import RunSpec
from common.streams.resident import Batch
from common.sweep import Request
from tests.helpers import LEARNERS, small_spec

WATCHED = {"evaluation.gradients": True}
# every epoch of 25 ends with a batch of one sample: a rank gets none
UNEVEN = {"budget.iterations": None, "budget.epochs": 2, "stream.train_per_task": 25}
GROUPED = {"model.name": "small_cnn", "model.width": 4, "model.norm": "group"}
EQUAL: dict[str, tuple[str, dict[str, Any]]] = {
    **{learner: (learner, WATCHED) for learner in LEARNERS},
    "uneven": ("finetune", UNEVEN | {"stream.train_per_task": 27}),  # the last has three: two and one
    "uneven-er": ("er", UNEVEN | {"budget.batch": 3, "optimiser.name": "adam", "optimiser.lr": 0.001}),
    "heads": ("er", {"stream.scenario": "task", "model.heads": "multi"}),
    "cnn": ("joint", GROUPED | {"optimiser.momentum": 0.0}),
    "bf16": ("er", {"precision": "bf16-mixed"}),
}
REFUSED: dict[str, tuple[str, dict[str, Any]]] = {
    "batchnorm": ("finetune", GROUPED | {"model.norm": "batch"}),
    "dropout": ("finetune", {"model.name": "tests.pair.dropped"}),
    "sums": ("tests.pair.Sums", {}),
}
STOPPED_AFTER = 17
RANK = int(os.environ.get("RANK", 0))


class Sums(Finetune):
    """A learner whose loss grows with the batch."""

    def terms(self, params: Params, state: State, batch: Batch) -> Terms:
        """The sum over samples."""
        return Terms(super().terms(params, state, batch).plasticity * len(batch.y))


def dropped(shape: tuple[int, int, int], classes: int, *, p: float = 0.3) -> torch.nn.Module:
    """A network with dropout."""
    from common.models.small import Net

    return Net(torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Dropout(p)), 64, classes)


def found(trained: Any, *, ends: str = "") -> Iterator[dict[str, Any]]:
    """An analysis: which rank carried it out. ends: how it ends before that."""
    if ends == "refused":
        raise Problem("there is nothing to see")
    if ends == "broken":
        raise KeyError("layer")
    yield {"quantity": "rank", "value": RANK}
    yield {"quantity": "classes", "value": trained.stream.classes}


def analysis(ends: str = "") -> RunSpec:
    """The analysis of a finished run."""
    problems: list[str] = []
    part = part_of("analysis", {"name": "tests.pair.found", "ends": ends}, problems)
    assert part, problems
    return small_spec().analysed(part)


def by_job(spec: RunSpec, place: Place) -> None:
    """As the job of a profile with several processes carries it out."""
    settings = {key: getattr(place, key) for key in ("device", "save_minutes", "status_seconds")}
    outcome = shared.carry_out(Request(spec, "toy", "own", "smoke", ""), place.processes, settings, place.stop)
    if outcome.stopped:
        raise Stopped
    if outcome.failed:
        raise Problem(*outcome.failed.values())


def case(
    folder: Path, name: str, spec: Any, runs: str = "", carry_out: Callable[..., Any] = loop.run, **place: Any
) -> None:
    """Carries a run out in FOLDER/runs/NAME (or RUNS), and writes what this rank was told to FOLDER/NAME.RANK.json."""
    os.environ["REPLICATE_RUNS"] = str(folder / "runs" / (runs or name))
    seen: list[int] = []
    place = {"watch": lambda updates, total: seen.append(updates), **place}
    started, said = time.monotonic(), ""
    try:
        carry_out(spec, Place(**{"device": "cpu", "processes": 2, **place}))
    except Exception as error:
        said = f"{type(error).__name__}: {error}"
    told = {"said": said, "seen": seen, "seconds": time.monotonic() - started, "wrote": wrote.copy()}
    wrote.clear()
    (folder / f"{name}.{RANK}.json").write_text(json.dumps(told))


wrote: list[str] = []


def listen(folder: Path) -> None:
    """From now on `wrote` names what this process writes, makes, moves or removes in folders of runs."""

    def hear(event: str, details: tuple[Any, ...]) -> None:
        writes = event == "open" and any(letter in str(details[1]) for letter in "wax+")
        writes |= event == "open" and details[1] is None and bool(details[2] & (os.O_WRONLY | os.O_RDWR | os.O_CREAT))
        if (writes or event in ("os.rename", "os.mkdir", "os.remove")) and str(details[0]).startswith(str(folder)):
            wrote.append(f"{event} {details[0]}")

    sys.addaudithook(hear)


def at(update: int, rank: int, act: Callable[[], Any]) -> Callable[[], bool]:
    """A question whether to stop, asked after every update: acts and says yes on that rank after that update."""
    asked = iter(range(1, 10**6))

    def stop() -> bool:
        if next(asked) == update and rank == RANK:
            act()
            return True
        return False

    return stop


def main(folder: Path) -> None:
    """All cases, one after the other in the same two processes."""
    torch.set_num_threads(1)
    listen(folder / "runs")
    for name, (learner, over) in EQUAL.items():
        case(folder, name, small_spec(learner, over))
    for name, (learner, over) in REFUSED.items():
        case(folder, name, small_spec(learner, over))
    case(folder, "three", small_spec(), processes=3)
    case(folder, "busy", small_spec())
    stopped = small_spec("si", WATCHED)
    for name in ("stopped", "left"):  # the one is resumed here, the other by one process
        case(folder, name, stopped, stop=at(STOPPED_AFTER, 1, lambda: None))
    case(folder, "resumed", stopped, runs="stopped")
    case(folder, "parent", small_spec(), runs="found")
    for name, how in (("analysed", by_job), ("trained", loop.run), ("again", analyse.run)):
        case(folder, name, analysis(), runs="found", carry_out=how)
    for ends in ("refused", "broken"):
        case(folder, ends, analysis(ends), runs="found", carry_out=by_job)
    case(folder, "left off", analysis("left off"), runs="found", carry_out=by_job, stop=at(1, 0, lambda: None))
    case(folder, "lost", small_spec(), stop=at(5, 1, lambda: os._exit(3)), save_every=2)


if __name__ == "__main__":
    main(Path(sys.argv[1]))

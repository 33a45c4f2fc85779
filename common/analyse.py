"""Runs that train nothing: analyses of finished runs, and collections, which make data. Both give facts, which are stored.

An analysis is a function `analysis(trained, *, setting=..., ...)` that yields facts, mappings of plain values such as
{"layer": "conv3", "quantity": "rank", "value": 12}. It is a run like any other: its own folder, resumed by starting anew.
A collection is a function `collection(making, *, setting=..., ...)`: it writes its data into `making.folder`, and yields facts
on them. Resumed, it is called anew, and goes on from what is whole in the folder.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from common import checkpoint, lock, parts
from common.build import build, fabric_for
from common.errors import Problem
from common.files import read_json
from common.learners.base import Learner
from common.loop import Place, introduce, write_origin
from common.places import runs_dir
from common.products import product
from common.progress import Clock
from common.ranks import Ranks
from common.record import RunFolder
from common.sitting import Stopped, sitting
from common.spec import RunSpec
from common.streams.stream import Stream

Fact = dict[str, Any]


@dataclass(frozen=True)
class Trained:
    """A finished run: its spec, its stream, its learner with the final weights, all on the device, in evaluation mode."""

    spec: RunSpec
    folder: RunFolder
    stream: Stream
    learner: Learner

    @property
    def net(self) -> nn.Module:
        """The network."""
        return self.learner.net

    def weights(self, updates: int | None = None) -> dict[str, torch.Tensor]:
        """The final weights, or those after that many updates. Errors: Problem when no such snapshot was kept."""
        return checkpoint.read_weights(self.folder.path, updates)


@dataclass(frozen=True)
class Making:
    """What a collection is told: where its data go, its seed, whether it is asked to stop (it then raises Stopped), and whom
    to tell that it is alive."""

    folder: Path
    seed: int
    stop: Callable[[], bool]
    alive: Callable[[], None]


def trained(run_id: str, device: str = "auto") -> Trained:
    """A finished run, ready to be looked into. Errors: Problem when it is not done, or made by other code."""
    folder = RunFolder(runs_dir() / run_id)
    if not folder.done():
        raise Problem(f"Run {run_id} is not done, so there is nothing to analyse yet. Run its target first.")
    stored = read_json(folder.path / "spec.json")
    spec = RunSpec.of({key: value for key, value in stored.items() if key != "run_id"})
    if spec.run_id != run_id:
        raise Problem(
            f"The spec stored in {folder.path} gives another id ({spec.run_id}): it was changed. Run it anew."
        )
    stream, learner = build(spec, fabric_for(device, spec.precision))
    learner.net.load_state_dict(checkpoint.read_weights(folder.path))
    learner.net.eval()
    return Trained(spec, folder, stream, learner)


def run(spec: RunSpec, place: Place | None = None) -> RunFolder:
    """The folder of the finished analysis or collection; does nothing when it is done. Errors: as loop.run.

    Of several processes the first carries it out alone, and the others wait for it.
    """
    place = place or Place()
    folder = RunFolder(runs_dir() / spec.run_id)
    if place.processes == 1:
        _carry_out(spec, place, folder)
        return folder
    ranks = Ranks(fabric_for(place.device, spec.precision, place.processes))
    ranks.agree("the run they are to carry out", spec.run_id)
    own: list[Exception] = []

    def tried() -> Exception | None:
        """What the others are told of how it ended: None when it is done."""
        try:
            _carry_out(spec, place, folder)
        except Exception as error:
            own.append(error)
            known = isinstance(error, Problem | Stopped)
            return error if known else Problem(f"The first process failed: {type(error).__name__}: {error}")
        return None

    if told := ranks.of_lead(tried):
        raise own[0] if own else told
    return folder


def _carry_out(spec: RunSpec, place: Place, folder: RunFolder) -> None:
    """Nothing; the analysis or collection is done, by this process."""
    if folder.done():
        return
    with lock.held(folder.path) as still_held, sitting(folder) as status:
        clock = Clock(status["seconds"])
        status |= {"updates": 0, "total": 1}

        def alive() -> None:
            if clock.report_now(place.status_seconds):
                still_held()
                folder.write_status(**status | {"seconds": clock.seconds()})

        facts = []
        for fact in _collected(spec, place, folder, alive) if spec.collection else _facts(spec, place, folder):
            facts.append(fact)
            if place.stop():
                raise Stopped
            alive()
        still_held()
        folder.write_facts(facts)
        folder.write_status(**status | {"state": "done", "updates": 1, "seconds": clock.seconds()})


def _facts(spec: RunSpec, place: Place, folder: RunFolder) -> Iterator[Fact]:
    assert spec.analysis is not None
    assert spec.parent is not None
    found = trained(spec.parent["run"], place.device)
    device = str(next(found.net.parameters()).device)
    introduce(folder, spec, found.stream, device)
    analysis = parts.find("analysis", spec.analysis.name).load()
    with torch.random.fork_rng():
        yield from analysis(found, **spec.analysis.settings)


def _collected(spec: RunSpec, place: Place, folder: RunFolder, alive: Callable[[], None]) -> Iterator[Fact]:
    assert spec.collection is not None
    write_origin(folder, spec, {"digest": "", "text": f"makes {spec.data}", "lossy": False}, "cpu")
    collection = parts.find("collection", spec.collection.name).load()
    making = Making(product(spec.run_id), spec.seed, place.stop, alive)
    yield from collection(making, **spec.collection.settings)

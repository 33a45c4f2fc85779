"""One run from top to bottom: build, resume, then for each task begin, update, evaluate, save, end."""

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from lightning import Fabric
from torch import Tensor

from common import checkpoint, lock, parts
from common.checkpoint import Cursor
from common.errors import Problem
from common.evaluate import correct
from common.files import write_json
from common.learners.base import Learner
from common.places import runs_dir
from common.provenance import provenance
from common.record import RunFolder, Trace
from common.rng import generator, torch_seed
from common.spec import Budget, RunSpec
from common.streams import data
from common.streams.resident import Resident
from common.streams.stream import Stream, Task


@dataclass
class Place:
    """Where and how a run is carried out; nothing of it can move a number or enters the run's identity.

    device: "cpu", "cuda" or "auto". save_minutes: most work a kill can cost. evaluation_batch: samples per forward.
    stop: asked after every update; True saves and leaves. watch: told (updates, total) after every update.
    """

    device: str = "auto"
    save_minutes: float = 2.0
    save_every: int | None = None
    status_seconds: float = 2.0
    evaluation_batch: int = 256
    stop: Callable[[], bool] = field(default=lambda: False)
    watch: Callable[[int, int], None] = field(default=lambda updates, total: None)


class Stopped(Exception):
    """The run was asked to leave; its checkpoint is saved."""


def run(spec: RunSpec, place: Place | None = None) -> RunFolder:
    """The folder of the finished run: does nothing when it is done, resumes it when it was interrupted.

    Errors: Problem for what a user can mend (also kept in status.json); Stopped when `place.stop` asked to leave.
    """
    place = place or Place()
    folder = RunFolder(runs_dir() / spec.run_id)
    if folder.done():
        return folder
    with lock.held(folder.path):
        if folder.done():  # by another process, between our look and our lock
            return folder
        status = {"state": "running", "updates": 0, "total": 0, "seconds": folder.status().get("seconds", 0.0)}
        try:
            _carry_out(spec, place, folder, status)
        except (Stopped, KeyboardInterrupt):
            folder.write_status(**status | {"state": "interrupted"})
            raise
        except BaseException as error:
            folder.write_status(**status | {"state": "failed", "error": f"{type(error).__name__}: {error}"})
            raise
    return folder


def _carry_out(spec: RunSpec, place: Place, folder: RunFolder, status: dict[str, Any]) -> None:
    fabric = Fabric(accelerator=_device(place.device), devices=1, precision=_precision(spec.precision))
    stream, learner = build(spec, fabric)
    held_out = learner.data.evaluation(spec.evaluation.samples, spec.seed)
    steps = [updates_of(task, spec.budget) for task in stream.tasks]
    status["total"] = sum(steps)

    resumed = checkpoint.restore(folder.path, spec.run_id, learner)
    cursor, trace = resumed or (Cursor(), Trace(held_out.offsets, np.cumsum(steps)))
    if resumed is None:
        write_json(folder.path / "spec.json", spec.science | {"run_id": spec.run_id})
        about = {"stream": {"digest": stream.digest(), "text": str(stream), "lossy": stream.images.lossy}}
        write_json(folder.path / "provenance.json", provenance(str(fabric.device), torch.get_num_threads()) | about)
    facts = _Facts(trace, cursor.updates)
    clock = _Clock(status, cursor.updates)
    folder.write_status(**status | {"updates": cursor.updates})

    def evaluate(task: int, updates: int) -> None:
        facts.evaluated(updates, task, correct(learner, held_out, task + 1, place.evaluation_batch))

    if cursor.updates == 0 and not trace.step:
        evaluate(0, 0)
    for task in list(stream.tasks)[cursor.task :]:
        if cursor.step == 0:
            if spec.optimiser.settings["fresh"]:
                learner.optimiser.state.clear()
            learner.begin(task)
        batches = Batches(learner, task, spec)
        for step in range(cursor.step, steps[task.index]):
            facts.noted(learner.update(batches.at(step)))
            cursor = Cursor(task.index, step + 1, cursor.updates + 1)
            if evaluate_at(spec.evaluation.every, cursor.updates, last=cursor.step == steps[task.index]):
                evaluate(task.index, cursor.updates)
            stop = place.stop()
            if stop or clock.save_now(place, cursor.updates):
                facts.flush()
                checkpoint.save(folder.path, spec.run_id, cursor, learner, trace)
            if stop:
                status |= clock.progress(cursor.updates)
                raise Stopped
            if clock.report_now(place):
                folder.write_status(**status | clock.progress(cursor.updates))
            place.watch(cursor.updates, status["total"])
        learner.end(task)
        cursor = Cursor(task.index + 1, 0, cursor.updates)

    facts.flush()
    folder.write_trace(trace)
    checkpoint.save_weights(folder.path, learner)
    status |= clock.progress(cursor.updates) | {"state": "done"}
    folder.write_status(**status)
    (folder.path / "checkpoint.pt").unlink(missing_ok=True)


def build(spec: RunSpec, fabric: Fabric) -> tuple[Stream, Learner]:
    """The stream and the learner of a spec, on Fabric's device, with weights drawn from the seed (or the parent's)."""
    stream = build_stream(spec)
    resident = Resident(stream, fabric.device)
    with torch.random.fork_rng():
        torch.manual_seed(torch_seed(spec.seed, "weights"))
        net = _load("model", spec)(resident.shape, stream.classes, **spec.model.settings)
    if spec.parent:
        _inherit(net, spec.parent)
    net = net.to(fabric.device).train()
    optimiser = _load("optimiser", spec)(net.parameters(), **spec.optimiser.settings)
    learner: Learner = _load("learner", spec)(net, optimiser, resident, spec.seed, **spec.learner.settings)
    _, learner.optimiser = fabric.setup(learner, optimiser)
    learner.watch = spec.evaluation.gradients
    torch.manual_seed(torch_seed(spec.seed, "dropout"))
    return stream, learner


def build_stream(spec: RunSpec) -> Stream:
    """The stream of a spec; needs its data set, but neither torch nor a device."""
    made: Stream = _load("stream", spec)(data.load(spec.data), spec.seed, **spec.stream.settings)
    return made


def updates_of(task: Task, budget: Budget) -> int:
    """Updates made on a task: its iterations, or its epochs of ceil(samples / batch) updates."""
    return budget.iterations or (budget.epochs or 0) * -(-len(task.train) // budget.batch)


def evaluate_at(every: int, updates: int, last: bool) -> bool:
    """Whether to evaluate after that many updates: at multiples of `every`, and after each task's last update."""
    return last or (every > 0 and updates % every == 0)


class Batches:
    """New samples (and what the learner recalls) for each step of a task: a function of seed, task and step alone."""

    def __init__(self, learner: Learner, task: Task, spec: RunSpec) -> None:
        self.learner, self.task, self.seed, self.size = learner, task, spec.seed, spec.budget.batch
        self.rows = learner.data.rows(task)
        self.per_epoch = -(-len(self.rows) // self.size)
        self._epoch, self._order = -1, self.rows

    def at(self, step: int) -> Any:
        """The batch of that step: every epoch in its own random order, the last batch of an epoch as short as it is."""
        epoch, place = divmod(step, self.per_epoch)
        if epoch != self._epoch:
            order = generator(self.seed, "order", self.task.index, epoch).permutation(len(self.rows))
            self._epoch, self._order = epoch, self.rows[order]
        new = self.learner.data.batch(self._order[place * self.size : (place + 1) * self.size])
        old = self.learner.recall(self.task.index, step, self.size)
        return new if old is None else new._replace(replay=self.learner.data.batch(old))


class _Facts:
    """Scalars and correctness kept on the device and brought over in blocks, so that no step waits for the device."""

    def __init__(self, trace: Trace, updates: int) -> None:
        self.trace, self.start = trace, updates
        self.scalars: list[dict[str, Tensor]] = []
        self.rows: list[tuple[int, int, Tensor]] = []

    def noted(self, scalars: dict[str, Tensor]) -> None:
        self.scalars.append(scalars)

    def evaluated(self, updates: int, task: int, hits: Tensor) -> None:
        self.rows.append((updates, task, hits))
        if len(self.rows) >= 64:
            self.flush()

    def flush(self) -> None:
        for updates, task, hits in self.rows:
            self.trace.evaluated(updates, task, task + 1, hits.cpu().numpy())
        names = list(dict.fromkeys(name for scalars in self.scalars for name in scalars))
        missing = torch.tensor(float("nan"))
        for name in names:
            column = torch.stack([s.get(name, missing).to(torch.float32).cpu() for s in self.scalars])
            self.trace.noted(self.start, name, column.numpy())
        self.start += len(self.scalars)
        self.rows, self.scalars = [], []


class _Clock:
    """When to save and when to report."""

    def __init__(self, status: dict[str, Any], updates: int) -> None:
        self.before, self.started = status["seconds"], time.monotonic()
        self.saved = self.reported = self.started

    def save_now(self, place: Place, updates: int) -> bool:
        due = time.monotonic() - self.saved > 60 * place.save_minutes
        due |= place.save_every is not None and updates % place.save_every == 0
        if due:
            self.saved = time.monotonic()
        return due

    def report_now(self, place: Place) -> bool:
        due = time.monotonic() - self.reported > place.status_seconds
        if due:
            self.reported = time.monotonic()
        return due

    def progress(self, updates: int) -> dict[str, Any]:
        return {"updates": updates, "seconds": round(self.before + time.monotonic() - self.started, 3)}


def _load(kind: parts.Kind, spec: RunSpec) -> Any:
    return parts.find(kind, getattr(spec, kind).name).load()


def _inherit(net: torch.nn.Module, parent: dict[str, str]) -> None:
    """Puts the final weights of the parent run into the network: all of them, or the trunk's alone."""
    path = runs_dir() / parent["run"] / "weights.pt"
    if not path.exists():
        raise Problem(f"The parent run {parent['run']} has no {path.name} yet. Run its target first.")
    weights = checkpoint.read_weights(path.parent)
    if parent["take"] == "trunk":
        weights = {name: t for name, t in weights.items() if name.startswith("trunk.")}
    own = net.state_dict()
    wrong = [name for name, t in weights.items() if name not in own or own[name].shape != t.shape]
    if wrong:
        raise Problem(
            f"The weights of the parent run {parent['run']} do not fit this model at {', '.join(wrong[:5])}. Use the parent's "
            "model settings, or parent.take=trunk when only the head differs."
        )
    net.load_state_dict(own | weights)


def _device(wanted: str) -> str:
    if wanted == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    if wanted == "cuda" and not torch.cuda.is_available():
        raise Problem(
            "device is 'cuda', but torch finds no GPU here. Use --device cpu, or leave it out to take what is there."
        )
    return wanted


def _precision(wanted: str) -> Any:
    return "32-true" if wanted == "32" else wanted

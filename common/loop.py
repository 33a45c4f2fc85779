"""One run from top to bottom: build, resume, then for each task begin, update, evaluate, save, end."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch

from common import checkpoint, lock
from common.batches import Batches
from common.build import build, fabric_for
from common.checkpoint import Cursor
from common.errors import Problem
from common.evaluate import correct
from common.files import write_json
from common.learners.base import Learner
from common.places import runs_dir
from common.progress import Clock, Facts
from common.provenance import provenance
from common.ranks import Ranks
from common.record import RunFolder, snapshot_path
from common.schedules import set_rate
from common.sitting import Stopped, sitting
from common.spec import RunSpec
from common.streams.stream import Stream, Task
from common.trace import Trace


@dataclass
class Place:
    """Where and how a run is carried out; nothing of it can move a number or enters the run's identity.

    device: "cpu", "cuda" or "auto". save_minutes: most work a kill can cost. evaluation_batch: samples per forward.
    save_every: updates between checkpoints, besides the minutes (None: minutes alone).
    processes: how many share each batch, this one included; srun or torchrun starts them (slurm/README.md).
    stop: asked after every update; True saves and leaves. watch: told (updates, total) after every update.
    """

    device: str = "auto"
    save_minutes: float = 2.0
    save_every: int | None = None
    status_seconds: float = 2.0
    evaluation_batch: int = 256
    processes: int = 1
    stop: Callable[[], bool] = field(default=lambda: False)
    watch: Callable[[int, int], None] = field(default=lambda updates, total: None)


def run(spec: RunSpec, place: Place | None = None) -> RunFolder:
    """The folder of the finished run: does nothing when it is done, resumes it when it was interrupted.

    Errors: Problem for what a user can mend (also kept in status.json); Stopped when `place.stop` asked to leave.
    """
    if spec.finding:
        raise Problem(
            f"{spec.run_id} trains nothing: it is what {spec.finding.name} finds. Only runs that train are carried out here; "
            "use common.analyse.run for this one, or `replicate run`, which knows both."
        )
    place = place or Place()
    folder = RunFolder(runs_dir() / spec.run_id)
    ranks = Ranks() if place.processes == 1 else Ranks(fabric_for(place.device, spec.precision, place.processes))
    ranks.agree("the run they are to carry out", spec.run_id)
    if ranks.told(folder.done()):
        return folder
    with ranks.led(lock.held(folder.path)) as still_held:
        if ranks.told(folder.done()):  # by another process, between our look and our lock
            return folder
        with ranks.led(sitting(folder)) as status:
            carry_out(Run(spec, place, folder, ranks.told(status), ranks, still_held))
    return folder


def carry_out(run: "Run") -> None:
    """The loop. A checkpoint is taken between two updates; `cursor` says which update is the next."""
    learner = run.learner
    if run.cursor.updates == 0 and not run.trace.step:
        run.evaluate(run.stream.tasks[0])
        run.snapshot(last=False)
    for task in run.stream.tasks[run.cursor.task :]:
        if run.cursor.step == 0:
            if run.spec.optimiser.settings.get("fresh", True):
                learner.optimiser.state.clear()
            learner.begin(task)
            run.began(task)
        batches = Batches(learner, task, run.spec)
        if learner.ranks is not None:
            learner.ranks.check(learner, batches.at(0))
        steps = run.steps(task.index)
        for step in range(run.cursor.step, steps):
            set_rate(learner.optimiser, step, steps)
            run.facts.noted(learner.update(batches.at(step)))
            run.cursor = Cursor(task.index, step + 1, run.cursor.updates + 1)
            last = step + 1 == steps and run.spec.evaluation.at_end_of(task.index, len(run.stream))
            if evaluate_at(run.spec.evaluation.every, run.cursor.updates, last):
                run.evaluate(task)
            run.snapshot(last)
            run.save_and_report()
        end(learner, task)
        run.cursor = Cursor(task.index + 1, 0, run.cursor.updates)
    run.finish()


def end(learner: Learner, task: Task) -> None:
    """Nothing; the learner has ended the task. Errors: Problem when it keeps something that no checkpoint would hold.

    Before its `end` too, which may put back what it has counted; and however short the run is, so that it shows at once.
    """
    checkpoint.refuse_unsaved(learner)
    learner.end(task)
    checkpoint.refuse_unsaved(learner)


def introduce(
    folder: RunFolder, spec: RunSpec, stream: Stream, device: str, processes: int = 1, together: int = 1
) -> None:
    """Nothing; the folder says what the run is and where it comes from. together: runs carried out at once with it."""
    about = {"digest": stream.digest(), "text": str(stream), "lossy": stream.images.lossy}
    write_origin(folder, spec, about, device, processes, together)


def write_origin(
    folder: RunFolder, spec: RunSpec, about: dict[str, Any], device: str, processes: int = 1, together: int = 1
) -> None:
    """Nothing; the same of a run on what `about` tells (digest, text, lossy)."""
    write_json(folder.path / "spec.json", spec.science | {"run_id": spec.run_id})
    origin = provenance(device, torch.get_num_threads()) | {"stream": about, "processes": processes}
    origin |= {"together": together} if together > 1 else {}
    write_json(folder.path / "provenance.json", origin)


def ends_of(spec: RunSpec, stream: Stream) -> np.ndarray:
    """int64 [tasks]: updates made at the end of each task."""
    return np.cumsum([spec.budget.updates(int(size)) for size in stream.sizes()], dtype=np.int64)


def evaluate_at(every: int, updates: int, last: bool) -> bool:
    """Whether to evaluate after that many updates: at multiples of `every`, and where a task that counts ends (`last`)."""
    return last or (every > 0 and updates % every == 0)


class Run:
    """What the loop works on: built from the spec, put back to the newest checkpoint where there is one."""

    def __init__(
        self,
        spec: RunSpec,
        place: Place,
        folder: RunFolder,
        status: dict[str, Any],
        ranks: Ranks,
        still_held: lock.Check,
        together: int = 1,
    ) -> None:
        self.spec, self.place, self.folder, self.status = spec, place, folder, status
        self.ranks, self.still_held = ranks, still_held  # the lead alone holds the lock, and alone writes
        fabric = ranks.fabric or fabric_for(place.device, spec.precision)
        self.stream, self.learner = build(spec, fabric, ranks)
        self.held_out = self.learner.data.evaluation(spec.evaluation.samples, spec.seed)
        resumed = checkpoint.restore(folder.path, spec.run_id, self.learner)
        self.cursor, self.trace = resumed or (Cursor(), Trace(self.held_out.offsets, ends_of(spec, self.stream)))
        ranks.agree("the checkpoint they go on from", self.cursor)
        if resumed is None and ranks.lead:
            introduce(folder, spec, self.stream, str(fabric.device), ranks.world, together)
        self.facts = Facts(self.trace, self.cursor.updates)
        self.clock = Clock(status["seconds"], together)
        status["redone"] += max(0, status["updates"] - self.cursor.updates)  # what a sudden death had cost
        status["total"] = int(self.trace.ends[-1])
        self.flush()
        self.report()

    def steps(self, index: int) -> int:
        """Updates of a task."""
        ends = self.trace.ends
        return int(ends[index] - (ends[index - 1] if index else 0))

    def began(self, task: Task) -> None:
        """Notes which measured parts a task trains on, where the stream has parts of its own."""
        if self.stream.parts is not None:
            self.trace.began(np.array([bool(set(part.classes) & set(task.classes)) for part in self.stream.parts]))

    def evaluate(self, task: Task) -> None:
        """Measures all tasks seen so far, `task` included; every part of a stream that has parts of its own."""
        seen = self.seen(task)
        exam = self.learner.exam(self.held_out, seen)
        hits = correct(self.learner, self.held_out, seen, self.place.evaluation_batch) if exam is None else exam.hits
        self.facts.evaluated(self.cursor.updates, task.index, seen, hits, {} if exam is None else exam.values)

    def seen(self, task: Task) -> int:
        """How many parts are measured in that task."""
        return task.index + 1 if self.stream.parts is None else len(self.stream.parts)

    def snapshot(self, last: bool) -> None:
        """Keeps the weights where the plan asks for it. Before the checkpoint, so that a resumed run has them all."""
        wanted = self.spec.evaluation.snapshots
        if wanted is not None and (last or self.cursor.updates in wanted) and self.ranks.lead:
            self.still_held()
            checkpoint.save_weights(snapshot_path(self.folder.path, self.cursor.updates), self.learner)

    def save_and_report(self) -> None:
        """Between two updates: a checkpoint when one is due or a stop is asked for, and the progress now and then."""
        place, updates = self.place, self.cursor.updates
        stop = self.ranks.any(place.stop())
        counted = place.save_every is not None and updates % place.save_every == 0
        if stop or counted or self.clock.save_now(place.save_minutes):
            self.save()
        if stop:
            self.status |= {"updates": updates, "seconds": self.clock.seconds()}
            self.ranks.wait()  # for the lead's checkpoint: a launcher may end all ranks as soon as the first has left
            raise Stopped
        if self.clock.report_now(place.status_seconds):
            self.report()
        place.watch(updates, self.status["total"])

    def flush(self) -> None:
        """Brings what was noted into the trace; the status tells from which update on the loss was not finite."""
        self.facts.flush()
        self.status["not_finite_from"] = self.trace.not_finite_from(self.facts.start)

    def save(self) -> None:
        """Takes a checkpoint."""
        self.flush()
        if self.ranks.lead:
            self.still_held()
            checkpoint.save(self.folder.path, self.spec.run_id, self.cursor, self.learner, self.trace)
        self.status["starts"] = 0  # it got on

    def report(self) -> None:
        """Says how far the run is."""
        self.status |= {"updates": self.cursor.updates, "seconds": self.clock.seconds()}
        if self.ranks.lead:
            self.still_held()
            self.folder.write_status(**self.status)

    def finish(self) -> None:
        """Stores trace and weights, then says that the run is done. All ranks leave together."""
        if self.learner.ranks is not None:
            self.learner.ranks.same(self.learner)
        if self.ranks.lead:
            self._store()
        self.ranks.wait()

    def _store(self) -> None:
        self.flush()
        self.still_held()
        self.folder.write_trace(self.trace)
        checkpoint.save_weights(self.folder.path / "weights.pt", self.learner)
        self.status["state"] = "done"
        self.report()
        (self.folder.path / "checkpoint.pt").unlink(missing_ok=True)

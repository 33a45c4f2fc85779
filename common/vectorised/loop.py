"""A group of runs from top to bottom: their locks, and the loop of common/loop.py for all of them in lockstep."""

import contextlib
import sys
import traceback
from collections.abc import Callable

import torch
from torch import Tensor

from common import lock
from common import loop as lone
from common.batches import Batches
from common.checkpoint import Cursor
from common.errors import Busy, Problem
from common.files import write_json
from common.loop import Place, Run, evaluate_at
from common.places import runs_dir
from common.ranks import Ranks
from common.record import RunFolder
from common.sitting import Stopped, sitting
from common.spec import RunSpec
from common.vectorised.capture import unfit
from common.vectorised.group import Group

Over = Callable[[str, Exception | None], None]
Say = Callable[[str], None]
END = (10**18, 0)  # later than any place of a stream


class Seat:
    """One run of a group with its folder, its lock and its status; `leave` writes what became of it."""

    def __init__(self, spec: RunSpec, place: Place, together: int) -> None:
        self.spec, self.folder = spec, RunFolder(runs_dir() / spec.run_id)
        self.stack = contextlib.ExitStack()
        try:
            still_held = self.stack.enter_context(lock.held(self.folder.path))
            self.done = self.folder.done()  # by another process, before we had the lock
            if not self.done:
                status = self.stack.enter_context(sitting(self.folder))
                self.run = Run(spec, place, self.folder, status, Ranks(), still_held, together)
                self.numbers: Tensor = torch.get_rng_state()  # as building or resuming it has left them
        except BaseException as error:
            self.leave(error)
            raise

    def leave(self, error: BaseException | None = None) -> None:
        """Gives the lock back; an error is written into the status."""
        if error is None:
            self.stack.close()
        else:
            with contextlib.suppress(type(error)):
                self.stack.__exit__(type(error), error, None)


def to_stderr(text: str) -> None:
    """Says it where no launcher listens."""
    print(text, file=sys.stderr)


def run(specs: list[RunSpec], place: Place, under_way: list[str], over: Over, say: Say = to_stderr) -> None:
    """Nothing; `over` has been told of every run that it is done, or what kept it from that.

    under_way: holds the ids of the runs that `place.watch` speaks of.
    A run that another process holds is left out. What goes wrong in the group as a whole is nobody's fault: each run is
    then taken up alone, from where it is saved; `say` is told so with the reason, which stands in the runs' provenance too.
    Errors: Stopped when `place.stop` asked to leave; all are saved.
    """
    if len(specs) == 1:
        return _one_by_one(specs, place, under_way, over)
    if why := unfit(specs[0], place.device):
        say(f"{len(specs)} runs that belong together are carried out one by one: {why}")
        return _one_by_one(specs, place, under_way, over, [why])
    seats: list[Seat] = []
    for spec in specs:
        try:
            seat = Seat(spec, place, len(specs))
        except (Busy, Problem, OSError, RuntimeError) as error:
            over(spec.run_id, error)
            continue
        if seat.done:
            seat.leave()
            over(spec.run_id, None)
        else:
            seats.append(seat)
    under_way[:] = [seat.spec.run_id for seat in seats]
    try:
        if seats:
            _lockstep(seats, place, say)
    except (Stopped, KeyboardInterrupt) as stop:
        for seat in seats:
            seat.leave(stop)
        raise
    except (
        Exception
    ) as error:  # a lock that was lost, no memory, a fault of ours: alone, no run depends on its neighbours
        for seat in seats:
            seat.leave()
        why = f"{type(error).__name__}: {error}"
        say(f"a batch of {len(seats)} runs is given up, and each goes on alone from where it is saved: {why}")
        told = [why] if isinstance(error, Busy | Problem) else [why, *traceback.format_exception(error)]
        return _one_by_one([seat.spec for seat in seats], place, under_way, over, told)
    for seat in seats:
        seat.leave()
        over(seat.spec.run_id, None)
    return None


def _one_by_one(
    specs: list[RunSpec], place: Place, under_way: list[str], over: Over, why: list[str] | None = None
) -> None:
    for spec in specs:
        under_way[:] = [spec.run_id]
        try:
            folder = lone.run(spec, place)
            if why:
                _noted(folder, why)
        except Stopped:
            raise
        except Exception as error:
            over(spec.run_id, error)
        else:
            over(spec.run_id, None)


def _noted(folder: RunFolder, why: list[str]) -> None:
    """Nothing; the provenance says why the run, or a part of its updates, was made apart from those it belongs with."""
    before = folder.provenance()
    write_json(
        folder.path / "provenance.json", before | {"apart": list(dict.fromkeys([*before.get("apart", []), *why]))}
    )


def _lockstep(seats: list[Seat], place: Place, say: Say) -> None:
    """All runs to their ends. Who was interrupted earlier in its stream goes first, until it has met the others."""
    going = seats
    while going:
        first = min(map(_position, going))
        behind = [seat for seat in going if _position(seat) == first]
        until = min((_position(seat) for seat in going if seat not in behind), default=END)
        group = Group([seat.run for seat in behind], [seat.numbers for seat in behind])
        _advance(group, until, place)
        for seat, numbers in zip(behind, group.numbers, strict=True):
            seat.numbers = numbers
            if group.why:
                _noted(seat.folder, group.why)
        if group.why:
            say(f"of {len(behind)} runs carried out at once, some work is done one by one: {'; '.join(group.why)}")
        going = [seat for seat in going if _position(seat) < END]


def _position(seat: Seat) -> tuple[int, int]:
    cursor = seat.run.cursor
    return END if cursor.task == len(seat.run.stream) else (cursor.task, cursor.step)


def _advance(group: Group, until: tuple[int, int], place: Place) -> None:
    """The loop of common/loop.py for all members, up to a place of their streams or to the end."""
    runs = group.runs
    for run in runs:
        if run.cursor.updates == 0 and not run.trace.step:
            run.evaluate(run.stream.tasks[0])
            run.snapshot(last=False)
    for index in range(runs[0].cursor.task, len(runs[0].stream)):
        tasks = [run.stream.tasks[index] for run in runs]
        if runs[0].cursor.step == 0:
            group.begin(tasks)
        batches = [Batches(run.learner, task, run.spec) for run, task in zip(runs, tasks, strict=True)]
        updates = [run.steps(index) for run in runs]
        for step in range(runs[0].cursor.step, max(updates)):
            if (index, step) >= until:
                return group.leave()
            who = [k for k, count in enumerate(updates) if step < count]
            group.update(batches, who, step, updates)
            for k in who:
                runs[k].cursor = Cursor(index, step + 1, runs[k].cursor.updates + 1)
            ended = {
                k
                for k in who
                if step + 1 == updates[k] and runs[k].spec.evaluation.at_end_of(index, len(runs[k].stream))
            }
            due = [k for k in who if evaluate_at(runs[k].spec.evaluation.every, runs[k].cursor.updates, k in ended)]
            group.evaluate(due, tasks)
            for k in who:
                runs[k].snapshot(k in ended)
            _save_and_report(group, place)
        group.end(tasks)
        for run in runs:
            run.cursor = Cursor(index + 1, 0, run.cursor.updates)
        if (index + 1, 0) >= until:
            return group.leave()
    group.leave()
    for run in runs:
        run.finish()
    return None


def _save_and_report(group: Group, place: Place) -> None:
    """What common/loop.py does between two updates, for every member by the clock of the first."""
    runs, updates = group.runs, group.runs[0].cursor.updates
    stop = place.stop()
    counted = place.save_every is not None and updates % place.save_every == 0
    if stop or counted or runs[0].clock.save_now(place.save_minutes):
        group.save()
    if stop:
        for run in runs:
            run.status |= {"updates": run.cursor.updates, "seconds": run.clock.seconds()}
        raise Stopped
    if runs[0].clock.report_now(place.status_seconds):
        for run in runs:
            run.report()
    place.watch(updates, runs[0].status["total"])

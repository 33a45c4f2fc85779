"""Members of a group: one update of all of them at once, from stacked weights, states and batches."""

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from common.batches import Batches
from common.learners.base import Learner, Params
from common.loop import Run, end
from common.schedules import set_rate
from common.streams.resident import Batch
from common.streams.stream import Task
from common.vectorised import joining, stacks
from common.vectorised.capture import Unfit, gradients
from common.vectorised.exam import Exam
from common.vectorised.facts import GroupFacts
from common.vectorised.learned import Learned


class Group:
    """Runs at the same place of their streams, whose networks' weights become parts of stacked ones.

    Whatever the members do the same way is done for all at once; an update in which they differ (one has fewer samples
    or updates in a task), or that cannot be captured, is made by each alone. why: what could not be done at once.
    """

    def __init__(self, runs: list[Run], numbers: list[Tensor]) -> None:
        self.runs, self.learners = runs, [run.learner for run in runs]
        self.one = self.learners[0]
        self.numbers = numbers  # torch's generator of each member, which some learner's `begin` or `end` may use
        self.tables = joining.shared_tables([learner.data for learner in self.learners])
        self.params: Params = {}
        for name in self.one.live:
            self.params[name] = stacks.stacked([learner.live[name].detach() for learner in self.learners])
            for learner, part in zip(self.learners, self.params[name].unbind(0), strict=True):
                learner.live[name].data = part
        alone = [getattr(learner.optimiser, "optimizer", learner.optimiser) for learner in self.learners]
        self.optimiser = stacks.Optimiser(self.params, alone, [run.spec.optimiser for run in runs])
        self.facts = GroupFacts([run.facts for run in runs])
        self.known: dict[Any, Known | None] = {}
        self.fillable: dict[Any, bool] = {}
        self.why: list[str] = []
        self.exam = Exam(runs, self._apart)
        self.states: Any = None  # the members' states as one while they are joined, else None
        self.gathered = False  # whether the stacked optimiser's state is the one that counts
        self.fresh = runs[0].spec.optimiser.settings.get("fresh", True)
        self.foreign = "." in runs[0].spec.learner.name  # such code may look at more than we know of

    # --- together and apart ----------------------------------------------------------------------------------

    def join(self) -> bool:
        """Whether the members' states and optimisers are now one; they stay so until `part`."""
        if self.states is None and self.optimiser.exact:
            try:
                states = stacks.tree([learner.state for learner in self.learners])
            except ValueError:
                return False
            self.gathered = self.gathered or self.optimiser.gather()
            self.states = states if self.gathered else None
            self.form = stacks.form(states)
        return self.states is not None

    def part(self) -> None:
        """Every member's learner and optimiser are as they would be alone."""
        if self.gathered:
            self.optimiser.spread()
        self.states, self.gathered = None, False

    @contextlib.contextmanager
    def alone(self, k: int) -> Iterator[Learner]:
        """Member k's learner, with its own random numbers."""
        torch.set_rng_state(self.numbers[k])
        yield self.learners[k]
        self.numbers[k] = torch.get_rng_state()

    # --- the edges of tasks, where each does what it does alone ----------------------------------------------

    def begin(self, tasks: list[Task]) -> None:
        """What happens before a task's first update."""
        self._pause()
        if self.fresh:
            self.optimiser.clear()
        for k, task in enumerate(tasks):
            with self.alone(k) as learner:
                learner.begin(task)
            self.runs[k].began(task)

    def end(self, tasks: list[Task]) -> None:
        """What happens after a task's last update."""
        self._pause()
        for k, task in enumerate(tasks):
            with self.alone(k) as learner:
                end(learner, task)

    def _pause(self) -> None:
        """Every member's learner is as it would be alone; its optimiser too, where it may be looked at."""
        if self.foreign:
            self.part()
        self.states = None

    def evaluate(self, due: list[int], tasks: list[Task]) -> None:
        """Measures the members that are due."""
        seen = self.runs[0].seen(tasks[0])
        hits = self.exam.hits(self.params, seen) if len(due) == len(self.runs) else None
        for k in due:
            run = self.runs[k]
            if hits is None:
                run.evaluate(tasks[k])
            else:
                run.facts.evaluated(run.cursor.updates, tasks[k].index, seen, hits[k])

    def save(self) -> None:
        """Takes a checkpoint of every member, the one that it would have alone."""
        self.leave()
        for k, run in enumerate(self.runs):
            with self.alone(k):
                run.save()

    def leave(self) -> None:
        """Every member is as it would be alone: what it has learned, and what was noted of it."""
        self.part()
        self.facts.flush()

    # --- one update ------------------------------------------------------------------------------------------

    def update(self, batches: list[Batches], who: list[int], step: int, updates: list[int]) -> None:
        """Update number `step` of a task by the members `who`; `updates`: how many each will make in the task."""
        rows = [batches[k].new(step) for k in who]
        old = [batches[k].old(step) for k in who]
        alike = len(who) == len(self.runs) and (not self.optimiser.scheduled or len(set(updates)) == 1)
        if alike and self.join():
            batch = self._batch(rows, old, batches[0].size)
            key = None if batch is None else (batches[0].task.index if self.foreign else None, shapes(batch), self.form)
            if batch is not None and (known := self._known(key, batch)) and self._all(known, batch, step, updates[0]):
                return
        self.part()
        self._each(batches, who, step, updates)

    def _each(self, batches: list[Batches], who: list[int], step: int, updates: list[int]) -> None:
        found = []
        for k in who:
            set_rate(self.learners[k].optimiser, step, updates[k])
            with self.alone(k) as learner:
                found.append(learner.update(batches[k].at(step)))
        self.facts.of_each(who, found)

    def _batch(self, rows: joining.Rows, old: list[Any], size: int) -> Batch | None:
        """The members' batches as one, filled up where one is short; None where that would change a number."""
        if len({own is None for own in old}) > 1:
            return None
        recalled = None if old[0] is None else max(map(len, old))
        if len(set(map(len, rows))) == 1:
            size = len(rows[0])  # short for all alike, as the last batch of an epoch of equally many samples
        batch = joining.joined(self.tables, rows, size)
        if recalled is not None:
            batch = batch._replace(replay=joining.joined(self.tables, old, recalled))
        for k in range(len(rows)):
            real = None if recalled is None else len(old[k])
            if (len(rows[k]), real) != (size, recalled) and not self._fillable(k, batch, len(rows[k]), real):
                return None
        return batch

    def _fillable(self, k: int, batch: Batch, size: int, recalled: int | None) -> bool:
        key = (shapes(batch), size, recalled, self.form)
        if key not in self.fillable:
            own = joining.parts(batch, len(self.runs))[k]
            self.fillable[key] = not self.foreign and joining.may_be_filled(self.learners[k], own, size, recalled)
        return self.fillable[key]

    def _all(self, known: "Known", batch: Batch, step: int, updates: int) -> bool:
        """One update of all members at once; False, and nothing is done, where some of them are to leave it out."""
        *grads, plasticity, stability = known.terms(self.params, self.states, batch)
        total = plasticity if stability is None else plasticity + stability
        if self.one.skip_zero and not bool(total.all()):
            return False
        moved = {name: g for name, g in zip(self.params, grads, strict=True) if g is not None}
        if edits(self.one):
            moved = self._edited(known, moved, batch)
        before = {name: p.clone() for name, p in self.params.items()} if known.after else {}
        self.optimiser.step([moved.get(name) for name in self.params], step, updates)
        if known.after:
            put(self.states, known.after.tree(moved, before, self.params, self.states))
        self.facts.of_all({"plasticity": plasticity} | ({} if stability is None else {"stability": stability}))
        return True

    def _edited(self, known: "Known", grads: Params, batch: Batch) -> Params:
        if known.edit is not None:
            return dict(zip(grads, known.edit(grads, self.params, self.states, batch), strict=True))
        cut = joining.parts((grads, batch), len(self.runs))
        found = [m.edit(own, m.live, m.state, b) for m, (own, b) in zip(self.learners, cut, strict=True)]
        return {name: torch.stack([own[name] for own in found]) for name in grads}

    # --- what is known ---------------------------------------------------------------------------------------

    def _known(self, key: Any, batch: Batch) -> "Known | None":
        """How this kind of update is made at once, None where it cannot be; learned when it is met for the first time."""
        if key not in self.known:
            try:
                self.known[key] = self._learn((self.params, self.states, batch))
            except Unfit as unfit:
                self.known[key] = None
                self._apart(f"its update: {unfit}")
        return self.known[key]

    def _apart(self, why: str) -> None:
        if why not in self.why:
            self.why.append(why)

    def _learn(self, inputs: tuple[Params, Any, Batch]) -> "Known":
        terms = Learned(self.learners, gradients, inputs)
        found = terms(*inputs)[: len(self.params)]
        grads = {name: g for name, g in zip(self.params, found, strict=True) if g is not None}
        edit = after = None
        if edits(self.one):
            try:
                if "edit" in self.one.by_itself:
                    raise Unfit("it looks at more than its arguments")
                edit = Learned(self.learners, lambda learner: learner.edit, (grads, *inputs))
            except Unfit as unfit:
                self._apart(f"its edit: {unfit}")
        if type(self.one).after is not Learner.after:
            after = Learned(self.learners, lambda learner: learner.after, (grads, self.params, *inputs[:2]))
        return Known(terms, edit, after)


@dataclass(frozen=True)
class Known:
    """The captured functions of one kind of update; `edit` is None where there is none, or each member makes its own."""

    terms: Learned
    edit: Learned | None
    after: Learned | None


def edits(learner: Learner) -> bool:
    """Whether a learner edits its gradients."""
    return type(learner).edit is not Learner.edit


def shapes(batch: Batch) -> tuple[Any, ...]:
    """Shapes of a batch, which decide together with the state's form what operations an update consists of."""
    own = tuple(None if t is None else t.shape for t in (batch.x, batch.columns))
    return own if batch.replay is None else (*own, shapes(batch.replay))


def put(states: Any, changed: Any) -> None:
    """Nothing; the stacked states, and with them the members' own, hold the changed entries."""
    for key, value in changed.items():
        if isinstance(value, dict):
            put(states[key], value)
        else:
            states[key].copy_(value)

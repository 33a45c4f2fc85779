"""What a learner keeps outside of its checkpoint is found, whatever it is kept in, and what is saved is not mistaken for it."""

import collections
import copy
import functools
import random
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from lightning import Fabric

from common import loop
from common.build import build
from common.errors import Problem
from common.learners.base import Learner
from common.learners.memory import Memory
from common.places import runs_dir
from common.record import RunFolder
from common.spec import RunSpec

OWN = '''
from common.learners.base import Terms
from common.learners.replay import ER

VERSION = 1


class Diary(ER):
    """ER that weighs the new task by how many tasks it has ended, and counts them in a list."""

    shared = []

    def __init__(self, setup, *, memory: int = 21, place: str = "list"):
        super().__init__(setup, memory=memory)
        self.place = place
        self.done = []
        self.step = 0

    def update(self, batch):
        if self.place == "while":
            self.step += 1
        return super().update(batch)

    def end(self, task):
        super().end(task)
        self.step = 0
        if self.place == "list":
            self.done.append(task.index)
        if self.place == "class":
            self.shared.append(task.index)
        if self.place == "memory":
            self.memory.ended = task.index
        if self.place == "state":
            self.state.setdefault("done", []).append(task.index)

    def terms(self, params, state, batch):
        terms = super().terms(params, state, batch)
        ended = len(self.done) + len(state.get("done", []))
        return Terms(terms.plasticity / (1 + ended), terms.stability)
'''


class Notes:
    """A plain object of one's own."""

    __slots__ = ("pages", "title")

    def __init__(self) -> None:
        self.pages: list[Any] = [{"words": {"one"}}]
        self.title = "notes"


def write(notes: Notes) -> None:
    notes.pages[0]["words"].add("two")


CHANGES: dict[str, tuple[Callable[[], Any], Callable[[Any], Any]]] = {
    "list": (list, lambda kept: kept.append(1)),
    "dict": (dict, lambda kept: kept.update(a=1)),
    "set": (set, lambda kept: kept.add(1)),
    "counter": (collections.Counter, lambda kept: kept.update("a")),
    "list in a tuple in a dict": (lambda: {"a": ([1],)}, lambda kept: kept["a"][0].append(2)),
    "array": (lambda: np.zeros((3, 2)), lambda kept: kept.fill(1)),
    "array in a list": (lambda: [np.zeros(3)], lambda kept: kept[0].put(1, 1)),
    "array of objects": (lambda: np.array([[1], None], dtype=object), lambda kept: kept[0].append(2)),
    "tensor": (lambda: torch.zeros(3), lambda kept: kept.add_(1)),
    "tensor behind the back of torch": (lambda: torch.zeros(3), lambda kept: kept.data.add_(1)),
    "number in a tensor": (lambda: torch.zeros((), dtype=torch.bfloat16), lambda kept: kept.fill_(1)),
    "large tensor": (lambda: torch.zeros(2**22), lambda kept: kept[7].add_(1)),
    "tensor in a dict": (lambda: {"a": torch.zeros(3)}, lambda kept: kept["a"].mul_(0).add_(1)),
    "object": (Notes, write),
    "object with a lock": (lambda: [threading.Lock(), Notes()], lambda kept: write(kept[1])),
    "function with settings": (lambda: functools.partial(print, [1]), lambda kept: kept.args[0].append(2)),
    "numpy's generator": (lambda: np.random.default_rng(0), lambda kept: kept.random()),
    "torch's generator": (torch.Generator, lambda kept: torch.rand(1, generator=kept)),
    "python's generator": (lambda: random.Random(0), lambda kept: kept.random()),
}


def remembering(small: Callable[..., RunSpec], make: Callable[[Learner], Any]) -> Learner:
    """A learner that is as it was made, with an attribute `kept`."""
    learner = build(small("er"), Fabric(accelerator="cpu", devices=1))[1]
    del learner._made_with
    learner.kept = make(learner)
    assert learner.unsaved() == []
    return learner


@pytest.mark.parametrize("kind", CHANGES)
def test_what_is_changed_in_place_is_found(kind: str, small: Callable[..., RunSpec]) -> None:
    make, change = CHANGES[kind]
    learner = remembering(small, lambda _: make())
    assert learner.unsaved() == []
    change(learner.kept)
    assert learner.unsaved() == ["kept"]


@pytest.mark.parametrize("kind", CHANGES)
def test_what_is_put_in_its_place_is_found(kind: str, small: Callable[..., RunSpec]) -> None:
    learner = remembering(small, lambda _: CHANGES[kind][0]())
    learner.kept = "other"
    assert learner.unsaved() == ["kept"]


def test_a_new_attribute_and_one_of_the_memory_are_found(small: Callable[..., RunSpec]) -> None:
    learner = remembering(small, lambda _: 1.5)
    learner.kept = 3 / 2  # another object of the same value: nothing is lost
    learner._again = 7
    assert learner.unsaved() == []
    learner.more = 1
    assert learner.memory is not None
    learner.memory.logits = torch.zeros(3)  # type: ignore[attr-defined]
    assert learner.unsaved() == ["memory.logits", "more"]


def test_a_memory_that_stores_more_may_keep_more(small: Callable[..., RunSpec]) -> None:
    class Wide(Memory):
        def stored(self) -> dict[str, Any]:
            return super().stored() | {"more": self.items}

    learner = remembering(small, lambda one: setattr(one, "memory", Wide(21)))
    learner.memory.items = torch.zeros(2)  # type: ignore[union-attr]
    assert learner.unsaved() == []


@pytest.mark.parametrize(
    "refer",
    [
        lambda learner: list(learner.net.parameters()),
        lambda learner: {"head": learner.net.head.weight.data.view(-1)},
        lambda learner: [learner, learner.net, learner.optimiser, learner.state, learner.memory],
        lambda learner: [learner.data, learner.data.inputs[:5], learner.update],
    ],
    ids=["weights", "a view of weights", "what is saved", "data and code"],
)
def test_what_a_checkpoint_holds_may_be_referred_to(refer: Callable[[Learner], Any], small: Any) -> None:
    learner = remembering(small, refer)
    learner.state["more"] = torch.ones(3)
    learner.update(learner.data.batch(np.arange(8)))
    learner.memory.add(np.arange(30), np.zeros(30, dtype=int), 0, 0)  # type: ignore[union-attr]
    learner.data.inputs[:5] = 0  # as a task with a corruption does
    assert learner.unsaved() == []


def test_a_network_that_no_checkpoint_holds_is_found_when_it_learns(small: Callable[..., RunSpec]) -> None:
    learner = remembering(small, lambda one: [copy.deepcopy(one.net)])  # a list: torch does not see into it
    with torch.no_grad():
        learner.kept[0].head.bias += 1
    assert learner.unsaved() == ["kept"]


@pytest.mark.parametrize(("place", "named"), [("list", "done"), ("class", "shared"), ("memory", "memory.ended")])
def test_a_run_that_could_not_be_resumed_is_refused(
    place: str, named: str, small: Callable[..., RunSpec], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "own_diary.py").write_text(OWN)
    monkeypatch.syspath_prepend(str(tmp_path))
    with pytest.raises(Problem, match=rf"Diary changes {named} while it learns, which no checkpoint holds"):
        loop.run(small("own_diary.Diary", {"learner.place": place}), loop.Place(save_every=13))


@pytest.mark.parametrize(("place", "named"), [("list", "done"), ("class", "shared"), ("while", "step")])
@pytest.mark.parametrize("at_once", [1, 2])
def test_a_run_too_short_for_a_checkpoint_is_refused_too(
    place: str, named: str, at_once: int, small: Callable[..., RunSpec], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from common.vectorised import loop as batch

    (tmp_path / "own_diary.py").write_text(OWN)
    monkeypatch.syspath_prepend(str(tmp_path))
    specs = [small("own_diary.Diary", {"learner.place": place}, seed=seed) for seed in range(at_once)]
    errors: dict[str, Exception | None] = {}
    batch.run(specs, loop.Place(), [], errors.__setitem__)
    assert len(errors) == at_once
    for run_id, error in errors.items():
        assert f"Diary changes {named} while it learns" in str(error)
        status = RunFolder(runs_dir() / run_id).status()
        assert (status["state"], status["updates"]) == ("failed", 0)  # in its first task: nothing was reported yet


def test_a_list_in_the_state_is_resumed(
    small: Callable[..., RunSpec], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from tests.helpers import same, stored

    (tmp_path / "own_diary.py").write_text(OWN)
    monkeypatch.syspath_prepend(str(tmp_path))
    spec = small("own_diary.Diary", {"learner.place": "state"})
    asked = iter(range(100))
    with pytest.raises(loop.Stopped):
        loop.run(spec, loop.Place(stop=lambda: next(asked) == 17))
    resumed = stored(loop.run(spec).path)
    monkeypatch.setenv("REPLICATE_RUNS", str(tmp_path / "whole"))
    assert same(resumed, stored(loop.run(spec).path))

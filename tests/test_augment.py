"""Augmentation: the pictures that torchvision would make, drawn by an address, seen by training alone."""

import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from common import loop
from common.batches import Batches
from common.build import build, fabric_for
from common.errors import Problem
from common.loop import Place
from common.spec import RunSpec
from common.streams.augment import crop_flip
from tests.helpers import same, same_weights, stored

CROPS: dict[str, Any] = {"augmentation.name": "crop_flip", "augmentation.padding": 2}


@given(st.integers(0, 3), st.integers(1, 6), st.integers(2, 6), st.integers(0, 99))
def test_each_picture_is_a_crop_of_itself_with_a_black_border(padding: int, count: int, side: int, seed: int) -> None:
    pictures = torch.arange(1, 1 + count * 2 * side**2, dtype=torch.float32).reshape(count, 2, side, side)
    changed = crop_flip(padding=padding)(pictures, np.random.default_rng(seed))
    for picture, found in zip(pictures, changed, strict=True):
        larger = np.pad(picture.numpy(), ((0, 0), (padding, padding), (padding, padding)))
        crops = [larger[:, i : i + side, j : j + side] for i in range(2 * padding + 1) for j in range(2 * padding + 1)]
        assert any(np.array_equal(found, c) or np.array_equal(found, c[:, :, ::-1]) for c in crops)


def test_every_shift_and_both_sides_occur() -> None:
    pictures = torch.arange(1.0, 17.0).reshape(1, 1, 4, 4).repeat(900, 1, 1, 1)
    changed = crop_flip(padding=1)(pictures, np.random.default_rng(0)).numpy()
    kinds, counts = np.unique(changed.reshape(900, -1), axis=0, return_counts=True)
    assert len(kinds) == 18  # nine shifts, mirrored or not
    assert counts.min() > 20  # expected are 50, with a standard deviation of 7


def test_nothing_asked_for_is_nothing_done(small: Callable[..., RunSpec]) -> None:
    plain, idle = small(), small(over=CROPS | {"augmentation.padding": 0, "augmentation.flip": 0.0})
    assert "augmentation" not in plain.science  # runs from before augmentation keep their ids
    assert plain.run_id != idle.run_id
    assert same(stored(loop.run(plain).path), stored(loop.run(idle).path))


def test_it_changes_what_is_learned_from_and_not_what_is_measured_on(small: Callable[..., RunSpec]) -> None:
    plain, cropped = (build(s, fabric_for("cpu", "32")) for s in (small(), small(over=CROPS)))
    assert torch.equal(plain[1].data.evaluation(None, 0).x, cropped[1].data.evaluation(None, 0).x)
    new = [Batches(learner, stream.tasks[0], spec).at(0) for (stream, learner), spec in
           ((plain, small()), (cropped, small(over=CROPS)))]  # fmt: skip
    assert torch.equal(new[0].y, new[1].y)
    assert not torch.equal(new[0].x, new[1].x)
    assert not same_weights(*(stored(loop.run(s).path)[1] for s in (small(), small(over=CROPS))))


def test_remembered_samples_are_changed_too_and_by_draws_of_their_own(small: Callable[..., RunSpec]) -> None:
    spec = small("er", CROPS)
    stream, learner = build(spec, fabric_for("cpu", "32"))
    learner.begin(stream.tasks[0])
    learner.update(Batches(learner, stream.tasks[0], spec).at(0))
    learner.end(stream.tasks[0])
    learner.begin(stream.tasks[1])
    once, again = (Batches(learner, stream.tasks[1], spec).at(3) for _ in range(2))
    assert once.replay is not None
    assert again.replay is not None
    assert torch.equal(once.replay.x, again.replay.x)
    assert once.replay.rows is not None
    assert not torch.equal(once.replay.x, learner.data.batch(once.replay.rows).x)


def test_killed_and_resumed_it_sees_the_same_pictures(
    small: Callable[..., RunSpec], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec = small("er", CROPS)
    with monkeypatch.context() as patch:
        patch.setenv("REPLICATE_RUNS", str(tmp_path / "whole"))
        whole = stored(loop.run(spec).path)
    child = os.fork()
    if not child:
        loop.run(
            spec, Place(save_every=5, watch=lambda at, _: os.kill(os.getpid(), signal.SIGKILL) if at == 17 else None)
        )
        os._exit(0)
    assert os.WIFSIGNALED(os.waitpid(child, 0)[1])
    assert same(stored(loop.run(spec).path), whole)


@pytest.mark.parametrize(
    ("over", "said"),
    [
        ({"augmentation.name": "crop_flop"}, "Did you mean 'crop_flip'?"),
        ({"augmentation": "crop_flip"}, "must be a mapping with a name"),
        (CROPS | {"augmentation.pading": 1}, "Did you mean 'padding'?"),
        (CROPS | {"augmentation.flip": 1.5}, "augmentation.flip is 1.5, but must lie between 0 and 1."),
    ],
)
def test_bad_requests_are_told(over: dict[str, Any], said: str, small: Callable[..., RunSpec]) -> None:
    with pytest.raises(Problem) as caught:
        small(over=over)
    assert said in str(caught.value)

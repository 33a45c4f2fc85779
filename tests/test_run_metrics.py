"""Metrics of a finished run are computed once, and anew when the run or the code that measures is another."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from common import loop, run_metrics, sweep
from common.errors import Problem
from common.places import runs_dir
from common.record import RunFolder

Write = Callable[..., Path]
TOY = {
    "run": {"data": "digits", "stream": {"name": "split", "tasks": 2, "classes_per_task": 2},
            "model": {"name": "mlp", "hidden": [4]}, "learner": {"name": "finetune"},
            "optimiser": {"name": "sgd", "lr": 0.1}, "budget": {"iterations": 3, "batch": 8}},
    "tiers": {"smoke": {"seeds": 0}},
}  # fmt: skip


@pytest.fixture
def request_(paper: Write) -> sweep.Request:
    """A finished run of a paper of one's own."""
    paper("one", TOY)
    (found,) = sweep.expand("toy/one", "smoke")
    loop.run(found.run)
    return found


def test_they_are_computed_once(request_: sweep.Request, monkeypatch: pytest.MonkeyPatch) -> None:
    before = run_metrics.measured(request_)
    monkeypatch.setattr(run_metrics, "_of_trace", lambda request: pytest.fail("computed again"))
    np.testing.assert_equal(run_metrics.measured(request_), before)


def test_a_run_that_was_made_again_is_measured_again(request_: sweep.Request) -> None:
    before = run_metrics.measured(request_)
    path = runs_dir() / request_.run_id / "trace.npz"
    arrays: dict[str, Any] = dict(np.load(path))
    arrays["bits"] = np.zeros_like(arrays["bits"])
    np.savez_compressed(path, **arrays)
    assert run_metrics.measured(request_)["acc"] == 0 != before["acc"]


def test_a_missing_trace_is_said_though_its_metrics_are_known(request_: sweep.Request) -> None:
    run_metrics.measured(request_)
    (RunFolder(runs_dir() / request_.run_id).path / "trace.npz").unlink()
    with pytest.raises(Problem, match="missing though the run is done"):
        run_metrics.measured(request_)

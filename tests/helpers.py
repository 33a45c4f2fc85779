"""What several tests share: small settings, a kill at a chosen update, and the comparison of finished runs to the last bit."""

import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

SMALL: dict[str, Any] = {
    "data": "digits",
    "stream": {"name": "split", "tasks": 3, "classes_per_task": 2},
    "model": {"name": "mlp", "hidden": [12]},
    "learner": {"name": "finetune"},
    "optimiser": {"name": "sgd", "lr": 0.05, "momentum": 0.9},
    "budget": {"iterations": 12, "batch": 8},
    "evaluation": {"every": 1, "samples": 20},
}

# every learner with settings under which its mechanism shows within a dozen updates
LEARNERS: dict[str, dict[str, Any]] = {
    "finetune": {},
    "er": {"memory": 21, "alpha": 0.3},
    "joint": {},
    "gem": {"memory": 30},
    "agem": {"memory": 40},
    "ewc": {"strength": 30.0},
    "si": {"strength": 5.0},
    "lwf": {"strength": 1.0},
    "masked": {"mask": "task", "clip": 1.0},
}


def small_spec(learner: str = "finetune", over: dict[str, Any] | None = None, seed: int = 0) -> Any:
    """small_spec("er", {"budget.iterations": 3}, seed=1): RunSpec of a short run on the digits."""
    from common import specfiles
    from common.resolve import resolve
    from common.streams import data

    raw = specfiles.merge(SMALL, {"learner": {"name": learner, **LEARNERS.get(learner, {})}, "seed": seed})
    raw = specfiles.merge(raw, specfiles.nested(over or {}))
    return resolve(raw, data.digest(raw["data"]))


def stored(folder: Path) -> tuple[bytes, dict[str, np.ndarray]]:
    """(bytes of the trace, final weights) of a finished run."""
    import torch

    weights = torch.load(folder / "weights.pt", weights_only=True)
    return (folder / "trace.npz").read_bytes(), {name: t.numpy() for name, t in weights.items()}


def same(one: tuple[bytes, dict[str, np.ndarray]], other: tuple[bytes, dict[str, np.ndarray]]) -> bool:
    """Whether two finished runs are the same to the last bit."""
    (trace, weights), (trace2, weights2) = one, other
    return trace == trace2 and same_weights(weights, weights2)


def same_weights(one: dict[str, np.ndarray], other: dict[str, np.ndarray]) -> bool:
    """Whether two networks are the same to the last bit."""
    return one.keys() == other.keys() and all(one[n].tobytes() == other[n].tobytes() for n in one)


def killed(carry_out: Callable[[Callable[[int, int], None]], object], at: int) -> None:
    """Nothing; `carry_out(watch)` was killed by SIGKILL right after update `at`, in a child process."""
    import torch

    child = os.fork()
    if not child:
        torch.set_num_threads(1)

        def watch(updates: int, total: int) -> None:
            if updates == at:
                os.kill(os.getpid(), signal.SIGKILL)

        carry_out(watch)
        os._exit(0)
    _, status = os.waitpid(child, 0)
    assert os.WIFSIGNALED(status)
    assert os.WTERMSIG(status) == signal.SIGKILL

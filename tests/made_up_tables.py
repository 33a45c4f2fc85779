"""Stored tables of a made-up tier of the stability gap: every spec and case, a few tasks and updates, no training."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from common import metrics
from common.table import Tables

METHODS = ("Finetune", "Joint", "ER", "GEM", "A-GEM", "EWC", "SI", "LwF")
PER_TASK = 12  # updates


def made_up_tables(
    folder: Path, seeds: int = 2, tasks: int = 3, cases: tuple[str, ...] = ("Split-A", "Split-B")
) -> Tables:
    """Tables with runs.csv, curves.parquet and scalars.parquet written into `folder`."""
    rows, curves, scalars = [], [], []
    for spec, case, settings in _variants(cases):
        for seed in range(seeds):
            run_id = f"made-up-s{seed}-{len(rows):04d}"
            accuracy, step, ends = _accuracy(len(rows), tasks)
            measured = metrics.summarise(accuracy, step, ends)
            place = {"run_id": run_id, "paper": "stability_gap", "spec": spec, "tier": folder.name, "case": case}
            rows.append(
                {**place, "data_title": "Dots (JPEG copies)", "data": "dots", "seed": seed, **settings, **measured}
            )
            curves.append(_points(run_id, accuracy, step))
            if spec == "gradients":
                norms = np.random.default_rng(len(rows)).random((2, step[-1])).astype("float32")
                columns = {"grad_plasticity": norms[0], "grad_stability": norms[1]}
                scalars.append(pd.DataFrame({"run_id": run_id, "update": np.arange(step[-1])} | columns))
    folder.mkdir(parents=True, exist_ok=True)
    pd.DataFrame(rows).to_csv(folder / "runs.csv", index=False)
    for name, frames in (("curves", curves), ("scalars", scalars)):
        whole = pd.concat(frames)
        whole.assign(run_id=whole["run_id"].astype("category")).to_parquet(folder / f"{name}.parquet", index=False)
    return Tables(pd.read_csv(folder / "runs.csv"), folder)


def _variants(cases: tuple[str, ...]) -> list[tuple[str, str, dict[str, Any]]]:
    found: list[tuple[str, str, dict[str, Any]]] = [("er", case, {}) for case in cases]
    found += [(spec, method, {}) for spec in ("methods_class", "methods_domain") for method in METHODS]
    found += [("gradients", method, {}) for method in ("ER", "GEM", "EWC", "LwF")]
    found += [("rotation", "", {"stream.degrees": angle}) for angle in (10.0, 30.0, 60.0, 80.0)]
    found += [("memory", "", {"learner.memory": size}) for size in (50.0, 200.0, None)]
    found += [("momentum", case, {"optimiser.momentum": m}) for case in ("ER", "Joint") for m in (0.0, 0.9)]
    found += [("batchnorm", case, {}) for case in ("BatchNorm", "GroupNorm")]
    found += [("online", "", {}), ("task_incremental", "", {})]
    grid = [(lr, alpha) for lr in (0.01, 0.1) for alpha in (0.3, 0.5, 0.7)]
    for how in ("select", "by_test"):
        found += [(f"{how}_domain", "EWC", {"learner.strength": strength}) for strength in (1.0, 10.0)]
        found += [(f"{how}_class", "ER", {"optimiser.lr": lr, "learner.alpha": alpha}) for lr, alpha in grid]
    return found


def _accuracy(key: int, tasks: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """A [E, T], step and ends of a run whose accuracies are noise."""
    step = np.arange(tasks * PER_TASK + 1)
    accuracy = np.random.default_rng(key).random((len(step), tasks))
    accuracy[step[:, None] <= PER_TASK * np.arange(tasks)] = np.nan
    accuracy[0, 0] = 0.1
    return accuracy, step, PER_TASK * np.arange(1, tasks + 1)


def _points(run_id: str, accuracy: np.ndarray, step: np.ndarray) -> pd.DataFrame:
    rows, tasks = np.nonzero(~np.isnan(accuracy))
    return pd.DataFrame({"run_id": run_id, "step": step[rows], "task": tasks, "accuracy": accuracy[rows, tasks]})

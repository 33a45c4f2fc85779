"""The folders of a workplace, named by environment variables; nothing of them enters a run's identity."""

import os
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


def data_dir() -> Path:
    """Folder of the data sets: $REPLICATE_DATA, else ./data beside the code."""
    return Path(os.environ.get("REPLICATE_DATA") or ROOT / "data")


def runs_dir() -> Path:
    """Folder of the run folders: $REPLICATE_RUNS, else ./runs beside the code."""
    return Path(os.environ.get("REPLICATE_RUNS") or ROOT / "runs")


def results_dir() -> Path:
    """Folder of tables, figures and verdicts: $REPLICATE_RESULTS, else ./results beside the code."""
    return Path(os.environ.get("REPLICATE_RESULTS") or ROOT / "results")


def cache_dir() -> Path:
    """Folder of what can be made anew at any time (decoded images, file digests)."""
    return runs_dir() / ".cache"


def cluster_dir() -> Path:
    """Folder of what was submitted to a cluster: code, jobs and their logs; every node must see it."""
    return runs_dir().absolute() / ".slurm"

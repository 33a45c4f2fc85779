"""The folders of a workplace, named by environment variables; nothing of them enters a run's identity."""

import os
import tempfile
from pathlib import Path

from common.errors import Problem

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


def refuse_unwritable() -> None:
    """Nothing; runs and results can be stored. Errors: Problem naming the folder that cannot be written."""
    for room, folder in (("RUNS", runs_dir()), ("RESULTS", results_dir())):
        try:
            folder.mkdir(parents=True, exist_ok=True)
            tempfile.TemporaryFile(dir=folder).close()
        except OSError as error:
            raise Problem(
                f"Nothing can be written to {folder} ({error.strerror}). Mend its permissions, or let REPLICATE_{room} name "
                "another folder."
            ) from error


def cache_dir() -> Path:
    """Folder of what can be made anew at any time (decoded images, file digests)."""
    return runs_dir() / ".cache"


def cluster_dir() -> Path:
    """Folder of what was submitted to a cluster: code, jobs and their logs; every node must see it."""
    return runs_dir().absolute() / ".slurm"

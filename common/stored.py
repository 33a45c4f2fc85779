"""Tables as they are stored, read with care: one clear message for a file that is damaged."""

from pathlib import Path
from typing import TYPE_CHECKING

from common import metrics
from common.asked import asked_in
from common.errors import Problem

if TYPE_CHECKING:
    import pandas as pd

RUNS_COLUMNS = ("run_id", "paper", "spec", "tier", "case", "data", "seed")  # the others depend on the runs
TEXTS = ("run_id", "paper", "spec", "tier", "case", "data", "data_title")  # names, whatever they look like
PROVENANCE_COLUMNS = ("run_id", "updates", "seconds", "host", "device", "code", "started", "torch", "lossy")


def stored_runs(folder: Path) -> "pd.DataFrame | None":
    """The stored table of runs, or None."""
    path = folder / "runs.csv"
    return table_of_runs(path) if path.exists() else None


def stored_provenance(folder: Path) -> "pd.DataFrame | None":
    """The stored table of where the runs came from, or None."""
    path = folder / "provenance.csv"
    return _parsed(path, PROVENANCE_COLUMNS) if path.exists() else None


def table_of_runs(path: Path) -> "pd.DataFrame":
    """The stored table of runs. Errors: Problem when a column is missing, a row is there twice or a metric is no number."""
    found = _parsed(path, RUNS_COLUMNS)
    doubled = found[found.duplicated(["run_id", "spec", "case"])]
    if len(doubled):
        raise Problem(_spoiled(path, f"run {doubled['run_id'].iloc[0]} of {doubled['spec'].iloc[0]} is there twice"))
    texts = [name for name in ("seed", *metrics.METRICS) if name in found and found[name].dtype.kind not in "iufb"]
    if texts:
        raise Problem(_spoiled(path, f"its column {texts[0]} holds a text"))
    return found


def _spoiled(path: Path, what: object) -> str:
    return f"{path} is damaged ({str(what).strip()}). Restore it (git checkout), or remove it and run the target again."


def _parsed(path: Path, columns: tuple[str, ...]) -> "pd.DataFrame":
    import pandas as pd

    try:
        if not path.read_bytes().endswith(b"\n"):
            raise ValueError("its last line is cut short")
        texts = dict.fromkeys(TEXTS, str)
        found = pd.read_csv(path, keep_default_na=False, na_values=[""], low_memory=False, dtype=texts)
        if "run_id" not in found or not isinstance(found.index, pd.RangeIndex):  # the latter: more cells than names
            raise ValueError("it is no table with a column run_id")
        if lacking := [name for name in columns if name not in found]:
            raise ValueError(f"it lacks the column {', '.join(lacking)}")
        return found
    except (OSError, ValueError) as error:  # what pandas raises for a file that is no table is a ValueError too
        raise Problem(_spoiled(path, error)) from error


def stored_points(path: Path) -> "pd.DataFrame":
    """A stored file of points. Errors: Problem when it is not there, or damaged."""
    import pandas as pd

    if not path.exists():
        raise Problem(f"{path} is not there yet. Make it: replicate figures {asked_in(path.parent)}.")
    try:
        found = pd.read_parquet(path)
        if "run_id" not in found:
            raise ValueError("it lacks the column run_id")
        return found
    except (OSError, ValueError) as error:  # pyarrow's errors are ValueErrors
        raise Problem(_spoiled(path, str(error).splitlines()[0])) from error

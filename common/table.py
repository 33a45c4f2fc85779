"""The tidy tables in the middle: run folders in, one row a run and one row a measured point out.

results/<paper>/<tier>/  runs.csv        one row a run: settings and metrics; the same bytes whenever the runs are the same
                         provenance.csv  one row a run: seconds, host, device, code, date
                         curves.parquet  accuracy of each evaluated task at each evaluation, of the runs that figures show
                         scalars.parquet gradient norms of each update, where they were recorded
                         facts.parquet   what the analyses found
A run that is not in the runs folder is taken from the stored table by its id: same id, same run.
"""

import hashlib
import io
import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from common import metrics, papers_code
from common.errors import Problem, nearest
from common.files import read_json, sha256_bytes, sha256_file, write_atomic, write_json
from common.places import ROOT, cache_dir, results_dir, runs_dir
from common.products import title
from common.record import RunFolder
from common.spec import log_spaced
from common.sweep import Request

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd


RUNS_COLUMNS = ("run_id", "paper", "spec", "tier", "case", "data", "seed")  # the others depend on the runs
PROVENANCE_COLUMNS = ("run_id", "updates", "seconds", "host", "device", "code", "started", "torch", "lossy")
Fresh = dict[str, tuple[Request, dict[str, Any]]]  # finished runs in the runs folder, with their status


@dataclass
class Tables:
    """The tables of a paper at a tier. runs: one row a run; curves and scalars: one row a measured point."""

    runs: "pd.DataFrame"
    folder: Path

    @property
    def curves(self) -> "pd.DataFrame":
        """run_id, step (updates made), task (evaluated), accuracy: of every stored evaluation.

        With parts of their own, all measured from the start: `task` is the part, `after` the number of tasks done, and
        only log-spaced and some fifty evenly spaced evaluations are kept, since such streams have thousands.
        """
        return _read_points(self.folder / "curves.parquet")

    def long(self) -> "pd.DataFrame":
        """`curves` with spec, case, seed and every setting of the run beside each point."""
        settings = [c for c in self.runs.columns if "." in c and "@" not in c]
        return self.curves.merge(self.runs[["run_id", "spec", "case", "seed", *settings]], on="run_id")

    @property
    def scalars(self) -> "pd.DataFrame":
        """run_id, update (from 0), then one column per recorded gradient norm."""
        return _read_points(self.folder / "scalars.parquet")

    @property
    def facts(self) -> "pd.DataFrame":
        """run_id and the columns of every fact that an analysis found."""
        return _read_points(self.folder / "facts.parquet")

    @property
    def digest(self) -> str:
        """Digest of the table of runs as stored."""
        return sha256_file(self.folder / "runs.csv")[:16]

    def where(self, **columns: Any) -> "pd.DataFrame":
        """Rows of `runs` whose columns have those values ('__' stands for '.': learner__name="er")."""
        rows = self.runs
        for key, value in columns.items():
            name = key.replace("__", ".")
            if name not in rows:
                raise Problem(f"The table of runs has no column '{name}'.{nearest(name, map(str, rows.columns))}")
            rows = rows[rows[name] == value]
        return rows


@dataclass(frozen=True)
class Asked:
    """What a request asks for besides a paper's specs as they stand; such tables have a folder of their own."""

    target: str
    overrides: tuple[tuple[str, Any], ...] = ()
    seeds: tuple[int, ...] = ()
    case: str = ""

    @property
    def words(self) -> str:
        """As the command line takes it."""
        seeds = f" --seeds {','.join(map(str, self.seeds))}" if self.seeds else ""
        case = f" --case {self.case}" if self.case else ""
        return f"{self.target}{seeds}{case}" + "".join(f" {key}={_yaml(value)}" for key, value in self.overrides)

    @property
    def label(self) -> str:
        """A folder's name: readable while it is short."""
        spec = self.target.partition("/")[2]
        seeds = "seeds=" + "+".join(map(str, self.seeds)) if self.seeds else ""
        words = [spec, f"case={self.case}" if self.case else "", seeds, *(f"{k}={_yaml(v)}" for k, v in self.overrides)]
        plain = re.sub(r"[^\w.=,+-]+", "_", ",".join(filter(None, words)))
        return plain if len(plain) <= 100 else f"{plain[:80]}-{sha256_bytes(plain.encode())[:12]}"


def _yaml(value: Any) -> str:
    return "null" if value is None else str(value).lower() if isinstance(value, bool) else str(value).replace(" ", "")


def folder_of(paper: str, tier: str, asked: Asked | None = None) -> Path:
    """Where the tables and figures of a paper at a tier lie; a request of one's own has a folder beside it."""
    return results_dir() / paper / (f"{tier}@{asked.label}" if asked else tier)


def asked_in(folder: Path) -> str:
    """The words that `replicate figures` takes to make that folder again."""
    path = folder / "request.json"
    return str(read_json(path)["asked"]) if path.exists() else folder.parent.name


def measured(request: Request) -> dict[str, Any]:
    """Metrics of a finished run (and its paper's own), computed once from the trace and kept in the cache."""
    path = cache_dir() / "metrics" / f"{request.run_id}-{request.paper}-{measures_version(request.paper)}.json"
    if path.exists():
        return dict(read_json(path))
    found = _of_facts(request) if request.run.finding else _of_trace(request)
    # the precision of the stored table, in the order in which the cache gives them back
    found = {name: float(f"{found[name]:.8g}") for name in sorted(found)}
    write_json(path, found)
    return found


def _of_trace(request: Request) -> dict[str, Any]:
    """Metrics of a run that learned, with the paper's `per_run(trace, accuracy)`."""
    trace = RunFolder(runs_dir() / request.run_id).trace()
    accuracy = metrics.accuracy_matrix(trace["bits"], trace["offsets"], trace["seen"])
    if "trained" in trace:  # parts that are no tasks: what compares a part with its own task has no meaning
        found: dict[str, Any] = {"acc": metrics.acc(accuracy)}
    else:
        found = dict(metrics.summarise(accuracy, trace["step"], trace["ends"]))
    per_run = getattr(measures_of(request.paper), "per_run", None)
    what = f"per_run of papers/{request.paper}/measures.py on run {request.run_id}"
    return found | (papers_code.columns(what, per_run, trace, accuracy) if per_run else {})


def _of_facts(request: Request) -> dict[str, Any]:
    """Measures of an analysis or a collection: the paper's `per_analysis(name, facts)`."""
    assert request.run.finding is not None
    per_analysis = getattr(measures_of(request.paper), "per_analysis", None)
    facts = RunFolder(runs_dir() / request.run_id).facts()
    what = f"per_analysis of papers/{request.paper}/measures.py on run {request.run_id}"
    name = request.run.finding.name.rpartition(".")[2]
    return papers_code.columns(what, per_analysis, name, facts) if per_analysis else {}


@cache
def measures_of(paper: str) -> Any:
    """The paper's module of measures, or None where it has none."""
    return papers_code.module(ROOT, paper, "measures")


@cache
def measures_version(paper: str) -> str:
    """Digest of the code that measures, so that a changed metric is computed anew from the stored traces."""
    own = sorted((ROOT / "papers" / paper).glob("measures*.py"))
    paths = [ROOT / "common" / "metrics.py", ROOT / "common" / "switches.py", *own]
    return sha256_bytes(b"".join(p.read_bytes() for p in paths if p.exists()))[:12]


def collect(requests: list[Request], folder: Path, store: bool = True, asked: Asked | None = None) -> Tables:
    """The tables of those runs: finished runs from their folders, others from the table stored in `folder`.

    store: write the tables into `folder` (False: only read; `curves` and `scalars` are then those stored earlier).
    """
    import pandas as pd

    stored = stored_runs(folder)
    known = set() if stored is None else set(stored["run_id"])
    rows, fresh = [], {}
    for request in requests:
        status = RunFolder(runs_dir() / request.run_id).status()
        if status["state"] == "done":
            rows.append(_row(request))
            fresh[request.run_id] = request, status
        elif request.run_id in known and stored is not None:
            same = stored[(stored["run_id"] == request.run_id) & (stored["spec"] == request.spec)]
            rows += _records(same[same["case"].astype(object).fillna("") == request.case])
    runs = pd.DataFrame(rows)
    if runs.empty:
        return Tables(runs, folder)
    if "selected" in runs:  # whichever row has it first
        runs.insert(RUNS_COLUMNS.index("data"), "selected", runs.pop("selected"))
    runs = runs.sort_values(["spec", "case", "run_id"]).reset_index(drop=True)
    if store:
        wanted = list(runs["run_id"].unique())
        made = {"runs.csv": runs.to_csv(index=False, float_format="%.8g", lineterminator="\n").encode()}
        made["provenance.csv"] = _provenance(wanted, fresh, folder)
        for name, points in (("curves", _curve), ("scalars", _scalars), ("facts", _facts)):
            if content := _points(folder / f"{name}.parquet", wanted, fresh, points):
                made[f"{name}.parquet"] = content
        if asked:
            write_json(folder / "request.json", {"asked": asked.words})
        for name, content in made.items():  # all of it could be read, so that nothing is left half renewed
            _write_if_new(folder / name, content)
        runs = _of_runs(folder / "runs.csv")
    return Tables(runs, folder)


def _records(rows: "pd.DataFrame") -> list[dict[str, Any]]:
    return [{str(column): value for column, value in row.items()} for row in rows.to_dict("records")]


def stored_runs(folder: Path) -> "pd.DataFrame | None":
    """The stored table of runs, or None."""
    path = folder / "runs.csv"
    return _of_runs(path) if path.exists() else None


def stored_provenance(folder: Path) -> "pd.DataFrame | None":
    """The stored table of where the runs came from, or None."""
    path = folder / "provenance.csv"
    return _parsed(path, PROVENANCE_COLUMNS) if path.exists() else None


def _of_runs(path: Path) -> "pd.DataFrame":
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
        found = pd.read_csv(path, keep_default_na=True, na_values=[""], low_memory=False, dtype={"run_id": str})
        if "run_id" not in found or not isinstance(found.index, pd.RangeIndex):  # the latter: more cells than names
            raise ValueError("it is no table with a column run_id")
        if lacking := [name for name in columns if name not in found]:
            raise ValueError(f"it lacks the column {', '.join(lacking)}")
        return found
    except (OSError, ValueError) as error:  # what pandas raises for a file that is no table is a ValueError too
        raise Problem(_spoiled(path, error)) from error


_title = cache(title)


def _row(request: Request) -> dict[str, Any]:
    place = {"paper": request.paper, "spec": request.spec, "tier": request.tier, "case": request.case}
    title = {
        "data_title": _title(request.run.data, request.run_id if request.run.collection else request.run.maker)
    }  # names a lossy copy, where the data are not at hand too
    chosen = {"selected": request.selected} if request.selected else {}  # by which selection, of other seeds and data
    return {"run_id": request.run_id, **place, **chosen, **title, **request.run.flat(), **measured(request)}


def _provenance(wanted: list[str], fresh: Fresh, folder: Path) -> bytes:
    """The content of provenance.csv."""
    import pandas as pd

    rows = []
    for run_id, (_, status) in fresh.items():
        about = RunFolder(runs_dir() / run_id).provenance()
        took = {"updates": status["updates"], "seconds": status["seconds"], "host": about["host"]}
        code = {"device": about["device"], "code": about["code"]["digest"], "started": about["started"]}
        rows.append(
            {"run_id": run_id, **took, **code, "torch": about["versions"]["torch"], "lossy": about["stream"]["lossy"]}
        )
    path = folder / "provenance.csv"
    if path.exists():
        rows += [r for r in _records(_parsed(path, PROVENANCE_COLUMNS)) if r["run_id"] in set(wanted) - set(fresh)]
    table = pd.DataFrame(rows).sort_values("run_id")
    return bytes(table.to_csv(index=False, lineterminator="\n").encode())


def _points(path: Path, wanted: list[str], fresh: Fresh, points: "Callable[[Request], pd.DataFrame]") -> bytes | None:
    """The content of a file of points, None where there are none."""
    import pandas as pd

    frames = [points(request) for request, _ in fresh.values()]
    if path.exists():
        old = _read_points(path)
        frames.append(old[old["run_id"].isin(list(set(wanted) - set(fresh)))])
    frames = [frame for frame in frames if len(frame)]
    if not frames:
        return None
    whole = pd.concat(frames)
    by = ("run_id",) if path.stem == "facts" else ("run_id", "step", "task", "update")  # facts keep their own order
    whole = whole.sort_values([c for c in by if c in whole], kind="stable")
    whole["run_id"] = whole["run_id"].astype(str).astype("category")
    buffer = io.BytesIO()
    whole.reset_index(drop=True).to_parquet(buffer, compression="zstd", index=False)
    return buffer.getvalue()


def _write_if_new(path: Path, content: bytes) -> None:
    if not path.exists() or hashlib.sha256(path.read_bytes()).digest() != hashlib.sha256(content).digest():
        write_atomic(path, content)


def _read_points(path: Path) -> "pd.DataFrame":
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


def _facts(request: Request) -> "pd.DataFrame":
    import pandas as pd

    if not request.run.finding:
        return pd.DataFrame({"run_id": []})
    facts = RunFolder(runs_dir() / request.run_id).facts()
    facts.insert(0, "run_id", request.run_id)
    return facts


def _curve(request: Request) -> "pd.DataFrame":
    import numpy as np
    import pandas as pd

    if request.run.finding:
        return pd.DataFrame({"run_id": []})
    trace = RunFolder(runs_dir() / request.run_id).trace()
    accuracy = metrics.accuracy_matrix(trace["bits"], trace["offsets"], trace["seen"])
    rows, tasks = np.nonzero(~np.isnan(accuracy))
    own = "trained" in trace
    if own:
        rows, tasks = (index[_shown(trace)[rows]] for index in (rows, tasks))
    columns = {"run_id": request.run_id, "step": trace["step"][rows].astype("int32"), "task": tasks.astype("int16")}
    after = {"after": np.where(trace["step"] == 0, 0, trace["task"] + 1)[rows].astype("int32")} if own else {}
    more = {name[2:]: _part_means(trace, name)[rows, tasks] for name in trace if name.startswith("v_")}
    return pd.DataFrame(columns | after | {"accuracy": accuracy[rows, tasks].astype("float32")} | more)


def _part_means(trace: "dict[str, np.ndarray]", name: str) -> "np.ndarray":
    """float32 [E, P]: mean over each part's samples of a value that every sample has."""
    import numpy as np

    sums = np.add.reduceat(trace[name].astype("float64"), trace["offsets"][:-1], axis=1)
    return (sums / np.diff(trace["offsets"])).astype("float32")


def _shown(trace: "dict[str, np.ndarray]") -> "np.ndarray":
    """bool [E]: the evaluations of a stream with parts of its own that curves keep: before the first update, at the ends
    of log-spaced and of some fifty evenly spaced tasks, and all of a stream of few tasks."""
    import numpy as np

    count = len(trace["ends"])
    done = trace["task"] + 1
    kept = np.array([log_spaced(int(n)) for n in done]) | (done % max(1, count // 50) == 0) | (done == count)
    return kept | (trace["step"] == 0) if count > 50 else np.ones(len(done), dtype=bool)


def _scalars(request: Request) -> "pd.DataFrame":
    import numpy as np
    import pandas as pd

    if request.run.finding:
        return pd.DataFrame({"run_id": []})
    trace = RunFolder(runs_dir() / request.run_id).trace()
    columns = {name[2:]: values for name, values in trace.items() if name.startswith("s_grad_")}
    if not columns:
        return pd.DataFrame({"run_id": []})
    update = np.arange(len(next(iter(columns.values()))), dtype="int32")
    return pd.DataFrame({"run_id": request.run_id, "update": update} | columns)

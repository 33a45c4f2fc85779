"""The tidy tables in the middle: run folders in, one row a run and one row a measured point out.

results/<paper>/<tier>/  runs.csv        one row a run: settings and metrics; the same bytes whenever the runs are the same
                         provenance.csv  one row a run: seconds, host, device, code, date
                         curves.parquet  accuracy of each evaluated task at each evaluation, of the runs that figures show
                         scalars.parquet gradient norms of each update, where they were recorded
                         facts.parquet   what the analyses found
A run that is not in the runs folder is taken from the stored table by its id: same id, same run.
"""

import contextlib
import hashlib
import io
from collections.abc import Callable, Collection
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from common import points
from common.asked import Asked
from common.errors import Problem, nearest
from common.files import alone, sha256_bytes, sha256_file, write_atomic, write_json
from common.places import runs_dir
from common.products import title
from common.record import RunFolder
from common.run_metrics import measured
from common.stored import RUNS_COLUMNS, stored_points, stored_provenance, stored_runs, table_of_runs
from common.sweep import Request

if TYPE_CHECKING:
    import pandas as pd

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
        return stored_points(self.folder / "curves.parquet")

    def long(self) -> "pd.DataFrame":
        """`curves` with spec, case, seed and every setting of the run beside each point."""
        settings = [c for c in self.runs.columns if "." in c and "@" not in c]
        return self.curves.merge(self.runs[["run_id", "spec", "case", "seed", *settings]], on="run_id")

    @property
    def scalars(self) -> "pd.DataFrame":
        """run_id, update (from 0), then one column per recorded gradient norm."""
        return stored_points(self.folder / "scalars.parquet")

    @property
    def facts(self) -> "pd.DataFrame":
        """run_id and the columns of every fact that an analysis found."""
        return stored_points(self.folder / "facts.parquet")

    @property
    def digest(self) -> str:
        """Digest of the table of runs and of the measured points, as stored."""
        return digest(self.folder)

    def where(self, **columns: Any) -> "pd.DataFrame":
        """Rows of `runs` whose columns have those values ('__' stands for '.': learner__name="er")."""
        rows = self.runs
        for key, value in columns.items():
            name = key.replace("__", ".")
            if name not in rows:
                raise Problem(f"The table of runs has no column '{name}'.{nearest(name, map(str, rows.columns))}")
            rows = rows[rows[name] == value]
        return rows


def digest(folder: Path) -> str:
    """Digest of the table of runs and of the measured points that lie in a folder of results."""
    paths = [folder / name for name in ("runs.csv", "curves.parquet", "scalars.parquet", "facts.parquet")]
    return sha256_bytes("".join(sha256_file(path) for path in paths if path.exists()).encode())[:16]


def collect(
    requests: list[Request], folder: Path, store: bool = True, asked: Asked | None = None, beyond: Collection[str] = ()
) -> Tables:
    """The tables of those runs: finished runs from their folders, others from the table stored in `folder`.

    beyond: specs that cannot be asked for here, since their data or a selection is missing; their stored rows stay.
    store: write the tables into `folder` (False: only read; `curves` and `scalars` are then those stored earlier).
    """
    with alone(folder) if store else contextlib.nullcontext():  # what another process stores meanwhile is not lost
        return _collected(requests, folder, store, asked, beyond)


def _collected(
    requests: list[Request], folder: Path, store: bool, asked: Asked | None, beyond: Collection[str]
) -> Tables:
    import pandas as pd

    kept = stored_runs(folder)
    known = set() if kept is None else set(kept["run_id"])
    rows = [] if kept is None else _records(kept[kept["spec"].isin(list(beyond))])
    fresh = {}
    for request in requests:
        status = RunFolder(runs_dir() / request.run_id).status()
        if status["state"] == "done":
            rows.append(_row(request))
            fresh[request.run_id] = request, status
        elif request.run_id in known and kept is not None:
            same = kept[(kept["run_id"] == request.run_id) & (kept["spec"] == request.spec)]
            rows += _records(same[same["case"].astype(object).fillna("") == request.case])
    runs = pd.DataFrame(rows)
    if runs.empty:
        return Tables(runs, folder)
    if "selected" in runs:  # whichever row has it first
        runs.insert(RUNS_COLUMNS.index("data"), "selected", runs.pop("selected"))
    runs["case"] = runs["case"].astype(object).fillna("")  # of a stored row it is nothing, of a fresh one a text
    runs = runs.drop_duplicates(["run_id", "spec", "case"], keep="last")
    runs = runs.sort_values(["spec", "case", "run_id"]).reset_index(drop=True)
    if store:
        wanted = list(runs["run_id"].unique())
        made = {"runs.csv": runs.to_csv(index=False, float_format="%.8g", lineterminator="\n").encode()}
        made["provenance.csv"] = _provenance(wanted, fresh, folder)
        for name, of in (("curves", points.curve), ("scalars", points.scalars), ("facts", points.facts)):
            if content := _points(folder / f"{name}.parquet", wanted, fresh, of):
                made[f"{name}.parquet"] = content
        if asked:
            write_json(folder / "request.json", {"asked": asked.words})
        for name, content in made.items():  # all of it could be read, so that nothing is left half renewed
            _write_if_new(folder / name, content)
        runs = table_of_runs(folder / "runs.csv")
    return Tables(runs, folder)


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
    kept = stored_provenance(folder)
    if kept is not None:
        rows += [r for r in _records(kept) if r["run_id"] in set(wanted) - set(fresh)]
    table = pd.DataFrame(rows).sort_values("run_id")
    return bytes(table.to_csv(index=False, lineterminator="\n").encode())


def _write_if_new(path: Path, content: bytes) -> None:
    if not path.exists() or hashlib.sha256(path.read_bytes()).digest() != hashlib.sha256(content).digest():
        write_atomic(path, content)


def _points(path: Path, wanted: list[str], fresh: Fresh, of: "Callable[[Request], pd.DataFrame]") -> bytes | None:
    """The content of a file of points, None where there are none."""
    import pandas as pd

    frames = [of(request) for request, _ in fresh.values()]
    if path.exists():
        old = stored_points(path)
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


def _records(rows: "pd.DataFrame") -> list[dict[str, Any]]:
    return [{str(column): value for column, value in row.items()} for row in rows.to_dict("records")]

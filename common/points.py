"""Of one finished run the points that figures show: its curves, gradient norms, and what an analysis found."""

from typing import TYPE_CHECKING

from common import metrics
from common.places import runs_dir
from common.record import RunFolder
from common.spec import log_spaced
from common.sweep import Request

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd


def facts(request: Request) -> "pd.DataFrame":
    import pandas as pd

    if not request.run.finding:
        return pd.DataFrame({"run_id": []})
    facts = RunFolder(runs_dir() / request.run_id).facts()
    facts.insert(0, "run_id", request.run_id)
    return facts


def curve(request: Request) -> "pd.DataFrame":
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


def scalars(request: Request) -> "pd.DataFrame":
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

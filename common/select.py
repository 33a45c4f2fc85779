"""The selection protocol: the best mean ACC on held-out training images, over selection seeds, per case.

The choice is written to papers/<paper>/selected/<tier>.yaml, from where the reporting specs take it; their seeds and
their test images were never seen by it.
"""

from typing import Any

from common import run_metrics, selected, specfiles
from common.errors import Problem
from common.files import alone, write_atomic
from common.sweep import Request

HEADER = """\
# Written by `replicate select PAPER/SPEC --tier {tier}`; do not edit by hand.
# Per case: the grid point with the highest mean ACC on held-out training images over the selection seeds.
"""


def axes_of(paper: str, spec: str, tier: str, case: str) -> list[str]:
    """Names of the grid axes of a case."""
    content = specfiles.load(paper, spec)
    part = content["tiers"][tier] or {}
    cases = specfiles.merge(content["cases"], part.get("cases", {}))
    return sorted({**content["grid"], **part.get("grid", {}), **(cases.get(case) or {}).get("grid", {})})


def refuse_test_images(requests: list[Request]) -> None:
    """Nothing. Errors: Problem when a run measures on test images, by which nothing may be chosen."""
    for request in requests:
        if request.run.stream.settings.get("evaluate_on") != "validation":
            raise Problem(
                f"{request.paper}/{request.spec} measures on test images; select with stream.evaluate_on=validation."
            )


def scores(requests: list[Request]) -> list[dict[str, Any]]:
    """One row a case and grid point, best first: mean ACC over seeds, and the settings. Errors: Problem, runs missing."""
    refuse_test_images(requests)
    groups: dict[tuple[str, str], tuple[dict[str, Any], list[float]]] = {}
    for request in requests:
        axes = axes_of(request.paper, request.spec, request.tier, request.case)
        flat = request.run.flat()
        point = {axis: flat[axis] for axis in axes}
        _, values = groups.setdefault((request.case, repr(point)), (point, []))  # by its text: a value may be a list
        values.append(run_metrics.measured(request)["acc"])
    rows = [
        {"case": case, "settings": point, "acc": sum(values) / len(values), "n_seeds": len(values)}
        for (case, _), (point, values) in groups.items()
    ]
    return sorted(rows, key=lambda row: (row["case"], -row["acc"], str(row["settings"])))


def write(paper: str, spec: str, tier: str, rows: list[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """The best settings of each case, written beside those of the paper's other selection specs."""
    import yaml

    best: dict[str, dict[str, Any]] = {}
    for row in rows:
        best.setdefault(row["case"], row["settings"])
    path = selected.path_of(paper, tier)
    with alone(path.parent):  # the selections of other specs may be written meanwhile
        content = {**selected.everything(paper, tier), spec: best}
        write_atomic(path, HEADER.format(tier=tier) + yaml.safe_dump(content, sort_keys=True))
    return best

"""What is measured of one finished run: the field's metrics and its paper's own, from its trace or from what it found."""

from functools import cache
from pathlib import Path
from typing import Any

from common import imported, metrics, papers_code
from common.files import read_json, write_json
from common.places import ROOT, cache_dir, runs_dir
from common.record import RunFolder
from common.sweep import Request


def measured(request: Request) -> dict[str, Any]:
    """Metrics of a finished run (and its paper's own), computed once from what it stored and kept in the cache."""
    path = cache_dir() / "metrics" / f"{request.run_id}-{request.paper}-{measures_version(request.paper)}.json"
    of = _stored(runs_dir() / request.run_id / ("facts.csv" if request.run.finding else "trace.npz"))
    if of and path.exists() and (kept := read_json(path)).get("of") == of:
        return dict(kept["measures"])
    found = _of_facts(request) if request.run.finding else _of_trace(request)
    # the precision of the stored table, in the order in which the cache gives them back
    found = {name: float(f"{found[name]:.8g}") for name in sorted(found)}
    write_json(path, {"of": of, "measures": found})
    return found


def _stored(path: Path) -> list[int]:
    """Size and time of what a run stored, by which one that was made again is told; [] where it is missing."""
    try:
        about = path.stat()
    except OSError:
        return []
    return [about.st_size, about.st_mtime_ns]


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
    """Digest of the code that measures and of all it imports: a changed metric is computed anew from the stored traces."""
    return imported.digest("common.metrics", f"papers.{paper}.measures")

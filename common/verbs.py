"""The verbs of `replicate` as functions that return plain data; the command line and notebooks call the same ones."""

from typing import Any

from common import estimate, launch, selected, specfiles, sweep, together
from common.errors import Problem, Problems
from common.outcome import Outcome, Settings
from common.page.write import report
from common.places import refuse_unwritable, runs_dir
from common.reading import claims, claims_of, figures, show, tables, write_verdicts
from common.record import RunFolder
from common.streams import data
from common.summary import summary
from common.sweep import TIERS, Request
from common.targets import Overrides, Seeds, papers_of, rows_of, spec_names, updates_of

__all__ = ["cancel", "claims", "claims_of", "figures", "list_all", "plan", "report", "run", "select", "show", "status", "submit",
           "summary", "tables", "wait", "write_verdicts"]  # fmt: skip


def list_all() -> dict[str, Any]:
    """Papers with their specs, tiers, number of claims and spec files that cannot be read, and the data sets with their place."""
    papers = {}
    for paper in specfiles.papers():
        broken = specfiles.unreadable(paper)
        specs = {name: specfiles.load(paper, name) for name in specfiles.specs(paper) if name not in broken}
        papers[paper] = {
            "specs": {
                n: {"about": c.get("about", ""), "tiers": [t for t in TIERS if t in c["tiers"]]}
                for n, c in specs.items()
            },
            "broken": broken,
            "claims": len(claims_of(paper, checked=False)),
        }
    return {"papers": papers, "data": data.listing()}


def plan(
    target: str,
    tier: str = "smoke",
    overrides: Overrides = None,
    seeds: Seeds = None,
    case: str | None = None,
    at_once: together.How = "auto",
) -> dict[str, Any]:
    """What `run` would do: counts, updates, time and memory; every problem at once as one Problem. Nothing runs."""
    requests = sweep.expand(target, tier, overrides, seeds, case)
    unique = {r.run_id: r for r in requests}
    updates = updates_of(list(unique.values()))
    done = {i: r for i, r in unique.items() if RunFolder(runs_dir() / i).done()}
    missing = [r for i, r in unique.items() if i not in done]
    each, how = estimate.seconds(missing, done.values())
    known = [s for s in each if s is not None]
    workers = launch.processes(Settings(), len(missing))
    return {
        "target": target,
        "tier": tier,
        "runs": len(unique),
        "complete": len(unique) - len(missing),
        "missing": [r.run_id for r in missing],
        "updates": sum(updates[r.run_id] for r in missing),
        "core_seconds": round(sum(known), 1),
        "seconds": round(sum(known) / workers, 1),
        "unknown_time": len(each) - len(known),
        "estimated_from": how,
        "workers": workers,
        "together": together.summary(missing, updates, at_once),
        "memory_mb": workers * max((estimate.memory_mb(r.run) for r in missing), default=0),
        "specs": {
            name: len({r.run_id for r in requests if f"{r.paper}/{r.spec}" == name}) for name in spec_names(requests)
        },
    }


def run(
    target: str,
    tier: str = "smoke",
    overrides: Overrides = None,
    seeds: Seeds = None,
    case: str | None = None,
    settings: Settings | None = None,
    quiet: bool = False,
) -> dict[str, Any]:
    """Runs what is missing, resumes what was interrupted, then makes figures and verdicts.

    Returns runs done now, done before, failed (id -> reason), those whose loss was not finite in the end (id -> from which
    update on), whether it was stopped, rows of means and of verdicts, and paths of tables and figures.
    """
    refuse_unwritable()
    requests = sweep.expand(target, tier, overrides, seeds, case)
    if not requests:
        raise Problem(f"Nothing of '{target}' runs at tier '{tier}'. See: replicate list.")
    for paper in papers_of(target):
        claims_of(paper)  # what is wrong with them is said before anything runs
    outcome = launch.run_local(requests, settings or Settings(), updates_of(requests), quiet)
    return _harvest(outcome, requests, target, tier, overrides, seeds, case, quiet)


def _harvest(
    outcome: Outcome,
    requests: list[Request],
    target: str,
    tier: str,
    overrides: Overrides,
    seeds: Seeds,
    case: str | None,
    quiet: bool,
) -> dict[str, Any]:
    """The outcome of a launch with what was measured, the figures, and the verdicts of specs as they stand.

    brief: whether it is of whole papers as they stand, whose means would be too many lines to print.
    """
    own = bool(overrides) or seeds is not None
    went = {r.run_id: RunFolder(runs_dir() / r.run_id).status().get("not_finite_from") for r in requests}
    outcome.not_finite = {run_id: update for run_id, update in went.items() if update}
    result: dict[str, Any] = vars(outcome) | {"figures": [], "claims": [], "summary": [], "undrawn": None}
    result["brief"] = "/" not in target and not own
    if outcome.stopped:
        return result
    try:
        result["summary"] = summary(target, tier, overrides, seeds, case)
        if not own:  # a verdict on some of a spec's seeds would only alarm
            result["claims"] = claims(target, tier, None, seeds, case)
        result["figures"] = figures(target, tier, overrides, seeds, case, quiet)
    except Problem as problem:
        result["undrawn"] = " ".join(problem.messages)
    except Exception as error:  # a fault in a measure or a figure must not cost what was run
        result["undrawn"] = f"{type(error).__name__}: {error}"
    return result


def wait(
    target: str,
    tier: str = "smoke",
    overrides: Overrides = None,
    seeds: Seeds = None,
    case: str | None = None,
    quiet: bool = False,
) -> dict[str, Any]:
    """Stays until the target's jobs on the cluster have ended, then does what `run` does at its end."""
    from common.cluster import wait as cluster

    requests = sweep.expand(target, tier, overrides, seeds, case)
    outcome = cluster.wait(requests, updates_of(requests), quiet)
    return _harvest(outcome, requests, target, tier, overrides, seeds, case, quiet)


def submit(
    target: str,
    profile: str | None,
    tier: str = "smoke",
    overrides: Overrides = None,
    seeds: Seeds = None,
    case: str | None = None,
    dry: bool = False,
) -> dict[str, Any]:
    """Submits to SLURM what is neither done nor queued nor running, and returns at once: see cluster.submit.submit.

    Errors: one Problem with all that is wrong with the profile and with the target.
    """
    from common.cluster import submit as cluster
    from common.cluster.profile import load

    found, problems = None, Problems()
    requests: list[Request] = []
    try:
        found = load(profile)
    except Problem as problem:
        problems.add("slurm", problem)
    try:
        requests = sweep.expand(target, tier, overrides, seeds, case)
    except Problem as problem:
        problems.add(target, problem)
    problems.refuse()
    if not requests or found is None:
        raise Problem(f"Nothing of '{target}' runs at tier '{tier}'. See: replicate list.")
    return cluster.submit(requests, updates_of(requests), found, dry)


def cancel(
    target: str, tier: str | None = None, overrides: Overrides = None, seeds: Seeds = None, case: str | None = None
) -> dict[str, list[str]]:
    """Ends the jobs that carry runs of the target: {"jobs", "runs" (of the target), "others" (packed with them)}."""
    from common import scheduler
    from common.cluster import states

    asked = {row["run"] for row in rows_of(target, tier, overrides, seeds, case)}
    view = states.look()
    if not view.clear:
        raise Problem(view.trouble or f"There is nothing to cancel: nothing was ever submitted from {runs_dir()}.")
    jobs = {job.job for run_id, (job, _) in view.queue.items() if run_id in asked}
    runs = {run_id for run_id, (job, _) in view.queue.items() if job.job in jobs}
    left = [i for i, s in states.standing(runs, view).items() if s["state"] != "done"]
    scheduler.cancel(sorted(jobs))
    return {
        "jobs": sorted(jobs),
        "runs": [i for i in left if i in asked],
        "others": [i for i in left if i not in asked],
    }


def status(
    target: str, tier: str | None = None, overrides: Overrides = None, seeds: Seeds = None, case: str | None = None
) -> list[dict[str, Any]]:
    """Every run of a target with its state, progress, seconds left, host, job and last error: see cluster.states.

    Of a request of one's own without a tier, only tiers where some of it was begun, as far as there is one.
    """
    from common.cluster import states

    rows = rows_of(target, tier, overrides, seeds, case)
    found = states.standing({row["run"] for row in rows})
    for row in rows:
        state = found[row["run"]]
        done, total, took = state["updates"], state.get("total", 0), state.get("seconds", 0.0)
        left = took / done * (total - done) if done and state["state"] == "running" else None
        row |= {
            "state": state["state"], "updates": done, "total": total,
            "seconds": took, "seconds_left": None if left is None else round(left, 1),
            "sittings": state.get("sittings", 0), "redone": state.get("redone", 0),
            "host": state.get("host"), "job": state.get("job"), "waits_for": state.get("waits_for"),
            "error": state.get("error"), "not_finite_from": state.get("not_finite_from"),
        }  # fmt: skip
    begun = {row["tier"] for row in rows if row["state"] != "missing"}
    own = tier is None and (overrides or case is not None or seeds is not None)
    return [row for row in rows if not (own and begun) or row["tier"] in begun]


def select(spec: str, tier: str = "smoke", settings: Settings | None = None, quiet: bool = False) -> dict[str, Any]:
    """Runs a selection spec and writes the best settings of each case for the reporting specs to take."""
    from common import select as selection

    paper, _, name = spec.partition("/")
    if not name:
        raise Problem(f"'{spec}' is no single spec; select takes PAPER/SPEC, such as stability_gap/select_class.")
    requests = sweep.expand(spec, tier)
    selected.everything(paper, tier)  # what is there must be readable before anything runs
    compared = [r for r in requests if (r.paper, r.spec) == (paper, name)]  # the others are their parents
    selection.refuse_test_images(compared)
    outcome = launch.run_local(requests, settings or Settings(), updates_of(requests), quiet)
    if outcome.failed or outcome.stopped:
        raise Problem("Nothing was selected: not every run is done.", *outcome.failed.values())
    rows = selection.scores(compared)
    return {"scores": rows, "selected": selection.write(paper, name, tier, rows)}

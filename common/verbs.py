"""The verbs of `replicate` as functions that return plain data; the command line and notebooks call the same ones."""

import contextlib
from pathlib import Path
from typing import Any

from common import estimate, launch, specfiles, sweep, table
from common.errors import Missing, Problem, Problems, nearest
from common.places import ROOT, runs_dir
from common.record import RunFolder
from common.streams import data
from common.sweep import TIERS, Request

Overrides = dict[str, Any] | None
Seeds = list[int] | None


def list_all() -> dict[str, Any]:
    """Papers with their specs, tiers and number of claims, and the data sets with their place."""
    papers = {}
    for paper in specfiles.papers():
        specs = {name: specfiles.load(paper, name) for name in specfiles.specs(paper)}
        papers[paper] = {
            "specs": {
                n: {"about": c.get("about", ""), "tiers": [t for t in TIERS if t in c["tiers"]]}
                for n, c in specs.items()
            },
            "claims": len(claims_of(paper)),
        }
    return {"papers": papers, "data": data.listing()}


def plan(
    target: str, tier: str = "smoke", overrides: Overrides = None, seeds: Seeds = None, case: str | None = None
) -> dict[str, Any]:
    """What `run` would do: counts, updates, time and memory; every problem at once as one Problem. Nothing runs."""
    requests = sweep.expand(target, tier, overrides, seeds, case)
    unique = {r.run_id: r for r in requests}
    updates = _updates(list(unique.values()))
    missing = [r for i, r in unique.items() if not RunFolder(runs_dir() / i).done()]
    each, how = estimate.seconds(missing)
    known = [s for s in each if s is not None]
    workers = min(launch.cores(), max(1, len(missing)))
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
        "memory_mb": workers * max((estimate.memory_mb(r.run) for r in missing), default=0),
        "specs": {
            name: len({r.run_id for r in requests if f"{r.paper}/{r.spec}" == name}) for name in _names(requests)
        },
    }


def run(
    target: str,
    tier: str = "smoke",
    overrides: Overrides = None,
    seeds: Seeds = None,
    case: str | None = None,
    settings: launch.Settings | None = None,
    quiet: bool = False,
) -> dict[str, Any]:
    """Runs what is missing, resumes what was interrupted, then makes figures and verdicts.

    Returns runs done now, done before, failed (id -> reason), whether it was stopped, verdict rows and figure paths.
    """
    requests = sweep.expand(target, tier, overrides, seeds, case)
    if not requests:
        raise Problem(f"Nothing of '{target}' runs at tier '{tier}'. See: replicate list.")
    outcome = launch.run_local(requests, settings or launch.Settings(), _updates(requests), quiet)
    return _harvest(outcome, target, tier, overrides, seeds, case, quiet)


def _harvest(
    outcome: launch.Outcome, target: str, tier: str, overrides: Overrides, seeds: Seeds, case: str | None, quiet: bool
) -> dict[str, Any]:
    """The outcome of a launch with the verdicts (of overridden settings: what was measured) and the figures."""
    result: dict[str, Any] = vars(outcome) | {"figures": [], "claims": [], "summary": [], "undrawn": None}
    if outcome.stopped:
        return result
    if overrides:
        result["summary"] = summary(target, tier, overrides, seeds, case)
    else:
        result["claims"] = claims(target, tier, None, seeds, case)
    try:
        result["figures"] = figures(target, tier, overrides, seeds, case, quiet)
    except Exception as error:  # a fault in a figure must not cost what was measured
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
    outcome = cluster.wait(requests, _updates(requests), quiet)
    return _harvest(outcome, target, tier, overrides, seeds, case, quiet)


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
    return cluster.submit(requests, _updates(requests), found, dry)


def cancel(
    target: str, tier: str | None = None, overrides: Overrides = None, seeds: Seeds = None, case: str | None = None
) -> dict[str, list[str]]:
    """Ends the jobs that carry runs of the target: {"jobs", "runs" (of the target), "others" (packed with them)}."""
    from common import scheduler
    from common.cluster import states

    asked = {row["run"] for row in _asked(target, tier, overrides, seeds, case)}
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


def _asked(target: str, tier: str | None, overrides: Overrides, seeds: Seeds, case: str | None) -> list[dict[str, Any]]:
    """Every run of a target, as the first columns of the table of states."""
    _known(target, case)
    return [
        {
            "run": r.run_id, "spec": f"{r.paper}/{r.spec}", "case": r.case, "tier": name, "seed": r.run.seed,
        }
        for name in ((tier,) if tier else TIERS)
        for r in _reachable(target, name, overrides, seeds, case)
    ]  # fmt: skip


def status(
    target: str, tier: str | None = None, overrides: Overrides = None, seeds: Seeds = None, case: str | None = None
) -> list[dict[str, Any]]:
    """Every run of a target with its state, progress, seconds left, host, job and last error: see cluster.states."""
    from common.cluster import states

    rows = _asked(target, tier, overrides, seeds, case)
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
            "error": state.get("error"),
        }  # fmt: skip
    return rows


def claims(
    target: str, tier: str | None = None, overrides: Overrides = None, seeds: Seeds = None, case: str | None = None
) -> list[dict[str, Any]]:
    """The verdict of every claim of the target at the tier (or at all tiers), from the stored traces.

    Of PAPER/SPEC, the claims on that spec. Errors: Problem for overrides: claims are about specs as they stand.
    """
    from common import verdicts

    if overrides:
        words = ", ".join(f"{key}={value}" for key, value in overrides.items())
        raise Problem(
            f"Claims are about a paper's specs as they stand, not under {words}. See what it gives: replicate run."
        )
    rows: list[dict[str, Any]] = []
    _known(target, case)
    for paper in _papers(target):
        functions = getattr(table.measures_of(paper), "MEASURES", {})
        specs = {spec for _, spec in sweep.targets(target)}
        wanted = [c for c in claims_of(paper) if "/" not in target or specs & set(c.runs.get("spec", specs))]
        for name in (tier,) if tier else TIERS:
            runs = tables(paper, name, None, seeds, case).runs
            if seeds is not None and len(runs):
                runs = runs[runs["seed"].isin(seeds)]
            rows += verdicts.judge(wanted, runs, name, functions)
    return rows


def figures(
    target: str,
    tier: str | None = None,
    overrides: Overrides = None,
    seeds: Seeds = None,
    case: str | None = None,
    quiet: bool = True,
) -> list[str]:
    """Paths of the figures and tables of the target's papers, made anew from the stored traces.

    Overridden settings, and seeds that the specs do not have, make figures of their own, of the target's runs alone.
    """
    from common import report

    made: list[str] = []
    _known(target, case)
    for paper in _papers(target):
        for name in (tier,) if tier else TIERS:
            own = target if "/" in target else paper
            stored = tables(own, name, overrides, seeds, case, store=True)
            if not stored.runs.empty:
                rows = claims(paper, name) if stored.folder.name == name else []
                made += report.make(paper, stored, rows, quiet)
    return made


def summary(
    target: str, tier: str, overrides: Overrides = None, seeds: Seeds = None, case: str | None = None
) -> list[dict[str, Any]]:
    """Mean metrics over seeds, in percent, one row a spec and case of the target."""
    rows = []
    for paper in _papers(target):
        runs = tables(target if "/" in target else paper, tier, overrides, seeds, case).runs
        shown = [name for name in ("acc", "forg", "min_acc", "wc_acc", "wf10") if name in runs]
        for (spec, name), own in runs.groupby(["spec", "case"], dropna=False) if len(runs) else ():
            means = {column: round(100 * float(own[column].mean()), 1) for column in shown}
            rows.append(
                {"spec": f"{paper}/{spec}", "case": str(name), "seeds": sorted(own["seed"].unique().tolist()), **means}
            )
    return rows


def _papers(target: str) -> list[str]:
    return sorted({paper for paper, _ in sweep.targets(target)})


def write_verdicts(target: str) -> list[str]:
    """Paths of the README files whose verdict tables were renewed, after judging the stored tables of every tier."""
    from common import report

    for paper in _papers(target):
        for tier in TIERS:
            stored = tables(paper, tier)
            if not stored.runs.empty:
                report.store_verdicts(paper, stored, claims(paper, tier))
    return report.write_readmes()


def tables(
    target: str,
    tier: str,
    overrides: Overrides = None,
    seeds: Seeds = None,
    case: str | None = None,
    store: bool = False,
) -> table.Tables:
    """The tables of a paper at a tier; runs that were never made are not in them.

    target: PAPER, or PAPER/SPEC, which matters where settings are overridden or seeds are asked for that the specs do
    not have: such tables hold the target's runs alone and lie in a folder of their own beside the paper's.
    """
    import pandas as pd

    if target == "all":
        raise Problem(f"tables are of one paper, but the target is 'all'. Papers: {', '.join(specfiles.papers())}.")
    paper = target.partition("/")[0]
    requests = [] if overrides else _reachable(paper, tier)
    asked = None
    if overrides or (seeds is not None and not set(seeds) <= {r.run.seed for r in requests}):
        requests = _reachable(target, tier, overrides, seeds, case)
        asked = table.Asked(target, tuple(sorted((overrides or {}).items())), tuple(seeds or ()), case or "")
    folder = table.folder_of(paper, tier, asked)
    if requests:
        return table.collect(requests, folder, store, asked)
    stored = table.stored_runs(folder)
    return table.Tables(pd.DataFrame() if stored is None else stored, folder)


def select(
    spec: str, tier: str = "smoke", settings: launch.Settings | None = None, quiet: bool = False
) -> dict[str, Any]:
    """Runs a selection spec and writes the best settings of each case for the reporting specs to take."""
    from common import select as selection

    paper, _, name = spec.partition("/")
    if not name:
        raise Problem(f"'{spec}' is no single spec; select takes PAPER/SPEC, such as stability_gap/select_class.")
    requests = sweep.expand(spec, tier)
    selection.refuse_test_images(requests)
    outcome = launch.run_local(requests, settings or launch.Settings(), _updates(requests), quiet)
    if outcome.failed or outcome.stopped:
        raise Problem("Nothing was selected: not every run is done.", *outcome.failed.values())
    rows = selection.scores(requests)
    return {"scores": rows, "selected": selection.write(paper, name, tier, rows)}


def show(what: str) -> dict[str, Any]:
    """Where a run or a figure came from: spec, code, data, host, time and the command that makes it again."""
    path = Path(what)
    if path.suffix in (".png", ".pdf") or (path.exists() and path.is_file()):
        from common import report

        return report.origin(path)
    folders = sorted(runs_dir().iterdir()) if runs_dir().is_dir() else []
    matches = [p for p in folders if what and p.name.startswith(what) and (p / "spec.json").exists()]
    matches = [p for p in matches if p.name == what] or matches
    if len(matches) != 1:
        which = f"{len(matches)} runs begin with it" if matches else f"there is no such run in {runs_dir()}"
        raise Problem(f"'{what}' names neither a figure file nor one run: {which}. Run ids: replicate status all.")
    folder = RunFolder(matches[0])
    known = [r for t in TIERS for r in _reachable("all", t) if r.run_id == folder.run_id]
    again = [f"replicate run {r.paper}/{r.spec} --tier {r.tier} --seeds {r.run.seed}" for r in known]
    return {
        "run": folder.run_id,
        "spec": folder.spec(),
        "status": folder.status(),
        "provenance": folder.provenance(),
        "again": again[0] if again else folder.provenance()["command"],
    }


def claims_of(paper: str) -> list[Any]:
    """The claims of a paper, none where it has no claims.yaml."""
    from common.claim_lock import check_lock
    from common.claims import load_claims

    path = ROOT / "papers" / paper / "claims.yaml"
    claims = load_claims(path) if path.exists() else []
    wrong = check_lock(claims, path.with_suffix(".lock"))
    for claim in claims:
        for spec in claim.runs.get("spec", ()):
            if spec not in specfiles.specs(paper):
                near = nearest(str(spec), specfiles.specs(paper))
                wrong.append(f"{path}, claim {claim.id}: {paper} has no spec '{spec}'.{near}")
    if wrong:
        raise Problem(*wrong)
    return claims


def _reachable(
    target: str, tier: str, overrides: Overrides = None, seeds: Seeds = None, case: str | None = None
) -> list[Request]:
    """The requests of a target at a tier, as far as their data and selections are here. Errors: all other Problems."""
    found: list[Request] = []
    for paper, spec in sweep.targets(target):
        content = specfiles.load(paper, spec)
        if tier in content["tiers"] and (case is None or case in sweep.cases_of(content, tier)):
            with contextlib.suppress(Missing):
                found += sweep.expand(f"{paper}/{spec}", tier, overrides, seeds, case)
    return sweep.with_parents(found)


def _known(target: str, case: str | None) -> None:
    """Nothing. Errors: Problem for a case that no spec of the target has at any tier."""
    cases = {name for tier in TIERS for name in sweep.cases(target, tier)}
    if case is not None and case not in cases:
        raise Problem(
            f"No spec of {target} has a case '{case}'.{nearest(case, cases)} Cases: {', '.join(sorted(cases))}."
        )


def _updates(requests: list[Request]) -> dict[str, int]:
    """Updates of each run. Builds every stream, so that impossible ones are refused before anything runs."""
    found, problems = {}, []
    for request in requests:
        try:
            found[request.run_id] = estimate.updates(request.run)
        except Problem as problem:
            problems += [f"{request.paper}/{request.spec}: {message}" for message in problem.messages]
    if problems:
        raise Problem(*dict.fromkeys(problems))
    return found


def _names(requests: list[Request]) -> list[str]:
    return sorted({f"{r.paper}/{r.spec}" for r in requests})

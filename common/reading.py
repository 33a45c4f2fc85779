"""The verbs that read what is stored: tables, figures, verdicts, and where a result came from. Nothing runs."""

import os
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from common import papers_code, parts, run_metrics, specfiles, sweep, table
from common.asked import Asked, folder_of
from common.errors import Problem, nearest
from common.places import ROOT, runs_dir
from common.record import RunFolder
from common.specfiles import TIERS
from common.stored import stored_runs
from common.targets import Overrides, Seeds, by_tier, check_case, papers_of, reach, reachable
from common.words import ALL_KEYS

if TYPE_CHECKING:
    from collections.abc import Callable

    import pandas as pd

    from common.claims import Claim


# what a column of the table of runs is called, or begins with
COLUMNS = ("run_id", "paper", "spec", "tier", "case", "data", "data_title", "precision", "seed", *parts.KINDS, *parts.OPTIONAL,
           "budget", "evaluation")  # fmt: skip


def claims(
    target: str, tier: str | None = None, overrides: Overrides = None, seeds: Seeds = None, case: str | None = None
) -> list[dict[str, Any]]:
    """The verdict of every claim of the target at the tier (or at all tiers), from the stored traces.

    Of PAPER/SPEC, the claims on that spec. Errors: Problem for overrides: claims are about specs as they stand.
    """
    if overrides:
        words = ", ".join(f"{key}={value}" for key, value in overrides.items())
        raise Problem(
            f"Claims are about a paper's specs as they stand, not under {words}. See what it gives: replicate run."
        )
    rows: list[dict[str, Any]] = []
    check_case(target, case)
    for paper in papers_of(target):
        specs = {spec for _, spec in sweep.targets(target)}
        wanted = [c for c in claims_of(paper) if "/" not in target or specs & set(c.runs.get("spec", specs))]
        for name in (tier,) if tier else TIERS:
            runs = tables(paper, name).runs
            if seeds is not None and (runs.empty or not set(seeds) <= set(runs["seed"])):
                runs = tables(paper, name, None, seeds, case).runs
            if seeds is not None and len(runs):
                runs = runs[runs["seed"].isin(seeds)]
            rows += _judged(paper, wanted, runs, name)
    return rows


def _judged(paper: str, wanted: "list[Claim]", runs: "pd.DataFrame", tier: str) -> list[dict[str, Any]]:
    """The verdicts on those claims by a table of runs."""
    from common import verdicts

    return verdicts.judge(wanted, runs, tier, getattr(run_metrics.measures_of(paper), "MEASURES", {}))


def figures(
    target: str,
    tier: str | None = None,
    overrides: Overrides = None,
    seeds: Seeds = None,
    case: str | None = None,
    quiet: bool = True,
) -> list[str]:
    """Paths of the tables of runs, figures and tables of the target's papers, made anew from the stored traces.

    Overridden settings, and seeds that the specs do not have, make figures of their own, of the target's runs alone.
    """
    from common import report

    made: list[str] = []
    check_case(target, case)
    for paper in papers_of(target):
        _check_drawings(paper)
    for paper in papers_of(target):
        own = target if "/" in target else paper
        for name in by_tier(own, tier, overrides, seeds, case):
            stored = tables(own, name, overrides, seeds, case, store=True)
            if not stored.runs.empty:
                rows = _judged(paper, claims_of(paper), stored.runs, name) if stored.folder.name == name else []
                made += [str(stored.folder / "runs.csv"), *report.make(paper, stored, rows, quiet)]
    return made


def _check_drawings(paper: str) -> None:
    """Nothing. Errors: Problem for a figures.py that cannot be loaded or draws what no spec runs."""
    module = papers_code.module(ROOT, paper, "figures")
    if module is None:
        return
    path, known = ROOT / "papers" / paper / "figures.py", specfiles.specs(paper)
    if not isinstance(getattr(module, "FIGURES", None), dict):
        raise Problem(f"{path} has no FIGURES, a dictionary of file names and figures: write FIGURES = {{}} for none.")
    items = {**module.FIGURES, **getattr(module, "TABLES", {})}
    wrong = [(name, spec) for name, item in items.items() for spec in item.needs if spec not in known]
    if wrong:
        raise Problem(*(f"{path}, {name}: {paper} has no spec '{spec}'.{nearest(spec, known)}" for name, spec in wrong))


def tables(
    target: str,
    tier: str,
    overrides: Overrides = None,
    seeds: Seeds = None,
    case: str | None = None,
    store: bool = False,
) -> table.Tables:
    """The tables of a paper at a tier; runs that were never made are not in them.

    target: PAPER, or PAPER/SPEC, which matters where settings are overridden or seeds are asked for that one of its specs
    does not have: such tables hold the target's runs alone and lie in a folder of their own beside the paper's.
    """
    import pandas as pd

    if target == "all":
        raise Problem(f"tables are of one paper, but the target is 'all'. Papers: {', '.join(specfiles.papers())}.")
    paper = target.partition("/")[0]
    requests, beyond = ([], set()) if overrides else reach(paper, tier)
    asked = None
    if overrides or (seeds is not None and _lacks(target, seeds, requests)):
        requests, beyond = reach(target, tier, overrides, seeds, case)
        asked = Asked(target, tuple(sorted((overrides or {}).items())), tuple(seeds or ()), case or "")
    folder = folder_of(paper, tier, asked)
    if requests:
        return table.collect(requests, folder, store, asked, beyond)
    kept = stored_runs(folder)
    return table.Tables(pd.DataFrame() if kept is None else kept, folder)


def _lacks(target: str, seeds: list[int], requests: list[sweep.Request]) -> bool:
    """Whether a spec of the target lacks one of the seeds: its runs with that seed are in no table of the paper's."""
    paper, _, spec = target.partition("/")
    has: dict[str, set[int]] = {}
    for request in requests:
        if request.paper == paper and spec in ("", request.spec):
            has.setdefault(request.spec, set()).add(request.run.seed)
    return not has or any(not own.issuperset(seeds) for own in has.values())


def show(what: str) -> dict[str, Any]:
    """Where a run or a figure came from: spec, code, data, host, time and the command that makes it again."""
    path = Path(what)
    if path.suffix in (".png", ".pdf", ".md", ".csv", ".parquet") or os.path.isfile(path):
        from common import origins

        return origins.origin(path)
    folders = sorted(runs_dir().iterdir()) if runs_dir().is_dir() else []
    matches = [p for p in folders if what and p.name.startswith(what) and (p / "spec.json").exists()]
    matches = [p for p in matches if p.name == what] or matches
    if len(matches) != 1:
        first = ", ".join(p.name for p in matches[:5]) + (", ..." if len(matches) > 5 else "")
        which = f"{len(matches)} runs begin with it ({first})" if matches else f"there is no such run in {runs_dir()}"
        raise Problem(f"'{what}' names neither a figure file nor one run: {which}. Run ids: replicate status all.")
    folder = RunFolder(matches[0])
    known = [r for t in TIERS for r in reachable("all", t) if r.run_id == folder.run_id]
    again = [f"replicate run {r.paper}/{r.spec} --tier {r.tier} --seeds {r.run.seed}" for r in known]
    return {
        "run": folder.run_id,
        "spec": folder.spec(),
        "status": folder.status(),
        "provenance": folder.provenance(),
        "again": again[0] if again else folder.provenance()["command"],
    }


def claims_of(paper: str, checked: bool = True) -> list[Any]:
    """The claims of a paper, none where it has no claims.yaml. checked: against their lock and the paper's specs, too."""
    from common.claim_lock import check_lock
    from common.claims import load_claims

    path = ROOT / "papers" / paper / "claims.yaml"
    claims = load_claims(path) if path.exists() else []
    if not checked:
        return claims
    wrong = check_lock(claims, path.with_suffix(".lock"))
    cases = cache(lambda spec: {case for tier in TIERS for case in sweep.cases(f"{paper}/{spec}", tier)})
    broken = specfiles.unreadable(paper)
    for claim in claims:
        if broken.keys() & set(claim.runs.get("spec", broken)):
            continue  # nobody knows its cases
        wrong += [f"{path}, claim {claim.id}: {said}" for said in _names_nothing(paper, claim, cases)]
    if wrong:
        raise Problem(*wrong)
    return claims


def _names_nothing(paper: str, claim: "Claim", cases_of: "Callable[[str], set[str]]") -> list[str]:
    """Sentences on specs, cases and columns of a claim that no run of the paper can have.

    Its `runs` may name a case that nobody has written yet (it is not run then), but none that is nearly a written one.
    """
    from common.measured import cases_in

    known = specfiles.specs(paper)
    named = [str(spec) for spec in claim.runs.get("spec", ())]
    found = [f"{paper} has no spec '{spec}'.{nearest(spec, known)}" for spec in named if spec not in known]
    if found:
        return found
    wanted = [str(case) for case in claim.runs.get("case", ()) if case is not None]
    measured = [case for _, case in cases_in(claim.measure)]
    cases = {str(case) for spec in (named or known if wanted + measured else ()) for case in cases_of(spec)}
    for case in dict.fromkeys(wanted + measured):
        if case not in cases and ((near := nearest(case, cases)) or case in measured):
            told = near if case in wanted else f"{near} Its measure names one of: {', '.join(sorted(cases)) or 'none'}."
            found.append(f"{' and '.join(named) or paper} has no case '{case}' at any tier.{told}")
    for column in claim.runs:
        if column.partition(".")[0] not in COLUMNS:
            found.append(f"'{column}' is no column of the table of runs.{nearest(column, ALL_KEYS + COLUMNS)}")
    return found


def write_verdicts(target: str) -> list[str]:
    """Paths of the files that are other than before, after judging the stored tables of every tier: verdicts, locks, and the
    verdict tables in the README files of the target's papers and at the top.

    What the papers report in claims that are new is locked from now on (claims.lock).
    """
    from common import report
    from common.claim_lock import write_lock

    written: list[str] = []
    for paper in papers_of(target):
        claims, lock = claims_of(paper), ROOT / "papers" / paper / "claims.lock"
        written += [str(lock)] * bool(write_lock(claims, lock))
        for tier in TIERS:
            folder = folder_of(paper, tier)
            runs = stored_runs(folder)  # as they lie there: verdicts name that table
            if runs is not None:
                before = _texts(folder)
                report.store_verdicts(paper, table.Tables(runs, folder), _judged(paper, claims, runs, tier))
                written += [str(path) for path, text in _texts(folder).items() if before.get(path) != text]
    return written + report.write_readmes(ROOT, papers_of(target))


def _texts(folder: Path) -> dict[Path, bytes]:
    """The files of verdicts in a folder and what they hold."""
    return {path: path.read_bytes() for path in sorted(folder.glob("verdicts.*"))}

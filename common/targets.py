"""What a target means here and now: its runs as far as they can be had, and the updates they will make."""

from typing import Any

import numpy as np

from common import estimate, specfiles, sweep
from common.errors import Missing, Problem, nearest
from common.limits import absent
from common.spec import RunSpec
from common.specfiles import TIERS
from common.streams.subsets import limited, used
from common.sweep import Request
from common.variants import cases_of

Overrides = dict[str, Any] | None
Seeds = list[int] | None
FEWEST = 100  # held-out pictures that a rank needs: as in common/analysis/spectrum.py, which imports torch


def reachable(
    target: str, tier: str, overrides: Overrides = None, seeds: Seeds = None, case: str | None = None
) -> list[Request]:
    """The requests of a target at a tier, as far as their data and selections are here. Errors: all other Problems."""
    return reach(target, tier, overrides, seeds, case)[0]


def reach(
    target: str, tier: str, overrides: Overrides = None, seeds: Seeds = None, case: str | None = None
) -> tuple[list[Request], set[str]]:
    """The reachable requests, and the names of the specs that lack data or a selection here or, of a paper, cannot be read."""
    found: list[Request] = []
    broken = left_out(target)
    beyond = {spec for _, spec in broken}
    for paper, spec in sweep.targets(target):
        if (paper, spec) in broken:
            continue
        content = specfiles.load(paper, spec)
        if tier in content["tiers"] and (case is None or case in cases_of(content, tier)):
            try:
                found += sweep.expand(f"{paper}/{spec}", tier, overrides, seeds, case)
            except Missing:
                beyond.add(spec)
    return sweep.with_parents(found), beyond


def by_tier(
    target: str, tier: str | None, overrides: Overrides = None, seeds: Seeds = None, case: str | None = None
) -> dict[str, list[Request]]:
    """tier -> reachable requests: of the tier asked for, or of every tier at which overrides are possible.

    Errors: the Problem of the first tier that refuses, of overrides only where nothing is left at the others.
    """
    found: dict[str, list[Request]] = {}
    refused = []
    for name in (tier,) if tier else TIERS:
        try:
            found[name] = reachable(target, name, overrides, seeds, case)
        except Problem as problem:
            refused.append(problem)
    if refused and not (overrides and any(found.values())):
        raise refused[0]
    return found


def left_out(target: str) -> dict[tuple[str, str], list[str]]:
    """(paper, spec) -> what is wrong with its file, of specs that cannot be read: reading verbs pass over them, unless the
    target is that spec."""
    papers = [] if "/" in target else papers_of(target)
    return {(paper, spec): said for paper in papers for spec, said in specfiles.unreadable(paper).items()}


def check_case(target: str, case: str | None) -> None:
    """Nothing. Errors: Problem for a case that no spec of the target has at any tier."""
    if case is None:
        return
    named = set(sweep.targets(target)) - left_out(target).keys()
    cases = {name for tier in TIERS for paper, spec in named for name in sweep.cases(f"{paper}/{spec}", tier)}
    if case not in cases:
        raise Problem(
            f"No spec of {target} has a case '{case}'.{nearest(case, cases)} Cases: {', '.join(sorted(cases))}."
        )


def updates_of(requests: list[Request]) -> dict[str, int]:
    """Updates of each run. Builds every stream and asks for what runs need besides data, so that what is impossible here is
    refused before anything runs."""
    found, problems = {}, []
    for request in requests:
        try:
            found[request.run_id] = estimate.updates(request.run)
            wrong = absent(request.run) + _misfits(request) + _too_few(request.run)
            problems += [f"{request.paper}/{request.spec}: {said}" for said in wrong]
        except Problem as problem:
            problems += [f"{request.paper}/{request.spec}: {message}" for message in problem.messages]
    if problems:
        raise Problem(*dict.fromkeys(problems))
    return found


def _misfits(request: Request) -> list[str]:
    """A sentence where a run takes weights that were trained on pictures with other channels: no network takes both."""
    found = []
    for parent in request.parents:
        trained = [run for run in (request.run, parent.run) if not run.finding and not run.maker]
        channels = [estimate.picture_shape(run.data)[0] for run in trained]
        if len(set(channels)) == 2:
            found.append(
                f"{request.run.data} has pictures of {channels[0]} channels, but the weights of {parent.paper}/{parent.spec} come "
                f"from {parent.run.data}, of {channels[1]}. Set parent=null, or name a parent that saw such pictures."
            )
    return found


def _too_few(run: RunSpec) -> list[str]:
    """A sentence where a rank of layers is asked for on too few held-out pictures. Errors: Problem where a class has too few."""
    if run.analysis is None or run.analysis.name != "layerwise" or run.maker:
        return []
    stream, each = estimate.stream_of(run), run.analysis.settings["test_per_class"]
    labels, classes = stream.images.test.labels, used(stream)
    held = len(limited(labels, np.flatnonzero(np.isin(labels, classes)), classes, each, "analysis.test_per_class"))
    if held >= FEWEST:
        return []
    return [
        f"A rank needs {FEWEST} held-out pictures or more, but the trained classes have {held}. Take more classes "
        "(stream.count), more of their pictures (analysis.test_per_class), or data with more."
    ]


def rows_of(
    target: str, tier: str | None, overrides: Overrides, seeds: Seeds, case: str | None
) -> list[dict[str, Any]]:
    """Every run of a target, as the first columns of the table of states."""
    check_case(target, case)
    return [
        {
            "run": r.run_id, "spec": f"{r.paper}/{r.spec}", "case": r.case, "tier": name, "seed": r.run.seed,
        }
        for name, requests in by_tier(target, tier, overrides, seeds, case).items()
        for r in requests
    ]  # fmt: skip


def papers_of(target: str) -> list[str]:
    return sorted({paper for paper, _ in sweep.targets(target)})


def spec_names(requests: list[Request]) -> list[str]:
    return sorted({f"{r.paper}/{r.spec}" for r in requests})

"""What the runs of a target measured, in few lines: means over seeds, settings that differ kept apart."""

from typing import TYPE_CHECKING, Any

from common import parts, specfiles
from common.reading import tables
from common.targets import Overrides, Seeds, papers_of
from common.variants import cases_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    import pandas as pd

METRICS = ("acc", "forg", "min_acc", "wc_acc", "wf10")
PARTS = (*parts.KINDS, *parts.OPTIONAL, "budget", "evaluation", "data", "precision")


def summary(
    target: str, tier: str, overrides: Overrides = None, seeds: Seeds = None, case: str | None = None
) -> list[dict[str, Any]]:
    """Mean metrics over seeds, in percent, one row a spec, case and point of a grid ("settings") of the target."""
    rows = []
    for paper in papers_of(target):
        runs = tables(target if "/" in target else paper, tier, overrides, seeds, case).runs
        for key, wanted in (("spec", [target.partition("/")[2]] if "/" in target else None), ("seed", seeds)):
            runs = runs if wanted is None or runs.empty else runs[runs[key].isin(wanted)]
        runs = runs if case is None or runs.empty else runs[runs["case"] == case]
        shown = [name for name in METRICS if name in runs]
        for (spec, name), every in runs.groupby(["spec", "case"], dropna=False) if len(runs) else ():
            unnamed = name != name or (
                "data" in (overrides or {}) and _after_its_data(paper, str(spec), tier, str(name))
            )
            for settings, own in _points(every):
                means = {column: round(100 * float(own[column].mean()), 1) for column in shown}
                known = {
                    "data": ", ".join(sorted(own["data_title"].unique())),
                    "seeds": sorted(set(own["seed"].tolist())),
                    "settings": settings,
                }
                rows.append({"spec": f"{paper}/{spec}", "case": "" if unnamed else name, **known, **means})
    return rows


def _after_its_data(paper: str, spec: str, tier: str, case: str) -> bool:
    """Whether a case may be named after its own data: it sets them, or it is the only one."""
    cases = cases_of(specfiles.load(paper, spec), tier)
    return len(cases) < 2 or "data" in cases.get(case, {})


def _points(runs: "pd.DataFrame") -> "Iterator[tuple[dict[str, str], pd.DataFrame]]":
    """(the settings in which these runs differ, as texts; the runs that agree in them)."""
    texts = runs[[c for c in runs if str(c).partition(".")[0] in PARTS]].astype(object)
    texts = texts.where(texts.notna(), "").astype(str)
    differing = [name for name in texts if texts[name].nunique() > 1]
    if not differing:
        yield {}, runs
        return
    for point, own in texts.groupby(differing):
        settings = {str(k): str(v) for k, v in zip(differing, point, strict=True) if v}
        yield settings, runs.loc[own.index]

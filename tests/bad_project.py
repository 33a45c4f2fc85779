"""A small whole project that tests may harm: a paper with specs, claims, a figure and a table, its finished runs and results."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from common import places
from tests.helpers import SMALL

RUN: dict[str, Any] = {**SMALL, "budget": {"iterations": 4, "batch": 8}}
ONE: dict[str, Any] = {"about": "One learner.", "run": RUN, "tiers": {"smoke": {}}, "seeds": "0-1"}
TWO: dict[str, Any] = {
    **ONE,
    "cases": {"ER": {"learner": {"name": "er", "memory": 20}}, "GEM": {"learner": {"name": "gem", "memory": 20}}},
}
CHOOSE: dict[str, Any] = {
    **ONE,
    "run": {**RUN, "stream": {**RUN["stream"], "evaluate_on": "validation"}},
    "grid": {"optimiser.lr": [0.1, 0.2]},
}
CLAIM: dict[str, Any] = {
    "id": "C1", "says": "it learns", "source": "Table 1", "mark": "derived", "reported": None, "runs": {"spec": "one"},
    "measure": "acc", "unit": "%", "tiers": {"smoke": {"at_least": 1, "expect": "holds"}},
}  # fmt: skip
FIGURES = '''"""What the toy draws."""

import pandas as pd
from matplotlib.figure import Figure as Canvas

from common.drawings import Figure, Table


def dots(tables):
    canvas = Canvas((2, 2))
    canvas.subplots().plot(tables.runs["seed"], tables.runs["acc"], "o")
    return canvas


def ends(tables):
    return pd.DataFrame({"seed": tables.runs["seed"], "points": [str(len(tables.curves))] * len(tables.runs)})


FIGURES = {"dots": Figure(dots, ("one",), "Accuracy of each seed.")}
TABLES = {"ends": Table(ends, ("one",), "Stored points.")}
'''


@dataclass(frozen=True)
class Project:
    """Folders of a project: papers/toy with the specs one, two and choose, runs/ (both of toy/one), results/, data/."""

    root: Path

    @property
    def paper(self) -> Path:
        return self.root / "papers" / "toy"

    @property
    def results(self) -> Path:
        return self.root / "results" / "toy" / "smoke"

    @property
    def run(self) -> Path:
        """The folder of the run of toy/one with seed 0."""
        (found,) = (self.root / "runs").glob("finetune-digits-s0-*")
        return found

    def spec(self, name: str, **over: Any) -> None:
        """Writes a spec: that of toy/one, with these keys in place of its own."""
        (self.paper / "specs" / f"{name}.yaml").write_text(yaml.safe_dump({**ONE, **over}))

    def claim(self, **over: Any) -> None:
        """Writes claims.yaml with the one claim, these keys in place of its own."""
        (self.paper / "claims.yaml").write_text(yaml.safe_dump([{**CLAIM, **over}]))


def directed(project: Project, patch: pytest.MonkeyPatch) -> None:
    """Nothing; every look at the project's folders goes to this one."""
    import papers
    from common import drawings, reading, run_metrics, selected, specfiles

    for room in ("data", "runs", "results"):
        patch.setenv(f"REPLICATE_{room.upper()}", str(project.root / room))
    for module in (drawings, reading, run_metrics, selected, specfiles):
        patch.setattr(module, "ROOT", project.root)
    patch.setattr(papers, "__path__", [str(project.root / "papers"), *papers.__path__])
    forgotten()


def forgotten() -> None:
    """Nothing; what was read of another project's code and tables is read anew."""
    import sys

    from common import estimate, run_metrics

    for name in [n for n in sys.modules if n.partition(".")[2].partition(".")[0] == "toy"]:
        del sys.modules[name]
    for kept in (
        run_metrics.measures_of,
        run_metrics.measures_version,
        estimate._timed,
        estimate._stream,
        estimate.picture_shape,
    ):
        kept.cache_clear()


def make_whole(root: Path) -> Project:
    """The project, whole, in an empty folder."""
    from common import loop, sweep
    from common.claim_lock import write_lock
    from common.claims import load_claims
    from common.cli import main

    project = Project(root)
    for room in ("data", "runs", "results"):
        (root / room).mkdir(parents=True)
    (root / "common").symlink_to(places.ROOT / "common")  # what is drawn knows the code that drew it
    (project.paper / "specs").mkdir(parents=True)
    for name, content in (("one", ONE), ("two", TWO), ("choose", CHOOSE)):
        project.spec(name, **content)
    project.claim()
    (project.paper / "figures.py").write_text(FIGURES)
    with pytest.MonkeyPatch.context() as patch:
        directed(project, patch)
        write_lock(load_claims(project.paper / "claims.yaml"), project.paper / "claims.lock")
        for request in sweep.expand("toy/one", "smoke"):
            loop.run(request.run)
        assert main(["figures", "toy"]) == 0
    forgotten()
    return project


def contents(root: Path) -> dict[str, bytes]:
    """Bytes of every file of a project by its path; not of what may be made anew at any time."""
    files = (p for p in root.rglob("*") if p.is_file() and not {".cache", "__pycache__", "common"} & set(p.parts))
    return {str(p.relative_to(root)): p.read_bytes() for p in files}

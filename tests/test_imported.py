"""The sources of a module: all that it imports of ours, however it is imported, and nothing of others."""

import sys
from pathlib import Path

import pytest

from common import imported, run_metrics

FILES = {
    "__init__.py": "",
    "one.py": "import numpy\nfrom . import two\nfrom .inner import four\nfrom mine_here.inner.three import THREE\n",
    "two.py": "import json\n",
    "inner/__init__.py": "from ..five import FIVE\n",
    "inner/three.py": "THREE = 3\n",
    "inner/four.py": "def f(:\n",  # whoever imports it says so
    "five.py": "def late():\n    from .... import beyond\n\n\nFIVE = 5\n",
}


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of a package of one's own."""
    for name, text in FILES.items():
        path = tmp_path / "mine_here" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    monkeypatch.syspath_prepend(str(tmp_path))
    for name in [name for name in sys.modules if name.partition(".")[0] == "mine_here"]:
        monkeypatch.delitem(sys.modules, name)
    return tmp_path / "mine_here"


def test_relative_imports_are_followed_and_what_is_not_ours_is_left(package: Path) -> None:
    found = imported.sources("mine_here.one", lambda root: root == "mine_here")
    inner = {"mine_here.inner", "mine_here.inner.three", "mine_here.inner.four"}
    assert set(found) == {"mine_here", "mine_here.one", "mine_here.two", "mine_here.five"} | inner
    assert found["mine_here.inner.three"] == (package / "inner" / "three.py").read_bytes()


def test_what_is_no_module_has_no_sources(package: Path) -> None:
    assert imported.sources("mine_here.six", lambda root: True) == {}
    assert imported.sources("_json", lambda root: True) == {}  # compiled


@pytest.mark.parametrize(
    ("paper", "module"),
    [
        ("scole", "papers.scole.traces"),
        ("tunnel_effect", "papers.tunnel_effect.measures_between"),
        ("stability_gap", "common.stats"),
        ("tunnel_effect", "common.analysis.tunnel"),
    ],
)
def test_the_version_of_the_measures_covers_what_they_import(
    paper: str, module: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    before, whole, edited = run_metrics.measures_version(paper), Path.read_bytes, module.replace(".", "/") + ".py"
    monkeypatch.setattr(Path, "read_bytes", lambda path: whole(path) + b"#" * path.as_posix().endswith(edited))
    run_metrics.measures_version.cache_clear()
    assert run_metrics.measures_version(paper) != before
    run_metrics.measures_version.cache_clear()

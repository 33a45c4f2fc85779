"""Every test has folders of its own and one torch thread; small specs on the embedded digits."""

import multiprocessing
import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import hypothesis
import pytest
import yaml

from tests.helpers import small_spec

os.environ.setdefault("OMP_NUM_THREADS", "1")
hypothesis.settings.register_profile("untimed", deadline=None)  # a busy machine is no failure
hypothesis.settings.load_profile("untimed")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The longest files begin first, so that no worker is left alone with one of them at the end."""
    longest = ("test_slurm", "test_readme", "test_specs", "test_devcluster", "test_setup")
    items.sort(key=lambda item: next((k for k, name in enumerate(longest) if name in item.nodeid), len(longest)))


@pytest.fixture(autouse=True)
def places(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Empty folders for data, runs and results; returns the folder of the runs."""
    for room in ("data", "runs", "results"):
        monkeypatch.setenv(f"REPLICATE_{room.upper()}", str(tmp_path / room))
    return tmp_path / "runs"


@pytest.fixture(autouse=True)
def one_thread() -> None:
    """One torch thread, where a test uses torch at all."""
    if "torch" in sys.modules:
        sys.modules["torch"].set_num_threads(1)


@pytest.fixture
def small() -> Callable[..., Any]:
    """small("er", {"budget.iterations": 3}, seed=1) -> RunSpec of a short run on the digits."""
    return small_spec


@pytest.fixture
def paper(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Path]]:
    """A papers folder with nothing but the paper "toy"; paper("name", {...} or text) writes one of its specs."""
    from common import drawings, reading, run_metrics, selected, specfiles

    for module in (drawings, reading, run_metrics, selected, specfiles):
        monkeypatch.setattr(module, "ROOT", tmp_path)
    for cached in (run_metrics.measures_of, run_metrics.measures_version):
        cached.cache_clear()

    def write(name: str, content: dict[str, Any] | str) -> Path:
        path = tmp_path / "papers" / "toy" / "specs" / f"{name}.yaml"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content if isinstance(content, str) else yaml.safe_dump(content))
        return path

    yield write
    for cached in (run_metrics.measures_of, run_metrics.measures_version):
        cached.cache_clear()


@pytest.fixture
def forked(monkeypatch: pytest.MonkeyPatch) -> None:
    """Workers are forked, which spares them the import of torch; they are processes of their own all the same."""
    import torch

    from common import loop, pool, verbs

    assert loop
    torch.set_num_threads(1)
    context = multiprocessing.get_context("fork")
    monkeypatch.setattr(pool.multiprocessing, "get_context", lambda method: context)
    monkeypatch.setattr(verbs, "figures", lambda *_, **__: [])  # what runs is of interest here, not what is drawn


@pytest.fixture
def dropout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """Settings that choose a network of one's own, with dropout: the one that draws from torch's generator."""
    text = (
        "from torch import nn\n\nfrom common.models.small import Net\n\nVERSION = 1\n\n\n"
        "def dropped(shape, classes, *, p: float = 0.3):\n"
        "    trunk = nn.Sequential(nn.Flatten(), nn.Linear(shape[0] * shape[1] * shape[2], 12), nn.ReLU(), nn.Dropout(p))\n"
        "    return Net(trunk, 12, classes)\n"
    )
    (tmp_path / "own").mkdir()
    (tmp_path / "own" / "own_dropped.py").write_text(text)
    monkeypatch.syspath_prepend(str(tmp_path / "own"))
    return {"model.name": "own_dropped.dropped"}

"""Two real processes that share each batch: the same run as by one, one writer, one checkpoint, and plain refusals."""

import json
import os
import shutil
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from common import lock, loop
from common.errors import Problem
from common.loop import Place
from common.ranks import Ranks
from common.record import RunFolder
from common.spec import RunSpec
from common.streams.resident import Batch
from tests.helpers import same, small_spec, stored
from tests.pair import EQUAL, REFUSED, STOPPED_AFTER, WATCHED, analysis

ROOT = Path(__file__).resolve().parent.parent
# Largest difference of a weight. Two sums of float32 differ from one in the last bits; 36 updates carry that to 1e-6 here.
ALL = 5e-6
TOLERANCE = {"bf16": 2e-2}  # eight bits of mantissa: 0.008 here


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of tests/pair.py after both processes went through all its cases."""
    folder = tmp_path_factory.mktemp("pair")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    alone = {name: value for name, value in os.environ.items() if not name.startswith("SLURM_")}
    alone |= {"WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "OMP_NUM_THREADS": "1"}
    alone |= {"REPLICATE_DATA": str(folder / "data"), "PYTHONPATH": str(ROOT)}
    with lock.held(folder / "runs" / "busy" / small_spec().run_id):
        ranks = [
            subprocess.Popen(
                [sys.executable, "-W", "ignore", "-m", "tests.pair", str(folder)],
                env=alone | {"RANK": str(rank), "LOCAL_RANK": str(rank)}, cwd=ROOT, stderr=subprocess.PIPE, text=True,
            )
            for rank in (0, 1)
        ]  # fmt: skip
        ends = [(rank.communicate(timeout=240)[1], rank.returncode) for rank in ranks]
    assert [code for _, code in ends] == [0, 3], "\n".join(
        text for text, _ in ends
    )  # rank 1 was made to die at the end
    return folder


def told(pair: Path, name: str) -> list[dict[str, Any]]:
    """What each rank was told in a case."""
    return [json.loads((pair / f"{name}.{rank}.json").read_text()) for rank in (0, 1)]


def run_folder(pair: Path, name: str) -> RunFolder:
    return RunFolder(next(p for p in (pair / "runs" / name).iterdir() if not p.name.startswith(".")))


@pytest.mark.parametrize("name", EQUAL)
def test_two_processes_make_the_run_of_one(name: str, pair: Path) -> None:
    spec = small_spec(EQUAL[name][0], EQUAL[name][1])
    assert [t["said"] for t in told(pair, name)] == ["", ""]
    two, one = run_folder(pair, name), loop.run(spec)
    assert two.run_id == one.run_id  # how many processes is no part of what a run is
    assert two.provenance()["processes"] == 2
    weights, alone = stored(two.path)[1], stored(one.path)[1]
    farthest = max(float(np.abs(weights[n] - alone[n]).max()) for n in alone)
    assert farthest <= TOLERANCE.get(name, ALL)
    facts, known = two.trace(), one.trace()
    assert facts.keys() == known.keys()
    for quantity in (q for q in known if q.startswith("s_")):
        assert np.allclose(facts[quantity], known[quantity], rtol=1e-3, atol=TOLERANCE.get(name, ALL), equal_nan=True)
    assert np.array_equal(facts["step"], known["step"])


def test_the_first_rank_alone_writes(pair: Path) -> None:
    for name in (*EQUAL, "stopped", "resumed"):
        run_id = run_folder(pair, "stopped" if name == "resumed" else name).run_id
        lead, other = ([path for path in rank["wrote"] if run_id in path] for rank in told(pair, name))
        assert any("status.json" in path for path in lead)
        assert other == []


def test_a_stop_asked_of_one_rank_stops_both_after_the_same_update(pair: Path) -> None:
    for rank in told(pair, "stopped"):
        assert rank["said"].startswith("Stopped")
        assert rank["seen"] == list(range(1, STOPPED_AFTER))
    for rank in told(pair, "resumed"):
        assert rank["said"] == ""
        assert rank["seen"] == list(range(STOPPED_AFTER + 1, 37))


def test_stopped_and_resumed_equals_uninterrupted(pair: Path) -> None:
    assert same(stored(run_folder(pair, "stopped").path), stored(run_folder(pair, "si").path))


def test_one_process_can_go_on_where_two_stopped(pair: Path, places: Path) -> None:
    half = run_folder(pair, "left")
    assert half.status()["state"] == "interrupted"
    shutil.copytree(half.path, places / half.run_id)
    seen: list[int] = []
    whole = loop.run(small_spec("si", WATCHED), Place(watch=lambda updates, total: seen.append(updates)))
    assert seen[0] == STOPPED_AFTER + 1
    weights, both = stored(whole.path)[1], stored(run_folder(pair, "si").path)[1]
    assert max(float(np.abs(weights[n] - both[n]).max()) for n in both) <= ALL


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("batchnorm", ["BatchNorm2d", "model.norm=group", "or one process"]),
        ("dropout", ["Dropout", "or one process"]),
        ("sums", ["Sums", "no mean over samples", "Run it by one process"]),
        ("three", ["by 3 processes", "started 2", "srun"]),
        ("busy", ["is being written by process"]),
        ("lost", ["ended or has not answered", "goes on from its checkpoint"]),
    ],
)
def test_what_cannot_be_shared_is_refused_on_all_ranks(name: str, words: list[str], pair: Path) -> None:
    ranks = told(pair, name) if name != "lost" else [json.loads((pair / "lost.0.json").read_text())]
    for rank in ranks:
        assert all(word in rank["said"] for word in words), rank["said"]
        assert rank["seen"] == ([1, 2, 3, 4] if name == "lost" else [])
        assert rank["seconds"] < 30
    assert name not in REFUSED or run_folder(pair, name).status()["state"] == "failed"


def test_the_first_process_alone_carries_out_an_analysis_and_the_others_wait_for_it(pair: Path) -> None:
    folder = RunFolder(pair / "runs" / "found" / analysis().run_id)
    for name in ("analysed", "again"):
        assert [rank["said"] for rank in told(pair, name)] == ["", ""]
        assert not any(folder.run_id in path for path in told(pair, name)[1]["wrote"] if ".cache" not in path)
    facts = folder.facts().set_index("quantity")["value"].to_dict()
    assert facts == {"rank": 0, "classes": 6}
    for rank in told(pair, "trained"):
        assert "trains nothing" in rank["said"]
        assert "analyse.run" in rank["said"]
    assert folder.done()
    assert not list(folder.path.glob("*.npz")) + list(folder.path.glob("*.pt"))


@pytest.mark.parametrize(
    ("ends", "said", "state"),
    [
        ("refused", ["there is nothing to see"] * 2, "failed"),
        ("broken", ["KeyError: 'layer' (whole traceback: ", "The first process failed: KeyError: 'layer'"], "failed"),
        ("left off", ["Stopped"] * 2, "interrupted"),
    ],
)
def test_however_an_analysis_ends_all_processes_are_told(ends: str, said: list[str], state: str, pair: Path) -> None:
    for rank, words in zip(told(pair, ends), said, strict=True):
        assert words in rank["said"]
        assert rank["seconds"] < 30
    assert RunFolder(pair / "runs" / "found" / analysis(ends).run_id).status()["state"] == state


def test_a_run_that_trains_nothing_is_not_trained(small: Callable[..., RunSpec]) -> None:
    with pytest.raises(Problem, match=r"trains nothing: it is what tests\.pair\.found finds"):
        loop.run(analysis())


def test_the_script_for_shared_runs_says_how_it_is_called() -> None:
    def said(*words: str) -> str:
        script = [sys.executable, "-W", "ignore", "slurm/shared_run.py", *words]
        environment = os.environ | {"PYTHONPATH": str(ROOT)}
        ran = subprocess.run(script, env=environment, cwd=ROOT, capture_output=True, text=True, check=False)
        assert ran.returncode == 1
        return ran.stderr

    assert "given 0 words; it takes a target and a tier" in said()
    assert said("scole/absent").startswith("scole has no spec 'absent'")  # a tier was not missed


def test_processes_that_no_launcher_started_are_a_problem(small: Callable[..., RunSpec]) -> None:
    with pytest.raises(Problem, match="carried out by 2 processes, but the launcher started 1"):
        loop.run(small(), Place(processes=2))
    with pytest.raises(Problem, match="carried out by 0 processes"):
        loop.run(small(), Place(processes=0))


@pytest.mark.parametrize("world", [2, 3, 4])
@pytest.mark.parametrize("count", [1, 2, 3, 8, 9])
def test_shares_are_all_samples_once_and_weigh_one_together(world: int, count: int) -> None:
    y = torch.arange(count)
    batch = Batch(y.view(-1, 1, 1, 1), y, rows=y, replay=Batch(y.view(-1, 1, 1, 1)[:1], y[:1]))
    seen, weights = [], []
    for rank in range(world):
        ranks = Ranks()
        ranks.rank, ranks.world = rank, world
        part, new, old = ranks.share(batch)
        assert len(part.y) >= 1
        assert part.replay is not None
        assert torch.equal(part.x.flatten(), part.y)
        seen += part.y.tolist() if new else []
        weights.append((new, old))
    assert seen == y.tolist()
    assert np.allclose(np.sum(weights, axis=0), 1)

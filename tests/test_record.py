"""The run folder: traces come back as they went in, states are told apart, damage is named."""

import json
import os
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from common import metrics
from common.errors import Problem
from common.record import RunFolder
from common.trace import Trace
from common.writers import STALE_SECONDS

sizes = st.lists(st.integers(1, 21), min_size=1, max_size=5)


def traced(sizes: list[int], seed: int, updates: int = 6) -> tuple[Trace, list[np.ndarray]]:
    """A trace of random evaluations, one after every update, and the correctness that went in."""
    rng = np.random.default_rng(seed)
    offsets = np.cumsum([0, *sizes])
    trace, hits = Trace(offsets, updates * np.arange(1, len(sizes) + 1)), []
    for task in range(len(sizes)):
        for step in range(updates):
            hits.append(rng.random(offsets[task + 1]) < 0.5)
            trace.evaluated(task * updates + step + 1, task, task + 1, hits[-1])
    trace.noted(0, "plasticity", rng.random(updates).astype(np.float32))
    return trace, hits


@settings(max_examples=40, deadline=None)
@given(sizes, st.integers(0, 1000))
def test_correctness_comes_back_bit_by_bit(sizes: list[int], seed: int) -> None:
    trace, hits = traced(sizes, seed)
    arrays = Trace.of(trace.arrays()).arrays()
    assert arrays.keys() == trace.arrays().keys()
    assert all(np.array_equal(arrays[n], a, equal_nan=a.dtype.kind == "f") for n, a in trace.arrays().items())
    total = sum(sizes)
    unpacked = np.unpackbits(arrays["bits"], axis=1)[:, :total].astype(bool)
    for row, went_in in zip(unpacked, hits, strict=True):
        assert np.array_equal(row[: len(went_in)], went_in)
        assert not row[len(went_in) :].any()
    accuracy = metrics.accuracy_matrix(arrays["bits"], arrays["offsets"], arrays["seen"])
    for row, went_in, seen in zip(accuracy, hits, arrays["seen"], strict=True):
        for task in range(len(sizes)):
            part = went_in[arrays["offsets"][task] : arrays["offsets"][task + 1]]
            assert row[task] == pytest.approx(part.mean()) if task < seen else np.isnan(row[task])


def test_stored_trace_has_the_promised_arrays(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path)
    trace, _ = traced([10, 11], 0)
    folder.write_trace(trace)
    stored = folder.trace()
    kinds = {name: str(a.dtype) for name, a in stored.items()}
    assert kinds == {
        "step": "int64", "task": "int64", "seen": "int64", "bits": "uint8", "offsets": "int64", "ends": "int64",
        "s_plasticity": "float32",
    }  # fmt: skip
    assert stored["bits"].shape == (12, 3)
    assert np.isnan(stored["s_plasticity"][6:]).all()
    first = (tmp_path / "trace.npz").read_bytes()
    time.sleep(0.01)
    folder.write_trace(Trace.of(stored))
    assert (tmp_path / "trace.npz").read_bytes() == first  # no clock in it


def test_an_empty_trace_has_its_shape() -> None:
    arrays = Trace(np.array([0, 9]), np.array([4])).arrays()
    assert arrays["bits"].shape == (0, 2)
    assert Trace.of(arrays).bits == []


@pytest.mark.parametrize("keep", [0.0, 0.2, 0.5, 0.9, 0.99])
def test_a_trace_cut_anywhere_is_damaged_never_wrong(tmp_path: Path, keep: float) -> None:
    folder = RunFolder(tmp_path)
    folder.write_trace(traced([10, 11], 0)[0])
    raw = (tmp_path / "trace.npz").read_bytes()
    (tmp_path / "trace.npz").write_bytes(raw[: int(len(raw) * keep)])
    with pytest.raises(Problem, match=r"trace.npz is damaged"):
        folder.trace()


def test_flipped_bits_in_a_trace_are_noticed(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path)
    folder.write_trace(traced([40, 40, 40], 0)[0])
    raw, whole = (tmp_path / "trace.npz").read_bytes(), folder.trace()
    for place in range(0, len(raw), 3):
        changed = bytearray(raw)
        changed[place] ^= 0x10
        (tmp_path / "trace.npz").write_bytes(bytes(changed))
        try:
            found = folder.trace()
        except Problem:
            continue
        assert all(np.array_equal(found[n], whole[n], equal_nan=whole[n].dtype.kind == "f") for n in found)


def test_a_trace_that_is_not_there_yet(tmp_path: Path) -> None:
    with pytest.raises(Problem, match="has no trace yet"):
        RunFolder(tmp_path / "er-x").trace()


def test_a_trace_with_pickled_objects_is_refused(tmp_path: Path) -> None:
    np.savez(tmp_path / "trace.npz", step=np.array([{"a": 1}], dtype=object))
    with pytest.raises(Problem, match="damaged"):
        RunFolder(tmp_path).trace()


def status(folder: Path, **values: Any) -> dict[str, Any]:
    here = {"host": socket.gethostname(), "pid": os.getpid(), "written": time.time()}
    (folder / "status.json").write_text(json.dumps({"state": "running", "updates": 3, "total": 9} | here | values))
    return RunFolder(folder).status()


def test_states(tmp_path: Path) -> None:
    assert RunFolder(tmp_path).status() == {"state": "missing", "updates": 0, "total": 0}
    assert status(tmp_path)["state"] == "running"
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    assert status(tmp_path, pid=gone.pid)["state"] == "interrupted"
    assert status(tmp_path, pid=gone.pid, state="failed")["state"] == "failed"
    assert status(tmp_path, started="another boot 17")["state"] == "interrupted"
    assert status(tmp_path, host="elsewhere", pid=gone.pid)["state"] == "running"
    assert status(tmp_path, host="elsewhere", written=time.time() - STALE_SECONDS - 1)["state"] == "interrupted"
    (tmp_path / "lock").touch()  # by a writer that has nothing to report for long
    assert status(tmp_path, host="elsewhere", written=time.time() - STALE_SECONDS - 1)["state"] == "running"
    os.utime(tmp_path / "lock", (0, 0))
    assert status(tmp_path, host="elsewhere", written=time.time() - STALE_SECONDS - 1)["state"] == "interrupted"
    assert not RunFolder(tmp_path).done()
    assert status(tmp_path, state="done")["state"] == "done"
    assert RunFolder(tmp_path).done()


def test_reading_a_run_changes_nothing_and_needs_no_torch(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path)
    folder.write_trace(traced([10, 11], 0)[0])
    folder.write_status(state="done", updates=12, total=12)
    before = {p: p.stat().st_mtime_ns for p in tmp_path.iterdir()}
    code = (
        "import sys; from pathlib import Path; from common.record import RunFolder; "
        "f = RunFolder(Path(sys.argv[1])); f.status(); f.trace(); "
        "print('torch' in sys.modules, 'pandas' in sys.modules)"
    )
    said = subprocess.run([sys.executable, "-c", code, str(tmp_path)], capture_output=True, text=True, check=True)
    assert said.stdout.split() == ["False", "False"]
    assert before == {p: p.stat().st_mtime_ns for p in tmp_path.iterdir()}


def test_further_values_of_each_sample_come_back_and_have_their_means_in_the_curves() -> None:
    from common.points import _part_means

    trace = Trace(np.array([0, 2, 5]), np.array([4]))
    trace.evaluated(0, 0, 2, np.ones(5, dtype=bool), {"returns": np.arange(5.0)})
    trace.evaluated(4, 0, 1, np.ones(2, dtype=bool), {"returns": np.array([7.0, 9.0])})
    arrays = trace.arrays()
    assert arrays["v_returns"].dtype == np.float32
    again = Trace.of(arrays)
    np.testing.assert_array_equal(again.values["returns"][0], np.arange(5))
    np.testing.assert_array_equal(again.values["returns"][1], [7, 9, np.nan, np.nan, np.nan])
    np.testing.assert_allclose(_part_means(arrays, "v_returns"), [[0.5, 3], [8, np.nan]])

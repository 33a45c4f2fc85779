"""One writer per folder: the living keep it, the dead lose it, and of many at once one alone gets it."""

import contextlib
import errno
import json
import os
import signal
import socket
import time
from pathlib import Path

import pytest

from common import lock
from common.errors import Busy, Problem
from common.writers import STALE_SECONDS


def dead_pid() -> int:
    """A process number that nobody has any more."""
    child = os.fork()
    if not child:
        os._exit(0)
    os.waitpid(child, 0)
    return child


def left(folder: Path, **owner: object) -> Path:
    """A lock as another process would have left it."""
    folder.mkdir(exist_ok=True)
    (folder / "lock").write_text(json.dumps({"host": socket.gethostname(), "token": "theirs", **owner}))
    return folder / "lock"


def test_held_within_the_block_and_gone_after_it(tmp_path: Path) -> None:
    with lock.held(tmp_path / "run"):
        owner = json.loads((tmp_path / "run" / "lock").read_text())
        assert (owner["host"], owner["pid"]) == (socket.gethostname(), os.getpid())
        with pytest.raises(Problem, match=f"written by process {os.getpid()}"), lock.held(tmp_path / "run"):
            pass
        assert json.loads((tmp_path / "run" / "lock").read_text()) == owner
    assert not list((tmp_path / "run").iterdir())


def test_released_after_an_error(tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError), lock.held(tmp_path):
        raise ZeroDivisionError
    assert not list(tmp_path.iterdir())


def test_the_lock_of_a_dead_process_is_taken_over(tmp_path: Path) -> None:
    left(tmp_path, pid=dead_pid())
    with lock.held(tmp_path):
        assert json.loads((tmp_path / "lock").read_text())["pid"] == os.getpid()
    assert not list(tmp_path.iterdir())


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="the system does not tell when a process started")
def test_another_process_with_the_same_number_does_not_hold_it(tmp_path: Path) -> None:
    left(tmp_path, pid=os.getpid(), started="another boot 17")
    with lock.held(tmp_path):
        assert json.loads((tmp_path / "lock").read_text())["started"] != "another boot 17"
    left(tmp_path, pid=os.getpid(), started=None)  # where the system did not tell: the number decides
    with pytest.raises(Problem, match="written by process"), lock.held(tmp_path):
        pass


@pytest.mark.parametrize("sign", ["lock", "status.json"])
def test_another_hosts_lock_is_taken_over_only_when_it_went_silent(tmp_path: Path, sign: str) -> None:
    path = left(tmp_path, host="elsewhere", pid=1)
    (tmp_path / "status.json").write_text("{}")
    silent = time.time() - STALE_SECONDS - 5
    for name in ("lock", "status.json"):
        os.utime(tmp_path / name, (silent, silent))
    os.utime(tmp_path / sign)
    with pytest.raises(Problem, match="process 1 on elsewhere"), lock.held(tmp_path):
        pass
    os.utime(tmp_path / sign, (silent, silent))
    with lock.held(tmp_path):
        assert json.loads(path.read_text())["host"] == socket.gethostname()


@pytest.mark.parametrize("content", ["", "{", "[]", "7", "\x00\x00"])
def test_a_lock_that_cannot_be_read_counts_by_its_age(tmp_path: Path, content: str) -> None:
    (tmp_path / "lock").write_text(content)
    with pytest.raises(Problem, match=r"process \? on \?"), lock.held(tmp_path):
        pass
    silent = time.time() - STALE_SECONDS - 5
    os.utime(tmp_path / "lock", (silent, silent))
    with lock.held(tmp_path):
        pass


def test_a_lock_of_binary_rubbish_is_no_crash(tmp_path: Path) -> None:
    (tmp_path / "lock").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(Problem), lock.held(tmp_path):
        pass


def test_ones_own_lock_is_not_taken_from_the_next_owner(tmp_path: Path) -> None:
    with lock.held(tmp_path):
        left(tmp_path, pid=os.getpid())  # somebody took it over, as after a long pause of ours
    assert json.loads((tmp_path / "lock").read_text())["token"] == "theirs"


def test_a_late_taker_puts_the_fresh_lock_of_a_faster_one_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    left(tmp_path, pid=dead_pid(), token="stale")
    living = lock._living

    def slow(owner: dict[str, object], path: Path, folder: Path) -> bool:
        found = living(owner, path, folder)
        if owner["token"] == "stale":  # between our look and our hand, a faster process takes the lock over
            left(tmp_path, pid=os.getpid(), token="fresh")
        return found

    monkeypatch.setattr(lock, "_living", slow)
    with pytest.raises(Problem, match="being written"), lock.held(tmp_path):
        pass
    assert json.loads((tmp_path / "lock").read_text())["token"] == "fresh"
    assert [p.name for p in tmp_path.iterdir()] == ["lock"]


@pytest.mark.parametrize("turns", [True, False], ids=["with flock", "without"])
def test_of_many_that_want_a_stale_lock_at_once_no_two_hold_it_together(
    tmp_path: Path, turns: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not turns:
        monkeypatch.setattr(lock, "_turn", lambda _: contextlib.nullcontext())
    for attempt in range(8):
        folder = tmp_path / str(attempt)
        left(folder, pid=dead_pid())
        children = [os.fork() or _hold(folder, time.time() + 0.05) for _ in range(2 if not turns else 8)]
        codes = [os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children]
        assert 0 in codes  # somebody got it, or several one after the other
        assert TOGETHER not in codes
        assert not list(folder.glob("lock*"))


REFUSED, TOGETHER = 3, 4


def _hold(folder: Path, start: float) -> int:
    """A child's life: waits for the start, holds the lock for a moment if it can, and is gone."""
    code = REFUSED
    try:
        time.sleep(max(0, start - time.time()))
        with lock.held(folder):
            code = TOGETHER
            (folder / "inside").touch(exist_ok=False)
            time.sleep(0.02)
            (folder / "inside").unlink()
            code = 0
    except Problem:
        pass
    finally:
        os._exit(code)


def test_a_full_disk_leaves_no_half_lock(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(json, "dump", full)
        with (
            pytest.raises(Problem, match=r"Cannot write .*lock: No space left on device. Free space"),
            lock.held(tmp_path),
        ):
            pass
    assert not list(tmp_path.iterdir())
    with lock.held(tmp_path):
        pass


def test_a_killed_holder_leaves_a_lock_that_the_next_one_takes(tmp_path: Path) -> None:
    child = os.fork()
    if not child:
        with lock.held(tmp_path):
            os.kill(os.getpid(), signal.SIGKILL)
    os.waitpid(child, 0)
    assert (tmp_path / "lock").exists()
    with lock.held(tmp_path):
        pass


def test_the_lock_of_a_silent_run_on_another_host_stays_its_own_until_its_process_dies(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lock, "STALE_SECONDS", 1.0)
    monkeypatch.setattr(lock, "BEAT", 0.05)
    child = os.fork()
    if not child:
        with lock.held(tmp_path):
            time.sleep(60)  # it loads data, say
    try:
        monkeypatch.setattr(socket, "gethostname", lambda: "elsewhere")  # the child has the name it had
        while not (tmp_path / "lock").exists():
            time.sleep(0.01)
        time.sleep(2.0)
        with pytest.raises(Busy, match=f"process {child} on"), lock.held(tmp_path):
            pass
    finally:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
    time.sleep(1.0)
    with lock.held(tmp_path):
        assert json.loads((tmp_path / "lock").read_text())["host"] == "elsewhere"


def test_an_owner_that_was_cut_off_does_not_touch_the_lock_of_the_next(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lock, "BEAT", 0.01)
    with lock.held(tmp_path):
        path = left(tmp_path, host="n3", pid=1)
        time.sleep(0.1)  # what was under way is over
        os.utime(path, (7, 7))
        time.sleep(0.1)
        assert path.stat().st_mtime == 7


# --- jobs of a cluster ---------------------------------------------------------------------------------------


def in_job(monkeypatch: pytest.MonkeyPatch, job: str, restart: int) -> None:
    """This process is in that start of a SLURM job."""
    monkeypatch.setenv("SLURM_JOB_ID", job)
    monkeypatch.setenv("SLURM_RESTART_COUNT", str(restart))


def test_a_later_start_of_the_same_job_takes_the_lock_of_the_earlier_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lock.scheduler, "running", lambda job: pytest.fail("SLURM need not be asked"))
    in_job(monkeypatch, "7", 1)
    left(tmp_path, host="n2", pid=1, job="7", restart=0)
    with lock.held(tmp_path):
        assert json.loads((tmp_path / "lock").read_text())["restart"] == 1
    left(tmp_path, host="n2", pid=1, job="7", restart=1)  # another process of this very start
    with pytest.raises(Busy, match="process 1 on n2"), lock.held(tmp_path):
        pass


@pytest.mark.parametrize(("runs", "taken"), [(True, False), (False, True), (None, False)])
def test_the_lock_of_another_job_is_taken_when_slurm_does_not_run_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, runs: bool | None, taken: bool
) -> None:
    asked = []
    monkeypatch.setattr(lock.scheduler, "running", lambda job: asked.append(job) or runs)
    left(tmp_path, host="n2", pid=1, job="7_3", restart=0)
    if taken:
        with lock.held(tmp_path):
            pass
    else:
        with pytest.raises(Busy), lock.held(tmp_path):
            pass
    assert asked == ["7_3"]


def test_an_owner_that_was_cut_off_finds_its_lock_taken(tmp_path: Path) -> None:
    with lock.held(tmp_path) as still_held:
        still_held()
        left(tmp_path, host="n3", pid=1)
        with pytest.raises(Busy, match="taken over by another process"):
            still_held()
    assert json.loads((tmp_path / "lock").read_text())["host"] == "n3"  # the other one's lock stays

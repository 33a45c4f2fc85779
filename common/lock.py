"""One writer per run folder. Built on exclusive creation and atomic rename, which hold on shared file systems."""

import contextlib
import json
import os
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from common import scheduler
from common.errors import Busy, Problem
from common.writers import STALE_SECONDS, gone, this_process

Check = Callable[[], None]
BEAT = STALE_SECONDS / 10  # seconds between two signs of life


@contextlib.contextmanager
def held(folder: Path) -> Iterator[Check]:
    """The folder's lock, for the length of a `with` block; gives a function that raises Busy once it is another's.

    Errors: Busy when a living process holds it. A lock is taken over when its owner is certainly gone: a dead process of
    this host, an earlier start of this very job, a job that SLURM does not run any more; or when on another host nobody has
    touched it for ten minutes, which its owner does every minute, also while its run has nothing to say (data are loaded, a
    task begins). An owner that was only cut off finds its lock taken before it writes again.
    """
    path = folder / "lock"
    _make(folder)
    mine = this_process() | {"token": uuid.uuid4().hex}
    for _ in range(3):
        try:
            _create(path, mine)
            break
        except FileExistsError:
            _take_over(path, folder)
    else:
        raise Problem(f"{path} could not be taken: other processes keep taking it. Try again in a minute.")

    def check() -> None:
        if _owner(path).get("token") != mine["token"]:
            raise Busy(f"Run {folder.name} was taken over by another process; this one stops and writes nothing more.")

    over = threading.Event()
    threading.Thread(target=_touch, args=(path, mine["token"], over), daemon=True).start()
    try:
        yield check
    finally:
        over.set()
        if _owner(path).get("token") == mine["token"]:
            path.unlink(missing_ok=True)


def _touch(path: Path, token: str, over: threading.Event) -> None:
    """Nothing; until it is over, the lock is touched now and then as long as it is ours. It ends with its process."""
    while not over.wait(BEAT):
        with contextlib.suppress(OSError):
            if _owner(path).get("token") == token:
                os.utime(path)


def _make(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if not os.access(folder, os.W_OK):
            raise PermissionError(13, "Permission denied")
    except OSError as error:
        raise Problem(
            f"Cannot write in {folder}: {error.strerror}. Make it writable or name another folder in REPLICATE_RUNS."
        ) from error


def _create(path: Path, mine: dict[str, Any]) -> None:
    """Nothing; the lock is there and ours. Errors: FileExistsError; Problem when the disk is full."""
    with path.open("x") as file:
        try:
            json.dump(mine, file)
            file.flush()
        except OSError as error:
            path.unlink(missing_ok=True)  # half a lock would keep everybody out
            raise Problem(f"Cannot write {path}: {error.strerror}. Free space, then give the command again.") from error


def _owner(path: Path) -> dict[str, Any]:
    try:
        owner = json.loads(path.read_text())
    except (FileNotFoundError, ValueError):
        return {}
    return owner if isinstance(owner, dict) else {}


def _take_over(path: Path, folder: Path) -> None:
    """Removes a stale lock; Problem when its owner is alive.

    Takers go one by one where the file system can lock a folder. Elsewhere one may be late and move the lock of a
    faster one: what was moved is looked at, and put back.
    """
    with _turn(folder):
        owner = _owner(path)
        if not path.exists():
            return
        if _living(owner, path, folder):
            raise Busy(
                f"Run {folder.name} is being written by process {owner.get('pid', '?')} on {owner.get('host', '?')}. "
                "Wait for it (replicate status), or stop that process; then give the command again."
            )
        stale = path.with_name(f"lock.stale.{uuid.uuid4().hex}")
        with contextlib.suppress(FileNotFoundError):
            path.rename(stale)
            if _owner(stale).get("token") != owner.get("token"):
                with contextlib.suppress(FileExistsError):
                    os.link(stale, path)
            stale.unlink()


@contextlib.contextmanager
def _turn(folder: Path) -> Iterator[None]:
    """One process at a time, where the file system has such locks; they end with their process."""
    number = os.open(folder, os.O_RDONLY)
    try:
        with contextlib.suppress(ImportError, OSError):
            import fcntl

            fcntl.flock(number, fcntl.LOCK_EX)
        yield
    finally:
        os.close(number)


def _living(owner: dict[str, Any], path: Path, folder: Path) -> bool:
    ended = gone(owner)
    if ended is None:
        ended = _job_ended(owner)
    if ended is not None:
        return not ended
    newest = max((p.stat().st_mtime for p in (path, folder / "status.json") if p.exists()), default=0.0)
    return time.time() - newest < STALE_SECONDS


def _job_ended(owner: dict[str, Any]) -> bool | None:
    """Whether the owner's SLURM job is over or started anew; None without a job, or when it runs or cannot be asked."""
    job, mine = owner.get("job"), this_process()
    if not job:
        return None
    if job == mine.get("job"):
        return bool(owner.get("restart", 0) < mine["restart"]) or None
    return True if scheduler.running(job) is False else None

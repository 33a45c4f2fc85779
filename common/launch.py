"""Runs on this machine: one process a core, one run a process at a time, each run's failure its own.

Torch is imported by the worker processes alone. A worker that dies takes one run with it and is replaced.
"""

import contextlib
import multiprocessing
import multiprocessing.connection
import os
import signal
import sys
import threading
import time
import traceback
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from common.errors import Busy, Problem
from common.files import write_atomic
from common.places import runs_dir
from common.record import RunFolder
from common.sweep import Request

BUSY = "another process is at it"


@dataclass
class Outcome:
    """What became of a launch: ids of runs done now, done before, under way in another process; failures (id -> reason)."""

    done: list[str] = field(default_factory=list)
    before: list[str] = field(default_factory=list)
    elsewhere: list[str] = field(default_factory=list)
    failed: dict[str, str] = field(default_factory=dict)
    stopped: bool = False


@dataclass(frozen=True)
class Settings:
    """workers: processes (None: one a core). device: cpu, cuda or auto. save_minutes: most work that a kill can cost."""

    workers: int | None = None
    device: str = "auto"
    save_minutes: float = 2.0
    threads: int = 1


def cores() -> int:
    """Cores this process may use (a scheduler's or container's limit counts, not the machine's size)."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def run_local(requests: Iterable[Request], settings: Settings, updates: dict[str, int], quiet: bool = False) -> Outcome:
    """Carries out every request that is not done, parents first, with a progress bar on stderr.

    updates: run id -> updates it will make, for the bar. Errors of a run are collected, never raised.
    """
    outcome = Outcome()
    waiting: dict[str, Request] = {}
    for request in requests:
        if RunFolder(runs_dir() / request.run_id).done():
            outcome.before.append(request.run_id)
        else:
            waiting.setdefault(request.run_id, request)
    outcome.before = list(dict.fromkeys(outcome.before))
    if not waiting:
        return outcome
    count = min(settings.workers or cores(), len(waiting))
    with _Bar(sum(updates.get(i, 1) for i in waiting), len(waiting), quiet) as bar, _terminated_is_interrupted():
        _Pool(count, settings, waiting, outcome, bar).work()
    return outcome


@contextlib.contextmanager
def _terminated_is_interrupted() -> Iterator[None]:
    """SIGTERM (kill, a scheduler's time limit) stops the launch as Ctrl-C does: workers save and leave."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


class _Pool:
    """Workers over pipes. A run is handed out when its parents are done."""

    def __init__(
        self, count: int, settings: Settings, waiting: dict[str, Request], outcome: Outcome, bar: "_Bar"
    ) -> None:
        self.settings, self.waiting, self.outcome, self.bar = settings, waiting, outcome, bar
        self.context = multiprocessing.get_context("spawn")
        self.workers = [self._start() for _ in range(count)]
        self.busy: dict[int, str] = {}

    def _start(self) -> tuple[Any, Any]:
        ours, theirs = self.context.Pipe()
        process = self.context.Process(target=_work, args=(theirs, self.settings), daemon=True)
        process.start()
        theirs.close()
        return process, ours

    def work(self) -> None:
        """Until every run is done, failed or the user asks to stop (Ctrl-C: workers save and leave)."""
        try:
            while self.waiting or self.busy:
                self._hand_out()
                if not self.busy:
                    break
                for pipe in multiprocessing.connection.wait([pipe for _, pipe in self.workers], timeout=1):
                    self._hear(next(k for k, (_, p) in enumerate(self.workers) if p is pipe))
        except KeyboardInterrupt:
            self.outcome.stopped = True
        finally:
            self._finish()

    def _hand_out(self) -> None:
        for k in range(len(self.workers)):
            if k in self.busy:
                continue
            ready = next((i for i, r in self.waiting.items() if self._ready(r)), None)
            if ready is None:
                return
            request = self.waiting.pop(ready)
            self.busy[k] = ready
            with contextlib.suppress(BrokenPipeError):
                self.workers[k][1].send(request)

    def _ready(self, request: Request) -> bool:
        """Whether its parents are done; a failed parent fails its children."""
        for parent in request.parents:
            if parent.run_id in self.outcome.failed:
                self.outcome.failed[request.run_id] = f"its parent {parent.run_id} failed"
                return False
            if parent.run_id in self.waiting or parent.run_id in self.busy.values():
                return False
        return request.run_id not in self.outcome.failed

    def _hear(self, k: int) -> None:
        process, pipe = self.workers[k]
        try:
            kind, value = pipe.recv()
        except (EOFError, ConnectionResetError):
            process.join()
            self._over(
                k,
                f"the process ended with code {process.exitcode} (killed, or out of memory); resume with the same command",
            )
            self.workers[k] = self._start()
            return
        if kind == "progress":
            self.bar.at(self.busy[k], value)
        else:
            self._over(k, value)

    def _over(self, k: int, failure: str | None) -> None:
        run_id = self.busy.pop(k, None)
        if run_id is None:
            return
        if failure is None:
            self.outcome.done.append(run_id)
        elif failure == BUSY:
            self.outcome.elsewhere.append(run_id)
            failure = None
        else:
            self.outcome.failed[run_id] = failure
        self.bar.over(run_id, failure)

    def _finish(self) -> None:
        for run_id, request in self.waiting.items():
            if any(p.run_id in self.outcome.failed for p in request.parents):
                self.outcome.failed.setdefault(run_id, "its parent failed")
        for process, pipe in self.workers:
            with contextlib.suppress(BrokenPipeError, OSError):
                pipe.send(None)
            if self.outcome.stopped and process.pid:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(process.pid, signal.SIGTERM)
        deadline = time.monotonic() + 60
        for process, _ in self.workers:
            process.join(max(0.0, deadline - time.monotonic()))
            if process.is_alive():
                process.kill()


def _work(pipe: Any, settings: Settings) -> None:
    """A worker's life: take a run, carry it out, answer None or the reason of its failure."""
    stop = {"asked": False}

    def ask(signum: int, frame: object) -> None:
        stop["asked"] = True

    signal.signal(signal.SIGINT, ask)
    signal.signal(signal.SIGTERM, ask)
    import torch

    from common import loop, table

    torch.set_num_threads(settings.threads)
    heard = time.monotonic()

    def watch(updates: int, total: int) -> None:
        nonlocal heard
        if time.monotonic() - heard > 0.3:
            heard = time.monotonic()
            try:
                pipe.send(("progress", updates))
            except OSError:  # the launching process is gone: save and leave, the next call goes on from here
                stop["asked"] = True

    place = loop.Place(
        device=settings.device, save_minutes=settings.save_minutes, stop=lambda: stop["asked"], watch=watch
    )
    while not stop["asked"]:
        try:
            request = pipe.recv()
        except (EOFError, OSError):
            return
        if request is None:
            return
        try:
            loop.run(request.run, place)
            table.measured(request)
            answer = None
        except loop.Stopped:
            return
        except Busy:
            answer = BUSY
        except Problem as problem:
            answer = str(problem)
        except Exception as error:
            answer = f"{type(error).__name__}: {error} ({_kept(runs_dir() / request.run_id / 'traceback.txt')})"
        pipe.send(("over", answer))


def _kept(path: Path) -> str:
    """Where the traceback of the present error was put; the traceback itself where it cannot be written."""
    text = traceback.format_exc()
    try:
        write_atomic(path, text)
    except Problem:
        return text
    return f"whole traceback: {path}"


class _Bar:
    """One bar over all runs, in updates, with the time left."""

    def __init__(self, total: int, runs: int, quiet: bool) -> None:
        from tqdm import tqdm

        pause = 0.3 if sys.stderr.isatty() else 20.0  # a log file gets a line now and then, a terminal a moving bar
        self.bar = tqdm(total=total, unit="upd", disable=quiet, smoothing=0.1, mininterval=pause, dynamic_ncols=True)
        self.runs, self.finished = runs, 0
        self.last: dict[str, int] = {}
        self.bar.set_description(f"0/{runs} runs", refresh=False)

    def __enter__(self) -> "_Bar":
        return self

    def __exit__(self, *_: object) -> None:
        self.bar.close()

    def at(self, run_id: str, updates: int) -> None:
        """A run has made that many updates."""
        self.bar.update(updates - self.last.get(run_id, 0))
        self.last[run_id] = updates

    def over(self, run_id: str, failure: str | None) -> None:
        """A run is over."""
        total = RunFolder(runs_dir() / run_id).status().get("total", 0)
        self.at(run_id, total or self.last.get(run_id, 0))
        self.finished += 1
        self.bar.set_description(f"{self.finished}/{self.runs} runs", refresh=False)
        if failure is not None:
            self.bar.write(f"failed: {run_id}: {failure}", file=sys.stderr)  # stdout may be JSON

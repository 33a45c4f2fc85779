"""A pool of worker processes: who gets which run, what they say of it, and what becomes of one that dies."""

import contextlib
import multiprocessing
import multiprocessing.connection
import os
import signal
import time
from collections.abc import Callable
from typing import Any

from common import gpus, together
from common.bar import Bar
from common.errors import Busy
from common.outcome import Outcome, Settings
from common.places import runs_dir
from common.record import RunFolder
from common.sweep import Request
from common.worker import LEFT, heeded, work


class Pool:
    """Workers over pipes. A run is handed out when its parents are done."""

    def __init__(
        self,
        count: int,
        settings: Settings,
        waiting: dict[str, Request],
        updates: dict[str, int],
        outcome: Outcome,
        bar: Bar,
        stop: Callable[[], bool],
    ) -> None:
        self.settings, self.waiting, self.outcome, self.bar, self.stop = settings, waiting, outcome, bar, stop
        self.context = multiprocessing.get_context("spawn")
        self.gpus = [] if settings.device == "cpu" else gpus.visible()
        self.busy: dict[int, list[Request]] = {}
        self.keys = {  # what runs must have in common to be carried out at once; None: alone
            run_id: None
            if together.alone(r.run, settings.together, bool(self.gpus), updates.get(run_id))
            else together.key(r.run)
            for run_id, r in waiting.items()
        }
        self.workers = [self._start(k) for k in range(count)]

    def _start(self, k: int) -> tuple[Any, Any]:
        """Worker number k with our end of its pipe. It takes signals from when it can heed them, not from its first breath."""
        ours, theirs = self.context.Pipe()
        gpu = self.gpus[k % len(self.gpus)] if len(self.gpus) > 1 else None
        process = self.context.Process(target=work, args=(theirs, self.settings, gpu), daemon=True)
        signal.pthread_sigmask(signal.SIG_BLOCK, heeded())
        try:
            process.start()
        finally:
            signal.pthread_sigmask(signal.SIG_UNBLOCK, heeded())
        theirs.close()
        return process, ours

    def work(self) -> None:
        """Until every run is done, failed or the user asks to stop (Ctrl-C: workers save and leave)."""
        try:
            while (self.waiting or self.busy) and not self.outcome.stopped:
                if self.stop():
                    self.outcome.stopped = True
                    break
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
            batch = self.busy[k] = [self.waiting.pop(run_id) for run_id in self._batch(ready)]
            with contextlib.suppress(BrokenPipeError):
                self.workers[k][1].send(list(batch))

    def _batch(self, first: str) -> list[str]:
        """The run and those that are carried out with it; what is left of one kind is shared by all workers."""
        if self.keys[first] is None:
            return [first]
        mates = [i for i in self.waiting if self.keys[i] == self.keys[first]]
        idle = 1 if len(mates) < len(self.waiting) else len(self.workers) - len(self.busy)
        count = min(together.most(self.settings.together), -(-len(mates) // idle))
        return [i for i in mates if i == first or self._ready(self.waiting[i])][:count]

    def _ready(self, request: Request) -> bool:
        """Whether its parents are done; a failed parent fails its children."""
        for parent in request.parents:
            if parent.run_id in self.outcome.failed:
                self.outcome.failed[request.run_id] = f"its parent {parent.run_id} failed"
                return False
            if parent.run_id in self.waiting or parent.run_id in {r.run_id for b in self.busy.values() for r in b}:
                return False
            if not RunFolder(runs_dir() / parent.run_id).done():  # it was another job's, or stands with another process
                self.outcome.failed[request.run_id] = f"its parent {parent.run_id} is not done"
                return False
        return request.run_id not in self.outcome.failed

    def _hear(self, k: int) -> None:
        process, pipe = self.workers[k]
        try:
            kind, value = pipe.recv()
        except (EOFError, ConnectionResetError):
            process.join()
            if self.stop():  # it heard the same signal
                self.outcome.stopped = True
                return
            batch = self.busy.pop(k, [])
            if self.settings.again:
                self.waiting |= {request.run_id: request for request in batch}
                self.keys |= {request.run_id: None for request in batch}  # none is to die of another's fault again
            else:
                code = f"the process ended with code {process.exitcode}"
                for request in batch:
                    self._over(request.run_id, f"{code} (killed, or out of memory); resume with the same command")
            self.workers[k] = self._start(k)
            return
        self._heard(k, kind, value)

    def _heard(self, k: int, kind: str, value: Any) -> None:
        if kind == "progress":
            for run_id, updates in value.items():
                self.bar.at(run_id, updates)
        elif kind == "said":
            self.outcome.said.append(value)
            self.bar.said(value)
        elif value == LEFT:
            self.outcome.stopped = True
            self.busy.pop(k, None)
        else:
            run_id, failure = value
            self.busy[k] = [request for request in self.busy[k] if request.run_id != run_id]
            self._over(run_id, failure)
            if not self.busy[k]:
                del self.busy[k]

    def _over(self, run_id: str, failure: str | Busy | None) -> None:
        self.outcome.over(run_id, failure)
        self.bar.over(run_id, None if isinstance(failure, Busy) else failure)

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
        deadline = time.monotonic() + self.settings.patience
        for process, _ in self.workers:
            process.join(max(0.0, deadline - time.monotonic()))
            if process.is_alive():
                process.kill()
        for k in list(self.busy):
            self._last_words(k)

    def _last_words(self, k: int) -> None:
        """Takes what a worker said before it left: a run may have failed, or ended, while it was asked to stop."""
        pipe = self.workers[k][1]
        with contextlib.suppress(EOFError, OSError):
            while k in self.busy and pipe.poll():
                self._heard(k, *pipe.recv())

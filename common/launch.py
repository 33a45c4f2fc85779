"""Runs on this machine: one process a GPU or a core, one run (or one batch of small runs) a process at a time.

Each run's failure is its own. Torch is imported by the worker processes alone. A worker that dies takes what it was
carrying out with it and is replaced.
"""

import contextlib
import os
import signal
import threading
from collections.abc import Callable, Iterable, Iterator

from common import gpus, together
from common.bar import Bar
from common.outcome import Outcome, Settings
from common.places import runs_dir
from common.pool import Pool
from common.record import RunFolder
from common.sweep import Request


def cores() -> int:
    """Cores this process may use (a scheduler's or container's limit counts, not the machine's size)."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def processes(settings: Settings, runs: int) -> int:
    """Processes for so many runs, at least one: those asked for, else one a GPU where GPUs are used, else one a core."""
    visible = [] if settings.device == "cpu" or settings.workers else gpus.visible()
    return min(settings.workers or len(visible) or cores(), max(1, runs))


def run_local(
    requests: Iterable[Request],
    settings: Settings,
    updates: dict[str, int],
    quiet: bool = False,
    stop: Callable[[], bool] | None = None,
) -> Outcome:
    """Carries out every request that is not done, parents first, with a progress bar on stderr.

    updates: run id -> updates it will make, for the bar. Errors of a run are collected, never raised.
    stop: asked about once a second; True: the workers save and leave. Without it, SIGTERM and Ctrl-C do that.
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
    count = processes(settings, len(waiting))
    gpu = settings.device != "cpu" and bool(gpus.visible())
    outcome.together = together.summary(list(waiting.values()), updates, settings.together, gpu)
    asked = _asked_to_stop() if stop is None else contextlib.nullcontext(stop)
    with Bar(list(waiting.values()), updates, quiet) as bar, asked as stop_now:
        Pool(count, settings, waiting, updates, outcome, bar, stop_now).work()
    made = [run_id for run_id in outcome.elsewhere if RunFolder(runs_dir() / run_id).done()]  # while we did the others
    outcome.before += made
    outcome.elsewhere = {run_id: why for run_id, why in outcome.elsewhere.items() if run_id not in made}
    return outcome


STOPPING = b"\nstopping: every run saves and leaves (Ctrl-C again: at once, what came after the last save is lost)\n"


@contextlib.contextmanager
def _asked_to_stop() -> Iterator[Callable[[], bool]]:
    """Whether Ctrl-C or SIGTERM (kill, a scheduler's time limit) came since: workers then save and leave.

    A flag, for an exception that a handler raises gets lost when it comes within a destructor. A second Ctrl-C is one.
    """
    came: list[int] = []

    def note(number: int, frame: object) -> None:
        if number in came and number == signal.SIGINT:
            raise KeyboardInterrupt
        if not came:  # written past Python's buffers: a handler may come within a print
            os.write(2, STOPPING)
        came.append(number)

    if threading.current_thread() is not threading.main_thread():
        yield lambda: False
        return
    before = {number: signal.signal(number, note) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield lambda: bool(came)
    finally:
        for number, handler in before.items():
            signal.signal(number, handler or signal.SIG_DFL)

"""A worker process: takes runs, one after the other or several at once, and carries them out. Torch is imported here
and in no other launcher."""

import contextlib
import gc
import os
import signal
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from common.errors import Busy, Problem
from common.files import write_atomic
from common.places import runs_dir

if TYPE_CHECKING:
    from common.loop import Place
    from common.outcome import Settings
    from common.sweep import Request

LEFT = "saved and left"


def heeded() -> tuple[signal.Signals, ...]:
    """Signals at which a worker saves and leaves: SLURM sends its own one to every process of a job."""
    return signal.SIGINT, signal.SIGTERM, getattr(signal, f"SIG{os.environ.get('SUBMITIT_PREEMPT_SIGNAL', 'USR2')}")


def work(pipe: Any, settings: "Settings", gpu: str | None) -> None:
    """A worker's life: take some runs, carry them out, answer for each None or the reason of its failure."""
    stop = {"asked": False}

    def ask(signum: int, frame: object) -> None:
        stop["asked"] = True

    for number in heeded():
        signal.signal(number, ask)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, heeded())
    if gpu is not None:
        os.environ["CUDA_VISIBLE_DEVICES"] = gpu  # before torch looks
    import torch

    from common import loop

    torch.set_num_threads(settings.threads)
    heard = time.monotonic()
    under_way: list[str] = []

    def watch(updates: int, total: int) -> None:
        nonlocal heard
        if time.monotonic() - heard > 0.3:
            heard = time.monotonic()
            try:
                pipe.send(("progress", dict.fromkeys(under_way, updates)))
            except OSError:  # the launching process is gone: save and leave, the next call goes on from here
                stop["asked"] = True

    place = loop.Place(
        device=settings.device,
        save_minutes=settings.save_minutes,
        status_seconds=settings.status_seconds,
        stop=lambda: stop["asked"],
        watch=watch,
    )

    def over(run_id: str, answer: str | Busy | None) -> None:
        pipe.send(("over", (run_id, answer)))

    def say(text: str) -> None:
        pipe.send(("said", text))

    while not stop["asked"]:
        try:
            requests = pipe.recv()
        except (EOFError, OSError):
            return
        if requests is None:
            return
        try:
            _carry_out(requests, place, under_way, over, say)
            gc.collect()  # a learner's parts know each other: without it the next run finds this one's tensors still there
        except loop.Stopped:
            with contextlib.suppress(OSError):
                pipe.send(("over", LEFT))
            return


def _carry_out(
    requests: "list[Request]",
    place: "Place",
    under_way: list[str],
    over: Callable[[str, str | Busy | None], None],
    say: Callable[[str], None],
) -> None:
    """Nothing; `over` has been told of every run, and `say` what a user may want to know of a batch of them.

    under_way: holds the ids of those that `place.watch` speaks of.
    """
    from common import analyse, loop, run_metrics
    from common.vectorised import loop as batch

    by_id = {request.run_id: request for request in requests}

    def ended(run_id: str, error: Exception | None) -> None:
        if error is None:
            try:
                run_metrics.measured(by_id[run_id])
            except Exception as fault:
                error = fault
        over(run_id, answer(run_id, error))

    if len(requests) > 1:
        batch.run([request.run for request in requests], place, under_way, ended, say)
        return
    run = requests[0].run
    under_way[:] = [run.run_id]
    try:
        (analyse.run if run.finding else loop.run)(run, place)
    except loop.Stopped:
        raise
    except Exception as error:
        ended(run.run_id, error)
    else:
        ended(run.run_id, None)


def answer(run_id: str, error: Exception | None) -> str | Busy | None:
    """What the launcher is told of a run that is over."""
    if error is None or isinstance(error, Busy):
        return error
    if isinstance(error, Problem):
        return str(error)
    return f"{type(error).__name__}: {error} ({kept(error, runs_dir() / run_id / 'traceback.txt')})"


def kept(error: Exception, path: Path) -> str:
    """Where the traceback of an error was put; the traceback itself where it cannot be written."""
    text = "".join(traceback.format_exception(error))
    try:
        write_atomic(path, text)
    except Problem:
        return text
    return f"whole traceback: {path}"

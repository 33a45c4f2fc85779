"""A worker process: takes one run after the other and carries it out. Torch is imported here and in no other launcher."""

import contextlib
import os
import signal
import time
import traceback
from pathlib import Path
from typing import TYPE_CHECKING, Any

from common.errors import Busy, Problem
from common.files import write_atomic
from common.places import runs_dir

if TYPE_CHECKING:
    from common.launch import Settings

LEFT = "saved and left"


def heeded() -> tuple[signal.Signals, ...]:
    """Signals at which a worker saves and leaves: SLURM sends its own one to every process of a job."""
    return signal.SIGINT, signal.SIGTERM, getattr(signal, f"SIG{os.environ.get('SUBMITIT_PREEMPT_SIGNAL', 'USR2')}")


def work(pipe: Any, settings: "Settings", gpu: str | None) -> None:
    """A worker's life: take a run, carry it out, answer None or the reason of its failure."""
    stop = {"asked": False}

    def ask(signum: int, frame: object) -> None:
        stop["asked"] = True

    for number in heeded():
        signal.signal(number, ask)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, heeded())
    if gpu is not None:
        os.environ["CUDA_VISIBLE_DEVICES"] = gpu  # before torch looks
    import torch

    from common import analyse, loop, table

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
        device=settings.device,
        save_minutes=settings.save_minutes,
        status_seconds=settings.status_seconds,
        stop=lambda: stop["asked"],
        watch=watch,
    )
    while not stop["asked"]:
        try:
            request = pipe.recv()
        except (EOFError, OSError):
            return
        if request is None:
            return
        try:
            (analyse.run if request.run.analysis else loop.run)(request.run, place)
            table.measured(request)
            answer: str | Busy | None = None
        except loop.Stopped:
            with contextlib.suppress(OSError):
                pipe.send(("over", LEFT))
            return
        except Busy as busy:
            answer = busy
        except Problem as problem:
            answer = str(problem)
        except Exception as error:
            answer = f"{type(error).__name__}: {error} ({kept(runs_dir() / request.run_id / 'traceback.txt')})"
        pipe.send(("over", answer))


def kept(path: Path) -> str:
    """Where the traceback of the present error was put; the traceback itself where it cannot be written."""
    text = traceback.format_exc()
    try:
        write_atomic(path, text)
    except Problem:
        return text
    return f"whole traceback: {path}"

"""Objects that live in processes of their own and answer calls, for what simulates. They import no torch.

Plain processes with a pipe, not multiprocessing's: a worker of `replicate run` may not have children of that kind, and the caller's
main module is left alone. They end with their caller in every case: when it closes them, on its errors and Ctrl-C, and when it is
killed, since their pipe then breaks.
"""

import contextlib
import os
import signal
import socket
import subprocess
import sys
import traceback
from collections.abc import Callable
from multiprocessing.connection import Connection
from typing import Any

from common.errors import Problem

PATIENCE = 5.0  # seconds that a process is given to end by itself
LEFT_TO_THE_CALLER = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2)


class Servant:
    """`build(*arguments)` in a process of its own; both must be importable there."""

    def __init__(self, build: Callable[..., Any], *arguments: Any) -> None:
        ours, theirs = socket.socketpair()
        place = [os.path.abspath(folder) for folder in sys.path]
        environment = os.environ | {"PYTHONPATH": os.pathsep.join(place), "OMP_NUM_THREADS": "1"}
        words = [sys.executable, "-c", f"from papers.l2m.servants import serve; serve({theirs.fileno()})"]
        with theirs:
            self.process = subprocess.Popen(
                words, pass_fds=[theirs.fileno()], env=environment, stdin=subprocess.DEVNULL, start_new_session=True
            )
        self.pipe = Connection(ours.detach())
        self.tell(build, *arguments)

    def tell(self, *message: Any) -> None:
        """Nothing; sends (verb, arguments of that method), to be answered in turn."""
        with self._alive():
            self.pipe.send(message)

    def answer(self) -> Any:
        """What the call returned. Errors: the Problem that it raised, or RuntimeError with its traceback."""
        with self._alive():
            answer, failure = self.pipe.recv()
        if failure and isinstance(answer, Problem):
            raise answer
        if failure:
            raise RuntimeError(f"a process that simulates failed:\n{failure}")
        return answer

    def end(self) -> None:
        """Nothing; asks the process to end."""
        self.pipe.close()  # it reads the end of the pipe and returns

    def ended(self) -> None:
        """Nothing; the process is gone."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.process.wait(PATIENCE)
        self.process.kill()
        self.process.wait()

    @contextlib.contextmanager
    def _alive(self) -> Any:
        try:
            yield
        except (EOFError, OSError) as error:
            raise Problem(
                "A process that simulates has died (killed, or out of memory). Give the same command again; if memory is short, "
                "with fewer processes or fewer episodes at once."
            ) from error


def close(servants: list[Servant]) -> None:
    """Nothing; all have ended."""
    for servant in servants:
        servant.end()
    for servant in servants:
        servant.ended()


def serve(number: int) -> None:
    """Nothing; answers until the pipe of that number ends. Signals are the caller's to decide upon."""
    for kind in LEFT_TO_THE_CALLER:
        signal.signal(kind, signal.SIG_IGN)
    pipe = Connection(number)
    with contextlib.suppress(EOFError, OSError):
        build, *arguments = pipe.recv()
        servant, failure = _tried(build, *arguments)
        while True:
            verb, *arguments = pipe.recv()
            pipe.send((servant, failure) if failure else _tried(getattr(servant, verb), *arguments))


def _tried(work: Callable[..., Any], *arguments: Any) -> tuple[Any, str]:
    """(what came back, "") or (the Problem or None, the traceback of what went wrong)."""
    try:
        return work(*arguments), ""
    except Problem as problem:
        return problem, traceback.format_exc()
    except Exception:
        return None, traceback.format_exc()

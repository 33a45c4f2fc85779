"""One run by all the processes of a job: what a job does where its profile asks for several processes a run."""

from collections.abc import Callable
from typing import Any

from common.errors import Busy, Problem
from common.launch import Outcome
from common.sweep import Request
from common.worker import kept


def carry_out(request: Request, processes: int, settings: dict[str, Any], stop: Callable[[], bool]) -> Outcome:
    """What became of the run; every process of the job calls this. Errors of the run are collected, not raised."""
    from common import loop, table
    from common.places import runs_dir

    outcome = Outcome()
    given = {key: settings[key] for key in ("device", "save_minutes", "status_seconds")}
    try:
        loop.run(request.run, loop.Place(**given, processes=processes, stop=stop))
        table.measured(request)
        outcome.done.append(request.run_id)
    except loop.Stopped:
        outcome.stopped = True
    except Busy as busy:
        outcome.elsewhere[request.run_id] = str(busy)
    except Problem as problem:
        outcome.failed[request.run_id] = str(problem)
    except Exception as error:
        where = kept(error, runs_dir() / request.run_id / "traceback.txt")
        outcome.failed[request.run_id] = f"{type(error).__name__}: {error} ({where})"
    return outcome

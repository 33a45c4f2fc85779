"""One run by all the processes of a job: what a job does where its profile asks for several processes a run."""

from collections.abc import Callable
from typing import Any

from common.outcome import Outcome
from common.sweep import Request
from common.worker import answer


def carry_out(request: Request, processes: int, settings: dict[str, Any], stop: Callable[[], bool]) -> Outcome:
    """What became of the run; every process of the job calls this. Errors of the run are collected, not raised."""
    from common import analyse, loop, run_metrics

    outcome = Outcome()
    given = {key: settings[key] for key in ("device", "save_minutes", "status_seconds")}
    try:
        place = loop.Place(**given, processes=processes, stop=stop)
        (analyse.run if request.run.finding else loop.run)(request.run, place)
        run_metrics.measured(request)
        outcome.over(request.run_id, None)
    except loop.Stopped:
        outcome.stopped = True
    except Exception as error:
        outcome.over(request.run_id, answer(request.run_id, error))
    return outcome

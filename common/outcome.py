"""How runs are to be carried out on a machine, and what became of them."""

from dataclasses import dataclass, field

from common.errors import Busy
from common.together import How


@dataclass
class Outcome:
    """What became of a launch: ids of runs done now, done before; under way in another process, and failed (id -> reason).

    not_finite: runs whose loss was not finite in the end (id -> from which update on).
    together: what was carried out at once. said: what workers said of batches, such as why one was given up.
    """

    done: list[str] = field(default_factory=list)
    before: list[str] = field(default_factory=list)
    elsewhere: dict[str, str] = field(default_factory=dict)
    failed: dict[str, str] = field(default_factory=dict)
    not_finite: dict[str, int] = field(default_factory=dict)
    stopped: bool = False
    together: str = ""
    said: list[str] = field(default_factory=list)

    def over(self, run_id: str, failure: str | Busy | None) -> None:
        """Notes what a worker says of a run that is over."""
        if failure is None:
            self.done.append(run_id)
        elif isinstance(failure, Busy):
            self.elsewhere[run_id] = str(failure)
        else:
            self.failed[run_id] = failure


@dataclass(frozen=True)
class Settings:
    """workers: processes (None: one a GPU, where none is used one a core). device: cpu, cuda or auto.

    save_minutes: most work that a kill can cost.
    again: a run whose process died is taken up again, as long as it gets on (the loop counts its starts).
    patience: seconds that workers have to save and leave once they are asked to stop; then they are killed.
    together: runs that are carried out as one batch: "auto", "off", or the most of them (common/together.py).
    """

    workers: int | None = None
    device: str = "auto"
    save_minutes: float = 2.0
    status_seconds: float = 2.0
    threads: int = 1
    again: bool = False
    patience: float = 60.0
    together: How = "auto"

"""One sitting of a run: its status while it is under way, and what is written when it ends, however it ends."""

import contextlib
from collections.abc import Iterator
from typing import Any

from common.errors import Busy
from common.record import RunFolder


class Stopped(Exception):
    """The run was asked to leave; what it has done is saved."""


@contextlib.contextmanager
def sitting(folder: RunFolder) -> Iterator[dict[str, Any]]:
    """The status of a run under way, for the length of a `with` block; what ends the block is written into it.

    It is written before anything is loaded, so that a death there counts as a start too. updates, total, seconds, sittings
    and redone go on from earlier sittings.
    """
    before, kept = folder.status(), ("updates", "total", "seconds", "sittings", "redone")
    status = {key: before.get(key, 0) for key in kept} | {"state": "running"}
    try:
        status |= {"starts": folder.starts() + 1, "sittings": status["sittings"] + 1}
        folder.write_status(**status)
        yield status
    except Busy:  # another process has the folder now: nothing of ours is written any more
        raise
    except (Stopped, KeyboardInterrupt):
        folder.write_status(**status | {"state": "interrupted"})
        raise
    except BaseException as error:
        folder.write_status(**status | {"state": "failed", "error": f"{type(error).__name__}: {error}"})
        raise

"""Errors that a user can cause: plain sentences, all of them together, no traceback."""

import difflib
from collections.abc import Iterable


class Problem(Exception):
    """What was given, what is allowed and what to do, as one or more plain sentences."""

    def __init__(self, *messages: str) -> None:
        super().__init__("\n".join(messages))
        self.messages = list(messages)


class Missing(Problem):
    """Something that can be fetched or made first: a data set, a selection. Reading verbs pass over what needs it."""


class Busy(Problem):
    """Another living process holds it."""


class Problems:
    """Everything wrong with a request, collected before it is refused."""

    def __init__(self) -> None:
        self.found: dict[tuple[str, ...], list[str]] = {}  # sentences of one Problem -> places it is about
        self.missing = True  # whether all of it is something that can be fetched or made first

    def add(self, where: str, problem: Problem) -> None:
        """Takes the sentences of a Problem and the place it is about."""
        places = self.found.setdefault(tuple(problem.messages), [])
        if where not in places:
            places.append(where)
        self.missing &= isinstance(problem, Missing)

    def refuse(self) -> None:
        """Raises what was collected, each sentence once with its places: Missing when nothing else is wrong."""
        if self.found:
            lines = [f"{_places(places)}: {said}" for messages, places in self.found.items() for said in messages]
            raise (Missing if self.missing else Problem)(*lines)


def _places(names: list[str]) -> str:
    """The places by name as far as they are few."""
    return ", ".join(names) if len(names) <= 3 else f"{', '.join(names[:2])} and {len(names) - 2} more"


def nearest(word: str, allowed: Iterable[str]) -> str:
    """ " Did you mean 'x'?" for the allowed name nearest to `word`, or an empty string."""
    names = {name.lower(): name for name in allowed}  # capitals are no difference
    close = difflib.get_close_matches(word.lower(), list(names), n=1, cutoff=0.5)
    return f" Did you mean '{names[close[0]]}'?" if close else ""

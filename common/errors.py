"""Errors that a user can cause: plain sentences, all of them together, no traceback."""

import difflib
from collections.abc import Iterable


class Problem(Exception):
    """What was given, what is allowed and what to do, as one or more plain sentences."""

    def __init__(self, *messages: str) -> None:
        super().__init__("\n".join(messages))
        self.messages = list(messages)


def nearest(word: str, allowed: Iterable[str]) -> str:
    """ " Did you mean 'x'?" for the allowed name nearest to `word`, or an empty string."""
    close = difflib.get_close_matches(word, list(allowed), n=1, cutoff=0.5)
    return f" Did you mean '{close[0]}'?" if close else ""

"""What papers bring as code: their modules, loaded and called so that a fault in them is told with its file and line."""

import importlib
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

from common.errors import Problem


class Fault(Problem):
    """A paper's code failed, as opposed to what it says of its runs by a Problem of its own."""


def module(root: Path, paper: str, name: str) -> Any:
    """papers/<paper>/<name>.py, loaded; None where there is none. Errors: Problem when it cannot be loaded."""
    path = root / "papers" / paper / f"{name}.py"
    if not path.exists():
        return None
    try:
        return importlib.import_module(f"papers.{paper}.{name}")
    except Exception as error:  # whatever a paper's code raises
        raise Problem(
            f"{path} cannot be loaded{told(error)}. Mend that line, then give the same command again."
        ) from error


def called(what: str, function: Callable[..., Any], *given: Any) -> Any:
    """What a paper's function returns. Errors: its own Problems and KeyErrors; any other as a Fault of `what`."""
    try:
        return function(*given)
    except (Problem, KeyError):
        raise
    except Exception as error:  # whatever a paper's code raises
        raise Fault(f"{what} failed{told(error)}. Mend it, then give the same command again.") from error


def columns(what: str, function: Callable[..., Any], *given: Any) -> dict[str, float]:
    """The columns that a paper's function gives. Errors: Problem when it fails or gives anything but numbers by name."""
    try:
        found = called(what, function, *given)
    except KeyError as error:
        raise Problem(f"{what} failed{told(error)}. Mend it, then give the same command again.") from error
    if not isinstance(found, dict):
        raise Problem(f"{what} gives {found!r}, but must give numbers by name.")
    for name, value in found.items():
        try:
            float(value)
        except (TypeError, ValueError):
            raise Problem(f"{what} gives {name} = {value!r}, but must give numbers.") from None
    return found


def told(error: Exception) -> str:
    """What went wrong and where, as the end of a sentence."""
    frames = traceback.extract_tb(error.__traceback__)
    own = next((f for f in reversed(frames) if "/papers/" in f.filename), None)
    if isinstance(error, SyntaxError):
        return f", line {error.lineno}: {error.msg}"
    where = f" in {own.filename}, line {own.lineno}" if own else ""
    return f"{where}: {type(error).__name__}: {error}"

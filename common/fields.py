"""Checks of hand-written mappings: every unknown key, missing entry and wrong type becomes a sentence."""

import math
from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple

from common.errors import nearest


class Field(NamedTuple):
    """What an entry may be, in words and as a check."""

    allowed: str
    fits: Callable[[Any], bool]
    required: bool = True


def is_text(value: Any) -> bool:
    """True for a text that is not blank."""
    return isinstance(value, str) and bool(value.strip())


def is_number(value: Any) -> bool:
    """True for a finite number (true and false are none)."""
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def is_choice(value: Any) -> bool:
    """True for a scalar or a non-empty list of scalars."""
    choices = value if isinstance(value, list) else [value]
    return bool(choices) and all(choice is None or isinstance(choice, str | int | float) for choice in choices)


def or_null(fits: Callable[[Any], bool]) -> Callable[[Any], bool]:
    """The same check, passing null too."""
    return lambda value: value is None or fits(value)


def is_count(value: Any) -> bool:
    """True for a whole number from 1."""
    return isinstance(value, int) and not isinstance(value, bool) and value >= 1


def fitting(where: str, value: Any, fields: Mapping[str, Field], problems: list[str]) -> dict[str, Any]:
    """The entries of a mapping that fit; what is unknown, missing or of a wrong type goes to `problems`."""
    if not isinstance(value, dict):
        problems.append(f"{where}: must be a mapping with {', '.join(fields)}, not {shown(value)}.")
        return {}
    for key in value:
        if key not in fields:
            problems.append(f"{where}: unknown key {shown(key)}.{nearest_of(key, fields)}")
    for key, field in fields.items():
        if key not in value and field.required:
            problems.append(f"{where}: '{key}' is missing; give {field.allowed}.")
        elif key in value and not field.fits(value[key]):
            problems.append(f"{where}: '{key}' must be {field.allowed}, not {shown(value[key])}.")
    return {key: value[key] for key in fields if key in value and fields[key].fits(value[key])}


def nearest_of(word: Any, allowed: Iterable[str]) -> str:
    """The nearest allowed name and all of them, as the end of a sentence."""
    names = list(allowed)
    return f"{nearest(str(word), names)} Allowed: {', '.join(names)}."


def shown(value: Any) -> str:
    """A value as a message shows it: short, texts in quotes."""
    text = "nothing" if value is None else repr(value)
    return text if len(text) <= 60 else text[:57] + "..."

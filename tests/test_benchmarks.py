"""The page of the benchmarks. The benchmarks themselves are no tests: tests are never timed."""

import pytest

from benchmarks.__main__ import LEAST, LIMITS, PARTS, asked
from benchmarks.page import page, verdict
from common.errors import Problem
from common.files import read_json
from common.places import ROOT

FOLDER = ROOT / "results" / "benchmarks"


@pytest.mark.parametrize(
    ("name", "value", "told"),
    [
        ("short", 1.0, ("at most 1", "yes")),
        ("short", 1.01, ("at most 1", "**no**")),
        ("long", 3.0, ("at least 3", "yes")),
        ("long", 2.9, ("at least 3", "**no**")),
        ("other", 9.0, ("", "")),
    ],
)
def test_a_limit_is_met_or_not(name: str, value: float, told: tuple[str, str]) -> None:
    assert verdict(name, value, {"short": 1.0}, {"long": 3.0}) == told


def test_some_parts_are_measured_anew() -> None:
    assert list(asked(["l2m", "loop"])) == ["The loop", "L2M"], "in the order of the page"
    assert list(asked([])) == list(PARTS)
    with pytest.raises(Problem, match=r"No benchmark is called lopo\. There are: loop, "):
        asked(["lopo"])


def test_the_stored_page_is_that_of_the_stored_numbers() -> None:
    stored = read_json(FOLDER / "speed.json")
    assert (FOLDER / "README.md").read_text() == page(stored), "make bench writes both"
    assert stored["limits"] == LIMITS
    assert stored["least"] == LEAST
    measured = {name for part in stored["measured"].values() for name in part}
    assert measured >= LIMITS.keys() | LEAST.keys(), "a limit that nothing is measured for"
    assert stored["parts"] == list(PARTS)

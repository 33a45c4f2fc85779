"""What a stream is built on: a named data set, or the data that another run makes.

A run that collects data (`collection: {name: ...}` in a spec) leaves them in the folder data/ of its own folder. Another
spec takes them by `data: {spec: PAPER/SPEC}`; its stream gets that folder, which is empty until the maker is done.
"""

from pathlib import Path
from typing import Any

from common.places import runs_dir
from common.streams import data

FOLDER = "data"


def handle(name: str, maker: str | None) -> Any:
    """The images of a data set of that name; of data that the run `maker` makes, their folder."""
    return data.load(name) if maker is None else product(maker)


def product(run_id: str) -> Path:
    """The folder of the data that a run makes."""
    return runs_dir() / run_id / FOLDER


def title(name: str, maker: str | None) -> str:
    """What to call the data in tables and figures."""
    return data.find(name).title if maker is None else name.replace("_", " ")

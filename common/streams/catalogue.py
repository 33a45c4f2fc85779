"""Looking data sets up by name: the registered ones, and folders of the user's own in the data folder."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from common.errors import Missing, Problem, nearest
from common.places import data_dir
from common.streams.folders import FOLDER
from common.streams.formats import Layout, sklearn_folder
from common.streams.parquet import PARQUET
from common.streams.sources import SOURCES, Place, Source

NAME = r"[A-Za-z0-9][\w.-]{0,99}"  # of a folder, and never a way out of the data folder
SIGNS = ("train", "train-*.parquet", "*/train-*.parquet")  # what a folder with a data set holds


@dataclass(frozen=True)
class Found:
    """A data set that is there: its files, sorted by name."""

    name: str
    title: str
    layout: str  # "embedded", "torchvision", "parquet" or "folder"
    path: Path | None
    files: tuple[Path, ...]
    lossy: bool = False


def source(name: str) -> Source:
    """The registered data set of this name, else one of the user's own. Errors: Problem if impossible."""
    if name in SOURCES:
        return SOURCES[name]
    if not re.fullmatch(NAME, name) or _same(name) in _claimed():
        raise Problem(
            f"'{name}' is no name of a data set.{nearest(_same(name), SOURCES)} Allowed: "
            f"{', '.join(SOURCES)}, or the name of a folder of your own in {data_dir()}."
        )
    return Source(name, (Place(PARQUET, name), Place(FOLDER, name)))


def locate(name: str) -> Found:
    """The files of a data set, looked for on disk. Errors: Problem when unknown, incomplete or not there."""
    entry = source(name)
    for place in entry.places:
        for folder in _variants(place):
            if files := place.layout.locate(folder):
                return Found(name, entry.title, place.layout.kind, folder, tuple(sorted(files)))
    if name in SOURCES:
        raise Missing(
            f"The data set '{name}' ({entry.title}) is not in {data_dir()}.",
            f"To get it: {how_to_get(name)}.",
        )
    raise Problem(
        f"There is no data set '{name}'.{nearest(name, names())} Registered: {', '.join(SOURCES)}.",
        f"For one of your own: {how_to_get(name)}.",
    )


def layout_of(found: Found) -> Layout:
    """The layout that a found data set has."""
    places = source(found.name).places
    return next(p.layout for p in places if p.layout.kind == found.layout and found.path in _variants(p))


def how_to_get(name: str) -> str:
    """One sentence without a full stop: which command, or from where and into which folder."""
    entry = source(name)
    first = {place.layout.kind: place.folder for place in reversed(entry.places)}
    homes = " or ".join(f"{data_dir() / folder} ({kind} layout)" for kind, folder in reversed(first.items()))
    if entry.torchvision:
        return f"`replicate data get {name}` (downloads through torchvision), or put its files into {homes}"
    if name == "digits":
        return entry.by_hand
    if name in SOURCES:
        return f"by hand: {entry.by_hand}, into {homes}"
    return (
        f"make {data_dir() / name} with train-*.parquet and test-*.parquet (columns image, label), "
        "or with train/CLASS/*.png and test/CLASS/*.png"
    )


def names() -> list[str]:
    """Names of the registered data sets, then of the user's own folders in the data folder, sorted."""
    return [*SOURCES, *_own()]


def _own() -> Iterator[str]:
    home, claimed = data_dir(), _claimed()
    for folder in sorted(home.iterdir()) if home.is_dir() else []:
        usable = re.fullmatch(NAME, folder.name) and _same(folder.name) not in claimed and folder.is_dir()
        if usable and any(any(folder.glob(sign)) for sign in SIGNS):
            yield folder.name


def _variants(place: Place) -> list[Path]:
    """The folders that a place may mean: as written, with '_' for '-', with '-' for '_'."""
    if place.layout.kind == "embedded":
        return [sklearn_folder()]
    written = place.folder
    return [
        data_dir() / name for name in dict.fromkeys((written, written.replace("-", "_"), written.replace("_", "-")))
    ]


def _same(name: str) -> str:
    return name.replace("-", "_").lower()


def _claimed() -> set[str]:
    """Names of folders that belong to registered data sets."""
    return {_same(place.folder.split("/")[0]) for entry in SOURCES.values() for place in entry.places} | set(SOURCES)

"""Readers of CINIC-10 and of the sets that probes are fitted on out of distribution, as torchvision unpacks them.

A set of picture files is a function from its folder to what is trained on, tested on and its classes; the pictures
are brought to the registered size (shorter side, centre crop). Harun et al. (2024) use those with the same settings.
"""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np

from common.errors import Problem
from common.streams.folders import class_folders, decoded
from common.streams.formats import Layout, Part, Raw, Shape, broken, complete, refuse_page

Rows = list[tuple[Path, int]]  # picture file and label


def pictures(marks: tuple[str, ...], listed: Callable[[Path], tuple[Rows, Rows, tuple[str, ...]]]) -> Layout:
    """The layout of a set whose lists name its pictures. marks: its list files; none there: the set is not there."""

    def rows(folder: Path) -> tuple[Rows, Rows, tuple[str, ...]]:
        try:
            return listed(folder)
        except (OSError, ValueError, KeyError, IndexError, TypeError) as error:
            raise Problem(f"{folder}: its lists cannot be read ({error!r}). Unpack the archive again.") from error

    def locate(folder: Path) -> tuple[Path, ...]:
        found = complete(folder, marks)
        return (*found, *(path for part in rows(folder)[:2] for path, _ in part)) if found else ()

    def read(folder: Path, shape: Shape | None = None) -> Raw:
        train, test, classes = rows(folder)
        side = shape[1] if shape else 64
        parts = [
            Part(decoded((p for p, _ in r), 3, side), np.array([y for _, y in r], np.int64)) for r in (train, test)
        ]
        return Raw(parts[0], parts[1], classes)

    return Layout("folder", locate, read)


def _cinic_180k(folder: Path) -> tuple[Rows, Rows, tuple[str, ...]]:
    """CINIC-10 with its validation pictures among the training pictures."""
    parts = {word: class_folders(folder / word) for word in ("train", "valid", "test")}
    names = tuple(parts["train"])
    rows = {w: [(p, names.index(c)) for c, files in part.items() for p in files] for w, part in parts.items()}
    return rows["train"] + rows["valid"], rows["test"], names


def _cinic_there(folder: Path) -> tuple[Path, ...]:
    if not (folder / "train").is_dir():
        return ()
    if missing := [word for word in ("valid", "test") if not class_folders(folder / word)]:
        raise Problem(f"{folder} lacks the pictures of {' and '.join(missing)}. Unpack the archive again.")
    train, test, _ = _cinic_180k(folder)
    return tuple(path for path, _ in train + test)


CINIC_180K = Layout("folder", _cinic_there, pictures((), _cinic_180k).read)


def _mat(path: Path) -> dict[str, np.ndarray]:
    """The arrays of a MATLAB file."""
    import scipy.io

    refuse_page(path)
    try:
        return dict(scipy.io.loadmat(path, squeeze_me=True))
    except Exception as error:  # a damaged file may raise nearly anything
        raise broken(path, f"no whole MATLAB file ({error})") from error


def read_svhn(folder: Path, shape: Shape | None = None) -> Raw:
    """SVHN's cropped digits (train and test, without extra); class 10 of the files is the digit 0."""
    parts = []
    for word in ("train", "test"):
        content = _mat(folder / f"{word}_32x32.mat")
        parts.append(Part(content["X"].transpose(3, 2, 0, 1), content["y"].astype(np.int64) % 10))
    return Raw(parts[0], parts[1])


SVHN = Layout("torchvision", lambda f: complete(f, ["train_32x32.mat", "test_32x32.mat"]), read_svhn)


def read_stl10(folder: Path, shape: Shape | None = None) -> Raw:
    """STL-10's labelled pictures: 5,000 train, 8,000 test of 96 x 96, stored column by column."""
    parts = []
    for word in ("train", "test"):
        raw, labels = (np.fromfile(folder / f"{word}_{letter}.bin", np.uint8) for letter in "Xy")
        if raw.size != len(labels) * 3 * 96 * 96:
            raise broken(folder / f"{word}_X.bin", f"{raw.size} bytes do not go with {len(labels)} labels")
        parts.append(Part(raw.reshape(-1, 3, 96, 96).transpose(0, 1, 3, 2), labels.astype(np.int64) - 1))
    return Raw(parts[0], parts[1], tuple((folder / "class_names.txt").read_text().split()))


STL10 = Layout(
    "torchvision",
    lambda f: complete(f, ["train_X.bin", "train_y.bin", "test_X.bin", "test_y.bin", "class_names.txt"]),
    read_stl10,
)


def _flowers(folder: Path) -> tuple[Rows, Rows, tuple[str, ...]]:
    """Oxford Flowers-102: training and validation pictures train."""
    labels, ids = _mat(folder / "imagelabels.mat")["labels"], _mat(folder / "setid.mat")

    def rows(*names: str) -> Rows:
        numbers = np.concatenate([np.atleast_1d(ids[name]) for name in names])
        return [(folder / "jpg" / f"image_{i:05d}.jpg", int(labels[i - 1]) - 1) for i in numbers]

    return rows("trnid", "valid"), rows("tstid"), tuple(f"flower {i}" for i in range(1, int(labels.max()) + 1))


def _aircraft(folder: Path) -> tuple[Rows, Rows, tuple[str, ...]]:
    """FGVC-Aircraft by variant: training and validation pictures train."""
    names = tuple((folder / "data" / "variants.txt").read_text().splitlines())

    def rows(word: str) -> Rows:
        lines = (folder / "data" / f"images_variant_{word}.txt").read_text().splitlines()
        pairs = (line.strip().split(" ", 1) for line in lines)
        return [(folder / "data" / "images" / f"{stem}.jpg", names.index(variant)) for stem, variant in pairs]

    return rows("trainval"), rows("test"), names


def _pets(folder: Path) -> tuple[Rows, Rows, tuple[str, ...]]:
    """Oxford-IIIT Pets by breed."""
    names: dict[int, str] = {}

    def rows(word: str) -> Rows:
        found = []
        for line in (folder / "annotations" / f"{word}.txt").read_text().splitlines():
            stem, label = line.split()[:2]
            names[int(label) - 1] = stem.rpartition("_")[0]
            found.append((folder / "images" / f"{stem}.jpg", int(label) - 1))
        return found

    train, test = rows("trainval"), rows("test")
    return train, test, tuple(names[label] for label in range(len(names)))


def _food(folder: Path) -> tuple[Rows, Rows, tuple[str, ...]]:
    """Food-101."""
    lists = [json.loads((folder / "meta" / f"{word}.json").read_text()) for word in ("train", "test")]
    names = tuple(sorted(lists[0]))
    train, test = (
        [(folder / "images" / f"{path}.jpg", names.index(name)) for name in names for path in one[name]]
        for one in lists
    )
    return train, test, names


def _textures(folder: Path) -> tuple[Rows, Rows, tuple[str, ...]]:
    """Describable Textures, first partition: training and validation pictures train."""
    lists = [(folder / "labels" / f"{word}1.txt").read_text().split() for word in ("train", "val", "test")]
    names = tuple(sorted({line.split("/")[0] for line in lists[0]}))
    train, test = (
        [(folder / "images" / line, names.index(line.split("/")[0])) for line in lines]
        for lines in (lists[0] + lists[1], lists[2])
    )
    return train, test, names


FLOWERS = pictures(("imagelabels.mat", "setid.mat"), _flowers)
AIRCRAFT = pictures(
    tuple(f"data/{n}.txt" for n in ("variants", "images_variant_trainval", "images_variant_test")), _aircraft
)
PETS = pictures(("annotations/trainval.txt", "annotations/test.txt"), _pets)
FOOD = pictures(("meta/train.json", "meta/test.json"), _food)
TEXTURES = pictures(tuple(f"labels/{word}1.txt" for word in ("train", "val", "test")), _textures)

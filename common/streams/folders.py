"""Readers of picture folders: one folder a class, the trees of Tiny- and Mini-ImageNet, DomainNet's lists."""

import os
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np

from common.errors import Problem
from common.streams.formats import Layout, Part, Raw, Shape
from common.streams.pictures import TEST_NAMES, channels_of, decode

SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".ppm", ".webp")
DOMAINS = ("clipart", "painting", "real", "sketch")  # the order of the tasks (stability gap, released code)


def _pictures(folder: Path) -> list[Path]:
    """The picture files directly in a folder, sorted by name."""
    with os.scandir(folder) as entries:
        names = sorted(e.name for e in entries if e.name.lower().endswith(SUFFIXES) and not e.name.startswith("."))
    return [folder / name for name in names]


def class_folders(folder: Path) -> dict[str, list[Path]]:
    """{class name: picture files}, sorted; {} when there is no class folder with a picture."""
    if not folder.is_dir():
        return {}
    inside = sorted(p for p in folder.iterdir() if p.is_dir() and not p.name.startswith("."))
    return {p.name: files for p in inside if (files := _pictures(p))}


def decoded(paths: Iterable[Path], channels: int, crop: int | None = None) -> Iterator[np.ndarray]:
    """Pictures uint8 [C, H, W] of these files, one at a time."""
    return (decode(path, channels, str(path), crop) for path in paths)


def _part(groups: dict[str, list[Path]], classes: list[str], channels: int, crop: int | None = None) -> Part:
    """The pictures of some class folders, labelled by the position of the class in `classes`."""
    paths = [path for files in groups.values() for path in files]
    labels = np.repeat([classes.index(name) for name in groups], [len(files) for files in groups.values()])
    return Part(decoded(paths, channels, crop), labels.astype(np.int64), files=paths)


# --- train/<class>/*, test/<class>/* ---------------------------------------------------------------


def _two(folder: Path) -> tuple[dict[str, list[Path]], dict[str, list[Path]]]:
    """(train, test) class folders, test in the first of test/, validation/, valid/, val/ that has any."""
    test = next((found for name in TEST_NAMES if (found := class_folders(folder / name))), {})
    return class_folders(folder / "train"), test


def locate_folder(folder: Path) -> tuple[Path, ...]:
    """The picture files of train/<class>/* and test/<class>/*; () when none. Errors: Problem for a half."""
    train, test = _two(folder)
    if train and not test:
        raise Problem(f"{folder} has train/<class>/ and no test/<class>/ (or val/<class>/). Add the test pictures.")
    if unknown := sorted(set(test) - set(train)) if train else []:
        raise Problem(f"{folder}: the test set has classes without training pictures: {', '.join(unknown[:5])}.")
    if unseen := sorted(set(train) - set(test)):
        raise Problem(f"{folder}: the training set has classes without test pictures: {', '.join(unseen[:5])}.")
    return tuple(path for groups in (train, test) for files in groups.values() for path in files) if train else ()


def read_folder(folder: Path, shape: Shape | None = None) -> Raw:
    """A data set from train/<class>/* and test/<class>/*; classes sorted by name."""
    train, test = _two(folder)
    channels = shape[0] if shape else channels_of(path for files in train.values() for path in files)
    classes = list(train)
    return Raw(_part(train, classes, channels), _part(test, classes, channels), tuple(classes))


FOLDER = Layout("folder", locate_folder, read_folder)

# --- tiny-imagenet-200/ as its authors packed it ---------------------------------------------------


def _annotations(folder: Path) -> list[tuple[Path, str]]:
    """[(validation picture, wnid)] of val/val_annotations.txt; [] when it is not there."""
    path = folder / "val" / "val_annotations.txt"
    rows = [line.split("\t")[:2] for line in path.read_text().splitlines()] if path.is_file() else []
    if any(len(row) < 2 for row in rows):
        raise Problem(f"{path} is damaged: a line has no tab between picture and class. Unpack the archive again.")
    return [(folder / "val" / "images" / name, wnid) for name, wnid in rows]


def _tiny_train(folder: Path) -> dict[str, list[Path]]:
    """{wnid: training pictures} of train/<wnid>/images/*."""
    inside = sorted((folder / "train").iterdir()) if (folder / "train").is_dir() else []
    return {p.name: files for p in inside if (p / "images").is_dir() and (files := _pictures(p / "images"))}


def locate_tiny(folder: Path) -> tuple[Path, ...]:
    """The pictures and the annotation file of tiny-imagenet-200/; () when there are none."""
    train, test = _tiny_train(folder), _annotations(folder)
    if train and not test:
        raise Problem(f"{folder} lacks val/val_annotations.txt. Unpack the archive again.")
    labels = folder / "val" / "val_annotations.txt"
    return (labels, *(p for files in train.values() for p in files), *(p for p, _ in test)) if train else ()


def read_tiny(folder: Path, shape: Shape | None = None) -> Raw:
    """Tiny-ImageNet from its own tree: classes sorted by wnid, the validation pictures are the test set."""
    train, rows = _tiny_train(folder), _annotations(folder)
    place = {wnid: i for i, wnid in enumerate(train)}
    labels = np.array([place.get(wnid, -1) for _, wnid in rows], np.int64)
    words = folder / "words.txt"
    names = (
        dict(line.split("\t", 1) for line in words.read_text().splitlines() if "\t" in line) if words.is_file() else {}
    )
    test = Part(decoded((path for path, _ in rows), 3), labels)
    return Raw(_part(train, list(train), 3), test, tuple(names.get(wnid, wnid) for wnid in train))


TINY = Layout("folder", locate_tiny, read_tiny)

# --- mini-imagenet/<class>/*.jpg -------------------------------------------------------------------


def read_mini(folder: Path, shape: Shape | None = None) -> Raw:
    """Mini-ImageNet: of a class's pictures sorted by name the first 5/6 train, the last 1/6 test (500 + 100).

    Pictures of another size than 84 x 84: shorter side to 84, centre crop.
    """
    groups = class_folders(folder)
    cut = {name: len(files) * 5 // 6 for name, files in groups.items()}
    train = {name: files[: cut[name]] for name, files in groups.items()}
    test = {name: files[cut[name] :] for name, files in groups.items()}
    side = shape[1] if shape else 84
    return Raw(_part(train, list(groups), 3, side), _part(test, list(groups), 3, side), tuple(groups))


MINI = Layout("folder", lambda folder: tuple(p for files in class_folders(folder).values() for p in files), read_mini)

# --- domainnet/{clipart,painting,real,sketch}/<class>/*, domainnet/splits_mini/*.txt ---------------


def _list_file(folder: Path, domain: str, split: str) -> Path:
    return folder / "splits_mini" / f"{domain}_{split}.txt"


def _rows(folder: Path, split: str) -> list[tuple[Path, int, int]]:
    """[(picture, label, domain index)] of a split's four list files. Errors: Problem for a damaged line."""
    rows = []
    for index, domain in enumerate(DOMAINS):
        path = _list_file(folder, domain, split)
        for number, line in enumerate(path.read_text().splitlines(), 1):
            name, _, label = line.rpartition(" ")
            if not label.isdecimal() or not name.startswith(f"{domain}/") or ".." in name:
                raise Problem(f"{path}, line {number}: '{domain}/CLASS/PICTURE LABEL' was expected, not '{line[:80]}'.")
            rows.append((folder / name, int(label), index))
    return rows


def locate_domainnet(folder: Path) -> tuple[Path, ...]:
    """The eight list files and every picture they name; () when there is no such folder."""
    if not any((folder / domain).is_dir() for domain in DOMAINS):
        return ()
    needed = [_list_file(folder, domain, split) for domain in DOMAINS for split in ("train", "test")]
    needed += [folder / domain for domain in DOMAINS]
    if missing := [str(path.relative_to(folder)) for path in needed if not path.exists()]:
        raise Problem(f"{folder} is incomplete: {', '.join(missing)} missing. Unpack or copy them there.")
    pictures = (path for split in ("train", "test") for path, _, _ in _rows(folder, split))
    return (*(path for path in needed if path.suffix == ".txt"), *pictures)


def read_domainnet(folder: Path, shape: Shape | None = None) -> Raw:
    """Mini-DomainNet, domain after domain: shorter side to 96, crop 96 (stability gap, released code)."""
    side, parts = shape[1] if shape else 96, []
    names: dict[int, str] = {}
    for split in ("train", "test"):
        rows = _rows(folder, split)
        for path, label, _ in rows:
            if names.setdefault(label, path.parent.name) != path.parent.name:
                raise Problem(f"{folder}/splits_mini: label {label} names both {names[label]} and {path.parent.name}.")
        labels, domain = (np.array([row[i] for row in rows], np.int64) for i in (1, 2))
        parts.append(Part(decoded((path for path, _, _ in rows), 3, side), labels, domain))
    if sorted(names) != list(range(len(names))):
        raise Problem(f"{folder}/splits_mini: the labels are not 0..{len(names) - 1}. Use the published lists.")
    return Raw(parts[0], parts[1], tuple(names[label] for label in range(len(names))), DOMAINS)


DOMAINNET = Layout("folder", locate_domainnet, read_domainnet)

"""Readers of ImageNet-R and DomainNet with the fixed splits of CODA-Prompt's release: one YAML list a split.

A list holds `data` (paths of pictures) and `targets` (labels). Only the end of a path counts: CLASS/PICTURE, and for
DomainNet DOMAIN/CLASS/PICTURE, below the data set's own folder. A picture's kind (its domain) is, for ImageNet-R, the
first word of its name (art_0.jpg), for DomainNet its domain. Pictures: shorter side to the registered size, centre crop.
"""

from pathlib import Path
from typing import Any

import numpy as np

from common.errors import Problem
from common.streams.folders import decoded
from common.streams.formats import Layout, Part, Raw, Shape, broken

Row = tuple[Path, int, str]  # picture, label, kind


def _list(folder: Path, name: str, split: str) -> Path:
    return folder / "splits" / f"{name}_{split}.yaml"


def _rows(folder: Path, name: str, split: str, deep: int) -> list[Row]:
    """The pictures of a split. Errors: Problem for a damaged list."""
    import yaml

    path = _list(folder, name, split)
    try:
        content: Any = yaml.load(path.read_text(), Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))
        pairs = list(zip(content["data"], content["targets"], strict=True))
        ends = [(Path(*Path(where).parts[-deep:]), int(label)) for where, label in pairs]
    except (yaml.YAMLError, OSError, KeyError, TypeError, ValueError) as error:
        raise broken(path, f"no list of data and targets of one length ({error})") from error
    return [(folder / end, label, end.parts[0] if deep == 3 else end.name.partition("_")[0]) for end, label in ends]


def _both(folder: Path, name: str, deep: int) -> tuple[list[Row], list[Row]]:
    """Training and test pictures. Errors: Problem when class folders are missing or a label names two classes."""
    train, test = (_rows(folder, name, split, deep) for split in ("train", "test"))
    homes = dict.fromkeys(path.parent for path, _, _ in train + test)
    if missing := sorted({home.name for home in homes if not home.is_dir()}):
        shown = ", ".join(missing[:5]) + (" ..." if len(missing) > 5 else "")
        raise Problem(f"{folder} lacks the pictures of {len(missing)} classes: {shown}. Unpack the archive again.")
    names: dict[int, str] = {}
    for path, label, _ in train + test:
        if names.setdefault(label, path.parent.name) != path.parent.name:
            raise Problem(f"{folder}/splits: label {label} names both {names[label]} and {path.parent.name}.")
    if sorted(names) != list(range(len(names))):
        raise Problem(f"{folder}/splits: the labels are not 0..{len(names) - 1}. Use the released lists.")
    return train, test


def listed(name: str, deep: int) -> Layout:
    """The layout of a data set whose splits are splits/<name>_train.yaml and splits/<name>_test.yaml in its folder."""

    def locate(folder: Path) -> tuple[Path, ...]:
        lists = [_list(folder, name, split) for split in ("train", "test")]
        if not any(path.is_file() for path in lists):
            return ()
        if missing := [path.name for path in lists if not path.is_file()]:
            raise Problem(
                f"{folder}/splits is incomplete: {', '.join(missing)} missing. Copy the released lists there."
            )
        train, test = _both(folder, name, deep)
        return (*lists, *(path for path, _, _ in train + test))

    def read(folder: Path, shape: Shape | None = None) -> Raw:
        halves = _both(folder, name, deep)
        kinds = sorted({kind for half in halves for _, _, kind in half})
        names = {label: path.parent.name for half in halves for path, label, _ in half}
        parts = []
        for half in halves:
            labels = np.array([label for _, label, _ in half], np.int64)
            domain = np.array([kinds.index(kind) for _, _, kind in half], np.int64)
            pictures = decoded([path for path, _, _ in half], 3, shape[1] if shape else 256)
            parts.append(Part(pictures, labels, domain))
        return Raw(parts[0], parts[1], tuple(names[label] for label in range(len(names))), tuple(kinds))

    return Layout("folder", locate, read)


IMAGENET_R = listed("imagenet-r", 2)
DOMAINNET_LISTS = listed("domainnet", 3)

"""Data sets as Hugging Face parquet shards: column `image` = {bytes, path} or bytes, column `label`."""

import json
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from common.errors import Problem
from common.streams.formats import Layout, Part, Raw, Shape, broken, refuse_page
from common.streams.pictures import TEST_NAMES, channels_of, decode

IMAGE_COLUMNS, LABEL_COLUMNS = ("image", "img"), ("label", "fine_label", "labels")


def parquet_splits(folder: Path) -> dict[str, list[Path]]:
    """{"train": shards, "test": shards} in a folder or its first sub-folder with any; {} when there are none.

    Without test shards the validation shards are the test set. Errors: Problem for missing or doubled shards.
    """
    if not folder.is_dir():
        return {}
    inside = [folder, *sorted(p for p in folder.iterdir() if p.is_dir() and not p.name.startswith("."))]
    home = next((place for place in inside if any(place.glob("train-*.parquet"))), None)
    if home is None:
        return {}
    test = next((found for name in TEST_NAMES if (found := sorted(home.glob(f"{name}-*.parquet")))), [])
    if not test:
        raise Problem(f"{home} has train-*.parquet and no test-*.parquet or validation-*.parquet. Add the test shards.")
    splits = {"train": sorted(home.glob("train-*.parquet")), "test": test}
    for shards in splits.values():
        _all_shards(shards)
    return splits


def _all_shards(shards: list[Path]) -> None:
    """Nothing. Errors: Problem when names like train-00003-of-00008.parquet tell that shards are missing."""
    found = [match for path in shards if (match := re.search(r"-(\d+)-of-(\d+)", path.name))]
    totals = {int(match[2]) for match in found}
    folder = shards[0].parent
    if len(totals) > 1:
        raise Problem(f"{folder} mixes shards of several downloads ({shards[0].name} ...). Keep those of one.")
    missing = sorted(set(range(*totals)) - {int(match[1]) for match in found}) if totals else []
    if missing:
        split = shards[0].name.split("-")[0]
        raise Problem(
            f"{folder}: shards {', '.join(f'{i:05d}' for i in missing)} of {max(totals)} of '{split}' are "
            "missing. Copy them there; the data set is used whole or not at all."
        )


def _parquet(path: Path) -> tuple[Any, str, str]:
    """(open ParquetFile, image column, label column). Errors: Problem if no parquet or without them."""
    import pyarrow.parquet

    refuse_page(path)
    try:
        file = pyarrow.parquet.ParquetFile(path)
    except (OSError, ValueError) as error:  # pyarrow's errors are ValueErrors
        raise broken(path, f"no whole parquet file ({str(error).splitlines()[0]})") from error
    names = file.schema_arrow.names
    image = next((name for name in IMAGE_COLUMNS if name in names), None)
    label = next((name for name in LABEL_COLUMNS if name in names), None)
    if image is None or label is None:
        raise broken(path, f"columns 'image' and 'label' are needed, it has {', '.join(names) or 'none'}")
    return file, image, label


def parquet_pictures(paths: Iterable[Path]) -> Iterator[tuple[bytes, str]]:
    """(encoded bytes, "file, row i") of every row, in order, a few rows in memory at a time."""
    for path in paths:
        file, column, _ = _parquet(path)
        row = 0
        try:
            for batch in file.iter_batches(batch_size=256, columns=[column]):
                for value in batch.column(0).to_pylist():
                    raw = value.get("bytes") if isinstance(value, dict) else value
                    if not isinstance(raw, bytes):
                        raise broken(path, f"row {row} of column '{column}' has no picture bytes")
                    yield raw, f"{path}, row {row}"
                    row += 1
        except (OSError, ValueError) as error:
            raise broken(path, f"damaged after row {row} ({str(error).splitlines()[0]})") from error


def parquet_labels(path: Path) -> np.ndarray:
    """Labels int64 [rows] of one shard. Errors: Problem when they are no whole numbers or damaged."""
    file, _, column = _parquet(path)
    try:
        labels = np.asarray(file.read(columns=[column]).column(0).to_numpy())
    except (OSError, ValueError) as error:
        raise broken(path, f"column '{column}' is damaged ({str(error).splitlines()[0]})") from error
    if labels.dtype.kind not in "iu":
        raise broken(path, f"column '{column}' should hold whole numbers without gaps, it holds {labels.dtype}")
    return labels.astype(np.int64)


def parquet_classes(path: Path) -> tuple[str, ...]:
    """Class names: `class_names.json` beside the shard, else the schema's Hugging Face metadata, else ()."""
    file, _, label = _parquet(path)
    try:
        beside = path.parent / "class_names.json"
        if beside.is_file():
            return tuple(str(e["name"]) if isinstance(e, dict) else str(e) for e in json.loads(beside.read_text()))
        stored = json.loads((file.schema_arrow.metadata or {}).get(b"huggingface", b"{}"))
        return tuple(map(str, stored["info"]["features"][label]["names"]))
    except (KeyError, TypeError, ValueError):
        return ()


def first_picture_is_jpeg(path: Path) -> bool:
    """Whether the first picture of a parquet shard is a JPEG, that is: a lossy copy."""
    raw, _ = next(parquet_pictures([path]), (b"", ""))
    return raw.startswith(b"\xff\xd8\xff")


def read_parquet(folder: Path, shape: Shape | None = None) -> Raw:
    """A data set from Hugging Face parquet shards, rows in the order of the shards."""
    splits = parquet_splits(folder)
    channels = shape[0] if shape else channels_of(raw for raw, _ in parquet_pictures(splits["train"]))

    def part(paths: list[Path]) -> Part:
        labels = np.concatenate([parquet_labels(path) for path in paths])
        return Part((decode(raw, channels, where) for raw, where in parquet_pictures(paths)), labels)

    return Raw(part(splits["train"]), part(splits["test"]), parquet_classes(splits["train"][0]))


PARQUET = Layout(
    "parquet",
    lambda folder: tuple(p for shards in parquet_splits(folder).values() for p in shards),
    read_parquet,
)

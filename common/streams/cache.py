"""The cache of decoded data sets: arrays that every run memory-maps. Safe to delete, safe to fill at once."""

import contextlib
import json
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np

from common.errors import Problem
from common.files import write_json
from common.places import cache_dir
from common.streams.catalogue import Found, layout_of, source
from common.streams.digests import digest_of
from common.streams.formats import Part, Raw
from common.streams.pictures import resized
from common.streams.sources import Source


def stored_arrays(found: Found, prepare: Callable[[], object]) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """(facts, memory-mapped arrays by name) of a data set, decoded first where the cache has none.

    `prepare` runs before decoding only. Errors: Problem for damaged files, or a cache that cannot be written.
    """
    home = cache_dir() / "data" / f"{digest_of(found)}-{found.name}"
    with contextlib.suppress(OSError, ValueError, KeyError):  # not decoded yet, or the cache is damaged
        return _open(home)
    try:
        home.parent.mkdir(parents=True, exist_ok=True)
        with _turn(home):
            with contextlib.suppress(OSError, ValueError, KeyError):  # another process was faster
                return _open(home)
            prepare()
            _decode(found, home)
        return _open(home)
    except (OSError, ValueError, KeyError) as error:
        raise Problem(
            f"Cannot store the decoded images in {home.parent}: {error}. "
            "Free space there or let REPLICATE_RUNS name another folder, then give the same command again."
        ) from error


def _open(home: Path) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    facts = json.loads((home / "facts.json").read_text())
    return facts, {name: np.load(home / f"{name}.npy", mmap_mode="r", allow_pickle=False) for name in facts["arrays"]}


@contextlib.contextmanager
def _turn(home: Path) -> Iterator[None]:
    """One process at a time, where the file system locks; elsewhere each decodes, the first one's stays."""
    with home.with_name(f".{home.name}.lock").open("w") as file:
        with contextlib.suppress(ImportError, OSError):
            import fcntl

            fcntl.flock(file, fcntl.LOCK_EX)
            for left in home.parent.glob(f".{home.name}.part-*"):  # by a process that was killed: we hold the lock
                shutil.rmtree(left, ignore_errors=True)
        yield


def _decode(found: Found, home: Path) -> None:
    """Nothing; `home` holds all arrays of the data set, or is left as it was."""
    entry = source(found.name)
    work = Path(tempfile.mkdtemp(dir=home.parent, prefix=f".{home.name}.part-"))
    try:
        raw = layout_of(found).read(found.path or Path(), entry.shape)
        arrays: dict[str, np.ndarray] = {}
        for word, part in (("train", raw.train), ("test", raw.test)):
            if entry.resized and entry.shape:
                side = entry.shape[-1]
                part = replace(part, pictures=(resized(picture, side) for picture in part.pictures))
            arrays[f"{word}_images"] = _write_images(
                part, work / f"{word}_images.npy", entry.shape, f"{found.name}, {word}"
            )
            arrays[f"{word}_labels"] = part.labels
            if part.domain is not None:
                arrays[f"{word}_domain"] = part.domain
        facts = _facts(found, entry, raw, arrays)
        for name, array in arrays.items():
            if not name.endswith("_images"):
                np.save(work / f"{name}.npy", array, allow_pickle=False)
        write_json(work / "facts.json", facts)
        work.chmod(0o755)  # others may share the cache
        _publish(work, home)
    finally:
        shutil.rmtree(work, ignore_errors=True)


def _publish(work: Path, home: Path) -> None:
    """Nothing; `work` becomes `home`, unless another process without locks has put a whole one there."""
    try:
        _open(home)
    except (OSError, ValueError, KeyError):  # not there, or damaged
        shutil.rmtree(home, ignore_errors=True)
        with contextlib.suppress(OSError):  # the reader that comes next reports a failure
            os.rename(work, home)


def _write_images(part: Part, path: Path, shape: tuple[int, ...] | None, what: str) -> np.ndarray:
    """The pictures of a split, written to `path` one by one. Errors: Problem when sizes or counts differ."""
    from tqdm import tqdm

    if not len(part.labels):
        raise Problem(f"{what}: there is no image. Add images, or remove the data set.")
    pictures = iter(part.pictures)
    first = next(pictures, np.empty(0, np.uint8))
    out = np.lib.format.open_memmap(path, "w+", np.uint8, (len(part.labels), *(shape or first.shape)))
    done = 0
    for picture in tqdm(chain([first], pictures), what, len(out), delay=2, disable=None, leave=False):
        if picture.shape != out.shape[1:]:
            sizes = [" x ".join(map(str, s)) for s in (picture.shape, out.shape[1:])]
            which = f"{done} ({part.files[done]})" if part.files else str(done)
            raise Problem(
                f"{what}: image {which} is {sizes[0]} and should be {sizes[1]}. Bring all images to one size."
            )
        if done < len(out):
            out[done] = picture
        done += 1
    if done != len(out):
        raise Problem(f"{what}: {done} images and {len(out)} labels. Get the files again.")
    out.flush()
    return out


def _facts(found: Found, entry: Source, raw: Raw, arrays: dict[str, np.ndarray]) -> dict[str, Any]:
    """Class names, domains and per-channel statistics. Errors: Problem when a label is out of range."""
    top = max(int(arrays["train_labels"].max()), int(arrays["test_labels"].max()))
    classes = raw.classes or entry.classes or tuple(map(str, range(top + 1)))
    low = min(int(arrays["train_labels"].min()), int(arrays["test_labels"].min()))
    if low < 0 or top >= len(classes):
        raise Problem(
            f"{found.path}: labels run from {low} to {top}, but there are {len(classes)} classes. "
            "The files are damaged, or the test set has no labels. Get them again."
        )
    mean, std = (entry.mean, entry.std) if entry.mean else _statistics(arrays["train_images"])
    return {"arrays": sorted(arrays), "classes": classes, "domains": raw.domains, "mean": mean, "std": std}


def _statistics(images: np.ndarray) -> tuple[list[float], list[float]]:
    """(mean, std) of each channel over all images and pixels, in [0, 1] units; a std of 0 counts as 1."""
    sums = np.zeros((2, images.shape[1]))
    for start in range(0, len(images), 1024):
        block = images[start : start + 1024].astype(np.float64) / 255
        sums += block.sum((0, 2, 3)), (block**2).sum((0, 2, 3))
    mean, square = sums / (images.size / images.shape[1])
    std = np.sqrt(np.maximum(square - mean**2, 0))
    return mean.tolist(), np.where(std > 1e-6, std, 1.0).tolist()

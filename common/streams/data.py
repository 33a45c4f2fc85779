"""Data sets as memory-mapped arrays: find, digest, load, list and check them, without torch."""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from common.errors import Problem
from common.streams.cache import stored_arrays
from common.streams.catalogue import Found, how_to_get, locate, names, source
from common.streams.digests import digest_of, hash_files, remembered
from common.streams.fetch import get, published_checksums
from common.streams.parquet import first_picture_is_jpeg

__all__ = ["Found", "Images", "Split", "check", "digest", "find", "get", "listing", "load", "names"]


@dataclass(frozen=True)
class Split:
    """Images and labels of one split, read-only."""

    images: np.ndarray  # uint8 [N, C, H, W]
    labels: np.ndarray  # int64 [N]
    domain: np.ndarray | None = None  # int64 [N], index into Images.domains, where a data set has domains


@dataclass(frozen=True)
class Images:
    """A data set of labelled images; (images / 255 - mean) / std normalises them channel by channel."""

    name: str
    title: str  # names a lossy copy: "CIFAR-10 (JPEG copies)"
    train: Split
    test: Split
    classes: tuple[str, ...]
    digest: str
    lossy: bool
    mean: tuple[float, ...]  # in [0, 1] units
    std: tuple[float, ...]
    domains: tuple[str, ...] = ()


def find(name: str) -> Found:
    """Where a data set lies, without decoding it. Errors: Problem when unknown, incomplete or not there."""
    found = locate(name)
    if not source(name).exact or found.layout != "parquet":
        return found
    jpeg = remembered("lossy", found, lambda: any(map(first_picture_is_jpeg, found.files)))
    return replace(found, title=f"{found.title} (JPEG copies)", lossy=True) if jpeg else found


def digest(name: str) -> str:
    """SHA-256 over (name, SHA-256 of the unpacked bytes) of all files; remembered by path, size and time."""
    return digest_of(locate(name))


def load(name: str) -> Images:
    """A data set, memory-mapped from the cache; the first call decodes its files into it.

    Errors: Problem when it is unknown, not there or damaged, or when the cache cannot be written.
    """
    found, entry = find(name), source(name)
    facts, arrays = stored_arrays(found, lambda: published_checksums(found))
    train, test = (
        Split(arrays[f"{word}_images"], arrays[f"{word}_labels"], arrays.get(f"{word}_domain"))
        for word in ("train", "test")
    )
    return Images(
        name=name,
        title=found.title,
        train=train,
        test=test,
        classes=tuple(facts["classes"]),
        digest=digest_of(found),
        lossy=found.lossy,
        mean=entry.mean or tuple(facts["mean"]),
        std=entry.std or tuple(facts["std"]),
        domains=tuple(facts["domains"]),
    )


def listing() -> list[dict[str, Any]]:
    """One row a data set: name, title, present, layout, path, lossy, how_to_get, problem (None: usable)."""
    rows = []
    for name in names():
        row: dict[str, Any] = dict.fromkeys(("layout", "path", "problem"))
        row |= {"name": name, "title": source(name).title, "present": False, "lossy": False}
        try:
            found = find(name)
            row |= {"title": found.title, "present": True, "layout": found.layout, "lossy": found.lossy}
            row["path"] = str(found.path)
        except Problem as problem:
            row["problem"] = " ".join(problem.messages)
        rows.append(row | {"how_to_get": how_to_get(name)})
    return rows


def check(name: str) -> list[str]:
    """What was found right: files, checksums, counts, labels. Errors: Problem with all that is broken."""
    found, entry = find(name), source(name)
    findings = [f"{found.title}: {found.layout}, {len(found.files)} files in {found.path}"]
    findings.append(published_checksums(found))
    if hash_files(found) != digest_of(found):
        raise Problem(
            f"Files in {found.path} changed though their size and time did not: the disk damaged them.",
            f"To get them again: {how_to_get(name)}.",
        )
    images, faults = load(name), []
    for index, (word, split) in enumerate((("train", images.train), ("test", images.test))):
        per_class = np.bincount(split.labels, minlength=len(images.classes))
        shape = "x".join(map(str, split.images.shape[1:]))
        findings.append(f"{word}: {len(split.labels)} images {shape}, {per_class.min()} to {per_class.max()} a class")
        if entry.counts and len(split.labels) != entry.counts[index]:
            faults.append(f"{found.title}: {len(split.labels)} {word} images, published are {entry.counts[index]}.")
        if not per_class.all():
            faults.append(f"{found.title}: no {word} image of class {images.classes[int(per_class.argmin())]}.")
    if faults:
        raise Problem(*faults, f"To get it again: {how_to_get(name)}.")
    return [*findings, f"{len(images.classes)} classes, digest {images.digest}"]

"""What every reader hands over, and the readers of scikit-learn's digits and MNIST's idx files."""

import gzip
import importlib.util
import zlib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from common.errors import Problem

Shape = tuple[int, int, int]  # channels, height, width


@dataclass(frozen=True)
class Part:
    """One split as a reader hands it over: pictures (uint8 [C, H, W], decoded when asked for), labels."""

    pictures: Iterable[np.ndarray]
    labels: np.ndarray  # int64 [N]
    domain: np.ndarray | None = None  # int64 [N], only where a data set has domains
    files: Sequence[Path] = ()  # the picture's own file, where each has one


@dataclass(frozen=True)
class Raw:
    """A data set as its files hold it, before it is decoded into the cache."""

    train: Part
    test: Part
    classes: tuple[str, ...] = ()
    domains: tuple[str, ...] = ()


@dataclass(frozen=True)
class Layout:
    """How a data set lies on disk: `locate` gives its files (none: not there), `read` what they hold."""

    kind: str  # "embedded", "torchvision", "parquet" or "folder"
    locate: Callable[[Path], tuple[Path, ...]]
    read: Callable[[Path, Shape | None], Raw]


def broken(path: Path, what: str) -> Problem:
    """The Problem for a damaged file: which one, what is wrong, what to do."""
    return Problem(f"{path}: {what}. Delete this file and get it again (`replicate data get NAME`, or by hand).")


def refuse_page(path: Path) -> None:
    """Nothing. Errors: Problem when the file is empty or a web page that a server sent for the data."""
    with path.open("rb") as file:
        head = file.read(64).lstrip().lower()
    if not head:
        raise broken(path, "the file is empty")
    if head.startswith((b"<!doctype", b"<html", b"<?xml")):
        raise broken(path, "this is a web page, not the data; the server answered the download with an error page")


def complete(folder: Path, names: Iterable[str]) -> tuple[Path, ...]:
    """Files of these names, NAME.gz stands in for NAME; () if none is. Errors: Problem when some are."""
    wanted = list(names)
    found = [next((p for p in (folder / f"{n}.gz", folder / n) if p.is_file()), None) for n in wanted]
    missing = [name for name, path in zip(wanted, found, strict=True) if path is None]
    if missing and len(missing) < len(wanted):
        raise Problem(
            f"{folder} is incomplete: {', '.join(missing)} missing. Get the data set again "
            "(`replicate data get NAME`), or copy these files there."
        )
    return () if missing else tuple(path for path in found if path is not None)


# --- scikit-learn's digits -------------------------------------------------------------------------


def sklearn_folder() -> Path:
    """The folder of scikit-learn's own data files, found without importing scikit-learn."""
    spec = importlib.util.find_spec("sklearn")
    origin = spec.origin if spec else None
    return Path(origin).parent / "datasets" / "data" if origin else Path("scikit-learn-is-not-installed")


def read_digits(folder: Path, shape: Shape | None = None) -> Raw:
    """1797 digits, values 0..16 as uint8 [N, 1, 8, 8]; a permutation of seed 0 splits them 1200 to 597."""
    path = folder / "digits.csv.gz"
    try:
        with gzip.open(path, "rt") as file:
            table = np.loadtxt(file, delimiter=",")
        images, labels = table[:, :64].reshape(-1, 1, 8, 8).astype(np.uint8), table[:, 64].astype(np.int64)
    except (OSError, EOFError, zlib.error, ValueError, IndexError) as error:
        raise Problem(f"{path}: unreadable ({error}). Install scikit-learn again.") from error
    # RandomState: its numbers are frozen for good, and the published counts per class came from it
    train, test = np.split(np.random.RandomState(0).permutation(len(images)), [len(images) * 1200 // 1797])
    return Raw(Part(images[train], labels[train]), Part(images[test], labels[test]), tuple("0123456789"))


DIGITS = Layout("embedded", lambda folder: complete(folder, ["digits.csv"]), read_digits)

# --- MNIST's idx files -----------------------------------------------------------------------------

IDX_FILES = tuple(f"{s}-{k}-ubyte" for s in ("train", "t10k") for k in ("images-idx3", "labels-idx1"))


def read_idx_file(path: Path) -> np.ndarray:
    """The uint8 array of one idx file (plain or .gz). Source: the format's description on MNIST's page."""
    refuse_page(path)
    try:
        raw = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
    except (OSError, EOFError, zlib.error) as error:
        raise broken(path, f"no whole gzip file ({error})") from error
    if len(raw) < 4 or raw[:3] != b"\x00\x00\x08" or len(raw) < 4 + 4 * raw[3]:
        raise broken(path, "no idx file of unsigned bytes")
    sizes = tuple(int(n) for n in np.frombuffer(raw, ">u4", count=raw[3], offset=4))
    body = np.frombuffer(raw, np.uint8, offset=4 + 4 * raw[3])
    if body.size != int(np.prod(sizes, dtype=object)):
        raise broken(path, f"the header announces {' x '.join(map(str, sizes))} bytes, the file holds {body.size}")
    return body.reshape(sizes)


def read_idx(folder: Path, shape: Shape | None = None) -> Raw:
    """MNIST and its look-alikes from four idx files: uint8 [N, 1, H, W]."""
    paths = complete(folder, IDX_FILES)
    parts = []
    for images_path, labels_path in (paths[:2], paths[2:]):
        images, labels = read_idx_file(images_path), read_idx_file(labels_path)
        if images.ndim != 3 or labels.ndim != 1 or len(images) != len(labels):
            raise broken(images_path, f"images {images.shape} do not go with the labels {labels.shape} beside it")
        parts.append(Part(images[:, None], labels.astype(np.int64)))
    return Raw(parts[0], parts[1])


IDX = Layout("torchvision", lambda folder: complete(folder, IDX_FILES), read_idx)

"""CIFAR's python batches, read without running any code that a pickle may hold."""

import pickle
from pathlib import Path
from typing import Any, BinaryIO, cast

import numpy as np

from common.streams.formats import Layout, Part, Raw, Shape, broken, complete, refuse_page


def _latin1(text: str, encoding: str) -> bytes:
    """Bytes of a protocol-2 pickle; any other codec is refused (looking one up may import a module)."""
    if encoding != "latin1":
        raise pickle.UnpicklingError(f"codec '{encoding}' refused")
    return text.encode("latin1")


class ArraysOnly(pickle.Unpickler):
    """Unpickles arrays, dictionaries, lists, text and bytes, and refuses every other name: no code runs."""

    def find_class(self, module: str, name: str) -> Any:
        """What builds an array, by its name in the pickle. Errors: UnpicklingError for any other name."""
        if (module, name) in {(f"numpy.{core}.multiarray", "_reconstruct") for core in ("core", "_core")}:
            return np.empty(0).__reduce__()[0]
        allowed = {
            ("numpy", "ndarray"): np.ndarray,
            ("numpy", "dtype"): np.dtype,
            ("_codecs", "encode"): _latin1,
        }
        if (module, name) not in allowed:
            raise pickle.UnpicklingError(f"it asks for {module}.{name}, which no image file needs")
        return allowed[module, name]


def unpickle_arrays(path: Path) -> dict[str, Any]:
    """The dictionary of one CIFAR python batch, keys as text. Errors: Problem if damaged or holding code."""
    refuse_page(path)
    try:
        with path.open("rb") as file:
            value = ArraysOnly(cast(BinaryIO, file), encoding="latin1").load()
    except Exception as error:  # a damaged pickle may raise nearly anything
        raise broken(path, f"no CIFAR batch, or a damaged one ({error})") from error
    if not isinstance(value, dict):
        raise broken(path, f"a dictionary was expected, not {type(value).__name__}")
    return {key.decode("latin1") if isinstance(key, bytes) else str(key): item for key, item in value.items()}


def read_cifar(folder: Path, shape: Shape | None = None) -> Raw:
    """CIFAR-10 or CIFAR-100 from the folder of python batches: uint8 [N, 3, 32, 32], fine labels."""
    hundred = (folder / "meta").is_file()
    groups = (["train"], ["test"]) if hundred else ([f"data_batch_{i}" for i in range(1, 6)], ["test_batch"])
    parts = []
    for group in groups:
        batches = [_cifar_batch(folder / name, "fine_labels" if hundred else "labels") for name in group]
        images, labels = (np.concatenate(arrays) for arrays in zip(*batches, strict=True))
        parts.append(Part(images, labels))
    meta = folder / ("meta" if hundred else "batches.meta")
    key = "fine_label_names" if hundred else "label_names"
    names = unpickle_arrays(meta).get(key)
    if not isinstance(names, list):
        raise broken(meta, f"the list '{key}' is missing")
    text = (name.decode("latin1") if isinstance(name, bytes) else str(name) for name in names)
    return Raw(parts[0], parts[1], tuple(text))


def _cifar_batch(path: Path, key: str) -> tuple[np.ndarray, np.ndarray]:
    """(images uint8 [n, 3, 32, 32], labels int64 [n]) of one batch file."""
    batch = unpickle_arrays(path)
    data, labels = batch.get("data"), batch.get(key)
    if not isinstance(data, np.ndarray) or data.dtype != np.uint8 or data.ndim != 2 or data.shape[1] != 3072:
        raise broken(path, "'data' should be unsigned bytes, 3072 an image")
    if not isinstance(labels, list) or len(labels) != len(data) or not all(type(n) is int for n in labels):
        raise broken(path, f"'{key}' should be a list of {len(data)} whole numbers")
    return data.reshape(-1, 3, 32, 32), np.array(labels, np.int64)


def _cifar_layout(names: list[str]) -> Layout:
    return Layout("torchvision", lambda folder: complete(folder, names), read_cifar)


CIFAR10 = _cifar_layout([*(f"data_batch_{i}" for i in range(1, 6)), "test_batch", "batches.meta"])
CIFAR100 = _cifar_layout(["train", "test", "meta"])

"""CINIC-10 and the sets of out-of-distribution probes, as their archives unpack, made small here."""

import json
import sys
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.io
from PIL import Image

from common.streams import data
from tests.test_data import colours, encoded, home, says, tree

__all__ = ["home"]  # the fixture: an empty data folder, published checksums set aside
SMOOTH = np.repeat(np.repeat(np.random.default_rng(3).integers(0, 256, (9, 4, 5, 3), dtype=np.uint8), 20, 1), 20, 2)


def put(folder: Path, names: list[str]) -> None:
    """JPEG pictures of 80 x 100 pixels, the i-th name the i-th of SMOOTH."""
    for i, name in enumerate(names):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(encoded(SMOOTH[i], "JPEG"))


def write(path: Path, lines: list[str]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(lines) + "\n")


def test_cinic_trains_on_one_part_or_on_two(home: Path) -> None:
    pixels = {word: {"airplane": colours(2), "dog": colours(3)} for word in ("train", "valid", "test")}
    for word, groups in pixels.items():
        tree(home / "CINIC-10" / word, groups)
    one, two = data.load("cinic10"), data.load("cinic10_180k")
    assert one.classes == two.classes == ("airplane", "dog")
    assert one.train.labels.tolist() == [0, 0, 1, 1, 1]
    assert two.train.labels.tolist() == [0, 0, 1, 1, 1] * 2
    for images in (one, two):
        assert np.array_equal(images.test.images[3], pixels["test"]["dog"][1].transpose(2, 0, 1))
    assert np.array_equal(two.train.images[5], pixels["valid"]["airplane"][0].transpose(2, 0, 1))
    assert one.digest != two.digest
    for path in (home / "CINIC-10" / "valid").rglob("*.png"):
        path.unlink()
    says(lambda: data.find("cinic10_180k"), "CINIC-10 lacks the pictures of valid")
    assert data.find("cinic10")


def test_svhn_puts_its_class_ten_first(home: Path) -> None:
    pixels = colours(10)
    for word in ("train", "test"):
        content = {"X": pixels.transpose(1, 2, 3, 0), "y": np.arange(1, 11)[:, None]}
        scipy.io.savemat(home / f"{word}_32x32.mat", content)
    images = data.load("svhn")
    assert images.train.labels.tolist() == [1, 2, 3, 4, 5, 6, 7, 8, 9, 0]
    assert np.array_equal(images.test.images[4], pixels[4].transpose(2, 0, 1))
    (home / "test_32x32.mat").write_bytes(b"MATLAB 5.0 MAT-file, cut short")
    says(lambda: data.load("svhn"), "test_32x32.mat", "no whole MATLAB file")


def test_stl10_is_stored_column_by_column(home: Path) -> None:
    folder, pixels = home / "stl10_binary", colours(3, 96)
    folder.mkdir()
    for word in ("train", "test"):
        (folder / f"{word}_X.bin").write_bytes(pixels.transpose(0, 3, 2, 1).tobytes())
        (folder / f"{word}_y.bin").write_bytes(bytes([1, 3, 2]))
    (folder / "class_names.txt").write_text("airplane\nbird\ncar\n")
    images = data.load("stl10")
    assert images.classes == ("airplane", "bird", "car")
    assert images.train.labels.tolist() == [0, 2, 1]
    assert np.array_equal(images.test.images[1], pixels[1].transpose(2, 0, 1))
    (folder / "test_X.bin").write_bytes(b"\x01" * 100)
    says(lambda: data.load("stl10"), "test_X.bin", "100 bytes do not go with 3 labels")


def flowers(home: Path) -> None:
    folder = home / "flowers-102"
    put(folder / "jpg", [f"image_{i:05d}.jpg" for i in range(1, 6)])
    scipy.io.savemat(folder / "imagelabels.mat", {"labels": np.array([[1, 2, 1, 2, 1]])})
    scipy.io.savemat(folder / "setid.mat", {"trnid": [[2]], "valid": [[1, 3]], "tstid": [[5, 4]]})


def aircraft(home: Path) -> None:
    folder = home / "fgvc-aircraft-2013b" / "data"
    put(folder / "images", [f"000{i}.jpg" for i in range(1, 6)])
    write(folder / "variants.txt", ["707-320", "Model B 200"])
    write(folder / "images_variant_trainval.txt", ["0002 Model B 200", "0001 707-320", "0003 707-320"])
    write(folder / "images_variant_test.txt", ["0005 707-320", "0004 Model B 200"])


def pets(home: Path) -> None:
    folder = home / "oxford-iiit-pet"
    put(folder / "images", ["Abyssinian_1.jpg", "great_pyrenees_1.jpg", "Abyssinian_2.jpg", "great_pyrenees_2.jpg",
                            "Abyssinian_3.jpg"])  # fmt: skip
    write(
        folder / "annotations" / "trainval.txt", ["great_pyrenees_1 2 2 1", "Abyssinian_1 1 1 1", "Abyssinian_2 1 1 1"]
    )
    write(folder / "annotations" / "test.txt", ["Abyssinian_3 1 1 1", "great_pyrenees_2 2 2 1"])


def food(home: Path) -> None:
    folder = home / "food-101"
    put(folder / "images", ["pie/1.jpg", "tart/1.jpg", "pie/2.jpg", "tart/2.jpg", "pie/3.jpg"])
    write(folder / "meta" / "train.json", [json.dumps({"tart": ["tart/1"], "pie": ["pie/1", "pie/2"]})])
    write(folder / "meta" / "test.json", [json.dumps({"pie": ["pie/3"], "tart": ["tart/2"]})])


def textures(home: Path) -> None:
    folder = home / "dtd" / "dtd"
    put(folder / "images", ["banded/1.jpg", "dotted/1.jpg", "banded/2.jpg", "dotted/2.jpg", "banded/3.jpg"])
    write(folder / "labels" / "train1.txt", ["dotted/1.jpg", "banded/1.jpg"])
    write(folder / "labels" / "val1.txt", ["banded/2.jpg"])
    write(folder / "labels" / "test1.txt", ["banded/3.jpg", "dotted/2.jpg"])


LISTED: dict[str, tuple[Callable[[Path], None], str, str]] = {
    "flowers102": (flowers, "setid.mat", "flower 2"),
    "aircraft": (aircraft, "images_variant_test.txt", "Model B 200"),
    "pets": (pets, "test.txt", "great_pyrenees"),
    "food101": (food, "test.json", "tart"),
    "textures": (textures, "val1.txt", "dotted"),
}


@pytest.mark.parametrize("name", LISTED)
def test_sets_of_listed_pictures(home: Path, name: str) -> None:
    make, mark, second = LISTED[name]
    make(home)
    images = data.load(name)
    assert images.classes[1] == second
    order = {"food101": [0, 2, 1]}.get(name, [1, 0, 2])  # classes in turn, or as listed
    assert images.train.images.shape == (3, 3, 64, 64)
    assert images.train.labels.tolist() == [i % 2 for i in order]
    for picture, i in zip(images.train.images, order, strict=True):
        whole = np.asarray(Image.fromarray(SMOOTH[i]).resize((80, 64), Image.Resampling.BILINEAR))
        assert np.abs(picture.transpose(1, 2, 0).astype(int) - whole[:, 8:72]).mean() < 8
    assert images.test.labels.tolist() == [0, 1]
    path = next(home.rglob(mark))
    kept = path.read_bytes()
    path.write_bytes(b"\x00 nothing that one could read")
    says(lambda: data.find(name), "nnot be read" if name != "flowers102" else "no whole MATLAB file")
    path.unlink()
    says(lambda: data.find(name), "is incomplete", mark)
    path.write_bytes(kept)
    next(home.rglob("*.jpg")).unlink()
    says(lambda: data.digest(name), "Put it there again")


def test_sets_that_torchvision_splits_are_asked_for_by_split(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[dict[str, Any]] = []
    fake = types.SimpleNamespace(FGVCAircraft=lambda **given: (asked.append(given), aircraft(home)))
    monkeypatch.setitem(sys.modules, "torchvision", types.SimpleNamespace(datasets=fake))
    monkeypatch.setitem(sys.modules, "torchvision.datasets", fake)
    data.get("aircraft")
    assert asked == [{"root": str(home), "download": True, "split": "trainval"}]
    says(lambda: data.get("cinic10"), "datashare.ed.ac.uk", str(home / "CINIC-10"))

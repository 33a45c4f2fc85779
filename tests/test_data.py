"""Data sets in every layout, made small here: pixels, labels, digests, the cache, and what damage says."""

import gzip
import io
import json
import os
import pickle
import struct
import subprocess
import sys
import types
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from common.errors import Problem
from common.streams import cache, data, sources
from common.streams.cifar import unpickle_arrays
from common.streams.pictures import centre

RNG = np.random.default_rng(1)


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty data folder; published checksums, which small files cannot have, are set aside."""
    monkeypatch.setenv("REPLICATE_DATA", str(tmp_path / "data"))
    monkeypatch.setenv("REPLICATE_RUNS", str(tmp_path / "runs"))
    for name, entry in sources.SOURCES.items():
        monkeypatch.setitem(sources.SOURCES, name, replace(entry, md5=()))
    (tmp_path / "data").mkdir()
    return tmp_path / "data"


def says(action: Callable[[], object], *words: str) -> str:
    """The text of the Problem that `action` raises, which holds all `words`."""
    with pytest.raises(Problem) as caught:
        action()
    text = str(caught.value)
    assert all(word in text for word in words), text
    return text


def encoded(pixels: np.ndarray, kind: str = "PNG") -> bytes:
    """A picture file of uint8 [H, W] or [H, W, 3] pixels."""
    out = io.BytesIO()
    Image.fromarray(pixels).save(out, kind)
    return out.getvalue()


def colours(n: int, size: int = 32, width: int | None = None) -> np.ndarray:
    return RNG.integers(0, 256, (n, size, width or size, 3), dtype=np.uint8)


def shard(
    path: Path,
    raws: list[bytes],
    labels: list[int],
    columns: tuple[str, str] = ("image", "label"),
    classes: list[str] | None = None,
) -> None:
    """One Hugging Face parquet shard."""
    path.parent.mkdir(parents=True, exist_ok=True)
    rows = pa.array([{"bytes": raw, "path": f"{i}"} for i, raw in enumerate(raws)])
    table = pa.table({columns[0]: rows, columns[1]: pa.array(labels, pa.int64())})
    if classes:
        features = {"info": {"features": {columns[1]: {"names": classes, "_type": "ClassLabel"}}}}
        table = table.replace_schema_metadata({"huggingface": json.dumps(features)})
    pq.write_table(table, path)


def both(folder: Path, train: np.ndarray, test: np.ndarray, kind: str = "PNG", **more: Any) -> None:
    """A train and a test shard, labels 0, 1, 2, ... modulo 10."""
    for name, pixels in (("train", train), ("test", test)):
        labels = [i % 10 for i in range(len(pixels))]
        shard(folder / f"{name}-00000-of-00001.parquet", [encoded(p, kind) for p in pixels], labels, **more)


def idx(path: Path, array: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    raw = struct.pack(f">BBBB{array.ndim}I", 0, 0, 8, array.ndim, *array.shape) + array.tobytes()
    path.write_bytes(gzip.compress(raw) if path.suffix == ".gz" else raw)


def mnist(folder: Path, end: str = "") -> dict[str, np.ndarray]:
    """Twelve training and ten test digits as idx files."""
    arrays = {}
    for name, n in (("train", 12), ("t10k", 10)):
        arrays[f"{name}-images-idx3-ubyte"] = np.random.default_rng(n).integers(0, 256, (n, 28, 28), dtype=np.uint8)
        arrays[f"{name}-labels-idx1-ubyte"] = (np.arange(n) % 10).astype(np.uint8)
    for name, array in arrays.items():
        idx(folder / f"{name}{end}", array)
    return arrays


def cifar(folder: Path, protocol: int = 2) -> np.ndarray:
    """Six batches of three images each and their names; the data of all, uint8 [18, 3072]."""
    folder.mkdir(parents=True)
    pixels = RNG.integers(0, 256, (18, 3072), dtype=np.uint8)
    for i, name in enumerate([*(f"data_batch_{k}" for k in range(1, 6)), "test_batch"]):
        batch = {b"data": pixels[3 * i : 3 * i + 3], b"labels": [0, 9, i % 10], b"filenames": [b"a.png"] * 3}
        (folder / name).write_bytes(pickle.dumps(batch, protocol=protocol))
    names = {"label_names": [f"class{i}" for i in range(10)]}
    (folder / "batches.meta").write_bytes(pickle.dumps(names, protocol=protocol))
    return pixels


def tree(folder: Path, groups: dict[str, np.ndarray], end: str = "png") -> None:
    """Picture files folder/<group>/0000.png ... of uint8 [n, H, W(, 3)] pixels."""
    for group, pixels in groups.items():
        (folder / group).mkdir(parents=True, exist_ok=True)
        for i, picture in enumerate(pixels):
            (folder / group / f"{i:04d}.{end}").write_bytes(encoded(picture))


# --- layouts -----------------------------------------------------------------------------------------


def test_digits_are_embedded_and_standardised_over_all_images() -> None:
    images = data.load("digits")
    assert images.train.images.shape == (1200, 1, 8, 8)
    assert images.test.images.shape == (597, 1, 8, 8)
    assert images.train.images.max() == 16
    both_splits = np.concatenate([images.train.images, images.test.images])
    scaled = (both_splits / 255 - images.mean[0]) / images.std[0]
    assert abs(scaled.mean()) < 1e-9
    assert abs(scaled.std() - 1) < 1e-9
    assert sorted(np.bincount(images.test.labels // 2)) == [109, 117, 120, 121, 130]  # the notes' 109 to 130
    assert images.train.labels.dtype == np.int64


@pytest.mark.parametrize(
    ("name", "folder"),
    [("mnist", "MNIST/raw"), ("fashion_mnist", "FashionMNIST/raw"), ("kmnist", "KMNIST/raw")],
)
def test_idx_files_plain_or_packed_are_the_same_data_set(home: Path, name: str, folder: str) -> None:
    arrays = mnist(home / folder, ".gz")
    images = data.load(name)
    assert np.array_equal(images.train.images[:, 0], arrays["train-images-idx3-ubyte"])
    assert np.array_equal(images.test.labels, arrays["t10k-labels-idx1-ubyte"])
    for path in (home / folder).iterdir():
        path.unlink()
    mnist(home / folder)
    assert data.digest(name) == images.digest
    assert data.find(name).layout == "torchvision"


@pytest.mark.parametrize("protocol", [2, 4])
def test_cifar_batches(home: Path, protocol: int) -> None:
    pixels = cifar(home / "cifar-10-batches-py", protocol)
    images = data.load("cifar10")
    assert np.array_equal(images.train.images, pixels[:15].reshape(-1, 3, 32, 32))
    assert images.test.labels.tolist() == [0, 9, 5]
    assert images.classes[9] == "class9"
    assert (images.title, images.lossy) == ("CIFAR-10", False)


def test_cifar100_takes_the_fine_labels(home: Path) -> None:
    folder = home / "cifar-100-python"
    folder.mkdir()
    pixels = RNG.integers(0, 256, (2, 3072), dtype=np.uint8)
    for name in ("train", "test"):
        batch = {"data": pixels, "fine_labels": [99, 3], "coarse_labels": [1, 1]}
        (folder / name).write_bytes(pickle.dumps(batch, protocol=2))
    meta = {"fine_label_names": [f"f{i}" for i in range(100)], "coarse_label_names": []}
    (folder / "meta").write_bytes(pickle.dumps(meta, protocol=2))
    images = data.load("cifar100")
    assert images.train.labels.tolist() == [99, 3]
    assert len(images.classes) == 100


@pytest.mark.parametrize("columns", [("image", "label"), ("img", "label"), ("img", "fine_label")])
def test_parquet_png_is_lossless(home: Path, columns: tuple[str, str]) -> None:
    train, test = colours(12), colours(10)
    both(home / "cifar10" / "plain_text", train, test, columns=columns, classes=[f"c{i}" for i in range(10)])
    images = data.load("cifar10")
    assert np.array_equal(images.train.images, train.transpose(0, 3, 1, 2))
    assert np.array_equal(images.test.labels, np.arange(10))
    assert images.classes[3] == "c3"
    assert (images.title, images.lossy) == ("CIFAR-10", False)


def test_parquet_jpeg_copies_of_lossless_images_are_named(home: Path) -> None:
    train = colours(12)
    both(home / "cifar10", train, colours(10), "JPEG")
    images = data.load("cifar10")
    assert (images.title, images.lossy) == ("CIFAR-10 (JPEG copies)", True)
    expected = np.asarray(Image.open(io.BytesIO(encoded(train[4], "JPEG")))).transpose(2, 0, 1)
    assert np.array_equal(images.train.images[4], expected)
    assert images.classes[0] == "airplane"
    assert next(row for row in data.listing() if row["name"] == "cifar10")["lossy"] is True


def test_tiny_imagenet_shards_with_grey_pictures(home: Path) -> None:
    folder, pixels = home / "tiny-imagenet", colours(4, 64)
    grey = RNG.integers(0, 256, (64, 64), dtype=np.uint8)
    shard(folder / "train-00000-of-00002.parquet", [encoded(p, "JPEG") for p in pixels[:2]], [0, 1])
    shard(folder / "train-00001-of-00002.parquet", [encoded(pixels[2]), encoded(grey)], [1, 0])
    shard(folder / "validation-00000-of-00001.parquet", [encoded(pixels[3])], [1])
    (folder / "class_names.json").write_text(
        json.dumps([{"wnid": "n1", "name": "newt"}, {"wnid": "n2", "name": "owl"}])
    )
    images = data.load("tiny_imagenet")
    assert images.classes == ("newt", "owl")
    assert images.train.labels.tolist() == [0, 1, 1, 0]
    assert np.array_equal(images.train.images[3], np.stack([grey] * 3))
    assert (images.title, images.lossy) == ("Tiny-ImageNet", False)  # JPEG is how it was published
    (folder / "train-00001-of-00002.parquet").unlink()
    says(lambda: data.find("tiny_imagenet"), "shards 00001 of 2", "train", "missing")


def test_tiny_imagenet_at_half_its_size_is_decoded_from_the_same_files(home: Path) -> None:
    folder, pixels = home / "tiny-imagenet", colours(2, 64)
    shard(folder / "train-00000-of-00001.parquet", [encoded(pixels[0])], [0])
    shard(folder / "validation-00000-of-00001.parquet", [encoded(pixels[1])], [0])
    whole, half = data.load("tiny_imagenet"), data.load("tiny_imagenet_32")
    assert whole.train.images.shape == (1, 3, 64, 64)
    assert half.train.images.shape == half.test.images.shape == (1, 3, 32, 32)
    assert np.abs(half.test.images.mean((2, 3)) - whole.test.images.mean((2, 3))).max() < 2  # averaged, not picked
    assert half.title == "Tiny-ImageNet at 32 pixels"


def test_tiny_imagenet_as_packed_by_its_authors(home: Path) -> None:
    folder, pixels = home / "tiny-imagenet-200", colours(3, 64)
    tree(folder / "train", {"n2/images": pixels[:1], "n1/images": pixels[1:2]})
    tree(folder / "val", {"images": pixels[2:]})
    (folder / "val" / "val_annotations.txt").write_text("0000.png\tn2\t0\t0\t63\t63\n")
    (folder / "words.txt").write_text("n1\tnewt\nn2\towl\n")
    images = data.load("tiny_imagenet")
    assert images.classes == ("newt", "owl")
    assert images.train.labels.tolist() == [0, 1]
    assert images.test.labels.tolist() == [1]
    assert np.array_equal(images.train.images[0], pixels[1].transpose(2, 0, 1))


def test_mini_imagenet_splits_each_class_five_to_one(home: Path) -> None:
    pixels = {"n2": colours(6, 84), "n1": colours(6, 100, 120)}
    tree(home / "mini-imagenet", pixels)
    images = data.load("mini_imagenet")
    assert images.classes == ("n1", "n2")
    assert images.train.labels.tolist() == [0] * 5 + [1] * 5
    assert images.train.images.shape == (10, 3, 84, 84)
    assert np.array_equal(images.test.images[1], pixels["n2"][5].transpose(2, 0, 1))


def test_mini_domainnet_has_domains_and_square_pictures(home: Path) -> None:
    folder = home / "domainnet"
    (folder / "splits_mini").mkdir(parents=True)
    for domain in ("clipart", "painting", "real", "sketch"):
        tree(folder / domain, {"zebra": colours(2, 120, 100), "ant": colours(2, 97, 150)})
        for split, i in (("train", 0), ("test", 1)):
            lines = [f"{domain}/zebra/000{i}.png 1", f"{domain}/ant/000{i}.png 0"]
            (folder / "splits_mini" / f"{domain}_{split}.txt").write_text("\n".join(lines) + "\n")
    images = data.load("mini_domainnet")
    assert images.train.images.shape == (8, 3, 96, 96)
    assert images.classes == ("ant", "zebra")
    assert images.domains == ("clipart", "painting", "real", "sketch")
    assert images.train.domain is not None
    assert images.train.domain.tolist() == [0, 0, 1, 1, 2, 2, 3, 3]
    assert images.train.labels.tolist() == [1, 0] * 4
    (folder / "splits_mini" / "real_test.txt").write_text("real/ant/0001.png\n")
    says(lambda: data.load("mini_domainnet"), "real_test.txt, line 1")
    (folder / "splits_mini" / "real_test.txt").unlink()
    says(lambda: data.load("mini_domainnet"), "real_test.txt", "missing")


@pytest.mark.parametrize("size", [(100, 173), (97, 96), (300, 201), (96, 96), (30, 77)])
def test_resize_and_crop_equal_torchvisions(size: tuple[int, int]) -> None:
    transforms = pytest.importorskip("torchvision.transforms")
    image = Image.fromarray(colours(1, *size)[0])
    reference = transforms.Compose([transforms.Resize(96), transforms.CenterCrop(96)])(image)
    assert np.array_equal(np.asarray(centre(image, 96)), np.asarray(reference))


# --- a data set of the user's own --------------------------------------------------------------------


def test_own_folder_of_grey_pictures(home: Path) -> None:
    pixels = RNG.integers(0, 256, (6, 20, 24), dtype=np.uint8)
    tree(home / "leaves" / "train", {"oak": pixels[:2], "elm": pixels[2:4]})
    tree(home / "leaves" / "val", {"oak": pixels[4:5], "elm": pixels[5:]})
    images = data.load("leaves")
    assert images.title == "leaves"
    assert images.classes == ("elm", "oak")
    assert images.train.images.shape == (4, 1, 20, 24)
    assert images.test.labels.tolist() == [0, 1]
    assert images.mean[0] == pytest.approx(pixels[:4].mean() / 255)
    assert images.std[0] == pytest.approx(pixels[:4].std() / 255)
    assert "leaves" in data.names()
    assert next(row for row in data.listing() if row["name"] == "leaves")["present"] is True


def test_own_parquet_computes_statistics_per_channel(home: Path) -> None:
    train = colours(7, 16)
    both(home / "mine", train, colours(3, 16))
    images = data.load("mine")
    assert images.mean == pytest.approx(tuple(train.mean((0, 1, 2)) / 255))
    assert images.std == pytest.approx(tuple(train.std((0, 1, 2)) / 255))
    assert images.classes == tuple("0123456")


def test_own_pictures_of_two_sizes_are_refused_and_leave_no_cache(home: Path, tmp_path: Path) -> None:
    tree(home / "mixed" / "train", {"a": colours(2, 20), "b": colours(1, 24)})
    tree(home / "mixed" / "test", {"a": colours(1, 20), "b": colours(1, 20)})
    says(lambda: data.load("mixed"), "image 2 (", "b/0000.png) is 3 x 24 x 24 and should be 3 x 20 x 20")
    left = [path for path in (tmp_path / "runs" / ".cache" / "data").iterdir() if path.is_dir()]
    assert left == []


def test_own_folder_without_a_test_set_or_with_an_unknown_class(home: Path) -> None:
    tree(home / "half" / "train", {"a": colours(1)})
    says(lambda: data.find("half"), "no test/<class>/")
    tree(home / "half" / "test", {"z": colours(1)})
    says(lambda: data.find("half"), "without training pictures: z")
    tree(home / "half" / "train", {"y": colours(1), "z": colours(1)})
    says(lambda: data.find("half"), "without test pictures: a, y")


# --- finding, digest, cache --------------------------------------------------------------------------


def test_unknown_and_missing_names_say_what_to_do(home: Path) -> None:
    says(lambda: data.find("cifar1O"), "Did you mean 'cifar10'?", "tiny_imagenet", "train/CLASS/*.png")
    says(lambda: data.find("tiny-imagenet"), "Did you mean 'tiny_imagenet'?")
    says(lambda: data.find("../secrets"), "no name of a data set")
    says(lambda: data.find("cifar10"), "`replicate data get cifar10`", str(home))
    says(lambda: data.find("mini_domainnet"), "http://ai.bu.edu/M3SDA/", str(home / "domainnet"), "splits_mini")


def test_digest_follows_names_and_bytes_only(home: Path, tmp_path: Path) -> None:
    mnist(home / "MNIST/raw")
    before = data.digest("mnist")
    os.utime(home / "MNIST/raw/train-labels-idx1-ubyte", (1, 1))
    assert data.digest("mnist") == before
    (home / "MNIST").rename(home / "moved")
    (home / "mnist").mkdir()
    for path in (home / "moved/raw").iterdir():
        path.rename(home / "mnist" / path.name)
    assert data.digest("mnist") == before
    idx(home / "mnist/train-labels-idx1-ubyte", np.zeros(12, np.uint8))
    assert data.digest("mnist") != before


def test_unchanged_files_are_hashed_once(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    mnist(home / "MNIST/raw")
    first = data.digest("mnist")
    monkeypatch.setattr("common.streams.digests.hash_files", lambda found: pytest.fail("hashed again"))
    assert data.digest("mnist") == first


def test_the_cache_is_used_and_survives_damage(home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    both(home / "cifar10", colours(12), colours(10))
    first = data.load("cifar10")
    pixels = np.array(first.train.images)
    decode = cache._decode
    monkeypatch.setattr(cache, "_decode", lambda *given: pytest.fail("decoded again"))
    again = data.load("cifar10")
    assert isinstance(again.train.images, np.memmap)
    assert not again.train.images.flags.writeable
    assert np.array_equal(again.train.images, pixels)
    monkeypatch.setattr(cache, "_decode", decode)
    (stored,) = (tmp_path / "runs/.cache/data").glob("*/train_images.npy")
    stored.write_bytes(stored.read_bytes()[:500])
    assert np.array_equal(data.load("cifar10").train.images, pixels)


def test_what_a_killed_process_left_is_swept(home: Path, tmp_path: Path) -> None:
    mnist(home / "MNIST/raw")
    left = tmp_path / f"runs/.cache/data/.{data.digest('mnist')}-mnist.part-abc"
    left.mkdir(parents=True)
    data.load("mnist")
    assert not left.exists()


def test_processes_at_once_end_with_one_cache(home: Path, tmp_path: Path) -> None:
    both(home / "cifar10", colours(40), colours(10))
    code = "from common.streams import data; import sys; data.load('cifar10'); assert 'torch' not in sys.modules"
    started = [subprocess.Popen([sys.executable, "-c", code], cwd=Path(cache.__file__).parents[2]) for _ in range(3)]
    assert [process.wait() for process in started] == [0, 0, 0]
    inside = [path.name for path in (tmp_path / "runs/.cache/data").iterdir() if path.is_dir()]
    assert inside == [f"{data.digest('cifar10')}-cifar10"]


def test_listing_names_every_registered_set_and_tells_damage(home: Path) -> None:
    (home / "cifar10").mkdir()
    (home / "cifar10/train-00000-of-00001.parquet").write_bytes(b"<html>404</html>")
    (home / "cifar10/test-00000-of-00001.parquet").write_bytes(b"<html>404</html>")
    rows = {row["name"]: row for row in data.listing()}
    assert set(sources.SOURCES) <= set(rows)
    assert rows["digits"]["present"] is True
    assert rows["mnist"]["present"] is False
    assert "web page" in rows["cifar10"]["problem"]
    json.dumps(list(rows.values()))


# --- damage ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("spoil", "word"),
    [
        (lambda raw: raw[:-5], "ended before"),
        (lambda raw: b"<!DOCTYPE html><title>404</title>", "web page"),
        (lambda raw: b"", "empty"),
        (lambda raw: gzip.compress(b"\x00\x00\x08\x03\x00"), "no idx file"),
        (lambda raw: gzip.compress(gzip.decompress(raw)[:-9]), "announces 12 x 28 x 28"),
    ],
)
def test_damaged_idx_files(home: Path, spoil: Callable[[bytes], bytes], word: str) -> None:
    mnist(home / "MNIST/raw", ".gz")
    path = home / "MNIST/raw/train-images-idx3-ubyte.gz"
    path.write_bytes(spoil(path.read_bytes()))
    says(lambda: data.load("mnist"), str(path), word)


def test_incomplete_idx_files(home: Path) -> None:
    mnist(home / "MNIST/raw")
    (home / "MNIST/raw/t10k-labels-idx1-ubyte").unlink()
    says(lambda: data.find("mnist"), "t10k-labels-idx1-ubyte missing")


def test_parquet_damage(home: Path) -> None:
    folder = home / "cifar10"
    test, train = (folder / f"{name}-00000-of-00001.parquet" for name in ("test", "train"))
    both(folder, colours(12), colours(10), classes=[f"c{i}" for i in range(10)])
    good = test.read_bytes()
    test.write_bytes(good[:-20])
    says(lambda: data.load("cifar10"), str(test), "no whole parquet file")
    shard(test, [encoded(colours(1)[0])], [10], classes=[f"c{i}" for i in range(10)])
    says(lambda: data.load("cifar10"), "labels run from 0 to 10", "10 classes")
    shard(test, [encoded(colours(1)[0])], [-1])
    says(lambda: data.load("cifar10"), "labels run from -1")
    shard(test, [encoded(colours(1)[0])[:-900]], [1])
    says(lambda: data.load("cifar10"), str(test), "row 0", "no readable picture")
    shard(test, [encoded(colours(1, 31)[0])], [1])
    says(lambda: data.load("cifar10"), "3 x 31 x 31")
    shard(test, [encoded(colours(1)[0])], [1], columns=("picture", "label"))
    says(lambda: data.load("cifar10"), str(test), "columns 'image' and 'label'", "picture, label")
    test.unlink()
    says(lambda: data.load("cifar10"), "no test-*.parquet")
    test.write_bytes(good)
    assert len(data.load("cifar10").test.labels) == 10
    assert train.exists()


def test_checksums_of_published_files_are_compared(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cifar(home / "cifar-10-batches-py")
    monkeypatch.setitem(
        sources.SOURCES, "cifar10", replace(sources.SOURCES["cifar10"], md5=(("data_batch_2", "0" * 32),))
    )
    for action in (lambda: data.load("cifar10"), lambda: data.check("cifar10")):
        says(action, "data_batch_2", "MD5 is not the published one", "replicate data get cifar10")


class Evil:
    """An object whose pickle would run code."""

    def __init__(self, function: Callable[..., object], *given: object) -> None:
        self.call = (function, given)

    def __reduce__(self) -> tuple[Any, ...]:
        return self.call


@pytest.mark.parametrize(
    "evil", [Evil(os.system, "touch ran"), Evil(eval, "1"), Evil(np.load, "x"), Evil(getattr, "x", "upper")]
)
@pytest.mark.parametrize("protocol", [0, 2, 4])
def test_pickles_with_code_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, evil: Evil, protocol: int
) -> None:
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "data_batch_1"
    path.write_bytes(pickle.dumps({"data": evil}, protocol=protocol))
    says(lambda: unpickle_arrays(path), str(path), "it asks for")
    assert not (tmp_path / "ran").exists()


def test_truncated_and_foreign_pickles(home: Path) -> None:
    folder = home / "cifar-10-batches-py"
    cifar(folder)
    path = folder / "data_batch_3"
    good = path.read_bytes()
    path.write_bytes(good[: len(good) // 2])
    says(lambda: data.load("cifar10"), str(path), "damaged")
    path.write_bytes(pickle.dumps([1, 2], protocol=2))
    says(lambda: data.load("cifar10"), str(path), "dictionary")
    path.write_bytes(pickle.dumps({"data": np.zeros((1, 7), np.uint8), "labels": [1]}, protocol=2))
    says(lambda: data.load("cifar10"), str(path), "3072")
    path.write_bytes(pickle.dumps({"data": np.zeros((1, 3072), np.uint8), "labels": [1, 2]}, protocol=2))
    says(lambda: data.load("cifar10"), str(path), "list of 1")


# --- check and get -----------------------------------------------------------------------------------


def test_check_reports_and_finds_wrong_counts(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert any("1200 images 1x8x8" in line for line in data.check("digits"))
    both(home / "cifar10", colours(12), colours(9))
    says(lambda: data.check("cifar10"), "12 train images, published are 50000", "no test image of class truck")
    both(home / "cifar10", colours(12), colours(10))
    monkeypatch.setitem(sources.SOURCES, "cifar10", replace(sources.SOURCES["cifar10"], counts=(12, 10)))
    assert "train: 12 images 3x32x32, 1 to 2 a class" in data.check("cifar10")


def test_check_sees_bytes_that_changed_unnoticed(home: Path) -> None:
    mnist(home / "MNIST/raw")
    path = home / "MNIST/raw/train-images-idx3-ubyte"
    data.load("mnist")
    before, raw = path.stat(), path.read_bytes()
    path.write_bytes(raw[:-1] + bytes([raw[-1] ^ 1]))
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    says(lambda: data.check("mnist"), "the disk damaged them")


def test_get_downloads_through_torchvision(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    def download(root: str, train: bool, download: bool) -> None:
        asked.append((root, download))
        mnist(Path(root) / "MNIST/raw", ".gz")

    def fail(root: str, train: bool, download: bool) -> None:
        raise RuntimeError("Error downloading train-images-idx3-ubyte.gz")

    fake = types.SimpleNamespace(MNIST=download, FashionMNIST=fail)
    monkeypatch.setitem(sys.modules, "torchvision", types.SimpleNamespace(datasets=fake))
    monkeypatch.setitem(sys.modules, "torchvision.datasets", fake)
    data.get("mnist")
    data.get("mnist", progress=False)  # there already: nothing to do
    assert asked == [(str(home), True)]
    assert len(data.load("mnist").train.labels) == 12
    says(lambda: data.get("fashion_mnist"), "download of 'fashion_mnist' failed", "FashionMNIST/raw")
    says(lambda: data.get("tiny_imagenet"), "cs231n.stanford.edu", str(home))
    says(lambda: data.get("nowhere"), "There is no data set 'nowhere'")

"""The data sets that have a name, where each lies on disk, and how one gets it. A new data set is one entry of SOURCES."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from common.errors import Problem, nearest
from common.places import data_dir
from common.streams import folders, formats, pictures
from common.streams.formats import Layout, Shape


@dataclass(frozen=True)
class Place:
    """A layout a data set may have, in this folder of the data folder ('-' and '_' count as the same)."""

    layout: Layout
    folder: str


@dataclass(frozen=True)
class Source:
    """One data set: what it is called, where it may lie, its published facts, and how a person gets it."""

    title: str
    places: tuple[Place, ...]  # the first that is there is used
    shape: Shape | None = None  # None: found from the pictures
    classes: tuple[str, ...] = ()  # where the files do not name them
    counts: tuple[int, int] | None = None  # published train and test images
    mean: tuple[float, ...] = ()  # per channel, in [0, 1] units; empty: computed from the training images
    std: tuple[float, ...] = ()
    torchvision: str = ""  # the class of torchvision.datasets that downloads it
    by_hand: str = ""  # where a person gets it
    exact: bool = False  # published without loss, so that JPEG copies of it are named as such
    md5: tuple[tuple[str, str], ...] = ()  # published checksums of files


@dataclass(frozen=True)
class Found:
    """A data set that is there: its files, sorted by name."""

    name: str
    title: str
    layout: str  # "embedded", "torchvision", "parquet" or "folder"
    path: Path | None
    files: tuple[Path, ...]
    lossy: bool = False


# Normalisation: MNIST's own statistics, and CIFAR-10's for all RGB data (stability gap, released code).
RGB_MEAN, RGB_STD = (0.4914, 0.4822, 0.4465), (0.2023, 0.1994, 0.2010)
DIGIT_NAMES = tuple("0123456789")

SOURCES: dict[str, Source] = {
    "digits": Source(
        title="scikit-learn digits (8x8)",
        places=(Place(formats.DIGITS, ""),),
        shape=(1, 8, 8),
        classes=DIGIT_NAMES,
        counts=(1200, 597),
        # values are 0..16: standardised over all 1797 images after the division by 255 that all images get
        mean=(4.884164579855314 / 255,),
        std=(6.016787548672236 / 255,),
        by_hand="it comes with scikit-learn: `pip install scikit-learn`",
        exact=True,
    ),
    "mnist": Source(
        title="MNIST",
        places=(
            Place(formats.IDX, "MNIST/raw"),
            Place(formats.IDX, "mnist"),
            Place(pictures.PARQUET, "mnist"),
        ),
        shape=(1, 28, 28),
        classes=DIGIT_NAMES,
        counts=(60000, 10000),
        mean=(0.1307,),
        std=(0.3081,),
        torchvision="MNIST",
        exact=True,
        md5=(
            ("train-images-idx3-ubyte.gz", "f68b3c2dcbeaaa9fbdd348bbdeb94873"),
            ("train-labels-idx1-ubyte.gz", "d53e105ee54ea40749a09fcbcd1e9432"),
            ("t10k-images-idx3-ubyte.gz", "9fb629c4189551a2d022fa330f9573f3"),
            ("t10k-labels-idx1-ubyte.gz", "ec29112dd5afa0611ce80d1b7f02629c"),
        ),
    ),
    "fashion_mnist": Source(
        title="Fashion-MNIST",
        places=(
            Place(formats.IDX, "FashionMNIST/raw"),
            Place(formats.IDX, "fashion_mnist"),
            Place(pictures.PARQUET, "fashion_mnist"),
        ),
        shape=(1, 28, 28),
        classes=(*"T-shirt/top Trouser Pullover Dress Coat Sandal Shirt Sneaker Bag".split(), "Ankle boot"),
        counts=(60000, 10000),
        mean=(0.2860,),
        std=(0.3530,),
        torchvision="FashionMNIST",
        exact=True,
        md5=(
            ("train-images-idx3-ubyte.gz", "8d4fb7e6c68d591d4c3dfef9ec88bf0d"),
            ("train-labels-idx1-ubyte.gz", "25c81989df183df01b3e8a0aad5dffbe"),
            ("t10k-images-idx3-ubyte.gz", "bef4ecab320f06d8554ea6380940ec79"),
            ("t10k-labels-idx1-ubyte.gz", "bb300cfdad3c16e7a12a480ee83cd310"),
        ),
    ),
    "cifar10": Source(
        title="CIFAR-10",
        places=(
            Place(formats.CIFAR10, "cifar-10-batches-py"),
            Place(formats.CIFAR10, "cifar10/cifar-10-batches-py"),
            Place(pictures.PARQUET, "cifar10"),
        ),
        shape=(3, 32, 32),
        classes=tuple("airplane automobile bird cat deer dog frog horse ship truck".split()),
        counts=(50000, 10000),
        mean=RGB_MEAN,
        std=RGB_STD,
        torchvision="CIFAR10",
        exact=True,
        md5=(
            ("data_batch_1", "c99cafc152244af753f735de768cd75f"),
            ("data_batch_2", "d4bba439e000b95fd0a9bffe97cbabec"),
            ("data_batch_3", "54ebc095f3ab1f0389bbae665268c751"),
            ("data_batch_4", "634d18415352ddfa80567beed471001a"),
            ("data_batch_5", "482c414d41f54cd18b22e5b47cb7c3cb"),
            ("test_batch", "40351d587109b95175f43aff81a1287e"),
            ("batches.meta", "5ff9c542aee3614f3951f8cda6e48888"),
        ),
    ),
    "cifar100": Source(
        title="CIFAR-100",
        places=(
            Place(formats.CIFAR100, "cifar-100-python"),
            Place(formats.CIFAR100, "cifar100/cifar-100-python"),
            Place(pictures.PARQUET, "cifar100"),
        ),
        shape=(3, 32, 32),
        counts=(50000, 10000),
        mean=RGB_MEAN,
        std=RGB_STD,
        torchvision="CIFAR100",
        exact=True,
        md5=(
            ("train", "16019d7e3df5f24257cddd939b257f8d"),
            ("test", "f0ef6b0ae62326f3e7ffdfab6717acfc"),
            ("meta", "7973b15100ade9c7d40fb424638fde48"),
        ),
    ),
    "tiny_imagenet": Source(
        title="Tiny-ImageNet",
        places=(Place(pictures.PARQUET, "tiny_imagenet"), Place(folders.TINY, "tiny-imagenet-200")),
        shape=(3, 64, 64),
        counts=(100000, 10000),
        mean=RGB_MEAN,
        std=RGB_STD,
        by_hand="from http://cs231n.stanford.edu/tiny-imagenet-200.zip, unpacked",
    ),
    "mini_imagenet": Source(
        title="Mini-ImageNet",
        places=(Place(folders.MINI, "mini_imagenet"),),
        shape=(3, 84, 84),
        counts=(50000, 10000),
        mean=RGB_MEAN,
        std=RGB_STD,
        by_hand="its 100 classes of 600 pictures from ImageNet (https://image-net.org), one folder a class",
    ),
    "mini_domainnet": Source(
        title="Mini-DomainNet",
        places=(Place(folders.DOMAINNET, "domainnet"), Place(folders.DOMAINNET, "mini_domainnet")),
        shape=(3, 96, 96),
        counts=(90358, 39063),
        mean=RGB_MEAN,
        std=RGB_STD,
        by_hand="clipart, painting, real and sketch from http://ai.bu.edu/M3SDA/ (cleaned version), with the folder "
        "splits_mini of list files from https://github.com/KaiyangZhou/Dassl.pytorch (DATASETS.md)",
    ),
}


def source(name: str) -> Source:
    """The registered data set of this name, else one of the user's own. Errors: Problem for an impossible name."""
    if name in SOURCES:
        return SOURCES[name]
    if not re.fullmatch(r"[A-Za-z0-9][\w.-]*", name) or _same(name) in _claimed():
        raise Problem(f"'{name}' is no name of a data set.{nearest(_same(name), SOURCES)} Allowed: {', '.join(SOURCES)}, "
                      f"or the name of a folder of your own in {data_dir()}.")  # fmt: skip
    return Source(name, (Place(pictures.PARQUET, name), Place(folders.FOLDER, name)))


def locate(name: str) -> Found:
    """The files of a data set, looked for on disk. Errors: Problem when unknown, incomplete or not there."""
    entry = source(name)
    for place in entry.places:
        for folder in _variants(place):
            if files := place.layout.locate(folder):
                return Found(name, entry.title, place.layout.kind, folder, tuple(sorted(files)))
    if name in SOURCES:
        raise Problem(
            f"The data set '{name}' ({entry.title}) is not in {data_dir()}.",
            f"To get it: {how_to_get(name)}.",
        )
    raise Problem(
        f"There is no data set '{name}'.{nearest(name, names())} Registered: {', '.join(SOURCES)}.",
        f"For one of your own: {how_to_get(name)}.",
    )


def layout_of(found: Found) -> Layout:
    """The layout that a found data set has."""
    places = source(found.name).places
    return next(p.layout for p in places if p.layout.kind == found.layout and found.path in _variants(p))


def how_to_get(name: str) -> str:
    """One sentence without a full stop: which command, or from where and into which folder."""
    entry = source(name)
    homes = list(
        dict.fromkeys(f"{data_dir() / place.folder} ({place.layout.kind})" for place in entry.places)
    )
    if entry.torchvision:
        return f"`replicate data get {name}` (downloads through torchvision), or put its files into {' or '.join(homes)}"
    if name == "digits":
        return entry.by_hand
    if name in SOURCES:
        return f"by hand: {entry.by_hand}, into {' or '.join(homes)}"
    return (f"make {data_dir() / name} with train-*.parquet and test-*.parquet (columns image, label), "
            "or with train/CLASS/*.png and test/CLASS/*.png")  # fmt: skip


def names() -> list[str]:
    """Names of the registered data sets, then of the user's own folders in the data folder, sorted."""
    return [*SOURCES, *_own()]


def _own() -> Iterator[str]:
    home = data_dir()
    for folder in sorted(home.iterdir()) if home.is_dir() else []:
        if (
            folder.is_dir()
            and re.fullmatch(r"[A-Za-z0-9][\w.-]*", folder.name)
            and _same(folder.name) not in _claimed()
        ):
            if (
                (folder / "train").is_dir()
                or any(folder.glob("train-*.parquet"))
                or any(folder.glob("*/train-*.parquet"))
            ):
                yield folder.name


def _variants(place: Place) -> list[Path]:
    """The folders that a place may mean: as written, with '_' for '-', with '-' for '_'."""
    if place.layout.kind == "embedded":
        return [formats.sklearn_folder()]
    written = place.folder
    return [
        data_dir() / name
        for name in dict.fromkeys((written, written.replace("-", "_"), written.replace("_", "-")))
    ]


def _same(name: str) -> str:
    return name.replace("-", "_").lower()


def _claimed() -> set[str]:
    """Names of folders that belong to registered data sets."""
    return {_same(place.folder.split("/")[0]) for entry in SOURCES.values() for place in entry.places} | set(
        SOURCES
    )

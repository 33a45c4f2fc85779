"""The named data sets and their published facts. A new data set is one entry of SOURCES."""

from dataclasses import dataclass, replace

from common.streams.cifar import CIFAR10, CIFAR100
from common.streams.folders import DOMAINNET, FOLDER, MINI, TINY
from common.streams.formats import DIGITS, IDX, Layout, Shape
from common.streams.parquet import PARQUET
from common.streams.renditions import DOMAINNET_LISTS, IMAGENET_R
from common.streams.transfer import AIRCRAFT, CINIC_180K, FLOWERS, FOOD, PETS, STL10, SVHN, TEXTURES


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
    splits: tuple[str, ...] = ()  # those it downloads, where it does not take them all at once
    by_hand: str = ""  # where a person gets it
    resized: bool = False  # pictures of another size are brought to `shape` when they are decoded
    exact: bool = False  # published without loss, so that JPEG copies of it are named as such
    md5: tuple[tuple[str, str], ...] = ()  # published checksums of files


# Normalisation: MNIST's own statistics, and CIFAR-10's for all RGB data (stability gap, released code).
RGB_MEAN, RGB_STD = (0.4914, 0.4822, 0.4465), (0.2023, 0.1994, 0.2010)
DIGIT_NAMES = tuple("0123456789")
TOP, BOOT = "T-shirt/top", "Ankle boot"
FASHION_NAMES = (TOP, "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker", "Bag", BOOT)
CIFAR10_NAMES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")

CINIC = "from https://datashare.ed.ac.uk/handle/10283/3192 (CINIC-10.tar.gz), unpacked: train, valid and test"

TINY_IMAGENET = Source(
    title="Tiny-ImageNet",
    places=(Place(PARQUET, "tiny_imagenet"), Place(TINY, "tiny-imagenet-200")),
    shape=(3, 64, 64),
    counts=(100000, 10000),
    mean=RGB_MEAN,
    std=RGB_STD,
    by_hand="from http://cs231n.stanford.edu/tiny-imagenet-200.zip, unpacked",
)

SOURCES: dict[str, Source] = {
    "digits": Source(
        title="scikit-learn digits (8x8)",
        places=(Place(DIGITS, ""),),
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
            Place(IDX, "MNIST/raw"),
            Place(IDX, "mnist"),
            Place(PARQUET, "mnist"),
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
            Place(IDX, "FashionMNIST/raw"),
            Place(IDX, "fashion_mnist"),
            Place(PARQUET, "fashion_mnist"),
        ),
        shape=(1, 28, 28),
        classes=FASHION_NAMES,
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
    "kmnist": Source(
        title="Kuzushiji-MNIST",
        places=(Place(IDX, "KMNIST/raw"), Place(IDX, "kmnist"), Place(PARQUET, "kmnist")),
        shape=(1, 28, 28),
        classes=("o", "ki", "su", "tsu", "na", "ha", "ma", "ya", "re", "wo"),
        counts=(60000, 10000),
        mean=(0.1918,),
        std=(0.3483,),
        torchvision="KMNIST",
        exact=True,
        md5=(
            ("train-images-idx3-ubyte.gz", "bdb82020997e1d708af4cf47b453dcf7"),
            ("train-labels-idx1-ubyte.gz", "e144d726b3acfaa3e44228e80efcd344"),
            ("t10k-images-idx3-ubyte.gz", "5c965bf0a639b31b8f53240b1b52f4d7"),
            ("t10k-labels-idx1-ubyte.gz", "7320c461ea6c1c855c0b718fb2a4b134"),
        ),
    ),
    "cifar10": Source(
        title="CIFAR-10",
        places=(
            Place(CIFAR10, "cifar-10-batches-py"),
            Place(CIFAR10, "cifar10/cifar-10-batches-py"),
            Place(PARQUET, "cifar10"),
        ),
        shape=(3, 32, 32),
        classes=CIFAR10_NAMES,
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
            Place(CIFAR100, "cifar-100-python"),
            Place(CIFAR100, "cifar100/cifar-100-python"),
            Place(PARQUET, "cifar100"),
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
    "tiny_imagenet": TINY_IMAGENET,
    "tiny_imagenet_32": replace(TINY_IMAGENET, title="Tiny-ImageNet at 32 pixels", shape=(3, 32, 32), resized=True),
    "mini_imagenet": Source(
        title="Mini-ImageNet",
        places=(Place(MINI, "mini_imagenet"),),
        shape=(3, 84, 84),
        counts=(50000, 10000),
        mean=RGB_MEAN,
        std=RGB_STD,
        by_hand="its 100 classes of 600 pictures from ImageNet (https://image-net.org), one folder a class",
    ),
    "mini_domainnet": Source(
        title="Mini-DomainNet",
        places=(Place(DOMAINNET, "domainnet"), Place(DOMAINNET, "mini_domainnet")),
        shape=(3, 96, 96),
        counts=(90358, 39063),
        mean=RGB_MEAN,
        std=RGB_STD,
        by_hand="clipart, painting, real and sketch from http://ai.bu.edu/M3SDA/ (cleaned version), with the "
        "folder splits_mini of list files from https://github.com/KaiyangZhou/Dassl.pytorch (DATASETS.md)",
    ),
    "imagenet_r": Source(
        title="ImageNet-R",
        places=(Place(IMAGENET_R, "imagenet-r"),),
        shape=(3, 256, 256),
        counts=(24000, 6000),
        mean=RGB_MEAN,
        std=RGB_STD,
        by_hand="imagenet-r.tar from https://github.com/hendrycks/imagenet-r, unpacked, with a folder splits of the lists "
        "imagenet-r_train.yaml and imagenet-r_test.yaml from https://github.com/GT-RIPL/CODA-Prompt (dataloaders/splits)",
    ),
    "domainnet": Source(
        title="DomainNet (the release's lists)",
        places=(Place(DOMAINNET_LISTS, "domainnet"),),
        shape=(3, 256, 256),
        mean=RGB_MEAN,
        std=RGB_STD,
        by_hand="the domains from http://ai.bu.edu/M3SDA/ (cleaned version), unpacked, with a folder splits of the lists "
        "domainnet_train.yaml and domainnet_test.yaml from https://github.com/GT-RIPL/CODA-Prompt (dataloaders/splits)",
    ),
    "cinic10": Source(
        title="CINIC-10 (90,000 train)",
        places=(Place(FOLDER, "CINIC-10"),),
        shape=(3, 32, 32),
        counts=(90000, 90000),
        mean=RGB_MEAN,
        std=RGB_STD,
        by_hand=CINIC,
    ),
    "cinic10_180k": Source(
        title="CINIC-10 (180,000 train and valid)",
        places=(Place(CINIC_180K, "CINIC-10"),),
        shape=(3, 32, 32),
        counts=(180000, 90000),
        mean=RGB_MEAN,
        std=RGB_STD,
        by_hand=CINIC,
    ),
    "svhn": Source(
        title="SVHN",
        places=(Place(SVHN, ""), Place(SVHN, "svhn")),
        shape=(3, 32, 32),
        classes=DIGIT_NAMES,
        counts=(73257, 26032),
        mean=RGB_MEAN,
        std=RGB_STD,
        torchvision="SVHN",
        splits=("train", "test"),
        md5=(
            ("train_32x32.mat", "e26dedcc434d2e4c54c9b2d4a06d8373"),
            ("test_32x32.mat", "eb5a983be6a315427106f1b164d9cef3"),
        ),
    ),
    "stl10": Source(
        title="STL-10",
        places=(Place(STL10, "stl10_binary"),),
        shape=(3, 96, 96),
        counts=(5000, 8000),
        mean=RGB_MEAN,
        std=RGB_STD,
        torchvision="STL10",
        splits=("train",),
        md5=(
            ("train_X.bin", "918c2871b30a85fa023e0c44e0bee87f"),
            ("train_y.bin", "5a34089d4802c674881badbb80307741"),
            ("test_X.bin", "7f263ba9f9e0b06b93213547f721ac82"),
            ("test_y.bin", "36f9794fa4beb8a2c72628de14fa638e"),
        ),
    ),
    **{
        name: Source(title, (Place(layout, folder),), (3, 64, 64), (), counts, RGB_MEAN, RGB_STD, kind, splits)
        for name, title, layout, folder, counts, kind, splits in (
            ("flowers102", "Oxford Flowers-102", FLOWERS, "flowers-102", (2040, 6149), "Flowers102", ("train",)),
            ("aircraft", "FGVC-Aircraft", AIRCRAFT, "fgvc-aircraft-2013b", (6667, 3333), "FGVCAircraft", ("trainval",)),
            ("pets", "Oxford-IIIT Pets", PETS, "oxford-iiit-pet", (3680, 3669), "OxfordIIITPet", ("trainval",)),
            ("food101", "Food-101", FOOD, "food-101", (75750, 25250), "Food101", ("train",)),
            ("textures", "Describable Textures", TEXTURES, "dtd/dtd", (3760, 1880), "DTD", ("train",)),
        )
    },
}

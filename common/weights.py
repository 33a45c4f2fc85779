"""Pre-trained weights as files of one's own: found by the full tag of the model, known by the digest of the file.

They lie in the data folder as weights/TAG.npz, .safetensors, .pth or .bin. Nothing is downloaded.
"""

from functools import cache
from pathlib import Path
from typing import Any

from common.errors import Missing, Problem
from common.files import sha256_file
from common.places import data_dir

ENDINGS = (".safetensors", ".npz", ".pth", ".bin")


def find(tag: str) -> Path:
    """The file of that tag. Errors: Missing where there is none, Problem where there are several."""
    home = data_dir() / "weights"
    there = [path for ending in ENDINGS if (path := home / f"{tag}{ending}").is_file()]
    if not there:
        raise Missing(
            f"The weights '{tag}' are not in {home}.",
            f"To get them: save timm's file of exactly this tag as {home / tag}.safetensors (or .npz, .pth, .bin).",
        )
    if len(there) > 1:
        raise Problem(
            f"{home} has the weights '{tag}' {len(there)} times ({', '.join(p.name for p in there)}). Keep one."
        )
    return there[0]


def digest(tag: str) -> str:
    """Hexadecimal SHA-256 of the file of that tag, read once for as long as it does not change."""
    path = find(tag)
    about = path.stat()
    return _digest(path, about.st_size, about.st_mtime_ns)


@cache
def _digest(path: Path, size: int, changed: int) -> str:
    return sha256_file(path)


def checked(tag: str, wanted: str | None) -> Path:
    """The file of that tag. Errors: Problem when its digest is another one (`wanted`: null, or its first 12 digits or more)."""
    path, found = find(tag), digest(tag)
    if wanted is not None and (len(wanted) < 12 or not found.startswith(wanted)):
        raise Problem(
            f"{path} has the digest {found[:16]}..., but model.digest is '{wanted}': these are other weights. Put the right "
            "file there, or give the digest of this one (it names another run)."
        )
    return path


def filled(settings: dict[str, Any]) -> dict[str, Any]:
    """A model's settings with the digest of its weights' file written out, where it takes such a file (tag, weights, digest)."""
    if not {"tag", "weights", "digest"} <= settings.keys() or not settings["weights"]:
        return settings
    checked(settings["tag"], settings["digest"])
    return settings | {"digest": digest(settings["tag"])}

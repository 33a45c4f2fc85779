"""Getting a data set: a download through torchvision, with its checksums, or what a person does by hand."""

import contextlib
import hashlib
import io
from typing import Any

from common.errors import Problem
from common.places import data_dir
from common.streams.catalogue import Found, how_to_get, locate, source


def get(name: str, progress: bool = True) -> None:
    """Nothing; the data set lies in the data folder afterwards (at once, when it already does).

    Errors: Problem when it must be got by hand (from where, into which folder), or when the download fails.
    """
    try:
        locate(name)
        return
    except Problem:
        if not source(name).torchvision:
            raise  # it says from where and into which folder
    try:
        import torchvision.datasets

        data_dir().mkdir(parents=True, exist_ok=True)
        kind = getattr(torchvision.datasets, source(name).torchvision)
        with contextlib.nullcontext() if progress else contextlib.redirect_stderr(io.StringIO()):
            options: list[dict[str, Any]] = [{"split": word} for word in source(name).splits] or [{"train": True}]
            for option in options:
                kind(root=str(data_dir()), download=True, **option)
    except (OSError, RuntimeError, ImportError) as error:
        raise Problem(
            f"The download of '{name}' failed: {error}.",
            f"Is there a network, and room in {data_dir()}? On a machine without one: {how_to_get(name)}.",
        ) from error
    locate(name)


def published_checksums(found: Found) -> str:
    """How many files have their published MD5, in words. Errors: Problem naming the files that differ."""
    known = dict(source(found.name).md5) if found.layout == "torchvision" else {}
    wrong, right = [], 0
    for path in found.files:
        if path.name in known:
            with path.open("rb") as file:
                same = hashlib.file_digest(file, "md5").hexdigest() == known[path.name]
            right += same
            if not same:
                wrong.append(f"{path}: its MD5 is not the published one; the file is cut short or another.")
    if wrong:
        raise Problem(*wrong, "Delete these files and get them again: " + how_to_get(found.name) + ".")
    return f"{right} of {len(found.files)} files have their published MD5" if known else "no MD5 published"

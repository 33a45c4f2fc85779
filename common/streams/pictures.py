"""Decoding one picture (PNG, JPEG and what else Pillow reads)."""

import io
from collections.abc import Iterable
from pathlib import Path

import numpy as np
from PIL import Image

from common.errors import Problem

TEST_NAMES = ("test", "validation", "valid", "val")  # the first that is there is the test set
GREY, EIGHT_BIT = {"1", "L", "LA"}, {"1", "L", "LA", "La", "P", "PA", "RGB", "RGBA", "RGBa", "CMYK", "YCbCr"}


def decode(raw: bytes | Path, channels: int, where: str, crop: int | None = None) -> np.ndarray:
    """One picture as uint8 [C, H, W], C = 1 (grey) or 3 (RGB); `crop`: shorter side to it, then centre crop.

    Errors: Problem naming `where` when the picture is damaged or not of 8 bits a channel.
    """
    try:
        with Image.open(io.BytesIO(raw) if isinstance(raw, bytes) else raw) as image:
            if image.mode not in EIGHT_BIT:
                raise ValueError(f"mode {image.mode} has no 8 bits a channel")
            plain = image.convert("L" if channels == 1 else "RGB")
    except Exception as error:  # a damaged picture may raise nearly anything
        reason = "" if "<_io.BytesIO" in str(error) else f" ({error})"
        raise Problem(f"{where}: no readable picture{reason}. Replace or remove it.") from error
    pixels = np.asarray(plain if crop is None else centre(plain, crop))
    return pixels[None] if channels == 1 else pixels.transpose(2, 0, 1)


def centre(image: Image.Image, size: int) -> Image.Image:
    """Shorter side to `size` (bilinear, antialiased), centre crop: as torchvision's Resize, CenterCrop do."""
    w, h = image.size
    short = min(w, h)
    w, h = int(size * w / short), int(size * h / short)
    left, top = round((w - size) / 2), round((h - size) / 2)
    return image.resize((w, h), Image.Resampling.BILINEAR).crop((left, top, left + size, top + size))


def resized(picture: np.ndarray, side: int) -> np.ndarray:
    """uint8 [C, H, W] -> uint8 [C, side, side] (bilinear, antialiased)."""
    planes = [Image.fromarray(plane).resize((side, side), Image.Resampling.BILINEAR) for plane in picture]
    return np.stack([np.asarray(plane) for plane in planes])


def channels_of(raws: Iterable[bytes | Path]) -> int:
    """1 when every picture is grey, else 3; stops at the first colour picture, reads headers only."""
    for raw in raws:
        try:
            with Image.open(io.BytesIO(raw) if isinstance(raw, bytes) else raw) as image:
                if image.mode not in GREY:
                    return 3
        except Exception:
            continue  # decoding names the damaged picture
    return 1

"""Corruptions of the training images of a task: noises, blurs, contrast, brightness, saturation, at five severities.

The families are those of SCoLe's released code as far as they are a few operations on all images at once; glass blur,
fog, snow, spatter, elastic and frost are left out. The severities are ours, as shares of the brightest pixel.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from common.rng import generator

Floats = npt.NDArray[np.float32]  # [N, C, H, W] in 0 .. 1
Draws = np.random.Generator


@dataclass(frozen=True)
class Corrupt:
    """Every image under one corruption, its noise drawn at the address (seed, task). severity: 1 (weak) to 5."""

    family: str
    severity: int
    seed: int
    task: int

    def __call__(self, images: np.ndarray) -> np.ndarray:
        """uint8 [N, C, H, W] -> the same shape and range."""
        top = max(1, int(images.max()))  # 16 for scikit-learn's digits
        change, levels = FAMILIES[self.family]
        rng = generator(self.seed, f"corruption {self.family}", self.task)
        changed = change(images.astype(np.float32) / np.float32(top), levels[self.severity - 1], rng)
        return np.rint(np.clip(changed, 0, 1) * top).astype(np.uint8)


def gaussian_noise(x: Floats, level: float, rng: Draws) -> Floats:
    """Normal noise of that standard deviation."""
    return x + rng.normal(0, level, x.shape).astype(np.float32)


def shot_noise(x: Floats, level: float, rng: Draws) -> Floats:
    """Poisson noise of `level` photons at full brightness."""
    return (rng.poisson(x * level) / level).astype(np.float32)


def impulse_noise(x: Floats, level: float, rng: Draws) -> Floats:
    """That share of the pixels black or white."""
    hit = rng.random(x.shape)
    return np.where(hit < level / 2, 0, np.where(hit < level, 1, x)).astype(np.float32)


def speckle_noise(x: Floats, level: float, rng: Draws) -> Floats:
    """Normal noise in proportion to the brightness."""
    return x * (1 + rng.normal(0, level, x.shape).astype(np.float32))


def gaussian_blur(x: Floats, level: float, rng: Draws) -> Floats:
    """A Gaussian of `level` of the width."""
    from scipy.ndimage import gaussian_filter

    blurred: Floats = gaussian_filter(x, (0, 0, level * x.shape[3], level * x.shape[3]))
    return blurred


def defocus_blur(x: Floats, level: float, rng: Draws) -> Floats:
    """A disc with a radius of `level` of the width."""
    reach = max(1, round(level * x.shape[3]))
    place = np.arange(-reach, reach + 1)
    return _filtered(x, (place[:, None] ** 2 + place**2 <= reach**2 + 1).astype(np.float32))


def motion_blur(x: Floats, level: float, rng: Draws) -> Floats:
    """A line of `level` of the width, along a row, a column or a diagonal, one direction for the whole task."""
    length = max(2, round(level * x.shape[3]))
    line = np.zeros((length, length), dtype=np.float32)
    line[length // 2] = 1
    return _filtered(
        x, [line, line.T, np.eye(length, dtype=np.float32), np.eye(length, dtype=np.float32)[::-1]][rng.integers(4)]
    )


def zoom_blur(x: Floats, level: float, rng: Draws) -> Floats:
    """The mean of the image at four magnifications up to 1 + level."""
    middle = (x.shape[2] - 1) / 2
    total = x.copy()
    for zoom in np.linspace(1, 1 + level, 4)[1:]:
        index = np.clip(np.rint(middle + (np.arange(x.shape[2]) - middle) / zoom), 0, x.shape[2] - 1).astype(int)
        total += x[:, :, index][:, :, :, index]
    return total / np.float32(4)


def contrast(x: Floats, level: float, rng: Draws) -> Floats:
    """Each channel of each image drawn towards its mean."""
    mean = x.mean(axis=(2, 3), keepdims=True)
    return mean + (x - mean) * level


def brightness(x: Floats, level: float, rng: Draws) -> Floats:
    """`level` added to every pixel."""
    return x + level


def saturate(x: Floats, level: float, rng: Draws) -> Floats:
    """Colours drawn from the pixel's grey by that factor; grey images stay as they are."""
    grey = x.mean(axis=1, keepdims=True)
    return grey + (x - grey) * level


def as_it_is(x: Floats, level: float, rng: Draws) -> Floats:
    """No change: one of the draws of the released code."""
    return x


def _filtered(x: Floats, kernel: Floats) -> Floats:
    from scipy.ndimage import convolve

    blurred: Floats = convolve(x, kernel[None, None] / kernel.sum(), mode="nearest")
    return blurred


Change = Callable[[Floats, float, Draws], Floats]
FAMILIES: dict[str, tuple[Change, tuple[float, ...]]] = {
    "none": (as_it_is, (0, 0, 0, 0, 0)),
    "gaussian_noise": (gaussian_noise, (0.04, 0.08, 0.12, 0.18, 0.26)),
    "shot_noise": (shot_noise, (100, 40, 20, 10, 5)),
    "impulse_noise": (impulse_noise, (0.02, 0.05, 0.1, 0.18, 0.27)),
    "speckle_noise": (speckle_noise, (0.1, 0.2, 0.3, 0.4, 0.6)),
    "gaussian_blur": (gaussian_blur, (0.01, 0.02, 0.03, 0.04, 0.06)),
    "defocus_blur": (defocus_blur, (0.015, 0.03, 0.045, 0.06, 0.08)),
    "motion_blur": (motion_blur, (0.08, 0.12, 0.16, 0.2, 0.25)),
    "zoom_blur": (zoom_blur, (0.06, 0.12, 0.18, 0.24, 0.3)),
    "contrast": (contrast, (0.7, 0.5, 0.4, 0.3, 0.2)),
    "brightness": (brightness, (0.1, 0.2, 0.3, 0.4, 0.5)),
    "saturate": (saturate, (0.7, 0.4, 0.2, 2.0, 3.0)),
}


def drawn(family: str, severity: int | None, seed: int, task: int) -> Corrupt | None:
    """The corruption of a task: that family, or one drawn anew for each task (`random`); severity None: drawn too."""
    rng = generator(seed, "corruption of task", task)
    chosen = list(FAMILIES)[rng.integers(len(FAMILIES))] if family == "random" else family
    level = int(rng.integers(1, 6)) if severity is None else severity
    return None if chosen == "none" else Corrupt(chosen, level, seed, task)

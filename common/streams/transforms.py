"""Fixed transforms that define a task: a rotation or a permutation of pixels."""

from dataclasses import dataclass

import numpy as np

from common.rng import generator


@dataclass(frozen=True)
class Rotate:
    """Every image turned counter-clockwise by a fixed angle, zero outside (stability gap, Sec. 4)."""

    degrees: float
    interpolation: str = "nearest"

    def __call__(self, images: np.ndarray) -> np.ndarray:
        """uint8 [N, C, H, W] -> the same shape; Pillow's rotation, image by image."""
        from PIL import Image

        how = Image.Resampling.NEAREST if self.interpolation == "nearest" else Image.Resampling.BILINEAR
        planes = images.reshape(-1, *images.shape[2:])
        turned = [np.asarray(Image.fromarray(plane).rotate(self.degrees, how)) for plane in planes]
        return np.stack(turned).reshape(images.shape)


@dataclass(frozen=True)
class Permute:
    """Every image with its pixels in one fixed random order, the same for all images of the task."""

    seed: int
    task: int

    def __call__(self, images: np.ndarray) -> np.ndarray:
        """uint8 [N, C, H, W] -> the same shape; channels keep their place."""
        count, channels, height, width = images.shape
        order = generator(self.seed, "permutation", self.task).permutation(height * width)
        return images.reshape(count, channels, -1)[:, :, order].reshape(images.shape)

"""Pictures in other styles: fixed changes of uint8 images, made when rows are read, so that a stream stays a list of rows.

STYLES are the fifteen kinds that stand in for ImageNet-R's (dual shift); any of CHANGES can make a stream's images.
"""

from collections.abc import Callable

import numpy as np

from common.rng import generator

Change = Callable[[np.ndarray, int], np.ndarray]  # uint8 [N, C, H, W], largest value -> the same shape


def _grey(x: np.ndarray, top: int) -> np.ndarray:
    return np.broadcast_to(x.mean(1, keepdims=True), x.shape)


def _edges(x: np.ndarray, top: int) -> np.ndarray:
    across = np.abs(np.diff(x.astype(int), axis=3, append=x[..., -1:]))
    return np.minimum(across + np.abs(np.diff(x.astype(int), axis=2, append=x[:, :, -1:])), top)


def _blurred(x: np.ndarray, top: int) -> np.ndarray:
    wide = np.pad(x.astype(float), ((0, 0), (0, 0), (1, 1), (1, 1)), mode="edge")
    rows = (wide[:, :, :-2] + wide[:, :, 1:-1] + wide[:, :, 2:]) / 3
    return (rows[..., :-2] + rows[..., 1:-1] + rows[..., 2:]) / 3


def _pixelated(x: np.ndarray, top: int) -> np.ndarray:
    return x[:, :, ::2, ::2].repeat(2, 2).repeat(2, 3)[:, :, : x.shape[2], : x.shape[3]]


def _noisy(x: np.ndarray, top: int) -> np.ndarray:
    pattern = generator(0, "noise of a style").standard_normal(x.shape[1:])  # the same pattern on every image
    return np.clip(x + 0.25 * top * pattern, 0, top)


def _striped(x: np.ndarray, top: int) -> np.ndarray:
    kept = x.copy()
    kept[:, :, :, ::4] = 0
    return kept


STYLES: dict[str, Change] = {
    "plain": lambda x, top: x,
    "grey": _grey,
    "inverted": lambda x, top: top - x,
    "posterised": lambda x, top: np.where(x > top // 2, 0.75 * top, 0.25 * top),
    "solarised": lambda x, top: np.where(x > top // 2, top - x, x),
    "edges": _edges,
    "blurred": _blurred,
    "pixelated": _pixelated,
    "noisy": _noisy,
    "recoloured": lambda x, top: np.roll(x, 1, axis=1),
    "dark": lambda x, top: x * 0.4,
    "pale": lambda x, top: top - 0.4 * (top - x.astype(float)),
    "striped": _striped,
    "tilted": lambda x, top: np.rot90(x, 1, (2, 3)),
    "upside_down": lambda x, top: x[:, :, ::-1],
}
CHANGES = STYLES | {
    "mirrored": lambda x, top: x[..., ::-1],
    "tilted_inverted": lambda x, top: top - np.rot90(x, 1, (2, 3)),
}


class Rendered:
    """Images of which each row is a row of others under one of some changes. Reads as an array: `rendered[rows]`."""

    def __init__(
        self, images: np.ndarray, rows: np.ndarray, kinds: np.ndarray, names: tuple[str, ...], top: int
    ) -> None:
        self.images, self.rows, self.kinds, self.names, self.top = images, rows, kinds, names, top
        self.shape, self.dtype = (len(rows), *images.shape[1:]), images.dtype

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, index: np.ndarray) -> np.ndarray:
        """uint8 [n, C, H, W] of those rows (whole numbers, or one slice)."""
        rows, kinds = self.rows[index], self.kinds[index]
        made = np.asarray(self.images[rows])
        made = made.copy()
        for kind in np.unique(kinds):
            here = kinds == kind
            made[here] = np.rint(CHANGES[self.names[kind]](made[here], self.top)).astype(np.uint8)
        return made

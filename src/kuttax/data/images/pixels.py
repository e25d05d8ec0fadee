"""Pixels: arrays of images and labels, as files have them, checked and scaled to [0, 1]."""

import numpy as np

from ...errors import UserError
from ..dataset import Dataset, check_dataset


def to_dataset(
    images: np.ndarray, labels: np.ndarray, images_name: str, labels_name: str, *, shape: tuple[int, ...], classes: int
) -> Dataset:
    """Images with labels, channels first.

    Args:
        images: Integers in 0 to 255 or floats in [0, 1], (n, height, width) or (n, height, width, channels).
        labels: Integers from 0, (n,).
        images_name, labels_name: Their names in messages.
        shape: The shape of one image, as in `images`.
        classes: The number of classes.

    Returns:
        `x` float32 in [0, 1], shape (n, channels, height, width); `y` int32, shape (n,).

    Raises:
        UserError: A shape, a dtype, a pixel or a label is not as it must be.
    """
    if images.shape[1:] != shape or len(images) == 0:
        expected = ", ".join(map(str, ("n", *shape)))
        raise UserError(f"{images_name} has shape {images.shape}, expected ({expected}), n >= 1")
    if labels.shape != (len(images),):
        raise UserError(f"{labels_name} has shape {labels.shape}, expected ({len(images)},): one label for each image")
    if not np.issubdtype(labels.dtype, np.integer):
        raise UserError(f"{labels_name} has dtype {labels.dtype}, expected integers in 0..{classes - 1}")
    outside = np.flatnonzero((labels < 0) | (labels >= classes))
    if len(outside):
        row = outside[0]
        raise UserError(f"{labels_name} holds label {labels[row]} in row {row}; labels must lie in 0..{classes - 1}")
    scaled = _scale(images, images_name)
    scaled = scaled[:, None] if len(shape) == 2 else np.moveaxis(scaled, 3, 1)
    return check_dataset(images_name, Dataset(np.ascontiguousarray(scaled), labels.astype(np.int32)))


def _scale(images: np.ndarray, name: str) -> np.ndarray:
    """Maps integers from 0..255 to [0, 1]; floats must already be in [0, 1], because their scale is unknown."""
    if np.issubdtype(images.dtype, np.integer):
        top = 255
    elif np.issubdtype(images.dtype, np.floating):
        top = 1
    else:
        raise UserError(f"{name} has dtype {images.dtype}, expected integers in 0..255 or floats in [0, 1]")
    # NaN and infinity pass here; check_dataset refuses them with their row.
    outside = np.isfinite(images) & ((images < 0) | (images > top))
    if outside.any():
        row = int(np.argwhere(outside)[0, 0])
        raise UserError(f"{name} ({images.dtype}) holds {images[outside][0]} in row {row}; it must lie in [0, {top}]")
    return images.astype(np.float32) / np.float32(top)

"""An image as coarse cells: their mean colours, and how much varies inside."""

import numpy as np

from reprogram.detectors.base import Array

FLAT = 2.0
"""Levels of standard deviation below which a cell has one colour."""


def cell_statistics(image: Array, side: int) -> Array:
    """Mean of each channel, and standard deviation of the green one, in each of side × side cells.

    Args:
        image: C × H × W, uint8; grey counts for all three channels.
        side: cells from edge to edge.

    Returns:
        4 × side², float32, in levels of 256.
    """
    if min(image.shape[1:]) < side:  # Each cell needs a pixel of its own.
        image = image.repeat(-(-side // image.shape[1]), axis=1).repeat(-(-side // image.shape[2]), axis=2)
    edges = [(np.arange(side) * size) // side for size in image.shape[1:]]
    counts = [np.diff([*e, size]) for e, size in zip(edges, image.shape[1:], strict=True)]
    pixels = counts[0][:, None] * counts[1]
    green = image[len(image) // 2].astype(np.uint16)

    def means(values: Array) -> Array:
        rows = np.add.reduceat(values, edges[0], axis=-2, dtype=np.uint32)
        mean: Array = np.add.reduceat(rows, edges[1], axis=-1) / pixels
        return mean

    colours = np.broadcast_to(means(image), (3, side, side))
    variance = means(green * green) - colours[1] ** 2
    stacked = np.concatenate((colours, np.sqrt(variance.clip(0))[None]))
    return stacked.reshape(4, side * side).astype(np.float32)


def informative(cells: Array) -> Array:
    """Which cells aren't blank in one of the image's two most frequent blank colours.

    One is that of the bars of a letterbox, or of a page; the other that of a white wall or a sky that is shown there
    and is larger than the bars, which alone would leave bars that never change.

    Args:
        cells: what `cell_statistics` gave.

    Returns:
        side² booleans.
    """
    flat = cells[3] < FLAT
    if not flat.any():
        return np.ones(len(flat), dtype=bool)
    # Colours in steps of 16 levels, as one number.
    colour = (cells[:3] // 16).astype(int)
    codes = colour[0] * 256 + colour[1] * 16 + colour[2]
    values, numbers = np.unique(codes[flat], return_counts=True)
    kept: Array = ~(flat & np.isin(codes, values[np.argsort(-numbers, kind="stable")[:2]]))
    return kept

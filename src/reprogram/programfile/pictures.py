"""Pictures of what is learned, as pixels: the program on its canvas, and the label map as a matrix."""

from typing import Protocol

import numpy as np
import torch
from jaxtyping import Float, UInt8
from torch import Tensor

from reprogram.canvases.base import Canvas
from reprogram.framed import Framed
from reprogram.labelmaps.base import LabelMap
from reprogram.programs.base import Program

WIDTH, ROW = 600, 12
"""Pixels of the label map's picture across, at the least, and of each of its rows down, at the most."""
MOST_ROWS, MOST_COLUMNS = 200, 2**15
"""Task labels that the picture shows, and its columns; of more host labels neighbours share one."""
POSITIVE, NEGATIVE = np.array([42.0, 111.0, 151.0]), np.array([209.0, 73.0, 91.0])
"""The colours of the largest weight and of the smallest one below 0."""


class Drawable(Protocol):
    """What has a canvas and a program, such as a model or an adapter."""

    @property
    def canvas(self) -> Canvas:
        """Where the task image goes."""

    @property
    def program(self) -> Program:
        """What is drawn."""


@torch.no_grad()
def drawn(model: Drawable) -> Float[Tensor, "1 C H W"]:
    """The program on a canvas whose task image is mid-grey; of several views the first.

    Args:
        model: what has the canvas and the program.

    Returns:
        1 × C × H × W pixels in [0, 1].
    """
    frame = model.canvas.frame
    box = model.canvas.geometry.window
    window = torch.full((1, frame.shape[1], box.height, box.width), 0.5, device=frame.device, dtype=frame.dtype)
    pixels: Tensor = model.program(Framed(frame=frame, window=window, box=box)).dense()[:1]
    return pixels


def program_picture(model: Drawable) -> UInt8[np.ndarray, "H W 3"]:
    """The program on a canvas whose task image is mid-grey.

    Args:
        model: what has the canvas and the program.

    Returns:
        H × W × 3 pixels of 8 bits; grey where the host takes one channel.
    """
    pixels = (drawn(model)[0].cpu().float().clamp(0, 1) * 255).round().byte().permute(1, 2, 0).numpy()
    colour: UInt8[np.ndarray, "H W 3"] = pixels if pixels.shape[2] == 3 else pixels[..., :1].repeat(3, axis=2)
    return colour


def weight_matrix(label_map: LabelMap) -> Float[np.ndarray, "rows columns"]:
    """What each host label counts for each task label, as far as it is drawn.

    Args:
        label_map: the map; the first `MOST_ROWS` task labels are shown. Of more than `MOST_COLUMNS` host labels,
            neighbours share a column, which shows the weight that is the farthest from 0.

    Returns:
        A weight for each row and column; where all of a row's host labels count alike, 1 / their number for each.
    """
    num_labels = label_map.num_host_labels
    columns = min(num_labels, MOST_COLUMNS)
    matrix = np.zeros((min(label_map.num_task_labels, MOST_ROWS), columns))
    weights = label_map.weights()
    for row, labels in enumerate(label_map.assignment()[: len(matrix)]):
        counts = np.full(len(labels), 1 / max(len(labels), 1)) if weights is None else np.array(weights[row])
        order = np.abs(counts).argsort(kind="stable")  # What is written last is the largest.
        matrix[row, np.array(labels, dtype=np.int64)[order] * columns // num_labels] = counts[order]
    return matrix


def map_picture(label_map: LabelMap) -> UInt8[np.ndarray, "H W 3"]:
    """The label map as a matrix: a row a task label, a column a host label; blue counts for it, red against it.

    Args:
        label_map: the map, of which `weight_matrix` is drawn.

    Returns:
        H × W × 3 pixels of 8 bits, white where a host label doesn't count.
    """
    matrix = weight_matrix(label_map)
    largest = np.abs(matrix).max() or 1.0
    pixels = np.stack([_coloured(row / largest) for row in matrix])
    column = max(-(-WIDTH // matrix.shape[1]), 1)
    row = max(min(ROW, WIDTH // len(matrix)), 1)
    return pixels.repeat(row, axis=0).repeat(column, axis=1)


def _coloured(weights: Float[np.ndarray, " columns"]) -> UInt8[np.ndarray, "columns 3"]:
    """Weights in [-1, 1] as colours."""
    share = np.abs(weights)[:, None] ** 0.5  # So that small weights are seen too.
    colour = np.where(weights[:, None] < 0, NEGATIVE, POSITIVE)
    pixels: UInt8[np.ndarray, "columns 3"] = np.round(255 * (1 - share) + colour * share).astype(np.uint8)
    return pixels

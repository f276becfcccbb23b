"""Images as a query service receives them: 8 bits a channel, encoded and decoded again."""

import io
from dataclasses import replace
from typing import Literal

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from reprogram.framed import Framed
from reprogram.utils.quantize import nearest_8bit

Encoding = Literal["png", "jpeg"]
"""The format in which images are sent: PNG keeps every pixel, JPEG doesn't."""


def as_sent(pixels: Tensor | Framed, encoding: Encoding, quality: int) -> Tensor | Framed:
    """The pixels that arrive.

    Args:
        pixels: in [0, 1], b × C × H × W or a `Framed` batch; C is 1 or 3 for JPEG.
        encoding: the format.
        quality: of JPEG, 1 to 100.

    Returns:
        Multiples of 1/255. A `Framed` batch stays one where the format keeps every pixel; compressed images have no
        common frame.
    """
    if encoding == "jpeg":
        whole = pixels.dense() if isinstance(pixels, Framed) else pixels
        return torch.stack([_through_jpeg(image, quality) for image in whole]) if len(whole) else whole
    if isinstance(pixels, Framed):
        return replace(pixels, frame=nearest_8bit(pixels.frame), window=nearest_8bit(pixels.window))
    return nearest_8bit(pixels)


def _through_jpeg(image: Tensor, quality: int) -> Tensor:
    """An image, C × H × W in [0, 1], encoded and decoded again; C is 1 or 3."""
    levels = (nearest_8bit(image).clamp(0, 1).cpu().float() * 255).round().to(torch.uint8).permute(1, 2, 0).numpy()
    decoded = np.array(Image.open(io.BytesIO(encoded(levels, "jpeg", quality))))
    decoded = decoded[..., None] if decoded.ndim == 2 else decoded
    return torch.from_numpy(decoded).permute(2, 0, 1).to(image) / 255


def encoded(levels: np.ndarray, encoding: Encoding, quality: int) -> bytes:
    """An image file.

    Args:
        levels: uint8, H × W × C; C is 1 or 3.
        encoding: the format.
        quality: of JPEG, 1 to 100.
    """
    file = io.BytesIO()
    image = Image.fromarray(levels[..., 0] if levels.shape[2] == 1 else levels)
    image.save(file, "JPEG", quality=quality) if encoding == "jpeg" else image.save(file, "PNG")
    return file.getvalue()

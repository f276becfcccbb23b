"""Images as a query service receives them: 8 bits a channel, encoded and decoded again."""

import io
from dataclasses import replace
from typing import Literal

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from reprogram.framed import Framed

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
        return (
            torch.stack([_decoded(encoded(image, encoding, quality), image) for image in whole])
            if len(whole)
            else whole
        )
    if isinstance(pixels, Framed):
        return replace(pixels, frame=_rounded(pixels.frame), window=_rounded(pixels.window))
    return _rounded(pixels)


def encoded(image: Tensor, encoding: Encoding, quality: int) -> bytes:
    """A file of an image.

    Args:
        image: C × H × W in [0, 1]; C is 1 or 3.
        encoding: the format.
        quality: of JPEG, 1 to 100.
    """
    levels = (image.detach().cpu().float().clamp(0, 1) * 255).round().to(torch.uint8).permute(1, 2, 0).numpy()
    file = io.BytesIO()
    picture = Image.fromarray(levels[..., 0] if levels.shape[2] == 1 else levels)
    if encoding == "jpeg":
        picture.save(file, "JPEG", quality=quality)
    else:
        picture.save(file, "PNG", compress_level=1)
    return file.getvalue()


def _decoded(file: bytes, like: Tensor) -> Tensor:
    levels = np.array(Image.open(io.BytesIO(file)))
    levels = levels[..., None] if levels.ndim == 2 else levels
    return torch.from_numpy(levels).permute(2, 0, 1).to(like) / 255


def _rounded(pixels: Tensor) -> Tensor:
    return (pixels.detach() * 255).round() / 255

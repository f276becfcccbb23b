"""Read PyTorch's map-style datasets into memory."""

import operator
from collections.abc import Sized
from typing import Any, cast

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from reprogram.errors import DataError
from reprogram.tasks._split import Split
from reprogram.utils.images import to_8bit


def read_dataset(dataset: "torch.utils.data.Dataset[Any]", where: str) -> Split:
    """Read a map-style dataset of (image, label) into memory.

    Args:
        dataset: of PIL images, uint8 arrays or tensors, and class indices.
        where: the dataset's name, for errors.

    Returns:
        All images and labels, in order.

    Raises:
        DataError: an item doesn't fit, which the message names, or the dataset is empty or has no length.
    """
    if not hasattr(dataset, "__len__"):
        raise DataError(f"{where}: a dataset without a length can't be split and shuffled; give a map-style dataset")
    images: list[Tensor] = []
    labels: list[int] = []
    for index in range(len(cast(Sized, dataset))):
        item = dataset[index]
        if not isinstance(item, tuple | list) or len(item) < 2:
            raise DataError(f"{where} item {index} is no pair of image and label; give a dataset of (image, label)")
        image, label = item[:2]
        pixels = _to_uint8(image, f"{where} item {index}")
        if images and pixels.shape != images[0].shape:
            raise DataError(
                f"{where} item {index} is {tuple(pixels.shape)}, item 0 is {tuple(images[0].shape)}; "
                "make all images equal in size"
            )
        images.append(pixels)
        labels.append(_to_label(label, f"{where} item {index}"))
    if not images:
        raise DataError(f"{where}: the dataset is empty")
    return Split(images=torch.stack(images), labels=torch.tensor(labels))


def _to_label(label: Any, where: str) -> int:
    try:
        return operator.index(label)
    except (TypeError, ValueError, RuntimeError):
        raise DataError(
            f"{where}: the label {str(label)[:40]!r} is no class index; give whole numbers from 0"
        ) from None


def _to_uint8(image: Any, where: str) -> Tensor:
    if isinstance(image, Image.Image):
        try:
            image = to_8bit(image)
        except ValueError as error:
            raise DataError(f"{where}: {error}; convert it to 8 bits") from None
    if isinstance(image, Tensor):
        pixels = image if image.ndim == 3 else image[None]
    else:
        array = np.asarray(image)
        if array.dtype.kind not in "buif" or array.ndim not in (2, 3):
            raise DataError(f"{where}: not an image but {type(image).__name__}; give a PIL image, an array or a tensor")
        pixels = torch.from_numpy(np.array(array if array.ndim == 3 else array[..., None])).permute(2, 0, 1)
    if pixels.ndim != 3 or not pixels.numel():
        raise DataError(f"{where}: an image of shape {tuple(image.shape)}; h x w, or with channels, is expected")
    if pixels.dtype == torch.bool:
        pixels = pixels.to(torch.uint8) * 255
    if pixels.dtype == torch.uint8:
        return pixels.contiguous()
    if not pixels.is_floating_point():
        raise DataError(f"{where}: an image of type {pixels.dtype}; give uint8, or floating point in [0, 1]")
    if not torch.isfinite(pixels).all():
        raise DataError(f"{where}: the image holds values that are not finite; clean the data")
    if pixels.min() < 0 or pixels.max() > 1:
        raise DataError(
            f"{where}: values in [{pixels.min():.3g}, {pixels.max():.3g}]; give uint8, or floating point in [0, 1]"
        )
    return (pixels * 255).round().to(torch.uint8)

"""Read PyTorch's map-style datasets, and those of Hugging Face, into memory."""

from collections.abc import Iterator, Mapping, Sized
from typing import Any, cast

import numpy as np
import torch
from PIL import Image, ImageFile
from torch import Tensor

from reprogram.errors import DataError
from reprogram.tasks._labels import LABEL_KEYS, numbered, to_label
from reprogram.tasks._split import COMMON_SIZE, MOST_CHANNELS, Split
from reprogram.utils.images import DAMAGED, fit, to_8bit
from reprogram.utils.orientation import orientation, turned
from reprogram.utils.text import printable

IMAGE_KEYS = ("image", "img", "pixels", "pixel_values")
TOLERANCE = 1e-6
"""How far floating-point pixels may be outside of [0, 1], as resizing leaves them."""

Dataset = torch.utils.data.Dataset[Any]


class _UnequalSizesError(DataError):
    """Two images differ in size."""


def read_datasets(
    datasets: Mapping[str, Dataset], size: int | None, class_names: Any = None
) -> tuple[dict[str, Split], tuple[str, ...], tuple[str, ...]]:
    """Read map-style datasets of (image, label) into memory.

    Args:
        datasets: PIL images, uint8 arrays or tensors with class indices or names, as pairs or as rows with names; by
            split.
        size: height and width that images are brought to; None takes them as they are, if they are equal.
        class_names: the names of the classes; None for the datasets' own, see `numbered`.

    Returns:
        All images and labels, in order, by split; the names of the classes; and what to say of the images.

    Raises:
        DataError: an item doesn't fit, which the message names, or a dataset is empty or has no length.
    """
    notes: tuple[str, ...] = ()
    try:
        images, labels = _read(datasets, size)
    except _UnequalSizesError as error:
        notes = (f"{error}; all are resized to {COMMON_SIZE}x{COMMON_SIZE}, give size=N for another size",)
        images, labels = _read(datasets, COMMON_SIZE)
    indices, names = numbered(labels, datasets, class_names)
    splits = {where: Split(images=images.pop(where), labels=indices[where]) for where in datasets}
    return splits, names, notes


def _read(datasets: Mapping[str, Dataset], size: int | None) -> tuple[dict[str, Tensor], dict[str, list[int | str]]]:
    """The images, n × c × h × w, and the labels of datasets, by split."""
    images: dict[str, list[Tensor]] = {}
    labels: dict[str, list[int | str]] = {}
    first = None
    for where, dataset in datasets.items():
        images[where], labels[where] = [], []
        for index, (image, label) in enumerate(_items(dataset, where)):
            pixels = _to_uint8(image, f"{where} item {index}")
            pixels = pixels if size is None else _resized(pixels, size, f"{where} item {index}")
            first = first or (f"{where} item {index}", pixels.shape)
            if pixels.shape[1:] != first[1][1:]:
                raise _UnequalSizesError(
                    f"{where} item {index} is {tuple(pixels.shape)}, {first[0]} is {tuple(first[1])}"
                )
            images[where].append(pixels)
            labels[where].append(to_label(label, f"{where} item {index}"))
        if not images[where]:
            raise DataError(f"{where}: the dataset is empty")
    channels = {pixels.shape[0] for listed in images.values() for pixels in listed}
    if len(channels) > 1 and channels != {1, 3}:
        raise DataError(f"images have {' and '.join(map(str, sorted(channels)))} channels; make them equal")
    stacked = {
        where: torch.stack([pixels.expand(max(channels), -1, -1) for pixels in images.pop(where)]) for where in datasets
    }
    return stacked, labels


def _items(dataset: Dataset, where: str) -> Iterator[tuple[Any, Any]]:
    """The images and labels of a dataset as it gives them.

    Raises:
        DataError: it has no length, an item can't be had, or is no image with its label.
    """
    try:
        count = 0 if isinstance(dataset, torch.utils.data.IterableDataset) else len(cast(Sized, dataset))
    except Exception as error:  # It is the user's code.
        known = "" if isinstance(error, TypeError) else f" ({type(error).__name__}: {printable(error)[:120]})"
        raise DataError(
            f"{where}: a dataset without a length{known} can't be split and shuffled; give a map-style dataset"
        ) from None
    if isinstance(dataset, torch.utils.data.IterableDataset):
        raise DataError(f"{where}: a dataset that is only gone through can't be shuffled; give a map-style dataset")
    for index in range(count):
        try:
            item = dataset[index]
        except Exception as error:  # It is the user's code.
            reason = f"{type(error).__name__}: {printable(error)[:120]}"
            raise DataError(f"{where} item {index} can't be had ({reason}); mend the dataset") from error
        yield _pair(item, f"{where} item {index}")


def _pair(item: Any, where: str) -> tuple[Any, Any]:
    if isinstance(item, tuple | list) and len(item) >= 2:
        return item[0], item[1]
    if isinstance(item, Mapping):
        image, label = (next((key for key in keys if key in item), None) for keys in (IMAGE_KEYS, LABEL_KEYS))
        if image is not None and label is not None:
            return item[image], item[label]
        raise DataError(
            f"{where} is a row of {', '.join(map(str, item))}; an image ({', '.join(IMAGE_KEYS)}) and a label "
            f"({', '.join(LABEL_KEYS)}) are expected, rename its columns"
        )
    raise DataError(f"{where} is no pair of image and label; give a dataset of (image, label)")


def _resized(pixels: Tensor, size: int, where: str) -> Tensor:
    """An image resized to cover a square and cut to its centre, as image files are; c × h × w, uint8."""
    if pixels.shape[0] not in (1, 3):
        raise DataError(f"{where}: an image of {pixels.shape[0]} channels can't be resized; make all equal in size")
    array = pixels.permute(1, 2, 0).numpy()
    picture = fit(Image.fromarray(array if array.shape[2] == 3 else array[..., 0]), size, size)
    return torch.from_numpy(np.array(picture).reshape(size, size, -1)).permute(2, 0, 1)


def _to_uint8(image: Any, where: str) -> Tensor:
    pixels = _to_tensor(image, where)
    if pixels.ndim != 3 or not pixels.numel():
        raise DataError(f"{where}: an image of shape {tuple(pixels.shape)}; h x w, or with channels, is expected")
    if pixels.dtype == torch.bool:
        pixels = pixels.to(torch.uint8) * 255
    if pixels.dtype == torch.uint8:
        return pixels.contiguous()
    if not pixels.is_floating_point():
        raise DataError(f"{where}: an image of type {pixels.dtype}; give uint8, or floating point in [0, 1]")
    pixels = pixels.double()
    if not torch.isfinite(pixels).all():
        raise DataError(f"{where}: the image holds values that are not finite; clean the data")
    if pixels.min() < -TOLERANCE or pixels.max() > 1 + TOLERANCE:
        raise DataError(
            f"{where}: values in [{pixels.min():.7g}, {pixels.max():.7g}]; give uint8, or floating point in [0, 1]"
        )
    return (pixels.clamp(0, 1) * 255).round().to(torch.uint8)


def _to_tensor(image: Any, where: str) -> Tensor:
    """An image of any kind as c × h × w, in the type of its values."""
    if isinstance(image, Image.Image):
        if image.mode == "I" and image.format not in ("PNG", "PPM"):  # Those two say that the largest is 65,535.
            raise DataError(f"{where}: integers of 32 bits, of which no range is known; convert it to 8 bits")
        try:
            picture = to_8bit(image)  # A new image: the dataset's own isn't turned.
            image = turned(picture, orientation(image)) if isinstance(image, ImageFile.ImageFile) else picture
        except DAMAGED as error:
            raise DataError(f"{where}: can't be read ({str(error)[:120]}); convert it to 8 bits, grey or RGB") from None
    if isinstance(image, Tensor):
        try:
            tensor = image.detach().to_dense().cpu()
        except (RuntimeError, NotImplementedError) as error:
            reason = printable(str(error).split(".")[0])[:80]
            raise DataError(f"{where}: a tensor that holds no pixels ({reason}); give a dense one") from None
        return _checked(tensor[None] if tensor.ndim == 2 else tensor, -1, "c x h x w", where)
    array = np.asarray(image)
    if array.dtype.kind not in "buif" or array.ndim not in (2, 3):
        raise DataError(f"{where}: not an image but {type(image).__name__}; give a PIL image, an array or a tensor")
    native = np.array(array, dtype=np.float64 if array.dtype.kind == "f" else array.dtype.newbyteorder("="))
    pixels = torch.from_numpy(native if native.ndim == 3 else native[..., None]).permute(2, 0, 1)
    return _checked(pixels, 1, "h x w x c", where)


def _checked(pixels: Tensor, other: int, layout: str, where: str) -> Tensor:
    """An image, c × h × w, whose channels aren't where another axis should be."""
    if pixels.ndim == 3 and pixels.shape[0] > MOST_CHANNELS and pixels.shape[other] in (1, 3, 4):
        kind = "arrays" if layout.startswith("h") else "tensors"
        raise DataError(
            f"{where}: {kind} are {layout}, and this would have {pixels.shape[0]} channels; its channels are on "
            "another axis, move them"
        )
    return pixels

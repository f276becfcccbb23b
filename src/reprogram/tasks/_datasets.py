"""Read PyTorch's map-style datasets, and those of Hugging Face, into memory."""

import operator
from collections.abc import Iterator, Mapping, Sized
from typing import Any, cast

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from reprogram.errors import DataError
from reprogram.tasks._split import MAX_CLASSES, Split
from reprogram.utils.images import DAMAGED, fit, to_8bit

COMMON_SIZE = 112
"""Height and width that images of several sizes are brought to: half the input of most hosts."""
IMAGE_KEYS = ("image", "img", "pixels", "pixel_values")
LABEL_KEYS = ("label", "labels", "fine_label", "target", "class")
TOLERANCE = 1e-6
"""How far floating-point pixels may be outside of [0, 1], as resizing leaves them."""

Dataset = torch.utils.data.Dataset[Any]


class _UnequalSizesError(DataError):
    """Two images differ in size."""


def read_datasets(datasets: Mapping[str, Dataset], size: int | None) -> tuple[dict[str, Split], tuple[str, ...]]:
    """Read map-style datasets of (image, label) into memory.

    Args:
        datasets: PIL images, uint8 arrays or tensors with class indices, as pairs or as rows with names; by split.
        size: height and width that images are brought to; None takes them as they are, if they are equal.

    Returns:
        All images and labels, in order, by split; and what to say of them.

    Raises:
        DataError: an item doesn't fit, which the message names, or a dataset is empty or has no length.
    """
    if size is not None:
        return _read(datasets, size), ()
    try:
        return _read(datasets, None), ()
    except _UnequalSizesError as error:
        note = f"{error}; all are resized to {COMMON_SIZE}x{COMMON_SIZE}, give size=N for another size"
        return _read(datasets, COMMON_SIZE), (note,)


def _read(datasets: Mapping[str, Dataset], size: int | None) -> dict[str, Split]:
    images: dict[str, list[Tensor]] = {}
    labels: dict[str, list[int]] = {}
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
            labels[where].append(_to_label(label, f"{where} item {index}"))
        if not images[where]:
            raise DataError(f"{where}: the dataset is empty")
    channels = {pixels.shape[0] for listed in images.values() for pixels in listed}
    if len(channels) > 1 and channels != {1, 3}:
        raise DataError(f"images have {' and '.join(map(str, sorted(channels)))} channels; make them equal")
    return {
        where: Split(
            images=torch.stack([pixels.expand(max(channels), -1, -1) for pixels in images[where]]),
            labels=torch.tensor(labels[where]),
        )
        for where in datasets
    }


def _items(dataset: Dataset, where: str) -> Iterator[tuple[Any, Any]]:
    """The images and labels of a dataset as it gives them.

    Raises:
        DataError: it has no length, an item can't be had, or is no image with its label.
    """
    try:
        count = len(cast(Sized, dataset))
    except TypeError:
        raise DataError(
            f"{where}: a dataset without a length can't be split and shuffled; give a map-style dataset"
        ) from None
    for index in range(count):
        try:
            item = dataset[index]
        except Exception as error:  # It is the user's code.
            raise DataError(
                f"{where} item {index} can't be had ({type(error).__name__}: {str(error)[:120]}); mend the dataset"
            ) from error
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


def _to_label(label: Any, where: str) -> int:
    if isinstance(label, np.ndarray) and label.size == 1:
        label = label.item()
    try:
        number = operator.index(label)
    except (TypeError, ValueError, RuntimeError):
        raise DataError(
            f"{where}: the label {str(label)[:40]!r} is no class index; give whole numbers from 0"
        ) from None
    if not 0 <= number < MAX_CLASSES:
        raise DataError(
            f"{where} has the label {str(number)[:40]}; labels are class indices from 0, at most {MAX_CLASSES - 1}"
        )
    return number


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
            f"{where}: values in [{pixels.min():.3g}, {pixels.max():.3g}]; give uint8, or floating point in [0, 1]"
        )
    return (pixels.clamp(0, 1) * 255).round().to(torch.uint8)


def _to_tensor(image: Any, where: str) -> Tensor:
    """An image of any kind as c × h × w, in the type of its values."""
    if isinstance(image, Image.Image):
        try:
            image = to_8bit(image)
        except DAMAGED as error:
            raise DataError(f"{where}: can't be read ({str(error)[:120]}); convert it to 8 bits, grey or RGB") from None
    if isinstance(image, Tensor):
        tensor = image.detach().cpu()
        return tensor if tensor.ndim == 3 else tensor[None]
    array = np.asarray(image)
    if array.dtype.kind not in "buif" or array.ndim not in (2, 3):
        raise DataError(f"{where}: not an image but {type(image).__name__}; give a PIL image, an array or a tensor")
    native = np.array(array, dtype=np.float64 if array.dtype.kind == "f" else array.dtype.newbyteorder("="))
    return torch.from_numpy(native if native.ndim == 3 else native[..., None]).permute(2, 0, 1)


def class_names_of(dataset: Any, given: Any, labels: list[Tensor]) -> tuple[str, ...]:
    """The names of the classes, in the order of their indices.

    Args:
        dataset: the training dataset, whose names count where none are given: those in its attribute `classes`, or in
            the features of a Hugging Face dataset; a subset has those of its whole.
        given: a sequence of names, or a mapping between names and indices; None for the dataset's own.
        labels: the class indices of each split; their text is taken where nothing names the classes.

    Raises:
        DataError: the given names are of no such kind.
    """
    if given is not None:
        return _ordered(given, "class_names")
    for _ in range(8):  # A subset of a subset and so on.
        own = getattr(dataset, "classes", None)
        if isinstance(own, list | tuple | Mapping | np.ndarray) and len(own):
            return _ordered(own, "the dataset's attribute classes")
        features = getattr(dataset, "features", None)
        if isinstance(features, Mapping):
            key = next((key for key in LABEL_KEYS if key in features), None)
            names = getattr(features[key], "names", None) if key else None
            if isinstance(names, list | tuple) and names:
                return _ordered(names, "the dataset's features")
        if (dataset := getattr(dataset, "dataset", None)) is None:
            break
    count = 1 + int(max(int(part.max()) for part in labels))
    if count > sum(map(len, labels)):
        raise DataError(
            f"the largest label is {count - 1}, and there are fewer images than classes from 0 to it; "
            "give class indices without gaps, or class_names"
        )
    return tuple(map(str, range(count)))


def _ordered(names: Any, where: str) -> tuple[str, ...]:
    """The names of a sequence or a mapping, in the order of their indices."""
    if isinstance(names, Mapping):
        by_index = names if all(isinstance(key, int | np.integer) for key in names) else _swapped(names, where)
        if sorted(by_index) != list(range(len(by_index))):
            raise DataError(f"{where}: a mapping between names and indices, which must be 0 to {len(names) - 1}")
        names = [by_index[index] for index in range(len(by_index))]
    if isinstance(names, str | bytes | set | frozenset) or not hasattr(names, "__iter__"):
        raise DataError(f"{where}: a {type(names).__name__} can't say which index has which name; give a list of names")
    return tuple(map(str, names))


def _swapped(names: Mapping[Any, Any], where: str) -> dict[int, Any]:
    try:
        swapped = {operator.index(index): name for name, index in names.items()}
    except TypeError:
        raise DataError(
            f"{where}: a mapping between names and whole numbers is expected; give a list of names"
        ) from None
    if len(swapped) != len(names):
        raise DataError(f"{where}: two names have one index; give each its own")
    return swapped

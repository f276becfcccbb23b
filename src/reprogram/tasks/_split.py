"""Splits of images with their labels: how they are made, checked and divided."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Int, UInt8
from numpy.typing import NDArray
from torch import Tensor

from reprogram.errors import ConfigError, DataError
from reprogram.utils.messages import shown

SPLITS = ("train", "validation", "test")
MAX_CLASSES = 2**15
"""The most classes of a task: as many as a program file may name."""
COMMON_SIZE = 112
"""Height and width of images of several sizes where nothing says any: half the input of most hosts."""
MOST_CHANNELS = 4
"""Arrays that would have more channels, and 1, 3 or 4 rows, are taken for images whose channels come first."""


@dataclass(frozen=True, kw_only=True)
class Split:
    """Images and their labels.

    Attributes:
        images: n × c × h × w, uint8.
        labels: n, class indices, int64; whole numbers of another type are turned into it.

    Raises:
        DataError: the labels aren't one whole number for each image.
    """

    images: UInt8[Tensor, "n c h w"]
    labels: Int[Tensor, " n"]

    def __post_init__(self) -> None:
        for name, value in (("images", self.images), ("labels", self.labels)):
            if not isinstance(value, Tensor):
                raise DataError(f"{name} of type {type(value).__name__}; a tensor is expected: torch.as_tensor({name})")
        if self.labels.shape != self.images.shape[:1]:
            shape = tuple(self.labels.shape)
            raise DataError(f"labels of shape {shape} for {len(self.images)} images; each has one class index")
        whole = self.labels.to(torch.int64)
        if self.labels.is_floating_point() and len(wrong := torch.nonzero(whole != self.labels)):
            index = int(wrong[0])
            raise DataError(f"item {index} has the label {self.labels[index]:g}; whole numbers are expected")
        object.__setattr__(self, "labels", whole)

    def __len__(self) -> int:
        return self.labels.shape[0]

    def __repr__(self) -> str:
        size = " × ".join(map(str, self.images.shape[1:]))
        return f"Split: {len(self):,} images of {size}, {len(torch.unique(self.labels))} different labels"

    def take(self, indices: Tensor) -> "Split":
        """Some of the images with their labels.

        Args:
            indices: of the images, in the order of the result.
        """
        return Split(images=self.images[indices], labels=self.labels[indices])

    def sample(self, count: int, *, seed: int) -> "Split":
        """A stratified sample of the images, in their order; the split itself where it has no more.

        Args:
            count: the number of images, at the most; each class has its share of them, see `stratified`.
            seed: decides the choice.

        Raises:
            ConfigError: the number or the seed makes no sense.
        """
        if type(count) is not int or count < 1:
            raise ConfigError(f"{shown(count)} images; a number from 1 is expected")
        check_seed(seed)
        return self.take(stratified(self.labels, count, seed)) if count < len(self) else self

    def to(self, device: torch.device | str) -> "Split":
        """The same images and labels on a device.

        Args:
            device: where they are copied to, if they aren't there.
        """
        return Split(images=self.images.to(device), labels=self.labels.to(device))


def stratified(labels: Int[Tensor, " n"], count: int, seed: int) -> Int[Tensor, " count"]:
    """The indices of a stratified sample: each class has the same share of it as of all labels, rounded.

    The shares are rounded by the largest remainders. The sample depends on labels, count and seed alone.

    Args:
        labels: n class indices.
        count: the number of indices, 0 to n.
        seed: decides which images of a class are chosen, and which of equal remainders is rounded up.

    Returns:
        The indices in ascending order, on the device of the labels.
    """
    generator = np.random.default_rng([seed, 1])
    classes, sizes = np.unique(labels.cpu().numpy(), return_counts=True)
    orders = [generator.permutation(np.flatnonzero(labels.cpu().numpy() == label)) for label in classes]
    # count · n_class / n, its whole part and what remains, as whole numbers
    shares, remainders = np.divmod(count * sizes, len(labels))
    by_remainder = np.lexsort((generator.permutation(len(classes)), -remainders))
    shares[by_remainder[: count - shares.sum()]] += 1
    chosen = np.concatenate([order[:share] for order, share in zip(orders, shares, strict=True)])
    return torch.from_numpy(np.sort(chosen)).to(labels.device)


def check_seed(seed: object) -> None:
    """Refuse what is no seed.

    Args:
        seed: a whole number from 0 on.

    Raises:
        ConfigError: it is another thing.
    """
    if type(seed) is not int or seed < 0:
        raise ConfigError(f"seed={shown(seed)}; a whole number from 0 on is expected")


def check_labels(labels: Tensor, num_classes: int, where: str) -> None:
    """Refuse labels that aren't class indices.

    Args:
        labels: n whole numbers.
        num_classes: the number of classes.
        where: the name of the data, for errors.

    Raises:
        DataError: a label is out of range; the message names the first such item and the number of the others.
    """
    wrong = torch.nonzero((labels < 0) | (labels >= num_classes)).flatten()
    if len(wrong):
        index = int(wrong[0])
        raise DataError(
            f"{where} item {index} has the label {int(labels[index])}, and {len(wrong) - 1} more are out of range; "
            f"labels of {num_classes} classes are 0 to {num_classes - 1}"
        )


def split_off(split: Split, fraction: float, seed: int) -> tuple[Split, Split]:
    """Divide a split in two, stratified by class.

    Each class of two images or more gives the fraction of them, rounded, but at least one image and not all.

    Args:
        split: the split to divide.
        fraction: the part of each class that goes to the second split, in (0, 1).
        seed: decides the choice.

    Returns:
        The remaining images and those split off, each in the order of `split`.
    """
    generator = np.random.default_rng(seed)
    labels = split.labels.numpy()
    mask = np.zeros(len(labels), dtype=bool)
    for label in np.unique(labels):
        indices = np.flatnonzero(labels == label)
        count = min(max(round(len(indices) * fraction), 1), len(indices) - 1)
        mask[generator.permutation(indices)[:count]] = True
    off = torch.from_numpy(mask)
    return split.take(torch.nonzero(~off).flatten()), split.take(torch.nonzero(off).flatten())


def from_arrays(images: NDArray[np.uint8], labels: NDArray[Any]) -> Split:
    """A split from NumPy arrays.

    Args:
        images: n × h × w or n × h × w × c, uint8.
        labels: n whole numbers, of any type.
    """
    if images.ndim == 3:
        images = images[..., None]
    # n x h x w x c to n x c x h x w
    pixels = torch.from_numpy(np.ascontiguousarray(images.transpose(0, 3, 1, 2)))
    numbers = labels.astype(np.int64 if labels.dtype.kind in "iub" else np.float64)
    return Split(images=pixels, labels=torch.from_numpy(numbers))

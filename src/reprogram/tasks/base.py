"""The contract of a task: labelled images in the splits train, validation and test, in memory as uint8."""

import functools
import hashlib
import operator
from collections.abc import Sequence, Sized
from dataclasses import dataclass, replace
from typing import Any, cast

import numpy as np
import torch
from jaxtyping import Int, UInt8
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from reprogram.errors import DataError
from reprogram.images import to_8bit
from reprogram.registry import Component
from reprogram.text import MAX_CLASS_NAME

SPLITS = ("train", "validation", "test")


@dataclass(frozen=True, kw_only=True)
class Split:
    """Images and their labels.

    Attributes:
        images: n × c × h × w, uint8.
        labels: n, class indices, int64.
    """

    images: UInt8[Tensor, "n c h w"]
    labels: Int[Tensor, " n"]

    def __post_init__(self) -> None:
        object.__setattr__(self, "labels", self.labels.to(torch.int64))

    def __len__(self) -> int:
        return self.labels.shape[0]

    def take(self, indices: Tensor) -> "Split":
        """The images at these places, in this order."""
        return Split(images=self.images[indices], labels=self.labels[indices])

    def to(self, device: torch.device | str) -> "Split":
        """The same on a device."""
        return Split(images=self.images.to(device), labels=self.labels.to(device))


@dataclass(frozen=True, kw_only=True)
class Task:
    """A classification task.

    Attributes:
        name: what reports call it; the spec that loads it, where there is one.
        train: what the program learns from.
        validation: what selection and stopping look at; split off the training data.
        test: looked at once, at the end.
        class_names: a name for each label.
        skipped: files that were left out because they can't be read, with the reasons.

    Raises:
        DataError: an empty split, one class only, class names that repeat or are too long, labels out of range, or
            splits of different image shapes.
    """

    name: str
    train: Split
    validation: Split
    test: Split
    class_names: tuple[str, ...]
    skipped: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        self._check_names()
        for name in SPLITS:
            split: Split = getattr(self, name)
            if not len(split):
                raise DataError(f"task {self.name}: the {name} split is empty; add images to it")
            if split.images.dtype != torch.uint8 or split.images.ndim != 4 or len(split.images) != len(split):
                raise DataError(f"task {self.name}: {name} images must be n x c x h x w, uint8, one label each")
            if tuple(split.images.shape[1:]) != self.image_shape:
                raise DataError(
                    f"task {self.name}: {name} images are {tuple(split.images.shape[1:])}, "
                    f"training images {self.image_shape}; make them equal"
                )
            check_labels(split.labels, len(self.class_names), f"task {self.name}: {name}")
        if len(torch.unique(self.train.labels)) < 2:
            raise DataError(f"task {self.name}: the train split holds one class only; a task needs two or more")

    def _check_names(self) -> None:
        if len(self.class_names) < 2:
            raise DataError(f"task {self.name}: {len(self.class_names)} class(es); a task needs two or more")
        seen = set()
        for class_name in self.class_names:
            if class_name.encode(errors="replace").decode() != class_name:
                raise DataError(f"task {self.name}: class name {class_name!r} is no Unicode text; rename it")
            if len(class_name) > MAX_CLASS_NAME:
                raise DataError(
                    f"task {self.name}: class name {class_name[:20]!r}... has {len(class_name)} characters; "
                    f"at most {MAX_CLASS_NAME} are allowed, shorten it"
                )
            if class_name in seen:
                raise DataError(f"task {self.name}: two classes are named {class_name!r}; rename one")
            seen.add(class_name)

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """c, h, w of every image."""
        c, h, w = self.train.images.shape[1:]
        return c, h, w

    @property
    def num_classes(self) -> int:
        """K."""
        return len(self.class_names)

    @functools.cached_property
    def fingerprint(self) -> str:
        """SHA-256 of class names and every split's images and labels."""
        digest = hashlib.sha256(repr((self.class_names, self.image_shape)).encode())
        for name in SPLITS:
            split: Split = getattr(self, name)
            digest.update(f"{name}{len(split)}".encode())
            digest.update(split.images.contiguous().numpy().tobytes())
            digest.update(split.labels.to(torch.int64).contiguous().numpy().tobytes())
        return digest.hexdigest()

    def few(self, shots: int, *, seed: int) -> "Task":
        """The same task with few images to learn from; who has few has no more to choose by.

        Args:
            shots: images a class in the training and in the validation split, in the order they had.
            seed: of the choice.

        Raises:
            DataError: a class has fewer.
        """
        return replace(self, train=self._some("train", shots, seed), validation=self._some("validation", shots, seed))

    def _some(self, name: str, shots: int, seed: int) -> Split:
        split: Split = getattr(self, name)
        generator, chosen = np.random.default_rng([seed, SPLITS.index(name)]), []
        for label, class_name in enumerate(self.class_names):
            places = torch.nonzero(split.labels == label).flatten().numpy()
            if len(places) < shots:
                raise DataError(
                    f"task {self.name}: class {class_name!r} has {len(places)} {name} image(s), {shots} shot(s) are "
                    "asked for; give fewer, or add images"
                )
            chosen.append(generator.permutation(places)[:shots])
        return split.take(torch.from_numpy(np.sort(np.concatenate(chosen))))

    @classmethod
    def from_datasets(
        cls,
        name: str,
        *,
        train: "torch.utils.data.Dataset[Any]",
        test: "torch.utils.data.Dataset[Any]",
        validation: "torch.utils.data.Dataset[Any] | None" = None,
        class_names: Sequence[str] | None = None,
        validation_fraction: float = 0.1,
        seed: int = 0,
    ) -> "Task":
        """Read map-style datasets of (image, label) into memory.

        Args:
            name: of the task.
            train: images as PIL images, uint8 arrays (h × w, h × w × c) or tensors (c × h × w, uint8 or [0, 1]).
            test: likewise.
            validation: likewise; split off `train` when it is None.
            class_names: by default the datasets' `classes`, else the labels as text.
            validation_fraction: of `train`, where it is split off, the same in each class.
            seed: of that split.

        Raises:
            DataError: an image or label that doesn't fit, with its place.
        """
        splits = {"train": read_dataset(train, "train"), "test": read_dataset(test, "test")}
        if validation is not None:
            splits["validation"] = read_dataset(validation, "validation")
        if class_names is None:
            count = int(max(s.labels.max() for s in splits.values())) + 1
            class_names = getattr(train, "classes", None) or [str(i) for i in range(count)]
        for where, split in splits.items():  # Before places change.
            check_labels(split.labels, len(class_names), where)
        if validation is None:
            splits["train"], splits["validation"] = split_off(splits["train"], validation_fraction, seed)
        train_split, validation_split, test_split = (splits[name] for name in SPLITS)
        return cls(
            name=name,
            train=train_split,
            validation=validation_split,
            test=test_split,
            class_names=tuple(map(str, class_names)),
        )


class TaskSource(Component):
    """Where a task comes from. A variant implements `load`.

    Args:
        config: the variant's `Config`. One with a field `data` takes the command line's `--data`.
    """

    def __init__(self, config: Any) -> None:
        self.config = config

    def load(self, *, download: bool = False) -> Task:
        """Load the task.

        Args:
            download: whether data that aren't here may be fetched.

        Raises:
            DataError: they aren't here, or are damaged.
        """
        raise NotImplementedError


def check_labels(labels: Tensor, num_classes: int, where: str) -> None:
    """Refuse labels that aren't class indices.

    Args:
        labels: n.
        num_classes: how many classes there are.
        where: what the message names beside the item.

    Raises:
        DataError: names the first item that is out of range, and how many are.
    """
    wrong = torch.nonzero((labels < 0) | (labels >= num_classes)).flatten()
    if len(wrong):
        place = int(wrong[0])
        raise DataError(
            f"{where} item {place} has the label {int(labels[place])}, and {len(wrong) - 1} more are out of range; "
            f"labels of {num_classes} classes are 0 to {num_classes - 1}"
        )


def split_off(split: Split, fraction: float, seed: int) -> tuple[Split, Split]:
    """Part a split in two, stratified: each class gives the fraction, rounded, and at least one image where it has two.

    Args:
        split: what to part.
        fraction: of each class that goes to the second part, in (0, 1).
        seed: of the choice.

    Returns:
        What stays and what is split off, each in the order of `split`.
    """
    generator = np.random.default_rng(seed)
    labels = split.labels.numpy()
    chosen = np.zeros(len(labels), dtype=bool)
    for label in np.unique(labels):
        places = np.flatnonzero(labels == label)
        count = max(round(len(places) * fraction), 1) if len(places) > 1 else 0
        chosen[generator.permutation(places)[:count]] = True
    off = torch.from_numpy(chosen)
    return split.take(torch.nonzero(~off).flatten()), split.take(torch.nonzero(off).flatten())


def from_arrays(images: NDArray[np.uint8], labels: NDArray[Any]) -> Split:
    """A split from n × h × w or n × h × w × c uint8 images and n labels, which are integers."""
    if images.ndim == 3:
        images = images[..., None]
    pixels = torch.from_numpy(np.ascontiguousarray(images.transpose(0, 3, 1, 2)))
    return Split(images=pixels, labels=torch.from_numpy(labels.astype(np.int64)))


def read_dataset(dataset: "torch.utils.data.Dataset[Any]", where: str) -> Split:
    """Read a map-style dataset of (image, label) into memory.

    Raises:
        DataError: names the item that doesn't fit.
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

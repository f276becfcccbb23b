"""The contract of a task: labelled images in the splits train, validation and test, in memory as uint8."""

import functools
import hashlib
import os
import unicodedata
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from typing import Any

import numpy as np
import torch

from reprogram.errors import ConfigError, DataError
from reprogram.registry import Component
from reprogram.tasks._datasets import read_datasets
from reprogram.tasks._split import MAX_CLASSES, SPLITS, Split, check_labels, check_seed, from_arrays, split_off
from reprogram.types import SampleSize
from reprogram.utils.changes import last_change
from reprogram.utils.files import why_missing
from reprogram.utils.messages import shown
from reprogram.utils.text import MAX_CLASS_NAME, html_table, printable, shortened

__all__ = ["SPLITS", "Split", "Task", "TaskSource", "check_labels", "from_arrays", "split_off"]

MAX_SIZE = 4096
"""The largest height and width, in pixels, that images are resized to."""


@dataclass(frozen=True, kw_only=True)
class Task:
    """A classification task.

    Attributes:
        name: the name in reports: the spec that loads the task, where there is one.
        train: the images that the program is learned from.
        validation: the images that decide selection and stopping; split off the training data.
        test: the images that are used once, at the end.
        class_names: K names, one for each label.
        skipped: files that were left out because they can't be read, with the reasons.
        left_out: how many files and folders were left out unread, by reason.
        notes: what else a reader of its accuracies should know of how it was read.

    Raises:
        DataError: a split is empty or has other image shapes, labels are out of range, there is one class only, or
            class names repeat or are too long.
    """

    name: str
    train: Split
    validation: Split
    test: Split
    class_names: tuple[str, ...]
    skipped: tuple[str, ...] = ()
    left_out: dict[str, int] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        self._check_names()
        for name in SPLITS:
            split: Split = getattr(self, name)
            if not isinstance(split, Split):
                raise DataError(f"task {self.name}: {name} is {type(split).__name__}; give a Split")
            if not len(split):
                raise DataError(f"task {self.name}: the {name} split is empty; add images to it")
            if split.images.dtype != torch.uint8 or split.images.ndim != 4 or len(split.images) != len(split):
                raise DataError(f"task {self.name}: {name} images must be n x c x h x w, uint8, one label each")
            if not split.images.numel():
                shape = " x ".join(map(str, split.images.shape[1:]))
                raise DataError(f"task {self.name}: {name} images of {shape} hold no pixels; give others")
            if tuple(split.images.shape[1:]) != self.image_shape:
                raise DataError(
                    f"task {self.name}: {name} images are {tuple(split.images.shape[1:])}, "
                    f"training images {self.image_shape}; make them equal"
                )
            check_labels(split.labels, len(self.class_names), f"task {self.name}: {name}")
        if len(torch.unique(self.train.labels)) < 2:
            raise DataError(f"task {self.name}: the train split holds one class only; a task needs two or more")

    def _check_names(self) -> None:
        for name in (self.name, *self.class_names):
            if not isinstance(name, str):
                raise DataError(
                    f"task {self.name}: {name!r} is {type(name).__name__}; the task's name and classes are texts"
                )
        if not 2 <= len(self.class_names) <= MAX_CLASSES:
            raise DataError(
                f"task {self.name}: {len(self.class_names)} class(es); a task needs two or more, at most {MAX_CLASSES}"
            )
        seen: set[str] = set()
        for class_name in self.class_names:
            if class_name.encode(errors="replace").decode() != class_name:
                raise DataError(f"task {self.name}: class name {class_name!r} is no Unicode text; rename it")
            if len(class_name) > MAX_CLASS_NAME:
                raise DataError(
                    f"task {self.name}: class name {class_name[:20]!r}... has {len(class_name)} characters; "
                    f"at most {MAX_CLASS_NAME} are allowed, shorten it"
                )
            form = unicodedata.normalize("NFC", class_name)
            if form in seen:
                forms = "" if class_name in self.class_names[: len(seen)] else ", in two forms of Unicode"
                raise DataError(f"task {self.name}: two classes are named {class_name!r}{forms}; rename one")
            seen.add(form)

    def _facts(self) -> dict[str, str]:
        """What people want to know of a task, by what it is."""
        c, h, w = self.image_shape
        facts = {
            "images": ", ".join(f"{len(getattr(self, name)):,} {name}" for name in SPLITS),
            "size": f"{c} × {h} × {w}",
            "classes": f"{self.num_classes}: {shortened(self.class_names)}",
        }
        return facts | ({"left out": f"{len(self.skipped):,} files"} if self.skipped else {})

    def __repr__(self) -> str:
        return f"Task {printable(self.name)}: " + "; ".join(f"{name} {value}" for name, value in self._facts().items())

    def _repr_html_(self) -> str:
        return html_table({"task": self.name, **self._facts()})

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """The shape of every image: c, h, w."""
        c, h, w = self.train.images.shape[1:]
        return c, h, w

    @property
    def num_classes(self) -> int:
        """The number of classes, K."""
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
        """The same task with few images in both splits that learning uses: who has few has no more to select by.

        Args:
            shots: images of each class in the training and in the validation split, which keep their order.
            seed: decides the choice.

        Raises:
            ConfigError: fewer than 1 is asked for, or the seed is negative.
            DataError: a class has fewer images.
        """
        if shots < 1:
            raise ConfigError(f"shots={shots}; at least 1 is expected")
        check_seed(seed)
        return replace(self, train=self._some("train", shots, seed), validation=self._some("validation", shots, seed))

    def with_test_sample(self, size: SampleSize, *, seed: int) -> "Task":
        """The same task with a stratified sample of its test images, for measurements that can't take all of them.

        Args:
            size: the number of test images, or "all".
            seed: decides the choice.

        Raises:
            ConfigError: the number or the seed makes no sense.
        """
        return self if size == "all" else replace(self, test=self.test.sample(size, seed=seed))

    def _some(self, name: str, shots: int, seed: int) -> Split:
        split: Split = getattr(self, name)
        generator, selection = np.random.default_rng([seed, SPLITS.index(name)]), []
        for label, class_name in enumerate(self.class_names):
            indices = torch.nonzero(split.labels == label).flatten().numpy()
            if len(indices) < shots:
                raise DataError(
                    f"task {self.name}: class {class_name!r} has {len(indices)} {name} image(s), {shots} shot(s) are "
                    "asked for; give fewer, or add images"
                )
            selection.append(generator.permutation(indices)[:shots])
        return split.take(torch.from_numpy(np.sort(np.concatenate(selection))))

    @classmethod
    def from_datasets(
        cls,
        name: str,
        *,
        train: "torch.utils.data.Dataset[Any]",
        test: "torch.utils.data.Dataset[Any]",
        validation: "torch.utils.data.Dataset[Any] | None" = None,
        class_names: Sequence[str] | Mapping[str, int] | Mapping[int, str] | None = None,
        size: int | None = None,
        validation_fraction: float = 0.1,
        seed: int = 0,
    ) -> "Task":
        """Read map-style datasets of (image, label), or of rows with an image and a label, into memory.

        Images are PIL images, uint8 arrays (h × w, h × w × c) or tensors (c × h × w), or floating point in [0, 1].
        Grey is repeated where other images have colour, as in folders.

        Args:
            name: the task's, for reports.
            train: images with class indices from 0 on, or with the names of their classes; those of a Hugging Face
                dataset are called image and label, or the like.
            test: images in the same form.
            validation: images in the same form; None splits them off `train`.
            class_names: K names, or a mapping between names and indices; by default the attribute `classes` of `train`
                or the names in its features, which those of the other datasets must agree with, else the labels as
                text.
            size: height and width in pixels; images are resized to cover it and cut to the centre. None takes images
                as they are, and brings those of several sizes to 112, with a note.
            validation_fraction: the part of each class that is split off `train`, in (0, 1).
            seed: decides that split, 0 or more.

        Raises:
            ConfigError: an argument is out of range.
            DataError: an image or label doesn't fit; the message gives its index.
        """
        _check_arguments(name, size, validation_fraction, seed)
        datasets = {"train": train, "test": test, **({} if validation is None else {"validation": validation})}
        splits, classes, notes = read_datasets(datasets, size, class_names)
        for where, split in splits.items():  # Before a split changes the indices that errors name.
            check_labels(split.labels, len(classes), where)
        if validation is None:
            splits["train"], splits["validation"] = split_off(splits["train"], validation_fraction, seed)
        train_split, validation_split, test_split = (splits[where] for where in SPLITS)
        return cls(
            name=name,
            train=train_split,
            validation=validation_split,
            test=test_split,
            class_names=classes,
            notes=notes,
        )


def _check_arguments(name: object, size: object, validation_fraction: object, seed: object) -> None:
    """Refuse arguments of `Task.from_datasets` that are out of range."""
    if not isinstance(name, str):
        raise ConfigError(f"name={name!r}; the task's name is text")
    if size is not None and not (type(size) is int and 1 <= size <= MAX_SIZE):
        raise ConfigError(f"size={shown(size)}; 1 to {MAX_SIZE} pixels are expected, or None")
    if not isinstance(validation_fraction, float) or not 0 < validation_fraction < 1:
        raise ConfigError(f"validation_fraction={shown(validation_fraction)}; a number between 0 and 1 is expected")
    check_seed(seed)


class TaskSource(Component):
    """A source of a task, such as a folder. A variant implements `load`.

    Args:
        config: the variant's `Config`. One with a field `data` takes the command line's `--data`.
    """

    size_of_unequal: Callable[[], tuple[int, int]] | None = None
    """Gives the height and width that images of several sizes are brought to, where the options say none."""
    image_shape: tuple[int, int, int] | None = None
    """The channels, height and width that all images are brought to, where the options say none."""

    def __init__(self, config: Any) -> None:
        self.config = config

    def check(self) -> None:
        """Refuse a configuration that names files or folders that aren't there, before anything is loaded.

        Raises:
            DataError: a file or folder is missing.
        """
        for path in self.needs(self.config):
            if not os.path.lexists(path):
                why = why_missing(path, "file or folder")
                raise DataError(f"{path}: {why}, which task {self.name()} reads; give another path")

    def last_change(self) -> float:
        """When a file or folder that the task reads was last changed, in seconds since the epoch.

        Returns:
            0 for a task that reads none; infinity where one was removed meanwhile.
        """
        return last_change(self.needs(self.config))

    def depends_on_download(self) -> bool:
        """Whether other images are loaded where a download is allowed; by default a download only fetches the same."""
        return False

    def takes_size(self) -> bool:
        """Whether the options may name a size of the images: where they name none, the canvas may decide it."""
        return "size" in {option.name for option in fields(self.config)}

    def load(self, *, download: bool = False) -> Task:
        """Load the task.

        Args:
            download: whether data that aren't here may be fetched.

        Raises:
            DataError: the data aren't here, or are damaged.
        """
        raise NotImplementedError

"""Faults of a task that its accuracy can't show: images in two splits, classes that a split lacks, files left out."""

import hashlib
from dataclasses import dataclass, field
from itertools import combinations
from typing import Any

import torch

from reprogram.tasks._split import SPLITS, Split
from reprogram.tasks.base import Task
from reprogram.utils.text import counted


@dataclass(frozen=True, kw_only=True)
class DataCheck:
    """The faults of a task.

    Attributes:
        skipped: the files that were left out because they can't be read, with the reasons.
        left_out: how many files and folders were left out unread, by reason.
        notes: what else a reader of the accuracy should know of how the task was read.
        overlap: how many images of one split are in another too, pixel for pixel; by "test_in_train" and so on.
        missing_classes: the names of the classes without an image, by split.
    """

    skipped: tuple[str, ...]
    overlap: dict[str, int]
    missing_classes: dict[str, list[str]]
    left_out: dict[str, int] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """The value of a result's field `data`."""
        return {
            "skipped": {"count": len(self.skipped), "files": list(self.skipped)},
            "left_out": self.left_out,
            "notes": list(self.notes),
            "overlap": self.overlap,
            "missing_classes": self.missing_classes,
        }

    def warnings(self) -> list[str]:
        """A line for each fault that a reader of the accuracy should know."""
        lines = list(self.notes)
        if self.left_out:
            lines.append(f"left out of the task: {counted(self.left_out)}")
        if self.skipped:
            lines.append(f"{len(self.skipped)} files can't be read and are left out, such as {self.skipped[0]}")
        for pair, count in self.overlap.items():
            if count:
                inner, _, outer = pair.split("_")
                lines.append(f"{count} {inner} images are among the {outer} images too, pixel for pixel")
        for split, names in self.missing_classes.items():
            if names:
                shown = ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")
                lines.append(f"the {split} split holds no image of class {shown}")
        return lines


def check(task: Task) -> DataCheck:
    """Look for faults that make a task's accuracy misleading.

    Args:
        task: the loaded task.
    """
    digests = {split: _digests(getattr(task, split)) for split in SPLITS}
    distinct = {split: set(values) for split, values in digests.items()}
    overlap = {
        f"{inner}_in_{outer}": sum(digest in distinct[outer] for digest in digests[inner])
        for outer, inner in combinations(SPLITS, 2)
    }
    missing = {}
    for split in SPLITS:
        counts = torch.bincount(getattr(task, split).labels, minlength=task.num_classes)
        missing[split] = [task.class_names[int(label)] for label in torch.nonzero(counts == 0)]
    return DataCheck(
        skipped=task.skipped, left_out=task.left_out, notes=task.notes, overlap=overlap, missing_classes=missing
    )


def _digests(split: Split) -> list[bytes]:
    """A hash of each image's pixels."""
    images = split.images.contiguous().numpy()
    return [hashlib.blake2b(image.data, digest_size=16).digest() for image in images]

"""What a task's numbers can't show by themselves: images in two splits, classes that a split lacks, files left out."""

import hashlib
from dataclasses import dataclass
from itertools import combinations
from typing import Any

import torch

from reprogram.tasks.base import SPLITS, Split, Task


@dataclass(frozen=True, kw_only=True)
class DataCheck:
    """What was found.

    Attributes:
        skipped: files that were left out because they can't be read, with the reasons.
        overlap: "test_in_train" and so on: how many images of the one split are in the other, pixel for pixel.
        missing_classes: for each split, the names of the classes that it holds no image of.
    """

    skipped: tuple[str, ...]
    overlap: dict[str, int]
    missing_classes: dict[str, list[str]]

    def to_json(self) -> dict[str, Any]:
        """The field `data` of a result."""
        return {
            "skipped": {"count": len(self.skipped), "files": list(self.skipped)},
            "overlap": self.overlap,
            "missing_classes": self.missing_classes,
        }

    def warnings(self) -> list[str]:
        """A line for each thing that a reader of the numbers should know."""
        lines = []
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
    """Look for what would make a task's numbers misleading."""
    seen = {split: digests(getattr(task, split)) for split in SPLITS}
    known = {split: set(found) for split, found in seen.items()}
    overlap = {
        f"{inner}_in_{outer}": sum(digest in known[outer] for digest in seen[inner])
        for outer, inner in combinations(SPLITS, 2)
    }
    missing = {}
    for split in SPLITS:
        counts = torch.bincount(getattr(task, split).labels, minlength=task.num_classes)
        missing[split] = [task.class_names[int(label)] for label in torch.nonzero(counts == 0)]
    return DataCheck(skipped=task.skipped, overlap=overlap, missing_classes=missing)


def digests(split: Split) -> list[bytes]:
    """A hash of each image's pixels."""
    images = split.images.contiguous().numpy()
    return [hashlib.blake2b(image.data, digest_size=16).digest() for image in images]

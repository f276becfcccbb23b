"""A folder of images, one subfolder a class: `folder:PATH`, split already (train, validation, test) or to be split."""

from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from reprogram.errors import ConfigError, DataError
from reprogram.tasks._folders import LAYOUTS, FoundImages, find_images
from reprogram.tasks._split import COMMON_SIZE, Split, split_off
from reprogram.tasks.base import MAX_SIZE, Task, TaskSource
from reprogram.utils import images
from reprogram.utils.files import is_folder
from reprogram.utils.text import printable

SHOWN = 3


class Folder(TaskSource):
    """Images in folders, one folder a class.

    PATH/train/CLASS/*.png, PATH/test/CLASS/*.png and, if there is one, PATH/validation/CLASS/*.png; or
    PATH/CLASS/*.png alone, which is split 70/10/20. A validation split that isn't there is split off the training
    images, an eighth of each class. Classes are the sorted names of the subfolders of all splits; one that ends up
    without images is refused. Files are read by the policy of `reprogram.utils.images`; what is left out is counted.
    """

    @dataclass(frozen=True, kw_only=True)
    class Config:
        """Options.

        Attributes:
            path: of the folder.
            size: height and width in pixels; images are resized to cover it and cut to the centre. 0 takes images as
                they are; where they are of several sizes, the canvas decides, or the program file.
            mode: "rgb", "grey", or "auto": grey if every image is grey.
            seed: decides the splits.
            skip_bad: go on without the files that can't be read; results count and name them.
            layout: "splits" for PATH/train/CLASS and so on, "classes" for PATH/CLASS whatever the names are, "auto" for
                what the folder's names say.
        """

        path: str
        size: int = 0
        mode: str = "auto"
        seed: int = 0
        skip_bad: bool = False
        layout: str = "auto"

        def __post_init__(self) -> None:
            if not self.path:
                raise ConfigError("no path; give folder:PATH")
            if self.mode not in ("auto", "rgb", "grey"):
                raise ConfigError(f"mode={self.mode!r}; auto, rgb or grey is expected")
            if self.layout not in LAYOUTS:
                raise ConfigError(f"layout={self.layout!r}; {', '.join(LAYOUTS)} is expected")
            if not 0 <= self.size <= MAX_SIZE:
                raise ConfigError(f"size={self.size}; 0 (as they are) to {MAX_SIZE} pixels is expected")

    @classmethod
    def example(cls) -> Config:
        """A folder that tests write first."""
        return cls.Config(path="example", size=8)

    @classmethod
    def needs(cls, config: Config) -> list[Path]:
        """The folder of the images."""
        return [Path(config.path)]

    def load(self, *, download: bool = False) -> Task:
        """Read every image."""
        root = Path(self.config.path)
        if not is_folder(root):
            raise DataError(f"{root}: no such folder; give folder:PATH with one subfolder a class")
        found = find_images(root, self.config.layout)
        num_files = sum(map(len, found.files.values()))
        decoded, bad, notes = self._read([path for listed in found.files.values() for path, _ in listed])
        if bad and (not self.config.skip_bad or not len(decoded)):
            raise _unreadable(root, bad, num_files)
        _refuse_emptied_classes(found, bad)
        splits, start = {}, 0
        for split, listed in found.files.items():
            labels = torch.tensor([label for path, label in listed if path not in bad], dtype=torch.int64)
            splits[split] = Split(images=decoded[start : start + len(labels)], labels=labels)
            start += len(labels)
        if "all" in splits:
            splits["train"], splits["test"] = split_off(splits.pop("all"), 0.2, self.config.seed)
        if "validation" not in splits:
            splits["train"], splits["validation"] = split_off(splits["train"], 0.125, self.config.seed)
        skipped = tuple(printable(reason.removeprefix(f"{root}/")) for reason in bad.values())
        left_out = {printable(reason): count for reason, count in sorted(found.left_out.items())}
        return Task(
            name=f"folder:{root.name}",
            class_names=found.class_names,
            skipped=skipped,
            left_out=left_out,
            notes=(*found.notes, *notes),
            **splits,
        )

    def _read(self, paths: list[Path]) -> tuple[Tensor, dict[Path, str], list[str]]:
        """The images of all readable files, n × c × h × w, the reason for each other file, and what to say of them."""
        channels, *size = self.image_shape or (None,)
        channels = {"grey": 1, "rgb": 3}.get(self.config.mode, channels)
        if self.config.size or size:
            height, width = [self.config.size] * 2 if self.config.size else size
            return *self._decoded(paths, (height, width), channels), []
        try:
            return *self._decoded(paths, None, channels), []
        except _UnequalSizesError as error:
            height, width = self.size_of_unequal() if self.size_of_unequal else (COMMON_SIZE, COMMON_SIZE)
            first, second = error.sizes
            note = (
                f"the images are of several sizes, such as {first} and {second}; they are resized to {width}x{height}"
            )
            more = [f"{note}, give folder:PATH?size=N for another size"]
            return *self._decoded(paths, (height, width), channels), more

    def _decoded(
        self, paths: list[Path], size: tuple[int, int] | None, channels: int | None
    ) -> tuple[Tensor, dict[Path, str]]:
        """The images of all readable files in one size, n × c × h × w, and the reason for each other file.

        Raises:
            _UnequalSizesError: no size is given, and the images are of several.
        """
        pictures: list[Tensor] = []
        first, bad = None, {}
        for path in paths:
            try:
                picture = images.read(path)
            except DataError as error:
                bad[path] = str(error)
                continue
            picture = images.fit(picture, *size) if size else picture
            first = first or (path, picture.size)
            if picture.size != first[1]:
                raise _UnequalSizesError(path, picture.size, *first)
            pictures.append(images.to_tensor(picture, channels or (1 if picture.mode == "L" else 3)))
        if not pictures:
            return torch.empty(0, 1, 1, 1, dtype=torch.uint8), bad
        # n x c x h x w; grey is repeated where other images have 3 channels
        num_channels = max(pixels.shape[0] for pixels in pictures)
        decoded = torch.empty(len(pictures), num_channels, *pictures[0].shape[1:], dtype=torch.uint8)
        for index in reversed(range(len(pictures))):  # Each image is freed as soon as it is copied.
            decoded[index] = pictures.pop()
        return decoded, bad


class _UnequalSizesError(DataError):
    """Two images of one task differ in size."""

    def __init__(self, path: Path, size: tuple[int, int], first: Path, first_size: tuple[int, int]) -> None:
        self.sizes = tuple(f"{width}x{height}" for width, height in (first_size, size))
        super().__init__(
            f"{path}: {self.sizes[1]} pixels, {first} has {self.sizes[0]}; make them equal, or give folder:PATH?size=N"
        )


def _unreadable(root: Path, bad: dict[Path, str], num_files: int) -> DataError:
    reasons = tuple(bad.values())
    shown = ", ".join(reasons[:SHOWN]) + (f" and {len(reasons) - SHOWN} more" if len(reasons) > SHOWN else "")
    return DataError(
        f"{root}: {len(reasons):,} of {num_files:,} images can't be read ({shown}); mend them, see them all with "
        "--json, or go on without them with --skip-bad",
        details=tuple(map(printable, reasons)),
    )


def _refuse_emptied_classes(found: FoundImages, bad: dict[Path, str]) -> None:
    """Refuse to go on where a class of a split has images, and none of them can be read."""
    for split, listed in found.files.items():
        readable = {label for path, label in listed if path not in bad}
        for path, label in listed:
            if label not in readable:
                where = found.class_names[label] if split == "all" else f"{split}/{found.class_names[label]}"
                raise DataError(
                    f"{where}: no image of this class can be read, such as {bad[path]}; mend them, or remove the folder"
                )

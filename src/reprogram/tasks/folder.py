"""A folder of images, one subfolder a class: `folder:PATH`, split already (train, validation, test) or to be split."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from reprogram.errors import ConfigError, DataError
from reprogram.tasks._split import SPLITS, Split, split_off
from reprogram.tasks.base import Task, TaskSource
from reprogram.utils import images
from reprogram.utils.files import is_folder
from reprogram.utils.text import printable

SPLIT_NAMES = {
    "train": ("train", "training"),
    "validation": ("validation", "val", "valid"),
    "test": ("test", "testing"),
}

SHOWN = 3


class Folder(TaskSource):
    """Images in folders, one folder a class.

    PATH/train/CLASS/*.png, PATH/test/CLASS/*.png and, if there is one, PATH/validation/CLASS/*.png; or
    PATH/CLASS/*.png alone, which is split 70/10/20. A validation split that isn't there is split off the training
    images, an eighth of each class. Classes are the sorted names of the subfolders of all splits. Files are read by
    the policy of `reprogram.utils.images`.
    """

    @dataclass(frozen=True, kw_only=True)
    class Config:
        """Options.

        Attributes:
            path: of the folder.
            size: height and width in pixels; images are resized to cover it and cut to the centre. 0 takes images as
                they are, which then must be equal in size.
            mode: "rgb", "grey", or "auto": grey if every image is grey.
            seed: decides the splits.
            skip_bad: go on without the files that can't be read; results count and name them.
        """

        path: str
        size: int = 0
        mode: str = "auto"
        seed: int = 0
        skip_bad: bool = False

        def __post_init__(self) -> None:
            if self.mode not in ("auto", "rgb", "grey"):
                raise ConfigError(f"mode={self.mode!r}; auto, rgb or grey is expected")
            if not 0 <= self.size <= 4096:
                raise ConfigError(f"size={self.size}; 0 (as they are) to 4096 pixels is expected")

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
        by_split = {split: folder for split in SPLITS if (folder := _first_folder(root, SPLIT_NAMES[split]))}
        if by_split and not {"train", "test"} <= set(by_split):
            raise DataError(
                f"{root}: holds a folder for {' and '.join(by_split)} alone; both train and test are needed, "
                f"or the classes in {root} itself"
            )
        folders = by_split if "train" in by_split else {"all": root}
        listing = {split: _images_by_class(folder) for split, folder in folders.items()}
        names = sorted({name for classes in listing.values() for name in classes})
        if len(names) < 2:
            raise DataError(f"{root}: {len(names)} class folder(s); one subfolder a class is expected, two or more")
        files = {
            split: [(path, label) for label, name in enumerate(names) for path in classes.get(name, ())]
            for split, classes in listing.items()
        }
        for split, listed in files.items():
            if not listed:
                raise DataError(f"{folders[split]}: no images; known endings are {', '.join(images.SUFFIXES)}")
        decoded, bad = self._read([path for listed in files.values() for path, _ in listed])
        if bad and (not self.config.skip_bad or not len(decoded)):
            raise _unreadable(root, bad, len(decoded) + len(bad))
        splits, start = {}, 0
        for split, listed in files.items():
            labels = torch.tensor([label for path, label in listed if path not in bad], dtype=torch.int64)
            splits[split] = Split(images=decoded[start : start + len(labels)], labels=labels)
            start += len(labels)
        if "all" in splits:
            splits["train"], splits["test"] = split_off(splits.pop("all"), 0.2, self.config.seed)
        if "validation" not in splits:
            splits["train"], splits["validation"] = split_off(splits["train"], 0.125, self.config.seed)
        skipped = tuple(printable(reason.removeprefix(f"{root}/")) for reason in bad.values())
        return Task(name=f"folder:{root.name}", class_names=tuple(names), skipped=skipped, **splits)

    def _read(self, paths: list[Path]) -> tuple[Tensor, dict[Path, str]]:
        """The images of all readable files, n × c × h × w, and the reason for each file that can't be read."""
        size, channels = self.config.size, {"grey": 1, "rgb": 3}.get(self.config.mode)
        pictures: list[Tensor] = []
        first, bad = None, {}
        for path in paths:
            try:
                picture = images.read(path)
            except DataError as error:
                bad[path] = str(error)
                continue
            picture = images.fit(picture, size, size) if size else picture
            first = first or (path, picture.size)
            if picture.size != first[1]:
                raise DataError(
                    f"{path}: {picture.width}x{picture.height} pixels, {first[0]} has {first[1][0]}x{first[1][1]}; "
                    "make them equal, or give folder:PATH?size=N"
                )
            pictures.append(images.to_tensor(picture, channels or (1 if picture.mode == "L" else 3)))
        if not pictures:
            return torch.empty(0, 1, 1, 1, dtype=torch.uint8), bad
        # n x c x h x w; grey is repeated where other images have 3 channels
        num_channels = max(pixels.shape[0] for pixels in pictures)
        decoded = torch.empty(len(pictures), num_channels, *pictures[0].shape[1:], dtype=torch.uint8)
        for index in reversed(range(len(pictures))):  # Each image is freed as soon as it is copied.
            decoded[index] = pictures.pop()
        return decoded, bad


def _unreadable(root: Path, bad: dict[Path, str], num_files: int) -> DataError:
    reasons = tuple(bad.values())
    shown = ", ".join(reasons[:SHOWN]) + (f" and {len(reasons) - SHOWN} more" if len(reasons) > SHOWN else "")
    return DataError(
        f"{root}: {len(reasons):,} of {num_files:,} images can't be read ({shown}); mend them, see them all with "
        "--json, or go on without them with --skip-bad",
        details=tuple(map(printable, reasons)),
    )


def _first_folder(root: Path, names: Iterable[str]) -> Path | None:
    folders = {p.name.lower(): p for p in sorted(root.iterdir()) if p.is_dir()}
    return next((folders[name] for name in names if name in folders), None)


def _images_by_class(folder: Path) -> dict[str, list[Path]]:
    """The images below each subfolder; a subfolder without images is no class."""
    folders = sorted(p for p in folder.iterdir() if p.is_dir() and not p.name.startswith((".", "__")))
    listed = {p.name: images.list_images(p) for p in folders}
    return {name: paths for name, paths in listed.items() if paths}

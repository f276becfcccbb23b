"""Find the images of a folder by split and class, and count what is left out."""

from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

from reprogram.errors import DataError
from reprogram.utils import image_files
from reprogram.utils.text import counted

LAYOUTS = ("auto", "splits", "classes")
SPLIT_NAMES = {
    "train": ("train", "training"),
    "validation": ("validation", "val", "valid"),
    "test": ("test", "testing"),
}
_SPLIT_OF = {name: split for split, names in SPLIT_NAMES.items() for name in names}


@dataclass(frozen=True, kw_only=True)
class FoundImages:
    """The images of a folder.

    Attributes:
        class_names: the classes of all splits, sorted.
        files: the paths with their labels, by split; one split "all" where the folder isn't split yet.
        left_out: how many files and folders aren't taken, by reason.
        notes: how the folder was understood, where that isn't plain.
    """

    class_names: tuple[str, ...]
    files: dict[str, list[tuple[Path, int]]]
    left_out: Counter[str] = field(default_factory=Counter)
    notes: tuple[str, ...] = ()


def find_images(root: Path, layout: str = "auto") -> FoundImages:
    """List the images of a folder, one subfolder a class, in folders of splits or not split yet.

    Args:
        root: the folder.
        layout: one of `LAYOUTS`.

    Raises:
        DataError: the folder can't be listed, or holds no task.
    """
    left_out: Counter[str] = Counter()
    folders = _subfolders(root, left_out)
    by_split, notes = _splits(root, folders, layout)
    if by_split:
        left_out["folders beside those of the splits"] += len(folders) - len(by_split)
        listing = {
            split: _by_class(_subfolders(folder, left_out), left_out) for split, folder in sorted(by_split.items())
        }
    else:
        listing = {"all": _by_class(folders, left_out)}
        if layout == "auto":
            _refuse_splits_within(root, listing["all"])
    names = sorted({name for classes in listing.values() for name in classes})
    for name in names:
        if not any(classes.get(name) for classes in listing.values()):
            raise DataError(f"{root}: the class {name!r} holds no image; add images to it, or remove its folder")
    if len(names) < 2:
        beside = f" (left out: {counted(+left_out)})" if +left_out else ""
        raise DataError(f"{root}: {len(names)} class folder(s){beside}; one subfolder a class is expected, two or more")
    files = {
        split: [(path, label) for label, name in enumerate(names) for path in classes.get(name, ())]
        for split, classes in listing.items()
    }
    for split, listed in files.items():
        if not listed:
            raise DataError(f"{by_split[split]}: no images; known endings are {', '.join(image_files.SUFFIXES)}")
    notes = (*notes, *_alike(names))
    return FoundImages(class_names=tuple(names), files=files, left_out=+left_out, notes=notes)


def _alike(names: list[str]) -> list[str]:
    """What to say of classes whose names differ in nothing but capitals and blanks, which may be one class."""
    by_form: dict[str, list[str]] = {}
    for name in names:
        by_form.setdefault("".join(name.casefold().split()), []).append(name)
    return [
        f"the classes {' and '.join(map(repr, alike))} differ in capitals or blanks alone, and are taken for different "
        "classes"
        for alike in by_form.values()
        if len(alike) > 1
    ]


def _splits(root: Path, folders: list[Path], layout: str) -> tuple[dict[str, Path], tuple[str, ...]]:
    """The folder of each split, none where the folders are classes; and what to say of that.

    A folder that is named after a split is one if it holds folders. One that holds images itself is a class, if there
    are other classes beside it.
    """
    named = [folder for folder in folders if folder.name.lower() in _SPLIT_OF] if layout != "classes" else []
    nested = [folder for folder in named if _subfolders(folder) or not image_files.list_images(folder)]
    flat = [folder for folder in named if folder not in nested]
    if not nested and len(flat) < len(folders) and layout == "auto":
        shown = ", ".join(folder.name for folder in flat)
        return {}, (f"{shown}: holds images itself, so it is taken for a class and not for a split",) if flat else ()
    if flat:
        raise DataError(
            f"{flat[0]}: holds images itself, and no class folders; give it one subfolder a class, or take it for a "
            "class with folder:PATH?layout=classes"
        )
    by_name = {folder.name.lower(): folder for folder in nested}
    by_split = {}
    for split, names in SPLIT_NAMES.items():
        if given := [by_name[name] for name in names if name in by_name]:
            by_split[split] = given[0]
    if (by_split or layout == "splits") and not {"train", "test"} <= set(by_split):
        raise DataError(
            f"{root}: holds a folder for {' and '.join(sorted(by_split)) or 'no split'} alone; both train and test are "
            "needed. If its folders are classes, whatever their names, give folder:PATH?layout=classes"
        )
    return by_split, ()


def _refuse_splits_within(root: Path, classes: dict[str, list[Path]]) -> None:
    """Refuse classes that are split themselves, whose test images would be learned from."""
    depth = len(root.parts) + 1
    for name, paths in classes.items():
        if {"train", "test"} <= {_SPLIT_OF.get(path.parts[depth].lower()) for path in paths}:
            raise DataError(
                f"{root}: the class {name!r} holds a train and a test folder, whose images would be mixed; lay them "
                "out as PATH/train/CLASS and PATH/test/CLASS, or take all for one set with folder:PATH?layout=classes"
            )


def _subfolders(folder: Path, left_out: Counter[str] | None = None) -> list[Path]:
    """The folders in a folder that may be classes, sorted."""
    found = []
    left_out = Counter() if left_out is None else left_out
    try:
        for path in sorted(folder.iterdir()):
            if image_files.is_clutter(path.name):
                continue
            if path.is_dir() and path.name.startswith((".", "__")):
                left_out["folders whose names begin with . or __"] += 1
            elif path.is_dir():
                found.append(path)
            elif path.name.lower().endswith((*image_files.SUFFIXES, *image_files.UNREAD_SUFFIXES)):
                left_out["images outside of class folders"] += 1
            elif path.is_symlink() and not path.exists():
                left_out["links to nowhere"] += 1
    except OSError as error:
        raise image_files.cant_be_listed(error) from None
    return found


def _by_class(folders: list[Path], left_out: Counter[str]) -> dict[str, list[Path]]:
    """The images below each class's folder.

    Raises:
        DataError: a folder holds files, and none of them is taken.
    """
    classes = {}
    for folder in folders:
        not_taken: Counter[str] = Counter()
        classes[folder.name] = image_files.list_images(folder, not_taken)
        if not_taken and not classes[folder.name]:
            raise DataError(
                f"{folder}: a class of which no image is read ({counted(not_taken)}); convert them to PNG, or remove "
                "the folder"
            )
        left_out.update(not_taken)
    return classes

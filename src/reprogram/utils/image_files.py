"""Find the image files in folders, and count what is left out."""

import glob
import os
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from reprogram.errors import DataError
from reprogram.utils.files import is_folder, user_path

SUFFIXES = (
    ".png", ".apng", ".jpg", ".jpeg", ".jpe", ".jfif", ".bmp", ".gif", ".tif", ".tiff", ".webp",
    ".ppm", ".pgm", ".pbm", ".pnm",
)  # fmt: skip
UNREAD_SUFFIXES = (
    ".heic", ".heif", ".avif", ".jxl", ".jp2", ".j2k", ".tga", ".psd", ".dds", ".ico", ".svg", ".pam", ".pfm", ".exr",
    ".hdr", ".dng", ".cr2", ".nef", ".arw",
)  # fmt: skip
"""Endings of images that aren't read."""
_CLUTTER = {
    ".ds_store", "thumbs.db", "ehthumbs.db", "desktop.ini", "icon\r", "__macosx", "@eadir", "#recycle", "$recycle.bin",
    "system volume information", "lost+found", "__pycache__", ".git", ".gitignore", ".gitkeep", ".gitattributes",
}  # fmt: skip
MAX_PATH_SHOWN = 300


def is_clutter(name: str) -> bool:
    """Whether operating systems, storage servers and Git leave such a file or folder beside images.

    Args:
        name: of the file or folder, in any case.
    """
    return name.lower() in _CLUTTER


def cant_be_listed(error: OSError) -> DataError:
    """What to say of a folder that can't be listed.

    Args:
        error: the system's; the path that it names may be thousands of characters long.
    """
    path = str(error.filename)
    shown = path if len(path) <= MAX_PATH_SHOWN else f"{path[:MAX_PATH_SHOWN]}..."
    advice = "change its permissions" if isinstance(error, PermissionError) else "mend, move or remove it"
    return DataError(f"{shown}: can't be listed ({error.strerror}); {advice}")


def list_images(folder: Path, left_out: Counter[str] | None = None) -> list[Path]:
    """The image files below a folder, sorted.

    Args:
        folder: it is searched with its subfolders, but for hidden ones and links to folders.
        left_out: counts, by reason, what is left out; what systems leave in every folder isn't counted.

    Returns:
        The paths of the files whose endings are in `SUFFIXES`, links to nowhere among them; hidden files are left out.

    Raises:
        DataError: a folder can't be listed.
    """
    return list(walk_images(folder, left_out))


def walk_images(folder: Path, left_out: Counter[str] | None = None) -> Iterator[Path]:
    """The paths of `list_images`, one after the other: the names of one folder and of those above it are kept.

    Args:
        folder: as there.
        left_out: as there.

    Yields:
        The paths, in the order of their parts.

    Raises:
        DataError: a folder can't be listed.
    """
    left_out = Counter() if left_out is None else left_out
    above = [(str(folder), iter(_entries(str(folder), left_out)))]
    while above:
        path, names = above[-1]
        name, is_subfolder = next(names, ("", False))
        if not name:
            above.pop()
        elif is_subfolder:
            subfolder = os.path.join(path, name)  # noqa: PTH118
            above.append((subfolder, iter(_entries(subfolder, left_out))))
        else:
            yield Path(path, name)


def _entries(folder: str, left_out: Counter[str]) -> list[tuple[str, bool]]:
    """The images and the subfolders of a folder, sorted: the name of each, and whether it is a subfolder."""
    taken = []
    try:
        with os.scandir(folder) as entries:
            for entry in entries:
                if is_clutter(entry.name):
                    continue
                if entry.name.startswith("."):
                    left_out["hidden files and folders"] += 1
                elif entry.is_dir(follow_symlinks=False):
                    taken.append((entry.name, True))
                elif is_folder(entry.path):
                    left_out["links to folders"] += 1
                elif entry.name.lower().endswith(SUFFIXES):
                    taken.append((entry.name, False))
                else:
                    ending = Path(entry.name).suffix.lower()
                    left_out[f"files ending in {ending}" if ending else "files without an ending"] += 1
    except (FileNotFoundError, NotADirectoryError) as error:
        raise DataError(f"{error.filename}: no such folder; give a folder of images") from None
    except OSError as error:
        raise cant_be_listed(error) from None
    return sorted(taken)


def expand(name: str | Path, left_out: Counter[str] | None = None) -> Iterator[Path]:
    """The image files that a name stands for, as a shell and `walk_images` find them.

    Args:
        name: a file, a folder, or a pattern such as `photos/**/*.jpg`, where no file has that name.
        left_out: counts, by reason, what is left out of folders.

    Yields:
        The paths, sorted; files that aren't there among them, so that reading says what is wrong.

    Raises:
        DataError: a folder holds no images or can't be listed, or nothing matches a pattern.
    """
    path = user_path(name, "IMAGES")
    matches = [path]
    if glob.has_magic(str(path)) and not os.path.lexists(path):
        matches = [Path(match) for match in sorted(glob.glob(str(path), recursive=True))]  # noqa: PTH207
        if not matches:
            raise DataError(f"{name}: no file has this name or matches this pattern; give image files")
    for match in matches:
        if not is_folder(match):
            yield match
            continue
        found = False
        for found_path in walk_images(match, left_out):
            found = True
            yield found_path
        if not found and match is path:
            raise DataError(f"{name}: the folder holds no images; give image files")

"""Find the image files in folders, and count what is left out."""

import os
from collections import Counter
from pathlib import Path

from reprogram.errors import DataError
from reprogram.utils.files import is_folder

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
    paths, folders, left_out = [], [str(folder)], Counter() if left_out is None else left_out
    try:
        while folders:
            with os.scandir(folders.pop()) as entries:
                for entry in entries:
                    if is_clutter(entry.name):
                        continue
                    if entry.name.startswith("."):
                        left_out["hidden files and folders"] += 1
                    elif entry.is_dir(follow_symlinks=False):
                        folders.append(entry.path)
                    elif is_folder(entry.path):
                        left_out["links to folders"] += 1
                    elif entry.name.lower().endswith(SUFFIXES):
                        paths.append(entry.path)
                    else:
                        ending = Path(entry.name).suffix.lower()
                        left_out[f"files ending in {ending}" if ending else "files without an ending"] += 1
    except (FileNotFoundError, NotADirectoryError) as error:
        raise DataError(f"{error.filename}: no such folder; give a folder of images") from None
    except OSError as error:
        raise cant_be_listed(error) from None
    return sorted(map(Path, paths))

"""Writing the folder that a program is shared as: nothing that isn't a program's own folder is written over."""

import os
from pathlib import Path

from reprogram.errors import ConfigError, ReprogramError
from reprogram.programfile.card import TAGS
from reprogram.programfile.hub import FILE
from reprogram.utils.files import read_ordinary, write_atomic

OF_A_RUN = ("config.toml", "result.json", "lock", "checkpoint.safetensors")
"""Files by which a folder is known as a run's."""


def write_folder(folder: Path, files: dict[str, bytes]) -> Path:
    """Write the files of a folder; others that are there stay.

    Args:
        folder: the folder, which is made where it is missing.
        files: as `folder_of` returns them.

    Returns:
        The folder.

    Raises:
        ConfigError: the folder is a run's, or holds files that aren't of a program that was shared from it before.
        WriteError: a file can't be written.
    """
    card, is_card = folder / "README.md", f"library_name: {TAGS[0]}\n" in _text_of(folder / "README.md")
    for name, raw in files.items():
        if _holds(folder / name, raw):
            continue
        if name == FILE and any((folder / other).exists() for other in OF_A_RUN):
            raise ConfigError(f"{folder}: is the folder of a run, whose program this isn't; choose another --out")
        if not is_card:
            what = "card of a program" if name == card.name else "file that was shared from here before"
            raise ConfigError(f"{folder / name}: is no {what}, and stays as it is; choose another --out")
    write_atomic(card, files[card.name])  # First, by which a folder that isn't finished is known again.
    for name, raw in files.items():
        write_atomic(folder / name, raw)
    return folder


def _holds(path: Path, raw: bytes) -> bool:
    """Whether a file isn't there, or holds these bytes already."""
    if not os.path.lexists(path):
        return True
    try:
        return read_ordinary(path, len(raw) + 1) == raw
    except (OSError, ReprogramError):
        return False


def _text_of(path: Path) -> str:
    try:
        return read_ordinary(path).decode(errors="replace")
    except OSError:
        return ""

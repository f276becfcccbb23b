"""The file's name is the variant's name: which variants lie in a folder, and which class a file holds."""

from importlib.resources.abc import Traversable
from types import ModuleType
from typing import TypeVar

File = TypeVar("File", bound=Traversable)
T = TypeVar("T")


def name_of(stem: str) -> str:
    """The variant's name of a file: `low_rank` is `low-rank`.

    Args:
        stem: the file's name without its ending.
    """
    return stem.replace("_", "-")


def files_by_name(folder: File, ending: str = ".py") -> dict[str, File]:
    """The files of a folder's variants, by the variants' names.

    Args:
        folder: its helpers begin with an underscore; `base` holds the contract.
        ending: of the variants' files.
    """
    files = {file.name.removesuffix(ending): file for file in folder.iterdir() if file.name.endswith(ending)}
    return {name_of(stem): file for stem, file in files.items() if stem[0] != "_" and stem != "base"}  # type: ignore[misc]


def classes_in(module: ModuleType, base: type[T]) -> list[type[T]]:
    """The classes of a family that a module defines itself; a variant's file has one.

    Args:
        module: that was imported.
        base: the class that the family's variants derive from.
    """
    return [
        value
        for value in vars(module).values()
        if isinstance(value, type) and issubclass(value, base) and value.__module__ == module.__name__
    ]

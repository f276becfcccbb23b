"""The file's name is the variant's name: which variants lie in a folder, and which class a file holds."""

import ast
import dataclasses
import importlib
import inspect
from importlib.metadata import EntryPoint
from importlib.resources.abc import Traversable
from pathlib import Path
from types import ModuleType
from typing import Any, TypeVar

from reprogram.errors import ConfigError

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


def the_class_in(name: str, file: Path, base: type[Any]) -> type[Any]:
    """The one class of a family in a variant's file, which is imported.

    Args:
        name: the module's name, with dots.
        file: the module's file, for messages.
        base: the class that the family's variants derive from.

    Raises:
        ConfigError: the file can't be imported, or doesn't hold exactly one sound class of the family.
    """
    try:
        module = importlib.import_module(name)
    except ImportError as error:
        raise ConfigError(f"{file}: can't be imported ({error}); install what it needs") from error
    except Exception as error:  # The file's own mistakes, such as a misspelt name; they may be of any kind.
        reason = " ".join(f"{type(error).__name__}: {error}".split())
        raise ConfigError(f"{file}: can't be imported ({reason}); mend the file") from error
    classes = classes_in(module, base)
    if len(classes) != 1:
        raise ConfigError(f"{file} must hold exactly one subclass of {base.__name__}, it holds {len(classes)}")
    require_sound(classes[0], base, file)
    return classes[0]


def title(file: Path) -> str:
    """The first line of the docstring of a variant's module, read without an import.

    Args:
        file: the module's file.
    """
    try:
        return (ast.get_docstring(ast.parse(file.read_bytes())) or "").partition("\n")[0]
    except (SyntaxError, ValueError) as error:
        return f"{file}: can't be read ({error})"


def entry_point_title(point: EntryPoint) -> str:
    """The same for another package's entry point; the package's name where the file isn't found.

    Args:
        point: the entry point.
    """
    package = point.module.partition(".")[0]
    file = None if point.dist is None else Path(str(point.dist.locate_file(f"{point.module.replace('.', '/')}.py")))
    found = title(file) if file is not None and file.is_file() else ""
    return f"{found} ({package})" if found else f"from the installed package {package}"


def loaded_entry_point(point: EntryPoint) -> object:
    """What another package's entry point stands for.

    Args:
        point: the entry point.

    Raises:
        ConfigError: its module or its class isn't there, or can't be imported.
    """
    try:
        return point.load()
    except (ImportError, AttributeError) as error:
        raise ConfigError(f"entry point {point.name!r} of {point.group}: {error}; install its package anew") from None
    except Exception as error:  # The module's own mistakes, as in `the_class_in`.
        reason = " ".join(f"{type(error).__name__}: {error}".split())
        raise ConfigError(f"entry point {point.name!r} of {point.group}: {reason}; mend {point.module}") from error


def require_sound(variant: type[Any], base: type[Any], file: str | Path) -> None:
    """Refuse a variant whose class can't be built: its `Config` is none, or a method is missing.

    Args:
        variant: the variant's class.
        base: the class that the family's variants derive from.
        file: where the class is written, for messages.

    Raises:
        ConfigError: names the file and what is wrong.
    """
    where, config, parent = f"{file}: {variant.__name__}.Config", variant.Config, base.Config
    fields = getattr(config, "__dataclass_fields__", None)
    # A class that inherits its fields counts as a dataclass, but a field that it adds itself wouldn't be one.
    if not isinstance(config, type) or fields is None or not inspect.get_annotations(config).keys() <= fields.keys():
        raise ConfigError(f"{where} is no dataclass; write @dataclass(frozen=True, kw_only=True)")
    if dataclasses.fields(parent) and not issubclass(config, parent):  # Without fields, there is nothing to inherit.
        raise ConfigError(f"{where} must derive from {base.__name__}.Config")
    if inspect.isabstract(variant):
        missing = ", ".join(sorted(variant.__abstractmethods__))
        raise ConfigError(f"{file}: {variant.__name__} lacks {missing}")

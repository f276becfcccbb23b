"""Names of components and what they stand for: the file's name is the variant's name.

`programs/frame.py` *is* the program `frame`. A component is written as a *spec*, a string that names it and its
options:

    frame                            the name alone
    frame(init=0.1)                  options as Python literals
    timm:resnet50.a1_in1k            what follows the colon is the value of the first field of `Config`
    timm:resnet50?pretrained=0       options as in an address

Specs are data. They are parsed with `ast.literal_eval`, looked up among the listed names, and only then is the module
of that name imported. This module imports neither torch nor any component until `find` is called.
"""

import dataclasses
import importlib
import inspect
import re
from dataclasses import dataclass, field
from importlib.metadata import EntryPoint, entry_points
from importlib.util import find_spec
from pathlib import Path
from typing import Any, ClassVar

from reprogram.errors import ConfigError
from reprogram.utils import variants
from reprogram.utils.messages import nearest
from reprogram.utils.spec import parse
from reprogram.utils.validation import validate

FAMILIES = {
    "hosts": "HostSource",
    "tasks": "TaskSource",
    "canvases": "Canvas",
    "programs": "Program",
    "label-maps": "LabelMap",
    "learners": "Learner",
    "augmentations": "Augmentation",
    "losses": "Loss",
    "baselines": "Baseline",
    "defences": "Defence",
    "detectors": "Detector",
    "trackers": "Tracker",
    "exporters": "Exporter",
    "formats": "Format",
}
"""The class that a family's variants derive from, by the family's name (as `reprogram list` takes it)."""

FOLDERS = {"label-maps": "labelmaps", "baselines": "evaluation.baselines", "formats": "auditing.formats"}
"""The packages below this one that hold a family's files, where the family's name isn't that of the package."""

ALIASES = {"label-maps": {"flm": "frequency", "ilm": "iterative", "blm": "bayesian", "lda": "discriminant"}}
"""The papers' names of variants, by family."""

RENAMED = {"learners": {"gradient": "adam", "momentum": "sgd", "normalized": "normalized-sgd"}}
"""The names that variants had in version 0.1, by family; stored files hold them."""

RENAMED_OPTIONS = {"learners": {"average": "ema"}}
"""The names that options had in version 0.1, by family; stored files hold them."""

MAX_SEED = 2**40
"""Every seed is smaller."""


@dataclass(frozen=True, kw_only=True)
class EmptyConfig:
    """The configuration of a component that has no options."""


def added_later(default: Any, *, former: str = "") -> Any:
    """The field of an option that is younger than version 1 of the program file.

    Older files don't have the option: it is written only where it isn't its default, so that they stay as they are.

    Args:
        default: the option's value in older files.
        former: the option's name in version 0.1, where it had another.
    """
    return field(default=default, metadata={"later": True} | ({"former": former} if former else {}))


def renamed(former: str, default: Any) -> Any:
    """The field of an option that had another name in version 0.1, which files and scripts may still use.

    Args:
        former: the option's name in version 0.1.
        default: the option's default.
    """
    return field(default=default, metadata={"former": former})


class Component:
    """The base of every variant of every family: it has a `Config` and an example of one.

    Attributes:
        Config: a frozen, keyword-only dataclass. Its own first field takes the value after a spec's colon.
        config: the configuration that this component was built with.
    """

    Config: ClassVar[type[Any]] = EmptyConfig
    config: Any

    @classmethod
    def example(cls) -> Any:
        """Return a configuration that takes about a second to build and use; tests and docs run it."""
        return cls.Config()

    @classmethod
    def needs(cls, config: Any) -> list[Path]:
        """The files and folders that a configuration names and that must exist; by default there are none.

        Args:
            config: a `Config` of this variant.
        """
        return []

    @classmethod
    def name(cls) -> str:
        """The variant's name: its file's name, with hyphens."""
        return variants.name_of(cls.__module__.rpartition(".")[2])


def _package(family: str) -> str:
    """The package that holds a family's files, such as `reprogram.programs`."""
    if family not in FAMILIES:
        raise ConfigError(f"no family {family!r}; {nearest(family, list(FAMILIES))}")
    return f"{__package__}.{FOLDERS.get(family, family)}"


def _files(family: str) -> dict[str, Path]:
    """The files of a family's variants, by the variants' names."""
    spec = find_spec(_package(family))
    assert spec is not None and spec.submodule_search_locations is not None
    (folder,) = spec.submodule_search_locations
    return variants.files_by_name(Path(folder))


def _entry_points(family: str) -> dict[str, EntryPoint]:
    return {variants.name_of(point.name): point for point in entry_points(group=_package(family))}


def names(family: str) -> list[str]:
    """The names of a family's variants, sorted; nothing is imported.

    Args:
        family: a key of `FAMILIES`.
    """
    return sorted(_files(family) | _entry_points(family))


def is_listed(family: str, name: str) -> bool:
    """Whether a variant bears exactly this name; entry points are read only where no file does.

    Args:
        family: a key of `FAMILIES`.
        name: the name, with hyphens; aliases and former names don't count.
    """
    return name in _files(family) or name in _entry_points(family)


def summary(family: str, name: str) -> str:
    """The first line of the docstring of a variant's module, read without an import.

    Args:
        family: a key of `FAMILIES`.
        name: a listed name of the family.
    """
    path = _files(family).get(name)
    return variants.entry_point_title(_entry_points(family)[name]) if path is None else variants.title(path)


def _base(family: str) -> type[Any]:
    """The class that a family's variants derive from."""
    base: type[Any] = getattr(importlib.import_module(f"{_package(family)}.base"), FAMILIES[family])
    return base


def find(family: str, name: str) -> type[Any]:
    """Import and return the class of a listed variant.

    Args:
        family: a key of `FAMILIES`.
        name: the variant's name, an alias or a former name, with hyphens or underscores.

    Raises:
        ConfigError: there is no such variant, or its file doesn't hold exactly one class of the family.
    """
    name = name.replace("_", "-")
    name = _other_names(family).get(name, name)
    files = _files(family)
    points = {} if name in files else _entry_points(family)
    if name not in files and name not in points:
        one = family[:-1].replace("canvase", "canvas").replace("losse", "loss").replace("-", " ")
        raise ConfigError(f"no {one} named {name!r}; {nearest(name, [*files, *points, *_other_names(family)])}")
    base = _base(family)
    if name not in files:
        loaded = variants.loaded_entry_point(points[name])
        if not (isinstance(loaded, type) and issubclass(loaded, Component) and issubclass(loaded, base)):
            raise ConfigError(f"entry point {name!r} of {_package(family)} is no {base.__name__}")
        if loaded.name() != name:
            raise ConfigError(f"entry point {name!r} of {_package(family)} must be called {loaded.name()!r}")
        variants.require_sound(loaded, base, points[name].module)
        return loaded
    return variants.the_class_in(f"{_package(family)}.{name.replace('-', '_')}", files[name], base)


def _other_names(family: str) -> dict[str, str]:
    """The aliases and former names of a family's variants, each with the name that it stands for."""
    return ALIASES.get(family, {}) | RENAMED.get(family, {})


def stored_spelling(family: str, text: str) -> str:
    """A spec as version 0.1 spelled it: the digests and checkpoints of that version were made from it.

    Args:
        family: a key of `FAMILIES`.
        text: the component's spec, by today's or former names, or by an alias.
    """
    former = ALIASES.get(family, {}) | {new: old for old, new in RENAMED.get(family, {}).items()}
    text = re.sub(r"^[A-Za-z][A-Za-z0-9_-]*", lambda m: former.get(m[0].replace("_", "-"), m[0]), text)
    for old, new in RENAMED_OPTIONS.get(family, {}).items():
        text = re.sub(rf"\b{new}(?=\s*=)", old, text)
    return text


def configure(family: str, text: str) -> tuple[type[Any], Any]:
    """Return the class and the validated `Config` that a spec stands for.

    Args:
        family: a key of `FAMILIES`.
        text: the spec, such as `frame(init=0.1)`.

    Raises:
        ConfigError: the name or an option is unknown, or a value has the wrong type or range.
    """
    spec = parse(text)
    variant = find(family, spec.name)
    options = dict(spec.options)
    if spec.argument == "":
        raise ConfigError(f"{text!r}: nothing stands after the colon; give it, or leave the colon out")
    if spec.argument is not None:
        shared = variant.Config is _base(family).Config  # An option of the whole family is given by its name alone.
        first = next(iter([] if shared else inspect.get_annotations(variant.Config)), None)
        if first is None:
            raise ConfigError(f"{text!r}: {spec.name} takes nothing after a colon")
        if first in options:
            raise ConfigError(f"{text!r}: {first!r} is given twice, after the colon and as an option")
        options[first] = spec.argument
    return variant, build_config(variant, _current_options(family, variant, options))


def _current_options(family: str, variant: type[Any], options: dict[str, Any]) -> dict[str, Any]:
    """The options by today's names: a former name is replaced where the variant has no option of that name."""
    known = {f.name for f in dataclasses.fields(variant.Config)}
    former = {old: new for old, new in RENAMED_OPTIONS.get(family, {}).items() if old not in known and new in known}
    for old, new in former.items():
        if old in options and new in options:
            raise ConfigError(f"{variant.name()}: {new} is given twice, also by its former name {old}")
    return {former.get(name, name): value for name, value in options.items()}


def build_config(variant: type[Any], options: dict[str, Any], *, strict: bool = False) -> Any:
    """Validate options into a variant's `Config`.

    Args:
        variant: the variant's class.
        options: the values of its options, by name; the others keep their defaults.
        strict: whether values must have exactly the right JSON types, as in a program file.

    Raises:
        ConfigError: an option is unknown or missing, or its value has the wrong type or range; names it.
    """
    known = [f.name for f in dataclasses.fields(variant.Config)]
    for key in options:
        if key not in known:
            raise ConfigError(f"{variant.name()}: no option {key!r}; {nearest(key, known)}")
    seed = options.get("seed", 0)
    if "seed" in known and not (isinstance(seed, int) and 0 <= seed < MAX_SEED):
        raise ConfigError(f"{variant.name()}: seed={str(seed)[:30]}; a whole number from 0 to 2^40 - 1 is expected")
    return validate(variant.Config, options, component=variant.name(), strict=strict)


def format_spec(component: Component) -> str:
    """The shortest spec that builds the same component: its name and the options that differ from the defaults.

    Args:
        component: a variant that was built with a `Config`.
    """
    config = component.config
    options = []
    for option in dataclasses.fields(config):
        value = getattr(config, option.name)
        if option.default is dataclasses.MISSING or value != option.default:
            options.append(f"{option.name}={value!r}")
    return component.name() + (f"({', '.join(options)})" if options else "")

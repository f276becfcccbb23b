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

import ast
import dataclasses
import functools
import importlib
import inspect
import re
from dataclasses import dataclass, field
from importlib.metadata import EntryPoint, entry_points
from importlib.util import find_spec
from pathlib import Path
from typing import Any, ClassVar
from urllib.parse import unquote

from reprogram.errors import ConfigError, expected, nearest

FAMILIES = {
    "hosts": "HostSource",
    "tasks": "TaskSource",
    "canvases": "Canvas",
    "programs": "Program",
    "label-maps": "LabelMap",
    "learners": "Learner",
    "augmentations": "Augmentation",
}
"""Family name (as `reprogram list` takes it) to the class that its variants derive from."""

MAX_SPEC_LENGTH = 4096
MAX_SEED = 2**40


@dataclass(frozen=True, kw_only=True)
class EmptyConfig:
    """The configuration of a component that has no options."""


def later(default: Any) -> Any:
    """The default of an option that came after version 1 of the program file.

    Files from before don't have it, so it is written only where it isn't its default: they read as they did, and are
    written as they were.
    """
    return field(default=default, metadata={"later": True})


class Component:
    """What every variant of every family has: a `Config` and an example of it.

    Attributes:
        Config: a frozen, keyword-only dataclass. Its own first field takes the value after a spec's colon.
        config: the configuration this component was built with.
    """

    Config: ClassVar[type[Any]] = EmptyConfig
    config: Any

    @classmethod
    def example(cls) -> Any:
        """Return a configuration that takes about a second to build and use; tests and docs run it."""
        return cls.Config()

    @classmethod
    def needs(cls, config: Any) -> list[Path]:
        """Files and folders that a configuration names and that have to be there; by default there are none."""
        return []

    @classmethod
    def name(cls) -> str:
        """The variant's name: its file's name, with hyphens."""
        return cls.__module__.rpartition(".")[2].replace("_", "-")


@dataclass(frozen=True, kw_only=True)
class Spec:
    """A parsed spec: a name, the text after its colon, and its options."""

    name: str
    argument: str | None = None
    options: dict[str, Any] = field(default_factory=dict)


def _literal(text: str, spec: str) -> Any:
    try:
        return ast.literal_eval(text)
    except (ValueError, SyntaxError, RecursionError, MemoryError):
        raise ConfigError(f"{spec!r}: {text!r} is no Python literal (number, 'text', True, [..], {{..}})") from None


def _split_options(text: str, spec: str) -> dict[str, Any]:
    """Parse `a=1, b='x'`, with literals only."""
    try:
        call = ast.parse(f"f({text})", mode="eval").body
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        raise ConfigError(f"{spec!r}: can't read the options; write name(key=value, key=value)") from None
    if (
        not isinstance(call, ast.Call)
        or not isinstance(call.func, ast.Name)
        or call.args
        or any(k.arg is None for k in call.keywords)
    ):
        raise ConfigError(f"{spec!r}: options need names; write name(key=value)")
    options = {}
    for keyword in call.keywords:
        assert keyword.arg is not None
        if keyword.arg in options:
            raise ConfigError(f"{spec!r}: option {keyword.arg!r} is given twice")
        options[keyword.arg] = _literal(ast.unparse(keyword.value), spec)
    return options


def _split_query(text: str, spec: str) -> dict[str, Any]:
    """Parse `a=1&b=x`; a value that is no literal is text, and `a=0.5,0.5` is a tuple."""
    options: dict[str, Any] = {}
    for part in text.split("&"):
        key, equals, value = part.partition("=")
        if not equals or not key.isidentifier():
            raise ConfigError(f"{spec!r}: can't read {part!r}; write ?key=value&key=value")
        if key in options:
            raise ConfigError(f"{spec!r}: option {key!r} is given twice")
        value = unquote(value)
        try:
            options[key] = ast.literal_eval(value)
        except (ValueError, SyntaxError, RecursionError, MemoryError):
            options[key] = value
    return options


def parse(text: str) -> Spec:
    """Parse a spec string.

    Raises:
        ConfigError: it is no spec.
    """
    text = text.strip()
    if len(text) > MAX_SPEC_LENGTH:
        raise ConfigError(f"a spec of {len(text)} characters is too long; {MAX_SPEC_LENGTH} are allowed")
    if not text.isprintable():
        raise ConfigError(f"{text!r} holds unprintable characters")
    match = re.match(r"[A-Za-z][A-Za-z0-9_-]*", text)
    if not match:
        raise ConfigError(f"{text!r} is no component: a name is expected, such as frame or frame(init=0.1)")
    name, rest = match.group().replace("_", "-"), text[match.end() :]
    argument, options = None, {}
    if rest.startswith(":"):
        argument, rest = _split_argument(rest[1:])
    if rest.startswith("?"):
        options = _split_query(rest[1:], text)
    elif rest.startswith("(") and rest.endswith(")"):
        options = _split_options(rest[1:-1], text)
    elif rest:
        raise ConfigError(
            f"{text!r}: can't read {rest!r}; write name, name:argument, name(key=value) or name?key=value"
        )
    return Spec(name=name, argument=argument, options=options)


def _split_argument(text: str) -> tuple[str, str]:
    """Part an argument from the options behind it: `?key=` or a closing `(key=...)`."""
    query = re.search(r"\?[A-Za-z_]\w*=", text)
    call = re.search(r"\((?:[A-Za-z_]\w*\s*=.*)?\)$", text)
    starts = [found.start() for found in (query, call) if found]
    cut = min(starts, default=len(text))
    return text[:cut], text[cut:]


def package(family: str) -> str:
    """The package that holds a family's files, such as `reprogram.programs`."""
    if family not in FAMILIES:
        raise ConfigError(f"no family {family!r}; {nearest(family, list(FAMILIES))}")
    return "reprogram." + family.replace("-", "")


def _files(family: str) -> dict[str, Path]:
    spec = find_spec(package(family))
    assert spec is not None and spec.submodule_search_locations is not None
    (folder,) = spec.submodule_search_locations
    files = [file for file in Path(folder).iterdir() if file.suffix == ".py" and file.name[0] != "_"]
    return {file.stem.replace("_", "-"): file for file in files if file.stem != "base"}


def _entry_points(family: str) -> dict[str, EntryPoint]:
    return {point.name: point for point in entry_points(group=package(family))}


def names(family: str) -> list[str]:
    """The variants of a family, sorted; nothing is imported."""
    return sorted(_files(family) | _entry_points(family))


def is_listed(family: str, name: str) -> bool:
    """Whether a variant bears exactly this name; entry points are looked at only where no file does."""
    return name in _files(family) or name in _entry_points(family)


def summary(family: str, name: str) -> str:
    """The first line of a variant's module docstring, read without importing it."""
    path = _files(family).get(name)
    if path is None:
        return f"from the installed package {_entry_points(family)[name].module.partition('.')[0]}"
    return (ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or "").partition("\n")[0]


def _base(family: str) -> type[Any]:
    """The class that a family's variants derive from."""
    base: type[Any] = getattr(importlib.import_module(f"{package(family)}.base"), FAMILIES[family])
    return base


def find(family: str, name: str) -> type[Any]:
    """Import and return the class of a listed variant.

    Raises:
        ConfigError: no such variant, or its file doesn't hold exactly one class of the family.
    """
    name = name.replace("_", "-")
    files = _files(family)
    points = {} if name in files else _entry_points(family)
    if name not in files and name not in points:
        one = family[:-1].replace("canvase", "canvas").replace("-", " ")
        raise ConfigError(f"no {one} named {name!r}; {nearest(name, [*files, *points])}")
    base = _base(family)
    if name not in files:
        loaded: object = points[name].load()
        if not (isinstance(loaded, type) and issubclass(loaded, Component) and issubclass(loaded, base)):
            raise ConfigError(f"entry point {name!r} of {package(family)} is no {base.__name__}")
        if loaded.name() != name:
            raise ConfigError(
                f"entry point {name!r} of {package(family)} must bear its module's name, {loaded.name()!r}"
            )
        return loaded
    module = importlib.import_module(f"{package(family)}.{name.replace('-', '_')}")
    found: list[type[Any]] = [
        value
        for value in vars(module).values()
        if isinstance(value, type) and issubclass(value, base) and value.__module__ == module.__name__
    ]
    if len(found) != 1:
        raise ConfigError(f"{module.__file__} must hold exactly one subclass of {base.__name__}, it holds {len(found)}")
    return found[0]


def configure(family: str, text: str) -> tuple[type[Any], Any]:
    """Return the class and the validated `Config` that a spec stands for.

    Raises:
        ConfigError: unknown name or option, or a value of the wrong type.
    """
    spec = parse(text)
    variant = find(family, spec.name)
    options = dict(spec.options)
    if spec.argument is not None:
        shared = variant.Config is _base(family).Config  # Options of the whole family have names.
        own = [] if shared else list(inspect.get_annotations(variant.Config))
        if not own:
            raise ConfigError(f"{text!r}: {spec.name} takes nothing after a colon")
        if own[0] in options:
            raise ConfigError(f"{text!r}: {own[0]!r} is given twice, after the colon and as an option")
        options[own[0]] = spec.argument
    return variant, build_config(variant, options)


@functools.cache
def _adapter(config: type[Any]) -> Any:
    from pydantic import TypeAdapter

    return TypeAdapter(config)


def build_config(variant: type[Any], options: dict[str, Any], *, strict: bool = False) -> Any:
    """Validate options into a variant's `Config`: no unknown names, right types, ranges as `__post_init__` says.

    Raises:
        ConfigError: names the option and what it should be.
    """
    from pydantic import ValidationError

    known = [f.name for f in dataclasses.fields(variant.Config)]
    for key in options:
        if key not in known:
            raise ConfigError(f"{variant.name()}: no option {key!r}; {nearest(key, known)}")
    seed = options.get("seed", 0)
    if "seed" in known and not (isinstance(seed, int) and 0 <= seed < MAX_SEED):
        raise ConfigError(f"{variant.name()}: seed={str(seed)[:30]}; a whole number from 0 to 2^40 is expected")
    for key, value in options.items():
        if isinstance(value, int) and not -(2**63) <= value < 2**63:
            raise ConfigError(f"{variant.name()}: {key}={str(value)[:30]}; a number of 64 bits is expected")
    try:
        if strict:
            import json

            return _adapter(variant.Config).validate_json(json.dumps(options), strict=True)
        return _adapter(variant.Config).validate_python(options)
    except ValidationError as error:
        first = error.errors()[0]
        if first["type"] == "value_error":  # Raised by the Config itself.
            raise ConfigError(f"{variant.name()}: {first['ctx']['error']}") from None
        if first["type"] == "missing" and len(first["loc"]) == 1:
            name, option = variant.name(), first["loc"][0]
            raise ConfigError(f"{name}: option {option} is missing; write {name}({option}=...)") from None
        where = ".".join(str(part) for part in first["loc"])
        raise ConfigError(f"{variant.name()}: {where}{'=' if where else ''}{expected(first)}") from None


def format_spec(component: Component) -> str:
    """The shortest spec that builds the same component: its name and the options that differ from the defaults."""
    config = component.config
    options = []
    for item in dataclasses.fields(config):
        value = getattr(config, item.name)
        if item.default is dataclasses.MISSING or value != item.default:
            options.append(f"{item.name}={value!r}")
    return component.name() + (f"({', '.join(options)})" if options else "")

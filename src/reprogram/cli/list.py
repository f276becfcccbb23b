"""`reprogram list`: the hosts, tasks, programs, label maps, canvases, learners, augmentations and recipes there are."""

from fnmatch import fnmatchcase
from typing import Annotated, Literal

from cyclopts import Parameter

from reprogram import recipes
from reprogram.cli.console import emit, table
from reprogram.errors import ConfigError, nearest
from reprogram.registry import find, names, summary

Family = Literal["hosts", "tasks", "programs", "label-maps", "canvases", "learners", "augmentations", "recipes"]


def list_command(
    family: Family, pattern: str | None = None, /, *, json: Annotated[bool, Parameter(negative=())] = False
) -> int:
    """List what there is of a family; with a pattern such as 'resnet*', hosts of timm, torchvision and open_clip too.

    Args:
        family: of components.
        pattern: shell-style; * and ? are wildcards.
        json: print it as JSON.
    """
    everything = _everything(family)
    found = [(name, text) for name, text in everything.items() if pattern is None or fnmatchcase(name, pattern)]
    if family == "hosts" and pattern is not None:
        for source in names("hosts"):
            wanted = pattern.removeprefix(f"{source}:")
            if wanted != pattern or ":" not in pattern:
                found += [(f"{source}:{model}", "") for model in find("hosts", source).catalogue(wanted)]
    if not found:
        raise ConfigError(f"no {family} match {pattern!r}; {nearest(pattern or '', list(everything))}")
    if json:
        emit([{"name": name, "summary": text} for name, text in found])
    else:
        table(list(found))
    return 0


def _everything(family: Family) -> dict[str, str]:
    """Names, and a line on each."""
    if family == "recipes":
        return {name: recipes.read(name).summary for name in recipes.names()}
    return {name: summary(family, name) for name in names(family)}

"""`reprogram list`: the hosts, tasks, programs, label maps, canvases and learners there are."""

from fnmatch import fnmatchcase
from typing import Annotated, Literal

from cyclopts import Parameter

from reprogram.cli.console import emit, table
from reprogram.errors import ConfigError, nearest
from reprogram.registry import find, names, summary

Family = Literal["hosts", "tasks", "programs", "label-maps", "canvases", "learners"]


def list_command(
    family: Family, pattern: str | None = None, /, *, json: Annotated[bool, Parameter(negative=())] = False
) -> int:
    """List what there is of a family; with a pattern such as 'resnet*', hosts of timm, torchvision and open_clip too.

    Args:
        family: of components.
        pattern: shell-style; * and ? are wildcards.
        json: print it as JSON.
    """
    found = [(name, summary(family, name)) for name in names(family) if pattern is None or fnmatchcase(name, pattern)]
    if family == "hosts" and pattern is not None:
        for source in names("hosts"):
            wanted = pattern.removeprefix(f"{source}:")
            if wanted != pattern or ":" not in pattern:
                found += [(f"{source}:{model}", "") for model in find("hosts", source).catalogue(wanted)]
    if not found:
        raise ConfigError(f"no {family} match {pattern!r}; {nearest(pattern or '', names(family))}")
    if json:
        emit([{"name": name, "summary": text} for name, text in found])
    else:
        table(list(found))
    return 0

"""`reprogram list`: the names of hosts, tasks, other components and recipes."""

from fnmatch import fnmatchcase
from typing import Annotated, Literal

from cyclopts import Parameter

from reprogram.cli.console import emit, table
from reprogram.errors import ConfigError
from reprogram.registry import find, names, summary
from reprogram.runs import recipes
from reprogram.utils.messages import nearest

Family = Literal[
    "hosts",
    "tasks",
    "programs",
    "label-maps",
    "canvases",
    "learners",
    "augmentations",
    "losses",
    "baselines",
    "defences",
    "detectors",
    "trackers",
    "exporters",
    "formats",
    "recipes",
]


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
    matches = [(name, text) for name, text in everything.items() if pattern is None or fnmatchcase(name, pattern)]
    if family == "hosts" and pattern is not None:
        for source in names("hosts"):
            model_pattern = pattern.removeprefix(f"{source}:")
            if model_pattern != pattern or ":" not in pattern:
                matches += [(f"{source}:{model}", "") for model in find("hosts", source).catalogue(model_pattern)]
    if not matches:
        raise ConfigError(f"no {family} match {pattern!r}; {nearest(pattern or '', list(everything))}")
    if json:
        emit([{"name": name, "summary": text} for name, text in matches])
    else:
        table(list(matches))
    return 0


def _everything(family: Family) -> dict[str, str]:
    """A line on each component of a family, by its name."""
    if family == "recipes":
        return {name: recipes.read(name).summary for name in recipes.names()}
    return {name: summary(family, name) for name in names(family)}

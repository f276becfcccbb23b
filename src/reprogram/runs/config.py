"""The configuration of a run, as flags, as a TOML file and as an object."""

import functools
import json
from collections.abc import Mapping, Set
from dataclasses import Field, dataclass, fields
from pathlib import Path
from typing import Any

from reprogram.errors import ConfigError
from reprogram.registry import added_later, is_listed, names, stored_spelling
from reprogram.runs import recipes
from reprogram.training.options import FitOptions, check_sample_size, current_names
from reprogram.types import EngineName, LossKind, SampleSize
from reprogram.utils.files import read_ordinary, user_path
from reprogram.utils.messages import expected_instead, nearest, path_of
from reprogram.utils.spec import parse
from reprogram.utils.text import is_unicode, printable, slug
from reprogram.utils.toml import read_table
from reprogram.utils.validation import wrong_kind

MARK = "# The resolved configuration of this run; reprogram fit --config FILE runs it again."
SPECS = {
    "host": "hosts",
    "task": "tasks",
    "canvas": "canvases",
    "program": "programs",
    "label_map": "label-maps",
    "learner": "learners",
    "augmentation": "augmentations",
}
"""The family of each option that is a spec, by the option's name."""

UNNAMED = {
    *("out", "data", "download", "device", "baselines", "checkpoint_every", "cuda_graphs"),
    *("keep_answers", "total_queries", "track"),
}
"""The options that don't decide the result."""

UNWRITTEN: dict[str, Any] = {"sampling": "shuffled"}
"""What a configuration that a run wrote means by an option that it doesn't have, where the default is another one."""


@dataclass(frozen=True, kw_only=True)
class RunConfig(FitOptions):
    """The configuration of a run.

    Components are given as specs (see `reprogram.registry`); the defaults are the paper's: a fixed label map, the task
    image at its own size in the centre, a frame around it, and a loss that asks for the host's own answer.

    Attributes:
        host: the frozen classifier, e.g. timm:resnet50.a1_in1k.
        task: what the host shall do, e.g. mnist or folder:PATH.
        canvas: where the task image goes.
        program: what is learned, e.g. frame or "patch(height=64, width=64)".
        label_map: from host labels to task labels.
        warm_start: program file whose program the learning begins with, learned for another task or host; without one
            it begins with the program's own start values.
        shots: images a class to learn from, and as many to validate with, chosen by the seed; without it all.
        test_images: how many images of the test split program and baselines are measured on in the end: "all", or a
            number of them, a stratified sample by the seed.
        baselines: what the accuracy is held against beside chance and majority, see reprogram list baselines; "none"
            for no other.
        data: folder of the task's files, for tasks that take one.
        download: allow fetching weights and data.
        skip_bad: go on without image files that can't be read; the result names them.
        device: cpu, cuda, cuda:1, mps, or auto for the best there is.
        engine: compute what the batch shares once ("shared"), or every image whole ("dense"); the numbers are the same.
        total_queries: the most images that the host is ever asked for by the whole run, with test, baselines, loading
            it and what killed processes asked; a run that wants more ends with an error.
        track: tools that the run is followed in, e.g. tensorboard; see reprogram list trackers.
        keep_answers: keep the file of the host's answers in the folder of a finished run; a run that goes on needs it.
        out: the run folder; without it runs/TASK-HOST-PROGRAM-SEED.
    """

    host: str = "efficientnet-lite0"
    task: str = "squares"
    canvas: str = "centre"
    program: str = "frame"
    label_map: str = "first"
    warm_start: str = added_later("", former="start")
    shots: int | None = added_later(None)
    test_images: SampleSize = added_later("all")
    baselines: tuple[str, ...] = ("map-alone", "linear-probe")
    data: str = ""
    download: bool = False
    skip_bad: bool = False
    device: str = "auto"
    engine: EngineName = "shared"
    track: tuple[str, ...] = added_later(())
    keep_answers: bool = added_later(False)
    total_queries: int | None = added_later(None)
    out: str = ""

    def __post_init__(self) -> None:
        super().__post_init__()
        for option, value in vars(self).items():
            if isinstance(value, str) and not is_unicode(value):
                raise ConfigError(f"{option}={printable(value)}: holds bytes that aren't UTF-8; give another name")
        given = [parse(spec).name for spec in self.baselines]
        for name in given:
            if name == "none":
                raise ConfigError("baseline 'none' stands alone; leave it out, or the others")
            if not is_listed("baselines", name):
                raise ConfigError(f"no baseline {name!r}; {nearest(name, names('baselines'))}")
            if given.count(name) > 1:
                raise ConfigError(f"baseline {name!r} is given twice; a run holds one")
        for spec in self.track:
            if not is_listed("trackers", name := parse(spec).name):
                raise ConfigError(f"no tracker {name!r}; {nearest(name, names('trackers'))}")
        check_sample_size("test_images", self.test_images)
        for option in ("shots", "total_queries"):
            if (value := getattr(self, option)) is not None and value < 1:
                raise ConfigError(f"{option}={value}; at least 1 is expected")

    @classmethod
    def option_fields(cls) -> list[Field[Any]]:
        """The options in the order in which people read them: first those of the run, then those of learning."""
        learning = {f.name for f in fields(FitOptions)}
        return sorted(fields(cls), key=lambda f: f.name in learning)

    @property
    def folder(self) -> Path:
        """The run folder."""
        if self.out:
            return user_path(self.out, "out")
        parts = (self.task, self.host, self.program, f"s{self.seed}")
        return Path("runs") / "-".join(slug(part)[-40:] for part in parts)

    def identity(self) -> dict[str, Any]:
        """The options that decide the result, by the names of version 0.1.

        Folders, permissions, device, baselines and checkpoints don't. A younger option counts only where it isn't what
        older runs have, so that their identities stay as they are.
        """
        before = {
            f.name: f.metadata.get("before", f.default) for f in fields(self) if {"later", "before"} & {*f.metadata}
        }
        return self.stored(skip={*UNNAMED, *(name for name, value in before.items() if getattr(self, name) == value)})

    def stored(self, skip: Set[str] = frozenset()) -> dict[str, Any]:
        """The options by the names and spellings of version 0.1, from which digests in folders' names are made.

        The loss "auto" is the one that it stands for: both are the same run.

        Args:
            skip: the options to leave out, by today's names.
        """
        values = {f.metadata.get("former", f.name): getattr(self, f.name) for f in fields(self) if f.name not in skip}
        specs = {"learner": self.learner, "label_map": self.label_map}
        values |= {option: stored_spelling(SPECS[option], spec) for option, spec in specs.items()}
        return values | ({"loss": self.settled_loss} if "loss" in values else {})

    @property
    def settled_loss(self) -> LossKind:
        """The loss that the run minimises: what "auto" stands for with its label map, any other as it is."""
        if self.loss != "auto":
            return self.loss
        from reprogram.training.losses import settled_by_spec  # It loads PyTorch.

        return settled_by_spec(self.loss, self.label_map)


def from_values(values: Mapping[str, Any], where: str = "configuration") -> RunConfig:
    """The configuration that a file or flags describe.

    Args:
        values: the options' values, by name, with underscores. An option that isn't there has the value of the recipe
            in `recipe`, or its default.
        where: the source of the values, for the message.

    Raises:
        ConfigError: an option or recipe is unknown, or a value has the wrong type or range; names it.
    """
    from pydantic import ValidationError

    values = current_names(RunConfig, values)
    if (recipe := values.pop("recipe", None)) is not None:
        values = {**current_names(RunConfig, recipes.read(str(recipe)).fit), **values}
    known = [f.name for f in fields(RunConfig)]
    for key in values:
        if key not in known:
            former = [str(f.metadata["former"]) for f in fields(RunConfig) if "former" in f.metadata]
            raise ConfigError(f"{where}: no option {key!r}; {nearest(key, [*known, *former])}")
    if isinstance(every := values.get("checkpoint_every"), int) and not isinstance(every, bool):
        values["checkpoint_every"] = str(every)  # Steps.
    if (wrong := wrong_kind(RunConfig, values)) is not None:
        raise ConfigError(wrong)
    for name in {"baselines", "track"} & values.keys():  # One may stand without a list; "none" is the empty one.
        value = [values[name]] if isinstance(values[name], str) else values[name]
        values[name] = () if value in (["none"], ("none",)) else value
    try:
        config: RunConfig = _adapter().validate_python(values)
    except ValidationError as error:
        first = error.errors()[0]
        if first["type"] == "value_error":  # Raised by RunConfig itself, with a full message.
            raise ConfigError(str(first["ctx"]["error"])) from None
        raise ConfigError(f"{path_of(first) or where}={expected_instead(error.errors())}") from None
    return config


@functools.cache
def _adapter() -> Any:
    from pydantic import TypeAdapter

    return TypeAdapter(RunConfig)


def to_toml(config: RunConfig) -> str:
    """The text of a TOML file that `reprogram fit --config` takes.

    Args:
        config: the configuration; an option that is None is left out.
    """
    lines = [MARK, "[fit]"]
    for option in config.option_fields():
        key, value = option.name, getattr(config, option.name)
        if value is not None:
            text = json.dumps(list(value) if isinstance(value, tuple) else value, ensure_ascii=False)
            lines.append(f"{key} = {text}")
    return "\n".join(lines) + "\n"


def read_toml(path: Path) -> dict[str, Any]:
    """The options in a configuration file, by name, with underscores.

    Args:
        path: a TOML file with one table `[fit]`, or with the options alone; their names may have hyphens.

    Raises:
        ConfigError: the file is missing or damaged, or holds other tables.
    """
    table = read_table(path)
    if not table:
        raise ConfigError(f"{path}: is empty; expected one table [fit]")
    if "grid" in table:
        raise ConfigError(f"{path}: is a grid, and no table [fit]; give it to reprogram sweep")
    values = table.get("fit", table)
    tables = all(isinstance(value, dict | list) and value for value in table.values())
    if not isinstance(values, dict) or (set(table) != {"fit"} and (tables or values is not table)):
        several = " as a list, [[fit]]" if isinstance(values, list) else ""
        raise ConfigError(f"{path}: expected one table [fit], found {', '.join(sorted(table))}{several}")
    values = underscored(values, str(path))
    return {**UNWRITTEN, **values} if is_written(path) else values


def is_written(path: Path) -> bool:
    """Whether a run wrote a configuration file.

    Args:
        path: the file.
    """
    return read_ordinary(path).startswith(MARK.encode())


def underscored(values: Mapping[str, Any], where: str) -> dict[str, Any]:
    """The options of a file by their names with underscores.

    Args:
        values: the options' values, by names with hyphens or underscores.
        where: the file, for the message.

    Raises:
        ConfigError: an option stands there twice, with a hyphen and with an underscore.
    """
    named: dict[str, Any] = {}
    spelled: dict[str, str] = {}
    for key, value in values.items():
        name = key.replace("-", "_")
        if name in named:
            raise ConfigError(f"{where}: {name} is given twice, as {spelled[name]} and {key}; leave one of them out")
        named[name], spelled[name] = value, key
    return named

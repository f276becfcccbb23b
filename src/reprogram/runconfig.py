"""What a run is: one configuration, as flags, as a TOML file and as an object."""

import functools
import json
import tomllib
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from reprogram import recipes
from reprogram.checkpoint import Interval
from reprogram.errors import ConfigError, expected, nearest
from reprogram.registry import MAX_SEED, later
from reprogram.settings import Budget, EngineName, LossKind
from reprogram.text import slug

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
"""Options that are specs, and the family of each."""
BASELINES = ("map-alone", "linear-probe", "direct-training", "untrained")


@dataclass(frozen=True, kw_only=True)
class RunConfig:
    """What a run is. Components are specs (see `reprogram.registry`); the defaults are those of the recipe `best`.

    Attributes:
        host: the frozen classifier.
        task: what it shall do.
        canvas: where task images go.
        program: what is learned.
        label_map: from host labels to task labels.
        learner: what improves the program.
        augmentation: how training images vary each time they are seen.
        loss: "task", "smoothed" or "host" (the paper's): over which labels the softmax runs.
        seed: of start values and order of images.
        start: a program file whose program the learning starts from; empty: from the program's own start values.
        shots: images a class to learn from, and as many to validate with, chosen by the seed; None: all.
        epochs: budget in passes over the training images.
        images: budget in training images seen.
        seconds: budget in seconds of learning.
        batch_size: images a step.
        parts: that a batch is computed in; None: see `fit`.
        validations: how often the validation split is looked at.
        baselines: of `BASELINES`, beside chance and majority, which cost nothing.
        data: folder of the task's files, for tasks that take one.
        download: whether weights and data may be fetched.
        skip_bad: whether to go on without files that can't be read, for tasks that take such an option.
        device: "cpu", "cuda", "cuda:1", "mps", or "auto" for the best there is.
        engine: "shared" computes what the batch shares once, "dense" every image whole; the numbers are the same.
        checkpoint_every: how often the state is saved: steps such as "100", or seconds such as "30s".
        out: the run folder; empty: runs/TASK-HOST-PROGRAM-SEED.
    """

    host: str = "efficientnet-lite0"
    task: str = "squares"
    canvas: str = "scaled"
    program: str = "frame"
    label_map: str = "discriminant"
    learner: str = "gradient"
    augmentation: str = later("none")
    loss: LossKind = "task"
    seed: int = 0
    start: str = later("")
    shots: int | None = later(None)
    epochs: float | None = None
    images: int | None = None
    seconds: float | None = None
    batch_size: int = 16
    parts: int | None = None
    validations: int = 10
    baselines: tuple[str, ...] = ("map-alone", "linear-probe")
    data: str = ""
    download: bool = False
    skip_bad: bool = False
    device: str = "auto"
    engine: EngineName = "shared"
    checkpoint_every: str = "30s"
    out: str = ""

    def __post_init__(self) -> None:
        for name in self.baselines:
            if name not in BASELINES:
                alone = "stands alone, or " if name == "none" else ""
                raise ConfigError(f"baseline {name!r}: {alone}known are none, {', '.join(BASELINES)}")
        if not (self.epochs is None and self.images is None and self.seconds is None):
            Budget(epochs=self.epochs, images=self.images, seconds=self.seconds)
        Interval.parse(self.checkpoint_every)
        if self.batch_size < 1 or self.validations < 1:
            raise ConfigError("batch_size and validations are at least 1")
        if self.shots is not None and self.shots < 1:
            raise ConfigError(f"shots={self.shots}; at least 1 is expected")
        if self.parts is not None and not 1 <= self.parts <= self.batch_size:
            raise ConfigError(f"parts={self.parts}; 1 to {self.batch_size} are expected, the images of a batch")
        if not 0 <= self.seed < MAX_SEED:
            raise ConfigError(f"seed={self.seed}; a whole number from 0 to 2^40 is expected")

    @property
    def folder(self) -> Path:
        """The run folder."""
        if self.out:
            return Path(self.out)
        parts = (self.task, self.host, self.program, f"s{self.seed}")
        return Path("runs") / "-".join(slug(part)[-40:] for part in parts)

    def identity(self) -> dict[str, Any]:
        """What decides the result: everything but places, permissions and habits.

        What came later counts where it is given, so that runs from before stay what they are.
        """
        skip = {"out", "data", "download", "device", "baselines", "checkpoint_every"}
        skip |= {f.name for f in fields(self) if f.metadata.get("later") and getattr(self, f.name) == f.default}
        return {key: value for key, value in asdict(self).items() if key not in skip}


def from_values(values: Mapping[str, Any], where: str = "configuration") -> RunConfig:
    """A configuration from what a file or flags say.

    Args:
        values: by option, with underscores; what isn't given is as `recipe` says, or keeps its default.
        where: they come from.

    Raises:
        ConfigError: an unknown option or recipe, or a value of the wrong type or range; names it.
    """
    from pydantic import ValidationError

    values = {**values}
    if (recipe := values.pop("recipe", None)) is not None:
        values = {**recipes.read(str(recipe)).fit, **values}
    known = [f.name for f in fields(RunConfig)]
    for key in values:
        if key not in known:
            raise ConfigError(f"{where}: no option {key!r}; {nearest(key, known)}")
    baselines = values.get("baselines", RunConfig.baselines)
    baselines = [baselines] if isinstance(baselines, str) else baselines
    try:
        config: RunConfig = _adapter().validate_python(
            {**values, "baselines": () if baselines in (["none"], ("none",)) else baselines}
        )
    except ValidationError as error:
        first = error.errors()[0]
        if first["type"] == "value_error":  # Raised by RunConfig itself, in full words.
            raise ConfigError(str(first["ctx"]["error"])) from None
        raise ConfigError(f"{'.'.join(map(str, first['loc'])) or where}={expected(first)}") from None
    return config


@functools.cache
def _adapter() -> Any:
    from pydantic import TypeAdapter

    return TypeAdapter(RunConfig)


def to_toml(config: RunConfig) -> str:
    """The configuration as a TOML file that `reprogram fit --config` takes."""
    lines = [MARK, "[fit]"]
    for key, value in asdict(config).items():
        if value is not None:
            text = json.dumps(list(value) if isinstance(value, tuple) else value, ensure_ascii=False)
            lines.append(f"{key} = {text}")
    return "\n".join(lines) + "\n"


def read_toml(path: Path) -> dict[str, Any]:
    """The `[fit]` table of a configuration file; hyphens and underscores in names are the same.

    Raises:
        ConfigError: missing, damaged, or without that table.
    """
    try:
        table = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(
            f"{path}: can't be read ({getattr(error, 'strerror', None) or error}); give a TOML file"
        ) from None
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"{path}: no valid TOML ({error})") from None
    values = table.get("fit", table)
    if not isinstance(values, dict) or (values is not table and set(table) != {"fit"}):
        raise ConfigError(f"{path}: expected one table [fit], found {', '.join(sorted(table))}")
    return {key.replace("-", "_"): value for key, value in values.items()}

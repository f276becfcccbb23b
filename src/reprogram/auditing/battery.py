"""Batteries: what an audit runs, one TOML file each, and the choices that a user makes beside."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from importlib.resources import files
from pathlib import Path
from typing import Any

from reprogram.auditing.subject import RUNGS, Rung
from reprogram.errors import ConfigError
from reprogram.registry import MAX_SEED, configure
from reprogram.utils.messages import nearest
from reprogram.utils.text import slug
from reprogram.utils.toml import parse
from reprogram.utils.validation import validate
from reprogram.utils.variants import files_by_name

FOLDER = files("reprogram.auditing.batteries")

DIFFICULTIES = ("easy", "medium", "hard", "own")


@dataclass(frozen=True, kw_only=True)
class BatteryTask:
    """A task of a battery.

    Attributes:
        name: its short name.
        spec: the task's spec.
        difficulty: "easy", "medium", "hard", or "own" for a user's.
    """

    name: str
    spec: str
    difficulty: str

    def __post_init__(self) -> None:
        if self.difficulty not in DIFFICULTIES:
            raise ConfigError(f"difficulty={self.difficulty!r}; one of {', '.join(DIFFICULTIES)} is expected")
        configure("tasks", self.spec)


@dataclass(frozen=True, kw_only=True)
class AttackOptions:
    """How a rung is attacked; the options of a run.

    Attributes:
        canvas: where the task image goes.
        program: what is learned.
        label_map: from host labels to task labels.
        learner: what improves the program.
        loss: what is minimised.
        batch_size: images a step.
    """

    canvas: str
    program: str
    label_map: str
    learner: str
    loss: str = "task"
    batch_size: int = 16


@dataclass(frozen=True, kw_only=True)
class Battery:
    """What an audit runs.

    Attributes:
        name: of its file.
        version: of its content; reports of other versions aren't compared.
        summary: what it is, in a line.
        rungs: of access.
        tasks: that are tried.
        budgets: images that the host may be asked for while a program is learned.
        seeds: of the runs.
        shots: labelled images of each class that the attacker has; None for all.
        test_images: on which accuracies are measured; None for all.
        attacks: how each rung is attacked.
    """

    name: str
    version: int
    summary: str
    rungs: tuple[Rung, ...]
    tasks: tuple[BatteryTask, ...]
    budgets: tuple[int, ...]
    seeds: tuple[int, ...]
    shots: int | None
    test_images: int | None
    attacks: Mapping[Rung, AttackOptions]

    def __post_init__(self) -> None:
        for option in ("rungs", "tasks", "budgets", "seeds"):
            values = getattr(self, option)
            if not values:
                raise ConfigError(f"{option}: is empty; an audit needs at least one")
            keys = [value.name for value in values] if option == "tasks" else list(values)
            twice = [key for key in keys if keys.count(key) > 1]
            if twice:
                instead = ", or name each, as in NAME=SPEC" if option == "tasks" else ""
                raise ConfigError(f"{option}: {twice[0]} is given twice; leave one of them out{instead}")
        for rung in self.rungs:
            if rung not in RUNGS:
                raise ConfigError(f"no rung {rung!r}; {nearest(rung, list(RUNGS))}")
        for name, values, least in (("budgets", self.budgets, 1), ("seeds", self.seeds, 0)):
            if wrong := [value for value in values if not least <= value < MAX_SEED]:
                raise ConfigError(f"{name}={wrong[0]}; a whole number from {least} on is expected")
        for name, value in (("shots", self.shots), ("test_images", self.test_images)):
            if value is not None and value < 1:
                raise ConfigError(f"{name}={value}; at least 1 is expected")

    def chosen(
        self,
        *,
        task: Sequence[str] = (),
        tasks: Sequence[str] = (),
        rungs: Sequence[str] = (),
        budgets: Sequence[int] = (),
        seeds: Sequence[int] = (),
        shots: int | None = None,
        test_images: int | None = None,
    ) -> "Battery":
        """The battery with a user's choices; what isn't given stays.

        Args:
            task: specs of tasks beside the battery's own.
            tasks: names of the battery's tasks, or specs, instead of the battery's own.
            rungs: of access.
            budgets: in images.
            seeds: of the runs.
            shots: labelled images of each class that the attacker has.
            test_images: on which accuracies are measured.

        Raises:
            ConfigError: a choice is unknown, out of range or given twice.
        """
        own = {known.name: known for known in self.tasks}
        kept = [own.get(name) or _users(name) for name in tasks] if len(tasks) else list(self.tasks)
        unknown = [rung for rung in rungs if rung not in RUNGS]
        if unknown:
            raise ConfigError(f"no rung {unknown[0]!r}; {nearest(unknown[0], list(RUNGS))}")
        return replace(
            self,
            tasks=(*kept, *map(_users, task)),
            rungs=tuple(rung for rung in RUNGS if rung in rungs) if len(rungs) else self.rungs,
            budgets=tuple(sorted(map(int, budgets))) if len(budgets) else self.budgets,
            seeds=tuple(map(int, seeds)) if len(seeds) else self.seeds,
            shots=self.shots if shots is None else shots,
            test_images=self.test_images if test_images is None else test_images,
        )


def battery_names() -> list[str]:
    """The names of the batteries that come with the project, the smallest first."""
    known = files_by_name(FOLDER, ".toml")
    return [name for name in ("quick", "standard", "full") if name in known] + sorted(
        set(known) - {"quick", "standard", "full"}
    )


def read_battery(name: str) -> Battery:
    """Read a battery.

    Args:
        name: of a battery that comes with the project, or the path of a TOML file of one's own.

    Raises:
        ConfigError: there is no such battery, or its file is damaged.
    """
    if name in battery_names():
        text, where = (FOLDER / f"{name}.toml").read_text(encoding="utf-8"), name
    elif name.endswith(".toml"):
        from reprogram.utils.toml import read_table

        return _battery(Path(name).stem, read_table(Path(name), "give the TOML file of a battery"), name)
    else:
        raise ConfigError(f"no battery {name!r}; {nearest(name, battery_names())}, or a TOML file of your own")
    return _battery(name, parse(text), where)


def _battery(name: str, content: dict[str, Any], where: str) -> Battery:
    known = {"version", "summary", "rungs", "tasks", "budgets", "seeds", "shots", "test_images", "attacks"}
    for key in content:
        if key not in known:
            raise ConfigError(f"{where}: no option {key!r}; {nearest(key, sorted(known))}")
    tables = parse((FOLDER / "_attacks.toml").read_text(encoding="utf-8")) | content.get("attacks", {})
    try:
        attacks = {
            rung: validate(AttackOptions, dict(table), component=f"attacks.{rung}") for rung, table in tables.items()
        }
        tasks = tuple(
            validate(BatteryTask, {"name": key, **table}, component=f"tasks.{key}")
            for key, table in content.get("tasks", {}).items()
        )
        plain = {key: content.get(key, ()) for key in ("rungs", "budgets", "seeds")}
        checked = {key: tuple(value) if isinstance(value, list) else value for key, value in plain.items()}
        if isinstance(checked["budgets"], tuple):
            checked["budgets"] = tuple(sorted(checked["budgets"]))  # The last is the largest.
        battery: Battery = validate(
            Battery,
            {
                "name": name,
                "version": content.get("version", 1),
                "summary": content.get("summary", ""),
                "shots": content.get("shots"),
                "test_images": content.get("test_images"),
                "tasks": tasks,
                "attacks": attacks,
                **checked,
            },
            component="battery",
        )
    except (ConfigError, TypeError, AttributeError) as error:
        raise ConfigError(f"{where}: {error}") from None
    return battery


def _users(text: str) -> BatteryTask:
    """A task that the user names by its spec, or as NAME=SPEC."""
    match = re.fullmatch(r"([A-Za-z][\w-]*)=(.+)", text)
    name, spec = match.groups() if match else (slug(text)[:24], text)
    return BatteryTask(name=name, spec=spec, difficulty="own")

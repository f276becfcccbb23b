"""What to run an experiment on: hosts, tasks, seeds, recipe and budget, from a preset and the command line."""

import hashlib
import json
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from reprogram.errors import ConfigError
from reprogram.registry import parse
from reprogram.runconfig import RunConfig, from_values
from reprogram.text import slug

PAPER = {"canvas": "centre", "label_map": "first"}
"""What is the paper's wherever a preset doesn't say otherwise: images at their own size, the first k host labels."""


@dataclass(frozen=True, kw_only=True)
class Planned:
    """A run that an experiment needs, and where it stands in the experiment's tables.

    Attributes:
        host: its short name.
        task: its short name.
        seed: of the run.
        axis: what the experiment varies, by name.
        config: of the run.
        meaning: digest of what host and task stand for: their specs, and the recipe.
    """

    host: str
    task: str
    seed: int
    axis: dict[str, Any]
    config: RunConfig
    meaning: str = ""

    @property
    def name(self) -> str:
        """Of the run folder: readable, and one a configuration, so that experiments share runs."""
        digest = _digest([self.config.identity(), self.config.baselines])
        words = (slug(text)[-40:] for text in (self.task, self.host, parse(self.config.program).name))
        return "-".join([*words, f"s{self.seed}", digest])


@dataclass(frozen=True, kw_only=True)
class Setup:
    """Hosts, tasks, seeds and recipe.

    Attributes:
        hosts: specs by short name.
        tasks: by short name: the spec (`task`, by default the name) and what it changes in the recipe.
        seeds: of the runs.
        recipe: fields of `RunConfig` for every run.
        fixed: fields that nothing overrides: what the command line gave.
        options: of each experiment, by its name: `hosts`, `tasks` and `seeds` choose, `fit` changes the recipe, the
            others are the experiment's own.
        own: those of the experiment at hand.
        photographs: folder of photographs, for the experiments that compare with them; None where there is none.
        photo: photograph to hide in; empty for the one that scikit-learn carries.
    """

    hosts: dict[str, str]
    tasks: dict[str, dict[str, Any]]
    seeds: tuple[int, ...] = (0,)
    recipe: dict[str, Any] = field(default_factory=dict)
    fixed: dict[str, Any] = field(default_factory=dict)
    options: dict[str, dict[str, Any]] = field(default_factory=dict)
    own: dict[str, Any] = field(default_factory=dict)
    photographs: Path | None = None
    photo: str = ""

    def __post_init__(self) -> None:
        for seed, count in Counter(self.seeds).items():
            if count > 1:
                raise ConfigError(f"seeds: {seed} is given {count} times; a seed is one run, give different ones")

    def plan(
        self,
        host: str,
        task: str,
        seed: int,
        *,
        axis: dict[str, Any] | None = None,
        spec: str = "",
        **changes: Any,
    ) -> Planned:
        """A run on that host and task.

        Args:
            host: its short name.
            task: its short name.
            seed: of the run.
            axis: where it stands in the experiment.
            spec: of the host, where it isn't the one of that name.
            changes: fields that the experiment wants. They count more than the task's and the recipe's, and less than
                what the command line gave.
        """
        where = {"host": spec or self.hosts[host], "seed": seed}
        config = self.task_config(task, **where, **changes)
        meaning = _digest([self.hosts.get(host, spec), self.task_config(task).identity()])
        return Planned(host=host, task=task, seed=seed, axis=axis or {}, config=config, meaning=meaning)

    def task_config(self, task: str, **changes: Any) -> RunConfig:
        """A run on that task, with these changes of the recipe."""
        values = {**PAPER, **self.recipe, "task": task, **self.tasks[task], **changes, **self.fixed}
        return from_values({**values, "baselines": tuple(values.get("baselines", ()))}, "preset")

    def every(self, **changes: Any) -> list[Planned]:
        """The same run on every host and task with every seed."""
        return [self.plan(h, t, s, **changes) for t in self.tasks for h in self.hosts for s in self.seeds]

    def option(self, name: str, default: Any) -> Any:
        """What the preset says for the experiment at hand, or the default."""
        return self.own.get(name, default)

    def of(self, experiment: str) -> "Setup":
        """What the preset says for one experiment."""
        own = self.options.get(experiment, {})
        hosts = {name: self.hosts[name] for name in own.get("hosts", self.hosts)}
        tasks = {name: {**self.tasks[name], **own.get("fit", {})} for name in own.get("tasks", self.tasks)}
        return replace(self, hosts=hosts, tasks=tasks, seeds=tuple(own.get("seeds", self.seeds)), own=own)


def _digest(value: Any) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True, default=str).encode()).hexdigest()[:8]


def short_name(spec: str) -> str:
    """What tables call a host or a task: its file's, folder's or model's name, without its options."""
    parsed = parse(spec)
    if not parsed.argument:
        return parsed.name
    path = Path(parsed.argument)
    return {"checkpoint": path.stem, "arrays": path.stem, "folder": path.name}.get(parsed.name, parsed.argument)


def with_choices(
    setup: Setup,
    *,
    hosts: Sequence[str] = (),
    tasks: Sequence[str] = (),
    seeds: Sequence[int] = (),
    data: Sequence[str] = (),
    budget: str = "",
    fixed: dict[str, Any] | None = None,
    photographs: Path | None = None,
    photo: str = "",
) -> Setup:
    """A preset with what the command line chose in its place.

    Args:
        setup: the preset.
        hosts: names of the preset's, specs, or NAME=SPEC; empty for the preset's.
        tasks: names of the preset's, specs, or NAME=SPEC; empty for the preset's.
        seeds: empty for the preset's.
        data: TASK=PATH each: where a task's files lie.
        budget: images such as 20000, or time such as 90s or 20m, a run; empty for the preset's.
        fixed: fields of every run.
        photographs: a folder of them.
        photo: to hide in.

    Raises:
        ConfigError: something that can't be read, or isn't known.
    """
    chosen = _chosen(hosts, setup.hosts) or setup.hosts
    named = _chosen(tasks, {name: name for name in setup.tasks}) or dict.fromkeys(setup.tasks)
    wanted = {name: setup.tasks.get(name, {"task": spec}) for name, spec in named.items()}
    for text in data:
        task, equals, path = text.partition("=")
        if not equals or task not in wanted:
            raise ConfigError(f"--data {text}: write TASK=PATH; tasks are {', '.join(wanted)}")
        wanted[task] = {**wanted[task], "data": path}
    limits = _budget(budget) if budget else {}
    given = {"hosts": hosts, "tasks": tasks, "seeds": seeds}
    dropped = {key for key, value in given.items() if value}  # The command line's choice is every experiment's.
    options = {e: {k: v for k, v in own.items() if k not in dropped} for e, own in setup.options.items()}
    return replace(
        setup,
        hosts=chosen,
        tasks=wanted,
        seeds=tuple(seeds) or setup.seeds,
        fixed={**limits, **(fixed or {})},
        options=options,
        photographs=photographs,
        photo=photo,
    )


def _chosen(texts: Sequence[str], known: dict[str, str]) -> dict[str, str]:
    """Specs by short name.

    Raises:
        ConfigError: two of the same name.
    """
    chosen: dict[str, str] = {}
    for name, spec in (_named(text, known) for text in texts):
        if name in chosen:
            raise ConfigError(f"{chosen[name]} and {spec} are both called {name!r}; write NAME=SPEC with two names")
        chosen[name] = spec
    return chosen


def _named(text: str, known: dict[str, str]) -> tuple[str, str]:
    """A short name and the spec it stands for: of the preset, as NAME=SPEC, or of the spec itself."""
    if text in known:
        return text, known[text]
    named = re.match(r"([\w .,+-]+)=(?=[A-Za-z])", text)
    return (named.group(1), text[named.end() :]) if named else (short_name(text), text)


def _budget(text: str) -> dict[str, Any]:
    match = re.fullmatch(r"(\d+(?:\.\d+)?)([smh]?)", text.strip())
    if not match or not float(match.group(1)):
        raise ConfigError(f"--budget {text}: images such as 20000, or time such as 90s, 20m or 2h, are expected")
    number, unit = float(match.group(1)), match.group(2)
    none = {"epochs": None, "images": None, "seconds": None}
    given = {"seconds": number * {"s": 1, "m": 60, "h": 3600}[unit]} if unit else {"images": int(number)}
    return {**none, **given}

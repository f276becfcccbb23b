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
from reprogram.runs.config import RunConfig, from_values
from reprogram.utils.spec import parse
from reprogram.utils.text import slug

PAPER = {"canvas": "centre", "label_map": "first", "loss": "task", "baselines": ()}
"""Where a preset makes no choice: the paper's canvas and label map, the loss of the task scores and no baseline that
costs anything, as in version 0.1.
"""


@dataclass(frozen=True, kw_only=True)
class Planned:
    """A run that an experiment needs, and its position in the experiment's tables.

    Attributes:
        host: the host's short name.
        task: the task's short name.
        seed: the run's seed.
        axis: the values that the experiment varies, by name.
        config: the run's configuration.
        digest: digest of the specs that host and task stand for, and of the recipe.
        host_digest: digest of the host's spec alone; empty where the experiment builds the host for the task.
    """

    host: str
    task: str
    seed: int
    axis: dict[str, Any]
    config: RunConfig
    digest: str = ""
    host_digest: str = ""

    @property
    def name(self) -> str:
        """The run folder's name: readable, and the same for the same configuration, so that experiments share runs."""
        digest = digest_of([self.config.identity(), self.config.baselines])
        words = (slug(text)[-40:] for text in (self.task, self.host, parse(self.config.program).name))
        return "-".join([*words, f"s{self.seed}", digest])


@dataclass(frozen=True, kw_only=True)
class ExperimentPlan:
    """Hosts, tasks, seeds and recipe.

    Attributes:
        hosts: specs by short name.
        tasks: changes of the recipe by the task's short name; `task` is its spec, by default the name.
        seeds: seeds of the runs, each once.
        recipe: fields of `RunConfig` for every run.
        fixed: fields of `RunConfig` from the command line, which nothing overrides.
        options: options by the experiment's name: `hosts`, `tasks` and `seeds` choose, `fit` changes the recipe, the
            others are the experiment's own.
        current: the options of the experiment that this plan is for, see `of`.
        photographs: folder of photographs, for the experiments that compare with them; None where there is none.
        photo: file of the photograph to hide in; empty for the one that scikit-learn carries.
    """

    hosts: dict[str, str]
    tasks: dict[str, dict[str, Any]]
    seeds: tuple[int, ...] = (0,)
    recipe: dict[str, Any] = field(default_factory=dict)
    fixed: dict[str, Any] = field(default_factory=dict)
    options: dict[str, dict[str, Any]] = field(default_factory=dict)
    current: dict[str, Any] = field(default_factory=dict)
    photographs: Path | None = None
    photo: str = ""

    def __post_init__(self) -> None:
        for seed, count in Counter(self.seeds).items():
            if count > 1:
                raise ConfigError(f"seeds: {seed} is given {count} times; a seed is one run, give different ones")

    def planned(
        self,
        host: str,
        task: str,
        seed: int,
        *,
        axis: dict[str, Any] | None = None,
        spec: str = "",
        **changes: Any,
    ) -> Planned:
        """A run on one host and task.

        Args:
            host: the host's short name.
            task: the task's short name.
            seed: the run's seed.
            axis: the values that the experiment varies, by name.
            spec: the host's spec, where it isn't the plan's for that name.
            changes: fields of `RunConfig` that the experiment sets. They override the task's and the recipe's, and
                are overridden by the command line's.
        """
        config = self.task_config(task, host=spec or self.hosts[host], seed=seed, **changes)
        stands_for = self.hosts.get(host, spec)
        digests = {
            "digest": digest_of([stands_for, self.task_config(task).identity()]),
            "host_digest": digest_of(stands_for) if host in self.hosts else "",
        }
        return Planned(host=host, task=task, seed=seed, axis=axis or {}, config=config, **digests)

    def task_config(self, task: str, **changes: Any) -> RunConfig:
        """The configuration of a run on a task.

        Args:
            task: the task's short name.
            changes: fields of `RunConfig` that differ from the recipe's.
        """
        values = {**PAPER, **self.recipe, "task": task, **self.tasks[task], **changes, **self.fixed}
        if isinstance(baselines := values["baselines"], list):  # As a preset's TOML has it.
            values["baselines"] = tuple(baselines)
        return from_values(values, "preset")

    def centred(self, task: str, name: str = "centre", **options: Any) -> str:
        """The spec of a canvas with the task image in the centre, as large as the recipe shows it.

        Args:
            task: the task's short name; where its canvas is `centre`, the options of that are kept.
            name: of the canvas.
            options: further options of the canvas.
        """
        recipe = parse(self.task_config(task).canvas)
        values = {**(recipe.options if recipe.name == "centre" else {}), **options}
        return name + (f"({', '.join(f'{key}={value!r}' for key, value in values.items())})" if values else "")

    def every(self, **changes: Any) -> list[Planned]:
        """The same run on every host and task with every seed.

        Args:
            changes: fields of `RunConfig`, as in `planned`.
        """
        return [self.planned(h, t, s, **changes) for t in self.tasks for h in self.hosts for s in self.seeds]

    def option(self, name: str, default: Any) -> Any:
        """An option of the current experiment.

        Args:
            name: one of the experiment's `options`.
            default: the value where the preset doesn't set the option.

        Raises:
            ConfigError: it is a list that holds something twice.
        """
        value = self.current.get(name, default)
        if isinstance(value, list) and len(set(value)) < len(value):
            raise ConfigError(f"preset: {name}={value} names one twice; it would be the same run")
        return value

    def of(self, experiment: str) -> "ExperimentPlan":
        """The plan for one experiment: the hosts, tasks, seeds and recipe that the preset chooses for it.

        Args:
            experiment: the experiment's name.
        """
        options = self.options.get(experiment, {})
        hosts = {name: self.hosts[name] for name in options.get("hosts", self.hosts)}
        tasks = {name: {**self.tasks[name], **options.get("fit", {})} for name in options.get("tasks", self.tasks)}
        return replace(self, hosts=hosts, tasks=tasks, seeds=tuple(options.get("seeds", self.seeds)), current=options)


def digest_of(value: Any) -> str:
    """A short digest of what can be written as JSON.

    Args:
        value: specs, names and numbers.
    """
    return hashlib.sha256(json.dumps(value, sort_keys=True, default=str).encode()).hexdigest()[:8]


def short_name(spec: str) -> str:
    """The name of a host or a task in tables: its file's, folder's or model's name, without options.

    Args:
        spec: the host's or task's spec, such as `timm:resnet18`.
    """
    parsed = parse(spec)
    if not parsed.argument:
        return parsed.name
    path = Path(parsed.argument)
    return {"checkpoint": path.stem, "arrays": path.stem, "folder": path.name}.get(parsed.name, parsed.argument)


def with_choices(
    plan: ExperimentPlan,
    *,
    hosts: Sequence[str] = (),
    tasks: Sequence[str] = (),
    seeds: Sequence[int] = (),
    data: Sequence[str] = (),
    budget: str = "",
    fixed: dict[str, Any] | None = None,
    photographs: Path | None = None,
    photo: str = "",
) -> ExperimentPlan:
    """A preset, changed by the command line's options.

    Args:
        plan: the preset.
        hosts: names of the preset's hosts, specs, or NAME=SPEC; empty for all of the preset.
        tasks: names of the preset's tasks, specs, or NAME=SPEC; empty for all of the preset.
        seeds: seeds of the runs; empty for the preset's.
        data: TASK=PATH each, where PATH holds the task's files.
        budget: images such as 20000, or time such as 90s or 20m, for each run; empty for the preset's.
        fixed: fields of `RunConfig` for every run.
        photographs: folder of photographs.
        photo: file of the photograph to hide in.

    Raises:
        ConfigError: something that can't be read, or isn't known.
    """
    host_specs = _specs_by_name(hosts, plan.hosts) or plan.hosts
    task_specs = _specs_by_name(tasks, {name: name for name in plan.tasks}) or dict.fromkeys(plan.tasks)
    task_fields = {
        name: {**plan.tasks.get(name, {}), **({"task": spec} if spec not in (None, name) else {})}
        for name, spec in task_specs.items()
    }
    for text in data:
        task, equals, path = text.partition("=")
        if not equals or not path or task not in task_fields:
            raise ConfigError(f"--data {text}: write TASK=PATH; tasks are {', '.join(task_fields)}")
        task_fields[task] = {**task_fields[task], "data": path}
    limits = _budget(budget) if budget else {}
    choices = {"hosts": hosts, "tasks": tasks, "seeds": seeds}
    overridden = {key for key, value in choices.items() if value}  # The command line chooses for every experiment.
    options = {e: {k: v for k, v in table.items() if k not in overridden} for e, table in plan.options.items()}
    return replace(
        plan,
        hosts=host_specs,
        tasks=task_fields,
        seeds=tuple(seeds) or plan.seeds,
        fixed={**limits, **(fixed or {})},
        options=options,
        photographs=photographs,
        photo=photo,
    )


def _specs_by_name(texts: Sequence[str], known: dict[str, str]) -> dict[str, str]:
    """Specs by short name.

    Raises:
        ConfigError: two specs have the same name.
    """
    specs: dict[str, str] = {}
    for name, spec in (_named(text, known) for text in texts):
        if name in specs:
            raise ConfigError(f"{specs[name]} and {spec} are both called {name!r}; write NAME=SPEC with two names")
        specs[name] = spec
    return specs


def _named(text: str, known: dict[str, str]) -> tuple[str, str]:
    """A short name and its spec: `text` is a name of the preset, NAME=SPEC, or a spec that gives the name itself."""
    if text in known:
        return text, known[text]
    match = re.match(r"([\w .,+-]+)=(?=[A-Za-z])", text)
    return (match.group(1), text[match.end() :]) if match else (short_name(text), text)


def _budget(text: str) -> dict[str, Any]:
    """The fields of `RunConfig` that end a run, from the text of `--budget`."""
    match = re.fullmatch(r"(\d+(?:\.\d+)?)([smh]?)", text.strip())
    if not match or not float(match.group(1)) or not (match.group(2) or float(match.group(1)).is_integer()):
        raise ConfigError(f"--budget {text}: images such as 20000, or time such as 90s, 20m or 2h, are expected")
    number, unit = float(match.group(1)), match.group(2)
    unlimited = {"epochs": None, "images": None, "seconds": None}
    limit = {"seconds": number * {"s": 1, "m": 60, "h": 3600}[unit]} if unit else {"images": int(number)}
    return {**unlimited, **limit}

"""The tables of docs/black-box-results.md, from results/black-box: `make results` writes them into the page.

`docs/_ext/kept.py black-box RUNS` keeps new results there.
"""

import csv
import itertools
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import kept

PAGE = Path(__file__).parents[1] / "black-box-results.md"
BUDGETS = (1_000, 10_000, 30_000, 100_000)
RUNGS = ("label", "topk", "scores")
TABLE_HOSTS = {
    "resnet20": "ResNet-20 (CIFAR)",
    "efficientnet-lite0": "EfficientNet-Lite0",
    "mobilenetv2": "MobileNetV2",
}
HOSTS = TABLE_HOSTS | {"resnet18": "ResNet-18", "resnet50": "ResNet-50"}
TASKS = {"digits": "digits", "squares": "counting", "cifar10-jpeg": "CIFAR-10 (JPEG)", "animal": "animal or vehicle"}
"""What a spec holds, and how people call it."""
ATTACKS = ("map_alone", "all_scores", "nearest_neighbour", "score_regression", "direct_training", "distillation")
CELL_HEAD = ["images", "task", "best learner", "asked", "test accuracy", "worth", "map alone", "best without a program"]
CELL_HEAD += ["seeds"]
RUN_HEAD = [
    "task",
    "labelled images",
    "asked",
    "program",
    "label map",
    "learner",
    "test accuracy",
    "95 % interval",
    "n",
]
RUN_HEAD += ["seed", "map alone", "worth", "net gain"]
MISSING = "*Budgets of which no run was made, where the line is that of a smaller one:* "


def blocks() -> dict[str, str]:
    """Every generated block of the page, by its name."""
    runs = kept.load("black-box")
    gradients = [run for run in runs if _rung(run) == "gradient"]
    table = [run for run in runs if not (_is_few(run) or _is_recipe(run) or run in gradients)]
    return {
        "few": _runs_table([run for run in runs if _is_few(run)]),
        "cells": "\n\n".join(_of_host(host, table) for host in TABLE_HOSTS) + "\n\n" + _missing(table),
        "ceilings": _ceilings(gradients),
        "recipes": _runs_table([run for run in runs if _is_recipe(run)]),
        "runs": "\n\n".join(f"### {name}\n\n{_runs_table(_on(host, table))}" for host, name in TABLE_HOSTS.items()),
        "surrogates": _surrogates(),
        "machine": f"{kept.circumstances([result for _, result in runs])}.",
    }


def written(text: str) -> str:
    """The page with its blocks written anew."""
    for name, content in blocks().items():
        start, end = f"<!-- {name}: written by make results -->", f"<!-- end of {name} -->"
        before, found, rest = text.partition(start)
        _, closed, after = rest.partition(end)
        assert found and closed, f"{PAGE.name} has no block {name}"
        text = f"{before}{start}\n{content}\n{end}{after}"
    return text


def _is_few(run: kept.Run) -> bool:
    """Whether it learned from few labelled images, or on a host that isn't in the table."""
    return run[0].get("shots", 100) < 100 or not any(host in run[0]["host"] for host in TABLE_HOSTS)


def _is_recipe(run: kept.Run) -> bool:
    """Whether it is BAR or BlackVIP: what their recipes alone take."""
    return run[0]["program"].startswith("coordinator") or run[0]["learner"].startswith("rgf")


def _on(host: str, runs: Iterable[kept.Run]) -> list[kept.Run]:
    return [run for run in runs if host in run[0]["host"]]


def _of_host(host: str, runs: list[kept.Run]) -> str:
    """The cells of a host: for each rung and task the best run that stays within each number of images."""
    lines = [f"### {HOSTS[host]}"]
    for rung in RUNGS:
        here = [run for run in _on(host, runs) if _rung(run) == rung]
        rows = [row for task in TASKS for row in _of_task(task, [run for run in here if _task(run[0]) == task], runs)]
        if rows:
            lines += [f"**{rung}**", kept.table(CELL_HEAD, rows)]
    return "\n\n".join(lines if len(lines) > 1 else [*lines, "*Nothing is measured yet.*"])


def _of_task(task: str, runs: list[kept.Run], every: list[kept.Run]) -> list[list[str]]:
    """A line for each budget, or for several in a row of which the same run is the best."""
    within = {budget: [run for run in runs if run[0]["queries"] <= budget] for budget in BUDGETS}
    cells = [(budget, _cell(task, found, every)) for budget, found in within.items() if found]
    grouped = [(cell, [pair[0] for pair in group]) for cell, group in itertools.groupby(cells, lambda pair: pair[1])]
    return [[_joined(budgets), *cell] for cell, budgets in grouped]


def _joined(budgets: list[int]) -> str:
    return " to ".join(f"{budget:,}" for budget in dict.fromkeys([budgets[0], budgets[-1]]))


def _cell(task: str, runs: list[kept.Run], every: list[kept.Run]) -> list[str]:
    """A line: the run that the validation chose among those of the first seed, and what does without a program.

    Validations have from 6 to 500 images, so the lower ends of their intervals are compared.
    """
    seeds = sorted({result["seed"] for _, result in runs})
    first = [run for run in runs if run[1]["seed"] == seeds[0]]
    config, result = max(first, key=lambda run: run[1]["validation"]["interval"][0])
    alone, best = result["baselines"].get("map_alone"), _best_baseline(first, every)
    same = [one for given, one in runs if _arm(given) == _arm(config) and given["queries"] == config["queries"]]
    repeated = [one["test"]["accuracy"] for one in same]
    mean = sum(repeated) / len(repeated)
    low, high = result["test"]["interval"]
    shown = f"**{mean:.3f}** ({min(repeated):.3f} to {max(repeated):.3f})" if len(repeated) > 1 else f"**{mean:.3f}**"
    return [
        TASKS[task],
        _arm(config),
        f"{_asked((config, result)):,}",
        shown if len(repeated) > 1 else f"{shown} ({low:.3f} to {high:.3f}, n = {result['test']['n']:,})",
        kept.worth(result) if config["program"] != "none" else "–",
        "–" if alone is None else f"{alone['accuracy']:.3f}",
        best,
        ", ".join(map(str, sorted({one["seed"] for one in same}))),
    ]


def _best_baseline(runs: list[kept.Run], every: list[kept.Run]) -> str:
    """The best of what needs no program: of a cell's runs, and a net of one's own on the same labelled images."""
    measured = [(name, one["accuracy"]) for _, result in runs for name, one in result["baselines"].items()]
    found = dict(sorted((pair for pair in measured if pair[0] in ATTACKS), key=lambda pair: pair[1]))
    config, result = runs[0]
    for other, its in every:
        own = its["baselines"].get("direct_training")
        if own and _task(other) == _task(config) and its["splits"] == result["splits"]:
            found["direct_training"] = own["accuracy"]
    name = max(found, key=lambda name: found[name], default="")
    return f"{found[name]:.3f} ({name.replace('_', '-')})" if name else "–"


def _runs_table(runs: list[kept.Run]) -> str:
    """A line for each run."""
    rows = [
        _run_row(*run) for run in sorted(runs, key=lambda run: (_task(run[0]), _rung(run), _asked(run), run[1]["seed"]))
    ]
    return kept.table(RUN_HEAD, rows) if rows else "*Nothing is measured yet.*"


def _run_row(config: dict[str, Any], result: dict[str, Any]) -> list[str]:
    low, high = result["test"]["interval"]
    alone, gain = result["baselines"].get("map_alone"), result.get("net_gain")
    over = "–"
    if gain is not None and "direct_training" in result["baselines"] and config["program"] != "none":
        below, above = gain["interval"]
        over = f"{gain['difference']:+.3f} ({below:+.3f} to {above:+.3f}) over {gain['over'].replace('_', '-')}"
    return [
        f"{TASKS.get(_task(config), _task(config))}, {_host(config)}, {_rung((config, result))}",
        f"{result['splits']['train']:,}",
        f"{_asked((config, result)):,}",
        f"`{config['program']}`",
        f"`{config['label_map']}`",
        f"`{result['learner'].partition('(')[0]}`",
        f"**{result['test']['accuracy']:.3f}**",
        f"{low:.3f} to {high:.3f}",
        f"{result['test']['n']:,}",
        str(result["seed"]),
        "–" if alone is None else f"{alone['accuracy']:.3f}",
        kept.worth(result) if config["program"] != "none" else "–",
        over,
    ]


def _ceilings(runs: list[kept.Run]) -> str:
    """What programs reach with gradients, the fewest numbers first."""
    head = ["program", "canvas", "numbers", "test accuracy", "95 % interval", "n", "seed", "map alone", "worth"]
    rows = [
        [
            f"`{config['program']}`",
            f"`{config['canvas']}`",
            f"{result['learned_numbers']:,}",
            f"**{result['test']['accuracy']:.3f}**",
            " to ".join(f"{end:.3f}" for end in result["test"]["interval"]),
            f"{result['test']['n']:,}",
            str(result["seed"]),
            f"{result['baselines']['map_alone']['accuracy']:.3f}",
            kept.worth(result),
        ]
        for config, result in sorted(runs, key=lambda run: (run[0]["canvas"], run[1]["learned_numbers"]))
    ]
    return kept.table(head, rows) if rows else "*Nothing is measured yet.*"


def _surrogates() -> str:
    """The cosines between the gradients of two hosts."""
    with (kept.RESULTS / "black-box" / "surrogates.csv").open(newline="", encoding="utf-8") as file:
        lines = list(csv.DictReader(file))
    rows = [[line["program"], line["host"], line["beside"], f"{float(line['cosine']):+.3f}"] for line in lines]
    return kept.table(["program", "host", "beside", "cosine"], rows)


def _missing(runs: list[kept.Run]) -> str:
    """The cells of the table whose budget no run of their own has spent."""
    lines = []
    for host, name in TABLE_HOSTS.items():
        for rung in RUNGS:
            here = [run for run in _on(host, runs) if _rung(run) == rung]
            lacking = [
                f"{TASKS[task]} {budget:,}"
                for task in TASKS
                for budget in BUDGETS
                if not any(_is_cell(run, budget, task) for run in here)
            ]
            all_of_it = len(lacking) == len(TASKS) * len(BUDGETS)
            if lacking:
                lines.append(f"{name}, {rung}: {'all' if all_of_it else ', '.join(lacking)}")
    return MISSING + ("; ".join(lines) or "none") + "."


def _is_cell(run: kept.Run, budget: int, task: str) -> bool:
    return run[0].get("queries") == budget and _task(run[0]) == task


def _asked(run: kept.Run) -> int:
    """The images that the host was asked for while the run learned."""
    return int(run[1]["queries"])


def _rung(run: kept.Run) -> str:
    found = re.search(r"access=['\"]?(\w+)", run[0]["host"])
    return found[1] if found else "scores" if run[0]["host"].startswith("restricted") else "gradient"


def _task(config: dict[str, Any]) -> str:
    return next((name for name in TASKS if name in config["task"]), config["task"])


def _host(config: dict[str, Any]) -> str:
    return next((name for host, name in HOSTS.items() if host in config["host"]), config["host"])


def _arm(config: dict[str, Any]) -> str:
    """How a run learned, in short."""
    learner = "" if config["program"].startswith(("none", "views")) else f", `{config['learner'].partition('(')[0]}`"
    program = "no program" if config["program"] == "none" else f"`{config['program']}`"
    return f"{program}, `{config['label_map'].partition('(')[0]}`{learner}"


if __name__ == "__main__":
    PAGE.write_text(written(PAGE.read_text(encoding="utf-8")), encoding="utf-8")

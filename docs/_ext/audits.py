"""The tables of docs/audit-results.md, from results/audit-standard: `make results` writes them into the page.

A file there is the `audit.json` of one host; NAME-untrained.json is that of its untrained twin.
"""

import json
import re
from collections.abc import Iterable
from itertools import combinations
from pathlib import Path
from statistics import fmean
from typing import Any

import kept
from scipy.stats import kendalltau  # type: ignore[import-untyped]

PAGE = Path(__file__).parents[1] / "audit-results.md"
AUDITS = Path(__file__).parents[2] / "results" / "audit-standard"
HOSTS = {
    "lite0": "EfficientNet-Lite0",
    "resnet18": "ResNet-18",
    "resnet50": "ResNet-50",
    "mobilenetv2": "MobileNetV2",
    "squeezenet": "SqueezeNet 1.0",
}
RUNGS = {
    "gradient": "weights",
    "scores": "all scores",
    "rounded-scores": "rounded scores",
    "top-5": "top 5",
    "label": "label alone",
}
SHOWN = 0.02
"""From which lower bound on a gain counts, as in the audit's verdict."""
NONE = "*Nothing is measured yet.*"
TWIN = "-untrained"

Audit = dict[str, Any]


def blocks() -> dict[str, str]:
    """Every generated block of the page, by its name."""
    audits = {path.stem: json.loads(path.read_text(encoding="utf-8")) for path in sorted(AUDITS.glob("*.json"))}
    trained = {name: audit for name, audit in audits.items() if name in HOSTS}
    twins = {name: audit for name, audit in audits.items() if name not in HOSTS}
    return {
        "hosts": _verdicts(trained),
        "gains": _gains(trained),
        "terms": _terms(audits),
        "accuracies": _accuracies(audits),
        "order": _order(trained),
        "twins": _verdicts(twins),
        "twin gains": _gains(twins),
        "size": _size(audits),
        "flags": _flags(audits),
        "bill": _bill(audits),
    }


def written(text: str) -> str:
    """The page with its blocks written anew."""
    for name, content in blocks().items():
        begin, end = f"<!-- {name}: written by make results -->", f"<!-- end of {name} -->"
        pattern = re.escape(begin) + ".*?" + re.escape(end)
        text, count = re.subn(pattern, lambda _, c=content, b=begin, e=end: f"{b}\n\n{c}\n\n{e}", text, flags=re.S)
        assert count == 1, f"{PAGE.name} has no block {name}"
    return text


def _called(name: str) -> str:
    """How people call a host."""
    base = name.removesuffix(TWIN)
    return HOSTS[base] + (", untrained" if base != name else "")


def _estimate(audit: Audit, rung: str, task: str) -> dict[str, Any]:
    """What is known of a task on a rung with the largest budget."""
    found = (one for one in audit["estimates"] if (one["rung"], one["task"]) == (rung, task))
    return max(found, key=lambda one: int(one["budget"]))


def _mean(audit: Audit, rung: str, key: str) -> float:
    """A number of a rung with the largest budget, averaged over tasks."""
    return fmean(_estimate(audit, rung, task)[key] for task in _tasks([audit]))


def _tasks(audits: Iterable[Audit]) -> list[str]:
    """The names of the tasks, in the battery's order."""
    return list(dict.fromkeys(task["name"] for audit in audits for task in audit["grid"]["tasks"]))


def _signed(value: float, interval: Iterable[float]) -> str:
    low, high = interval
    text = f"{value:+.2f} ({low:+.2f} to {high:+.2f})"
    return f"**{text}**" if low >= SHOWN else text


def _strongest(audit: Audit) -> dict[str, Any]:
    """The estimate with the largest lower bound of a gain: what the verdict stands on."""
    return max(audit["estimates"], key=lambda one: one["interval"][0])


def _ranked(audits: dict[str, Audit]) -> list[tuple[str, Audit]]:
    """The hosts, the one that is shown to give away most first."""
    return sorted(audits.items(), key=lambda item: -_strongest(item[1])["interval"][0])


def _verdicts(audits: dict[str, Audit]) -> str:
    """A line for each host: the largest gain that is shown."""
    rows = []
    for name, audit in _ranked(audits):
        one = _strongest(audit)
        gain = _signed(one["gain"], one["interval"])
        where = f"{one['task']}, {RUNGS[one['rung']]}, {one['budget']:,} images"
        rows.append([_called(name), f"`{audit['verdict']['level']}`", gain, where, f"{one['accuracy']:.2f}"])
    head = ["host", "verdict", "largest net gain shown", "where", "accuracy there"]
    return kept.table(head, rows) if rows else NONE


def _gains(audits: dict[str, Audit]) -> str:
    """A line for each host and task: the net gain on each rung."""
    rows = [
        [_called(name), task]
        + [_signed(one["gain"], one["interval"]) for rung in RUNGS for one in [_estimate(audit, rung, task)]]
        for name, audit in _ranked(audits)
        for task in _tasks([audit])
    ]
    return kept.table(["host", "task", *RUNGS.values()], rows) if rows else NONE


def _terms(audits: dict[str, Audit]) -> str:
    """What an attacker has without a program, at the largest budget; the best of each line is bold."""
    columns = (
        ("simple features", "scores", "simple_features"),
        ("a small net", "scores", "direct_training"),
        ("nearest neighbours, all scores", "scores", "nearest_neighbour"),
        ("map alone, all scores", "scores", "map_alone"),
        ("map alone, label", "label", "map_alone"),
    )
    rows = []
    for name, audit in audits.items():
        for task in _tasks([audit]):
            values = [_estimate(audit, rung, task)["terms"][term] for _, rung, term in columns]
            shown = [f"**{value:.2f}**" if value == max(values) else f"{value:.2f}" for value in values]
            rows.append([_called(name), task, *shown])
    return kept.table(["host", "task", *(words for words, _, _ in columns)], rows) if rows else NONE


def _accuracies(audits: dict[str, Audit]) -> str:
    """What an attacker has with a program, at the largest budget."""
    rows = [
        [_called(name), task, *(f"{_estimate(audit, rung, task)['accuracy']:.2f}" for rung in RUNGS)]
        for name, audit in audits.items()
        for task in _tasks([audit])
    ]
    return kept.table(["host", "task", *RUNGS.values()], rows) if rows else NONE


def _order(audits: dict[str, Audit]) -> str:
    """How far seeds and tasks agree about the order of the hosts: Kendall's τ of their accuracies, for each rung."""
    if len(audits) < 3:
        return NONE
    rows = []
    for rung, words in RUNGS.items():
        tasks = _tasks(audits.values())
        by_seed: dict[tuple[str, int], list[float]] = {}
        for audit in audits.values():
            for cell in audit["cells"]:
                if cell["rung"] == rung and cell["budget"] == _estimate(audit, rung, cell["task"])["budget"]:
                    by_seed.setdefault((cell["task"], cell["seed"]), []).append(cell["accuracy"])
        by_task = [[_estimate(audit, rung, task)["accuracy"] for audit in audits.values()] for task in tasks]
        seeds = [tau for task in tasks for tau in _taus([v for key, v in by_seed.items() if key[0] == task])]
        means = {name: _mean(audit, rung, "accuracy") for name, audit in audits.items()}
        order = " > ".join(f"{_called(name)} {means[name]:.2f}" for name in sorted(means, key=lambda n: -means[n]))
        rows.append([words, order, _spread(seeds), _spread(_taus(by_task))])
    head = ["access", "hosts by mean accuracy", "Kendall's τ of two seeds", "of two tasks"]
    return kept.table(head, rows)


def _taus(rankings: list[list[float]]) -> list[float]:
    """Kendall's τ of each pair of rankings."""
    return [kendalltau(one, other).statistic for one, other in combinations(rankings, 2)]


def _spread(taus: list[float]) -> str:
    return f"{fmean(taus):+.2f} ({min(taus):+.2f} to {max(taus):+.2f})"


def _size(audits: dict[str, Audit]) -> str:
    """The published correlate beside what was reached."""
    known = {name: one for name, one in audits.items() if one["probe"]["gradient_size"] is not None}
    if len(known) < 3:
        return NONE
    shown = (("gradient", "accuracy", ".2f"), ("gradient", "gain", "+.2f"), ("label", "accuracy", ".2f"))
    rows = [
        [_called(name), f"{audit['probe']['gradient_size']:,.0f}", f"{audit['probe']['gradient_alignment']:.2f}"]
        + [format(_mean(audit, rung, key), form) for rung, key, form in shown]
        for name, audit in sorted(known.items(), key=lambda item: -item[1]["probe"]["gradient_size"])
    ]
    sizes = [audit["probe"]["gradient_size"] for audit in known.values()]
    found = []
    for rung, key, _ in shown:
        tau = kendalltau(sizes, [_mean(audit, rung, key) for audit in known.values()])
        found.append(f"the {key} by the {RUNGS[rung]} {tau.statistic:+.2f} (p = {tau.pvalue:.2f})")
    head = ["host", "size of the average input gradient", "alignment"]
    table = kept.table([*head, *(f"mean {key}, {RUNGS[rung]}" for rung, key, _ in shown)], rows)
    return f"{table}\n\nKendall's τ over {len(known)} hosts between the size and {'; '.join(found)}."


def _flags(audits: dict[str, Audit]) -> str:
    """Which flags were raised, on which hosts."""
    raised: dict[str, list[str]] = {}
    for name, audit in audits.items():
        for flag in sorted({flag["name"] for flag in audit["flags"]}):
            raised.setdefault(flag, []).append(_called(name))
    rows = [[f"`{flag}`", len(names), "; ".join(names)] for flag, names in sorted(raised.items())]
    return kept.table(["flag", "hosts", "which"], rows) if rows else NONE


def _bill(audits: dict[str, Audit]) -> str:
    """What each audit asked for."""
    rows = [[_called(name), f"{audit['bill']['images']:,}", f"`{audit['command']}`"] for name, audit in audits.items()]
    return kept.table(["host", "images", "command"], rows) if rows else NONE


if __name__ == "__main__":
    PAGE.write_text(written(PAGE.read_text(encoding="utf-8")), encoding="utf-8")

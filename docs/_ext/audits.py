"""The tables of docs/audit-results.md, from results/audit and results/audit-standard: `make results` writes them.

A file there is the `audit.json` of one host; NAME-untrained.json is that of its untrained twin.
"""

import json
import re
from collections.abc import Iterable
from itertools import combinations
from pathlib import Path
from typing import Any

import kept
from scipy.stats import kendalltau  # type: ignore[import-untyped]

PAGE = Path(__file__).parents[1] / "audit-results.md"
AUDITS = Path(__file__).parents[2] / "results" / "audit"
STANDARD = AUDITS.with_name("audit-standard")
HOSTS = {
    "lite0": "EfficientNet-Lite0",
    "resnet18": "ResNet-18",
    "resnet50": "ResNet-50",
    "mobilenetv2": "MobileNetV2",
    "squeezenet": "SqueezeNet 1.0",
}
RUNGS = {"gradient": "weights", "scores": "all scores", "label": "label alone"}
ALL_RUNGS = {
    "gradient": "weights",
    "scores": "all scores",
    "rounded-scores": "rounded scores",
    "top-5": "top 5",
    "label": "label alone",
}
SHOWN = 0.02
"""The lower bound from which on a gain counts, as in the audit's verdict."""
NONE = "*Nothing is measured yet.*"
TWIN = "-untrained"

Audit = dict[str, Any]


def blocks() -> dict[str, str]:
    """Every generated block of the page, by its name."""
    audits, standard = _read(AUDITS), _read(STANDARD)
    trained = {name: audit for name, audit in audits.items() if name in HOSTS}
    twins = {name: audit for name, audit in audits.items() if name not in HOSTS}
    return {
        "hosts": _gains(trained),
        "terms": _terms(audits),
        "order": _order(trained),
        "twins": _gains(twins),
        "size": _size(audits),
        "flags": _flags(audits),
        "standard verdicts": _verdicts(standard),
        "standard gains": _all_gains(standard),
        "standard bill": _bill(standard),
        "bill": _bill(audits),
    }


def _read(folder: Path) -> dict[str, Audit]:
    """The audits of a folder, by their files' names."""
    return {path.stem: json.loads(path.read_text(encoding="utf-8")) for path in sorted(folder.glob("*.json"))}


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


def _estimate(audit: Audit, rung: str) -> dict[str, Any]:
    """A rung's estimate with the largest budget."""
    return max((one for one in audit["estimates"] if one["rung"] == rung), key=lambda one: int(one["budget"]))


def _signed(value: float, interval: Iterable[float]) -> str:
    low, high = interval
    return f"{value:+.2f} ({low:+.2f} to {high:+.2f})"


def _strongest(audit: Audit) -> float:
    """The largest lower bound of a gain: what the verdict stands on."""
    return max(one["interval"][0] for one in audit["estimates"])


def _gains(audits: dict[str, Audit]) -> str:
    """A line for each host, the one that is shown to give away most first: gain and accuracy by rung."""
    rows = []
    for name, audit in sorted(audits.items(), key=lambda item: -_strongest(item[1])):
        cells = []
        for rung in RUNGS:
            one = _estimate(audit, rung)
            cells.append(f"**{_signed(one['gain'], one['interval'])}**, accuracy {one['accuracy']:.2f}")
        rows.append([_called(name), *cells, f"`{audit['verdict']['level']}`"])
    return kept.table(["host", *(f"net gain, {words}" for words in RUNGS.values()), "verdict"], rows) if rows else NONE


def _verdicts(audits: dict[str, Audit]) -> str:
    """A line for each host: the estimate with the largest lower bound of a gain, what the verdict stands on."""
    rows = []
    for name, audit in sorted(audits.items(), key=lambda item: -_strongest(item[1])):
        one = max(audit["estimates"], key=lambda one: one["interval"][0])
        where = f"{one['task']}, {ALL_RUNGS[one['rung']]}, {one['budget']:,} images"
        gain = _signed(one["gain"], one["interval"])
        rows.append([_called(name), f"`{audit['verdict']['level']}`", gain, where, f"{one['accuracy']:.2f}"])
    head = ["host", "verdict", "largest net gain shown", "where", "accuracy there"]
    return kept.table(head, rows) if rows else NONE


def _all_gains(audits: dict[str, Audit]) -> str:
    """A line for each host and task: the net gain on each rung with the largest budget."""
    rows = []
    for name, audit in sorted(audits.items(), key=lambda item: -_strongest(item[1])):
        for task in (task["name"] for task in audit["grid"]["tasks"]):
            cells = []
            for rung in ALL_RUNGS:
                found = [one for one in audit["estimates"] if (one["rung"], one["task"]) == (rung, task)]
                one = max(found, key=lambda one: int(one["budget"]))
                text = _signed(one["gain"], one["interval"])
                cells.append(f"**{text}**" if one["interval"][0] >= SHOWN else text)
            rows.append([_called(name), task, *cells])
    return kept.table(["host", "task", *ALL_RUNGS.values()], rows) if rows else NONE


def _terms(audits: dict[str, Audit]) -> str:
    """What an attacker has without a program, at the largest budget of the rung that reads all scores."""
    names = ("chance", "map_alone", "nearest_neighbour", "direct_training")
    rows = []
    for name, audit in sorted(audits.items(), key=lambda item: item[0]):
        by_scores, by_label = _estimate(audit, "scores"), _estimate(audit, "label")
        shown = [f"{by_scores['terms'][term]:.2f}" if term in by_scores["terms"] else "–" for term in names]
        rows.append([_called(name), *shown, f"{by_label['terms']['map_alone']:.2f}", f"{by_label['accuracy']:.2f}"])
    head = ["host", "chance", "map alone, all scores", "nearest neighbour on scores", "a small net of one's own"]
    return kept.table([*head, "map alone, labels", "program, label alone"], rows) if rows else NONE


def _order(audits: dict[str, Audit]) -> str:
    """How far two seeds agree about the order of the hosts: Kendall's τ of their accuracies, for each rung."""
    if len(audits) < 3:
        return NONE
    rows = []
    for rung, words in RUNGS.items():
        by_seed: dict[int, list[float]] = {}
        for audit in audits.values():
            for cell in audit["cells"]:
                if cell["rung"] == rung and cell["budget"] == _estimate(audit, rung)["budget"]:
                    by_seed.setdefault(cell["seed"], []).append(cell["accuracy"])
        taus = [kendalltau(one, other).statistic for one, other in combinations(by_seed.values(), 2)]
        means = {name: _estimate(audit, rung)["accuracy"] for name, audit in audits.items()}
        order = " > ".join(f"{_called(name)} {means[name]:.2f}" for name in sorted(means, key=lambda n: -means[n]))
        rows.append([words, order, f"{min(taus):+.2f} to {max(taus):+.2f}"])
    return kept.table(["rung", "hosts by accuracy", "Kendall's τ of two seeds"], rows)


def _size(audits: dict[str, Audit]) -> str:
    """The published correlate beside what was reached with the weights."""
    known = {name: one for name, one in audits.items() if one["probe"]["gradient_size"] is not None}
    rows = [
        [
            _called(name),
            f"{audit['probe']['gradient_size']:,.0f}",
            f"{audit['probe']['gradient_alignment']:.2f}",
            f"{_estimate(audit, 'gradient')['accuracy']:.2f}",
            f"{_estimate(audit, 'gradient')['gain']:+.2f}",
            f"{_estimate(audit, 'label')['accuracy']:.2f}",
        ]
        for name, audit in sorted(known.items(), key=lambda item: -item[1]["probe"]["gradient_size"])
    ]
    if len(rows) < 3:
        return NONE
    sizes = [audit["probe"]["gradient_size"] for audit in known.values()]
    found = []
    for words, rung, key in (
        ("the gain with the weights", "gradient", "gain"),
        ("the accuracy with the weights", "gradient", "accuracy"),
        ("the accuracy with the label alone", "label", "accuracy"),
    ):
        tau = kendalltau(sizes, [_estimate(audit, rung)[key] for audit in known.values()])
        found.append(f"{words} {tau.statistic:+.2f} (p = {tau.pvalue:.2f})")
    head = ["host", "size of the average input gradient", "alignment", "accuracy, weights", "net gain, weights"]
    shown = kept.table([*head, "accuracy, label alone"], rows)
    return f"{shown}\n\nKendall's τ over {len(known)} hosts between the size and {'; '.join(found)}."


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
